"""ScanImage files: the BigTIFF with its header is written here byte by byte, after the published specification."""

import struct

import numpy as np
import pytest
import tifffile

from calcium_helpers.io import MovieFileError, load_movie

RNG = np.random.default_rng(1)


def settings(channels=1, planes=1, flyback=0, rate=30.0, **more):
    lines = {
        "SI.VERSION_MAJOR": "2023",
        "SI.hChannels.channelSave": "[" + ";".join(str(i + 1) for i in range(channels)) + "]" if channels > 1 else "1",
        "SI.hFastZ.discardFlybackFrames": "true",
        "SI.hRoiManager.imagingFovUm": "[-8 -8;8 -8;8 8;-8 8]",
        "SI.hRoiManager.pixelsPerLine": "8",
        "SI.hRoiManager.scanFrameRate": repr(rate),
        "SI.hStackManager.enable": "true" if planes > 1 else "false",
        "SI.hStackManager.actualNumSlices": str(planes),
        "SI.hStackManager.numSlices": "11",
        "SI.hStackManager.framesPerSlice": "1" if planes > 1 else "Inf",
        "SI.hStackManager.numFramesPerVolumeWithFlyback": str(planes + flyback),
        **more,
    }
    return "\n".join(f"{key} = {value}" for key, value in lines.items())


def write_scanimage(path, pages, times, text):
    """A ScanImage BigTIFF, version 4: header with settings and ROI groups, then a directory and the data of each page."""
    software = text.encode() + b"\0"
    rois = b'{"RoiGroups": {}}\0'
    blob = struct.pack("<4I", 0x07030301, 4, len(software), len(rois)) + software
    at = 16 + len(blob) + len(rois)
    at += -at % 8
    parts = [b"II" + struct.pack("<HHHQ", 43, 8, 0, at), blob, rois]
    out = b"".join(parts).ljust(at, b"\0")
    for i, (page, time_s) in enumerate(zip(pages, times, strict=True)):
        description = f"frameNumbers = {i + 1}\nframeTimestamps_sec = {time_s:.9f}\nI2CData = {{}}".encode().ljust(128) + b"\0"
        tags = [(256, 4, page.shape[1]), (257, 4, page.shape[0]), (258, 3, 16), (259, 3, 1), (262, 3, 1), (270, 2, description)]
        tags += [(273, 16, None), (277, 3, 1), (278, 4, page.shape[0]), (279, 16, page.nbytes), (305, 2, software), (339, 3, 2)]
        size = 8 + 20 * len(tags) + 8
        start = len(out)
        data_at = start + size + len(description)
        data_at += -data_at % 8
        end = data_at + page.nbytes
        entries = b""
        for tag, kind, value in tags:
            count, place = 1, value
            if tag == 270:
                count, place = len(value), start + size
            elif tag == 305:
                count, place = len(value), 32
            elif tag == 273:
                place = data_at
            entries += struct.pack("<HHQQ", tag, kind, count, place)
        following = end if i + 1 < len(pages) else 0
        out += struct.pack("<Q", len(tags)) + entries + struct.pack("<Q", following)
        out = (out + description).ljust(data_at, b"\0") + page.tobytes()
    path.write_bytes(out)


def recording(n):
    return RNG.integers(-200, 3000, (n, 6, 8)).astype(np.int16)


def test_rate_times_and_pixel_size(tmp_path):
    pages, times = recording(20), 0.1 + np.arange(20) / 30.02
    write_scanimage(tmp_path / "si.tif", pages, times, settings(rate=30.02))
    with tifffile.TiffFile(tmp_path / "si.tif") as oracle:
        assert oracle.is_scanimage
        assert oracle.scanimage_metadata["FrameData"]["SI.hRoiManager.scanFrameRate"] == 30.02
        np.testing.assert_array_equal(oracle.asarray(key=slice(None)), pages)
    movie = load_movie(tmp_path / "si.tif")
    np.testing.assert_array_equal(movie.data[:], pages)
    assert isinstance(movie.data, np.ndarray)
    assert movie.fs == 30.02
    assert movie.pixel_um == 2.0
    np.testing.assert_allclose(movie.times_s, times, atol=1e-8)
    assert "fs 30.02 Hz from SI.hRoiManager.scanFrameRate" in movie.history[0]


def test_channels_planes_and_flyback(tmp_path):
    pages = recording(2 * 4 * 5).reshape(5, 4, 2, 6, 8)  # volumes, planes with one of flyback, channels
    times = np.repeat(np.arange(20) / 40.0, 2)
    path = tmp_path / "volumes.tif"
    write_scanimage(path, pages.reshape(-1, 6, 8), times, settings(channels=2, planes=3, flyback=1, rate=40.0))
    with pytest.raises(MovieFileError, match=r"holds 2 channels.*channel=0 to 1"):
        load_movie(path, plane=0)
    with pytest.raises(MovieFileError, match=r"holds 3 planes.*plane=0 to 2"):
        load_movie(path, channel=0)
    for channel, plane in ((0, 0), (1, 2)):
        movie = load_movie(path, channel=channel, plane=plane)
        np.testing.assert_array_equal(movie.data[:], pages[:, plane, channel])
        np.testing.assert_allclose(movie.times_s, times[8 * np.arange(5) + 2 * plane])
        assert movie.fs == 10.0
    assert "channel 1 of 2, plane 2 of 3, fs 10 Hz" in movie.history[0]
    with pytest.raises(MovieFileError, match="plane=3"):
        load_movie(path, channel=0, plane=3)


def test_files_cut_within_a_volume(tmp_path, caplog):
    """ScanImage starts a new file after a number of frames, wherever in a volume that falls."""
    pages = recording(25)
    text = settings(planes=3, rate=30.0)
    for i, part in enumerate((slice(0, 10), slice(10, 20), slice(20, 25))):
        write_scanimage(tmp_path / f"run_{i + 9}.tif", pages[part], np.arange(25)[part] / 30.0, text)
    movie = load_movie(tmp_path, plane=1, progress=False)
    np.testing.assert_array_equal(movie.data[:], pages[1:24:3])
    np.testing.assert_array_equal(movie.data[[5, 2]], pages[[16, 7]])
    assert movie.fs == 10.0
    assert movie.times_s[0] == pytest.approx(1 / 30)
    assert "last volume is incomplete, its 1 pages are left out" in caplog.text
    assert "1 pages of an incomplete volume left out" in movie.history[0]


def test_gaps_are_reported_and_kept(tmp_path, caplog):
    times = np.arange(10) / 30.0
    times[6:] += 1.0
    write_scanimage(tmp_path / "gap.tif", recording(10), times, settings())
    movie = load_movie(tmp_path / "gap.tif")
    np.testing.assert_allclose(movie.times_s, times, atol=1e-8)
    assert "1 gaps in the frame times, the first after frame 5" in caplog.text
    write_scanimage(tmp_path / "back.tif", recording(10), times[::-1], settings())
    assert load_movie(tmp_path / "back.tif").times_s is None
    assert "go back at frame 1" in caplog.text


def test_a_contradicting_rate_takes_the_files_times_along(tmp_path, caplog):
    write_scanimage(tmp_path / "si.tif", recording(4), np.arange(4) / 30.0, settings())
    movie = load_movie(tmp_path / "si.tif", fs=15)
    assert movie.fs == 15
    assert movie.times_s is None
    assert "scanFrameRate says 30 Hz" in caplog.text


def test_older_settings_in_the_description(tmp_path):
    pages = recording(6)
    with tifffile.TiffWriter(tmp_path / "old.tif") as writer:
        for i, page in enumerate(pages):
            lines = [f"Frame Timestamp(s) = {i / 2}", "scanimage.SI.hChannels.channelSave = [1;3]"]
            lines += ["scanimage.SI.hRoiManager.scanFrameRate = 4", "scanimage.SI.hStackManager.numSlices = 1"]
            writer.write(page, description="\n".join(lines), metadata=None, contiguous=False, compression="zlib")
    movie = load_movie(tmp_path / "old.tif", channel=1)
    np.testing.assert_array_equal(movie.data[:], pages[1::2])
    assert movie.fs == 4
    np.testing.assert_allclose(movie.times_s, [0.5, 1.5, 2.5])


def test_too_old_to_be_understood(tmp_path, caplog):
    tifffile.imwrite(tmp_path / "older.tif", recording(6), description="state.acq.frameRate=4", metadata=None)
    assert load_movie(tmp_path / "older.tif", fs=4).n_frames == 6
    assert "older.tif: the settings of this old ScanImage are not read" in caplog.text


def test_slow_stack_is_refused(tmp_path):
    text = settings(planes=2, **{"SI.hStackManager.framesPerSlice": "50"})
    write_scanimage(tmp_path / "stack.tif", recording(4), np.arange(4) / 30.0, text)
    with pytest.raises(MovieFileError, match="slow stack, 50 frames at each of 2 depths"):
        load_movie(tmp_path / "stack.tif", plane=0)


def test_truncated_within_a_page_and_between_pages(tmp_path):
    path = tmp_path / "cut.tif"
    write_scanimage(path, recording(10), np.arange(10) / 30.0, settings())
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(MovieFileError, match=r"cut\.tif: is truncated: page 9 of 10"):
        load_movie(path)
    with tifffile.TiffFile(path) as tif:
        start = tif.pages.get(7).offset
    path.write_bytes(whole[:start])
    with pytest.raises(MovieFileError, match=r"cut\.tif: is truncated: after page 6 another one is announced"):
        load_movie(path)
