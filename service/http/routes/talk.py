"""What the messages of a stream are told: each a step, or why it is none."""

import asyncio
from dataclasses import dataclass

import orjson

from service.http.access.gate import Visitor
from service.http.errors import DeadlineExceeded, RequestError, TooManyBodies
from service.http.problems.table import document
from service.http.request.limits import Limits
from service.http.request.reading import LARGE, Hold
from service.http.routes.steps import one
from service.http.schemas.document import parse
from service.http.schemas.steps import NamedStep, read_named
from service.keys.errors import AccessError
from service.sessions.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Talk:
    """One stream of steps of a model's sessions, and whose it is."""

    sessions: Sessions
    limits: Limits
    model: str
    tenant: str
    visitor: Visitor | None
    request_id: str

    async def answers(self, messages: list[bytes]) -> list[bytes]:
        """Return what each message is told, in order."""
        try:
            read = await self._read(messages)
        except TooManyBodies as exc:
            return [self._refusal(exc)] * len(messages)
        steps = [each for each in read if isinstance(each, NamedStep)]
        milliseconds = self.limits.request_timeout_ms
        try:
            async with asyncio.timeout(milliseconds / 1000):
                told = iter(await self.sessions.step(self.tenant, steps, self.model))
        except TimeoutError:
            late = self._refusal(DeadlineExceeded(milliseconds))
            return [each if isinstance(each, bytes) else late for each in read]
        return [
            each if isinstance(each, bytes) else one(each, next(told), self.request_id)
            for each in read
        ]

    async def _read(self, messages: list[bytes]) -> list[NamedStep | bytes]:
        """Return the step of each message, or what to say to it; raise TooManyBodies."""
        charged = [await self._charge() for _ in messages]
        size = sum(map(len, messages))

        def read() -> list[NamedStep | bytes]:
            found = zip(charged, messages, strict=True)
            return [refused or self._step(message) for refused, message in found]

        with Hold(self.limits.reading) as hold:
            hold.grow(size)
            return await hold.read(read, large=size > LARGE)

    async def _charge(self) -> bytes | None:
        """Count a message against the limits of its key; return what to say if it is too many."""
        try:
            if self.visitor is not None:
                await self.visitor.charge()
        except AccessError as exc:
            return self._refusal(exc)
        return None

    def _step(self, message: bytes) -> NamedStep | bytes:
        try:
            self.limits.check(message)
            return read_named(parse(message), "")
        except RequestError as exc:
            return self._refusal(exc)

    def _refusal(self, exc: Exception) -> bytes:
        problem = document(exc, self.request_id)
        return orjson.dumps({"status": problem["status"], "problem": problem})
