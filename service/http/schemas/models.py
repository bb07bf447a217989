"""What the API says about models."""

from typing import Literal

from models.contract import ModelCard
from service.engine.core import Engine, LoadedModel
from service.engine.costs import CostGrid
from service.engine.vetting.report import Report
from service.http.schemas.sessions import LiveAccuracyOut, live_accuracy
from service.http.schemas.wire import Out
from service.sessions.live import Live


class SelfCheckOut(Out):
    """The load-time check that answers do not depend on their neighbours."""

    cases: int
    bit_for_bit: bool
    largest_difference: float
    tolerance: float


class VettingOut(Out):
    """The checks that a file passed or not, run by a process of its own on the CPU."""

    sha256: str  # empty where the file could not be read
    bytes: int
    passed: bool
    findings: tuple[str, ...]
    seconds: float  # all checks, when they were made: a verdict is kept
    load_seconds: float | None  # None where it came to no run
    run_seconds: float | None  # one sequence of ``max_length``
    batch_size: int | None
    batch_seconds: float | None  # so many sequences of ``max_length``
    memory_bytes: int | None


class CostsOut(Out):
    """Measured at load: ``milliseconds[i][j]`` of one run of ``sizes[i]`` by ``steps[j]``."""

    sizes: tuple[int, ...]  # sequences
    steps: tuple[int, ...]
    milliseconds: tuple[tuple[float, ...], ...]
    useful_sizes: tuple[int, ...]  # for each number of steps, where larger gains under 3 %


class SlotsOut(Out):
    """Where batches run: threads of this process, those lent to large requests, the loop."""

    share: int
    spare: int
    inline_ms: float


class LoadedVersion(Out):
    """A version in memory."""

    version: int
    provider: Literal["cpu", "cuda"]
    ready: bool
    waiting: int
    load_seconds: float
    self_check: SelfCheckOut
    vetting: VettingOut
    slots: SlotsOut
    costs: CostsOut | None  # None where they were not measured


class Limits(Out):
    """What one request may hold."""

    max_sequences: int
    max_waiting: int
    min_length: int
    max_length: int


class ModelSummary(Out):
    """One model in the list."""

    name: str
    state: Literal["ready", "unavailable"]
    version: int | None  # the version that answers when none is named
    versions: list[int]
    provider: Literal["cpu", "cuda"] | None
    description: str
    failures: dict[int, str]  # version -> why it could not be loaded


class ModelList(Out):
    """All models."""

    models: list[ModelSummary]


class ModelDetail(ModelSummary):
    """One model: its card, versions, limits, and what was found at load."""

    loaded: list[LoadedVersion]
    refused: dict[int, VettingOut]  # version -> the checks that it did not pass
    limits: Limits
    card: ModelCard
    # Rolling, by target: what this process's sessions have found lately; empty without any.
    live_accuracy: dict[str, LiveAccuracyOut]


def summary(engine: Engine, name: str) -> ModelSummary:
    """Describe a model that serves or failed to."""
    model = engine.newest(name)
    return ModelSummary(
        name=name,
        state="ready" if model and model.batcher.ready else "unavailable",
        version=model.entry.version if model else None,
        versions=engine.versions(name),
        provider=model.provider if model else None,
        description=model.card.description if model else "",
        failures=engine.failures(name),
    )


def detail(
    engine: Engine, model: LoadedModel, max_sequences: int, live: Live | None
) -> ModelDetail:
    """Describe one version of a model in full."""
    card, name = model.card, model.entry.name
    return ModelDetail(
        **summary(engine, name).model_dump(),
        loaded=[_loaded(version) for version in engine.loaded(name)],
        refused={version: _vetting(found) for version, found in engine.refused(name).items()},
        limits=Limits(
            max_sequences=max_sequences,
            max_waiting=engine.options.policy.max_waiting,
            min_length=card.min_length,
            max_length=card.max_length,
        ),
        card=card,
        live_accuracy=live_accuracy(live.of(model) if live else {}),
    )


def _loaded(model: LoadedModel) -> LoadedVersion:
    return LoadedVersion(
        version=model.entry.version,
        provider=model.provider,
        ready=model.batcher.ready,
        waiting=model.batcher.waiting,
        load_seconds=round(model.load_seconds, 3),
        self_check=SelfCheckOut(
            cases=model.check.cases,
            bit_for_bit=model.check.bit_for_bit,
            largest_difference=model.check.largest_difference,
            tolerance=model.check.tolerance,
        ),
        vetting=_vetting(model.report),
        slots=SlotsOut(
            share=model.batcher.slots.share,
            spare=model.batcher.slots.spare,
            inline_ms=model.batcher.slots.inline_seconds * 1000,
        ),
        costs=None if model.costs is None else _costs(model.costs),
    )


def _vetting(report: Report) -> VettingOut:
    measured = report.measured
    return VettingOut(
        sha256=report.sha256,
        bytes=report.size,
        passed=report.passed,
        findings=report.findings,
        seconds=round(report.seconds, 3),
        load_seconds=measured and measured.load_seconds,
        run_seconds=measured and measured.run_seconds,
        batch_size=measured and measured.batch_size,
        batch_seconds=measured and measured.batch_seconds,
        memory_bytes=measured and measured.memory_bytes,
    )


def _costs(grid: CostGrid) -> CostsOut:
    return CostsOut(
        sizes=grid.sizes,
        steps=grid.steps,
        milliseconds=tuple(tuple(round(s * 1000, 4) for s in row) for row in grid.seconds_at),
        useful_sizes=tuple(grid.useful_size(steps) for steps in grid.steps),
    )
