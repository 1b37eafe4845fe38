"""Checks that a summary puts into words: frames that stopped matching the template, cells that dip."""

import numpy as np
import pytest
from scipy.signal import lfilter

from calcium_helpers.cell_summary import find_dipping
from calcium_helpers.containers import Shifts, Traces
from calcium_helpers.pipeline.summary import find_poor_match


def matching(correlation):
    correlation = np.asarray(correlation, dtype=float)
    return Shifts(np.zeros((len(correlation), 2)), np.zeros((8, 9)), (0, 8, 0, 9), correlation)


@pytest.mark.parametrize("fs", [0.5, 7.0, 30.0])
@pytest.mark.parametrize("level", [0.3, 0.95])
def test_a_long_fall_of_the_match_is_found_where_it_is(fs, level):
    times = np.arange(round(120 * fs)) / fs
    correlation = level * (1 + np.random.default_rng(0).normal(0, 0.1, times.size))
    fallen = (times >= 40) & (times < 60)
    assert find_poor_match(matching(correlation), fs) == []
    ((start, stop),) = find_poor_match(matching(np.where(fallen, 0.6 * correlation, correlation)), fs)
    assert (start, stop) == pytest.approx((40, 60), abs=2 / fs + 0.6)


def test_single_bad_frames_and_short_dips_of_the_match_are_no_fall():
    correlation = np.full(600, 0.7)
    correlation[::50] = 0.1
    correlation[300:308] = 0.2
    assert find_poor_match(matching(correlation), 10.0) == []
    assert find_poor_match(matching([0.5]), 10.0) == []
    assert find_poor_match(matching([0.5]).replace(correlation=None), 10.0) == []


def test_cells_that_dip_are_named_and_silent_ones_are_not():
    rng = np.random.default_rng(0)
    calcium = lfilter([1], [1, -0.9], rng.random((60, 3000)) < 0.003, axis=1)
    dff = rng.normal(0, 0.1, (60, 3000)) + np.where(np.arange(60) < 40, 1, 0)[:, None] * calcium
    dff[[3, 17]] *= -1
    traces = Traces(dff, 10.0, "dff", np.arange(60) + 100)
    assert find_dipping(traces).tolist() == [103, 117]
    assert find_dipping(traces.replace(values=7 * dff)).tolist() == [103, 117]
    assert find_dipping(traces.select(np.zeros(60, bool))).tolist() == []
    assert find_dipping(Traces(np.zeros((2, 1)), 10.0, "dff")).tolist() == []
