"""Movies and results, written and read back."""

import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from _fake_results import make_results
from pandas.testing import assert_frame_equal

from calcium_helpers.containers import Movie, Shifts
from calcium_helpers.io import MovieFileError, load_movie, load_results, save_movie, save_results

FRAMES = np.random.default_rng(0).integers(0, 200, (23, 8, 9))


def test_import_is_light():
    code = "import sys, calcium_helpers.io; print({'torch', 'matplotlib', 'numba', 'h5py', 'tifffile'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


@pytest.mark.parametrize("suffix", ["tif", "tiff", "h5", "hdf5", "npy"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_movie_round_trip(tmp_path, monkeypatch, suffix, dtype):
    monkeypatch.setattr("calcium_helpers.io.lazy.CHUNK_BYTES", 5 * 8 * 9)
    frames = FRAMES.astype(dtype)
    movie = Movie(frames, fs=30.03, pixel_um=0.8, times_s=np.arange(23) / 30.03)
    path = tmp_path / f"saved.{suffix}"
    save_movie(movie, path)
    again = load_movie(path, fs=30.03 if suffix == "npy" else None)
    assert again.data.dtype == dtype
    np.testing.assert_array_equal(again.data[:], frames)
    assert again.fs == 30.03
    assert again.pixel_um == (None if suffix == "npy" else 0.8)
    if suffix.startswith("h"):
        np.testing.assert_array_equal(again.times_s, movie.times_s)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_saved_tiff_is_ome_and_memory_mapped(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    for limit, big in ((2**32, False), (1000, True)):
        monkeypatch.setattr("calcium_helpers.io.save.CLASSIC_TIFF_BYTES", limit)
        save_movie(Movie(FRAMES.astype(np.uint16), fs=7.0), path)
        with tifffile.TiffFile(path) as tif:
            assert (tif.is_bigtiff, tif.is_ome, len(tif.pages), tif.series[0].axes) == (big, True, 23, "TYX")
            np.testing.assert_array_equal(tif.asarray(), FRAMES)
        assert isinstance(load_movie(path).data, np.ndarray)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", ["tif", "h5", "npy"])
def test_few_frames(tmp_path, n, suffix):
    """Three or four frames are not the colours of one image."""
    path = tmp_path / f"a.{suffix}"
    save_movie(Movie(FRAMES[:n].astype(np.uint8), fs=7.0), path)
    np.testing.assert_array_equal(load_movie(path, fs=7.0).data[:], FRAMES[:n])


def test_movie_that_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in one of \.tif.*got 'a\.avi'"):
        save_movie(Movie(FRAMES, fs=7.0), tmp_path / "a.avi")
    with pytest.raises(ValueError, match=r"got a movie of int64; write \.h5 or \.npy"):
        save_movie(Movie(FRAMES, fs=7.0), tmp_path / "a.tif")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    class Broken:
        shape, dtype = (5, 8, 9), np.dtype(np.uint16)

        def __getitem__(self, key):
            raise OSError("the disk went away")

    for suffix in ("tif", "h5", "npy"):
        path = tmp_path / f"a.{suffix}"
        save_movie(Movie(FRAMES.astype(np.uint16), fs=7.0), path)
        before = path.read_bytes()
        with pytest.raises(OSError, match="went away"):
            save_movie(Movie(Broken(), fs=7.0), path)
        assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3


def equal(ours, theirs):
    """Two results agree in every value and every dtype."""
    np.testing.assert_array_equal(ours.footprints.weights.toarray(), theirs.footprints.weights.toarray())
    assert ours.footprints.shape == theirs.footprints.shape
    np.testing.assert_array_equal(ours.footprints.ids, theirs.footprints.ids)
    for name in ("raw", "neuropil", "dff", "denoised", "spikes"):
        a, b = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.ids, b.ids)
        assert (a.values.dtype, a.fs, a.kind) == (b.values.dtype, b.fs, b.kind)
    np.testing.assert_array_equal(ours.times_s, theirs.times_s)
    for name in ("cells", "funnel", "steps"):
        assert_frame_equal(getattr(ours, name), getattr(theirs, name), check_exact=True)
    assert (ours.shifts is None) == (theirs.shifts is None)
    for name in ("yx", "template", "correlation", "bad_frames") if ours.shifts else ():
        np.testing.assert_array_equal(getattr(ours.shifts, name), getattr(theirs.shifts, name))
    if ours.shifts:
        assert (ours.shifts.valid, ours.shifts.bidiphase_px) == (theirs.shifts.valid, theirs.shifts.bidiphase_px)
    assert ours.images.keys() == theirs.images.keys()
    for name, image in ours.images.items():
        np.testing.assert_array_equal(image, theirs.images[name])
        assert image.dtype == theirs.images[name].dtype
    assert (ours.parameters, ours.summary, ours.history) == (theirs.parameters, theirs.summary, theirs.history)


def results(**options):
    made = make_results(**{"n_cells": 7, "shape": (40, 30), "n_frames": 50, **options})
    return made._replace(summary={**made.summary, "median_snr": float(made.summary["median_snr"])})


@pytest.mark.parametrize("options", [{}, {"n_cells": 0}, {"with_motion": False}, {"n_frames": 1}, {"n_cells": 1}], ids=str)
def test_results_round_trip(tmp_path, options):
    made = results(**options)
    save_results(made, tmp_path / "results.h5")
    equal(load_results(tmp_path / "results.h5"), made)
    assert [p.name for p in tmp_path.iterdir()] == ["results.h5"]


def test_results_with_odd_contents(tmp_path):
    """Ids that are not 0..N-1, rigid shifts, every kind of column, text beyond ASCII, no history."""
    made = results()
    ids = np.array([4, 2, 9, 100, 7, 8, 1])
    table = pd.DataFrame(
        {
            "z first": np.arange(7, dtype=np.int16),
            "accepted": [True, False] * 3 + [True],
            "snr": np.array([1.5, np.nan, np.inf, 0, 1e-9, 2, 3], dtype=np.float32),
            "reason": ["", "too faint", None, "µm ≥ 3", "x" * 300, "", None],
            "as object": pd.Series(["a"] * 6 + [None], dtype=object),
        }
    ).set_index(pd.Index(ids, name="id"))
    yx = np.random.default_rng(0).normal(0, 1, (50, 2))
    made = made._replace(
        footprints=made.footprints.replace(ids=ids),
        **{name: getattr(made, name).replace(ids=ids) for name in ("raw", "neuropil", "dff", "denoised", "spikes")},
        times_s=np.cumsum(np.random.default_rng(1).uniform(0.03, 0.1, 50)),
        cells=table,
        funnel=table[:0],
        steps=pd.DataFrame(index=pd.Index(["load", "detect"])),
        shifts=Shifts(yx, np.zeros((40, 30)), (1, 39, 2, 30)),
        images={"labels": np.arange(1200, dtype=np.int32).reshape(40, 30)},
        parameters={"nested": {"list": [1, 2.5, None, "ü"]}, "third": 1 / 3},
        history=(),
    )
    save_results(made, tmp_path / "results.h5")
    again = load_results(tmp_path / "results.h5")
    equal(again, made)
    assert again.cells["accepted"].dtype == bool


def test_layout_is_as_documented(tmp_path):
    """Another program finds everything by the documented names."""
    made = results()
    save_results(made, tmp_path / "results.h5")
    with h5py.File(tmp_path / "results.h5") as file:
        assert (file.attrs["format"], file.attrs["layout_version"]) == ("calcium_helpers results", 3)
        start, stop = file["footprints/indptr"][2:4]
        row = np.zeros(np.prod(file["footprints"].attrs["shape"]), np.float32)
        row[file["footprints/indices"][start:stop]] = file["footprints/data"][start:stop]
        np.testing.assert_array_equal(row.reshape(40, 30), made.footprints.image(2))
        np.testing.assert_array_equal(file["traces/dff/values"], made.dff.values)
        np.testing.assert_array_equal(file["cells/columns/snr"], made.cells["snr"])
        assert file["cells/columns/accepted"].dtype == bool
        assert list(file["cells/columns/reason"].asstr()) == list(made.cells["reason"])
        assert file["traces/spikes"].attrs["fs"] == 30.0
        assert file["shifts/yx"].shape == (50, 3, 3, 2)
        assert tuple(file["history"].asstr()) == made.history


def test_results_that_cannot_be_written(tmp_path):
    made = results()
    path = tmp_path / "results.h5"
    with pytest.raises(TypeError, match="plain values, got set"):
        save_results(made._replace(summary={"bad": {1}}), path)
    with pytest.raises(ValueError, match="column 'when' must hold booleans, numbers or text, got datetime64"):
        save_results(made._replace(steps=pd.DataFrame({"when": pd.to_datetime(["2020-01-01"])})), path)
    with pytest.raises(ValueError, match=r"without '/', got 'dF/F'"):
        save_results(made._replace(cells=pd.DataFrame({"dF/F": [1.0]})), path)
    assert not list(tmp_path.iterdir())


def test_files_that_hold_no_results(tmp_path):
    path = tmp_path / "results.h5"
    with pytest.raises(MovieFileError, match=r"results\.h5: there is no such file"):
        load_results(path)
    path.write_text("results, one would think")
    with pytest.raises(MovieFileError, match="cannot be read as results"):
        load_results(path)
    with h5py.File(path, "w") as file:
        file["movie"] = np.zeros((3, 4, 5))
    with pytest.raises(MovieFileError, match="holds no results of calcium_helpers"):
        load_results(path)
    save_results(results(), path)
    with h5py.File(path, "r+") as file:
        del file["traces/dff"]
    with pytest.raises(MovieFileError, match="cannot be read as results"):
        load_results(path)
    save_results(results(), path)
    with h5py.File(path, "r+") as file:
        file.attrs["layout_version"] = 99
    with pytest.raises(MovieFileError, match="layout version 99, this package reads 3"):
        load_results(path)
