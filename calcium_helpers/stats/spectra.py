"""Which frequencies traces hold, whether one of them is a rhythm, and whether two cells share it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special, stats
from scipy.signal import welch
from scipy.signal.windows import dpss

from calcium_helpers.containers import Traces
from calcium_helpers.containers._base import check_positive
from calcium_helpers.noise import check_finite

# Calcium passes slow changes best; above a few hertz only fast indicators leave anything beside noise.
BANDS_HZ = {"infraslow": (0.01, 0.1), "slow": (0.1, 1.0), "delta": (1.0, 4.0), "theta": (4.0, 8.0), "fast": (8.0, np.inf)}
_ROWS = 64  # traces transformed at a time
_HALF_WIDTH = 4.0  # of the multitaper window, in frequency steps 1 / duration
_HALF_WIDTH_RHYTHM = 2.5
_LARGEST = 2**26  # values of coherence: with their thresholds about 1 GiB


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
        for rows, part in _parts(traces) if n_frames > 1 else ():
            power[rows] = welch(part, traces.fs, nperseg=segment)[1]
        return Spectra(frequency, power, unit, f"Welch, segments of {segment / traces.fs:.3g} s", traces.ids)
    tapers, step = _make_tapers(traces, bandwidth_hz, _HALF_WIDTH)
    frequency = np.fft.rfftfreq(n_frames, 1 / traces.fs)
    power = np.zeros((len(traces), len(frequency)), dtype=np.float32)
    one_sided = np.where((frequency == 0) | (2 * np.arange(len(frequency)) == n_frames), 1, 2) / traces.fs
    for rows, part in _parts(traces):
        power[rows] = _average(tapers, part) * one_sided
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
    doi:10.1111/j.2517-6161.1995.tb02031.x) all the cells. Regular motion or breathing makes a rhythm too.

    Parameters
    ----------
    traces : Traces
        N traces of T frames; finite.
    band_hz : tuple of float
        Where to look, Hz. Below about 25 cycles a recording (or five bandwidths) surroundings are missing.
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
    _check_alpha(alpha)
    tapers, step = _make_tapers(traces, bandwidth_hz, _HALF_WIDTH_RHYTHM)
    bins = np.arange(1, traces.n_frames // 2 // step) * step
    frequency = bins * traces.fs / max(traces.n_frames, 1)
    surroundings = _surround(bins / step)
    tested = surroundings.any(axis=1) & (frequency >= band_hz[0]) & (frequency <= band_hz[1])
    found = np.full((len(traces), 4), np.nan)
    if not tested.any():
        return _as_rhythms(traces, found, alpha)
    bins, surroundings = bins[tested], surroundings[tested]
    uncertainty = (surroundings**2).sum(axis=1)
    for rows, part in _parts(traces):
        varies = np.flatnonzero(np.ptp(part, axis=1) > 0)
        part = part[varies]
        power, half = _average(tapers, part), _degrees(tapers, part)[:, None]
        grid = power[:, step : step * (surroundings.shape[1] + 1) : step]
        around = np.log(np.maximum(grid, 1e-300)) @ surroundings.T - special.digamma(half) + np.log(half)
        contrast = power[:, bins] / np.exp(around)
        p = stats.f.sf(contrast, 2 * half, 2 / (special.polygamma(1, half) * uncertainty))
        best = p.argmin(axis=1)
        near = bins[best][:, None] + np.arange(-(step // 2), step // 2 + 1)
        each = np.arange(len(part))
        peak = near[each, power[each[:, None], near].argmax(axis=1)]
        p = _any_of(p[each, best], len(bins))
        density = power[each, peak] * 2 / traces.fs
        found[rows.start + varies] = np.column_stack([peak * traces.fs / traces.n_frames, density, contrast[each, best], p])
    return _as_rhythms(traces, found, alpha)


def _as_rhythms(traces: Traces, found: np.ndarray, alpha: float) -> pd.DataFrame:
    table = pd.DataFrame(found, columns=["frequency_hz", "power", "contrast", "p"])
    table.insert(0, "roi", traces.ids)
    table["q"] = _control(found[:, 3])
    table["significant"] = table["q"] <= alpha
    return table


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
    _check_alpha(alpha)
    n_cells = len(traces)
    pairs = traces.ids[np.column_stack(np.triu_indices(n_cells, 1))] if pairs is None else np.asarray(pairs)
    rows = pd.Index(traces.ids).get_indexer(np.ravel(pairs)).reshape(-1, 2)
    if (rows < 0).any():
        raise ValueError(
            f"pairs must hold ids of the traces, got unknown ones: {np.ravel(pairs)[rows.ravel() < 0][:5].tolist()}"
        )
    tapers, step = _make_tapers(traces, bandwidth_hz, _HALF_WIDTH)
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
    for some, part in _parts(traces):
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
    p = _any_of(np.exp(log_single.astype(np.float64)), len(bins))
    threshold = -np.expm1(np.log(-np.expm1(np.log1p(-alpha) / max(len(bins), 1))) / independent)
    return Coherence(frequency, coherence, traces.ids[rows], threshold, p, _control(p), alpha)


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, such as 0.05, got {alpha!r}")


def _control(p: np.ndarray) -> np.ndarray:
    """Control the false discovery rate, leaving out what is NaN."""
    q = np.full(len(p), np.nan)
    known = np.isfinite(p)
    q[known] = stats.false_discovery_control(p[known]) if known.any() else q[known]
    return q


def _any_of(p: np.ndarray, n: int) -> np.ndarray:
    """Chance that the smallest of ``n`` independent p-values is at most ``p`` (Sidak)."""
    return -np.expm1(n * np.log1p(-np.minimum(p, 1 - 1e-16)))


def _parts(traces: Traces) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield a few rows at a time, in double precision, without their mean."""
    for first in range(0, len(traces), _ROWS):
        rows = slice(first, min(first + _ROWS, len(traces)))
        part = traces.values[rows].astype(np.float64)
        yield rows, part - part.mean(axis=1, keepdims=True)


def _make_tapers(traces: Traces, bandwidth_hz: float | None, half_width: float) -> tuple[np.ndarray, int]:
    """Orthonormal tapers (K, T) and the bandwidth in frequency steps."""
    n_frames = traces.n_frames
    if bandwidth_hz is not None:
        check_positive("bandwidth_hz", bandwidth_hz, "hertz")
        half_width = bandwidth_hz * n_frames / traces.fs / 2
        if not 1 <= half_width < n_frames / 4:
            raise ValueError(
                f"bandwidth_hz must lie between 2 over the duration, {2 * traces.fs / max(n_frames, 1):.3g} Hz, and half the "
                f"sampling rate, {traces.fs / 2:.3g} Hz, got {bandwidth_hz:g}"
            )
    if n_frames <= 4 * half_width:
        return np.full((1, n_frames), max(n_frames, 1) ** -0.5), max(1, n_frames)
    return dpss(n_frames, half_width, int(2 * half_width) - 1), max(1, round(2 * half_width))


def _average(tapers: np.ndarray, part: np.ndarray) -> np.ndarray:
    return np.mean([np.abs(np.fft.rfft(part * taper, axis=1)) ** 2 for taper in tapers], axis=0)


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
