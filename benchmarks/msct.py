"""Miniature synaptic transients with labels of a share of the events: risks, networks, and a detector by threshold.

Table ``msct``: average precision and F1 of each run of ``msct_runs.py`` in the columns of ``msct_movies.py``, mean and sd over
seeds; a seed has its own movies to train on, labels withheld and first weights. A run of a seed takes about five minutes on
a core, all of them two hours on two; with ``--keep FOLDER`` trainings and scores are kept there, and a run that was
stopped goes on. Two processes may share a folder: ``--only`` names the runs of each. No published recording of such events was
at hand: there is no column of real events.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _table import write_table
from msct_movies import COLUMNS
from msct_runs import RUNS, Scores, measure

SHOWN = (
    "AP",
    "F1",
    "precision",
    "recall",
    "recall, synapse",
    "recall, dendrite",
    "Dice",
    "pairs kept apart",
    "pairs, connected",
)


def score(name: str, seed: int, folder: Path, **how: Any) -> Scores:
    """Read what was kept, or measure."""
    path = folder / f"{name}, {seed}.json"
    if not path.exists():
        scores = measure(name, seed, folder, **how)
        print(name, seed, {key: round(value, 3) for key, value in scores.items()}, flush=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(scores))
        part.replace(path)
    return dict(json.loads(path.read_text()))


def rows(found: dict[str, list[Scores]]) -> list[dict[str, str]]:
    """One row a column of movies and run."""
    return [
        {
            "data": column,
            "run": name,
            **{key: _mean_sd([scores[f"{column}: {key}"] for scores in kept]) for key in SHOWN},
            "prior": _mean_sd([scores["prior"] for scores in kept if "prior" in scores], 4),
            "seeds": str(len(kept)),
        }
        for column in COLUMNS
        for name, kept in found.items()
    ]


def _mean_sd(values: list[float], digits: int = 2) -> str:
    values = [value for value in values if np.isfinite(value)]
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}" if values else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, metavar="FOLDER", help="where trainings and scores are kept")
    parser.add_argument("--only", nargs="*", choices=tuple(RUNS), help="only these; writes no table")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600, help="batches of a training")
    parser.add_argument("--threads", type=int, default=1, help="threads of a training")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.keep.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Scores]] = {name: [] for name in options.only or RUNS}
    for seed in options.seeds:
        for name, kept in found.items():
            if not (RUNS[name].known and kept):  # the package has one network of a kind
                kept.append(score(name, seed, options.keep, steps=options.steps))
    if options.only is None:
        write_table("msct", rows(found), "python benchmarks/msct.py --keep FOLDER")


if __name__ == "__main__":
    main()
