"""HDF5 and NumPy files."""

import gc

import h5py
import numpy as np
import pytest

from calcium_helpers.io import load_movie

FRAMES = np.random.default_rng(0).integers(0, 900, (30, 8, 9)).astype(np.uint16)


@pytest.mark.parametrize("dtype", ["<u2", ">u2", ">f4", "i1"])
def test_hdf5_is_lazy_and_native(tmp_path, dtype):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("session/whatever", data=FRAMES.astype(dtype), chunks=(4, 8, 9), compression="gzip")
        file["session/trace"] = np.arange(30)
    movie = load_movie(path, fs=30)
    gc.collect()
    assert not isinstance(movie.data, np.ndarray)
    assert movie.data.dtype == np.dtype(dtype).newbyteorder("=")
    assert movie.data[3:5].dtype.isnative
    for key in (slice(None), slice(3, 20, 4), slice(9, 2, -3), 7, [5, 5, 1], np.arange(30) > 20):
        np.testing.assert_array_equal(movie.data[key], FRAMES.astype(dtype)[key])
    assert "HDF5, dataset session/whatever, fs 30 Hz from the user" in movie.history[0]


def test_hdf5_usual_name_wins_and_any_may_be_named(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["mov"], file["masks"] = FRAMES, FRAMES[:3]
    np.testing.assert_array_equal(load_movie(path, fs=30).data[:], FRAMES)
    np.testing.assert_array_equal(load_movie(path, fs=30, dataset="/masks").data[:], FRAMES[:3])


def test_hdf5_metadata(tmp_path, caplog):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["g/mov"] = FRAMES
        file["g/times_s"] = np.arange(30) / 8 + 2
        file.attrs["frame_rate"], file["g"].attrs["pixel_um"] = 8, np.array([1.5])
    movie = load_movie(path)
    assert (movie.fs, movie.pixel_um) == (8.0, 1.5)
    np.testing.assert_array_equal(movie.times_s, np.arange(30) / 8 + 2)
    assert "fs 8 Hz from attribute 'frame_rate', pixel 1.5 um from the file" in movie.history[0]
    path = tmp_path / "b.h5"
    with h5py.File(path, "w") as file:
        file["mov"], file["times_s"] = FRAMES, np.arange(30) % 4 / 8
        file["mov"].attrs["fs"], file.attrs["fs"] = 9.0, 8.0
    movie = load_movie(path)
    assert movie.fs == 9.0
    assert movie.times_s is None
    assert "go back at frame 4" in caplog.text


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f8"])
def test_npy(tmp_path, dtype):
    np.save(tmp_path / "a.npy", FRAMES.astype(dtype))
    movie = load_movie(tmp_path / "a.npy", fs=30)
    assert movie.data.dtype.isnative
    assert isinstance(movie.data, np.memmap) == np.dtype(dtype).isnative
    for key in (slice(None), slice(3, 20, 4), 7, slice(9, 2, -3)):
        np.testing.assert_array_equal(movie.data[key], FRAMES[key])


def test_npz(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", shot=FRAMES.astype(">u2"), fs=12.0, pixel_um=2, extra=np.arange(3))
    movie = load_movie(tmp_path / "a.npz")
    assert movie.data.dtype.isnative
    np.testing.assert_array_equal(movie.data, FRAMES)
    assert (movie.fs, movie.pixel_um) == (12.0, 2.0)
    np.savez(tmp_path / "b.npz", a=FRAMES, b=FRAMES[::-1])
    np.testing.assert_array_equal(load_movie(tmp_path / "b.npz", fs=1, dataset="b").data, FRAMES[::-1])
