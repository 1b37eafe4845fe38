"""The browser of cells, the player of movies and the thresholds, driven without a screen."""

import base64
import io
import re
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from _fake_results import make_results
from matplotlib.figure import Figure
from PIL import Image

from calcium_helpers import pipeline, plots, widgets
from calcium_helpers.containers import Events, Movie, Traces
from calcium_helpers.io import MovieFileError, load_results, save_results
from calcium_helpers.io.curation import add_decision, load_decisions
from calcium_helpers.io.lazy import LazyFrames
from calcium_helpers.models.cnmf import CNMFConfig
from calcium_helpers.pipeline.judge import find_thresholds, judge_again

NAMES = (
    ("image", "show", "sort", "reverse"), ("range", "times"), ("back", "slider", "on", "cell"),
    ("accept", "reject", "undo", "partner", "merge"), ("said",),
)  # fmt: skip


class Browser:
    """What a person sees of the browser, by name."""

    def __init__(self, box):
        *rows, self.picture = box.children
        for names, row in zip(NAMES, rows, strict=True):
            for name, control in zip(names, row.children, strict=True):
                setattr(self, name, control)

    @property
    def png(self):
        value = bytes(self.picture.value)
        assert value.startswith(b"\x89PNG")
        return value

    @property
    def listed(self):
        return [cell for _, cell in self.cell.options]


@pytest.fixture(scope="module")
def results():
    """Twelve cells in a small field, 4 and 9 rejected."""
    return make_results(n_cells=12, shape=(64, 64), n_frames=300)


@pytest.fixture(scope="module")
def stored(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save_results(results, folder / "results.h5")
    return folder


@pytest.fixture
def run(stored, tmp_path):
    shutil.copy(stored / "results.h5", tmp_path)
    return tmp_path


def decisions(folder):
    return load_decisions(folder / "curation.csv")[["unit", "decision"]].to_numpy().tolist()


def test_every_control_that_shows_changes_the_picture(run):
    browser = Browser(widgets.browse_cells(run))
    seen = [browser.png]
    for change in (
        lambda: browser.on.click(),
        lambda: setattr(browser.slider, "value", 5),
        lambda: setattr(browser.cell, "value", 8),
        lambda: setattr(browser.image, "value", "correlation"),
        lambda: setattr(browser.times, "value", (2.0, 4.0)),
        lambda: setattr(browser.partner, "value", browser.partner.options[3][1]),
        lambda: setattr(browser.partner, "value", browser.partner.options[4][1]),
        lambda: browser.back.click(),
    ):
        change()
        seen.append(browser.png)
    assert len(set(seen)) == len(seen)
    assert not (run / "curation.csv").exists()


def test_slider_dropdown_and_buttons_show_the_same_cell(run):
    browser = Browser(widgets.browse_cells(run))
    assert (browser.slider.value, browser.cell.value, browser.back.disabled) == (0, 0, True)
    browser.on.click()
    assert (browser.slider.value, browser.cell.value, browser.back.disabled) == (1, 1, False)
    browser.cell.value = 11
    assert (browser.slider.value, browser.on.disabled) == (11, True)
    browser.slider.value = 3
    assert browser.cell.value == 3
    first = browser.png
    browser.back.click()
    browser.on.click()
    assert browser.png == first


def test_a_decision_is_in_the_file_at_once_and_can_be_taken_back(run):
    browser = Browser(widgets.browse_cells(run / "results.h5", who="ann"))
    assert browser.undo.disabled
    browser.cell.value = 4
    before = browser.png
    browser.accept.click()
    assert decisions(run) == [[4, "accept"]]
    assert browser.png != before
    assert dict(map(reversed, browser.cell.options))[4] == "4: accepted by ann"
    browser.cell.value = 0
    browser.reject.click()
    browser.undo.click()
    browser.undo.click()
    assert decisions(run) == [[4, "accept"], [0, "reject"], [0, "undo"], [4, "undo"]]
    assert browser.cell.value == 4, "what was undone is shown"
    assert browser.png == before
    assert "cell 4 is rejected, peak SNR &lt; 3" in browser.said.value
    assert load_results(run).cells_by_id()["accepted"].equals(load_results(run, curated=False).cells_by_id()["accepted"])
    log = load_decisions(run / "curation.csv")
    np.testing.assert_allclose(log.loc[0, ["y_px", "x_px"]].astype(float), load_results(run).footprints.centroids[4], atol=0.01)


def test_a_merge_into_the_neighbour_that_overlaps_most(results, run):
    dense = results.footprints.masks.toarray().astype(int)
    shared = dense @ dense.T
    share = shared / np.minimum.outer(np.diag(shared), np.diag(shared)) - np.eye(12)
    cell = int(np.argmax(share.max(axis=1)))
    partner = int(np.argmax(share[cell]))
    browser = Browser(widgets.browse_cells(run, who="ann"))
    browser.cell.value = cell
    assert browser.partner.value == partner
    assert f"{100 * share[cell, partner]:.0f} % shared" in dict(map(reversed, browser.partner.options))[partner]
    alone = browser.png
    browser.merge.click()
    assert decisions(run) == [[cell, f"merge into {partner}"]]
    assert browser.cell.value == partner
    assert cell not in [unit for _, unit in browser.partner.options], "it is part of this one already"
    browser.undo.click()
    assert browser.cell.value == cell
    assert browser.png == alone
    lonely = int(np.argmin(share.max(axis=1)))
    browser.cell.value = lonely
    assert (browser.partner.value is None) is bool(share[lonely].max() == 0)


def test_cells_are_sorted_and_filtered_by_a_quality(results, run):
    browser, snr = Browser(widgets.browse_cells(run)), results.cells["snr"].to_numpy()
    assert {"snr", "area_px", "events", "id"} == {value for _, value in browser.sort.options}
    browser.sort.value = "snr"
    assert browser.listed == np.argsort(snr).tolist()
    assert browser.cell.value == 0, "the cell shown stays"
    assert browser.slider.value == np.argsort(snr).tolist().index(0)
    browser.reverse.value = True
    assert browser.listed == np.argsort(-snr).tolist()
    middle = float(np.median(snr))
    browser.range.value = (middle, browser.range.max)
    assert set(browser.listed) == set(np.flatnonzero(snr >= middle).tolist())
    browser.sort.value = "id"  # a filter belongs to what is sorted by
    assert len(browser.listed) == 12
    browser.show.value = "rejected"
    assert set(browser.listed) == {4, 9}
    browser.show.value = "undecided"
    browser.cell.value = 7
    browser.accept.click()
    assert 7 not in browser.listed
    assert browser.cell.value == 6, "what came next in the list"


def test_a_filter_that_no_cell_passes(run):
    browser = Browser(widgets.browse_cells(run))
    browser.sort.value = "snr"
    browser.range.value = (browser.range.max - 1e-9, browser.range.max)
    assert (browser.listed, browser.slider.max) == ([], 0)
    assert all(getattr(browser, name).disabled for name in ("accept", "reject", "merge", "on", "back"))
    assert browser.png
    browser.range.value = (browser.range.min, browser.range.max)
    assert len(browser.listed) == 12


def test_what_another_program_decided_meanwhile_is_kept_and_seen(run):
    browser = Browser(widgets.browse_cells(run))
    add_decision(run / "curation.csv", 2, "reject", who="napari")
    browser.reject.click()
    assert decisions(run) == [[2, "reject"], [0, "reject"]]
    assert dict(map(reversed, browser.cell.options))[2] == "2: rejected by napari"
    again = Browser(widgets.browse_cells(run))
    assert dict(map(reversed, again.cell.options))[2] == "2: rejected by napari"
    add_decision(run / "curation.csv", 77, "reject")
    assert "unit 77" in Browser(widgets.browse_cells(run)).said.value


def test_a_log_that_cannot_be_written_is_said_and_nothing_changes(run):
    browser = Browser(widgets.browse_cells(run))
    (run / "curation.csv").write_text("unit,decision\n3,perhaps\n")
    before = browser.png
    browser.reject.click()
    assert "line 2 cannot be understood" in browser.said.value
    assert browser.png == before
    with pytest.raises(MovieFileError, match="line 2"):
        widgets.browse_cells(run)
    with pytest.raises(MovieFileError, match="no such file"):
        widgets.browse_cells(run / "elsewhere")


def test_results_without_a_log_can_be_looked_at(results, tmp_path):
    browser = Browser(widgets.browse_cells(results))
    assert browser.accept.disabled
    assert "curation" in browser.said.value
    browser = Browser(widgets.browse_cells(results, curation=tmp_path / "mine.csv"))
    browser.accept.click()
    assert load_decisions(tmp_path / "mine.csv")["unit"].tolist() == [0]


@pytest.mark.parametrize("n_cells", [0, 1])
def test_no_cell_or_one(n_cells):
    browser = Browser(widgets.browse_cells(make_results(n_cells=n_cells, shape=(32, 40), n_frames=1), curation="not written"))
    assert browser.png
    assert browser.listed == list(range(n_cells))
    assert browser.merge.disabled
    assert browser.accept.disabled is (n_cells == 0)
    for name, value in (("sort", "snr"), ("show", "rejected"), ("reverse", True)):
        getattr(browser, name).value = value


def test_silent_cells_and_traces_of_nan(results):
    values = {name: getattr(results, name).values.copy() for name in ("dff", "denoised", "spikes")}
    for array in values.values():
        array[0], array[1, 5:50] = 0, np.nan
    values["dff"][2], values["denoised"][2] = np.nan, np.nan
    broken = {name: getattr(results, name).replace(values=array) for name, array in values.items()}
    cells = results.cells.assign(snr=np.where(results.cells["id"] == 3, np.nan, results.cells["snr"]))
    events = Events(results.events.table.query("roi != 0"))
    browser = Browser(widgets.browse_cells(results._replace(**broken, cells=cells, events=events)))
    seen = {browser.png}
    for cell in range(1, 4):
        browser.cell.value = cell
        seen.add(browser.png)
    assert len(seen) == 4
    browser.sort.value = "snr"
    assert browser.listed[-1] == 3, "what has no number comes last"
    assert len(browser.listed) == 12
    browser.range.value = (browser.range.min + browser.range.step, browser.range.max)
    assert 3 not in browser.listed


def test_the_outline_of_the_cell_stands_out(results):
    """White is where the cell's border is, in the field and from near."""
    box = widgets.browse_cells(results._replace(images={"mean": np.zeros((64, 64))}))
    picture = np.asarray(Image.open(io.BytesIO(bytes(box.picture.value))).convert("RGB")).astype(int)
    from calcium_helpers.widgets.cell_picture import FIELD

    rows, columns = picture.shape[:2]
    y0, y1 = (round(rows * (1 - edge)) for edge in (FIELD[1] + FIELD[3], FIELD[1]))
    x0, x1 = (round(columns * edge) for edge in (FIELD[0], FIELD[0] + FIELD[2]))
    field = picture[y0:y1, x0:x1]
    white = np.argwhere((field.min(axis=2) > 200) & (np.roll(field, 20, axis=0).max(axis=2) < 400))
    side = min(field.shape[:2])  # the field is square
    corner = (np.array(field.shape[:2]) - side) / 2
    border = np.concatenate(plots.outline(results.footprints, 0))
    expected = corner + (border + 0.5) / 64 * side
    distance = np.linalg.norm(white[:, None] - expected[None], axis=2)
    near = distance.min(axis=1) < 6
    assert near.sum() > 100, "the border is white"
    assert distance.min(axis=0).max() < 6, "all of it"


def test_a_picture_of_many_cells_comes_at_once():
    browser = Browser(widgets.browse_cells(make_results(n_cells=300, shape=(512, 512), n_frames=9000)))
    browser.on.click()
    times = []
    for _ in range(5):
        start = time.process_time()
        browser.on.click()
        times.append(time.process_time() - start)
    assert min(times) < 0.3


def test_plots_of_a_cell_name_what_they_show(results):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    plots.show_activity(results, 3, times_s=(1.0, 9.5), ax=left)
    assert (left.get_xlabel(), left.get_ylabel()) == ("time (s)", "cell 3, ΔF/F")
    assert left.get_xlim() == pytest.approx((1.0, 9.5), abs=0.1)
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels[:2] == ["ΔF/F", "denoised"]
    assert re.fullmatch(r"spikes \(up to .* ΔF/F a frame\)", labels[3])
    rates = results._replace(parameters={**results.parameters, "spikes": "net"})
    assert plots.show_activity(rates, 3, ax=right).get_legend().get_texts()[3].get_text().endswith("Hz)")
    peak = float(np.nanmax(results.dff.values[3]))
    kinds = {name: getattr(results, name) for name in ("dff", "denoised", "spikes")}
    long = results._replace(**{name: traces.replace(values=np.tile(traces.values, 20)) for name, traces in kinds.items()})
    drawn = plots.show_activity(long, 3, ax=Figure().subplots()).lines[0].get_ydata()
    assert len(drawn) < 2000
    assert drawn.max() == pytest.approx(peak)
    with pytest.raises(ValueError, match="no row for the cells"):
        plots.show_neighbours(results, 99, ax=Figure().subplots())
    near = plots.show_neighbours(results, 3, partner=5, ax=Figure().subplots())
    assert (near.get_xlabel(), near.get_ylabel()) == ("x (px)", "y (px)")
    y, x = results.footprints.centroids[3]
    assert near.get_xlim()[0] < x < near.get_xlim()[1]
    assert near.get_ylim()[1] < y < near.get_ylim()[0]


def test_readers_without_a_kernel_see_a_picture(results):
    for box in (widgets.browse_cells(results), widgets.play_movies(Movie(np.eye(9)[None] * 5, 10))):
        bundle = box._repr_mimebundle_()
        assert bundle["text/plain"] == "Controls and a picture that follows them: run this cell"
        assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == box.model_id
        still = Image.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"])))
        live = Image.open(io.BytesIO(bytes(box.picture.value)))
        assert still.width <= 800
        assert still.width / still.height == pytest.approx(live.width / live.height, rel=0.01)
        assert not callable(getattr(box, "_ipython_display_", None)), "else nobody asks for the picture"


# Movies.


def make_movies(shape=(30, 20, 24)):
    rng = np.random.default_rng(0)
    return {name: Movie(rng.normal(100, 10 - 4 * i, shape), 10.0, pixel_um=1.5) for i, name in enumerate(("raw", "denoised"))}


def test_the_player_shows_each_frame_of_each_movie():
    controls, row, picture = widgets.play_movies(make_movies(), frame=3).children
    player, slider = controls.children
    contrast, shared = row.children
    assert (slider.value, slider.max, player.max) == (3, 29, 29)
    seen = {bytes(picture.value)}
    for change in (
        lambda: setattr(slider, "value", 4),
        lambda: setattr(contrast, "value", (20.0, 60.0)),
        lambda: setattr(shared, "value", False),
    ):
        change()
        seen.add(bytes(picture.value))
    assert len(seen) == 4
    slider.value, contrast.value, shared.value = 3, (1.0, 99.7), True
    assert bytes(picture.value) in seen


def test_only_frames_that_are_asked_for_are_read():
    asked = []

    def read(rows):
        asked.append(rows)
        return np.random.default_rng(0).normal(size=(len(range(10_000)[rows]), 8, 8))

    controls, *_ = widgets.play_movies({"raw": Movie(LazyFrames(read, (10_000, 8, 8), np.float64), 30.0)}).children
    n_before = len(asked)
    assert n_before < 40
    controls.children[1].value = 700
    assert [len(range(10_000)[rows]) for rows in asked[n_before:]] == [1]


@pytest.mark.parametrize(
    "movie",
    [Movie(np.zeros((1, 5, 90)), 30), Movie(np.full((3, 8, 8), np.nan), 30), Movie(np.zeros((2, 40, 3), np.uint16), 30)],
    ids=["one frame", "nothing but NaN", "narrow"],
)
def test_odd_movies_are_played(movie):
    assert bytes(widgets.play_movies(movie, frame=99).picture.value).startswith(b"\x89PNG")


def test_movies_that_do_not_belong_together_are_refused():
    short = {"a": Movie(np.zeros((3, 8, 8)), 30), "b": Movie(np.zeros((2, 8, 8)), 30)}
    with pytest.raises(ValueError, match="one shape"):
        widgets.play_movies(short)
    with pytest.raises(ValueError, match="got none"):
        widgets.play_movies({})


# Thresholds.


@pytest.fixture(scope="module")
def judged(results):
    """The same cells with all scores of the detector, and its verdict."""
    rng = np.random.default_rng(1)
    cells = results.cells.assign(
        contrast=rng.uniform(2, 9, 12), consistency=rng.uniform(0.4, 1, 12), compactness=rng.uniform(0.5, 1, 12), area_px=80
    )
    parameters = {"modality": "2p", "detector": "cnmf", "cnmf": vars(CNMFConfig())}
    return judge_again(results._replace(cells=cells, parameters=parameters, summary={**results.summary, "diameter_px": 10.0}))


def test_thresholds_of_the_run_give_its_cells_and_others_follow_the_scores(judged):
    start = find_thresholds(judged)
    assert start == {"min_snr": 4.5, "min_consistency": 0.6, "min_compactness": 0.6, "min_contrast": 3.5}
    cells = judged.cells
    dull = (cells["contrast"] < 3.5) & (cells["compactness"] < 0.85)
    passes = (cells["snr"] >= 4.5) & (cells["consistency"] >= 0.6) & (cells["compactness"] >= 0.6) & ~dull
    assert cells["accepted"].tolist() == passes.tolist()
    assert 0 < passes.sum() < 12
    stricter = judge_again(judged, min_snr=8.0)
    assert stricter.cells["accepted"].tolist() == (passes & (cells["snr"] >= 8)).tolist()
    assert stricter.funnel["n"].iloc[-1] == stricter.cells["accepted"].sum()
    assert f"{(cells['snr'] < 8).sum()} low SNR" in stricter.funnel["why"].iloc[-1]
    assert stricter.funnel.iloc[:-1].equals(judged.funnel.iloc[:-1])
    with pytest.raises(ValueError, match="got min_beauty"):
        judge_again(judged, min_beauty=1)


@pytest.mark.slow
def test_a_run_judged_again_is_as_it_was(tmp_path):
    from calcium_helpers import simulate

    movie = simulate.two_photon(simulate.TwoPhotonConfig(n_frames=200, height=72, width=80, fs=10.0, n_cells=4), seed=1).movie
    found = pipeline.run(movie, pipeline.PipelineConfig.for_modality("2p", motion=None))
    again = judge_again(found)
    pd.testing.assert_frame_equal(again.cells, found.cells)
    pd.testing.assert_frame_equal(again.funnel, found.funnel)


def test_a_threshold_moved_changes_cells_and_funnel_in_the_picture(judged):
    *sliders, said, picture = widgets.explore_quality(judged).children
    assert [slider.description for slider in sliders] == ["min snr", "min consistency", "min compactness", "min contrast"]
    assert [slider.value for slider in sliders] == [4.5, 0.6, 0.6, 3.5]
    assert said.value == "as in the run"
    start = bytes(picture.value)
    sliders[0].index = len(sliders[0].options) - 1
    assert bytes(picture.value) != start
    assert said.value == f"min_snr={sliders[0].value:g}"
    sliders[0].value = 4.5
    assert bytes(picture.value) == start


def test_results_of_other_detectors_have_thresholds_too(results, run):
    imported = results._replace(parameters={})
    assert find_thresholds(imported) == {"min_snr": results.cells["snr"].min()}
    assert judge_again(imported).cells["accepted"].all()
    half = judge_again(imported, min_snr=float(results.cells["snr"].median()))
    assert half.cells["accepted"].sum() == 6
    assert "snr below" in half.funnel["why"].iloc[-1]
    assert bytes(widgets.explore_quality(run).picture.value).startswith(b"\x89PNG")
    for n_cells in (0, 1):
        few = make_results(n_cells=n_cells, shape=(32, 32), n_frames=10)._replace(parameters={})
        assert bytes(widgets.explore_quality(few).picture.value).startswith(b"\x89PNG")


def test_a_trace_of_one_kind_is_enough_for_a_picture():
    """One frame, no spikes, results that know neither decision nor reason."""
    bare = make_results(n_cells=2, shape=(24, 24), n_frames=1)
    bare = bare._replace(cells=bare.cells[["id"]], spikes=Traces(np.zeros((2, 1)), 30, "spikes"), images={})
    browser = Browser(widgets.browse_cells(bare))
    assert [value for _, value in browser.sort.options] == ["id", "events"]
    assert browser.png
