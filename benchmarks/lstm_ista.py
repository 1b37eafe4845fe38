"""The LSTM-ISTA network in two-photon movies: cells and traces, ablation, a real field, time, the Allen Brain Observatory.

Tables ``lstm_ista`` (cells and traces of the programs in the columns of ``columns.py``, and where cells overlap),
``lstm_ista_ablation`` (the network told otherwise, and networks trained without a part, see ``lstm_ista_train.py``),
``lstm_ista_neurofinder`` (see ``extraction_real.py``) and ``lstm_ista_field`` (time and memory, see ``lstm_ista_time.py``).
"Traces" are what a detector returns at full rate, "clean" those of the network's trace head, "denoised" those of deconvolution.
``--only`` makes one part; with ``--keep FOLDER`` what was measured on a movie is kept there and not measured again: remove
files by name (``COLUMN, SEED, PROGRAM.json``) after a change. ``--half left`` prints the scores of one half of the Neurofinder
crop: settings may be chosen on the left half. ``--abo FOLDER`` scores movies of the Allen Brain Observatory (see
``lstm_ista_abo.py``), and prints. Needs CALCIUM_DATA_DIR; SUITE2P_PYTHON for suite2p (see ``peers/__init__.py``).
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

import lstm_ista_cells as cells
from _table import show_table, write_table
from bench import Bench, add_options, tabulate
from lstm_ista_abo import FS, score_folder
from lstm_ista_real import score_crop
from lstm_ista_time import times

from calcium_helpers.models import cnmf

COMMAND = "python benchmarks/lstm_ista.py --only"
PARTS = ("cells", "ablation", "neurofinder", "field")


def write_cells(bench: Bench) -> None:
    """Cells and traces of all programs."""
    write_table("lstm_ista", tabulate(bench.rows(cells.MAIN, cells.MAIN_COLUMNS), cells.CELLS), f"{COMMAND} cells")


def write_ablation(bench: Bench) -> None:
    """Say what each part of the network is worth."""
    there = tuple(name for name in cells.VARIANTS if name in bench.programs)
    rows = tabulate(bench.rows(there, cells.ABLATED), cells.CELLS[:6])
    write_table("lstm_ista_ablation", rows, f"{COMMAND} ablation --networks FOLDER")


def make_bench(options: argparse.Namespace) -> Bench:
    """Return what runs programs on the movies asked for."""
    return cells.make_bench(options.seeds, options.peer_movies, options.keep, networks=options.networks)


def run(part: str, options: argparse.Namespace) -> None:
    """Make the table of one part."""
    if part == "cells":
        write_cells(make_bench(options))
    elif part == "ablation":
        write_ablation(make_bench(options))
    elif part == "field":
        write_table("lstm_ista_field", times(options.repeats), f"{COMMAND} field")
    else:
        rows = score_crop(Path(os.environ["CALCIUM_DATA_DIR"]), half=options.half)
        if options.half is None:
            write_table("lstm_ista_neurofinder", rows, f"{COMMAND} neurofinder")
        else:
            show_table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="make one part; all by default")
    add_options(parser, (*cells.MAIN, *cells.VARIANTS[1:]), cells.COLUMNS)
    parser.add_argument("--networks", type=Path, metavar="FOLDER", help="networks trained without a part, a folder each")
    parser.add_argument("--half", choices=("left", "right"), help="with --only neurofinder: score it alone; writes no table")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the shortest is taken for the time")
    parser.add_argument("--abo", type=Path, metavar="FOLDER", help="score a folder of Allen movies; writes no table")
    parser.add_argument("--fs", type=float, default=FS, help="frames per second of the Allen movies, Hz")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if options.abo is not None:
        show_table(score_folder(options.abo, {cells.ISTA: cells.detector(), "cnmf": cnmf.detect}, fs=options.fs))
        return
    if "CALCIUM_DATA_DIR" not in os.environ:
        parser.error("set CALCIUM_DATA_DIR: recordings and what the hybrid movies are made of lie there")
    if options.programs is not None:
        bench = make_bench(options)
        if missing := [name for name in options.programs if name not in bench.programs]:
            parser.error(f"no folder of --networks is called {' or '.join(missing)}: train it by lstm_ista_train.py")
        found = bench.rows(tuple(options.programs), tuple(options.columns))
        show_table(tabulate(found, cells.CELLS))
        return
    for part in PARTS if options.only is None else (options.only,):
        run(part, options)


if __name__ == "__main__":
    main()
