"""Annotations of one's own: label volumes and points, in Python and on the command line."""

import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile

from calcium_helpers.cli import main
from calcium_helpers.containers import Movie
from calcium_helpers.io.msct import read_streams
from calcium_helpers.simulate.synapses import SynapseConfig, synaptic_events
from calcium_helpers.transients.annotate import from_labels, from_points
from calcium_helpers.transients.prepare import normalise

FS = 10.0


@pytest.fixture(scope="module")
def simulated():
    sim = synaptic_events(
        SynapseConfig(n_frames=150, height=96, width=96, touching=0, distractors_per_min=0, n_events=15), seed=4
    )
    return sim, normalise(sim.movie)


def blobs(noise=0.02):
    """Two Gaussian events in noise, the second at 3 s."""
    t, y, x = np.meshgrid(np.arange(60), np.arange(30), np.arange(40), indexing="ij")
    light = np.zeros(t.shape)
    for (t0, y0, x0), size in (((12, 10, 10), 1.0), ((30, 20, 30), 0.5)):
        light += size * np.exp(-0.5 * (((t - t0) / 3) ** 2 + ((y - y0) / 2) ** 2 + ((x - x0) / 2) ** 2))
    return light + noise * np.random.default_rng(0).standard_normal(t.shape), light


def test_points_grow_over_half_of_the_peak():
    frames, light = blobs()
    stream = from_points(Movie(frames, fs=FS), pd.DataFrame({"t_s": [3.1, 1.2], "y_px": [21, 10], "x_px": [29, 9.6]}), name="a")
    assert stream.events[:, 0].tolist() == [1, 2]
    for number, peak in ((1, 0.5), (2, 1.0)):
        near = stream.label == number
        own = (np.arange(60) < 22) == (number == 2)
        truth = (light > peak / 2) & own[:, None, None]
        assert (near & truth).sum() / (near | truth).sum() > 0.7


def test_points_on_simulated_synapses(simulated):
    """Clear events are found about where they are; each row keeps its number, and no volume runs away."""
    sim, movie = simulated
    table = sim.events.table
    clicks = pd.DataFrame({"t_frame": table["peak_s"] * FS, "y_px": table["y_px"], "x_px": table["x_px"]})
    stream = from_points(movie, clicks, name="s")
    overlap = []
    for i, snr in enumerate(table["snr"]):
        a, b = sim.label == i + 1, stream.label == i + 1
        if snr > 5:
            overlap.append((a & b).sum() / (a | b).sum())
        assert b.sum() < 41 * 17 * 17
    assert len(overlap) >= 3
    assert np.median(overlap) > 0.35


def test_rows_limit_the_growth():
    frames, _ = blobs()
    row = {"t_frame": [12], "y_px": [10], "x_px": [10]}
    small = from_points(Movie(frames, fs=FS), pd.DataFrame({**row, "radius_px": [1.0], "duration_s": [0.1]}), name="a")
    _, t0, t1, y0, y1, x0, x1 = small.events[0]
    assert (t1 - t0 <= 4, y1 - y0 <= 4, x1 - x0 <= 4) == (True,) * 3


def test_points_in_the_dark_at_the_edge_and_none():
    movie = Movie(np.zeros((3, 5, 6)), fs=FS)
    corner = from_points(movie, pd.DataFrame({"t_frame": [2], "y_px": [4], "x_px": [0]}), name="a")
    assert len(corner.events) == 1
    empty = from_points(movie, pd.DataFrame({"t_s": [], "y_px": [], "x_px": []}), name="a")
    assert empty.events.shape == (0, 7)
    assert not empty.label.any()
    one = from_points(Movie(np.random.default_rng(0).random((1, 1, 1)), fs=FS),
                      pd.DataFrame({"t_s": [0], "y_px": [0], "x_px": [0]}), name="a")  # fmt: skip
    assert one.events.tolist() == [[1, 0, 1, 0, 1, 0, 1]]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"t_frame": [0], "y_px": [0]}, r"lack the columns \['x_px'\]"),
        ({"t": [0], "y_px": [0], "x_px": [0]}, r"lack the columns \['t_s'\]"),
        ({"t_frame": [0, 3], "y_px": [0, 0], "x_px": [0, 0]}, r"row 1 is at \[3, 0, 0\]"),
        ({"t_frame": [0], "y_px": [np.nan], "x_px": [0]}, "row 0"),
        ({"t_frame": [0], "y_px": ["here"], "x_px": [0]}, "row 0"),
        ({"t_frame": [0], "y_px": [0], "x_px": [0], "radius_px": [0]}, "radius_px and duration_s above 0"),
    ],
)
def test_points_that_cannot_be(table, message):
    with pytest.raises(ValueError, match=message):
        from_points(Movie(np.zeros((3, 5, 6)), fs=FS), pd.DataFrame(table), name="a")


def test_labels_and_masks():
    movie = Movie(np.zeros((4, 6, 6)), fs=FS)
    label = np.zeros((4, 6, 6), np.int32)
    label[0:2, 0:2, 0:2], label[2:4, 4:6, 4:6] = 5, 8
    assert from_labels(movie, label, name="a").events[:, 0].tolist() == [5, 8]
    mask = from_labels(movie, (label > 0) * 255, name="a")
    assert mask.events.tolist() == [[1, 0, 2, 0, 2, 0, 2], [2, 2, 4, 4, 6, 4, 6]]
    large = from_labels(movie, label * 70000.0, name="a")
    np.testing.assert_array_equal(large.label, np.searchsorted([0, 5, 8], label))
    assert from_labels(movie, np.zeros((4, 6, 6)), name="a").events.shape == (0, 7)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.zeros((4, 6, 5), int), "movie's shape"),
        (np.full((4, 6, 6), 0.5), "whole numbers"),
        (np.full((4, 6, 6), np.nan), "whole numbers"),
        (np.full((4, 6, 6), -1), "above 0 inside, got -1"),
    ],
)
def test_labels_that_cannot_be(label, message):
    with pytest.raises(ValueError, match=message):
        from_labels(Movie(np.zeros((4, 6, 6)), fs=FS), label, name="a")


def test_command_line(tmp_path, capsys, simulated):
    sim, movie = simulated
    tifffile.imwrite(tmp_path / "m.tif", sim.movie.data, photometric="minisblack")
    tifffile.imwrite(tmp_path / "l.tif", sim.label, photometric="minisblack")
    table = sim.events.table.assign(t_s=sim.events.table["peak_s"])[["t_s", "y_px", "x_px"]]
    table.to_csv(tmp_path / "p.csv", index=False)
    movie_file, out = str(tmp_path / "m.tif"), str(tmp_path / "d.h5")
    assert main(["annotate", movie_file, "--labels", str(tmp_path / "l.tif"), "--fs", "10", "-o", out]) == 0
    assert f"train/m, 150 x 96 x 96, {len(table)} events" in capsys.readouterr().out
    points = ["--points", str(tmp_path / "p.csv"), "--split", "valid", "--name", "other", "--as-is"]
    assert main(["annotate", movie_file, "--fs", "10", "-o", out, *points]) == 0
    (train,), (valid,) = read_streams(out), read_streams(out, split="valid")
    np.testing.assert_array_equal(train.label, sim.label)
    np.testing.assert_allclose(train.movie, movie.data, atol=1e-6)
    np.testing.assert_array_equal(valid.movie, sim.movie.data)
    assert (valid.name, len(valid.events)) == ("other", len(table))
    assert main(["annotate", movie_file, "--labels", str(tmp_path / "l.tif"), "--fs", "10", "-o", out]) == 2
    assert "'m' is there already" in capsys.readouterr().err
    (tmp_path / "p.csv").write_text("a,b\n1,2\n")
    assert main(["annotate", movie_file, "--fs", "10", "-o", out, *points]) == 2
    assert "p.csv: points lack the columns" in capsys.readouterr().err
    (tmp_path / "p.csv").write_bytes(b"")
    assert main(["annotate", movie_file, "--fs", "10", "-o", out, *points]) == 2
    assert "cannot be read as a table" in capsys.readouterr().err
    with h5py.File(out) as file:
        assert list(file["train"]) == ["m"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"--points": "t_s,y_px,x_px\n9,0,0\n"}, r"given.csv: points must lie inside the movie \(4, 6, 6\) .*row 0"),
        ({"--labels": np.zeros((4, 6, 5), np.uint8)}, "label must have the movie's shape"),
        ({"--points": "t_s,y_px,x_px\n"}, "movie must have a foreground"),
    ],
)
def test_annotations_are_checked_before_the_movie_is_normalised(tmp_path, monkeypatch, capsys, given, says):
    """Which takes minutes for a long one; this dark one cannot be normalised, which is said only after its annotations fit."""
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("m.tif", np.zeros((4, 6, 6), np.uint16), photometric="minisblack")
    ((option, content),) = given.items()
    if isinstance(content, str):
        Path("given.csv").write_text(content)
    else:
        tifffile.imwrite("given.tif", content, photometric="minisblack")
    file = "given.csv" if isinstance(content, str) else "given.tif"
    assert main(["annotate", "m.tif", option, file, "--fs", "10", "-o", "d.h5"]) == 2
    assert re.search(says, capsys.readouterr().err)
    assert not Path("d.h5").exists()
