"""Movies in TIFF files: one file or a series, memory-mapped where the bytes lie in order, else read page by page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.lazy import LazyFrames, join, native, select
from calcium_helpers.io.source import Choice, Source, check_array, check_times, pick
from calcium_helpers.io.tiff_pages import TiffPages, index_pages, open_pages

logger = logging.getLogger(__name__)


def read_tiff(paths: Sequence[Path], choice: Choice) -> Source:
    """Open one TIFF file, or several as one movie in the given order.

    Multi-page files, BigTIFF, OME-TIFF, ImageJ hyperstacks (also beyond 4 GB, where one page directory stands for all
    frames) and ScanImage files are understood. Files whose pages lie evenly spaced and uncompressed are memory-mapped; of
    others the pages are indexed once and decoded when asked for.
    """
    choice.allow(paths[0], "channel", "plane")
    single = len(paths) == 1
    bar = tqdm(paths, desc="opening files", unit="file", disable=single or not choice.progress)
    files = [index_pages(path, progress=single and choice.progress) for path in bar]
    first = files[0]
    for file in files[1:]:
        _check_same(first, file)
    rows, notes = _rows(files, choice)
    if single:
        pages = open_pages(first)
    else:
        pages = join([partial(open_pages, file) for file in files], [file.n for file in files], first.shape, first.dtype)
        notes = [f"{len(files)} files", *notes]
    frames = select(pages, rows)
    if "S" in first.axes:
        frames = _sample(first, frames, choice.channel, notes)
    check_array(first.path, frames.shape, frames.dtype)
    meta = first.meta
    return Source(
        frames=native(frames) if isinstance(frames, np.ndarray) else frames,
        kind=meta.kind,
        fs=meta.fs,
        fs_from=meta.fs_from,
        pixel_um=meta.pixel_um,
        times_s=check_times(first.path, np.concatenate([file.times_s for file in files])[rows]),
        notes=(*notes, *([meta.note] if meta.note else [])),
    )


def _check_same(first: TiffPages, file: TiffPages) -> None:
    """Raise unless the files of a series go together."""
    ours, theirs = (
        f"{pages.meta.kind} {pages.shape} {pages.dtype.name}, {dict(pages.meta.sizes_beside_time) or 'one channel and plane'}"
        for pages in (file, first)
    )
    if ours != theirs:
        problem = f"is {ours}, the first file of the series ({first.path.name}) is {theirs}"
        raise MovieFileError(file.path, problem, "Keep other recordings in other folders")


def _rows(files: Sequence[TiffPages], choice: Choice) -> tuple[np.ndarray, list[str]]:
    """Return the page numbers of the chosen channel and plane in order of time."""
    first = files[0]
    counts = [file.n for file in files]
    if first.meta.kind == "ScanImage TIFF":  # it cuts its files anywhere in a volume
        counts = [sum(counts)]
    sizes = dict(first.meta.sizes_beside_time)
    planes = first.meta.planes or sizes.get("Z", 1)
    samples = "S" in first.axes
    chosen = {
        "C": 0 if samples else pick(first.path, "channel", sizes.get("C", 1), choice.channel),
        "Z": pick(first.path, "plane", planes, choice.plane),
    }
    notes = [f"channel {chosen['C']} of {sizes['C']}"] if sizes.get("C", 1) > 1 else []
    notes += [f"plane {chosen['Z']} of {planes}"] if planes > 1 else []
    rows, start = [], 0
    for n in counts:
        rows.append(start + _rows_of_file(first, n, chosen, notes))
        start += n
    return np.concatenate(rows), notes


def _rows_of_file(pages: TiffPages, n: int, chosen: dict[str, int], notes: list[str]) -> np.ndarray:
    per_time = int(np.prod([size for _, size in pages.meta.sizes_beside_time]))
    n_times, rest = divmod(n, per_time)
    if n_times == 0:
        raise MovieFileError(pages.path, f"holds {n} pages, fewer than its {per_time} channels x planes", "It is incomplete")
    if rest:  # an acquisition that was stopped within a volume
        logger.warning("%s: the last volume is incomplete, its %d pages are left out", pages.path.name, rest)
        notes.append(f"{rest} pages of an incomplete volume left out")
    order = [axis for axis, _ in pages.meta.sizes]
    sizes = [n_times if axis == "T" else size for axis, size in pages.meta.sizes]
    numbers = np.arange(n - rest).reshape(sizes)
    return numbers[tuple(slice(None) if axis == "T" else chosen[axis] for axis in order)]


def _sample(pages: TiffPages, frames: Any, channel: int | None, notes: list[str]) -> Any:
    """Take one colour of RGB frames."""
    axis = 1 + pages.axes.index("S")
    n = frames.shape[axis]
    if channel is None:
        problem = f"is in colour ({n} values a pixel), expected one"
        raise MovieFileError(pages.path, problem, f"Choose one with channel=0 to {n - 1}, or convert it to grey")
    inner = (slice(None),) * (axis - 1) + (pick(pages.path, "channel", n, channel),)
    notes.append(f"colour {channel} of {n}")
    if isinstance(frames, np.ndarray):
        return frames[(slice(None), *inner)]
    shape = frames.shape[:axis] + frames.shape[axis + 1 :]
    return LazyFrames(lambda key: frames[key][(slice(None), *inner)], shape, frames.dtype)
