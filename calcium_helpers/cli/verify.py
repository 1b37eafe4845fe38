"""``calcium-helpers verify``: files against their hashes, trained networks against what they reached when trained."""

from __future__ import annotations

import argparse
from pkgutil import resolve_name
from typing import NamedTuple


class Check(NamedTuple):
    """How a network is measured again.

    ``measure`` is "module:function" in ``calcium_helpers.models``, called with the entry's ``seed`` and with its parameter of
    the name ``size``; ``expected`` names the parameter that holds what it gave after the training.
    """

    measure: str
    size: str
    expected: str
    what: str
    tolerance: float = 0.01


CHECKS = {
    "spike_net": Check("spike_inference:measure_spike_net", "sweeps", "correlation", "correlation with simulated spikes"),
    "spike_gan": Check("spike_gan.generate:measure_gan", "traces", "rise", "mean generated rise of dF/F"),
    "msct_unet": Check("msct.simulated:measure_msct_unet", "movies", "f1", "F1 of transients in simulated movies", 0.02),
    "msct_stardist": Check(
        "msct.simulated:measure_msct_stardist", "movies", "f1", "F1 of transients in simulated movies", 0.02
    ),
    "lstm_ista": Check("lstm_ista:measure_lstm_ista", "fields", "f1", "F1 of cells in simulated fields", 0.02),
}
"""One for each entry of kind "weights" of the manifest."""


def run_verify(options: argparse.Namespace) -> int:
    """Compare files with their hashes, and measure networks that are intact; 2 when one differs."""
    from calcium_helpers import manifest

    table = manifest.verify(options.names or None)
    print(table.to_string(index=False))
    failed = bool((table["status"] == "mismatch").any())
    whole = table["status"].eq("ok").groupby(table["name"]).all()
    for entry in manifest.entries():
        # Weights with the right hash may still be read wrongly, by other versions of what reads them.
        if entry.kind == "weights" and whole.get(entry.name, False):
            check = CHECKS[entry.name]
            measure = resolve_name(f"calcium_helpers.models.{check.measure}")
            found = measure(**{check.size: entry.parameters[check.size]}, seed=entry.seed)
            expected = entry.parameters[check.expected]
            print(f"{entry.name}: {check.what} {found:.3f}, {expected:.3f} when it was trained")
            failed |= not abs(found - expected) <= check.tolerance
    return 2 if failed else 0
