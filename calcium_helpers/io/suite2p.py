"""suite2p's folders (Pachitariu et al. 2017, doi:10.1101/061507), read; ``suite2p_export`` writes them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from calcium_helpers.containers import Footprints, Shifts, Traces
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.pickled import BROKEN, load_objects
from calcium_helpers.io.source import choose_rate, positive
from calcium_helpers.results import Imported

logger = logging.getLogger(__name__)

SETTINGS = ("ops", "db", "settings", "reg_outputs", "detect_outputs")
"""Files of what is known beside the cells: ``ops`` has it all; version 1 has the others too, or alone."""

SHARE = 0.7
"""Of the neuropil that suite2p takes out of each cell by default."""

TRUST = "If you know who made it, read it with trusted=True: then it may run programs"


def read_suite2p(folder: str | Path, *, fs: float | None = None, plane: int | None = None, trusted: bool = False) -> Imported:
    """Read what suite2p left in a folder.

    Parameters
    ----------
    folder : path
        The one with ``F.npy``, ``Fneu.npy``, ``stat.npy`` and ``ops.npy`` (or, of version 1, ``db.npy`` and those beside it);
        or one above that holds ``plane0``. ``iscell.npy`` and ``spks.npy`` are read where they are.
    fs : float, optional
        Frames per second, Hz; by default what the file says.
    plane : int, optional
        Which of several planes, from 0.
    trusted : bool
        ``stat`` and ``ops`` are pickles, which may hold programs: they are read by an unpickler that knows arrays, numbers,
        dates and plain containers. With True whatever they ask for is run.

    Returns
    -------
    Imported

    Raises
    ------
    MovieFileError
        When a file is absent, damaged or does not fit the others, or asks for more than arrays.
    """
    folder = _find_plane(Path(folder), plane)
    ops = _read_settings(folder, trusted)
    stat = list(_read(folder / "stat.npy", trusted))
    f, neuropil = (_read_traces(folder / f"{name}.npy", len(stat)) for name in ("F", "Fneu"))
    spks = folder / "spks.npy"
    spikes = _read_traces(spks, len(stat)) if spks.is_file() else None
    for name, values in (("Fneu", neuropil), ("spks", spikes)):
        if values is not None and values.shape != f.shape:
            raise MovieFileError(folder / f"{name}.npy", f"has shape {values.shape}, F.npy {f.shape}", "Run suite2p again")
    rate = choose_rate(folder / "ops.npy", positive(ops.get("fs")), fs)
    try:
        shape = (int(ops["Ly"]), int(ops["Lx"]))
        footprints = Footprints(stack_stat(folder / "stat.npy", stat, shape), shape, _ids(stat))
        share = float(ops.get("neucoeff", ops.get("extraction", {}).get("neuropil_coefficient", SHARE)))
        images, shifts = _read_images(ops, shape), _read_shifts(ops, shape, f.shape[1])
    except MovieFileError:
        raise
    except BROKEN as error:
        raise MovieFileError(folder, f"cannot be read as suite2p's ({error!r})", "It may be damaged") from error
    raw, around = (Traces(values, rate, kind, footprints.ids) for values, kind in ((f, "raw"), (neuropil, "neuropil")))
    inferred = None if spikes is None else raw.replace(values=spikes, kind="spikes")
    scores = _read_scores(folder / "iscell.npy", len(stat))
    return Imported(
        "suite2p", str(folder), footprints, raw, around, None, inferred, scores, images, shifts, share, "cell",
        positive(ops.get("pixel_um")),
    )  # fmt: skip


def stack_stat(path: Path, stat: Sequence[Any], shape: tuple[int, int]) -> sparse.csr_matrix:
    """Turn suite2p's list of dicts with ``ypix, xpix, lam`` into rows of pixel weights, (N, H*W)."""
    if not all(isinstance(entry, dict) and {"ypix", "xpix", "lam"} <= entry.keys() for entry in stat):
        raise MovieFileError(path, "is not suite2p's stat.npy: entries lack ypix, xpix, lam", "Save a label image (H, W)")
    pixels, weights = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for number, entry in enumerate(stat):
        y, x = (np.asarray(entry[name], dtype=np.int64) for name in ("ypix", "xpix"))
        if len(y) and (min(y.min(), x.min()) < 0 or y.max() >= shape[0] or x.max() >= shape[1]):
            problem = f"region {number} reaches pixel (y, x) = ({y.max()}, {x.max()}), the movie's frames are {shape}"
            raise MovieFileError(path, problem, "Regions and movie must be of one recording, neither cropped nor transposed")
        pixels.append(y * shape[1] + x)
        weights.append(np.asarray(entry["lam"], dtype=np.float32))
    ends = np.cumsum([len(part) for part in pixels])
    parts = (np.concatenate(weights), np.concatenate(pixels), ends)
    return sparse.csr_matrix(parts, shape=(len(stat), shape[0] * shape[1]))


def _find_plane(folder: Path, plane: int | None) -> Path:
    """Return the folder that holds the files of one plane."""
    if not folder.is_dir():
        raise MovieFileError(folder, "there is no such folder", "Name suite2p's folder, or the plane0 in it")
    planes = sorted({found for part in ("", "suite2p/") for found in folder.glob(f"{part}plane[0-9]*") if found.is_dir()})
    if (folder / "F.npy").is_file() or (folder / "stat.npy").is_file() or not planes:
        return folder
    numbers = {int(found.name[5:]): found for found in planes if found.name[5:].isdigit()}
    if plane is None and len(numbers) == 1:
        return planes[0]
    if plane not in numbers:
        asked = "expected one" if plane is None else f"plane {plane} was asked for"
        raise MovieFileError(folder, f"holds the planes {sorted(numbers)}, {asked}", "Choose one with plane= (its number)")
    return numbers[plane]


def _read(path: Path, trusted: bool) -> Any:
    if not path.is_file():
        raise MovieFileError(path, "there is no such file", "suite2p's folder has F, Fneu, stat and ops .npy: copy them all")
    try:
        return load_objects(path, remedy=TRUST, trusted=trusted)
    except MovieFileError:
        raise
    except BROKEN as error:
        raise MovieFileError(path, f"cannot be read ({error!r})", "It may be truncated: copy it again") from error


def _read_settings(folder: Path, trusted: bool) -> dict[str, Any]:
    """Return what is known beside the cells, from one file or several."""
    names = SETTINGS[:1] if (folder / "ops.npy").is_file() or not (folder / "db.npy").is_file() else SETTINGS[1:]
    ops: dict[str, Any] = {}
    for path in (folder / f"{name}.npy" for name in names):
        part = _read(path, trusted) if path.is_file() or path.stem in SETTINGS[:2] else {}
        if not isinstance(part, dict):
            raise MovieFileError(path, f"holds {type(part).__name__}, expected suite2p's settings by name", "Copy it again")
        ops |= part
    if not {"Ly", "Lx"} <= ops.keys():
        raise MovieFileError(folder / f"{names[0]}.npy", "does not tell Ly and Lx, the size of frames", "Run suite2p again")
    return ops


def _read_traces(path: Path, n: int) -> np.ndarray:
    """Return traces (N, T) of as many regions as ``stat`` has."""
    values = np.asarray(_read(path, trusted=False))
    if values.dtype.kind not in "iuf" or values.ndim != 2 or len(values) != n:
        turned = values.ndim == 2 and values.shape[1] == n
        remedy = "It is transposed: save its transpose (array.T)" if turned else "Files of one run of suite2p are expected"
        raise MovieFileError(path, f"holds {values.dtype} of shape {values.shape}, stat.npy {n} regions", remedy)
    if not values.shape[1] or not np.isfinite(values).all():
        what = "no frame" if not values.shape[1] else "NaN or infinity"
        raise MovieFileError(path, f"holds {what}", "Extract the traces again")
    return values


def _ids(stat: Sequence[dict[str, Any]]) -> np.ndarray:
    """Return the ids that we wrote, or the places in the list where others changed it."""
    ids = np.array([entry.get("id", -1) for entry in stat], dtype=np.int64)
    return ids if len(np.unique(ids)) == len(ids) and (ids >= 0).all() else np.arange(len(stat))


def _read_scores(path: Path, n: int) -> pd.DataFrame:
    """Return which regions are cells, and suite2p's probability where it is more than that."""
    if not path.is_file():
        logger.warning("%s: there is no such file; all %d regions count as cells", path, n)
        return pd.DataFrame({"accepted": np.ones(n, bool), "reason": ""})
    marks = np.asarray(_read(path, trusted=False))
    if marks.shape != (n, 2):
        raise MovieFileError(path, f"has shape {marks.shape}, stat.npy {n} regions", "Files of one run of suite2p are expected")
    accepted = marks[:, 0] > 0
    scores = pd.DataFrame({"accepted": accepted, "reason": np.where(accepted, "", "no cell by iscell.npy")})
    return scores if (marks[:, -1] == accepted).all() else scores.assign(confidence=marks[:, -1])


def _read_images(ops: dict[str, Any], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return the images of the field; those of the valid part of it, which suite2p crops, in their place."""
    (y0, y1), (x0, x1) = _valid(ops, shape)
    images = {}
    for name, key in (("mean", "meanImg"), ("max", "max_proj"), ("correlation", "Vcorr")):
        image = np.asarray(ops.get(key, 0), dtype=np.float32)
        if image.shape == (y1 - y0, x1 - x0) and image.size:
            image = np.pad(image, ((y0, shape[0] - y1), (x0, shape[1] - x1)), constant_values=image.min())
        if image.shape == shape and np.ptp(image) > 0:  # suite2p has to be given some image, even where there is none
            images[name] = image
    return images


def _read_shifts(ops: dict[str, Any], shape: tuple[int, int], n_frames: int) -> Shifts | None:
    """Return the rigid shifts; suite2p states where in the raw frame a pixel comes from, we by how much it is moved."""
    if not {"yoff", "xoff"} <= ops.keys() or not len(ops["yoff"]) == len(ops["xoff"]) == n_frames:
        return None
    (y0, y1), (x0, x1) = _valid(ops, shape)
    yx = -np.stack([ops["yoff"], ops["xoff"]], axis=1).astype(np.float32)
    template, correlation = (np.asarray(ops.get(key, 0), dtype=np.float32) for key in ("refImg", "corrXY"))
    return Shifts(
        yx + 0.0, template if template.shape == shape else np.zeros(shape, np.float32), (y0, y1, x0, x1),
        correlation if correlation.shape == (n_frames,) else None, np.flatnonzero(ops.get("badframes", [])),
    )  # fmt: skip


def _valid(ops: dict[str, Any], shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the rows and columns that motion never carried out of the frame."""
    valid = [(int(part[0]), int(part[1])) for part in (ops.get("yrange", (0, shape[0])), ops.get("xrange", (0, shape[1])))]
    if not all(0 <= start <= stop <= n for (start, stop), n in zip(valid, shape, strict=True)):
        raise ValueError(f"yrange and xrange {valid} lie outside frames of {shape} px: transposed?")
    return valid
