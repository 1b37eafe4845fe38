# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Coordinates that find cells in a one-photon movie
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/calcium-helpers/calcium_helpers/blob/main/notebooks/01_one_photon_localisation.ipynb)
#
# **What you will get.** A miniscope movie, its motion and its glow removed; coordinates that start anywhere and learn to sit
# in the centres of active cells, without a single label; a footprint, a trace and a confidence of each; and how much of the
# truth that is.
#
# **How long it takes.** One to two minutes on two processor cores. No GPU, no download.
#
# **Idea.** W. P. K. Teng, P. Putti and L. Schneider, with M. Lippert and S. Stober: *Data Analysis for Single Photon Calcium
# Imaging with Deep Learning*, project report, Otto von Guericke University and Leibniz Institute for Neurobiology, Magdeburg,
# 2021 (github.com/twpkevin06222/Data-Analysis-for-Single-Photon-Calcium-Imaging-with-Deep-Learning).

# %% tags=["bootstrap"]
# @title Install the package (does nothing where it is installed)
import importlib
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    version("calcium-helpers")
except PackageNotFoundError:
    if "google.colab" in sys.modules:
        repository = "https://github.com/calcium-helpers/calcium_helpers"
        if not Path("calcium_helpers").exists():
            subprocess.run(["git", "clone", "-q", "--depth", "1", repository], check=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "./calcium_helpers"], check=True)
        importlib.invalidate_caches()
    else:
        print("Install first: pip install git+https://github.com/calcium-helpers/calcium_helpers")

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import calcium_helpers as ch
from calcium_helpers import manifest, metrics, motion, plots, widgets
from calcium_helpers.background import remove_background
from calcium_helpers.models import one_photon
from calcium_helpers.models.one_photon.blobs import Coordinates, Scene, render_seen
from calcium_helpers.movie import summarise
from matplotlib_inline.backend_inline import set_matplotlib_formats

set_matplotlib_formats("jpeg", pil_kwargs={"quality": 60})
plt.rcParams["figure.dpi"] = 60
_ = torch.set_num_threads(1)

# %% tags=["parameters"]
recording = "demo_1p_small"  # @param {type: "string"}
real = "miniscope"  # @param {type: "string"}
diameter_px = 12  # @param {type: "integer"}
cell = 6  # @param {type: "integer"}
seed = 0  # @param {type: "integer"}

# %% [markdown]
# ## A raw one-photon movie, and why it is hard
# A miniscope sees the light of all depths at once. A cell adds a few percent to a glow that is brighter in the middle of the
# field, waxes and wanes with the tissue below, and is crossed by vessels. This movie is simulated, so that we know where its
# cells are. A frame hardly shows them. The standard deviation over time shows the brightest few: what varies most are the
# edges of vessels, as the brain moves under the lens, and the glow.

# %%
truth = ch.load(recording, progress=False)
movie = truth.movie
print(movie)
print(f"{len(truth.footprints)} cells")
fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
plots.show_image(movie.frames(0, 1)[0], label="counts", ax=axes[0]).set_title("one frame")
_ = plots.show_image(movie.frames().std(axis=0), label="counts", ax=axes[1]).set_title("standard deviation over time")

# %% [markdown]
# ## Motion and background
# Motion is measured on fine structure, where the glow does not count. Then each pixel loses its share of the light around it;
# a vessel shows less of the glow than the tissue beside it. Left, the movie after both, as the peak of each pixel over its
# noise: cells, and faint edges where motion was not caught to the last tenth of a pixel. Right, a pixel in the middle of a dim
# cell, and the calcium that it should show.

# %%
corrected, shifts = motion.register(movie, config=motion.ONE_PHOTON)
clean = remove_background(corrected, diameter_px=diameter_px)
image = np.log(summarise(clean).pnr.clip(4))  # below 4 there is noise alone
centres = np.rint(truth.footprints.centroids).astype(int)
y, x = centres[cell]
rows = {"raw": movie.frames()[:, y, x], "cleaned": clean.frames()[:, y, x], "calcium": truth.calcium.values[cell]}
fig, axes = plt.subplots(1, 2, figsize=(12, 4), layout="constrained", width_ratios=(1, 1.6))
plots.show_image(image, label="log of peak over noise", ax=axes[0])
for i, row in enumerate(rows.values()):
    axes[1].plot(truth.calcium.times_s, (row - np.median(row)) / np.ptp(row) - 1.1 * i, linewidth=0.8)
axes[1].set_yticks(-1.1 * np.arange(3), rows)
axes[1].set(xlabel="time (s)", title=f"one pixel of cell {cell}; each row on its own scale")
plt.show()

# %% tags=["nbval-check-output"]
r = np.corrcoef(list(rows.values()))[2]
print(f"motion is known within a fifth of a pixel: {metrics.rigid_rms(shifts, truth.shifts) < 0.2}")
print(f"the pixel follows its cell's calcium, raw with r below 0.3: {r[0] < 0.3}; cleaned, above 0.8: {r[1] > 0.8}")

# %% [markdown]
# ## What a coordinate is
# A place (y, x) between the pixels, two radii, an angle, and how steep its edge is: numbers that a gradient can change.
# Rendered, they are a soft blob, seen through the same filter as the movie, hence the dark ring. So the background needs no
# parameters.
#
# A blob feels only what it overlaps. So learning begins with blurred blobs, which reach further, and ends with sharp ones.
# Below, the levels of blur, and the pull on a coordinate, that is the gradient of its overlap with one cell, over the distance
# between them. A diameter away a sharp blob hardly feels the cell; further out the ring pushes it off.

# %% tags=["nbval-check-output"]
config = one_photon.CoordinatesConfig(start="random")
side, distance = 8 * diameter_px + 1, torch.linspace(0, 2, 41)
scene = Scene(*torch.ones(2, side, side), float(diameter_px), 1)
places = side // 2 + diameter_px * torch.stack([0 * distance, distance], dim=1)
row, corner = Coordinates(places, diameter_px=diameter_px), torch.zeros(len(distance), 2, dtype=torch.long)
one = render_seen(row, corner, (side, side), scene, blur_px=0)[0].detach()
fig, axes = plt.subplots(1, len(config.blur_levels) + 1, figsize=(13, 3.4), layout="constrained")
pulls = {}
for ax, blur in zip(axes, config.blur_levels, strict=False):
    seen = render_seen(row, corner, (side, side), scene, blur_px=blur * diameter_px)
    (gradient,) = torch.autograd.grad((seen * one).sum(), row.place)
    pulls[blur] = -gradient[:, 1]
    plots.show_image(seen[0].detach(), ax=ax).set_title(f"blur of {blur:g} diameters")
    axes[-1].plot(distance, pulls[blur], label=f"{blur:g}")
axes[-1].set(xlabel="distance from the cell (diameters)", title="pull toward the cell")
axes[-1].legend(title="blur", frameon=False), axes[-1].axhline(0, color="0.6", linewidth=0.6), plt.show()
coarse, fine = (float(pulls[blur][distance > 1.2][0]) for blur in (max(pulls), 0))
print(f"at 1.2 diameters the most blurred blob is pulled to the cell: {coarse > 0}; the sharp one: {fine > 0}")

# %% [markdown]
# ## Watch them move
# Coordinates start at random places, one for each square of 1.5 diameters. Then, again and again, their activity is fitted in
# closed form, sparse and never negative, and each moves and changes its shape until its blob looks like what the movie shows
# when it is active. Two that come too near to each other repel. After each round their number adapts: doubles are merged, idle
# ones dropped, long ones split, new ones set where structure is left, and the flicker of edges, left by motion that was not
# caught, is taken out. It ends when nothing changes.
#
# In the published work a fixed set of 100 coordinates was drawn as nearly single pixels by a network trained before and
# frozen. Hardly any gradient came back through it, and points were all that it gave. We keep the idea, that coordinates
# themselves are learned; blobs, fit, adaptive number and all that follows are ours.

# %%
found = one_photon.detect(corrected, config=config, valid=shifts.valid, bad_frames=shifts.bad_frames, seed=seed)
plots.show_path(found, image, truth=truth.footprints)
plt.show()

# %% [markdown]
# With a running kernel, go through the steps yourself, or press play.

# %%
widgets.explore_path(found, image, truth=truth.footprints)

# %% [markdown]
# ## Footprints and traces
# A last fit gives each coordinate a footprint, its blob, and a trace at the full frame rate, light of overlapping neighbours
# taken out. Left, what was accepted; right, traces of a few cells and, in orange below each, their true calcium.

# %%
cells = found.accepted()
matching = metrics.match_points(cells.footprints.centroids, truth.footprints.centroids, max_distance_px=5)
fig, axes = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained", width_ratios=(1, 1.5))
plots.show_footprints(cells.footprints, image, ax=axes[0])
for i, (mine, true) in enumerate(matching.pairs[:8]):
    for row, colour, lower in ((cells.traces.values[mine], "C0", 0), (truth.calcium.values[true], "C1", 0.5)):
        axes[1].plot(truth.calcium.times_s, (row - np.median(row)) / np.ptp(row) - 1.7 * i - lower, colour, linewidth=0.7)
axes[1].set_yticks(-1.7 * np.arange(i + 1), cells.footprints.ids[matching.pairs[: i + 1, 0]])
axes[1].set(xlabel="time (s)", ylabel="cell id")
plt.show()

# %% tags=["nbval-check-output"]
overlap = metrics.match_footprints(cells.footprints, truth.footprints, iou=0.5)
correlation = metrics.trace_correlation(cells.traces, truth.calcium, matching)
print(f"footprints overlap with the true ones (IoU of at least 0.5), F1 above 0.9: {overlap.f1 > 0.9}")
print(f"traces of matched cells follow their calcium, mean r above 0.9: {correlation.matched > 0.9}")

# %% [markdown]
# ## Confidence
# Each component ends with a probability of being a cell, learned on simulated movies: from how far its transients stand out,
# how much the movie looks like its blob when it is active, and its shape. Below one half it is rejected; `scores` says why.

# %%
hits = metrics.match_points(found.footprints.centroids, truth.footprints.centroids, max_distance_px=5).pairs[:, 0]
true = np.isin(np.arange(len(found.footprints)), hits)
groups = [found.scores["confidence"][true], found.scores["confidence"][~true]]
plt.figure(figsize=(6, 2.6), layout="constrained")
plt.hist(groups, bins=np.linspace(0, 1, 11), stacked=True, label=["a true cell", "no true cell"], color=["C1", "C0"])
plt.xlabel("confidence"), plt.ylabel("components"), plt.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Score
# From random starts, from seeds (peaks of correlation times peak-to-noise: the default, as it is faster), and as many random
# points. A point is right when it is the partner of a true centre within 5 px, one to one.

# %% tags=["nbval-check-output"]
seeded = one_photon.detect(corrected, valid=shifts.valid, bad_frames=shifts.bad_frames, seed=seed).accepted()
y0, y1, x0, x1 = shifts.valid
points = np.random.default_rng(seed).uniform((y0, x0), (y1, x1), (len(cells.footprints), 2))
sets = (cells.footprints.centroids, seeded.footprints.centroids, points)
scores = [metrics.match_points(yx, truth.footprints.centroids, max_distance_px=5) for yx in sets]
print(f"from random starts F1 above 0.9: {scores[0].f1 > 0.9}; from seeds: {scores[1].f1 > 0.9}")
print(f"as many random points stay below 0.4: {scores[2].f1 < 0.4}")

# %% [markdown]
# ## A real recording
# A simulator shows only what its makers thought of. So here is a crop of a real miniscope recording (Dong et al. 2022,
# doi:10.7554/eLife.70661), 66 s, its glow removed by those who published it, its motion not. There is no truth: look at
# outlines and traces. Cells are so crowded here that some outlines may be parts of one cell. It is shown where the file is at
# hand. Another, raw and public: `ch.load_movie(ch.fetch("caiman_1p"), fs=10)`, at the rate that its demo gives.

# %%
at_hand = (manifest.verify([real])["status"] == "ok").all()
if at_hand:
    steady, moved = motion.register(ch.load(real, progress=False), config=motion.ONE_PHOTON)
    live = one_photon.detect(steady, valid=moved.valid, bad_frames=moved.bad_frames, seed=seed).accepted()
    fig, axes = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained", width_ratios=(1, 1.5))
    plots.show_footprints(live.footprints, np.log(summarise(steady).pnr.clip(4)), ax=axes[0])
    plots.show_traces(live.traces.select(np.arange(len(live.traces)) < 8), ax=axes[1])
    plt.show()
print(f"{real}: {len(live.traces)} cells" if at_hand else f"{real} is not on this machine")

# %% [markdown]
# ## Your own recording
# Fill in a path: a file, or a folder of AVIs as a Miniscope writes them, which is one movie with the rate of its time stamps.
# On Colab it may lie on Google Drive (`/content/drive/MyDrive/...`), or be `upload`.

# %%
# @title Your own recording (does nothing while the path is empty)
OWN = ""  # @param {type:"string"}
OWN_FS = 20.0  # @param {type:"number"}
if OWN:
    own = ch.own_file(OWN)
    movie = ch.load_movie(own, fs=None if own.is_dir() else OWN_FS)
    results = ch.run(movie, ch.PipelineConfig.for_modality("1p", detector="coordinates"), out="out")
    print(len(results.footprints), "components;", ch.write_report(results, "out"), ch.write_tables(results, "out").cells)

# %% [markdown]
# Without Python: `calcium-helpers report my_session/ --modality 1p --detector coordinates -o out/`.
#
# **Next.** `04_spike_gan`: from fluorescence to spikes. `05_analysis_report`: every step from movie to report.
