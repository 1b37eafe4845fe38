"""Places that events come from, and what becomes of them: silenced, new, recurrent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage

from calcium_helpers.containers import Events
from calcium_helpers.containers._base import check_positive
from calcium_helpers.metrics.volumes import centres

FATES = ("silenced", "new", "recurrent")


class Sites(NamedTuple):
    """``site`` (N,) of each event, 0 for the one with most events and on; ``table``: ``site, y_px, x_px, n_events``."""

    site: np.ndarray
    table: pd.DataFrame


class SiteFates(NamedTuple):
    """``table`` of sites: ``site, y_px, x_px, n_before, n_after, fate``; the site of each event ``before`` and ``after``."""

    table: pd.DataFrame
    before: np.ndarray
    after: np.ndarray


def find_sites(events: Events, *, radius_px: float = 5.0) -> Sites:
    """Group events that come from about the same place.

    Groups are joined while the mean distance between their events' centres is at most ``radius_px`` (average linkage), so
    that a chain of events along a dendrite does not become one site.

    Parameters
    ----------
    events : Events
        N events with masks.
    radius_px : float
        Greatest mean distance within a site, pixels.

    Returns
    -------
    Sites

    Raises
    ------
    ValueError
        For events without masks or a radius not above 0.
    """
    check_positive("radius_px", radius_px, "pixels")
    places = centres(events)[:, 1:]
    joined = fcluster(linkage(places, "average"), radius_px, "distance") - 1 if len(places) > 1 else np.zeros(len(places), int)
    n_events = np.bincount(joined)
    rank = np.argsort(-n_events, kind="stable")
    site = np.argsort(rank)[joined]
    table = pd.DataFrame({"site": site, "y_px": places[:, 0], "x_px": places[:, 1]})
    grouped = table.groupby("site")
    return Sites(site, grouped.mean().assign(n_events=grouped.size()).reset_index())


def site_fates(before: Events, after: Events, *, radius_px: float = 5.0) -> SiteFates:
    """Tell which sites fell silent, which are new and which fire in both of two recordings of one field.

    A site that fires rarely may be missed in either by chance: recordings should be of equal length, and sites with one event
    say little.

    Parameters
    ----------
    before, after : Events
        N and M events with masks, in fields aligned to each other.
    radius_px : float
        As in `find_sites`.

    Returns
    -------
    SiteFates

    Raises
    ------
    ValueError
        As `find_sites`.
    """
    both = []
    for number, events in enumerate((before, after)):
        if events.masks is None:
            raise ValueError(f"{('before', 'after')[number]} must have masks; make them with transients.events_from_label")
        # Events are kept in order of onset: those of the second recording all come later.
        table = events.table[["roi", "onset_s", "peak_s", "offset_s", "amplitude"]].copy()
        table[["onset_s", "peak_s", "offset_s"]] = float(number)
        both.append((table, events.masks))
    sites = find_sites(
        Events(pd.concat([table for table, _ in both], ignore_index=True), both[0][1] + both[1][1]), radius_px=radius_px
    )
    earlier, later = sites.site[: len(before)], sites.site[len(before) :]
    n_before, n_after = (np.bincount(site, minlength=len(sites.table)) for site in (earlier, later))
    fate = np.select([n_after == 0, n_before == 0], FATES[:2], FATES[2])
    table = sites.table.drop(columns="n_events").assign(n_before=n_before, n_after=n_after, fate=fate)
    return SiteFates(table, earlier, later)
