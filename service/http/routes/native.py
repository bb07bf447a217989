"""The native API: models, cards, predictions. A route finds, asks, wraps."""

from fastapi import APIRouter, Request, Response

from models.contract import ModelCard
from service.engine.catalogue import MAIN
from service.engine.core import Engine
from service.http.errors import UnsupportedMediaType
from service.http.prediction import Query, WireFormat, routing_key
from service.http.prediction import predict as predict_with
from service.http.request.body import media_type
from service.http.request.limits import Limits
from service.http.routes.named import Name, Version, named_version
from service.http.routes.refusals import PROBLEMS
from service.http.schemas import arrow
from service.http.schemas.models import ModelDetail, ModelList, detail, summary
from service.http.schemas.native import PredictQuery, PredictResponse
from service.http.schemas.reply import JSON
from service.sessions.live import Live


def _read(body: bytes, content_type: str | None, card: ModelCard, max_sequences: int) -> Query:
    if content_type != JSON and media_type(content_type or "") == arrow.MEDIA_TYPE:
        return _read_arrow(body, card, max_sequences)
    return PredictQuery(body, card, max_sequences)


def _read_arrow(body: bytes, card: ModelCard, max_sequences: int) -> Query:
    try:
        # At the first stream: pyarrow takes 80 ms and 45 MB, wanted or not.
        from service.http.schemas.arrow.query import ArrowQuery  # noqa: PLC0415
    except ImportError:
        raise UnsupportedMediaType(
            "Arrow streams need an extra where the service runs: pip install 'seqserve[arrow]'"
        ) from None
    return ArrowQuery(body, card, max_sequences)


def _text(body: bytes, content_type: str | None) -> bytes:
    return b"" if media_type(content_type or "") == arrow.MEDIA_TYPE else body


FORMAT = WireFormat((JSON, arrow.MEDIA_TYPE), _read, "content-type", _text)


def router(engine: Engine, limits: Limits, live: Live | None) -> APIRouter:
    """Return the routes of one engine, whose sessions find how good its forecasts are."""
    routes = APIRouter(prefix="/v1/models", tags=["models"], responses=PROBLEMS)

    # First what is asked most: routes are tried in order.
    @routes.post("/{name}/predict", response_model=PredictResponse)
    async def predict(name: Name, request: Request) -> Response:
        """Answer each sequence, in the order sent, with the version that serves."""
        model = await engine.model(name, None, routing_key(request))
        return await predict_with(engine, model, request, limits, FORMAT)

    @routes.post("/{name}/versions/{version}/predict", response_model=PredictResponse)
    async def predict_version(name: Name, version: Version, request: Request) -> Response:
        """Answer each sequence with the version, or the alias, named."""
        model = await named_version(engine, name, version)
        return await predict_with(engine, model, request, limits, FORMAT)

    @routes.get("")
    async def list_models() -> ModelList:
        """List the models, and those that could not be loaded."""
        return ModelList(models=[summary(engine, name) for name in engine.names()])

    @routes.get("/{name}")
    async def describe(name: Name) -> ModelDetail:
        """Describe a model: card, versions, limits, and what its self-check found."""
        return detail(engine, await engine.model(name, MAIN), limits.max_sequences, live)

    @routes.get("/{name}/versions/{version}")
    async def describe_version(name: Name, version: Version) -> ModelDetail:
        """Describe one version of a model."""
        model = await named_version(engine, name, version)
        return detail(engine, model, limits.max_sequences, live)

    @routes.get("/{name}/card")
    async def card(name: Name) -> ModelCard:
        """Return the card alone, as it is inside the file."""
        return (await engine.model(name, MAIN)).card

    return routes
