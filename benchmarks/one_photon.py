"""Learned coordinates in one-photon movies: cells and traces, calibration, ablation, real recordings, time.

Tables ``one_photon`` (cells and traces of the programs in five columns: see ``columns.py``, and the anchor made harder),
``one_photon_points`` (share of the found centres inside true cells, beside random points), ``one_photon_calibration`` (how
often components of each confidence are cells), ``one_photon_ablation`` (random starts, one idea at a time left out),
``one_photon_miniscope`` (see ``extraction_real.py``), ``one_photon_time`` and ``one_photon_scaling``. ``--only`` makes one
part; with ``--keep FOLDER`` what was measured on a movie is kept there and not measured again: remove files by name (``COLUMN,
SEED, PROGRAM.json``) after a change. Needs CALCIUM_DATA_DIR; SUITE2P_PYTHON and CNMFE_PYTHON for the other programs (see
``peers/__init__.py``).
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

import one_photon_cells as cells
from _table import write_table
from bench import Bench, add_options, tabulate
from one_photon_real import score_miniscope, show_inscopix
from one_photon_time import scale, times

COMMAND = "python benchmarks/one_photon.py --only"
PARTS = ("cells", "calibration", "ablation", "miniscope", "inscopix", "time", "scaling")


def write_cells(bench: Bench) -> None:
    """Cells, traces and points of all programs."""
    found = bench.rows(cells.MAIN, tuple(cells.COLUMNS))
    write_table("one_photon", tabulate(found, cells.CELLS), f"{COMMAND} cells")
    write_table("one_photon_points", tabulate(found, cells.POINTS), f"{COMMAND} cells")


def write_calibration(bench: Bench) -> None:
    """Confidence against truth."""
    found = bench.rows((cells.SEEDS, cells.RANDOM), tuple(cells.COLUMNS))
    write_table("one_photon_calibration", cells.reliability(found), f"{COMMAND} calibration")


def write_ablation(bench: Bench) -> None:
    """Say what each idea is worth from random starts."""
    found = bench.rows(tuple(cells.VARIANTS), cells.ABLATED)
    names = ("F1, 5 px", "F1, IoU 0.5", "precision", "recall", "traces, all", "points a found cell")
    rows = tabulate(found, names)
    write_table("one_photon_ablation", rows, f"{COMMAND} ablation")


def make_bench(options: argparse.Namespace) -> Bench:
    """Return what runs programs on the movies asked for."""
    return cells.make_bench(options.seeds, options.peer_movies, options.keep)


def run(part: str, options: argparse.Namespace) -> None:
    """Make the tables of one part."""
    bench = make_bench(options)
    data = Path(os.environ["CALCIUM_DATA_DIR"])
    if part == "cells":
        write_cells(bench)
    elif part == "calibration":
        write_calibration(bench)
    elif part == "ablation":
        write_ablation(bench)
    elif part == "miniscope":
        write_table("one_photon_miniscope", score_miniscope(data, sheet=options.sheet), f"{COMMAND} miniscope")
    elif part == "inscopix":
        show_inscopix(data, figure=options.inscopix)
    elif part == "time":
        write_table("one_photon_time", times(options.repeats), f"{COMMAND} time")
    else:
        rows = scale(quick=options.quick)
        if not options.quick:
            write_table("one_photon_scaling", rows, f"{COMMAND} scaling")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="make one part; all by default")
    add_options(parser, cells.PROGRAMS, cells.COLUMNS)
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the shortest is taken for the time")
    parser.add_argument("--quick", action="store_true", help="scaling on one small movie, to try the script; writes nothing")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="draw the miniscope's cells without a unit")
    parser.add_argument("--inscopix", type=Path, metavar="FILE", help="draw the raw frames, their background and the cells")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if "CALCIUM_DATA_DIR" not in os.environ:
        parser.error("set CALCIUM_DATA_DIR: recordings and what the hybrid movies are made of lie there")
    if options.programs is not None:
        found = make_bench(options).rows(tuple(options.programs), tuple(options.columns))
        for row in tabulate(found, cells.CELLS + cells.POINTS):
            print(row)
        return
    for part in PARTS if options.only is None else (options.only,):
        run(part, options)


if __name__ == "__main__":
    main()
