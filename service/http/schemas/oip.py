"""The Open Inference Protocol's infer request: a body into rows, answers into a body."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import orjson

from models.contract import ATTENTION, FUTURE, LENGTHS, SEQUENCES, ModelCard
from service.engine.errors import unfit
from service.engine.jobs import Answer, Array, Row
from service.http.errors import InvalidRequest, MalformedRequest
from service.http.schemas.document import parse
from service.http.schemas.oip_outputs import entries, named, wanted_outputs, write_output
from service.http.schemas.oip_parameters import request_parameters, unknown_field
from service.http.schemas.reply import Reply
from service.http.schemas.tensors import ENTRY, Tensor, TensorReader, float32, int64, subscript
from service.http.schemas.wire import kind_of

HEADER_LENGTH = "inference-header-content-length"
BINARY = "application/octet-stream"

_FIELDS = frozenset({"id", "parameters", "inputs", "outputs"})
_MAX_ID = 256
_TYPES = {SEQUENCES: float32(3), LENGTHS: int64(1, 2), FUTURE: float32(3)}


class InferQuery:
    """
    A checked infer request: rows for the engine, and how to write their answers.

    ``header_length`` is where the JSON ends and the binary data of the inputs begins; None if
    all is JSON.  Raises MalformedRequest, InvalidRequest or InvalidSequence with the place.
    """

    # The header is checked by hand: pydantic, and building its models, would take longer than
    # all else here.  ``oip_documents`` describes to OpenAPI what is accepted.
    def __init__(
        self, body: bytes, header_length: int | None, card: ModelCard, max_sequences: int
    ) -> None:
        size = len(body) if header_length is None else header_length
        header = _header(body, size)
        self._card = card
        self._id = _id(header.get("id"))
        parameters = request_parameters(header)
        self.timeout = parameters.timeout
        self._outputs = wanted_outputs(header.get("outputs"), card, binary=parameters.binary)
        tensors = _inputs(header.get("inputs"), card, TensorReader(body, size))
        sequences = tensors[SEQUENCES]  # (batch, time, features)
        if len(sequences) > max_sequences:
            problem = f"expected at most {max_sequences} sequences, got {len(sequences)}"
            raise InvalidRequest(SEQUENCES, problem)
        self._time = sequences.shape[1]
        steps = _steps(tensors.get(LENGTHS), sequences)
        _check_finite(sequences, steps, missing_values=card.missing_values)
        futures = _futures(tensors.get(FUTURE), len(sequences))
        explain = card.attention and any(wanted.name == ATTENTION for wanted in self._outputs)
        self.rows = [
            Row(sequence[:length], future, explain)
            for sequence, length, future in zip(
                sequences, steps or repeat(self._time), futures, strict=False
            )
        ]

    def write(self, answers: Sequence[Answer], version: int) -> Reply:
        """Return the response: JSON, followed by the outputs that are wanted in binary."""
        outputs, binaries = [], []
        for wanted in self._outputs:
            output, data = write_output(wanted, answers, self._card, self._time)
            outputs.append(output)
            if data is not None:
                binaries.append(data)
        document: dict[str, object] = {} if self._id is None else {"id": self._id}
        document["model_name"] = self._card.name
        document["model_version"] = str(version)
        document["outputs"] = outputs
        header = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        if not binaries:
            return Reply(header)
        return Reply(b"".join([header, *binaries]), BINARY, {HEADER_LENGTH: str(len(header))})


def _header(body: bytes, size: int) -> dict[str, Any]:
    if size > len(body):
        raise MalformedRequest(
            f"Inference-Header-Content-Length is {size}, but the body has {len(body)} bytes."
        )
    header = parse(body, "The body") if size == len(body) else parse(body[:size], "The header")
    if not isinstance(header, dict):
        raise InvalidRequest("the body", f"expected an object, got {kind_of(header)}")
    if not header.keys() <= _FIELDS:
        raise unknown_field(header, _FIELDS, "")
    return header


def _id(value: object) -> str | None:
    if value is None:
        return None
    if type(value) is not str or len(value) > _MAX_ID:
        raise InvalidRequest("id", f"expected a string of at most {_MAX_ID} characters")
    return value


def _inputs(asked: object, card: ModelCard, reader: TensorReader) -> dict[str, Tensor]:
    names = [SEQUENCES, LENGTHS, FUTURE] if card.known else [SEQUENCES, LENGTHS]
    tensors: dict[str, Tensor] = {}
    for place, entry in entries(asked, "inputs", ENTRY):
        name = named(entry, names, tensors, place)
        tensors[name] = reader.read(entry, _TYPES[name], place)
    reader.finish()
    if SEQUENCES not in tensors:
        raise InvalidRequest("inputs", f"expected the input {SEQUENCES}")
    return tensors


def _steps(lengths: Tensor | None, sequences: Array) -> list[int] | None:
    """Return the steps of each row; None where all have all."""
    if lengths is None:
        return None
    batch, time = sequences.shape[:2]
    if len(lengths) != batch or lengths.size != batch:
        raise InvalidRequest(LENGTHS, f"expected {batch}, one a sequence, got {lengths.size}")
    steps: list[int] = lengths.reshape(batch).tolist()
    if min(steps) < 1 or max(steps) > time:
        index = next(index for index, count in enumerate(steps) if not 1 <= count <= time)
        problem = f"expected 1 to {time} steps, got {steps[index]}"
        raise InvalidRequest(f"{LENGTHS}[{index}]", problem)
    return steps


def _futures(future: Array | None, batch: int) -> Iterable[Array | None]:
    if future is None:
        return repeat(None)
    if len(future) != batch:
        raise InvalidRequest(FUTURE, f"expected {batch}, one a sequence, got {len(future)}")
    return future


def _check_finite(sequences: Array, steps: list[int] | None, *, missing_values: bool) -> None:
    """Refuse what the engine would, all rows at once; what lies beyond a length is free."""
    if np.isfinite(sequences).all():
        return
    wrong = np.isinf(sequences) if missing_values else ~np.isfinite(sequences)
    if steps is not None:
        wrong[np.arange(sequences.shape[1]) >= np.array(steps)[:, np.newaxis]] = False
    if not wrong.any():
        return
    index = int(wrong.argmax())
    place = f"{SEQUENCES}{subscript(index, sequences.shape)}"
    raise unfit(place, float(sequences.flat[index]))
