"""How often, how regularly and how strongly each cell was active, with intervals that hold at small numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from calcium_helpers.containers import Events
from calcium_helpers.containers._base import check_ids, check_positive

MEASURES = {
    "rate": "1/min",
    "interval": "s",
    "interval_cv": "1",
    "amplitude": "dF/F",
    "rise": "s",
    "half_decay": "s",
    "area": "dF/F s",
}
_COLUMNS = {"amplitude": "amplitude", "rise": "rise_s", "half_decay": "half_decay_s", "area": "area"}
_FEWEST = 5  # values a mean needs for an interval
_FEWEST_CV = 15  # intervals their coefficient of variation needs
_FEWEST_BURSTS = 3
_BLOCKS = 8  # of the recording, whose counts tell how bursty a train is
_POOLED = 10  # events that the dispersion of all cells is worth beside a cell's own
_RESAMPLES = 2000
_MOST_RESAMPLED = 100  # values; above, the bootstrap's expansion is as good


def measure_cells(
    events: Events, *, ids: Sequence[int] | np.ndarray, duration_s: float, confidence: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Measure how often and how each cell was active.

    ``rate`` is events over the duration, ``interval`` the mean time between onsets, ``interval_cv`` the standard deviation of
    these times over their mean (1 for a Poisson train, less for a regular, more for a bursty one); the others are means over
    the cell's events, leaving out those without a value (``half_decay`` has none where the next event comes too early).

    Intervals of ``rate`` and ``interval`` are those of a Poisson count (Garwood 1936, doi:10.1093/biomet/28.3-4.437) whose
    variance is the mean times a dispersion, never below 1: the variance over the mean of the counts in eight parts of the
    recording (Wedderburn 1974, doi:10.1093/biomet/61.3.439). So they hold for bursts too. A cell with few events borrows
    from the dispersion of all the cells. That of ``interval_cv`` is a jackknife (Miller 1974, doi:10.1093/biomet/61.1.1), the
    others are studentised bootstraps (Efron & Tibshirani 1993, doi:10.1201/9780429246593), widened where consecutive values
    resemble each other. An interval that the data cannot carry is NaN: below 3 bursts where all cells together have fewer than
    10, 5 values for a mean, 15 intervals for ``interval_cv``. A cell without events has the rate 0 and an upper bound. No
    interval knows of changes slower than the recording, or of bursts where a lone cell has 0 to 2 events.

    Parameters
    ----------
    events : Events
        Events in any order of cells; those of cells not in ``ids`` are left out.
    ids : sequence of int, shape (N,)
        The cells, those without events too.
    duration_s : float
        Length of the recording, seconds.
    confidence : float
        Stated coverage of the intervals, between 0 and 1.
    seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        One row a cell and measure: ``roi, measure, unit, n, value, low, high``; ``n`` counts the events or times behind the
        value, which is NaN without any. Measures whose column the table of events lacks are left out.

    Raises
    ------
    ValueError
        For ``ids`` that are not unique, a confidence outside 0..1, or events outside the recording.
    """
    ids = check_ids(np.asarray(ids, dtype=np.int64), len(ids))
    check_positive("duration_s", duration_s, "seconds")
    _check_confidence(confidence)
    table = events.table[events.table["roi"].isin(ids)]
    onsets = table["onset_s"].to_numpy(dtype=float)
    if len(table) and not (onsets.min() >= 0 and onsets.max() <= duration_s):
        raise ValueError(
            f"events must start between 0 s and duration_s of {duration_s:g} s, got {onsets.min():g} to {onsets.max():g} s; "
            "give the duration of the recording they come from"
        )
    rows = pd.Index(ids).get_indexer(table["roi"])
    trains = _by_cell(onsets, rows, len(ids))
    dispersion, few = _estimate_dispersion(trains, duration_s, confidence)
    found = {"rate": _measure_rate(trains, dispersion, few, duration_s, confidence)}
    gaps = [np.diff(train) for train in trains]
    found["interval"] = _measure_interval(gaps, dispersion, few, confidence)
    found["interval_cv"] = _measure_variation(gaps, few, confidence)
    known = {measure: column for measure, column in _COLUMNS.items() if column in table}
    samples = [one for column in known.values() for one in _by_cell(table[column].to_numpy(dtype=float), rows, len(ids))]
    means = _measure_means(samples, confidence, seed, ordered=True).reshape(len(known), len(ids), 4)
    found |= dict(zip(known, means, strict=True))
    parts = []
    for measure, numbers in found.items():
        part = pd.DataFrame(numbers, columns=["n", "value", "low", "high"])
        part.insert(0, "roi", ids)
        part.insert(1, "measure", measure)
        part.insert(2, "unit", MEASURES[measure])
        parts.append(part)
    order = np.arange(len(ids) * len(parts)).reshape(len(parts), -1).T.ravel()  # cell by cell
    return pd.concat(parts, ignore_index=True).iloc[order].reset_index(drop=True).astype({"n": int})


def measure_groups(
    cells: pd.DataFrame, *, groups: Mapping[int, str] | pd.Series | None = None, confidence: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Average the measures of cells over groups of cells.

    Each cell counts once, however many events it has. The interval is a studentised bootstrap over the cells: it says how far
    the mean of other cells of the same tissue may lie, not that of other animals. It was made for rates that spread over cells
    as a lognormal of log-sd 0.7; where they spread by 1 and more, a dozen cells make it hold less often than it says.

    Parameters
    ----------
    cells : DataFrame
        From `measure_cells`.
    groups : mapping or Series of str, optional
        Name of the group of each cell, by id; cells without one are left out. By default all cells are the group "all".
    confidence : float
        Stated coverage of the intervals, between 0 and 1.
    seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        One row a group and measure, in the order of their first cells: ``group, measure, unit, n, value, low, high``; ``n`` is
        the number of cells that have a value; with fewer than 5, or few of which most are equal, the interval is NaN.

    Raises
    ------
    ValueError
        For a confidence outside 0..1.
    """
    _check_confidence(confidence)
    names = pd.Series("all", index=cells.index) if groups is None else cells["roi"].map(dict(groups))
    named = cells.assign(group=names).dropna(subset="group")
    keys, samples = [], []
    for key, part in named.groupby(["group", "measure", "unit"], sort=False):
        keys.append(key)
        samples.append(part["value"].to_numpy(dtype=float))
    head = pd.DataFrame(keys, columns=["group", "measure", "unit"])
    numbers = pd.DataFrame(_measure_means(samples, confidence, seed, ordered=False), columns=["n", "value", "low", "high"])
    return pd.concat([head, numbers.astype({"n": int})], axis=1)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, such as 0.95, got {confidence!r}")


def _by_cell(values: np.ndarray, rows: np.ndarray, n_cells: int) -> list[np.ndarray]:
    """Split values, in the order of time, by the row of their cell."""
    order = np.argsort(rows, kind="stable")
    return np.split(values[order], np.cumsum(np.bincount(rows, minlength=n_cells))[:-1]) if n_cells else []


def _estimate_dispersion(trains: list[np.ndarray], duration_s: float, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Variance over mean of each cell's counts, at least 1, and whether bursts, in all cells too, are too few to tell."""
    edges = np.linspace(0, duration_s, _BLOCKS + 1)
    counts = np.array([np.histogram(train, edges)[0] for train in trains]).reshape(-1, _BLOCKS)
    variance, n = counts.var(axis=1, ddof=1), counts.sum(axis=1)
    own = np.divide(variance, n / _BLOCKS, out=np.zeros(len(n)), where=n > 0)
    pooled = variance.sum() / max(n.sum() / _BLOCKS, 1e-9)
    shrunk = (n * own + _POOLED * pooled) / (n + _POOLED)
    # Student's t over the normal pays for a variance known from eight counts; cubed as the counts of bursts are skewed.
    level = (1 + confidence) / 2
    widened = own * (stats.t.ppf(level, _BLOCKS - 1) / stats.norm.ppf(level)) ** 3
    few = (n >= _FEWEST_BURSTS) & (n < _FEWEST_BURSTS * own) & (n.sum() < _POOLED * pooled)
    return np.maximum(np.maximum(shrunk, widened), 1), few


def _measure_rate(
    trains: list[np.ndarray], dispersion: np.ndarray, few: np.ndarray, duration_s: float, confidence: float
) -> np.ndarray:
    n, tail = np.array([len(train) for train in trains]), (1 - confidence) / 2
    low = np.where(n > 0, stats.chi2.ppf(tail, 2 * np.maximum(n, 1) / dispersion), 0)
    high = stats.chi2.ppf(1 - tail, 2 * (n / dispersion + 1))
    bounds = np.where(few, np.nan, np.stack([low, high]) * dispersion / 2)
    return np.column_stack([n, np.stack([n, *bounds], axis=1) * 60 / duration_s])


def _measure_interval(gaps: list[np.ndarray], dispersion: np.ndarray, few: np.ndarray, confidence: float) -> np.ndarray:
    n, tail = np.array([len(gap) for gap in gaps]), (1 - confidence) / 2
    mean = np.array([gap.mean() if len(gap) else np.nan for gap in gaps])
    bursts = 2 * np.where(few | (n < _FEWEST), np.nan, n) / dispersion
    bounds = [mean * bursts / stats.chi2.ppf(level, bursts) for level in (1 - tail, tail)]
    return np.column_stack([n, mean, *bounds])


def _measure_variation(gaps: list[np.ndarray], few: np.ndarray, confidence: float) -> np.ndarray:
    """Columns n, coefficient of variation, low, high: a jackknife of its logarithm."""
    found = np.full((len(gaps), 4), np.nan)
    for row, gap in enumerate(gaps):
        n = found[row, 0] = len(gap)
        if n < 2:
            continue
        found[row, 1] = gap.std(ddof=1) / gap.mean()
        if n < _FEWEST_CV or few[row] or not found[row, 1]:
            continue
        mean = (gap.sum() - gap) / (n - 1)
        variance = ((gap**2).sum() - gap**2 - (n - 1) * mean**2) / (n - 2)
        whole, parts = np.log(found[row, 1]), np.log(np.maximum(variance, 1e-300)) / 2 - np.log(mean)
        unbiased = n * whole - (n - 1) * parts.mean()
        # A quarter wider than the theory: what simulated trains, bursty ones above all, need.
        half = 1.25 * stats.t.ppf((1 + confidence) / 2, n - 1) * parts.std() * np.sqrt(n - 1)
        found[row, 2:] = np.exp([min(whole, unbiased) - half, max(whole, unbiased) + half])
    return found


def _measure_means(samples: list[np.ndarray], confidence: float, seed: int, *, ordered: bool) -> np.ndarray:
    """Columns n, mean, low, high; values that are ``ordered`` in time may resemble their neighbours."""
    samples = [sample[np.isfinite(sample)] for sample in samples]
    sizes = np.array([len(sample) for sample in samples], dtype=int)
    found = np.full((len(samples), 4), np.nan)
    found[:, 0] = sizes
    for n in np.unique(sizes[sizes > 0]):
        rows = np.flatnonzero(sizes == n)
        values = np.stack([samples[row] for row in rows])
        found[rows, 1] = mean = values.mean(axis=1)
        if n < _FEWEST:
            continue
        away = values - mean[:, None]
        error = np.sqrt((away**2).mean(axis=1) / (n - 1))
        unit = away / np.maximum(error, 1e-300)[:, None]  # the gain of the trace cancels
        quantiles = _studentise(unit, stats.norm.ppf((1 + confidence) / 2) * np.sqrt(n / (n - 1)), seed)
        if ordered:
            lagged = (away[:, 1:] * away[:, :-1]).sum(axis=1) / np.maximum((away**2).sum(axis=1), 1e-300)
            like = np.clip(lagged + 2 / n + 0.75 / np.sqrt(n), 0, 0.8)  # less its bias, plus most of its error
            error *= np.sqrt((1 + like) / (1 - like))
        else:
            error *= 1 + 0.4 / np.sqrt(n)  # what few and skewed values need, as simulated
        found[rows, 2:] = mean[:, None] - quantiles * error[:, None]
        found[rows, 2] = np.where(values.min(axis=1) >= 0, np.maximum(found[rows, 2], 0), found[rows, 2])  # NaN stays
    return found


def _studentise(unit: np.ndarray, z: float, seed: int) -> np.ndarray:
    """Quantiles (N, 2) at ``z`` and ``-z`` of (mean - truth) / error, of samples (N, n) without mean and with error 1."""
    n = unit.shape[1]
    if n > _MOST_RESAMPLED:  # what the bootstrap tends to (Hall 1992, doi:10.1007/978-1-4612-4384-7)
        skewness = (unit**3).mean(axis=1) / (n - 1) ** 1.5
        return np.array([z, -z]) - skewness[:, None] * (2 * z**2 + 1) / (6 * np.sqrt(n))
    weights = np.random.default_rng([seed, n]).multinomial(n, np.full(n, 1 / n), _RESAMPLES).T / n
    drawn = unit @ weights
    spread = np.sqrt(np.maximum(unit**2 @ weights - drawn**2, 0) / (n - 1))
    tail = stats.norm.sf(z)
    quantiles = np.quantile(drawn / np.maximum(spread, 1e-6), [1 - tail, tail], axis=1).T
    # Of few values, most of them equal, too many draws hold one value only: they say nothing of the error.
    equal = ((spread < 1e-3) & (np.abs(drawn) > 1e-6)).mean(axis=1) > tail
    quantiles[equal] = np.nan
    return quantiles
