"""Train a network on recordings of which only some events are labelled, with everything that makes it again in one folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from calcium_helpers.containers import Movie
from calcium_helpers.io.msct import Stream
from calcium_helpers.io.save import atomic_path
from calcium_helpers.models._base import save_model
from calcium_helpers.models.msct.config import PUConfig
from calcium_helpers.models.msct.crops import Crops, Labelled, crop_batches, label_boxes
from calcium_helpers.models.msct.look import look_at
from calcium_helpers.models.msct.losses import Loss, stardist_loss, voxel_loss
from calcium_helpers.models.msct.prior import estimate_prior
from calcium_helpers.models.stardist3d import StarDist3D, StarDist3DConfig
from calcium_helpers.models.unet3d import UNet3D, UNet3DConfig
from calcium_helpers.training import History, fit
from calcium_helpers.transients.watershed import erase_seams

PRIOR_BATCHES = 24


class Kind(NamedTuple):
    """A network: how it is made of its configuration, and what it loses."""

    config: type
    make: Callable[[Any], nn.Module]
    loss: Callable[[PUConfig, nn.Module], Loss]
    label: Callable[[np.ndarray], np.ndarray]


KINDS = {
    "msct-unet": Kind(UNet3DConfig, UNet3D, lambda config, _: voxel_loss(config), erase_seams),
    "msct-stardist": Kind(
        StarDist3DConfig, StarDist3D, lambda config, model: stardist_loss(config, model.rays), np.asarray  # type: ignore[arg-type]
    ),
}  # fmt: skip


class Trained(NamedTuple):
    """A network in ``eval`` mode, what its training went through, and the prior it learned with."""

    model: nn.Module
    history: History
    prior: float | None


def train(
    kind: str, folder: str | Path, streams: Sequence[Stream], valid: Sequence[Stream] = (), *, network: Any = None,
    config: PUConfig | None = None, device: str = "cpu", progress: bool = False,
) -> Trained:  # fmt: skip
    """Train a network, or go on where a training in the same folder stopped.

    The folder gets a checkpoint, ``history.csv``, and at the end ``config.json`` and ``weights.safetensors``.

    Parameters
    ----------
    kind : {"msct-unet", "msct-stardist"}
    folder : str or Path
        Made where it does not exist.
    streams : sequence of Stream
        Normalised recordings and what is labelled in them.
    valid : sequence of Stream
        Others, labelled in the same way: the prior is estimated on them where ``config.prior`` is None.
    network : UNet3DConfig or StarDist3DConfig, optional
    config : PUConfig, optional
        Its ``fit.seed`` is that of first weights and batches.
    device : str
    progress : bool

    Returns
    -------
    Trained

    Raises
    ------
    ValueError
        For an unknown kind, no labelled event, no ``valid`` to estimate the prior on, or where the folder holds a training of
        another configuration.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    config, folder = config or PUConfig(), Path(folder)
    movies = [look(stream, KINDS[kind].label) for stream in streams]
    if config.risk != "plain" and config.prior is None:
        if not any(len(stream.events) for stream in valid):
            raise ValueError("valid must hold a labelled event to estimate the prior on; or give config.prior")
        plain = replace(config, risk="plain")
        first, _ = _fit(kind, movies, network, plain, folder / "checkpoint_plain.pt", device, progress)
        held_out = [look(stream, KINDS[kind].label) for stream in valid]
        config = replace(config, prior=measure_prior(first, held_out, config, seed=config.fit.seed))
    model, history = _fit(kind, movies, network, config, folder / "checkpoint.pt", device, progress)
    save_model(model, folder, about={"kind": kind, "learning": asdict(config), "steps": int(history.step[-1])})
    with atomic_path(folder / "history.csv") as part:
        pd.DataFrame(history._asdict()).to_csv(part, index=False)
    return Trained(model, history, config.prior)


def look(stream: Stream, relabel: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Labelled:
    """See a recording as a network does.

    Parameters
    ----------
    stream : Stream
        Normalised.
    relabel : callable
        What is done to the label.

    Returns
    -------
    Labelled
    """
    frames = np.asarray(stream.movie)
    return Labelled(look_at(Movie(frames, fs=1.0)).channels(frames, 0), relabel(np.asarray(stream.label)).astype(np.int32))


def _fit(
    kind: str, movies: Sequence[Labelled], network: Any, config: PUConfig, checkpoint: Path, device: str, progress: bool
) -> tuple[nn.Module, History]:
    """Train from first weights, or go on from the checkpoint; the note beside it says what it is of."""
    note = checkpoint.with_suffix(".json")
    asked = json.loads(json.dumps({"kind": kind, "network": asdict(network) if network else None, "learning": asdict(config)}))
    if note.exists() and json.loads(note.read_text(encoding="utf-8")) != asked:
        raise ValueError(f"{checkpoint.parent} holds another training; name another folder")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(note) as part:
        part.write_text(json.dumps(asked, indent=1), encoding="utf-8")
    torch.manual_seed(config.fit.seed)
    model = KINDS[kind].make(network or KINDS[kind].config()).to(device)
    draw, loss = crop_batches(movies, config), KINDS[kind].loss(config, model)
    history = fit(
        model, lambda rng: Crops(*(part.to(device) for part in draw(rng))), loss, config=config.fit,
        checkpoint=checkpoint, progress=progress,
    )  # fmt: skip
    return model.to("cpu"), history


def measure_prior(model: nn.Module, movies: Sequence[Labelled], config: PUConfig, *, seed: int = 0) -> float:
    """Estimate the prior of crops drawn as for training, see `estimate_prior`.

    Parameters
    ----------
    model : Module
        Trained with the risk "plain" on other movies.
    movies : sequence of Labelled
        Labelled like those of the training.
    config : PUConfig
        How crops are drawn.
    seed : int

    Returns
    -------
    float
    """
    draw, rng = crop_batches(movies, config), np.random.default_rng(seed)
    labelled, unlabelled = [], []
    with torch.no_grad():
        for _ in range(PRIOR_BATCHES):
            crops = draw(rng)
            logits = model(crops.channels)[:, 0].numpy()
            known = crops.label.numpy() > 0
            labelled.append(logits[known])
            unlabelled.append(logits[~known])
    n_events = sum(len(label_boxes(movie.label)) for movie in movies)
    return estimate_prior(np.concatenate(labelled), np.concatenate(unlabelled), n_events=n_events)
