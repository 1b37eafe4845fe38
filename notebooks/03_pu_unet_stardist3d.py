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
# # Miniature synaptic transients, and learning from labels with gaps
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/calcium-helpers/calcium_helpers/blob/main/notebooks/03_pu_unet_stardist3d.ipynb)
#
# **What you will get.** Small dim events on dendrites, of which a quarter is labelled; a risk that allows for the others; a
# short training; a 3D U-Net and StarDist-3D, scored on a movie that they never saw; a threshold chosen without the truth;
# touching events kept apart; and what a drug changes.
#
# **How long it takes.** One to two minutes on two processor cores. No GPU, no download.
#
# **Papers.** F. Beaupré et al., *Quantitative Analysis of Miniature Synaptic Calcium Transients Using Positive Unlabeled Deep
# Learning*, Digital Discovery 2025, doi:10.1039/D4DD00197D. Risk: R. Kiryo et al. 2017, arXiv:1703.00593. Networks: Ö. Çiçek et
# al. 2016, arXiv:1606.06650; M. Weigert et al. 2020, arXiv:1908.03636.

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
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import calcium_helpers as ch
from calcium_helpers import metrics, plots, simulate, transients, widgets
from calcium_helpers.io.msct import read_streams, write_streams
from calcium_helpers.models import msct
from calcium_helpers.models.msct import events, risks, training
from calcium_helpers.models.unet3d import UNet3DConfig
from matplotlib_inline.backend_inline import set_matplotlib_formats

set_matplotlib_formats("jpeg", pil_kwargs={"quality": 60})
plt.rcParams["figure.dpi"], _ = 64, torch.set_num_threads(1)

# %% tags=["parameters"]
steps = 160  # @param {type: "integer"}
seed = 1  # @param {type: "integer"}

# %% [markdown]
# ## What a transient is
# A vesicle is released, and calcium enters one spine: a spot of a micrometre brightens for half a second. It is a small
# **volume** in time and space, dim beside dendrites that are bright all the time. This movie is simulated, so that we know its
# events. Left, one frame; right, an event from above (XY), and over time along x and y: a sudden onset, a slow decay. With a
# kernel, go through the movie below.

# %%
held = simulate.synaptic_events(seed=seed)
movie, truth = transients.normalise(held.movie), held.events
shown, frame = 10, 141  # an event, and when it is brightest
fig, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained", width_ratios=(1.2, 1))
plots.show_transients(movie, frame, truth=truth, ax=axes[0])
_ = plots.show_event(movie, truth, shown, ax=axes[1])

# %%
widgets.explore_transients(movie, truth=truth, frame=frame)

# %% [markdown]
# ## The label problem
# Nobody labels them all. So let a quarter be labelled, at random. Left, all events over the highest brightness of each pixel;
# right, how bright they are. Those without a label are **no other kind**. A network that is told "the rest is no event" is told
# so of three events in four, and learns to say no.

# %%
(part,) = transients.withhold([transients.from_labels(movie, held.label, name="held")], share=0.25, how="random", seed=seed)
labels = [np.where((part.label > 0) == known, held.label, 0) for known in (True, False)]
groups = labelled, hidden = [transients.events_from_label(label, movie) for label in labels]
measured, names = [transients.measure_events(each, movie) for each in groups], ("labelled", "without a label")
fig, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
plots.show_transients(movie, (0, movie.n_frames), labelled, truth=hidden, names=names, ax=axes[0])
ax = plots.show_features(pd.concat(measured), "intensity_mean", np.repeat(names, [len(each) for each in groups]), ax=axes[1])
_ = ax.set_ylabel("mean brightness (1: dendrites at rest)")

# %% [markdown]
# ## A risk for positive and unlabelled voxels
# Let $\ell^+(g)$ be the loss of an output $g$ where the truth is "event", $\ell^-(g)$ where it is not. Of the unlabelled
# voxels a share $\pi$, the **prior**, is positive. Their mean loss as negatives mixes that of true negatives and that of hidden
# positives, which are like the labelled ones; so these can be taken out. With $a$ the share of voxels without a label,
#
# $$R = (1-a+a\pi)\,\mathbb{E}_{\mathrm{labelled}}\,\ell^+(g) + a\,\max\bigl(0,\;\mathbb{E}_{\mathrm{unlabelled}}\,\ell^-(g)
# - \pi\,\mathbb{E}_{\mathrm{labelled}}\,\ell^-(g)\bigr)$$
#
# Without the maximum it is **unbiased**, right on average. But a network may learn its voxels by heart; then the difference
# falls below zero, which no mean of losses can. With the maximum it is **non-negative**, nnPU: there training goes back up.
# With $\pi=0$ it is **plain**: unlabelled is negative.
#
# A small classifier sees cubes of 5 x 5 x 5 voxels: 200 labelled ones, and 1000 others, of which 300 lie in events.

# %% tags=["nbval-check-output"]
easy = simulate.SynapseConfig(n_frames=200, height=96, width=96, n_events=16, amplitude=0.5, distractors_per_min=0)
drawn = [simulate.synaptic_events(easy, seed=100 + i) for i in range(12)]
full = [transients.from_labels(transients.normalise(one.movie), one.label, name=str(i)) for i, one in enumerate(drawn)]
pieces, fresh = (risks.draw_pieces(training.look(full[i]), n * 500, n * 700) for i, n in ((0, 1), (1, 3)))
courses = risks.follow_risks(pieces, 200, fresh)
fig, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
plots.show_risks(courses, ax=axes[0]), plots.show_risks(courses, hidden=True, ax=axes[1])
plain, unbiased, nnpu = courses.values()
print(f"unbiased: the estimate ends below 0: {unbiased.estimate[-1] < 0}; worse than nnPU: {unbiased.true[-1] > nnpu.true[-1]}")
print(f"hidden positives: above a half with nnPU: {nnpu.hidden[-1] > 0.5}; below a quarter, plain: {plain.hidden[-1] < 0.25}")

# %% [markdown]
# ## A short training
# A small 3D U-Net sees crops of eight movies, a quarter of their events labelled. Nobody gives the prior: a first network
# learns plainly, and where it is surest on four other movies, unlabelled voxels are counted for each labelled one (Garg et al.
# 2021, arXiv:2111.00980: an upper bound, rough after so short a training). A second one learns with it. Right, the highest
# probability that it gives to each pixel of a movie that neither saw.

# %% tags=["nbval-check-output"]
few, folder = transients.withhold(full, share=0.25, how="random", seed=seed), Path(tempfile.mkdtemp())
config = msct.PUConfig(batch=8, crop=(12, 24, 24), fit=replace(msct.PUConfig().fit, steps=steps, every=steps // 10))
small = msct.train("msct-unet", folder / "net", few[:8], few[8:], network=UNet3DConfig((4, 8, 16)), config=config)
quiet = [ch.Movie(stream.movie, fs=easy.fs) for stream in full[8:]]
said = events.predict_probability(small.model, quiet[-1])
prior = risks.hidden_share([training.look(stream) for stream in few[8:]], [stream.label for stream in full[8:]], config)
fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", width_ratios=(1.2, 1))
plots.show_history(small.history, ax=axes[0]).set_title(f"prior: estimated {small.prior:.3f}, true {prior:.3f}")
plots.show_transients(ch.Movie(said, fs=easy.fs), (0, 200), truth=drawn[-1].events, limits=(0, 1), ax=axes[1])
told = said[(full[-1].label > 0) & (few[-1].label == 0)].mean() / said[full[-1].label == 0].mean()
print(f"hidden events are called five times as probable as what is none: {told > 5}")

# %% [markdown]
# ## Both networks on a movie that they never saw
# The package's networks learned for longer, from many simulations. The **U-Net** says how probably each voxel belongs to an
# event; a watershed cuts volumes. **StarDist** says how central a voxel is, and how far its event reaches along 48 rays; of
# polyhedra that overlap the surest stays. The third learned nothing: voxels above 4 standard deviations of their noise. Events
# match one to one within half a second and 0.8 µm.

# %% tags=["nbval-check-output"]
nets = {kind: msct.load_transient_net(kind) for kind in ("msct-unet", "msct-stardist")}
ready = {kind: net._replace(thresholds=net.thresholds._replace(score=0.0)) for kind, net in nets.items()}  # to rank them all
found = {kind: msct.find_transients(movie, net) for kind, net in ready.items()}
found["by threshold"] = transients.detect_by_threshold(movie)
least = {kind: net.thresholds.score for kind, net in nets.items()} | {"by threshold": 0.0}
called = {name: some.select(some.table["score"].to_numpy() >= least[name]) for name, some in found.items()}
curves = {name: metrics.detection_curve(some, truth) for name, some in found.items()}
fig, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
plots.show_transients(movie, (0, movie.n_frames), called["msct-unet"], truth=truth, names=("U-Net", "true"), ax=axes[0])
plots.show_pr_curve(curves, thresholds=least, ax=axes[1])
for kind in nets:
    score, ap = metrics.match_events(called[kind], truth), [curves[one].average_precision for one in (kind, "by threshold")]
    print(f"{kind}: precision, recall above 0.6, 0.3: {min(score.precision / 2, score.recall) > 0.3}; more AP: {ap[0] > ap[1]}")

# %% [markdown]
# ## Where to draw the line
# Which score makes an event? With hidden events precision cannot be measured: what looks wrong may be right. But where labels
# are a random sample, squared recall over the number of events called grows with the product of true precision and recall
# (Lee and Liu 2003). This **surrogate**, from a quarter of the labels of four movies, and the F1 that only the truth tells:
# the package's thresholds were chosen so. Below, move that of the U-Net.

# %% tags=["nbval-check-output"]
ranked = transients.join_events([msct.find_transients(one, ready["msct-unet"]) for one in quiet], [200] * 4, fs=easy.fs)
known = [[transients.events_from_label(one.label, m) for one, m in zip(some[8:], quiet, strict=True)] for some in (few, full)]
blind, sighted = (metrics.detection_curve(ranked, transients.join_events(one, [200] * 4, fs=easy.fs)) for one in known)
plots.show_surrogate(blind, sighted)
reached = sighted.f1[np.argmax(blind.recall * blind.precision)] / sighted.f1.max()
print(f"chosen without the truth, F1 is more than three quarters of the best: {reached > 0.75}")

# %%
widgets.explore_threshold(movie, found["msct-unet"], truth, threshold=least["msct-unet"])

# %% [markdown]
# ## Events that touch
# Two neighbouring spines, or one spine twice, may fire within a moment. Connected voxels become one event; the watershed floods
# from summits of probability and light; StarDist draws each event from its own centre. A colour is an event.

# %% tags=["nbval-check-output"]
merged = transients.connected_volumes(transients.label_from_events(found["msct-unet"], movie.shape) > 0)
first = {"true": truth, "connected voxels": transients.events_from_label(merged, movie), "msct-unet": found["msct-unet"]}
fig, axes = plt.subplots(1, 4, figsize=(16, 4.4), layout="constrained")
for ax, (name, some) in zip(axes, (first | {"msct-stardist": called["msct-stardist"]}).items(), strict=True):
    plots.show_event(movie, truth, (23, 24), outlined=some, margin=(6, 8, 8), ax=ax).set_title(name)
print(f"the watershed finds more events than connected voxels: {len(first['msct-unet']) > merged.max()}")

# %% [markdown]
# ## Before and after
# Eight neurons, each simulated twice: at rest, and with a drug that halves the number of events and slows their decay. These
# are true events, not found ones. Neurons are the units: each measure is compared by a paired test, corrected for their number;
# a classifier tells the conditions apart in neurons that it did not learn from. Two clusters of events are stable if they come
# back when events are drawn again.

# %% tags=["nbval-check-output"]
rest = simulate.SynapseConfig(height=80, width=80)
conditions = {"before": rest, "after": replace(rest, n_events=rest.n_events / 2, decay_s=(0.8, 2.4))}
twice = {(i, when): simulate.synaptic_events(one, seed=200 + i) for i in range(8) for when, one in conditions.items()}
measured = [transients.measure_events(x.events, x.movie).assign(neuron=i, when=when) for (i, when), x in twice.items()]
both = pd.concat(measured, ignore_index=True)
compared = transients.compare_conditions(*(both[both["when"] == when] for when in conditions)).set_index("measure")
chosen = transients.prune_correlated(both[["duration_s", "area_um2", "intensity_max", "aspect", "decay_s", "extent"]]).features
told = transients.what_distinguishes(chosen, both["when"], both["neuron"], n_permutations=39)
kinds = transients.find_subtypes(np.log(chosen[["duration_s", "area_um2"]]), k=2)
fig, axes = plt.subplots(1, 4, figsize=(16, 4), layout="constrained", width_ratios=(1.4, 1, 1, 1))
fates = transients.site_fates(*(twice[0, when].events for when in conditions)).table
plots.show_sites(fates, twice[0, "before"].structure, pixel_um=rest.pixel_um, ax=axes[0])
for ax, feature in zip(axes[1:3], ("duration_s", "decay_s"), strict=True):
    plots.show_features(both, feature, both["when"], ax=ax)
plots.show_features(both, "area_um2", kinds.labels + 1, ax=axes[3]).set_title(f"clusters, stability {kinds.stability:.2f}")
q, change = compared.loc[["events", "duration_s"], "q"], compared.loc[["events", "duration_s"], "difference"]
print(f"fewer and longer events: {change.iloc[0] < 0 < change.iloc[1]}, with q below 0.05: {(q < 0.05).all()}")
print(f"told in other neurons, balanced accuracy above 0.6: {told.score > 0.6}, p below 0.05: {told.p < 0.05}")

# %% [markdown]
# ## Your own movie
# Annotate some events by points, which grow to volumes, or by a label movie: not all, but at random, not the brightest. The
# layout is that of the published data, `train|valid/<stream>/{input,label,events}`: both are read alike.

# %%
ch.save_movie(held.movie, folder / "mine.tif")
labelled.table[["t_frame", "y_px", "x_px"]].to_csv(folder / "clicks.csv", index=False)
mine = transients.normalise(ch.load_movie(folder / "mine.tif"))
write_streams(folder / "data.h5", {"train": [transients.from_points(mine, pd.read_csv(folder / "clicks.csv"), name="mine")]})
(back,) = read_streams(folder / "data.h5", split="train")
print(f"{len(labelled)} points, {len(back.events)} volumes; Dice with the truth: {metrics.dice(back.label, part.label):.1f}")

# %% [markdown]
# Without Python:
#
# ```
# calcium-helpers annotate mine.tif --points clicks.csv --fs 10 -o data.h5
# calcium-helpers annotate other.tif --points others.csv --fs 10 -o data.h5 --split valid
# calcium-helpers train msct-unet --template mine.yaml
# calcium-helpers train msct-unet --config mine.yaml
# calcium-helpers optimize msct-unet --config mine.yaml
# calcium-helpers predict msct-unet --config mine.yaml
# ```
#
# With the package's network: `msct.find_transients(ch.load_movie("mine.tif", fs=10))`. It learned from simulations: look first.
#
# **Next.** `04_spike_gan`: from fluorescence to spikes and back.
