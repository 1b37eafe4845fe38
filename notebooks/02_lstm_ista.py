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
# # Cells that overlap: unrolled sparse coding, memory and slots
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/calcium-helpers/calcium_helpers/blob/main/notebooks/02_lstm_ista.ipynb)
#
# **What you will get.** An old algorithm turned into layers of a network; one of its iterations done by hand; slots that share
# out the cells among themselves; a short training; then the trained network on a crowded two-photon movie: footprints that
# overlap, clean traces, amplitudes, and how much of the truth that is.
#
# **How long it takes.** One to two minutes on two processor cores. No GPU, no download.
#
# **Paper.** K. Zhang, S. Tang, V. Zhu, M. Barchini and W. Yang, *An end-to-end recurrent compressed sensing method to denoise,
# detect and demix calcium imaging data*, Nature Machine Intelligence 2024, doi:10.1038/s42256-024-00892-w. Unrolling: K. Gregor
# and Y. LeCun, *Learning fast approximations of sparse coding*, ICML 2010; J. Zhang and B. Ghanem, *ISTA-Net*, CVPR 2018,
# doi:10.1109/CVPR.2018.00196.

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
from torch.nn import functional as F

import calcium_helpers as ch
from calcium_helpers import manifest, metrics, motion, plots, simulate, traces
from calcium_helpers.models import lstm_ista
from calcium_helpers.movie import summarise
from calcium_helpers.training import FitConfig, fit
from matplotlib_inline.backend_inline import set_matplotlib_formats

set_matplotlib_formats("jpeg", pil_kwargs={"quality": 70})
plt.rcParams["figure.dpi"] = 64
_ = torch.manual_seed(0), torch.set_num_threads(1)

# %% tags=["parameters"]
real = "neurofinder_7hz"  # @param {type: "string"}
steps = 80  # @param {type: "integer"}
seed = 0  # @param {type: "integer"}

# %% [markdown]
# ## Why unroll an algorithm
# A pixel of a two-photon frame holds a few photons: mostly noise. What is true of the frame is simple, since few cells light up
# at a time. **Sparse coding** uses this: describe the frame as a sum of few discs. ISTA, the iterative shrinkage-thresholding
# algorithm, finds them: step towards the data, shrink everything by a threshold, and again, a hundred times or more. And
# somebody must choose disc and threshold; those below are good ones for these frames.
#
# An iteration is a convolution and a threshold, just like a layer of a network. So write down a few iterations as layers, and
# let training choose the step, the threshold, and instead of discs a transform and its inverse: that is **unrolling**. Below,
# the four brightest frames of a simulated field, in units of their noise. What is between the blocks need not look like a
# frame: only what leaves the last one is compared with the truth.

# %%
net = lstm_ista.load_lstm_ista()
fields = [lstm_ista.draw_field([900, i]) for i in (13, 9, 10, 5)]  # none that the network learned from
light = torch.from_numpy(np.einsum("kt,khw->thw", fields[0].courses.clip(0), fields[0].profiles.astype(np.float32)))
bright = light.square().mean(dim=(1, 2)).topk(4).indices
noisy, clean = torch.from_numpy(fields[0].movie)[bright, None].float(), light[bright, None]
at = torch.arange(-10.0, 11)
disc = torch.sigmoid((6 - torch.hypot(at[:, None], at)) / 0.7)[None, None]  # radius 6 px, a soft edge
rate, threshold = 1 / disc.sum() ** 2, 20  # longer steps would diverge
code, errors = torch.zeros_like(noisy), []
for _ in range(200):
    residual = F.conv2d(code, disc, padding=10) - noisy
    code = (code - rate * F.conv2d(residual, disc, padding=10) - rate * threshold).clamp(min=0)  # cells only add light
    plain = F.conv2d(code, disc, padding=10)
    errors.append(float((plain - clean).norm() / clean.norm()))

# %% tags=["nbval-check-output"]
x, stages = torch.zeros_like(noisy), {"noisy": noisy}
for i, block in enumerate(net.blocks, 1):
    stages[f"block {i}"] = x = block(x, noisy)[0].detach()
learned = [float((stage - clean).norm() / clean.norm()) for stage in stages.values()]
stages |= {"plain ISTA": plain, "true": clean}
fig, axes = plt.subplots(2, 1, figsize=(11, 5), layout="constrained")
axes[0].semilogx(np.arange(1, len(errors) + 1), errors, label="plain ISTA")
axes[0].semilogx(np.arange(1, len(learned)), learned[1:], "ok-", label="the network's blocks")
axes[0].set(xlabel="iterations", ylabel="error (1: nothing found)", ylim=(0, 2)), axes[0].legend(frameon=False)
plots.show_blocks({name: frames[0, 0] for name, frames in stages.items()}, limits=(-1, 6), label="noise sd", ax=axes[1])
print(f"{i} blocks leave less error than {10 * i} plain iterations: {learned[-1] < errors[10 * i - 1]}")

# %% [markdown]
# ## One iteration by hand
# Step towards the data; transform; shrink; transform back. Step and threshold are two learned numbers a block. A part of the
# loss, called symmetry, asks that the inverse undoes the transform.

# %% tags=["nbval-check-output"]
block = net.blocks[1]
start = net.blocks[0](torch.zeros_like(noisy), noisy)[0]
r = start - block.step * (start - noisy)
code = block.forward_transform(r)
shrunk = code.sign() * (code.abs() - F.softplus(block.threshold)).clamp(min=0)
by_hand, module = block.inverse_transform(shrunk), block(start, noisy)[0]
print(f"by hand and by the module, the same: {torch.allclose(by_hand, module, atol=1e-5)}")

# %% [markdown]
# ## Memory, attention, slots
# A convolutional LSTM carries through time what was seen before. Then cells must be drawn, and nobody knows how many there are.
# A **slot** stands on every fourth pixel. It attends to the frames in which something near it was active, averages the movie
# over them, and from these images draws one footprint, free to overlap with others, and says how sure it is that there is a
# cell.
#
# Which slot should draw which cell? In the published work the outputs of a tile had an order, that of first spikes; cells
# beyond the eighth were lost. And with an order, one early spike makes all right answers wrong. Here slots and true cells are
# **matched** first: of all ways to pair them, one to one, take the cheapest (the Hungarian method; the cost counts distance,
# wrong pixels and doubt). The loss is taken of these pairs, and slots without a cell are to say so. Below, what it costs
# to call each slot of one tile each of its cells, blank where it is too far; ringed, the matching, silent cells left out. So
# the order of the cells does not matter.

# %% tags=["nbval-check-output"]
one = lstm_ista.tile_batches(fields[:1], lstm_ista.TrainConfig(batch=1))(np.random.default_rng(seed))
output = net(one.movie)
cost = lstm_ista.matching_cost(output, one.masks[0], 0).detach().numpy()
pairs = lstm_ista.match_slots(output, one)
ax = plots.show_matching(np.where(cost < 1000, cost, np.nan), np.column_stack([pairs.slot, pairs.cell]))
loss = lstm_ista.lstm_ista_loss()
turned = one._replace(masks=one.masks.flip(1), weight=one.weight.flip(1))
print(f"cells in another order, the same loss: {bool(torch.isclose(loss(net, one), loss(net, turned), rtol=1e-4))}")

# %% [markdown]
# ## A short training
# A network of less than half the size learns from tiles of four simulated fields, turned and mirrored. The package's network
# saw hundreds of fields in thousands of steps (`calcium-helpers train lstm-ista`). Kinetics, density, noise, neuropil and
# optics of each were drawn at random: this variety counts for more than size.

# %% tags=["nbval-check-output"]
small = lstm_ista.LSTMISTA(lstm_ista.NetworkConfig(n_blocks=2, filters=4, hidden=8, looks=2, head=8))
batches = lstm_ista.tile_batches(fields, lstm_ista.TrainConfig(n_bins=40, tile_px=24, batch=2))
history = fit(small, batches, loss, config=FitConfig(steps=steps, every=8, learning_rate=4e-3, seed=seed))
plt.figure(figsize=(6, 2.6), layout="constrained")
plt.plot(history.step, history.loss, "o-")
plt.xlabel("step"), plt.ylabel("loss, mean of 8 steps"), plt.ylim(0, None)
print(f"the loss falls by more than a quarter: {history.loss[-2:].mean() < 0.75 * history.loss[0]}")

# %% [markdown]
# ## The trained network on a crowded movie
# One minute at 30 Hz, simulated; a third of the cells share much of their mask with a neighbour. `detect` averages frames over
# half a transient, shows the network of each tile of the field those bins in which something is active, and makes one cell of
# what neighbouring slots or tiles drew twice. Cells are filled where they were found; dashes are the truth.

# %% tags=["nbval-check-output"]
crowded = simulate.TwoPhotonConfig(n_frames=1800, height=128, width=128, n_cells=36, min_distance_px=4)
truth = simulate.two_photon(crowded, seed=seed)
movie, shifts = motion.register(truth.movie)
found = lstm_ista.detect(movie, valid=shifts.valid, bad_frames=shifts.bad_frames)
cells = found.accepted().footprints
fig, axes = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
for ax in axes:
    plots.show_overlaps(cells, summarise(movie).max, truth=truth.footprints, ax=ax)
axes[1].set(xlim=(50, 100), ylim=(75, 25), title="enlarged")
matching = metrics.match_footprints(cells, truth.footprints)
print(f"cells found with an F1 (IoU of at least 0.5) above 0.8: {matching.f1 > 0.8}")

# %% [markdown]
# ## Clean traces, amplitudes kept
# Traces at the full rate come from a fit of all footprints and a background to every frame, so that overlapping cells share
# their light. The trace head, convolutions over time, then takes out the noise. In the published work each tile was scaled
# to its own range, and amplitudes were lost. Here a trace twice as large stays twice as large: counts remain counts, and
# over the light at rest they are dF/F. Left, cells of the enlarged place, as found in blue, the truth in orange below.
# Right, peaks: found ones are lower throughout, since the light at rest includes the tissue above and below the cell.

# %% tags=["nbval-check-output"]
clean_traces = found.extras["denoised_traces"].select(found.scores["accepted"].to_numpy())
rest = traces.estimate_baseline(traces.extract_traces(movie, cells)) - simulate.OFFSET
dff = clean_traces.replace(values=clean_traces.values / rest, kind="dff")
fig, axes = plt.subplots(1, 2, figsize=(13, 4.5), layout="constrained", width_ratios=(2.5, 1))
middle = truth.footprints.centroids[matching.pairs[:, 1]]
shown = matching.pairs[(np.abs(middle - (50, 75)) < 25).all(axis=1)][:7]  # cells of the enlarged place
for i, (mine, true) in enumerate(shown):
    axes[0].plot(dff.times_s, dff.values[mine] - 4 * i, "C0", linewidth=0.8)
    axes[0].plot(dff.times_s, truth.calcium.values[true] - 4 * i - 1.5, "C1", linewidth=0.8)
axes[0].plot([61, 61], [0, 2], "k", linewidth=2), axes[0].text(61.5, 1, "2 dF/F", rotation=90, va="center")
axes[0].set_yticks(-4 * np.arange(i + 1), cells.ids[shown[:, 0]])
axes[0].set(xlabel="time (s)", ylabel="cell id")
peaks = truth.calcium.values[matching.pairs[:, 1]].max(axis=1), dff.values[matching.pairs[:, 0]].max(axis=1)
axes[1].plot(*peaks, "o"), axes[1].axline((0, 0), slope=1, color="0.6")
axes[1].set(xlabel="true peak (dF/F)", ylabel="found peak (dF/F)")
correlation = metrics.trace_correlation(dff, truth.calcium, matching)
print(f"traces of matched cells follow their calcium, mean r above 0.8: {correlation.matched > 0.8}")
print(f"what is brighter stays brighter, r of peaks above 0.7: {np.corrcoef(peaks)[0, 1] > 0.7}")

# %% [markdown]
# ## A real recording
# Where the file is at hand, a crop of mouse cortex (Neurofinder, 86 s at 7 Hz). People drew 80 regions in it, of which half are
# silent in these seconds: no truth, so look at outlines and traces. These are the 80 cells of which the network is most
# certain, and the clean traces of the ten surest.

# %%
at_hand = (manifest.verify([real])["status"] == "ok").all()
if at_hand:
    steady, moved = motion.register(ch.load(real, progress=False))
    most = lstm_ista.LSTMISTAConfig(max_cells=80)  # as many as were labelled
    live = lstm_ista.detect(steady, config=most, valid=moved.valid, bad_frames=moved.bad_frames)
    surest = live.accepted().scores.nlargest(10, "confidence").index
    fig, axes = plt.subplots(1, 2, figsize=(13, 5), layout="constrained", width_ratios=(1, 1.4))
    plots.show_overlaps(live.accepted().footprints, summarise(steady).max, ax=axes[0])
    plots.show_traces(live.extras["denoised_traces"].select(np.sort(surest)), ax=axes[1])
print(f"{real}: {live.scores['accepted'].sum()} cells" if at_hand else f"{real} is not on this machine")

# %% [markdown]
# ## Your own recording
# Fill in a path. On Colab it may lie on Google Drive (`/content/drive/MyDrive/...`), or be `upload`.

# %%
# @title Your own recording (does nothing while the path is empty)
OWN = ""  # @param {type:"string"}
OWN_FS = 30.0  # @param {type:"number"}
if OWN:
    movie = ch.load_movie(ch.own_file(OWN), fs=OWN_FS)
    results = ch.run(movie, ch.PipelineConfig.for_modality("2p", detector="lstm-ista"), out="out")
    print(len(results.footprints), "components;", ch.write_report(results, "out"), ch.write_tables(results, "out").cells)

# %% [markdown]
# Without Python: `calcium-helpers report my.tif --modality 2p --detector lstm-ista -o out/`.
#
# **Next.** `04_spike_gan`: from fluorescence to spikes. `05_analysis_report`: every step from movie to report.
