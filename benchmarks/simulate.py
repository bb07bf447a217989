"""
The scheduler against simpler rules, with a virtual clock: nothing runs, nothing is timed.

The costs were measured (`python -m benchmarks.simulation.measure`); what a batch takes in the
simulation differs from them, so that no rule knows the truth.  A load of 1 is what all runners
would answer by the measured costs if every batch held equal lengths and had the best size.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.simulation.prices import MEASURED, Truth, capacity, read
from benchmarks.simulation.replay import Outcome, play
from benchmarks.simulation.rules import RULES, Rule
from benchmarks.simulation.traffic import BURST, LONGEST, PEAK, SHORTEST, Crowd, crowd, times
from service.engine.costs import CostGrid

LOADS = (0.03, 0.1, 0.25, 0.45, 0.7, 0.85)
REQUESTS = {2: 30_000, 16: 80_000, 200: 160_000}  # by runners; many runners need many for a burst
RUSH = 10_000
WIDTH = 140
COLUMNS = (
    *("runners", "load", "rule", "served/s", "p50 ms", "p99 ms", "longest ms"),
    *("padding", "mean batch", "passed over", "beyond bound"),
)
OVERLOADED = ("", "overloaded", *[""] * 6)


@dataclass(frozen=True, slots=True)
class Stage:
    """What stays the same for every rule: the costs, how wrong they are, and the seed."""

    costs: CostGrid
    error: float
    seed: int

    def rush(self, rule: Rule) -> Outcome:
        """Play one runner and everybody there from the start: a rule serves no more than this."""
        return self.play(rule, self.crowd(RUSH), [0.0] * RUSH, 1)

    def share(self, rush: Outcome) -> float:
        """Return what was served in a rush, as a load."""
        return rush.served / capacity(self.costs, self.crowd(RUSH).lengths.tolist())

    def crowd(self, requests: int) -> Crowd:
        """Draw requests."""
        return crowd(requests, self.seed)

    def times(self, guests: Crowd, runners: int, load: float) -> list[float]:
        """Draw when they arrive, to make a load."""
        lengths = guests.lengths.tolist()
        seconds = len(lengths) / (load * runners * capacity(self.costs, lengths))
        return times(len(guests.counts), seconds, load, self.seed)

    def play(self, rule: Rule, guests: Crowd, arriving: Sequence[float], runners: int) -> Outcome:
        """Let them come to a rule; the truth is the same for each."""
        return play(rule, Truth(self.costs, self.error, self.seed), guests, arriving, runners)


Line = tuple[str, ...]


def lines(
    stage: Stage, requests: Mapping[int, int] = REQUESTS, loads: Sequence[float] = LOADS
) -> Iterator[Line]:
    """
    Play everything; yield the lines of the table, first what each rule serves at most.

    A queue that grows has no latency: where the load is more than that, or where somebody
    waited for a third of the whole time after all.
    """
    rushes = {name: stage.rush(rule) for name, rule in RULES.items()}
    shares = {name: stage.share(rush) for name, rush in rushes.items()}
    for name, rush in rushes.items():
        most = f"{shares[name]:.2f}", name, f"{rush.served:,.0f}"
        yield "1", *most, "at most", "", "", *_shape(rush), "", ""
    for runners, count in requests.items():
        guests = stage.crowd(count)
        for load in loads:
            arriving = stage.times(guests, runners, load)
            for name, rule in RULES.items():
                where = f"{runners}", f"{load}", name
                if load >= shares[name]:
                    yield *where, *OVERLOADED
                else:
                    yield *where, *_figures(stage.play(rule, guests, arriving, runners))


def _figures(found: Outcome) -> Line:
    if found.longest_wait > found.arrived[-1] / 3:
        return OVERLOADED
    middle, late = np.percentile(found.latencies, [50, 99])
    seconds = middle, late, found.longest_wait
    waits = (f"{second * 1e3:,.1f}" for second in seconds)
    fair = f"{found.passed_over.max()}", f"{found.beyond_bound:,}"
    return f"{found.served:,.0f}", *waits, *_shape(found), *fair


def _shape(found: Outcome) -> Line:
    return f"{found.padding:.0%}", f"{found.mean_batch:.1f}"


@click.command()
@click.option("--costs", default=MEASURED, type=click.Path(path_type=Path), help="A measured file.")
@click.option("--error", default=0.2, show_default=True, help="Spread of the truth around them.")
@click.option("--seed", default=0, show_default=True)
def main(costs: Path, error: float, seed: int) -> None:
    """Play every rule at every load, and print one table."""
    title = (
        f"lengths {SHORTEST}..{LONGEST}, bursts of {BURST * 1e3:g} ms that add {PEAK:g} times the "
        f"capacity, costs of {costs.name} wrong by {error:g}, seed {seed}"
    )
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "rule" else "right", no_wrap=True)
    for number, line in enumerate(lines(Stage(read(costs), error, seed))):
        if number % len(RULES) == 0:
            table.add_section()
        table.add_row(*line)
    Console(width=WIDTH).print(table)


if __name__ == "__main__":
    main()
