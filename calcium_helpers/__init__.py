"""Deep-learning analysis of calcium imaging: from a raw movie to cells, traces, spikes and a report.

The names below are loaded on first use, so that importing the package stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "containers": ("Movie", "Shifts", "Footprints", "Traces", "Events"),
    "results": ("Simulation", "Detection", "Results"),
    "io": ("load_movie", "save_movie", "save_results", "load_results", "save_nwb", "save_suite2p"),
    "manifest": ("fetch", "load"),
    "colab": ("own_file",),
    "simulate": ("two_photon", "one_photon", "hybrid"),
    "motion": ("register", "estimate_shifts", "apply_shifts"),
    "traces": ("extract_traces", "estimate_dff"),
    "metrics": ("match_footprints",),
    "background": ("remove_background",),
    "sessions": ("register_sessions",),
    "pipeline": ("run", "PipelineConfig", "Given", "load_suite2p", "load_caiman"),
    "report": ("write_report", "write_tables"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = ["__version__", *_HOME_OF]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'calcium_helpers' has no attribute {name!r}")
    return getattr(import_module(f"calcium_helpers.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
