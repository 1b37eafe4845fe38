"""LSTM-ISTA: unrolled sparse coding and a recurrent network, from a two-photon movie to overlapping footprints and traces."""

from calcium_helpers.models.lstm_ista.config import PROFILES, LossWeights, LSTMISTAConfig, NetworkConfig, TrainConfig
from calcium_helpers.models.lstm_ista.detect import detect
from calcium_helpers.models.lstm_ista.fields import Batch, Field, draw_field, tile_batches
from calcium_helpers.models.lstm_ista.losses import loss_parts, lstm_ista_loss, match_slots, matching_cost
from calcium_helpers.models.lstm_ista.network import LSTMISTA, ISTABlock, Output, soft_threshold
from calcium_helpers.models.lstm_ista.training import Trained, load_lstm_ista, measure_lstm_ista, score_fields, train

__all__ = [
    "LSTMISTA", "PROFILES", "Batch", "Field", "ISTABlock", "LSTMISTAConfig", "LossWeights", "NetworkConfig", "Output",
    "TrainConfig", "Trained", "detect", "draw_field", "load_lstm_ista", "loss_parts", "lstm_ista_loss", "match_slots",
    "matching_cost", "measure_lstm_ista", "score_fields", "soft_threshold", "tile_batches", "train",
]  # fmt: skip
