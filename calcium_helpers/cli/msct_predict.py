"""Finding the synaptic transients of movies by a file of settings, a folder each."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from matplotlib.figure import Figure

from calcium_helpers import __version__
from calcium_helpers.cli.batch import list_entries
from calcium_helpers.cli.msct_config import Settings, read_settings
from calcium_helpers.containers import Events, Movie
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.load import load_movie
from calcium_helpers.memory import limit_memory
from calcium_helpers.models._base import WEIGHTS
from calcium_helpers.models.msct.tiles import CORE
from calcium_helpers.models.msct.trained import TransientNet, as_seen, find_transients, load_transient_net
from calcium_helpers.movie import iter_chunks
from calcium_helpers.plots.transients import show_sites, show_transients
from calcium_helpers.transients.features import measure_events
from calcium_helpers.transients.sites import find_sites
from calcium_helpers.transients.volumes import label_from_events

STAMP = "done.json"
BASE_GB, VOXEL_BYTES, TILE_BYTES = 0.6, 5, 200
"""What predicting takes: libraries, labels (a voxel of the movie), what a network holds (a voxel of the part that it sees)."""

LIMIT_GB = 4.0
"""Arrays of a movie that are large for this lie in unnamed files in the folder of results."""

FAILURES = (ValueError, TypeError, OSError, MemoryError, RuntimeError)


def run_predict(options: argparse.Namespace) -> int:
    """Find the transients of all movies; 1 when one of them failed."""
    kind, path = options.network, options.config
    settings = read_settings(path, kind, "movies", "out")
    out = settings.out
    if settings.model is not None and not settings.model.is_dir():
        raise MovieFileError(path, f"model is {settings.model}, expected the folder of a trained network", "Train it first")
    if out.is_file():
        raise MovieFileError(path, f"out is {out}, expected a folder, not a file", "Name another one")
    folder = settings.model or WEIGHTS / kind.replace("-", "_")
    network = load_transient_net(kind, folder)
    known = b"".join((folder / name).read_bytes() for name in ("config.json", "weights.safetensors", "thresholds.json"))
    out.mkdir(parents=True, exist_ok=True)
    entries = list_entries(argparse.Namespace(movies=_list_movies(path, settings)))
    failed = []
    for number, entry in enumerate(entries, 1):
        print(f"[{number}/{len(entries)}] {entry.path} -> {out / entry.folder}", flush=True)
        try:
            print(f"    {_predict(entry.path, out / entry.folder, settings, network, known, options)}", flush=True)
        except FAILURES as error:
            failed.append(entry.path)
            # What the library calls an argument is a key here.
            message = re.sub(r"\b(fs|dataset|channel|plane)=", r"the key \1", str(error) or type(error).__name__)
            print(f"    failed: {message}", file=sys.stderr, flush=True)
    if failed:
        print(f"{len(failed)} of {len(entries)} failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _list_movies(path: Path, settings: Settings) -> list[str]:
    """List the movies of patterns and names; what does not exist is listed too, to fail with its name."""
    found: list[str] = []
    for pattern in settings.movies:
        place = str(path.parent / pattern)
        found += [place] if Path(place).exists() else sorted(glob(place)) or [place]
    return list(dict.fromkeys(found))


def _predict(
    name: str, folder: Path, settings: Settings, network: TransientNet, known: bytes, options: argparse.Namespace
) -> str:
    """Find the transients of one movie, unless that was done; returns what came of it."""
    start = time.perf_counter()
    loaded = {key: getattr(settings, key) for key in ("fs", "pixel_um", "dataset", "channel", "plane")}
    key = _key(name, loaded, known)
    if folder.exists() and not options.force:
        if _read_key(folder / STAMP) == key:
            return "done in an earlier run"
        raise MovieFileError(folder, "holds something else than what would be found", "Name another out, or add --force")
    movie = load_movie(name, **loaded)
    print(f"    {movie}, about {_gigabytes(movie.shape, network):.1f} GB of memory", flush=True)
    progress = not options.quiet
    with limit_memory(LIMIT_GB, folder.parent):
        movie = as_seen(movie, progress=progress)
        events = find_transients(movie, network, device=options.device, progress=progress)
    with _whole_folder(folder) as part:
        _write(events, movie, part)
        (part / STAMP).write_text(json.dumps({"key": key}) + "\n", encoding="utf-8")
    return f"{len(events)} {'event' if len(events) == 1 else 'events'} in {time.perf_counter() - start:.0f} s"


def _gigabytes(shape: tuple[int, int, int], network: TransientNet) -> float:
    """Estimate the memory that a movie takes."""
    reach = int(network.model.reach)  # type: ignore[arg-type]
    tile = [min(size, side + 2 * reach) for size, side in zip(shape, CORE, strict=True)]
    return BASE_GB + (math.prod(shape) * VOXEL_BYTES + math.prod(tile) * TILE_BYTES) / 1e9


def _key(name: str, loaded: dict[str, Any], known: bytes) -> str:
    """Hash movie, network and settings: another key means other events."""
    files = [Path(name), *sorted(Path(name).iterdir())] if Path(name).is_dir() else [Path(name)]
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
    return hashlib.sha256(repr((__version__, stats, loaded)).encode() + known).hexdigest()


def _read_key(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder; in the end it becomes ``folder``, or its files replace those of the same names there."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-", ignore_cleanup_errors=True) as name:
        part = Path(name, folder.name)
        part.mkdir()
        yield part
        if not folder.exists():
            part.rename(folder)
            return
        (folder / STAMP).unlink(missing_ok=True)  # until all are replaced, they are not of one run
        for file in sorted(part.iterdir(), key=lambda file: file.name == STAMP):
            file.replace(folder / file.name)


def _write(events: Events, movie: Movie, folder: Path) -> None:
    """Write tables, label and picture."""
    events.table.to_csv(folder / "events.csv", index=False)
    measure_events(events, movie).to_csv(folder / "features.csv", index=False)
    _write_label(events, movie, folder / "label.tif")
    _draw(events, movie, folder / "transients.png")


def _write_label(events: Events, movie: Movie, path: Path) -> None:
    """Write the numbers of events as a TIFF that ImageJ opens, compressed since most of it is 0."""
    label = label_from_events(events, movie.shape)
    small = len(events) <= np.iinfo(np.uint16).max  # of whole numbers, ImageJ's own kind of TIFF holds no larger ones
    tifffile.imwrite(
        path,
        (frame.astype(np.uint16 if small else np.uint32) for frame in label),
        shape=label.shape,
        dtype=np.uint16 if small else np.uint32,
        imagej=small,
        compression="zlib",
        metadata={"axes": "TYX", **({"finterval": 1 / movie.fs} if small else {})},
        photometric="minisblack",
    )


def _draw(events: Events, movie: Movie, path: Path) -> None:
    """Draw where events are, and the frame in which most are on."""
    mean = sum(frames.sum(axis=0, dtype=np.float64) for _, frames in iter_chunks(movie)) / movie.n_frames
    on = np.zeros(movie.n_frames, dtype=int)
    for t, _, _, mask in events.masks or ():
        on[t : t + len(mask)] += 1
    figure = Figure(figsize=(10, 5), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    show_sites(find_sites(events).table, np.asarray(mean), pixel_um=movie.pixel_um, ax=left)
    show_transients(movie, int(on.argmax()), events, ax=right)
    figure.savefig(path, bbox_inches="tight")
