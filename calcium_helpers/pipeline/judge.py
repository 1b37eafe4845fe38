"""Which of the components that a run found would be cells with other thresholds: no search, no fit, an answer at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from calcium_helpers.pipeline.config import PipelineConfig
from calcium_helpers.pipeline.detectors import DETECTORS, field_of
from calcium_helpers.results import Results

QUALITIES = ("snr", "confidence")
"""What has thresholds where the detector has none of its own, such as regions of the user."""


def find_thresholds(results: Results) -> dict[str, float]:
    """Return the least qualities of a cell that the run asked for, such as ``{"min_snr": 4.5}``.

    Where cells were not found by one of our detectors, they are the least that a component has: all pass.
    """
    cells, settings = results.cells, _find_settings(results)
    if settings is not None:
        return {name: float(value) for name, value in vars(settings).items() if name.startswith("min_")}
    found = {f"min_{name}": np.asarray(cells[name], dtype=float) for name in QUALITIES if name in cells and len(cells)}
    return {name: float(np.nanmin(values)) for name, values in found.items() if np.isfinite(values).any()}


def judge_again(results: Results, **thresholds: float) -> Results:
    """Decide which components are cells, with other thresholds.

    Parameters
    ----------
    results : Results
        Of a run, without decisions of people.
    **thresholds : float
        Some of those that `find_thresholds` names; the others stay as they are.

    Returns
    -------
    Results
        With other ``cells`` and another last row of the ``funnel``; the summary stays that of the run.

    Raises
    ------
    ValueError
        For a threshold that these results do not have.
    """
    known = find_thresholds(results)
    if unknown := sorted(set(thresholds) - set(known)):
        raise ValueError(f"thresholds must be among {', '.join(known) or 'none'} in these results, got {', '.join(unknown)}")
    cells, settings = results.cells.copy(), _find_settings(results)
    if settings is not None:
        judge = DETECTORS[results.parameters["detector"]].judge
        reason = judge(cells, replace(settings, **thresholds), results.summary.get("diameter_px"))
    else:
        reason = np.full(len(cells), "", dtype=object)
        for key, least in (known | thresholds).items():
            reason[cells[key[4:]].to_numpy() < least] = f"{key[4:]} below {least:g}"
    cells["accepted"], cells["reason"] = reason == "", reason.astype(str)
    why = ", ".join(f"{n} {text}" for text, n in pd.Series(reason[reason != ""]).value_counts().items())
    funnel = results.funnel
    if len(funnel):
        last = {"n": int((reason == "").sum()), "why": why or "all passed the quality check"}
        funnel = pd.DataFrame([*funnel.to_dict("records")[:-1], {**funnel.iloc[-1], **last}], columns=funnel.columns)
    return results._replace(cells=cells, funnel=funnel)


def _find_settings(results: Results) -> Any:
    """Return the settings of the detector that found the cells; None where it was none of ours, or its scores are not there."""
    name = results.parameters.get("detector")
    if name not in DETECTORS or not isinstance(stored := results.parameters.get(field_of(name)), Mapping):
        return None
    default = getattr(PipelineConfig.for_modality("2p"), field_of(name))
    settings = replace(default, **{key: value for key, value in stored.items() if hasattr(default, key)})
    return settings if all(key[4:] in results.cells for key in vars(settings) if key.startswith("min_")) else None
