"""``calcium-helpers view out/``: a run in napari, to decide on cells and to annotate."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_view(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``view``."""
    view = commands.add_parser(
        "view",
        help="look at a run in napari, decide on cells",
        description="Open movie, images and cells of a run in napari. Point at a cell and press a (accept), r (reject), m "
        "(merge: first on one, then on the other) or u (undo): curation.csv has it at once, update applies it. What is drawn "
        "in the layers annotation and annotation labels is saved by s and on closing, for annotate to read.",
    )
    view.add_argument("results", type=Path, help="folder of a run, or its results.h5")
    view.add_argument("--movie", type=Path, metavar="FILE", help="raw movie; the run's folder may hold the corrected one")
    view.add_argument("--dataset", help="HDF5, .npz: name of the movie's array")
    view.add_argument("--channel", type=int, metavar="N", help="channel of the movie, from 0, where there are several")
    view.add_argument("--plane", type=int, metavar="N", help="plane of the movie, from 0, where there are several")
    view.add_argument("--who", help="who decides (default: the user's name)")
    view.add_argument("--points", type=Path, metavar="FILE", help="points drawn (default: annotation.csv of the folder)")
    view.add_argument("--labels", type=Path, metavar="FILE", help="labels drawn (default: annotation_labels.tif there)")
    view.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    return view


def run_view(options: argparse.Namespace) -> int:
    """Open the window, and wait until it is closed."""
    from calcium_helpers.io import load_movie, load_results
    from calcium_helpers.napari_view import require_napari, view

    napari, movie = require_napari(), None
    if options.movie is not None:
        choice = {name: getattr(options, name) for name in ("dataset", "channel", "plane")}
        movie = load_movie(options.movie, fs=load_results(options.results, curated=False).dff.fs, **choice)
    view(options.results, movie=movie, who=options.who, points=options.points, labels=options.labels)
    napari.run()
    return 0
