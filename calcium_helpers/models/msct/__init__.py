"""Networks for miniature synaptic calcium transients: what they see, what they learn from, how they look at a movie.

What needs torch is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "config": ("PUConfig",),
    "events": ("Thresholds",),
    "trained": ("TransientNet", "find_transients", "load_transient_net", "save_thresholds", "score_thresholds"),
    "training": ("Trained", "train"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = [
    "PUConfig", "Thresholds", "Trained", "TransientNet", "find_transients", "load_transient_net", "save_thresholds",
    "score_thresholds", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
