"""Overlapping cells, blocks and matchings: what is drawn is what was given, also where there is nothing."""

import subprocess
import sys
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba

from calcium_helpers import plots
from calcium_helpers.containers import Footprints
from calcium_helpers.plots._style import INK, ORANGE


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def make_discs(*centres, radius=5.0, shape=(40, 50)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    images = [np.hypot(y - cy, x - cx) <= radius for cy, cx in centres]
    return Footprints.from_images(np.array(images, dtype=float).reshape(len(images), *shape))


def drawn_at(ax, y, x):
    """Colours of the filled cells over a pixel."""
    return {to_hex(patch.get_facecolor()) for patch in ax.patches if patch.get_path().contains_point((x, y))}


# --- overlaps ------------------------------------------------------------------------------------------------------------


def test_cells_that_share_pixels_differ_in_colour_and_are_seen_through():
    cells = make_discs((20, 12), (20, 18), (20, 24), (14, 18), (26, 18), (5, 45))
    ax = plots.show_overlaps(cells, np.random.default_rng(0).random((40, 50)))
    assert len(ax.patches) == len(cells)
    assert all(0 < patch.get_facecolor()[3] < 1 for patch in ax.patches)
    counts = cells.masks.sum(axis=0).reshape(40, 50)
    for y, x in np.argwhere(counts > 1)[::7]:
        assert len(drawn_at(ax, y, x)) == counts[y, x]
    assert drawn_at(ax, 20, 30) == set()


def test_a_chain_longer_than_the_palette_still_alternates():
    ax = plots.show_overlaps(make_discs(*[(20, 6 + 2 * i) for i in range(19)], radius=1.5))
    colours = [to_hex(patch.get_facecolor()) for patch in ax.patches]
    assert all(one != other for one, other in pairwise(colours))
    assert len(set(colours)) > 2


def test_more_overlapping_cells_than_colours_are_drawn():
    ax = plots.show_overlaps(make_discs(*[(20, 20 + i) for i in range(10)], radius=8))
    assert len({to_hex(patch.get_facecolor()) for patch in ax.patches}) == 7


def test_a_ring_stays_open():
    ring = make_discs((20, 20), radius=9)
    hole = make_discs((20, 20), radius=4)
    images = ring.image(0) - hole.image(0)
    ax = plots.show_overlaps(Footprints.from_images(images[None]))
    ax.set(position=(0, 0, 1, 1))
    ax.figure.set(size_inches=(5, 4), dpi=100)
    ax.axis("off")
    ax.figure.canvas.draw()
    picture = np.asarray(ax.figure.canvas.buffer_rgba())[..., :3]
    assert picture[205, 205].max() == 0, "the hole is filled"
    assert picture[205, 270].max() > 0, "the ring is not"


def test_truth_is_outlined():
    cells = make_discs((20, 12), (20, 18))
    ax = plots.show_overlaps(cells, truth=make_discs((20, 12), (20, 18), (5, 40)))
    (outlines,) = ax.collections
    assert len(outlines.get_segments()) == 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["true cell"]


@pytest.mark.parametrize("n", [0, 1])
def test_few_cells_are_drawn(n):
    cells = make_discs(*[(0, 0)] * n)
    ax = plots.show_overlaps(cells, np.full((40, 50), np.nan), truth=cells, pixel_um=2.0)
    ax.figure.canvas.draw()
    assert len(ax.patches) == n
    assert ax.get_xlim() == (-0.5, 49.5)


def test_another_field_is_refused():
    cells = make_discs((20, 12))
    with pytest.raises(ValueError, match=r"background must have the footprints' shape \(40, 50\), got \(50, 40\)"):
        plots.show_overlaps(cells, np.zeros((50, 40)))
    with pytest.raises(ValueError, match=r"truth must have the footprints' shape \(40, 50\), got \(9, 9\)"):
        plots.show_overlaps(cells, truth=make_discs((4, 4), shape=(9, 9)))


# --- blocks --------------------------------------------------------------------------------------------------------------


def test_blocks_stand_side_by_side_on_one_scale():
    frames = {name: np.full((30, 48), float(i)) for i, name in enumerate(["noisy", "block 1", "true"])}
    frames["noisy"][3, 5] = 9
    ax = plots.show_blocks(frames, limits=(0, 4), label="noise sd")
    shown = ax.images[0].get_array().filled(np.nan)
    assert shown.shape == (30, 3 * 48 + 2 * 2)
    assert shown[3, 5] == 9
    assert [float(np.nanmax(shown[:, 50 * i : 50 * i + 48])) for i in range(3)] == [9, 1, 2]
    assert np.isnan(shown[:, 48:50]).all()
    assert ax.images[0].get_clim() == (0, 4)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["noisy", "block 1", "true"]
    assert "noise sd" in [other.get_ylabel() for other in ax.figure.axes]


@pytest.mark.parametrize(
    "frames", [{}, {"one": np.zeros((1, 1))}, {"one": np.full((3, 2), np.nan)}, {"none": np.zeros((0, 4))}]
)
def test_small_frames_are_drawn(frames):
    ax = plots.show_blocks(frames)
    ax.figure.canvas.draw()
    assert ax.images or ax.texts


def test_frames_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"frames must all be \(H, W\) of one shape, got \[\(3, 4\), \(4, 3\)\]"):
        plots.show_blocks({"a": np.zeros((3, 4)), "b": np.zeros((4, 3))})
    with pytest.raises(ValueError, match=r"frames must all be \(H, W\)"):
        plots.show_blocks({"a": np.zeros(3)})


# --- matching ------------------------------------------------------------------------------------------------------------


def test_matched_pairs_are_ringed_where_they_are():
    cost = np.arange(12.0).reshape(4, 3)
    cost[3, 0], cost[0, 2] = np.inf, np.nan
    ax = plots.show_matching(cost, np.array([[2, 0], [0, 1]]), label="Dice loss")
    shown = ax.images[0].get_array()
    assert shown.mask.tolist() == (~np.isfinite(cost.T)).tolist()
    assert ax.images[0].get_clim() == (0, 11)
    rim, ring = ax.lines
    assert np.column_stack([ring.get_xdata(), ring.get_ydata()]).tolist() == [[2, 0], [0, 1]]
    assert [to_rgba(line.get_markeredgecolor()) for line in (rim, ring)] == [to_rgba(INK), to_rgba(ORANGE)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("slot", "true cell")
    assert "Dice loss" in [other.get_ylabel() for other in ax.figure.axes]


@pytest.mark.parametrize("cost", [np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((1, 1)), np.full((2, 2), np.nan)])
def test_small_matchings_are_drawn(cost):
    ax = plots.show_matching(cost, np.zeros((0, 2), int))
    ax.figure.canvas.draw()
    assert ax.images or ax.texts


def test_what_is_no_matching_is_refused():
    cost = np.zeros((3, 2))
    for pairs in ([[3, 0]], [[-1, 0]], [[0, 0], [0, 1]], [[0, 1], [2, 1]]):
        with pytest.raises(ValueError, match="pairs must name each of 3 slots and 2 cells at most once"):
            plots.show_matching(cost, np.array(pairs))
    with pytest.raises(ValueError, match=r"cost must be \(slots, cells\), got shape \(3,\)"):
        plots.show_matching(np.zeros(3), np.zeros((0, 2)))


def test_own_axes_do_not_start_pyplot():
    code = (
        "import sys, numpy as np; from matplotlib.figure import Figure; from calcium_helpers import plots; "
        "ax = Figure().subplots(); assert plots.show_matching(np.eye(4), [[0, 1]], ax=ax) is ax; "
        "assert plots.show_blocks({'a': np.eye(4)}, ax=ax) is ax; sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
