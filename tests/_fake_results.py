"""Results that look like those of a run, for tests of what is drawn and written from them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter

from calcium_helpers.containers import Events, Footprints, Movie, Shifts, Traces
from calcium_helpers.results import Results


def make_results(*, n_cells=60, shape=(256, 256), n_frames=1500, fs=30.0, seed=0, with_motion=True, with_truth=True):
    """Cells on a textured field, with spikes, traces, motion and the tables of a run; every fifth cell is rejected."""
    rng = np.random.default_rng(seed)
    footprints = _footprints(n_cells, shape, rng)
    spikes = rng.poisson(0.4 / fs, (n_cells, n_frames)) * rng.uniform(0.4, 1.2, (n_cells, 1))
    clean = lfilter([1], [1, -np.exp(-1 / (0.6 * fs))], spikes, axis=1) if n_frames else spikes
    dff = clean + rng.normal(0, 0.12, clean.shape)
    shifts = _shifts(shape, n_frames, rng) if with_motion else None
    accepted = np.arange(n_cells) % 5 != 4
    images = _images(footprints, shape, rng)
    values = {"raw": 100 * (1 + dff), "dff": dff, "denoised": clean, "spikes": spikes}
    traces = {kind: Traces(value, fs, kind) for kind, value in values.items()}
    return Results(
        footprints=footprints,
        raw=traces["raw"],
        neuropil=Traces(np.full_like(dff, 80), fs, "neuropil"),
        dff=traces["dff"],
        denoised=traces["denoised"],
        spikes=traces["spikes"],
        events=_events(spikes, fs),
        cells=_cells(footprints, accepted, rng),
        funnel=pd.DataFrame(
            {
                "stage": ["seeded", "merged", "too small", "low SNR", "kept"],
                "n": [2 * n_cells, n_cells // 2, n_cells // 4, n_cells - int(accepted.sum()), int(accepted.sum())],
                "why": ["local maxima", "same trace as a neighbour", "under 20 px", "peak SNR < 3", "passed every check"],
            }
        ),
        steps=pd.DataFrame({"step": ["motion", "detect"], "seconds": [3.21, 7.5], "note": ["piecewise", "2 iterations"]}),
        times_s=None,
        shifts=shifts,
        images=images,
        strip=_strip(shape, n_frames, fs, rng),
        parameters={"fs_hz": fs, "detector": "cnmf", "cnmf": {"diameter_px": 11.5, "iterations": 2, "merge": True}},
        summary=_summary(shape, n_frames, fs, accepted, with_motion, with_truth),
        history=("opened simulated.tif", "motion: piecewise", "detect: cnmf"),
    )


def _events(spikes, fs):
    """One event a frame with spikes, of rise .1 s and half-decay .4 s."""
    roi, frame = np.nonzero(spikes)
    onset, amplitude = frame / fs, spikes[roi, frame]
    table = {"roi": roi, "onset_s": onset, "peak_s": onset + 0.1, "offset_s": onset + 1.5, "amplitude": amplitude}
    table |= {"rise_s": 0.1 + 0 * onset, "half_decay_s": 0.4 + 0 * onset, "area": 0.6 * amplitude, "z": 10 * amplitude}
    return Events(pd.DataFrame(table))


def _strip(shape, n_frames, fs, rng):
    n = min(6, n_frames)
    if not n:
        return {}
    times = np.arange(n) * max(1, n_frames // 6) / fs
    names = ("raw", "corrected", "denoised")
    return {
        name: Movie(100 + rng.normal(0, 9 - 4 * i, (n, *shape)).astype(np.float32), fs, times_s=times)
        for i, name in enumerate(names)
    }


def _footprints(n_cells, shape, rng):
    centres = rng.uniform(0.04, 0.96, (n_cells, 2)) * shape
    radius = 0.28 * np.sqrt(np.prod(shape) / max(n_cells, 40))
    weights = sparse.lil_matrix((n_cells, int(np.prod(shape))), dtype=np.float32)
    for row, (cy, cx) in enumerate(centres):
        y, x = (
            np.arange(max(0, int(c - 2 * radius)), min(n, int(c + 2 * radius))) for c, n in zip((cy, cx), shape, strict=True)
        )
        bowl = np.maximum(0, 1 - (np.hypot((y[:, None] - cy) / 1.1, x - cx) / radius) ** 2)
        weights[row, (y[:, None] * shape[1] + x).ravel()] = bowl.ravel()
    return Footprints(weights.tocsr(), shape)


def _images(footprints, shape, rng):
    bright = footprints.weights.max(axis=0).toarray().reshape(shape) if len(footprints) else np.zeros(shape)
    mean = 80 + 60 * gaussian_filter(rng.random(shape), 8) + 30 * bright + rng.normal(0, 1.5, shape)
    return {
        "mean_raw": gaussian_filter(mean, 1.5),
        "mean": mean,
        "max": mean + 60 * bright + rng.normal(0, 5, shape),
        "correlation": np.clip(0.1 + 0.6 * bright + rng.normal(0, 0.03, shape), 0, 1),
        "pnr": 3 + 8 * bright + rng.normal(0, 0.4, shape),
    }


def _shifts(shape, n_frames, rng):
    walk = gaussian_filter(rng.normal(0, 1, (n_frames, 2)), (12, 0)) * 12
    blocks = walk[:, None, None] + rng.normal(0, 0.2, (n_frames, 3, 3, 2))
    bad = np.flatnonzero(np.arange(n_frames) % 400 == 399)
    correlation = np.clip(0.9 + rng.normal(0, 0.01, n_frames), 0, 1)
    correlation[bad] = 0.4
    return Shifts(blocks, np.zeros(shape), (0, shape[0], 0, shape[1]), correlation, bad, 0.75)


def _cells(footprints, accepted, rng):
    y, x = footprints.centroids.T
    return pd.DataFrame(
        {
            "id": footprints.ids,
            "y_px": y,
            "x_px": x,
            "accepted": accepted,
            "reason": np.where(accepted, "", "peak SNR < 3"),
            "area_px": footprints.area_px,
            "snr": rng.gamma(6, 1.5, len(footprints)),
        }
    )


def _summary(shape, n_frames, fs, accepted, with_motion, with_truth):
    summary = {
        "source": "simulated.tif",
        "fs_hz": fs,
        "n_frames": n_frames,
        "duration_s": n_frames / fs,
        "height_px": shape[0],
        "width_px": shape[1],
        "pixel_um": 1.25,
        "modality": "2p",
        "diameter_px": 11.5,
        "n_components": len(accepted),
        "n_accepted": int(accepted.sum()),
        "n_rejected": int((~accepted).sum()),
        "motion": None,
        "median_snr": np.float32(8.643),
        "median_noise": 0.1173,
        "mean_rate": 23.71,
        "warnings": ["3 frames could not be aligned and were left out of detection."],
        "versions": {"calcium_helpers": "0.1.0", "numpy": "2.4.6"},
        "seconds_total": 10.71,
    }
    if with_motion:
        summary["motion"] = {
            "mode": "piecewise",
            "max_shift_px": 7.31,
            "rms_shift_px": 2.04,
            "n_bad_frames": 3,
            "bidiphase_px": 0.75,
            "template_correlation_before": 0.612,
            "template_correlation_after": 0.897,
            "crispness_before": 41.2,
            "crispness_after": 78.9,
            "residual_px": 0.083,
        }
    if with_truth:
        summary["truth"] = {
            "f1": 0.9231,
            "precision": 0.957,
            "recall": 0.892,
            "n_truth": 65,
            "trace_correlation_all": 0.871,
            "trace_correlation_matched": 0.954,
            "spike_correlation": 0.702,
            "rigid_rms_px": 0.041,
            "field_rms_px": 0.153,
        }
    return summary
