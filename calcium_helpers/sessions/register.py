"""The same cells on two days: align the fields, then match the cells, with a probability."""

from __future__ import annotations

from typing import Literal, NamedTuple
from warnings import warn

import numpy as np
import pandas as pd

from calcium_helpers.containers import Footprints
from calcium_helpers.containers._base import check_positive
from calcium_helpers.sessions.align import apply_field, draw_map, estimate_field
from calcium_helpers.sessions.match import assign, best_pairs, find_pairs, fit_model, measure, probability

SMALLEST_SIDE_PX = 16
MIRRORS = ((-1, 1), (1, -1), (-1, -1))


class SessionMatch(NamedTuple):
    """Which cells of day a and of day b are the same.

    ``pairs`` (M, 2) are ids (a, b), one to one, and ``probability`` (M,) that they are the same cell. What lies at pixel p of
    day a lies at ``p + field[p]`` on day b (``field`` (H, W, 2), px). ``a`` and ``aligned`` are the footprints of both days
    in the frame of a; cells of b that lie outside it are left out. ``candidates`` lists all pairs that overlap (``id_a, id_b,
    distance_px, similarity, probability``); ``by_chance`` is how many pairs as good the mirrored days have.
    """

    pairs: np.ndarray
    probability: np.ndarray
    field: np.ndarray
    a: Footprints
    aligned: Footprints
    candidates: pd.DataFrame
    by_chance: float


def register_sessions(
    footprints_a: Footprints, footprints_b: Footprints, *, images: tuple[np.ndarray, np.ndarray] | None = None,
    pixel_um: tuple[float | None, float | None] | None = None, max_shift_px: float = 30.0, max_rotation: float = 5.0,
    alignment: Literal["non-rigid", "rigid", "none"] = "non-rigid", threshold: float = 0.5,
) -> SessionMatch:  # fmt: skip
    """Find the same cells on two days.

    The maps of all footprints (and the images) are aligned by rotation and shift, then block by block. Of each cell the most
    similar one of the other day is either the same or a different cell: distance and similarity of such pairs are a mixture,
    as in Sheintuch et al. 2017 (doi:10.1016/j.celrep.2017.10.013). What different cells look like is not assumed but
    measured, on day b mirrored and aligned in the same way.

    Parameters
    ----------
    footprints_a, footprints_b : Footprints
        The cells of either day; the frames may differ in size, not in the size of a pixel.
    images : tuple of ndarray, optional
        A mean image of each day, (H, W) as its footprints: helps where few cells are found on both days.
    pixel_um : tuple of float, optional
        Side of a pixel on each day, micrometres, to be compared; None where it is not known.
    max_shift_px : float
        Largest shift, px; never more than a third of the shorter side.
    max_rotation : float
        Largest rotation, degrees.
    alignment : {"non-rigid", "rigid", "none"}
        How the days are aligned.
    threshold : float
        Least probability of a pair, in (0, 1).

    Returns
    -------
    SessionMatch

    Raises
    ------
    ValueError
        For pixels of different size, frames below 16 px a side, images that do not fit, or a parameter out of range.

    Warns
    -----
    UserWarning
        When cells agree no better than those of mirrored days do, as with fields that have no cells in common or with one or
        two cells: then no pair is returned.
    """
    _check(footprints_a, footprints_b, images, pixel_um)
    check_positive("max_shift_px", max_shift_px, "px")
    if max_rotation < 0 or not 0 < threshold < 1 or alignment not in ("non-rigid", "rigid", "none"):
        raise ValueError(
            "max_rotation must be 0 or more degrees, threshold lie in (0, 1) and alignment be 'non-rigid', 'rigid' or 'none', "
            f"got {max_rotation}, {threshold} and {alignment!r}"
        )
    areas = np.concatenate([footprints_a.area_px, footprints_b.area_px])
    diameter_px = 2 * float(np.sqrt(np.median(areas) / np.pi)) if len(areas) else 1.0
    image_a, image_b = images or (None, None)
    map_a, map_b = draw_map(footprints_a, image_a, diameter_px), draw_map(footprints_b, image_b, diameter_px)
    fields, drawn, found = [], [], []
    for mirror in ((1, 1), *MIRRORS):
        field = np.zeros((*map_a.shape, 2), np.float32)
        if alignment != "none" and map_a.any() and map_b.any():
            field = estimate_field(
                map_a, map_b[:: mirror[0], :: mirror[1]], diameter_px=diameter_px, max_shift_px=max_shift_px,
                max_rotation=max_rotation, non_rigid=alignment == "non-rigid",
            )  # fmt: skip
        drawn.append(apply_field(_mirror(footprints_b, mirror), field))
        found.append(find_pairs(footprints_a, drawn[-1]))
        fields.append(field)
    # One mirrored day may agree because one of the two was recorded mirrored: it does not count.
    best = [measure(pairs[best_pairs(pairs)], diameter_px) for pairs in found]
    by_chance = sorted(best[1:], key=lambda features: (features[:, 1] > 1).sum())[:-1]
    model = fit_model(best[0], np.concatenate(by_chance))
    candidates = found[0].assign(probability=probability(measure(found[0], diameter_px), model))
    chosen = assign(candidates, threshold)
    chance = float(np.mean([(probability(features, model) >= threshold).sum() for features in by_chance]))
    if len(chosen) <= 2 * chance + 2:
        warn(
            f"No cells are matched: {len(chosen)} pairs agree, with day b mirrored {chance:g} ({len(footprints_a)} and "
            f"{len(footprints_b)} cells). Either the days have too few cells in common, or they could not be aligned: look at "
            "both, allow more with max_shift_px and max_rotation, or give mean images (images=)",
            stacklevel=2,
        )
        chosen, candidates = chosen[:0], candidates.assign(probability=0.0)
    pairs = chosen[["id_a", "id_b"]].to_numpy(dtype=np.int64)
    return SessionMatch(pairs, chosen["probability"].to_numpy(float), fields[0], footprints_a, drawn[0], candidates, chance)


def _check(
    a: Footprints, b: Footprints, images: tuple[np.ndarray, np.ndarray] | None,
    pixel_um: tuple[float | None, float | None] | None,
) -> None:  # fmt: skip
    """Raise where two days cannot be compared."""
    um_a, um_b = pixel_um or (None, None)
    if um_a and um_b and abs(um_a / um_b - 1) > 0.02:
        raise ValueError(f"pixel_um of the two days must be equal, got {um_a:g} and {um_b:g} um: resample one of them first")
    if min(*a.shape, *b.shape) < SMALLEST_SIDE_PX:
        raise ValueError(f"frames of at least {SMALLEST_SIDE_PX} px a side are needed, got {a.shape} and {b.shape}")
    if images is not None and (len(images) != 2 or [np.shape(image) for image in images] != [a.shape, b.shape]):
        raise ValueError(
            f"images must be one a day of its footprints' shape {a.shape} and {b.shape}, got {[np.shape(i) for i in images]}"
        )


def _mirror(footprints: Footprints, steps: tuple[int, int]) -> Footprints:
    """Mirror the frame along the axes whose step is -1."""
    pixels = np.arange(footprints.weights.shape[1]).reshape(footprints.shape)[:: steps[0], :: steps[1]]
    return Footprints(footprints.weights[:, pixels.ravel()], footprints.shape, footprints.ids)
