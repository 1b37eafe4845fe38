"""One-photon movies with truth: a bright glowing background, dim blurred cells, vessels, vignette, motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from calcium_helpers.results import Simulation
from calcium_helpers.simulate import activity, render, shapes
from calcium_helpers.simulate.config import RecordingConfig


@dataclass(frozen=True, kw_only=True)
class OnePhotonConfig(RecordingConfig):
    """What a simulated one-photon recording looks like; the defaults are the configuration ``anchor_1p``."""

    n_frames: int = 1500
    height: int = 256
    width: int = 256
    fs: float = 20.0
    n_cells: int = 40
    min_distance_px: float = 13.0
    sigma_px: tuple[float, float] = (3.0, 4.4)
    """Range of the standard deviations of a cell, Gaussian in shape, px."""
    background_electrons: float = 6000.0
    """Brightness at the brightest place, electrons a pixel and frame."""
    cell_fraction: tuple[float, float] = (0.02, 0.08)
    """Range of a resting cell's peak, as a fraction of the background."""
    dff_per_spike: float = 0.95
    rise_s: float = 0.08
    decay_s: float = 0.8
    rate_hz: tuple[float, float] = (0.1, 1.0)
    glow: float = 0.04
    """How far the six fluctuating components of the background together take it up or down (two sds), relative."""
    vignette: float = 0.6
    """Fraction of brightness lost in the corners."""
    field_px: float = 0.5
    read_noise: float = 8.0
    gain: float = 1.0


def one_photon(config: OnePhotonConfig | None = None, *, seed: int = 0, progress: bool = False) -> Simulation:
    """Simulate a one-photon movie and everything that is true of it.

    Parameters
    ----------
    config : OnePhotonConfig, optional
        What the recording looks like.
    seed : int
        Equal seeds give equal movies, for any number of threads.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Simulation
        A uint16 movie, footprints (the mask is where the cell is above 0.2 of its peak), noiseless dF/F of the cell's own
        light, spike counts, and the shifts that undo the motion.

    Raises
    ------
    ValueError
        When the cells do not fit into the frame.
    """
    config = config or OnePhotonConfig()
    canvas = render.canvas_shape(config)
    streams = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.default_rng(streams[0])
    profiles, masks = _draw_cells(rng, config, canvas)
    spikes, calcium = activity.draw_activity(rng, config, config.n_cells)
    baseline = rng.uniform(*config.cell_fraction, config.n_cells) * config.background_electrons
    static, components = _draw_background(rng, config, canvas)
    courses = np.column_stack([shapes.smooth_noise(rng, (config.n_frames,), 0.5 * config.fs) for _ in range(6)])
    courses = (config.glow / 2 / np.sqrt(6) * courses).astype(np.float32)
    scene = render.Scene(profiles, masks, baseline, static, components, courses)
    note = f"simulated one-photon movie, seed {seed}"
    return render.record(scene, config, spikes, calcium, rng=rng, seed=streams[1], note=note, progress=progress)


def _draw_cells(
    rng: np.random.Generator, config: OnePhotonConfig, canvas: tuple[int, int]
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Draw profiles of peak 1 on the canvas (N, canvas) and the truth inside the frame (N, H*W)."""
    border = 2 * config.sigma_px[1]
    centres = shapes.place_cells(
        rng, config.n_cells, (config.height, config.width), min_distance_px=config.min_distance_px, border_px=border
    )
    y, x = np.ogrid[: canvas[0], : canvas[1]]
    profiles = [sparse.csr_matrix((0, canvas[0] * canvas[1]))]
    masks = [sparse.csr_matrix((0, config.height * config.width))]
    for centre in centres + render.MARGIN_PX:
        sigma, angle = rng.uniform(*config.sigma_px, 2), rng.uniform(0, np.pi)
        along = (x - centre[1]) * np.cos(angle) + (y - centre[0]) * np.sin(angle)
        across = -(x - centre[1]) * np.sin(angle) + (y - centre[0]) * np.cos(angle)
        image = np.exp(-0.5 * ((along / sigma[0]) ** 2 + (across / sigma[1]) ** 2))
        image[image < 1e-3] = 0
        profiles.append(sparse.csr_matrix(image.reshape(1, -1)))
        masks.append(sparse.csr_matrix(render.crop_margin(np.where(image > 0.2, image, 0)).reshape(1, -1)))
    return sparse.vstack(profiles).tocsr(), sparse.vstack(masks).tocsr()


def _draw_background(
    rng: np.random.Generator, config: OnePhotonConfig, canvas: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the resting background (canvas) and six smooth fluctuating components (6, canvas), relative to it."""
    y, x = np.mgrid[-1 : 1 : canvas[0] * 1j, -1 : 1 : canvas[1] * 1j]
    static = config.background_electrons * (1 - config.vignette * (y**2 + x**2) / 2)
    static *= 1 + 0.05 * shapes.smooth_noise(rng, canvas, 12) + 0.01 * shapes.smooth_noise(rng, canvas, 1.5)
    static *= shapes.vessels(rng, canvas, n=5, width_px=3, depth=0.35)
    components = np.stack([shapes.smooth_noise(rng, canvas, 40) for _ in range(6)])
    return static.astype(np.float32), components.astype(np.float32)
