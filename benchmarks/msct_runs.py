"""One training and its scores, or the detector by threshold: a row of ``msct.py``. Nothing is chosen on hidden truth.

Labels of the movies to train on and of those to validate on are withheld in the same way; thresholds, and the prior, come from
the latter. Scores are on other movies, fully labelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msct_movies
import numpy as np

from calcium_helpers.containers import Events, Movie
from calcium_helpers.io.msct import Stream
from calcium_helpers.metrics import detection_curve, dice, match_events
from calcium_helpers.models._base import load_model
from calcium_helpers.models.msct import training
from calcium_helpers.models.msct.config import PUConfig
from calcium_helpers.models.msct.events import LEVELS, find_events, optimize_thresholds, predict_probability
from calcium_helpers.models.msct.look import deviations
from calcium_helpers.models.msct.trained import load_transient_net
from calcium_helpers.models.stardist3d import predict_instances
from calcium_helpers.transients import connected_volumes, detect_by_threshold, events_from_label, label_from_events, withhold

NEAR_S, NEAR_UM = 0.5, 0.8  # within which centres match
LOW = 3.0  # noise sds of the detector by threshold: what is called is chosen by its score, like that of the networks
CALLED = 0.5  # share of an event's voxels
Scores = dict[str, float]
Finder = Callable[[Movie], Callable[[float], Events]]
"""Looks at a movie, and then gives its events at any level."""


@dataclass(frozen=True)
class Run:
    """What is trained: a ``kind`` of network on a ``share`` of the labels, withheld ``how``; "" trains nothing.

    Where ``known``, the network is the package's, and only thresholds are chosen on these labels. ``factor`` multiplies the
    prior, which is estimated with the network of the run named ``plain``, of the same labels.
    """

    kind: str = "msct-unet"
    share: float = 0.25
    how: str = "random"
    risk: str = "plain"
    unlabelled: float = 1.0
    factor: float = 1.0
    plain: str = ""
    known: bool = False


WITHHELD = (
    ("25 %", 0.25, "random"), ("10 %", 0.10, "random"), ("25 % of movies", 0.25, "movies"),
    ("25 %, brightest", 0.25, "brightest"),
)  # fmt: skip


def _unets() -> dict[str, Run]:
    runs = {"U-Net, all labels": Run(share=1.0)}
    for words, share, how in WITHHELD:
        plain = f"U-Net, {words}, plain"
        runs[plain] = Run(share=share, how=how)
        if how == "random":
            runs[f"U-Net, {words}, plain 1:4"] = Run(share=share, how=how, unlabelled=4.0)
        runs[f"U-Net, {words}, nnPU"] = Run(share=share, how=how, risk="non-negative", plain=plain)
    for factor in (0.5, 2.0):
        runs[f"U-Net, 25 %, nnPU, prior x {factor:g}"] = replace(runs["U-Net, 25 %, nnPU"], factor=factor)
    return runs


RUNS = {
    "threshold, 25 %": Run(kind=""),
    **_unets(),
    "StarDist, all labels": Run("msct-stardist", share=1.0),
    "StarDist, 25 %, plain": Run("msct-stardist"),
    "StarDist, 25 %, nnPU": Run("msct-stardist", risk="non-negative", plain="StarDist, 25 %, plain"),
    "the package's U-Net": Run(known=True),
    "the package's StarDist": Run("msct-stardist", known=True),
}


def measure(name: str, seed: int, folder: Path, *, steps: int) -> Scores:
    """Train and score."""
    run = RUNS[name]
    train, valid = msct_movies.streams(seed)
    train, valid = (withhold(part, share=run.share, how=run.how, seed=seed + more) for part, more in ((train, 0), (valid, 100)))
    find, scores = _finder(run, train, valid, folder, name, seed, steps)
    movies = [Movie(np.asarray(stream.movie), fs=10.0) for stream in valid]
    kept = [find(movie) for movie in movies]
    labelled = [events_from_label(stream.label, movie) for stream, movie in zip(valid, movies, strict=True)]
    frames = [movie.n_frames for movie in movies]
    chosen = optimize_thresholds(lambda i, level: kept[i](level), labelled, frames, fs=10.0, levels=_levels(run))
    scores |= {"level": chosen.level, "threshold": chosen.score}
    for column in msct_movies.COLUMNS:
        found = [find(movie)(chosen.level) for movie, _, _ in msct_movies.scored(column)]
        scores |= {f"{column}: {key}": value for key, value in _score(column, found, chosen.score).items()}
    return scores


def _levels(run: Run) -> tuple[float, ...]:
    return LEVELS if run.kind == "msct-unet" else (0.0,)


def _finder(
    run: Run, train: list[Stream], valid: list[Stream], folder: Path, name: str, seed: int, steps: int
) -> tuple[Finder, Scores]:
    """Train; return what finds events, and what was noted on the way."""
    if not run.kind:
        return (lambda movie: _whatever_level(detect_by_threshold(movie, threshold=LOW))), {}
    config = PUConfig(risk=run.risk, unlabelled=run.unlabelled)
    config = replace(config, fit=replace(config.fit, steps=steps, seed=seed))
    noted: Scores = {}
    if run.plain:
        kind = training.KINDS[run.kind]
        model = load_model(folder / f"{run.plain}, {seed}", lambda known: kind.make(kind.config(**known)))
        prior = run.factor * training.measure_prior(model, [training.look(stream, kind.label) for stream in valid], config)
        config, noted = replace(config, prior=prior), {"prior": prior}
    if run.known:
        model = load_transient_net(run.kind).model
    else:
        model = training.train(run.kind, folder / f"{name}, {seed}", train, config=config).model
    if run.kind == "msct-stardist":
        return (lambda movie: _whatever_level(predict_instances(model, movie, core=movie.shape))), noted

    def find(movie: Movie) -> Callable[[float], Events]:
        probability, deviation = predict_probability(model, movie, core=movie.shape), deviations(movie)
        return lambda level: find_events(probability, movie, level=level, deviation=deviation)

    return find, noted


def _whatever_level(events: Events) -> Callable[[float], Events]:
    return lambda _: events


def _score(column: str, found: list[Events], threshold: float) -> Scores:
    """Mean over the movies of a column."""
    config, rows = msct_movies.COLUMNS[column], []
    radius = (NEAR_S * config.fs, NEAR_UM / config.pixel_um, NEAR_UM / config.pixel_um)
    for events, (movie, label, true) in zip(found, msct_movies.scored(column), strict=True):
        called = events.select(events.table["score"].to_numpy() >= threshold)
        matching = match_events(called, true, radius=radius)
        drawn = label_from_events(called, movie.shape)
        kinds = {kind: _recall(matching.pairs[:, 1], true.table["kind"] == kind) for kind in ("synapse", "dendrite")}
        rows.append({
            "AP": detection_curve(events, true, radius=radius).average_precision, "F1": matching.f1,
            "precision": matching.precision, "recall": matching.recall, "Dice": dice(drawn, label),
            **{f"recall, {kind}": value for kind, value in kinds.items()},
            "pairs kept apart": _kept_apart(drawn, label), "pairs, connected": _kept_apart(connected_volumes(drawn > 0), label),
        })  # fmt: skip
    return {key: float(np.nanmean([row[key] for row in rows])) for key in rows[0]}


def _recall(hit: np.ndarray, of: np.ndarray) -> float:
    rows = np.flatnonzero(of)
    return float(np.isin(rows, hit).mean()) if len(rows) else float("nan")


def _kept_apart(drawn: np.ndarray, label: np.ndarray) -> float:
    """Of the pairs of events that touch and are both called, at least half of their voxels, the share called as two."""
    best: dict[int, int] = {}
    inside = label > 0
    pairs, counts = np.unique(np.stack([label[inside], drawn[inside]]), axis=1, return_counts=True)
    for number in np.unique(pairs[0]).tolist():
        own = pairs[0] == number
        called = own & (pairs[1] > 0)
        if counts[called].sum() >= CALLED * counts[own].sum():
            best[number] = int(pairs[1][called][counts[called].argmax()])
    apart = [best[a] != best[b] for a, b in _touching(label) if a in best and b in best]
    return float(np.mean(apart)) if apart else float("nan")


def _touching(label: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of numbers with voxels beside each other along an axis."""
    pairs: set[tuple[int, int]] = set()
    for axis in range(3):
        a, b = np.moveaxis(label, axis, 0)[:-1], np.moveaxis(label, axis, 0)[1:]
        both = (a > 0) & (b > 0) & (a != b)
        pairs |= {(min(p, q), max(p, q)) for p, q in zip(a[both].tolist(), b[both].tolist(), strict=True)}
    return pairs
