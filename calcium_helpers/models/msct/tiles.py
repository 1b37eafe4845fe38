"""A network over a whole movie, tile by tile, with the halo that gives the same result as all at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from calcium_helpers.containers import Movie
from calcium_helpers.memory import let_go
from calcium_helpers.models.msct.look import Look, look_at

CORE = (96, 160, 160)  # frames, rows, columns of a tile without its halo: about 3 GB while four levels see it

Part = tuple[slice, slice, slice]


def run_tiles(
    model: nn.Module, movie: Movie, use: Callable[[Part, np.ndarray], None], *, look: Look | None = None,
    core: tuple[int, int, int] = CORE, device: str = "cpu", progress: bool = False,
) -> None:  # fmt: skip
    """Run a network over a movie and hand on what it says, part by part.

    Parameters
    ----------
    model : Module
        With ``step`` and ``reach``, as `UNet3D` has; takes (1, C, T, H, W) and gives (1, K, T, H, W).
    movie : Movie
        Normalised.
    use : callable
        ``use(part, output)`` gets output (K, t, h, w) of the part of the movie, in order of time.
    look : Look, optional
        Of the movie, where it is at hand.
    core : tuple of int
        Frames, rows and columns of a part: it changes time and memory, not the result.
    device : str
    progress : bool
        Show a bar.
    """
    look = look or look_at(movie)
    model = model.to(device).eval()
    tiles = list(_tiles(movie.shape, core, model.step, model.reach))  # type: ignore[arg-type]
    known = slice(0, 0)
    with torch.no_grad():
        for whole, part in tqdm(tiles, disable=not progress, unit="tile", desc="network"):
            time, *space = whole
            if time != known:  # whole frames, as what is seen of a voxel reaches further than the network does
                channels, known = look.channels(movie.data[time], time.start), time
                let_go(movie.data)
            here = np.ascontiguousarray(channels[(slice(None), slice(None), *space)])
            seen = model(torch.from_numpy(here)[None].to(device))[0].cpu().numpy()
            inner = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, whole, strict=True))
            use(part, seen[(slice(None), *inner)])


def _tiles(
    shape: tuple[int, ...], core: tuple[int, int, int], step: int, reach: int
) -> Iterator[tuple[tuple[slice, ...], Part]]:
    """Parts of the movie, each with its surroundings; both begin at multiples of ``step``."""
    axes = []
    for size, side in zip(shape, core, strict=True):
        side = max(step, side // step * step)
        halo = -(-reach // step) * step
        axes.append([
            (slice(max(start - halo, 0), min(start + side + halo, size)), slice(start, min(start + side, size)))
            for start in range(0, size, side)
        ])  # fmt: skip
    for pieces in itertools.product(*axes):
        whole, part = zip(*pieces, strict=True)
        yield whole, part
