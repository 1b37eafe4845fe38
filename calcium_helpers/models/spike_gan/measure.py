"""What is known of a cell before fluorescence is generated: kinetics, amplitude and colour of the noise, measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d
from scipy.optimize import nnls
from scipy.signal import lfilter
from torch import Tensor

from calcium_helpers.io.ground_truth import GroundTruth
from calcium_helpers.models.spike_gan.response import Response, respond
from calcium_helpers.spike_trains import estimate_noise_level, resample

STATISTICS = (
    "log_amplitude",
    "log_rise_s",
    "log_decay_s",
    "log_power",
    "delay_s",
    "log_white",
    "log_quick",
    "log_slow",
    "log_drift",
    "offset",
    "log_tail",
)
"""Of a cell: its answer to spikes (see `Response`); white noise and slower noises of `COURSES_S`, the offset and the weight of
tails, in units of white noise of the recording's level."""
COURSES_S = (0.5, 2.5, 16.0)
"""Correlation times of quick, slow and drifting noise, s."""
N_RESPONSE = 5
RESPONSE_BINS = 200
"""Length of all responses, bins."""
# Where a cell's spikes say little, its fit stays near these.
_PRIOR = torch.tensor([np.log(0.15), np.log(0.04), np.log(0.5), 0.0, 0.0])
_PRIOR_SD = torch.tensor([1.0, 0.7, 0.6, 0.3, 0.05])
_SCALES_BINS = (1, 5, 25, 200)
_FIT_WINDOWS, _FIT_BINS, _FIT_STEPS = 8, 400, 150
LOWEST_NOISE = 0.05
"""What a recording without any is taken to have, %/sqrt(Hz)."""


class Sweep(NamedTuple):
    """One sweep as the GAN takes it: on its grid, with frames a bin.

    Attributes
    ----------
    dff, spikes, frames : ndarray, shape (T,), float32
        dF/F as a fraction; spikes and frames of the recording in each bin.
    valid : ndarray, shape (T,), bool
        False in gaps of the recording.
    noise : float
        Noise level, %/sqrt(Hz).
    fs : float
        Rate of the recording, Hz.
    source : str
        Data set and indicator, such as "DS09 GCaMP6f".
    cell : str
        The neuron, unique among all sets.
    """

    dff: np.ndarray
    spikes: np.ndarray
    frames: np.ndarray
    valid: np.ndarray
    noise: float
    fs: float
    source: str
    cell: str


def as_sweep(recording: GroundTruth, *, fs: float = 25.0) -> Sweep:
    """Bring a recording onto a grid and count its frames in each bin.

    Parameters
    ----------
    recording : GroundTruth
        One sweep.
    fs : float
        Bins a second, Hz.

    Returns
    -------
    Sweep
        With the noise level at the recording's own rate.
    """
    sampled = resample(recording, fs=fs)
    edges = np.concatenate([[sampled.times_s[0] - 1 / fs], sampled.times_s])
    frames = np.diff(np.searchsorted(recording.times_s, edges, side="right")).astype(np.float32)
    noise = max(float(estimate_noise_level(recording.dff, fs=recording.fs)), LOWEST_NOISE)
    return Sweep(
        sampled.dff,
        sampled.spikes,
        frames,
        sampled.valid,
        noise,
        recording.fs,
        f"{recording.dataset} {recording.indicator}",
        f"{recording.dataset} {recording.cell}",
    )


def unit_of(sweep: Sweep, fs: float) -> float:
    """Return the standard deviation of white noise in a bin of ``fs`` Hz, dF/F (as `networks.noise_unit`)."""
    return sweep.noise / 100 * np.sqrt(min(sweep.fs, fs)) / 0.954


def response_of(stats: Tensor) -> Response:
    """Response that statistics (B, len(STATISTICS)) describe."""
    amplitude, rise, decay, power = torch.exp(stats[:, :4]).T
    return Response(amplitude, rise, decay, power, stats[:, 4], torch.zeros_like(rise))


def measure_cells(sweeps: Sequence[Sweep], *, fs: float = 25.0, seed: int = 0) -> dict[str, np.ndarray]:
    """Measure the statistics of every cell of the sweeps.

    The response is fitted to windows around spikes by gradient descent, drawn towards common values where there are few
    spikes; the noise is measured on what is left in the quieter half of the bins.

    Parameters
    ----------
    sweeps : sequence of Sweep
        Of any number of cells; a cell's sweeps are taken together.
    fs : float
        Bins per second of the sweeps, Hz.
    seed : int
        Of the choice of windows.

    Returns
    -------
    dict of str to ndarray, shape (len(STATISTICS),), float32
        By ``Sweep.cell``.
    """
    rng = np.random.default_rng(seed)
    cells: dict[str, list[Sweep]] = {}
    for sweep in sweeps:
        cells.setdefault(sweep.cell, []).append(sweep)
    windows = [_informative(mine, fs, rng) for mine in cells.values()]
    dff, spikes, weight = (torch.from_numpy(np.stack(part)) for part in zip(*windows, strict=True))
    fitted = _fit(dff, spikes, weight, fs)
    return {cell: _with_noise(mine, answer, fs) for (cell, mine), answer in zip(cells.items(), fitted, strict=True)}


def _informative(sweeps: Sequence[Sweep], fs: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dF/F, spikes and weights of windows with spikes, each (windows, bins), half of them chosen by their number of spikes."""
    places = [(i, start) for i, s in enumerate(sweeps) for start in range(0, max(len(s.dff) - 50, 1), _FIT_BINS // 2)]
    counts = np.array([sweeps[i].spikes[start : start + _FIT_BINS].sum() for i, start in places])
    order = rng.permutation(len(places))
    chosen = order[np.argsort(-np.minimum(counts[order], 5), kind="stable")][:_FIT_WINDOWS]
    dff, spikes, weight = np.zeros((3, _FIT_WINDOWS, _FIT_BINS), dtype=np.float32)
    for row, place in enumerate(chosen):
        i, start = places[place]
        piece = slice(start, start + _FIT_BINS)
        n = len(sweeps[i].dff[piece])
        dff[row, :n] = sweeps[i].dff[piece] / unit_of(sweeps[i], fs)
        spikes[row, :n] = sweeps[i].spikes[piece]
        # Spikes before the window are not known to the fit: its first second does not count, unless the sweep starts there.
        weight[row, (25 if start else 0) : n] = (sweeps[i].valid & (sweeps[i].frames > 0))[piece][(25 if start else 0) :]
    scale = np.array([unit_of(sweeps[places[place][0]], fs) for place in chosen])
    mean_scale = np.float32(scale.mean())
    return dff * mean_scale, spikes, weight / mean_scale


def _fit(dff: Tensor, spikes: Tensor, weight: Tensor, fs: float) -> np.ndarray:
    """Responses (cells, 5) as the first five statistics, from windows (cells, windows, bins) weighted with 1 / noise."""
    n_cells = len(dff)
    theta = torch.zeros(n_cells, 5, requires_grad=True)
    optimiser = torch.optim.Adam([theta], lr=0.05)
    on = (weight > 0).float()
    for _ in range(_FIT_STEPS):
        stats = (_PRIOR + theta * _PRIOR_SD).repeat_interleave(_FIT_WINDOWS, 0)
        found = respond(spikes.flatten(0, 1), response_of(stats), fs, length=RESPONSE_BINS).view_as(dff)
        apart = (dff - found) * weight
        apart = apart - (apart * on).sum(2, keepdim=True) / on.sum(2, keepdim=True).clamp(min=1)
        # A cell weighs by its noise, but large transients, which vary, must not count without limit.
        spread = ((dff * weight) * on).std(dim=2, keepdim=True).detach().clamp(min=1)
        loss = ((apart * on / spread) ** 2).sum((1, 2)) * 0.1 + (theta**2).sum(1) / 2
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
    return (_PRIOR + theta * _PRIOR_SD).detach().numpy()


def _with_noise(sweeps: Sequence[Sweep], answer: np.ndarray, fs: float) -> np.ndarray:
    """All statistics of a cell from its response: what is left of the fluorescence is its noise."""
    stats = torch.tensor(np.pad(answer, (0, len(STATISTICS) - N_RESPONSE))[None], dtype=torch.float32)
    pieces = []
    for sweep in sweeps:
        found = respond(torch.from_numpy(sweep.spikes)[None], response_of(stats), fs, length=RESPONSE_BINS)[0].numpy()
        apart = (sweep.dff - found) / unit_of(sweep, fs)
        pieces.append(_by_scale(apart)[:, sweep.valid & (found <= np.median(found))])
    scales = np.concatenate(pieces, axis=1)
    offset = np.median(scales.sum(axis=0))  # of the quiet bins themselves: the slowest scale also saw busy ones
    spread = 1.48 * np.median(np.abs(scales - np.median(scales, axis=1, keepdims=True)), axis=1)
    power, _ = nnls(_power_by_scale(sweeps[0].frames, sweeps[0].fs, fs) / spread[:, None] ** 2, np.ones(len(spread)))
    tail = np.clip(scales[0].std() / spread[0], 0.5, 5)
    noise = [*np.log(np.clip(np.sqrt(power), 0.1, 20)), np.clip(offset, -8, 8), np.log(tail)]
    return np.concatenate([answer, noise]).astype(np.float32)


def _by_scale(trace: np.ndarray) -> np.ndarray:
    """Split a trace (T,) into what is quicker than 0.2 s, 1 s, 8 s, and the rest, (4, T)."""
    smooth = np.array([uniform_filter1d(trace, n, mode="nearest") for n in _SCALES_BINS])
    return np.concatenate([smooth[:-1] - smooth[1:], smooth[-1:]])


def _power_by_scale(frames: np.ndarray, own_fs: float, fs: float, n: int = 20_000) -> np.ndarray:
    """Variance at each scale (rows) of white noise and of ``COURSES_S`` (columns), each of variance 1, through frames."""
    rng = np.random.default_rng(0)
    frames = np.resize(frames, n)
    last = np.maximum.accumulate(np.where(frames > 0, np.arange(n), 0))
    white = rng.standard_normal(n) * np.sqrt(max(own_fs / fs, 1) / np.maximum(frames, 1))
    keep = np.exp(-1 / (fs * np.array(COURSES_S)))
    courses = [lfilter([np.sqrt(1 - a**2)], [1, -a], rng.standard_normal(n)) for a in keep]
    return np.array([_by_scale(course[last]).var(axis=1) for course in (white, *courses)]).T
