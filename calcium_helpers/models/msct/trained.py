"""A trained network for transients: read with its thresholds, used on movies."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from calcium_helpers.containers import Events, Movie
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.msct import Stream
from calcium_helpers.io.save import atomic_path
from calcium_helpers.memory import scratch_array
from calcium_helpers.models._base import WEIGHTS, load_model
from calcium_helpers.models.msct.events import LEVELS, Thresholds, find_events, optimize_thresholds, predict_probability
from calcium_helpers.models.msct.look import deviations
from calcium_helpers.models.msct.tiles import CORE
from calcium_helpers.models.msct.training import KINDS
from calcium_helpers.models.stardist3d import StarDist3D, predict_instances
from calcium_helpers.transients.prepare import foreground, normalise
from calcium_helpers.transients.surrogate import choose_threshold, join_events
from calcium_helpers.transients.volumes import events_from_label

SAMPLED_FRAMES = 64
NEAR_ZERO = 0.05  # of the foreground: the usual mean of a frame where the baseline was subtracted; in counts it is above 0.1


class TransientNet(NamedTuple):
    """A network in ``eval`` mode, its ``kind`` ("msct-unet" or "msct-stardist"), and the thresholds that it calls events by."""

    kind: str
    model: nn.Module
    thresholds: Thresholds


class Choice(NamedTuple):
    """Thresholds, and the surrogate of precision times recall that they reach on what is labelled."""

    thresholds: Thresholds
    surrogate: float


def load_transient_net(kind: str = "msct-unet", folder: str | Path | None = None) -> TransientNet:
    """Read a trained network and its thresholds.

    Parameters
    ----------
    kind : {"msct-unet", "msct-stardist"}
    folder : str or Path, optional
        With ``config.json``, ``weights.safetensors`` and ``thresholds.json``; the network of the package where not given.

    Returns
    -------
    TransientNet

    Raises
    ------
    ValueError
        For an unknown kind.
    MovieFileError
        Where a file is missing, broken or of another kind of network.
    """
    folder = WEIGHTS / kind.replace("-", "_") if folder is None else Path(folder)
    model = load_bare_net(kind, folder)
    path = folder / "thresholds.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        thresholds = Thresholds(float(known["level"]), float(known["score"]))
        if not 0 <= thresholds.level < 1:
            raise ValueError(f"level must lie in [0, 1), got {thresholds.level:g}")
    except (OSError, KeyError, TypeError, ValueError) as error:
        problem = "there is no such file" if isinstance(error, FileNotFoundError) else f"holds no thresholds ({error})"
        raise MovieFileError(path, problem, f"Choose them: calcium-helpers optimize {kind} --config FILE.yaml") from error
    return TransientNet(kind, model, thresholds)


def load_bare_net(kind: str, folder: str | Path) -> nn.Module:
    """Read a trained network that need not have thresholds yet.

    Parameters
    ----------
    kind : {"msct-unet", "msct-stardist"}
    folder : str or Path
        With ``config.json`` and ``weights.safetensors``.

    Returns
    -------
    Module
        In ``eval`` mode.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")

    def make(known: dict[str, Any]) -> nn.Module:
        if other := set(known) - {field.name for field in fields(KINDS[kind].config)}:
            raise ValueError(f"it is no {kind}, which has no {', '.join(sorted(other))}")
        return KINDS[kind].make(KINDS[kind].config(**known))

    return load_model(folder, make)


def save_thresholds(thresholds: Thresholds, folder: str | Path) -> None:
    """Write thresholds beside the network that they are of.

    Parameters
    ----------
    thresholds : Thresholds
    folder : str or Path
        Of the network; an earlier ``thresholds.json`` there is replaced.
    """
    with atomic_path(Path(folder) / "thresholds.json") as part:
        part.write_text(json.dumps(thresholds._asdict()) + "\n", encoding="utf-8")


def find_transients(
    movie: Movie, network: TransientNet | None = None, *, device: str = "cpu", progress: bool = False,
    core: tuple[int, int, int] = CORE,
) -> Events:  # fmt: skip
    """Find the synaptic transients of a movie.

    Parameters
    ----------
    movie : Movie
        Motion-corrected; in counts, or normalised already.
    network : TransientNet, optional
        The U-Net of the package where not given.
    device : str
    progress : bool
        Show bars.
    core : tuple of int
        Frames, rows and columns at once: it changes time and memory, not the result.

    Returns
    -------
    Events
        Those of a score above the network's threshold, with masks and the columns of ``transients.events_from_label``;
        ``label`` is ``roi + 1``, as ``transients.label_from_events`` draws them.
    """
    network = network or load_transient_net()
    movie = as_seen(movie, progress=progress)
    found = _finder(network.kind, network.model, movie, core=core, device=device, progress=progress)(network.thresholds.level)
    called = found.select(found.table["score"].to_numpy(dtype=float) >= network.thresholds.score)
    numbers = np.arange(len(called))
    return called.replace(table=called.table.assign(roi=numbers, label=numbers + 1))


def as_seen(movie: Movie, *, progress: bool = False) -> Movie:
    """Normalise a movie, unless it is normalised already: unless the usual frame's mean is about 0, beside the foreground's.

    Parameters
    ----------
    movie : Movie
        In counts or normalised.
    progress : bool
        Show a bar.

    Returns
    -------
    Movie
    """
    rows = np.unique(np.linspace(0, movie.n_frames - 1, SAMPLED_FRAMES).astype(int))
    frames = np.stack([movie.frames(row, row + 1)[0] for row in rows.tolist()]).astype(np.float64)
    image, usual = frames.mean(axis=0), float(np.median(frames.mean(axis=(1, 2))))
    if np.isfinite(image).all() and abs(usual) <= NEAR_ZERO * image[foreground(image)].mean():
        return movie
    return normalise(movie, out=scratch_array(movie.shape), progress=progress)


def score_thresholds(
    kind: str, model: nn.Module, streams: Sequence[Stream], fs: float, *, device: str = "cpu", progress: bool = False
) -> Thresholds:
    """Choose thresholds on labelled recordings, of which only some events need be labelled; see ``events.optimize_thresholds``.

    Parameters
    ----------
    kind : {"msct-unet", "msct-stardist"}
    model : Module
        Trained on other recordings.
    streams : sequence of Stream
        Labelled recordings.
    fs : float
        Frames per second, Hz.
    device : str
    progress : bool
        Show bars.

    Returns
    -------
    Thresholds

    Raises
    ------
    ValueError
        Where nothing is labelled.
    """
    return weigh_thresholds(kind, model, streams, fs, device=device, progress=progress).thresholds


def weigh_thresholds(
    kind: str, model: nn.Module, streams: Sequence[Stream], fs: float, *, device: str = "cpu", progress: bool = False
) -> Choice:
    """Choose thresholds as ``score_thresholds`` does, and say what they reach.

    Parameters
    ----------
    kind, model, streams, fs, device, progress
        As in ``score_thresholds``.

    Returns
    -------
    Choice
    """
    streams = [stream for stream in streams if len(stream.events)]
    if not streams:
        raise ValueError("streams must hold at least one labelled event to choose thresholds by, got none")
    movies = [as_seen(Movie(stream.movie, fs=fs), progress=progress) for stream in streams]
    finders = [_finder(kind, model, movie, device=device, progress=progress) for movie in movies]
    labelled = [events_from_label(np.asarray(stream.label), movie) for stream, movie in zip(streams, movies, strict=True)]
    frames = [movie.n_frames for movie in movies]
    levels = (0.0,) if isinstance(model, StarDist3D) else LEVELS
    chosen = optimize_thresholds(lambda i, level: finders[i](level), labelled, frames, fs=fs, levels=levels)
    found = join_events([find(chosen.level) for find in finders], frames, fs=fs)
    return Choice(chosen, choose_threshold(found, join_events(labelled, frames, fs=fs)).surrogate)


def _finder(kind: str, model: nn.Module, movie: Movie, **tiles: Any) -> Callable[[float], Events]:
    """Look at a normalised movie once; what is returned gives its events at any level, which StarDist knows none of."""
    if kind == "msct-stardist":
        events = predict_instances(model, movie, **tiles)  # type: ignore[arg-type]
        return lambda _: events
    probability, deviation = predict_probability(model, movie, **tiles), deviations(movie)
    return lambda level: find_events(probability, movie, level=level, deviation=deviation)
