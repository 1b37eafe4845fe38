"""Learned coordinates in real one-photon recordings: a miniscope with another program's units, and raw frames with vessels."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from extraction_real import MOST_MINISCOPE, detect_cnmf, miniscope
from one_photon_cells import RANDOM, SEEDS, coordinates

from calcium_helpers import io, motion
from calcium_helpers.background import Blur, estimate_share
from calcium_helpers.containers import Movie
from calcium_helpers.results import Detection


def score_miniscope(folder: Path, *, sheet: Path | None) -> list[dict[str, Any]]:
    """Score coordinates beside the factorisation, chance and a grid; the sheet shows those from seeds without a unit."""
    detectors = {
        SEEDS: coordinates(max_cells=MOST_MINISCOPE),
        RANDOM: coordinates(max_cells=MOST_MINISCOPE, start="random"),
        "cnmf": detect_cnmf,
    }
    return miniscope(folder, detectors, sheet=sheet)


def show_inscopix(folder: Path, *, figure: Path | None) -> None:
    """Correct and detect in 63 raw frames, say what came out, and draw the background that is taken out."""
    movie = io.load_movie(folder / "1p_inscopix_raw_10hz.tif", fs=10.0, progress=False)
    corrected, shifts = motion.register(movie, config=motion.ONE_PHOTON)
    found = coordinates()(corrected, valid=shifts.valid, bad_frames=shifts.bad_frames)
    largest = np.abs(shifts.rigid_yx).max()
    print(f"{movie.shape} frames; largest shift {largest:.2f} px; cells {found.extras['diameter_px']:.1f} px wide")
    print(found.funnel.to_string(index=False), found.scores.to_string(), sep="\n")
    frames = np.asarray(corrected.frames(), dtype=np.float32)
    mean = frames.mean(axis=0)
    blur = Blur(mean.shape, found.extras["diameter_px"])
    share = estimate_share(frames - mean, mean, blur)
    glow = np.stack([share.share * blur(frame - mean) for frame in frames])
    left = frames - mean - glow
    before, after = (float(np.var(part)) for part in (frames - mean, left))
    print(f"camera's offset {share.offset:.0f}; share of the blurred light {share.share.min():.2f} to {share.share.max():.2f}")
    print(f"the background explains {1 - after / before:.3f} of what changes between frames (sd {before**0.5:.1f} counts)")
    if figure is not None:
        draw_inscopix(corrected, glow, found, figure)


def draw_inscopix(movie: Movie, glow: np.ndarray, found: Detection, path: Path) -> None:
    """Mean image with cells, the background at its lowest and highest, and both frames before and after it is taken out."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    frames = np.asarray(movie.frames(), dtype=np.float32)
    mean = frames.mean(axis=0)
    level = glow.mean(axis=(1, 2))
    figure, axes = plt.subplots(2, 4, figsize=(14, 8), layout="constrained")
    show = functools.partial(_show, figure)
    show(axes[0, 0], mean, "mean image", None)
    show(axes[1, 0], (frames - mean - glow).std(axis=0), "sd of what is left (dashed: no cell)", None)
    for index in range(len(found.footprints)):
        image = found.footprints.image(index)
        style = "solid" if found.scores["accepted"].iloc[index] else "dashed"
        for ax in axes[:, 0]:
            ax.contour(image, levels=[0.2 * image.max()], colors="#D55E00", linewidths=1, linestyles=style)
    chosen = [int(level.argmin()), int(level.argmax())]
    limits = [float(np.percentile(np.abs(part[chosen]), 99.8)) for part in (frames - mean, frames - mean - glow)]
    for row, t in enumerate(chosen):
        show(axes[row, 1], frames[t] - mean, f"frame {t} less the mean", limits[0])
        show(axes[row, 2], glow[t], f"background at frame {t}", limits[0])
        show(axes[row, 3], frames[t] - mean - glow[t], f"frame {t}, background taken out", limits[1])
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _show(figure: Any, ax: Any, image: np.ndarray, title: str, limit: float | None) -> None:
    """Draw one image; around 0 in counts where a limit is given."""
    colours = {"cmap": "gray"} if limit is None else {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    figure.colorbar(ax.imshow(image, **colours), ax=ax, shrink=0.7, label="counts")
    ax.set_title(title, fontsize=9)
    ax.axis("off")
