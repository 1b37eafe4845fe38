"""The generator of fluorescence: its physics against other implementations, its learning on distributions that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from calcium_helpers.indicators import Indicator
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.ground_truth import GroundTruth
from calcium_helpers.models._base import save_model
from calcium_helpers.models.spike_gan import (
    STATISTICS,
    SpikeGan,
    SpikeGanConfig,
    as_sweep,
    fit_gan,
    generate,
    imitate,
    load_gan,
    measure_cells,
)
from calcium_helpers.models.spike_gan.fit import draw_batches, gradient_penalty
from calcium_helpers.models.spike_gan.generate import frames_per_bin
from calcium_helpers.models.spike_gan.networks import CONDITIONS, N_NOISE, Critic, context_of, hold
from calcium_helpers.models.spike_gan.response import Response, convolve, respond
from calcium_helpers.spike_trains import resample

FS = 25.0
SMALL = SpikeGanConfig(steps=4, batch=8, width=4, critic_width=4, window=64, history=200)


def cell_statistics(**known: float) -> np.ndarray:
    usual = {"log_amplitude": np.log(0.3), "log_rise_s": np.log(0.05), "log_decay_s": np.log(0.5), "log_slow": -2.3}
    usual |= {"log_quick": -2.3, "log_drift": -2.3} | known
    return np.array([usual.get(name, 0.0) for name in STATISTICS], dtype=np.float32)


def recordings(
    n: int, *, own_fs: float = 25.0, seconds: float = 60.0, amplitude: float = 0.3, noise: float = 0.02, seed: int = 0
):
    """Cells of a simulator written here: rise 50 ms, decay 500 ms, white noise."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        spikes = np.sort(rng.uniform(0, seconds, rng.poisson(seconds)))
        times = np.arange(1, int(seconds * own_fs)) / own_fs
        since = times[:, None] - spikes[None]
        one = np.where(since > 0, (1 - np.exp(-since.clip(0) / 0.05)) * np.exp(-since.clip(0) / 0.5), 0)
        clean = amplitude * one.sum(1) / 0.715
        dff = clean + noise * rng.normal(size=len(times))
        found.append(GroundTruth("DS00", "toy", f"cell{i}", times, dff.astype(np.float32), spikes, own_fs))
    return found


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = SpikeGan(SpikeGanConfig(sets=("DS00 toy", "DS01 other")))
    model.cells.copy_(torch.from_numpy(np.stack([cell_statistics(), cell_statistics(log_amplitude=np.log(3.0))])))
    return model.eval()


def test_response_is_the_double_exponential_of_the_indicator_table() -> None:
    rise, decay = 0.05, 0.5
    table = Indicator("toy", 1 / (1 / rise + 1 / decay), decay, 0.3, "")
    fine = np.arange(0, 6, 1e-4)
    spike_s = 1 + 0.25 / FS  # a quarter into bin 25
    course = table.response(fine - spike_s)
    expected = course.reshape(-1, round(1e4 / FS)).mean(axis=1)
    spikes = torch.zeros(1, len(expected))
    spikes[0, 25] = 1
    response = Response(*(torch.tensor([v]) for v in (0.3, rise, decay, 1.0, 0.0, 0.0)))
    found = respond(spikes, response, FS, length=125, early=1.0)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_power_gives_one_spike_its_amplitude_and_bursts_more() -> None:
    one = torch.zeros(1, 200)
    one[0, 10] = 1
    heights = {}
    for power in (0.5, 1.0, 2.0):
        response = Response(*(torch.tensor([v]) for v in (0.3, 0.001, 50.0, power, 0.0, 0.0)))
        heights[power] = [float(respond(n * one, response, FS, length=150)[0, 20]) for n in (1, 4)]
        assert heights[power][0] == pytest.approx(0.3, rel=0.05)
    assert heights[1.0][1] == pytest.approx(1.2, rel=0.05)
    assert heights[2.0][1] > 1.5 * heights[1.0][1] > 2 * heights[0.5][1]


def test_convolution_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    signal, kernel = rng.normal(size=(3, 70)).astype(np.float32), rng.normal(size=(3, 41)).astype(np.float32)
    found = convolve(torch.from_numpy(signal), torch.from_numpy(kernel)).numpy()
    np.testing.assert_allclose(found, fftconvolve(signal, kernel, axes=1)[:, :70], atol=1e-4)


def test_hold_repeats_the_last_frame() -> None:
    values, frames = torch.arange(6.0)[None], torch.tensor([[1.0, 0, 0, 2, 0, 1]])
    assert hold(values, frames)[0].tolist() == [0, 0, 0, 3, 3, 5]


@pytest.mark.parametrize("fs", [2.5, 10.0, 25.0, 30.0, 500.0])
def test_frames_per_bin_add_up(fs: float) -> None:
    per_bin = frames_per_bin(1000, fs=fs, grid_fs=FS)
    assert per_bin.sum() == pytest.approx(fs * 40, abs=1)
    assert per_bin.max() - per_bin.min() <= 1


def test_gradient_penalty_of_a_known_function() -> None:
    rng = torch.Generator().manual_seed(0)
    real, fake, mix = torch.randn(5, 7, generator=rng), torch.randn(5, 7, generator=rng), torch.rand(5, 1, generator=rng)
    slope = torch.arange(7.0)
    linear = gradient_penalty(lambda x: x @ slope, real, fake, mix).detach()
    assert float(linear) == pytest.approx((float(slope.norm()) - 1) ** 2, rel=1e-5)
    square = gradient_penalty(lambda x: (x**2).sum(1), real, fake, mix).detach()
    at = mix * real + (1 - mix) * fake
    assert float(square) == pytest.approx(float(((2 * at.detach().norm(dim=1) - 1) ** 2).mean()), rel=1e-5)


def test_gradient_penalty_teaches_the_critic() -> None:
    """Its own gradient, through a second derivative, is that of finite differences."""
    torch.manual_seed(0)
    critic = Critic(SMALL).double()
    spikes, frames, condition = torch.zeros(2, 264), torch.ones(2, 264), torch.zeros(2, CONDITIONS)
    context = context_of(spikes, frames, condition, SMALL).double()
    real, fake, mix = torch.randn(2, 64).double(), torch.randn(2, 64).double(), torch.full((2, 1), 0.3).double()

    def penalty() -> torch.Tensor:
        return gradient_penalty(lambda x: critic(x, context, condition.double()), real, fake, mix)

    weight = critic.layers[0].weight
    (slope,) = torch.autograd.grad(penalty(), weight)
    place = np.unravel_index(int(slope.abs().argmax()), slope.shape)
    with torch.no_grad():
        values = []
        for step in (1e-5, -2e-5):
            weight[place] += step
            with torch.enable_grad():
                values.append(float(penalty().detach()))
    assert float(slope[place]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-3)


@pytest.mark.parametrize("name", ["spikes", "noise level", "rate", "statistics", "latent", "noise"])
def test_every_input_reaches_the_output_and_the_critic(model: SpikeGan, name: str) -> None:
    rng = torch.Generator().manual_seed(0)
    length = model.config.history + 50
    condition = torch.zeros(1, CONDITIONS)
    condition[0, 1], condition[0, 2:] = np.log(FS), torch.from_numpy(cell_statistics())
    inputs = {
        "spikes": (torch.rand(1, length, generator=rng) < 0.05).float(),
        "frames": torch.ones(1, length),
        "condition": condition,
        "latent": torch.randn(1, model.config.latent, generator=rng),
        "noise": torch.randn(1, N_NOISE, length, generator=rng),
    }
    changed = dict(inputs)
    where = {"noise level": 0, "rate": 1, "statistics": 2}
    if name in where:
        changed["condition"] = condition.clone()
        changed["condition"][0, where[name]] += 1
    else:
        changed[name] = torch.roll(inputs[name], 1, dims=-1)
    before, after = model(*inputs.values()), model(*changed.values())
    assert before.shape == (1, 50)
    assert float((before - after).detach().abs().max()) > 1e-3
    if name not in ("latent", "noise"):
        critic = Critic(model.config)
        scores = [
            critic(torch.asinh(before), context_of(x["spikes"], x["frames"], x["condition"], model.config), x["condition"])
            for x in (inputs, changed)
        ]
        assert float((scores[0] - scores[1]).detach().abs()) > 1e-6


def test_gradients_reach_every_parameter(model: SpikeGan) -> None:
    model.train()
    length = model.config.history + 60
    condition = torch.randn(3, CONDITIONS) * 0.1 + torch.from_numpy(np.concatenate([[0, 3.2], cell_statistics()])).float()
    spikes = torch.poisson(torch.full((3, length), 0.1))
    fake = model(spikes, torch.ones(3, length), condition, torch.randn(3, 4), torch.randn(3, N_NOISE, length))
    critic = Critic(model.config)
    critic(
        torch.asinh(fake[:, :60]), context_of(spikes, torch.ones(3, length), condition, model.config)[:, :, :60], condition
    ).sum().backward()
    for name, parameter in [*model.named_parameters(), *critic.named_parameters()]:
        assert parameter.grad is not None, name
        if "score.2.bias" not in name:
            assert parameter.grad.abs().max() > 0, name


def test_generated_noise_has_the_level_that_was_asked_for(model: SpikeGan) -> None:
    from calcium_helpers.spike_trains import estimate_noise_level

    levels = np.array([0.5, 2.0, 8.0])
    made = generate(model, np.zeros((3, 5000)), noise=levels, fs=FS, indicator="DS00")
    found = estimate_noise_level(made.values, fs=FS)
    np.testing.assert_allclose(found / levels, 1, atol=0.35)
    assert np.all(np.diff(found) > 0)


def test_frames_are_held_or_averaged(model: SpikeGan) -> None:
    slow = generate(model, np.zeros(1000), fs=5.0).values[0]
    assert np.mean(np.diff(slow) == 0) == pytest.approx(0.8, abs=0.02)
    assert np.all(np.diff(generate(model, np.zeros(1000), fs=30.0).values[0]) != 0)


def test_indicator_chooses_the_cells(model: SpikeGan) -> None:
    spikes = np.zeros((20, 100))
    spikes[:, 10] = 3
    rise = {
        name: np.mean(generate(model, spikes, noise=0.5, indicator=name).values[:, 12:20]) for name in ("toy", "DS01", None)
    }
    assert 4 * rise["toy"] < rise["DS01"]
    assert rise["toy"] < rise[None] < rise["DS01"]
    given = generate(model, spikes, noise=0.5, indicator=cell_statistics(log_amplitude=np.log(3.0)))
    assert np.mean(given.values[:, 12:20]) == pytest.approx(rise["DS01"], rel=0.3)


def test_a_row_is_the_same_in_any_batch_and_seeds_differ(model: SpikeGan) -> None:
    spikes = np.random.default_rng(0).poisson(0.05, size=(4, 150))
    whole, first = generate(model, spikes, seed=3), generate(model, spikes[:2], seed=3)
    np.testing.assert_allclose(whole.values[:2], first.values, rtol=1e-4, atol=1e-6)
    assert not np.allclose(whole.values, generate(model, spikes, seed=4).values)
    assert not np.allclose(*generate(model, np.stack([spikes[0]] * 2), seed=3).values)


@pytest.mark.parametrize("shape", [(0, 40), (2, 0), (1, 1), (3, 7)])
def test_any_shape(model: SpikeGan, shape: tuple[int, int]) -> None:
    made = generate(model, np.zeros(shape))
    assert made.values.shape == shape
    assert made.kind == "dff"
    assert made.fs == FS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spikes": [[-1.0]]}, "spikes"),
        ({"spikes": [[np.nan]]}, "spikes"),
        ({"spikes": [[0.0]], "noise": 0}, "noise"),
        ({"spikes": [[0.0]], "fs": 0}, "fs"),
        ({"spikes": [[0.0]], "indicator": "GCaMP99"}, "DS00 toy"),
        ({"spikes": [[0.0]], "indicator": [1.0, 2.0]}, "statistics"),
    ],
)
def test_wrong_arguments_are_named(model: SpikeGan, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(model, arguments.pop("spikes"), **arguments)


def test_saved_model_generates_the_same(model: SpikeGan, tmp_path) -> None:
    save_model(model, tmp_path / "gan")
    spikes = np.random.default_rng(0).poisson(0.1, size=(2, 100))
    again = load_gan(tmp_path / "gan")
    np.testing.assert_array_equal(generate(again, spikes).values, generate(model, spikes).values)
    assert again.config == model.config
    (tmp_path / "gan" / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(MovieFileError):
        load_gan(tmp_path / "gan")


def test_measured_statistics_are_those_of_the_simulation() -> None:
    sweeps = [as_sweep(r) for r in recordings(3, noise=0.02, seconds=120)]
    for sweep, found in zip(sweeps, measure_cells(sweeps).values(), strict=True):
        known = dict(zip(STATISTICS, found, strict=True))
        assert np.exp(known["log_amplitude"]) == pytest.approx(0.3, rel=0.15)
        assert np.exp(known["log_decay_s"]) == pytest.approx(0.5, rel=0.2)
        assert np.exp(known["log_rise_s"]) == pytest.approx(0.05, rel=0.6)
        # Activity makes the noise level too large; the statistic puts it right.
        assert np.exp(known["log_white"]) * sweep.noise / 100 * 5 / 0.954 == pytest.approx(0.02, rel=0.2)
        assert known["log_slow"] < np.log(0.5)


def test_frames_and_spikes_of_a_sweep_are_all_there() -> None:
    (recording,) = recordings(1, own_fs=60.0)
    sweep = as_sweep(recording)
    assert sweep.frames.sum() == pytest.approx(len(recording.times_s), abs=3)
    assert sweep.spikes.sum() == pytest.approx(len(recording.spikes_s), abs=3)
    assert set(np.unique(sweep.frames)) <= {1, 2, 3}


def test_batches_are_windows_of_the_recordings_after_their_history() -> None:
    sweeps = [as_sweep(r) for r in recordings(2)]
    statistics = {s.cell: cell_statistics(offset=i) for i, s in enumerate(sweeps)}
    batch = next(draw_batches(sweeps, statistics, SMALL, np.random.default_rng(0)))
    assert batch.fluorescence.shape == (8, 64)
    for row in range(8):
        sweep = sweeps[int(batch.condition[row, 2 + STATISTICS.index("offset")])]
        unit = sweep.noise / 100 * 5 / 0.954
        starts = [
            i
            for i in range(len(sweep.dff) - 64)
            if np.allclose(sweep.dff[i : i + 64] / unit, batch.fluorescence[row], atol=1e-4)
        ]
        assert len(starts) == 1
        assert batch.spikes[row, 200:].tolist() == sweep.spikes[starts[0] : starts[0] + 64].tolist()
    with pytest.raises(ValueError, match="64 bins"):
        next(draw_batches([as_sweep(r) for r in recordings(1, seconds=2)], statistics, SMALL, np.random.default_rng(0)))


def test_training_learns_an_amplitude_that_the_statistics_have_wrong() -> None:
    """The cells answer with 3 times what their statistics say: only the critic can tell the generator."""
    sweeps = [as_sweep(r) for r in recordings(6, amplitude=0.9, noise=0.05)]
    statistics = {s.cell: cell_statistics() for s in sweeps}
    config = SpikeGanConfig(
        steps=150, batch=16, width=4, critic_width=8, window=100, history=200, generator_rate=3e-3, average=0.9
    )

    def height(model: SpikeGan) -> float:
        spikes = np.zeros((30, 60))
        spikes[:, 10] = 1
        return float(np.median(generate(model, spikes, noise=1.0, fs=FS).values[:, 12:20].mean(1)))

    before, _ = fit_gan(sweeps, config=replace(config, steps=1), statistics=statistics)
    after, history = fit_gan(sweeps, config=config, statistics=statistics)
    since = np.arange(11, 20)[None] / FS - np.linspace(10, 11, 50)[:, None] / FS  # the spike is anywhere in bin 10
    true = 0.9 * float(np.mean(((1 - np.exp(-since / 0.05)) * np.exp(-since / 0.5))[:, 1:] / 0.715))
    assert height(before) < 0.45 * true
    assert height(after) == pytest.approx(true, rel=0.25)
    assert np.isfinite(history.losses).all()


def test_interrupted_training_goes_on_as_if_nothing_had_happened(tmp_path) -> None:
    sweeps = [as_sweep(r) for r in recordings(2)]
    statistics = {s.cell: cell_statistics() for s in sweeps}
    whole, _ = fit_gan(sweeps, config=SMALL, statistics=statistics)

    class Stop(Exception):
        pass

    def stop(step: int, steps: int, distance: float) -> None:
        raise Stop

    from calcium_helpers.models.spike_gan import fit as module

    path = tmp_path / "gan.pt"
    kept = module._RECORD_EVERY
    try:
        module._RECORD_EVERY = 3  # the hook that stops is called at steps 0 and 3
        with pytest.raises(Stop):
            fit_gan(
                sweeps,
                config=SMALL,
                statistics=statistics,
                checkpoint=path,
                every=2,
                progress=lambda *a: stop(*a) if a[0] else None,
            )
    finally:
        module._RECORD_EVERY = kept
    assert path.exists()
    resumed, history = fit_gan(sweeps, config=SMALL, statistics=statistics, checkpoint=path)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    assert history.pictured.tolist() == [0, 1, 2, 4]
    assert history.pictures.shape == (4, 6, 64)
    other = replace(SMALL, seed=5)
    with pytest.raises(ValueError, match="remove it"):
        fit_gan(sweeps, config=other, statistics=statistics, checkpoint=path)


def test_the_generator_of_the_package_knows_its_indicators() -> None:
    """Slow and fast, bright and faint: what the literature says of them shows in what is generated."""
    model = load_gan()
    spikes = np.zeros((100, 150))
    spikes[:, 50:60:2] = 1
    course = {
        name: np.mean(generate(model, spikes, noise=0.5, indicator=name).values, axis=0)
        for name in ("GCaMP6s", "jGCaMP8f", "OGB")
    }
    rise = {name: trace - trace[25:50].mean() for name, trace in course.items()}
    assert rise["GCaMP6s"].max() > 3 * rise["OGB"].max() > 0
    left = {name: trace[85:95].mean() / trace[55:70].max() for name, trace in rise.items()}  # 1.2 s later
    assert left["jGCaMP8f"] < 0.25
    assert left["GCaMP6s"] > left["jGCaMP8f"] + 0.1


def test_recordings_are_imitated_with_their_own_spikes():
    """Each on the grid of the model, with its noise; the set is its own unless another is named."""
    torch.manual_seed(0)
    model = SpikeGan(SpikeGanConfig(sets=("DS01 A", "DS02 B"))).eval()
    rng = np.random.default_rng(0)
    times = np.arange(600) / 30
    recordings = [
        GroundTruth(
            "DS01", "A", "quiet", times, (0.01 * rng.standard_normal(600)).astype(np.float32), np.array([2.0, 2.01]), 30.0
        ),
        GroundTruth("DS02", "B", "loud", times, (0.3 * rng.standard_normal(600)).astype(np.float32), np.array([5.0]), 30.0),
    ]
    made = imitate(model, recordings, seed=3)
    for sweep, recording in zip(made, recordings, strict=True):
        expected = resample(recording, fs=25.0)
        np.testing.assert_array_equal(sweep.spikes, expected.spikes)
        np.testing.assert_array_equal(sweep.times_s, expected.times_s)
        assert sweep.dff.shape == expected.dff.shape
    assert 10 < np.diff(made[1].dff).std() / np.diff(made[0].dff).std() < 100
    with pytest.raises(ValueError, match="DS09"):
        imitate(model, [recordings[0]._replace(dataset="DS09")])
    assert len(imitate(model, [recordings[0]._replace(dataset="DS09")], indicator="B")) == 1
