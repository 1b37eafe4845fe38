"""Many recordings, one after the other, each in a process of its own: no failure, not even a crash, stops the rest."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from calcium_helpers import __version__
from calcium_helpers.cli.options import as_arguments
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.save import atomic_path
from calcium_helpers.io.text_rows import read_text_rows

COLUMNS = ("path", "status", "message", "cells", "seconds", "report")
"""Of ``outcomes.csv``; the status is waiting, running, done, failed, crashed, missing or stopped."""

NOT_IN_A_TABLE = {"movies", "out", "run", "quiet", "verbose", "dry_run", "preview"}
GROUPS = {"condition", "subject"}
"""Columns of a table that are no options: what `comparison.html` compares."""
FILES = ("path", "rois", "stimuli", "model")
YES, NO = {"1", "yes", "true", "x"}, {"0", "no", "false"}
LOG, STAMP = "log.txt", "done.json"


class Entry(NamedTuple):
    """One recording: its options, and the name of its folder."""

    path: str
    options: argparse.Namespace
    folder: str


def is_many(movies: Sequence[str]) -> bool:
    """Whether several recordings, or a table of them, were named."""
    return len(movies) > 1 or any(Path(movie).suffix.lower() == ".csv" for movie in movies)


def run_all(options: argparse.Namespace) -> int:
    """Analyse all recordings; 1 when one of them failed."""
    entries = list_entries(options)
    if options.dry_run:
        return max([_plan(entry, options.out) for entry in entries])
    rows = [{**dict.fromkeys(COLUMNS, ""), "path": entry.path, "status": "waiting"} for entry in entries]
    for entry, row in zip(entries, rows, strict=True):
        if not _exists(entry.path):
            row |= {"status": "missing", "message": "there is no such file"}
            print(f"{entry.path}: there is no such file; the others are analysed", file=sys.stderr)
    if options.out.is_file():
        raise ValueError(f"out must be a folder, got the file {options.out}: name another one")
    options.out.mkdir(parents=True, exist_ok=True)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        _run_rows(entries, rows, options.out)
    finally:
        signal.signal(signal.SIGTERM, before)
    print(f"all of them on one page: {_compare(entries, rows, options.out)}")
    counts = Counter(row["status"] for row in rows)
    print(", ".join(f"{n} {status}" for status, n in counts.items()), f"- {options.out / 'outcomes.csv'}")
    return int(set(counts) != {"done"})


def _run_rows(entries: list[Entry], rows: list[dict[str, str]], out: Path) -> None:
    """Analyse all that exist, and keep the table of outcomes up to date."""
    _write(rows, out)
    for number, (entry, row) in enumerate(zip(entries, rows, strict=True), 1):
        if row["status"] == "missing":
            continue
        print(f"[{number}/{len(rows)}] {entry.path} -> {out / entry.folder}", flush=True)
        row["status"] = "running"
        _write(rows, out)
        try:
            row |= _analyse(entry, out)
        except OSError as error:
            row |= {"status": "failed", "message": str(error)}
        except BaseException:
            row["status"] = "stopped"
            raise
        finally:
            _write(rows, out)
        print(f"    {row['status']}: {row['message'] or row['cells'] + ' cells in ' + row['seconds'] + ' s'}", flush=True)


def _compare(entries: list[Entry], rows: list[dict[str, str]], out: Path) -> Path:
    """Write the page that compares all recordings."""
    from calcium_helpers.report.comparison import Recording, write_comparison

    groups = [[getattr(entry.options, name, "") for name in ("condition", "subject")] for entry in entries]
    return write_comparison(
        [
            Recording(entry.folder, entry.path, row["status"], row["message"], row["report"], *names)
            for entry, row, names in zip(entries, rows, groups, strict=True)
        ],
        out,
    )


def list_entries(options: argparse.Namespace) -> list[Entry]:
    """List the recordings named on the command line and in tables, each with a folder of its own."""
    found: list[argparse.Namespace] = []
    for movie in options.movies:
        found.extend(_read_table(Path(movie), options) if Path(movie).suffix.lower() == ".csv" else [_with(options, movie)])
    paths = [Path(os.path.abspath(one.movies[0])) for one in found]  # so that "." and ".." have names
    stems = [path.name.removesuffix(path.suffix).replace("*", "+").replace("?", "+") for path in paths]
    often = Counter(stem.lower() for stem in stems)
    names: list[str] = []
    for path, stem in zip(paths, stems, strict=True):
        parent = path.parent.name
        name = plain = f"{parent}_{stem}" if often[stem.lower()] > 1 and parent else stem
        again = 2
        while name.lower() in {other.lower() for other in names}:
            name, again = f"{plain}-{again}", again + 1
        names.append(name)
    return [Entry(one.movies[0], one, name) for one, name in zip(found, names, strict=True)]


def _with(options: argparse.Namespace, movie: str, **changes: object) -> argparse.Namespace:
    """Copy options for one movie."""
    return argparse.Namespace(**{**vars(options), "movies": [movie], **changes})


def _read_table(path: Path, options: argparse.Namespace) -> list[argparse.Namespace]:
    """Read the rows of a table; paths in it start at its own folder."""
    columns, rows = read_text_rows(path)
    allowed = sorted(vars(options).keys() - NOT_IN_A_TABLE | GROUPS)
    unknown = [name for name in columns if name not in {"path", *allowed}]
    if "path" not in columns or unknown or len(set(columns)) < len(columns):
        wrong = f"unknown: {', '.join(map(repr, unknown))}" if unknown else "path is missing or a column stands twice"
        problem = f"has the columns {', '.join(columns) or 'none'} ({wrong})"
        raise MovieFileError(path, problem, f"Needed is path; possible are {', '.join(allowed)}")
    found = []
    for number, row in rows:
        if "path" not in row:
            raise MovieFileError(path, f"line {number} has no path", "Correct that line")
        for name in row:
            beside = str(path.parent / row[name])
            if name in FILES and (Path(beside).exists() or glob(beside)):
                row[name] = beside
            if isinstance(getattr(options, name, None), bool):
                row[name] = _flag(row[name], path, number, name)  # type: ignore[assignment]
        found.append(_with(options, row.pop("path"), **row))
    if not found:
        raise MovieFileError(path, "names no recording", "Expected one a line below the names of the columns")
    return found


def _flag(text: str, path: Path, number: int, name: str) -> bool:
    """Read yes or no."""
    if text.lower() not in YES | NO:
        raise MovieFileError(path, f"line {number} has {name} = {text!r}", "Expected yes or no")
    return text.lower() in YES


def _exists(path: str) -> bool:
    """Whether a path, a pattern or a name of the list stands for something."""
    from calcium_helpers import manifest

    return Path(path).exists() or bool(glob(path)) or path in {entry.name for entry in manifest.entries()}


def _command(entry: Entry, out: Path) -> list[str]:
    """Write the command that analyses one recording."""
    options = as_arguments(entry.options, "movies", "out", "run", "quiet", *GROUPS)
    # -P: a folder of the package's name where the command is given, such as a clone of it, must not be taken for it
    start = [sys.executable, "-P", "-m", "calcium_helpers", "report"]
    return [*start, *options, f"--out={out / entry.folder}", "--quiet", "--", entry.path]


def _plan(entry: Entry, out: Path) -> int:
    """Print the plan of one recording."""
    print(f"{entry.path} -> {out / entry.folder}", flush=True)
    return int(subprocess.run(_command(entry, out), check=False).returncode != 0)


def _analyse(entry: Entry, out: Path) -> dict[str, str]:
    """Analyse one recording in a process of its own, unless that was done; returns what to write into its row."""
    folder, key = out / entry.folder, _key(entry)
    stamp = folder / STAMP
    if stamp.is_file():
        done = json.loads(stamp.read_text(encoding="utf-8"))
        if done["key"] == key and (out / done["row"]["report"]).is_file():
            return {**done["row"], "message": "done in an earlier run"}
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    start = time.perf_counter()
    with (folder / LOG).open("w", encoding="utf-8") as log, _process(_command(entry, out), log) as process:
        try:
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
    seconds = f"{time.perf_counter() - start:.0f}"
    if code:
        return {**_failure(code, folder / LOG), "seconds": seconds}
    page = folder / ("preview" if entry.options.preview is not None else "") / "report.html"
    cells = json.loads(page.with_name("summary.json").read_text(encoding="utf-8"))["n_accepted"]
    row = {"status": "done", "message": "", "cells": str(cells), "seconds": seconds, "report": page.relative_to(out).as_posix()}
    with atomic_path(stamp) as temporary:
        temporary.write_text(json.dumps({"key": key, "row": row}), encoding="utf-8")
    return row


def _process(command: list[str], log: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)  # type: ignore[call-overload]


def _failure(code: int, log: Path) -> dict[str, str]:
    """Say why a process ended as it did."""
    if code < 0:
        name = signal.Signals(-code).name
        why = "the system ran out of memory, or somebody ended it" if name == "SIGKILL" else "a library crashed"
        return {"status": "crashed", "message": f"ended by {name}: {why}; {LOG} has its last words"}
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if line.startswith("calcium-helpers")), lines[-1] if lines else "")
    return {"status": "failed", "message": last.removeprefix("calcium-helpers: ").removeprefix("calcium-helpers report: ")}


def _key(entry: Entry) -> str:
    """Hash options and files, by size and time of change: another key means that it must be analysed again."""
    rois, stimuli = entry.options.rois, entry.options.stimuli
    named = [entry.path, *([rois, str(Path(rois).with_name("iscell.npy"))] if rois else []), *([stimuli] if stimuli else [])]
    files = sorted(file for name in named for file in glob(name) or [name])
    files += [str(file) for name in files if Path(name).is_dir() for file in sorted(Path(name).iterdir())]
    stats = [(name, Path(name).stat().st_size, Path(name).stat().st_mtime_ns) for name in files if Path(name).exists()]
    arguments = as_arguments(entry.options, "movies", "out", "run", "quiet", "verbose", *GROUPS)
    return hashlib.sha256(repr((__version__, entry.path, arguments, stats)).encode()).hexdigest()


def _write(rows: list[dict[str, str]], out: Path) -> None:
    """Write the table of outcomes."""
    with atomic_path(out / "outcomes.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _stop(number: int, frame: FrameType | None) -> None:
    """End as after Ctrl-C, so that the analysis that runs ends too."""
    raise KeyboardInterrupt
