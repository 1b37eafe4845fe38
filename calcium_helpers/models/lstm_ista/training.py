"""Train LSTM-ISTA on simulated fields, with everything that makes it again in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import optimize, special
from torch import nn
from tqdm import tqdm

from calcium_helpers import metrics
from calcium_helpers.containers import Footprints
from calcium_helpers.io.save import atomic_path
from calcium_helpers.models._base import WEIGHTS, load_model, save_model
from calcium_helpers.models.lstm_ista.config import NetworkConfig
from calcium_helpers.models.lstm_ista.fields import SEEN, Batch, Field, draw_field, tile_batches
from calcium_helpers.models.lstm_ista.losses import lstm_ista_loss
from calcium_helpers.models.lstm_ista.network import LSTMISTA
from calcium_helpers.models.lstm_ista.profiles import PROFILES, TrainConfig
from calcium_helpers.models.lstm_ista.slots import Slots, one_a_cell, read_slots
from calcium_helpers.models.lstm_ista.trace_head import trace_batches, trace_loss
from calcium_helpers.training import History, fit

N_VALIDATION = 12
VALIDATION = 1_000_000  # added to the seed: fields of validation are of no training
SURE = 0.5
HEAD_RATE = 2e-3


class Trained(NamedTuple):
    """A network in ``eval`` mode and what its training went through."""

    model: LSTMISTA
    history: History


def train(
    folder: str | Path, *, profile: str = "cpu", config: TrainConfig | None = None, seed: int = 0, device: str = "cpu",
    progress: bool = False,
) -> Trained:  # fmt: skip
    """Train a network, or go on where a training in the same folder stopped.

    The folder gets simulated fields (``fields/``), a checkpoint, ``history.csv``, and at the end ``config.json`` and
    ``weights.safetensors``.

    Parameters
    ----------
    folder : str or Path
        Made where it does not exist.
    profile : str
        One of ``PROFILES``.
    config : TrainConfig, optional
        In place of a profile.
    seed : int
        Of the first weights, the batches and the fields.
    device : str
        Where the network is trained.
    progress : bool
        Show bars.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError
        For an unknown profile, or where the folder's training is of another configuration.
    """
    if config is None:
        if profile not in PROFILES:
            raise ValueError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
        config = PROFILES[profile]
    folder = Path(folder)
    config = replace(config, fit=replace(config.fit, seed=seed))
    fields = make_fields(folder / "fields", config.n_fields, seed=seed, progress=progress)
    held_out = make_fields(folder / "fields", N_VALIDATION, seed=seed + VALIDATION, progress=progress)
    torch.manual_seed(seed)
    model = LSTMISTA(config.network).to(device)
    draw = tile_batches(fields, config)
    history = fit(
        model, lambda rng: Batch(*(tensor.to(device) for tensor in draw(rng))),
        lstm_ista_loss(config.weights, matching=config.matching), config=config.fit,
        validate=lambda _: _score_calibrated(model, held_out, device=device),
        checkpoint=folder / "checkpoint.pt", progress=progress,
    )  # fmt: skip
    model.to("cpu")
    _train_head(model, [field.calcium for field in fields], config, folder / "checkpoint_head.pt", progress)
    calibrate(model, held_out)
    about = {"profile": profile, "seed": seed, "steps": int(history.step[-1]), "score": round(float(history.score.max()), 4)}
    save_model(model, folder, about=about)
    with atomic_path(folder / "history.csv") as part:
        pd.DataFrame(history._asdict()).to_csv(part, index=False)
    return Trained(model, history)


def _train_head(model: LSTMISTA, calcium: list[np.ndarray], config: TrainConfig, checkpoint: Path, progress: bool) -> None:
    """Train the trace head: nothing that it learns would change the rest."""
    how = replace(config.fit, steps=config.head_steps, every=max(1, config.head_steps // 4), learning_rate=HEAD_RATE)
    fit(
        model.trace_head, trace_batches(calcium), trace_loss(config.weights), config=how, checkpoint=checkpoint,
        progress=progress,
    )  # fmt: skip


def _score_calibrated(model: LSTMISTA, fields: Sequence[Field], *, device: str) -> float:
    """Score as if training ended here and presence were calibrated."""
    found = [_find(model, field, device=device) for field in fields]
    slope, offset = _fit_calibration(found, fields)
    sure = [slots.select(slope * special.logit(slots.presence) + offset > special.logit(SURE)) for slots in found]
    return _mean_f1(sure, fields)


def calibrate(model: LSTMISTA, fields: Sequence[Field]) -> None:
    """Turn presence into a probability: logistic in its logit, fitted to whether slots drew a true cell (IoU 0.5).

    Only the best slot of each cell counts. The fit leaves the order of slots as it is.
    """
    model.config = replace(model.config, calibration=(1.0, 0.0))
    model.config = replace(model.config, calibration=_fit_calibration([_find(model, field) for field in fields], fields))


def _fit_calibration(found: Sequence[Slots], fields: Sequence[Field]) -> tuple[float, float]:
    """Slope and offset of the logit; those that change nothing where there is nothing to compare with."""
    logits, true = [], []
    for slots, field in zip(found, fields, strict=True):
        truth = Footprints.from_images(field.masks)
        pairs = metrics.match_footprints(Footprints(slots.footprints, truth.shape), truth, found_level=0.0).pairs
        logits.append(special.logit(slots.presence))
        true.append(np.isin(np.arange(len(slots.presence)), pairs[:, 0]))
    x, y = np.concatenate(logits).astype(np.float64), np.concatenate(true)
    if not 0 < y.sum() < len(y):
        return 1.0, 0.0

    def entropy(line: np.ndarray) -> float:
        z = np.exp(line[0]) * x + line[1]
        return float(np.logaddexp(0, np.where(y, -z, z)).mean())

    slope, offset = optimize.minimize(entropy, np.zeros(2), method="Nelder-Mead").x
    return float(np.exp(slope)), float(offset)


def make_fields(folder: Path, n: int, *, seed: int, progress: bool = False) -> list[Field]:
    """Draw fields, or read those that lie in ``folder`` already."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = []
    for number in tqdm(range(n), disable=not progress, unit="field", desc="simulate"):
        path = folder / f"{seed}_{number:04d}.npz"
        if not path.exists():
            with atomic_path(path) as part, open(part, "wb") as file:
                np.savez(file, **draw_field([seed, number])._asdict())
        with np.load(path) as saved:
            fields.append(Field(**{name: saved[name] for name in Field._fields}))
    return fields


def score_fields(model: nn.Module, fields: Sequence[Field], *, device: str = "cpu") -> float:
    """Score a network on simulated fields at IoU 0.5: precision against all true cells, recall of those that can be seen.

    Parameters
    ----------
    model : Module
        The network, in ``eval`` mode.
    fields : sequence of Field
    device : str

    Returns
    -------
    float
        Mean F1.
    """
    found = [_find(model, field, device=device) for field in fields]
    return _mean_f1([slots.select(slots.presence > SURE) for slots in found], fields)


def _find(model: nn.Module, field: Field, *, device: str = "cpu") -> Slots:
    """Slots that may hold a cell, one a cell, in one field."""
    movie = field.movie.astype(np.float32)
    with torch.no_grad():
        output = model(torch.from_numpy(movie[None]).to(device))
    slots = read_slots(output, 0, core=(slice(0, movie.shape[1]), slice(0, movie.shape[2])))
    return slots.select(one_a_cell(slots, movie))


def _mean_f1(found: Sequence[Slots], fields: Sequence[Field]) -> float:
    return float(np.mean([_f1(slots, field) for slots, field in zip(found, fields, strict=True)]))


def _f1(slots: Slots, field: Field) -> float:
    """F1 of one field."""
    found = Footprints(slots.footprints, field.movie.shape[1:])
    whole = np.sqrt((field.profiles.astype(np.float32) ** 2).sum(axis=(1, 2)))
    seen = whole * field.courses.max(axis=1, initial=0) > SEEN
    truth = Footprints.from_images(field.masks)
    precision = metrics.match_footprints(found, truth, found_level=0.0).precision
    recall = metrics.match_footprints(found, truth.select(seen), found_level=0.0).recall
    return 2 * precision * recall / max(precision + recall, 1e-9)


def load_lstm_ista(folder: str | Path | None = None) -> LSTMISTA:
    """Read a trained network.

    Parameters
    ----------
    folder : str or Path, optional
        With ``config.json`` and ``weights.safetensors``; the network that comes with the package where not given.

    Returns
    -------
    LSTMISTA
        In ``eval`` mode.

    Raises
    ------
    MovieFileError
        Where a file is missing, broken or of another network.
    """
    return load_model(WEIGHTS / "lstm_ista" if folder is None else folder, lambda known: LSTMISTA(NetworkConfig(**known)))


def measure_lstm_ista(*, fields: int, seed: int) -> float:
    """Score the package's network on freshly simulated fields: what ``verify`` compares.

    Parameters
    ----------
    fields : int
        How many.
    seed : int

    Returns
    -------
    float
        As `score_fields` gives.
    """
    return score_fields(load_lstm_ista(), [draw_field([seed, number]) for number in range(fields)])
