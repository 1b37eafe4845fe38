"""A run in napari, without a window: the layers, the decisions of keys, and what is drawn and saved."""

import numpy as np
import pandas as pd
import pytest
from _fake_results import make_results

pytest.importorskip("napari", reason="napari is not installed; make test-ui runs these tests")

from napari.components import ViewerModel
from napari.utils.key_bindings import KeymapHandler

from calcium_helpers.cli import main
from calcium_helpers.containers import Footprints, Movie
from calcium_helpers.io import load_results, save_movie, save_results
from calcium_helpers.io.curation import add_decision, load_decisions
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.lazy import LazyFrames
from calcium_helpers.io.msct import read_streams
from calcium_helpers.napari_view import view
from calcium_helpers.plots._style import ACCEPTED, REJECTED
from calcium_helpers.workdir import new_array, save_arrays

SHAPE, N, FS, PIXEL_UM = (64, 80), 120, 10.0, 1.25
LAYERS = ["mean", "max", "correlation"]
OVERLAYS = ["cells", "centres", "annotation labels", "annotation"]


@pytest.fixture
def folder(tmp_path):
    """Results of 12 cells, their corrected movie as a run keeps it, and one of other shifts."""
    results = make_results(n_cells=12, shape=SHAPE, n_frames=N, fs=FS)
    save_results(results, tmp_path / "results.h5")
    for name, yx, level in (("a", results.shifts.yx + 1, 5), ("b", results.shifts.yx, 7)):
        with new_array(tmp_path / "work" / f"motion-{name}.npy", (N, *SHAPE)) as out:
            out[:] = level + np.random.default_rng(0).normal(size=out.shape)
        save_arrays(tmp_path / "work" / f"motion-{name}.npz", yx=yx)
    return tmp_path


def point_at(viewer, cell):
    """Put the cursor on the middle of a cell, as the mouse would."""
    row = int(np.flatnonzero(viewer.layers["centres"].features["id"] == cell)[0])
    viewer.cursor.position = (0.0, *(viewer.layers["centres"].data[row] * viewer.layers["centres"].scale))
    for moved in viewer.mouse_move_callbacks:
        moved(viewer, None)
    return row


def press(viewer, key):
    """Press a key: bindings of the active layer come before the viewer's, as in a window."""
    handler = KeymapHandler()
    handler.keymap_providers = [one for one in (viewer.layers.selection.active, viewer) if one is not None]
    assert handler.press_key(key) is not False


def colour(viewer, row):
    hexes = ["#" + "".join(f"{round(255 * part):02X}" for part in rgba[:3]) for rgba in viewer.layers["centres"].face_color]
    return hexes[row]


def test_layers_lie_where_they_should(folder):
    viewer = view(folder, viewer=ViewerModel())
    assert sorted(layer.name for layer in viewer.layers) == sorted([*LAYERS, "corrected movie", *OVERLAYS])
    results = load_results(folder, curated=False)
    movie = viewer.layers["corrected movie"]
    assert isinstance(movie.data, np.memmap)
    assert movie.data.mean() == pytest.approx(7, abs=0.1)  # that of these shifts
    assert movie.scale == pytest.approx([1 / FS, PIXEL_UM, PIXEL_UM])
    assert [f"{unit:~}" for unit in movie.units] == ["s", "µm", "µm"]
    for name in (*LAYERS, "cells", "centres"):
        assert viewer.layers[name].scale == pytest.approx([PIXEL_UM, PIXEL_UM])
    assert [layer.name for layer in viewer.layers if layer.visible and layer._type_string == "image"] == ["corrected movie"]
    centres, cells = viewer.layers["centres"], viewer.layers["cells"]
    assert centres.data == pytest.approx(results.footprints.centroids)
    assert centres.features["id"].tolist() == results.footprints.ids.tolist()
    accepted = results.cells_by_id()["accepted"].to_numpy()
    assert [colour(viewer, row) for row in range(12)] == np.where(accepted, ACCEPTED, REJECTED).tolist()
    assert [symbol.value for symbol in centres.symbol] == np.where(accepted, "disc", "cross").tolist()
    for row in range(12):  # each footprint's brightest pixel is its own unless another cell has more there
        y, x = np.unravel_index(results.footprints.image(row).argmax(), SHAPE)
        share = [results.footprints.image(other)[y, x] / results.footprints.image(other).sum() for other in range(12)]
        assert cells.data[y, x] - 1 == np.argmax(share)


def test_a_lazy_movie_is_not_read_whole(folder):
    read = []

    def frames(key):
        rows = np.arange(N)[key]
        read.extend(rows.tolist())
        return np.zeros((len(rows), *SHAPE), np.float32)

    (folder / "work" / "motion-b.npz").unlink()
    viewer = view(folder, movie=Movie(LazyFrames(frames, (N, *SHAPE), np.float32), FS), viewer=ViewerModel())
    viewer.dims.set_point(0, 5.0)
    assert "corrected movie" not in viewer.layers
    assert len(set(read)) < N / 4


def test_keys_decide_and_undo(folder):
    viewer = view(folder, who="ada", viewer=ViewerModel())
    row = point_at(viewer, 3)
    before = colour(viewer, row)
    press(viewer, "r")
    table = load_decisions(folder / "curation.csv")
    assert table[["unit", "decision", "who"]].to_numpy().tolist() == [[3, "reject", "ada"]]
    assert table[["y_px", "x_px"]].to_numpy()[0] == pytest.approx(viewer.layers["centres"].data[row], abs=0.01)
    assert (before, colour(viewer, row)) == (ACCEPTED, REJECTED)
    assert viewer.layers["cells"].colormap.color_dict[row + 1] == pytest.approx(viewer.layers["centres"].face_color[row])
    assert "cell 3: rejected by ada" in viewer.status
    assert viewer.status in viewer.canvas.overlays.text.text
    assert not load_results(folder).cells_by_id()["accepted"][3]
    press(viewer, "u")
    assert colour(viewer, row) == ACCEPTED
    assert "undone: cell 3: accepted" in viewer.status
    press(viewer, "u")
    assert "nothing to undo" in viewer.status
    point_at(viewer, 4)
    press(viewer, "a")
    again = view(folder, viewer=ViewerModel())
    assert colour(again, 4) == ACCEPTED
    assert again.layers["centres"].features["state"][4] == "accepted by ada"


def test_keys_work_whichever_layer_of_cells_is_active(folder):
    viewer = view(folder, viewer=ViewerModel())
    for n, name in enumerate(("cells", "centres", "mean", "corrected movie"), start=1):
        viewer.layers.selection.active = viewer.layers[name]
        point_at(viewer, 2)
        press(viewer, "a")
        assert len(load_decisions(folder / "curation.csv")) == n


def test_merge_by_two_presses(folder):
    viewer = view(folder, who="ada", viewer=ViewerModel())
    row = point_at(viewer, 1)
    press(viewer, "m")
    assert not (folder / "curation.csv").exists()
    point_at(viewer, 2)
    press(viewer, "m")
    assert load_decisions(folder / "curation.csv")["decision"].tolist() == ["merge into 2"]
    assert not viewer.layers["centres"].shown[row]
    assert row + 1 not in viewer.layers["cells"].data
    assert "cell 1: merged into 2 by ada" in viewer.status
    press(viewer, "u")
    assert viewer.layers["centres"].shown[row]
    assert row + 1 in viewer.layers["cells"].data


def test_where_no_cell_is(folder):
    viewer = view(folder, viewer=ViewerModel())
    for position in ((0.0, -50.0, 3.0), (0.0, 1e4, 1e4)):
        viewer.cursor.position = position
        press(viewer, "a")
        assert "no cell under the cursor" in viewer.status
    assert not (folder / "curation.csv").exists()


def test_decisions_of_another_run_are_said(folder):
    add_decision(folder / "curation.csv", 2, "reject", where=(500, 500))
    assert "lies elsewhere now" in view(folder, viewer=ViewerModel()).status


def test_overlapping_masks_are_both_seen():
    """The smaller of two masks lies above the larger one that holds it."""
    masks = np.zeros((2, *SHAPE))
    masks[0, 20:40, 20:40] = masks[1, 28:32, 28:32] = 1
    results = make_results(n_cells=2, shape=SHAPE, n_frames=N, fs=FS)
    viewer = view(results._replace(footprints=Footprints.from_images(masks)), viewer=ViewerModel())
    assert (viewer.layers["cells"].data == masks[0] + masks[1]).all()
    point_at(viewer, 1)
    press(viewer, "a")
    assert "give curation" in viewer.status


def test_no_cells_and_no_pixel_size(tmp_path):
    results = make_results(n_cells=0, shape=SHAPE, n_frames=N, fs=FS)
    summary = {**results.summary, "pixel_um": None}
    viewer = view(results._replace(summary=summary), curation=tmp_path / "c.csv", viewer=ViewerModel())
    assert viewer.layers["cells"].scale == pytest.approx([1, 1])
    press(viewer, "r")
    assert "no cell" in viewer.status


def test_a_movie_of_another_size_is_refused(folder):
    with pytest.raises(ValueError, match=r"movie must have frames of \(64, 80\) px"):
        view(folder, movie=Movie(np.zeros((3, 9, 9)), FS), viewer=ViewerModel())


def test_drawn_points_and_labels_are_read_by_annotate(folder, tmp_path, capsys):
    """What is drawn by hand becomes events to train on, and drawing goes on where it ended."""
    light = np.random.default_rng(1).normal(100, 1, (N, *SHAPE)).astype(np.float32)
    light[40:46, 20:26, 30:36] += 30
    save_movie(Movie(light, FS), tmp_path / "movie.tif")
    viewer = view(folder, viewer=ViewerModel())
    press(viewer, "s")
    assert "nothing new is drawn" in viewer.status
    points, labels = viewer.layers["annotation"], viewer.layers["annotation labels"]
    viewer.layers.selection.active = points
    viewer.dims.set_point(0, 4.2)  # seconds
    where = points.world_to_data((viewer.dims.point[0], 22.6 * PIXEL_UM, 33.0 * PIXEL_UM))
    points.add([where, (3.0, 900, 900)])
    labels.paint((42, 22, 32), 2)
    press(viewer, "s")
    assert (folder / "annotation.csv").read_text().splitlines() == ["t_frame,y_px,x_px", "42,22.6,33.0"]
    assert "1 point (1 outside the movie left out)" in viewer.status
    for option, name in (("--points", "annotation.csv"), ("--labels", "annotation_labels.tif")):
        out = tmp_path / f"{name}.h5"
        assert main(["annotate", str(tmp_path / "movie.tif"), option, str(folder / name), "-o", str(out), "--as-is"]) == 0
        (stream,) = read_streams(out)
        assert len(stream.events) == 1
        assert stream.label[42, 22, 32] > 0
        assert not stream.label[80].any()
    again = view(folder, viewer=ViewerModel())
    assert again.layers["annotation"].data.tolist() == [[42, 22.6, 33]]
    assert (again.layers["annotation labels"].data == labels.data).all()


def test_columns_of_points_are_kept(folder):
    table = pd.DataFrame({"t_s": [1.0], "y_px": [5], "x_px": [6], "radius_px": [4.5], "note": ["dim"]})
    table.to_csv(folder / "mine.csv", index=False)
    viewer = view(folder, points=folder / "mine.csv", viewer=ViewerModel())
    viewer.layers["annotation"].add([[3, 8, 9]])
    press(viewer, "s")
    kept = pd.read_csv(folder / "mine.csv")
    assert kept[["t_frame", "y_px", "x_px"]].to_numpy().tolist() == [[3, 8, 9], [10, 5, 6]]
    assert (kept["radius_px"][1], kept["note"][1]) == (4.5, "dim")


def test_annotation_that_does_not_fit_is_refused(folder):
    (folder / "annotation.csv").write_text("t_frame,y_px,x_px\n500,3,3\n")
    with pytest.raises(MovieFileError, match=r"annotation\.csv.*500"):
        view(folder, viewer=ViewerModel())
