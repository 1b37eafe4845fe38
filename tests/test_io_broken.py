"""What users bring by mistake: each file is really broken, and the message names it and says what to do."""

import re
import struct

import h5py
import numpy as np
import pytest
import tifffile

from calcium_helpers.containers import Movie
from calcium_helpers.io import MovieFileError, check_frames, load_movie, save_movie

FRAMES = np.random.default_rng(0).integers(0, 900, (30, 8, 9)).astype(np.uint16)


def refuse(path, *words, **options):
    """Opening fails with one error that names the file and holds these words."""
    with pytest.raises(MovieFileError) as caught:
        load_movie(path, **{"fs": 30, "progress": False, **options})
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.count("\n") == 0
    for word in words:
        assert re.search(word, message), message


def test_absent(tmp_path):
    refuse(tmp_path / "none.tif", "there is no such file", "Check the path")
    refuse(tmp_path / "none_*.tif", "there is no such file")


def test_unknown_suffix(tmp_path):
    (tmp_path / "a.xyz").write_bytes(b"RIFF")
    refuse(tmp_path / "a.xyz", r"unknown suffix '\.xyz'", r"Readable are \.tif, .*\.h5.*\.avi.* and folders of TIFFs")
    (tmp_path / "none").write_bytes(b"x")
    refuse(tmp_path / "none", "unknown suffix ''")


@pytest.mark.parametrize("suffix", ["tif", "btf", "h5", "npy", "npz", "avi", "mp4", "mkv", "mov", "mat", "nwb"])
def test_empty_and_text(tmp_path, suffix, caplog):
    path = tmp_path / f"a.{suffix}"
    path.touch()
    refuse(path, r"is empty \(0 bytes\)")
    path.write_text("frames of a movie, one would think\n" * 10)
    refuse(path, "is no readable|cannot be read as .npy|is no complete .npz")
    assert not caplog.records


def test_folders(tmp_path):
    refuse(tmp_path, "folder without TIFF files")
    (tmp_path / "a.tif").touch()
    with pytest.raises(MovieFileError, match=r"a\.tif: is no readable TIFF"):
        load_movie(tmp_path, fs=30, progress=False)
    (tmp_path / "b.mp4").touch()
    refuse(tmp_path, "1 TIFF files and 1 videos, expected one kind")
    (tmp_path / "a.csv").write_text("0")
    refuse(tmp_path / "a.*", r"matches a\.csv, expected only TIFF")


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metadata": None},
        {"compression": "zlib"},
        {"compression": "zlib", "metadata": None},
        {"imagej": True, "metadata": {"axes": "TYX"}},
        {"ome": True, "metadata": {"axes": "TYX"}},
    ],
    ids=str,
)
def test_truncated_tiff(tmp_path, options, fraction, caplog):
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 900, (30, 64, 64)).astype(np.uint16), **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    refuse(path, "is truncated|promises 30", "again")
    assert not caplog.records


def test_damaged_pages(tmp_path):
    path = tmp_path / "bad.tif"
    tifffile.imwrite(path, FRAMES, compression="zlib")
    with tifffile.TiffFile(path) as tif:
        start, count = tif.pages.get(5).dataoffsets[0], tif.pages.get(5).databytecounts[0]
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * count)
    movie = load_movie(path, fs=30)
    np.testing.assert_array_equal(movie.data[:5], FRAMES[:5])
    with pytest.raises(MovieFileError, match=r"bad\.tif: cannot decode pages 4 to 6"):
        movie.data[4:7]


def test_tiff_without_pages(tmp_path):
    path = tmp_path / "none.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 0))
    refuse(path, "is no readable TIFF")
    path.write_bytes(b"II*\0" + struct.pack("<I", 4000))
    refuse(path, "is no readable TIFF")


def test_four_axes_in_a_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FRAMES.reshape(5, 6, 8, 9), photometric="minisblack")
    refuse(tmp_path / "a.tif", r"has 4 axes, shape \(5, 6, 8, 9\), expected three", "channel=")
    tifffile.imwrite(tmp_path / "b.tif", FRAMES.reshape(5, 6, 8, 9), ome=True, metadata={"axes": "TCYX"})
    refuse(tmp_path / "b.tif", "holds 6 channels", "channel=0 to 5")


def test_frames_of_different_size(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(FRAMES[0], metadata=None)
        writer.write(FRAMES[1, :4], metadata=None)
    refuse(tmp_path / "a.tif", r"page 1 is \(4, 9\) uint16, the first one \(8, 9\)")


def test_several_ome_images(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=True) as writer:
        writer.write(FRAMES, metadata={"axes": "TYX"})
        writer.write(FRAMES, metadata={"axes": "TYX"})
    refuse(tmp_path / "a.tif", "holds 2 OME images, expected one")


@pytest.mark.parametrize("dtype", [bool, np.complex64])
def test_not_real_numbers(tmp_path, dtype):
    frames = FRAMES.astype(dtype)
    np.save(tmp_path / "a.npy", frames)
    np.savez(tmp_path / "a.npz", frames)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["mov"] = frames
    tifffile.imwrite(tmp_path / "a.tif", frames)
    for suffix, name in (("npy", None), ("tif", None), ("npz", "arr_0"), ("h5", "mov")):
        refuse(tmp_path / f"a.{suffix}", f"dtype {np.dtype(dtype)}, expected integers or floats", dataset=name)
        if name:
            refuse(tmp_path / f"a.{suffix}", rf"holds no movie; it holds: {name} \(30, 8, 9\) {np.dtype(dtype)}")


def test_wrong_axes_and_zero_frames(tmp_path):
    for array, words in (
        (FRAMES.reshape(5, 6, 8, 9), "has 4 axes"),
        (FRAMES[0], "has 2 axes"),
        (FRAMES[:0], r"is empty, shape \(0,"),
    ):
        np.save(tmp_path / "a.npy", array)
        refuse(tmp_path / "a.npy", words)
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["mov"] = array
        refuse(tmp_path / "a.h5", words, dataset="mov")
        np.savez(tmp_path / "a.npz", mov=array)
        refuse(tmp_path / "a.npz", words, dataset="mov")


def test_rate(tmp_path):
    np.save(tmp_path / "a.npy", FRAMES)
    refuse(tmp_path / "a.npy", "does not tell its frame rate", "fs=", fs=None)
    for fs in (0, -30, np.nan, np.inf):
        refuse(tmp_path / "a.npy", "fs must be a finite number of Hz above 0", fs=fs)
    refuse(tmp_path / "a.npy", "pixel_um must be", pixel_um=0)
    with pytest.raises(TypeError, match="fs must be a number"):
        load_movie(tmp_path / "a.npy", fs="30")
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, imagej=True, metadata={"axes": "TYX", "finterval": 0.0})
    refuse(tmp_path / "a.tif", "does not tell its frame rate", fs=None)


def test_options_that_do_not_apply(tmp_path):
    np.save(tmp_path / "a.npy", FRAMES)
    tifffile.imwrite(tmp_path / "a.tif", FRAMES)
    refuse(tmp_path / "a.npy", "channel=1 was given", "Leave channel out", channel=1)
    refuse(tmp_path / "a.tif", "dataset='mov' was given", dataset="mov")
    refuse(tmp_path / "a.tif", r"holds 1 channel\(s\), channel=1 was asked for", channel=1)
    assert load_movie(tmp_path / "a.tif", fs=30, channel=0, plane=0).n_frames == 30


def test_broken_numpy_files(tmp_path):
    np.save(tmp_path / "a.npy", FRAMES)
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-100])
    refuse(tmp_path / "a.npy", "cannot be read as .npy", "again")
    np.save(tmp_path / "a.npy", np.array([{"not": "numbers"}], dtype=object), allow_pickle=True)
    refuse(tmp_path / "a.npy", "cannot be read as .npy")
    np.savez_compressed(tmp_path / "a.npz", mov=FRAMES)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    refuse(tmp_path / "a.npz", "is no complete .npz file")
    (tmp_path / "a.npz").write_bytes(whole[:200] + bytes(100) + whole[300:])
    refuse(tmp_path / "a.npz", "cannot be read as .npz")
    np.savez(tmp_path / "a.npz", a=FRAMES, b=FRAMES, t=np.arange(3))
    refuse(tmp_path / "a.npz", r"holds 2 movies, expected one: a \(30, 8, 9\) uint16, b .*t \(3,\)", "dataset=")
    refuse(tmp_path / "a.npz", "has no array 'c'; it holds: a", dataset="c")


def test_broken_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["trace"], file["volume"] = np.arange(5), np.zeros((2, 3, 4, 5))
    refuse(path, "holds no movie", r"trace \(5,\) int64, volume \(2, 3, 4, 5\) float64")
    with h5py.File(path, "w") as file:
        file["a/first"], file["a/second"] = FRAMES, FRAMES
    refuse(path, r"holds 2 movies, expected one: a/first \(30, 8, 9\) uint16, a/second", "dataset=")
    refuse(path, "has no array 'b'; it holds: a/first", dataset="b")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refuse(path, "is no readable HDF5 file")


@pytest.mark.parametrize("suffix", ["tif", "h5", "npy"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_a_number(tmp_path, monkeypatch, suffix, value):
    monkeypatch.setattr("calcium_helpers.io.lazy.CHUNK_BYTES", 4 * 8 * 9 * 7)
    frames = FRAMES.astype(np.float32)
    frames[17, 3, 4] = frames[25] = value
    path = tmp_path / f"a.{suffix}"
    save_movie(Movie(frames, fs=30), path)
    with pytest.raises(MovieFileError, match=rf"^a\.{suffix}: frame 17 holds NaN or infinite"):
        check_frames(load_movie(path, fs=30), progress=False)


@pytest.mark.parametrize("dtype", [np.uint16, np.float64])
def test_constant_frames(monkeypatch, caplog, dtype):
    monkeypatch.setattr("calcium_helpers.io.lazy.CHUNK_BYTES", 1)
    frames = FRAMES.astype(dtype)
    frames[[4, 29]] = 0
    assert check_frames(Movie(frames, fs=30), progress=False).constant_frames.tolist() == [4, 29]
    assert "movie: 2 constant frame(s), the first is frame 4" in caplog.text
