import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calcium_helpers.stats.compare import adjust, compare


def tidy(**measures):
    tables = [
        pd.DataFrame({"roi": np.arange(len(values)), "measure": name, "unit": "1/min", "value": values})
        for name, values in measures.items()
    ]
    return pd.concat(tables) if tables else pd.DataFrame(columns=["roi", "measure", "unit", "value"])


def test_against_counting_and_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.poisson(3, 25).astype(float), rng.poisson(5, 31).astype(float)  # with ties
    (row,) = compare(tidy(rate=a), tidy(rate=b)).itertuples()
    above, below = (b[:, None] > a).mean(), (b[:, None] < a).mean()
    assert row.effect == pytest.approx(above - below)
    assert (row.n_a, row.n_b, row.difference) == (25, 31, pytest.approx(b.mean() - a.mean()))
    assert row.p == pytest.approx(stats.mannwhitneyu(a, b).pvalue)
    assert (row.low, row.high) == pytest.approx(tuple(stats.ttest_ind(b, a, equal_var=False).confidence_interval()))


def test_pairs_are_matched_by_roi_and_others_left_out():
    rng = np.random.default_rng(1)
    a, b = rng.normal(3, 1, 14), rng.normal(4, 1, 14)
    b[3] = np.nan
    first, second = tidy(rate=a), tidy(rate=b).sample(frac=1, random_state=0)
    second = second[second["roi"] != 7]
    (row,) = compare(first, second, paired=True).itertuples()
    steps = np.delete(b - a, [3, 7])
    assert (row.n_a, row.n_b) == (12, 12)
    assert (row.low, row.high) == pytest.approx(tuple(stats.ttest_1samp(steps, 0).confidence_interval()))
    order = np.argsort(np.argsort(np.abs(steps))) + 1
    assert row.effect == pytest.approx((order[steps > 0].sum() - order[steps < 0].sum()) / order.sum())
    assert row.p == pytest.approx(stats.wilcoxon(steps).pvalue)
    assert row.effect_name == "rank-biserial correlation"


def test_effects_run_from_minus_one_to_one_and_ignore_gain():
    low, high = tidy(rate=np.arange(6.0)), tidy(rate=np.arange(6.0) + 10)
    for paired in (False, True):
        assert compare(low, high, paired=paired)["effect"][0] == 1
        assert compare(high, low, paired=paired)["effect"][0] == -1
        same = compare(low, low, paired=paired).iloc[0]
        assert (same["effect"], same["difference"], same["p"]) == (0, 0, 1)
    scaled = compare(tidy(rate=7.3 * np.arange(6)), tidy(rate=7.3 * np.sqrt(np.arange(6))))
    plain = compare(tidy(rate=np.arange(6.0)), tidy(rate=np.sqrt(np.arange(6))))
    np.testing.assert_allclose(scaled[["effect", "p"]], plain[["effect", "p"]])
    np.testing.assert_allclose(scaled[["difference", "low", "high"]], 7.3 * plain[["difference", "low", "high"]])


def test_few_values_give_nan_and_nothing_gives_nothing():
    table = compare(tidy(rate=[], area=[1.0], rise=[1.0, np.nan], interval=[2.0, 2.0]), tidy(area=[2.0], interval=[2.0, 2.0]))
    table = table.set_index("measure")
    assert list(table.index) == ["area", "rise", "interval"]
    assert table.loc["area", ["n_a", "n_b", "difference"]].tolist() == [1, 1, 1]
    assert np.isnan(table[["low", "high"]].to_numpy(dtype=float)).all()  # one value, or no spread: no interval
    assert table.loc["rise", "n_b"] == 0
    assert np.isnan(table.loc["rise", ["value_b", "difference", "effect", "p", "q"]].to_numpy(dtype=float)).all()
    assert table.loc["interval", "p"] == 1
    assert compare(tidy(), tidy()).empty
    assert compare(tidy(rate=[1.0, 2.0]), tidy(), paired=True)["n_a"].tolist() == [0]


def test_q_holds_over_the_measures_that_were_tested():
    rng = np.random.default_rng(2)
    names = [f"m{i}" for i in range(5)]
    a, b = ({name: rng.normal(i * shift, 1, 30) for i, name in enumerate(names)} for shift in (0, 0.4))
    table = compare(tidy(**a, lone=[np.nan]), tidy(**b))
    p = np.sort(table["p"].dropna())
    by_hand = [min(p[j] * 5 / (j + 1) for j in range(i, 5)) for i in range(5)]
    np.testing.assert_allclose(np.sort(table["q"].dropna()), np.minimum(by_hand, 1))
    assert len(table) == 6
    assert np.isnan(adjust(np.full(3, np.nan))).all()


def test_wrong_tables_are_named():
    good = tidy(rate=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"b lacks the columns \['unit'\]"):
        compare(good, good.drop(columns="unit"))
    with pytest.raises(ValueError, match="a must have each measure of a roi once, got rate of roi 0 twice"):
        compare(pd.concat([good, good]), good)
    with pytest.raises(ValueError, match="same units, got rate in 1/min and in Hz"):
        compare(good, good.assign(unit="Hz"))
    with pytest.raises(ValueError, match="confidence must be between 0 and 1, got 95"):
        compare(good, good, confidence=95)
