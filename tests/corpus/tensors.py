"""Tensors that are not what they say, in JSON and in binary, for the routes of infer."""

import json
from typing import Any

import numpy as np

from tests.corpus.routes import STEPS, Taker
from tests.corpus.rows import MALFORMED, SECRET, UNFIT, Row
from tests.http.inprocess import weeks

_VALUES = weeks(STEPS)
_FLOATS = np.array(_VALUES, np.float32)
_LENGTH = "inference-header-content-length"


def _fits(taker: Taker) -> bool:
    return taker.template.endswith("/infer")


def _input(**changes: Any) -> dict[str, Any]:
    found = {"name": "sequences", "shape": [1, STEPS, 1], "datatype": "FP32", "data": _VALUES}
    return {key: value for key, value in (found | changes).items() if value is not ...}


def _document(*inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs)} | more).encode()


def _row(name: str, body: bytes, *, says: str = "", status: int = 422, **headers: str) -> Row:
    kinds = UNFIT if status == 422 else MALFORMED
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    return Row(name, lambda _: body, status, kinds, sent, says=lambda _: says, fits=_fits)


_PLACE = "inputs[0]"
_INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "no batch": ({"shape": [0, STEPS, 1], "data": []}, ".shape[0]"),
    "no time": ({"shape": [1, 0, 1], "data": []}, ".shape[1]"),
    "no features": ({"shape": [1, STEPS, 0], "data": []}, ".shape[2]"),
    "a negative dimension": ({"shape": [-1, STEPS, 1]}, ".shape[0]"),
    "two negative dimensions": ({"shape": [-1, -STEPS, 1]}, ".shape[0]"),
    "a fractional dimension": ({"shape": [1, STEPS + 0.5, 1]}, ".shape[1]"),
    "a whole fraction": ({"shape": [1.0, STEPS, 1]}, ".shape[0]"),
    "a dimension that is true": ({"shape": [True, STEPS, 1]}, ".shape[0]"),
    "a dimension of text": ({"shape": [1, SECRET, 1]}, ".shape[1]"),
    "an overflowing shape": ({"shape": [2**62, 2**62, 1]}, ".data"),
    "a dimension beyond 64 bits": ({"shape": [10**30, STEPS, 1]}, ".shape[0]"),
    "too few dimensions": ({"shape": [1, STEPS]}, ".shape"),
    "too many dimensions": ({"shape": [1, STEPS, 1, 1]}, ".shape"),
    "no shape": ({"shape": ...}, ".shape"),
    "a shape that is null": ({"shape": None}, ".shape"),
    "a shape that is an object": ({"shape": {}}, ".shape"),
    "fewer numbers": ({"data": _VALUES[:-1]}, ".data"),
    "more numbers": ({"data": [*_VALUES, 1.0]}, ".data"),
    "no numbers": ({"data": []}, ".data"),
    "ragged numbers": ({"data": [[[1.0]] * 59 + [[1.0, 2.0]]]}, ".data[0][59]"),
    "deeper numbers": ({"data": [[[[1.0]]] * STEPS]}, ".data"),
    "text among numbers": ({"data": [*_VALUES[:-1], SECRET]}, ".data[59]"),
    "true among numbers": ({"data": [*_VALUES[:-1], True]}, ".data[59]"),
    "an object among numbers": ({"data": [*_VALUES[:-1], {}]}, ".data[59]"),
    "no data": ({"data": ...}, ".data"),
    "data that is null": ({"data": None}, ".data"),
    "data that is text": ({"data": SECRET}, ".data"),
    "another datatype": ({"datatype": "FP64"}, ".datatype"),
    "bytes": ({"datatype": "BYTES", "data": ["a"] * STEPS}, ".datatype"),
    "no datatype": ({"datatype": ...}, ".datatype"),
    "an unknown input": ({"name": "images"}, ".name"),
    "no name": ({"name": ...}, ".name"),
    "a name that is a number": ({"name": 7}, ".name"),
    "an unknown field of an input": ({"more": 1}, ".more"),
    "too short": ({"shape": [1, 25, 1], "data": _VALUES[:25]}, ""),
    "too many features": ({"shape": [1, 30, 2]}, ""),
    "both data and binary data": ({"parameters": {"binary_data_size": 240}}, ".data"),
    "a negative binary size": ({"data": ..., "parameters": {"binary_data_size": -4}}, ".param"),
    "a fractional binary size": ({"data": ..., "parameters": {"binary_data_size": 240.0}}, ".p"),
    "a binary size without end": ({"data": ..., "parameters": {"binary_data_size": 10**30}}, ".p"),
    "binary data that is not there": ({"data": ..., "parameters": {"binary_data_size": 240}}, ".p"),
    "parameters that are none": ({"parameters": [1]}, ".parameters"),
}


def _in_binary(values: bytes, size: int | None = None, behind: bytes = b"", **changes: Any) -> Row:
    size = len(values) if size is None else size
    head = _document(_input(data=..., parameters={"binary_data_size": size}, **changes))
    return _row("", head + values + behind, **{_LENGTH.replace("-", "_"): str(len(head))})


def _binary() -> list[Row]:
    infinite = _FLOATS.copy()
    infinite[17] = np.inf
    size = f"{_PLACE}.parameters.binary_data_size: "
    rows = {
        "too few bytes": (
            _in_binary(_FLOATS.tobytes()[:-1]),
            f"{size}the shape takes 240 bytes, but it says 239",
        ),
        "too few bytes behind": (
            _in_binary(_FLOATS.tobytes()[:-1], _FLOATS.nbytes),
            f"{size}expected 240 bytes behind the header, got 239",
        ),
        "too many bytes": (_in_binary(_FLOATS.tobytes(), behind=b"more"), "the body: the inputs"),
        "doubles": (
            _in_binary(_FLOATS.astype(np.float64).tobytes()),
            f"{size}the shape takes 240 bytes, but it says 480",
        ),
        "infinite": (_in_binary(infinite.tobytes()), "sequences[0][17][0]: "),
        "no batch in binary": (_in_binary(b"", shape=[0, STEPS, 1]), f"{_PLACE}.shape[0]: "),
        "an overflow in binary": (
            _in_binary(b"", shape=[2**32, 2**32, 2**32]),
            f"{size}the shape takes {2**98} bytes, but it says 0",
        ),
    }
    named = [_renamed(f"binary: {name}", row, says) for name, (row, says) in rows.items()]
    good = _document(_input())
    lengths = {
        "negative": "-1",
        "signed": f"+{len(good)}",
        "fractional": f"{len(good)}.0",
        "of text": "all",
        "of another script": "٣".encode().decode("latin-1"),
        "without end": "9" * 40,
        "beyond the body": str(len(good) + 1),
        "nothing": "0",
        "within the document": str(len(good) - 1),
    }
    key = _LENGTH.replace("-", "_")
    wrong = [
        _row(f"a header length {name}", good, status=400, **{key: value})
        for name, value in lengths.items()
    ]
    return named + wrong


def _renamed(name: str, row: Row, says: str) -> Row:
    return Row(name, row.body, row.status, row.type, row.headers, lambda _: says, fits=row.fits)


def _rows() -> list[Row]:
    rows = [
        _row(f"input: {name}", _document(_input(**changes)), says=_PLACE + where if where else "")
        for name, (changes, where) in _INPUTS.items()
    ]
    lengths = {"name": "lengths", "datatype": "INT64", "shape": [1]}
    documents: dict[str, bytes] = {
        "no inputs": _document(),
        "inputs that are an object": json.dumps({"inputs": {"sequences": _VALUES}}).encode(),
        "an input that is a list": _document(_VALUES),
        "an input twice": _document(_input(), _input()),
        "lengths alone": _document(lengths | {"data": [1]}),
        "a length of zero": _document(_input(), lengths | {"data": [0]}),
        "a length beyond the time": _document(_input(), lengths | {"data": [61]}),
        "a length beyond 64 bits": _document(_input(), lengths | {"data": [2**64]}),
        "a fractional length": _document(_input(), lengths | {"data": [30.0]}),
        "two lengths of one": _document(_input(), lengths | {"shape": [2], "data": [30, 30]}),
        "an unknown output": _document(_input(), outputs=[{"name": "loss"}]),
        "an output twice": _document(_input(), outputs=[{"name": "predictions"}] * 2),
        "an output that is text": _document(_input(), outputs=["predictions"]),
        "an id that is a number": _document(_input(), id=7),
        "an id without end": _document(_input(), id="x" * 300),
        "too many sequences": _document(_input(shape=[70, 30, 1], data=weeks(30) * 70)),
    }
    rows += [_row(f"infer: {name}", body) for name, body in documents.items()]
    far = {"beyond float32": 1e39, "far beyond float32": -1e300, "an integer beyond it": 10**60}
    rows += [
        _row(
            f"input: {name}",
            _document(_input(data=[*_VALUES[:-1], value])),
            says=f"sequences[0][{STEPS - 1}][0]: a number out of the range",
        )
        for name, value in far.items()
    ]
    rows.append(
        Row(
            "infer: an answer that is not finite",
            lambda _: _document(_input(data=[3e38, -3e38] * (STEPS // 2))),
            422,
            "model-non-finite",
            says=lambda _: "sequences[0]: ",
            fits=_fits,
        )
    )
    return rows + _binary()


ROWS = _rows()
