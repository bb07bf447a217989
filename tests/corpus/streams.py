"""What is wrong with a WebSocket: its handshake, its frames, its steps; and what each is told."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.corpus.frames import BINARY, CONT, PING, TEXT, closing, frame
from tests.corpus.names import NAMES
from tests.corpus.routes import STREAM
from tests.corpus.rows import INVALID, MALFORMED

PATH = f"/v1/models/{STREAM}/stream"
PROTOCOL, PAYLOAD, TOO_BIG = 1002, 1007, 1009  # codes of closing
_KEY = "A" * 22 + "=="
_HTTP, _UPGRADE, _VERSION = "malformed-http", "upgrade-required", "websocket-version"


@dataclass(frozen=True, slots=True)
class Handshake:
    """An upgrade that is none, and its answer."""

    name: str
    status: int
    type: str
    changes: Mapping[str, str | None] = field(default_factory=dict)
    path: str = PATH
    method: str = "GET"
    answers: str = ""  # a header that the answer has


@dataclass(frozen=True, slots=True)
class Spoken:
    """Bytes on a stream that is open, made from the next good step, and what they are told."""

    name: str
    raw: Callable[[dict[str, Any]], bytes]
    status: int = 0  # of a problem, after which the stream goes on
    type: str = ""
    code: int = 0  # with which the stream is closed
    elsewhere: bool = False  # with a session of another model


def _handshakes() -> list[Handshake]:
    key, version = "Sec-WebSocket-Key", "Sec-WebSocket-Version"
    keys = {"no key": None, "a short key": "abc", "a key of 8 bytes": "AAAAAAAAAAA="}
    keys |= {
        "a key that is no base64": "*" * 24,
        "two keys": f"{'A' * 22}==\r\n{key}: {'A' * 22}==",
    }
    versions = {"no version": None, "version 8": "8", "a version of letters": "x", "two": "13, 8"}
    plain: dict[str, dict[str, str | None]] = {
        "no Connection": {"Connection": None},
        "another Connection": {"Connection": "keep-alive"},
        "no Upgrade": {"Upgrade": None},
        "another Upgrade": {"Upgrade": "h2c"},
    }
    return [
        *(Handshake(name, 400, _HTTP, {key: value}) for name, value in keys.items()),
        *(
            Handshake(name, 426, _VERSION, {version: value}, answers="sec-websocket-version")
            for name, value in versions.items()
        ),
        *(
            Handshake(name, 426, _UPGRADE, changes, answers="upgrade")
            for name, changes in plain.items()
        ),
        *(
            Handshake(name, 404, kind, path=PATH.replace(STREAM, value))
            for name, value in NAMES.items()
            for kind in ["not-found" if "%2f" in value else "model-not-found"]
        ),
        Handshake("a subprotocol that is none", 400, _HTTP, {"Sec-WebSocket-Protocol": "a b"}),
        Handshake("a POST", 405, "method-not-allowed", method="POST", answers="allow"),
        Handshake("a body", 400, _HTTP, {"Content-Length": "5"}),
        Handshake("no Host", 400, _HTTP, {"Host": None}),
        Handshake("not its tenant", 422, INVALID, {"x-tenant": "a b"}),
    ]


def _says(**changes: Any) -> Callable[[dict[str, Any]], bytes]:
    """Return what sends a good step with some fields changed, or left out."""
    return lambda good: frame(TEXT, _document(good | changes))


def _document(step: dict[str, Any]) -> bytes:
    return json.dumps({key: value for key, value in step.items() if value is not ...}).encode()


def _ahead(good: dict[str, Any]) -> bytes:
    return _document(good | {"step": good["step"] + 6})


def _pieces(opcode: int, payload: bytes, *, between: bytes = b"", size: int = 1) -> bytes:
    """Return a message in fragments of so many bytes, and what is sent after each."""
    parts = [payload[begin : begin + size] for begin in range(0, len(payload), size)]
    last = len(parts) - 1
    return b"".join(
        frame(CONT if index else opcode, part, fin=index == last) + between * (index < last)
        for index, part in enumerate(parts)
    )


def _framed() -> list[Spoken]:
    """Return messages that are framed unusually, and told what they would be told otherwise."""
    framings: dict[str, Callable[[bytes], bytes]] = {
        "in binary": lambda it: frame(BINARY, it),
        "in fragments": lambda it: _pieces(TEXT, it),
        "in fragments of binary": lambda it: _pieces(BINARY, it, size=20),
        "in fragments and pings": lambda it: _pieces(TEXT, it, between=frame(PING, b"x"), size=9),
        "in a fragment and nothing": lambda it: frame(TEXT, it, fin=False) + frame(CONT),
        "with a length of 2 bytes": lambda it: frame(TEXT, it, wide=2),
        "with a length of 8 bytes": lambda it: frame(TEXT, it, wide=8),
    }
    return [
        Spoken(f"a gap {name}", lambda good, make=make: make(_ahead(good)), 409, "wrong-step")
        for name, make in framings.items()
    ]


def _refused() -> list[Spoken]:
    numbers = (0, -1, 10**15, 2**63, 10**40, 1.0, "1", True, None, [1], ...)
    sessions = (7, None, "a" * 300, True, ["x"], ...)
    return [
        *(Spoken(f"step {each!r}", _says(step=each), 422, INVALID) for each in numbers),
        *(Spoken(f"session {each!r:.20}", _says(session=each), 422, INVALID) for each in sessions),
        Spoken("no values", _says(values=...), 422, INVALID),
        Spoken("a level twice", _says(quantiles=[0.5, 0.5]), 422, "unfit-step"),
        Spoken("a level that is text", _says(quantiles=["x"]), 422, INVALID),
        Spoken("an unknown explanation", _says(explain=["why"]), 422, INVALID),
        Spoken("an explanation of none", _says(explain=["attention"]), 422, "unfit-step"),
        Spoken("a session of dots", _says(session="../.."), 404, "session-not-found"),
        Spoken("an unknown session", _says(session="0" * 24), 404, "session-not-found"),
        Spoken("another model's", _says(), 404, "session-not-found", elsewhere=True),
        Spoken("an old step", _says(step=1), 409, "wrong-step"),
        Spoken("no text", lambda _: frame(TEXT), 400, MALFORMED),
        Spoken("no bytes", lambda _: frame(BINARY), 400, MALFORMED),
        Spoken("bytes of no UTF-8", lambda _: frame(BINARY, b'"\xff"'), 400, MALFORMED),
        Spoken("text of NULs", lambda _: frame(TEXT, bytes(9)), 400, MALFORMED),
    ]


def _closed() -> list[Spoken]:
    def whole(good: dict[str, Any]) -> bytes:
        return _document(good)

    broken: dict[str, Callable[[dict[str, Any]], bytes]] = {
        "not masked": lambda it: frame(TEXT, whole(it), masked=False),
        "deflated, which was not agreed": lambda it: frame(TEXT, whole(it), reserved=4),
        "reserved bits": lambda it: frame(TEXT, whole(it), reserved=3),
        "an unknown opcode": lambda it: frame(3, whole(it)),
        "an unknown control frame": lambda it: frame(11, whole(it)),
        "the end of nothing": lambda it: frame(CONT, whole(it)),
        "one message in another": lambda it: frame(TEXT, b"[", fin=False) + frame(TEXT, whole(it)),
        "half a ping": lambda _: frame(PING, b"x", fin=False),
        "a long ping": lambda _: frame(PING, b"x" * 126),
        "HTTP": lambda _: b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
        "half a code": lambda _: frame(8, b"\x03"),
    }
    broken |= {
        f"code {code}": lambda _, code=code: closing(code)
        for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)
    }
    text = {
        "no UTF-8": lambda _: frame(TEXT, b'"\xff"'),
        "half a letter": lambda _: frame(TEXT, b'"\xc3'),
        "no UTF-8 in fragments": lambda _: _pieces(TEXT, b'"\xc3\x28"'),
        "a reason of no UTF-8": lambda _: closing(1000, b"\xff"),
    }
    large = {
        "too large": lambda _: frame(TEXT, b" " * 3_000_001),
        "too large in fragments": lambda _: _pieces(TEXT, b" " * 3_000_001, size=1_000_001),
        "a length without end": lambda _: frame(TEXT, length=2**62),
        "a length that is negative": lambda _: frame(TEXT, length=2**63),
    }
    return [
        *(Spoken(name, raw, code=PROTOCOL) for name, raw in broken.items()),
        *(Spoken(name, raw, code=PAYLOAD) for name, raw in text.items()),
        *(Spoken(name, raw, code=TOO_BIG) for name, raw in large.items()),
        Spoken(
            "a step after the end", lambda it: closing(1000) + frame(TEXT, whole(it)), code=1000
        ),
    ]


HANDSHAKES = _handshakes()
SPOKEN = [*_framed(), *_refused(), *_closed()]
