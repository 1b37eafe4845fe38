"""Cells in simulated and hybrid two-photon movies: the network beside the factorisation and suite2p, and taken apart."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench
from anchors import crowded_2p, quarter_2p
from bench import Bench, Field, Scores
from columns import COLUMNS_2P
from extraction import PEER
from lstm_ista_train import WITHOUT

from calcium_helpers.models import cnmf
from calcium_helpers.results import Detection, Simulation

ISTA = "lstm-ista"
QUARTER = "same simulator, quarter"
MAIN_COLUMNS = (*COLUMNS_2P, "crowded")
COLUMNS: dict[str, Callable[[int], Simulation]] = {**COLUMNS_2P, "crowded": crowded_2p, QUARTER: quarter_2p}
ABLATED = (QUARTER, "crowded", "hybrid")
# The shipped network, told otherwise how to look at a movie; networks without a part come from ``lstm_ista_train.py``.
TOLD: dict[str, dict[str, Any]] = {
    "all bins": {"max_bins": 4000},
    "50 bins, the active ones": {"max_bins": 50},
    "50 bins, averages": {"max_bins": 50, "reduction": "mean"},
    "two passes": {"n_passes": 2},
}
MAIN = (ISTA, "cnmf", PEER)
VARIANTS = (ISTA, *TOLD, *WITHOUT)
CELLS = (
    "F1, IoU 0.5", "precision", "recall", "of visible", "traces, all", "traces, matched", "clean, all", "clean, matched",
    "denoised, all", "denoised, matched",
)  # fmt: skip


def detector(**config: Any) -> Callable[..., Detection]:
    """Return detection by the network with these settings."""
    from calcium_helpers.models import lstm_ista

    return functools.partial(lstm_ista.detect, config=lstm_ista.LSTMISTAConfig(**config))


def run_network(field: Field, **config: Any) -> Scores:
    """Detect by the network, and score."""
    return bench.run_detector(detector(**config), field)


def make_bench(seeds: list[int], peer_movies: int, folder: Path | None, *, networks: Path | None = None) -> Bench:
    """Return what runs these programs on these movies; ``networks`` holds a folder for each network trained without a part."""
    trained = [] if networks is None else [networks / name for name in WITHOUT if (networks / name).is_dir()]
    programs: dict[str, Callable[[Field], Scores | None]] = {
        ISTA: run_network,
        "cnmf": functools.partial(bench.run_detector, cnmf.detect),
        PEER: bench.run_suite2p,
        **{name: functools.partial(run_network, **config) for name, config in TOLD.items()},
        **{path.name: functools.partial(run_network, weights=str(path)) for path in trained},
    }
    return Bench("2p", COLUMNS, programs, seeds, peer_movies, folder)
