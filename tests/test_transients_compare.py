"""Before and after, sites and their fates, what distinguishes events, and subtypes, on data made to have them or not."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from calcium_helpers.containers import Events
from calcium_helpers.transients.compare import compare_conditions, what_distinguishes
from calcium_helpers.transients.sites import find_sites, site_fates
from calcium_helpers.transients.subtypes import find_subtypes, prune_correlated


def events_at(points, *, start=0.0):
    table = pd.DataFrame({"roi": 0, "onset_s": start + np.arange(len(points), dtype=float), "amplitude": 1.0})
    table = table.assign(peak_s=table["onset_s"], offset_s=table["onset_s"])
    return Events(table, tuple((10 * i, y, x, np.ones((2, 3, 3), bool)) for i, (y, x) in enumerate(points)))


def features_of(rng, n_neurons, *, per_neuron=12, shift=0.0):
    neuron = np.repeat(np.arange(n_neurons), per_neuron)
    own = rng.normal(size=n_neurons)[neuron]
    area = np.exp(rng.normal(size=len(neuron)) * 0.2 + own + shift)
    return pd.DataFrame({"neuron": neuron, "area_px": area, "duration_s": rng.gamma(4, size=len(neuron))})


def test_conditions_are_compared_by_neuron():
    before, after = (features_of(np.random.default_rng(0), 10, per_neuron=n, shift=s) for n, s in ((12, 0.0), (8, -0.4)))
    table = compare_conditions(before, after, duration_s=(60, 30)).set_index("measure")
    means = [part.groupby("neuron")["area_px"].mean() for part in (before, after)]
    assert table.loc["area_px", "p"] == pytest.approx(stats.wilcoxon(*means).pvalue)
    assert table.loc["area_px", "difference"] == pytest.approx((means[1] - means[0]).mean())
    assert table.loc["area_px", ["n_a", "unit"]].tolist() == [10, "px"]
    assert table.loc["events", ["value_a", "value_b", "effect"]].tolist() == [12, 8, -1]
    assert table.loc["event_rate", ["value_a", "value_b"]].tolist() == [12, 16]
    assert (table["q"] >= table["p"]).all()


def test_a_neuron_that_fell_silent_counts_as_none():
    before = features_of(np.random.default_rng(1), 6)
    after = before[before["neuron"] > 1]
    table = compare_conditions(before, after).set_index("measure")
    assert table.loc["events", ["n_a", "value_a", "value_b"]].tolist() == [6, 12, 8]
    assert table.loc["area_px", "n_a"] == 4
    silent = compare_conditions(before, before.iloc[:0]).set_index("measure")
    assert silent.loc["events", "value_b"] == 0
    with pytest.raises(ValueError, match="column 'cell'"):
        compare_conditions(before, after, neuron="cell")
    for duration_s in ((0, 1), (np.nan, 1), (1, np.inf)):
        with pytest.raises(ValueError, match="duration_s"):
            compare_conditions(before, after, duration_s=duration_s)


def test_events_of_no_neuron_are_of_no_neuron():
    """They make no further unit, which would narrow the intervals of what is counted."""
    before, after = (features_of(np.random.default_rng(8), 6, per_neuron=n) for n in (12, 9))
    stray = before.iloc[:5].assign(neuron=np.nan, intensity_mean=1.0)
    table = compare_conditions(pd.concat([before, stray]), after)
    pd.testing.assert_frame_equal(table.iloc[:3], compare_conditions(before, after))
    assert table.set_index("measure")["unit"]["intensity_mean"] == "a.u."


def test_sites_and_their_fates():
    centres = np.array([(10, 10), (10, 30), (40, 12), (60, 60)])
    jitter = np.array([(0, 0), (1, 0), (0, 2)])
    before = events_at([tuple(p) for site in (0, 1, 2) for p in (centres[site] + jitter).tolist()])
    after = events_at([tuple(p) for site in (1, 3) for p in (centres[site] + jitter[:2]).tolist()])
    sites = find_sites(before)
    assert sites.table["n_events"].tolist() == [3, 3, 3]
    assert adjusted_rand_score(sites.site, np.repeat([0, 1, 2], 3)) == 1
    fates = site_fates(before, after)
    found = {
        (round(y) // 10, round(x) // 10): (a, b, fate)
        for y, x, a, b, fate in fates.table[["y_px", "x_px", "n_before", "n_after", "fate"]].itertuples(index=False)
    }
    assert found == {
        (1, 1): (3, 0, "silenced"), (1, 3): (3, 2, "recurrent"), (4, 1): (3, 0, "silenced"), (6, 6): (0, 2, "new"),
    }  # fmt: skip
    assert fates.table.set_index("site").loc[fates.after, "fate"].tolist() == ["recurrent"] * 2 + ["new"] * 2
    assert (fates.table["site"].to_numpy()[fates.before] == fates.before).all()


def test_a_chain_of_events_is_no_single_site():
    assert len(find_sites(events_at([(10, 3 * k) for k in range(20)]), radius_px=5).table) >= 5


@pytest.mark.parametrize(("n_before", "n_after"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_few_or_no_events_have_fates_too(n_before, n_after):
    fates = site_fates(events_at([(5, 5)] * n_before), events_at([(5, 6)] * n_after))
    expected = {(0, 0): [], (1, 0): ["silenced"], (0, 1): ["new"], (1, 1): ["recurrent"]}
    assert fates.table["fate"].tolist() == expected[n_before, n_after]


def test_what_distinguishes_is_found_in_other_neurons():
    rng = np.random.default_rng(2)
    x = features_of(rng, 8)
    label = np.where(rng.random(len(x)) < 0.5, "new", "silenced")
    x["duration_s"] += 3.0 * (label == "new")
    x.loc[3, "duration_s"] = np.nan
    found = what_distinguishes(x[["area_px", "duration_s"]], label, x["neuron"], n_permutations=19)
    assert found.score > 0.7
    assert found.p == pytest.approx(0.05)
    assert found.importance["feature"].tolist() == ["duration_s", "area_px"]
    assert abs(found.null.mean() - 0.5) < 0.05


def test_a_label_of_neurons_is_not_told_from_what_neurons_have_of_their_own():
    """Events of one neuron are alike: across neurons nothing tells the label, although within them all would."""
    rng = np.random.default_rng(3)
    x = features_of(rng, 12, per_neuron=15)
    label = (x["neuron"] % 2).to_numpy()
    found = what_distinguishes(x[["area_px", "duration_s"]], label, x["neuron"], n_permutations=19)
    assert found.p > 0.05
    assert found.null.std() > 0.06  # whole neurons change place: far wider than of independent events


@pytest.mark.parametrize(
    ("label", "neuron", "says"),
    [([0, 1, 0], [0, 1], "one an event"), ([0, 0, 0], [0, 1, 1], "two values"), ([0, 1, 1], [0, 1, 1], "outside each fold")],
)
def test_what_cannot_be_told_is_said(label, neuron, says):
    with pytest.raises(ValueError, match=says):
        what_distinguishes(pd.DataFrame({"a": [1.0, 2, 3]}), label, neuron)


def test_the_score_is_that_of_cross_validation_by_neuron():
    rng = np.random.default_rng(9)
    x = features_of(rng, 7)[["area_px", "duration_s"]].assign(constant=3.0)
    label, neuron = rng.integers(2, size=len(x)), np.repeat(np.arange(7), 12)
    x.iloc[::9, 1] = np.nan
    model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(class_weight="balanced"))
    told = cross_val_predict(model, x.to_numpy(), label, groups=neuron, cv=GroupKFold(4))
    found = what_distinguishes(x.assign(unknown=np.nan), label, neuron, n_permutations=9, folds=4)
    assert found.score == pytest.approx(balanced_accuracy_score(label, told))
    assert found.p == pytest.approx((1 + (found.null >= found.score).sum()) / 10)
    assert found.importance.set_index("feature")["drop"]["constant"] == pytest.approx(0)
    assert "unknown" not in found.importance["feature"].tolist()
    with pytest.raises(ValueError, match="finite numbers"):
        what_distinguishes(x[[]].assign(unknown=np.nan), label, neuron)


def test_pruning_leaves_the_first_of_those_alike():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 200))
    table = pd.DataFrame({"a": a, "b": b, "rising": np.exp(a), "falling": -(a**3), "loose": a + b, "same": 1.0})
    table.loc[5, "rising"] = np.nan
    pruned = prune_correlated(table)
    assert list(pruned.features) == ["a", "b", "loose"]
    assert pruned.dropped[["feature", "because_of"]].to_numpy().tolist() == [["rising", "a"], ["falling", "a"], ["same", ""]]
    assert pruned.dropped["r"].tolist()[:2] == pytest.approx([1, -1])
    x = pd.DataFrame({"a": a, "rare": b})
    x.loc[3:, "rare"] = np.nan
    x.loc[:2, "rare"] = x.loc[:2, "a"]
    assert list(prune_correlated(x).features) == ["a", "rare"]  # three events do not show that features are alike
    with pytest.raises(ValueError, match="limit"):
        prune_correlated(table, limit=0)


@pytest.mark.parametrize("method", ["k-means", "gaussian"])
def test_three_kinds_are_found_again(method):
    rng = np.random.default_rng(5)
    kind = np.repeat([0, 1, 2], (60, 40, 30))
    middles = np.array([(0, 0, 0), (6, 0, 0), (0, 6, 3)])
    table = pd.DataFrame(middles[kind] + rng.normal(size=(130, 3)), columns=list("abc")) * [1, 10, 100]
    table.loc[0, "b"] = np.nan
    found = find_subtypes(table, method=method, max_k=4)
    assert found.k == 3
    assert adjusted_rand_score(found.labels[1:], kind[1:]) > 0.95
    assert found.labels[0] == -1
    assert found.stability > 0.95
    assert np.bincount(found.labels[1:]).tolist() == sorted(np.bincount(found.labels[1:]), reverse=True)
    assert found.centres["a"].round().tolist() == pytest.approx([0, 6, 0], abs=1)


def test_one_cloud_is_one_kind():
    x = np.random.default_rng(6).normal(size=(120, 3)) @ np.diag([3, 1, 1])
    assert find_subtypes(pd.DataFrame(x, columns=list("abc")), max_k=4).k == 1


def test_a_given_number_and_too_few_events():
    x = pd.DataFrame(np.random.default_rng(7).normal(size=(30, 2)), columns=list("ab"))
    found = find_subtypes(x, k=4)
    assert (found.k, len(found.centres)) == (4, 4)
    assert found.stability < 0.9
    assert find_subtypes(x.iloc[:3]).k == 1
    assert find_subtypes(x.iloc[:0]).k == 0
    with pytest.raises(ValueError, match="k must be"):
        find_subtypes(x, k=31)
    with pytest.raises(ValueError, match="method"):
        find_subtypes(x, method="dbscan")
