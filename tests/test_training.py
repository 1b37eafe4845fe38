"""The training loop: it learns, resumes as if never interrupted, stops early, keeps the best."""

import numpy as np
import pytest
import torch
from torch import nn

from calcium_helpers.training import FitConfig, fit

WEIGHTS = torch.tensor([[1.0, -2.0, 0.5]])


def batches(rng):
    x = torch.from_numpy(rng.normal(size=(32, 3)).astype(np.float32))
    return x, x @ WEIGHTS.T


def loss(model, batch):
    return ((model(batch[0]) - batch[1]) ** 2).mean()


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.Linear(8, 1))


def test_finds_the_weights_of_a_line():
    model = nn.Linear(3, 1)
    history = fit(model, batches, loss, config=FitConfig(steps=400, learning_rate=0.05, weight_decay=0, every=100))
    torch.testing.assert_close(model.weight.detach(), WEIGHTS, atol=1e-2, rtol=0)
    assert history.step.tolist() == [100, 200, 300, 400]
    assert history.loss[-1] < 0.01 * history.loss[0]
    assert np.isnan(history.score).all()
    assert not model.training


class KilledError(Exception):
    """Stands for a killed process."""


@pytest.mark.parametrize(("stop", "kept"), [(KilledError, 40), (KeyboardInterrupt, 46)])
def test_resumed_training_is_the_same(tmp_path, stop, kept):
    config = FitConfig(steps=60, every=20, seed=3)
    whole, broken = linear(), linear()
    expected = fit(whole, batches, loss, config=config)
    seen = []

    def until_stopped(model, batch):
        seen.append(batch[0][0, 0].item())
        if len(seen) == 47:
            raise stop
        return loss(model, batch)

    with pytest.raises(stop):
        fit(broken, batches, until_stopped, config=config, checkpoint=tmp_path / "run.pt")
    assert torch.load(tmp_path / "run.pt", weights_only=True)["step"] == kept
    resumed = linear()
    history = fit(resumed, batches, loss, config=config, checkpoint=tmp_path / "run.pt")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
    np.testing.assert_array_equal(history.step, expected.step)
    np.testing.assert_array_equal(history.loss, expected.loss)
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize("field", ["validate", "batches"])
def test_interrupted_anywhere_it_goes_on_the_same(tmp_path, field):
    """While it is scored, too: that step's weights are there, its score is not."""
    config = FitConfig(steps=30, every=10)
    calls = []

    def stop_at(function, n):
        def called(*arguments):
            calls.append(0)
            if len(calls) == n:
                raise KeyboardInterrupt
            return function(*arguments)

        return called

    def validate(model):
        return -float(model[0].weight.detach().abs().sum())

    parts = {"validate": validate, "batches": batches}
    expected = fit(whole := linear(), loss=loss, config=config, **parts)
    stopping = parts | {field: stop_at(parts[field], {"validate": 2, "batches": 17}[field])}
    with pytest.raises(KeyboardInterrupt):
        fit(linear(), loss=loss, config=config, checkpoint=tmp_path / "run.pt", **stopping)
    history = fit(resumed := linear(), loss=loss, config=config, checkpoint=tmp_path / "run.pt", **parts)
    for found, value in zip(history, expected, strict=True):
        np.testing.assert_array_equal(found, value)
    torch.testing.assert_close(resumed[0].weight, whole[0].weight, rtol=0, atol=0)


def test_finished_training_is_not_trained_again(tmp_path):
    config = FitConfig(steps=20, every=10)
    first = linear()
    fit(first, batches, loss, config=config, checkpoint=tmp_path / "run.pt")
    again = linear()
    fit(again, None, None, config=config, checkpoint=tmp_path / "run.pt")  # nothing is drawn
    torch.testing.assert_close(again[0].weight, first[0].weight, rtol=0, atol=0)


def test_stops_early_and_keeps_the_best():
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.9])
    kept = []

    def validate(model):
        kept.append(model.weight.detach().clone())
        return next(scores)

    model = nn.Linear(3, 1)
    history = fit(model, batches, loss, config=FitConfig(steps=600, every=10, patience=2), validate=validate)
    assert history.step.tolist() == [10, 20, 30, 40]
    assert history.best_step == 20
    torch.testing.assert_close(model.weight.detach(), kept[1], rtol=0, atol=0)


def test_checkpoint_of_another_training_is_refused(tmp_path):
    fit(linear(), batches, loss, config=FitConfig(steps=10, every=10), checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"run\.pt is of another training"):
        fit(linear(), batches, loss, config=FitConfig(steps=20, every=10), checkpoint=tmp_path / "run.pt")


def test_loss_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match="loss must be finite, got nan at step 0"):
        fit(linear(), batches, lambda model, batch: loss(model, batch) * float("nan"))


def test_configuration_is_checked():
    with pytest.raises(ValueError, match="steps must be a finite number"):
        FitConfig(steps=0)
