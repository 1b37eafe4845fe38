"""From a scene that glows to a recorded movie: motion, photons, electrons."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy import sparse
from tqdm import tqdm

from calcium_helpers.containers import Footprints, Movie, Shifts, Traces
from calcium_helpers.results import Simulation
from calcium_helpers.simulate.config import RecordingConfig
from calcium_helpers.simulate.motion import draw_field, draw_rigid_motion, invert_displacement
from calcium_helpers.warp import warp_grid

OFFSET = 100  # counts without light
MARGIN_PX = 12  # the scene is drawn larger than the frame by this much, so that motion brings in tissue, not an edge


def draw_motion(rng: np.random.Generator, n_frames: int, fs: float, *, motion_px: float, field_px: float) -> np.ndarray:
    """Draw displacements (T, 16, 16, 2): drift to half of ``motion_px``, bursts beyond it, a field up to ``field_px``."""
    rigid = draw_rigid_motion(rng, n_frames, fs, drift_px=motion_px / 2, burst_px=motion_px / 2)
    return rigid[:, None, None] + draw_field(rng, n_frames, fs, field_px=field_px)


def render_movie(
    scene: Callable[[int], np.ndarray],
    displacement: np.ndarray,
    shape: tuple[int, int],
    *,
    seed: np.random.SeedSequence,
    read_noise: float,
    gain: float,
    progress: bool,
) -> np.ndarray:
    """Record ``scene(t)``, photons on a canvas ``MARGIN_PX`` larger a side, through motion and noise as uint16 (T, H, W).

    Each frame has its own random stream, so that the movie does not depend on the number of threads.
    """
    n_frames = len(displacement)
    movie = np.empty((n_frames, *shape), dtype=np.uint16)
    grid = -displacement.astype(np.float32)

    def record(frame: int, stream: np.random.SeedSequence) -> None:
        rng = np.random.Generator(np.random.SFC64(stream))
        expected = np.empty(shape, dtype=np.float32)
        warp_grid(scene(frame), grid[frame], MARGIN_PX, expected)
        electrons = rng.poisson(np.maximum(expected, 0, out=expected)).astype(np.float32)
        electrons += read_noise * rng.standard_normal(shape, dtype=np.float32)
        movie[frame] = np.clip(np.rint(electrons * gain + OFFSET), 0, 65535)

    with ThreadPoolExecutor() as pool:
        jobs = pool.map(record, range(n_frames), seed.spawn(n_frames))
        for _ in tqdm(jobs, total=n_frames, desc="simulating", unit="frame", disable=not progress):
            pass
    return movie


class Scene(NamedTuple):
    """What glows.

    Cells with ``profiles`` (N, canvas) and resting brightness ``baseline`` (N,), ``masks`` (N, H*W) of their truth; ``tissue``
    (canvas) and its relative fluctuations, ``components`` (K, canvas) times ``courses`` (T, K).
    """

    profiles: sparse.csr_matrix
    masks: sparse.csr_matrix
    baseline: np.ndarray
    tissue: np.ndarray
    components: np.ndarray
    courses: np.ndarray


def record(
    scene: Scene, config: RecordingConfig, spikes: np.ndarray, calcium: np.ndarray, *, rng: np.random.Generator,
    seed: np.random.SeedSequence, note: str, progress: bool,
) -> Simulation:  # fmt: skip
    """Draw motion, record the scene through it, and put the movie and its truth together."""
    shape, canvas = (config.height, config.width), scene.tissue.shape
    displacement = draw_motion(rng, config.n_frames, config.fs, motion_px=config.motion_px, field_px=config.field_px)
    bleach = 1 - config.bleaching * np.linspace(0, 1, config.n_frames)
    brightness = np.ascontiguousarray((scene.baseline[:, None] * (1 + calcium) * bleach).T, dtype=np.float32)
    spatial = sparse.csc_matrix(scene.profiles.T, dtype=np.float32)
    tissue, components = scene.tissue.reshape(-1), scene.components.reshape(len(scene.components), -1)

    def glow(frame: int) -> np.ndarray:
        around = tissue * np.maximum(1 + scene.courses[frame] @ components, 0) * np.float32(bleach[frame])
        return (around + spatial @ brightness[frame]).reshape(canvas)

    movie = render_movie(
        glow, displacement, shape, seed=seed, read_noise=config.read_noise, gain=config.gain, progress=progress
    )
    template = (tissue + spatial @ scene.baseline.astype(np.float32)).reshape(canvas)
    shifts = invert_displacement(displacement, shape)
    border = np.ceil(np.abs(shifts).max(axis=(0, 1, 2))).astype(int)
    y0, x0 = (int(n) for n in np.minimum(border, (np.array(shape) - 1) // 2))
    return Simulation(
        movie=Movie(movie, fs=config.fs, history=(note,)),
        footprints=Footprints(scene.masks, shape),
        calcium=Traces(calcium, config.fs, "dff"),
        spikes=Traces(spikes, config.fs, "spikes"),
        shifts=Shifts(shifts, crop_margin(template), (y0, shape[0] - y0, x0, shape[1] - x0)),
    )


def canvas_shape(config: RecordingConfig) -> tuple[int, int]:
    """Size of the canvas for a recording: its frame and the margin around it."""
    return config.height + 2 * MARGIN_PX, config.width + 2 * MARGIN_PX


def crop_margin(image: np.ndarray) -> np.ndarray:
    """Cut the margin off a canvas (..., H + 2 m, W + 2 m)."""
    return image[..., MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
