"""No model serves whose answers depend on their neighbours, or are no numbers."""

import numpy as np
import pytest

from service.engine.errors import ModelRejected
from service.engine.jobs import Answer
from service.engine.selfcheck import BATCHES, check, largest_difference
from tests.engine.graphs import card, streaming_card

EXACT = card(features=("load", "hour"), known=("hour",))
CLOSE = EXACT.model_copy(update={"exact": False})
GAPS = EXACT.model_copy(update={"missing_values": True, "min_length": 3})


def answer(predictions) -> Answer:
    return Answer(predictions, predictions[..., 0])


class Honest:
    """Answers each row by itself, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def run(self, rows):
        self.asked.append(rows)
        return [self.answer(row, len(rows)) for row in rows]

    def answer(self, row, _size):
        value = np.nansum(row.sequence[:, 0]) + row.future.sum()
        return answer(np.full((2, 1, 3), value, np.float32))


class Leaky(Honest):
    """Lets a little of the batch into every answer."""

    def __init__(self, much):
        super().__init__()
        self.much = np.float32(much)

    def answer(self, row, size):
        alone = super().answer(row, size).predictions
        return answer(alone * (1 + self.much * (size - 1)))


class Constant(Honest):
    """Says the same to everybody, or another thing to those in company."""

    def __init__(self, alone, together=None):
        super().__init__()
        self.alone = alone
        self.together = alone if together is None else together

    def answer(self, _row, size):
        value = self.alone if size == 1 else self.together
        return answer(np.full((2, 1, 3), value, np.float32))


class Streaming(Honest):
    """Keeps the sum of its sequence as its state, and says which; what leaks is told by name."""

    def __init__(self, leaks=()):
        super().__init__()
        self.leaks = leaks

    def answer(self, row, size):
        before = np.zeros(1, np.float32) if row.state is None else row.state
        state = before + np.nansum(row.sequence, dtype=np.float32)
        weights = np.ones(len(row.sequence), np.float32)
        if size > 1:
            state = state * 2 if "state" in self.leaks else state
            weights = weights * 2 if "attention" in self.leaks else weights
        if "endless" in self.leaks:
            state = state + np.inf
        said = 0 if row.state is None or "what it began with" not in self.leaks else size
        made = answer(np.full((2, 1, 3), said, np.float32))
        made.state = np.append(state, state) if "shape" in self.leaks else state
        made.attention = weights
        return made


STREAM = streaming_card(attention=True)


def test_all_that_a_model_tells_is_asked_for_and_a_stream_goes_on():
    runner = Streaming()
    assert check(runner, STREAM, "cpu").cases > sum(BATCHES)
    rows = [row for batch in runner.asked for row in batch]
    assert all(row.carry and row.explain for row in rows)
    assert any(row.state is not None and row.state.any() for row in rows)


@pytest.mark.parametrize(
    ("leak", "said"),
    [
        ("state", "differ from the same sequence alone"),
        ("attention", "differ from the same sequence alone"),
        ("what it began with", "differ from the same sequence alone"),
        ("endless", "a state that is not finite"),
        ("shape", r"a state of shape \(2,\), not \(1,\)"),
    ],
)
def test_what_leaks_into_a_state_or_the_weights_is_found(leak, said):
    with pytest.raises(ModelRejected, match=said):
        check(Streaming((leak,)), STREAM, "cpu")


def test_an_honest_model_passes_bit_for_bit():
    found = check(Honest(), EXACT, "cpu")
    assert found.cases == sum(BATCHES)
    assert found.bit_for_bit
    assert found.largest_difference == 0
    assert found.tolerance == 0


def test_a_model_that_leaks_between_neighbours_is_rejected():
    with pytest.raises(ModelRejected, match=r"differ from the same sequence alone by \d\.\de-04"):
        check(Leaky(1e-5), EXACT, "cpu")


def test_who_promises_every_bit_is_held_to_it_and_who_does_not_to_a_millionth():
    with pytest.raises(ModelRejected, match="more than 0e"):
        check(Leaky(2e-8), EXACT, "cpu")
    found = check(Leaky(2e-8), CLOSE, "cpu")
    assert 0 < found.largest_difference <= found.tolerance == 1e-6
    assert not found.bit_for_bit
    with pytest.raises(ModelRejected, match="more than 1e-06"):
        check(Leaky(1e-6), CLOSE, "cpu")


def test_cuda_has_a_tolerance_of_its_own():
    assert check(Leaky(1e-5), EXACT, "cuda").tolerance == 1e-3
    with pytest.raises(ModelRejected, match="more than 1e-03"):
        check(Leaky(1e-3), EXACT, "cuda")


@pytest.mark.parametrize(
    ("alone", "together"), [(np.nan, np.nan), (1, np.nan), (np.nan, 1), (1, np.inf), (np.inf, 1)]
)
def test_an_answer_that_is_no_number_is_rejected(alone, together):
    with pytest.raises(ModelRejected):
        check(Constant(alone, together), CLOSE, "cuda")


def test_a_model_that_always_answers_infinity_is_rejected():
    with pytest.raises(ModelRejected):
        check(Constant(np.inf), EXACT, "cpu")


def test_an_answer_of_another_shape_than_the_cards_is_rejected():
    with pytest.raises(ModelRejected):
        check(Honest(), EXACT.model_copy(update={"horizon": 7}), "cpu")


def test_an_answer_whose_shape_depends_on_its_neighbours_is_rejected():
    class Shifting(Honest):
        def answer(self, row, size):
            alone = super().answer(row, size).predictions
            return answer(alone if size == 1 else np.concatenate([alone, alone[:1]]))

    with pytest.raises(ModelRejected):
        check(Shifting(), EXACT, "cpu")


def test_a_model_that_cannot_run_is_rejected_with_the_reason():
    class Failing:
        def run(self, _rows):
            raise RuntimeError("no kernel for GRU")

    with pytest.raises(ModelRejected, match="could not run the model: no kernel for GRU"):
        check(Failing(), EXACT, "cpu")


def test_the_rows_are_those_the_card_allows_and_never_alike():
    runner = Honest()
    check(runner, GAPS, "cpu")
    asked = [row for rows in runner.asked for row in rows]
    assert {len(rows) for rows in runner.asked} == set(BATCHES)
    lengths = [len(row.sequence) for row in asked]
    assert min(lengths) >= GAPS.min_length
    assert max(lengths) <= GAPS.max_length
    assert len(set(lengths)) > 5
    for row in asked:
        assert row.sequence.shape[1] == 2
        assert row.sequence.dtype == row.future.dtype == np.float32
        assert row.future.shape == (2, 1)
    assert any(np.isnan(row.sequence).any() for row in asked)
    scales = [np.nanmax(np.abs(row.sequence)) for row in asked]
    assert max(scales) > 100 * min(scales)


def test_no_value_is_missing_where_the_card_allows_none():
    runner = Honest()
    check(runner, EXACT, "cpu")
    assert all(np.isfinite(row.sequence).all() for rows in runner.asked for row in rows)


def test_the_check_repeats():
    first, second = Honest(), Honest()
    check(first, GAPS, "cpu")
    check(second, GAPS, "cpu")
    for one, other in zip(first.asked, second.asked, strict=True):
        for row, same in zip(one, other, strict=True):
            assert np.array_equal(row.sequence, same.sequence, equal_nan=True)


def test_a_difference_is_relative_to_the_largest_prediction_of_its_row():
    def answers(*values):
        return [answer(np.array(value, np.float32)) for value in values]

    assert largest_difference([], []) == 0
    assert largest_difference(answers([1, 2]), answers([1, 2])) == 0
    assert largest_difference(answers([0, 100]), answers([1, 100])) == pytest.approx(0.01)
    assert largest_difference(answers([0, 8], [1]), answers([0, 8], [2])) == pytest.approx(0.5)
    assert largest_difference(answers([-9.0]), answers([-10.0])) == pytest.approx(0.1)
