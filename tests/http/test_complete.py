"""What the application of a worker has done before its first request."""

import gc

import httpx

from service.engine.core import Engine
from service.http.app import complete, create_app
from service.http.meters.metrics import Metrics
from tests.http.inprocess import SMALL


def finished() -> int:
    gc.collect()  # those of other applications
    return sum(type(each).__name__ == "_EffectiveRouteContext" for each in gc.get_objects())


async def test_no_route_is_left_for_its_first_request_to_finish(tmp_path):
    settings = SMALL.model_copy(update={"store": f"sqlite:///{tmp_path}/sessions.db"})
    metrics = Metrics()
    engine = Engine(
        settings.repository(), settings.engine_options(), metrics.observer, metrics.shadows
    )
    others = finished()
    app = create_app(engine, settings, metrics, settings.open_store())
    complete(app)
    before = finished()
    assert before > others
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in ("/health/live", "/v1/sessions/none", "/v2/models/none/stats", "/nowhere"):
            await client.get(path)
    assert finished() == before
