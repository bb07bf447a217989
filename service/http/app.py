"""Put an engine behind HTTP: routes, error handlers, middleware."""

import gc
import logging
import sys
from collections.abc import Iterator
from importlib.metadata import version

from fastapi import APIRouter, FastAPI

from service.engine.core import Engine
from service.http.access.doors import Entrance, Household, Strangers
from service.http.access.gate import Gate
from service.http.access.guard import Guard
from service.http.journal.recorder import Recorder
from service.http.journal.records import Tracing
from service.http.journal.tracing import configured
from service.http.lifetime import lifetime
from service.http.meters.metrics import Metrics
from service.http.methods import HeadAsGet
from service.http.openapi import describe
from service.http.parts import Parts
from service.http.problems import handlers
from service.http.problems.denial import unless_websocket
from service.http.routes import (
    admin,
    backtest,
    described,
    inforce,
    native,
    oip,
    oip_repository,
    oip_statistics,
    operations,
    pages,
    states,
    steps,
    stream,
    timeseries,
)
from service.http.routes import sessions as session_routes
from service.http.schemas.inforce import InForce
from service.logs import configure
from service.sessions.errors import UnusableStore
from service.sessions.lost import LostStore
from service.sessions.store import Store
from service.settings import Settings

# A runner thread that has its answers waits so long for a busy event loop; Python's 5 ms are
# several times what a batch takes.
SWITCH_INTERVAL = 0.0005  # seconds

# A request makes some two hundred objects and no cycles: Python's 700 would look for them at
# every third request, and stop everything while it does.
GC_THRESHOLD = 50_000

log = logging.getLogger(__name__)

NAME = "seqserve"
DESCRIPTION = (
    "Forecasts from LSTM, GRU and attention models: any mix of sequence lengths in one request, "
    "each answered exactly as if it were alone."
)


def create_app(  # noqa: PLR0913, PLR0917  one part each
    engine: Engine,
    settings: Settings,
    metrics: Metrics,
    store: Store | None = None,
    tracing: Tracing | None = None,
    gate: Entrance | None = None,
) -> FastAPI:
    """
    Return the application; its lifespan starts and stops the engine, and closes the store.

    Without a gate, whoever reaches the service may do everything.
    """
    parts = Parts(engine, settings, metrics, store, tracing, gate)
    app = FastAPI(
        title=NAME,
        version=version(NAME),
        description=DESCRIPTION,
        lifespan=lifetime(parts),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # another path is not found, as a problem
    )
    for router in _routers(parts):
        app.include_router(router)
    handlers.install(app)
    app.router.default = unless_websocket(app.router.not_found, parts.records)
    if gate is not None:
        app.add_middleware(Guard, gate=gate, records=parts.records)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Recorder, records=parts.records, tidy=parts.tidy)
    write = describe(app, keys=parts.key_gate is not None)
    app.router.routes.insert(0, described.route(engine, write))
    return app


def _routers(parts: Parts) -> Iterator[APIRouter]:
    """Yield all routes; the first that fits a path is asked."""
    engine, limits, metrics, sessions = parts.engine, parts.limits, parts.metrics, parts.sessions
    yield native.router(engine, limits, sessions.live if sessions else None)
    yield backtest.router(engine, limits)
    yield oip_statistics.router(engine, metrics)
    yield admin.router(engine, limits, sessions.shadows if sessions else None)
    in_force = InForce(engine, parts.settings.figures())
    yield oip.router(engine, limits, in_force)
    yield oip_repository.router(engine, limits)
    yield timeseries.router(engine, limits)
    yield operations.router(engine, metrics, parts.store)
    yield inforce.router(in_force)
    yield pages.router(NAME)
    if sessions is not None:
        yield steps.router(engine, sessions, limits)
        yield session_routes.router(engine, sessions, limits)
        yield stream.router(engine, sessions, limits, parts.records)
        yield states.router(sessions, limits)


def app() -> FastAPI:
    """Build the application from the environment, once per worker."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    settings = Settings()
    configure(settings.log_level, settings.log_format, access=settings.access_log)
    metrics = Metrics()
    tracing = configured()
    observers = metrics.observer if tracing is None else tracing.beside(metrics.observer)
    engine = Engine(settings.repository(), settings.engine_options(), observers, metrics.shadows)
    store, gate = _store(settings), _gate(settings)
    made = create_app(engine, settings, metrics, store, tracing, gate)
    complete(made)
    return made


def complete(app: FastAPI) -> None:
    """Have FastAPI finish the routes, which it leaves to the first request: others would wait."""
    for route in app.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "headers": []})


def _store(settings: Settings) -> Store | None:
    """Return where sessions are kept; what was usable when the service began may be no longer."""
    try:
        return settings.open_store()
    except UnusableStore as exc:
        log.error("No sessions in this process: %s", exc)  # noqa: TRY400  the message says it
        return LostStore(str(exc))


def _gate(settings: Settings) -> Entrance:
    keyring = settings.open_keyring()
    if keyring is not None:
        return Gate(keyring)
    return Strangers() if settings.no_keys_on_public_address else Household()
