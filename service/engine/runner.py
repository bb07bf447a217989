"""ONNX Runtime, and the only module that imports it."""

import ctypes
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from models.contract import (
    ATTENTION,
    FUTURE,
    LENGTHS,
    NEXT_STATE,
    PREDICTIONS,
    SEQUENCES,
    STATE,
    ContractError,
    ModelCard,
    Task,
)
from models.quantiles import mean_weights
from service.engine.binding import Allocate, BoundSession, HostTensor
from service.engine.collate import pad
from service.engine.errors import ModelRejected
from service.engine.jobs import Answer, Array, Row
from service.engine.signature import insist_on_fit
from service.engine.state import StateLayout

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, when the library is loaded
import onnxruntime as ort

log = logging.getLogger(__name__)

Provider = Literal["auto", "cpu", "cuda"]
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# What the runtime raises it would write, too: with names of the file, as they are.
SILENT = 4
HOST_ACCESSIBLE, NVIDIA = 5, 0x10DE  # OrtDevice::MemType and ::VendorIds
_NO_MEAN: Array = np.empty((0, 0), np.float32)
RUNTIME = f"onnxruntime {ort.__version__}"


@dataclass(frozen=True, slots=True)
class Device:
    """The execution provider to use, and why it was chosen."""

    provider: Literal["cpu", "cuda"]
    reason: str
    required: bool = False  # whether another would be refused


def choose_device(wish: Provider) -> Device:
    """Choose CUDA where it is present, unless told otherwise; a session may still fall back."""
    if wish == "cpu":
        return Device("cpu", "asked for")
    obstacle = _cuda_obstacle()
    if obstacle is None:
        asked = wish == "cuda"
        return Device("cuda", "asked for" if asked else "a CUDA device is present", required=asked)
    if wish == "cuda":
        raise ModelRejected(f"CUDA was asked for, but {obstacle}")
    return Device("cpu", obstacle)


@cache
def _cuda_obstacle() -> str | None:
    """Say why CUDA cannot be used, or None; asks the driver, which costs no GPU memory."""
    if CUDA not in ort.get_available_providers():
        return "this build of ONNX Runtime has no CUDA provider"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no CUDA driver"
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "the CUDA driver finds no device"
    try:
        ort.preload_dlls()  # the CUDA libraries that came as Python wheels, if any
    except (OSError, AttributeError) as exc:
        return f"the CUDA libraries cannot be loaded ({exc})"
    return None


class OnnxRunner:
    """
    One model in memory: a session and the card found inside its file.

    ``run`` may be called from several threads at once; each run uses its caller's thread, so
    that the number of runner threads alone decides how many processors a model takes, unless
    ``threads`` lets one run use several.  On CUDA, and where ``bound`` says so, batches are
    padded to buckets and fed by IO binding.  A file is loaded as it is; to serve one, vet it and
    load the bytes that passed.
    """

    def __init__(
        self, source: Path | bytes, device: Device, threads: int = 1, *, bound: bool = False
    ) -> None:
        self._session = _open(source, device, threads)
        self.provider: Literal["cpu", "cuda"] = (
            "cuda" if self._session.get_providers()[0] == CUDA else "cpu"
        )
        if device.required and self.provider != device.provider:
            raise ModelRejected("CUDA was asked for, but ONNX Runtime cannot use it here.")
        try:
            self.card = ModelCard.from_metadata(self._session.get_modelmeta().custom_metadata_map)
        except ContractError as exc:
            raise ModelRejected(str(exc)) from exc
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        insist_on_fit(_signature(inputs), _signature(outputs), self.card)
        self.state = StateLayout(self.card.state.tensors)
        self._mean_weights: list[float] = mean_weights(self.card.quantiles).tolist()
        self._options = ort.RunOptions()
        self._options.log_severity_level = SILENT
        self._options.add_run_config_entry("only_execute_path_to_fetches", "1")
        self._bound: BoundSession | None = None
        if bound or self.provider == "cuda":
            pinned = _pinned_memory(self._session) if self.provider == "cuda" else None
            self._bound = BoundSession(
                self._session, self.card, self.state, _pageable, pinned or _pageable
            )

    def run(self, rows: Sequence[Row]) -> list[Answer]:
        """Answer rows, whose sequences must have at least one step each, in order."""
        explain = bool(self.card.attention and any(row.explain for row in rows))
        fetches = [PREDICTIONS, ATTENTION] if explain else [PREDICTIONS]
        if any(row.carry for row in rows):
            fetches += [NEXT_STATE + name for name in self.card.state.tensors]
        if self._bound:
            outputs = self._bound.run(fetches, rows, self._options)
        else:
            outputs = self._run_plain(fetches, rows)
        finite = bool(np.isfinite(outputs[0]).all())
        if self.card.task is Task.CLASSIFY:
            answers = [Answer(row, _NO_MEAN, None, finite) for row in outputs[0]]
        else:
            # One level behind the other in memory, as they are mostly written out.
            by_level = np.ascontiguousarray(outputs[0].transpose(0, 3, 1, 2))
            means = _means(by_level, self._mean_weights)
            answers = [
                Answer(predictions, mean, None, finite)
                for predictions, mean in zip(by_level.transpose(0, 2, 3, 1), means, strict=True)
            ]
        if not finite:
            for answer in answers:
                answer.finite = bool(np.isfinite(answer.predictions).all())
        if explain:
            for answer, row, weights in zip(answers, rows, outputs[1], strict=True):
                answer.attention = weights[: len(row.sequence)] if row.explain else None
        if len(fetches) > 1 + explain:
            _carry(answers, rows, self.state.join(outputs[1 + explain :]))
        return answers

    def _run_plain(self, fetches: Sequence[str], rows: Sequence[Row]) -> list[Array]:
        sequences, lengths = pad([row.sequence for row in rows])
        feeds = {SEQUENCES: sequences, LENGTHS: lengths}
        if self.card.known:
            feeds[FUTURE] = np.stack([cast(Array, row.future) for row in rows])
        if self.state.size:
            for name, state in self.state.gather(rows).items():
                feeds[STATE + name] = state
        return cast(list[Array], self._session.run(fetches, feeds, self._options))


def _carry(answers: Sequence[Answer], rows: Sequence[Row], states: Array) -> None:
    """Give each row that carries its state of (batch, size)."""
    finite = bool(np.isfinite(states).all())
    for answer, row, state in zip(answers, rows, states, strict=True):
        if row.carry:
            answer.state = state
            answer.finite &= finite or bool(np.isfinite(state).all())


def _means(by_level: Array, weights: Sequence[float]) -> Array:
    """
    Return the mean of each forecast, (batch, horizon, targets), from (batch, quantiles, ...).

    Level by level in double precision, so that no number depends on the batch around it.
    """
    total = by_level[:, 0].astype(np.float64) * weights[0]
    for level, weight in enumerate(weights[1:], start=1):
        total += by_level[:, level].astype(np.float64) * weight
    with np.errstate(over="ignore"):
        return total.astype(np.float32)


def _pageable(shape: Sequence[int], dtype: type[np.generic]) -> HostTensor:
    array = np.zeros(shape, dtype)
    return HostTensor(array, ort.OrtValue.ortvalue_from_numpy(array))


def _pinned_memory(session: ort.InferenceSession) -> Allocate | None:
    """
    Return what allocates page-locked memory, or None where the runtime gives none.

    The session of a CUDA model has an allocator for it, but the public functions reach only a
    device's own memory (onnxruntime 1.31), so this asks the layer below.
    """
    below: Any = session._sess  # noqa: SLF001
    make_device: Any = type(ort.OrtDevice.make("cpu", 0)._get_c_device())  # noqa: SLF001

    def allocate(shape: Sequence[int], dtype: type[np.generic]) -> HostTensor:
        device = make_device(make_device.gpu(), HOST_ACCESSIBLE, NVIDIA, 0)
        low = below.create_ortvalue_from_shape_and_type(shape, dtype, device)
        value = ort.OrtValue(low, session=below)
        memory = (ctypes.c_byte * low.tensor_size_in_bytes()).from_address(low.data_ptr())
        return HostTensor(np.frombuffer(memory, dtype).reshape(shape), value)

    try:
        allocate((1,), np.float32)
    except (AttributeError, RuntimeError, TypeError) as exc:
        log.warning("inputs are fed from pageable memory, for there is no pinned one: %s", exc)
        return None
    return allocate


def _open(source: Path | bytes, device: Device, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena would keep its high-water mark for ever
    # It would keep a plan for each batch size and length it has ever seen, 100 to 300 bytes each.
    options.enable_mem_pattern = False
    options.log_severity_level = SILENT
    # Never its own format, which it would know by four bytes, and which nothing has checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    providers: list[str | tuple[str, dict[Any, Any]]] = [CPU]
    if device.provider == "cuda":  # an arena that grows by what is asked, not to a power of two
        providers.insert(0, (CUDA, {"arena_extend_strategy": "kSameAsRequested"}))
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
        session = ort.InferenceSession(content, options, providers=providers)
    except Exception as exc:  # its exceptions share no base class
        # Callers need not know our folders.
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise ModelRejected(f"ONNX Runtime cannot load the file: {reason}") from exc
    session.disable_fallback()  # it would load again, from bytes that it would keep for ever
    session._model_bytes = None  # noqa: SLF001
    return session


def _signature(nodes: Sequence[Any]) -> dict[str, tuple[str, Sequence[Any]]]:
    return {node.name: (node.type, node.shape) for node in nodes}
