"""What runs as long as the application does, and what the protocol finds there meanwhile."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from service.http.journal.records import RECORDS
from service.http.meters.pulse import Pulse
from service.http.parts import Parts
from service.http.routes import native, oip
from service.http.transport.express import Express, HotRoute
from service.http.transport.protocol import EXPRESS
from service.http.transport.shedding import SHEDDING, Shedding
from service.http.transport.stopping import STOPPING, Stopping
from service.sessions.sweeper import sweeper

State = dict[str, object]

# The routes that have a short way, too.
HOT_ROUTES = (
    HotRoute("/v1/models/{name}/predict", native.FORMAT),
    HotRoute("/v2/models/{name}/infer", oip.FORMAT),
)


def lifetime(parts: Parts) -> Callable[[FastAPI], AbstractAsyncContextManager[State]]:
    """Return the lifespan that starts and stops the engine and what belongs to it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            if parts.tracing is not None:
                stack.push_async_callback(parts.tracing.close)
            stack.enter_context(parts.limits.reading)
            await stack.enter_async_context(parts.engine)
            if parts.sessions is not None:
                stack.push_async_callback(parts.sessions.end)
                await stack.enter_async_context(sweeper(parts.sessions))
            if parts.key_gate is not None:
                await stack.enter_async_context(parts.key_gate.followed())
            await stack.enter_async_context(Pulse(parts.metrics, parts.engine))
            await stack.enter_async_context(parts.tidy.regularly())
            yield _state(parts)
        parts.metrics.flush()

    return lifespan


def _state(parts: Parts) -> State:
    """Return what the protocol looks for: who counts and who stops, and the short way."""
    engine, records = parts.engine, parts.records
    state: State = {STOPPING: Stopping(engine), RECORDS: records}
    if parts.settings.express:
        state[EXPRESS] = Express(
            engine, parts.limits, records, parts.tidy, HOT_ROUTES, parts.key_gate
        )
        state[SHEDDING] = Shedding(parts.metrics.requests)
    return state
