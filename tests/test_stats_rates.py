"""Rates, intervals and kinetics against formulas, brute force and known answers; how often intervals hold is in benchmarks."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import brentq

from benchmarks.known_answers import activity
from calcium_helpers.containers import Events
from calcium_helpers.stats import measure_cells, measure_groups


def make_events(trains, **columns):
    onset = np.concatenate([*trains, []])
    roi = np.repeat(np.arange(len(trains)), [len(train) for train in trains])
    columns = {"amplitude": np.ones(len(onset)), **columns}
    return Events(pd.DataFrame({"roi": roi, "onset_s": onset, "peak_s": onset, "offset_s": onset, **columns}))


def random_trains(n_cells=12, rate=0.05, duration_s=600, seed=0):
    rng = np.random.default_rng(seed)
    return [np.sort(rng.uniform(0, duration_s, rng.poisson(rate * duration_s))) for _ in range(n_cells)]


def one(table, roi, measure):
    return table[(table["roi"] == roi) & (table["measure"] == measure)].iloc[0]


def test_values_are_those_of_the_events():
    events = make_events([[1, 2, 4, 8, 16, 32], [5]], amplitude=[1, 2, 3, 4, 5, 6, 9.0], rise_s=[1, 1, 1, 1, 1, np.nan, 2])
    table = measure_cells(events, ids=[0, 1, 7], duration_s=120)
    assert one(table, 0, "rate").value == pytest.approx(3)
    assert one(table, 0, "interval").value == pytest.approx(31 / 5)
    assert one(table, 0, "interval_cv").value == pytest.approx(np.std([1, 2, 4, 8, 16], ddof=1) / 6.2)
    assert one(table, 0, "amplitude").value == pytest.approx(3.5)
    assert one(table, 0, "rise").n == 5
    assert one(table, 1, "interval").n == 0
    assert np.isnan(one(table, 1, "interval").value)
    assert list(table["roi"].unique()) == [0, 1, 7]
    assert "area" not in set(table["measure"])
    assert one(table, 0, "rate").unit == "1/min"


def poisson_interval(n):
    """Means under which n or more, or n or fewer, counts are as rare as 2.5 %, found by bisection of the tails."""
    high = brentq(lambda mean: stats.poisson.cdf(n, mean) - 0.025, n, 10 * n + 20)
    return (brentq(lambda mean: stats.poisson.sf(n - 1, mean) - 0.025, 1e-9, n + 1) if n else 0.0), high


@pytest.mark.parametrize("n", [0, 8, 40])
def test_even_trains_have_the_exact_interval_of_poisson(n):
    row = one(measure_cells(make_events([(np.arange(n) + 0.5) * 600 / max(n, 1)]), ids=[0], duration_s=600), 0, "rate")
    assert (row.low * 10, row.high * 10) == pytest.approx(poisson_interval(n), rel=1e-6)


def test_bursts_make_intervals_wider():
    even = (np.arange(40) + 0.5) * 15
    bursts = np.sort(np.repeat(np.random.default_rng(1).uniform(0, 590, 8), 5) + np.tile(np.arange(5), 8))
    table = measure_cells(make_events([even]), ids=[0], duration_s=600)
    bursty = measure_cells(make_events([bursts]), ids=[0], duration_s=600)
    for measure in ("rate", "interval"):
        narrow, wide = one(table, 0, measure), one(bursty, 0, measure)
        assert np.log(wide.high / wide.low) > 1.5 * np.log(narrow.high / narrow.low)


def test_what_the_data_cannot_carry_is_nan():
    lone = measure_cells(make_events([[100, 101, 102, 103.0]]), ids=[0], duration_s=600)  # a single burst
    assert np.isnan(one(lone, 0, "rate")[["low", "high"]].astype(float)).all()
    assert one(lone, 0, "rate").value == pytest.approx(0.4)
    assert np.isnan(one(lone, 0, "amplitude").low)
    silent = one(measure_cells(make_events([]), ids=[5], duration_s=600), 5, "rate")
    assert (silent.value, silent.low) == (0, 0)
    assert silent.high == pytest.approx(-np.log(0.025) / 10)


def test_no_cell_and_no_event():
    assert len(measure_cells(make_events([]), ids=[], duration_s=10)) == 0
    assert len(measure_groups(measure_cells(make_events([]), ids=[], duration_s=10))) == 0
    table = measure_cells(make_events([]), ids=[3, 1], duration_s=10)
    assert table.loc[table["measure"] != "rate", ["value", "low", "high"]].isna().all(axis=None)


def test_gain_order_and_other_cells_do_not_matter():
    trains = random_trains()
    amplitude = np.random.default_rng(2).lognormal(size=sum(map(len, trains)))
    table = measure_cells(make_events(trains, amplitude=amplitude), ids=range(12), duration_s=600)
    double = measure_cells(make_events(trains, amplitude=amplitude * 20), ids=range(12), duration_s=600)
    strong = table["measure"] == "amplitude"
    numbers = ["value", "low", "high"]
    np.testing.assert_allclose(double.loc[strong, numbers], 20 * table.loc[strong, numbers])
    pd.testing.assert_frame_equal(double[~strong], table[~strong])
    alone = measure_cells(make_events(trains, amplitude=amplitude), ids=[7], duration_s=600)
    np.testing.assert_allclose(
        one(alone, 7, "amplitude")[numbers].astype(float), one(table, 7, "amplitude")[numbers].astype(float)
    )
    again = measure_cells(make_events(trains, amplitude=amplitude), ids=range(12), duration_s=600)
    pd.testing.assert_frame_equal(again, table)


def test_a_higher_confidence_is_wider():
    events = make_events(random_trains())
    width = [
        measure_cells(events, ids=range(12), duration_s=600, confidence=confidence).eval("high - low")
        for confidence in (0.8, 0.95, 0.99)
    ]
    known = width[1] > 0
    assert (width[0][known] < width[1][known]).all()
    assert (width[1][known] < width[2][known]).all()


def test_means_of_many_normal_values_have_the_interval_of_student():
    values = np.random.default_rng(3).normal(10, 1, 400)
    table = measure_groups(pd.DataFrame({"roi": range(400), "measure": "x", "unit": "1", "value": values}))
    expected = stats.t.interval(0.95, 399, values.mean(), stats.sem(values))
    np.testing.assert_allclose(table[["low", "high"]].to_numpy()[0], expected, atol=0.005)


def test_resampled_intervals_agree_with_plain_resampling():
    """Draw, studentise, take quantiles, without products of matrices."""
    values = np.random.default_rng(4).lognormal(size=60)
    table = measure_groups(pd.DataFrame({"roi": range(60), "measure": "x", "unit": "1", "value": values}))
    drawn = np.random.default_rng(5).choice(values, (20_000, 60))
    t = (drawn.mean(axis=1) - values.mean()) / stats.sem(drawn, axis=1)
    tail = stats.norm.sf(1.959964 * np.sqrt(60 / 59))
    low, high = values.mean() - np.quantile(t, [1 - tail, tail]) * stats.sem(values) * (1 + 0.4 / np.sqrt(60))
    assert table["low"][0] == pytest.approx(low, rel=0.03)
    assert table["high"][0] == pytest.approx(high, rel=0.03)


def test_groups_are_means_over_cells():
    cells = measure_cells(make_events(random_trains()), ids=range(12), duration_s=600)
    groups = measure_groups(cells, groups={roi: "left" if roi < 8 else "right" for roi in range(11)})
    left = groups[(groups["group"] == "left") & (groups["measure"] == "rate")].iloc[0]
    rates = cells.loc[(cells["measure"] == "rate") & (cells["roi"] < 8), "value"]
    assert (left["n"], left["value"]) == (8, pytest.approx(rates.mean()))
    assert left["low"] < left["value"] < left["high"]
    right = groups[(groups["group"] == "right") & (groups["measure"] == "rate")].iloc[0]
    assert right["n"] == 3
    assert np.isnan(right["low"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"duration_s": 20}, "between 0 s and duration_s of 20 s"),
        ({"duration_s": 0}, "duration_s must be"),
        ({"confidence": 95}, "confidence must lie between 0 and 1"),
        ({"ids": [0, 0]}, "unique"),
    ],
)
def test_errors_say_what_is_wrong(change, message):
    with pytest.raises(ValueError, match=message):
        measure_cells(make_events([[1, 30.0]]), **{"ids": [0], "duration_s": 60, **change})


@pytest.mark.parametrize("train", ["Poisson", "regular", "bursts"])
def test_rates_hold_the_truth_as_often_as_they_say(train):
    """A short form of the benchmark: 20 recordings of 12 cells."""
    held = np.concatenate([activity.cover_cells(seed, train=train, n=20, measure="rate") for seed in range(20)])
    assert held.mean() > 0.92


def test_of_few_cells_that_are_mostly_equal_no_interval_is_given():
    """Four cells with one event and a silent one: resamples of equal cells would make the interval endless."""
    events = make_events([[10.0], [20.0], [30.0], [15.0], []])
    cells = measure_cells(events, ids=np.arange(5), duration_s=40.0)
    rate = measure_groups(cells).set_index("measure").loc["rate"]
    assert rate["value"] == pytest.approx(1.2)
    assert np.isnan([rate["low"], rate["high"]]).all()


def test_what_is_never_negative_has_no_negative_bound():
    values = np.random.default_rng(6).lognormal(sigma=1.5, size=(200, 5))
    table = pd.DataFrame({"roi": range(1000), "measure": "x", "unit": "s", "value": values.ravel()})
    low = measure_groups(table, groups=dict(enumerate(np.repeat(np.arange(200).astype(str), 5))))["low"]
    assert (low >= 0).all()
    assert (low == 0).any()
    whole, below = (measure_groups(table.assign(value=table["value"] - shift))["low"][0] for shift in (0, 9))
    assert below == pytest.approx(whole - 9)
    assert below < 0
