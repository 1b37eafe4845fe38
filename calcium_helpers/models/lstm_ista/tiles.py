"""The network over a whole field: tiles with a halo, each with the bins in which something happens there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from calcium_helpers.models.lstm_ista.config import LSTMISTAConfig
from calcium_helpers.models.lstm_ista.network import LSTMISTA, SPACING
from calcium_helpers.models.lstm_ista.slots import Slots, join_slots, move, read_slots
from calcium_helpers.models.lstm_ista.zoom import Zoom

CORE_PX = 176  # a slot belongs to the tile in whose core its centre lies
HALO_PX = 20  # what a slot sees of its surroundings, and the layers below it
PLACE_PX = 8  # side of the places whose activity is compared
MOST_AVERAGED = 4  # bins, of half a transient each: averages of more would dilute it
LEAST_STRENGTH = 4.0  # noise sds from which a place counts as active


class Found(NamedTuple):
    """Candidates of a whole field, and ``attention`` (H, W): how probably a pixel is of an active cell."""

    slots: Slots
    attention: np.ndarray


class _Tile(NamedTuple):
    """A rectangle of the frame, ``whole`` with its halo and ``core`` without."""

    whole: tuple[slice, slice]
    core: tuple[slice, slice]

    @property
    def size(self) -> tuple[int, ...]:
        """Rows and columns of the whole."""
        return tuple(part.stop - part.start for part in self.whole)

    @property
    def inner(self) -> tuple[slice, slice]:
        """Where the core lies in the whole."""
        y, x = (slice(c.start - w.start, c.stop - w.start) for c, w in zip(self.core, self.whole, strict=True))
        return y, x


def find_slots(
    model: LSTMISTA, movie: np.ndarray, config: LSTMISTAConfig, *, factor: float = 1.0, device: str = "cpu",
    batch_size: int = 1, core_px: int = CORE_PX, progress: bool = False,
) -> Found:  # fmt: skip
    """Run the network over a whitened movie.

    Parameters
    ----------
    model : LSTMISTA
    movie : ndarray, shape (B, H, W), float32
        Whitened, every pixel resting at 0.
    config : LSTMISTAConfig
        Its ``max_bins`` and ``reduction``.
    factor : float
        By how much tiles are enlarged for the network (see `zoom_factor`).
    device : str
    batch_size : int
        Tiles at once; it changes nothing but time and memory.
    core_px : int
        Side of a tile without its halo.
    progress : bool
        Show a bar.

    Returns
    -------
    Found
    """
    shape = (movie.shape[1], movie.shape[2])
    group = -(-len(movie) // config.max_bins)
    movie = average_bins(movie, group if config.reduction == "mean" else min(group, MOST_AVERAGED))
    model = model.to(device).eval()
    tiles = list(_tiles(shape, core_px))
    parts: list[Slots] = []
    attention = np.zeros(shape, dtype=np.float32)
    with torch.no_grad(), tqdm(total=len(tiles), disable=not progress, unit="tile", desc="network") as bar:
        for together in _groups(tiles, batch_size):
            zoom = Zoom.of(together[0].size, factor)
            frames = [
                zoom.frames(movie[(active_bins(movie[(slice(None), *t.whole)], config.max_bins), *t.whole)]) for t in together
            ]
            output = model(torch.from_numpy(np.stack(frames)).to(device))
            for index, tile in enumerate(together):
                slots = read_slots(output, index, core=tile.inner, zoom=zoom)
                parts.append(slots._replace(footprints=move(slots.footprints, tile.whole, shape)))
                seen = zoom.image(torch.sigmoid(output.attention[index]).cpu().numpy())
                attention[tile.core] = seen[tile.inner]
            bar.update(len(together))
    return Found(join_slots(parts, shape), attention)


def active_bins(movie: np.ndarray, most: int) -> np.ndarray:
    """Choose the bins (in order, at most ``most``) of which some place of a movie (B, H, W) saw its strongest.

    First comes the strongest bin of each place of 8 x 8 px, then the second of each, until there are enough. So every cell
    that fires has its brightest moments among those chosen, however rare they are in a long recording.
    """
    if len(movie) <= most:
        return np.arange(len(movie))
    height, width = (max(n // PLACE_PX, 1) for n in movie.shape[1:])
    sides = [min(PLACE_PX, n) for n in movie.shape[1:]]
    blocks = movie[:, : height * sides[0], : width * sides[1]].reshape(len(movie), height, sides[0], width, sides[1])
    strength = blocks.mean(axis=(2, 4)).reshape(len(movie), -1) * np.sqrt(sides[0] * sides[1])  # in units of noise
    order = np.argsort(-strength, axis=0, kind="stable")
    chosen: dict[int, None] = {}  # in the order of choice
    for bins in order:  # the strongest bin of every place, then the second of every place, ...
        heights = strength[bins, np.arange(len(bins))]
        strong = bins[np.argsort(-heights, kind="stable")][: np.count_nonzero(heights > LEAST_STRENGTH)]
        chosen.update(dict.fromkeys(strong.tolist()))
        if len(chosen) >= most or not len(strong):
            break
    chosen.update(dict.fromkeys(np.argsort(-strength.max(axis=1), kind="stable").tolist()))
    return np.sort(list(chosen)[:most])


def average_bins(movie: np.ndarray, group: int) -> np.ndarray:
    """Average ``group`` neighbouring bins at a time, in units of the noise of the averages."""
    if group <= 1:
        return movie
    starts = np.arange(0, len(movie), group)
    counts = np.diff(np.append(starts, len(movie)))
    return np.add.reduceat(movie, starts, axis=0) / np.sqrt(counts, dtype=np.float32)[:, None, None]


def _tiles(shape: tuple[int, int], core_px: int) -> Iterator[_Tile]:
    """Cut the frame; corners lie on multiples of the slots' spacing, so that slots stand where they would in one piece."""
    cuts = []
    for n in shape:
        count = max(1, -(-n // core_px))
        edges = [round(n * i / count / SPACING) * SPACING for i in range(count)] + [n]
        cuts.append([
            (slice(max(a - HALO_PX, 0), min(b + HALO_PX, n)), slice(a, b)) for a, b in itertools.pairwise(edges)
        ])  # fmt: skip
    for rows in cuts[0]:
        for columns in cuts[1]:
            yield _Tile((rows[0], columns[0]), (rows[1], columns[1]))


def _groups(tiles: list[_Tile], size: int) -> Iterator[list[_Tile]]:
    """Tiles of one size together, at most ``size``."""
    by_size: dict[tuple[int, ...], list[_Tile]] = {}
    for tile in tiles:
        by_size.setdefault(tile.size, []).append(tile)
    for alike in by_size.values():
        for start in range(0, len(alike), size):
            yield alike[start : start + size]
