"""``calcium-helpers annotate movie.tif --points clicks.csv -o data.h5``: annotations of synaptic transients to train on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

LABELS = """movie of labels (.tif, ...) of the same size: 0 outside events, inside one number each, or one number for all, where
each connected volume becomes an event"""

POINTS = """table (.csv): one row an event with t_frame (from 0) or t_s, y_px, x_px and, if wanted, radius_px and duration_s,
beyond which an event does not grow (8 px, 2 s)"""


def add_annotate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``annotate``."""
    annotate = commands.add_parser(
        "annotate",
        help="turn a movie and annotated transients into data to train on",
        description="Normalise a motion-corrected movie and add it, with its annotated transients, to a file to train on.",
    )
    annotate.add_argument("movie", type=Path, help="motion-corrected movie")
    given = annotate.add_mutually_exclusive_group(required=True)
    given.add_argument("--labels", type=Path, metavar="FILE", help=LABELS)
    given.add_argument("--points", type=Path, metavar="FILE", help=POINTS)
    annotate.add_argument("-o", "--out", type=Path, required=True, help="HDF5 to write, or to add to")
    annotate.add_argument("--split", choices=("train", "valid"), default="train", help="group to add to (default: train)")
    annotate.add_argument("--name", help="name in the file (default: that of the movie)")
    annotate.add_argument("--fs", type=float, metavar="HZ", help="frames per second, where the file does not say")
    annotate.add_argument("--dataset", help="HDF5, .npz: name of the movie's array")
    annotate.add_argument("--as-is", action="store_true", help="the movie is normalised already")
    annotate.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    return annotate


def run_annotate(options: argparse.Namespace) -> int:
    """Read, normalise, label and append."""
    from calcium_helpers.io.errors import MovieFileError
    from calcium_helpers.io.load import load_movie
    from calcium_helpers.io.msct import append_stream
    from calcium_helpers.transients.annotate import check_points, from_labels, from_points
    from calcium_helpers.transients.prepare import normalise

    if not options.out.parent.is_dir():
        raise ValueError(f"--out: the folder {options.out.parent} does not exist; make it first")
    movie = load_movie(options.movie, fs=options.fs, dataset=options.dataset)
    name = options.name or options.movie.stem
    # First what may be wrong, then what takes long.
    if options.points is None:
        stream = from_labels(movie, load_movie(options.labels, fs=movie.fs).frames(), name=name)
    else:
        table = _read_points(options.points)
        try:
            check_points(movie, table)
        except ValueError as error:
            raise MovieFileError(options.points, str(error), "Correct the table") from error
    shown = movie if options.as_is else normalise(movie, progress=True)
    stream = stream._replace(movie=shown.frames()) if options.points is None else from_points(shown, table, name=name)
    append_stream(options.out, stream, split=options.split)
    n, size = len(stream.events), " x ".join(map(str, movie.shape))
    print(f"{options.out}: {options.split}/{name}, {size}, {n} {'event' if n == 1 else 'events'}")
    return 0


def _read_points(path: Path) -> pd.DataFrame:
    """Read the table of points."""
    import pandas as pd

    from calcium_helpers.io.errors import MovieFileError

    try:
        return pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True)
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:  # empty, ragged, not text
        raise MovieFileError(
            path, f"cannot be read as a table ({error})", "Expected is a CSV with t_frame, y_px, x_px"
        ) from error
