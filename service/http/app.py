"""Put an engine behind HTTP: routes, error handlers, middleware, and the engine's lifetime."""

import gc
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from fastapi import APIRouter, FastAPI

from service.engine.core import Engine
from service.http import handlers
from service.http.access import Access
from service.http.denial import unless_websocket
from service.http.doors import Entrance, Household, Strangers
from service.http.express import Express, HotRoute
from service.http.gate import Gate
from service.http.guard import Guard
from service.http.limits import Limits
from service.http.methods import HeadAsGet
from service.http.metrics import Metrics
from service.http.openapi import describe
from service.http.protocol import EXPRESS
from service.http.pulse import Pulse
from service.http.reading import Reading
from service.http.records import RECORDS, Records, Tracing
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
    steps,
    stream,
    timeseries,
)
from service.http.routes import sessions as session_routes
from service.http.shedding import SHEDDING, Shedding
from service.http.stopping import STOPPING, Stopping
from service.http.tracing import configured
from service.logs import configure
from service.memory import Tidy
from service.sessions.sessions import Sessions
from service.sessions.store import Store
from service.sessions.sweeper import Sweeper
from service.settings import Settings

# A runner thread that has its answers waits so long for a busy event loop; Python's 5 ms are
# several times what a batch takes.
SWITCH_INTERVAL = 0.0005  # seconds

# The routes that have a short way, too.
HOT_ROUTES = (
    HotRoute("/v1/models/{name}/predict", native.FORMAT),
    HotRoute("/v2/models/{name}/infer", oip.FORMAT),
)

# A request makes some two hundred objects and no cycles: Python's 700 would look for them at
# every third request, and stop everything while it does.
GC_THRESHOLD = 50_000

# So many of the largest bodies may be here at once.
BODIES = 8

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
    limits = _limits(settings)
    sessions = None
    if store is not None:
        sessions = Sessions(engine, store, options=settings.session_options(), observer=metrics)
    records = Records(metrics, log_requests=settings.access_log, tracing=tracing)
    tidy = Tidy()
    keys = gate if isinstance(gate, Gate) else None

    def ways() -> dict[str, object]:
        """Return what the protocol looks for: who counts and who stops, and the short way."""
        long = {STOPPING: Stopping(engine), RECORDS: records}
        if not settings.express:
            return long
        express = Express(engine, limits, records, tidy, HOT_ROUTES, keys)
        return long | {EXPRESS: express, SHEDDING: Shedding(metrics.requests)}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
        async with AsyncExitStack() as stack:
            if tracing is not None:
                stack.push_async_callback(tracing.close)
            stack.enter_context(limits.reading)
            await stack.enter_async_context(engine)
            if sessions is not None:
                await stack.enter_async_context(Sweeper(sessions))
            await stack.enter_async_context(Pulse(metrics, engine))
            found = ways()
            gc.collect()
            gc.freeze()  # what is loaded stays: no collection need look at it again
            yield found
            gc.unfreeze()
        metrics.flush()

    app = FastAPI(
        title="seqserve",
        version=version("seqserve"),
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,  # another path is not found, as a problem
    )
    routers = [
        *_routers(engine, limits, metrics, sessions),
        operations.router(engine, metrics, store),
        inforce.router(engine, settings.figures()),
    ]
    if sessions is not None:
        routers += _session_routers(engine, sessions, limits, records)
    for router in routers:
        app.include_router(router)
    handlers.install(app)
    app.router.default = unless_websocket(app.router.not_found, records)
    if gate is not None:
        app.add_middleware(Guard, gate=gate, records=records)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Access, records=records, tidy=tidy)
    app.router.routes.insert(0, described.route(engine, describe(app, keys=keys is not None)))
    return app


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_sequences=settings.max_sequences,
        max_body_bytes=settings.max_body_bytes,
        request_timeout_ms=settings.request_timeout_ms,
        max_steps=settings.max_steps,
        max_elements=settings.max_elements,
        reading=Reading(BODIES * settings.max_body_bytes),
    )


def _routers(
    engine: Engine, limits: Limits, metrics: Metrics, sessions: Sessions | None
) -> Iterator[APIRouter]:
    """Yield the routes about models; the first that fits a path is asked."""
    yield native.router(engine, limits, sessions.live if sessions else None)
    yield backtest.router(engine, limits)
    yield oip_statistics.router(engine, metrics)
    yield admin.router(engine, limits, sessions.shadows if sessions else None)
    yield oip.router(engine, limits)
    yield oip_repository.router(engine, limits)
    yield timeseries.router(engine, limits)


def _session_routers(
    engine: Engine, sessions: Sessions, limits: Limits, records: Records
) -> Iterator[APIRouter]:
    yield steps.router(engine, sessions, limits)
    yield session_routes.router(engine, sessions, limits)
    yield stream.router(engine, sessions, limits, records)
    yield session_routes.state_router(sessions, limits)


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
    store, gate = settings.open_store(), _gate(settings)
    made = create_app(engine, settings, metrics, store, tracing, gate)
    complete(made)
    return made


def complete(app: FastAPI) -> None:
    """Have FastAPI finish the routes, which it leaves to the first request: others would wait."""
    for route in app.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "headers": []})


def _gate(settings: Settings) -> Entrance:
    keyring = settings.open_keyring()
    if keyring is not None:
        return Gate(keyring)
    return Strangers() if settings.no_keys_on_public_address else Household()
