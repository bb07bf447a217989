"""One request of KServe's forecast API: which model it asks is in its body."""

from fastapi import Request, Response

from models.contract import Task
from service.engine.core import Engine
from service.engine.errors import NonFinitePrediction
from service.http.body import Form, read
from service.http.deadline import deadline
from service.http.deflate import respond
from service.http.errors import NotAForecaster
from service.http.limits import Limits
from service.http.prediction import routing_key
from service.http.presence import Presence
from service.http.schemas.forecast import ForecastQuery, read_asked

ACCEPTED = ("application/json",)


async def forecast(engine: Engine, request: Request, limits: Limits) -> Response:
    """
    Answer one request.

    Raises DeadlineExceeded, ClientGone and, for a classifier, NotAForecaster, beside all that
    the schema and the engine raise.
    """
    async with deadline(request, limits):
        asked = await read(request, limits, Form(ACCEPTED, read_asked))
        model = await engine.model(asked.model, None, routing_key(request))
        request.scope["entry"] = model.entry
        if model.card.task is Task.CLASSIFY:
            raise NotAForecaster(model.entry.name)
        query = ForecastQuery(asked, model.card, limits.max_sequences)
        try:
            async with Presence(request.receive):
                answers, request.scope["timing"] = await engine.predict(model, query.rows)
        except NonFinitePrediction as exc:
            raise NonFinitePrediction(exc.index, query.place(exc.index)) from None
    reply = query.write(answers, model.entry.version)
    return await respond(reply, request)
