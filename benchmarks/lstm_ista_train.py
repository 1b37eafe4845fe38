"""Train networks that lack a part, for the ablation of LSTM-ISTA.

All see the same simulated fields, kept in FOLDER/fields, in the profile "cpu", and differ in nothing else. Their trace
heads are hardly trained: the table holds what footprints and their fit give::

    for name in "full, short" "without ISTA blocks" "without LSTM" "without matching"; do
        python benchmarks/lstm_ista_train.py "$name" FOLDER --steps 2000
    done
    python benchmarks/lstm_ista.py --only ablation --networks FOLDER

A training that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

# What each has in place of the profile's: of the network, and of the training.
WITHOUT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "full, short": ({}, {}),
    "without ISTA blocks": ({"n_blocks": 0}, {}),
    "without LSTM": ({"recurrent": False}, {}),
    "without matching": ({}, {"matching": False}),
}


def train_without(name: str, folder: Path, *, steps: int, seed: int = 0, **changes: Any) -> float:
    """Train one of ``WITHOUT`` in ``folder/name`` and return its best score on held-out fields."""
    from calcium_helpers.models import lstm_ista

    network, training = WITHOUT[name]
    config = replace(lstm_ista.PROFILES["cpu"], **{"head_steps": 1, **changes, **training})
    config = replace(config, network=replace(config.network, **network), fit=replace(config.fit, steps=steps))
    own, shared = folder / name / "fields", folder / "fields"
    shared.mkdir(parents=True, exist_ok=True)
    own.parent.mkdir(exist_ok=True)
    if not own.exists():
        own.symlink_to(shared.resolve(), target_is_directory=True)
    return float(lstm_ista.train(own.parent, config=config, seed=seed, progress=True).history.score.max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=tuple(WITHOUT))
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    score = train_without(options.name, options.folder, steps=options.steps, seed=options.seed)
    print(f"{options.name}: F1 {score:.3f} on held-out fields")


if __name__ == "__main__":
    main()
