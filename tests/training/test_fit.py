"""What a training run promises: to repeat, to resume, to clip, to learn."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from training.clipping import clip_scaled
from training.errors import TrainingError
from training.fit import Batches, ForecasterLoop, fit
from training.networks import build
from training.networks.normalise import Scaling
from training.recipe import Recipe

HORIZON = 3


@dataclass
class Window:
    sequences: np.ndarray
    lengths: np.ndarray
    future: np.ndarray
    actuals: np.ndarray


class Wave:
    """Windows of a sine, standing in for training.windows; pulls the plug when told."""

    max_length = 12

    def __init__(self, windows: int, plug: int | None = None) -> None:
        self.windows = windows
        self.values = np.sin(np.arange(windows + 20) / 3).astype("f4")[:, None]
        self.asked: list[tuple[list[int], list[int]]] = []
        self.plug = plug

    def __len__(self) -> int:
        return self.windows

    def available(self, rows: np.ndarray) -> np.ndarray:
        return np.minimum(rows + 1, self.max_length)

    def batch(self, rows: np.ndarray, lengths: np.ndarray) -> Window:
        if len(self.asked) == self.plug:
            raise ConnectionAbortedError
        self.asked.append((rows.tolist(), lengths.tolist()))
        sequences = np.zeros((len(rows), lengths.max(), 1), "f4")
        actuals = np.empty((len(rows), HORIZON, 1), "f4")
        for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            sequences[index, :length] = self.values[row + 1 - length : row + 1]
            actuals[index] = self.values[row + 1 : row + 1 + HORIZON]
        return Window(sequences, lengths, np.zeros((len(rows), HORIZON, 0), "f4"), actuals)


def recipe(**settings) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "wave",
            "horizon": HORIZON,
            "max_length": 12,
            "min_length": 4,
            "data": {"source": "none", "time": "t", "targets": ["a"], "frequency": "1h"},
            "network": {"hidden": 8, "dropout": 0.1},
            "fit": {"epochs": 4, "batch_size": 16, "accelerator": "cpu", "devices": 1} | settings,
        }
    )


def network(plan: Recipe):
    torch.manual_seed(0)
    return build(plan, Scaling(np.zeros(1, "f4"), np.full(1, 0.7, "f4")))


def weights(fitted) -> torch.Tensor:
    return torch.cat([each.flatten() for each in fitted.network.parameters()])


def run(folder, plan: Recipe, *, windows: int = 100, **settings):
    net = network(plan)
    settings = {"progress": False} | settings
    return fit(net, Wave(windows), Wave(40), plan, checkpoints=folder, **settings)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    first = run(tmp_path / "1", recipe(epochs=2))
    again = run(tmp_path / "2", recipe(epochs=2))
    other = run(tmp_path / "3", recipe(epochs=2, seed=5))
    assert torch.equal(weights(first), weights(again))
    assert first.validation_loss == again.validation_loss
    assert not torch.equal(weights(first), weights(other))


def test_a_run_learns_and_says_what_it_came_to(tmp_path):
    short = run(tmp_path / "1", recipe(epochs=1, learning_rate=1e-6))
    fitted = run(tmp_path / "2", recipe(epochs=6, learning_rate=2e-2))
    assert fitted.epochs == 6
    assert fitted.seconds > 0
    assert not fitted.network.training
    assert fitted.validation_loss < 0.7 * short.validation_loss


@pytest.mark.parametrize("average", [None, 0.9])
def test_a_run_whose_plug_was_pulled_resumes_as_if_nothing_had_happened(tmp_path, average):
    plan = recipe(epochs=4, average=average)
    whole = run(tmp_path / "whole", plan)
    with pytest.raises(ConnectionAbortedError):
        fit(
            network(plan),
            Wave(100, plug=17),  # 7 batches an epoch: in the third
            Wave(40),
            plan,
            checkpoints=tmp_path / "cut",
            progress=False,
        )
    resumed = run(tmp_path / "cut", plan, resume=True)
    assert resumed.epochs == 4
    assert resumed.validation_loss == whole.validation_loss
    assert torch.equal(weights(resumed), weights(whole))


WORSE = {"epochs": 30, "patience": 3, "learning_rate": 1.0, "clip_norm": None}


def test_an_epoch_that_is_worse_is_kept_too_beside_the_best(tmp_path):
    fitted = run(tmp_path, recipe(**WORSE))
    best, last = (
        torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["epoch"]
        for name in ("best", "last")
    )
    assert (best, last) == (fitted.epochs - 4, fitted.epochs - 1)


@pytest.mark.parametrize("average", [0.5, 0.9])
def test_averaged_weights_are_what_a_run_has_come_to(tmp_path, monkeypatch, average):
    plan = recipe(epochs=3, average=average)
    seen = []
    after = ForecasterLoop.optimizer_step

    def step(module, *arguments, **options):
        after(module, *arguments, **options)
        seen.append({name: w.detach().clone() for name, w in module.network.named_parameters()})

    monkeypatch.setattr(ForecasterLoop, "optimizer_step", step)
    whole = run(tmp_path, plan)
    for name, mean in dict(whole.network.named_parameters()).items():
        expected = seen[0][name]
        for weights_then in (each[name] for each in seen[1:]):
            expected = average * expected + (1 - average) * weights_then
        torch.testing.assert_close(mean, expected)


def test_after_epochs_that_are_worse_a_run_resumes_as_if_nothing_had_happened(tmp_path):
    plan = recipe(**WORSE)
    whole = run(tmp_path / "whole", plan)
    with pytest.raises(ConnectionAbortedError):
        fit(
            network(plan),
            Wave(100, plug=7 * (whole.epochs - 1) + 3),  # in the last, two worse ones before it
            Wave(40),
            plan,
            checkpoints=tmp_path / "cut",
            progress=False,
        )
    before = torch.load(tmp_path / "cut" / "last.ckpt", weights_only=True)["epoch"]
    assert before == whole.epochs - 2
    resumed = run(tmp_path / "cut", plan, resume=True)
    assert resumed.epochs == whole.epochs
    assert resumed.validation_loss == whole.validation_loss
    assert torch.equal(weights(resumed), weights(whole))
    again = run(tmp_path / "cut", plan, resume=True)  # it had stopped
    assert again.epochs == whole.epochs
    assert torch.equal(weights(again), weights(whole))


def test_resume_may_raise_the_patience(tmp_path):
    stopped = run(tmp_path, recipe(**WORSE))
    patient = recipe(**WORSE | {"patience": 5})
    assert run(tmp_path, patient, resume=True).epochs == stopped.epochs + 2


def test_resume_without_a_checkpoint_starts_from_the_beginning(tmp_path):
    assert run(tmp_path, recipe(epochs=1), resume=True).epochs == 1


def test_it_stops_when_patience_is_spent_and_keeps_the_best_weights(tmp_path):
    plan = recipe(epochs=30, patience=1, learning_rate=1.0, clip_norm=None)
    fitted = run(tmp_path, plan)
    assert fitted.epochs < 30
    check = Batches(Wave(40), plan, training=False)
    losses = [fitted.network.loss(*batch[:2], None, batch[3]).item() for batch in check]
    sizes = [float(batch[3].numel()) for batch in check]
    mean = np.average(losses, weights=sizes)
    assert mean == pytest.approx(fitted.validation_loss, rel=1e-4)


def test_a_loss_that_is_never_finite_is_an_error_with_advice(tmp_path):
    plan = recipe(epochs=1)
    net = network(plan)
    torch.nn.init.constant_(net.head.out.bias, torch.nan)
    with pytest.raises(TrainingError, match="Lower learning_rate"):
        fit(net, Wave(20), Wave(20), plan, checkpoints=tmp_path, progress=False)


def test_it_leaves_two_checkpoints_and_no_other_litter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "run", recipe(epochs=2))
    run(tmp_path / "run", recipe(epochs=2))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_without_a_terminal_progress_is_one_line_an_epoch(tmp_path, capsys):
    run(tmp_path, recipe(epochs=2), progress=True)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert [line.split()[:2] for line in lines] == [["epoch", "1/2"], ["epoch", "2/2"]]
    assert all("validation_loss" in line for line in lines)
    assert captured.out == ""


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"clip_norm": None}, [3.0, 4.0, -12.0]),
        ({"clip_value": 4.0, "clip_norm": None}, [3.0, 4.0, -4.0]),
        ({"clip_norm": 1.3}, [0.3, 0.4, -1.2]),
        # First each to 0.5, then all three to a norm of 0.5.
        ({"clip_value": 0.5, "clip_norm": 0.5}, [0.5 / 3**0.5, 0.5 / 3**0.5, -0.5 / 3**0.5]),
        ({"clip_scaled": 4.0}, [0.75, 1.0, -1.0]),  # first each to 4, then the largest to 1
        ({"clip_scaled": 100.0}, [0.25, 1 / 3, -1.0]),  # small ones grow
        ({"clip_scaled": 4.0, "clip_norm": 0.1}, [0.046852, 0.06247, -0.06247]),
    ],
    ids=str,
)
def test_gradients_are_clipped_as_the_recipe_says(rules, expected):
    plan = recipe(**rules)
    net = network(plan)
    module = ForecasterLoop(net, Batches(Wave(10), plan), plan)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    net.head.out.bias.grad[:3] = torch.tensor([3.0, 4.0, -12.0])
    module.configure_gradient_clipping(torch.optim.SGD(net.parameters()))
    assert net.head.out.bias.grad[:3].tolist() == pytest.approx(expected, rel=1e-3)


def test_gradients_that_are_all_zero_stay_so():
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.zeros(3)
    clip_scaled([parameter, torch.nn.Parameter(torch.ones(2))], 1.0)
    assert parameter.grad.tolist() == [0.0, 0.0, 0.0]
    clip_scaled([], 1.0)


def test_a_run_with_scaled_gradients_learns(tmp_path):
    losses = [
        run(
            tmp_path / str(epochs), recipe(epochs=epochs, learning_rate=0.02, clip_scaled=0.01)
        ).validation_loss
        for epochs in (1, 12)
    ]
    assert losses[1] < 0.7 * losses[0]


def small() -> float:
    """Return 1e-39, or 0 where this thread flushes such numbers."""
    return (torch.tensor(1e-38) * 0.1).item()


def test_numbers_too_small_to_matter_are_zero_while_a_network_trains_and_then_no_more(tmp_path):
    found = []

    class Watching(Wave):
        def batch(self, rows, lengths):
            found.append(small())
            return super().batch(rows, lengths)

    plan = recipe(epochs=1)
    fit(network(plan), Watching(40), Wave(40), plan, checkpoints=tmp_path, progress=False)
    assert found
    assert not any(found)
    assert small() > 0


def test_state_decay_is_added_to_the_training_loss_alone(monkeypatch):
    losses = {}
    for decay in (0.0, 0.1, 1.0):
        plan = recipe(state_decay=decay)
        module = ForecasterLoop(network(plan).train(), Batches(Wave(10), plan), plan)
        logged = []
        monkeypatch.setattr(
            module, "log", lambda _, value, logged=logged, **__: logged.append(value)
        )
        (batch,) = [*Batches(Wave(10), plan, training=False)]
        torch.manual_seed(0)
        trained = module.training_step(batch, 0).item()
        module.eval().validation_step(batch, 0)
        losses[decay] = trained, logged[-1].item()
    (plain, validated), (some, same), (more, again) = losses.values()
    assert validated == same == again
    assert some > plain
    assert more - plain == pytest.approx(10 * (some - plain), rel=1e-3)


@pytest.mark.parametrize("rules", [{"truncate": 5}, {"state_decay": 0.01}], ids=str)
def test_a_run_learns_under_each_rule(tmp_path, rules):
    losses = [
        run(
            tmp_path / str(epochs), recipe(epochs=epochs, learning_rate=0.02, **rules)
        ).validation_loss
        for epochs in (1, 12)
    ]
    assert losses[1] < 0.7 * losses[0]


def test_state_decay_keeps_the_states_smaller(tmp_path):
    sizes = []
    for decay in (0.0, 1.0):
        plan = recipe(epochs=6, learning_rate=0.02, state_decay=decay)
        reader = run(tmp_path / str(decay), plan).network.reader.train()
        reader.keep_energy = True
        (batch, *_) = [*Batches(Wave(40), plan, training=False)]
        torch.manual_seed(0)
        reader(batch[0], batch[1])
        sizes.append(reader.take_energy().item())
    assert sizes[1] < 0.5 * sizes[0]


def test_an_epoch_shows_each_window_once_in_an_order_of_its_own():
    wave = Wave(100)
    batches = Batches(wave, recipe())
    orders = []
    for epoch in (0, 1, 0):
        wave.asked.clear()
        batches.start(epoch)
        assert len(list(batches)) == len(batches) == 7
        orders.append(list(wave.asked))
    shown = [[row for rows, _ in order for row in rows] for order in orders]
    assert sorted(shown[0]) == sorted(shown[1]) == list(range(100))
    assert shown[0] != shown[1]
    assert orders[0] == orders[2]


def test_windows_per_epoch_limits_training_and_not_validation():
    plan = recipe(windows_per_epoch=20)
    assert [len(batch[1]) for batch in Batches(Wave(100), plan)] == [16, 4]
    assert len(Batches(Wave(100), plan, training=False)) == 7


def test_some_training_batches_are_shortened_within_bounds_and_validation_never():
    wave, plan = Wave(400), recipe()
    batches = Batches(wave, plan)
    shortened = 0
    for epoch in range(4):
        batches.start(epoch)
        list(batches)
    for rows, lengths in wave.asked:
        available = wave.available(np.array(rows))
        assert (np.minimum(available, 4) <= lengths).all()
        assert (lengths <= available).all()
        shortened += (lengths < available).any()
    assert 0.15 < shortened / len(wave.asked) < 0.5
    wave.asked.clear()
    list(Batches(wave, plan, training=False))
    for rows, lengths in wave.asked:
        assert lengths == wave.available(np.array(rows)).tolist()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"learning_rate": 1e-2}, "was made by another recipe"),
        ({"batch_size": 8}, "was made by another recipe"),
        ({"epochs": 1}, "comes after 2 epochs, the recipe wants 1"),
    ],
)
def test_resume_refuses_a_checkpoint_the_recipe_cannot_go_on_from(tmp_path, changes, reason):
    run(tmp_path, recipe(epochs=3))
    with pytest.raises(TrainingError, match=reason) as caught:
        run(tmp_path, recipe(**{"epochs": 3} | changes), resume=True)
    assert "last.ckpt" in str(caught.value)


def test_resume_may_raise_the_number_of_epochs(tmp_path):
    run(tmp_path, recipe(epochs=1))
    assert run(tmp_path, recipe(epochs=2), resume=True).epochs == 2


def test_resume_refuses_a_broken_checkpoint_by_its_name(tmp_path):
    run(tmp_path, recipe(epochs=1))
    (tmp_path / "last.ckpt").write_bytes(b"half of a check")
    with pytest.raises(TrainingError, match=r"last\.ckpt: is not a whole checkpoint"):
        run(tmp_path, recipe(epochs=1), resume=True)
