"""Spike inference by a network: properties of any weights, what training brings, and the weights of the package."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from calcium_helpers.containers import Traces
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.ground_truth import load_ground_truth
from calcium_helpers.models._base import WEIGHTS, save_model
from calcium_helpers.models.spike_features import N_FEATURES, describe, standardise
from calcium_helpers.models.spike_inference import infer_spikes, load_spike_net
from calcium_helpers.models.spike_net import SpikeNet, SpikeNetConfig
from calcium_helpers.models.spike_simulator import simulate_sweeps
from calcium_helpers.models.spike_training import Augmentation, _rebin, fit_spike_net, spike_batches
from calcium_helpers.spike_trains import Sampled, estimate_noise_level, resample
from calcium_helpers.training import FitConfig

SMALL = SpikeNetConfig(channels=16, dilations=(1, 2, 4), hidden=8)
needs_weights = pytest.mark.skipif(not (WEIGHTS / "spike_net").exists(), reason="the package has no trained network")


def traces(n=3, n_frames=1000, fs=30.0, seed=0):
    rng = np.random.default_rng(seed)
    calcium = lfilter([1.0], [1.0, -np.exp(-1 / fs / 0.6)], rng.random((n, n_frames)) < 0.5 / fs, axis=1)
    return Traces(0.2 * calcium + rng.normal(scale=0.04, size=calcium.shape), fs, "dff", np.arange(n) + 7)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = SpikeNet(replace(SMALL, members=2)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def trained():
    """A small network after half a minute on simulated sweeps."""
    sweeps = simulate_sweeps(60, seed=1)
    groups = [str(i % 5) for i in range(60)]
    return fit_spike_net(sweeps, groups, net=SMALL, config=FitConfig(steps=120, every=60))


def test_gradients_reach_every_parameter():
    model = SpikeNet(replace(SMALL, members=2)).train()
    model(torch.randn(4, 64), torch.randn(4, N_FEATURES)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize(("rows", "chunk", "threads"), [(1, 100, 1), (2, 333, 2), (16, 1, 1), (3, 10**6, 1)])
def test_same_result_for_any_batch_and_chunk(network, rows, chunk, threads):
    dff = traces()
    dff = dff if chunk > 1 else dff.replace(values=dff.values[:, :60])
    whole = infer_spikes(dff, model=network, rows=3, chunk=10_000)
    np.testing.assert_allclose(
        infer_spikes(dff, model=network, rows=rows, chunk=chunk, threads=threads).values, whole.values, rtol=1e-4, atol=1e-4
    )


def test_reach_is_what_the_configuration_says(network):
    """The sample beyond the reach counts for nothing, the features being the same."""
    z, features = torch.randn(1, 400), torch.randn(1, N_FEATURES)
    changed = z.clone()
    changed[0, 200] += 5
    with torch.inference_mode():
        differs = np.flatnonzero((network(z, features) != network(changed, features)).numpy()[0])
    assert 200 in differs
    assert 200 - network.config.reach <= differs.min()
    assert differs.max() <= 200 + network.config.reach


def test_saved_network_infers_the_same(network, tmp_path):
    save_model(network, tmp_path / "net", about={"seed": 0})
    again = load_spike_net(tmp_path / "net")
    assert again.config == network.config
    np.testing.assert_array_equal(infer_spikes(traces(), model=again).values, infer_spikes(traces(), model=network).values)


@pytest.mark.parametrize("broken", ["config.json", "weights.safetensors"])
def test_broken_network_is_named(network, tmp_path, broken):
    save_model(network, tmp_path)
    (tmp_path / broken).write_bytes(b"{}")
    with pytest.raises(MovieFileError, match=f"{broken}: cannot be read as a network"):
        load_spike_net(tmp_path)
    (tmp_path / broken).unlink()
    with pytest.raises(MovieFileError, match=broken):
        load_spike_net(tmp_path)


@pytest.mark.parametrize(("n", "n_frames"), [(0, 0), (0, 50), (2, 0), (2, 1), (2, 2), (1, 7)])
def test_few_cells_and_frames(network, n, n_frames):
    found = infer_spikes(Traces(np.ones((n, n_frames)), 30, "dff"), model=network)
    assert found.values.shape == (n, n_frames)
    assert (found.values == 0).all()  # constant
    assert found.kind == "spikes"


def test_keeps_ids_and_rate_and_refuses_nan(network):
    dff = traces()
    found = infer_spikes(dff, model=network)
    assert (found.fs, found.ids.tolist()) == (dff.fs, [7, 8, 9])
    values = dff.values.copy()
    values[1, 5] = np.nan
    with pytest.raises(ValueError, match=r"row 1 \(id 8\), frame 5"):
        infer_spikes(dff.replace(values=values), model=network)
    with pytest.raises(ValueError, match="rows and chunk must be at least 1"):
        infer_spikes(dff, model=network, rows=0)


@pytest.mark.parametrize("fs", [38.0, 100.0, 499.0])
def test_fast_recordings_get_the_rate_of_their_averages(network, fs):
    dff = traces(n=2, n_frames=1234, fs=fs)
    factor = round(fs / 25)
    whole = dff.values[:, : 1234 // factor * factor].reshape(2, -1, factor).mean(axis=2)
    slow = infer_spikes(Traces(whole, fs / factor, "dff"), model=network, own_fs=fs).values
    found = infer_spikes(dff.replace(values=dff.values[:, : whole.shape[1] * factor]), model=network).values
    np.testing.assert_allclose(found, np.repeat(slow, factor, axis=1), rtol=1e-3, atol=1e-3)
    assert infer_spikes(dff, model=network).values.shape == dff.values.shape


def test_warns_outside_the_training_range(network):
    network = SpikeNet(replace(network.config, noise_range=(0.2, 10.0))).eval()
    with pytest.warns(UserWarning, match="fs of 3 Hz is outside the 5 to 500 Hz"):
        infer_spikes(traces(fs=3.0), model=network)
    dff = traces()
    percent = dff.values * np.array([[1.0], [100.0], [1.0]])
    with pytest.warns(UserWarning, match=r"noise of 1 of 3 traces is outside .* first id 8 .* is it dF/F, a fraction\?"):
        infer_spikes(dff.replace(values=percent), model=network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        infer_spikes(dff, model=network)


def test_standardising_takes_gain_and_offset_out():
    values = traces().values
    z, noise = standardise(values)
    other, _ = standardise(3 * values + 5)
    np.testing.assert_allclose(other, z, atol=2e-3)
    np.testing.assert_allclose(noise, 0.04, rtol=0.15)
    features, scaled = describe(values, fs=30), describe(3 * values + 5, fs=30)
    level = 2  # the noise level is what the gain changes
    np.testing.assert_allclose(np.delete(scaled, level, 1), np.delete(features, level, 1), atol=2e-2)
    np.testing.assert_allclose(np.exp(features[:, level] + 1), estimate_noise_level(values, fs=30), rtol=0.02)


def test_bins_of_the_training_are_those_of_resampling():
    """Frames end in their bins, spikes are counted by their own time: as in `spike_trains.resample`."""
    rng = np.random.default_rng(0)
    dff, spikes = rng.normal(size=600), rng.poisson(0.1, 600).astype(float)
    sums = np.cumsum(np.pad(np.stack([dff, spikes, np.ones(600)]), ((0, 0), (1, 0))), axis=1)
    found = _rebin(sums, 4.0, 1.0, 0.0, 0.0)
    np.testing.assert_allclose(found, [dff.reshape(-1, 4).mean(1), spikes.reshape(-1, 4).sum(1), np.ones(150)], atol=1e-9)
    slow = _rebin(sums, 5.0, 3.0, 0.0, 0.0)  # frames end at 3, 6, 9, 12, 15: 3 in the first bin, 6 and 9 in the second
    np.testing.assert_allclose(slow[0, :2], [dff[:3].mean(), dff[3:9].mean()], atol=1e-9)
    np.testing.assert_allclose(slow[1], spikes.reshape(-1, 5).sum(1), atol=1e-9)
    late = _rebin(sums, 4.0, 1.0, 0.0, 2.0)
    np.testing.assert_allclose(late[1, 1:], np.convolve(spikes, np.ones(4))[5:-3:4][: late.shape[1] - 1], atol=1e-9)


def test_batches_draw_every_group_equally_often():
    times = np.arange(700) / 100
    noise = np.random.default_rng(0).normal(size=(2, 700))
    quiet, loud = (Sampled(noise[i], np.full(700, i), 100.0, times, times >= 0) for i in (0, 1))
    draw = spike_batches([quiet] * 9 + [loud], ["a"] * 9 + ["b"], n_sweeps=200, n_windows=1, augmentation=Augmentation(usual=1))
    batch = draw(np.random.default_rng(0))
    assert 0.4 < (batch.spikes.sum(1) > 0).float().mean() < 0.6
    again = draw(np.random.default_rng(0))
    torch.testing.assert_close(again.z, batch.z, rtol=0, atol=0)
    assert (batch.inside.sum(1) < batch.inside.shape[1]).all()  # at 25 Hz, stretched to 14 s, they do not fill a window
    assert not batch.spikes[batch.inside == 0].any()
    with pytest.raises(ValueError, match="equally many and not empty"):
        spike_batches([quiet], [])


def test_training_teaches_when_spikes_were(trained):
    """Above what the best shift of the raw trace gives, at no lag, on sweeps that it has not seen."""
    model, histories = trained
    assert histories[0].loss[-1] < histories[0].loss[0]
    scores = []
    for sweep in simulate_sweeps(12, seed=2):
        dff, spikes = (x.reshape(-1, 4) for x in (sweep.dff, sweep.spikes))
        rate = infer_spikes(Traces(dff.mean(1)[None], 25, "dff"), model=model, own_fs=100.0).values[0]
        shifted = [np.corrcoef(np.roll(dff.mean(1), -lag), spikes.sum(1))[0, 1] for lag in range(10)]
        scores.append((np.corrcoef(rate, spikes.sum(1))[0, 1], max(shifted)))
    ours, raw = np.mean(scores, axis=0)
    assert ours > raw + 0.05


def test_training_twice_gives_the_same(tmp_path):
    sweeps = simulate_sweeps(4, seed=1, seconds=20)
    config = FitConfig(steps=4, every=2, seed=5)
    first, _ = fit_spike_net(sweeps, list("aabb"), net=SMALL, config=config)
    again, _ = fit_spike_net(sweeps, list("aabb"), net=SMALL, config=config, checkpoint=tmp_path / "net")
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@needs_weights
def test_network_of_the_package_on_simulated_traces():
    """At every rate the spikes of bright cells are found where they are, and their number is of the right order."""
    for fs in (10.0, 30.0, 100.0):
        rng = np.random.default_rng(0)
        fine = rng.random((5, (60 * 300))) < 0.5 / 300
        calcium = lfilter([1.0], [1.0, -np.exp(-1 / 300 / 0.5)], lfilter([0.07], [1.0, -0.93], fine, axis=1), axis=1)
        factor = round(300 / fs)
        dff = 0.2 * calcium.reshape(5, -1, factor).mean(axis=2)
        dff += rng.normal(scale=0.01 * np.sqrt(fs / 30), size=dff.shape)
        found = infer_spikes(Traces(dff, fs, "dff"))
        true = fine.reshape(5, -1, factor).sum(axis=2)
        half = max(1, round(0.1 * fs))
        smooth = [np.convolve(row, np.ones(2 * half + 1), "same") for row in (*found.values, *true)]
        assert np.mean([np.corrcoef(smooth[i], smooth[i + 5])[0, 1] for i in range(5)]) > 0.6
        assert 0.2 < found.values.mean() / (true.sum() / true.shape[0] / 60) < 5


@needs_weights
@pytest.mark.real
def test_network_of_the_package_beats_the_trace_on_recordings():
    """A check that it is read as it was trained; held-out families are the matter of ``benchmarks/spikes.py``."""
    data = os.environ.get("CALCIUM_DATA_DIR")
    if not data:
        pytest.skip("CALCIUM_DATA_DIR is not set")
    (folder,) = Path(data).glob("spikes/DS32-*")
    scores = []
    for recording in load_ground_truth(folder)[:8]:
        sampled = resample(recording, fs=25.0)
        if sampled.spikes.sum() >= 5:
            rate = infer_spikes(Traces(sampled.dff[None], 25, "dff"), own_fs=recording.fs).values[0]
            scores.append([np.corrcoef(x, sampled.spikes)[0, 1] for x in (rate, sampled.dff)])
    ours, raw = np.mean(scores, axis=0)
    assert ours > max(0.5, raw + 0.2)
