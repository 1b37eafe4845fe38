"""Movies in video files (AVI, MP4, MKV, MOV): frames decoded on demand by ffmpeg, found by their own times."""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import IO, Any, NamedTuple
from weakref import finalize

import numpy as np
from tqdm import tqdm

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.lazy import LazyFrames, join
from calcium_helpers.io.source import Choice, Source, check_times, rate_of

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov")
SKIPPED_FRAMES = 50
"""Up to so many frames are decoded and dropped on the way forward; starting ffmpeg anew takes longer."""

GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in grey (ITU-R BT.601)."""

_CONTAINERS = ("-format_whitelist", "avi,mov,matroska")
"""What ffmpeg may take a file for: it would read an image as a movie of one frame."""

_AGAIN = "It may be truncated or of another kind: copy or export it again"
_BROKEN = re.compile(r"^\[[^]]*\] .*(ended prematurely|corrupt|truncat|partial file)", re.IGNORECASE | re.MULTILINE)


class _Pixels(NamedTuple):
    """What is asked of ffmpeg: a format of pixels, the options that lead there, and what they are as an array."""

    format: str
    options: tuple[str, ...]
    dtype: np.dtype[Any]
    samples: int
    note: str


class VideoIndex(NamedTuple):
    """The frames of one file.

    ``ticks`` (n,) are the frames' times from the start of the file, seconds, increasing; ``keys`` the numbers of frames from
    which decoding can start, the first one always among them; ``rate`` the frame rate that the file's header names, Hz.
    """

    path: Path
    ticks: np.ndarray
    shape: tuple[int, int]
    codec: str
    pixels: _Pixels
    rate: float | None
    keys: np.ndarray


def read_videos(paths: Sequence[Path], choice: Choice) -> Source:
    """Open one video file, or several as one movie in the given order.

    The packets of each file are counted at the start, which reads the file once but decodes nothing. Grey of 8 to 16 bits
    is kept as it is. Of YUV colours the luma is taken as stored; RGB becomes grey, exactly where its channels are equal.
    """
    choice.allow(paths[0])
    bar = tqdm(paths, desc="opening files", unit="file", disable=len(paths) == 1 or not choice.progress)
    videos = [index_video(path) for path in bar]
    first = videos[0]
    for video in videos[1:]:
        ours, theirs = (f"{v.codec} {v.shape} {v.pixels.format}" for v in (video, first))
        if ours != theirs:
            problem = f"is {ours}, the first file of the series ({first.path.name}) is {theirs}"
            raise MovieFileError(video.path, problem, "Keep other recordings in other folders")
    counts = [len(video.ticks) for video in videos]
    frames = join([partial(_open, video) for video in videos], counts, first.shape, first.pixels.dtype)
    note = first.pixels.note
    fs, times = _timing(first)
    return Source(
        frames,
        "video",
        fs=fs,
        fs_from="the video, which may hold a playback rate",
        times_s=times if len(videos) == 1 else None,
        notes=(*([f"{len(videos)} files"] if len(videos) > 1 else []), first.codec, *([note] if note else [])),
    )


def index_video(path: Path) -> VideoIndex:
    """Find the frames of a file and check that its end is there."""
    from imageio_ffmpeg import get_ffmpeg_exe

    command = [get_ffmpeg_exe(), "-hide_banner", "-nostdin", *_CONTAINERS, "-i", f"file:{path}", "-map", "0:v:0"]
    command += ["-c", "copy", "-copyinkf", "-f", "framecrc", "-"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    log = done.stderr
    header = dict(re.findall(r"^#(tb|dimensions) 0: (.*)$", done.stdout, re.MULTILINE))
    stream = re.search(r"Stream #.*?Video: (\w+)[^,]*, (\w+)(.*)", log)
    packets = re.findall(r"^0, *(-?\d+), *(-?\d+),(?:.*F=0x(\w+))?", done.stdout, re.MULTILINE)
    if done.returncode or not stream or not packets:
        raise MovieFileError(path, f"is no readable video ({_last_line(log) or 'it holds no frames'})", _AGAIN)
    if _is_cut(path) or _BROKEN.search(log):
        raise MovieFileError(path, f"is truncated or damaged: about {len(packets)} frames are left", "Copy the file again")
    ticks, keys = _order(packets)
    width, height = (int(n) for n in header["dimensions"].split("x"))
    rate = re.search(r"([\d.]+) fps", stream[3])
    video = VideoIndex(
        path,
        ticks * float(Fraction(header["tb"])),
        (height, width),
        stream[1],
        _pixels(path, stream[2]),
        float(rate[1]) if rate and float(rate[1]) > 0 else None,
        keys[:1] if stream[2] == "pal8" else keys,  # a palette may stand at the first frame alone
    )
    last = _VideoReader(video).decode(len(packets) - 1)  # complains unless the last packet gives the last frame
    return video if last.ndim == 2 or _has_colour(last) else video._replace(pixels=video.pixels._replace(note=""))


def _order(packets: list[tuple[str, str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of frames, sorted, and the numbers of key frames, of packets (time decoded, time shown, flags)."""
    decoded, shown = np.array([packet[:2] for packet in packets]).astype(np.int64).T
    if shown.min() == np.iinfo(np.int64).min:  # AVI with frames out of order states no times
        shown = decoded
    order = np.argsort(shown, kind="stable")
    is_key = np.array([not flags or int(flags, 16) & 1 for *_, flags in packets], dtype=bool)[order]
    if shown is decoded or (np.diff(shown[order]) == 0).any():  # times do not lead to frames: all is decoded from the start
        is_key[:] = False
    return shown[order], np.union1d(0, np.flatnonzero(is_key))


def _last_line(log: str) -> str:
    """Return the last thing that ffmpeg said."""
    return next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")


def _is_cut(path: Path) -> bool:
    """Whether an AVI file is shorter than its first bytes say."""
    with path.open("rb") as file:
        start = file.read(8)
    return start[:4] == b"RIFF" and int.from_bytes(start[4:], "little") + 8 > path.stat().st_size


def _pixels(path: Path, name: str) -> _Pixels:
    """Decide how pixels of a format, as ffmpeg names it, become grey."""
    if re.search(r"f(16|32)(le|be)?$", name):
        raise MovieFileError(path, f"holds pixels of kind {name}, expected integers", "Convert the movie to a TIFF file")
    deep = re.search(r"(9|1[0246]|48|64)(le|be)$", name)  # bits a sample, or of three or four of 16
    dtype = np.dtype("<u2" if deep else "u1")
    grey = f"gray{min(int(deep[1]), 16)}le" if deep else "gray"
    if name.startswith("gray"):
        return _Pixels(grey, (), dtype, 1, "")
    if re.match(r"[yuv]|ayuv|nv|p[0-4]", name):
        return _Pixels(grey, ("-vf", "extractplanes=y"), dtype, 1, f"luma of {name}")
    weights = " + ".join(f"{weight} {colour}" for weight, colour in zip(GREY_WEIGHTS, "RGB", strict=True))
    return _Pixels("rgb48le" if deep else "rgb24", (), dtype, 3, f"colour turned to grey, {weights}")


def _timing(video: VideoIndex) -> tuple[float | None, np.ndarray | None]:
    """Return the rate, and the frame times where they are uneven beyond the rounding of the file's clock."""
    ticks = video.ticks - video.ticks[0]
    n = len(ticks)
    if n == 1:
        return video.rate, None
    even = float(f"{(n - 1) / ticks[-1]:.10g}")
    for rate, tolerance in ((even, 1e-6), (video.rate, 0.25), (even, 0.25)):
        if rate and np.abs(ticks * rate - np.arange(n)).max() < tolerance:
            return rate, None
    times = check_times(video.path, video.ticks)
    return rate_of(ticks), times


def _open(video: VideoIndex) -> LazyFrames:
    return LazyFrames(_VideoReader(video).read, (len(video.ticks), *video.shape), video.pixels.dtype)


class _Stream:
    """Frames as ffmpeg gives them, from one on; it waits where nobody reads on."""

    def __init__(self, video: VideoIndex, row: int) -> None:
        from imageio_ffmpeg import get_ffmpeg_exe

        # A quarter of a step before the frame's time: ffmpeg drops what comes earlier, and no rounding reaches a neighbour.
        before, here = video.ticks[[row - 1, row]] if row else (0.0, 0.0)
        start = ["-ss", f"{here - (here - before) / 4:.6f}"] if row else []
        command = [get_ffmpeg_exe(), "-nostdin", "-v", "error", "-xerror", "-noautorotate", *_CONTAINERS, *start]
        command += ["-i", f"file:{video.path}", "-map", "0:v:0", "-fps_mode", "passthrough"]
        command += [*video.pixels.options, "-pix_fmt", video.pixels.format, "-f", "rawvideo", "-"]
        self.next = row
        self._log = TemporaryFile()  # noqa: SIM115  (a pipe could fill up; closed with the process)
        # in a session of its own, so that who interrupts the reader does not end the stream
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True)
        self.close = finalize(self, _end, self._process, self._log)

    def read(self, n_bytes: int) -> bytes:
        """Return the next frame, or fewer bytes where there is none."""
        self.next += 1
        return self._process.stdout.read(n_bytes)  # type: ignore[union-attr]

    def complaint(self) -> str:
        """Return the last line of what ffmpeg complained about."""
        self._process.wait()
        self._log.seek(0)
        return _last_line(self._log.read().decode(errors="replace")) or "it ends before"


def _end(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """End ffmpeg, which may be waiting for a reader."""
    process.kill()
    process.stdout.close()  # type: ignore[union-attr]
    process.wait()
    log.close()


class _VideoReader:
    """Decodes frames of one file; one thread at a time. What follows the last frame read costs no new start."""

    def __init__(self, video: VideoIndex) -> None:
        self._video = video
        self._stream: _Stream | None = None
        self._lock = Lock()

    def read(self, key: slice | np.ndarray) -> np.ndarray:
        """Return frames by a slice or by increasing numbers."""
        rows = np.arange(len(self._video.ticks))[key]
        out = np.empty((len(rows), *self._video.shape), self._video.pixels.dtype)
        with self._lock:
            try:
                for i, row in enumerate(rows):
                    out[i] = _grey(self.decode(int(row)))
            except BaseException:  # an interrupted read leaves a part of a frame behind
                self._close()
                raise
        return out

    def decode(self, row: int) -> np.ndarray:
        """Return the pixels of a frame (H, W) or (H, W, 3), from the running stream where it is near ahead."""
        video = self._video
        start = int(video.keys[np.searchsorted(video.keys, row, side="right") - 1])
        if self._stream is None or row < self._stream.next or start > self._stream.next + SKIPPED_FRAMES:
            self._close()
            self._stream = _Stream(video, start)
        shape = video.shape if video.pixels.samples == 1 else (*video.shape, video.pixels.samples)
        n_bytes = int(np.prod(shape)) * video.pixels.dtype.itemsize
        while self._stream.next <= row:
            frame = self._stream.read(n_bytes)
            if len(frame) < n_bytes:
                problem = f"frame {self._stream.next - 1} of {len(video.ticks)} cannot be decoded ({self._stream.complaint()})"
                raise MovieFileError(video.path, problem, _AGAIN)
        if row == len(video.ticks) - 1:
            surplus = self._stream.read(1)
            self._close()
            if surplus:
                problem = f"gives more frames than its {len(video.ticks)} packets"
                raise MovieFileError(video.path, problem, "Convert it, for instance to AVI with the codec FFV1")
        return np.frombuffer(frame, video.pixels.dtype).reshape(shape)

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _has_colour(frame: np.ndarray) -> bool:
    return frame.ndim == 3 and bool((frame != frame[..., :1]).any())


def _grey(frame: np.ndarray) -> np.ndarray:
    """Return a frame as grey (H, W); equal channels stay what they are."""
    if not _has_colour(frame):
        return frame if frame.ndim == 2 else frame[..., 0]
    return np.rint(frame @ np.array(GREY_WEIGHTS, dtype=np.float32)).astype(frame.dtype)
