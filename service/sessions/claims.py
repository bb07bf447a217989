"""Which sessions a caller may use: its tenant's own, with the model they were opened with."""

from typing import NamedTuple

from service.engine.core import Engine, LoadedModel
from service.engine.errors import ModelNotFound, ModelWithdrawn
from service.sessions.errors import (
    ModelChanged,
    SessionError,
    SessionGone,
    SessionNotFound,
    SessionsFull,
)
from service.sessions.records import Found, Gone, Record
from service.sessions.store import Full, Outcome


class Caller(NamedTuple):
    """Who steps sessions, and of which model."""

    tenant: str
    model: str | None  # None: of any

    def own(self, session: str, found: Found) -> Record:
        """Return a record that the caller may step; raise SessionNotFound or SessionGone."""
        record = own(self.tenant, session, found)
        if self.model not in (None, record.model):
            raise SessionNotFound(session)
        return record


def own(tenant: str, session: str, found: Found) -> Record:
    """Return a record if it is the tenant's; raise SessionNotFound or SessionGone."""
    if found is None or found.tenant != tenant:
        raise SessionNotFound(session)
    if isinstance(found, Gone):
        raise SessionGone(session)
    return found


def refusal(session: str, outcome: Outcome) -> SessionError:
    """Return the error for a change that a store did not keep."""
    return (
        SessionsFull(tenant=outcome.tenant) if isinstance(outcome, Full) else SessionGone(session)
    )


async def pinned(engine: Engine, record: Record) -> LoadedModel:
    """Return the model a session was opened with; raise ModelChanged, and as ``Engine.model``."""
    try:
        model = await engine.model(record.model, record.version)
    except ModelWithdrawn:
        why = "was unloaded; this session goes on when it is loaded again"
        raise ModelChanged(record.model, record.version, why) from None
    except ModelNotFound:
        raise ModelChanged(record.model, record.version) from None
    if model.sha256 != record.model_hash:
        raise ModelChanged(record.model, record.version)
    return model
