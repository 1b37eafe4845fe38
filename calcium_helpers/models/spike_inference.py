"""Traces to firing rates with a trained network, in pieces of any size."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch

from calcium_helpers.containers import Traces
from calcium_helpers.models._base import WEIGHTS, load_model
from calcium_helpers.models.spike_features import describe_standardised, noise_level, standardise
from calcium_helpers.models.spike_net import SpikeNet, SpikeNetConfig
from calcium_helpers.models.spike_simulator import simulate_sweeps
from calcium_helpers.noise import check_finite

GRID_HZ = 25.0
"""Faster recordings are averaged over the whole number of samples that comes nearest to this rate."""

FASTEST_HZ = 37.5
"""Up to this rate the network works on the samples themselves."""

FS_RANGE_HZ = (5.0, 500.0)
"""Rates that the network has met."""


def load_spike_net(folder: str | Path | None = None) -> SpikeNet:
    """Load a network that ``save_model`` wrote; without ``folder`` the one that comes with the package."""
    return load_model(folder or WEIGHTS / "spike_net", lambda config: SpikeNet(SpikeNetConfig(**config)))


@cache
def _own_net() -> SpikeNet:
    return load_spike_net()


def infer_spikes(
    dff: Traces, *, model: SpikeNet | None = None, own_fs: float | None = None,
    rows: int = 16, chunk: int = 4096, threads: int | None = None,
) -> Traces:  # fmt: skip
    """Infer the firing rate of each cell.

    The delay of the indicator is modelled, so that a spike is found where it happened, not where fluorescence peaks. Above
    37.5 Hz the rate is that of bins of about 40 ms, repeated at the rate of the recording. When a cell fires is found better
    than how much: in cells of an indicator and type that the training did not hold, rates were wrong by a factor of about two,
    and by five to ten, too low, in fast-spiking interneurons (``benchmarks/spikes.py``).

    Parameters
    ----------
    dff : Traces
        N traces of T frames, dF/F as a fraction; finite. Some minutes of a cell tell more of its kinetics than seconds.
    model : SpikeNet, optional
        The one that comes with the package where not given.
    own_fs : float, optional
        Frames per second of the recording, Hz, where ``dff`` was averaged to fewer: slow frames come later.
    rows, chunk : int
        Traces and samples that are worked on at a time; the result does not depend on them.
    threads : int, optional
        Groups of rows worked on at the same time; all processors by default.

    Returns
    -------
    Traces
        Kind "spikes": expected spikes a second, Hz, same shape, rate and ids. A constant trace has none.

    Raises
    ------
    ValueError
        For a trace with NaN or infinity; the message names the row.

    Warns
    -----
    UserWarning
        Where the rate, or the noise of some traces, lies outside what the network was trained on.
    """
    check_finite(dff)
    if rows < 1 or chunk < 1:
        raise ValueError(f"rows and chunk must be at least 1, got {rows} and {chunk}")
    model = _own_net() if model is None else model
    factor = _factor(dff.fs)
    found = np.zeros(dff.values.shape, dtype=np.float32)
    levels = np.ones(len(dff))

    def infer_group(start: int) -> None:
        which = slice(start, start + rows)
        binned = _average(dff.values[which], factor)
        rate, levels[which] = _infer_rows(model, binned, dff.fs / factor, own_fs or dff.fs, chunk)
        rate[np.ptp(binned, axis=1) == 0] = 0
        found[which] = np.repeat(rate, factor, axis=1)[:, : dff.n_frames]

    # Threads of our own: those inside torch wait for each other at every layer, which is slow where cores are busy.
    own = torch.get_num_threads()
    with ThreadPoolExecutor(threads or os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            list(pool.map(infer_group, range(0, len(dff) if dff.n_frames > 1 else 0, rows)))
        finally:
            torch.set_num_threads(own)
    for strange in find_strange(dff, model=model, levels=levels):
        warnings.warn(strange, stacklevel=2)
    return dff.replace(values=found, kind="spikes")


def _average(values: np.ndarray, factor: int) -> np.ndarray:
    """Mean of every ``factor`` samples; the last mean may be of fewer."""
    if factor == 1:
        return values
    starts = np.arange(0, values.shape[1], factor)
    return np.add.reduceat(values, starts, axis=1) / np.diff(np.append(starts, values.shape[1])).astype(np.float32)


def _infer_rows(model: SpikeNet, dff: np.ndarray, fs: float, own_fs: float, chunk: int) -> tuple[np.ndarray, ...]:
    """Rates of some traces, Hz, and their noise levels: in pieces of ``chunk`` samples, each with all that it depends on."""
    fold, reach = model.config.fold, model.config.reach
    n_samples = dff.shape[1]
    scaled, noise = standardise(dff)
    z = torch.from_numpy(np.pad(scaled, ((0, 0), (0, -n_samples % fold))))
    features = torch.from_numpy(describe_standardised(scaled, noise, fs=fs, own_fs=own_fs))
    step = -(-chunk // fold) * fold
    rate = np.empty(z.shape, dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, z.shape[1], step):
            before = min(reach, start)
            piece = model(z[:, start - before : start + step + reach], features)
            rate[:, start : start + step] = piece[:, before : before + step].numpy()
    return rate[:, :n_samples] * np.float32(fs), noise_level(noise, fs=fs)


def find_strange(dff: Traces, *, model: SpikeNet | None = None, levels: np.ndarray | None = None) -> list[str]:
    """Say in words what of some traces lies outside the training range.

    Parameters
    ----------
    dff : Traces
        N traces.
    model : SpikeNet, optional
        The one that comes with the package where not given.
    levels : ndarray, shape (N,), optional
        Their noise, %/sqrt(Hz), where it is known already.

    Returns
    -------
    list of str
        A sentence for the rate, one for noise; empty where all is as in training.
    """
    found, (low, high) = [], FS_RANGE_HZ
    if not low <= dff.fs <= high:
        found.append(f"fs of {dff.fs:g} Hz is outside the {low:g} to {high:g} Hz that the spike network was trained on")
    if levels is None:
        factor = _factor(dff.fs)
        levels = noise_level(standardise(_average(dff.values, factor))[1], fs=dff.fs / factor)
    low, high = (_own_net() if model is None else model).config.noise_range
    strange = np.flatnonzero((levels < low) | (levels > high))
    if strange.size and dff.n_frames > 1:
        found.append(
            f"noise of {strange.size} of {len(dff)} traces is outside the {low:.2g} to {high:.2g} %/sqrt(Hz) that the spike "
            f"network was trained on, first id {dff.ids[strange[0]]} with {levels[strange[0]]:.2g}; is it dF/F, a fraction?"
        )
    return found


def _factor(fs: float) -> int:
    """How many samples are averaged to one."""
    return 1 if fs <= FASTEST_HZ else round(fs / GRID_HZ)


def measure_spike_net(model: SpikeNet | None = None, *, sweeps: int, seed: int) -> float:
    """Mean correlation of inferred with true spikes, 25 Hz, zero lag, on simulated sweeps: a check that weights work.

    The sweeps are of the simulator of the training, with another seed; how well a network does on recordings is said by
    ``benchmarks/spikes.py``.
    """
    scores = []
    for sweep in simulate_sweeps(sweeps, seed=seed):
        dff, spikes = (_average(rows[None], round(sweep.fs / GRID_HZ)) for rows in (sweep.dff, sweep.spikes))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # some simulated noise is beyond that of recordings
            rate = infer_spikes(Traces(dff, GRID_HZ, "dff"), model=model, own_fs=sweep.fs)
        scores.append(np.corrcoef(rate.values[0], spikes[0])[0, 1] if np.ptp(rate.values) and np.ptp(spikes) else 0.0)
    return float(np.mean(scores))
