"""``denoise``: the movie in windows of time, read twice and written once, its blocks over threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from calcium_helpers.containers import Movie
from calcium_helpers.denoise.config import DenoiseConfig
from calcium_helpers.denoise.pieces import Source, cut_spans
from calcium_helpers.denoise.window import Window

FEWEST_FRAMES = 3


class Denoising(NamedTuple):
    """A denoised movie (float32), and what is known of it.

    ``noise`` (H, W) is the standard deviation of the noise of each pixel before, in counts; ``rank`` (windows, gy, gx) the
    number of components kept in each block: 0 where there was nothing but noise, and only the mean image remains.
    """

    movie: Movie
    noise: np.ndarray
    rank: np.ndarray


def denoise(
    movie: Movie,
    *,
    config: DenoiseConfig | None = None,
    bad_frames: np.ndarray | None = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Denoising:
    """Take noise out of a movie that is corrected for motion: a penalised low rank in blocks, and smoother time courses.

    In the spirit of penalised matrix decomposition (Buchanan et al. 2018, doi:10.1101/334706). Each pixel is divided by its
    noise; each block of pixels is decomposed, and of its components only those stay that are smoother in space and in time
    than noise of the same size is; their time courses keep the details that noise of their level would not show
    (see ``basis`` and ``courses``). Overlapping blocks are blended by weights that sum to one; the mean image is untouched.

    The defaults assume noise that is independent from frame to frame, signals that last half a second or more, cells larger
    than 3 px, and frames in register. Nothing depends on the sign of a signal. Structure below the noise is lost: a cell whose
    few weak transients no test can tell from noise is missing from the result, so look for such cells in the raw movie. What is
    smoothed away of a time course can not be told from its noise either: differences between single frames below it are gone,
    and the noise left in a trace is not white. Under 3 Hz only the low rank works, the courses stay as they are.

    Memory, beyond the movie and ``out``: the means over ``transient_s / 2`` of one window (512 x 512 px, 120 s: 0.5 GB) and
    about 0.2 GB.

    Parameters
    ----------
    movie : Movie
        Read twice in chunks along time; may be larger than memory.
    config : DenoiseConfig, optional
        Sizes and rates of error; the defaults where not given.
    bad_frames : ndarray of int, optional
        Frames to be left out (``shifts.bad_frames``): the last good frame before stands in for each of them.
    out : ndarray, shape (T, H, W), float32, optional
        Where the result is written, a memory map for instance; allocated where not given. Not the movie's own array.
    threads : int, optional
        Blocks worked on at once; as many as there are cores where not given. The result does not depend on it.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Denoising
        The movie, the noise of each pixel before, and the number of components of each block. A movie of fewer than three
        frames comes back as it is, since nothing tells its noise.

    Raises
    ------
    ValueError
        For NaN or infinite pixels (names the frame), ``bad_frames`` outside the movie or all of it, or an ``out`` that does
        not fit.

    Examples
    --------
    >>> flicker = np.random.default_rng(0).normal(100, 5, size=(300, 24, 24))
    >>> denoised = denoise(Movie(flicker, fs=30))
    >>> int(denoised.rank.max()), bool(abs(denoised.movie.data - flicker.mean(axis=0)).max() < 1e-3)
    (0, True)
    """
    config = config or DenoiseConfig()
    source = Source(movie, bad_frames)
    if out is None:
        out = np.empty(movie.shape, dtype=np.float32)
    if out.shape != movie.shape:
        raise ValueError(f"out must have the movie's shape {movie.shape}, got {out.shape}")
    if isinstance(movie.data, np.ndarray) and np.may_share_memory(out, movie.data):
        raise ValueError("out must not be the movie's own array: frames are read again after the first are written")
    if movie.n_frames < FEWEST_FRAMES:
        out[:] = source.read(0, movie.n_frames)
        result = movie.replace(data=out, history=(*movie.history, "not denoised: too few frames"))
        return Denoising(result, np.zeros(movie.shape[1:], dtype=np.float32), np.zeros((1, 1, 1), dtype=int))
    size = round(config.window_s * movie.fs)
    overlap = min(round(config.transient_s * movie.fs) + 1, size // 3)
    windows = cut_spans(movie.n_frames, max(size, FEWEST_FRAMES), overlap)
    noises, ranks = [], []
    with (
        threadpool_limits(1, user_api="blas"),  # threads within threads wait for each other
        ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool,
        tqdm(total=3 * movie.n_frames, desc="denoising", unit="frame", disable=not progress) as bar,
    ):
        for window in windows:
            work = Window(source, window, config, pool, bar.update)
            work.denoise(out)
            noises.append(work.noise)
            ranks.append(work.rank)
    note = f"denoised (blocks of {config.block_px} px, {np.mean(ranks):.1f} components a block)"
    result = movie.replace(data=out, history=(*movie.history, note))
    return Denoising(result, np.stack(noises).mean(axis=0), np.stack(ranks))
