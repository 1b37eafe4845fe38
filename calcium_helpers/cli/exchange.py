"""``calcium-helpers import suite2p/ -o out/`` and ``export out/ --to suite2p -o plane0/``: other programs' results."""

from __future__ import annotations

import argparse
from pathlib import Path

SOURCE = "folder of suite2p, or file (.hdf5) that CaImAn saved"

TRUST = "read files that ask for programs to be run: only if you know who made them"


def add_import(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``import``."""
    importing = commands.add_parser(
        "import",
        help="results of suite2p or CaImAn: statistics and a report of them",
        description="Read what another program found and write results.h5, tables and a report, as of a run.",
    )
    importing.add_argument("source", type=Path, help=SOURCE)
    importing.add_argument("-o", "--out", type=Path, default="report", help="folder to write to (default: report/)")
    importing.add_argument("--fs", type=float, metavar="HZ", help="frames per second, where the files do not say")
    importing.add_argument("--plane", type=int, help="suite2p: plane, counted from 0")
    importing.add_argument("--trust", action="store_true", help=TRUST)
    importing.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    return importing


def add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``export``."""
    exporting = commands.add_parser(
        "export",
        help="write results as another program's files",
        description="Write the results of a run, with what people decided, as another program opens them.",
    )
    exporting.add_argument("results", type=Path, help="folder of a run, or its results.h5")
    exporting.add_argument("--to", choices=("suite2p",), required=True, help="the program")
    exporting.add_argument("-o", "--out", type=Path, required=True, help="new folder to write, such as plane0/")
    exporting.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    return exporting


def run_import(options: argparse.Namespace) -> int:
    """Read, complete, and write what a run leaves."""
    from calcium_helpers import io
    from calcium_helpers.pipeline import load_caiman, load_suite2p
    from calcium_helpers.report import write_report, write_tables
    from calcium_helpers.stats import analyse

    if options.out.is_file():
        raise ValueError(f"--out must be a folder, got the file {options.out}")
    if (options.out / "results.h5").exists():
        raise ValueError(f"--out: {options.out} holds results already: name another folder, or delete its results.h5")
    if options.source.is_file():
        if options.plane is not None:
            raise ValueError("--plane is of suite2p's folders, which hold one a plane: leave it out")
        results = load_caiman(options.source, fs=options.fs)
    else:
        results = load_suite2p(options.source, fs=options.fs, plane=options.plane, trusted=options.trust)
    options.out.mkdir(parents=True, exist_ok=True)
    io.save_results(results, options.out / "results.h5")
    statistics = analyse(results)
    page = write_report(results, options.out, statistics=statistics)
    write_tables(results, options.out, statistics=statistics)
    summary = results.summary
    cells = f"{summary['n_accepted']} cells of {summary['n_components']} components"
    print(f"{cells}, {summary['n_frames']} frames at {summary['fs_hz']:g} Hz, found by {summary['detector']}")
    missing = [name for name in ("mean", "max", "correlation") if name not in results.images]
    if missing:
        print(f"note: not in the files, and so not in the report: the images {', '.join(missing)}")
    print(f"report: {page}   tables and results.h5 lie beside it")
    return 0


def run_export(options: argparse.Namespace) -> int:
    """Read results and write them for another program."""
    from calcium_helpers.io import load_results, save_suite2p

    results = load_results(options.results)
    save_suite2p(results, options.out)
    accepted = int(results.cells_by_id()["accepted"].sum())
    print(f"{options.out}: {accepted} cells of {len(results.footprints)} components, for suite2p (open its stat.npy)")
    return 0
