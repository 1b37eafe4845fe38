"""What the pictures of events show is what they were given."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
from matplotlib.collections import LineCollection

from calcium_helpers.containers import Movie
from calcium_helpers.metrics import precision_recall
from calcium_helpers.plots.transients import show_features, show_pr_curve, show_sites, show_surrogate, show_transients
from calcium_helpers.plots.volumes import show_event
from calcium_helpers.transients.volumes import events_from_label


@pytest.fixture(autouse=True)
def closed():
    yield
    matplotlib.pyplot.close("all")


def scene():
    label = np.zeros((30, 24, 32), dtype=int)
    label[10:14, 8:12, 20:26] = 1
    label[20:25, 2:5, 2:5] = 2
    movie = Movie((label > 0) * 5.0 + 1, fs=10, pixel_um=0.16)
    return movie, events_from_label(label, movie)


def extents(ax):
    lines = [line for c in ax.collections if isinstance(c, LineCollection) for line in c.get_segments()]
    return [np.ptp(line, axis=0).tolist() for line in lines]


def test_an_event_from_three_sides():
    movie, events = scene()
    ax = show_event(movie, events, 0, margin=(5, 4, 4))
    assert extents(ax) == [[6, 4], [6, 4], [4, 4]]  # x by y, x by t, t by y: of 4 frames, 4 rows, 6 columns
    assert {text.get_text() for text in ax.texts} == {"XY", "YT", "XT"}
    shown = ax.images[0].get_array().filled(np.nan)
    assert shown[4:8, 4:10].tolist() == np.full((4, 6), 6.0).tolist()
    with pytest.raises(ValueError, match="one or more of 2"):
        show_event(movie, events, 2)
    with pytest.raises(ValueError, match="must have masks"):
        show_event(movie, events.replace(masks=None), 0)


def test_what_was_found_at_a_pair_of_events():
    label = np.zeros((30, 24, 32), dtype=int)
    label[10:14, 8:12, 10:13], label[10:16, 8:12, 13:17], label[25:28, 2:5, 2:5] = 1, 2, 3
    movie = Movie((label > 0) * 5.0, fs=10)
    truth, joined = events_from_label(label, movie), events_from_label((label > 0) * np.where(label > 2, 2, 1), movie)
    ax = show_event(movie, truth, (0, 1), margin=(5, 4, 4))
    assert extents(ax) == [[3, 4], [3, 4], [4, 4], [4, 4], [4, 6], [6, 4]]  # XY, XT, YT of one, then of the other
    assert extents(show_event(movie, truth, (0, 1), outlined=joined)) == [[7, 4], [7, 6], [6, 4]]
    assert extents(show_event(movie, truth, (0, 1), outlined=truth.select([]))) == []
    colours = {tuple(c.get_color()[0]) for c in ax.collections}
    assert len(colours) == 2


def test_pixels_without_data_are_left_out():
    movie, events = scene()
    values = movie.frames().copy()
    values[:, 9, 21], values[10, 10, 23] = np.nan, np.nan
    shown = show_event(movie.replace(data=values), events, 0, margin=(5, 4, 4)).images[0].get_array()
    assert shown.mask[5, 5]
    assert shown[4, 4] == shown[6, 7] == 6


def test_a_frame_shows_the_events_that_are_on():
    movie, events = scene()
    assert [len(extents(show_transients(movie, frame, events))) for frame in (0, 10, 13, 14, 22)] == [0, 1, 1, 0, 1]
    ax = show_transients(movie, 11, events, truth=events)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["found", "true"]
    assert ax.get_title(loc="right") == "1.1 s"
    ax = show_transients(movie, (12, 21), events, names=("labelled", "all"))
    assert extents(ax) == [[6, 4], [3, 3]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["labelled"]
    assert ax.get_title(loc="right") == "1.2 to 2.1 s"
    assert (ax.images[0].get_array() == 6).sum() == 33
    with pytest.raises(ValueError, match="frame must"):
        show_transients(movie, 30)


def test_precision_over_recall():
    curve = precision_recall([0.9, 0.8, 0.7], [True, False, True], 2)
    ax = show_pr_curve({"net": curve, "threshold": precision_recall([], [], 3)})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["net: AP 0.83", "threshold: AP 0.00"]
    dot = next(line for line in ax.lines if line.get_marker() == "o")
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == pytest.approx((1, 2 / 3))
    for least, dots in ((0.8, [(0.5, 0.5)]), (0.9, [(0.5, 1)]), (2, [])):
        ax = show_pr_curve({"net": curve}, thresholds={"net": least})
        assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "o"] == dots
    assert show_pr_curve({}).texts[0].get_text() == "No detectors to compare"


def test_a_threshold_chosen_by_labels():
    scores, events = [0.9, 0.8, 0.7, 0.6], np.array([True, False, True, True])
    labelled = precision_recall(scores, events & [True, False, False, True], 2)
    ax = show_surrogate(labelled, precision_recall(scores, events, 3))
    # Recall times precision: 1/2, 1/4, 1/6, 1/2; F1: 1/2, 2/5, 2/3, 6/7.
    assert ax.lines[0].get_ydata() == pytest.approx([1, 1 / 2, 1 / 3, 1])
    assert ax.lines[2].get_ydata() == pytest.approx(np.array([1 / 2, 2 / 5, 2 / 3, 6 / 7]) * 7 / 6)
    assert [line.get_xdata().tolist() for line in ax.lines if line.get_marker() == "o"] == [[1], [4]]
    assert ax.get_xlim() == (0, 5)
    assert len(show_surrogate(precision_recall(scores, np.zeros(4, bool), 2)).lines) == 2
    assert show_surrogate(precision_recall([], [], 2)).texts[0].get_text() == "No events to choose from"


def test_features_by_group():
    table = pd.DataFrame({"area_um2": [1.0, 2, 3, np.nan, 10], "rise_s": np.nan})
    ax = show_features(table, "area_um2", ["before", "before", "before", "after", "after"])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["before\n(n = 3)", "after\n(n = 1)"]
    assert ax.get_ylabel() == "area (µm²)"
    ax = show_features(table, "area_um2", np.array([2, 1, 2, 1, 1]))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1\n(n = 2)", "2\n(n = 2)"]
    twice = pd.concat([table, table])
    ax = show_features(twice, "area_um2", ["a"] * 5 + ["b"] * 5)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a\n(n = 4)", "b\n(n = 4)"]
    assert show_features(table, "rise_s").texts[0].get_text() == "No rise_s to show"


def test_sites_by_fate():
    table = pd.DataFrame({"x_px": [1.0, 5, 9], "y_px": [2.0, 3, 4], "n_before": [2, 0, 1], "n_after": [0, 1, 3]})
    table["fate"] = ["silenced", "new", "recurrent"]
    ax = show_sites(table, np.zeros((10, 12)), pixel_um=0.16)
    assert [c.get_offsets().tolist() for c in ax.collections] == [[[1, 2]], [[5, 3]], [[9, 4]]]
    plain = table.drop(columns="fate").assign(n_events=[1, 2, 3])
    assert len(show_sites(plain, np.zeros((10, 12))).collections) == 1
    assert len(show_sites(plain.iloc[:0], np.zeros((10, 12))).collections) == 0
