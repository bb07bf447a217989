"""The picture of a backtest: sound SVG, whatever the card says."""

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.accuracy import Accuracy, Example
from models.repository import Repository
from models.scores import Scores, rounded
from service.http.plot.accuracy import draw
from service.http.plot.panel import Scale, span
from tests.engine.graphs import Graph, card
from tests.http.inprocess import GRU, SMALL, Service, running

DAY = datetime(2024, 5, 1, 7, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"
LEVELS = (0.1, 0.5, 0.9)


def measured(horizon=6, size=1.0, names=("load",), baselines=("seasonal_naive",), gaps=0.0):
    """Return a card with figures of forecasts at random."""
    rng = np.random.default_rng(0)
    shape = 9, horizon, len(names)
    actuals = (size * rng.normal(5, 1, shape)).astype(np.float32)
    actuals[rng.random(shape) < gaps] = np.nan
    answers = np.sort(size * rng.normal(5, 1, (*shape, 3)), axis=-1).astype(np.float32)
    others = {name: (size * rng.normal(5, 2, shape)).astype(np.float32) for name in baselines}
    scores = Scores(LEVELS)
    scores.add(actuals, answers, others, np.full((9, len(names)), size))
    targets = {}
    for number, (name, found) in enumerate(zip(names, scores.targets(), strict=True)):
        example = Example(
            start=DAY,
            history=rounded(actuals[1, :, number]),
            actuals=rounded(actuals[0, :, number]),
            quantiles=tuple(rounded(level) for level in answers[0, :, number].T),
            seasonal_naive=rounded(others["seasonal_naive"][0, :, number]),
        )
        targets[name] = found.model_copy(update={"examples": (example,)})
    accuracy = Accuracy(
        windows=9, season=24, start=DAY, end=DAY, targets=targets, loses_to=scores.loses_to()
    )
    changes = {"features": names, "targets": names, "horizon": horizon, "quantiles": LEVELS}
    return card(accuracy=accuracy, **changes)


def picture(each) -> ET.Element:
    """Draw, and insist on every number and on nothing that runs or loads."""
    drawn = draw(each, each.accuracy, 3)
    for word in ("nan", "inf", "None", "href", "url("):
        assert f"{word}," not in drawn
        assert f'"{word}' not in drawn
    root = ET.fromstring(drawn)  # noqa: S314  ours
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "style", "rect", "text", "path", "polygon", "circle"}
    return root


def words(root) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def lines(root, kind) -> list[str]:
    return [each.get("d") for each in root.iter(f"{SVG}path") if each.get("class") == kind]


async def test_the_picture_of_a_served_model_is_an_image_that_may_do_nothing(service: Service):
    answer = await service.client.get(f"/v1/models/{GRU}/backtest.svg")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    root = ET.fromstring(answer.content)  # noqa: S314  ours
    assert "co2-gru, version 1" in words(root)
    same = await service.client.get(f"/v1/models/{GRU}/versions/1/backtest.svg")
    assert same.content == answer.content
    for wrong in ("nobody/backtest.svg", f"{GRU}/versions/7/backtest.svg"):
        assert (await service.client.get(f"/v1/models/{wrong}")).status_code == 404


async def test_a_model_that_nobody_measured_has_no_picture(tmp_path):
    Repository(tmp_path).publish("small", Graph().write)
    async with running(SMALL.model_copy(update={"models": tmp_path})) as service:
        answer = await service.client.get("/v1/models/small/backtest.svg")
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("not-measured")


def test_the_line_of_the_errors_goes_through_each_step():
    each = measured(horizon=6)
    root = picture(each)
    errors = each.accuracy.targets["load"].by_step.mae
    (line,) = (d for d in lines(root, "model") if len(d.split("L")) == 6 and d.startswith("M60.0"))
    heights = [float(point.split(",")[1]) for point in line[1:].split("L")]
    order = sorted(range(6), key=lambda step: errors[step])
    assert sorted(range(6), key=lambda step: -heights[step]) == order
    highest = max(zip(heights, errors, strict=True))
    lowest = min(zip(heights, errors, strict=True))
    scale = (highest[0] - lowest[0]) / (lowest[1] - highest[1])
    for height, error in zip(heights, errors, strict=True):
        assert height == pytest.approx(lowest[0] + scale * (lowest[1] - error), abs=0.3)


def test_every_baseline_is_in_the_legend_and_what_the_model_loses_to_is_said():
    baselines = ("seasonal_naive", "auto_arima", "theta", "ets")
    each = measured(baselines=baselines)
    said = words(picture(each))
    assert {"this model", "seasonal naive", "auto arima", "theta", "ets"} <= set(said)
    lost = each.model_copy(
        update={"accuracy": each.accuracy.model_copy(update={"loses_to": ("auto_arima",)})}
    )
    assert any("larger error than auto arima" in text for text in words(picture(lost)))


def test_names_from_a_card_are_words_and_nothing_else():
    names = ("<script>alert(1)</script>", "a & b \x07 \u202e", "]]>" + "x" * 200)
    said = " ".join(words(picture(measured(names=names))))
    assert "<script>alert(1)</script>" in said
    assert "a & b" in said
    assert "\x07" not in said
    assert "x" * 90 not in said


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([1, 2, 13, 97]),
    st.sampled_from([1e-38, 1e-5, 1.0, 99_999.0, 1e7, 1e37]),
    st.integers(1, 9),
    st.sampled_from([0.0, 0.3]),
)
def test_any_card_is_drawn(horizon, size, targets, gaps):
    names = tuple(f"target {number}" for number in range(targets))
    root = picture(measured(horizon, size, names, gaps=gaps))
    assert len(root.findall(f"{SVG}polygon")) == min(targets, 8)
    assert any("The first 8 of 9" in text for text in words(root)) == (targets > 8)


@given(st.floats(-1.7e308, 1.7e308), st.floats(0, 1e308))
def test_a_scale_has_a_few_round_ticks_and_room_for_every_number(low, width):
    high = min(low + width, 1.7e308)
    scale = Scale(*span([[low, high]]), 0, 100)
    assert -1e-6 <= scale.at(low) <= scale.at(high) <= 100 + 1e-6
    ticks = scale.ticks()
    assert len(ticks) <= 12
    for tick, label in ticks:
        assert -1 <= scale.at(tick) <= 101
        assert len(label) <= 11
