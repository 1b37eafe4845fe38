"""MATLAB's files, of version 5 as SciPy writes them and of 7.3 as MATLAB lays them out in HDF5."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from calcium_helpers.io import MovieFileError, load_movie

FRAMES = np.random.default_rng(0).integers(0, 200, (30, 8, 9))  # T, H, W
CLASSES = {"uint8": "uint8", "int16": "int16", "uint16": "uint16", "float32": "single", "float64": "double"}


def save_v5(path, **variables):
    savemat(path, variables, do_compression=True)


def save_v73(path, **variables):
    """Lay variables out as MATLAB does: a block of text first, axes reversed, the class as an attribute."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            text = isinstance(value, str)
            value = np.atleast_2d([ord(letter) for letter in value] if text else value)
            item = file.create_dataset(name, data=value.T, chunks=True, compression="gzip")
            item.attrs["MATLAB_class"] = np.bytes_("char" if text else CLASSES.get(value.dtype.name, value.dtype.name))
        file.create_dataset("#refs#/a", data=np.zeros((3, 4, 5)))
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


SAVERS = {"5": save_v5, "7.3": save_v73}


@pytest.fixture(params=SAVERS)
def save(request):
    return SAVERS[request.param]


@pytest.mark.parametrize("dtype", CLASSES)
def test_frames_come_first(tmp_path, save, dtype):
    path = tmp_path / "a.mat"
    save(path, Y=np.moveaxis(FRAMES, 0, -1).astype(dtype), fs=12.5, pixel_um=1.5, note="of mice", masks=np.zeros((8, 9)))
    movie = load_movie(path)
    assert (movie.shape, movie.data.dtype, movie.fs, movie.pixel_um) == ((30, 8, 9), dtype, 12.5, 1.5)
    for key in (slice(None), slice(3, 20, 4), slice(9, 2, -3), 7, [1, 2, 9], np.arange(30) > 20):
        np.testing.assert_array_equal(movie.data[key], FRAMES[key])
    assert "variable Y, rows x columns x frames turned to frames x rows x columns, fs 12.5 Hz from variable" in movie.history[0]
    assert isinstance(movie.data, np.ndarray) == (save is save_v5)


def test_several_movies_are_listed_as_matlab_sees_them(tmp_path, save):
    path = tmp_path / "a.mat"
    frames = np.moveaxis(FRAMES, 0, -1).astype(np.uint16)
    save(path, green=frames, red=frames[::-1], fs=30)
    with pytest.raises(MovieFileError, match=r"holds 2 movies.*green \(8, 9, 30\) uint16, red \(8, 9, 30\) uint16.*dataset="):
        load_movie(path)
    np.testing.assert_array_equal(load_movie(path, dataset="red").data[:], FRAMES[:, ::-1])
    with pytest.raises(MovieFileError, match="has no array 'blue'"):
        load_movie(path, dataset="blue")
    save(path, mov=frames, mean=frames[..., :2], fs=30)
    assert load_movie(path).n_frames == 30


def test_frames_that_seem_to_come_first_are_asked_about(tmp_path, save, caplog):
    save(tmp_path / "a.mat", Y=FRAMES[:, :, :8].astype(np.uint16))
    assert load_movie(tmp_path / "a.mat", fs=30).shape == (8, 30, 8)
    assert "a.mat: Y (30, 8, 8) is read as rows, columns, frames; if frames come first, save permute(Y, [2 3 1])" in caplog.text


def test_what_holds_no_movie(tmp_path, save):
    path = tmp_path / "a.mat"
    save(path, trace=FRAMES[:, 0, 0].astype(float), image=FRAMES[0].astype(float))
    with pytest.raises(MovieFileError, match=r"holds no movie.*image \(8, 9\) float64.*\(rows, columns, frames\)"):
        load_movie(path, fs=30)
    with pytest.raises(MovieFileError, match="has 2 axes"):
        load_movie(path, fs=30, dataset="image")
    save(path, Y=np.moveaxis(FRAMES, 0, -1).astype(np.uint16))
    with pytest.raises(MovieFileError, match="does not tell its frame rate"):
        load_movie(path)


def test_structs_and_cells_are_passed_over(tmp_path):
    cells = np.empty((2, 3, 4), dtype=object)
    cells[:] = 1.0
    save_v5(tmp_path / "a.mat", Y=np.moveaxis(FRAMES, 0, -1), cells=cells, fs={"value": 3.0}, on=np.ones((8, 9, 30), bool))
    np.testing.assert_array_equal(load_movie(tmp_path / "a.mat", fs=30).data, FRAMES)
    with pytest.raises(MovieFileError, match="cells"):
        load_movie(tmp_path / "a.mat", fs=30, dataset="cells")


@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_truncated(tmp_path, save, part):
    path = tmp_path / "a.mat"
    save(path, Y=np.moveaxis(FRAMES, 0, -1).astype(np.uint16))
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(MovieFileError, match=r"is no readable (MATLAB|HDF5) file"):
        load_movie(path, fs=30)


@pytest.mark.real
def test_a_file_that_matlab_wrote(tmp_path):
    folder = os.environ.get("CALCIUM_DATA_DIR")
    files = sorted(Path(folder).rglob("CAttached*.mat"))[:1] if folder else []
    if not files:
        pytest.skip("CALCIUM_DATA_DIR holds no file of MATLAB")
    with pytest.raises(MovieFileError, match="holds no movie; it holds: CAttached"):
        load_movie(files[0], fs=30)
