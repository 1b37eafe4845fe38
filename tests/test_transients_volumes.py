"""Events as volumes: what is measured of a label, and the way back."""

import numpy as np
import pandas as pd
import pytest

from calcium_helpers.containers import Events, Movie
from calcium_helpers.transients.volumes import events_from_label, label_from_events


def two_events() -> tuple[np.ndarray, np.ndarray]:
    """A label with gaps in its numbers and a movie at level 2 where each event has a known course."""
    label = np.zeros((30, 12, 14), dtype=np.uint16)
    movie = np.full(label.shape, 2.0, dtype=np.float32)
    label[10:14, 2:6, 3:8] = 7
    movie[10:14, 2:6, 3:8] += np.array([1, 5, 3, 2], dtype=np.float32)[:, None, None]
    label[0:3, 8:12, 10:14] = 40  # starts the movie, at its corner
    movie[0:3, 8:12, 10:14] += np.array([4, 2, 1], dtype=np.float32)[:, None, None]
    return label, movie


def test_what_is_measured():
    label, movie = two_events()
    events = events_from_label(label, movie, fs=10)
    expected = {
        "roi": [0, 1],
        "onset_s": [0, 1.0],
        "peak_s": [0, 1.1],
        "offset_s": [0.3, 1.4],
        "amplitude": [4, 5],
        "t_frame": [1, 11.5],
        "y_px": [9.5, 3.5],
        "x_px": [11.5, 5],
        "score": [1, 1],
        "n_voxels": [48, 80],
        "label": [40, 7],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(events.table[name], values, atol=1e-6, err_msg=name)
    assert [mask[:3] for mask in events.masks] == [(0, 8, 10), (10, 2, 3)]


def test_any_numbers_will_do():
    label, movie = two_events()
    far = np.where(label == 7, 7, np.where(label == 40, 4_000_000_000, 0)).astype(np.uint32)
    full = np.where(label == 7, 7, np.where(label == 40, 255, 0)).astype(np.uint8)
    for numbers, largest in ((far, 4_000_000_000), (full, 255)):
        table = events_from_label(numbers, movie, fs=10).table
        assert table["label"].tolist() == [largest, 7]
        pd.testing.assert_frame_equal(
            table.drop(columns="label"), events_from_label(label, movie, fs=10).table.drop(columns="label")
        )


def test_times_of_frames_are_used():
    label, movie = two_events()
    times = np.arange(30) * 0.1 + 3
    table = events_from_label(label, Movie(movie, fs=10, times_s=times)).table
    np.testing.assert_allclose(table[["onset_s", "peak_s", "offset_s"]], [[3, 3, 3.3], [4, 4.1, 4.4]])


def test_scores_are_means_of_the_probability():
    label, movie = two_events()
    probability = np.where(label == 7, 0.75, 0.25).astype(np.float32)
    probability[10, 2:6, 3:8] = 0.25
    assert events_from_label(label, movie, fs=10, probability=probability).table["score"].tolist() == [0.25, 0.625]


def test_pixels_without_a_value_are_left_out():
    label, movie = two_events()
    movie[:, 2, :] = np.nan
    movie[:, 8:, 10:] = np.nan
    table = events_from_label(label, movie, fs=10).table
    assert np.isnan(table["amplitude"][0])
    assert table["amplitude"][1] == pytest.approx(5)
    assert table["peak_s"].tolist() == [0, 1.1]


def test_labels_come_back():
    rng = np.random.default_rng(0)
    label = np.kron(rng.permutation(np.arange(64)).reshape(4, 4, 4), np.ones((3, 4, 5), dtype=int)).astype(np.uint32)
    label[rng.random(label.shape) < 0.2] = 0
    events = events_from_label(label, np.zeros(label.shape), fs=5)
    back = label_from_events(events, label.shape)
    assert len(events) == 63
    assert back.dtype == np.uint32
    np.testing.assert_array_equal(np.append(0, events.table["label"])[back], label)


def test_the_higher_score_keeps_a_shared_voxel():
    table = pd.DataFrame({"roi": [0, 1], "onset_s": [0.0, 1], "peak_s": [0.0, 1], "offset_s": [1.0, 2], "amplitude": 1.0})
    masks = ((0, 0, 0, np.ones((2, 2, 2), bool)), (1, 0, 0, np.ones((2, 2, 2), bool)))
    for scores, kept in ([0.2, 0.9], 2), ([0.9, 0.2], 1), ([0.5, 0.5], 1):
        assert label_from_events(Events(table.assign(score=scores), masks), (3, 2, 2))[1, 0, 0] == kept
    assert label_from_events(Events(table, masks), (3, 2, 2))[1, 0, 0] == 1


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 5), (9, 1, 3)])
def test_no_events_and_events_that_fill_all(shape):
    none = events_from_label(np.zeros(shape, dtype=int), np.zeros(shape), fs=1)
    assert len(none) == 0
    assert none.masks == ()
    assert not label_from_events(none, shape).any()
    full = events_from_label(np.ones(shape, dtype=int), np.full(shape, 3.0), fs=1)
    assert full.table["amplitude"].tolist() == [3]
    assert full.table["n_voxels"].tolist() == [np.prod(shape)]


def test_thousands_of_events_in_chunks(monkeypatch):
    """The same in chunks of a few frames as in one piece."""
    rng = np.random.default_rng(1)
    label = np.kron(np.arange(4000).reshape(40, 10, 10), np.ones((4, 5, 5), dtype=int))
    movie = rng.normal(size=label.shape).astype(np.float32)
    whole = events_from_label(label, movie, fs=10).table
    monkeypatch.setattr("calcium_helpers.movie.CHUNK_BYTES", 4 * 50 * 50 * 7)
    pd.testing.assert_frame_equal(events_from_label(label, movie, fs=10).table, whole)
    assert len(whole) == 3999


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"label": np.zeros((3, 4))}, ValueError, "T, H, W"),
        ({"label": np.zeros((3, 4, 5))}, TypeError, "whole numbers"),
        ({"label": np.full((3, 4, 5), -1)}, ValueError, "above 0"),
        ({"label": np.zeros((4, 4, 5), int)}, ValueError, r"movie must have the label's shape \(4, 4, 5\)"),
        ({"probability": np.zeros((3, 4, 6))}, ValueError, "probability must have"),
        ({"fs": None}, ValueError, "fs must be given"),
    ],
)
def test_what_cannot_be_measured(change, error, text):
    given = {"label": np.zeros((3, 4, 5), int), "movie": np.zeros((3, 4, 5)), "fs": 10.0} | change
    with pytest.raises(error, match=text):
        events_from_label(given.pop("label"), given.pop("movie"), **given)


def test_what_cannot_be_drawn():
    label, movie = two_events()
    events = events_from_label(label, movie, fs=10)
    with pytest.raises(ValueError, match="inside shape"):
        label_from_events(events, (12, 12, 14))
    with pytest.raises(ValueError, match="masks"):
        label_from_events(events.replace(masks=None), label.shape)
