"""What a card says, in lines for a terminal: what is answered, and how well."""

from collections.abc import Iterator
from datetime import datetime

from models.accuracy import SEASONAL_NAIVE, Accuracy, BaselineAccuracy, TargetAccuracy
from models.classification import ClassificationAccuracy
from models.contract import ModelCard, Task


def summary(card: ModelCard) -> str:
    """Say in a line what is read and what is answered."""
    lengths = f"{card.min_length}..{card.max_length}"
    if card.task is Task.CLASSIFY:
        return f"{', '.join(card.features)}  {len(card.classes)} classes from {lengths} steps"
    steps = f"{card.horizon} steps of {card.frequency}"
    return f"{', '.join(card.targets)}  {steps} from {lengths}"


def describe(card: ModelCard) -> Iterator[str]:
    """Yield what was measured, beside the baselines, and on which data."""
    accuracy = card.accuracy
    if accuracy is None:
        yield "no accuracy was measured"
    elif isinstance(accuracy, ClassificationAccuracy):
        yield from _classes(accuracy)
    else:
        for target, found in accuracy.targets.items():
            yield from _target(target, card.units.get(target), found)
        yield from _warning(accuracy)
        yield (
            f"held out: {accuracy.windows:,} windows, {accuracy.start:%Y-%m-%d} to "
            f"{accuracy.end:%Y-%m-%d}"
        )
    if card.provenance is not None:
        parts = (_part(name, size) for name, size in card.provenance.split.items())
        yield f"split: {', '.join(parts)}"
        yield f"data: sha256 {card.provenance.data_sha256}"


def _part(name: str, size: datetime | int) -> str:
    return f"{name} {size:,}" if isinstance(size, int) else f"{name} to {size:%Y-%m-%d}"


def _classes(found: ClassificationAccuracy) -> Iterator[str]:
    yield (
        f"accuracy {found.accuracy:.1%}; most frequent class {found.majority_accuracy:.1%}, "
        f"nearest series {found.nearest_accuracy:.1%}"
    )
    yield (
        f"  macro F1 {found.macro_f1:.3f}, log loss {found.log_loss:.3f}, "
        f"calibration error {found.calibration_error:.3f}"
    )
    yield from _warning(found)
    yield f"held out: {found.series:,} series"


def _target(name: str, unit: str | None, found: TargetAccuracy) -> Iterator[str]:
    in_unit = f" {unit}" if unit else ""
    spread = f" ± {found.spread.std:.4g}" if found.spread else ""
    naive = found.baselines.get(SEASONAL_NAIVE)
    beside = f", {_ratio(naive)} of seasonal naive's" if naive else ""
    yield f"{name}: MAE {found.mae:.4g}{spread}{in_unit}{beside}"
    parts = [f"RMSE {found.rmse:.4g}"]
    if found.mase is not None:
        parts.append(f"MASE {found.mase:.3g}")
    parts.append(f"{found.coverage:.0%} within the {found.nominal_coverage:.0%} interval")
    if found.by_step and len(found.by_step.mae) > 1:
        first, last = (_number(found.by_step.mae[at]) for at in (0, -1))
        parts.append(f"MAE {first} at the first step, {last} at the last")
    yield f"  {', '.join(parts)}"
    for other, errors in found.baselines.items():
        if other != SEASONAL_NAIVE:
            yield f"  {_ratio(errors)} of {other}'s {errors.mae:.4g}"


def _warning(accuracy: Accuracy | ClassificationAccuracy) -> Iterator[str]:
    if accuracy.loses_to:
        yield f"WARNING: larger errors than {', '.join(accuracy.loses_to)}"


def _ratio(errors: BaselineAccuracy) -> str:
    return "-" if errors.mae_ratio is None else f"{errors.mae_ratio:.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
