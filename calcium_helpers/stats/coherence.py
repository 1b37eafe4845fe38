"""Whether two traces share what they hold at a frequency."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from calcium_helpers.containers import Traces
from calcium_helpers.noise import check_finite
from calcium_helpers.stats.tapers import HALF_WIDTH, check_alpha, control_discoveries, iter_parts, make_tapers, smallest_of

_ROWS = 64  # pairs at a time
_LARGEST = 2**26  # values of coherence: with their thresholds about 1 GiB


class Coherence(NamedTuple):
    """Magnitude-squared coherence of pairs of traces.

    ``coherence`` (P, F), 0 to 1, at ``frequency_hz`` (F,), one value a bandwidth, so that neighbours are independent;
    ``pairs`` (P, 2) are ids. ``threshold`` (P, F) is what two independent traces exceed at any of the frequencies with the
    chance ``alpha``; ``p`` (P,) that of the highest coherence; ``q`` (P,) with the false discovery rate controlled over pairs.
    """

    frequency_hz: np.ndarray
    coherence: np.ndarray
    pairs: np.ndarray
    threshold: np.ndarray
    p: np.ndarray
    q: np.ndarray
    alpha: float


def estimate_coherence(
    traces: Traces,
    *,
    pairs: np.ndarray | None = None,
    band_hz: tuple[float, float] = (0.0, np.inf),
    bandwidth_hz: float | None = None,
    alpha: float = 0.05,
) -> Coherence:
    """Estimate how much two traces share at each frequency, and whether more than independent ones.

    Magnitude-squared coherence from the tapers of the multitaper estimate. Under independence its chance of exceeding c is
    (1 - c)^(K - 1) (Carter 1987, doi:10.1109/PROC.1987.13723) with K as many tapers as the two traces' activity in fact
    fills in an octave of frequencies: fewer than there are where both are active in a part of the recording only.

    Parameters
    ----------
    traces : Traces
        N traces of T frames; finite.
    pairs : ndarray of int, shape (P, 2), optional
        Ids of the cells of each pair; all pairs by default.
    band_hz : tuple of float
        Frequencies to look at, Hz; the fewer, the lower the threshold. Below one bandwidth nothing is said.
    bandwidth_hz : float, optional
        Full width of the smoothing, Hz; 8 over the duration by default, which makes 7 tapers.
    alpha : float
        Chance of exceeding the threshold anywhere, for a pair of independent traces.

    Returns
    -------
    Coherence
        NaN for pairs with a constant trace.

    Raises
    ------
    ValueError
        For unknown ids, NaN or infinity, ``alpha`` outside 0..1, or more pairs and frequencies than memory should hold.
    """
    check_finite(traces)
    check_alpha(alpha)
    n_cells = len(traces)
    pairs = traces.ids[np.column_stack(np.triu_indices(n_cells, 1))] if pairs is None else np.asarray(pairs)
    rows = pd.Index(traces.ids).get_indexer(np.ravel(pairs)).reshape(-1, 2)
    if (rows < 0).any():
        raise ValueError(
            f"pairs must hold ids of the traces, got unknown ones: {np.ravel(pairs)[rows.ravel() < 0][:5].tolist()}"
        )
    tapers, step = make_tapers(traces, bandwidth_hz, HALF_WIDTH)
    bins = np.arange(1, traces.n_frames // 2 // step) * step
    frequency = bins * traces.fs / max(traces.n_frames, 1)
    inside = (frequency >= band_hz[0]) & (frequency <= band_hz[1])
    bins, frequency = bins[inside], frequency[inside]
    if len(rows) * len(bins) > _LARGEST:
        raise ValueError(
            f"{len(rows)} pairs at {len(bins)} frequencies are too many; choose pairs, a band_hz or a larger bandwidth_hz"
        )
    octave = np.log2(bins / step + 1e-9).astype(int)
    waves = np.zeros((n_cells, len(tapers), len(bins)), dtype=np.complex64)
    filled = np.zeros((n_cells, len(tapers), len(tapers), octave.max(initial=-1) + 1), dtype=np.float32)
    for some, part in iter_parts(traces):
        wave = np.stack([np.fft.rfft(part * taper, axis=1) for taper in tapers], axis=1)
        with np.errstate(invalid="ignore"):  # NaN for a constant trace
            wave /= np.sqrt((np.abs(wave) ** 2).sum(axis=1, keepdims=True))
        waves[some] = wave[:, :, bins]
        for band in np.unique(octave):
            within = wave[:, :, (step << band) - step // 2 : (step << (band + 1)) - step // 2]
            filled[some, :, :, band] = (within @ within.conj().swapaxes(1, 2)).real / within.shape[2]
    coherence = np.empty((len(rows), len(bins)), dtype=np.float32)
    independent = np.empty_like(coherence)
    for start in range(0, len(rows), _ROWS):
        a, b = rows[start : start + _ROWS].T
        coherence[start : start + _ROWS] = np.abs((waves[a] * waves[b].conj()).sum(axis=1)) ** 2
        independent[start : start + _ROWS] = (1 / np.maximum((filled[a] * filled[b]).sum(axis=(1, 2)), 1e-6) - 1)[:, octave]
    np.maximum(independent, 1e-6, out=independent)
    log_single = (np.log1p(-np.minimum(coherence, 1 - 1e-6)) * independent).min(axis=1, initial=0)
    p = smallest_of(np.exp(log_single.astype(np.float64)), len(bins))
    threshold = -np.expm1(np.log(-np.expm1(np.log1p(-alpha) / max(len(bins), 1))) / independent)
    return Coherence(frequency, coherence, traces.ids[rows], threshold, p, control_discoveries(p), alpha)
