import os
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.io import loadmat
from scipy.optimize import nnls
from scipy.signal import lfilter

from calcium_helpers.containers import Traces
from calcium_helpers.deconvolve import deconvolve
from calcium_helpers.deconvolve.ar1 import fit_ar1
from calcium_helpers.deconvolve.ar2 import fit_ar2
from calcium_helpers.deconvolve.kinetics import own_part, peak_of

METHODS = ("ar1", "ar2")
FS = 30.0


def simulated(n=3, frames=3000, noise=0.2, decay=0.95, rise=0.0, rate=0.02, seed=0):
    """Traces of unit jumps, or of the AR(2) response of height 1, with white noise on a baseline of 0.3."""
    rng = np.random.default_rng(seed)
    spikes = (rng.random((n, frames)) < rate).astype(float)
    height = peak_of(decay, rise) if rise else 1.0
    calcium = lfilter([1.0], [1.0, -(decay + rise), decay * rise], spikes, axis=1) / height
    return Traces(0.3 + calcium + rng.normal(scale=noise, size=calcium.shape), FS, "dff"), spikes, calcium


def run(fit, y, kinetics, noise, penalty):
    calcium, spikes = np.empty_like(y), np.empty_like(y)
    return (calcium, spikes, *fit(y, kinetics, noise, penalty, calcium, spikes))


def responses(frames, decay, rise, part):
    """Columns: what the trace shows of one spike in each frame; the first is calcium left from before."""
    impulse = lfilter([1.0], [1.0, -(decay + rise), decay * rise], np.eye(frames), axis=0)
    impulse[:, 0] = decay ** np.arange(frames)
    before = np.vstack([np.zeros(frames), impulse[:-1]])
    before[0, 0] = 1 / decay
    return part * impulse + (1 - part) * before


@pytest.mark.parametrize("penalty", [0.0, 0.3, 2.0])
def test_ar1_is_oasis_for_given_kinetics_and_penalty(penalty):
    methods = pytest.importorskip("oasis.oasis_methods")
    traces, _, _ = simulated()
    for y in traces.values.astype(float):
        calcium, spikes, baseline, _ = run(fit_ar1, y, 0.95, 0.2, penalty)
        expected_calcium, expected_spikes = methods.oasisAR1(y - baseline, 0.95, penalty)
        assert_allclose(calcium, expected_calcium, atol=1e-4)
        assert_allclose(spikes, expected_spikes, atol=1e-4)


def test_ar1_is_close_to_oasis_where_baseline_and_penalty_are_sought():
    methods = pytest.importorskip("oasis.oasis_methods")
    traces, _, _ = simulated(frames=6000)
    for y in traces.values.astype(float):
        _, spikes, baseline, penalty = run(fit_ar1, y, 0.95, 0.2, -1.0)
        _, expected, expected_baseline, _, expected_penalty = methods.constrained_oasisAR1(
            y, 0.95, 0.2, optimize_b=True, max_iter=30
        )
        assert np.corrcoef(spikes, expected)[0, 1] > 0.999
        assert baseline == pytest.approx(expected_baseline, abs=0.005)
        assert penalty == pytest.approx(expected_penalty, rel=0.02)


@pytest.mark.parametrize("penalty", [0.0, 0.2, 1.5])
@pytest.mark.parametrize("part", [1.0, 0.6, 0.25])
def test_ar2_meets_the_conditions_of_the_optimum(penalty, part):
    y = simulated(n=1, frames=200, rise=0.6, rate=0.05)[0].values[0].astype(float)
    fitted, spikes, baseline, _ = run(fit_ar2, y, np.array([0.95, 0.6, part]), 0.2, penalty)
    design = responses(200, 0.95, 0.6, part)
    gain = design.T @ (y - baseline - fitted) - penalty
    assert_allclose(fitted, design @ spikes, atol=1e-4)
    assert gain.max() < 1e-4
    assert_allclose(gain[spikes > 1e-3], 0, atol=1e-3)
    # The baseline is free, or held at the lowest sample where a lower one would fit better.
    assert (y - baseline - fitted).sum() == pytest.approx(0, abs=1e-4) or baseline == y.min()
    assert (spikes >= 0).all()


@pytest.mark.parametrize("penalty", [0.0, 0.2, 1.5])
@pytest.mark.parametrize("part", [1.0, 0.6])
def test_ar2_is_the_non_negative_least_squares_solution(penalty, part):
    y = simulated(n=1, frames=200, rise=0.6, rate=0.05)[0].values[0].astype(float)
    fitted, spikes, baseline, _ = run(fit_ar2, y, np.array([0.95, 0.6, part]), 0.2, penalty)
    design = responses(200, 0.95, 0.6, part)
    # The penalty is a shift of the data: design' shift = penalty for every spike.
    expected, _ = nnls(design, y - baseline - np.linalg.solve(design.T, np.full(200, penalty)), maxiter=10000)
    assert_allclose(fitted, design @ expected, atol=1e-4)
    assert_allclose(spikes, expected, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_residual_is_as_large_as_the_noise(method):
    traces, _, calcium = simulated(rise=0.4 if method == "ar2" else 0.0)
    result = deconvolve(traces, method=method, decay_s=0.65, rise_s=0.036, noise=0.2)
    residual = traces.values - result.denoised.values
    assert_allclose(np.sqrt((residual**2).mean(axis=1)), 0.2, rtol=1e-3)
    assert_allclose(residual.mean(axis=1), 0, atol=1e-4)
    assert (np.abs(result.denoised.values - 0.3 - calcium).mean(axis=1) < 0.12).all()
    assert (result.spikes.values >= 0).all()
    assert result.spikes.kind == "spikes"
    assert result.denoised.kind == "denoised"


@pytest.mark.parametrize("method", METHODS)
def test_amplitude_of_clean_spikes_is_their_dff(method):
    decay, rise = 0.95, 0.5
    traces, spikes, calcium = simulated(noise=1e-3, rise=rise if method == "ar2" else 0.0)
    if method == "ar2":  # frames that average over their duration
        part = own_part(decay, rise)
        traces = traces.replace(values=traces.values - calcium + part * calcium + (1 - part) * np.roll(calcium, 1, axis=1))
    constants = {"decay_s": -1 / FS / np.log(decay), "rise_s": -1 / FS / np.log(rise)}
    found = deconvolve(traces, method=method, noise=1e-3, **constants).spikes.values
    assert_allclose(found[:, 3:-3], spikes[:, 3:-3], atol=0.05)


def test_baseline_does_not_fall_below_the_trace():
    traces, _, _ = simulated(n=2, frames=400)
    for method in METHODS:
        result = deconvolve(traces, method=method, decay_s=0.2, rise_s=0.04, penalty=0)
        assert (result.baseline > traces.values.min(axis=1) - 1e-3).all()


def test_ar2_needs_no_lag_for_frames_that_average():
    rng = np.random.default_rng(1)
    fine, frames = 10, 6000
    events = rng.poisson(0.5 / FS / fine, size=(4, frames * fine))
    t = np.arange(0, 5, 1 / FS / fine)
    response = np.exp(-t / 0.6) - np.exp(-t / 0.05)
    calcium = np.array([np.convolve(row, response / response.max())[: frames * fine] for row in events])
    y = calcium.reshape(4, frames, fine).mean(axis=2) + rng.normal(scale=0.3, size=(4, frames))
    truth = events.reshape(4, frames, fine).sum(axis=2)
    found = deconvolve(Traces(y, FS, "dff"), decay_s=0.6, rise_s=0.05).spikes.values
    late = deconvolve(Traces(y, FS, "dff"), method="ar1", decay_s=0.6).spikes.values

    def score(spikes, lag):
        return np.mean([np.corrcoef(a[lag:], b[: frames - lag])[0, 1] for a, b in zip(spikes, truth, strict=True)])

    assert score(found, 0) > max(score(found, 1), score(late, 0) + 0.15, score(late, 1) - 0.02)


def test_own_part_and_peak_of_known_kinetics():
    assert own_part(0.999, 1e-300) == pytest.approx(0.5, abs=0.02)
    assert 0 < own_part(0.95, 0.6) < 0.25
    assert peak_of(0.95, 1e-6) == pytest.approx(1, abs=1e-3)
    impulse = lfilter([1.0], [1.0, -1.85, 0.95 * 0.9], np.r_[1.0, np.zeros(500)])
    assert peak_of(0.95, 0.9) == pytest.approx(impulse.max())


@pytest.mark.parametrize(("decay_s", "rise_s"), [(0.2, 0.01), (0.6, 0.05), (1.2, 0.08)])
def test_kinetics_from_the_traces(decay_s, rise_s):
    """They come back within the grid on which they are sought, drift and slow modulation of rates notwithstanding."""
    decay, rise = np.exp(-1 / FS / decay_s), np.exp(-1 / FS / rise_s)
    traces, _, _ = simulated(n=10, frames=3000, noise=0.15, decay=decay, rise=rise)
    drift = 0.2 * np.sin(np.arange(3000) / 3000 * np.arange(1, 11)[:, None])
    found = deconvolve(traces.replace(values=traces.values + drift)).g[0]
    late, early = np.roots([1, *-found])
    assert -1 / FS / np.log(max(late, early)) == pytest.approx(decay_s, rel=0.5)
    assert -1 / FS / np.log(min(late, early)) == pytest.approx(rise_s, abs=0.035)
    alone = deconvolve(traces, method="ar1").g[0, 0]
    assert -1 / FS / np.log(alone) == pytest.approx(decay_s, rel=0.5)


def test_usual_kinetics_where_there_is_nothing_to_learn_from():
    noise = Traces(np.random.default_rng(0).normal(size=(4, 500)), FS, "dff")
    assert_allclose(deconvolve(noise).g, deconvolve(noise, decay_s=0.6, rise_s=0.04).g)
    assert_allclose(deconvolve(noise, decay_s=0.3).g, deconvolve(noise, decay_s=0.3, rise_s=0.04).g)


@pytest.mark.parametrize("known", [{"decay_s": 0.012}, {"decay_s": 0.03}, {"rise_s": 0.7}, {"rise_s": 2.5}])
def test_what_is_found_beside_a_given_time_is_on_the_right_side_of_it(known):
    active = simulated(n=4, frames=1000)[0]
    for traces in (active, active.replace(values=np.zeros((4, 1000)))):
        found = deconvolve(traces, **known)
        assert found.rise_s < found.decay_s
        assert {name: getattr(found, name) for name in known} == known


@pytest.mark.parametrize("method", METHODS)
def test_silent_cells_stay_silent(method):
    noise = Traces(np.random.default_rng(2).normal(scale=0.1, size=(20, 3000)), FS, "dff")
    quiet = deconvolve(noise, method=method, decay_s=0.6).spikes.values
    active = deconvolve(simulated(n=20)[0], method=method, decay_s=0.65).spikes.values
    assert quiet.sum() < 0.05 * active.sum()
    assert (deconvolve(noise, method=method, decay_s=0.6, noise=0.12).spikes.values == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_no_cell_constant_trace_and_short_traces(method):
    assert deconvolve(Traces(np.zeros((0, 50)), FS, "dff"), method=method).g.shape == (0, METHODS.index(method) + 1)
    constant = deconvolve(Traces(np.full((2, 50), 0.4), FS, "dff"), method=method)
    assert_array_equal(constant.spikes.values, 0)
    assert_allclose(constant.denoised.values, 0.4, atol=1e-6)
    for frames in (1, 2, 3, 5):
        short = deconvolve(Traces(np.arange(frames, dtype=float)[None], FS, "dff"), method=method)
        assert np.isfinite(short.spikes.values).all()
        assert short.spikes.values.shape == (1, frames)


@pytest.mark.parametrize("method", METHODS)
def test_noise_too_low_to_reach_gives_the_unpenalised_fit(method):
    traces, _, _ = simulated(n=1, frames=400)
    result = deconvolve(traces, method=method, decay_s=0.2, rise_s=0.04, noise=1e-3)
    free = deconvolve(traces, method=method, decay_s=0.2, rise_s=0.04, penalty=0)
    assert_allclose(result.denoised.values, free.denoised.values, atol=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_threads_gain_and_company_change_nothing(method):
    traces, _, _ = simulated(n=5, frames=1000)
    once = deconvolve(traces, method=method, threads=1)
    assert_array_equal(deconvolve(traces, method=method, threads=4).spikes.values, once.spikes.values)
    known = {"decay_s": 0.65, "rise_s": 0.02}  # those found would depend on the company
    once = deconvolve(traces, method=method, **known)
    alone = deconvolve(traces.select([3]), method=method, **known)
    assert_allclose(alone.spikes.values, once.spikes.values[[3]], rtol=1e-4, atol=1e-6)
    amplified = deconvolve(traces.replace(values=50 * traces.values), method=method, **known)
    assert_allclose(amplified.spikes.values, 50 * once.spikes.values, atol=0.05)


def test_kinetics_come_from_the_indicator_unless_given():
    traces, _, _ = simulated(n=1, frames=300)
    known = deconvolve(traces, indicator="gcamp6s")
    decay, rise = np.exp(-1 / FS / 0.79), np.exp(-1 / FS / 0.066)
    assert_allclose(known.g, [[decay + rise, -decay * rise]])
    assert_allclose(deconvolve(traces, method="ar1", indicator="GCaMP6s", decay_s=1.0).g, [[np.exp(-1 / FS)]])


def test_errors_name_the_argument():
    traces, _, _ = simulated(n=2, frames=50)
    for name, value in (
        ("method", "ar3"),
        ("indicator", "GCaMP9"),
        ("decay_s", 0.0),
        ("rise_s", -1.0),
        ("noise", [0.1]),
        ("penalty", -1.0),
        ("penalty", "l1"),
    ):
        with pytest.raises(ValueError, match=name):
            deconvolve(traces, **{name: value})
    with pytest.raises(ValueError, match="rise_s must be below decay_s"):
        deconvolve(traces, decay_s=0.1, rise_s=0.2)
    broken = traces.values.copy()
    broken[1, 7] = np.inf
    with pytest.raises(ValueError, match="row 1"):
        deconvolve(traces.replace(values=broken))


@pytest.mark.real
@pytest.mark.skipif(
    "CALCIUM_DATA_DIR" not in os.environ, reason="CALCIUM_DATA_DIR is not set: no recordings with electrophysiology"
)
def test_spikes_of_a_real_neuron_are_found_without_a_lag():
    path = sorted(Path(os.environ["CALCIUM_DATA_DIR"]).glob("spikes/DS14-*/*.mat"))[0]
    scores = []
    for sweep in np.atleast_1d(loadmat(path, squeeze_me=True, struct_as_record=False)["CAttached"]):
        edges = np.arange(sweep.fluo_time[0], sweep.fluo_time[-1], 1 / 25)
        count = np.histogram(sweep.fluo_time, edges)[0]
        dff = np.histogram(sweep.fluo_time, edges, weights=sweep.fluo_mean)[0] / np.maximum(count, 1)
        truth = np.histogram(np.ravel(sweep.events_AP) / 1e4, edges)[0]
        found = deconvolve(Traces(dff[None], 25.0, "dff"), indicator="GCaMP6s").spikes.values[0]
        scores.append(np.corrcoef(found, truth)[0, 1])
    assert np.mean(scores) > 0.5
