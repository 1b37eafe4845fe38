import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter
from scipy.stats import false_discovery_control
from threadpoolctl import threadpool_limits

from calcium_helpers.containers import Events, Footprints, Traces
from calcium_helpers.stats import correlate, correlate_events, correlation_by_distance

FS = 10.0


def draw_traces(seed=0, n=20, n_frames=2000):
    """Independent calcium-like traces of different speed and noise."""
    rng = np.random.default_rng(seed)
    spikes = rng.poisson(rng.uniform(0.02, 0.1, (n, 1)), (n, n_frames))
    decay = np.exp(-1 / (rng.uniform(0.2, 3, n) * FS))
    calcium = np.stack([lfilter([1], [1, -a], row) for a, row in zip(decay, spikes, strict=True)])
    return Traces(calcium + rng.uniform(0.1, 0.5, (n, 1)) * rng.standard_normal((n, n_frames)), FS, "dff", np.arange(n) + 100)


def as_events(onsets):
    """Events of rows of onsets, one list a cell."""
    onset = np.concatenate([np.zeros(0), *onsets])
    roi = np.repeat(np.arange(len(onsets)), [len(own) for own in onsets])
    return Events(pd.DataFrame({"roi": roi, "onset_s": onset, "peak_s": onset, "offset_s": onset + 1, "amplitude": 1.0}))


def upper(matrix):
    return matrix[np.triu_indices(len(matrix), 1)]


def test_r_is_pearson_s_and_its_null_that_of_all_shifts():
    traces = draw_traces(n=5, n_frames=301)
    found = correlate(traces, drift_s=None, n_shuffles=2)
    np.testing.assert_allclose(found.r, np.corrcoef(traces.values.astype(float)), atol=1e-5)
    x, y = traces.values[1].astype(float), traces.values[3].astype(float)
    shifted = [np.corrcoef(x, np.roll(y, k))[0, 1] for k in range(301)]
    np.testing.assert_allclose(found.null_sd[1, 3], np.sqrt(np.mean(np.square(shifted))), rtol=1e-4)
    assert (found.method, found.alpha, list(found.ids)) == ("Pearson", 0.05, [100, 101, 102, 103, 104])
    assert not found.lag_s.any()


def test_r_does_not_know_drift_gain_offset_threads_or_order():
    traces = draw_traces()
    rng = np.random.default_rng(1)
    time = np.linspace(0, 1, traces.n_frames)
    reference = correlate(traces, n_shuffles=20)
    other = traces.values * rng.uniform(0.01, 100, (20, 1)) + rng.uniform(-5, 5, (20, 1))
    with threadpool_limits(1):
        scaled = correlate(traces.replace(values=other), n_shuffles=20)
    np.testing.assert_allclose(scaled.r, reference.r, atol=1e-4)
    np.testing.assert_allclose(scaled.p, reference.p, rtol=1e-2)
    drifting = correlate(traces.replace(values=traces.values + rng.uniform(-3, 3, (20, 1)) * np.exp(-2 * time)), n_shuffles=1)
    np.testing.assert_allclose(drifting.r, reference.r, atol=1e-2)
    backwards = correlate(traces.select(np.arange(20)[::-1]), n_shuffles=1)
    np.testing.assert_allclose(backwards.r[::-1, ::-1], reference.r, atol=1e-5)


def test_the_same_seed_gives_the_same_answer():
    first, second, other = (correlate(draw_traces(n=8), n_shuffles=10, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.p, second.p)
    assert (upper(first.null) != upper(other.null)).any()


def test_matrices_are_symmetric_and_q_is_benjamini_hochberg_s():
    found = correlate(draw_traces())
    for matrix in (found.r, found.null, found.p, found.q, found.null_sd):
        np.testing.assert_allclose(matrix, matrix.T)
    np.testing.assert_allclose(upper(found.q), false_discovery_control(upper(found.p)))
    np.testing.assert_array_equal(found.significant, found.q <= 0.05)
    np.testing.assert_array_equal(found.r.diagonal(), 1)
    assert np.isnan(found.p.diagonal()).all()


def test_p_of_independent_cells_is_uniform():
    p = np.concatenate([upper(correlate(draw_traces(seed), seed=seed).p) for seed in range(8)])
    for level in (0.5, 0.1, 0.05, 0.01):  # within four standard deviations, as pairs of a recording are nearly independent
        assert abs((p < level).mean() - level) < 4 * np.sqrt(level * (1 - level) / len(p))


def test_pairs_among_independent_cells_are_found():
    traces = draw_traces(5, n=40)
    shared = lfilter([1], [1, -0.9], np.random.default_rng(2).poisson(0.03, traces.n_frames))
    values = traces.values.copy()
    values[:2] += shared / shared.std() * values[:2].std(axis=1, keepdims=True)
    found = correlate(traces.replace(values=values))
    assert found.significant[0, 1]
    assert upper(found.significant).sum() <= 2


def test_the_planted_lag_is_found():
    traces = draw_traces(6, n=12)
    values = traces.values.copy()
    values[1] = np.roll(values[0], 7) + 0.1 * np.random.default_rng(0).standard_normal(traces.n_frames)
    together = correlate(traces.replace(values=values), max_lag_s=0.5)
    found = correlate(traces.replace(values=values), max_lag_s=1.0)
    assert found.method == "lagged Pearson"
    assert found.lag_s[0, 1] == pytest.approx(0.7)
    assert found.lag_s[1, 0] == pytest.approx(-0.7)
    assert found.significant[0, 1]
    assert found.r[0, 1] > 0.8 > together.r[0, 1]


def test_the_best_lag_is_held_against_the_best_lag_of_chance():
    p = np.concatenate([upper(correlate(draw_traces(seed, n=12), max_lag_s=2, seed=seed).p) for seed in range(8)])
    assert 0.01 < (p < 0.05).mean() < 0.09


@pytest.mark.parametrize("shape", [(0, 50), (1, 50), (3, 1), (3, 2), (0, 0), (2, 0)])
def test_few_cells_and_few_frames(shape):
    values = np.random.default_rng(0).standard_normal(shape)
    for found in (correlate(Traces(values, FS, "dff")), correlate(Traces(values, FS, "dff"), max_lag_s=1)):
        assert found.r.shape == found.p.shape == found.null.shape == (shape[0], shape[0])
        assert not found.significant.any()


def test_a_silent_cell_has_no_correlation_and_harms_no_other():
    traces = draw_traces(n=6)
    values = np.vstack([traces.values, np.full((1, traces.n_frames), 0.3)])
    found = correlate(Traces(values, FS, "dff"))
    assert np.isnan(found.r[6]).all()
    assert np.isnan(found.p[:, 6]).all()
    assert not found.significant[6].any()
    np.testing.assert_array_equal(found.r[:6, :6], correlate(traces).r)


def test_what_cannot_be_correlated_is_said():
    values = draw_traces(n=3).values.copy()
    values[1, 5] = np.nan
    with pytest.raises(ValueError, match="row 1"):
        correlate(Traces(values, FS, "dff"))
    for wrong in ({"max_lag_s": -1}, {"alpha": 0}, {"n_shuffles": 0}, {"drift_s": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            correlate(draw_traces(n=3), **wrong)


def tiling_by_definition(a, b, window, duration):
    """Cutts and Eglen's coefficient of two trains, with the covered time measured on a fine grid."""
    grid = (np.arange(20_000) + 0.5) / 20_000 * duration
    covered = [(np.abs(grid[:, None] - own).min(axis=1) <= window).mean() for own in (a, b)]
    near = [(np.abs(x[:, None] - y).min(axis=1) <= window).mean() for x, y in ((a, b), (b, a))]
    terms = [(near[0] - covered[1]) / (1 - near[0] * covered[1]), (near[1] - covered[0]) / (1 - near[1] * covered[0])]
    return np.mean(terms)


def test_tiling_is_as_defined():
    rng = np.random.default_rng(0)
    onsets = [np.sort(rng.uniform(0, 60, n)) for n in (1, 8, 30, 120)]
    onsets[2][:2] = 0.1, 59.9  # windows that reach beyond the ends
    found = correlate_events(as_events(onsets), ids=np.arange(4), duration_s=60, window_s=0.4, n_shuffles=2)
    for i, j in zip(*np.triu_indices(4, 1), strict=True):
        assert found.r[i, j] == pytest.approx(tiling_by_definition(onsets[i], onsets[j], 0.4, 60), abs=2e-3)


def test_events_alone_and_together():
    rng = np.random.default_rng(1)
    onsets = [rng.uniform(0, 300, rng.integers(3, 40)) for _ in range(30)]
    onsets[4] = np.sort(onsets[9] + rng.normal(0, 0.05, len(onsets[9]))).clip(0, 300)
    onsets[7] = np.zeros(0)
    found = correlate_events(as_events(onsets), ids=np.arange(30), duration_s=300)
    assert found.significant[4, 9]
    assert upper(found.significant).sum() <= 2
    assert np.isnan(found.r[7]).all()
    p = upper(found.p)
    assert (p[np.isfinite(p)] < 0.05).mean() < 0.1


def test_events_of_other_cells_do_not_count_and_ids_set_the_order():
    rng = np.random.default_rng(2)
    events = as_events([rng.uniform(0, 100, 20) for _ in range(5)])
    whole = correlate_events(events, ids=np.arange(5), duration_s=100, n_shuffles=3)
    part = correlate_events(events, ids=np.array([4, 1]), duration_s=100, n_shuffles=3)
    assert part.r[0, 1] == whole.r[4, 1]
    empty = correlate_events(as_events([]), ids=np.arange(3), duration_s=100)
    assert np.isnan(empty.r).all()
    assert correlate_events(events, ids=np.zeros(0, dtype=int), duration_s=100).r.shape == (0, 0)
    with pytest.raises(ValueError, match="duration_s"):
        correlate_events(events, ids=np.arange(5), duration_s=50)


def place(yx, shape=(100, 100)):
    images = np.zeros((len(yx), *shape))
    for image, (y, x) in zip(images, yx, strict=True):
        image[y, x] = 1
    return Footprints.from_images(images)


def test_distance_averages_pairs():
    traces = draw_traces(n=4)
    found = correlate(traces.replace(ids=np.array([2, 0, 3, 1])), n_shuffles=1)
    table = correlation_by_distance(found, place([(0, 0), (0, 10), (0, 20), (90, 0)]), n_bins=2, pixel_um=2.0)
    near = [(1, 0), (1, 3), (3, 0)]  # rows of the ids 0, 1, 2
    np.testing.assert_allclose(table["r"][0], np.mean([found.r[i, j] for i, j in near]))
    np.testing.assert_allclose(table["null_r"][0], np.mean([found.null[i, j] for i, j in near]))
    assert table["n"].tolist() == [3, 3]
    assert table["distance"][0] == pytest.approx(2 * 40 / 3)
    assert set(table["unit"]) == {"um"}
    assert np.isnan(table["low"][0])  # three cells
    assert (table["low"] < table["r"])[1]


def test_distance_of_nothing():
    for n in (0, 1, 2):
        found = correlate(draw_traces(n=2).replace(ids=None).select(np.arange(n)), n_shuffles=1)
        table = correlation_by_distance(found, place([(0, 0), (0, 9)]))
        assert table["n"].sum() == n // 2
        assert list(table) == ["distance", "unit", "n", "r", "low", "high", "null_r"]
    with pytest.raises(ValueError, match="ids"):
        correlation_by_distance(correlate(draw_traces(n=2), n_shuffles=1), place([(0, 0), (0, 9)]))
