"""A detection with a training history made by hand: coordinates that walk straight into cells, are dropped or are added."""

import numpy as np
import pandas as pd

from calcium_helpers.containers import Footprints, Traces
from calcium_helpers.results import Detection


def make_path(*, n_cells=3, n_steps=9, shape=(40, 50)):
    """Each cell gets a coordinate; one more is rejected at the end, one is dropped half way, one is added half way.

    Cells lie on a line through the field. Without cells there are no coordinates.
    """
    rng = np.random.default_rng(0)
    n = n_cells + 1 if n_cells else 0  # the last of them is rejected
    centres = np.column_stack([np.linspace(8, shape[0] - 9, n), np.linspace(8, shape[1] - 9, n)])
    y, x = np.ogrid[: shape[0], : shape[1]]
    images = np.array([np.hypot(y - v, x - u) < 4 for v, u in centres]).reshape(n, *shape)
    ends = np.concatenate([centres, centres[:2] if n_cells else centres])  # rows n and n + 1: dropped, added and merged
    starts = rng.uniform(0, shape, ends.shape)
    share = np.linspace(0, 1, n_steps)[:, None, None] if n_steps > 1 else np.zeros((n_steps, 1, 1))
    path = (starts + share * (ends - starts)).astype(np.float32)
    if n_cells:
        path[n_steps // 2 + 1 :, n] = np.nan
        path[: n_steps // 2 + 1, n + 1] = np.nan
    accepted = np.arange(n) < n_cells
    extras = {
        "path": path,
        "path_stage": ["start", *("coarse" if i < n_steps // 2 else "fine" for i in range(1, n_steps))][:n_steps],
        "path_ids": np.concatenate([np.arange(n), np.full(len(ends) - n, -1)]),
        "explained": np.linspace(0, 0.5, n_steps, dtype=np.float32),
        "diameter_px": 8.0,
    }
    scores = pd.DataFrame({"accepted": accepted, "confidence": 0.9 * accepted}, index=pd.RangeIndex(n, name="id"))
    funnel = pd.DataFrame(columns=["stage", "n", "why"])
    footprints = Footprints.from_images(images)
    return Detection(footprints, Traces(np.zeros((n, 20)), 10.0, "raw"), None, scores, funnel, extras)
