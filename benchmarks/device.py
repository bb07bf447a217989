"""
Predictions/s of one model on one device: torch, torch compiled, ONNX Runtime bare, and ours.

Every way starts from arrays on the host and ends with an array on the host.  No HTTP, no
batching across requests: ``benchmarks.http`` measures those.
"""

import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import click
import numpy as np
import onnxruntime as ort
import torch

from benchmarks.models import FEATURES, KINDS, STEPS, publish, recipe, untrained
from models.contract import LENGTHS, PREDICTIONS, SEQUENCES
from service.engine.cpus import available_cpus
from service.engine.jobs import Array, Row
from service.engine.runner import RUNTIME, Device, OnnxRunner, choose_device

RESULTS = Path(__file__).parent / "results"
REPEATS, WARM = 5, 3
EAGER, COMPILED, BARE, OURS = "torch eager", "torch.compile", "ONNX Runtime bare", "ours"
WAYS = (EAGER, COMPILED, BARE, OURS)

DeviceName = Literal["cpu", "cuda"]
Answer = Callable[[], Array]


@dataclass(frozen=True, slots=True)
class Way:
    """How a batch is answered: once at a time, or by several threads at once."""

    answer: Answer
    threads: int = 1

    def times(self, count: int) -> None:
        """Answer the batch so many times in each thread."""
        if self.threads == 1:
            _repeat(self.answer, count)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            for done in [pool.submit(_repeat, self.answer, count) for _ in range(self.threads)]:
                done.result()


@dataclass(slots=True)
class Found:
    """What was measured of one kind of model and one way."""

    seconds: dict[int, list[float]] = field(default_factory=dict)  # batch -> one for each series
    answers: dict[int, Array] = field(default_factory=dict)
    skipped: str = ""  # why it was not measured, or not further
    threads: int = 1

    def rate(self, size: int) -> float | None:
        """Return the median predictions/s at a batch, if it was measured."""
        seconds = self.seconds.get(size)
        return size * self.threads / statistics.median(seconds) if seconds else None


@click.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--batches", default="1,4,16,64,256,1024,4096", show_default=True)
@click.option("--kinds", default=",".join(KINDS), show_default=True)
@click.option("--seconds", default=1.0, show_default=True, help="Length of each measurement.")
@click.option("--output", default=RESULTS, show_default=True, type=click.Path(path_type=Path))
def main(device: DeviceName, batches: str, kinds: str, seconds: float, output: Path) -> None:
    """Measure predictions/s by batch and way, and write a table for this machine."""
    where = choose_device(device)
    sizes = [int(size) for size in batches.split(",")]
    found = {kind: _compare(kind, where, sizes, seconds) for kind in kinds.split(",")}
    text = _report(where, sizes, seconds, found)
    output.mkdir(parents=True, exist_ok=True)
    part = "" if set(found) == set(KINDS) else "-" + "-".join(found)
    path = output / f"{device}-{_slug(_machine(where))}{part}.md"
    path.write_text(text, encoding="utf-8")
    click.echo(text)
    click.echo(f"written to {path}")


def _compare(kind: str, device: Device, sizes: Sequence[int], seconds: float) -> dict[str, Found]:
    """Measure every way in a process of its own: idle threads of one would disturb another."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = publish(recipe(kind), Path(folder)).path
        for name in WAYS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                work = alone.submit(_measure, name, kind, path, device, sizes, seconds)
                found[name] = work.result()
    return found


def _measure(  # noqa: PLR0913, PLR0917  what, where, how much
    name: str, kind: str, path: Path, device: Device, sizes: Sequence[int], seconds: float
) -> Found:
    found, size = Found(), sizes[0]
    try:
        make = _maker(name, kind, path, device)
        for size in sizes:
            sequences = np.random.default_rng(0).normal(size=(size, STEPS, FEATURES))
            way = make(sequences.astype(np.float32))
            found.threads = way.threads
            found.answers[size] = way.answer()
            found.seconds[size] = _seconds(way, seconds)
            click.echo(f"{kind} {size} {name}: {found.rate(size):,.0f}/s", err=True)
    except Exception as exc:  # noqa: BLE001  a way that cannot run is a result, too
        found.skipped = f"from a batch of {size} on: {_first_line(exc)}"
    return found


def _maker(name: str, kind: str, path: Path, device: Device) -> Callable[[Array], Way]:
    if name == BARE:
        return _bare(path, device)
    if name == OURS:
        return _ours(path, device)
    return _torch(kind, device, compiled=name == COMPILED)


def _torch(kind: str, device: Device, *, compiled: bool) -> Callable[[Array], Way]:
    network = untrained(recipe(kind))
    run: Callable[..., tuple[torch.Tensor, object]] = network
    if compiled:
        run = torch.compile(network)

    def make(batch: Array) -> Way:
        network.to(device.provider)
        lengths = torch.full((len(batch),), STEPS)

        @torch.inference_mode()
        def answer() -> Array:
            sequences = torch.from_numpy(batch).to(device.provider)
            predictions, _ = run(sequences, lengths.to(device.provider))
            found: Array = predictions.cpu().numpy()
            return found

        return Way(answer)

    return make


def _bare(path: Path, device: Device) -> Callable[[Array], Way]:
    session = ort.InferenceSession(path, providers=_providers(device))

    def make(batch: Array) -> Way:
        feeds = {SEQUENCES: batch, LENGTHS: np.full(len(batch), STEPS)}

        def answer() -> Array:
            (predictions,) = session.run([PREDICTIONS], feeds)
            return np.asarray(predictions, np.float32)

        return Way(answer)

    return make


def _ours(path: Path, device: Device) -> Callable[[Array], Way]:
    runner = OnnxRunner(path, device)

    def make(batch: Array) -> Way:
        rows = [Row(sequence) for sequence in batch]

        def answer() -> Array:
            return np.stack([each.predictions for each in runner.run(rows)])

        return Way(answer, available_cpus() if device.provider == "cpu" else 1)

    return make


def _providers(device: Device) -> list[str]:
    cpu = ["CPUExecutionProvider"]
    return cpu if device.provider == "cpu" else ["CUDAExecutionProvider", *cpu]


def _seconds(way: Way, seconds: float) -> list[float]:
    """Return the time of one answer in each of a few series, about ``seconds`` in all."""
    way.times(WARM)
    once = min(_timed(way, 1) for _ in range(WARM))
    count = max(1, round(seconds / REPEATS / once))
    return [_timed(way, count) for _ in range(REPEATS)]


def _timed(way: Way, count: int) -> float:
    started = time.perf_counter()
    way.times(count)
    return (time.perf_counter() - started) / count


def _repeat(answer: Answer, count: int) -> None:
    for _ in range(count):
        answer()


def _report(
    device: Device, sizes: Sequence[int], seconds: float, found: dict[str, dict[str, Found]]
) -> str:
    command = " ".join(["python -m benchmarks.device", *sys.argv[1:]])
    about = (
        f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{RUNTIME}, {available_cpus()} processors. Windows of {STEPS}x{FEATURES}, 2 layers of "
        f"64; the median of {REPEATS} series, {seconds:g} s for each figure; from arrays on the "
        f"host to an array on the host; each way in a process of its own. {_threads(device)}"
    )
    lines = [f"# Predictions/s on {_machine(device)}", "", f"`{command}`", "", about]
    for kind, ways in found.items():
        lines += ["", f"## {kind}", "", *_table(sizes, ways), "", *_notes(ways)]
    return "\n".join(lines) + "\n"


def _table(sizes: Sequence[int], ways: dict[str, Found]) -> list[str]:
    lines = [f"| batch | {' | '.join(WAYS)} | ours / best of the others |"]
    lines.append("|---:" * (len(WAYS) + 2) + "|")
    for size in sizes:
        rates = [ways[way].rate(size) for way in WAYS]
        cells = ["" if rate is None else f"{rate:,.0f}" for rate in rates]
        others = [rate for rate in rates[:-1] if rate]
        ratio = f"{rates[-1] / max(others):.2f}" if rates[-1] and others else ""
        lines.append(f"| {size} | {' | '.join(cells)} | {ratio} |")
    return lines


def _notes(ways: dict[str, Found]) -> list[str]:
    """Say how far answers are from torch eager's, how steady the figures, what is missing."""
    expected, apart = ways[EAGER].answers, []
    for name in WAYS[1:]:
        both = ways[name].answers.keys() & expected.keys()
        worst = max((_difference(ways[name].answers[n], expected[n]) for n in both), default=None)
        apart.append(f"{name} {'not known' if worst is None else f'{worst:.1e}'}")
    series = [each for found in ways.values() for each in found.seconds.values()]
    spread = max((max(each) / min(each) for each in series), default=1.0)
    missing = [f"\nNot measured: {way}, {one.skipped}." for way, one in ways.items() if one.skipped]
    text = (
        f"Largest difference from torch eager, relative to the largest prediction: "
        f"{', '.join(apart)}. Within one figure the slowest series took at most {spread:.2f} "
        f"times as long as the fastest."
    )
    return [text, *missing]


def _difference(some: Array, others: Array) -> float:
    return float(np.abs(some - others).max() / np.abs(others).max())


def _threads(device: Device) -> str:
    if device.provider == "cuda":
        return "Ours in one thread, as the service runs it."
    return (
        "torch and ONNX Runtime bare with their default threads on one batch; ours as the "
        "service runs it, one batch on each processor at once."
    )


def _machine(device: Device) -> str:
    if device.provider == "cuda":
        return torch.cuda.get_device_name() if torch.cuda.is_available() else "a GPU"
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", text)
    return f"{model[1] if model else platform.machine()}, {available_cpus()} processors"


def _slug(machine: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)", "", machine.lower())).strip("-")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"


if __name__ == "__main__":
    main()
