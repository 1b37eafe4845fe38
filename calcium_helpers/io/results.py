"""``results.h5``: all that a run leaves behind, in one HDF5 file that other programs can read.

Layout, version 3 (N components, T frames, H x W pixels; text is UTF-8)::

    /                       attributes format = "calcium_helpers results", layout_version, package_version
    footprints/             data, indices, indptr: the rows of a compressed sparse (N, H*W) matrix, row-major pixels
                            ids (N,); attribute shape = (H, W)
    traces/raw/             values (N, T) float32, ids (N,); attributes fs (Hz) and kind
    traces/neuropil/, dff/, denoised/, spikes/              likewise
    events/, cells/, funnel/, steps/    tables: columns/<name> (n,) each, index (n,); attributes columns and index_name (JSON)
                            missing text is "" and its rows stand in the attribute missing
    shifts/                 yx (T, 2) or (T, gy, gx, 2), template (H, W), bad_frames, correlation (T,) if known;
                            attributes valid = (y0, y1, x0, x1), bidiphase_px; no such group where nothing was aligned
    images/<name>           (H, W)
    strip/<name>            (K, h, w), a few frames, binned; attributes times_s (K,), fs (Hz), pixel_um if known
    parameters, summary     JSON
    history                 lines of text
    times_s                 (T,) time of each frame, seconds, where the movie stated them
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from calcium_helpers.containers import Events, Footprints, Movie, Shifts, Traces
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.save import atomic_path
from calcium_helpers.io.tables import read_table, write_table
from calcium_helpers.results import Results

FORMAT = "calcium_helpers results"
LAYOUT_VERSION = 3
_TRACES = ("raw", "neuropil", "dff", "denoised", "spikes")
_TABLES = ("cells", "funnel", "steps")


def save_results(results: Results, path: str | Path) -> None:
    """Write results to an HDF5 file; the module's docstring gives its layout.

    Parameters
    ----------
    results : Results
        ``parameters`` and ``summary`` must consist of what JSON has (NumPy numbers and arrays become plain ones).
    path : str or Path
        Replaced when the new file is complete.

    Raises
    ------
    TypeError, ValueError
        When parameters or summary are not JSON, or a table's column is neither numbers nor text.
    """
    import h5py

    from calcium_helpers import __version__

    with atomic_path(Path(path)) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(format=FORMAT, layout_version=LAYOUT_VERSION, package_version=__version__)
        _write_footprints(file.create_group("footprints"), results.footprints)
        for name in _TRACES:
            traces = getattr(results, name)
            group = file.create_group(f"traces/{name}")
            group.attrs.update(fs=traces.fs, kind=traces.kind)
            group["values"], group["ids"] = traces.values, traces.ids
        for name in _TABLES:
            write_table(file.create_group(name), getattr(results, name))
        write_table(file.create_group("events"), results.events.table)
        if results.times_s is not None:
            file["times_s"] = results.times_s
        if results.shifts is not None:
            _write_shifts(file.create_group("shifts"), results.shifts)
        images = file.create_group("images")
        for name, image in results.images.items():
            images[name] = image
        strip = file.create_group("strip")
        for name, movie in results.strip.items():
            _write_frames(strip, name, movie)
        for name in ("parameters", "summary"):
            file[name] = json.dumps(getattr(results, name), default=_plain)
        file.create_dataset("history", data=list(results.history), shape=(len(results.history),), dtype=h5py.string_dtype())


def load_results(path: str | Path, *, curated: bool = True) -> Results:
    """Read results that ``save_results`` wrote.

    Parameters
    ----------
    path : path
        The ``results.h5`` of a run, or its folder.
    curated : bool
        Apply what people decided: the ``curation.csv`` beside the file, where there is one.

    Returns
    -------
    Results

    Raises
    ------
    MovieFileError
        When the file is absent, not one of ours, of a later layout, or damaged, or ``curation.csv`` cannot be understood.

    Warns
    -----
    UserWarning
        Names the decisions that do not fit these results, as `curation.apply_decisions`.
    """
    path = Path(path) / "results.h5" if Path(path).is_dir() else Path(path)
    results = _load(path)
    if not curated or not (log := path.with_name("curation.csv")).exists():
        return results
    from calcium_helpers.curation import apply_decisions
    from calcium_helpers.io.curation import load_decisions

    return apply_decisions(results, load_decisions(log))


def _load(path: Path) -> Results:
    """Read results as they were written."""
    import h5py

    if not path.is_file():
        raise MovieFileError(path, "there is no such file", "Give the results.h5 of a run")
    try:
        with h5py.File(path, "r") as file:
            _check_format(path, file)
            return _read_results(file)
    except MovieFileError:
        raise
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise MovieFileError(path, f"cannot be read as results ({error})", "It is damaged: run again") from error


def _check_format(path: Path, file: Any) -> None:
    if file.attrs.get("format") != FORMAT:
        raise MovieFileError(path, "holds no results of calcium_helpers", "Give the results.h5 of a run")
    version = int(file.attrs["layout_version"])
    if version != LAYOUT_VERSION:
        raise MovieFileError(
            path,
            f"has layout version {version}, this package reads {LAYOUT_VERSION}",
            "Use the package that wrote it",
        )


def _read_results(file: Any) -> Results:
    fields: dict[str, Any] = {name: _read_traces(file["traces"][name]) for name in _TRACES}
    fields |= {name: read_table(file[name]) for name in _TABLES}
    return Results(
        footprints=_read_footprints(file["footprints"]),
        **fields,
        events=Events(read_table(file["events"])),
        times_s=file["times_s"][()] if "times_s" in file else None,
        shifts=_read_shifts(file["shifts"]) if "shifts" in file else None,
        images={name: item[()] for name, item in file["images"].items()},
        strip={name: _read_frames(item) for name, item in file["strip"].items()},
        parameters=json.loads(file["parameters"].asstr()[()]),
        summary=json.loads(file["summary"].asstr()[()]),
        history=tuple(file["history"].asstr()[()]),
    )


def _write_footprints(group: Any, footprints: Footprints) -> None:
    for name in ("data", "indices", "indptr"):
        group[name] = getattr(footprints.weights, name)
    group["ids"] = footprints.ids
    group.attrs["shape"] = footprints.shape


def _read_footprints(group: Any) -> Footprints:
    height, width = (int(n) for n in group.attrs["shape"])
    parts = tuple(group[name][()] for name in ("data", "indices", "indptr"))
    weights = sparse.csr_matrix(parts, shape=(len(parts[2]) - 1, height * width))
    return Footprints(weights, (height, width), group["ids"][()])


def _read_traces(group: Any) -> Traces:
    return Traces(group["values"][()], float(group.attrs["fs"]), str(group.attrs["kind"]), group["ids"][()])


def _write_frames(group: Any, name: str, movie: Movie) -> None:
    group[name] = np.asarray(movie.data)
    about = {"fs": movie.fs, "times_s": movie.times_s, "pixel_um": movie.pixel_um}
    group[name].attrs.update({key: value for key, value in about.items() if value is not None})


def _read_frames(frames: Any) -> Movie:
    about = dict(frames.attrs)
    return Movie(frames[()], float(about["fs"]), about.get("pixel_um"), times_s=about.get("times_s"))


def _write_shifts(group: Any, shifts: Shifts) -> None:
    for name in ("yx", "template", "bad_frames", "correlation"):
        if getattr(shifts, name) is not None:
            group[name] = getattr(shifts, name)
    group.attrs.update(valid=shifts.valid, bidiphase_px=shifts.bidiphase_px)


def _read_shifts(group: Any) -> Shifts:
    y0, y1, x0, x1 = (int(n) for n in group.attrs["valid"])
    return Shifts(
        yx=group["yx"][()],
        template=group["template"][()],
        valid=(y0, y1, x0, x1),
        correlation=group["correlation"][()] if "correlation" in group else None,
        bad_frames=group["bad_frames"][()],
        bidiphase_px=float(group.attrs["bidiphase_px"]),
    )


def _plain(value: Any) -> Any:
    """Turn NumPy's numbers and arrays into plain ones for JSON."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"parameters and summary must be plain values, got {type(value).__name__}")
