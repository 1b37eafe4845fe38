"""Exact non-negative deconvolution of calcium that rises before it decays: an interior-point method, compiled.

Solves min 1/2 |M c + b - y|^2 + lam sum(s), s = G c >= 0, by predictor and corrector steps (Mehrotra 1992,
doi:10.1137/0802028). G has three diagonals and M two, so each Newton step is a five-diagonal Cholesky factor: the idea of
Vogelstein et al. 2010, doi:10.1152/jn.01073.2009. The penalty at which the residual is as large as the noise is sought on the
way.

Glossary: y trace, c calcium, s spikes, z their multipliers, b baseline, lam sparsity penalty. ``kin`` = (d, r, p): decay and
rise a frame, and the part p of a frame that shows its own calcium, the rest that of the frame before:
s[t] = c[t] - (d + r) c[t-1] + d r c[t-2], (M c)[t] = p c[t] + (1 - p) c[t-1]. What calcium there is at the first frame is
left from before and decays by d: s[1] = c[1] - d c[0], and s[0] = c[0] is no spike. The baseline is not
below the lowest sample. Arrays: ``x`` has the rows c, s, z; ``dx``
their step; ``chol`` the factor's diagonal, the two below it, and the response of c to b.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_ROUNDS = 100
_GAP = 1e-11
_TO_BOUNDARY = 0.99
_LEAST = 1e-14


@njit(cache=True, nogil=True)
def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """Inner product, without the compile time and the threads of a linear algebra library."""
    total = 0.0
    for t in range(len(a)):
        total += a[t] * b[t]
    return total


@njit(cache=True, nogil=True)
def _innovation(c: np.ndarray, kin: np.ndarray, s: np.ndarray) -> None:
    """Compute s = G c."""
    total, product = kin[0] + kin[1], kin[0] * kin[1]
    s[0] = c[0]
    s[1] = c[1] - kin[0] * c[0]
    for t in range(2, len(c)):
        s[t] = c[t] - total * c[t - 1] + product * c[t - 2]


@njit(cache=True, nogil=True)
def _add_adjoint(z: np.ndarray, kin: np.ndarray, out: np.ndarray) -> None:
    """Add G' z to ``out``."""
    n, total, product = len(z), kin[0] + kin[1], kin[0] * kin[1]
    out[0] += z[0] - kin[0] * z[1] + product * z[2]
    for t in range(1, n - 2):
        out[t] += z[t] - total * z[t + 1] + product * z[t + 2]
    out[n - 2] += z[n - 2] - total * z[n - 1]
    out[n - 1] += z[n - 1]


@njit(cache=True, nogil=True)
def _rest(y: np.ndarray, b: float, c: np.ndarray, kin: np.ndarray) -> np.ndarray:
    """Return what the fit leaves of the trace, y - b - M c."""
    p, out = kin[2], np.empty_like(y)
    before = c[0] / kin[0]
    for t in range(len(y)):
        out[t] = y[t] - b - p * c[t] - (1 - p) * before
        before = c[t]
    return out


@njit(cache=True, nogil=True)
def _seen(v: np.ndarray, kin: np.ndarray) -> np.ndarray:
    """M' v."""
    p, out = kin[2], np.empty_like(v)
    for t in range(len(v)):
        out[t] = p * v[t] + ((1 - p) * v[t + 1] if t + 1 < len(v) else 0.0)
    out[0] += (1 - p) * v[0] / kin[0]
    return out


@njit(cache=True, nogil=True)
def _factor(x: np.ndarray, kin: np.ndarray, ones: np.ndarray, chol: np.ndarray) -> None:
    """Factor M' M + G' diag(z / s) G = L diag L' and solve it for ``ones`` = M' 1."""
    n, d, p = x.shape[1], kin[0], kin[2]
    total, far = kin[0] + kin[1], kin[0] * kin[1]
    diag, low1, low2 = chol[0], chol[1], chol[2]
    w0, w1 = x[2, 0] / x[1, 0], x[2, 1] / x[1, 1]
    for t in range(n):
        w2 = x[2, t + 2] / x[1, t + 2] if t + 2 < n else 0.0
        near, own = -(d if t == 0 else total), p + (1 - p) / d if t == 0 else p
        h0 = own * own + w0 + near * near * w1 + far * far * w2
        h1 = near * w1 - total * far * w2
        if t + 1 < n:
            h0 += (1 - p) * (1 - p)
            h1 += p * (1 - p)
        if t > 0:
            h0 -= low1[t - 1] ** 2 * diag[t - 1]
            h1 -= low2[t - 1] * low1[t - 1] * diag[t - 1]
        if t > 1:
            h0 -= low2[t - 2] ** 2 * diag[t - 2]
        diag[t], low1[t], low2[t] = h0, h1 / h0, far * w2 / h0
        w0, w1 = w1, w2
    chol[3] = ones
    _solve(chol, chol[3])


@njit(cache=True, nogil=True)
def _solve(chol: np.ndarray, v: np.ndarray) -> None:
    """Solve L diag L' v = v in place."""
    n = len(v)
    diag, low1, low2 = chol[0], chol[1], chol[2]
    v[1] -= low1[0] * v[0]
    for t in range(2, n):
        v[t] -= low1[t - 1] * v[t - 1] + low2[t - 2] * v[t - 2]
    v[n - 1] /= diag[n - 1]
    v[n - 2] = v[n - 2] / diag[n - 2] - low1[n - 2] * v[n - 1]
    for t in range(n - 3, -1, -1):
        v[t] = v[t] / diag[t] - low1[t] * v[t + 1] - low2[t] * v[t + 2]


@njit(cache=True, nogil=True)
def _newton(
    x: np.ndarray, chol: np.ndarray, kin: np.ndarray, ones: np.ndarray, push: np.ndarray, lack: float, dx: np.ndarray
) -> float:
    """Turn ``dx[0]``, what stationarity lacks, into a step towards s (z + dz) = s (z + push); return the step of b.

    ``ones`` is M' 1; ``lack`` is what stationarity of b lacks, NaN where b is held.
    """
    _add_adjoint(push, kin, dx[0])
    _solve(chol, dx[0])
    db = 0.0 if np.isnan(lack) else (lack - _dot(ones, dx[0])) / (x.shape[1] - _dot(ones, chol[3]))
    for t in range(x.shape[1]):
        dx[0, t] -= db * chol[3, t]
    _innovation(dx[0], kin, dx[1])
    for t in range(x.shape[1]):
        dx[2, t] = push[t] - x[2, t] / x[1, t] * dx[1, t]
    return db


@njit(cache=True, nogil=True)
def _longest(x: np.ndarray, dx: np.ndarray) -> float:
    """Longest step that keeps spikes and multipliers non-negative."""
    step = 1.0 / _TO_BOUNDARY
    for i in range(1, 3):
        for t in range(x.shape[1]):
            if x[i, t] + step * dx[i, t] < 0:
                step = -x[i, t] / dx[i, t]
    return step


@njit(cache=True, nogil=True)
def _centre(x: np.ndarray, dx: np.ndarray, gap: float) -> np.ndarray:
    """Push of the corrector, from the predictor's step ``dx``: Mehrotra's choice of the next gap."""
    step, after, push = min(1.0, _longest(x, dx)), 0.0, np.empty(x.shape[1])
    for t in range(len(push)):
        after += (x[1, t] + step * dx[1, t]) * (x[2, t] + step * dx[2, t])
    aim = gap * (after / len(push) / gap) ** 3
    for t in range(len(push)):
        push[t] = (aim - dx[1, t] * dx[2, t]) / x[1, t] - x[2, t]
    return push


@njit(cache=True, nogil=True)
def _steer(
    rest: np.ndarray, chol: np.ndarray, kin: np.ndarray, ones: np.ndarray, noise: float, lam: float, held: bool
) -> float:
    """One Newton step of the penalty towards a residual as large as the noise."""
    n = len(rest)
    f = np.zeros(n)
    _add_adjoint(np.ones(n), kin, f)
    _solve(chol, f)
    db = 0.0 if held else _dot(ones, f) / (n - _dot(ones, chol[3]))
    slope = _dot(_seen(rest, kin), f + db * chol[3]) - db * rest.sum()
    size = np.sqrt(_dot(rest, rest))
    if slope <= 0:
        return lam / 10
    return min(max(lam - (size - noise * np.sqrt(n)) * size / slope, lam / 10), lam * 10)


@njit(cache=True, nogil=True)
def _first(n: int, scale: float, noise: float, kin: np.ndarray) -> tuple[np.ndarray, float]:
    """First point, a low constant calcium well inside the bounds, and where the search of the penalty begins."""
    x = np.empty((3, n))
    x[0], x[2] = scale, scale
    _innovation(x[0], kin, x[1])
    # In practice the penalty is about 1.7 times the noise times the norm of the response to a spike.
    d, r = kin[0], kin[1]
    return x, 1.7 * max(noise, 1e-3 * scale) * np.sqrt((1 + d * r) / ((1 - d * r) * (1 - d * d) * (1 - r * r)))


@njit(cache=True, nogil=True)
def _descend(
    y: np.ndarray, kin: np.ndarray, noise: float, lam: float, b: float, held: bool, scale: float
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return the optimum (x, fitted calcium M c, baseline, penalty); ``b`` is where the baseline begins, or stays if held."""
    n, search = len(y), lam < 0
    x, guess = _first(n, scale, noise, kin)
    lam = guess if search else lam
    dx, chol, ones, level = np.empty((3, n)), np.empty((4, n)), _seen(np.ones(n), kin), 1e-2 * scale * scale
    for _ in range(_ROUNDS):
        rest = _rest(y, b, x[0], kin)
        dual = _seen(rest, kin)
        _add_adjoint(x[2] - lam, kin, dual)
        gap, worst = _dot(x[1], x[2]) / n, max(dual.max(), -dual.min())
        _factor(x, kin, ones, chol)
        if gap < level and worst < 1e-2 * scale:
            if search and lam > 1e-6 * scale:
                old, lam = lam, _steer(rest, chol, kin, ones, noise, lam, held)
                _add_adjoint(np.full(n, old - lam), kin, dual)
                search = abs(lam - old) > 1e-4 * old or level > 1e-5 * scale * scale
            elif gap < _GAP * scale * scale and worst < 1e-6 * scale:
                break
            level /= 10
        lack = np.nan if held else rest.sum()
        dx[0] = dual
        _newton(x, chol, kin, ones, -x[2], lack, dx)
        push = _centre(x, dx, gap)
        dx[0] = dual
        db = _newton(x, chol, kin, ones, push, lack, dx)
        step = min(1.0, _TO_BOUNDARY * _longest(x, dx))
        b += step * db
        for t in range(n):
            x[0, t] += step * dx[0, t]
            x[1, t] = max(x[1, t] + step * dx[1, t], _LEAST * scale)
            x[2, t] = max(x[2, t] + step * dx[2, t], _LEAST * scale)
    return x, y - b - rest, b, lam


@njit(cache=True, nogil=True)
def fit_ar2(y: np.ndarray, kin: np.ndarray, noise: float, lam: float, c: np.ndarray, s: np.ndarray) -> tuple[float, float]:
    """Fill fitted calcium ``c`` = M c and spikes ``s`` of one trace (T,), float64; return the baseline and the penalty.

    A negative ``lam`` asks for the penalty at which the residual is as large as the noise (infinite for a silent trace).
    """
    b, low = y.mean(), y.min()
    scale = np.sqrt(((y - b) ** 2).mean())
    c[:], s[:] = 0.0, 0.0
    if len(y) < 3 or scale == 0 or (lam < 0 and scale <= noise):
        return b, np.inf
    x, c[:], b, used = _descend(y, kin, noise, lam, b - scale, False, scale)
    if b < low:
        x, c[:], b, used = _descend(y, kin, noise, lam, low, True, scale)
    s[:] = np.where(x[1] > x[2], x[1], 0.0)
    return b, used
