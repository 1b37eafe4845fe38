"""TIFF files of every writer, against tifffile's own reading and against arrays known beforehand."""

import logging
import os
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from calcium_helpers.io import MovieFileError, load_movie

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 4000, (12, 10, 14)).astype(np.uint16)


def same(movie, expected):
    """The movie holds these frames, whatever way they are asked for."""
    assert movie.data.dtype == expected.dtype
    assert movie.data.dtype.isnative
    assert movie.shape == expected.shape
    for key in (slice(None), slice(2, 9, 3), slice(8, 2, -2), slice(5, 5), 3, -1):
        np.testing.assert_array_equal(movie.data[key], expected[key])
    np.testing.assert_array_equal(movie.frames(1, 4), expected[1:4])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True, "byteorder": ">"},
        {"metadata": None},
        {"metadata": None, "byteorder": ">", "compression": "zlib"},
        {"rowsperstrip": 3},
        {"tile": (16, 16)},
        {"imagej": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_multipage(tmp_path, options, dtype):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, FRAMES.astype(dtype), **{"photometric": "minisblack", **options})
    movie = load_movie(path, fs=30)
    same(movie, FRAMES.astype(dtype))
    same(movie, tifffile.imread(path))
    assert movie.fs == 30
    assert movie.history[0].startswith("loaded movie.tif (12 x 10 x 14")


def test_signed_and_single_frame(tmp_path):
    frames = FRAMES[:1].astype(np.int16) - 2000
    tifffile.imwrite(tmp_path / "one.tiff", frames, metadata=None)
    movie = load_movie(tmp_path / "one.tiff", fs=1)
    np.testing.assert_array_equal(movie.data[:], frames)


def test_uncompressed_pages_are_memory_mapped(tmp_path):
    tifffile.imwrite(tmp_path / "block.tif", FRAMES)
    with tifffile.TiffWriter(tmp_path / "pages.tif") as writer:
        for frame in FRAMES:
            writer.write(frame, contiguous=False, metadata=None)
    for name in ("block.tif", "pages.tif"):
        movie = load_movie(tmp_path / name, fs=30)
        assert isinstance(movie.data, np.ndarray)
        same(movie, FRAMES)


def test_lazy_fancy_keys(tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", FRAMES, compression="zlib")
    data = load_movie(tmp_path / "movie.tif", fs=30).data
    mask = np.arange(12) % 5 == 0
    pairs = [
        (np.s_[[7, 2, 2, -1]],) * 2,
        (np.s_[mask],) * 2,
        (np.s_[[]],) * 2,
        (np.s_[2:5, 3:7, 1],) * 2,
        (np.s_[4, ::2, -1],) * 2,
        (np.s_[..., 3],) * 2,
        (np.s_[[1, 2], [3, 4]],) * 2,
        (np.s_[()],) * 2,
    ]
    for ours, theirs in pairs:
        np.testing.assert_array_equal(data[ours], FRAMES[theirs])
    with pytest.raises(IndexError):
        data[12]
    np.testing.assert_array_equal(np.asarray(data, dtype=float), FRAMES)
    assert len(data) == 12


def test_ome(tmp_path):
    metadata = {
        "axes": "TYX",
        "TimeIncrement": 50.0,
        "TimeIncrementUnit": "ms",
        "PhysicalSizeX": 800,
        "PhysicalSizeXUnit": "nm",
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", FRAMES, ome=True, metadata=metadata)
    movie = load_movie(tmp_path / "a.ome.tif")
    same(movie, FRAMES)
    assert movie.fs == pytest.approx(20)
    assert movie.pixel_um == pytest.approx(0.8)
    assert "fs 20 Hz from OME TimeIncrement" in movie.history[0]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("axes", ["TZCYX", "CTZYX", "ZCTYX"])
def test_ome_channels_and_planes(tmp_path, axes, compression):
    stack = FRAMES.reshape(2, 3, 2, 10, 14)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, stack, ome=True, metadata={"axes": axes}, compression=compression)
    if axes.startswith("TZC"):
        with pytest.raises(MovieFileError, match=r"2 channels.*channel=0 to 1"):
            load_movie(path, fs=5, plane=1)
        with pytest.raises(MovieFileError, match=r"3 planes.*plane=0 to 2"):
            load_movie(path, fs=5, channel=1)
        with pytest.raises(MovieFileError, match=r"plane=3 was asked for"):
            load_movie(path, fs=5, channel=1, plane=3)
    movie = load_movie(path, fs=5, channel=1, plane=1)
    expected = np.moveaxis(stack, [axes.index("T"), axes.index("C"), axes.index("Z")], [0, 1, 2])[:, 1, 1]
    np.testing.assert_array_equal(movie.data[:], expected)
    assert f"channel 1 of {stack.shape[axes.index('C')]}" in movie.history[0]


def test_imagej(tmp_path):
    tifffile.imwrite(
        tmp_path / "ij.tif",
        FRAMES.reshape(6, 2, 10, 14),
        imagej=True,
        resolution=(1 / 0.7, 1 / 0.7),
        metadata={"axes": "TCYX", "finterval": 1 / 30.03, "unit": "um"},
    )
    movie = load_movie(tmp_path / "ij.tif", channel=1)
    same(movie, FRAMES[1::2])
    assert movie.fs == 30.03
    assert movie.pixel_um == pytest.approx(0.7)


def test_imagej_stack_of_slices_is_a_movie(tmp_path, caplog):
    tifffile.imwrite(tmp_path / "ij.tif", FRAMES, imagej=True, metadata={"axes": "ZYX", "fps": 12.5})
    movie = load_movie(tmp_path / "ij.tif")
    same(movie, FRAMES)
    assert movie.fs == 12.5
    assert "playback" in caplog.text
    assert "slices taken as frames" in movie.history[0]
    tifffile.imwrite(tmp_path / "ij.tif", FRAMES, imagej=True)
    movie = load_movie(tmp_path / "ij.tif", fs=3)
    same(movie, FRAMES)
    assert "channels taken as frames" in movie.history[0]
    tifffile.imwrite(tmp_path / "ij.tif", FRAMES[:3], imagej=True)
    with pytest.raises(MovieFileError, match="holds 3 channels"):
        load_movie(tmp_path / "ij.tif", fs=3)


def test_pages_described_one_by_one(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for frame in FRAMES:
            writer.write(frame)
    same(load_movie(tmp_path / "a.tif", fs=30), FRAMES)


def test_series_of_files_with_channels(tmp_path):
    """One file a time point, each with two channels: time runs over the files."""
    for i in range(6):
        tifffile.imwrite(tmp_path / f"{i}.ome.tif", FRAMES[2 * i : 2 * i + 2], ome=True, metadata={"axes": "CYX"})
    same(load_movie(tmp_path, fs=30, channel=1, progress=False), FRAMES[1::2])


def test_set_of_ome_files_described_in_the_first(tmp_path):
    """As Bruker writes: one frame a file, all described in the first one, which the others name."""
    plane = (
        '<TiffData FirstC="{c}" FirstT="{t}" FirstZ="0" PlaneCount="1"><UUID FileName="Ch{c}_{t}.ome.tif">x</UUID></TiffData>'
    )
    planes = "".join(plane.format(c=c, t=t) for c in (0, 1) for t in range(12))
    pixels = f'<Pixels DimensionOrder="XYCZT" SizeT="12" SizeC="2" SizeZ="1" SizeX="14" SizeY="10">{planes}</Pixels>'
    ome = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{}</OME>'
    for t, frame in enumerate(FRAMES):
        inner = '<BinaryOnly MetadataFile="Ch0_0.ome.tif"/>' if t else f"<Image>{pixels}</Image>"
        tifffile.imwrite(tmp_path / f"Ch0_{t}.ome.tif", frame, description=ome.format(inner), metadata=None)
        tifffile.imwrite(tmp_path / f"Ch1_{t}.ome.tif", frame + 1, description=ome.format(inner), metadata=None)
    movie = load_movie(tmp_path / "Ch1_*.tif", fs=30, progress=False)
    same(movie, FRAMES + 1)
    assert "12 files, one channel and plane of a set of files" in movie.history[0]
    (tmp_path / "Ch0_0.ome.tif").rename(tmp_path / "a.tif")
    with pytest.raises(MovieFileError, match=r"a\.tif: is one file of an OME set"):
        load_movie(tmp_path / "a.tif", fs=30)


def test_more_pages_than_described(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FRAMES)
    tifffile.imwrite(tmp_path / "a.tif", FRAMES[:4], append=True, photometric="minisblack")
    with pytest.raises(MovieFileError, match=r"holds 16 pages, its TIFF description promises 12.*appended"):
        load_movie(tmp_path / "a.tif", fs=30)


def test_imagej_beyond_4_gb(tmp_path):
    """One page directory, then all frames: written sparsely, with content in three frames only."""
    path, shape = tmp_path / "huge.tif", (9000, 512, 512)
    first = np.full(shape[1:], 7, dtype=np.uint16)
    description = f"ImageJ=1.54f\nimages={shape[0]}\nframes={shape[0]}\nfinterval=0.05\nunit=micron\n"
    tifffile.imwrite(path, first, description=description, metadata=None, byteorder=">", resolution=(2, 2))
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages.first.dataoffsets[0]
    with path.open("r+b") as file:
        file.truncate(offset + shape[0] * first.nbytes)
        for index, value in ((4500, 11), (8999, 13)):
            file.seek(offset + index * first.nbytes)
            file.write(np.full(shape[1:], value, dtype=">u2").tobytes())
    assert path.stat().st_size > 2**32
    start = time.perf_counter()
    movie = load_movie(path)
    assert time.perf_counter() - start < 1
    assert (movie.shape, movie.fs, movie.pixel_um) == (shape, 20, 0.5)
    for index, value in ((0, 7), (1, 0), (4500, 11), (8999, 13)):
        assert (movie.data[index] == value).all()
    assert movie.data[4500].dtype.isnative
    with path.open("r+b") as file:
        file.truncate(offset + (shape[0] - 1) * first.nbytes)
    with pytest.raises(MovieFileError, match=r"huge\.tif: holds 1 pages.*promises 9000"):
        load_movie(path)


def test_shaped_metadata(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FRAMES.reshape(6, 2, 10, 14), metadata={"axes": "TCYX", "fs": 8.0, "pixel_um": 1.5})
    movie = load_movie(tmp_path / "a.tif", channel=0)
    same(movie, FRAMES[::2])
    assert (movie.fs, movie.pixel_um) == (8.0, 1.5)
    tifffile.imwrite(tmp_path / "b.tif", FRAMES.reshape(12, 1, 10, 14), photometric="minisblack")
    same(load_movie(tmp_path / "b.tif", fs=8), FRAMES)


def test_rgb(tmp_path):
    for name, planar in (("contig.tif", "contig"), ("separate.tif", "separate")):
        colour = RNG.integers(0, 255, (4, 10, 14, 3) if planar == "contig" else (4, 3, 10, 14)).astype(np.uint8)
        for compression in (None, "zlib"):
            tifffile.imwrite(tmp_path / name, colour, photometric="rgb", planarconfig=planar, compression=compression)
            with pytest.raises(MovieFileError, match=r"in colour \(3 values a pixel\).*channel=0 to 2"):
                load_movie(tmp_path / name, fs=5)
            movie = load_movie(tmp_path / name, fs=5, channel=1)
            np.testing.assert_array_equal(movie.data[:], colour[..., 1] if planar == "contig" else colour[:, 1])
            with pytest.raises(MovieFileError, match="channel=3 was asked for"):
                load_movie(tmp_path / name, fs=5, channel=3)


def test_series_is_sorted_by_number(tmp_path, monkeypatch):
    for i, part in enumerate(np.split(FRAMES, 12)):
        tifffile.imwrite(tmp_path / f"frame_{i}.tif", part[0], compression="zlib" if i % 3 else None)
    (tmp_path / "._frame_0.tif").write_bytes(b"left by a file manager")
    (tmp_path / "notes.txt").write_text("not a movie")
    for path in (tmp_path, str(tmp_path / "frame_*.tif")):
        movie = load_movie(path, fs=30, progress=False)
        same(movie, FRAMES)
    assert movie.history[0].startswith("loaded frame_*.tif (12 x 10 x 14")
    assert "12 files" in movie.history[0]
    monkeypatch.chdir(tmp_path)
    assert load_movie(".", fs=30, progress=False).history[0].startswith(f"loaded {tmp_path.name} (12 x 10 x 14")


def test_series_of_more_files_than_may_be_open(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 64
    for i in range(120):
        tifffile.imwrite(tmp_path / f"{i}.tif", np.full((4, 5), i, np.uint16))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 60, hard))
    try:
        movie = load_movie(tmp_path, fs=30, progress=False)
        np.testing.assert_array_equal(movie.data[:, 0, 0], np.arange(120))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_series_that_does_not_go_together(tmp_path):
    tifffile.imwrite(tmp_path / "1.tif", FRAMES)
    tifffile.imwrite(tmp_path / "2.tif", FRAMES[:, :5])
    with pytest.raises(MovieFileError, match=r"2\.tif: is TIFF \(5, 14\) uint16.* is TIFF \(10, 14\)"):
        load_movie(tmp_path, fs=30)
    tifffile.imwrite(tmp_path / "2.tif", FRAMES.astype(np.float32))
    with pytest.raises(MovieFileError, match=r"2\.tif: is TIFF \(10, 14\) float32"):
        load_movie(tmp_path, fs=30)


def test_the_users_rate_wins(tmp_path, caplog):
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, ome=True, metadata={"axes": "TYX", "TimeIncrement": 0.1, "PhysicalSizeX": 2.0})
    with caplog.at_level(logging.WARNING):
        assert load_movie(tmp_path / "a.tif", fs=10).fs == 10
    assert not caplog.records
    movie = load_movie(tmp_path / "a.tif", fs=15, pixel_um=1.0)
    assert (movie.fs, movie.pixel_um) == (15, 1.0)
    assert "OME TimeIncrement says 10 Hz" in caplog.text
    assert "fs 15 Hz from the user (the file says 10 Hz), pixel 1 um from the user" in movie.history[0]


@pytest.mark.real
@pytest.mark.parametrize(
    "name", ["2p_neurofinder_7hz.tif", "1p_miniscope.tif", "1p_inscopix_raw_10hz.tif", "boutons_syph_0.5hz.tif"]
)
def test_real_recordings(name):
    folder = os.environ.get("CALCIUM_DATA_DIR")
    if not folder:
        pytest.skip("CALCIUM_DATA_DIR is not set: no real recordings")
    path = Path(folder) / name
    with pytest.raises(MovieFileError, match="does not tell its frame rate"):
        load_movie(path, progress=False)
    movie = load_movie(path, fs=7, progress=False)
    expected = tifffile.imread(path)
    np.testing.assert_array_equal(movie.data[:], expected)
    np.testing.assert_array_equal(movie.data[5:19:4], expected[5:19:4])


def test_bar_while_indexing(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((1200, 5, 6), np.uint8), compression="zlib")
    load_movie(tmp_path / "a.tif", fs=30, progress=False)
    assert capsys.readouterr().err == ""
    load_movie(tmp_path / "a.tif", fs=30)
    assert "indexing a.tif: 100%" in capsys.readouterr().err
