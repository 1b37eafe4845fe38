import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from _fake_results import make_results
from _fake_statistics import make_grouped

from calcium_helpers.containers import Footprints, Traces
from calcium_helpers.report import write_report, write_tables
from calcium_helpers.report.explorer import svg_path
from calcium_helpers.report.numbers import format_value
from calcium_helpers.results import Results
from calcium_helpers.stats import analyse

VOID = {"meta", "input", "img", "br", "link", "hr"}
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\w)")


class Page(HTMLParser):
    """A page read back: its elements, what a reader sees, what each number claims to be, and the data of its script."""

    def __init__(self, path):
        super().__init__()
        self.open, self.elements, self.words, self.stated, self.data = [], [], [], {}, ""
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.elements.append((tag, attrs))
        if tag not in VOID:
            self.open.append((tag, attrs))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, text):
        tag, attrs = self.open[-1] if self.open else ("", {})
        if attrs.get("id") == "explorer-data":
            self.data += text
        elif tag not in ("script", "style", "svg") and attrs.get("class") != "scale":
            self.words.append(text.strip())
            if "data-key" in attrs:
                self.stated[attrs["data-key"]] = text

    def all(self, tag, **wanted):
        return [attrs for name, attrs in self.elements if name == tag and wanted.items() <= attrs.items()]

    @property
    def text(self):
        return " ".join(filter(None, self.words))

    def explorer(self):
        return json.loads(self.data)


@pytest.fixture(scope="module")
def statistics(fake_results):
    return analyse(fake_results)


@pytest.fixture(scope="module")
def small():
    """Results of three cells and few frames, and their statistics: quick where only the page counts."""
    results = make_results(n_cells=3, n_frames=60, shape=(40, 50))
    return results, analyse(results)


@pytest.fixture(scope="module")
def folder(fake_results, statistics, tmp_path_factory):
    return write_report(fake_results, tmp_path_factory.mktemp("report"), statistics=statistics).parent


@pytest.fixture(scope="module")
def page(folder):
    return Page(folder / "report.html")


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """A page on three planted groups of cells, with responses to stimuli."""
    results, statistics = make_grouped(n_cells=60)
    return Page(write_report(results, tmp_path_factory.mktemp("grouped"), statistics=statistics)), results, statistics


def strict_json(path):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def lookup(tree, key):
    for part in key.split("."):
        tree = tree[part]
    return tree


def unpack(packed):
    rows = len(packed["low"])
    share = np.frombuffer(base64.b64decode(packed["bytes"]), np.uint8).reshape(rows, packed["n"]) / 255
    low, high = (np.array(packed[name])[:, None] for name in ("low", "high"))
    return low + share * (high - low)


# --- the page itself -----------------------------------------------------------------------------------------------------


def test_page_needs_nothing_from_outside(page):
    for tag, attrs in page.elements:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert attrs.get(name, "#").startswith(("#", "data:image/png;base64,")), (tag, name)
    assert not page.all("link")
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert "default-src 'none'" in policy["content"]


def test_page_can_be_read_without_eyes_or_mouse(page):
    assert page.all("html", lang="en")
    assert page.all("img")
    assert all(len(attrs["alt"]) > 20 for attrs in page.all("img"))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"][1:] for attrs in page.all("a")]
    assert len(links) >= 8
    assert set(links) <= set(ids)
    (field,) = page.all("svg")
    assert field["tabindex"] == "0"
    assert "Arrow keys" in field["aria-label"]
    assert len(page.all("figcaption")) == len(page.all("figure")) == len(page.all("img")) >= 14
    (raster,) = page.all("canvas", id="cell-raster")
    assert raster["tabindex"] == "0"
    assert "Arrow keys" in raster["aria-label"]
    assert page.all("table", id="cell-table", role="grid")


def test_each_stated_number_is_in_the_summary(page, fake_results, statistics, tmp_path):
    summary = strict_json(write_tables(fake_results, tmp_path, statistics=statistics).summary)
    assert {"n_accepted", "motion.residual_px", "truth.f1", "median_snr", "pixel_um"} <= page.stated.keys()
    assert {f"statistics.{key}" for key in ("n_events", "events_per_min", "n_correlated_pairs")} <= page.stated.keys()
    for key, text in page.stated.items():
        assert text == format_value(lookup(summary, key)), key
    assert page.stated["truth.f1"] == "0.923"


def test_no_number_on_the_page_is_missing_from_the_summary(page, fake_results, statistics, tmp_path):
    def leaves(tree):
        if isinstance(tree, dict | list):
            for branch in tree.values() if isinstance(tree, dict) else tree:
                yield from leaves(branch)
        else:
            yield format_value(tree)

    summary = strict_json(write_tables(fake_results, tmp_path, statistics=statistics).summary)
    known = set(NUMBER.findall(" ".join(leaves(summary))))
    seen = set(NUMBER.findall(page.text))
    assert len(seen) > 30
    assert seen <= known


def test_spikes_and_events_are_told_apart(page):
    labels = page.text
    assert "Calcium events, mean of accepted cells" in labels
    assert "Inferred spikes (deconvolution: frames with any), not calcium events, mean of accepted cells" in labels


def test_rates_of_the_network_are_not_called_amplitudes(small, tmp_path):
    results, statistics = small
    assert "as high as their amplitude" in Page(write_report(results, tmp_path, statistics=statistics)).text
    by_net = results._replace(parameters={**results.parameters, "spikes": "net"})
    text = Page(write_report(by_net, tmp_path, statistics=statistics)).text
    assert "inferred firing rates" in text
    assert "as high as their amplitude" not in text


def test_warnings_and_notes_are_said_in_words(page, fake_results, statistics, small, tmp_path):
    assert fake_results.summary["warnings"][0] in page.text
    assert all(note in page.text for note in statistics.notes)
    fine = small[0]._replace(summary={**small[0].summary, "warnings": []})
    assert "Every automatic check passed." in Page(write_report(fine, tmp_path, statistics=small[1])).text


def test_title_and_names_are_text_not_markup(small, tmp_path):
    results, statistics = small
    nasty = "</script><script>alert('x')</script> & Mäuse \u2028 日本.tif"
    cells = results.cells.assign(reason=nasty)
    summary = {**results.summary, "source": nasty, "warnings": [nasty]}
    results = results._replace(cells=cells, summary=summary, parameters={nasty: nasty}, history=(nasty,))
    page = Page(write_report(results, tmp_path, title=nasty, statistics=statistics))
    assert len(page.all("script")) == 2
    assert page.text.count("alert('x')") >= 5
    assert nasty in page.explorer()["rows"][0]
    assert "日本.tif" in page.text


# --- the map of cells ----------------------------------------------------------------------------------------------------


def test_each_cell_has_an_outline_and_a_row(page, fake_results):
    paths = page.all("path")
    assert sorted(int(attrs["data-row"]) for attrs in paths) == list(range(60))
    assert sum(attrs["class"] == "cell accepted" for attrs in paths) == fake_results.summary["n_accepted"]
    data = page.explorer()
    assert data["ids"] == fake_results.footprints.ids.tolist()
    assert data["accepted"] == fake_results.cells["accepted"].tolist()
    column = data["columns"].index("SNR")
    assert [row[column] for row in data["rows"]] == [format_value(snr) for snr in fake_results.cells["snr"]]


def test_outline_lies_around_its_cell(page, fake_results):
    (path,) = page.all("path", **{"data-row": "7"})
    x, y = np.array(re.findall(r"[-\d.]+", path["d"]), dtype=float).reshape(-1, 2).T
    # In SVG the first pixel's centre lies at 0.5.
    assert np.allclose((y.mean(), x.mean()), fake_results.footprints.centroids[7] + 0.5, atol=0.5)


def test_ragged_outlines_are_thinned():
    ragged = Footprints.from_images(np.random.default_rng(0).random((1, 60, 60)) > 0.5)
    full, thinned = (svg_path(ragged, 0, max_points=n) for n in (10**6, 1000))
    assert full.count(" ") > 2000
    assert 500 < thinned.count(" ") <= 1000 + thinned.count("M")
    assert thinned.count("M") == full.count("M")


def test_traces_travel_within_a_grey_level(page, fake_results):
    data = page.explorer()
    for kind, values in (("dff", fake_results.dff.values), ("spikes", fake_results.spikes.values)):
        step = np.ptp(values, axis=1) / 255
        assert (np.abs(unpack(data[kind]) - values) <= 0.51 * step[:, None] + 1e-4).all()
    assert data["duration_s"] == 50


def test_images_can_be_switched(page):
    layers = [attrs["data-layer"] for attrs in page.all("image")]
    assert layers == [attrs["value"] for attrs in page.all("input", type="radio")] == ["mean", "correlation", "max", "pnr"]
    assert [attrs.get("display") for attrs in page.all("image")] == [None, "none", "none", "none"]


def test_truth_is_drawn_where_given(small, tmp_path):
    results, statistics = small
    truth = results.footprints.select([1, 2])
    page = Page(write_report(results, tmp_path, truth=truth, statistics=statistics))
    assert len(page.all("path", **{"class": "truth"})) == 2
    with pytest.raises(TypeError, match="truth must be Footprints or None, got int"):
        write_report(results, tmp_path, truth=3, statistics=statistics)
    with pytest.raises(ValueError, match="truth must have the footprints' shape"):
        write_report(results, tmp_path, truth=Footprints.from_images(np.ones((1, 4, 4))), statistics=statistics)


def test_what_does_not_belong_together_is_refused(fake_results, statistics, tmp_path):
    with pytest.raises(ValueError, match="image 'mean' must have the footprints' shape"):
        write_report(fake_results._replace(images={"mean": np.ones((3, 3))}), tmp_path, statistics=statistics)
    with pytest.raises(ValueError, match=r"no row for the components \[59\]"):
        write_report(fake_results._replace(cells=fake_results.cells[:-1]), tmp_path, statistics=statistics)


# --- unusual results -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_cells", "n_frames", "with_motion"), [(0, 50, False), (1, 50, True), (3, 1, False), (0, 1, True)])
def test_small_results_are_reported(n_cells, n_frames, with_motion, tmp_path):
    results = make_results(n_cells=n_cells, n_frames=n_frames, shape=(40, 50), with_motion=with_motion, with_truth=False)
    statistics = analyse(results)
    page = Page(write_report(results, tmp_path, statistics=statistics))
    assert len(page.all("path")) == n_cells
    assert bool(page.all("canvas", id="cell-raster", hidden=None)) == (n_cells == 0)
    assert ("No cells were found" in page.text) == (n_cells == 0)
    assert ("No motion correction was done" in page.text) == (not with_motion)
    assert "Against truth" not in page.text
    assert len(pd.read_csv(write_tables(results, tmp_path, statistics=statistics).traces)) == n_frames


def test_silent_cells_constant_images_and_nan_are_reported(small, tmp_path):
    results, statistics = small
    still = Traces(np.zeros((3, 60)), 30, "spikes")
    broken = results.dff.values.copy()
    broken[0] = np.nan
    images = {"mean": np.full((40, 50), 9), "max": np.full((40, 50), np.nan)}
    results = results._replace(spikes=still, dff=results.dff.replace(values=broken), images=images)
    data = Page(write_report(results, tmp_path, statistics=statistics)).explorer()
    assert not unpack(data["spikes"]).any()
    assert not unpack(data["dff"])[0].any()
    assert unpack(data["dff"])[1].any()


def test_bare_results_are_reported(tmp_path):
    full = make_results(n_cells=2, n_frames=20, shape=(30, 30))
    cells = pd.DataFrame({"accepted": True}, index=full.footprints.ids)
    nothing = pd.DataFrame()
    bare: Results = full._replace(
        cells=cells, funnel=nothing, steps=nothing, shifts=None, images={}, parameters={}, summary={}, history=()
    )
    page = Page(write_report(bare, tmp_path))
    assert not [key for key in page.stated if not key.startswith("statistics.")]
    assert len(page.all("path", **{"class": "cell accepted"})) == 2


def test_two_thousand_cells_and_twenty_thousand_frames_stay_under_15_mb(tmp_path):
    results, statistics = make_grouped(n_cells=2000, shape=(512, 512), n_frames=20_000)
    path = write_report(results, tmp_path, statistics=statistics)
    assert path.stat().st_size < 15e6
    assert {file.name: size for file in (tmp_path / "figures").iterdir() if (size := file.stat().st_size) > 3e6} == {}
    data = Page(path).explorer()
    assert data["dff"]["n"] == 1000
    assert np.allclose(unpack(data["dff"]).max(axis=1), results.dff.values.max(axis=1), rtol=1e-4)
    assert np.allclose(unpack(data["spikes"]).max(axis=1), results.spikes.values.max(axis=1), rtol=1e-4)


# --- statistics ----------------------------------------------------------------------------------------------------------


def test_every_figure_is_also_a_png_and_an_svg(page, folder):
    names = {attrs["id"].removeprefix("figure-") for attrs in page.all("figure")}
    assert {path.name for path in (folder / "figures").iterdir()} == {f"{n}.{end}" for n in names for end in ("png", "svg")}
    assert {"motion", "frames", "traces", "heatmap", "raster", "events", "spectra", "correlation", "funnel"} <= names
    for name in names:
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        svg = (folder / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        assert "<text" in svg  # words can be edited
        assert f"figures/{name}.png" in page.text


def test_figures_are_the_same_from_run_to_run_and_go_when_they_no_longer_apply(small, tmp_path):
    results, statistics = small
    figures = tmp_path / "figures"
    written = []
    for shifts in (results.shifts, results.shifts, None):
        write_report(results._replace(shifts=shifts), tmp_path, statistics=statistics)
        written.append({path.name: path.read_bytes() for path in figures.iterdir()})
        (figures / "mine.png").write_bytes(b"mine")
    assert {name: content for name, content in written[1].items() if name != "mine.png"} == written[0]
    gone = {f"{name}.{end}" for name in ("motion", "before_after") for end in ("png", "svg")}
    assert written[1].keys() - written[2].keys() == gone


def test_events_travel_with_their_cells(page, fake_results):
    data = page.explorer()
    counts, table = data["events"]["counts"], fake_results.events.table
    assert counts == [int((table["roi"] == cell).sum()) for cell in fake_results.footprints.ids]
    times = np.frombuffer(base64.b64decode(data["events"]["bytes"]), "<u2").reshape(3, -1) / 65535 * data["duration_s"]
    first = np.cumsum([0, *counts])
    for row in (0, 7, 59):
        mine = table[table["roi"] == fake_results.footprints.ids[row]]
        part = times[:, first[row] : first[row + 1]]
        assert np.allclose(part, np.minimum(mine[["onset_s", "peak_s", "offset_s"]].T, data["duration_s"]), atol=1e-3)


def test_rows_and_raster_know_the_clusters(grouped):
    page, results, statistics = grouped
    data = page.explorer()
    clusters = statistics.cell_clusters
    assert [data["ids"][row] for row in data["order"]] == clusters.ids[clusters.order].tolist()
    column, rate = data["columns"].index("cluster"), data["columns"].index("events (1/min)")
    cells = statistics.cells[statistics.cells["measure"] == "rate"].set_index("roi")["value"]
    for cell, label in zip(clusters.ids, clusters.labels, strict=True):
        row = data["ids"].index(cell)
        assert data["clusters"][row] == label
        assert data["rows"][row][column] == str(label + 1)
        assert data["rows"][row][rate] == format_value(cells[cell])
    rejected = results.cells.index[~results.cells["accepted"]]
    assert {data["rows"][row][column] for row in rejected} == {"–"}


def test_checks_say_what_was_found_and_what_was_not(page, grouped):
    assert "No cluster structure beyond chance: the cells are shown as one group." in page.text
    assert "No rhythm" in page.text
    planted = grouped[0].text
    assert "The cells split into groups better than chance" in planted
    assert "Some cells have a rhythm" in planted
    assert "Some cells respond beyond chance." in planted
    assert "Responses to stimuli" not in page.text


# --- tables --------------------------------------------------------------------------------------------------------------


def test_tables_hold_every_component(fake_results, statistics, tmp_path):
    paths = write_tables(fake_results, tmp_path / "new" / "folder", statistics=statistics)
    for path, traces in ((paths.traces, fake_results.dff), (paths.spikes, fake_results.spikes)):
        table = pd.read_csv(path, index_col="time_s")
        assert list(table.columns) == [str(i) for i in traces.ids]
        assert np.allclose(table.index, traces.times_s, atol=1e-6)
        assert np.allclose(table.to_numpy().T, traces.values, atol=1e-5)
    cells = pd.read_csv(paths.cells, index_col="id")
    assert cells["snr"].to_numpy() == pytest.approx(fake_results.cells["snr"].to_numpy())
    assert cells["accepted"].dtype == bool


def test_cells_follow_the_order_of_the_footprints(fake_results, statistics, tmp_path):
    by_index = fake_results.cells.set_index("id").iloc[::-1]
    paths = write_tables(fake_results._replace(cells=by_index), tmp_path, statistics=statistics)
    assert pd.read_csv(paths.cells)["id"].tolist() == fake_results.footprints.ids.tolist()


def test_summary_is_strict_json(fake_results, statistics, tmp_path):
    summary = {**fake_results.summary, "median_snr": float("nan"), "extra": {"a": np.array([1.5, np.inf]), "b": tmp_path}}
    stated = strict_json(write_tables(fake_results._replace(summary=summary), tmp_path, statistics=statistics).summary)
    assert stated["median_snr"] is None
    assert stated["extra"] == {"a": [1.5, None], "b": str(tmp_path)}
    assert stated["steps"][0] == {"step": "motion", "seconds": 3.21, "note": "piecewise"}
    assert stated["funnel"][0]["n"] == 120
    assert stated["parameters"]["cnmf"]["merge"] is True


def test_a_failed_write_leaves_the_old_file(fake_results, statistics, tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="has no row for the components"):
        write_tables(fake_results._replace(cells=fake_results.cells[1:]), tmp_path, statistics=statistics)
    assert path.read_text() == "old"
    assert {p.name for p in tmp_path.iterdir()} == {"cells.csv", "traces.csv", "denoised.csv", "spikes.csv"}


def test_the_report_leaves_pyplot_alone(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from _fake_results import make_results; "
        "from calcium_helpers import write_report; "
        "write_report(make_results(n_cells=2, n_frames=20, shape=(30, 30)), sys.argv[2]); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    tests = str(Path(__file__).parent)
    assert subprocess.run([sys.executable, "-c", code, tests, str(tmp_path)], check=False).returncode == 0
