"""Train the networks for synaptic transients that come with the package, on simulated recordings of all sorts, all labelled.

No table is made here; ``calcium-helpers verify`` measures the networks again. About twenty minutes a network on a
core. Run again to go on where a training was stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from calcium_helpers.models.msct.config import PUConfig
from calcium_helpers.models.msct.simulated import draw_stream
from calcium_helpers.models.msct.trained import save_thresholds, weigh_thresholds
from calcium_helpers.models.msct.training import KINDS, train

N_TRAIN, N_VALID = 80, 12
TRAIN_SEED, VALID_SEED = 10, 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=tuple(KINDS))
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the training and of the network")
    parser.add_argument("--steps", type=int, default=3000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    learned, held_out = (
        [draw_stream([seed, number]) for number in range(n)] for seed, n in ((TRAIN_SEED, N_TRAIN), (VALID_SEED, N_VALID))
    )
    config = PUConfig(risk="plain")
    config = replace(config, fit=replace(config.fit, steps=options.steps))
    model = train(options.kind, options.out, learned, config=config, progress=True).model
    chosen = weigh_thresholds(options.kind, model, held_out, fs=10.0)
    save_thresholds(chosen.thresholds, options.out)
    print(options.kind, chosen)


if __name__ == "__main__":
    main()
