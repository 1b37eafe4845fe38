"""``calcium-helpers nwb out/ --metadata metadata.yaml -o session.nwb``: the results of a run as an NWB file."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

MOVIE = """the raw movie (.tif or video; all its files where there are several), for the file to point to; it stays where it is.
motion_corrected.tif of report --save-movie is pointed to likewise"""


def add_nwb(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``nwb``."""
    nwb = commands.add_parser(
        "nwb",
        help="write results as an NWB file",
        description="Write the results of a run as an NWB file, with what metadata.yaml says of the session.",
    )
    nwb.add_argument("results", nargs="?", type=Path, help="folder of a run, or its results.h5")
    nwb.add_argument("--metadata", type=Path, metavar="FILE", help="YAML on session, animal and microscope (see --template)")
    nwb.add_argument("-o", "--out", type=Path, metavar="FILE", help="NWB file to write")
    nwb.add_argument("--movie", type=Path, nargs="+", default=[], metavar="FILE", help=MOVIE)
    nwb.add_argument("--force", action="store_true", help="replace a file that is there")
    nwb.add_argument("--template", type=Path, metavar="FILE", help="only write an empty metadata.yaml, each key explained")
    nwb.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    return nwb


def run_nwb(options: argparse.Namespace) -> int:
    """Write the file, or the template."""
    from calcium_helpers.io import load_results, save_nwb
    from calcium_helpers.io.load import sort_naturally
    from calcium_helpers.io.nwb_metadata import write_template

    if options.template is not None:
        write_template(options.template)
        print(f"{options.template}: fill in at least what is required, then give it with --metadata")
        return 0
    given = {"a folder of results": options.results, "--metadata": options.metadata, "-o": options.out}
    if missing := [name for name, value in given.items() if value is None]:
        raise ValueError(f"nwb needs {', '.join(missing)}; --template metadata.yaml writes empty metadata")
    corrected = (options.results if options.results.is_dir() else options.results.parent) / "motion_corrected.tif"
    with warnings.catch_warnings(record=True) as caught:  # decisions of people that do not fit
        warnings.simplefilter("always", UserWarning)
        results = load_results(options.results)
    lacking = save_nwb(
        results, options.out, metadata=options.metadata, movie=sort_naturally(options.movie),
        corrected=corrected if corrected.exists() else None, overwrite=options.force,
    )  # fmt: skip
    print(options.out)
    for text in (*(str(warning.message) for warning in caught), *lacking):
        print(f"note: {text}")
    return 0
