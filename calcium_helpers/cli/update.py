"""``calcium-helpers update out/``: tables and report again, as people decided in ``curation.csv``."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path


def add_update(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``update``."""
    update = commands.add_parser(
        "update",
        help="write tables and report again, with your decisions",
        description="Write the tables and the report of a run again, with the decisions in its curation.csv (cells accepted, "
        "rejected, merged) applied. results.h5 stays as it is: undo a decision and update again.",
    )
    update.add_argument("out", type=Path, help="folder of the run: results.h5 and curation.csv lie there")
    update.add_argument("--stimuli", metavar="FILE", help="as for report: needed again where the run had stimuli")
    update.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    return update


def run_update(options: argparse.Namespace) -> int:
    """Load, apply, write."""
    from calcium_helpers.io import load_results
    from calcium_helpers.report import write_report, write_tables
    from calcium_helpers.stats import analyse, read_stimuli

    if options.stimuli is None and (options.out / "responses.csv").exists():
        raise ValueError(f"{options.out / 'responses.csv'} is of stimuli: give them again (--stimuli FILE), or delete it")
    stimuli = None if options.stimuli is None else read_stimuli(options.stimuli)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        results = load_results(options.out / "results.h5")
    before = load_results(options.out / "results.h5", curated=False).summary["n_accepted"]
    statistics = analyse(results, stimuli=stimuli)
    write_tables(results, options.out, statistics=statistics)
    page = write_report(results, options.out, statistics=statistics)
    print(f"{results.summary['n_accepted']} cells of {results.summary['n_components']} components ({before} before)")
    for warning in caught:
        print(f"note: {warning.message}")
    print(f"report: {page}")
    return 0
