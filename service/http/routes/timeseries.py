"""KServe's time-series forecast API. A route finds, asks, wraps."""

from fastapi import APIRouter, Request, Response

from models.contract import Task
from service.engine.core import Engine
from service.http.forecast import forecast as forecast_with
from service.http.limits import Limits
from service.http.routes.native import PROBLEMS
from service.http.schemas.timeseries import ForecastResponse


def router(engine: Engine, limits: Limits) -> APIRouter:
    """Return the routes of one engine."""
    routes = APIRouter(prefix="/v1/timeseries", tags=["time-series forecast"], responses=PROBLEMS)

    @routes.post("/forecast", response_model=ForecastResponse)
    async def forecast(request: Request) -> Response:
        """Forecast each series, in the order sent, with the newest version of the model named."""
        return await forecast_with(engine, request, limits)

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
