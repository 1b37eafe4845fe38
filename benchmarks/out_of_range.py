"""Movies of the same simulators outside what the anchors show: frozen before anything was scored on them, never retuned.

What is trained or tuned on the anchors is judged here as well. Each value below lies outside the anchor's, or its range,
and stays within what laboratories record; where it stands says why it was chosen.
"""

from __future__ import annotations

from calcium_helpers.results import Simulation
from calcium_helpers.simulate import OnePhotonConfig, TwoPhotonConfig, one_photon, two_photon

OUT_OF_RANGE_2P = TwoPhotonConfig(
    n_frames=1500, height=256, width=256,
    fs=15.0,  # a plane of a volume, or a slow resonant scan: half the anchor's 30 Hz
    rise_s=0.15, decay_s=1.5, dff_per_spike=0.3,  # about three times slower: GCaMP6s in trains of spikes
    n_cells=100, min_distance_px=7.0,  # 2.7 times as dense; neighbours touch
    radius_px=(3.0, 4.6),  # a wider field at the same number of pixels: all cells below the anchor's 4.8-8 px
    n_dendrites=15,  # the anchor has no elongated cells
    filled=0.5,  # half of the cells express in the nucleus as well: discs, not rings
    baseline_photons=2.5, tissue_photons=3.3,  # more light, but a contrast of 0.75 against 1.4
    neuropil=0.2,  # twice as deep
    rate_hz=(0.05, 1.0), modulation=0.8,  # fires more rarely, and less in bouts
    bleaching=0.15, motion_px=6.0, field_px=2.0,  # a restless animal under more light
    read_noise=1.5, gain=12.0,  # a noisier detector on another scale
)  # fmt: skip
OUT_OF_RANGE_1P = OnePhotonConfig(
    n_frames=1500, height=256, width=256,
    fs=10.0,  # half the anchor's 20 Hz, the usual rate of long sessions
    rise_s=0.2, decay_s=1.8, dff_per_spike=0.5,  # more than twice as slow, and half as high
    n_cells=50, sigma_px=(4.8, 7.0),  # cells out of focus: all wider than the anchor's 3-4.4 px
    min_distance_px=14.0,  # 2.4 mean sds apart, against 3.5: they overlap
    background_electrons=2500.0,  # less light
    cell_fraction=(0.015, 0.06),  # dimmer cells
    rate_hz=(0.05, 0.5), modulation=0.8,  # fires more rarely, and less in bouts
    glow=0.08,  # twice as deep
    vignette=0.85,  # a lens with dark corners
    bleaching=0.15, motion_px=7.0, field_px=1.0,  # a restless animal under more light
    read_noise=16.0, gain=0.5,  # a noisier camera on another scale
)  # fmt: skip


def out_of_range_2p(seed: int) -> Simulation:
    """256 x 256 x 1500 at 15 Hz: small, dense, dim, partly filled somata and dendrites, slow, deep neuropil. Frozen."""
    return two_photon(OUT_OF_RANGE_2P, seed=seed)


def out_of_range_1p(seed: int) -> Simulation:
    """256 x 256 x 1500 at 10 Hz: wide cells that overlap, little light, slow, deep glow, dark corners. Frozen."""
    return one_photon(OUT_OF_RANGE_1P, seed=seed)
