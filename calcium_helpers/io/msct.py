"""Movies of miniature synaptic transients with their labels, in the HDF5 layout in which annotated ones are published.

``train|valid/<stream>/`` holds ``input`` (N, H, W) float32, ``label`` (N, H, W) uint16 (0 where nothing is labelled, else the
event's id) and ``events`` (M, 7) integers: id, then start and stop in time, y and x.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from calcium_helpers.io.arrays import open_hdf5
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.lazy import LazyFrames
from calcium_helpers.io.load import sort_naturally
from calcium_helpers.io.save import atomic_path

SPLITS = ("train", "valid")
LARGEST_ID = int(np.iinfo(np.uint16).max)
CHUNK = (16, 128, 128)  # a crop for training touches few of them

_LAYOUT = "Expected are groups train and valid, with groups of input (N, H, W), label (N, H, W) and events (M, 7)"


class Stream(NamedTuple):
    """One recording: ``movie`` (N, H, W) float32, ``label`` (N, H, W) uint16 and ``events`` (M, 7) int64.

    0 in ``label`` means not labelled. A row of ``events`` is (id, t0, t1, y0, y1, x0, x1), half-open. Without labels ``label``
    is 0 throughout and ``events`` empty. Where read lazily, movie and label are arrays on disk: slice them, or ``np.asarray``.
    """

    name: str
    movie: Any
    label: Any
    events: np.ndarray


def read_streams(path: str | Path, *, split: str = "train", lazy: bool = False) -> list[Stream]:
    """Read the recordings of one group of a file.

    Parameters
    ----------
    path : str or Path
        HDF5 in the layout above; other groups and datasets are ignored.
    split : str
        Name of the group: "train" or "valid".
    lazy : bool
        Leave movies and labels on disk; what is sliced is read.

    Returns
    -------
    list of Stream
        By name, numbers as numbers. Where ``label`` or ``events`` are missing, the label is empty, or events are found in it.

    Raises
    ------
    MovieFileError
        When the file cannot be read or does not have the layout; names the dataset.
    """
    path = Path(path)
    if not path.exists():
        raise MovieFileError(path, "there is no such file", "Check the path; relative ones start at the working folder")
    with open_hdf5(path) as file:
        if split not in file or not hasattr(file[split], "keys"):
            raise MovieFileError(path, f"has no group {split!r}, only {sorted(file)}", _LAYOUT)
        names = [name.name for name in sort_naturally(map(Path, file[split]))]
        return [_read_stream(path, file[split], name, lazy) for name in names]


def write_streams(path: str | Path, splits: Mapping[str, Sequence[Stream]]) -> None:
    """Write recordings, compressed; an existing file is replaced, once all is written.

    Parameters
    ----------
    path : str or Path
        File to write.
    splits : mapping of str to sequence of Stream
        Such as ``{"train": [...], "valid": [...]}``.

    Raises
    ------
    ValueError
        When shapes do not fit each other, ids are no uint16, boxes reach outside, or names are not unique within a group.
    """
    import h5py

    with atomic_path(Path(path)) as temporary, h5py.File(temporary, "w") as file:
        for split, streams in splits.items():
            group = file.create_group(split)
            for stream in streams:
                _write_stream(group, stream)


def append_stream(path: str | Path, stream: Stream, *, split: str = "train") -> None:
    """Add a recording to a file, which is made where there is none; on failure the file stays as it was.

    Parameters
    ----------
    path : str or Path
        File in the layout above.
    stream : Stream
        Its name must be new in the group.
    split : str
        Name of the group.

    Raises
    ------
    MovieFileError, ValueError
        When the file cannot be read, or for the reasons of ``write_streams``.
    """
    import h5py

    path = Path(path)
    with atomic_path(path) as temporary:
        if path.exists():
            with open_hdf5(path) as file:
                file.close()
            shutil.copyfile(path, temporary)
        with h5py.File(temporary, "a") as file:
            _write_stream(file.require_group(split), stream)


def events_of(label: np.ndarray) -> np.ndarray:
    """Find ids and boxes of the events in a label volume.

    Parameters
    ----------
    label : ndarray of int, shape (T, H, W)
        0 outside events.

    Returns
    -------
    ndarray of int64, shape (M, 7)
        (id, t0, t1, y0, y1, x0, x1), half-open, sorted by id.

    Examples
    --------
    >>> label = np.zeros((4, 5, 6), np.uint16)
    >>> label[1:3, 2, 3:6] = 7
    >>> events_of(label).tolist()
    [[7, 1, 3, 2, 3, 3, 6]]
    """
    boxes = ndimage.find_objects(np.asarray(label))
    rows = [(i, *(n for part in box for n in (part.start, part.stop))) for i, box in enumerate(boxes, 1) if box is not None]
    return np.array(rows, dtype=np.int64).reshape(-1, 7)


def masks_of(label: np.ndarray, events: np.ndarray) -> tuple[tuple[int, int, int, np.ndarray], ...]:
    """Cut the volumes of events out of their label, in the form of ``Events.masks``.

    Parameters
    ----------
    label : ndarray of int, shape (T, H, W)
        0 outside events.
    events : ndarray of int, shape (M, 7)
        As of ``events_of``.

    Returns
    -------
    tuple
        Per event ``(t0, y0, x0, boolean array)``.
    """
    masks = []
    for number, t0, t1, y0, y1, x0, x1 in np.asarray(events).tolist():
        masks.append((t0, y0, x0, np.asarray(label[t0:t1, y0:y1, x0:x1]) == number))
    return tuple(masks)


def _read_stream(path: Path, group: Any, name: str, lazy: bool) -> Stream:
    """Read or open one recording and check what is known without its pixels."""
    item = group[name]
    place = item.name.lstrip("/")
    if not hasattr(item, "keys") or "input" not in item:
        raise MovieFileError(path, f"{place} has no dataset input", _LAYOUT)
    parts = {key: item[key] for key in ("input", "label", "events") if key in item}
    for key, dataset in parts.items():
        kinds, n_axes = ("iuf", 3) if key == "input" else ("iu", 3 if key == "label" else 2)
        if getattr(dataset, "ndim", None) != n_axes or dataset.dtype.kind not in kinds:
            seen = f"{getattr(dataset, 'shape', 'no')} of {getattr(dataset, 'dtype', 'a group')}"
            raise MovieFileError(path, f"{place}/{key} has the shape {seen}", _LAYOUT)
    read = partial(_read_dataset, path)
    shape = parts["input"].shape
    movie: Any = LazyFrames(read(parts["input"]), shape, np.float32)
    label: Any = np.zeros(shape, np.uint16)
    if "label" in parts:
        label = LazyFrames(read(parts["label"]), parts["label"].shape, np.uint16)
    if not lazy:
        movie, label = np.asarray(movie), np.asarray(label)
    found = read(parts["events"])(slice(None)) if "events" in parts else events_of(label)
    events = np.asarray(found, dtype=np.int64)
    stream = Stream(name, movie, label, events)
    if (problem := _problem(stream)) is not None:
        raise MovieFileError(path, f"{place}/{problem}", _LAYOUT)
    return stream


def _read_dataset(path: Path, dataset: Any) -> Callable[[Any], np.ndarray]:
    """Give a reader of a dataset that says which one is damaged."""

    def read(key: Any) -> np.ndarray:
        try:
            values = np.asarray(dataset[key])
        except (OSError, ValueError, RuntimeError) as error:
            problem = f"{dataset.name.lstrip('/')} cannot be read ({error})"
            raise MovieFileError(path, problem, "It may be damaged: copy or download it again") from error
        if values.dtype.kind in "iu" and values.size and not 0 <= values.min() <= values.max() <= LARGEST_ID:
            problem = f"{dataset.name.lstrip('/')} holds {values.min()} to {values.max()}, expected 0 to {LARGEST_ID}"
            raise MovieFileError(path, problem, "Number the events anew")
        return values

    return read


def _problem(stream: Stream) -> str | None:
    """Say what does not fit together, or None."""
    shape, events = tuple(stream.movie.shape), np.asarray(stream.events)
    if len(shape) != 3:
        return f"input must be (N, H, W), got shape {shape}"
    if tuple(stream.label.shape) != shape:
        return f"label has the shape {tuple(stream.label.shape)}, but input {shape}"
    if events.ndim != 2 or (events.size and events.shape[1] != 7):
        return f"events must be (M, 7), got shape {events.shape}"
    rows = events.reshape(-1, 7)
    if len(rows) and (rows[:, 0].min() < 1 or rows[:, 0].max() > LARGEST_ID):
        return f"events must have ids 1 to 65535, got {rows[:, 0].min()} to {rows[:, 0].max()}"
    start, stop = rows[:, 1::2], rows[:, 2::2]
    wrong = ((start < 0) | (stop <= start) | (stop > shape)).any(axis=1)
    if wrong.any():
        return f"events has the box {rows[np.argmax(wrong), 1:].tolist()} of event {rows[np.argmax(wrong), 0]}, outside {shape}"
    return None


def _write_stream(group: Any, stream: Stream) -> None:
    """Write one recording, chunk by chunk."""
    if (problem := _problem(stream)) is not None:
        raise ValueError(f"stream {stream.name!r}: {problem}")
    if stream.name in group:
        raise ValueError(f"stream {stream.name!r} is there already in {group.name.lstrip('/')}: give it another name")
    if not stream.name or "/" in stream.name:
        raise ValueError(f"stream names must be text without '/', got {stream.name!r}")
    item, shape = group.create_group(stream.name), tuple(stream.movie.shape)
    chunks = tuple(min(n, m) for n, m in zip(CHUNK, shape, strict=True))
    for key, frames, dtype in (("input", stream.movie, "f4"), ("label", stream.label, "u2")):
        dataset = item.create_dataset(key, shape, dtype, chunks=chunks, compression="gzip", shuffle=True)
        for start in range(0, shape[0], CHUNK[0]):
            part = np.asarray(frames[start : start + CHUNK[0]])
            if key == "label" and part.size and (part.min() < 0 or part.max() > LARGEST_ID):
                raise ValueError(f"stream {stream.name!r}: labels must be 0 to 65535, got {part.min()} to {part.max()}")
            dataset[start : start + len(part)] = part
    item.create_dataset("events", data=np.asarray(stream.events, dtype=np.int64).reshape(-1, 7))
