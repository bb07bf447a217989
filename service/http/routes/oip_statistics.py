"""The statistics extension of the Open Inference Protocol: what each version has answered."""

import asyncio

from fastapi import APIRouter

from service.engine.core import Engine
from service.engine.errors import ModelNotFound
from service.http.meters.metrics import Metrics
from service.http.routes.named import Name, Version
from service.http.routes.refusals import PROBLEMS
from service.http.schemas.oip_statistics import StatisticsResponse, statistics


def router(engine: Engine, metrics: Metrics) -> APIRouter:
    """Return the routes of one engine; they come before those of the models' names."""
    routes = APIRouter(prefix="/v2/models", tags=["open inference protocol"], responses=PROBLEMS)

    async def answer(versions: list[tuple[str, int]]) -> StatisticsResponse:
        metrics.flush()
        return statistics(await asyncio.to_thread(metrics.collect), versions)

    @routes.get("/stats")
    async def all_models() -> StatisticsResponse:
        """Count what every version in memory has answered."""
        return await answer([each for name in engine.names() for each in _loaded(engine, name)])

    @routes.get("/{name}/stats")
    async def one_model(name: Name) -> StatisticsResponse:
        """Count what the versions of a model that are in memory have answered."""
        if not engine.versions(name):
            raise ModelNotFound(name)
        return await answer(_loaded(engine, name))

    @routes.get("/{name}/versions/{version}/stats")
    async def one_version(name: Name, version: Version) -> StatisticsResponse:
        """Count what one version has answered, in memory or not; an alias is one that is."""
        for each in engine.versions(name):
            if str(each) == version:
                return await answer([(name, each)])
        named = None if version.isdecimal() else engine.serving(name, version)
        if named is None:
            raise ModelNotFound(name, f"{version:.20}")
        return await answer([(name, named.entry.version)])

    return routes


def _loaded(engine: Engine, name: str) -> list[tuple[str, int]]:
    return [(name, model.entry.version) for model in engine.loaded(name)]
