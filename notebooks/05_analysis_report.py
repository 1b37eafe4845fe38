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
# # From a raw movie to a report
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/calcium-helpers/calcium_helpers/blob/main/notebooks/05_analysis_report.ipynb)
#
# **What you will get.** A simulated two-photon movie goes through motion correction, cell detection, traces, spikes, events and
# statistics; after each step we ask how much of the truth was recovered. Then one call does it all and writes a report.
#
# **How long it takes.** One to two minutes on two processor cores. No GPU, no download.
#
# **Methods.** Motion: phase correlation, rigid, then piecewise-rigid (Pnevmatikakis and Giovannucci 2017,
# doi:10.1016/j.jneumeth.2017.07.031). Cells: constrained non-negative matrix factorisation (Pnevmatikakis et al. 2016,
# doi:10.1016/j.neuron.2015.11.037). Spikes: non-negative deconvolution (Friedrich et al. 2017,
# doi:10.1371/journal.pcbi.1005423). Events: level crossings of noise (Rice 1945, doi:10.1002/j.1538-7305.1945.tb00453.x).

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

import calcium_helpers as ch
from calcium_helpers import deconvolve, events, metrics, motion, plots, stats, traces, widgets
from calcium_helpers.models import cnmf
from calcium_helpers.movie import summarise
from calcium_helpers.simulate import OFFSET, TwoPhotonConfig
from matplotlib_inline.backend_inline import set_matplotlib_formats

set_matplotlib_formats("jpeg", pil_kwargs={"quality": 75})  # noise in small files
rng = np.random.default_rng(0)  # chooses which cells are shown; the movie has its own seed
plt.rcParams["figure.dpi"] = 64

# %% tags=["parameters"]
recording = "demo_2p"  # @param {type: "string"}
iou = 0.5  # @param {type: "number"}
bin_s = 0.1  # @param {type: "number"}
n_shown = 8  # @param {type: "integer"}

# %% [markdown]
# ## The movie
# `load` knows recordings by name. For a simulated one it returns the movie and what is true of it: where the cells are, what
# each did, when it spiked, how far each frame had moved.

# %%
truth = ch.load(recording, progress=False)
movie = truth.movie
print(movie)
print(f"{len(truth.footprints)} cells, {int(truth.spikes.values.sum())} spikes")

# %% [markdown]
# One frame holds a few photons a pixel, so hardly a cell is seen; the mean over time shows them, but smeared: the tissue moved.

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
raw_mean = movie.frames().mean(axis=0)
for ax, image, name in zip(axes, (movie.frames(0, 1)[0], raw_mean), ("one frame", "mean of all frames"), strict=True):
    plots.show_image(image, ax=ax)
    ax.set_title(name)

# %% [markdown]
# ## Motion correction
# A cell is found because its pixels brighten *together*. Motion makes every edge flicker together too, so it has to go first.
# Two stages, because they fail differently. A rigid shift stands on the photons of the whole frame and tolerates large jumps,
# but the brain stretches: parts of the field move differently. So each block then gets its own small deviation.

# %%
rigid = motion.estimate_shifts(movie, config=replace(motion.TWO_PHOTON, piecewise=False))
corrected, shifts = motion.register(movie)
plots.show_shifts(shifts, movie.fs)
plt.show()

# %% [markdown]
# Lines are the mean shift of each frame, bands the range over its blocks. The truth knows both: *rigid RMS* is the error of a
# frame's mean displacement, *field RMS* the error at 16 x 16 points of the field.

# %% tags=["nbval-check-output"]
rigid_rms = metrics.rigid_rms(shifts, truth.shifts)
field_rms = [metrics.field_rms(estimate, truth.shifts) for estimate in (rigid, shifts)]
moved = metrics.field_rms(replace(truth.shifts, yx=0 * truth.shifts.yx), truth.shifts)
print(f"mean displacement is right within a fifth of a pixel: {rigid_rms < 0.2}")
print(f"a rigid shift takes more than half of the motion out: {field_rms[0] < 0.5 * moved}")
print(f"blocks come closer to the true field than one shift: {field_rms[1] < field_rms[0]}")

# %% [markdown]
# ## What the corrected movie shows
# The mean is sharper now. Beside it stands the correlation of each pixel with its neighbours: a cell that is bright on the left
# and absent on the right was silent.

# %%
images = summarise(corrected)
fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
plots.show_image(images.mean, label="mean (counts)", ax=axes[0])
plots.show_image(images.correlation, label="correlation", ax=axes[1])
plt.show()
widgets.play_movies({"raw": movie, "corrected": corrected})

# %% [markdown]
# ## Cells
# Seeds are places where neighbouring pixels brighten together and far above the noise. From them the movie is explained as a
# sum of *footprint x trace*, both non-negative, updating one with the other held fixed: what overlaps is taken apart. Then each
# component is judged: is it as large as a cell, does it stand above the noise, is the same footprint found in two halves of the
# recording? The funnel says how many candidates passed and why the others did not.

# %%
found = cnmf.detect(corrected, valid=shifts.valid, bad_frames=shifts.bad_frames)
fig, axes = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained", width_ratios=(1, 1.2))
plots.show_footprints(found.footprints, images.mean, accepted=found.scores["accepted"], ax=axes[0])
plots.show_funnel(found.funnel, ax=axes[1])
plt.show()

# %% [markdown]
# Found and true cells are paired one to one where their masks overlap with an intersection over union of at least 0.5.
# *Precision* is the share of what was found that is a cell; *recall* the share of the cells that was found.

# %% tags=["nbval-check-output"]
cells = found.accepted()
matching = metrics.match_footprints(cells.footprints, truth.footprints, iou=iou)
print(f"more than four of five accepted components are cells: {matching.precision > 0.8}")
print(f"F1 above 0.6: {matching.f1 > 0.6}")

# %% [markdown]
# ## Traces
# The pixels of a cell also hold light from the tissue above and below, the neuropil. It is measured in a ring around each
# cell and taken out with a share fitted to each. What is left, relative to its own resting level, is dF/F: comparable between
# a bright and a dim cell. The camera's offset, counts that mean no light, goes first, or the resting level would be wrong.

# %%
extraction = traces.extract_with_neuropil(corrected, cells.footprints)
raw, around = (signal.replace(values=signal.values - OFFSET) for signal in extraction)
dff = traces.estimate_dff(traces.subtract_neuropil(raw, around, coefficient="fit"))
shown = np.sort(rng.choice(len(cells.footprints), n_shown, replace=False))
plots.show_traces(dff.select(shown))
plt.show()

# %% [markdown]
# ## Spikes
# Calcium outlasts a spike by half a second. Deconvolution asks for the sparsest non-negative spikes whose transients add up
# to the trace within its noise. The model needs the indicator's rise and decay. The decay can be read off a trace, the rise
# hardly: whoever knows the indicator should say so. Here we know it from the simulation. Traces are scored by their
# correlation with noiseless calcium, spikes with true ones in bins of 0.1 s at lag 0.

# %% tags=["nbval-check-output"]
indicator = TwoPhotonConfig()
spikes = deconvolve.deconvolve(dff, rise_s=indicator.rise_s, decay_s=indicator.decay_s).spikes
score = metrics.trace_correlation(dff, truth.calcium, matching)
untreated = metrics.trace_correlation(traces.estimate_dff(raw), truth.calcium, matching)
print(f"correlation of matched cells with their noiseless calcium above 0.6: {score.matched > 0.6}")
print(f"taking the neuropil out helps: {score.matched > untreated.matched}")
timing = metrics.spike_correlation(spikes, truth.spikes, matching, lag_s=0, bin_s=bin_s)
early, late = (metrics.spike_correlation(spikes, truth.spikes, matching, lag_s=lag_s, bin_s=bin_s) for lag_s in (-0.1, 0.1))
print(f"spike correlation of matched cells at lag 0 above 0.5: {timing.matched > 0.5}")
print(f"no lag of 0.1 s would be better: {timing.matched > max(early.matched, late.matched)}")

# %% [markdown]
# ## Events
# A transient counts as an event when noise alone would hardly make it. You say how many false ones a minute you accept, and the
# threshold follows for each trace.

# %% tags=["nbval-check-output"]
found_events = events.detect_events(dff, rise_s=indicator.rise_s, decay_s=indicator.decay_s, false_positives_per_min=0.1)
plots.show_traces(dff.select(shown), spikes.select(shown), events=found_events)
plt.show()
true_row = dict(matching.pairs.tolist())
rows = [true_row.get(int(np.flatnonzero(dff.ids == roi)[0])) for roi in found_events.table["roi"]]
onsets = zip(rows, found_events.table["onset_s"], strict=True)
true_s = [truth.spikes.times_s[row > 0] for row in truth.spikes.values]
follows = [np.abs(true_s[row] - onset).min(initial=np.inf) < 0.25 for row, onset in onsets if row is not None]
print(f"nine of ten events of matched cells lie within 0.25 s of a true spike: {np.mean(follows) > 0.9}")

# %% [markdown]
# ## What cells do together
# Slow traces correlate by chance. So each pair is compared with circular shifts of the two, and the share of false
# discoveries is held below 5 %. On the right the same cells, shifted. These simulated cells fire on their own.

# %% tags=["nbval-check-output"]
correlation = stats.correlate(dff)
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
plots.show_correlation(correlation, ax=axes[0])
plots.show_correlation(correlation, null=True, ax=axes[1])
plt.show()
print(f"fewer than 1 in 100 pairs called correlated: {np.triu(correlation.significant, 1).mean() < 0.005}")

# %% [markdown]
# ## All of it in one call
# `run` makes the same steps. With `out=` it keeps what each step made: a second run goes on after the last finished one. Of the
# known indicators GCaMP6s is nearest to the simulated one.

# %% tags=["nbval-check-output"]
folder = Path(tempfile.mkdtemp())
config = ch.PipelineConfig.for_modality("2p", offset=OFFSET, indicator="GCaMP6s")
results = ch.run(movie, config, out=folder, given=ch.Given(truth=truth))
statistics = stats.analyse(results)
page = ch.write_report(results, folder, truth=truth.footprints, statistics=statistics)
ch.write_tables(results, folder, statistics=statistics)
again = metrics.match_footprints(results.footprints, found.footprints)
print(f"the same cells as step by step: {again.f1 == 1}")
print("written:", *sorted(path.name for path in folder.iterdir()))

# %% [markdown]
# `report.html` is one file: open it in any browser, or send it by mail (on Colab:
# `from google.colab import files; files.download(str(page))`). Point at a cell, and its trace, raster line and row in the table
# follow. Each picture lies in `figures/`, each number in `summary.json`.

# %% [markdown]
# ## You have the last word
# How strict should the judgement be? Move a threshold, and see what it lets through.

# %%
widgets.explore_quality(folder)

# %% [markdown]
# No threshold is right about every cell. Go from one to the next; accept, reject, merge, undo. Each decision is at once in
# `curation.csv`; who loads the results gets them so, and `calcium-helpers update` writes tables and report again.

# %%
widgets.browse_cells(folder, who="me")

# %% [markdown]
# ## Your own data
# TIFF, video, Miniscope folders, NWB, MATLAB, HDF5 and `.npy` are read. Fill in a path. On Colab it may lie on Google Drive
# (`/content/drive/MyDrive/...`), or be `upload`.

# %%
# @title Your own recording (does nothing while the path is empty)
OWN = ""  # @param {type:"string"}
OWN_FS = 30.0  # @param {type:"number"}
OWN_MODALITY = "2p"  # @param ["2p", "1p"]
if OWN:
    movie = ch.load_movie(ch.own_file(OWN), fs=OWN_FS)
    results = ch.run(movie, ch.PipelineConfig.for_modality(OWN_MODALITY), out="out")
    print(len(results.footprints), "components;", ch.write_report(results, "out"), ch.write_tables(results, "out").cells)

# %% [markdown]
# Without Python: `calcium-helpers report my.tif --fs 30 --modality 2p --indicator GCaMP6f -o out/`.
#
# **Look before you believe it.** Is the corrected mean sharper than the raw one? Are the outlines on cells? Does the funnel
# reject what you would reject? Without a truth these are the checks there are.
#
# **Next.** Notebook 01 finds cells in a one-photon movie by coordinates that learn.
