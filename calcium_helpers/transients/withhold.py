"""Labels withheld on purpose, to learn what incomplete annotation costs: one protocol a call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calcium_helpers.io.msct import Stream, events_of
from calcium_helpers.transients.volumes import events_from_label

HOW = ("movies", "random", "brightest")


def withhold(streams: Sequence[Stream], *, share: float, how: str, seed: int) -> list[Stream]:
    """Keep a share of the labels; what is hidden leaves no trace in what is returned.

    Equal seeds choose nested sets: what is labelled at a small share is so at a larger one.

    Parameters
    ----------
    streams : sequence of Stream
        Fully labelled recordings.
    share : float
        Share that stays labelled, 0 to 1.
    how : {"movies", "random", "brightest"}
        "movies": whole movies keep all labels or none (at least one keeps them, unless ``share`` is 0). "random": in every
        movie a share of the events. "brightest": the same, those of the greatest amplitude, as annotators find them. The number
        in a movie is rounded up or down at random so that it is right in the mean.
    seed : int
        Equal seeds give equal choices.

    Returns
    -------
    list of Stream
        In the same order, the events that are left numbered anew from 1.

    Raises
    ------
    ValueError
        For a share outside 0 to 1, or an unknown protocol.

    Examples
    --------
    >>> label = np.zeros((4, 8, 8), np.uint16)
    >>> label[1:3, 1:3, 1:3], label[1:3, 5:7, 5:7] = 1, 2
    >>> stream = Stream("a", np.zeros(label.shape, np.float32), label, events_of(label))
    >>> withhold([stream], share=0.5, how="random", seed=0)[0].events[:, 0].tolist()
    [1]
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be between 0 and 1, got {share}")
    if how not in HOW:
        raise ValueError(f"how must be one of {HOW}, got {how!r}")
    rng, *streams_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(len(streams) + 1))
    if how == "movies":
        n = max(round(share * len(streams)), 1) if share else 0
        chosen = set(rng.permutation(len(streams))[:n].tolist())
        return [_keep(stream, stream.events[:, 0] if i in chosen else []) for i, stream in enumerate(streams)]
    return [_keep(stream, _choose(own, stream, share, how)) for stream, own in zip(streams, streams_rng, strict=True)]


def _choose(rng: np.random.Generator, stream: Stream, share: float, how: str) -> np.ndarray:
    """Choose the ids that stay."""
    n = int(share * len(stream.events) + rng.random())
    if how == "random":
        return np.asarray(rng.permutation(stream.events[:, 0])[:n])
    label = np.asarray(stream.label)
    table = events_from_label(np.where(np.isin(label, stream.events[:, 0]), label, 0), stream.movie, fs=1.0).table
    return table.sort_values("amplitude", ascending=False, kind="stable")["label"].to_numpy()[:n]


def _keep(stream: Stream, ids: Sequence[int] | np.ndarray) -> Stream:
    """Leave only the events with these ids."""
    new = np.zeros(np.iinfo(np.uint16).max + 1, np.uint16)
    new[np.sort(ids).astype(int)] = np.arange(1, len(ids) + 1)
    label = new[np.asarray(stream.label)]
    return stream._replace(label=label, events=events_of(label))
