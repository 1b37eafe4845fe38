"""The command line: ``calcium-helpers report my.tif --fs 30 --modality 2p -o out/``."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Sequence

from calcium_helpers import __version__
from calcium_helpers.cli.annotate import add_annotate, run_annotate
from calcium_helpers.cli.msct import add_optimize, add_predict, run_msct
from calcium_helpers.cli.options import add_report
from calcium_helpers.cli.spikes import add_spikes, run_spikes
from calcium_helpers.cli.train import add_train, run_train
from calcium_helpers.cli.verify import run_verify

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
    except (ValueError, TypeError, OSError) as error:
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
    message = re.sub(r'\b(detector|modality)="([\w-]+)"', r"--\1 \2", message)
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
