"""Videos and Miniscope folders: frames against what was encoded, times and rates against what was written."""

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from calcium_helpers.io import MovieFileError, load_movie
from calcium_helpers.io import video as video_module

RNG = np.random.default_rng(0)
FRAMES = np.cumsum(RNG.integers(-3, 4, (90, 23, 31)), axis=0).astype(np.uint8)  # odd sizes, each frame unlike the others
DEEP = RNG.integers(0, 60000, (40, 23, 31)).astype(np.uint16)
FFV1 = ("-c:v", "ffv1")


def encode(path, frames, *options, fs=20, pixels="gray", data=None):
    """Write frames with ffmpeg and return the path; ``data`` is what stands for them in other formats of pixels."""
    height, width = frames.shape[1:3]
    command = [get_ffmpeg_exe(), "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{width}x{height}"]
    command += ["-r", str(fs), "-i", "-", *options, str(path)]
    done = subprocess.run(command, input=data or frames.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return path


def decode(path, pixels="gray", *options):
    """Decode all frames in one go, the plain way."""
    command = [get_ffmpeg_exe(), "-v", "error", "-i", str(path), *options, "-fps_mode", "passthrough", "-pix_fmt", pixels]
    return subprocess.run([*command, "-f", "rawvideo", "-"], capture_output=True, check=True).stdout


LOSSLESS = {
    "FFV1, key frames only": ("a.avi", (*FFV1, "-g", "1")),
    "FFV1 in groups": ("a.avi", (*FFV1, "-g", "12")),
    "raw grey": ("a.avi", ("-c:v", "rawvideo")),
    "raw BGR": ("a.avi", ("-c:v", "rawvideo", "-pix_fmt", "bgr24")),
    "FFV1 in BGR": ("a.avi", (*FFV1, "-pix_fmt", "bgr0")),
    "palette": ("a.avi", ()),
    "Matroska": ("a.mkv", FFV1),
    "QuickTime": ("a.mov", ("-c:v", "png")),
    "H.264 out of order": ("a.mp4", ("-c:v", "libx264", "-qp", "0", "-bf", "2", "-g", "15")),
}


@pytest.mark.parametrize("case", LOSSLESS)
def test_frames_are_those_encoded(tmp_path, case):
    name, options = LOSSLESS[case]
    frames = FRAMES
    if case == "palette":
        frames = FRAMES[:, :, :28]
        palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, axis=1).tobytes()
        data = b"".join(frame.tobytes() + palette for frame in frames)
        path = encode(tmp_path / name, frames, "-c:v", "rawvideo", pixels="pal8", data=data)
    else:
        path = encode(tmp_path / name, frames, *options)
    movie = load_movie(path, fs=20)
    assert movie.shape == frames.shape
    assert movie.data.dtype == np.uint8
    for key in (slice(None), slice(70, 80), slice(3, 60, 7), slice(9, 2, -3), 89, [5, 88, 5, 1], RNG.permutation(90)[:12]):
        np.testing.assert_array_equal(movie.data[key], frames[key])
    assert "colour" not in movie.history[0]


@pytest.mark.parametrize("name", ["a.avi", "a.mkv"])
@pytest.mark.parametrize("pixels", ["gray16le", "gray10le"])
def test_deep_grey_is_kept(tmp_path, name, pixels):
    frames = DEEP if pixels == "gray16le" else DEEP >> 6
    movie = load_movie(encode(tmp_path / name, frames, *FFV1, pixels=pixels), fs=20)
    assert movie.data.dtype == np.uint16
    np.testing.assert_array_equal(movie.data[:], frames)
    np.testing.assert_array_equal(movie.data[31], frames[31])


def test_deep_colour_of_equal_channels_is_kept(tmp_path):
    data = np.repeat(DEEP[..., None], 3, axis=-1).tobytes()
    movie = load_movie(
        encode(tmp_path / "a.mov", DEEP, "-c:v", "png", "-pix_fmt", "rgb48be", pixels="rgb48le", data=data), fs=20
    )
    np.testing.assert_array_equal(movie.data[:], DEEP)


@pytest.mark.parametrize(("pixels", "luma"), [("yuyv422", 0), ("uyvy422", 1)])
def test_packed_luma_is_taken_as_stored(tmp_path, pixels, luma):
    data = np.full((90, 23, 30, 2), 128, np.uint8)
    data[..., luma] = FRAMES[:, :, :30]
    path = encode(tmp_path / "a.avi", FRAMES[:, :, :30], "-c:v", "rawvideo", pixels=pixels, data=data.tobytes())
    movie = load_movie(path, fs=20)
    np.testing.assert_array_equal(movie.data[:], FRAMES[:, :, :30])
    assert f"luma of {pixels}" in movie.history[0]


LOSSY = {
    "MJPEG": ("a.avi", ("-c:v", "mjpeg", "-q:v", "3")),
    "H.264 in AVI, without times": ("a.avi", ("-c:v", "libx264", "-crf", "18", "-bf", "3", "-g", "20")),
    "MPEG-4, open groups": ("a.mov", ("-c:v", "mpeg4", "-q:v", "2", "-bf", "2")),
    "MPEG-4 that starts late": ("a.mp4", ("-c:v", "mpeg4", "-q:v", "2", "-bf", "2", "-output_ts_offset", "3.3")),
    "MPEG-2": ("a.mkv", ("-c:v", "mpeg2video", "-q:v", "2", "-bf", "2", "-g", "10")),
}


@pytest.mark.parametrize("case", LOSSY)
def test_luma_is_the_same_in_any_order(tmp_path, case):
    name, options = LOSSY[case]
    path = encode(tmp_path / name, FRAMES, *options)
    truth = np.frombuffer(decode(path, "gray", "-vf", "extractplanes=y"), np.uint8).reshape(FRAMES.shape)
    assert len({frame.tobytes() for frame in truth}) == len(truth)
    movie = load_movie(path, fs=20)
    assert "luma of yuv" in movie.history[0]
    np.testing.assert_array_equal(movie.data[:], truth)
    for i in RNG.permutation(90)[:25]:
        np.testing.assert_array_equal(movie.data[int(i)], truth[i])


def test_colour_becomes_grey_and_is_said(tmp_path):
    colours = RNG.integers(0, 256, (12, 8, 9, 3)).astype(np.uint8)
    movie = load_movie(encode(tmp_path / "a.avi", colours, *FFV1, "-pix_fmt", "bgr0", pixels="rgb24"), fs=20)
    expected = colours @ [0.299, 0.587, 0.114]
    assert np.abs(movie.data[:] - expected).max() <= 0.5 + 1e-3
    assert "colour turned to grey, 0.299 R + 0.587 G + 0.114 B" in movie.history[0]


def test_one_frame_and_one_pixel(tmp_path):
    movie = load_movie(encode(tmp_path / "a.avi", FRAMES[:1], *FFV1))
    assert (movie.shape, movie.fs) == ((1, 23, 31), 20)
    np.testing.assert_array_equal(movie.data[:], FRAMES[:1])
    movie = load_movie(encode(tmp_path / "b.mkv", FRAMES[:, :1, :1], *FFV1))
    np.testing.assert_array_equal(movie.data[:], FRAMES[:, :1, :1])


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mp4"])
@pytest.mark.parametrize(("fs", "expected"), [("20", 20), ("30000/1001", 30000 / 1001), ("1/3", 1 / 3), ("500", 500)])
def test_rate_is_read_but_not_trusted(tmp_path, caplog, name, fs, expected):
    codec = ("-c:v", "libx264", "-qp", "0") if name == "a.mp4" else FFV1
    path = encode(tmp_path / name, FRAMES, *codec, fs=fs)
    movie = load_movie(path)
    assert movie.fs == pytest.approx(expected, rel=1e-2 if fs == "1/3" and name == "a.mkv" else 2e-6)
    assert movie.times_s is None
    assert "may hold a playback rate; check it" in caplog.text
    assert load_movie(path, fs=17).fs == 17
    assert "fs = 17 Hz as given is used, although" in caplog.text


def test_uneven_frames_have_times(tmp_path, caplog):
    late = ("-vf", "setpts='N+20*gte(N,25)'", "-fps_mode", "passthrough")
    movie = load_movie(encode(tmp_path / "a.mkv", FRAMES, *late, *FFV1))
    np.testing.assert_allclose(movie.times_s, (np.arange(90) + 20 * (np.arange(90) >= 25)) / 20, atol=1e-3)
    assert movie.fs == pytest.approx(20, rel=1e-3)
    assert "1 gaps in the frame times, the first after frame 24" in caplog.text
    np.testing.assert_array_equal(movie.data[[60, 24, 25]], FRAMES[[60, 24, 25]])


def test_chunks_continue_where_the_last_one_ended(tmp_path, monkeypatch):
    movie = load_movie(encode(tmp_path / "a.avi", FRAMES, *FFV1), fs=20)
    started = []

    class Counted(subprocess.Popen):
        def __init__(self, command, **options):
            started.append(command)
            super().__init__(command, **options)

    monkeypatch.setattr(video_module.subprocess, "Popen", Counted)
    np.testing.assert_array_equal(np.concatenate([movie.frames(i, i + 7) for i in range(0, 90, 7)]), FRAMES)
    assert len(started) == 1
    assert movie.frames(5, 6).sum() == FRAMES[5].sum()
    assert len(started) == 2


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a POSIX system")
def test_an_interrupted_read_shifts_nothing(tmp_path):
    frames = RNG.integers(0, 255, (60, 400, 401)).astype(np.uint8)  # larger than what a pipe holds
    movie = load_movie(encode(tmp_path / "a.avi", frames, *FFV1), fs=20)

    class Interrupt(BaseException):
        pass

    def interrupt(*_):
        raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    read = []
    try:
        for i in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005 if i % 5 == 4 else 0)
                frame = movie.data[i]
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupt:
                continue
            read.append(i)
            np.testing.assert_array_equal(frame, frames[i])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert 48 <= len(read) < 60


CUTS = {
    "AVI in a frame": ("a.avi", lambda data: len(data) * 6 // 10),
    "AVI between frames": ("a.avi", lambda data: data.rfind(b"00dc", 0, len(data) // 2)),
    "AVI without its index": ("a.avi", lambda data: data.rfind(b"idx1")),
    "Matroska in a frame": ("a.mkv", lambda data: len(data) * 6 // 10),
    "Matroska between clusters": ("a.mkv", lambda data: data.rfind(b"\x1f\x43\xb6\x75")),
    "MP4 without its index": ("a.mp4", lambda data: len(data) * 6 // 10),
}


@pytest.mark.parametrize("case", CUTS)
def test_truncated(tmp_path, case):
    name, cut = CUTS[case]
    whole = encode(tmp_path / f"whole_{name}", FRAMES, *(("-c:v", "libx264") if name == "a.mp4" else FFV1), fs=2).read_bytes()
    assert 500 < cut(whole) < len(whole)
    (tmp_path / name).write_bytes(whole[: cut(whole)])
    with pytest.raises(MovieFileError, match=r"is truncated or damaged: about \d+ frames are left|is no readable video"):
        load_movie(tmp_path / name, fs=20)


def test_truncated_where_the_index_stands_first(tmp_path):
    options = ("-c:v", "libx264", "-movflags", "+faststart")
    path = encode(tmp_path / "a.mp4", FRAMES, *options)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(MovieFileError, match=r"is truncated or damaged: about \d+ frames are left"):
        load_movie(path, fs=20)


def test_a_damaged_frame_is_not_skipped(tmp_path):
    path = encode(tmp_path / "a.mov", FRAMES, "-c:v", "png")
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data)) if data[i : i + 4] == b"IDAT"]
    data[starts[40] + 4 : starts[40] + 60] = bytes(56)
    path.write_bytes(data)
    movie = load_movie(path, fs=20)
    np.testing.assert_array_equal(movie.data[:40], FRAMES[:40])
    with pytest.raises(MovieFileError, match=r"frame 4\d of 90 cannot be decoded"):
        movie.data[:]
    np.testing.assert_array_equal(movie.data[80:], FRAMES[80:])


def test_files_of_other_kinds(tmp_path):
    picture = encode(tmp_path / "a.png", FRAMES[:1])
    picture.rename(tmp_path / "picture.avi")
    with pytest.raises(MovieFileError, match="is no readable video"):
        load_movie(tmp_path / "picture.avi", fs=20)
    command = [get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-t", "1", "-i", "sine", str(tmp_path / "sound.mp4")]
    subprocess.run(command, check=True)
    with pytest.raises(MovieFileError, match="is no readable video"):
        load_movie(tmp_path / "sound.mp4", fs=20)
    with pytest.raises(MovieFileError, match="plane=1 was given"):
        load_movie(encode(tmp_path / "a.avi", FRAMES[:2], *FFV1), fs=20, plane=1)


def test_a_pattern_of_videos_is_one_movie(tmp_path):
    for i, part in enumerate(np.split(FRAMES, [40, 41, 70])):
        encode(tmp_path / f"run_{i + 8}.avi", part, *FFV1)
    movie = load_movie(tmp_path / "run_*.avi", fs=20)
    np.testing.assert_array_equal(movie.data[:], FRAMES)
    np.testing.assert_array_equal(movie.data[35:75:3], FRAMES[35:75:3])
    assert "4 files, ffv1" in movie.history[0]
    encode(tmp_path / "run_99.avi", FRAMES[:, :20], *FFV1)
    with pytest.raises(MovieFileError, match=r"run_99\.avi: is .*20, 31.*the first file of the series"):
        load_movie(tmp_path / "run_*.avi", fs=20)


def test_strange_names(tmp_path):
    path = encode(tmp_path / "a.avi", FRAMES[:5], *FFV1).rename(tmp_path / "truncated: 100%03d é.AVI")
    np.testing.assert_array_equal(load_movie(path, fs=20).data[:], FRAMES[:5])


def test_import_is_light():
    code = "import sys, calcium_helpers.io as io; print([m for m in sys.modules if m.split('.')[0] in %r])"
    heavy = ("torch", "matplotlib", "numba", "imageio", "imageio_ffmpeg", "pynwb", "scipy.io", "h5py")
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def write_v4(folder, times_ms, parts=(40, 41, 70), header="Frame Number,Time Stamp (ms),Buffer Index"):
    """Write a folder as version 4 of the Miniscope's software does."""
    folder.mkdir(exist_ok=True)
    for i, part in enumerate(np.split(FRAMES, parts)):
        if not (folder / f"{i + 8}.avi").exists():
            encode(folder / f"{i + 8}.avi", part, *FFV1, fs=60)
    if times_ms is not None:
        rows = "".join(f"{i},{time},0\n" for i, time in enumerate(times_ms))
        (folder / "timeStamps.csv").write_text(f"{header}\n{rows}")
    (folder / "metaData.json").write_text(json.dumps({"deviceName": "Miniscope", "frameRate": "20FPS"}))
    return folder


def milliseconds(n, fs=20.0):
    """Times of a clock that counts whole milliseconds and a camera that is not quite regular."""
    return np.rint(1000 * (np.arange(n) / fs + np.random.default_rng(3).uniform(0, 0.003, n))).astype(int)


@pytest.mark.parametrize("fs", [20.0, 29.97, 60.0])
def test_miniscope_v4(tmp_path, caplog, fs):
    folder = write_v4(tmp_path / "scope", milliseconds(90, fs))
    (folder / "notes.csv").write_text("x")
    movie = load_movie(folder)
    np.testing.assert_array_equal(movie.data[:], FRAMES)
    np.testing.assert_array_equal(movie.times_s, milliseconds(90, fs) / 1000)
    assert movie.fs == pytest.approx(fs, rel=2e-3)
    assert movie.history[0].startswith("loaded scope (90 x 23 x 31 uint8, video, 4 files, ffv1, times of timeStamps.csv")
    assert "Hz from timeStamps.csv" in movie.history[0]
    assert not caplog.records


def test_gaps_of_a_miniscope_are_kept_and_leave_the_rate(tmp_path, caplog):
    times = milliseconds(120)[np.setdiff1d(np.arange(120), np.arange(30, 60))]
    movie = load_movie(write_v4(tmp_path, times))
    assert movie.fs == pytest.approx(20, rel=2e-3)
    assert movie.times_s[30] - movie.times_s[29] == pytest.approx(1.55, abs=0.01)
    assert "timeStamps.csv: 1 gaps in the frame times, the first after frame 29" in caplog.text
    assert "about 30 frames missed" in caplog.text


def test_times_outlive_a_nominal_rate_but_not_another_one(tmp_path, caplog):
    times = milliseconds(90, 19.5)
    folder = write_v4(tmp_path / "scope", times)
    movie = load_movie(folder, fs=20)
    assert movie.fs == 20
    np.testing.assert_array_equal(movie.times_s, times / 1000)
    assert re.search(r"timeStamps.csv says 19\.\d+ Hz; the file's frame times are kept", caplog.text)
    assert load_movie(folder, fs=30).times_s is None
    assert "the file's frame times are left out" in caplog.text


def test_miniscope_times_that_do_not_fit(tmp_path, caplog):
    for n in (88, 92, 0):
        with pytest.raises(MovieFileError, match=rf"timeStamps.csv: holds {n} frame times, the movie has 90 frames"):
            load_movie(write_v4(tmp_path, milliseconds(n)))
    assert load_movie(write_v4(tmp_path, milliseconds(91))).times_s.tolist() == (milliseconds(91)[:90] / 1000).tolist()
    assert "91 frame times for 90 frames, the last one is left out" in caplog.text
    movie = load_movie(write_v4(tmp_path, milliseconds(89)))
    np.testing.assert_allclose(movie.times_s, milliseconds(90) / 1000, atol=0.005)
    assert "89 frame times for 90 frames, the last one is added" in caplog.text
    with pytest.raises(MovieFileError, match="is no table of frame times"):
        load_movie(write_v4(tmp_path, ["now"] * 90))
    times = milliseconds(90)
    times[50] = times[49]
    movie = load_movie(write_v4(tmp_path, times))
    assert movie.times_s is None
    assert movie.fs == pytest.approx(20, rel=2e-3)
    assert "frame times go back at frame 50" in caplog.text


def test_miniscope_without_times(tmp_path, caplog):
    movie = load_movie(write_v4(tmp_path, None))
    assert (movie.fs, movie.times_s) == (20, None)
    assert "fs 20 Hz from frameRate in metaData.json" in movie.history[0]
    assert not caplog.records
    (tmp_path / "metaData.json").write_text("{")
    assert load_movie(tmp_path).fs == 60
    assert "playback rate" in caplog.text


def write_v3(folder, cameras):
    """Write a folder as version 3 does: ``cameras`` gives the times (ms) of each."""
    for i, part in enumerate(np.split(FRAMES, [30, 60])):
        encode(folder / f"msCam{i + 1}.avi", part, *FFV1, fs=60)
        encode(folder / f"behavCam{i + 1}.avi", part[:, ::-1], *FFV1, fs=60)
    rows = [(time, number, i + 1) for number, times in cameras.items() for i, time in enumerate(times)]
    lines = [f"{number}\t{i}\t{time}\t1\n" for time, number, i in sorted(rows, key=lambda row: row[2])]
    (folder / "timestamp.dat").write_text("camNum\tframeNum\tsysClock\tbuffer\n" + "".join(lines))


def test_miniscope_v3(tmp_path, caplog):
    times = milliseconds(90)
    clock = [4294967254, *times[1:]]  # as the first time of each camera usually is
    write_v3(tmp_path, {0: [17, *milliseconds(110, 30.0)], 1: clock})
    movie = load_movie(tmp_path)
    np.testing.assert_array_equal(movie.data[:], FRAMES)
    np.testing.assert_array_equal(movie.times_s[1:], times[1:] / 1000)
    assert movie.times_s[0] == pytest.approx(times[1] / 1000 - 0.05, abs=0.002)
    assert movie.fs == pytest.approx(20, rel=2e-3)
    assert "does not lie before the second (0.05" in caplog.text
    assert "several cameras" not in caplog.text
    write_v3(tmp_path, {0: times, 1: times})
    assert load_movie(tmp_path).times_s.tolist() == (times / 1000).tolist()
    assert "several cameras have 90 frame times, those of camera 0 are taken" in caplog.text


def test_folders_that_are_no_recording(tmp_path):
    write_v4(tmp_path, None)
    (tmp_path / "9.avi").unlink()
    with pytest.raises(MovieFileError, match=r"8\.avi to 11\.avi are not complete: number 9 is missing"):
        load_movie(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    encode(other / "left.avi", FRAMES, *FFV1)
    assert load_movie(other, fs=20).n_frames == 90
    encode(other / "right.avi", FRAMES, *FFV1)
    with pytest.raises(MovieFileError, match=r"holds 2 videos, expected one or a numbered series: left\.avi, right\.avi"):
        load_movie(other, fs=20)
