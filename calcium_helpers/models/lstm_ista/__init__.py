"""LSTM-ISTA: unrolled sparse coding and a recurrent network, from a two-photon movie to overlapping footprints and traces.

What needs torch is loaded on first use: a pipeline that knows this detector need not wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from calcium_helpers.models.lstm_ista.config import LSTMISTAConfig, NetworkConfig
from calcium_helpers.models.lstm_ista.detect import detect

_HOMES = {
    "profiles": ("PROFILES", "LossWeights", "TrainConfig"),
    "fields": ("Batch", "Field", "draw_field", "tile_batches"),
    "losses": ("loss_parts", "lstm_ista_loss", "match_slots", "matching_cost"),
    "network": ("LSTMISTA", "ISTABlock", "Output", "soft_threshold"),
    "training": ("Trained", "load_lstm_ista", "measure_lstm_ista", "score_fields", "train"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = [
    "LSTMISTA", "PROFILES", "Batch", "Field", "ISTABlock", "LSTMISTAConfig", "LossWeights", "NetworkConfig", "Output",
    "TrainConfig", "Trained", "detect", "draw_field", "load_lstm_ista", "loss_parts", "lstm_ista_loss", "match_slots",
    "matching_cost", "measure_lstm_ista", "score_fields", "soft_threshold", "tile_batches", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
