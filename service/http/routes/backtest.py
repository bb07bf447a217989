"""Backtests: of a caller's own series, and the picture of the one on the card."""

from fastapi import APIRouter, Request, Response

from service.engine.catalogue import MAIN
from service.engine.core import Engine
from service.http.backtest import backtest as backtest_with
from service.http.plot.picture import Picture
from service.http.request.limits import Limits
from service.http.routes.named import Name, Version, named_version
from service.http.routes.refusals import PROBLEMS
from service.http.schemas.backtest import BacktestResponse


def router(engine: Engine, limits: Limits) -> APIRouter:
    """Return the routes of one engine."""
    routes = APIRouter(prefix="/v1/models", tags=["backtests"], responses=PROBLEMS)

    @routes.post("/{name}/backtest", response_model=BacktestResponse)
    async def backtest(name: Name, request: Request) -> Response:
        """Score series of your own by rolling origin with the newest version; others go first."""
        return await backtest_with(engine, await engine.model(name, MAIN), request, limits)

    @routes.post("/{name}/versions/{version}/backtest", response_model=BacktestResponse)
    async def backtest_version(name: Name, version: Version, request: Request) -> Response:
        """Score series of your own with the version named."""
        model = await named_version(engine, name, version)
        return await backtest_with(engine, model, request, limits)

    @routes.get("/{name}/backtest.svg", response_class=Picture)
    async def picture(name: Name) -> Response:
        """Draw the accuracy on the card: errors and coverage by step, and held-out forecasts."""
        return Picture.of(await engine.model(name, MAIN))

    @routes.get("/{name}/versions/{version}/backtest.svg", response_class=Picture)
    async def picture_version(name: Name, version: Version) -> Response:
        """Draw the accuracy of the version named."""
        return Picture.of(await named_version(engine, name, version))

    return routes
