"""KServe's time-series forecast API; which model a request asks is in its body."""

from asyncio import wrap_future

from fastapi import APIRouter, Request, Response

from models.contract import Task
from service.engine.core import Engine, LoadedModel
from service.engine.errors import NonFinitePrediction
from service.http.deflate import respond
from service.http.errors import NotAForecaster
from service.http.prediction import routing_key
from service.http.request.body import Form, read
from service.http.request.deadline import deadline
from service.http.request.limits import Limits
from service.http.request.presence import Presence
from service.http.request.reading import LARGE
from service.http.routes.named import named_version
from service.http.routes.refusals import PROBLEMS
from service.http.schemas.forecast import ForecastQuery, read_envelope
from service.http.schemas.reply import JSON
from service.http.schemas.timeseries import Envelope, ForecastResponse

ACCEPTED = (JSON,)


def router(engine: Engine, limits: Limits) -> APIRouter:
    """Return the routes of one engine."""
    routes = APIRouter(prefix="/v1/timeseries", tags=["time-series forecast"], responses=PROBLEMS)

    @routes.post("/forecast", response_model=ForecastResponse)
    async def forecast(request: Request) -> Response:
        """Forecast each series, in the order sent, with the model that the body names."""
        async with deadline(request, limits):
            form = Form(ACCEPTED, lambda body: (read_envelope(body), len(body)))
            envelope, size = await read(request, limits, form)
            model = await _model(engine, envelope, request)
            query = await _query(envelope, model, limits, large=size > LARGE)
            try:
                async with Presence(request.receive):
                    answers, request.scope["timing"] = await engine.predict(model, query.rows)
            except NonFinitePrediction as exc:
                raise NonFinitePrediction(exc.index, query.place(exc.index)) from None
        return await respond(query.write(answers, model.entry.version), request)

    @routes.get("/models")
    async def models() -> list[str]:
        """Name the models that forecast."""
        serving = (engine.newest(name) for name in engine.names())
        return [
            model.entry.name
            for model in serving
            if model is not None and model.card.task is Task.FORECAST
        ]

    return routes


async def _model(engine: Engine, envelope: Envelope, request: Request) -> LoadedModel:
    """Return who is asked; raise what ``Engine.model`` does, and NotAForecaster."""
    if envelope.model_version is None:
        model = await engine.model(envelope.model, None, routing_key(request))
    else:
        model = await named_version(engine, envelope.model, envelope.model_version)
    request.scope["entry"] = model.entry
    if model.card.task is Task.CLASSIFY:
        raise NotAForecaster(model.entry.name)
    return model


async def _query(
    envelope: Envelope, model: LoadedModel, limits: Limits, *, large: bool
) -> ForecastQuery:
    """Hold a request against the card, where its body was read."""

    def hold() -> ForecastQuery:
        return ForecastQuery(envelope, model.card, limits.max_sequences)

    return await wrap_future(limits.reading.submit(hold)) if large else hold()
