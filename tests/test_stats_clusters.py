import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter
from sklearn.metrics import adjusted_rand_score, silhouette_score

from calcium_helpers.containers import Events, Traces
from calcium_helpers.stats import cluster_cells, cluster_events

FS = 10.0


def draw_calcium(rng, n, n_frames=2000):
    calcium = lfilter([1], [1, -0.87], rng.poisson(0.02, (n, n_frames)), axis=1)
    return calcium / calcium.std(axis=1, keepdims=True)


def draw_groups(seed=0, sizes=(20, 12, 8), noise=1.5):
    """Cells that follow one of several courses, each with noise and activity of its own."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    values = draw_calcium(rng, len(sizes))[truth] + 0.5 * draw_calcium(rng, len(truth))
    mixed = rng.permutation(len(truth))
    return Traces((values + noise * rng.standard_normal(values.shape))[mixed], FS, "dff", mixed + 500), truth[mixed]


def draw_events(seed=0, n=300, apart=2.0):
    """Two kinds of events, whose logarithms are ``apart`` times their scatter times two from each other."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(2, size=n)
    names = ["amplitude", "rise_s", "half_decay_s", "area", "duration"]
    table = pd.DataFrame(np.exp(0.3 * (rng.standard_normal((n, 5)) + 2 * apart * kind[:, None] - 1)), columns=names)
    table["onset_s"] = np.sort(rng.uniform(0, 500, n))
    table["peak_s"] = table["onset_s"]
    table["offset_s"] = table["onset_s"] + table.pop("duration")
    table["roi"] = 0
    return Events(table), kind


def test_planted_groups_are_found():
    traces, truth = draw_groups()
    found = cluster_cells(traces, max_clusters=5)
    assert found.n_clusters == 3
    assert adjusted_rand_score(truth, found.labels) > 0.9
    assert np.bincount(found.labels).tolist() == sorted(np.bincount(found.labels), reverse=True)
    assert (found.stability > 0.8).all()
    assert found.stability.shape == (3,)
    best = found.choice.loc[found.choice["silhouette"].idxmax()]
    assert (best["method"], best["n_clusters"]) == (found.method, 3)
    assert best["silhouette"] == pytest.approx(silhouette_score(found.features, found.labels))
    assert best["silhouette"] > best["null_high"]


def test_rows_are_drawn_cluster_by_cluster():
    traces, _ = draw_groups()
    found = cluster_cells(traces, max_clusters=5)
    assert sorted(found.order) == list(range(40))
    assert (np.diff(found.labels[found.order]) >= 0).all()
    np.testing.assert_array_equal(found.ids, traces.ids)


def test_gain_offset_and_seed():
    traces, _ = draw_groups()
    rng = np.random.default_rng(1)
    scaled = traces.replace(values=traces.values * rng.uniform(0.1, 10, (40, 1)) + rng.uniform(-3, 3, (40, 1)))
    first, second, third = (cluster_cells(each, max_clusters=4) for each in (traces, traces, scaled))
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.stability, second.stability)
    np.testing.assert_array_equal(first.labels, third.labels)


def test_independent_cells_are_one_cluster():
    found = [
        cluster_cells(Traces(draw_calcium(rng, 25) + 0.5 * rng.standard_normal((25, 2000)), FS, "dff"), seed=seed).n_clusters
        for seed, rng in ((seed, np.random.default_rng(seed)) for seed in range(12))
    ]
    assert sum(n > 1 for n in found) <= 2


@pytest.mark.parametrize("kind", ["graded", "mixed", "skewed"])
def test_a_continuum_is_not_cut(kind):
    found = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        part = rng.uniform(0, 1, (40, 1)) if kind != "skewed" else rng.lognormal(-1, 0.8, (40, 1))
        shared = draw_calcium(rng, 2)
        values = part * shared[:1] + (kind == "mixed") * (1 - part) * shared[1:]
        noise = 0.7 * rng.standard_normal((40, 2000))
        found.append(cluster_cells(Traces(values + noise, FS, "dff"), max_clusters=4, seed=seed))
    assert sum(clusters.n_clusters > 1 for clusters in found) <= 1
    one = next(clusters for clusters in found if clusters.n_clusters == 1)
    assert one.method == "one cluster"
    assert not one.labels.any()
    assert one.stability.tolist() == [1]


def test_a_silent_cell_is_in_no_cluster():
    traces, truth = draw_groups()
    found = cluster_cells(Traces(np.vstack([np.full((1, 2000), 2.0), traces.values]), FS, "dff"), max_clusters=4)
    assert found.labels[0] == -1
    assert found.order[-1] == 0
    assert found.features.iloc[0].isna().all()
    assert adjusted_rand_score(truth, found.labels[1:]) > 0.9


@pytest.mark.parametrize("shape", [(0, 100), (1, 100), (2, 100), (5, 1), (5, 20), (4, 0)])
def test_few_cells_and_few_frames(shape):
    found = cluster_cells(Traces(np.random.default_rng(0).standard_normal(shape), FS, "dff"))
    assert found.labels.shape == found.order.shape == (shape[0],)
    assert len(found.features) == shape[0]
    assert found.stability.shape == (found.n_clusters,)
    assert found.n_clusters <= 1


def test_what_cannot_be_clustered_is_said():
    with pytest.raises(ValueError, match="row 0"):
        cluster_cells(Traces(np.full((2, 50), np.nan), FS, "dff"))
    with pytest.raises(ValueError, match="max_clusters"):
        cluster_cells(draw_groups()[0], max_clusters=0)
    with pytest.raises(ValueError, match="bin_s"):
        cluster_cells(draw_groups()[0], bin_s=-1)


def test_kinds_of_events_are_found():
    events, kind = draw_events()
    found = cluster_events(events, max_clusters=4)
    assert found.n_clusters == 2
    assert adjusted_rand_score(kind, found.labels) > 0.9
    assert (found.stability > 0.9).all()
    assert list(found.features) == ["amplitude", "rise_s", "half_decay_s", "area", "duration_s"]
    np.testing.assert_allclose(found.features.std(), 1)


def test_events_of_one_kind_are_one_cluster():
    assert [cluster_events(draw_events(seed, apart=0)[0], max_clusters=4, seed=seed).n_clusters for seed in range(3)] == [
        1,
        1,
        1,
    ]


def test_events_with_something_missing():
    events, kind = draw_events()
    table = events.table.drop(columns="area")
    table.loc[[3, 8], "half_decay_s"] = np.nan
    table.loc[5, "rise_s"] = 0
    found = cluster_events(Events(table), max_clusters=4)
    assert (found.labels == -1).nonzero()[0].tolist() == [3, 5, 8]
    rest = found.labels >= 0
    assert adjusted_rand_score(kind[rest], found.labels[rest]) > 0.9
    for n in (0, 1, 4):
        few = cluster_events(Events(events.table.iloc[:n]))
        assert few.n_clusters == min(n, 1)
        assert few.labels.tolist() == [0] * n


def test_more_events_than_can_be_compared_with_each_other():
    events, kind = draw_events(n=6000)
    found = cluster_events(events, max_clusters=3)
    assert found.n_clusters == 2
    assert adjusted_rand_score(kind, found.labels) > 0.9
    assert (np.diff(found.labels[found.order]) >= 0).all()
