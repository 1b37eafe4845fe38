from itertools import permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from calcium_helpers.containers import Footprints, Shifts, Traces
from calcium_helpers.indicators import INDICATORS, Indicator, get_indicator
from calcium_helpers.metrics import (
    field_rms,
    match_footprints,
    match_points,
    psnr,
    rigid_rms,
    spike_correlation,
    trace_correlation,
)


def discs(centres, radius=4.0, shape=(40, 50)):
    y, x = np.indices(shape)
    return np.array([((y - cy) ** 2 + (x - cx) ** 2 <= radius**2) for cy, cx in centres], dtype=float).reshape(-1, *shape)


def brute_force(score, least):
    """Most pairs, then greatest total score, by trying every assignment."""
    if score.shape[0] > score.shape[1]:
        n, total = brute_force(score.T, least)
        return n, total
    best = (0, 0.0)
    for columns in permutations(range(score.shape[1]), score.shape[0]):
        values = score[np.arange(score.shape[0]), list(columns)]
        values = values[values >= least]
        best = max(best, (len(values), round(float(values.sum()), 9)))
    return best


@pytest.mark.parametrize("seed", range(8))
def test_footprints_match_as_brute_force_does(seed):
    rng = np.random.default_rng(seed)
    sides = [discs(rng.uniform(14, 22, size=(n, 2)), radius=6) for n in (5, 6)]
    union = (sides[0][:, None] + sides[1][None]) > 0
    iou = np.einsum("ahw,bhw->ab", *sides) / union.sum(axis=(2, 3))
    matching = match_footprints(*map(Footprints.from_images, sides), iou=0.4)
    n, total = brute_force(iou, 0.4)
    assert n > 1
    assert len(matching.pairs) == n
    assert_allclose(matching.scores.sum(), total, rtol=1e-9)
    assert_allclose(iou[tuple(matching.pairs.T)], matching.scores)
    assert len(set(matching.pairs[:, 0])) == len(set(matching.pairs[:, 1])) == n


def test_perfect_match_ignores_order_and_faint_skirts():
    images = discs([(8, 8), (20, 30), (30, 12)])
    skirts = images + 0.1 * discs([(8, 8), (20, 30), (30, 12)], radius=7)
    matching = match_footprints(Footprints.from_images(skirts[[2, 0, 1]]), Footprints.from_images(images))
    assert_array_equal(matching.pairs, [[1, 0], [2, 1], [0, 2]])
    assert (matching.precision, matching.recall, matching.f1) == (1, 1, 1)
    assert_allclose(matching.scores, 1)
    whole = match_footprints(Footprints.from_images(skirts), Footprints.from_images(images), found_level=0.0)
    assert whole.f1 == 0


def test_counts_of_partial_and_empty_matchings():
    truth = Footprints.from_images(discs([(8, 8), (20, 30), (30, 12)]))
    found = Footprints.from_images(discs([(8, 9), (35, 40)]))
    none = Footprints.from_images(np.zeros((0, 40, 50)))
    matching = match_footprints(found, truth)
    assert (matching.precision, matching.recall, matching.f1) == (1 / 2, 1 / 3, 2 / 5)
    missed, invented, nothing = match_footprints(none, truth), match_footprints(found, none), match_footprints(none, none)
    assert (missed.precision, missed.recall, missed.f1) == (1, 0, 0)
    assert (invented.precision, invented.recall, invented.f1) == (0, 1, 0)
    assert nothing.f1 == 1
    assert nothing.pairs.shape == (0, 2)


def test_footprints_of_another_field_or_level_are_refused():
    a, b = Footprints.from_images(discs([(8, 8)])), Footprints.from_images(discs([(8, 8)], shape=(40, 40)))
    with pytest.raises(ValueError, match=r"same field.*\(40, 50\)"):
        match_footprints(a, b)
    with pytest.raises(ValueError, match="found_level"):
        match_footprints(a, a, found_level=1.0)
    with pytest.raises(ValueError, match="iou"):
        match_footprints(a, a, iou=0)


@pytest.mark.parametrize("seed", range(5))
def test_points_match_as_brute_force_does(seed):
    rng = np.random.default_rng(seed)
    found, truth = rng.uniform(0, 12, (5, 2)), rng.uniform(0, 12, (6, 2))
    distance = np.linalg.norm(found[:, None] - truth[None], axis=2)
    matching = match_points(found, truth, max_distance_px=5)
    n, closeness = brute_force(1 - distance / 5, 0)
    assert len(matching.pairs) == n
    assert_allclose((1 - matching.scores / 5).sum(), closeness)
    assert_allclose(distance[tuple(matching.pairs.T)], matching.scores)


def test_one_point_is_matched_once():
    matching = match_points(np.array([[0.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 0.4]]), max_distance_px=3)
    assert_array_equal(matching.pairs, [[0, 0]])
    assert match_points(np.zeros((0, 2)), np.ones((2, 2)), max_distance_px=1).recall == 0
    with pytest.raises(ValueError, match="truth_yx"):
        match_points(np.zeros((1, 2)), np.ones((2, 3)), max_distance_px=1)


def test_trace_correlation_counts_a_missed_cell_as_zero_and_leaves_out_a_silent_one():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 200))
    values[3] = 0
    truth = Traces(values, 10, "dff")
    found = Traces(3 * values[[1, 0]] + 7, 10, "raw")
    matching = match_points(np.array([[1, 1], [0, 0]]), np.array([[0, 0], [1, 1], [50, 50], [90, 90]]), max_distance_px=1)
    score = trace_correlation(found, truth, matching)
    assert_allclose(score.per_cell, [1, 1, 0, np.nan], atol=1e-6)
    assert_allclose([score.all, score.matched], [2 / 3, 1], atol=1e-6)
    with pytest.raises(ValueError, match="2 found and 4 true"):
        trace_correlation(truth, truth, matching)
    with pytest.raises(ValueError, match="rate and length"):
        trace_correlation(found.replace(fs=20), truth, matching)


def test_spike_correlation_needs_the_true_lag():
    rng = np.random.default_rng(1)
    spikes = rng.poisson(0.1, size=(3, 500)).astype(float)
    truth, late = Traces(spikes, 20, "spikes"), Traces(np.roll(spikes, 4, axis=1), 20, "spikes")
    assert abs(spike_correlation(late, truth).all) < 0.2
    assert_allclose(spike_correlation(late, truth, lag_s=0.2).all, 1, atol=1e-6)
    assert_allclose(spike_correlation(truth, late, lag_s=-0.2).all, 1, atol=1e-6)
    assert spike_correlation(late, truth, bin_s=1.0).all > 0.7
    with pytest.raises(ValueError, match="lag_s"):
        spike_correlation(late, truth, lag_s=30)


def test_scores_of_no_cell_are_nan():
    none = Traces(np.zeros((0, 5)), 1, "spikes")
    assert np.isnan(spike_correlation(none, none).all)


def shifts_from(yx, shape=(64, 96)):
    return Shifts(yx, np.zeros(shape), (0, *shape[:1], 0, *shape[1:]))


def test_rigid_rms_forgives_a_constant_offset_only():
    rng = np.random.default_rng(2)
    true = rng.normal(size=(400, 2))
    assert rigid_rms(shifts_from(true + np.array([3, -2])), shifts_from(true)) == pytest.approx(0, abs=1e-5)
    noisy = true + rng.normal(scale=0.3, size=true.shape)
    assert rigid_rms(shifts_from(noisy), shifts_from(true)) == pytest.approx(0.3 * np.sqrt(2), rel=0.1)
    with pytest.raises(ValueError, match="same movie"):
        rigid_rms(shifts_from(true[1:]), shifts_from(true))


def test_field_rms_sees_what_a_rigid_estimate_misses():
    frames, gy, gx = 5, 4, 6
    slope = np.linspace(-1, 1, gx)
    field = np.zeros((frames, gy, gx, 2))
    field[..., 1] = slope
    rigid = shifts_from(np.zeros((frames, 2)))
    assert rigid_rms(rigid, shifts_from(field)) == pytest.approx(0, abs=1e-5)
    points = np.linspace(0, 95, 18)[1:-1]
    expected = np.interp(points, (np.arange(gx) + 0.5) * 96 / gx - 0.5, slope)
    assert field_rms(rigid, shifts_from(field)) == pytest.approx(np.sqrt(np.mean(expected**2)), rel=1e-4)
    assert field_rms(shifts_from(field), shifts_from(field)) == 0


def test_shifts_between_block_centres_are_bilinear_and_constant_outside():
    rng = np.random.default_rng(3)
    shifts = shifts_from(rng.normal(size=(3, 2, 3, 2)), shape=(40, 60))
    centre_y, centre_x = [9.5, 29.5], [9.5, 29.5, 49.5]
    assert_allclose(shifts.at([[centre_y[1], centre_x[2]]])[:, 0], shifts.yx[:, 1, 2], atol=1e-6)
    assert_allclose(shifts.at([[19.5, 9.5]])[:, 0], shifts.yx[:, :, 0].mean(axis=1), atol=1e-6)
    assert_allclose(shifts.at([[0, 0]])[:, 0], shifts.yx[:, 0, 0], atol=1e-6)
    rigid = shifts_from(rng.normal(size=(3, 2)))
    assert_allclose(rigid.at([[5, 6], [7, 8]]), rigid.yx[:, None].repeat(2, axis=1), atol=1e-6)
    with pytest.raises(ValueError, match="points_yx"):
        rigid.at([1, 2])


def test_psnr_of_known_noise():
    rng = np.random.default_rng(4)
    reference = rng.uniform(0, 1, size=(200, 200))
    noisy = reference + rng.normal(scale=0.1, size=reference.shape)
    assert psnr(noisy, reference) == pytest.approx(20, abs=0.1)
    assert psnr(reference, reference) == np.inf
    with pytest.raises(ValueError, match="constant"):
        psnr(noisy, np.ones_like(noisy))


def test_indicators_answer_with_their_stated_peak():
    for indicator in INDICATORS.values():
        times = np.linspace(-1, 5, 60001)
        response = indicator.response(times)
        assert response.max() == pytest.approx(indicator.dff_per_spike, rel=1e-4)
        assert times[response.argmax()] == pytest.approx(indicator.peak_s, abs=2e-4)
        assert (response[times < 0] == 0).all()
        assert "doi:" in indicator.source


def test_indicator_lookup_and_checks():
    assert get_indicator("JGCAMP8M") is INDICATORS["jGCaMP8m"]
    with pytest.raises(ValueError, match=r"GCaMP6f.*got 'GCaMP9'"):
        get_indicator("GCaMP9")
    with pytest.raises(ValueError, match="below decay_s"):
        Indicator("slow", 1.0, 0.5, 0.1, "none")
