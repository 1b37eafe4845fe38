"""What spectra and coherence share: tapers, a few traces at a time, and the smallest of many p-values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats
from scipy.signal.windows import dpss

from calcium_helpers.containers import Traces
from calcium_helpers.containers._base import check_positive

HALF_WIDTH = 4.0  # of the multitaper window, in frequency steps 1 / duration
_ROWS = 64  # traces transformed at a time


def check_alpha(alpha: float) -> None:
    """Raise unless ``alpha`` lies between 0 and 1."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, such as 0.05, got {alpha!r}")


def control_discoveries(p: np.ndarray) -> np.ndarray:
    """Control the false discovery rate, leaving out what is NaN."""
    q = np.full(len(p), np.nan)
    known = np.isfinite(p)
    q[known] = stats.false_discovery_control(p[known]) if known.any() else q[known]
    return q


def smallest_of(p: np.ndarray, n: int) -> np.ndarray:
    """Return the chance that the smallest of ``n`` independent p-values is at most ``p`` (Sidak)."""
    return -np.expm1(n * np.log1p(-np.minimum(p, 1 - 1e-16)))


def iter_parts(traces: Traces) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield a few rows at a time, in double precision, without their mean."""
    for first in range(0, len(traces), _ROWS):
        rows = slice(first, min(first + _ROWS, len(traces)))
        part = traces.values[rows].astype(np.float64)
        yield rows, part - part.mean(axis=1, keepdims=True)


def make_tapers(traces: Traces, bandwidth_hz: float | None, half_width: float) -> tuple[np.ndarray, int]:
    """Return orthonormal tapers (K, T) and the bandwidth in frequency steps."""
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


def average_tapers(tapers: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Average the squared transforms over the tapers, shape (N, F)."""
    return np.mean([np.abs(np.fft.rfft(part * taper, axis=1)) ** 2 for taper in tapers], axis=0)
