"""The command line: ``calcium-helpers report my.tif --fs 30 --modality 2p -o out/``."""

from __future__ import annotations

import argparse
import difflib
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from calcium_helpers import __version__

if TYPE_CHECKING:
    from calcium_helpers.containers import Movie
    from calcium_helpers.pipeline import PipelineConfig
    from calcium_helpers.results import Results

DEMO = "demo_2p"

EPILOG = """examples:
  calcium-helpers report
      the built-in movie, scored against its truth
  calcium-helpers report my.tif --fs 30 --modality 2p -o out/
      your own recording
  calcium-helpers report scan.tif --modality 2p --channel 0 -o out/
      ScanImage: the rate stands in the file
  calcium-helpers list
      recordings known by name
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 when the input cannot be used."""
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
    return re.sub(r"(?<= )(fs|dataset|channel|plane)= ?", r"--\1 ", message).rstrip()


def _share(text: str) -> float | str:
    """Read the value of ``--neuropil``."""
    return text if text == "fit" else float(text)


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
    _add_report(commands)
    listing = commands.add_parser("list", help="list the recordings known by name")
    listing.set_defaults(run=_list)
    fetching = commands.add_parser("fetch", help="download a recording, compared with its hash")
    fetching.add_argument("name", help="a name from the list")
    fetching.set_defaults(run=_fetch)
    verifying = commands.add_parser("verify", help="compare recordings on disk with their hashes")
    verifying.add_argument("names", nargs="*", help="names from the list; all where none is given")
    verifying.set_defaults(run=_verify)
    for command in (listing, fetching, verifying):
        command.add_argument("-v", "--verbose", action="store_true", help="say more")
    return parser


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``report``."""
    report = commands.add_parser(
        "report",
        help="analyse a movie and write a report",
        description="Analyse a movie: motion, cells, traces, spikes, report. Run again to resume after the last finished step.",
    )
    report.add_argument("movie", nargs="?", help="file, folder or name from the list; the built-in movie where not given")
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
    steps.add_argument("--rigid", action="store_true", help="one shift a frame, no piecewise refinement")
    steps.add_argument("--no-bidiphase", action="store_true", help="leave the offset of forward and backward lines alone")
    steps.add_argument("--detector", default="cnmf", help="how cells are found (default: cnmf)")
    steps.add_argument("--diameter-px", type=float, metavar="PX", help="diameter of a cell; estimated where not given")
    steps.add_argument("--max-cells", type=int, metavar="N", help="keep at most so many cells, the best")
    steps.add_argument("--neuropil", type=_share, metavar="SHARE", help="of the surrounding light to take out: 0..1, or fit")
    steps.add_argument("--device", default="cpu", help="cpu or cuda (motion correction)")
    steps.add_argument("--save-movie", action="store_true", help="also write motion_corrected.tif")
    report.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    report.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    report.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    """Analyse a movie and write the report."""
    from calcium_helpers import manifest, pipeline
    from calcium_helpers.io import load_movie
    from calcium_helpers.report import write_report, write_tables
    from calcium_helpers.results import Simulation

    progress = not options.quiet
    known = {entry.name: entry for entry in manifest.entries()}
    name = options.movie or DEMO
    truth = None
    keys = ("fs", "pixel_um", "dataset", "channel", "plane")
    if name in known and not Path(name).exists():
        entry = known[name]
        if given := [key for key in keys if getattr(options, key) is not None]:
            raise ValueError(f"{name} is known by name, with its rate and size: leave out --{given[0].replace('_', '-')}")
        loaded = manifest.load(entry, progress=progress)
        truth = loaded if isinstance(loaded, Simulation) else None
        movie = loaded.movie if isinstance(loaded, Simulation) else loaded
        modality = options.modality or entry.modality
    else:
        modality = options.modality
        if not Path(name).exists() and (near := difflib.get_close_matches(name, known, n=1)):
            raise ValueError(f"{name}: no such file; is the recording {near[0]} meant? calcium-helpers list names them all")
        movie = load_movie(name, **{key: getattr(options, key) for key in keys}, progress=progress)
    if modality is None:
        raise ValueError(f"{name}: two-photon or one-photon? Say --modality 2p or --modality 1p")
    config = _config(options, modality, simulated=truth is not None)
    print(_needs(movie))
    results = pipeline.run(
        movie,
        config,
        given=pipeline.Given(truth),
        out=options.out,
        device=options.device,
        save_movie=options.save_movie,
        progress=progress,
    )
    page = write_report(results, options.out, truth=None if truth is None else truth.footprints)
    write_tables(results, options.out)
    print(_found(results))
    print(f"report: {page}   tables, results.h5 and the intermediates (work/) lie beside it")
    return 0


def _config(options: argparse.Namespace, modality: str, *, simulated: bool) -> PipelineConfig:
    """Turn options into a configuration of the pipeline."""
    from dataclasses import replace

    from calcium_helpers.models.cnmf import CNMFConfig
    from calcium_helpers.pipeline import PipelineConfig
    from calcium_helpers.simulate import OFFSET

    config = PipelineConfig.for_modality(
        modality,
        detector=options.detector,
        indicator=options.indicator,
        **({} if options.neuropil is None else {"neuropil": options.neuropil}),
        offset=options.offset if options.offset is not None else (OFFSET if simulated else 0.0),
        cnmf=CNMFConfig(diameter_px=options.diameter_px, max_cells=options.max_cells),
    )
    if options.no_motion or config.motion is None:
        return replace(config, motion=None)
    motion = replace(
        config.motion,
        piecewise=config.motion.piecewise and not options.rigid,
        bidiphase=config.motion.bidiphase and not options.no_bidiphase,
    )
    return replace(config, motion=motion)


def _needs(movie: Movie) -> str:
    """Say what a run will take, before it starts."""
    n, height, width = movie.shape
    disk_gb = 4 * n * height * width / 1e9
    return (
        f"{n} frames of {height} x {width} px at {movie.fs:g} Hz ({movie.duration_s:.0f} s): "
        f"needs about {disk_gb:.1f} GB on disk for the corrected movie"
    )


def _found(results: Results) -> str:
    """Sum up a run in a few lines."""
    summary = results.summary
    lines = [
        f"{summary['n_accepted']} cells accepted of {summary['n_components']} components, in {summary['seconds_total']:.0f} s"
    ]
    if summary["motion"]:
        motion = summary["motion"]
        lines.append(
            f"motion: up to {motion['max_shift_px']:.1f} px; correlation with the template "
            f"{motion['template_correlation_before']:.2f} -> {motion['template_correlation_after']:.2f}"
        )
    if "truth" in summary:
        truth = summary["truth"]
        lines.append(
            f"against truth: F1 {truth['f1']:.2f} (precision {truth['precision']:.2f}, recall {truth['recall']:.2f}, "
            f"{truth['n_truth']} cells)"
        )
        if truth["trace_correlation_matched"] is not None:
            lines[-1] += (
                f"; of the matched cells, trace correlation {truth['trace_correlation_matched']:.2f}, "
                f"spike correlation {truth['spike_correlation']:.2f} (0.1-s bins, no lag)"
            )
    lines += [f"note: {warning}" for warning in summary["warnings"]]
    return "\n".join(lines)


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


def _verify(options: argparse.Namespace) -> int:
    """Compare files with their hashes; 2 when one differs."""
    from calcium_helpers import manifest

    table = manifest.verify(options.names or None)
    print(table.to_string(index=False))
    return 2 if (table["status"] == "mismatch").any() else 0
