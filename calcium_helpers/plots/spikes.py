"""Pictures of fluorescence beside known spikes: what a burst of each size looks like, real or generated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calcium_helpers.plots._style import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, VERMILLION, axes_or_new, say, strip_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from calcium_helpers.spike_trains import Bursts

# Silence, then one spike, two, ...
_COLOURS = (MUTED, BLUE, GREEN, ORANGE, VERMILLION, PURPLE)
_TITLES = ("silence", "1 spike")


def show_spike_triggered(
    bursts: Bursts, generated: Bursts | None = None, *, least: int = 5, quartiles: bool = True, ax: Axes | None = None
) -> Axes:
    """Show the mean fluorescence around bursts of each size, and around silence, with the middle half of them.

    Parameters
    ----------
    bursts : Bursts
        As `spike_trains.measure_bursts` gives it.
    generated : Bursts, optional
        The same of generated traces: their means are drawn with dashes above.
    least : int
        Sizes with fewer bursts are left out; so are bursts of more than five spikes.
    quartiles : bool
        Draw the band from the lower to the upper quartile.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time from the first spike in seconds, change of dF/F.
    """
    ax = axes_or_new(ax, width=5, height=3.5)
    sizes = [n for n in range(len(_COLOURS)) if (bursts.size == n).sum() >= least]
    if not sizes:
        return say(ax, f"No size of burst occurs {least} times")
    for n in sizes:
        mine = bursts.dff[bursts.size == n]
        ax.plot(bursts.times_s, mine.mean(axis=0), color=_COLOURS[n], linewidth=1.5, label=f"{_name(n)} ({len(mine)})")
        if quartiles:
            low, high = np.percentile(mine, (25, 75), axis=0)
            ax.fill_between(bursts.times_s, low, high, color=_COLOURS[n], alpha=0.15, linewidth=0)
        theirs = generated.dff[generated.size == n] if generated is not None else mine[:0]
        if generated is not None and len(theirs) >= least:
            ax.plot(generated.times_s, theirs.mean(axis=0), color=_COLOURS[n], linewidth=1.5, linestyle="--")
    ax.axvline(0, color=INK, linewidth=0.6, linestyle=":")
    ax.set(xlabel="time from the first spike (s)", ylabel="change of ΔF/F")
    title = "generated: dashed" if generated is not None else None
    ax.legend(frameon=False, fontsize=8, title=title, title_fontsize=8, loc="upper right")
    strip_frame(ax)
    return ax


def show_spike_density(bursts: Bursts, size: int, *, limits: tuple[float, float] | None = None, ax: Axes | None = None) -> Axes:
    """Show how fluorescence is distributed at each time around bursts of one size, with its mean and quartiles.

    Parameters
    ----------
    bursts : Bursts
        As `spike_trains.measure_bursts` gives it.
    size : int
        Spikes of the burst; 0 for silence.
    limits : (float, float), optional
        Lowest and highest change of dF/F shown; by default what holds 99 % of the values. Values outside are not drawn.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time from the first spike in seconds, change of dF/F; dark where it is often.
    """
    ax = axes_or_new(ax, width=4, height=3)
    mine = bursts.dff[bursts.size == size]
    if not len(mine):
        return say(ax, f"No {_name(size)} to show")
    low, high = np.percentile(mine, (0.5, 99.5)) if limits is None else limits
    n_bins = int(np.clip(3 * len(mine) ** 0.5, 15, 60))
    edges = np.linspace(low, high if high > low else low + 1, n_bins + 1)
    share = np.array([np.histogram(column, edges)[0] for column in mine.T]).T / len(mine)
    half = (bursts.times_s[1] - bursts.times_s[0]) / 2 if len(bursts.times_s) > 1 else 0.5
    extent = (bursts.times_s[0] - half, bursts.times_s[-1] + half, edges[0], edges[-1])
    top = float(np.percentile(share[share > 0], 98)) if share.any() else 1.0
    ax.imshow(share, origin="lower", extent=extent, aspect="auto", cmap="Greys", vmin=0, vmax=top, interpolation="nearest")
    lower, upper = np.percentile(mine, (25, 75), axis=0)
    ax.plot(bursts.times_s, mine.mean(axis=0), color=VERMILLION, linewidth=1.5, label="mean")
    ax.plot(bursts.times_s, lower, color=BLUE, linewidth=0.8, label="quartiles")
    ax.plot(bursts.times_s, upper, color=BLUE, linewidth=0.8)
    if size:
        ax.axvline(0, color=INK, linewidth=0.6, linestyle=":")
    ax.set(xlabel=f"time{' from the first spike' if size else ''} (s)", ylabel="change of ΔF/F", ylim=(edges[0], edges[-1]))
    ax.set_title(f"{_name(size)} ({len(mine)})", fontsize=10)
    return ax


def _name(size: int) -> str:
    """Return what a burst of that many spikes is called."""
    return _TITLES[size] if size < len(_TITLES) else f"{size} spikes"
