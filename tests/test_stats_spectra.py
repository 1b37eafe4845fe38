"""Spectra, rhythms and coherence against scipy, Parseval, theory and planted truth; rates of chance are in benchmarks."""

import numpy as np
import pytest
from scipy import signal

from benchmarks.known_answers import activity
from calcium_helpers.containers import Traces
from calcium_helpers.stats import estimate_coherence, estimate_spectra, find_rhythms, measure_bands

FS = 10.0


def noise(n_cells=4, n_frames=2000, seed=0):
    return np.random.default_rng(seed).standard_normal((n_cells, n_frames))


@pytest.mark.parametrize("n_frames", [1999, 2000])
def test_power_sums_to_the_variance(n_frames):
    traces = Traces(noise(n_frames=n_frames).cumsum(axis=1) / 10 + 3, FS, "dff")
    spectra = estimate_spectra(traces)
    total = spectra.power.sum(axis=1) * spectra.frequency_hz[1]
    weighted = [
        np.mean([np.sum((h * (row - row.mean())) ** 2) for h in signal.windows.dpss(n_frames, 4, 7)]) for row in traces.values
    ]
    np.testing.assert_allclose(total, weighted, rtol=1e-4)  # Parseval for each taper
    flat = estimate_spectra(Traces(noise(n_frames=n_frames), FS, "dff"))
    np.testing.assert_allclose(flat.power.mean(axis=1), 2 / FS, rtol=0.15)  # variance 1 over 0 to 5 Hz


def test_welch_is_that_of_scipy():
    traces = Traces(noise(), FS, "dff")
    spectra = estimate_spectra(traces, method="welch", segment_s=20)
    frequency, power = signal.welch(traces.values.astype(float), FS, nperseg=200)
    np.testing.assert_allclose(spectra.power, power, rtol=1e-4)
    np.testing.assert_allclose(spectra.frequency_hz, frequency)


def test_estimators_agree_on_a_smooth_spectrum():
    traces = Traces(signal.lfilter([1], [1, -0.8], noise(2, 20_000), axis=1), FS, "dff")
    bands = {"low": (0.1, 1), "high": (2, 4)}
    a, b = (measure_bands(estimate_spectra(traces, method=method), bands)["power"] for method in ("multitaper", "welch"))
    np.testing.assert_allclose(a, b, rtol=0.1)


def test_bands_share_all_the_power():
    spectra = estimate_spectra(Traces(noise(), FS, "dff"))
    table = measure_bands(spectra, {"a": (0, 1), "b": (1, 3), "c": (3, np.inf)})
    np.testing.assert_allclose(table.groupby("roi")["share"].sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(table.groupby("band")["share"].mean(), [0.2, 0.4, 0.4], atol=0.04)
    assert set(table["unit"]) == {"(dF/F)^2"}
    assert table["high_hz"].max() == 5


def test_bands_that_are_not_there():
    spectra = estimate_spectra(Traces(noise(2, 100), FS, "dff"))
    table = measure_bands(spectra)
    assert set(table["band"]) == {"infraslow", "slow", "delta", "theta"}  # "fast" lies above the Nyquist frequency
    assert table.loc[table["band"] == "infraslow", "power"].isna().all()  # ten seconds hold none of it
    assert len(measure_bands(spectra, {"above": (6, 8)})) == 0
    with pytest.raises(ValueError, match=r"0 <= low < high in Hz, got x"):
        measure_bands(spectra, {"x": (3, 1)})


def test_a_planted_rhythm_is_found_and_broad_power_is_not():
    rng = np.random.default_rng(1)
    times = np.arange(3000) / FS
    calcium = activity.make_calcium(rng, 8)
    rhythmic = activity.make_calcium(rng, 4, 1 + np.cos(2 * np.pi * 0.4 * times), rate_hz=1.0)
    table = find_rhythms(Traces(np.concatenate([calcium, rhythmic]), FS, "dff", ids=np.arange(10, 22)))
    assert list(table["roi"]) == list(range(10, 22))
    assert list(table["significant"]) == [False] * 8 + [True] * 4
    np.testing.assert_allclose(table["frequency_hz"][8:], 0.4, atol=0.01)
    assert (table["contrast"][8:] > 10).all()
    elsewhere = find_rhythms(Traces(rhythmic, FS, "dff"), band_hz=(2, 4))
    assert elsewhere["frequency_hz"].between(2, 4).all()


def test_p_values_of_white_noise_are_even():
    p = find_rhythms(Traces(noise(300, 2000, seed=3), FS, "dff"))["p"]
    for level in (0.1, 0.3, 0.5):
        assert abs((p < level).mean() - level) < 0.09


def test_rhythms_and_coherence_ignore_gain_and_offset():
    values = activity.make_calcium(np.random.default_rng(2), 5)
    gains = np.array([[0.01], [1], [7], [100], [3000]])
    a, b = (find_rhythms(Traces(v, FS, "dff")) for v in (values, gains * values + gains))
    np.testing.assert_allclose(a["p"], b["p"], rtol=1e-2)
    np.testing.assert_allclose(a["frequency_hz"], b["frequency_hz"])
    c, d = (estimate_coherence(Traces(v, FS, "dff")) for v in (values, gains * values + gains))
    np.testing.assert_allclose(c.coherence, d.coherence, atol=1e-3)
    np.testing.assert_allclose(c.p, d.p, rtol=1e-2)


def test_coherence_of_known_mixtures():
    """Two traces of which a share of the power is common cohere by that share, here 0.8 squared."""
    shared, own = noise(1, 8000, seed=4), noise(2, 8000, seed=5)
    found = estimate_coherence(Traces(np.sqrt(0.8) * shared + np.sqrt(0.2) * own, FS, "dff"), bandwidth_hz=0.05)
    assert found.coherence.mean() == pytest.approx(0.64, abs=0.03)
    assert found.p[0] < 1e-6
    assert (found.coherence > found.threshold).mean() > 0.9


def test_coherence_is_the_formula():
    values = noise(2, 500, seed=6)
    found = estimate_coherence(Traces(values, FS, "dff"))
    tapers = signal.windows.dpss(500, 4, 7)
    waves = np.fft.rfft(tapers[None] * (values - values.mean(axis=1, keepdims=True))[:, None], axis=2)
    cross = np.abs((waves[0] * waves[1].conj()).sum(axis=0)) ** 2
    direct = cross / (np.abs(waves) ** 2).sum(axis=1).prod(axis=0)
    np.testing.assert_allclose(found.coherence[0], direct[8 : 8 * (len(found.frequency_hz) + 1) : 8], atol=1e-4)
    np.testing.assert_allclose(np.diff(found.frequency_hz), 8 * FS / 500)


def test_a_single_common_spell_is_no_coherence():
    """Two cells that were active at the same time, once: their tapers see one piece of evidence, not seven."""
    rng = np.random.default_rng(7)
    course = np.where(abs(np.arange(3000) - 1500) < 40, 20.0, 0.0)
    found = [
        estimate_coherence(Traces(activity.make_calcium(rng, 2, course), FS, "dff"), band_hz=(0.5, 2)).p[0] for _ in range(30)
    ]
    assert np.mean(np.array(found) < 0.05) < 0.25


def test_pairs_are_chosen_by_id():
    traces = Traces(noise(4), FS, "dff", ids=np.array([5, 2, 9, 7]))
    every = estimate_coherence(traces)
    assert len(every.pairs) == 6
    chosen = estimate_coherence(traces, pairs=np.array([[9, 5], [7, 2]]))
    np.testing.assert_array_equal(chosen.pairs, [[9, 5], [7, 2]])
    np.testing.assert_allclose(chosen.coherence[0], every.coherence[1], atol=1e-6)
    with pytest.raises(ValueError, match=r"unknown ones: \[4\]"):
        estimate_coherence(traces, pairs=np.array([[9, 4]]))


@pytest.mark.parametrize("shape", [(0, 500), (3, 1), (3, 2), (2, 15), (1, 40), (1, 500)])
def test_few_cells_and_few_frames_are_ordinary(shape):
    traces = Traces(noise(*shape), FS, "dff")
    for method in ("multitaper", "welch"):
        spectra = estimate_spectra(traces, method=method)
        assert spectra.power.shape == (shape[0], len(spectra.frequency_hz))
        assert np.isfinite(spectra.power).all()
        measure_bands(spectra)
    assert len(find_rhythms(traces)) == shape[0]
    found = estimate_coherence(traces)
    assert found.coherence.shape == found.threshold.shape == (len(found.pairs), len(found.frequency_hz))


@pytest.mark.filterwarnings("error")
def test_constant_traces_have_no_rhythm():
    values = noise(3, 600)
    values[1] = 0.7
    traces = Traces(values, FS, "dff")
    assert estimate_spectra(traces).power[1].max() < 1e-12
    table = find_rhythms(traces)
    assert table["p"].isna().tolist() == [False, True, False]
    assert not table["significant"][1]
    found = estimate_coherence(traces)
    assert np.isnan(found.p).tolist() == [True, False, True]
    bands = measure_bands(estimate_spectra(traces))
    assert bands.loc[bands["roi"] != 1, "share"].notna().all()


@pytest.mark.parametrize(
    ("function", "settings", "message"),
    [
        (estimate_spectra, {"method": "fourier"}, "'multitaper' .* or 'welch'"),
        (estimate_spectra, {"segment_s": 3}, "'welch' \\(with segment_s\\)"),
        (estimate_spectra, {"bandwidth_hz": 0.001}, "bandwidth_hz must lie between"),
        (find_rhythms, {"alpha": 5}, "alpha must lie between 0 and 1"),
        (estimate_coherence, {"alpha": 0}, "alpha must lie between 0 and 1"),
    ],
)
def test_errors_say_what_is_wrong(function, settings, message):
    with pytest.raises(ValueError, match=message):
        function(Traces(noise(), FS, "dff"), **settings)


@pytest.mark.parametrize("function", [estimate_spectra, find_rhythms, estimate_coherence])
def test_nan_is_named(function):
    values = noise()
    values[2, 5] = np.nan
    with pytest.raises(ValueError, match="row 2"):
        function(Traces(values, FS, "dff"))


def test_too_many_pairs_are_refused():
    with pytest.raises(ValueError, match="choose pairs"):
        estimate_coherence(Traces(np.zeros((1500, 2000)), FS, "dff"))
