"""``save_nwb``: results as an NWB file (Rübel et al. 2022, doi:10.7554/eLife.78362), with the movies by reference."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.nwb import read_external
from calcium_helpers.io.nwb_metadata import Metadata, read_metadata
from calcium_helpers.io.nwb_tables import Clock, add_cells, add_records, packed
from calcium_helpers.io.save import atomic_path
from calcium_helpers.io.source import Choice
from calcium_helpers.io.video import VIDEO_SUFFIXES
from calcium_helpers.results import Results

EXTERNAL_SUFFIXES = (".tif", ".tiff", ".btf", *VIDEO_SUFFIXES)
SERIES = {"2p": "TwoPhotonSeries", "1p": "OnePhotonSeries"}
IMAGES = {
    "mean_raw": "mean of up to 200 frames of the raw movie",
    "mean": "mean of all frames, motion corrected",
    "max": "highest mean of half a second, motion corrected",
    "correlation": "mean correlation of a pixel with its neighbours, motion corrected",
    "pnr": "peak over noise, motion corrected",
}


def save_nwb(
    results: Results,
    path: str | Path,
    *,
    metadata: str | Path | Mapping[str, Any],
    movie: str | Path | Sequence[str | Path] = (),
    corrected: str | Path | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write results as an NWB file.

    Parameters
    ----------
    results : Results
        Written are footprints, traces (time x roi), events, summary images, shifts, history and parameters.
    path : path
        Ends in ``.nwb``.
    metadata : path or mapping
        A ``metadata.yaml`` (`nwb_metadata.write_template` writes an empty one) or its content: what NWB requires to be known of
        the session, the animal and the microscope.
    movie : path or paths, optional
        The raw movie, TIFF or video, in one file or several; the NWB file holds its place relative to its own, not its frames.
    corrected : path, optional
        The motion-corrected movie, likewise.
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    tuple of str
        What the file lacks, in words.

    Raises
    ------
    MovieFileError
        When metadata are missing or wrong (names all), a movie is not that of the results or nothing that NWB can point to, or
        the file is there already. Then, and after any other error, nothing is written.
    ModuleNotFoundError
        Without pynwb.
    """
    path = Path(path)
    if path.suffix != ".nwb" or not path.parent.is_dir():
        raise MovieFileError(path, "is no name of a new NWB file", "Name a file that ends in .nwb, in a folder that is there")
    if path.exists() and not overwrite:
        raise MovieFileError(path, "is there already", "Name another file, or replace it with overwrite=True")
    said = read_metadata(metadata)
    modality = said.imaging.pop("modality", None)
    kind = SERIES.get(results.summary.get("modality") or modality, "ImageSeries")
    files = [Path(file) for file in ([movie] if isinstance(movie, str | Path) else movie)]
    references = {
        "raw": _refer(files, path, results) if files else None,
        "corrected": None if corrected is None else _refer([Path(corrected)], path, results),
    }
    try:
        import pynwb
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError("NWB files need pynwb: pip install 'calcium_helpers[nwb]'") from missing
    file, plane = _new_file(results, said)
    clock = Clock(results)
    module = file.create_processing_module(name="ophys", description="; ".join(results.history) or "imported results")
    _add_movies(file, module, plane, kind, clock, references)
    if len(results.footprints):
        add_cells(module, plane, clock)
    add_records(module, results)
    with atomic_path(path) as part, pynwb.NWBHDF5IO(str(part), "w") as target:
        target.write(file)
    return _lacks(results, files, references)


def _refer(files: list[Path], path: Path, results: Results) -> dict[str, Any]:
    """Return the fields by which a series points to files, which must hold the frames of the results."""
    counts = []
    for file in files:
        if file.suffix.lower() not in EXTERNAL_SUFFIXES:
            remedy = f"It points to {', '.join(EXTERNAL_SUFFIXES)}: write such a copy, or leave this movie out"
            raise MovieFileError(file, "is of a kind that an NWB file cannot point to", remedy)
        try:
            n_frames, *size = read_external([file], Choice(progress=False)).frames.shape
        except MovieFileError as error:
            raise MovieFileError(
                file, f"is no one movie ({error.args[1]})", "Write a copy of it alone, or leave it out"
            ) from error
        if tuple(size) != results.footprints.shape:
            problem = f"has frames of {size[0]} x {size[1]} px, the results {' x '.join(map(str, results.footprints.shape))}"
            raise MovieFileError(file, problem, "Name the movie that was analysed")
        counts.append(n_frames)
    if sum(counts) != results.raw.n_frames:
        problem = f"holds {sum(counts)} frames, the results {results.raw.n_frames}"
        raise MovieFileError(files[0], problem, "Name the movie that was analysed, all files of it")
    # The folders as they are, not as links name them, since ".." leads out of the real one.
    start = path.parent.resolve()
    places = [Path(os.path.relpath(file.parent.resolve() / file.name, start)).as_posix() for file in files]
    height, width = results.footprints.shape
    return {
        "external_file": places, "starting_frame": [0, *np.cumsum(counts[:-1]).tolist()], "format": "external",
        "dimension": [width, height], "num_samples": sum(counts), "unit": "counts",
    }  # fmt: skip


def _new_file(results: Results, said: Metadata) -> tuple[Any, Any]:
    """Return a file with what was said of the session, and the imaging plane in it."""
    from pynwb import NWBFile
    from pynwb.file import Subject
    from pynwb.ophys import OpticalChannel

    from calcium_helpers import __version__

    versions = {"calcium-helpers": __version__, **results.summary.get("versions", {})}
    session = {"identifier": str(uuid.uuid4()), **said.session}
    file = NWBFile(**session, subject=Subject(**said.subject), was_generated_by=[list(pair) for pair in versions.items()])
    about = dict(said.imaging)
    indicator, emission = about["indicator"], about.pop("emission_nm")
    pixel_um = results.summary.get("pixel_um")
    plane = file.create_imaging_plane(
        name="ImagingPlane",
        device=file.create_device(**said.device),
        optical_channel=OpticalChannel(name="OpticalChannel", description=f"emission of {indicator}", emission_lambda=emission),
        excitation_lambda=about.pop("excitation_nm"),
        imaging_rate=float(results.raw.fs),
        **({} if pixel_um is None else {"grid_spacing": [pixel_um * 1e-6] * 2, "grid_spacing_unit": "meters"}),
        **about,
    )
    return file, plane


def _add_movies(file: Any, module: Any, plane: Any, kind: str, clock: Clock, references: dict[str, Any]) -> None:
    """Add the movies by reference, the shifts, and the images that sum them up."""
    import pynwb
    from pynwb.base import Images
    from pynwb.image import GrayscaleImage, ImageSeries

    results, raw, corrected, moved = clock.results, references["raw"], references["corrected"], None
    if raw is not None:
        about = {} if kind == "ImageSeries" else {"imaging_plane": plane}
        raw = clock.series(getattr(pynwb.ophys if about else pynwb.image, kind), kind, description="raw movie", **about, **raw)
        file.add_acquisition(raw)
    if corrected is not None:
        corrected = clock.series(ImageSeries, "corrected", description="motion-corrected movie", **corrected)
    if results.shifts is not None:
        yx, unit = results.shifts.yx[..., ::-1], "pixels"
        text = f"x, y added to a frame's pixels to align it; lines moved by {results.shifts.bidiphase_px:g} px before"
        if results.shifts.is_piecewise:
            blocks = "x, y of each block of a grid of rows and columns over the frame"
            module.add(clock.series(pynwb.TimeSeries, "block_translation", data=packed(yx), unit=unit, description=blocks))
        rigid = results.shifts.rigid_yx[:, ::-1]
        moved = clock.series(pynwb.TimeSeries, "xy_translation", data=packed(rigid), unit=unit, description=text)
    if raw is not None and corrected is not None and moved is not None:
        stack = pynwb.ophys.CorrectedImageStack(corrected=corrected, original=raw, xy_translation=moved)
        module.add(pynwb.ophys.MotionCorrection(corrected_image_stacks=[stack]))
    else:
        for series in filter(None, (corrected, moved)):
            module.add(series)
    # x is the first axis of images in NWB.
    pictures = [
        GrayscaleImage(name=name, data=image.T, description=f"{IMAGES.get(name, name)} (x, y)")
        for name, image in results.images.items()
    ]
    if pictures:
        module.add(Images(name="SummaryImages", images=pictures, description="summaries of the movie"))


def _lacks(results: Results, files: list[Path], references: dict[str, Any]) -> tuple[str, ...]:
    """Say what a file lacks."""
    source = str(results.summary.get("source", "the raw movie"))
    named = len(files) == 1 and Path(source).suffix.lower() in EXTERNAL_SUFFIXES and files[0].name != source
    lacks = {
        f"the raw movie ({source}) is not referred to, since it was not given": references["raw"] is None,
        f"the raw movie is {files[0].name if files else ''}, the results were made of {source}: is it the same?": named,
        "the motion-corrected movie is not referred to, since there is none": (
            references["corrected"] is None and results.shifts is not None
        ),
        "there are no components: no footprints, traces and events": not len(results.footprints),
    }
    return tuple(text for text, holds in lacks.items() if holds)
