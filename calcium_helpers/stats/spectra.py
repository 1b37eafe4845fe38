"""Which frequencies traces hold, and whether one of them is a rhythm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special, stats
from scipy.signal import welch

from calcium_helpers.containers import Traces
from calcium_helpers.noise import check_finite
from calcium_helpers.stats.tapers import (
    HALF_WIDTH,
    average_tapers,
    check_alpha,
    control_discoveries,
    iter_parts,
    make_tapers,
    smallest_of,
)

# Calcium passes slow changes best; above a few hertz only fast indicators leave anything beside noise.
BANDS_HZ = {"infraslow": (0.01, 0.1), "slow": (0.1, 1.0), "delta": (1.0, 4.0), "theta": (4.0, 8.0), "fast": (8.0, np.inf)}
_HALF_WIDTH_RHYTHM = 2.5


class Spectra(NamedTuple):
    """Power spectral density of traces, one-sided.

    ``power`` (N, F) at ``frequency_hz`` (F,) in ``unit``, squared units of the traces a hertz; its sum times the step in
    frequency is the variance of the trace. ``method`` says how it was estimated; ``ids`` (N,) name the cells.
    """

    frequency_hz: np.ndarray
    power: np.ndarray
    unit: str
    method: str
    ids: np.ndarray


def estimate_spectra(
    traces: Traces, *, method: str = "multitaper", bandwidth_hz: float | None = None, segment_s: float | None = None
) -> Spectra:
    """Estimate the power spectral density of each trace.

    Multitaper (Thomson 1982, doi:10.1109/PROC.1982.12433) averages over orthogonal tapers of the whole trace, Welch (1967,
    doi:10.1109/TAU.1967.1161901) over segments that overlap by half. The mean of each trace is taken out.

    Parameters
    ----------
    traces : Traces
        N traces of T frames; finite.
    method : {"multitaper", "welch"}
        Estimator.
    bandwidth_hz : float, optional
        Full width of the smoothing of multitaper, Hz; 8 over the duration by default, which makes 7 tapers.
    segment_s : float, optional
        Length of a segment of Welch, seconds; an eighth of the duration by default.

    Returns
    -------
    Spectra
        Up to the Nyquist frequency. All 0 for a constant trace or a single frame.

    Raises
    ------
    ValueError
        For an unknown method, a setting of the other method, a bandwidth that the traces cannot give, NaN or infinity.
    """
    check_finite(traces)
    n_frames, unit = traces.n_frames, {"dff": "(dF/F)^2/Hz", "spikes": "(dF/F a frame)^2/Hz"}.get(traces.kind, "counts^2/Hz")
    if method not in ("multitaper", "welch") or (segment_s if method == "multitaper" else bandwidth_hz) is not None:
        raise ValueError(
            f"method must be 'multitaper' (with bandwidth_hz) or 'welch' (with segment_s), got {method!r} with "
            f"bandwidth_hz={bandwidth_hz} and segment_s={segment_s}"
        )
    if method == "welch":
        segment = n_frames // 8 if segment_s is None else round(segment_s * traces.fs)
        segment = int(np.clip(segment, min(16, n_frames), max(n_frames, 1)))
        frequency = np.fft.rfftfreq(segment, 1 / traces.fs)
        power = np.zeros((len(traces), len(frequency)), dtype=np.float32)
        for rows, part in iter_parts(traces) if n_frames > 1 else ():
            power[rows] = welch(part, traces.fs, nperseg=segment)[1]
        return Spectra(frequency, power, unit, f"Welch, segments of {segment / traces.fs:.3g} s", traces.ids)
    tapers, step = make_tapers(traces, bandwidth_hz, HALF_WIDTH)
    frequency = np.fft.rfftfreq(n_frames, 1 / traces.fs)
    power = np.zeros((len(traces), len(frequency)), dtype=np.float32)
    one_sided = np.where((frequency == 0) | (2 * np.arange(len(frequency)) == n_frames), 1, 2) / traces.fs
    for rows, part in iter_parts(traces):
        power[rows] = average_tapers(tapers, part) * one_sided
    name = f"multitaper, bandwidth {step * traces.fs / n_frames:.3g} Hz, {len(tapers)} tapers"
    return Spectra(frequency, power, unit, name, traces.ids)


def measure_bands(spectra: Spectra, bands: Mapping[str, tuple[float, float]] | None = None) -> pd.DataFrame:
    """Sum the power of each cell over bands of frequency.

    Parameters
    ----------
    spectra : Spectra
        From `estimate_spectra`.
    bands : mapping, optional
        Name and limits (low, high) of each band, Hz; ``BANDS_HZ`` by default. A band ends at the Nyquist frequency at the
        latest; one that starts there or above is left out.

    Returns
    -------
    DataFrame
        One row a cell and band: ``roi, band, low_hz, high_hz, power, unit, share``. ``power`` is the variance within the band,
        NaN where the recording is too short to hold a frequency of it; ``share`` that of the power of all frequencies above 0.

    Raises
    ------
    ValueError
        For a band whose limits are not 0 <= low < high.
    """
    bands = BANDS_HZ if bands is None else bands
    frequency = spectra.frequency_hz
    step, nyquist = (frequency[1], frequency[-1]) if len(frequency) > 1 else (0.0, 0.0)
    whole = spectra.power[:, 1:].sum(axis=1, dtype=np.float64) * step
    parts = []
    for name, (low, high) in bands.items():
        if not 0 <= low < high:
            raise ValueError(f"bands must have limits 0 <= low < high in Hz, got {name}: ({low}, {high})")
        inside = (frequency >= low) & (frequency < high) & (frequency > 0)
        inside[-1:] |= (low < nyquist) & (high >= nyquist)
        power = spectra.power[:, inside].sum(axis=1, dtype=np.float64) * step if inside.any() else np.full(len(whole), np.nan)
        share = np.divide(power, whole, out=np.full(len(whole), np.nan), where=whole > 0)
        columns = {"low_hz": low, "high_hz": min(high, nyquist), "power": power, "unit": spectra.unit.removesuffix("/Hz")}
        if low < nyquist:
            parts.append(pd.DataFrame({"roi": spectra.ids, "band": name, **columns, "share": share}))
    if not parts:
        return pd.DataFrame(columns=["roi", "band", "low_hz", "high_hz", "power", "unit", "share"])
    return pd.concat(parts).sort_values("roi", kind="stable", ignore_index=True)


def find_rhythms(
    traces: Traces, *, band_hz: tuple[float, float] = (0.0, np.inf), bandwidth_hz: float | None = None, alpha: float = 0.05
) -> pd.DataFrame:
    """Find the frequency of each trace that stands out most, and test whether it is a rhythm.

    Calcium is slow: every active cell has most of its power at low frequencies without any rhythm. A rhythm is a peak over
    the spectrum's own surroundings, a straight line through the logarithm of the power against that of frequency, from half
    to twice the frequency without its nearest part. Their ratio has an F distribution under no rhythm (Thomson 1982,
    doi:10.1109/PROC.1982.12433), with fewer degrees of freedom where activity fills but a part of the recording; the p-value
    counts all the frequencies that were looked at, the q-value (Benjamini & Hochberg 1995,
    doi:10.1111/j.2517-6161.1995.tb02031.x) all the cells. Chance findings are as rare as stated or rarer.
    Regular motion or breathing makes a rhythm too.

    Parameters
    ----------
    traces : Traces
        N traces of T frames; finite.
    band_hz : tuple of float
        Where to look, Hz. Below 30 cycles a recording (six bandwidths) surroundings are missing.
    bandwidth_hz : float, optional
        Full width of the smoothing, Hz; 5 over the duration by default, which makes 4 tapers.
    alpha : float
        False discovery rate over cells.

    Returns
    -------
    DataFrame
        One row a cell: ``roi, frequency_hz, power`` (squared units of the traces a hertz), ``contrast`` (power over that of its
        surroundings), ``p, q, significant``. NaN, and not significant, where the trace is constant or too short.

    Raises
    ------
    ValueError
        For NaN or infinity, ``alpha`` outside 0..1, or a bandwidth that the traces cannot give.
    """
    check_finite(traces)
    check_alpha(alpha)
    tapers, step = make_tapers(traces, bandwidth_hz, _HALF_WIDTH_RHYTHM)
    bins = np.arange(1, traces.n_frames // 2 // step) * step
    frequency = bins * traces.fs / max(traces.n_frames, 1)
    surroundings = _surround(bins / step)
    tested = surroundings.any(axis=1) & (frequency >= band_hz[0]) & (frequency <= band_hz[1])
    found = np.full((len(traces), 4), np.nan)
    if not tested.any():
        return _as_rhythms(traces, found, alpha)
    bins, surroundings = bins[tested], surroundings[tested]
    uncertainty = (surroundings**2).sum(axis=1)
    for rows, part in iter_parts(traces):
        varies = np.flatnonzero(np.ptp(part, axis=1) > 0)
        part = part[varies]
        power, half = average_tapers(tapers, part), _degrees(tapers, part)[:, None]
        grid = power[:, step : step * (surroundings.shape[1] + 1) : step]
        around = np.log(np.maximum(grid, 1e-300)) @ surroundings.T - special.digamma(half) + np.log(half)
        contrast = power[:, bins] / np.exp(around)
        p = stats.f.sf(contrast, 2 * half, 2 / (special.polygamma(1, half) * uncertainty))
        best = p.argmin(axis=1)
        near = bins[best][:, None] + np.arange(-(step // 2), step // 2 + 1)
        each = np.arange(len(part))
        peak = near[each, power[each[:, None], near].argmax(axis=1)]
        p = smallest_of(p[each, best], len(bins))
        density = power[each, peak] * 2 / traces.fs
        found[rows.start + varies] = np.column_stack([peak * traces.fs / traces.n_frames, density, contrast[each, best], p])
    return _as_rhythms(traces, found, alpha)


def _as_rhythms(traces: Traces, found: np.ndarray, alpha: float) -> pd.DataFrame:
    table = pd.DataFrame(found, columns=["frequency_hz", "power", "contrast", "p"])
    table.insert(0, "roi", traces.ids)
    table["q"] = control_discoveries(found[:, 3])
    table["significant"] = table["q"] <= alpha
    return table


def _fill(tapers: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Power seen by each pair of tapers, (N, K, K): a multiple of one where activity fills the whole recording."""
    n_tapers, n_frames = tapers.shape
    products = (tapers[:, None] * tapers[None]).reshape(-1, n_frames)
    return (part**2 @ products.T).reshape(-1, n_tapers, n_tapers)


def _degrees(tapers: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Half the degrees of freedom of each trace's spectrum: between 1 and the number of tapers."""
    filled = _fill(tapers, part)
    return np.trace(filled, axis1=1, axis2=2) ** 2 / (filled**2).sum(axis=(1, 2))


def _surround(place: np.ndarray) -> np.ndarray:
    """Weights (F, F) that predict the logarithm of power from an octave to both sides; rows of 0 where that is missing."""
    weights = np.zeros((len(place), len(place)))
    for row, here in enumerate(place):
        away = np.abs(place - here) > max(1.5, 0.15 * here)
        near = np.flatnonzero(away & (place >= here / 2) & (place <= here * 2))
        if (near < row).sum() >= 2 and (near > row).sum() >= 2:
            x = np.log(place[near] / here)
            weights[row, near] = np.linalg.pinv(np.stack([np.ones(len(x)), x], axis=1))[0]
    return weights
