"""What the LSTM-ISTA network costs on a whole field, beside other programs.

From the motion-corrected movie in a file (memory-mapped) to footprints and traces of all frames, each run in a process of its
own on two threads, libraries loaded and code compiled before; the shortest of a few runs in turn. Memory is what the
system cannot take back without swapping; suite2p's is all that was resident.
"""

from __future__ import annotations

from typing import Any

from anchors import anchor_2p
from bench_time import PEER_WHOLE, QUOTED, Run, shortest, time_programs
from lstm_ista_cells import ISTA

from calcium_helpers import motion

# CaImAn 1.12 was not run with the others. Its fit and refit took 577 s where suite2p's whole pipeline took 166 s on the same
# movie, both measured together on another machine of two cores.
CAIMAN_S, SUITE2P_S = 577, 166


def times(repeats: int) -> list[dict[str, str]]:
    """One row a program on the first movie of ``anchor_2p``, 512 x 512 x 2000."""
    truth = anchor_2p(0)
    movie = motion.register(truth.movie, config=motion.TWO_PHOTON).movie
    ours = {ISTA: "lstm-ista", **_on_card(), "cnmf": "detect"}
    best = shortest(time_programs(movie, truth.movie, ours, repeats, one_photon=False))
    whole = best.pop(PEER_WHOLE, None)
    rows = [(run, "measured") for run in best.values()]
    if whole is not None:
        rows.append((Run(PEER_WHOLE, whole.seconds, None, whole.gb), "measured, motion correction included"))
        rows.append((Run("CaImAn 1.12, fit and refit", CAIMAN_S * whole.seconds / SUITE2P_S, None, None), QUOTED))
    return [_row(run, how, best["cnmf"].seconds, movie.n_frames) for run, how in rows]


def _on_card() -> dict[str, str]:
    """Name the network after the graphics card that it also runs on, where there is one."""
    import torch

    return {f"{ISTA}, {torch.cuda.get_device_name()}": "lstm-ista on cuda"} if torch.cuda.is_available() else {}


def _row(run: Run, how: str, cnmf_s: float, n_frames: int) -> dict[str, Any]:
    return {
        "program": run.program,
        "file to result, s": f"{run.seconds:.1f}",
        "processor, s": "" if run.processor_s is None else f"{run.processor_s:.1f}",
        "frames a second": f"{n_frames / run.seconds:.0f}",
        "relative to cnmf": f"{run.seconds / cnmf_s:.2f}",
        "peak memory, GB": "" if run.gb is None else f"{run.gb:.1f}",
        "how": how,
    }
