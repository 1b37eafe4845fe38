"""Fluorescence from a trained generator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from calcium_helpers.containers import Traces
from calcium_helpers.containers._base import check_positive
from calcium_helpers.io.ground_truth import GroundTruth
from calcium_helpers.models._base import WEIGHTS, load_model
from calcium_helpers.models.spike_gan.config import SpikeGanConfig
from calcium_helpers.models.spike_gan.measure import LOWEST_NOISE, STATISTICS
from calcium_helpers.models.spike_gan.networks import N_NOISE, SpikeGan, noise_unit
from calcium_helpers.spike_trains import Sampled, estimate_noise_level, resample


def load_gan(folder: str | Path | None = None) -> SpikeGan:
    """Read a generator that `save_model` wrote.

    Parameters
    ----------
    folder : str or Path, optional
        With ``config.json`` and ``weights.safetensors``; by default the generator that comes with the package, which learned
        from all 19 sets of Rupprecht et al. 2021 (doi:10.1038/s41593-021-00895-5).

    Returns
    -------
    SpikeGan
        Ready to generate.

    Raises
    ------
    MovieFileError
        Where a file is missing, broken or of another network.
    """
    return load_model(folder or WEIGHTS / "spike_gan", lambda config: SpikeGan(SpikeGanConfig(**config)))


def frames_per_bin(n_bins: int, *, fs: float, grid_fs: float, phase: float = 0.0) -> np.ndarray:
    """How many frames of a recording at ``fs`` fall into each bin of ``grid_fs``, shape (n_bins,); ``phase`` in frames."""
    return np.diff(np.floor(np.arange(n_bins + 1) * (fs / grid_fs) + phase + 1e-6)).astype(np.float32)


def cells_like(model: SpikeGan, indicator: str | npt.ArrayLike | None = None) -> np.ndarray:
    """Statistics of the cells that fit, shape (cells, len(STATISTICS)).

    Parameters
    ----------
    model : SpikeGan
        Whose cells are chosen from.
    indicator : str or array_like, optional
        Part of the name of sets, such as "GCaMP6f" or "DS09", or measured statistics of other cells, one or several rows; by
        default all cells that the model learned from.
    """
    if indicator is None or isinstance(indicator, str):
        fitting = [i for i, name in enumerate(model.config.sets) if indicator is None or indicator.lower() in name.lower()]
        if not fitting:
            raise ValueError(f"indicator must be part of one of {', '.join(sorted(set(model.config.sets)))}, got {indicator!r}")
        return model.cells[fitting].numpy()
    cells = np.atleast_2d(np.asarray(indicator, dtype=np.float32))
    if cells.ndim != 2 or not len(cells) or cells.shape[1] != len(STATISTICS) or not np.isfinite(cells).all():
        raise ValueError(f"indicator must be a name or rows of {len(STATISTICS)} finite statistics, got shape {cells.shape}")
    return cells


def generate(
    model: SpikeGan,
    spikes: npt.ArrayLike,
    *,
    noise: npt.ArrayLike = 1.0,
    fs: float = 30.0,
    indicator: str | npt.ArrayLike | None = None,
    frames: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Traces:
    """Generate fluorescence that real cells with these spikes might have shown.

    Each row is a cell of its own, drawn anew; it depends on the seed and its place alone, not on the other rows.

    Parameters
    ----------
    model : SpikeGan
        As `fit_gan` or `load_gan` returns it.
    spikes : array_like, shape (N, T) or (T,)
        Number of spikes in each bin of the model's grid (``model.config.fs``, 25 Hz).
    noise : array_like, shape () or (N,)
        Noise level, %/sqrt(Hz) (`estimate_noise_level`).
    fs : float
        Rate that the recording had, Hz: frames are averaged in a bin, or held where there are fewer of them than bins.
    indicator : str or array_like, optional
        Part of the name of the sets to imitate ("GCaMP6s", "DS09"), or statistics of other cells (`measure_cells`); each row
        imitates one of these cells, drawn at random. Any cell by default.
    frames : array_like, shape (T,), optional
        Frames in each bin, in place of a regular recording at ``fs``.
    seed : int
        Of cells and noise.

    Returns
    -------
    Traces
        N traces of kind "dff" at the model's rate, as fractions.

    Raises
    ------
    ValueError
        For negative or non-finite spikes, noise levels not above 0, or an unknown indicator.
    """
    check_positive("fs", fs, "Hz")
    grid_fs, history = model.config.fs, model.config.history
    counts = np.atleast_2d(np.asarray(spikes, dtype=np.float32))
    if counts.ndim != 2 or not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError(f"spikes must be finite counts of 0 or more, (N, T), got shape {counts.shape}")
    levels = np.broadcast_to(np.asarray(noise, dtype=np.float64), len(counts))
    if not (np.isfinite(levels) & (levels > 0)).all():
        raise ValueError(f"noise must be above 0 %/sqrt(Hz), got {np.asarray(noise).tolist()}")
    cells = cells_like(model, indicator)
    values = np.zeros(counts.shape, dtype=np.float32)
    for row, (train, level) in enumerate(zip(counts, levels, strict=True)):
        rng = np.random.default_rng([seed, row])
        n = history + len(train)
        per_bin = frames_per_bin(n, fs=fs, grid_fs=grid_fs, phase=rng.random())
        if frames is not None:
            per_bin = np.concatenate([np.resize(frames, history), np.asarray(frames)]).astype(np.float32)
        known = [np.log(level), np.log(fs)]
        condition = np.concatenate([known, cells[rng.integers(len(cells))]]).astype(np.float32)
        latent = rng.standard_normal(model.config.latent, dtype=np.float32)
        draws = rng.standard_normal((N_NOISE, n), dtype=np.float32)
        before = np.concatenate([np.zeros(history, np.float32), train])
        parts = [torch.from_numpy(part)[None] for part in (before, per_bin, condition, latent, draws)]
        with torch.no_grad():
            values[row] = (model(*parts) * noise_unit(parts[2], grid_fs)).numpy()[0]
    return Traces(values, grid_fs, "dff")


def measure_gan(*, traces: int, seed: int) -> float:
    """Mean rise of dF/F after five spikes in 0.2 s, generated by the package's own generator: what `verify` compares."""
    spikes = np.zeros((traces, 75))
    spikes[:, 25:30] = 1
    values = generate(load_gan(), spikes, seed=seed).values
    return float(np.mean(values[:, 30:45].mean(axis=1) - values[:, 5:25].mean(axis=1)))


def imitate(
    model: SpikeGan, recordings: Sequence[GroundTruth], *, indicator: str | None = None, seed: int = 0
) -> list[Sampled]:
    """Generate what cells with the spikes, noise and rate of these recordings might have shown.

    Parameters
    ----------
    model : SpikeGan
        As `fit_gan` or `load_gan` returns it.
    recordings : sequence of GroundTruth
        Whose spikes are taken.
    indicator : str, optional
        Part of the name of the sets to imitate; by default each recording's own set, which the model must know.
    seed : int
        Of cells and noise.

    Returns
    -------
    list of Sampled
        The recordings on the model's grid, with generated fluorescence.

    Raises
    ------
    ValueError
        For a set or an indicator that the model does not know.
    """
    made = []
    for k, recording in enumerate(recordings):
        sampled = resample(recording, fs=model.config.fs)
        noise = max(float(estimate_noise_level(recording.dff, fs=recording.fs)), LOWEST_NOISE)
        like = recording.dataset if indicator is None else indicator
        traces = generate(model, sampled.spikes, noise=noise, fs=recording.fs, indicator=like, seed=seed + k)
        made.append(sampled._replace(dff=traces.values[0]))
    return made
