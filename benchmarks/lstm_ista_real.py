"""The LSTM-ISTA network in real two-photon recordings: the labelled Neurofinder crop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from extraction_real import MOST_DETECTIONS, by_pipeline, find_neurofinder, score_neurofinder
from lstm_ista_cells import ISTA

from calcium_helpers.models.cnmf import CNMFConfig


def score_crop(folder: Path, *, half: str | None) -> list[dict[str, Any]]:
    """Score the network beside the factorisation, suite2p and chance, on one half alone or on all with the right half beside.

    The left half is what settings may be chosen on; with ``half="left"`` nothing is said of the other one.
    """
    from calcium_helpers.models.lstm_ista import LSTMISTAConfig

    finders = {
        ISTA: by_pipeline(detector=ISTA, lstm_ista=LSTMISTAConfig(max_cells=MOST_DETECTIONS)),
        "cnmf": by_pipeline(cnmf=CNMFConfig(max_cells=MOST_DETECTIONS)),
    }
    found = find_neurofinder(folder, finders)
    if half is not None:
        return score_neurofinder(found, half)
    rows, right = score_neurofinder(found), score_neurofinder(found, "right")
    return [{**row, "F, right half": other["F"]} for row, other in zip(rows, right, strict=True)]
