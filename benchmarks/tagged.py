"""
Very many tagged sequences through one Batcher: nobody may get another's rows.

The runner is a cheap function whose answer is the row's own tag and length.  Callers send
requests of several rows of mixed lengths, and some leave before they are answered.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import click
import numpy as np

from service.engine.batcher import Batcher, Slots
from service.engine.jobs import Answer, Row
from service.engine.scheduler import BatchPolicy

LARGEST_REQUEST = 24
LONGEST = 64
LEAVING = 0.1  # of the requests
LEAVE_WITHIN = 0.002  # seconds


class Tagger:
    """Answers each row with its tag and length, and counts how often each tag ran."""

    def __init__(self, count: int) -> None:
        self.runs = np.zeros(count, np.int64)

    def run(self, rows: Sequence[Row]) -> list[Answer]:
        """Answer rows in order; a tag belongs to one job, so no two threads count the same."""
        answers = []
        for row in rows:
            tag = int(row.sequence[0, 0]) * 1_000 + int(row.sequence[0, 1])
            self.runs[tag] += 1
            said = np.array([row.sequence[-1, 0], row.sequence[-1, 1], len(row.sequence)], "f4")
            answers.append(Answer(said.reshape(-1, 1, 1), said.reshape(-1, 1)))
        return answers


@dataclass(slots=True)
class Tally:
    """What the callers saw, in sequences."""

    answered: int = 0
    left: int = 0
    wrong: int = 0
    lost: int = 0


class Callers:
    """Callers that take tags until none is left."""

    def __init__(self, batcher: Batcher, count: int) -> None:
        self._batcher = batcher
        self._count = count
        self._next = 0
        self.tally = Tally()

    async def call(self, seed: int) -> None:
        """Send one request after the other, and check every answer."""
        random = np.random.default_rng(seed)
        while self._next < self._count:
            first = self._next
            self._next = min(self._count, first + int(random.integers(1, LARGEST_REQUEST + 1)))
            rows = [
                _row(tag, int(length))
                for tag, length in zip(
                    range(first, self._next),
                    random.integers(1, LONGEST + 1, self._next - first),
                    strict=True,
                )
            ]
            patience = random.uniform(0, LEAVE_WITHIN) if random.random() < LEAVING else None
            await self._ask(rows, patience)

    async def _ask(self, rows: Sequence[Row], patience: float | None) -> None:
        try:
            async with asyncio.timeout(patience):
                answers, _ = await self._batcher.predict(rows)
        except TimeoutError:
            self.tally.left += len(rows)
            return
        self.tally.answered += len(answers)
        self.tally.lost += len(rows) - len(answers)
        for row, answer in zip(rows, answers, strict=False):
            expected = (*row.sequence[0].tolist(), float(len(row.sequence)))
            self.tally.wrong += tuple(answer.mean.reshape(-1).tolist()) != expected


def _row(tag: int, length: int) -> Row:
    # Two numbers, for one of float32 holds no more than 16 million tags exactly.
    return Row(np.full((length, 2), divmod(tag, 1_000), np.float32))


async def _play(count: int, callers: int, slots: int) -> tuple[Tally, int]:
    """Return what was seen, and how many sequences ran more than once."""
    tagger = Tagger(count)
    policy = BatchPolicy(max_waiting=callers * LARGEST_REQUEST)
    batcher = Batcher(tagger, policy, slots=Slots(slots))
    everyone = Callers(batcher, count)
    async with asyncio.TaskGroup() as group:
        for seed in range(callers):
            group.create_task(everyone.call(seed))
    await batcher.close()
    tally = everyone.tally
    tally.lost += count - tally.answered - tally.left - tally.lost
    return tally, int((tagger.runs > 1).sum())


@click.command()
@click.option("--count", default=1_000_000, show_default=True, help="Sequences.")
@click.option("--callers", default=128, show_default=True, help="Callers at once.")
@click.option("--slots", default=4, show_default=True, help="Runner threads.")
def main(count: int, callers: int, slots: int) -> None:
    """Send them all; end with 1 if any answer was wrong, lost or doubled."""
    started = time.perf_counter()
    tally, doubled = asyncio.run(_play(count, callers, slots))
    click.echo(
        f"{count:,} sequences, {callers} callers, {slots} slots, "
        f"{time.perf_counter() - started:.0f} s: {tally.answered:,} answered, "
        f"{tally.left:,} left; wrong {tally.wrong}, lost {tally.lost}, doubled {doubled}"
    )
    if tally.wrong or tally.lost or doubled:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
