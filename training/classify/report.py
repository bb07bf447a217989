"""Say what a classifier's run found, for a terminal."""

from rich import box
from rich.table import Table

from models.classification import ClassificationAccuracy


def class_table(name: str, found: ClassificationAccuracy) -> Table:
    """Return the held-out accuracy beside the baselines', and the confusion class by class."""
    table = Table(
        title=(
            f"{name}: {found.series:,} series never seen\n"
            f"accuracy {found.accuracy:.1%} (nearest series {found.nearest_accuracy:.1%}, "
            f"most frequent class {found.majority_accuracy:.1%})\n"
            f"macro F1 {found.macro_f1:.3f}, log loss {found.log_loss:.3f}, calibration error "
            f"{found.calibration_error:.3f} ({found.uncalibrated_error:.3f} before)"
        ),
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    # A narrow terminal breaks names, never figures.
    table.add_column("class", overflow="fold", min_width=4)
    for column in ("series", "recall", "most often taken for"):
        table.add_column(column, justify="right", no_wrap=column != "most often taken for")
    for index, (label, recall) in enumerate(found.recall.items()):
        row = found.confusion[index]
        wrong = [0 if place == index else count for place, count in enumerate(row)]
        worst = max(wrong)
        taken = f"{list(found.recall)[wrong.index(worst)]} ({worst})" if worst else "-"
        table.add_row(label, f"{sum(row)}", f"{recall:.1%}", taken)
    return table
