"""A missing value where none is allowed, on every route that reads numbers; and which it was."""

from tests.corpus.routes import GRU, PLAIN, SESSION, STEPS, STREAM, VALUES, Taker
from tests.corpus.rows import UNFIT, Row
from tests.http.inprocess import ATTENTION

_MONTHS = str([24.5] * 12 + [None] + [25.5] * 11).replace("None", "null").encode()
_SHORTER = {
    VALUES: _MONTHS,
    b"[1, %d, 1]" % STEPS: b"[1, 24, 1]",
    GRU.encode(): ATTENTION.encode(),
    b'"week"': b'"month"',
    b'"horizon": 13': b'"horizon": 6',
    SESSION.encode(): PLAIN.encode(),
}


def _body(taker: Taker) -> bytes:
    body = taker.body
    for old, new in _SHORTER.items():
        body = body.replace(old, new)
    return body


def _path(taker: Taker) -> str:
    path = taker.path.replace(GRU, ATTENTION).replace(STREAM, ATTENTION)
    return path.replace(SESSION, PLAIN)


def _says(taker: Taker) -> str:
    return (
        f"{taker.place}[12]: a missing value" if taker.place else "sequences[0][12][0]: a missing"
    )


ROWS = [
    Row(
        "null where a value must be",
        _body,
        422,
        UNFIT,
        says=_says,
        fits=lambda taker: VALUES in taker.body and taker.method != "WS",
        path=_path,
    )
]
