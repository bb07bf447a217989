"""
From a trained network to the one file that serving reads, and the gate before it.

The gate answers the same rows with torch and with ONNX Runtime; a file that differs is never
published.  Nothing of the machine that exports gets into the file.
"""

import copy
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxscript import optimizer
from torch import Tensor, nn
from torch.export import Dim

from models.contract import ATTENTION, FUTURE, LENGTHS, PREDICTIONS, SEQUENCES, ModelCard
from training.errors import ParityError
from training.networks import Classifier, Forecaster
from training.quiet import quiet

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, when the module is imported
import onnxruntime

Network = Forecaster | Classifier

TOLERANCE = 1e-4  # of |ONNX - torch| / scale; what was measured lies below 2e-5
_OPSET = {False: 20, True: 23}  # 23 has the native Attention op
_NO_LIMIT = 2**31  # of what constant folding may take in and give out, in elements
_TRACED = 1024  # steps at most of the rows that the exporter sees
_ULPS = 4
_LOGGERS = ("torch", "torch.onnx", "onnxscript", "onnx_ir")
_GARBAGE = 1e6
_MISSING = 0.2  # share of the gate's values, where the card allows any


class _Case(NamedTuple):
    sequences: NDArray[np.float32]  # (batch, time, features), 0 where padded
    lengths: NDArray[np.int64]
    future: NDArray[np.float32] | None


def write_model(network: Network, card: ModelCard, path: Path) -> ModelCard:
    """
    Export, pass the gate, write the card; return the card as it is in the file.

    What only the graph knows is set here: ``attention``, ``exact``, and the parity error of
    the provenance.  Raise ParityError.
    """
    card = card.model_copy(update={"attention": network.attends, "exact": not network.attends})
    export(network, card, path)
    error = check_parity(network, path, card)
    if card.provenance is None:
        return card
    provenance = card.provenance.model_copy(update={"parity_error": error})
    card = card.model_copy(update={"provenance": provenance})
    _save(onnx.load(path), card, path)
    return card


def export(network: Network, card: ModelCard, path: Path) -> None:
    """Write the network as ONNX under the names of the contract, with the card inside."""
    # As long as rows are: of one segment or one block, torch would take their number for fixed.
    time = max(5, min(card.max_length, _TRACED))
    case = _case(np.random.default_rng(0), network, card, (3, time))
    names = [SEQUENCES, LENGTHS, FUTURE][: 3 if card.known else 2]
    shapes = ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC}, {0: Dim.DYNAMIC}, {0: Dim.DYNAMIC})
    with quiet(_LOGGERS, logging.ERROR, [""]), torch.no_grad():
        program = torch.onnx.export(
            _Graph(network),
            tuple(torch.from_numpy(array) for array in case if array is not None),
            dynamo=True,
            opset_version=_OPSET[network.attends],
            verbose=False,
            input_names=names,
            output_names=[PREDICTIONS, ATTENTION][: 2 if network.attends else 1],
            dynamic_shapes={"inputs": shapes[: len(names)]},
        )
        model = cast("torch.onnx.ONNXProgram", program).model
        # The gates are reordered in the graph: fold that, whatever its size, into the weights.
        optimizer.optimize_ir(model, input_size_limit=_NO_LIMIT, output_size_limit=_NO_LIMIT)
    _save(cast("torch.onnx.ONNXProgram", program).model_proto, card, path)


def check_parity(
    network: Network, path: Path, card: ModelCard, tolerance: float = TOLERANCE
) -> float:
    """
    Return the largest scaled difference between the file and its network.

    Torch sees zeros in the padding, the file NaN or garbage.  Raise ParityError with the first
    case in which predictions (in units of the target's scale) or attention differ by more.
    """
    session = _session(path)
    graph = _Graph(network)
    worst = 0.0
    for index, (label, case) in enumerate(_cases(network, card)):
        with torch.no_grad():
            expected = graph(*(torch.from_numpy(array) for array in case if array is not None))
        answers = session.run(None, _dirty(case, np.nan if index % 2 else _GARBAGE))
        difference, allowed = _compare(answers, [e.numpy() for e in expected], network, tolerance)
        if not allowed:
            raise ParityError(difference, tolerance, label)
        worst = max(worst, difference)
    return worst


def _compare(
    answers: Sequence[Any], expected: Sequence[Any], network: Network, tolerance: float
) -> tuple[float, bool]:
    """Return the largest scaled difference, and whether all are within the tolerance."""
    if [answer.shape for answer in answers] != [wanted.shape for wanted in expected]:
        return float("inf"), False
    scale = network.target_scale.cpu().numpy()[:, None]
    worst, allowed = 0.0, True
    for answer, wanted, unit in zip(answers, expected, (scale, np.ones(1)), strict=False):
        difference = np.abs(answer - wanted)
        # Where the mean dwarfs the scale, float32 itself is coarser than the tolerance.
        resolution = _ULPS * np.spacing(np.abs(wanted))
        allowed &= bool((difference <= tolerance * unit + resolution).all())  # NaN fails too
        worst = max(worst, float((difference / unit).max()))
    return worst, allowed


class _Graph(nn.Module):
    """A copy of the network on the CPU that has exactly the outputs of the file."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).cpu().eval()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        predictions, attention = self.network(*inputs)
        return (predictions,) if attention is None else (predictions, attention)


def _cases(network: Network, card: ModelCard) -> Iterator[tuple[str, _Case]]:
    rng = np.random.default_rng(0)
    times = sorted({1, card.min_length, (card.min_length + card.max_length) // 2, card.max_length})
    for batch, time in itertools.product((1, 3, 17), times):
        yield f"batch {batch}, time {time}", _case(rng, network, card, (batch, time))


def _case(
    rng: np.random.Generator, network: Network, card: ModelCard, shape: tuple[int, int]
) -> _Case:
    """Draw rows of mixed lengths, in the data's units, the first as long as can be."""
    batch, time = shape
    scaling = network.normaliser.mean.cpu().numpy(), network.normaliser.scale.cpu().numpy()
    sequences = _draw(rng, card, (batch, time), scaling)
    lengths = rng.integers(1, time + 1, size=batch)
    lengths[0] = time
    sequences[_padding(sequences, lengths)] = 0.0
    if not card.known:
        return _Case(sequences, lengths, None)
    future = _draw(rng, card, (batch, card.horizon), scaling)[..., -len(card.known) :]
    return _Case(sequences, lengths, np.ascontiguousarray(future))


def _draw(
    rng: np.random.Generator,
    card: ModelCard,
    shape: tuple[int, int],
    scaling: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> NDArray[np.float32]:
    mean, scale = scaling
    values = mean + scale * rng.standard_normal((*shape, len(mean)), dtype=np.float32)
    if card.missing_values:
        values[rng.random(values.shape) < _MISSING] = np.nan
    return values


def _padding(sequences: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    padded: NDArray[np.bool_] = np.arange(sequences.shape[1]) >= lengths[:, None]
    return padded


def _dirty(case: _Case, garbage: float) -> dict[str, NDArray[Any]]:
    """Return the case as a careless caller would feed it."""
    sequences = case.sequences.copy()
    sequences[_padding(sequences, case.lengths)] = garbage
    feeds: dict[str, NDArray[Any]] = {SEQUENCES: sequences, LENGTHS: case.lengths}
    return feeds if case.future is None else feeds | {FUTURE: case.future}


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _save(model: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """Write graph and card, and nothing that tells of the machine that exported."""
    read = {name for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        if node.op_type in ("LSTM", "GRU") and node.output[0] not in read:
            node.output[0] = ""  # the states of all steps, which nobody reads
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
        value.ClearField("doc_string")
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    model.graph.ClearField("doc_string")
    model.ClearField("doc_string")
    onnx.helper.set_model_props(model, card.to_metadata())
    path.write_bytes(model.SerializeToString())
