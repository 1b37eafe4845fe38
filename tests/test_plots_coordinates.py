"""Coordinates over their training: drawn where they are, told apart by what becomes of them, also where there are none."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from _fake_path import make_path
from matplotlib.colors import to_hex

from calcium_helpers import plots
from calcium_helpers.plots.coordinates import find_stage_ends

IMAGE = np.random.default_rng(0).random((40, 50))
CELL, REJECTED, GONE = "becomes a cell", "rejected at the end", "dropped or merged later"


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def drawn(ax):
    """Points (y, x) of each kind."""
    return {line.get_label(): np.column_stack([line.get_ydata(), line.get_xdata()]) for line in ax.lines}


def test_coordinates_of_a_step_are_where_they_were():
    found = make_path()
    path = found.extras["path"]
    points = drawn(plots.show_path(found, IMAGE, steps=[8]))
    assert np.allclose(points[CELL], path[8, :3])
    assert np.allclose(points[REJECTED], path[8, 3:4])
    assert np.allclose(points[GONE], path[8, 5:])
    assert np.allclose(drawn(plots.show_path(found, IMAGE, steps=[2]))[GONE], path[2, 4:5])


def test_kinds_differ_in_colour_and_in_form():
    ax = plots.show_path(make_path(), IMAGE, steps=[8])
    forms = {line.get_label(): (to_hex(line.get_color()), line.get_marker()) for line in ax.lines}
    assert len({form for _, form in forms.values()}) == 3
    assert forms[CELL][0] != forms[REJECTED][0] == forms[GONE][0]


def test_what_is_no_longer_listed_was_rejected():
    found = make_path()
    few = found._replace(scores=found.scores[found.scores["accepted"]])
    assert len(drawn(plots.show_path(few, IMAGE, steps=[8]))[REJECTED]) == 1


def test_what_left_the_field_stays_at_its_edge():
    found = make_path()
    found.extras["path"][8, 0] = (-7, 60)
    points = drawn(plots.show_path(found, IMAGE, steps=[8]))
    assert np.allclose(points[CELL][0], (-0.5, 49.5))


def test_trails_begin_at_the_panel_before_and_end_at_the_point():
    found = make_path()
    path = found.extras["path"]
    ax = plots.show_path(found, IMAGE, steps=[2, 6])
    corner = np.array([0, ax.images[0].get_array().shape[1] - 50])
    trails = next(c for c in ax.collections if to_hex(c.get_color()[0]) == plots._style.ORANGE.lower()).get_segments()
    assert [len(trail) for trail in trails] == [3, 3, 3, 5, 5, 5]
    assert np.allclose(trails[0][:, ::-1], path[:3, 0])
    assert np.allclose(trails[3][:, ::-1], path[2:7, 0] + corner)


def test_panels_say_stage_number_and_variance():
    ax = plots.show_path(make_path(), IMAGE)
    assert [text.get_text() for text in ax.texts] == [
        "start (step 0)\n5 coordinates, 0% of the variance",
        "coarse (step 3)\n5 coordinates, 19% of the variance",
        "fine (step 8)\n5 coordinates, 50% of the variance",
    ]
    shown = ax.images[0].get_array()
    assert np.allclose(shown[:, :50], IMAGE)
    assert np.allclose(shown[:, -50:], IMAGE)


def test_true_cells_are_outlined_in_every_panel():
    found = make_path()
    ax = plots.show_path(found, IMAGE, truth=found.accepted().footprints)
    outlines = [c for c in ax.collections if to_hex(c.get_color()[0]) == plots._style.GREEN.lower()]
    assert [len(c.get_segments()) for c in outlines] == [3, 3, 3]
    assert [text.get_text() for text in ax.get_legend().get_texts()].count("true cell") == 1


@pytest.mark.parametrize(
    ("stages", "ends"),
    [
        (["start"], [0]),
        (["start", "a", "a", "b", "b", "b"], [0, 2, 5]),
        (["a", "a", "b"], [0, 1, 2]),
        ([str(i) for i in range(21)], [0, 1, 2, 3, 4, 20]),
    ],
)
def test_ends_of_stages(stages, ends):
    assert find_stage_ends(stages) == ends


@pytest.mark.parametrize(("n_cells", "n_steps"), [(0, 9), (0, 1), (3, 1), (3, 0), (1, 2), (30, 40)])
@pytest.mark.parametrize("steps", [None, [0]])
def test_small_histories_are_drawn(n_cells, n_steps, steps):
    found = make_path(n_cells=n_cells, n_steps=n_steps)
    ax = plots.show_path(found, IMAGE, steps=steps, truth=found.footprints)
    ax.figure.canvas.draw()
    assert ax.texts


def test_coordinates_that_never_were_are_not_drawn():
    found = make_path()
    found.extras["path"][:] = np.nan
    found.extras["explained"][:] = np.nan
    ax = plots.show_path(found, np.full((40, 50), np.nan))
    ax.figure.canvas.draw()
    assert not ax.lines
    assert ax.texts[0].get_text() == "start (step 0)\n0 coordinates"


def test_what_does_not_fit_is_refused():
    found = make_path()
    with pytest.raises(ValueError, match=r"extras have no path, only \['diameter_px'\]"):
        plots.show_path(found._replace(extras={"diameter_px": 8.0}), IMAGE)
    with pytest.raises(ValueError, match=r"image must have the detection's shape \(40, 50\), got \(50, 40\)"):
        plots.show_path(found, IMAGE.T)
    with pytest.raises(ValueError, match=r"truth must have the detection's shape \(40, 50\), got \(9, 9\)"):
        plots.show_path(found, IMAGE, truth=make_path(shape=(9, 9)).footprints)
    for steps in ([9], [-1], []):
        with pytest.raises(ValueError, match=rf"steps must be some of 0..8, got {re.escape(str(steps))}"):
            plots.show_path(found, IMAGE, steps=steps)
