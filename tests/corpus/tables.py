"""Arrow streams that are none, or not what a model reads, for the routes of predict."""

import polars as pl

from tests.corpus.routes import STEPS, Taker
from tests.corpus.rows import MALFORMED, SECRET, UNFIT, Row
from tests.http.inprocess import weeks
from tests.http.tables import ARROW, long, stream

_GOOD = long({"a": weeks(STEPS)})
_FRAMES = {
    "no rows": _GOOD.head(0),
    "no series": _GOOD.drop("unique_id"),
    "no values": _GOOD.drop("co2"),
    "a column more": _GOOD.with_columns(more=pl.lit(SECRET)),
    "texts as values": _GOOD.with_columns(pl.lit(SECRET).alias("co2")),
    "a null id": _GOOD.with_columns(pl.lit(None, pl.String).alias("unique_id")),
    "an id without end": _GOOD.with_columns(pl.lit("x" * 300).alias("unique_id")),
    "an infinite value": _GOOD.with_columns(pl.lit(float("inf")).alias("co2")),
    "beyond float32": _GOOD.with_columns(pl.lit(1e39).alias("co2")),
    "all missing": _GOOD.with_columns(pl.lit(None, pl.Float64).alias("co2")),
    "too short": _GOOD.head(1),
    "too long": long({"a": weeks(105)}),
    "times that stand still": _GOOD.with_columns(pl.col("ds").first()),
    "a series that comes back": pl.concat([_GOOD, long({"b": weeks(STEPS)}), _GOOD]),
    "too many series": long({str(number): weeks(26) for number in range(70)}),
}
_TABLES = {name: stream(frame) for name, frame in _FRAMES.items()}
_WHOLE = stream(_GOOD)
_STREAMS = {
    "nothing": b"",
    "JSON": b'{"sequences": [[1]]}',
    "half a stream": _WHOLE[: len(_WHOLE) // 2],
    "a stream and more": _WHOLE + b"more",
    "two streams": _WHOLE * 2,
    "a file of Arrow": b"ARROW1\0\0" + _WHOLE,
    "a length without end": b"\xff\xff\xff\xff\xff\xff\xff\x7f" + _WHOLE[8:],
}


def _fits(taker: Taker) -> bool:
    return taker.template.endswith("/predict")


ROWS = [
    *(
        Row(f"table: {name}", lambda _, body=body: body, 422, UNFIT, ARROW, fits=_fits)
        for name, body in _TABLES.items()
    ),
    Row(
        "table: compressed",
        lambda _: stream(_GOOD, compression="zstd"),
        422,
        UNFIT,
        ARROW,
        fits=_fits,
    ),
    *(
        Row(f"stream: {name}", lambda _, body=body: body, 400, MALFORMED, ARROW, fits=_fits)
        for name, body in _STREAMS.items()
    ),
]
