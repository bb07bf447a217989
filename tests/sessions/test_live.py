"""How good the forecasts of the next step were, found by the steps that came."""

import numpy as np
import pytest

from service.sessions.live import accuracy
from service.sessions.observer import StepsReport
from service.sessions.score import Expected, scored
from tests.engine.graphs import card
from tests.sessions.house import SUM, WINDOW, Number, living


def expected(mean, low, high, naive) -> Expected:
    return np.array([[mean], [low], [high], [naive]], np.float32)


def test_a_forecast_is_scored_beside_seasonal_naive_over_the_same_steps():
    sums = scored(expected(10, 8, 12, 7), np.array([11], np.float32))
    sums += scored(expected(10, 8, 12, 7), np.array([13], np.float32))
    found = accuracy(sums, card())["load"]
    assert (found.steps, found.mae, found.seasonal_naive_mae) == (2, 2.0, 5.0)
    assert found.mae_ratio == pytest.approx(0.4)
    assert (found.coverage, found.nominal_coverage) == (0.5, pytest.approx(0.8))


@pytest.mark.parametrize("missing", ["actual", "naive"])
def test_a_step_of_which_something_is_missing_counts_for_nothing(missing):
    naive = np.nan if missing == "naive" else 7
    actual = np.nan if missing == "actual" else 11
    assert not scored(expected(10, 8, 12, naive), np.array([actual], np.float32)).any()


async def test_the_next_step_scores_the_last_forecast_of_its_session_and_of_its_model(tmp_path):
    async with living(tmp_path) as house:
        session, other = await house.open(WINDOW), await house.open(WINDOW)
        # The model repeats the last value, from its third on; so does seasonal naive until it
        # has seen a season, which is 24 steps of an hourly card.
        for number in range(1, 31):
            await house.says(session, number, float(number % 4))
            await house.says(other, number, 1.0)
        found, model = await house.sessions.look("", session)
        own = accuracy(found.stream.score, model.card)["load"]
        values = [number % 4 for number in range(1, 31)]
        errors = [abs(values[i] - values[i - 1]) for i in range(3, 30)]
        naive = [abs(values[i] - values[i - (24 if i >= 24 else 1)]) for i in range(3, 30)]
        assert own.steps == 27
        assert own.mae == pytest.approx(np.mean(errors))
        assert own.seasonal_naive_mae == pytest.approx(np.mean(naive))
        live = house.sessions.live.of(model)["load"]
        assert live.steps == pytest.approx(54, rel=0.01)
        assert live.mae == pytest.approx(np.mean(errors) / 2, rel=0.01)


async def test_an_observer_hears_how_steps_went(tmp_path):
    heard = []

    class Ear:
        def on_steps(self, report: StepsReport) -> None:
            heard.append(report)

        def on_scored(self, model, version, found) -> None:
            pass

    async with living(tmp_path, observer=Ear()) as house:
        session = await house.open(SUM)
        step = Number(session, 1, (1,))
        await house.take(step, Number("nobody", 1, (1,)))
        await house.take(step)
    assert [(one.taken, one.replayed, one.refused) for one in heard] == [(1, 0, 1), (0, 1, 0)]
    assert all(0 < one.store_seconds <= one.seconds for one in heard)
