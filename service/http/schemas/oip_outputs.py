"""The outputs of an infer request: which are wanted, in what form, and how each is written."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contract import ATTENTION, PREDICTIONS, ModelCard, Task
from service.engine.jobs import Answer, Array
from service.http.errors import InvalidRequest
from service.http.schemas.oip_parameters import flag, parameters_of, unknown_field
from service.http.schemas.wire import kind_of

MEAN = "mean"  # (batch, horizon, targets), of a forecaster
CLASSIFICATION = "classification"

_FIELDS = frozenset({"name", "parameters"})
_PARAMETERS = frozenset({"binary_data"})
_OF_A_CLASSIFIER = frozenset({"binary_data", CLASSIFICATION})

Data = memoryview | bytes


class Wanted(NamedTuple):
    """One output, and how it is to be written."""

    name: str
    binary: bool
    classes: int = 0  # how many of the likeliest classes, as texts; 0: the numbers


def output_names(card: ModelCard) -> list[str]:
    """Name the outputs that a model has."""
    names = [PREDICTIONS]
    if card.task is Task.FORECAST:
        names.append(MEAN)
    if card.attention:
        names.append(ATTENTION)
    return names


def wanted_outputs(asked: object, card: ModelCard, *, binary: bool) -> list[Wanted]:
    """Return the outputs wanted, in order; raise InvalidRequest."""
    if asked is None or asked == []:
        return [Wanted(PREDICTIONS, binary)]
    names = output_names(card)
    known = _OF_A_CLASSIFIER if card.task is Task.CLASSIFY else _PARAMETERS
    wanted: dict[str, Wanted] = {}
    for place, entry in entries(asked, "outputs", _FIELDS):
        name = named(entry, names, wanted, place)
        parameters = parameters_of(entry, place, known)
        where = f"{place}.parameters"
        classes = _classes(parameters, name, card, where)
        wanted[name] = Wanted(name, flag(parameters, "binary_data", where, default=binary), classes)
    return list(wanted.values())


def write_output(
    wanted: Wanted, answers: Sequence[Answer], card: ModelCard, time: int
) -> tuple[dict[str, object], Data | None]:
    """Return one output, and its data where those come in binary; ``time`` is the batch's."""
    if wanted.name == ATTENTION:
        values = _attention(answers, time)
    elif wanted.name == MEAN:
        values = np.stack([answer.mean for answer in answers])
    else:
        values = _predictions(answers, card)
    if wanted.classes:
        return _written_classes(wanted, values, card.classes)
    output: dict[str, object] = {
        "name": wanted.name,
        "datatype": "FP32",
        "shape": values.shape,
    }
    if wanted.binary:
        output["parameters"] = {"binary_data_size": values.nbytes}
        return output, values.data
    output["data"] = values.reshape(-1)
    return output, None


def entries(
    listed: object, place: str, fields: frozenset[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object of a list, of these fields alone, with its place; raise InvalidRequest."""
    if type(listed) is not list:
        raise InvalidRequest(place, f"expected an array, got {kind_of(listed)}")
    for index, entry in enumerate(listed):
        where = f"{place}[{index}]"
        if type(entry) is not dict:
            raise InvalidRequest(where, f"expected an object, got {kind_of(entry)}")
        if not entry.keys() <= fields:
            raise unknown_field(entry, fields, where)
        yield where, entry


def named(entry: dict[str, Any], names: Sequence[str], seen: Collection[str], place: str) -> str:
    """Return the name of an input or an output, which is known and new; raise InvalidRequest."""
    name = entry.get("name")
    if type(name) is not str or name not in names:
        raise InvalidRequest(f"{place}.name", f"expected one of {', '.join(names)}")
    if name in seen:
        raise InvalidRequest(f"{place}.name", f"{name} is there twice")
    return name


def _classes(parameters: dict[str, Any], name: str, card: ModelCard, place: str) -> int:
    count = parameters.get(CLASSIFICATION)
    if count is None:
        return 0
    most = len(card.classes)
    if name != PREDICTIONS:
        raise InvalidRequest(f"{place}.{CLASSIFICATION}", f"only {PREDICTIONS} can be classified")
    if type(count) is not int or not 1 <= count <= most:
        problem = f"expected a whole number from 1 to {most}, as many as there are classes"
        raise InvalidRequest(f"{place}.{CLASSIFICATION}", problem)
    return count


def _predictions(answers: Sequence[Answer], card: ModelCard) -> Array:
    # Concatenated along the horizon the bytes are those of a stack, made much faster.
    together = np.concatenate([answer.predictions for answer in answers])
    return np.ascontiguousarray(together).reshape(len(answers), *card.answer_shape)


def _attention(answers: Sequence[Answer], time: int) -> Array:
    weights = np.zeros((len(answers), time), np.float32)
    for row, answer in zip(weights, answers, strict=True):
        if answer.attention is not None:
            row[: len(answer.attention)] = answer.attention
    return weights


def _written_classes(
    wanted: Wanted, values: NDArray[np.float32], labels: Sequence[str]
) -> tuple[dict[str, object], Data | None]:
    """Write ``value:index:label`` of the likeliest classes, the likeliest first."""
    order = np.argsort(-values, axis=1, kind="stable")[:, : wanted.classes]
    texts = [
        f"{row[index]}:{index}:{labels[index]}"
        for row, best in zip(values, order, strict=True)
        for index in best
    ]
    output: dict[str, object] = {
        "name": wanted.name,
        "datatype": "BYTES",
        "shape": order.shape,
    }
    if not wanted.binary:
        output["data"] = texts
        return output, None
    encoded = [text.encode() for text in texts]
    data = b"".join(len(text).to_bytes(4, "little") + text for text in encoded)
    output["parameters"] = {"binary_data_size": len(data)}
    return output, data
