"""Movies of the Allen Brain Observatory, scored as the authors of SUNS score them.

The protocol is that of Bao et al. 2021 (doi:10.1038/s42256-021-00342-x): masks match one to one by the Hungarian method where
their IoU is 0.5 or more; F1 of each movie, mean over movies. So is the layout of the folder: a movie ``ID.h5`` holds
frames (T, Lx, Ly) in the dataset ``mov``, and ``GT Masks/FinalMasks_ID.mat`` (or the same file beside the movie) the labels
of Soltanian-Zadeh et al. 2019 (doi:10.1073/pnas.1812995116), in MATLAB an array ``FinalMasks`` (Ly, Lx, N). They labelled the
first fifth of each recording, its middle 487 x 487 px: rows and columns 12 to 498 of the 512, counted from 0. The
movies are released aligned and are not registered again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from calcium_helpers import io, metrics
from calcium_helpers.containers import Footprints
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.results import Detection

FS = 30.0
# F1 at 275 um, means over ten movies, recomputed from the masks that were released with the papers.
PUBLISHED = {"suite2p": 0.720, "CaImAn batch": 0.755, "STNeuroNet": 0.822, "SUNS": 0.853}
MEASURES = ("F1", "precision", "recall")


def score_folder(folder: Path, detectors: Mapping[str, Callable[..., Detection]], *, fs: float = FS) -> list[dict[str, str]]:
    """One row a detector, mean and sd over the movies of a folder, and what was published.

    Raises
    ------
    MovieFileError
        For a folder without movies; a movie without labels; labels that are no masks of its field. All labels are read
        before the first movie is worked on.
    """
    movies = {path: io.load_movie(path, fs=fs, progress=False) for path in sorted(folder.glob("*.h5"))}
    if not movies:
        raise MovieFileError(folder, "holds no movie *.h5", "Give the folder that holds the movies ID.h5 and their labels")
    labels = {path: load_labels(find_labels(path), movie.shape[1:]) for path, movie in movies.items()}
    rows = []
    for name, detect in detectors.items():
        matchings = []
        for path, movie in movies.items():
            matchings.append(metrics.match_footprints(detect(movie).accepted().footprints, labels[path], iou=0.5))
            print(path.stem, name, {key: round(getattr(matchings[-1], key.lower()), 3) for key in MEASURES}, flush=True)
        values = {key: np.array([getattr(matching, key.lower()) for matching in matchings]) for key in MEASURES}
        scores = {key: f"{value.mean():.3f} ± {value.std():.3f}" for key, value in values.items()}
        rows.append({"program": name, **scores, "movies": str(len(movies)), "how": "measured"})
    empty = dict.fromkeys(MEASURES, "")
    rows += [
        {"program": name, **empty, "F1": f"{f1:.3f}", "movies": "10", "how": "published"} for name, f1 in PUBLISHED.items()
    ]
    return rows


def find_labels(movie: Path) -> Path:
    """Find the file of a movie's labels: in ``GT Masks``, or beside the movie.

    Raises
    ------
    MovieFileError
        Where there is none.
    """
    for folder in (movie.parent / "GT Masks", movie.parent):
        for path in sorted(folder.glob(f"FinalMasks*_{movie.stem}.mat")):
            return path
    raise MovieFileError(
        movie, "has no labels", f"Put FinalMasks_{movie.stem}.mat into the folder 'GT Masks' beside it, or take the movie away"
    )


def load_labels(path: Path, shape: tuple[int, int]) -> Footprints:
    """Masks of a field (Lx, Ly) as footprints (N, Lx, Ly); empty ones are left out.

    MATLAB's first axis is the last one of a 7.3 file (HDF5), as it is in the movies, and stays the first in older files.

    Raises
    ------
    MovieFileError
        For a file without ``FinalMasks``, or with masks of another field.
    """
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                masks = np.asarray(file["FinalMasks"])
            masks = masks.reshape(-1, *masks.shape[-2:])
        else:
            masks = np.atleast_3d(loadmat(path, variable_names=["FinalMasks"])["FinalMasks"]).transpose(2, 1, 0)
    except KeyError:
        raise MovieFileError(path, "has no variable FinalMasks", "Save the masks (Ly, Lx, N) under that name") from None
    except (OSError, ValueError, MatReadError) as error:
        raise MovieFileError(path, f"cannot be read ({error})", "Fetch or save it again") from None
    if masks.shape[1:] != tuple(shape):
        raise MovieFileError(
            path, f"holds masks of {masks.shape[1]} x {masks.shape[2]} px, the movie is of {shape[0]} x {shape[1]}",
            "Crop the movie as the labels are: of 512 x 512 px, rows and columns 12 to 498 are labelled, counted from 0",
        )  # fmt: skip
    return Footprints.from_images((masks[masks.any(axis=(1, 2))] > 0).astype(np.float32))
