"""The corpus: what is wrong with a body, and what it is told.  One row each, for any route."""

import gzip
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from service.http.request.limits import SMALL
from tests.corpus.routes import STEPS, VALUES, Taker

MALFORMED, INVALID = "malformed-request", "invalid-request"
UNFIT = ("invalid-request", "invalid-sequence", "unfit-step")
MEDIA, ENCODING = "unsupported-media-type", "unsupported-encoding"
SECRET = "S3CRETvalue"  # noqa: S105  what no answer may repeat


@dataclass(frozen=True, slots=True)
class Row:
    """One wrong request, made from what would be a good one."""

    name: str
    body: Callable[[Taker], bytes]
    status: int
    type: str | tuple[str, ...]
    headers: Mapping[str, str | None] = field(default_factory=dict)  # None: not sent
    says: Callable[[Taker], str] = lambda _: ""  # begins the detail
    answers: str = ""  # a header that the answer has
    fits: Callable[[Taker], bool] = lambda _: True
    path: Callable[[Taker], str] = lambda taker: taker.path

    def on(self, taker: Taker) -> "Row":
        """Return what it is on a route: beyond what that takes, it is too large, whatever else."""
        if not taker.orders or self.headers or len(self.body(taker)) <= SMALL:
            return self
        return replace(self, status=413, type="body-too-large", says=lambda _: "", answers="")


def _is_http(taker: Taker) -> bool:
    return taker.method != "WS"


def _has_numbers(taker: Taker) -> bool:
    return bool(taker.place)


def _malformed() -> list[Row]:
    bodies: dict[str, Callable[[Taker], bytes]] = {
        "blank": lambda _: b" \n",
        "truncated": lambda it: it.body[:-1],
        "half": lambda it: it.body[: len(it.body) // 2],
        "trailing garbage": lambda it: it.body + b" x",
        "two documents": lambda it: it.body * 2,
        "NUL behind": lambda it: it.body + b"\0",
        "a comment": lambda it: b"/* so */" + it.body,
        "a comment behind": lambda it: it.body + b"// so",
        "a trailing comma": lambda it: it.body[:-1] + b",}",
        "single quotes": lambda it: it.body.replace(b'"', b"'"),
        "a byte order mark": lambda it: b"\xef\xbb\xbf" + it.body,
        "UTF-16": lambda it: it.body.decode().encode("utf-16"),
        "UTF-16 without a mark": lambda it: it.body.decode().encode("utf-16-le"),
        "UTF-32": lambda it: it.body.decode().encode("utf-32"),
        "invalid UTF-8": lambda it: _with(it, b'"\xff"'),
        "overlong UTF-8": lambda it: _with(it, b'"\xc0\xaf"'),
        "a surrogate in UTF-8": lambda it: _with(it, b'"\xed\xa0\x80"'),
        "a lone high surrogate": lambda it: _with(it, rb'"\ud800"'),
        "a lone low surrogate": lambda it: _with(it, rb'"\udc00 "'),
        "a lone surrogate in a key": lambda it: b'{"\\ud800": 1,' + it.body[1:],
        "a control character": lambda it: _with(it, b'"\x01"'),
        "a line feed in a string": lambda it: _with(it, b'"\n"'),
        "a vertical tab between": lambda it: b"\x0b" + it.body,
        "an unknown escape": lambda it: _with(it, rb'"\x41"'),
        "NaN": lambda it: _with(it, b"NaN"),
        "Infinity": lambda it: _with(it, b"Infinity"),
        "minus infinity": lambda it: _with(it, b"-Infinity"),
        "1e400": lambda it: _with(it, b"1e400"),
        "a leading zero": lambda it: _with(it, b"01"),
        "a number of 65 characters": lambda it: _with(it, b"1" * 65),
        "a fraction of 66 characters": lambda it: _with(it, b"0." + b"1" * 64),
        "a million digits": lambda it: _with(it, b"1" * 10**6),
        "a key twice": lambda it: _doubled(it.body),
        "a key twice, once escaped": lambda it: _doubled(it.body, escaped=True),
        "a key twice further in": lambda it: _with(it, b'[[{"a": 1, "b": {}, "a": 2}]]'),
        "33 deep": lambda it: _with(it, b"[" * 32 + b"]" * 32),
        "33 objects deep": lambda it: _with(it, b'{"a":' * 32 + b"1" + b"}" * 32),
        "deep without end": lambda it: it.body[:1] + b"[" * 100_000,
        "deep as the body": lambda _: b"[" * 2000 + b"]" * 2000,
    }
    rows = [Row(name, body, 400, MALFORMED) for name, body in bodies.items()]
    return [*rows, Row("empty", lambda _: b"", 400, MALFORMED, fits=lambda it: not it.optional)]


def _unusable() -> list[Row]:
    wrong = {"null": b"null", "a number": b"7", "a string": b'"x"', "true": b"true", "[]": b"[]"}
    rows = [Row(name, lambda _, body=body: body, 422, INVALID) for name, body in wrong.items()]
    return [
        *rows,
        Row("in an array", lambda it: b"[" + it.body + b"]", 422, INVALID),
        Row("an unknown field", lambda it: _with(it, b"1"), 422, INVALID, says=lambda _: _UNKNOWN),
        Row("a misspelt field", _misspelt, 422, INVALID, says=_meant),
        Row("a field that is a secret", lambda it: _with(it, f'"{SECRET}"'.encode()), 422, INVALID),
        Row("32 deep", lambda it: _with(it, b"[" * 31 + b"]" * 31), 422, INVALID),
        Row("64 digits", lambda it: _with(it, b"1" * 64), 422, INVALID),
        Row("a hundred keys", lambda it: b"{" + _KEYS + b"," + it.body[1:], 422, INVALID),
        Row("no field", lambda _: b"{}", 422, INVALID, fits=lambda it: not it.optional),
        Row("the numbers missing", _without_numbers, 422, INVALID, fits=_names_numbers),
        Row("too many elements", lambda it: _with(it, _MANY), 422, "too-many-elements"),
    ]


def _framed() -> list[Row]:
    types = {
        "text": "text/plain",
        "a form": "application/x-www-form-urlencoded",
        "a multipart form": "multipart/form-data; boundary=x",
        "a pickle": "application/vnd.python.pickle",
        "JSON lines": "application/jsonl",
        "two types": "application/json, text/plain",
        "no type of any kind": ";",
    }
    packed = {
        "brotli": ("br", lambda it: it.body),
        "several encodings": ("gzip, gzip", lambda it: gzip.compress(gzip.compress(it.body))),
        "no gzip": ("gzip", lambda it: it.body),
        "half a gzip": ("gzip", lambda it: gzip.compress(it.body)[:-9]),
        "a gzip and more": ("gzip", lambda it: gzip.compress(it.body) + b"x"),
        "zlib as gzip": ("gzip", lambda it: zlib.compress(it.body)),
        "gzip as deflate": ("deflate", lambda it: gzip.compress(it.body)),
    }
    rows = [
        Row(name, _good, 415, MEDIA, {"content-type": kind}, _expected, "accept", _is_http)
        for name, kind in types.items()
    ]
    rows += [
        Row(name, body, 415, ENCODING, {"content-encoding": by}, answers="accept-encoding")
        for name, (by, body) in packed.items()
    ]
    rows += [
        Row(f"a deadline of {asked}", _good, 400, MALFORMED, {"x-request-timeout-ms": asked})
        for asked in (
            "0",
            "-1",
            "1.5",
            "NaN",
            "1e3",
            "soon",
            "9" * 40,
            "٣".encode().decode("latin-1"),
        )
    ]
    rows += [
        Row("no type", _good, 415, MEDIA, {"content-type": None}, _expected, "accept", _is_typed),
        Row("too large", lambda _: b" " * 3_000_001, 413, "body-too-large"),
        Row("too large inflated", lambda _: _BOMB, 413, "body-too-large", _GZIP),
        Row("malformed inflated", lambda _: gzip.compress(b"{"), 400, MALFORMED, _GZIP),
        Row("another tenant's", _good, 422, INVALID, {"x-tenant": "a b"}, fits=_is_of_sessions),
    ]
    return [_over_http(row) for row in rows]


def _sequences() -> list[Row]:
    bad: dict[str, tuple[bytes, str]] = {
        "no steps": (b"[]", ""),
        "a step without features": (b"[[]]", "[0]"),
        "later a step without features": (b"[[1],[]]", "[1]"),
        "a ragged row": (b"[" + b"[1]," * 17 + b"[1,2]]", "[17]"),
        "a deeper row": (b"[[[1]]]", "[0][0]"),
        "a row among numbers": (b"[1,[2]]", "[1]"),
        "a number among rows": (b"[[1],2]", "[1]"),
        "a string": (VALUES[:-1] + f',"{SECRET}"]'.encode(), f"[{STEPS}]"),
        "a string in a row": (f'[[1],["{SECRET}"]]'.encode(), "[1][0]"),
        "a boolean": (VALUES[:-1] + b",true]", f"[{STEPS}]"),
        "an object": (VALUES[:-1] + b',{"a":1}]', f"[{STEPS}]"),
        "beyond float32": (VALUES[:-1] + b",1e39]", f"[{STEPS}]"),
        "far beyond float32": (VALUES[:-1] + b",-1e300]", f"[{STEPS}]"),
        "an integer beyond float32": (VALUES[:-1] + b"," + b"9" * 60 + b"]", f"[{STEPS}]"),
        "too many features": (b"[" + b"[1,2]," * 39 + b"[1,2]]", ""),
        "null": (b"null", ""),
        "a number": (b"7", ""),
        "text": (f'"{SECRET}"'.encode(), ""),
    }
    rows = [
        Row(
            f"numbers: {name}",
            lambda it, values=values: it.with_values(values),
            422,
            UNFIT,
            says=lambda it, where=where: it.place + where,
            fits=_has_numbers if name != "null" else _needs_numbers,
        )
        for name, (values, where) in bad.items()
    ]
    rows.append(
        Row(
            "numbers: an object in their place",
            lambda it: it.with_values(b'{"a": [1]}'),
            422,
            UNFIT,
            says=lambda it: (
                it.place if b'"values"' in it.body else it.place.replace(".values", ".a")
            ),
            fits=_has_numbers,
        )
    )
    rows.append(
        Row(
            "numbers: an answer that is not finite",
            lambda it: it.with_values(_EXTREME),
            422,
            "model-non-finite",
            says=lambda it: it.place.split(".")[0],
            fits=_has_numbers,
        )
    )
    bounds = {"too short": b"[1]", "too long": str([1.0] * 105).encode()}
    rows += [
        Row(
            f"numbers: {name}",
            lambda it, values=values: it.with_values(values),
            422,
            UNFIT,
            says=lambda it: it.place,
            fits=lambda it: it.bounded,
        )
        for name, values in bounds.items()
    ]
    return rows


def _good(taker: Taker) -> bytes:
    return taker.body


def _with(taker: Taker, value: bytes) -> bytes:
    """Return a body with one field more."""
    return b'{"field": ' + value + b", " + taker.body[1:]


def _misspelt(taker: Taker) -> bytes:
    return taker.body.replace(_key(taker.body), _key(taker.body)[:-1] + b'x"', 1)


def _meant(taker: Taker) -> str:
    name = _key(taker.body).decode().strip('"')
    return f"{name}x: unknown field; expected {name}"


def _key(body: bytes) -> bytes:
    return body[1 : body.index(b":")]


def _doubled(body: bytes, *, escaped: bool = False) -> bytes:
    key = _key(body)
    if escaped:
        key = b'"\\u%04x' % key[1] + key[2:]
    return body[:-1] + b", " + key + b": 1}"


def _without_numbers(taker: Taker) -> bytes:
    key = taker.place.rpartition(".")[2].encode()
    return taker.body.replace(b'"' + key + b'": ' + VALUES, b'"id": "x"')


def _needs_numbers(taker: Taker) -> bool:
    return _has_numbers(taker) and not taker.optional


def _names_numbers(taker: Taker) -> bool:
    return (
        _needs_numbers(taker) and not taker.place.endswith("[0].values")
    ) or "/steps" in taker.path


def _expected(_: Taker) -> str:
    return "Send the body with the Content-Type application/json"


def _is_typed(taker: Taker) -> bool:
    return not taker.untyped


def _is_of_sessions(taker: Taker) -> bool:
    return "/sessions" in taker.path or taker.path.endswith("/steps")


def _over_http(row: Row) -> Row:
    def fits(taker: Taker) -> bool:
        return _is_http(taker) and row.fits(taker)

    return Row(row.name, row.body, row.status, row.type, row.headers, row.says, row.answers, fits)


_UNKNOWN = "field: unknown field; expected "
_GZIP = {"content-encoding": "gzip"}
_BOMB = gzip.compress(b" " * 2**26)
_KEYS = b",".join(b'"k%d": 1' % number for number in range(100))
_EXTREME = str([3e38, -3e38] * (STEPS // 2)).encode()  # which no network's answer bears
_MANY = b"[" + b"[4]," * 250_000 + b"4]"
ROWS = [*_malformed(), *_unusable(), *_framed(), *_sequences()]
