"""From a scene that glows to a recorded movie: motion, photons, electrons."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import sparse
from tqdm import tqdm

from calcium_helpers.containers import Footprints, Movie, Shifts, Traces
from calcium_helpers.results import Simulation
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


def assemble(
    movie: np.ndarray, fs: float, displacement: np.ndarray, masks: sparse.csr_matrix, calcium: np.ndarray,
    spikes: np.ndarray, template: np.ndarray, note: str,
) -> Simulation:  # fmt: skip
    """Put a movie and its truth together; ``masks`` (N, H*W) and ``template`` (H, W) without the margin."""
    shape = movie.shape[1:]
    shifts = invert_displacement(displacement, shape)
    border = np.ceil(np.abs(shifts).max(axis=(0, 1, 2))).astype(int) if len(shifts) else np.zeros(2, int)
    border = np.minimum(border, (np.array(shape) - 1) // 2)
    valid = (int(border[0]), int(shape[0] - border[0]), int(border[1]), int(shape[1] - border[1]))
    return Simulation(
        movie=Movie(movie, fs=fs, history=(note,)),
        footprints=Footprints(masks, shape),
        calcium=Traces(calcium, fs, "dff"),
        spikes=Traces(spikes, fs, "spikes"),
        shifts=Shifts(shifts, template, valid),
    )


def crop_margin(image: np.ndarray) -> np.ndarray:
    """Cut the margin off a canvas (..., H + 2 m, W + 2 m)."""
    return image[..., MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
