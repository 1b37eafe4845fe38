"""From a movie and footprints to dF/F: extraction, neuropil, baseline, noise."""

from calcium_helpers.noise import estimate_noise, estimate_snr
from calcium_helpers.traces.dff import estimate_baseline, estimate_dff
from calcium_helpers.traces.extract import Extraction, extract_traces, extract_with_neuropil
from calcium_helpers.traces.neuropil import neuropil_footprints, subtract_neuropil
from calcium_helpers.traces.unmix import unmix

__all__ = [
    "Extraction",
    "estimate_baseline",
    "estimate_dff",
    "estimate_noise",
    "estimate_snr",
    "extract_traces",
    "extract_with_neuropil",
    "neuropil_footprints",
    "subtract_neuropil",
    "unmix",
]
