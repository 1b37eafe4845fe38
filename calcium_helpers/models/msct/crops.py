"""Batches: crops of movies around labelled events, and anywhere on what is bright at rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from calcium_helpers.models.msct.config import PUConfig
from calcium_helpers.transients.prepare import foreground


class Labelled(NamedTuple):
    """A movie as the networks see it, and what is labelled in it.

    ``channels`` (3, T, H, W) float32 as `Look` gives them; ``label`` (T, H, W) of ids, 0 where nothing is labelled.
    """

    channels: np.ndarray
    label: np.ndarray


class Crops(NamedTuple):
    """A batch: ``channels`` (B, 3, T, H, W) and ``label`` (B, T, H, W) of ids, int32."""

    channels: torch.Tensor
    label: torch.Tensor


def crop_batches(movies: Sequence[Labelled], config: PUConfig | None = None) -> Callable[[np.random.Generator], Crops]:
    """Make a function that draws crops around labelled events, and around any voxel that is bright at rest.

    Most of a movie is dark, and what is dark is soon learned: what has to be told from events lies on dendrites.

    Parameters
    ----------
    movies : sequence of Labelled
    config : PUConfig, optional
        Its ``batch``, ``unlabelled`` and ``crop``.

    Returns
    -------
    callable
        ``draw(rng)`` gives `Crops`, mirrored and turned in space at random.

    Raises
    ------
    ValueError
        Where nothing is labelled.
    """
    config = config or PUConfig()
    shape = config.crop
    events = [(movie, box) for movie in movies for box in label_boxes(movie.label)]
    if not events:
        raise ValueError("movies must hold at least one labelled event, got none")
    bright = [np.argwhere(foreground(movie.channels[0].mean(axis=0))) for movie in movies]
    sizes = np.array([len(movie.label) * len(pixels) for movie, pixels in zip(movies, bright, strict=True)], dtype=float)

    def draw(rng: np.random.Generator) -> Crops:
        n_labelled = int(rng.binomial(config.batch, 1 / (1 + config.unlabelled)))
        parts = []
        for number in range(config.batch):
            if number < n_labelled:
                movie, box = events[int(rng.integers(len(events)))]
                centre = box.mean(axis=1)
            else:
                at = int(rng.choice(len(movies), p=sizes / sizes.sum()))
                movie = movies[at]
                centre = np.array([rng.integers(len(movie.label)), *bright[at][rng.integers(len(bright[at]))]])
            centre = centre + rng.uniform(-0.25, 0.25, 3) * shape
            start = np.rint(centre - np.array(shape) / 2).astype(int)
            parts.append(_cut(rng, movie, start, shape))
        channels, label = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
        return Crops(channels, label)

    return draw


def _cut(
    rng: np.random.Generator, movie: Labelled, start: np.ndarray, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Cut one crop, inside the movie as far as it reaches, and turn it."""
    start = np.clip(start, 0, np.maximum(np.array(movie.label.shape) - shape, 0))
    at = tuple(slice(int(a), int(a) + side) for a, side in zip(start, shape, strict=True))
    lack = [(0, max(side - size, 0)) for side, size in zip(shape, movie.label.shape, strict=True)]
    channels = np.pad(movie.channels[(slice(None), *at)], [(0, 0), *lack])
    label = np.pad(movie.label[at].astype(np.int32), lack)
    quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))
    return _turn(channels, quarter, mirror), _turn(label, quarter, mirror)


def _turn(array: np.ndarray, quarter_turns: int, mirror: bool) -> np.ndarray:
    turned = np.rot90(array, quarter_turns, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if mirror else turned)


def label_boxes(label: np.ndarray) -> np.ndarray:
    """Boxes (M, 3, 2) of the ids of a label volume."""
    found = [box for box in ndimage.find_objects(label) if box is not None]
    return np.array([[(part.start, part.stop) for part in box] for box in found], dtype=int).reshape(-1, 3, 2)
