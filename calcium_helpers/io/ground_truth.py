"""Fluorescence with simultaneous electrophysiology: the spikes of a neuron are known, not inferred.

Two collections are read: that of Rupprecht et al. 2021 (doi:10.1038/s41593-021-00895-5), a folder ``DSxx-INDICATOR-...`` a
data set with one .mat file a neuron, and Spikefinder (Berens et al. 2018, doi:10.1371/journal.pcbi.1006157), two CSV files a
data set or the archive of all.
"""

from __future__ import annotations

import logging
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from calcium_helpers.io.errors import MovieFileError

logger = logging.getLogger(__name__)

_TICKS_PER_S = 1e4
_SPIKEFINDER_FS = 100.0
# By number of the data set (Berens et al. 2018, table 1).
_SPIKEFINDER = dict(
    enumerate(
        ("OGB-1", "OGB-1", "GCaMP6s", "OGB-1", "GCaMP6s", "GCaMP5k", "GCaMP6f", "GCaMP6s", "jRCaMP1a", "jRGECO1a"),
        start=1,
    )
)
# What stands in a folder's name -> what the indicator is usually called.
_INDICATORS = {
    "OGB1-2": "OGB-1",
    "R-CaMP": "R-CaMP1.07",
    "jGECO1a": "jRGECO1a",
    "GCaMP8f": "jGCaMP8f",
    "GCaMP8s": "jGCaMP8s",
}


class GroundTruth(NamedTuple):
    """One sweep of one neuron: its fluorescence, and when it fired.

    Attributes
    ----------
    dataset : str
        Such as "DS09".
    indicator : str
        Such as "GCaMP6f".
    cell : str
        The neuron, unique within its data set; the sweeps of one neuron share it.
    times_s : ndarray, shape (T,), float64
        Strictly increasing, finite; not necessarily regular.
    dff : ndarray, shape (T,), float32
        Fluorescence, dF/F as a fraction (Spikefinder: arbitrary units); finite.
    spikes_s : ndarray, shape (S,), float64
        Times of the action potentials on the same clock, sorted; from one sample before the first to the last sample.
    fs : float
        Rate of the fluorescence where it has no gap, Hz.
    neuropil : ndarray, shape (T,), float32, or None
        Fluorescence around the neuron, where it was measured.
    """

    dataset: str
    indicator: str
    cell: str
    times_s: np.ndarray
    dff: np.ndarray
    spikes_s: np.ndarray
    fs: float
    neuropil: np.ndarray | None = None


def load_ground_truth(path: str | Path) -> tuple[GroundTruth, ...]:
    """Load one data set of ground truth, or all that lie in a folder or an archive.

    Every sweep is taken. Samples without a time or a value are left out, times that do not increase are put right (sorted,
    the first of equal ones kept), spikes outside the fluorescence are left out, and sweeps without fluorescence are passed
    over; one logged line counts what was mended.

    Parameters
    ----------
    path : str or Path
        A folder ``DSxx-INDICATOR-...`` with .mat files (``CAttached``: structures with ``fluo_time`` in seconds, ``fluo_mean``
        as dF/F, ``events_AP`` in units of 0.1 ms), the folder that holds several of these, or Spikefinder's .zip.

    Returns
    -------
    tuple of GroundTruth
        By data set, by file, in the order of the sweeps.

    Raises
    ------
    MovieFileError
        When there is nothing to read there, or a file is broken; the message names it.

    See Also
    --------
    load_spikefinder : two CSV files
    """
    path = Path(path)
    if zipfile.is_zipfile(path):
        return _read_archive(path)
    sets = sorted(path.glob("DS*-*")) or [path]
    files = [file for folder in sets for file in sorted(folder.glob("*.mat"))]
    if not files:
        remedy = "Give a folder DSxx-INDICATOR-... with .mat files, the folder above it, or Spikefinder's archive"
        raise MovieFileError(path, "holds no ground truth", remedy)
    mended: Counter[str] = Counter()
    sweeps = tuple(sweep for file in files for sweep in _read_neuron(file, mended))
    counts = ", ".join(f"{name} {count}" for name, count in mended.items() if count) or "nothing"
    logger.info("%s: %d sweeps of %d neurons; mended: %s", path.name, len(sweeps), len({s[:3] for s in sweeps}), counts)
    return sweeps


def load_spikefinder(
    calcium_csv: str | Path | IO[bytes], spikes_csv: str | Path | IO[bytes], *, dataset: str, indicator: str = "unknown"
) -> tuple[GroundTruth, ...]:
    """Load a data set of Spikefinder: samples at 100 Hz, one neuron a column, its name in the first row.

    Parameters
    ----------
    calcium_csv, spikes_csv : str, Path or binary stream
        Fluorescence in arbitrary units, and numbers of spikes in the same bins; columns end in empty cells or NaN.
    dataset : str
        Its name, such as "spikefinder-1".
    indicator : str
        Such as "GCaMP6s".

    Returns
    -------
    tuple of GroundTruth
        One sweep a neuron. A sample's time is the end of its bin; spikes lie in the middle of theirs.

    Raises
    ------
    MovieFileError
        When a file cannot be read or the two do not belong together.
    """
    import pandas as pd

    name = str(getattr(calcium_csv, "name", calcium_csv))
    try:
        calcium, spikes = (pd.read_csv(file).astype(float) for file in (calcium_csv, spikes_csv))
    except (OSError, ValueError) as error:
        raise MovieFileError(name, f"cannot be read, or its file of spikes ({error})", "Download both again") from error
    if list(calcium) != list(spikes):
        problem = f"has {calcium.shape[1]} columns, its file of spikes {spikes.shape[1]}, or of other names"
        raise MovieFileError(name, problem, "Give the two files of one data set")
    sweeps = []
    for cell in calcium:
        dff, count = (table[cell].to_numpy() for table in (calcium, spikes))
        bins = np.flatnonzero(np.isfinite(dff[: len(count)]))
        if len(bins) < 2:
            continue
        times = (bins + 1) / _SPIKEFINDER_FS
        fired = np.repeat((np.arange(len(count)) + 0.5) / _SPIKEFINDER_FS, np.nan_to_num(count).astype(int))
        fired = fired[_within(fired, times, _SPIKEFINDER_FS)]
        values = dff[bins].astype(np.float32)
        sweeps.append(GroundTruth(dataset, indicator, str(cell), times, values, fired, _SPIKEFINDER_FS))
    return tuple(sweeps)


def _read_archive(path: Path) -> tuple[GroundTruth, ...]:
    """Read every data set of Spikefinder's archive, ``N.train.calcium.csv`` and ``N.train.spikes.csv``."""
    sweeps: list[GroundTruth] = []
    with zipfile.ZipFile(path) as archive:
        names = {
            int(found[1]): found[0]
            for name in archive.namelist()
            if (found := re.search(r"^(?:[^_].*/)?(\d+)\.\w+\.calcium\.csv$", name))
        }
        if not names:
            raise MovieFileError(path, "holds no N.train.calcium.csv", "Download Spikefinder's archive again")
        for number, name in sorted(names.items()):
            try:
                with archive.open(name) as calcium, archive.open(name.replace("calcium", "spikes")) as spikes:
                    known = {"dataset": f"spikefinder-{number}", "indicator": _SPIKEFINDER.get(number, "unknown")}
                    sweeps.extend(load_spikefinder(calcium, spikes, **known))
            except (KeyError, zipfile.BadZipFile) as error:
                raise MovieFileError(path, f"is incomplete at {name} ({error})", "Download it again") from error
    logger.info("%s: %d neurons of %d data sets", path.name, len(sweeps), len(names))
    return tuple(sweeps)


def _read_neuron(path: Path, mended: Counter[str]) -> list[GroundTruth]:
    """Read the sweeps of one .mat file."""
    from scipy.io import loadmat

    try:
        found = loadmat(path, squeeze_me=True, struct_as_record=False, variable_names=["CAttached"])
    except Exception as error:  # a damaged file raises almost anything
        raise MovieFileError(path, f"cannot be read as a MATLAB file of version 5 ({error})", "Download it again") from error
    if "CAttached" not in found:
        raise MovieFileError(path, "has no variable CAttached", "Take it out of the folder of ground truth")
    dataset, indicator = _name(path.parent.name)
    sweeps = []
    for sweep in np.ravel(found["CAttached"]):
        times, dff, spikes, neuropil = (_numbers(path, sweep, f) for f in ("fluo_time", "fluo_mean", "events_AP", "neuropil"))
        kept = _usable(path, times, dff, mended)
        if len(kept) < 2:
            mended["sweeps without fluorescence, left out"] += 1
            continue
        fs = _rate(times[kept])
        fired = np.sort(spikes) / _TICKS_PER_S
        inside = _within(fired, times[kept], fs)
        mended["spikes outside the fluorescence, left out"] += int((~inside).sum())
        around = neuropil[kept].astype(np.float32) if len(neuropil) == len(times) else None
        values = dff[kept].astype(np.float32)
        sweeps.append(GroundTruth(dataset, indicator, path.stem, times[kept], values, fired[inside], fs, around))
    return sweeps


def _name(folder: str) -> tuple[str, str]:
    """Take data set and indicator from a folder's name, such as DS06-GCaMP6f-zf-aDp."""
    dataset, _, rest = folder.partition("-")
    indicator = re.split(r"-(?:m|zf|spinal)\b", rest)[0]
    return dataset, _INDICATORS.get(indicator, indicator)


def _numbers(path: Path, sweep: Any, field: str) -> np.ndarray:
    """Return a field of a sweep as a vector; empty where it is missing."""
    try:
        return np.ravel(getattr(sweep, field, ())).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise MovieFileError(path, f"holds no numbers in {field} ({error})", "Download it again") from error


def _usable(path: Path, times: np.ndarray, dff: np.ndarray, mended: Counter[str]) -> np.ndarray:
    """Return which samples to keep, in the order of time."""
    if len(times) != len(dff):
        raise MovieFileError(path, f"has {len(times)} times and {len(dff)} values of dF/F in a sweep", "Download it again")
    order = np.argsort(times, kind="stable")
    order = order[np.isfinite(times[order]) & np.isfinite(dff[order])]
    mended["samples not finite, left out"] += len(times) - len(order)
    mended["samples earlier than the one before, sorted"] += int((np.diff(times[np.sort(order)]) < 0).sum())
    later = np.diff(times[order], prepend=-np.inf) > 0
    mended["samples at the time of the one before, left out"] += int((~later).sum())
    return order[later]


def _rate(times: np.ndarray) -> float:
    """Return samples per second, gaps left out; the mean, since stored times are rounded."""
    steps = np.diff(times)
    return float(1 / steps[steps <= 1.5 * np.median(steps)].mean())


def _within(spikes: np.ndarray, times: np.ndarray, fs: float) -> np.ndarray:
    """Return which spikes lie between one sample before the first and the last."""
    return (spikes > times[0] - 1 / fs) & (spikes <= times[-1])
