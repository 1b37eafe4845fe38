"""Exact non-negative deconvolution of AR(1) calcium: the OASIS active-set method, compiled.

Friedrich, Zhou and Paninski 2017, doi:10.1371/journal.pcbi.1005423. Glossary: y trace, c calcium, s spikes, b baseline, g
decay a frame, lam sparsity penalty; c[t] = g c[t-1] + s[t] with s >= 0. What calcium there is at the first frame, c[0], is
left from before and no spike. The baseline is not
below the lowest sample. A pool is a run of frames without a spike inside: calcium decays by g from its first frame on.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_ROUNDS = 50
_TOLERANCE = 1e-4


@njit(cache=True, nogil=True)
def _pool(
    y: np.ndarray, b: float, lam: float, power: np.ndarray, value: np.ndarray, weight: np.ndarray, start: np.ndarray
) -> int:
    """Fill the pools that minimise 1/2 |c + b - y|^2 + lam sum(s); return how many there are.

    Calcium of pool i begins at frame ``start[i]`` with ``max(value[i] / weight[i], 0)``; ``power[k]`` is g^k.
    """
    n, count = len(y), 0
    for t in range(n):
        # A penalty on s is one on c: each c[t] is in s[t] and, times -g, in s[t + 1]; the last one only in s[t].
        new_value, new_weight, new_start = y[t] - b - lam * (1.0 if t == n - 1 else 1.0 - power[1]), 1.0, t
        while count > 0:
            decay = power[new_start - start[count - 1]]
            if new_value * weight[count - 1] >= decay * value[count - 1] * new_weight:
                break
            count -= 1
            new_value = value[count] + decay * new_value
            new_weight = weight[count] + decay * decay * new_weight
            new_start = start[count]
        value[count], weight[count], start[count] = new_value, new_weight, new_start
        count += 1
    return count


@njit(cache=True, nogil=True)
def _moments(
    y: np.ndarray, b: float, power: np.ndarray, value: np.ndarray, weight: np.ndarray, start: np.ndarray, count: int
) -> tuple[float, float, float, float, float, float, float, float, float]:
    """Sum over the frames the residual r, its change m with lam and n with -b, and of their products.

    While the pools stay as they are, r(lam + x, b + z) = r + x m - z n.
    """
    g, n_frames = power[1], len(y)
    sr = sm = sn = rr = mm = nn = rm = rn = mn = 0.0
    for i in range(count):
        end = start[i + 1] if i + 1 < count else n_frames
        head = value[i] / weight[i]
        slope_b = slope_lam = 0.0
        if head > 0:
            slope_b = (1 - power[end - start[i]]) / (1 - g) / weight[i]
            slope_lam = (1 - g) * slope_b + (power[end - start[i]] / weight[i] if end == n_frames else 0.0)
        for t in range(start[i], end):
            decay = power[t - start[i]]
            r = y[t] - b - (decay * head if head > 0 else 0.0)
            m, n = decay * slope_lam, 1 - decay * slope_b
            sr, sm, sn = sr + r, sm + m, sn + n
            rr, mm, nn = rr + r * r, mm + m * m, nn + n * n
            rm, rn, mn = rm + r * m, rn + r * n, mn + m * n
    return sr, sm, sn, rr, mm, nn, rm, rn, mn


@njit(cache=True, nogil=True)
def fit_ar1(y: np.ndarray, g: float, noise: float, lam: float, c: np.ndarray, s: np.ndarray) -> tuple[float, float]:
    """Fill calcium ``c`` and spikes ``s`` of one trace (T,), float64; return the baseline and the penalty.

    A negative ``lam`` asks for the penalty at which the residual is as large as the noise (infinite for a silent trace).
    """
    n = len(y)
    power = g ** np.arange(n + 1)
    value, weight, start = np.empty(n), np.empty(n), np.empty(n, dtype=np.int64)
    c[:], s[:] = 0.0, 0.0
    target = noise * noise * n
    b = y.mean()
    search = lam < 0
    if search and ((y - b) ** 2).sum() <= target:
        return b, np.inf
    lam = max(lam, 0.0)
    low = y.min()
    b = max(low, b - np.sqrt(((y - b) ** 2).mean()))
    for _ in range(_ROUNDS):
        count = _pool(y, b, lam, power, value, weight, start)
        sr, sm, sn, rr, mm, nn, rm, rn, mn = _moments(y, b, power, value, weight, start, count)
        # The best baseline makes the residual sum to 0: z = (sr + x sm) / sn, which leaves r = A + x B.
        free = sn > 1e-9 * n
        fr, fm = (sr / sn, sm / sn) if free else (0.0, 0.0)
        step = 0.0
        if search:
            aa, bb = rr - 2 * fr * rn + fr * fr * nn, mm - 2 * fm * mn + fm * fm * nn
            ab = rm - fr * mn - fm * rn + fr * fm * nn
            if bb > 0:
                step = (-ab + np.sqrt(max(ab * ab - bb * (aa - target), 0.0))) / bb
            step = max(step, -lam)
        shift = fr + step * fm
        shift = max(shift, low - b)
        lam, b = lam + step, b + shift
        if abs(shift) + abs(step) <= _TOLERANCE * noise:
            break
    count = _pool(y, b, lam, power, value, weight, start)
    for i in range(count):
        head = max(value[i] / weight[i], 0.0)
        for t in range(start[i], start[i + 1] if i + 1 < count else n):
            c[t] = head * power[t - start[i]]
        if i:
            s[start[i]] = c[start[i]] - g * c[start[i] - 1]
    return b, lam
