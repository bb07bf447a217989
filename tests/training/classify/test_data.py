"""What a labelled table must hold, what is said where it does not, and how it is split."""

import numpy as np
import pytest

from tests.labelled import CLASSES, waves, write
from training.classify.data import read_labelled
from training.classify.recipe import ClassifyRecipe, LabelledData, read_recipe
from training.classify.series import SeriesBatches, split
from training.errors import DataError, RecipeError
from training.recipe import Recipe

HEADER = "id,x,kind"
ROWS = [
    f"{name},{value},{kind}"
    for name, kind in zip("abcdef", "pqpqpq", strict=True)
    for value in (1, 2)
]


def table(tmp_path, rows, header=HEADER, **more):
    path = tmp_path / "table.csv"
    path.write_text("\n".join([header, *rows, ""]))
    return read_labelled(
        LabelledData(source=str(path), id="id", label="kind", features=("x",), **more)
    )


def recipe(**changes) -> ClassifyRecipe:
    data = {"source": "none.csv", "id": "id", "label": "kind", "features": ["x"]}
    return ClassifyRecipe.model_validate(
        {"task": "classify", "name": "kinds", "data": data} | changes
    )


def test_each_series_has_its_rows_its_length_and_its_class(tmp_path):
    found = table(tmp_path, [*ROWS, "b,3,q", " a ,4, p "])
    assert found.ids == ("a", "b", "c", "d", "e", "f")
    assert [each[:, 0].tolist() for each in found.series[:3]] == [[1, 2, 4], [1, 2, 3], [1, 2]]
    assert found.classes == ("p", "q")
    assert found.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert found.lengths == (2, 3)
    assert not found.missing


def test_a_time_orders_the_rows_of_a_series(tmp_path):
    rows = [
        f"{name},{value},{kind},2024-01-{9 - value:02}"
        for name, kind in zip("abcdef", "pqpqpq", strict=True)
        for value in (1, 2, 3)
    ]
    found = table(tmp_path, rows, "id,x,kind,day", time="day")
    assert found.series[0][:, 0].tolist() == [3, 2, 1]


def test_an_empty_number_is_a_missing_value(tmp_path):
    found = table(tmp_path, [*ROWS, "a,,p"])
    assert found.missing
    assert np.isnan(found.series[0][-1, 0])


@pytest.mark.parametrize(
    ("rows", "row", "column", "problem"),
    [
        ([*ROWS, "a,3,q"], 14, "kind", "series 'a' is labelled 'p' first and 'q' here"),
        ([*ROWS, "g,3,"], 14, "kind", "the row has no label"),
        ([*ROWS, ",3,p"], 14, "id", "the row names no series"),
        ([*ROWS, "a,three,p"], 14, "x", "'three' is not a number"),
        ([*ROWS, "g,,p"], 14, "x", "series 'g' has no value at all"),
        (["a,1,p", "b,2,p"], None, "kind", "there is only 'p'"),
        ([], None, "kind", "there is none"),
    ],
    ids=lambda each: each if isinstance(each, str) else None,
)
def test_what_does_not_fit_is_named_with_its_row_and_column(tmp_path, rows, row, column, problem):
    with pytest.raises(DataError, match=problem) as caught:
        table(tmp_path, rows)
    assert (caught.value.row, caught.value.column) == (row, column)


def test_a_time_that_comes_twice_in_a_series_is_refused(tmp_path):
    rows = ["a,1,p,2024-01-01", "b,1,q,2024-01-01", "a,2,p,2024-01-01"]
    with pytest.raises(DataError, match="comes twice in series 'a'") as caught:
        table(tmp_path, rows, "id,x,kind,day", time="day")
    assert (caught.value.row, caught.value.column) == (4, "day")


def test_a_column_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="Did you mean 'Kind'"):
        table(tmp_path, ["a,1,p"], "id,x,Kind")


def labelled(tmp_path, count=60):
    path = write(tmp_path / "waves.csv", waves(count))
    return read_labelled(
        LabelledData(source=str(path), id="place", label="kind", features=("level", "other"))
    )


def test_every_series_is_in_one_part_and_every_part_has_every_class(tmp_path):
    data = labelled(tmp_path)
    parts = split(data, recipe())
    members = np.concatenate([parts.train.members, parts.validation.members, parts.test.members])
    assert sorted(members) == list(range(60))
    assert parts.sizes == {"train": 39, "validation": 9, "test": 12}
    for part in (parts.train, parts.validation, parts.test):
        assert np.ptp(np.bincount(part.labels, minlength=len(CLASSES))) == 0


def test_the_seed_alone_decides_the_split(tmp_path):
    data = labelled(tmp_path)
    one, same = (split(data, recipe()).test.members.tolist() for _ in range(2))
    other = split(data, recipe(fit={"seed": 1})).test.members.tolist()
    assert one == same != other


def test_three_series_of_a_class_are_enough_and_two_are_not(tmp_path):
    parts = split(table(tmp_path, ROWS), recipe())
    assert parts.sizes == {"train": 2, "validation": 2, "test": 2}
    with pytest.raises(DataError, match="'q' has 2 series"):
        split(table(tmp_path, ROWS[:-2]), recipe())


def test_a_batch_has_each_series_whole_and_zeros_behind_it(tmp_path):
    part = split(labelled(tmp_path), recipe()).train
    batches = SeriesBatches(part, recipe().fit)
    seen = []
    for index in range(len(batches)):
        sequences, lengths, labels = (each.numpy() for each in batches[index])
        for row, length, label in zip(sequences, lengths, labels, strict=True):
            member = next(
                member
                for member in part.members
                if np.array_equal(part.table.series[member], row[:length])
            )
            assert part.table.labels[member] == label
            assert not row[length:].any()
            seen.append(member)
    assert sorted(seen) == part.members.tolist()


def test_a_recipe_says_its_task_and_one_that_does_not_forecasts(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(
        'task = "classify"\nname = "kinds"\n[data]\nsource = "t.csv"\nid = "id"\nlabel = "kind"\n'
        'features = ["x"]\n[network]\nkind = "lstm"\nscore = "dot"\n[fit]\nepochs = 3\n'
    )
    found = read_recipe(path)
    assert isinstance(found, ClassifyRecipe)
    assert found.data.source == str(tmp_path / "t.csv")
    assert (found.fit.epochs, found.fit.batch_size) == (3, 16)
    path.write_text(
        'name = "load"\nhorizon = 2\n[data]\nsource = "t.csv"\ntime = "ds"\ntargets = ["y"]\n'
        'frequency = "1h"\n'
    )
    assert isinstance(read_recipe(path), Recipe)
    path.write_text('task = "translate"\n')
    with pytest.raises(RecipeError, match="forecast or classify"):
        read_recipe(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"split": {"validation": 0.5, "test": 0.5}}, "leave nothing to train on"),
        ({"network": {"linear_steps": 3}}, "linear_steps is for forecasts"),
        ({"network": {"normalisation": "last"}}, "normalisation is for forecasts"),
        ({"min_length": 5, "max_length": 4}, "min_length must not exceed"),
        ({"horizon": 4}, "Extra inputs"),
        (
            {"data": {"source": "t", "id": "id", "label": "id", "features": ["x"]}},
            "column 'id' is named twice",
        ),
        ({"data": {"source": "t", "id": "id", "label": "kind", "features": []}}, "at least 1"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_recipe_that_contradicts_itself_is_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        recipe(**changes)
