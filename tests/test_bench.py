"""What benchmarks of detectors share: programs run once a movie, traces scored by name, halves of a field."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calcium_helpers import simulate
from calcium_helpers.containers import Footprints, Traces
from calcium_helpers.results import Detection

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from anchors import ANCHOR_2P, CROWDED_2P, QUARTER_2P
from bench import Bench, Field, run_detector, tabulate
from extraction import PEER
from extraction_real import Neurofinder, score_neurofinder


def small(seed):
    return simulate.two_photon(replace(QUARTER_2P, n_frames=200, height=64, width=64, n_cells=4, motion_px=0.0), seed=seed)


def shared(config, seed):
    """Largest share of each cell's mask that lies in one other cell's."""
    masks = simulate.two_photon(replace(config, n_frames=2), seed=seed).footprints.weights.astype(bool).astype(float)
    common = (masks @ masks.T).toarray()
    area = np.diag(common).copy()
    np.fill_diagonal(common, 0)
    return (common / area[:, None]).max(axis=1)


def test_a_third_of_the_cells_of_the_crowded_field_share_their_place():
    crowded = np.mean([(shared(CROWDED_2P, seed) >= 0.3).mean() for seed in range(200, 204)])
    assert 0.27 < crowded < 0.40
    assert (shared(QUARTER_2P, 200) < 0.3).all()
    density, usual = (c.n_cells / c.height / c.width for c in (QUARTER_2P, ANCHOR_2P))
    assert density == pytest.approx(usual, rel=0.02)


def test_what_was_measured_is_read_and_suite2p_sees_the_first_movies(tmp_path):
    seen = []

    def program(field):
        seen.append((field.column, field.seed))
        return {"F1, IoU 0.5": float(field.seed)}

    bench = Bench("2p", {"small": small}, {"ours": program, PEER: program, "absent": lambda field: None}, [1, 3], 1, tmp_path)
    for _ in range(2):
        found = bench.rows(("ours", PEER, "absent"), ("small",))
        assert seen == [("small", 1), ("small", 1), ("small", 3)]
        assert {name: len(scores) for (_, name), scores in found.items()} == {"ours": 2, PEER: 1}
        assert [row["F1, IoU 0.5"] for row in tabulate(found, ("F1, IoU 0.5",))] == ["2.00 ± 1.00", "1.00 ± 0.00"]
    assert json.loads((tmp_path / "small, 3, ours.json").read_text()) == {"F1, IoU 0.5": 3.0}
    (tmp_path / f"small, 3, {PEER}.json").write_text('{"F1, IoU 0.5": 0.5}')
    assert [scores["F1, IoU 0.5"] for scores in bench.rows((PEER,), ("small",))["small", PEER]] == [1.0, 0.5]


def test_traces_and_clean_traces_of_the_accepted_are_scored():
    field = Field("2p", "small", 5, small)
    truth = field.truth
    firing = np.flatnonzero(truth.spikes.values.any(axis=1))
    assert len(firing) >= 2

    def detect(movie, *, valid, bad_frames):
        """All true cells but the first that fires; the clean traces are the truth, the others the truth under noise."""
        rng = np.random.default_rng(0)
        noisy = 100 * truth.calcium.values + rng.normal(0, 30, truth.calcium.values.shape)
        accepted = np.arange(len(truth.footprints)) != firing[0]
        scores = pd.DataFrame({"accepted": accepted, "confidence": 0.9}, index=truth.footprints.ids)
        clean = truth.calcium.replace(values=100 * truth.calcium.values)
        traces = Traces(noisy, movie.fs, "raw")
        return Detection(truth.footprints, traces, None, scores, pd.DataFrame(), {"denoised_traces": clean})

    scores = run_detector(detect, field)
    assert scores["recall"] == pytest.approx(1 - 1 / len(truth.footprints))
    assert scores["clean, matched"] == pytest.approx(1)
    assert scores["clean, all"] == pytest.approx(1 - 1 / len(firing))
    assert 0 < scores["traces, matched"] < 0.99
    assert scores["is a cell"] == [True] * len(truth.footprints)


def test_a_half_is_scored_by_what_lies_in_it():
    images = np.zeros((6, 30, 60))
    for index in range(6):
        images[index, 10:16, 2 + 10 * index : 8 + 10 * index] = 1
    truth = Footprints.from_images(images)
    active = np.array([True, True, False, True, True, True])
    field = Neurofinder(
        {"left cells": [truth.select(np.arange(6) < 3)], "none": [truth.select(np.zeros(6, bool))]}, truth, active
    )
    assert [row["F"] for row in score_neurofinder(field, "left")] == ["1.00", "0.00"]
    assert [row["F"] for row in score_neurofinder(field, "right")] == ["0.00", "0.00"]
    (whole, _) = score_neurofinder(field)
    assert whole == {"program": "left cells", "detections": "3", "recall": "0.40", "precision": "1.00", "F": "0.57"}
