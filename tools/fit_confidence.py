"""Fit the confidence of the learnable coordinates on simulated one-photon movies, and store it in the package.

Each movie has its own optics, density, light, kinetics and motion, drawn from the ranges below; what ``benchmarks/`` judges
(out of range, hybrids) lies outside of them. A coordinate counts as right where it is paired, one to one, with a true cell
within half a cell's diameter.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import optimize

from calcium_helpers import metrics, motion
from calcium_helpers.models import one_photon
from calcium_helpers.models.one_photon.quality import FITTED, features
from calcium_helpers.simulate import OnePhotonConfig
from calcium_helpers.simulate import one_photon as simulate

COMMAND = "python tools/fit_confidence.py"


def draw_config(rng: np.random.Generator) -> OnePhotonConfig:
    """Draw what a movie looks like."""
    radius = rng.uniform(2.4, 4.4)
    dim = rng.uniform(0.006, 0.03)
    return OnePhotonConfig(
        n_frames=int(rng.integers(600, 1200)), height=176, width=176, fs=float(rng.choice([15.0, 20.0, 30.0])),
        n_cells=int(rng.integers(8, 56)), min_distance_px=2.2 * radius, sigma_px=(0.7 * radius, 1.3 * radius),
        background_electrons=rng.uniform(3500, 9000), cell_fraction=(dim, 4 * dim), dff_per_spike=rng.uniform(0.6, 1.3),
        rise_s=0.08, decay_s=rng.uniform(0.4, 1.2), rate_hz=(0.03, 1.0), modulation=rng.uniform(0, 1.5),
        glow=rng.uniform(0.02, 0.06), vignette=rng.uniform(0.2, 0.7), bleaching=rng.uniform(0, 0.1),
        motion_px=rng.uniform(0, 5), field_px=rng.uniform(0, 0.8), read_noise=rng.uniform(4, 12),
    )  # fmt: skip


def measure_movie(seed: int) -> pd.DataFrame:
    """Measures of all coordinates of one movie, from seeds and from random starts, with whether each is right."""
    rng = np.random.default_rng(seed)
    settings = draw_config(rng)
    simulation = simulate(settings, seed=seed)
    movie, shifts = motion.register(simulation.movie, config=motion.ONE_PHOTON)
    tables = []
    told = 3.3 * np.mean(settings.sigma_px) * rng.uniform(0.75, 1.35)  # nobody knows the diameter exactly
    for start, diameter_px in (("seeds", None), ("random", told)):
        config = one_photon.CoordinatesConfig(start=start, diameter_px=diameter_px)
        found = one_photon.detect(movie, config=config, valid=shifts.valid, bad_frames=shifts.bad_frames, seed=seed)
        near = 1.65 * np.mean(settings.sigma_px)
        pairs = metrics.match_points(found.footprints.centroids, simulation.footprints.centroids, max_distance_px=near).pairs
        right = np.isin(np.arange(len(found.footprints)), pairs[:, 0])
        tables.append(found.scores.assign(right=right, seed=seed, start=start))
    return pd.concat(tables)


def fit_logistic(values: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and bias of a logistic regression with a weak ridge, each feature speaking for a cell or not at all.

    All features but the last (the distance from the usual size) grow with what makes a cell: a weight of the other sign
    would say more of the simulator than of cells.
    """
    centre, scale = values.mean(axis=0), values.std(axis=0) + 1e-9
    scaled, sign = (values - centre) / scale, np.where(right, 1.0, -1.0)

    def loss(parameters: np.ndarray) -> float:
        score = scaled @ parameters[:-1] + parameters[-1]
        return float(np.logaddexp(0, -sign * score).sum() + 0.5 * (parameters[:-1] ** 2).sum())

    n = values.shape[1]
    bounds = [(0, None)] * (n - 1) + [(None, 0), (None, None)]
    found = optimize.minimize(loss, np.zeros(n + 1), bounds=bounds).x
    weights = found[:-1] / scale
    return weights, found[-1] - weights @ centre


def main() -> None:
    """Simulate, measure, fit, store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--movies", type=int, default=30)
    parser.add_argument("--seed", type=int, default=10_000, help="of the first movie")
    parser.add_argument("--measures", type=Path, help="keep the measures in this CSV file, and go on from it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(options.seed, options.seed + options.movies)
    known = options.measures is not None and options.measures.exists()
    tables = [pd.read_csv(options.measures)] if known else []
    for seed in seeds:
        if tables and (tables[0]["seed"] == seed).any():
            continue
        tables.append(measure_movie(seed))
        print(seed, len(tables[-1]), int(tables[-1]["right"].sum()), flush=True)
        if options.measures is not None:
            pd.concat(tables).to_csv(options.measures, index=False)
    measured = pd.concat(tables)
    weights, bias = fit_logistic(features(measured), measured["right"].to_numpy(bool))
    fitted = {
        "command": COMMAND, "movies": options.movies, "seed": options.seed, "coordinates": len(measured),
        "right": int(measured["right"].sum()), "weights": [round(float(w), 4) for w in weights],
        "bias": round(float(bias), 4),
    }  # fmt: skip
    FITTED.write_text(json.dumps(fitted, indent=1) + "\n", encoding="utf-8")
    print(fitted)


if __name__ == "__main__":
    main()
