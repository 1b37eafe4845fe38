"""``calcium-helpers train``: a network of the package anew, on movies that are simulated, or on one's own labels."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from calcium_helpers.cli.estimates import free_gb, say_duration
from calcium_helpers.cli.msct import run_msct
from calcium_helpers.cli.msct_config import KINDS, describe_keys
from calcium_helpers.io.save import atomic_path

if TYPE_CHECKING:
    from calcium_helpers.training import History

PROFILES = ("cpu", "gpu")
STAMP = "training.json"
"""What was asked for, so that a folder is not shared by two trainings."""


class Cost(NamedTuple):
    """What a training takes, about: seconds before the first step and of a step, memory and disk in GB (10**9 bytes)."""

    start_s: float
    step_s: float | None
    memory_gb: float
    disk_gb: float


class Network(NamedTuple):
    """A network that can be trained.

    ``module`` has ``PROFILES`` of configurations with a field ``fit``, and ``train(folder, *, profile, config, seed, device,
    progress)`` that returns the model and its ``History``, goes on from what an earlier training left in the folder, and writes
    ``config.json``, ``weights.safetensors`` and ``history.csv`` at the end. ``costs`` of each profile are those of two
    cores; a step that nobody timed yet is None. ``score`` says what the history's score is, ``use`` how the network is used.
    """

    module: str
    costs: dict[str, Cost]
    score: str
    use: str


NETWORKS = {
    "lstm-ista": Network(
        "calcium_helpers.models.lstm_ista",
        {"cpu": Cost(300.0, 0.5, 2.5, 1.5), "gpu": Cost(2400.0, None, 10.0, 9.0)},
        "F1 of cells in simulated fields",
        "calcium-helpers report MOVIE --modality 2p --detector lstm-ista --model {folder}",
    ),
}


def add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``train``."""
    train = commands.add_parser(
        "train",
        help="train a network of the package anew",
        description="Train a network: lstm-ista on simulated movies, into --out; msct-unet and msct-stardist on recordings\n"
        "with labels, by --config. Run again to go on where a training was stopped (Ctrl-C).",
        epilog=describe_keys(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    networks = "lstm-ista: cells of two-photon movies; msct-unet, msct-stardist: synaptic transients"
    train.add_argument("network", choices=(*NETWORKS, *KINDS), help=networks)
    simulated = train.add_argument_group("lstm-ista")
    simulated.add_argument("-o", "--out", type=Path, help="folder of the training and of the trained network")
    size = "size of the training: cpu (default), or gpu (over 20 GB of its memory)"
    simulated.add_argument("--profile", choices=PROFILES, help=size)
    simulated.add_argument("--steps", type=int, metavar="N", help="batches in all; those of the profile where not given")
    simulated.add_argument("--seed", type=int, metavar="N", help="of all random numbers (default: 0)")
    labelled = train.add_argument_group("msct-unet, msct-stardist")
    labelled.add_argument("--config", type=Path, metavar="FILE", help="settings (.yaml), see below")
    labelled.add_argument(
        "--template", type=Path, metavar="FILE", help="write settings to change, with their defaults, and end"
    )
    train.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    train.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    train.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    train.set_defaults(refuse=train.error, command="train")
    return train


def run_train(options: argparse.Namespace) -> int:
    """Train, or go on training, and say what came of it."""
    simulated, labelled = ("out", "profile", "steps", "seed"), ("config", "template")
    given = [name for name in (*simulated, *labelled) if getattr(options, name) is not None]
    own, other = (labelled, simulated) if options.network in KINDS else (simulated, labelled)
    if wrong := [f"--{name}" for name in given if name in other]:
        instead = "its settings stand in --config FILE" if own is labelled else "its folder is named by --out"
        options.refuse(f"{options.network} knows no {', '.join(wrong)}: {instead}")
    if own is labelled:
        if len(given) != 1:
            options.refuse(f"{options.network} needs --config FILE, or --template FILE to write one")
        return run_msct(options)
    if options.out is None:
        options.refuse(f"{options.network} needs -o/--out FOLDER")
    return _train_on_simulations(options)


def _train_on_simulations(options: argparse.Namespace) -> int:
    """Train the network of a module in ``NETWORKS``."""
    from calcium_helpers.motion.gpu import find_device  # torch takes seconds to load

    profile, seed = options.profile or "cpu", options.seed or 0
    network, out = NETWORKS[options.network], options.out
    find_device(options.device)
    module = import_module(network.module)
    config = module.PROFILES[profile]
    if options.steps is not None:
        config = replace(config, fit=replace(config.fit, steps=options.steps))
    asked = {"network": options.network, "profile": profile, "steps": config.fit.steps, "seed": seed}
    begun = begin(out, asked)
    if (out / "weights.safetensors").exists():
        print(f"{out} holds this network, finished: nothing was trained. Name another folder to train one more")
        return 0
    print(_takes(network.costs[profile], asked, out, begun))
    try:
        _, history = module.train(
            out, profile=profile, config=config, seed=seed, device=options.device, progress=not options.quiet
        )
    except KeyboardInterrupt:
        print(f"calcium-helpers: stopped; the same command goes on from what lies in {out}", file=sys.stderr)
        return 130
    draw_history(history, network.score, out / "history.png")
    best = history.score[history.step == history.best_step][0]
    print(f"{out}: {network.score} {best:.3f}, best after {history.best_step} of {history.step[-1]} steps (history.png)")
    print(f"use it: {network.use.format(folder=out)}")
    print("all but config.json and weights.safetensors may be deleted")
    return 0


def begin(out: Path, asked: dict[str, Any], *, name: str = "--out") -> bool:
    """Note in the folder what was asked for, or make sure that it is what was asked for before; returns whether it was."""
    if out.is_file():
        raise ValueError(f"{name} must be a folder, got the file {out}: name another one")
    asked = json.loads(json.dumps(asked))
    stamp = out / STAMP
    if stamp.exists():
        before = json.loads(stamp.read_text(encoding="utf-8"))
        if before != asked:
            words = ", ".join(f"{key} {value}" for key, value in before.items() if len(before) < 5 or asked.get(key) != value)
            raise ValueError(f"{out} holds another training ({words}): name another folder")
        return True
    if (out / "weights.safetensors").exists():
        raise ValueError(f"{out} holds a network that was not trained there: name another folder")
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(stamp) as part:
        part.write_text(json.dumps(asked), encoding="utf-8")
    return False


def _takes(cost: Cost, asked: dict[str, Any], out: Path, begun: bool) -> str:
    """Say about what a training takes."""
    if cost.step_s is None:
        time = f"{say_duration(cost.start_s)} of simulation, then how long the bar says"
    else:
        time = f"{say_duration(cost.start_s + cost.step_s * asked['steps'])} on two cores"
    free = free_gb(out)
    return (
        f"{asked['network']}, profile {asked['profile']}, {asked['steps']} steps: about {time}, "
        f"{cost.memory_gb:.1f} GB of memory, {cost.disk_gb:.1f} GB on disk"
        + ("; goes on where it was" if begun else "")
        + (f"\nnote: only {free:.1f} GB are free on that disk" if free < cost.disk_gb and not begun else "")
    )


def draw_history(history: History, score: str, path: Path) -> None:
    """Write the picture of a training."""
    from matplotlib.figure import Figure

    from calcium_helpers.plots import show_history

    figure = Figure(figsize=(6, 3), dpi=150, layout="constrained")
    show_history(history, score=score, ax=figure.subplots())
    with atomic_path(path) as part:
        figure.savefig(part)
