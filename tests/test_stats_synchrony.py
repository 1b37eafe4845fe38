import numpy as np
import pandas as pd
import pytest

from calcium_helpers.containers import Events
from calcium_helpers.stats import find_synchrony

DURATION_S = 200.0


def draw_events(seed=0, n=40, rate_hz=0.1, planted=(), share=0.4):
    rng = np.random.default_rng(seed)
    onsets = [rng.uniform(0, DURATION_S, rng.poisson(rate_hz * DURATION_S)) for _ in range(n)]
    for time in planted:
        for cell in rng.choice(n, int(share * n), replace=False):
            onsets[cell] = np.append(onsets[cell], time + rng.uniform(-0.1, 0.1))
    onset = np.concatenate([np.zeros(0), *onsets])
    roi = np.repeat(np.arange(n), [len(own) for own in onsets])
    return Events(pd.DataFrame({"roi": roi, "onset_s": onset, "peak_s": onset, "offset_s": onset + 1, "amplitude": 1.0}))


def find(events, n=40, **options):
    return find_synchrony(events, **{"ids": np.arange(n), "duration_s": DURATION_S, **options})


def test_planted_events_are_found_when_they_were():
    planted = [20.0, 80.0, 150.0]
    found = find(draw_events(planted=planted))
    assert len(found.table) == 3
    np.testing.assert_allclose(found.table["peak_s"], planted, atol=0.3)
    assert (found.table["onset_s"] <= found.table["peak_s"]).all()
    assert (found.table["peak_s"] <= found.table["offset_s"]).all()
    assert found.table["n_cells"].between(16, 22).all()
    np.testing.assert_allclose(found.table["share"], found.table["n_cells"] / 40)
    assert (found.table["p"] <= 0.05).all()


def test_counts_are_those_of_a_sliding_window():
    events = draw_events(3, n=10, rate_hz=0.5)
    found = find(events, n=10, n_shuffles=20)
    step = 0.1
    for k in range(5, len(found.times_s) - 5, 37):
        inside = ((events.table["onset_s"] // step).between(k - 4, k)).to_numpy()
        assert found.n_active[k] == events.table["roi"][inside].nunique()
        assert found.times_s[k] == pytest.approx((k - 1.5) * step)
    assert found.expected == pytest.approx(10 * (1 - np.exp(-0.5 * 0.5)), rel=0.1)


def test_any_false_event_is_as_rare_as_stated():
    wrong = [len(find(draw_events(seed), alpha=0.2, n_shuffles=99, seed=seed).table) > 0 for seed in range(60)]
    assert sum(wrong) <= 21  # 12 are expected at most; beyond 21 with a chance of 0.4 %


def test_each_cell_keeps_its_own_rhythm():
    """A cell that is always active makes no synchrony, however often it is."""
    onset = np.arange(0, DURATION_S, 0.3)
    events = Events(pd.DataFrame({"roi": 0, "onset_s": onset, "peak_s": onset, "offset_s": onset, "amplitude": 1.0}))
    found = find(events, n=5)
    assert found.n_active.max() == 1
    assert found.threshold == 2
    assert found.table.empty


def test_the_seed_decides_and_nothing_else():
    first, second = (find(draw_events(planted=[50.0]), n_shuffles=50, seed=1) for _ in range(2))
    pd.testing.assert_frame_equal(first.table, second.table)
    assert first.threshold == second.threshold


def test_no_events_and_no_cells():
    for n in (0, 1, 3):
        found = find(draw_events(n=n, rate_hz=0.0), n=n)
        assert not found.n_active.any()
        assert list(found.table) == ["onset_s", "peak_s", "offset_s", "n_cells", "share", "p"]
        assert found.table.empty
        assert (found.threshold, found.expected) == (1, 0)


def test_what_is_outside_is_said():
    events = draw_events()
    with pytest.raises(ValueError, match="duration_s"):
        find(events, duration_s=10.0)
    with pytest.raises(ValueError, match="n_shuffles"):
        find(events, n_shuffles=5)
    with pytest.raises(ValueError, match="ids must be unique"):
        find_synchrony(events, ids=np.array([1, 1]), duration_s=DURATION_S)
