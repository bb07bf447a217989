"""What an application is made of; who is asked for a part need not know how it came to be."""

from service.engine.core import Engine
from service.http.access.doors import Entrance
from service.http.access.gate import Gate
from service.http.journal.records import Records, Tracing
from service.http.meters.metrics import Metrics
from service.http.request.limits import Limits
from service.http.request.reading import Reading
from service.memory import Tidy
from service.sessions.sessions import Sessions
from service.sessions.store import Store
from service.settings import Settings

BODIES = 8  # of the largest that are allowed may be here at once


class Parts:
    """The parts of one application, each there once; without a store it has no sessions."""

    def __init__(  # noqa: PLR0913, PLR0917  one part each
        self,
        engine: Engine,
        settings: Settings,
        metrics: Metrics,
        store: Store | None,
        tracing: Tracing | None,
        gate: Entrance | None,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.metrics = metrics
        self.store = store
        self.tracing = tracing
        self.gate = gate
        self.key_gate = gate if isinstance(gate, Gate) else None
        self.limits = _limits(settings)
        self.records = Records(metrics, log_requests=settings.access_log, tracing=tracing)
        self.tidy = Tidy()
        self.sessions: Sessions | None = None
        if store is not None:
            options = settings.session_options()
            self.sessions = Sessions(engine, store, options=options, observer=metrics)


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_sequences=settings.max_sequences,
        max_body_bytes=settings.max_body_bytes,
        request_timeout_ms=settings.request_timeout_ms,
        max_steps=settings.max_steps,
        max_elements=settings.max_elements,
        max_depth=settings.max_depth,
        reading=Reading(BODIES * settings.max_body_bytes),
    )
