"""The detectors that a run can choose from; ``PipelineConfig`` has a field for the settings of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from calcium_helpers.models import cnmf, lstm_ista, one_photon
from calcium_helpers.models.cnmf.detect import judge as judge_cnmf
from calcium_helpers.models.lstm_ista.detect import judge as judge_lstm_ista
from calcium_helpers.models.one_photon.detect import judge as judge_coordinates
from calcium_helpers.results import Detection


class Detector(NamedTuple):
    """One way to find cells.

    ``detect`` is called with the movie and ``config, valid, bad_frames, progress``, and with what else of a run it ``takes``
    ("seed", "device"). ``modalities`` are those that it is made for; ``method`` says in a sentence what it does, for reports.
    ``judge``, of scores, its settings and the cells' diameter in px, says what speaks against each component.
    """

    detect: Callable[..., Detection]
    modalities: tuple[str, ...]
    method: str
    judge: Callable[..., np.ndarray]
    takes: tuple[str, ...] = ()


def field_of(name: str) -> str:
    """Name the field of ``PipelineConfig`` that holds a detector's settings: a field has no hyphen."""
    return name.replace("-", "_")


DETECTORS = {
    "cnmf": Detector(
        cnmf.detect,
        ("2p", "1p"),
        "Cells were found by constrained non-negative matrix factorisation: seeds where neighbouring pixels rise together "
        "above noise, footprints and traces fitted in turn, and a check of each component (in the spirit of Pnevmatikakis et "
        "al. 2016, doi:10.1016/j.neuron.2015.11.037).",
        judge_cnmf,
    ),
    "coordinates": Detector(
        one_photon.detect,
        ("1p",),
        "Cells were found by learnable coordinates: points with a size and a shape that move to where they explain what "
        "changes in the movie beside its glow. They are merged, dropped, split and added until nothing changes, and each ends "
        "with a confidence (after an idea of Teng, Putti, Schneider, Lippert and Stober).",
        judge_coordinates,
        ("seed", "device"),
    ),
    "lstm-ista": Detector(
        lstm_ista.detect,
        ("2p",),
        "Cells were found by a network (LSTM-ISTA) trained on simulated two-photon movies: unrolled steps of sparse coding "
        "clean each frame, a recurrent layer carries time, and slots on a grid each draw a footprint and say how sure they are "
        "that a cell is there (an implementation after the idea of Zhang et al. 2024, DeepCaImX, Nature Machine Intelligence, "
        "doi:10.1038/s42256-024-00892-w).",
        judge_lstm_ista,
        ("device",),
    ),
}
