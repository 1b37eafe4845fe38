"""Measures of events whose truth is known by construction."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from skimage import measure

from calcium_helpers.containers import Events, Movie
from calcium_helpers.transients.features import FEATURES, measure_events
from calcium_helpers.transients.volumes import events_from_label


def one_event(area, *, course, start=10, corner=(5, 6), n_frames=40, size=30, level=3.0):
    """A movie with one event of the given pixels and course, and it as Events."""
    label = np.zeros((n_frames, size, size), dtype=np.uint16)
    values = np.full(label.shape, level)
    box = (
        slice(start, start + len(course)),
        slice(corner[0], corner[0] + area.shape[0]),
        slice(corner[1], corner[1] + area.shape[1]),
    )
    label[box] = area
    values[box] += np.asarray(course, dtype=float)[:, None, None] * area
    movie = Movie(values, fs=10, pixel_um=0.5)
    return events_from_label(label, movie), movie


def test_a_rectangle():
    events, movie = one_event(np.ones((4, 8), dtype=int), course=[2, 4, 3, 1])
    row = measure_events(events, movie).iloc[0]
    assert row["area_px"] == 32
    assert row["area_um2"] == pytest.approx(8)
    assert row["duration_s"] == pytest.approx(0.4)
    assert row["intensity_mean"] == pytest.approx(2.5)
    assert row["intensity_max"] == pytest.approx(4)
    assert row["intensity_integrated"] == pytest.approx(2.5 * 32 * 4 / 10)
    assert row["rise_s"] == pytest.approx(0.1)  # half the peak is the frame before
    assert row["decay_s"] == pytest.approx(0.15)
    assert row["aspect"] == pytest.approx(2)
    assert row["solidity"] == pytest.approx(1)
    assert row["extent"] == pytest.approx(1)
    assert row[["t_frame", "y_px", "x_px"]].tolist() == [11.5, 6.5, 9.5]
    assert not row["at_edge"]
    assert not row["at_end"]
    assert np.isnan(row["nearest_px"])


def test_shapes_are_told_apart():
    y, x = np.mgrid[-8:9, -8:9]
    disc, ell = (y**2 + x**2 <= 49).astype(int), ((y > 4) | (x < -4)).astype(int)
    oblique = ((y + x) ** 2 / 8**2 + (y - x) ** 2 / 4**2 <= 2).astype(int)
    for area, aspect, solidity, extent in [
        (disc, 1.0, 1.0, np.pi * 7**2 / 15**2),
        (oblique[2:-2, 2:-2], 2.0, 1.0, np.pi * 8 * 4 / 13**2),
        (ell, None, 120 / 204.5, 120 / 17**2),
    ]:
        row = measure_events(*one_event(area, course=[1, 2])).iloc[0]
        assert aspect is None or row["aspect"] == pytest.approx(aspect, rel=0.1)
        assert row["solidity"] == pytest.approx(solidity, abs=0.1)
        assert row["extent"] == pytest.approx(extent, rel=0.1)


def test_shapes_are_measured_as_by_moments_and_hulls():
    area = ndimage.binary_dilation(np.random.default_rng(0).random((12, 17)) > 0.96, iterations=2)
    part = measure.regionprops(measure.label(area))[0]
    row = measure_events(*one_event(part.image.astype(int), course=[1, 2])).iloc[0]
    longer, shorter = ((axis / 4) ** 2 + 1 / 12 for axis in (part.axis_major_length, part.axis_minor_length))
    assert row["aspect"] == pytest.approx(np.sqrt(longer / shorter))  # pixels as squares, not as points
    assert row["solidity"] == pytest.approx(part.solidity)
    bracket = np.array([[1, 0, 0, 0, 1], [1, 1, 1, 1, 1]])
    assert measure_events(*one_event(bracket, course=[1, 2])).iloc[0]["solidity"] == pytest.approx(0.7)


def test_rise_and_decay_of_an_exponential():
    course = np.exp(-np.arange(25) / 6.0)
    row = measure_events(*one_event(np.ones((3, 3), dtype=int), course=course)).iloc[0]
    assert row["decay_s"] == pytest.approx(6 * np.log(2) / 10, abs=0.01)
    assert row["rise_s"] == pytest.approx(0.05, abs=1e-6)  # from nothing to the peak within one frame


def test_what_is_cut_off_is_marked_and_not_measured():
    events, movie = one_event(np.ones((3, 3), dtype=int), course=[4.0, 4, 4], start=37, corner=(0, 27))
    row = measure_events(events, movie).iloc[0]
    assert row["at_edge"]
    assert row["at_end"]
    assert np.isnan(row["decay_s"])
    whole, movie = one_event(np.ones((3, 3), dtype=int), course=[4.0] * 40, start=0)
    row = measure_events(whole, movie).iloc[0]
    assert row["intensity_mean"] == pytest.approx(7)  # no level to be had
    assert np.isnan(row[["rise_s", "decay_s"]].astype(float)).all()


def test_neighbours():
    table = pd.DataFrame({"roi": [0, 1, 2], "onset_s": [0.0, 1.0, 2.0], "amplitude": 1.0})
    table = table.assign(peak_s=table["onset_s"], offset_s=table["onset_s"])
    corners = [(2, 0, 0), (12, 3, 4), (22, 20, 20)]
    events = Events(table, tuple((*corner, np.ones((2, 3, 3), dtype=bool)) for corner in corners))
    found = measure_events(events, Movie(np.zeros((60, 30, 30)), fs=10), near_px=6)
    assert found["nearest_px"].tolist() == pytest.approx([5, 5, np.hypot(17, 16)])
    assert found["near_per_min"].tolist() == pytest.approx([10, 10, 0])  # in six seconds
    assert found["area_um2"].isna().all()


def test_missing_pixels_and_no_events():
    events, movie = one_event(np.ones((4, 4), dtype=int), course=[2.0, 2, 2])
    values = movie.frames().copy()
    values[:, 5] = np.nan
    values[11] = np.nan
    row = measure_events(events, movie.replace(data=values)).iloc[0]
    assert row["intensity_mean"] == pytest.approx(2)
    blind = measure_events(events, movie.replace(data=np.full_like(values, np.nan))).iloc[0]
    assert np.isnan(blind[["intensity_mean", "intensity_max", "rise_s"]].astype(float)).all()
    none = measure_events(events_from_label(np.zeros(movie.shape, int), movie), movie)
    assert len(none) == 0
    assert set(FEATURES) <= set(none.columns)


@pytest.mark.parametrize("area", [np.ones((1, 1), int), np.ones((1, 5), int), np.eye(4, dtype=int), np.ones((2, 2), int)])
def test_the_smallest_have_numbers(area):
    row = measure_events(*one_event(area, course=[1.0])).iloc[0]
    assert np.isfinite(row[["area_px", "solidity", "extent", "intensity_mean"]].astype(float)).all()
    assert 0 < row["solidity"] <= 1


def test_errors_say_what_is_wrong():
    events, movie = one_event(np.ones((3, 3), dtype=int), course=[1.0])
    with pytest.raises(ValueError, match="must have masks"):
        measure_events(events.replace(masks=None), movie)
    with pytest.raises(ValueError, match="inside the movie"):
        measure_events(events, Movie(np.zeros((5, 5, 5)), fs=10))
    with pytest.raises(ValueError, match="pixel_um"):
        measure_events(events, movie, pixel_um=0)
