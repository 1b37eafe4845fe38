"""Training a network for synaptic transients by a file of settings, and choosing its thresholds."""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from calcium_helpers.cli.estimates import say_duration
from calcium_helpers.cli.msct_config import Settings, read_settings
from calcium_helpers.cli.train import begin, draw_history
from calcium_helpers.containers import Movie
from calcium_helpers.io.arrays import open_hdf5
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.msct import Stream, read_streams
from calcium_helpers.models.msct.crops import Crops
from calcium_helpers.models.msct.trained import as_seen, load_bare_net, save_thresholds, weigh_thresholds
from calcium_helpers.models.msct.training import KINDS, train

VOXEL_BYTES = 20  # of a recording that is learned from: frames, what the network sees of them, label
BASE_GB = 0.6
ANNOTATE = "Add some: calcium-helpers annotate ... --split"


def run_train(options: argparse.Namespace) -> int:
    """Train, or go on training, then choose thresholds, and say what came of it."""
    kind, path = options.network, options.config
    settings = read_settings(path, kind, "data", "fs", "model")
    streams, valid = (_open(path, settings.data, split) for split in ("train", "valid"))
    _check_labels(path, settings, streams, valid)
    begun = begin(settings.model, _asked(kind, settings), name=f"{path}: model")
    trained = (settings.model / "history.png").exists()  # written last
    if trained and ((settings.model / "thresholds.json").exists() or not _n_events(valid)):
        print(f"{settings.model} holds this network, finished: nothing was trained. Name another folder to train one more")
        return 0
    if not trained:
        print(_takes(kind, settings, streams, valid, options.device) + ("; goes on where it was" if begun else ""), flush=True)
    valid = _see(valid, settings, options)
    if not trained:
        _train(kind, settings, _see(streams, settings, options), valid, options)
    if _n_events(valid):
        _choose(kind, settings, valid, options)
    else:
        print(f"no thresholds yet, as data has no labelled event in valid. {ANNOTATE} valid, then calcium-helpers optimize")
    return 0


def run_optimize(options: argparse.Namespace) -> int:
    """Choose thresholds."""
    settings = read_settings(options.config, options.network, "data", "fs", "model")
    valid = _open(options.config, settings.data, "valid")
    _check_split(options.config, settings, valid, "valid")
    _choose(options.network, settings, _see(valid, settings, options), options)
    return 0


def _open(path: Path, data: Path, split: str) -> list[Stream]:
    """Open the recordings of a group; none where there is no such group."""
    if not data.is_file():
        raise MovieFileError(path, f"data is {data}, and there is no such file", "Make it with calcium-helpers annotate")
    with open_hdf5(data) as file:
        there = split in file
    return read_streams(data, split=split, lazy=True) if there else []


def _see(streams: list[Stream], settings: Settings, options: argparse.Namespace) -> list[Stream]:
    """Normalise those that are not."""
    movies = (as_seen(Movie(stream.movie, fs=settings.fs), progress=not options.quiet) for stream in streams)
    return [stream._replace(movie=movie.data) for stream, movie in zip(streams, movies, strict=True)]


def _n_events(streams: list[Stream]) -> int:
    return sum(len(stream.events) for stream in streams)


def _check_split(path: Path, settings: Settings, streams: list[Stream], split: str) -> None:
    if not _n_events(streams):
        problem = f"data is {settings.data}, which has no labelled event in the group {split}"
        raise MovieFileError(path, problem, f"{ANNOTATE} {split}")


def _check_labels(path: Path, settings: Settings, streams: list[Stream], valid: list[Stream]) -> None:
    """Raise where there is nothing to learn from."""
    _check_split(path, settings, streams, "train")
    if settings.learning.risk != "plain" and settings.learning.prior is None and not _n_events(valid):
        problem = "learning: prior is null, expected a share: data has no labelled event in the group valid to estimate it by"
        raise MovieFileError(path, problem, f"{ANNOTATE} valid; or give the prior, or take risk: plain")


def _asked(kind: str, settings: Settings) -> dict[str, Any]:
    """List what makes one training another."""
    learning = asdict(settings.learning)
    data = f"{settings.data.name} of {settings.data.stat().st_size} bytes"
    return {"network": kind, "data": data, **learning.pop("fit"), **learning, **asdict(settings.network)}


def _takes(kind: str, settings: Settings, streams: list[Stream], valid: list[Stream], device: str) -> str:
    """Say about what a training takes, by a step of it."""
    learning = settings.learning
    rounds = 2 if learning.risk != "plain" and learning.prior is None else 1
    seconds = rounds * learning.fit.steps * _time_step(kind, settings, device)
    voxels = sum(math.prod(stream.movie.shape) for stream in [*streams, *valid])
    twice = " twice, first for the prior" if rounds == 2 else ""
    return (
        f"{kind}, {learning.fit.steps} steps{twice}, {len(streams)} recordings with {_n_events(streams)} labelled events, "
        f"{len(valid)} with {_n_events(valid)} to choose by: about {say_duration(seconds)}, "
        f"{BASE_GB + voxels * VOXEL_BYTES / 1e9:.1f} GB of memory"
    )


def _time_step(kind: str, settings: Settings, device: str) -> float:
    """Measure what a step takes, on crops of noise."""
    learning, network = settings.learning, settings.network
    model = KINDS[kind].make(network).to(device)
    loss = KINDS[kind].loss(learning, model)
    label = torch.zeros((learning.batch, *learning.crop), dtype=torch.int32, device=device)
    label[(slice(None), *(slice(max(side // 4, 1)) for side in learning.crop))] = 1
    crops = Crops(torch.randn((learning.batch, network.channels, *learning.crop), device=device), label)
    for _ in range(2):  # the first compiles
        start = time.perf_counter()
        loss(model, crops).backward()
        float(next(model.parameters()).grad.sum())  # type: ignore[union-attr]  # waits for a graphics card
    return time.perf_counter() - start


def _train(kind: str, settings: Settings, streams: list[Stream], valid: list[Stream], options: argparse.Namespace) -> None:
    """Train, draw, say."""
    trained = train(
        kind, settings.model, streams, valid, network=settings.network, config=settings.learning, device=options.device,
        progress=not options.quiet,
    )  # fmt: skip
    draw_history(trained.history, "score", settings.model / "history.png")
    prior = "" if trained.prior is None else f", prior {trained.prior:.4f}"
    print(f"{settings.model}: loss {trained.history.loss[-1]:.4f} after {trained.history.step[-1]} steps{prior} (history.png)")


def _choose(kind: str, settings: Settings, valid: list[Stream], options: argparse.Namespace) -> None:
    """Choose thresholds, write and say them."""
    folder, n = settings.model, _n_events(valid)
    model = load_bare_net(kind, folder)
    chosen = weigh_thresholds(kind, model, valid, settings.fs, device=options.device, progress=not options.quiet)
    if not chosen.surrogate:
        raise ValueError(f"{folder}: the network finds none of the {n} labelled events of valid; train it longer")
    save_thresholds(chosen.thresholds, folder)
    (level, score), reached = chosen
    print(f"{folder / 'thresholds.json'}: level {level:g}, score {score:.4g}, by {n} labelled events, surrogate {reached:.3f}")
    print(f"use it: calcium-helpers predict {kind} --config {options.config}")
