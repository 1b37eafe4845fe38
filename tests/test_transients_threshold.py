"""The classical detector: on events put into noise, on bleaching, with missing data, and against the simulator's truth."""

import numpy as np
import pytest

from calcium_helpers.containers import Movie
from calcium_helpers.metrics import detection_curve, match_events
from calcium_helpers.transients.threshold import detect_by_threshold
from calcium_helpers.transients.volumes import events_from_label

PLACES = [(15, 10, 10), (40, 30, 12), (70, 12, 32), (95, 30, 30)]


def noisy_movie(*, seed=0, size=40, n_frames=120, height=6.0, bleach=0.0):
    """Gaussian spots that decay, in white noise of 1 on a level that falls; and the voxels above a quarter of the peak."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    after = np.arange(n_frames)[:, None, None]
    clean = np.zeros((n_frames, size, size))
    label = np.zeros(clean.shape, dtype=np.uint16)
    for number, (t0, y0, x0) in enumerate(PLACES, start=1):
        course = np.where(after >= t0, np.exp(-(after - t0) / 4.0), 0)
        event = height * course * np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / (2 * 2.0**2))
        label[event > height / 4] = number
        clean += event
    level = 100 - bleach * (1 - np.exp(-after / 60.0))
    return (level + clean + rng.normal(size=clean.shape)).astype(np.float32), label


@pytest.mark.parametrize("bleach", [0.0, 4.0])
def test_events_in_noise_are_found_where_they_are(bleach):
    values, label = noisy_movie(bleach=bleach)
    movie = Movie(values, fs=10)
    truth = events_from_label(label, movie)
    found = detect_by_threshold(movie, threshold=7.0, baseline_s=4)
    matching = match_events(found, truth, radius=(5, 3, 3))
    assert matching.recall == 1
    assert matching.precision >= 0.8
    assert detection_curve(found, truth, iou=0.2).average_precision >= 0.7
    assert (found.table["score"] >= 3.5).all()


def test_noise_alone_has_hardly_an_event():
    values = np.random.default_rng(1).normal(size=(120, 40, 40)).astype(np.float32)
    assert len(detect_by_threshold(Movie(values, fs=10), threshold=7.0)) == 0


def test_small_ones_are_left_out():
    values, _ = noisy_movie()
    movie = Movie(values, fs=10)
    sizes = [(2, 3, 3), (4, 5, 5), (30, 5, 5)]
    found = [detect_by_threshold(movie, threshold=6.0, min_size=size) for size in sizes]
    for events, size in zip(found, sizes, strict=True):
        assert all((np.array(mask[3].shape) >= size).all() for mask in events.masks)
    assert len(found[0]) >= len(found[1]) > len(found[2]) == 0


def test_large_ones_are_no_events():
    values, _ = noisy_movie()
    values[20:30] += 5.0  # the whole field
    found = detect_by_threshold(Movie(values, fs=10), threshold=7.0, max_size=(50, 20, 20))
    assert 1 <= len(found) <= 4
    assert all(max(mask[3].shape[1:]) <= 20 for mask in found.masks)
    assert not any(t + mask.shape[0] > 21 and t < 29 for t, _, _, mask in found.masks)


def test_a_second_round_finds_more_of_what_fires_often():
    """A pixel that is up for a third of the time has its noise and baseline overestimated at first."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(200, 20, 20)).astype(np.float32)
    for start in range(5, 200, 15):
        values[start : start + 6, 8:13, 8:13] += 4
    movie = Movie(values, fs=10)
    once, often = (detect_by_threshold(movie, threshold=3.0, max_rounds=n) for n in (1, 4))
    voxels = [events.table["n_voxels"].sum() for events in (once, often)]
    assert voxels[1] > voxels[0]
    assert often.table["score"].mean() > once.table["score"].mean()


def test_missing_frames_and_pixels_make_no_events():
    values, label = noisy_movie()
    values[50:60] = np.nan
    values[:, :4] = np.nan
    movie = Movie(values, fs=10)
    found = detect_by_threshold(movie, threshold=7.0)
    assert match_events(found, events_from_label(label, movie), radius=(5, 3, 3)).recall == 1
    assert not any(
        np.isnan(values[t : t + m.shape[0], y : y + m.shape[1], x : x + m.shape[2]][m]).any() for t, y, x, m in found.masks
    )


@pytest.mark.parametrize("values", [np.full((30, 8, 8), 7.0), np.ones((1, 8, 8)), np.full((10, 5, 5), np.nan)])
def test_nothing_to_see(values):
    assert len(detect_by_threshold(Movie(values, fs=10))) == 0


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"threshold": 0}, "threshold must"),
        ({"grow": 0}, "grow must"),
        ({"baseline_s": -1}, "baseline_s must"),
        ({"smooth": (1, 1)}, "smooth must be three"),
        ({"min_size": (-1, 1, 1)}, "min_size must be three"),
        ({"max_rounds": 0}, "max_rounds"),
    ],
)
def test_parameters_out_of_range(parameters, says):
    with pytest.raises(ValueError, match=says):
        detect_by_threshold(Movie(np.zeros((5, 5, 5)), fs=10), **parameters)
