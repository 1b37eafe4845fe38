"""Hybrid movies: known cells with known activity in real frames whose own activity was taken out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse
from tqdm import tqdm

from calcium_helpers.containers import Footprints, Movie, Shifts, Traces
from calcium_helpers.noise import check_finite
from calcium_helpers.results import Simulation
from calcium_helpers.simulate.hybrid_ground import Ground, find_ground
from calcium_helpers.simulate.motion import invert_displacement
from calcium_helpers.simulate.render import MARGIN_PX, draw_motion
from calcium_helpers.warp import warp_grid

FEWEST_FRAMES = 30


@dataclass(frozen=True, kw_only=True)
class HybridConfig:
    """How a hybrid movie is made; the defaults suit two-photon movies with cells of 8 to 15 px."""

    offset: float = 0.0
    """Counts of the movie that mean no light."""
    tile_px: int = 32
    """Side of the tiles in which the real cells' activity is sought and taken out, px."""
    shuffle_px: int | None = 4
    """Side of the blocks whose noise is shuffled together, px: above the reach of the noise's own correlation, below a cell.
    None, for noise that is correlated about as far as a cell is wide: whole frames of noise are drawn, each moved to a random
    place, brightness accounted for."""
    background_px: int = 40
    """Distance of the bumps that make the slow background, px: a few cells."""
    background: float = 1.0
    """Depth of the background's fluctuation, relative to the real one."""
    motion_px: float = 0.0
    """Largest rigid displacement, px."""
    field_px: float = 0.0
    """Largest non-rigid displacement, px."""

    def __post_init__(self) -> None:
        for name in ("tile_px", "shuffle_px", "background_px"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("background", "motion_px", "field_px"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.motion_px + self.field_px >= MARGIN_PX:
            raise ValueError(f"motion_px + field_px must be below {MARGIN_PX}, got {self.motion_px} + {self.field_px}")


def hybrid(
    movie: Movie,
    footprints: Footprints,
    dff: Traces,
    *,
    baseline: np.ndarray | None = None,
    spikes: Traces | None = None,
    config: HybridConfig | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Simulation:
    """Put known cells into real frames.

    The frames' own activity is taken out: their mean image stays, what lasts longer than a frame goes, and the rest, noise, is
    shuffled in time, small block by small block. A slow background is put back as the quiet pixels showed it. New cells add
    ``footprint x baseline x dF/F``, and to the noise what the movie's own relation of variance and mean says.

    Parameters
    ----------
    movie : Movie
        Real frames, motion-corrected, at least 30. The result has their size, rate and integer type (else float32).
    footprints : Footprints
        N cells in the coordinates of ``movie``; weights are relative, 1 is full brightness.
    dff : Traces
        N traces without noise, at any rate: each frame shows the mean over its duration. They set the length of the result;
        past the length of ``movie`` noise is drawn again, and the background runs back and forth.
    baseline : ndarray, shape (N,), optional
        Counts that a dF/F of 1 adds at weight 1. By default the median of the mean image, above ``offset``, where a footprint
        is: no light is added at rest, since the tissue there already shines.
    spikes : Traces, optional
        N rows of spike counts at any rate, over the same time; without them the result's are 0.
    config : HybridConfig, optional
        How the frames are taken apart, and how they move.
    seed : int
        Equal seeds give equal movies.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Simulation
        ``calcium`` is ``dff`` at the movie's rate; ``footprints`` those given.

    Raises
    ------
    ValueError
        When sizes, lengths or rows do not fit each other, or values are not finite.
    """
    config = config or HybridConfig()
    _check(movie, footprints, dff, spikes)
    calcium = average_frames(dff.values, dff.fs, movie.fs)
    counts = np.zeros(calcium.shape)
    if spikes is not None:
        counts = _spikes_per_frame(spikes, movie.fs, calcium.shape[1])
    rng = np.random.default_rng(seed)
    ground = find_ground(rng, movie, offset=config.offset, tile_px=config.tile_px, background_px=config.background_px)
    scale = _find_baseline(footprints, ground.mean - config.offset, baseline)
    n_frames, moving = calcium.shape[1], config.motion_px + config.field_px > 0
    displacement = np.zeros((n_frames, 1, 1, 2))
    if moving:
        displacement = draw_motion(rng, n_frames, movie.fs, motion_px=config.motion_px, field_px=config.field_px)
    scene = _build_scene(ground, footprints, scale, config.background, MARGIN_PX if moving else 0)
    noise = _draw_noise(rng, ground, n_frames, config.shuffle_px)
    courses = ground.courses[_back_and_forth(rng, len(ground.courses), n_frames)]
    frames = np.empty(noise.shape, movie.data.dtype if np.issubdtype(movie.data.dtype, np.integer) else np.float32)
    for t in tqdm(range(n_frames), desc="hybrid", unit="frame", disable=not progress):
        light = scene.light(courses[t], calcium[:, t])
        frames[t] = _as_type(_record(light, displacement[t], ground, noise[t]), frames.dtype)
    return Simulation(
        movie=Movie(frames, fs=movie.fs, pixel_um=movie.pixel_um, history=(*movie.history, f"hybrid of it, seed {seed}")),
        footprints=footprints,
        calcium=Traces(calcium, movie.fs, "dff", footprints.ids),
        spikes=Traces(counts, movie.fs, "spikes", footprints.ids),
        shifts=_true_shifts(displacement, ground.mean),
    )


def average_frames(values: np.ndarray, fs: float, fs_frames: float) -> np.ndarray:
    """Mean of samples (N, T) at ``fs`` over the duration of each frame at ``fs_frames``, shape (N, n_frames)."""
    n_frames = int(np.floor(values.shape[1] * fs_frames / fs + 1e-9))
    edges = np.arange(n_frames + 1) * fs / fs_frames
    total = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1, dtype=np.float64)], axis=1)
    sums = [np.diff(np.interp(edges, np.arange(total.shape[1]), row)) for row in total]
    return np.array(sums).reshape(len(values), n_frames) * fs_frames / fs


def _draw_noise(rng: np.random.Generator, ground: Ground, n_frames: int, block_px: int | None) -> np.ndarray:
    """Draw noise (n_frames, H, W) that remembers no activity, each real frame about equally often."""
    _, height, width = ground.noise.shape
    out = np.empty((n_frames, height, width), np.float32)
    if block_px is None:
        sd, wanted = ground.noise.std(axis=0), np.sqrt(ground.variance(ground.mean))
        for t, source in enumerate(_draw_order(rng, len(ground.noise), n_frames)):
            unit = np.divide(ground.noise[source], sd, out=np.zeros_like(sd), where=sd > 0)
            out[t] = np.roll(unit, rng.integers((height, width)), axis=(0, 1)) * wanted
        return out
    for y in range(0, height, block_px):
        for x in range(0, width, block_px):
            block = np.s_[:, y : y + block_px, x : x + block_px]
            out[block] = ground.noise[block][_draw_order(rng, len(ground.noise), n_frames)]
    return out


def _draw_order(rng: np.random.Generator, n: int, n_frames: int) -> np.ndarray:
    """Draw indices of n frames in random order, and again until there are ``n_frames``."""
    return np.concatenate([rng.permutation(n) for _ in range(-(-n_frames // n))])[:n_frames]


class _Scene(NamedTuple):
    """Light that does not fluctuate (canvas), bumps (K, canvas) of the background and cells (canvas, N), all in counts."""

    still: np.ndarray
    bumps: sparse.csr_matrix
    cells: sparse.csc_matrix

    def light(self, course: np.ndarray, dff: np.ndarray) -> np.ndarray:
        """Return the expected counts on the canvas in one frame."""
        return self.still + (course @ self.bumps + self.cells @ dff.astype(np.float32)).reshape(self.still.shape)


def _build_scene(ground: Ground, footprints: Footprints, baseline: np.ndarray, depth: float, margin: int) -> _Scene:
    """Lay everything on a canvas with a margin, where the tissue is mirrored and the cells end."""
    height, width = footprints.shape
    pixels = np.pad(np.arange(height * width).reshape(height, width), margin, mode="symmetric")
    bumps = sparse.csr_matrix(ground.bumps.multiply(depth * ground.texture.reshape(1, -1)))[:, pixels.reshape(-1)]
    cells = sparse.coo_matrix(sparse.diags(baseline) @ footprints.weights)
    y, x = np.divmod(cells.col, width)
    where = (y + margin) * pixels.shape[1] + x + margin
    placed = sparse.csc_matrix((cells.data, (where, cells.row)), shape=(pixels.size, len(footprints)), dtype=np.float32)
    return _Scene(ground.mean.reshape(-1)[pixels], bumps, placed)


def _record(light: np.ndarray, displacement: np.ndarray, ground: Ground, noise: np.ndarray) -> np.ndarray:
    """Show a scene through motion, with real noise that is scaled to its brightness."""
    was = ground.mean
    if light.shape != noise.shape:
        frame = np.empty(noise.shape, np.float32)
        warp_grid(light, -displacement.astype(np.float32), MARGIN_PX, frame)
        # Noise moves by whole pixels: between them it would be smoothed.
        steps = tuple(-np.rint(displacement.mean(axis=(0, 1))).astype(int))
        light, noise, was = frame, np.roll(noise, steps, axis=(0, 1)), np.roll(was, steps, axis=(0, 1))
    variance = ground.variance(was)
    return light + noise * np.sqrt(np.divide(ground.variance(light), variance, out=np.ones_like(was), where=variance > 0))


def _back_and_forth(rng: np.random.Generator, n: int, n_frames: int) -> np.ndarray:
    """Return indices that run through 0..n-1 forwards and backwards from a random start."""
    loop = np.concatenate([np.arange(n), np.arange(n)[::-1]])
    return loop[(rng.integers(len(loop)) + np.arange(n_frames)) % len(loop)]


def _as_type(frame: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if not np.issubdtype(dtype, np.integer):
        return frame
    limits = np.iinfo(dtype)
    return np.clip(np.rint(frame), limits.min, limits.max)


def _find_baseline(footprints: Footprints, light: np.ndarray, baseline: np.ndarray | None) -> np.ndarray:
    if baseline is None:
        flat, rows = light.reshape(-1), footprints.weights
        baseline = np.array([np.median(flat[rows[i].indices]) for i in range(len(footprints))])
    baseline = np.asarray(baseline, dtype=np.float32)
    if baseline.shape != (len(footprints),) or not np.isfinite(baseline).all():
        raise ValueError(f"baseline must be {len(footprints)} finite numbers, one a cell, got shape {baseline.shape}")
    return np.clip(baseline, 0, None)


def _spikes_per_frame(spikes: Traces, fs: float, n_frames: int) -> np.ndarray:
    """Whole counts a frame: a spike belongs to the frame in which its sample ends."""
    mean = average_frames(spikes.values, spikes.fs, fs)
    total = np.floor(np.cumsum(mean * spikes.fs / fs, axis=1) + 1e-6)
    counts = np.zeros((len(spikes), n_frames))  # spikes may last a part of a frame less than dF/F
    found = np.diff(total, axis=1, prepend=0)[:, :n_frames]
    counts[:, : found.shape[1]] = found
    return counts


def _true_shifts(displacement: np.ndarray, template: np.ndarray) -> Shifts:
    shape = template.shape
    yx = invert_displacement(displacement, (shape[0], shape[1])) if displacement.shape[1] > 1 else displacement[:, 0, 0]
    border = np.ceil(np.abs(yx).reshape(-1, 2).max(axis=0)).astype(int)
    y0, x0 = (int(n) for n in np.minimum(border, (np.array(shape) - 1) // 2))
    return Shifts(yx, template, (y0, shape[0] - y0, x0, shape[1] - x0))


def _check(movie: Movie, footprints: Footprints, dff: Traces, spikes: Traces | None) -> None:
    if movie.n_frames < FEWEST_FRAMES:
        raise ValueError(f"movie must have at least {FEWEST_FRAMES} frames to take noise from, got {movie.n_frames}")
    if footprints.shape != movie.shape[1:]:
        raise ValueError(f"footprints must be of the movie's size {movie.shape[1:]}, got {footprints.shape}")
    if len(dff) != len(footprints):
        raise ValueError(f"dff must have one row a footprint ({len(footprints)}), got {len(dff)}")
    check_finite(dff)
    if dff.n_frames / dff.fs < 1 / movie.fs:
        raise ValueError(f"dff must last at least a frame of {1 / movie.fs:g} s, got {dff.n_frames / dff.fs:g} s")
    if spikes is not None:
        same_time = abs(spikes.n_frames / spikes.fs - dff.n_frames / dff.fs) < 1 / movie.fs
        if len(spikes) != len(dff) or not same_time:
            raise ValueError(
                f"spikes must have the rows and duration of dff ({len(dff)}, {dff.n_frames / dff.fs:g} s), "
                f"got {len(spikes)} and {spikes.n_frames / spikes.fs:g} s"
            )
