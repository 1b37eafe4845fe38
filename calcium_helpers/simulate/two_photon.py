"""Two-photon movies with truth: few photons, sharp cells, neuropil, motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from calcium_helpers.results import Simulation
from calcium_helpers.simulate import activity, render, shapes
from calcium_helpers.simulate.config import RecordingConfig


@dataclass(frozen=True, kw_only=True)
class TwoPhotonConfig(RecordingConfig):
    """What a simulated two-photon recording looks like; the defaults are the configuration ``anchor_2p``."""

    n_frames: int = 2000
    height: int = 512
    width: int = 512
    fs: float = 30.0
    n_cells: int = 150
    n_dendrites: int = 0
    """Pieces of dendrite, which count as cells too."""
    filled: float = 0.0
    """Fraction of somata without a dim nucleus."""
    min_distance_px: float = 12.0
    radius_px: tuple[float, float] = (4.8, 8.0)
    """Range of the radii of a soma, px."""
    baseline_photons: float = 1.8
    """Median brightness of a resting cell, photons a pixel and frame (log-sd 0.35)."""
    dff_per_spike: float = 0.37
    rise_s: float = 0.05
    decay_s: float = 0.6
    rate_hz: tuple[float, float] = (0.1, 1.5)
    tissue_photons: float = 1.3
    """Mean brightness of the tissue, photons a pixel and frame."""
    neuropil: float = 0.1
    """Relative sd of the tissue's brightness that 12 fluctuating neuropil components make together."""
    field_px: float = 1.2
    bidiphase_px: int = 0
    """Columns by which every second line is displaced (bidirectional scanning), px."""
    read_noise: float = 1.0
    gain: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_dendrites < 0:
            raise ValueError(f"n_dendrites must be 0 or more, got {self.n_dendrites}")


def two_photon(config: TwoPhotonConfig | None = None, *, seed: int = 0, progress: bool = False) -> Simulation:
    """Simulate a two-photon movie and everything that is true of it.

    Parameters
    ----------
    config : TwoPhotonConfig, optional
        What the recording looks like.
    seed : int
        Equal seeds give equal movies, for any number of threads.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Simulation
        A uint16 movie, footprints (the mask is the cell's ellipse), noiseless dF/F, spike counts, and the shifts that undo
        the motion.

    Raises
    ------
    ValueError
        When the cells do not fit into the frame.
    """
    config = config or TwoPhotonConfig()
    canvas = render.canvas_shape(config)
    streams = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.default_rng(streams[0])
    profiles, masks = _draw_cells(rng, config, canvas)
    n = profiles.shape[0]
    spikes, calcium = activity.draw_activity(rng, config, n)
    baseline = activity.draw_lognormal(rng, n, median=config.baseline_photons, log_sd=0.35)
    scene = render.Scene(profiles, masks, baseline, *_draw_tissue(rng, config, canvas))
    note = f"simulated two-photon movie, seed {seed}"
    simulation = render.record(scene, config, spikes, calcium, rng=rng, seed=streams[1], note=note, progress=progress)
    if config.bidiphase_px:
        frames = simulation.movie.frames()
        frames[:, 1::2] = np.roll(frames[:, 1::2], config.bidiphase_px, axis=2)
    return simulation


def _draw_cells(
    rng: np.random.Generator, config: TwoPhotonConfig, canvas: tuple[int, int]
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Draw profiles on the canvas (N, canvas) and the truth inside the frame (N, H*W)."""
    n = config.n_cells + config.n_dendrites
    centres = shapes.place_cells(
        rng, n, (config.height, config.width), min_distance_px=config.min_distance_px, border_px=config.radius_px[1] + 2
    )
    profiles, masks = [], []
    half = 24
    for index, centre in enumerate(centres + render.MARGIN_PX):
        corner = np.maximum(np.rint(centre).astype(int) - half, 0)
        size = tuple(np.minimum(corner + 2 * half + 1, canvas) - corner)
        if index < config.n_cells:
            nucleus = 0.0 if rng.random() < config.filled else 0.45
            profile, inside = shapes.soma(
                rng, centre - corner, size, radius_px=config.radius_px, nucleus_dim=nucleus, texture=0.10
            )
        else:
            profile, inside = shapes.dendrite(rng, centre - corner, size)
        image = np.zeros(canvas)
        window = np.s_[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
        image[window] = profile
        profiles.append(sparse.csr_matrix(image.reshape(1, -1)))
        image[window] = profile * inside
        masks.append(sparse.csr_matrix(render.crop_margin(image).reshape(1, -1)))
    if not n:
        return sparse.csr_matrix((0, canvas[0] * canvas[1])), sparse.csr_matrix((0, config.height * config.width))
    return sparse.vstack(profiles).tocsr(), sparse.vstack(masks).tocsr()


def _draw_tissue(
    rng: np.random.Generator, config: TwoPhotonConfig, canvas: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the resting tissue (canvas), neuropil components (12, canvas) and their time courses (T, 12)."""
    texture = 1 + 0.25 * shapes.smooth_noise(rng, canvas, 1.5) + 0.2 * shapes.smooth_noise(rng, canvas, 15)
    tissue = config.tissue_photons * np.clip(texture, 0.2, None)
    tissue *= shapes.vessels(rng, canvas, n=5, width_px=5, depth=0.7)
    components = np.stack([shapes.smooth_noise(rng, canvas, 40) for _ in range(12)])
    courses = np.column_stack([shapes.smooth_noise(rng, (config.n_frames,), 0.3 * config.fs) for _ in range(12)])
    courses *= config.neuropil / np.sqrt(12)
    return tissue.astype(np.float32), components.astype(np.float32), courses.astype(np.float32)
