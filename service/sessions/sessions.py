"""Sessions: streams whose state is stored and survives retries and crashes; no HTTP."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from service.engine.core import Engine, LoadedModel
from service.engine.jobs import Answer
from service.sessions.claims import own, pinned, refusal
from service.sessions.codec import decode, encode
from service.sessions.errors import NotASession, StepRunning
from service.sessions.live import Live
from service.sessions.observer import NullObserver, Observer
from service.sessions.records import Record
from service.sessions.shadows import Seen, Shadows
from service.sessions.stepping import Aging, Clock, Scoring, Stepper
from service.sessions.steps import Advance, Inputs, take
from service.sessions.store import Change, Conflict, Store, Stored
from service.sessions.stream import Stream
from service.sessions.tokens import Exported, seal, unseal
from service.sessions.turns import Session, Step, Told

_AT_ONCE = 1_000  # sessions expired in one transaction, at most


class Opened(NamedTuple):
    """A new session, and the forecast after its history; None if that is too short."""

    session: Session
    answer: Answer | None = None


class Looked(NamedTuple):
    """A stored session, and the model it was opened with."""

    session: Session
    model: LoadedModel


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How long sessions are kept, and the key that signs exported states."""

    idle_seconds: float = 86_400.0  # after its last step a session expires
    key: bytes = field(default=b"", repr=False)  # empty: the store's own


class Sessions:
    """
    Open, step, look at, fork and close the sessions of one store.

    A step's state, number and answer are stored in one transaction before the answer is
    returned: an acknowledged step is never lost, and never taken twice.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        *,
        options: SessionOptions | None = None,
        observer: Observer | None = None,
        clock: Clock = time.time,
    ) -> None:
        self._engine = engine
        self.store = store
        observer = observer or NullObserver()
        self.live = Live(observer)
        self.options = options or SessionOptions()
        self._clock = clock
        self._aging = Aging(self.options.idle_seconds, clock)
        self.shadows = Shadows(engine, observer)
        scoring = Scoring(self.live, self.shadows)
        self._stepper = Stepper(engine, store, scoring, observer, self._aging)

    async def open(
        self, model: LoadedModel, tenant: str, stream: Stream, history: Inputs | None = None
    ) -> Opened:
        """
        Open a session with a stream, after it has read a history if one is given.

        Raises SessionsFull, StoreUnavailable, and all that ``Engine.predict`` does.
        """
        began, answer = stream, None
        if history is not None:
            advance = Advance(stream, history)
            await take(model, [advance])
            if advance.error is not None:
                raise advance.error
            stream, answer = advance.stream, advance.answer
        record = await self._create(model, tenant, encode(stream), 0)
        if history is not None:
            self.shadows.note(model, [Seen(record.id, began, history, stream)])
        return Opened(Session(record, stream), answer)

    async def step(
        self, tenant: str, steps: Sequence[Step], model: str | None = None
    ) -> list[Told]:
        """Take steps of any sessions, or of sessions of one model; see ``Stepper.take``."""
        return await self._stepper.take(tenant, steps, model)

    async def look(self, tenant: str, session: str) -> Looked:
        """
        Return a session and its model.

        Raises SessionNotFound, SessionGone, ModelChanged or StoreUnavailable.
        """
        return await self._opened(await self._record(tenant, session))

    async def close(self, tenant: str, session: str) -> None:
        """End a session; raise SessionNotFound, SessionGone or StoreUnavailable."""
        await self._record(tenant, session)
        await self.store.close_sessions([session])

    async def fork(self, tenant: str, session: str) -> Looked:
        """Open a session with a copy of this one's state; raise as ``look``, and SessionsFull."""
        record = await self._record(tenant, session)
        model = await pinned(self._engine, record)
        return await self._opened(await self._create(model, tenant, record.state, record.step))

    async def export(self, tenant: str, session: str) -> str:
        """Return the state of a session as a token; raise as ``close``."""
        return seal(await self._record(tenant, session), await self._secret())

    async def adopt(self, model: LoadedModel, tenant: str, token: str) -> Session:
        """Open a session with the state of a token; raise NotASession, and as ``open``."""
        exported = unseal(token, await self._secret())
        _check_origin(exported, model)
        record = await self._create(model, tenant, exported.state, exported.step)
        return Session(record, decode(record.state, model.card))

    async def restore(self, tenant: str, session: str, token: str) -> Looked:
        """
        Set a session to the state of a token.

        That counts as a step: numbers never go back, so a step that was sent before cannot be
        taken for one after it.  Raises NotASession, StepRunning, SessionsFull, and as ``look``.
        """
        exported = unseal(token, await self._secret())
        record = await self._record(tenant, session)
        _check_origin(exported, await pinned(self._engine, record))
        now = self._clock()
        restored = replace(
            record,
            step=record.step + 1,
            state=exported.state,
            request=b"",
            answer=b"",
            touched=now,
            expires=self._aging.expiry(now),
        )
        (outcome,) = await self.store.write([Change(restored, after=record.step)])
        if isinstance(outcome, Conflict):
            raise StepRunning(session)
        if not isinstance(outcome, Stored):
            raise refusal(session, outcome)
        return await self._opened(restored)

    async def end(self) -> None:
        """Close the store, and end what runs beside the sessions."""
        await self.shadows.close()
        await self.store.close()

    async def expire(self) -> int:
        """Expire sessions that have been idle too long, up to a bound; return how many."""
        return await self.store.expire(self._clock(), _AT_ONCE)

    async def _record(self, tenant: str, session: str) -> Record:
        (found,) = await self.store.read([session])
        return own(tenant, session, found)

    async def _opened(self, record: Record) -> Looked:
        model = await pinned(self._engine, record)
        return Looked(Session(record, decode(record.state, model.card)), model)

    async def _create(self, model: LoadedModel, tenant: str, state: bytes, step: int) -> Record:
        now = self._clock()
        record = Record(
            id=secrets.token_urlsafe(18),
            tenant=tenant,
            model=model.entry.name,
            version=model.entry.version,
            model_hash=model.sha256,
            step=step,
            state=state,
            request=b"",
            answer=b"",
            created=now,
            touched=now,
            expires=self._aging.expiry(now),
        )
        (outcome,) = await self.store.write([Change(record, after=None)])
        if not isinstance(outcome, Stored):
            raise refusal(record.id, outcome)
        return record

    async def _secret(self) -> bytes:
        return self.options.key or await self.store.secret()


def _check_origin(exported: Exported, model: LoadedModel) -> None:
    if exported.model_hash != model.sha256:
        raise NotASession(
            f"The state is of version {exported.version} of {exported.model!r}, another file."
        )
