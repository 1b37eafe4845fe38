"""Choose a threshold where only some of the events are labelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from calcium_helpers.containers import Events
from calcium_helpers.metrics.volumes import RADIUS, detection_curve


class Choice(NamedTuple):
    """A ``threshold`` on the score, and the ``surrogate``, recall times precision against what is labelled, that it reaches."""

    threshold: float
    surrogate: float


def join_events(parts: Sequence[Events], n_frames: Sequence[int], *, fs: float) -> Events:
    """Put the events of several movies one after the other, as if they were one movie.

    Parameters
    ----------
    parts : sequence of Events
        With masks, or none of them.
    n_frames : sequence of int
        Frames of each movie; so many frames again are left between two movies.
    fs : float
        Frames per second, Hz.

    Returns
    -------
    Events
        Events at the same place in two movies do not come near each other.
    """
    tables, masks, start = [], [], 0
    for events, n in zip(parts, n_frames, strict=True):
        seconds = {name: events.table[name] + start / fs for name in ("onset_s", "peak_s", "offset_s")}
        frames = {"t_frame": events.table["t_frame"] + start} if "t_frame" in events.table else {}
        tables.append(events.table.assign(**seconds, **frames))
        masks += [(t + start, y, x, mask) for t, y, x, mask in events.masks or ()]
        start += 2 * n
    return Events(pd.concat(tables, ignore_index=True), tuple(masks))


def choose_threshold(found: Events, labelled: Events, *, radius: Sequence[float] = RADIUS) -> Choice:
    """Choose the score from which events are called, with labels of some events only.

    Where positives are labelled at random, squared recall over the share called positive grows with the product of precision
    and recall, although precision itself cannot be known (Lee & Liu 2003, ICML): the threshold is where it is greatest. Called
    are events here, so that the share is their number.

    Parameters
    ----------
    found : Events
        With masks and ``score``, those of low scores too.
    labelled : Events
        With masks: the events that are labelled in the same movies.
    radius : sequence of float
        Frames, rows and columns within which centres match, as in `match_events`.

    Returns
    -------
    Choice
        With a threshold of 0.5 where nothing labelled was found.
    """
    curve = detection_curve(found, labelled, radius=radius)
    # Recall^2 / number called = recall * precision / number labelled, with the precision against what is labelled.
    surrogate = curve.recall * curve.precision
    if not surrogate.any():
        return Choice(0.5, 0.0)
    best = int(np.argmax(surrogate))
    return Choice(float(curve.threshold[best]), float(surrogate[best]))
