"""What the card inside a file promises, and which cards and files are refused."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.accuracy import Accuracy, BaselineAccuracy, ByStep, Example, Spread, TargetAccuracy
from models.contract import (
    METADATA_KEY,
    ContractError,
    ModelCard,
    Provenance,
    StateKind,
    Task,
)

DAY = datetime(2024, 5, 1, tzinfo=UTC)


def fields(**changes):
    return {
        "name": "small",
        "features": ("load", "wind", "hour"),
        "targets": ("load",),
        "known": ("hour",),
        "horizon": 4,
        "quantiles": (0.1, 0.5, 0.9),
        "frequency": "1h",
        "max_length": 24,
    } | changes


def card(**changes) -> ModelCard:
    return ModelCard(**fields(**changes))


def accuracy(**changes) -> Accuracy:
    errors = ("mae", "rmse", "weighted_quantile_loss", "coverage", "nominal_coverage", "mase")
    column = (0.5, None, 1e-9, 2.0)
    measured = {
        "spread": Spread(std=1, p10=0, p50=1, p90=2),
        "by_step": ByStep(mae=column, rmse=column, coverage=column),
        "baselines": {"last": BaselineAccuracy(mae=1, rmse=2, mae_ratio=0.5, mae_by_step=column)},
        "examples": [
            Example(
                start=DAY,
                history=column,
                actuals=column,
                quantiles=[column] * 3,
                seasonal_naive=column,
            )
        ],
    }
    target = TargetAccuracy(**(dict.fromkeys(errors, 0.5) | measured | changes))
    return Accuracy(
        windows=3, season=24, start=DAY, end=DAY, targets={"load": target}, loses_to=("last",)
    )


def test_a_card_survives_the_file():
    provenance = Provenance(
        data_sha256="0" * 64,
        rows=100,
        series=1,
        split={"train": DAY, "validation": DAY},
        seed=1,
        recipe="{}",
        versions={"torch": "2"},
        parity_error=1e-7,
        created=DAY,
    )
    written = card(accuracy=accuracy(), provenance=provenance, units={"load": "MW"})
    assert ModelCard.from_metadata(written.to_metadata()) == written


def first_version(naive, mae=0.5) -> dict:
    """Return a card as version 1 wrote it."""
    errors = dict.fromkeys(("rmse", "weighted_quantile_loss", "coverage", "nominal_coverage"), 0.5)
    errors |= {"mae": mae, "seasonal_naive_mae": naive, "seasonal_naive_rmse": 3.0}
    day = DAY.isoformat()
    measured = {"windows": 3, "season": 24, "start": day, "end": day, "targets": {"load": errors}}
    return fields(schema_version=1, accuracy=measured)


@pytest.mark.parametrize(
    ("naive", "ratio", "loses_to"), [(2.0, 0.25, ()), (0.25, 2, ("seasonal_naive",)), (0, None, ())]
)
def test_a_card_of_the_first_version_is_read_as_one_of_today(naive, ratio, loses_to):
    read = ModelCard.from_metadata({METADATA_KEY: json.dumps(first_version(naive))})
    assert read.schema_version == 2
    found = read.accuracy.targets["load"]
    assert found.mae == 0.5
    assert found.baselines == {
        "seasonal_naive": BaselineAccuracy(mae=naive, rmse=3, mae_ratio=ratio)
    }
    assert (found.by_step, found.spread, found.mase) == (None, None, None)
    assert read.accuracy.loses_to == loses_to
    assert ModelCard.from_metadata(read.to_metadata()) == read


@pytest.mark.parametrize("accuracy", [None, [], "good", {}, {"targets": []}, {"targets": {"a": 1}}])
def test_a_card_of_the_first_version_that_is_none_is_refused_like_any_other(accuracy):
    document = {METADATA_KEY: json.dumps(fields(schema_version=1, accuracy=accuracy))}
    if accuracy is None:
        assert ModelCard.from_metadata(document).accuracy is None
        return
    with pytest.raises(ContractError, match=r"model card cannot be read: ."):
        ModelCard.from_metadata(document)


@given(
    st.lists(st.floats(0.001, 0.999), min_size=1, max_size=9, unique=True).map(sorted),
    st.integers(1, 10_000),
    st.text(max_size=50),
)
def test_any_card_survives_the_file(quantiles, horizon, description):
    written = card(quantiles=quantiles, horizon=horizon, description=description)
    assert ModelCard.from_metadata(written.to_metadata()) == written


def test_a_file_carries_one_entry_and_nothing_else():
    metadata = card().to_metadata()
    assert list(metadata) == [METADATA_KEY]
    assert json.loads(metadata[METADATA_KEY])["schema_version"] == 2


def test_a_card_says_the_shape_of_an_answer():
    assert card(targets=("load", "wind")).answer_shape == (4, 2, 3)


def test_a_card_says_what_is_given_step_by_step_and_what_is_made():
    cycles = ("hour_sin", "hour_cos")
    made = {"calendar": ("hour",), "static": {"size": None, "region": ("north", "south")}}
    static = ("size", "region=north", "region=south")
    whole = card(
        features=("load", "wind", *static, "open", *cycles), known=("open", *cycles), **made
    )
    assert (whole.given, whole.given_known) == (("load", "wind", "open"), ("open",))
    assert ModelCard.from_metadata(whole.to_metadata()) == whole
    assert (card().given, card().given_known) == (("load", "wind", "hour"), ("hour",))


def test_what_a_card_does_not_say_is_the_careful_choice():
    plain = card()
    assert plain.task is Task.FORECAST
    assert plain.state.kind is StateKind.WINDOW
    assert plain.exact
    assert not plain.missing_values
    assert plain.min_length == 1


def test_a_card_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        card().horizon = 9


def test_the_frequency_is_kept_in_one_spelling():
    assert card(frequency=" H ").frequency == "1h"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"targets": ("wind",)}, "first features must be the targets"),
        ({"known": ("wind",)}, "last features must be the known"),
        ({"calendar": ("hour",)}, "last known covariates must be those of the calendar"),
        ({"calendar": ("fortnight",)}, "Input should be"),
        ({"static": {"size": None}}, "before the known covariates must be the static ones"),
        ({"static": {"load": None}, "features": ("load",), "known": ()}, "must be the static ones"),
        ({"targets": ("load", "wind", "hour")}, "target cannot be known ahead"),
        ({"features": ("load", "hour", "hour")}, "named twice"),
        ({"quantiles": (0.5, 0.1)}, "increasing order"),
        ({"quantiles": (0.5, 0.5)}, "increasing order"),
        ({"quantiles": (0.0, 0.5)}, "between 0 and 1"),
        ({"quantiles": (0.5, 1.0)}, "between 0 and 1"),
        ({"quantiles": (float("nan"),)}, "between 0 and 1"),
        ({"quantiles": ()}, "at least 1 item"),
        ({"features": (), "targets": (), "known": ()}, "at least 1 item"),
        ({"min_length": 25}, "min_length must not exceed"),
        ({"min_length": 0}, "greater than or equal to 1"),
        ({"horizon": 0}, "greater than or equal to 1"),
        ({"frequency": "1 fortnight"}, "not a frequency"),
        ({"name": "../escape"}, "should match pattern"),
        ({"name": "Upper"}, "should match pattern"),
        ({"name": "line\n"}, "should match pattern"),
        ({"name": "x" * 65}, "should match pattern"),
        ({"task": "translation"}, "forecast"),
        ({"schema_version": 3}, "2"),
        ({"colour": "blue"}, "Extra inputs"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_card_that_contradicts_itself_is_refused(changes, reason):
    with pytest.raises(ValidationError, match=reason):
        card(**changes)


def test_a_file_without_a_card_is_not_ours():
    with pytest.raises(ContractError, match="no 'model_card' entry"):
        ModelCard.from_metadata({"author": "somebody"})


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        '"card"',
        "{}",
        json.dumps(fields(schema_version=3)),
        json.dumps(fields(surprise=1)),
        json.dumps(fields(horizon=-1)),
        json.dumps(fields(quantiles=[float("nan")])),
    ],
    ids=lambda text: text[:20] or "nothing",
)
def test_a_card_that_cannot_be_read_is_refused_with_the_reason(document):
    with pytest.raises(ContractError, match=r"model card cannot be read: ."):
        ModelCard.from_metadata({METADATA_KEY: document})


HOSTILE = {
    "a number of five thousand digits": '{"horizon": ' + "9" * 5000 + "}",
    "brackets a hundred thousand deep": "[" * 100_000,
}


@pytest.mark.parametrize("document", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_card_is_refused_like_any_other(document):
    with pytest.raises(ContractError):
        ModelCard.from_metadata({METADATA_KEY: document})


@pytest.mark.parametrize("error", [float("nan"), float("inf")])
def test_an_error_that_is_no_number_is_refused(error):
    with pytest.raises(ValidationError, match="finite"):
        accuracy(weighted_quantile_loss=error)
