"""The command line: ``calcium-helpers report my.tif --fs 30 --modality 2p -o out/``."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Sequence

from calcium_helpers import __version__
from calcium_helpers.cli.annotate import add_annotate, run_annotate
from calcium_helpers.cli.exchange import add_export, add_import, run_export, run_import
from calcium_helpers.cli.msct import add_optimize, add_predict, run_msct
from calcium_helpers.cli.nwb import add_nwb, run_nwb
from calcium_helpers.cli.options import add_report
from calcium_helpers.cli.sessions import add_sessions, run_sessions
from calcium_helpers.cli.spikes import add_spikes, run_spikes
from calcium_helpers.cli.train import add_train, run_train
from calcium_helpers.cli.update import add_update, run_update
from calcium_helpers.cli.verify import run_verify
from calcium_helpers.cli.view import add_view, run_view

EPILOG = """examples:
  calcium-helpers report
      the built-in movie, scored against its truth
  calcium-helpers report my.tif --fs 30 --modality 2p -o out/
      your own recording; first try it with --preview 60 or --dry-run
  calcium-helpers report my.avi --modality 1p --detector coordinates -o out/
      a head-mounted microscope; cells found by points that learn their places
  calcium-helpers report scan.tif --modality 2p --channel 0 -o out/
      ScanImage: the rate stands in the file
  calcium-helpers report day*.tif --fs 30 --modality 2p -o out/
      many recordings, each into a folder of its own
  calcium-helpers report files.csv -o out/
      the same from a table: path, fs, modality, channel, ...
  calcium-helpers update out/
      tables and report again, with your decisions on cells (out/curation.csv)
  calcium-helpers view out/
      movie and cells in napari, to accept and reject cells by a key
  calcium-helpers nwb out/ --metadata metadata.yaml -o session.nwb
      results as an NWB file; nwb --template metadata.yaml writes empty metadata
  calcium-helpers import suite2p/ -o out/
      results of suite2p, or a .hdf5 of CaImAn: statistics and a report
  calcium-helpers export out/ --to suite2p -o plane0/
      results as a folder that suite2p opens
  calcium-helpers sessions day1/ day2/ -o matched/
      the same cells on two days: matched/cells.csv, with probabilities
  calcium-helpers spikes traces.csv --fs 30 -o spikes.csv
      firing rates from a table of dF/F, one column a cell
  calcium-helpers train lstm-ista -o network/
      train a network anew, on simulated movies, in hours
  calcium-helpers annotate movie.tif --points clicks.csv --fs 10 -o data.h5
      annotated synaptic transients, to train on
  calcium-helpers train msct-unet --template settings.yaml
      settings of networks for synaptic transients; with --config settings.yaml
      train, optimize (thresholds) and predict (find transients) follow them
  calcium-helpers list
      recordings known by name
"""

OPTION_OF = {
    "max_memory_gb": "--max-memory", "register_on": "--register-on", "regions": "--rois",
    "false_positives_per_min": "--false-positives", "fs": "--fs",
    "steps": "--steps",
}  # fmt: skip
"""What users of the command line know an argument as."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process where not given.

    Returns
    -------
    int
        0; 1 when some of many recordings failed; 2 when the input cannot be used; 130 when stopped.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        return int(options.run(options) or 0)
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:  # the last: an extra is not installed
        if options.verbose:
            logging.exception("details")
        print(f"calcium-helpers: {_as_options(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("calcium-helpers: stopped; run the same command again to go on after the last finished step", file=sys.stderr)
        return 130


def _as_options(message: str) -> str:
    """Say ``--fs`` where a message speaks to users of Python of ``fs=``."""
    for name, option in OPTION_OF.items():
        message = re.sub(rf"^{name}\b", option, message)
    message = message.replace("trusted=True", "--trust")
    message = re.sub(r'\b(detector|modality)="([\w-]+)"', r"--\1 \2", message)
    message = message.replace("overwrite=True", "--force")
    return re.sub(r"(?<= )(fs|dataset|channel|plane)= ?", r"--\1 ", message).rstrip()


def _parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="calcium-helpers",
        description="From a raw calcium-imaging movie to cells, traces, spikes and a report.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"calcium-helpers {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_report(commands).set_defaults(run=_report)
    add_update(commands).set_defaults(run=run_update)
    add_view(commands).set_defaults(run=run_view)
    add_nwb(commands).set_defaults(run=run_nwb)
    add_import(commands).set_defaults(run=run_import)
    add_export(commands).set_defaults(run=run_export)
    add_sessions(commands).set_defaults(run=run_sessions)
    add_spikes(commands).set_defaults(run=run_spikes)
    add_train(commands).set_defaults(run=run_train)
    add_annotate(commands).set_defaults(run=run_annotate)
    add_optimize(commands).set_defaults(run=run_msct, command="optimize")
    add_predict(commands).set_defaults(run=run_msct, command="predict")
    listing = commands.add_parser("list", help="list the recordings known by name")
    listing.set_defaults(run=_list)
    fetching = commands.add_parser("fetch", help="download a recording, compared with its hash")
    fetching.add_argument("name", help="a name from the list")
    fetching.set_defaults(run=_fetch)
    verifying = commands.add_parser("verify", help="compare recordings and networks on disk with their hashes")
    verifying.add_argument("names", nargs="*", help="names from the list; all where none is given")
    verifying.set_defaults(run=run_verify)
    for command in (listing, fetching, verifying):
        command.add_argument("-v", "--verbose", action="store_true", help="say more")
    return parser


def _report(options: argparse.Namespace) -> int:
    """Analyse one recording, or many."""
    from calcium_helpers.cli.batch import is_many, run_all

    if is_many(options.movies):
        return run_all(options)
    from calcium_helpers.cli.report import run_one

    return run_one(options)


def _list(options: argparse.Namespace) -> int:
    """Print the manifest."""
    from calcium_helpers import manifest

    entries = manifest.entries()
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        print(f"{entry.name:<{width}}  {entry.kind:<8} {entry.what}")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    """Fetch one entry."""
    from calcium_helpers import manifest

    print(manifest.fetch(options.name))
    return 0
