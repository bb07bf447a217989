"""What is measured once is measured rightly, kept, and never worth a failure."""

import json
import threading

import pytest

from service.engine.errors import ModelRejected
from service.engine.scheduler import BatchPolicy
from service.engine.tuning import SIZES, CostCache, measure
from tests.doubles import answer_to
from tests.engine.graphs import card

CARD = card(max_length=512)


class Machine:
    """A runner with a clock of its own: a run takes what ``cost`` says."""

    def __init__(self, cost):
        self.now = 0.0
        self.cost = cost
        self.runs = []

    def run(self, rows):
        size, steps = len(rows), max(len(row.sequence) for row in rows)
        self.runs.append((size, steps))
        self.now += self.cost(size, steps)
        return [answer_to(row) for row in rows]

    def clock(self):
        return self.now


def test_the_grid_is_what_the_clock_said():
    machine = Machine(lambda size, steps: 1e-5 + 1e-8 * size * steps)
    grid = measure(machine, CARD, 1.0, machine.clock)
    assert grid.sizes == SIZES
    assert grid.steps == (8, 32, 128, 512)
    for size in grid.sizes:
        for steps in grid.steps:
            assert grid.seconds(size, steps) == pytest.approx(1e-5 + 1e-8 * size * steps)


class OutOfMemory(Exception):
    """As the runtime's: of no base class that says anything."""


def test_a_batch_that_cannot_be_run_has_the_model_rejected_and_says_which():
    def cost(size, steps):
        if size * steps > 1000:
            raise OutOfMemory("no room for 1 GiB")
        return 1e-5

    machine = Machine(cost)
    with pytest.raises(ModelRejected, match=r"32 sequences of 32 steps .* no room for 1 GiB"):
        measure(machine, CARD, 1.0, machine.clock)


def test_what_disturbs_one_run_does_not_count():
    machine = Machine(lambda _size, _steps: 1.0 if len(machine.runs) % 3 == 0 else 0.001)
    grid = measure(machine, CARD, 1000.0, machine.clock)
    for row in grid.seconds_at:
        assert row == pytest.approx([0.001] * 4)


def test_a_slow_model_is_not_run_in_large_batches_to_learn_that_they_are_slow():
    machine = Machine(lambda size, steps: 0.001 * size * steps)
    grid = measure(machine, CARD, 0.5, machine.clock)
    assert max(size for size, steps in machine.runs if steps == 512) == 1
    assert grid.seconds(64, 512) == pytest.approx(0.001 * 64 * 512)
    assert machine.now < 5


def test_where_larger_batches_are_allowed_they_are_measured():
    machine = Machine(lambda size, steps: 1e-4 + 1e-9 * size * steps)
    policy = BatchPolicy(max_batch_size=3000, max_batch_steps=2**17)
    grid = measure(machine, CARD, 10.0, machine.clock, policy)
    assert grid.sizes == (*SIZES, 128, 256, 512, 1024, 2048, 4096)
    assert grid.seconds(4096, 8) == pytest.approx(1e-4 + 1e-9 * 4096 * 8)
    assert max(size * steps for size, steps in machine.runs) == 2**17
    assert grid.useful_size(8) > 64


def test_no_batch_is_measured_that_could_not_be_served():
    machine = Machine(lambda size, steps: 1e-8 * size * steps)
    policy = BatchPolicy(max_batch_steps=1024)
    grid = measure(machine, CARD, 10.0, machine.clock, policy)
    assert max(size for size, steps in machine.runs if steps == 512) == 2
    assert grid.seconds(64, 512) == pytest.approx(1e-8 * 64 * 512)
    alone = measure(machine, CARD, 10.0, machine.clock, BatchPolicy(max_batch_steps=1))
    assert alone.seconds(1, 512) == pytest.approx(1e-8 * 512)


def test_a_model_of_one_length_has_a_grid_of_one_column():
    machine = Machine(lambda size, _steps: 0.001 * size)
    grid = measure(machine, card(min_length=24, max_length=24), 0.5, machine.clock)
    assert grid.steps == (24,)
    assert grid.seconds(3, 24) == pytest.approx(0.003)


@pytest.fixture
def grid():
    machine = Machine(lambda size, steps: 1e-6 * size * steps)
    return measure(machine, CARD, 1.0, machine.clock)


MODEL = "a hash"


def never():
    raise AssertionError("measured again")


def test_a_grid_is_measured_once_for_a_model_and_a_runtime(tmp_path, grid):
    cache = CostCache(tmp_path / "new" / "cache", "runtime 1")
    assert cache.get(MODEL, lambda: grid) == grid
    assert CostCache(tmp_path / "new" / "cache", "runtime 1").get(MODEL, never) == grid
    with pytest.raises(AssertionError):
        CostCache(tmp_path / "new" / "cache", "runtime 2").get(MODEL, never)
    with pytest.raises(AssertionError):
        cache.get("another hash", never)


def test_two_who_ask_at_once_measure_once(tmp_path, grid):
    cache, made, asked = CostCache(tmp_path, "runtime"), [], threading.Barrier(2)

    def make():
        made.append(1)
        return grid

    def ask():
        asked.wait(10)
        assert cache.get(MODEL, make) == grid

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(made) == 1


@pytest.mark.parametrize(
    "damage", ["", "{}", "[1]", '{"sizes": [2, 1], "steps": [8], "seconds_at": [[1], [1]]}']
)
def test_a_damaged_file_is_measured_again(tmp_path, grid, damage):
    cache = CostCache(tmp_path, "runtime")
    cache.get(MODEL, lambda: grid)
    (kept,) = tmp_path.glob("*.json")
    kept.write_text(damage)
    assert cache.get(MODEL, lambda: grid) == grid
    assert json.loads(kept.read_text())["steps"] == [8, 32, 128, 512]


def test_a_folder_that_cannot_be_made_costs_nothing_but_the_measurement(tmp_path, grid):
    (tmp_path / "file").write_text("in the way")
    assert CostCache(tmp_path / "file" / "cache", "runtime").get(MODEL, lambda: grid) == grid
