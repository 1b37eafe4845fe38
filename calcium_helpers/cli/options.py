"""The options of ``report``, and how they are written down for another process."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

UNITS_GB = {"": 1.0, "k": 1e-6, "m": 1e-3, "g": 1.0, "t": 1e3}

MOVIES = """file, folder or name from the list; the built-in movie where not given. Several, or a table (.csv with the column
path, and any of these options as columns), are analysed one after the other, each into a folder of its own below --out;
outcomes.csv there says how it went, comparison.html shows all side by side, and compares conditions where the table has a
column condition (and subject, where one was recorded in several)"""

ROIS = """your own regions in the place of detection: label image or stack of masks (.tif, .npy, .npz), regions of ImageJ (.roi,
or .zip of its ROI manager), suite2p's stat.npy, or an earlier results.h5. They must lie as in the motion-corrected movie
(--no-motion if yours is corrected already)"""

DETECTOR = """how cells are found: by matrix factorisation (cnmf, the default), or, with --modality 1p, by points that learn to
sit in the centres of cells (coordinates), or, with --modality 2p, by a trained network (lstm-ista), each with a confidence"""

FALSE_POSITIVES = "events a minute that noise alone may set off in each cell (default: 0.1)"

SPIKES = """how spikes are inferred: by deconvolution, in dF/F a frame (oasis, the default: any indicator), or by a network
trained on electrophysiology, in Hz (net)"""

STIMULI = """times of stimuli, a table (.csv) with the column onset_s (seconds from the first frame) and, if there are
several kinds, label: adds averages around them"""


def add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``report``."""
    report = commands.add_parser(
        "report",
        help="analyse a movie and write a report",
        description="Analyse a movie: motion, cells, traces, spikes, report. Run again to resume after the last finished step.",
    )
    report.add_argument("movies", nargs="*", metavar="movie", help=MOVIES)
    report.add_argument("-o", "--out", default="report", type=Path, help="folder to write to (default: report/)")
    about = report.add_argument_group("about the recording")
    about.add_argument("--modality", choices=("2p", "1p"), help="two-photon or one-photon; always asked for with your own file")
    about.add_argument("--fs", type=float, metavar="HZ", help="frames per second, where the file does not say")
    about.add_argument("--pixel-um", type=float, metavar="UM", help="side of a pixel, micrometres")
    about.add_argument("--offset", type=float, default=None, metavar="COUNTS", help="counts that mean no light (default: 0)")
    about.add_argument("--dataset", help="HDF5, .npz: name of the array")
    about.add_argument("--channel", type=int, help="channel, counted from 0")
    about.add_argument("--plane", type=int, help="plane, counted from 0")
    about.add_argument("--indicator", help="GCaMP6f, GCaMP6s, jGCaMP8m, ...: kinetics for spike inference")
    steps = report.add_argument_group("steps")
    steps.add_argument("--no-motion", action="store_true", help="the movie is motion-corrected already")
    steps.add_argument("--register-on", type=int, metavar="CHANNEL", help="estimate motion on this channel of the same file")
    steps.add_argument("--rigid", action="store_true", help="one shift a frame, no piecewise refinement")
    steps.add_argument("--no-bidiphase", action="store_true", help="leave the offset of forward and backward lines alone")
    steps.add_argument("--denoise", action="store_true", help="take traces from a denoised movie (cells are found without)")
    steps.add_argument("--detector", choices=("cnmf", "coordinates", "lstm-ista"), default="cnmf", help=DETECTOR)
    steps.add_argument("--diameter-px", type=float, metavar="PX", help="diameter of a cell; estimated where not given")
    steps.add_argument("--max-cells", type=int, metavar="N", help="keep at most so many cells, the best")
    steps.add_argument("--model", metavar="FOLDER", help="of --detector lstm-ista: a network of your own (see train)")
    steps.add_argument("--rois", metavar="FILE", help=ROIS)
    steps.add_argument("--neuropil", type=_share, metavar="SHARE", help="of the surrounding light to take out: 0..1, or fit")
    steps.add_argument("--false-positives", type=float, default=0.1, metavar="RATE", help=FALSE_POSITIVES)
    steps.add_argument("--spikes", choices=("oasis", "net"), default="oasis", help=SPIKES)
    steps.add_argument("--stimuli", metavar="FILE", help=STIMULI)
    steps.add_argument("--device", default="cpu", help="cpu or cuda (motion correction, --detector coordinates and lstm-ista)")
    steps.add_argument("--save-movie", action="store_true", help="also write motion_corrected.tif")
    trial = report.add_argument_group("before a long run")
    trial.add_argument("--preview", type=_seconds, metavar="S", help="only the first S seconds, into preview/ below --out")
    trial.add_argument("--dry-run", action="store_true", help="say what would be done and about what it takes; writes nothing")
    trial.add_argument("--max-memory", type=_gigabytes, metavar="SIZE", help="such as 2GB: hold this much memory at most")
    report.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    report.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    return report


def as_arguments(options: argparse.Namespace, *leave_out: str) -> list[str]:
    """Write options as the command line that gives them."""
    arguments = []
    for name, value in sorted(vars(options).items()):
        if name in leave_out or value is None or value is False:
            continue
        flag = f"--{name.replace('_', '-')}"
        arguments.append(flag if value is True else f"{flag}={value}")
    return arguments


def _share(text: str) -> float | str:
    """Read the value of ``--neuropil``."""
    return text if text == "fit" else float(text)


def _seconds(text: str) -> float:
    """Read the value of ``--preview``."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text}")
    return seconds


def _gigabytes(text: str) -> float:
    """Read the value of ``--max-memory``: a number of GB, or one with a unit."""
    found = re.fullmatch(r"(\d+\.?\d*)\s*([kmgt]?)(i?)b?", text.strip().lower())
    if not found:
        raise argparse.ArgumentTypeError(f"must be a size such as 2GB or 800MB, got {text!r}")
    number, unit, binary = found.groups()
    return float(number) * UNITS_GB[unit] * (1024 / 1000) ** ("kmgt".index(unit) + 1 if unit and binary else 0)
