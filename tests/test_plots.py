import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from _fake_results import make_results
from _fake_statistics import make_grouped
from matplotlib.colors import to_hex

from calcium_helpers import plots
from calcium_helpers.containers import Footprints, Shifts, Traces
from calcium_helpers.plots._style import ACCEPTED, CLUSTERS, ORANGE, REJECTED
from calcium_helpers.plots.display import envelope, nice_length, peaks


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def one_footprint(*blocks, shape=(20, 30)):
    image = np.zeros((1, *shape))
    for rows, columns in blocks:
        image[0, rows, columns] = 1
    return Footprints.from_images(image)


# --- outlines ------------------------------------------------------------------------------------------------------------


def test_outline_goes_around_the_pixels_of_a_block():
    (line,) = plots.outline(one_footprint((slice(3, 8), slice(10, 16))), 0)
    assert np.allclose(line[0], line[-1])
    # The level of 0.2 lies 0.8 px outside the centres of the outermost pixels.
    assert np.allclose(line.min(axis=0), (2.2, 9.2))
    assert np.allclose(line.max(axis=0), (7.8, 15.8))


@pytest.mark.parametrize("corner", [(0, 0), (19, 29)])
def test_outline_of_one_pixel_in_a_corner_is_closed(corner):
    (line,) = plots.outline(one_footprint((corner[0], corner[1])), 0)
    assert np.allclose(line[0], line[-1])
    assert np.allclose(line[:-1].mean(axis=0), corner)


def test_outline_of_two_parts_has_two_curves():
    assert len(plots.outline(one_footprint((slice(2, 5), slice(2, 5)), (slice(12, 15), slice(20, 25))), 0)) == 2


# --- thinning ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_frames", [999, 1000, 12_345])
def test_envelope_keeps_extremes_and_their_order(n_frames):
    values = np.random.default_rng(0).normal(size=(3, n_frames))
    values[1, n_frames // 3] = 50
    thinned = envelope(values, 200)
    assert thinned.shape == (3, 200)
    assert np.array_equal(thinned.max(axis=1), values.max(axis=1))
    assert np.array_equal(thinned.min(axis=1), values.min(axis=1))
    ramp = np.arange(n_frames, dtype=float)[None]
    assert (np.diff(envelope(ramp, 200)) > 0).all()
    assert (np.diff(envelope(-ramp, 200)) < 0).all()


def test_short_traces_are_not_thinned():
    values = np.arange(6.0).reshape(2, 3)
    assert envelope(values, 10) is values
    assert peaks(values, 10) is values


def test_peaks_keeps_a_lone_spike_along_both_axes():
    values = np.zeros((500, 10_001))
    values[321, 7777] = 3
    thinned = peaks(peaks(values, 100), 50, axis=0)
    assert thinned.shape == (50, 100)
    assert np.argwhere(thinned == 3).tolist() == [[32, 77]]
    assert (thinned > 0).sum() == 1


@pytest.mark.parametrize(("longest", "nice"), [(1, 1), (4.9, 2), (0.07, 0.05), (80, 50), (1000, 1000)])
def test_nice_length(longest, nice):
    assert nice_length(longest) == pytest.approx(nice)


# --- images --------------------------------------------------------------------------------------------------------------


def test_image_has_a_scale_bar_of_the_stated_length():
    ax = plots.show_image(np.random.default_rng(0).random((100, 200)), pixel_um=2, label="counts")
    (bar,) = ax.lines
    assert ax.texts[0].get_text() == "100 µm"
    assert np.ptp(bar.get_xdata()) == pytest.approx(50)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (px)", "y (px)")
    assert "counts" in [other.get_ylabel() for other in ax.figure.axes]


@pytest.mark.parametrize("image", [np.full((4, 5), 7.0), np.full((4, 5), np.nan), np.zeros((1, 1))])
def test_flat_images_are_shown(image):
    low, high = plots.show_image(image).images[0].get_clim()
    assert low < high


def test_image_must_be_one_frame():
    with pytest.raises(ValueError, match=r"image must be \(H, W\), got shape \(2, 3, 4\)"):
        plots.show_image(np.zeros((2, 3, 4)))


def test_footprints_show_accepted_and_rejected(fake_results):
    accepted = fake_results.cells["accepted"]
    ax = plots.show_footprints(fake_results.footprints, fake_results.images["mean"], accepted=accepted, pixel_um=1)
    drawn = {c.get_label(): (len(c.get_segments()), to_hex(c.get_edgecolor()[0])) for c in ax.collections}
    assert drawn == {"accepted": (48, ACCEPTED.lower()), "rejected": (12, REJECTED.lower())}


def test_few_footprints_are_labelled_with_their_ids(fake_results):
    few = fake_results.footprints.select([5, 40, 7])
    ax = plots.show_footprints(few)
    assert [text.get_text() for text in ax.texts] == ["5", "40", "7"]
    assert np.allclose([text.get_position()[::-1] for text in ax.texts], few.centroids)
    assert not plots.show_footprints(fake_results.footprints).texts


def test_footprints_refuse_what_does_not_fit(fake_results):
    with pytest.raises(ValueError, match="background must have the footprints' shape"):
        plots.show_footprints(fake_results.footprints, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="accepted must have one entry a cell"):
        plots.show_footprints(fake_results.footprints, accepted=[True])


# --- curves --------------------------------------------------------------------------------------------------------------


def test_few_traces_are_stacked_with_their_spikes(fake_results):
    dff, spikes = fake_results.dff.select([3, 9]), fake_results.spikes.select([3, 9])
    ax = plots.show_traces(dff, spikes)
    first, second = ax.lines[:2]
    assert np.allclose(first.get_ydata(), dff.values[0] - np.median(dff.values[0]))
    assert np.median(second.get_ydata()) < np.median(first.get_ydata())
    assert np.allclose(first.get_xdata(), dff.times_s)
    ticks = np.array([segment[0, 0] for segment in ax.collections[0].get_segments()])
    assert np.allclose(ticks, spikes.times_s[spikes.values[0] > 0])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["3", "9"]
    assert ax.get_xlabel() == "time (s)"
    assert "ΔF/F" in ax.texts[0].get_text()


def test_many_traces_become_a_map(fake_results):
    ax = plots.show_traces(fake_results.dff)
    assert ax.images[0].get_array().shape == (60, 700)
    assert ax.images[0].get_extent() == [0, 50, 59.5, -0.5]
    assert "ΔF/F" in [other.get_ylabel() for other in ax.figure.axes]


def test_spikes_must_belong_to_the_traces(fake_results):
    with pytest.raises(ValueError, match="spikes must have the traces' shape"):
        plots.show_traces(fake_results.dff, fake_results.spikes.select([0]))


def test_raster_shows_each_cell_on_its_own_scale():
    values = np.zeros((3, 100))
    values[0, 10], values[0, 20], values[1, 50] = 4, 2, 0.1
    shown = plots.show_raster(Traces(values, 10, "spikes")).images[0].get_array()
    assert (shown[0, 10], shown[0, 20], shown[1, 50]) == pytest.approx((1, 0.5, 1))
    assert not shown[2].any()


def test_shifts_show_mean_range_and_bad_frames(fake_results):
    shifts = fake_results.shifts
    ax = plots.show_shifts(shifts, 30)
    y, x, bad = ax.lines
    assert np.allclose(y.get_ydata(), shifts.rigid_yx[:, 0])
    assert np.allclose(x.get_ydata(), shifts.rigid_yx[:, 1])
    assert np.allclose(bad.get_xdata(), shifts.bad_frames / 30)
    assert len(ax.collections) == 2
    rigid = Shifts(shifts.rigid_yx, shifts.template, shifts.valid)
    assert not plots.show_shifts(rigid, 30).collections
    assert ax.get_ylabel() == "correction (px)"


def test_template_correlation_says_when_it_was_not_measured(fake_results):
    shifts = fake_results.shifts
    assert np.allclose(plots.show_template_correlation(shifts, 30).lines[0].get_ydata(), shifts.correlation)
    ax = plots.show_template_correlation(shifts.replace(correlation=None), 30)
    assert "not measured" in ax.texts[0].get_text()


def test_funnel_bars_are_as_long_as_the_counts(fake_results):
    ax = plots.show_funnel(fake_results.funnel)
    assert [bar.get_width() for bar in ax.patches] == fake_results.funnel["n"].tolist()
    assert ax.texts[1].get_text() == "30  same trace as a neighbour"
    assert "No candidates" in plots.show_funnel(pd.DataFrame(columns=["stage", "n", "why"])).texts[0].get_text()


# --- statistics ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grouped():
    return make_grouped(n_cells=60)


def test_events_are_marked_on_their_trace(fake_results):
    rows, events = [3, 9], fake_results.events
    ax = plots.show_traces(fake_results.dff.select(rows), events=events)
    orange = [line for line in ax.lines if line.get_color() == ORANGE]
    for cell, line in zip(rows, orange, strict=True):
        mine = events.table[events.table["roi"] == cell]
        times = fake_results.dff.times_s
        inside = np.zeros(len(times), bool)
        for onset, offset in zip(mine["onset_s"], mine["offset_s"], strict=True):
            inside |= (times > onset - 1e-6) & (times < offset + 1e-6)
        assert np.array_equal(np.isfinite(line.get_ydata()), inside)
    dots = [line for line in ax.lines if line.get_marker() == "."]
    assert [len(line.get_xdata()) for line in dots] == [(events.table["roi"] == cell).sum() for cell in rows]


def test_maps_and_rasters_follow_the_clusters(grouped):
    results, found = grouped
    order = found.cell_clusters.ids[found.cell_clusters.order]
    ax = plots.show_heatmap(results.dff, found.cell_clusters)
    assert ax.images[0].get_array().shape == (48, 700)
    assert ax.images[0].get_array()[7].max() == pytest.approx(results.dff.values[order[7]].max())
    strip = [to_hex(line.get_color()).lower() for line in ax.lines]
    assert strip == [colour.lower() for colour in CLUSTERS[:3]]
    raster = plots.show_raster(results.events, found.cell_clusters)
    ticks = sorted((segment[0, 0], round(segment[:, 1].mean())) for c in raster.collections for segment in c.get_segments())
    place = {int(cell): row for row, cell in enumerate(order)}
    table = results.events.table[results.events.table["roi"].isin(order)]
    wanted = sorted((onset, place[roi]) for onset, roi in zip(table["onset_s"], table["roi"], strict=True))
    assert np.allclose(ticks, wanted)


def test_clusters_of_another_recording_are_refused(grouped, fake_results):
    with pytest.raises(ValueError, match=r"no row for the cells \[\d+.*same recording"):
        plots.show_heatmap(fake_results.dff.select([4, 9]), grouped[1].cell_clusters)
    with pytest.raises(ValueError, match="label must be one of"):
        plots.show_alignment(grouped[1].alignment, "up")


def test_correlation_shows_all_above_and_the_significant_below(grouped):
    found = grouped[1]
    order = found.cell_clusters.order
    shown = np.asarray(plots.show_correlation(found.correlation, found.cell_clusters).images[0].get_array().filled(np.nan))
    r, significant = found.correlation.r[np.ix_(order, order)], found.correlation.significant[np.ix_(order, order)]
    upper, lower = np.triu_indices(48, 1), np.tril_indices(48, -1)
    assert np.allclose(shown[upper], r[upper])
    assert np.allclose(shown[lower], np.where(significant, r, 0)[lower])
    assert np.isnan(np.diag(shown)).all()
    low, high = plots.show_correlation(found.correlation, null=True, limit=0.3).images[0].get_clim()
    assert (low, high) == (-0.3, 0.3)


def test_distributions_count_every_cell(grouped):
    cells, groups = grouped[1].cells, grouped[1].groups
    ax = plots.show_distribution(cells, "rate", groups)
    assert sum(bar.get_height() for bar in ax.patches) == 48
    assert ax.get_xlabel() == "event rate (1/min)"
    wanted = groups[groups["measure"] == "rate"].iloc[0]
    assert ax.lines[0].get_xdata() == pytest.approx([wanted["low"], wanted["high"]])
    assert plots.show_distribution(cells, "interval_cv").get_xlabel() == "variation (CV) of intervals"
    assert plots.show_distribution(cells, "area").get_xlabel() == "area of events (ΔF/F s)"


def test_spectra_show_the_median_cell_and_mark_rhythms(grouped):
    found = grouped[1]
    ax = plots.show_spectra(found.spectra, found.bands, found.rhythms)
    middle = next(line for line in ax.lines if line.get_label() == "median cell")
    assert np.allclose(middle.get_ydata(), np.median(found.spectra.power[:, 1:], axis=0))
    mark = next(line for line in ax.lines if line.get_label() == "rhythm of a cell")
    assert list(mark.get_xdata()) == [1.2]
    assert {text.get_text() for text in ax.texts} == {"infraslow", "slow", "fast"}
    assert plots.show_bands(found.bands).get_xticklabels()[1].get_text() == "slow\n0.1–1 Hz"


def test_frames_stand_side_by_side_on_one_scale(fake_results):
    ax = plots.show_frames(fake_results.strip)
    shown = ax.images[0].get_array().filled(np.nan)
    frames = fake_results.strip["corrected"].frames()
    gap = 256 // 60
    assert shown.shape == (3 * 256 + 2 * gap, 6 * 256 + 5 * gap)
    assert np.allclose(shown[256 + gap : 512 + gap, 256 + gap : 512 + gap], frames[1])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["raw", "corrected", "denoised"]


@pytest.mark.parametrize("n_cells", [0, 1, 20, 200])
def test_statistics_are_drawn_with_units_at_any_number_of_cells(n_cells):
    results, found = make_grouped(n_cells=n_cells, n_frames=600, shape=(128, 128))
    clusters = found.cell_clusters
    drawn = [
        plots.show_heatmap(results.dff, clusters), plots.show_raster(results.events, clusters),
        plots.show_raster(results.events), plots.show_raster(results.spikes, clusters),
        plots.show_distribution(found.cells, "rate", found.groups), plots.show_bands(found.bands),
        plots.show_spectra(found.spectra, found.bands, found.rhythms), plots.show_clusters(clusters),
        plots.show_clusters(found.event_clusters), plots.show_cluster_choice(clusters), plots.show_lags(found.lagged),
        plots.show_correlation(found.correlation, clusters), plots.show_correlation(found.correlation, null=True),
        plots.show_distance(found.distance), plots.show_synchrony(found.synchrony), plots.show_frames(results.strip),
        plots.show_alignment(found.alignment, "right"), plots.show_footprints(results.footprints, clusters=clusters),
    ]  # fmt: skip
    for ax in drawn:
        ax.figure.canvas.draw()
        assert ax.get_xlabel() or [text.get_text() for text in ax.texts]
    if n_cells:
        ax = plots.show_responses(found.alignment, int(found.ids[0]))
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["left", "right"]


@pytest.mark.parametrize(("n_cells", "n_frames"), [(0, 100), (1, 100), (3, 1), (0, 1), (50, 1)])
def test_small_results_are_drawn(n_cells, n_frames):
    r = make_results(n_cells=n_cells, n_frames=n_frames, shape=(40, 50))
    for ax in (
        plots.show_footprints(r.footprints, r.images["mean"]),
        plots.show_traces(r.dff, r.spikes),
        plots.show_raster(r.spikes),
        plots.show_shifts(r.shifts, 30),
        plots.show_template_correlation(r.shifts, 30),
        plots.show_funnel(r.funnel),
    ):
        ax.figure.canvas.draw()
        assert bool(n_cells) or ax.images or ax.lines or ax.texts or ax.patches


def test_silent_cells_are_drawn():
    silent = Traces(np.zeros((3, 50)), 10, "dff")
    ax = plots.show_traces(silent, silent.replace(kind="spikes"))
    ax.figure.canvas.draw()
    assert len({line.get_ydata()[0] for line in ax.lines[:3]}) == 3


def test_own_axes_do_not_start_pyplot():
    code = (
        "import sys, numpy as np; from matplotlib.figure import Figure; from calcium_helpers import plots; "
        "ax = Figure().subplots(); assert plots.show_image(np.eye(4), ax=ax) is ax; "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
