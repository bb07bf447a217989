"""Rows that do not fit the card never reach the queue, and their caller learns where and why."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.contract import ModelCard
from service.engine.admission import check_rows
from service.engine.errors import InvalidSequence
from service.engine.jobs import Row


def card(**changes) -> ModelCard:
    fields = {
        "name": "small",
        "features": ("load", "wind"),
        "targets": ("load",),
        "horizon": 4,
        "quantiles": (0.5,),
        "frequency": "1h",
        "min_length": 2,
        "max_length": 6,
    }
    return ModelCard(**fields | changes)


PLAIN = card()
GAPS = card(missing_values=True)
KNOWING = card(known=("wind",))
SINGLE = card(features=("load",))


def sequence(steps=3, features=2, **marks):
    """Return zeros with values written at places such as ``s1f0=nan``."""
    values = np.zeros((steps, features), np.float32)
    for place, value in marks.items():
        step, feature = place[1:].split("f")
        values[int(step), int(feature)] = value
    return values


def future(steps=4, known=1):
    return np.zeros((steps, known), np.float32)


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([Row(sequence(2))], PLAIN),
        ([Row(sequence(6)), Row(sequence(2))], PLAIN),
        ([Row(sequence(s0f0=np.nan, s2f1=np.nan))], GAPS),
        ([Row(sequence(2, s0f0=np.nan, s0f1=np.nan, s1f1=np.nan))], GAPS),
        ([Row(sequence(s0f0=np.finfo(np.float32).max))], PLAIN),
        ([Row(sequence(), future())], KNOWING),
        ([Row(sequence(features=1))], SINGLE),
    ],
)
def test_rows_that_fit_the_card_are_let_in(rows, chosen):
    check_rows(rows, chosen)


@pytest.mark.parametrize(
    ("row", "chosen", "place", "problem"),
    [
        (Row(sequence(1)), PLAIN, "values", "expected 2 to 6 steps, got 1"),
        (Row(sequence(0)), PLAIN, "values", "expected 2 to 6 steps, got 0"),
        (Row(sequence(7)), PLAIN, "values", "got 7; the last 6 are enough for a forecast"),
        (Row(sequence(3, 3)), PLAIN, "values", r"2 features a step \(load, wind\), got 3"),
        (Row(sequence(3, 0)), PLAIN, "values", r"2 features a step \(load, wind\), got 0"),
        (Row(np.zeros(3, np.float32)), PLAIN, "values", r"2 features a step .*, got 1"),
        (Row(np.zeros((1, 3, 2), np.float32)), PLAIN, "values", "2 features a step"),
        (Row(np.zeros((), np.float32)), PLAIN, "values", "2 features a step"),
        (Row(sequence(s2f1=np.nan)), PLAIN, "values[2][1]", "a missing value"),
        (Row(sequence(s1f0=np.inf)), PLAIN, "values[1][0]", "out of the range of float32"),
        (Row(sequence(s1f0=-np.inf)), GAPS, "values[1][0]", "out of the range of float32"),
        (Row(sequence(s0f0=np.nan, s2f0=np.inf)), GAPS, "values[2][0]", "out of the range"),
        (Row(sequence(2, s0f0=np.nan, s1f0=np.nan)), GAPS, "values", "every value is missing"),
        (Row(sequence(features=1, s2f0=np.nan)), SINGLE, "values[2]", "a missing value"),
        (Row(sequence()), KNOWING, "future", r"4 steps of the known covariates \(wind\), got none"),
        (Row(sequence(), future(3)), KNOWING, "future", r"expected shape \(4, 1\), got \(3, 1\)"),
        (Row(sequence(), future(4, 2)), KNOWING, "future", r"got \(4, 2\)"),
        (Row(sequence(), np.zeros(4, np.float32)), KNOWING, "future", r"got \(4,\)"),
        (Row(sequence(), future() * np.nan), KNOWING, "future[0]", "a missing value"),
        (Row(sequence(), future() + np.inf), KNOWING, "future[0]", "out of the range"),
        (Row(sequence(), future()), PLAIN, "future", "knows no covariates ahead"),
    ],
    ids=range(21),
)
def test_a_row_that_does_not_fit_is_refused_with_its_place(row, chosen, place, problem):
    fitting = Row(sequence(3, len(chosen.features)), future() if chosen.known else None)
    with pytest.raises(InvalidSequence, match=problem) as caught:
        check_rows([fitting, row], chosen)
    assert caught.value.place == f"sequences[1].{place}"
    assert str(caught.value).startswith(f"{caught.value.place}: ")


def test_missing_covariates_ahead_are_refused_even_where_gaps_are_allowed():
    knowing = card(known=("wind",), missing_values=True)
    with pytest.raises(InvalidSequence, match="a missing value") as caught:
        check_rows([Row(sequence(), future() * np.nan)], knowing)
    assert caught.value.place == "sequences[0].future[0]"


def test_a_model_of_many_features_does_not_make_a_long_message():
    wide = card(features=("load", *(f"feature-{number}" for number in range(5000))))
    with pytest.raises(InvalidSequence) as caught:
        check_rows([Row(sequence())], wide)
    assert len(str(caught.value)) < 400


anything = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=8),
    elements=st.floats(width=32),
)


@given(anything, st.none() | anything, st.sampled_from([PLAIN, GAPS, KNOWING, SINGLE]))
def test_whatever_is_let_in_fits_the_card(values, ahead, chosen):
    try:
        check_rows([Row(values, ahead)], chosen)
    except InvalidSequence:
        return
    assert values.shape[1:] == (len(chosen.features),)
    assert chosen.min_length <= len(values) <= chosen.max_length
    assert not np.isinf(values).any()
    assert chosen.missing_values or not np.isnan(values).any()
    if chosen.known:
        assert ahead.shape == (chosen.horizon, len(chosen.known))
        assert np.isfinite(ahead).all()
    else:
        assert ahead is None


def test_a_classifier_needs_one_value_of_any_column_where_values_may_be_missing():
    classes = ModelCard(
        name="kinds",
        task="classify",
        features=("load", "wind"),
        classes=("a", "b"),
        max_length=9,
        missing_values=True,
    )
    gaps = np.array([[np.nan, 1], [np.nan, np.nan]], np.float32)
    check_rows([Row(gaps)], classes)
    with pytest.raises(InvalidSequence, match="every value is missing"):
        check_rows([Row(np.full((2, 2), np.nan, np.float32))], classes)
