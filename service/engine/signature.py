"""Compare a graph's inputs and outputs with those its card implies; no runtime, no file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models.contract import (
    ATTENTION,
    FUTURE,
    LENGTHS,
    NEXT_STATE,
    PREDICTIONS,
    SEQUENCES,
    STATE,
    ModelCard,
)
from service.engine.errors import ModelRejected

FLOAT, INT64 = "tensor(float)", "tensor(int64)"

Tensor = tuple[str, Sequence[Any]]  # the type, and each dimension: a number, a name or None


def inputs_of(card: ModelCard) -> dict[str, Tensor]:
    """Return the inputs; None is a dimension that differs from batch to batch."""
    inputs: dict[str, Tensor] = {
        SEQUENCES: (FLOAT, [None, None, len(card.features)]),
        LENGTHS: (INT64, [None]),
    }
    if card.known:
        inputs[FUTURE] = (FLOAT, [None, card.horizon, len(card.known)])
    for name, state in card.state.tensors.items():
        inputs[STATE + name] = (FLOAT, [None, *state])
    return inputs


def outputs_of(card: ModelCard) -> dict[str, Tensor]:
    """Return the outputs, in the same way."""
    outputs: dict[str, Tensor] = {PREDICTIONS: (FLOAT, [None, *card.answer_shape])}
    if card.attention:
        outputs[ATTENTION] = (FLOAT, [None, None])
    for name, state in card.state.tensors.items():
        outputs[NEXT_STATE + name] = (FLOAT, [None, *state])
    return outputs


def insist_on_fit(
    inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], card: ModelCard
) -> None:
    """Raise ModelRejected for a graph whose inputs and outputs are not those its card implies."""
    asked, told = inputs_of(card), outputs_of(card)
    if inputs.keys() != asked.keys():
        raise ModelRejected(f"The graph's inputs are {_names(inputs)}, not {_names(asked)}.")
    for name, tensor in asked.items():
        last = tensor[1][-1]  # a graph that took any number of columns would check none
        if not _fits(inputs[name], tensor) or last not in (None, inputs[name][1][-1]):
            raise _unfit("input", name, inputs[name], tensor)
    if not told.keys() <= outputs.keys():
        raise ModelRejected(f"The graph's outputs are {_names(outputs)}, not {_names(told)}.")
    for name, tensor in told.items():
        # A graph need not say what shape it answers; the self-check looks at the answers.
        if outputs[name][1] and not _fits(outputs[name], tensor):
            raise _unfit("output", name, outputs[name], tensor)


def _fits(found: Tensor, wanted: Tensor) -> bool:
    """Whether all numbers that a graph states are those wanted, and it fixes no other."""
    (kind, shape), (wanted_kind, wanted_shape) = found, wanted
    return (
        kind == wanted_kind
        and len(shape) == len(wanted_shape)
        and all(
            has == size or not isinstance(has, int)
            for has, size in zip(shape, wanted_shape, strict=True)
        )
    )


def _unfit(what: str, name: str, found: Tensor, wanted: Tensor) -> ModelRejected:
    return ModelRejected(
        f"The graph's {what} {name!r} does not fit the card: {_text(found)}, not {_text(wanted)}."
    )


def _text(tensor: Tensor) -> str:
    kind, shape = tensor
    sizes = (str(size) if isinstance(size, int) else "any" for size in shape)
    return f"{kind} of ({', '.join(sizes)})"


def _names(names: Iterable[str]) -> str:
    return str(sorted(names))
