"""Traces at the full rate, cleaned by the network's trace head."""

from __future__ import annotations

import numpy as np
import torch

from calcium_helpers.containers import Traces
from calcium_helpers.models.lstm_ista.network import LSTMISTA
from calcium_helpers.noise import estimate_noise
from calcium_helpers.traces import estimate_baseline

WINDOW_S = 60.0  # of the running median that a trace rests on


def clean_traces(model: LSTMISTA, traces: Traces, *, decay_s: float, device: str = "cpu") -> Traces:
    """Clean demixed traces: calcium above rest, in the same counts, never negative.

    Parameters
    ----------
    model : LSTMISTA
        With the trace head.
    traces : Traces
        N traces of T frames, counts, with white noise.
    decay_s : float
        About how long a transient lasts, s.
    device : str

    Returns
    -------
    Traces
        Kind "denoised", counts above rest.
    """
    noise = np.maximum(estimate_noise(traces), 1e-9)
    rest = estimate_baseline(traces, window_s=max(WINDOW_S, 40 * decay_s), percentile=50.0)
    scaled = torch.from_numpy(((traces.values - rest) / noise[:, None]).astype(np.float32))
    with torch.no_grad():
        parts = [model.trace_head(part.to(device), torch.ones(len(part), device=device)).cpu() for part in scaled.split(256)]
    clean = torch.cat(parts).numpy() if parts else np.zeros_like(traces.values)
    return Traces(clean * noise[:, None], traces.fs, "denoised", traces.ids)
