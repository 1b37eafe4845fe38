"""The README's tables are those of benchmarks/results, and each says who made it."""

import dataclasses
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from calcium_helpers import simulate

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "benchmarks")]

import hybrids  # noqa: E402
from anchors import ANCHOR_1P, ANCHOR_2P  # noqa: E402
from columns import COLUMNS_1P, COLUMNS_2P, true_snr, visible_cells  # noqa: E402
from out_of_range import OUT_OF_RANGE_1P, OUT_OF_RANGE_2P  # noqa: E402
from tables import RESULTS, Table, read_table, render, rewrite_readme, table_names  # noqa: E402

README = ROOT / "README.md"
CSVS = sorted(RESULTS.glob("*.csv"))


def test_the_readme_shows_every_table_as_measured():
    text = README.read_text(encoding="utf-8")
    assert sorted(table_names(text)) == [path.stem for path in CSVS] != []
    assert text == rewrite_readme(text), "run `make tables`"


@pytest.mark.parametrize("path", CSVS, ids=lambda path: path.stem)
def test_each_result_names_its_script_and_commit(path):
    table = read_table(path)
    assert (ROOT / table.command.split()[1]).is_file()
    commits = {row[table.columns.index("commit")] for row in table.rows}
    assert all(re.fullmatch(r"[0-9a-f]{7,40}", commit) for commit in commits)


def test_a_table_is_rendered_without_its_commits():
    table = Table(
        "python benchmarks/a.py", ["method", "commit", "F1"], [["ours", "abcdef0", "0.90"], ["peer", "abcdef0", "0.80"]]
    )
    expected = "| method | F1 |\n| --- | --- |\n| ours | 0.90 |\n| peer | 0.80 |\n\nReproduce: `python benchmarks/a.py`\n"
    assert render(table) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,commit\n1,abcdef0\n", "first line must be"),
        ("# python benchmarks/a.py\na,b\n1,2\n", "a column 'commit'"),
        ("# python benchmarks/a.py\na,commit\n", "at least one row"),
        ("# python benchmarks/a.py\na,commit\n1\n", "expected 2 cells a row"),
    ],
)
def test_a_faulty_result_is_refused(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"a.csv: .*{message}"):
        read_table(path)


def outside(low_high, other):
    return low_high[1] < other[0] or other[1] < low_high[0]


def test_out_of_range_is_outside_what_the_anchors_show():
    assert outside(OUT_OF_RANGE_2P.radius_px, ANCHOR_2P.radius_px)
    assert outside(OUT_OF_RANGE_1P.sigma_px, ANCHOR_1P.sigma_px)
    for ours, anchor in ((OUT_OF_RANGE_2P, ANCHOR_2P), (OUT_OF_RANGE_1P, ANCHOR_1P)):
        assert ours.fs <= anchor.fs / 2
        assert ours.decay_s > 2 * anchor.decay_s
        density, usual = (c.n_cells / c.height / c.width for c in (ours, anchor))
        assert density > 1.2 * usual
        assert ours.motion_px > anchor.motion_px


def test_cells_are_scattered_whole_and_no_closer_than_they_were():
    rng = np.random.default_rng(0)
    masks = np.zeros((9, 60, 60), dtype=bool)
    for i in range(9):
        masks[i, 20 * (i // 3) + 5 : 20 * (i // 3) + 15, 20 * (i % 3) + 5 : 20 * (i % 3) + 12] = True
    counts = set()
    for _ in range(20):
        kept, images, moved = hybrids._scatter(rng, masks.astype(float), masks)
        counts.add(len(kept))
        assert moved.sum(axis=0).max() <= 1
        np.testing.assert_array_equal(images > 0, moved)
        for mask in moved:
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            assert np.diff(rows).max() == np.diff(columns).max() == 1
    assert min(counts) >= 4
    assert len(counts) > 1


@pytest.mark.real
@pytest.mark.skipif("CALCIUM_DATA_DIR" not in os.environ, reason="needs the recordings of CALCIUM_DATA_DIR")
@pytest.mark.parametrize("make", [COLUMNS_2P["hybrid"], COLUMNS_1P["hybrid"]], ids=["2p", "1p"])
def test_hybrids_of_real_recordings(make, monkeypatch):
    monkeypatch.setattr(hybrids, "N_FRAMES", 60)
    movie, footprints, calcium, spikes, shifts = make(0)
    assert movie.n_frames == calcium.n_frames == spikes.n_frames == len(shifts.yx) == 60
    assert 45 <= len(footprints) == len(calcium) <= 80
    assert calcium.values.min() > -0.5
    assert (np.ptp(calcium.values, axis=1) > 0).mean() > 0.5
    assert np.abs(shifts.yx).max() > 0.5


def test_hybrids_say_what_they_need(monkeypatch):
    monkeypatch.delenv("CALCIUM_DATA_DIR", raising=False)
    with pytest.raises(ValueError, match="set CALCIUM_DATA_DIR"):
        COLUMNS_2P["hybrid"](0)


def test_visible_is_what_stands_above_the_noise():
    config = simulate.TwoPhotonConfig(n_frames=300, height=96, width=96, n_cells=8, fs=10.0, neuropil=0.3)
    bright, dim = (simulate.two_photon(dataclasses.replace(config, baseline_photons=p), seed=3) for p in (8.0, 0.02))
    assert visible_cells(bright).all()
    assert not visible_cells(dim).any()
    silent = bright._replace(calcium=bright.calcium.replace(values=np.zeros_like(bright.calcium.values)))
    np.testing.assert_array_equal(true_snr(silent), 0)
