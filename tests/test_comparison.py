import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import stats
from scipy.signal import lfilter

from calcium_helpers.cli import main
from calcium_helpers.report.comparison import Recording, write_comparison
from calcium_helpers.report.conditions import compare_conditions
from calcium_helpers.report.numbers import format_value

UNITS = {"rate": "1/min", "interval": "s", "amplitude": "dF/F"}


class Page(HTMLParser):
    """A page read back: its elements, and the rows of its tables as lists of texts."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements, self.rows, self.words, self.open = [], [], [], []
        self.feed(self.source)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] != "style":
            self.words.append(text)
            if {"td", "th"} & set(self.open):
                self.rows[-1][-1] += text

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def make_recording(out, name, *, n_cells=20, rate=4.0, seed=0, **about):
    """Write what a run leaves: one in five cells is silent."""
    rng = np.random.default_rng(seed)
    folder = Path(out) / name
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<p>report</p>")
    rates = np.where(np.arange(n_cells) % 5 == 4, 0, rng.gamma(8, rate / 8, n_cells))
    values = {"rate": rates, "interval": np.where(rates > 0, 60 / np.maximum(rates, 1e-9), np.nan)}
    values["amplitude"] = np.where(rates > 0, rng.lognormal(-1, 0.3, n_cells), np.nan)
    table = pd.concat(
        pd.DataFrame({"roi": np.arange(n_cells), "measure": measure, "unit": UNITS[measure], "n": 3, "value": value})
        for measure, value in values.items()
    )
    table.assign(low=np.nan, high=np.nan).to_csv(folder / "statistics.csv", index=False)
    summary = {"n_accepted": n_cells, "duration_s": 120.0, "median_snr": 7.5 + seed, "median_noise": 0.1 + 0.01 * seed}
    summary |= {"motion": None if seed % 2 else {"rms_shift_px": 1.25}, "warnings": about.pop("warnings", [])}
    (folder / "summary.json").write_text(json.dumps(summary))
    return Recording(name, f"data/{name}.tif", "done", "", f"{name}/report.html", **about)


def batch(out, n_each=4, *, subjects=False, rates=(3.0, 9.0)):
    return [
        make_recording(
            out, f"{condition}{i}", n_cells=10 + i, rate=rate, seed=10 * k + i, condition=condition,
            subject=f"mouse {i}" if subjects else "",
        )
        for k, (condition, rate) in enumerate(zip(("sham", "drug"), rates, strict=True))
        for i in range(n_each)
    ]  # fmt: skip


def measured(out, recording):
    return pd.read_csv(Path(out) / recording.name / "statistics.csv").groupby("measure", sort=False)["value"].mean()


def test_the_table_the_page_and_the_folders_say_the_same(tmp_path):
    recordings = batch(tmp_path)
    page = Page(write_comparison(recordings, tmp_path))
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert table["recording"].tolist() == [recording.name for recording in recordings]
    assert table["cells"].tolist() == [10, 11, 12, 13] * 2
    assert table["motion (px)"].notna().tolist() == [True, False] * 4
    for recording, (_, row) in zip(recordings, table.iterrows(), strict=True):
        means = measured(tmp_path, recording)
        for measure, unit in UNITS.items():
            assert row[f"{measure} ({unit})"] == pytest.approx(means[measure], rel=1e-5)
    shown = {row[1]: row for row in page.rows if row[0].isdigit() and len(row) == 5}
    for _, row in table.iterrows():
        assert shown[row["recording"]][2:] == [format_value(row[f"{name} ({unit})"]) for name, unit in UNITS.items()]
    assert "Every recording was analysed, and passed every automatic check." in page.text


def test_recordings_are_the_units_not_their_cells(tmp_path):
    recordings = batch(tmp_path)
    page = Page(write_comparison(recordings, tmp_path))
    table = pd.read_csv(tmp_path / "conditions.csv").set_index("measure")
    sham, drug = ([measured(tmp_path, one)["rate"] for one in recordings if one.condition == name] for name in ("sham", "drug"))
    row = table.loc["rate"]
    assert (row["n_a"], row["n_b"], row["condition_a"], row["condition_b"]) == (4, 4, "sham", "drug")
    assert row["difference"] == pytest.approx(np.mean(drug) - np.mean(sham), rel=1e-5)
    assert row["p"] == pytest.approx(stats.mannwhitneyu(drug, sham).pvalue, rel=1e-5)
    assert "4 recordings against 4: one value a recording" in page.text
    assert "not independent" in page.text
    assert "cannot give" not in page.text  # 4 against 4 can give 0.029
    noise = table.loc["noise"]  # of whole recordings, beside their activity
    assert (noise["unit"], noise["value_a"]) == ("dF/F", pytest.approx(0.115))
    shown = next(row for row in page.rows if row[0] == "Event rate (1/min)")
    assert shown[1] == f"{format_value(row['value_a'])} n = 4"
    assert shown[-1] == row["words"] == ("higher in drug" if row["q"] <= 0.05 else "not told apart")


def test_subjects_are_compared_with_themselves(tmp_path):
    recordings = batch(tmp_path, 6, subjects=True)
    # a second recording of a subject counts with its first, and a subject with one condition is left out
    recordings.append(make_recording(tmp_path, "again", rate=20, seed=30, condition="sham", subject="mouse 0"))
    recordings.append(make_recording(tmp_path, "lone", rate=90, seed=31, condition="drug", subject="mouse 9"))
    page = Page(write_comparison(recordings, tmp_path))
    row = pd.read_csv(tmp_path / "conditions.csv").set_index("measure").loc["rate"]
    values = {one.name: measured(tmp_path, one)["rate"] for one in recordings}
    sham = [(values["sham0"] + values["again"]) / 2, *(values[f"sham{i}"] for i in range(1, 6))]
    steps = np.array([values[f"drug{i}"] for i in range(6)]) - sham
    assert (row["n_a"], row["difference"]) == (6, pytest.approx(steps.mean(), rel=1e-5))
    assert row["p"] == pytest.approx(stats.wilcoxon(steps).pvalue, rel=1e-5)
    assert "6 subjects were recorded in both conditions" in page.text
    assert "1 with one condition only are left out" in page.text


def test_cells_are_counted_with_a_caution_where_recordings_are_few(tmp_path):
    recordings = batch(tmp_path, 1)
    page = Page(write_comparison(recordings, tmp_path))
    table = pd.read_csv(tmp_path / "conditions.csv").set_index("measure")
    assert (table.loc["rate", "n_a"], table.loc["amplitude", "n_a"]) == (10, 8)
    assert "noise" not in table.index
    assert "Caution: 1 and 1 recordings are too few" in page.text
    assert "Cells of one recording are not independent: p and q are too small" in page.text
    # with three, recordings are compared, though no p can be small
    page = Page(write_comparison(batch(tmp_path / "three", 3), tmp_path / "three"))
    assert "So few values cannot give a p below 0.1" in page.text


def test_p_hold_when_cells_of_a_recording_are_alike():
    """Recordings that differ among themselves, with 30 cells each, and no effect of the condition."""
    false = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        names, roi = np.repeat([f"r{i}" for i in range(10)], 30), np.tile(np.arange(30), 10)
        condition = np.where(np.char.replace(names, "r", "").astype(int) < 5, "a", "b")
        value = np.repeat(rng.normal(5, 1, 10), 30) + rng.normal(0, 1, 300)
        cells = pd.DataFrame({"recording": names, "condition": condition, "subject": "", "roi": roi, "measure": "rate"})
        (pair,) = compare_conditions(cells.assign(unit="1/min", value=value), cells[:0].assign(unit="", value=0.0))
        false.append(pair.table["p"][0] < 0.05)
    assert np.mean(false) < 0.15  # cells counted one by one give more than half


def test_three_conditions_share_their_q(tmp_path):
    recordings = batch(tmp_path, 3) + [
        make_recording(tmp_path, f"wash{i}", seed=50 + i, condition="wash", rate=3) for i in range(3)
    ]
    write_comparison(recordings, tmp_path)
    table = pd.read_csv(tmp_path / "conditions.csv")
    pairs = table[["condition_a", "condition_b"]].drop_duplicates().to_numpy().tolist()
    assert pairs == [["sham", "drug"], ["sham", "wash"], ["drug", "wash"]]
    tested = table.dropna(subset=["p"])
    np.testing.assert_allclose(tested["q"], stats.false_discovery_control(tested["p"]), rtol=1e-4)


def test_what_failed_is_named_and_stops_nothing(tmp_path):
    recordings = [
        make_recording(tmp_path, "good", warnings=["3 frames were left out"]),
        make_recording(tmp_path, "none", n_cells=0),
        make_recording(tmp_path, "torn"),
        make_recording(tmp_path, "old"),
        Recording("bad", "data/bad.tif", "failed", "data/bad.tif: is no readable TIFF", ""),
        Recording("gone", "data/gone.tif", "missing", "there is no such file", ""),
    ]
    (tmp_path / "torn" / "statistics.csv").write_text("roi,value\n0,much\n")
    (tmp_path / "old" / "statistics.csv").unlink()
    page = Page(write_comparison(recordings, tmp_path))
    for words in (
        "good : 3 frames were left out", "bad : failed: data/bad.tif: is no readable TIFF",
        "gone : missing: there is no such file (data/gone.tif)", "torn : its tables cannot be read", "old : its tables cannot",
    ):  # fmt: skip
        assert words in page.text
    table = pd.read_csv(tmp_path / "comparison.csv").set_index("recording")
    assert table.loc["none", "cells"] == 0
    assert table.loc["good", "n_warnings"] == 1
    assert table.loc[["none", "torn", "bad", "gone"], "rate (1/min)"].isna().all()
    assert "adds a comparison here" in page.text
    assert not (tmp_path / "conditions.csv").exists()
    page = Page(write_comparison(recordings[4:], tmp_path))  # nothing at all to show
    assert "No recording has a cell to show" in page.text


def test_the_page_is_whole_small_and_for_the_keyboard(tmp_path):
    recordings = [*batch(tmp_path, 2), make_recording(tmp_path, "Kanal 1 #2 50% ä&<b>", condition="drug")]
    path = write_comparison(recordings, tmp_path)
    page = Page(path)
    assert path.stat().st_size < 1_000_000
    assert "http" not in page.source.replace("http-equiv", "")
    assert not page.all("script")
    assert not page.all("link")
    assert all(image["src"].startswith("data:image/png") and image["alt"] for image in page.all("img"))
    links = [attrs["href"] for attrs in page.all("a")]
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    reports = [link for link in links if not link.startswith("#")]
    assert len(reports) == 2 * len(recordings)
    assert all((tmp_path / unquote(link)).is_file() and not re.search(r"[ #%](?![0-9A-F]{2})", link) for link in reports)
    scrolled = [attrs for _, attrs in page.elements if attrs.get("class") == "scroll"]
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in scrolled)
    for measure in UNITS:
        assert {(tmp_path / "figures" / f"{measure}.{ending}").stat().st_size > 1000 for ending in ("png", "svg")} == {True}
    assert write_comparison(recordings, tmp_path).read_text(encoding="utf-8") == page.source  # the same again


def test_after_a_batch_it_is_there(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rng = np.random.default_rng(0)
    labels = np.zeros((32, 36), int)
    for cell in range(4):
        labels[4 + 12 * (cell // 2) : 12 + 12 * (cell // 2), 4 + 14 * (cell % 2) : 12 + 14 * (cell % 2)] = cell + 1
    np.save("cells.npy", labels)
    activity = lfilter([1], [1, -0.9], rng.random((4, 200)) < 0.03, axis=1)
    frames = rng.poisson(30, (200, 32, 36)) + np.concatenate([np.zeros((1, 200)), 60 * activity])[labels].transpose(2, 0, 1)
    tifffile.imwrite("a.tif", frames.astype(np.uint16), photometric="minisblack")
    table = "path,condition,subject\na.tif,{},m1\nnone.tif,drug,\n"
    Path("files.csv").write_text(table.format("sham"))
    call = ["report", "files.csv", "--fs", "10", "--modality", "2p", "--no-motion", "--rois", "cells.npy", "-o", "out"]
    assert main(call) == 1
    assert f"all of them on one page: {Path('out') / 'comparison.html'}" in capfd.readouterr().out
    found = pd.read_csv("out/comparison.csv")
    assert found["condition"].tolist() == ["sham", "drug"]
    assert found["subject"].fillna("").tolist() == ["m1", ""]
    assert found["status"].tolist() == ["done", "missing"]
    assert found["cells"][0] == 4
    groups = pd.read_csv("out/a/groups.csv")
    rate = groups.loc[(groups["group"] == "all cells") & (groups["measure"] == "rate"), "value"].item()
    assert rate > 0
    assert found["rate (1/min)"][0] == pytest.approx(rate, rel=1e-4)
    # another condition is no other analysis
    Path("files.csv").write_text(table.format("wash"))
    assert main(call) == 1
    assert pd.read_csv("out/comparison.csv")["condition"].tolist() == ["wash", "drug"]
    assert pd.read_csv("out/outcomes.csv")["message"].tolist() == ["done in an earlier run", "there is no such file"]
