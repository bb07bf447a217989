"""One backtest: read the request, forecast in the background before the deadline, score."""

import asyncio

from fastapi import Request, Response

from models.contract import Task
from service.engine.core import Engine, LoadedModel
from service.engine.errors import NonFinitePrediction
from service.http.errors import NotAForecaster
from service.http.request.body import Form, read
from service.http.request.deadline import deadline
from service.http.request.limits import Limits
from service.http.request.presence import Presence
from service.http.schemas.backtest import BacktestQuery
from service.http.schemas.reply import JSON

ACCEPTED = (JSON,)


async def backtest(
    engine: Engine, model: LoadedModel, request: Request, limits: Limits
) -> Response:
    """
    Answer one request; reading and scoring keep off the event loop, where others are served.

    Raises DeadlineExceeded, ClientGone and, for a classifier, NotAForecaster, beside all that
    the schema and the engine raise.
    """
    if model.card.task is Task.CLASSIFY:
        raise NotAForecaster(model.entry.name)
    form = Form(
        ACCEPTED, lambda body: BacktestQuery(body, model.card, limits.max_sequences), apart=True
    )
    try:
        async with deadline(request, limits):
            query = await read(request, limits, form)
            async with Presence(request.receive):
                answers, _ = await engine.predict(model, query.rows, background=True)
                reply = await asyncio.to_thread(query.write, answers, model.entry.version)
    except NonFinitePrediction as exc:
        raise NonFinitePrediction(exc.index, query.place(exc.index)) from None
    return Response(reply.body, media_type=reply.media_type)
