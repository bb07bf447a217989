"""Steps over one WebSocket: the numbers and errors of HTTP, without a request for each."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.types import Message

from service.engine.catalogue import MAIN
from service.engine.core import Engine
from service.engine.errors import EngineError
from service.engine.jobs import ORIGIN
from service.http.denial import deny
from service.http.errors import DeadlineExceeded, InvalidRequest, RequestError, TooManyBodies
from service.http.gate import VISITOR, Visitor
from service.http.limits import Limits
from service.http.problems import document
from service.http.reading import LARGE, Hold
from service.http.records import Records, Visit, identify
from service.http.routes.named import Name
from service.http.routes.steps import one
from service.http.routes.tenants import tenant_of
from service.http.schemas.document import check_elements, parse
from service.http.schemas.steps import NamedStep, read_named
from service.keys.errors import AccessError
from service.sessions.sessions import Sessions

ROUTE, SWITCHED = "/v1/models/{name}/stream", 101
AT_ONCE = 256  # messages that are answered together; the rest waits in the socket


class Who(NamedTuple):
    """Who streams, to which model."""

    tenant: str
    model: str
    request_id: str
    visitor: Visitor | None


def router(engine: Engine, sessions: Sessions, limits: Limits, records: Records) -> APIRouter:
    """Return the route of the streams of an engine's sessions."""
    routes = APIRouter(prefix="/v1", tags=["sessions"])

    @routes.websocket("/models/{name}/stream")
    async def stream(socket: WebSocket, name: Name) -> None:
        """
        Answer each message, which is a step with its session and number, in the order sent.

        What came while the last messages were answered is answered together.
        """
        request_id = identify(socket.headers.get("x-request-id"))
        try:
            who = Who(tenant_of(socket), name, request_id, socket.scope.get(VISITOR))
            await engine.model(name, MAIN)
        except (EngineError, InvalidRequest, AccessError) as exc:
            await deny(socket, exc, records, request_id)
            return
        await socket.accept(headers=[(b"x-request-id", request_id.encode())])
        began = time.perf_counter()
        try:
            async for messages in _together(socket):
                with _traced(records, socket, request_id):
                    answers = await _answers(sessions, messages, who, limits)
                for said in answers:
                    await socket.send_text(said.decode())
        except WebSocketDisconnect:  # while it was answered: what was taken is stored
            pass
        finally:
            seconds = time.perf_counter() - began
            visit = Visit(request_id, "GET", socket.url.path, ROUTE, SWITCHED, seconds)
            records.add(visit._replace(caller=socket.scope.get("caller")))

    return routes


@contextmanager
def _traced(records: Records, socket: WebSocket, request_id: str) -> Iterator[None]:
    """Trace messages that are answered together, as if they were a request."""
    began, origin = time.perf_counter(), records.begin("GET", socket.scope["headers"])
    carried = ORIGIN.set(origin)
    try:
        yield
    finally:
        ORIGIN.reset(carried)
        path, seconds = socket.url.path, time.perf_counter() - began
        records.end(Visit(request_id, "GET", path, ROUTE, SWITCHED, seconds, origin=origin))


async def _answers(
    sessions: Sessions, messages: list[bytes], who: Who, limits: Limits
) -> list[bytes]:
    """Return what each message is told, in order."""
    request_id = who.request_id
    charged = [await _charge(who) for _ in messages]
    size = sum(map(len, messages))
    try:
        with Hold(limits.reading) as hold:
            hold.grow(size)
            read = await hold.read(
                lambda: [
                    refused or _read(message, request_id, limits)
                    for refused, message in zip(charged, messages, strict=True)
                ],
                large=size > LARGE,
            )
    except TooManyBodies as exc:
        return [_refusal(exc, request_id) for _ in messages]
    steps = [each for each in read if isinstance(each, NamedStep)]
    milliseconds = limits.request_timeout_ms
    try:
        async with asyncio.timeout(milliseconds / 1000):
            told = iter(await sessions.step(who.tenant, steps, who.model))
    except TimeoutError:
        late = DeadlineExceeded(milliseconds)
        return [each if isinstance(each, bytes) else _refusal(late, request_id) for each in read]
    return [each if isinstance(each, bytes) else one(each, next(told), request_id) for each in read]


async def _charge(who: Who) -> bytes | None:
    """Count a message against the limits of its key; return what to say if it is one too many."""
    try:
        if who.visitor is not None:
            await who.visitor.charge()
    except AccessError as exc:
        return _refusal(exc, who.request_id)
    return None


def _read(message: bytes, request_id: str, limits: Limits) -> NamedStep | bytes:
    """Return the step of a message, or why it is none."""
    try:
        if len(message) > limits.max_elements:
            check_elements(message, limits.max_elements)
        return read_named(parse(message), "")
    except RequestError as exc:
        return _refusal(exc, request_id)


def _refusal(exc: Exception, request_id: str) -> bytes:
    problem = document(exc, request_id)
    return orjson.dumps({"status": problem["status"], "problem": problem})


async def _together(socket: WebSocket) -> AsyncIterator[list[bytes]]:
    """Yield the messages that have come, at least one each time, until the client leaves."""
    waiting: asyncio.Task[Message] | None = None
    try:
        while True:
            waiting = waiting or asyncio.create_task(socket.receive())
            messages = [_payload(await waiting)]
            waiting = asyncio.create_task(socket.receive())
            while len(messages) < AT_ONCE:
                await asyncio.sleep(0)  # what has come already is there after one turn of the loop
                if not waiting.done():
                    break
                messages.append(_payload(waiting.result()))
                waiting = asyncio.create_task(socket.receive())
            yield messages
    except WebSocketDisconnect:
        return
    finally:
        if waiting is not None:
            waiting.cancel()


def _payload(message: Message) -> bytes:
    """Return the bytes of a message; raise WebSocketDisconnect for the last one."""
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
    data: bytes | None = message.get("bytes")
    return data if data is not None else message["text"].encode()
