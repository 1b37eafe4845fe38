"""``calcium-helpers train|optimize|predict msct-unet --config FILE.yaml``: networks for synaptic transients."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calcium_helpers.cli.estimates import say_duration
from calcium_helpers.cli.msct_config import KINDS, Settings, describe_keys, read_settings, write_template
from calcium_helpers.cli.train import begin, draw_history
from calcium_helpers.io.errors import MovieFileError

if TYPE_CHECKING:
    from calcium_helpers.io.msct import Stream

VOXEL_BYTES = 20  # of a recording that is learned from: frames, what the network sees of them, label
BASE_GB = 0.6
ANNOTATE = "Add some: calcium-helpers annotate ... --split"


def add_optimize(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``optimize``."""
    optimize = commands.add_parser(
        "optimize",
        help="choose the thresholds of a network for synaptic transients",
        description="Choose thresholds by the labelled events of the group valid, of which some may be missing: where squared "
        "recall over the number of events called is greatest. Writes thresholds.json into the folder of the network.",
        epilog=describe_keys(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(optimize)
    return optimize


def add_config(command: argparse.ArgumentParser) -> None:
    """Add what ``optimize`` and ``predict`` share."""
    command.add_argument("network", choices=KINDS, help="3D U-Net or StarDist-3D")
    given = command.add_mutually_exclusive_group(required=True)
    given.add_argument("--config", type=Path, metavar="FILE", help="settings (.yaml), see below")
    given.add_argument("--template", type=Path, metavar="FILE", help="write settings to change, with their defaults, and end")
    command.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    command.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")


def run_template(options: argparse.Namespace) -> int:
    """Write a configuration to start from."""
    write_template(options.network, options.template)
    print(f"{options.template}: change what is yours, then calcium-helpers train {options.network} --config {options.template}")
    return 0


def run_train_transients(options: argparse.Namespace) -> int:
    """Train, or go on training, then choose thresholds, and say what came of it."""
    if options.template:
        return run_template(options)
    from calcium_helpers.motion.gpu import find_device

    kind, path = options.network, options.config
    settings = read_settings(path, kind, "data", "fs", "model")
    find_device(options.device)
    train, valid = _streams(path, settings, "train"), _streams(path, settings, "valid")
    _check_labels(path, settings, train, valid)
    folder: Path = settings.model  # type: ignore[assignment]
    begun = begin(folder, _asked(kind, settings), name=f"{path}: model")
    trained = (folder / "history.png").exists()  # written last
    if trained and ((folder / "thresholds.json").exists() or not _n_events(valid)):
        print(f"{folder} holds this network, finished: nothing was trained. Name another folder to train one more")
        return 0
    if not trained:
        print(_takes(kind, settings, train, valid, options.device) + ("; goes on where it was" if begun else ""), flush=True)
    valid = _see(valid, settings, options)
    if not trained:
        _train(kind, settings, _see(train, settings, options), valid, options)
    if _n_events(valid):
        _choose(kind, settings, valid, options)
    else:
        print(f"no thresholds yet, as data has no labelled event in valid. {ANNOTATE} valid, then calcium-helpers optimize")
    return 0


def run_optimize(options: argparse.Namespace) -> int:
    """Choose thresholds."""
    if options.template:
        return run_template(options)
    from calcium_helpers.motion.gpu import find_device

    settings = read_settings(options.config, options.network, "data", "fs", "model")
    find_device(options.device)
    valid = _streams(options.config, settings, "valid")
    if not _n_events(valid):
        problem = f"data is {settings.data}, which has no labelled event in the group valid"
        raise MovieFileError(options.config, problem, f"{ANNOTATE} valid")
    _choose(options.network, settings, _see(valid, settings, options), options)
    return 0


def _streams(path: Path, settings: Settings, split: str) -> list[Stream]:
    """Open the recordings of a group; none where there is no such group."""
    from calcium_helpers.io.arrays import open_hdf5
    from calcium_helpers.io.msct import read_streams

    data: Path = settings.data  # type: ignore[assignment]
    if not data.is_file():
        raise MovieFileError(path, f"data is {data}, and there is no such file", "Make it with calcium-helpers annotate")
    with open_hdf5(data) as file:
        there = split in file
    return read_streams(data, split=split, lazy=True) if there else []


def _see(streams: list[Stream], settings: Settings, options: argparse.Namespace) -> list[Stream]:
    """Normalise those that are not."""
    from calcium_helpers.containers import Movie
    from calcium_helpers.models.msct.trained import as_seen

    fs: float = settings.fs  # type: ignore[assignment]
    movies = (as_seen(Movie(stream.movie, fs=fs), progress=not options.quiet) for stream in streams)
    return [stream._replace(movie=movie.data) for stream, movie in zip(streams, movies, strict=True)]


def _n_events(streams: list[Stream]) -> int:
    return sum(len(stream.events) for stream in streams)


def _check_labels(path: Path, settings: Settings, train: list[Stream], valid: list[Stream]) -> None:
    """Raise where there is nothing to learn from."""
    if not _n_events(train):
        raise MovieFileError(
            path, f"data is {settings.data}, which has no labelled event in the group train", f"{ANNOTATE} train"
        )
    if settings.learning.risk != "plain" and settings.learning.prior is None and not _n_events(valid):
        problem = "learning: prior is null, expected a share: data has no labelled event in the group valid to estimate it by"
        raise MovieFileError(path, problem, f"{ANNOTATE} valid; or give the prior, or take risk: plain")


def _asked(kind: str, settings: Settings) -> dict[str, Any]:
    """List what makes one training another."""
    learning = asdict(settings.learning)
    fit = learning.pop("fit")
    data: Path = settings.data  # type: ignore[assignment]
    return {
        "network": kind,
        "data": f"{data.name} of {data.stat().st_size} bytes",
        **learning,
        **fit,
        **asdict(settings.network),
    }


def _takes(kind: str, settings: Settings, train: list[Stream], valid: list[Stream], device: str) -> str:
    """Say about what a training takes, by a step of it."""
    learning = settings.learning
    rounds = 2 if learning.risk != "plain" and learning.prior is None else 1
    seconds = rounds * learning.fit.steps * _time_step(kind, settings, device)
    voxels = sum(math.prod(stream.movie.shape) for stream in [*train, *valid])
    twice = " twice, first for the prior" if rounds == 2 else ""
    return (
        f"{kind}, {learning.fit.steps} steps{twice}, {len(train)} recordings with {_n_events(train)} labelled events, "
        f"{len(valid)} with {_n_events(valid)} to choose by: about {say_duration(seconds)}, "
        f"{BASE_GB + voxels * VOXEL_BYTES / 1e9:.1f} GB of memory"
    )


def _time_step(kind: str, settings: Settings, device: str) -> float:
    """Measure what a step takes, on crops of noise."""
    import time

    import torch

    from calcium_helpers.models.msct.crops import Crops
    from calcium_helpers.models.msct.training import KINDS as NETWORKS

    learning = settings.learning
    model = NETWORKS[kind].make(settings.network).to(device)
    loss = NETWORKS[kind].loss(learning, model)
    label = torch.zeros((learning.batch, *learning.crop), dtype=torch.int32, device=device)
    label[:, : max(learning.crop[0] // 4, 1), : max(learning.crop[1] // 4, 1), : max(learning.crop[2] // 4, 1)] = 1
    crops = Crops(torch.randn((learning.batch, settings.network.channels, *learning.crop), device=device), label)
    for _ in range(2):  # the first compiles
        start = time.perf_counter()
        loss(model, crops).backward()
        float(next(model.parameters()).grad.sum())  # type: ignore[union-attr]  # waits for a graphics card
    return time.perf_counter() - start


def _train(kind: str, settings: Settings, train: list[Stream], valid: list[Stream], options: argparse.Namespace) -> None:
    """Train, draw, say."""
    from calcium_helpers.models.msct.training import train as train_network

    folder: Path = settings.model  # type: ignore[assignment]
    trained = train_network(
        kind, folder, train, valid, network=settings.network, config=settings.learning, device=options.device,
        progress=not options.quiet,
    )  # fmt: skip
    draw_history(trained.history, "score", folder / "history.png")
    prior = "" if trained.prior is None else f", prior {trained.prior:.4f}"
    print(f"{folder}: loss {trained.history.loss[-1]:.4f} after {trained.history.step[-1]} steps{prior} (history.png)")


def _choose(kind: str, settings: Settings, valid: list[Stream], options: argparse.Namespace) -> None:
    """Choose thresholds, write and say them."""
    from calcium_helpers.models.msct.trained import load_bare_net, save_thresholds, weigh_thresholds

    folder: Path = settings.model  # type: ignore[assignment]
    fs: float = settings.fs  # type: ignore[assignment]
    model = load_bare_net(kind, folder)
    chosen = weigh_thresholds(kind, model, valid, fs, device=options.device, progress=not options.quiet)
    if not chosen.surrogate:
        raise ValueError(
            f"{folder}: the network finds none of the {_n_events(valid)} labelled events of valid; train it longer"
        )
    save_thresholds(chosen.thresholds, folder)
    level, score = chosen.thresholds
    print(
        f"{folder / 'thresholds.json'}: level {level:g}, score {score:.4g}, by {_n_events(valid)} labelled events, "
        f"surrogate {chosen.surrogate:.3f}"
    )
    print(f"use it: calcium-helpers predict {kind} --config {options.config}")
