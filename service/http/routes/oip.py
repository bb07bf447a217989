"""The Open Inference Protocol, version 2: health, metadata, infer. A route finds, asks, wraps."""

from typing import Any

from fastapi import APIRouter, Request, Response

from models.contract import ModelCard
from service.engine.catalogue import MAIN
from service.engine.core import Engine, LoadedModel
from service.http.errors import MalformedRequest
from service.http.prediction import WireFormat, predict, routing_key
from service.http.request.limits import Limits, whole_number
from service.http.routes.named import Name, Version, named_version
from service.http.routes.operations import tell_readiness
from service.http.routes.refusals import PROBLEMS
from service.http.schemas.inforce import InForce
from service.http.schemas.oip import BINARY, HEADER_LENGTH, InferQuery
from service.http.schemas.oip_config import ModelConfig, model_config
from service.http.schemas.oip_documents import (
    InferResponse,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    infer_operation,
    metadata,
)
from service.http.schemas.reply import JSON

_INFER: dict[str, Any] = {
    "response_model": InferResponse,
    "openapi_extra": infer_operation(),
}

_READY: dict[int | str, dict[str, Any]] = {404: PROBLEMS[404], 503: {"model": ModelReady}}


def router(engine: Engine, limits: Limits, in_force: InForce) -> APIRouter:
    """Return the routes of one engine."""
    routes = APIRouter(prefix="/v2", tags=["open inference protocol"])

    # First what is asked most: routes are tried in order.
    @routes.post("/models/{name}/infer", responses=PROBLEMS, **_INFER)
    async def infer(name: Name, request: Request) -> Response:
        """Forecast each sequence of a tensor, with the version that serves."""
        model = await engine.model(name, None, routing_key(request))
        return await predict(engine, model, request, limits, FORMAT)

    @routes.post("/models/{name}/versions/{version}/infer", responses=PROBLEMS, **_INFER)
    async def infer_version(name: Name, version: Version, request: Request) -> Response:
        """Forecast each sequence of a tensor with the version named."""
        model = await named_version(engine, name, version)
        return await predict(engine, model, request, limits, FORMAT)

    @routes.get("")
    async def server() -> ServerMetadata:
        """Say who answers, which extensions of the protocol it has, and what is in force."""
        found = in_force.now()
        return ServerMetadata(name=found.name, version=found.version, in_force=found)

    @routes.get("/health/live")
    async def live() -> ServerLive:
        """Answer as long as the process does."""
        return ServerLive()

    @routes.get("/health/ready", responses={503: {"model": ServerReady}})
    async def ready(response: Response) -> ServerReady:
        """Answer 200 when predictions are served, 503 while they are not."""
        tell_readiness(response, ready=engine.ready)
        return ServerReady(ready=engine.ready)

    _add_models(routes, engine)
    _add_configurations(routes, engine, limits)
    return routes


def _add_configurations(routes: APIRouter, engine: Engine, limits: Limits) -> None:
    @routes.get("/models/{name}/config", responses=PROBLEMS)
    async def config(name: Name) -> ModelConfig:
        """Describe a model's newest version as Triton would."""
        return model_config((await engine.model(name, MAIN)).card, limits.max_sequences)

    @routes.get("/models/{name}/versions/{version}/config", responses=PROBLEMS)
    async def version_config(name: Name, version: Version) -> ModelConfig:
        """Describe one version as Triton would."""
        model = await named_version(engine, name, version)
        return model_config(model.card, limits.max_sequences)


def _add_models(routes: APIRouter, engine: Engine) -> None:
    @routes.get("/models/{name}", responses=PROBLEMS)
    async def describe(name: Name) -> ModelMetadata:
        """Describe the tensors of a model's newest version."""
        return _metadata(engine, await engine.model(name, MAIN))

    @routes.get("/models/{name}/versions/{version}", responses=PROBLEMS)
    async def describe_version(name: Name, version: Version) -> ModelMetadata:
        """Describe the tensors of one version."""
        return _metadata(engine, await named_version(engine, name, version))

    @routes.get("/models/{name}/ready", responses=_READY)
    async def ready(name: Name, response: Response) -> ModelReady:
        """Answer 200 when the model serves."""
        return _ready(await engine.model(name, MAIN), response)

    @routes.get("/models/{name}/versions/{version}/ready", responses=_READY)
    async def version_ready(name: Name, version: Version, response: Response) -> ModelReady:
        """Answer 200 when the version serves."""
        return _ready(await named_version(engine, name, version), response)


def _metadata(engine: Engine, model: LoadedModel) -> ModelMetadata:
    name = model.entry.name
    return metadata(model.card, engine.versions(name))


def _ready(model: LoadedModel, response: Response) -> ModelReady:
    tell_readiness(response, ready=model.batcher.ready)
    return ModelReady(name=model.entry.name, ready=model.batcher.ready)


def _read(body: bytes, header: str | None, card: ModelCard, max_sequences: int) -> InferQuery:
    return InferQuery(body, _length(header), card, max_sequences)


def _text(body: bytes, header: str | None) -> bytes:
    return body[: _length(header)]


def _length(header: str | None) -> int | None:
    if header is None:
        return None
    length = whole_number(header)
    if length is None:
        raise MalformedRequest("Inference-Header-Content-Length must be one whole number.")
    return length


# The protocol's own clients declare no type at all, or octet-stream even for JSON alone.
FORMAT = WireFormat((JSON, BINARY, ""), _read, HEADER_LENGTH, _text)
