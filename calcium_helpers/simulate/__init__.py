"""Seeded movies with known truth: shifts, footprints, calcium and spikes."""

from calcium_helpers.simulate.hybrid import HybridConfig, hybrid
from calcium_helpers.simulate.one_photon import OnePhotonConfig, one_photon
from calcium_helpers.simulate.render import OFFSET
from calcium_helpers.simulate.synapses import SynapseConfig, SynapseSimulation, synaptic_events
from calcium_helpers.simulate.two_photon import TwoPhotonConfig, two_photon

__all__ = [
    "OFFSET",
    "HybridConfig",
    "OnePhotonConfig",
    "SynapseConfig",
    "SynapseSimulation",
    "TwoPhotonConfig",
    "hybrid",
    "one_photon",
    "synaptic_events",
    "two_photon",
]
