"""Folders between suite2p and this package: what suite2p writes is read as it is, what we write suite2p's own loaders open.

Of a simulated movie, in both directions; prints what was compared, and ends with an error where anything differs. Needs
SUITE2P_PYTHON (see ``peers/__init__.py``).
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from anchors import ANCHOR_2P
from peers import open_in_suite2p
from scipy import sparse

from calcium_helpers import load_suite2p, pipeline, save_suite2p, simulate
from calcium_helpers.pipeline import PipelineConfig
from calcium_helpers.results import Results
from calcium_helpers.simulate import OFFSET

CONFIG = dataclasses.replace(ANCHOR_2P, n_frames=600, height=160, width=192, n_cells=30)


def compare(results: Results, opened: dict[str, np.ndarray], what: str) -> None:
    """Raise where results and what suite2p's loaders returned are not the same."""
    height, width = results.footprints.shape
    y0, y1, x0, x1 = results.shifts.valid
    start = opened["start"].astype(int)
    pixels = (opened["ypix"] * width + opened["xpix"]).astype(int)
    weights = sparse.csr_matrix((opened["lam"], pixels, start), shape=(len(start) - 1, height * width))
    images = {name: image.astype(np.float32) for name, image in results.images.items()}
    inside = np.s_[y0:y1, x0:x1]
    same = {
        "size": (opened["size"], (height, width)),
        "rate": (opened["fs"], results.raw.fs),
        "F": (opened["F"], results.raw.values),
        "Fneu": (opened["Fneu"], results.neuropil.values),
        "spks": (opened["spks"], results.spikes.values),
        "cells": (opened["iscell"][:, 0], results.cells["accepted"]),
        "pixels": ((weights != results.footprints.weights).nnz, 0),
        "mean image": (opened["meanImg"], images["mean"]),
        "max image": (opened["max_proj"], images["max"][inside]),
        "correlation image": (opened["Vcorr"].astype(np.float32), images["correlation"][inside]),
        "shifts": (np.stack([opened["yoff"], opened["xoff"]], axis=1).astype(np.float32), -results.shifts.rigid_yx),
        "all planes together": (opened["combined_F"], results.raw.values),
    }
    for name, (theirs, ours) in same.items():
        np.testing.assert_array_equal(theirs, ours, err_msg=f"{what}: {name}")
    print(f"{what}: {len(results.footprints)} components, equal: {', '.join(same)}")


def main() -> None:
    """Compare in both directions."""
    if not os.environ.get("SUITE2P_PYTHON"):
        sys.exit("set SUITE2P_PYTHON to the interpreter of an environment that has suite2p")
    truth = simulate.two_photon(CONFIG, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        theirs = Path(folder, "theirs")
        opened = open_in_suite2p(theirs, movie=truth.movie.frames(), fs=CONFIG.fs)
        compare(load_suite2p(theirs), opened, "written by suite2p, read here")

        results = pipeline.run(truth.movie, PipelineConfig.for_modality("2p", offset=OFFSET))
        save_suite2p(results, Path(folder, "ours", "plane0"))
        opened = open_in_suite2p(Path(folder, "ours"))
        compare(results, opened, "written here, opened by suite2p")
        np.testing.assert_array_equal(opened["ids"], results.footprints.ids)
        for name in ("npix", "radius", "aspect_ratio", "compact"):
            error = np.abs(opened[f"stated_{name}"] / opened[f"measured_{name}"] - 1)
            print(f"  {name}: {100 * np.median(error):.1f} % from what suite2p measures of the same pixels")
            if np.median(error) > 0.05:
                sys.exit(f"{name} is not suite2p's")
        compare(load_suite2p(Path(folder, "ours")), opened, "written here, read here")


if __name__ == "__main__":
    main()
