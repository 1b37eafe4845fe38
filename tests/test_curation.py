"""Decisions of people: the log on disk, what of it holds, and results with it applied."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from _fake_results import make_results

from calcium_helpers import io
from calcium_helpers.cli import main
from calcium_helpers.containers import Events, Footprints, Movie, Traces
from calcium_helpers.curation import apply_decisions, read_decision, standing
from calcium_helpers.io import MovieFileError
from calcium_helpers.io.curation import add_decision, load_decisions
from calcium_helpers.traces import extract_traces

FS = 10.0


def log(*rows):
    """Decisions as a table, made by ann: (unit, decision) or (unit, decision, y, x)."""
    table = [(row[0], row[1], "ann", "", *(row[2:] or (np.nan, np.nan))) for row in rows]
    return pd.DataFrame(table, columns=["unit", "decision", "who", "when", "y_px", "x_px"])


@pytest.fixture(scope="module")
def movie():
    return Movie(np.random.default_rng(0).gamma(4, 10, (40, 64, 64)).astype(np.float32), FS)


@pytest.fixture(scope="module")
def results(movie):
    """Twelve cells (4 and 9 rejected) whose raw traces are those of a movie."""
    made = make_results(n_cells=12, shape=(64, 64), n_frames=40, fs=FS)
    return made._replace(raw=extract_traces(movie, made.footprints))


def decided(results):
    cells = results.cells_by_id()
    return set(cells.index[cells["accepted"]].tolist()), cells["reason"].to_dict()


def test_accepting_and_rejecting_changes_cells_and_numbers_and_nothing_else(results):
    after = apply_decisions(results, log((4, "accept"), (0, "reject"), (1, "accept")))
    accepted, reason = decided(after)
    assert accepted == {1, 2, 3, 4, 5, 6, 7, 8, 10, 11}
    assert (reason[4], reason[0], reason[1]) == ("accepted by ann", "rejected by ann", "accepted by ann")
    assert reason[9] == "peak SNR < 3"
    kept = sorted(accepted)
    assert (after.summary["n_accepted"], after.summary["n_rejected"]) == (10, 2)
    assert after.summary["median_snr"] == np.median(results.cells["snr"][kept])
    per_min = (results.spikes.values[kept] > 0).sum(axis=1).mean() / (40 / FS / 60)
    assert after.summary["mean_rate"] == pytest.approx(per_min)
    assert after.funnel.iloc[-1].tolist() == ["decided by people", 10, "2 accepted, 1 rejected"]
    assert after.footprints is results.footprints
    assert after.dff is results.dff
    assert after.summary["source"] == results.summary["source"]
    assert decided(results)[0] == {0, 1, 2, 3, 5, 6, 7, 8, 10, 11}, "what came in is left as it was"


def test_scores_against_truth_do_not_outlive_the_cells_they_were_of(results):
    after = apply_decisions(results, log((0, "reject")))
    assert "truth" not in after.summary
    again = apply_decisions(after, log((0, "reject")))
    assert sum("truth" in text for text in again.summary["warnings"]) == 1


def test_that_no_cell_is_left_is_said(results):
    everything = [(int(unit), "reject") for unit in results.footprints.ids]
    assert "no cell was accepted" in apply_decisions(results, log(*everything)).summary["warnings"][-2]


def test_a_merge_gives_what_the_joint_footprint_sees(results, movie):
    after = apply_decisions(results, log((7, "merge into 3")))
    joint = Footprints(results.footprints.weights[[3]] + results.footprints.weights[[7]], (64, 64))
    np.testing.assert_allclose(after.raw.values[3], extract_traces(movie, joint).values[0], rtol=1e-5)
    np.testing.assert_allclose(after.footprints.image(3), joint.image(0))
    np.testing.assert_array_equal(after.footprints.image(7), results.footprints.image(7))
    share = np.asarray(results.footprints.weights.sum(axis=1)).ravel()
    for kind in ("neuropil", "dff", "denoised", "spikes"):
        old, new = getattr(results, kind).values, getattr(after, kind).values
        np.testing.assert_allclose(new[3], np.average(old[[3, 7]], axis=0, weights=share[[3, 7]]), rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(np.delete(new, 3, axis=0), np.delete(old, 3, axis=0))
    assert decided(after)[0] == {0, 1, 2, 3, 5, 6, 8, 10, 11}
    assert decided(after)[1][7] == "merged into 3 by ann"
    row = after.cells_by_id().loc[3]
    np.testing.assert_allclose(row[["y_px", "x_px"]].astype(float), after.footprints.centroids[3])
    assert row["area_px"] == after.footprints.area_px[3]
    np.testing.assert_array_equal(after.footprints.ids, results.footprints.ids)


def make_events(*rows):
    table = pd.DataFrame(rows, columns=["roi", "onset_s", "peak_s", "offset_s", "amplitude"])
    return Events(table.assign(rise_s=table["amplitude"] / 10))


def test_events_that_overlap_become_one(results):
    events = make_events(
        (3, 0.0, 0.2, 1.0, 1.0), (7, 0.5, 0.9, 1.5, 2.0),  # overlap
        (3, 1.5, 1.6, 2.0, 0.5),  # begins where the other ends
        (7, 2.5, 2.6, 2.7, 0.4),  # alone
        (2, 0.0, 0.3, 3.0, 9.0),  # of another cell
    )  # fmt: skip
    table = apply_decisions(results._replace(events=events), log((7, "merge into 3"))).events.table
    mine = table[table["roi"] == 3].drop(columns="roi").to_numpy().tolist()
    assert mine == [[0.0, 0.9, 1.5, 2.0, 0.2], [1.5, 1.6, 2.0, 0.5, 0.05], [2.5, 2.6, 2.7, 0.4, 0.04]]
    for unit in (7, 2):
        pd.testing.assert_frame_equal(
            table[table["roi"] == unit].reset_index(drop=True), events.table[events.table["roi"] == unit].reset_index(drop=True)
        )


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_chain_of_merges_ends_in_one_unit(results, movie, order):
    rows = [(7, "merge into 3"), (3, "merge into 1")]
    after = apply_decisions(results, log(*(rows[i] for i in order)))
    joint = Footprints(sum(results.footprints.weights[[row]] for row in (1, 3, 7)), (64, 64))
    np.testing.assert_allclose(after.raw.values[1], extract_traces(movie, joint).values[0], rtol=1e-5)
    accepted, reason = decided(after)
    assert accepted == {0, 1, 2, 5, 6, 8, 10, 11}
    assert (reason[7], reason[3]) == ("merged into 1 by ann", "merged into 1 by ann")


def test_a_circle_of_merges_is_not_closed(results):
    with pytest.warns(UserWarning, match=r"unit 3 \(merge into 7; is part of it already\)"):
        after = apply_decisions(results, log((7, "merge into 3"), (3, "merge into 7")))
    assert decided(after)[1][7] == "merged into 3 by ann"


@pytest.mark.parametrize(("unit", "into", "is_cell"), [(0, 4, True), (4, 0, True), (4, 9, False)])
def test_what_is_merged_is_a_cell_where_one_of_the_two_was(results, unit, into, is_cell):
    after = apply_decisions(results, log((unit, f"merge into {into}")))
    assert bool(after.cells_by_id()["accepted"][into]) is is_cell
    assert not after.cells_by_id()["accepted"][unit]


def test_the_last_word_on_a_unit_counts_and_undo_takes_back_one_after_the_other(results):
    rows = [(0, "reject"), (7, "merge into 3"), (0, "accept"), (-1, "undo"), (7, "undo")]
    assert [standing(log(*rows[:n]))["unit"].tolist() for n in range(6)] == [[], [0], [0, 7], [7, 0], [0, 7], [0]]
    assert standing(log(*rows[:3]))["decision"].tolist() == ["merge into 3", "accept"]
    after = apply_decisions(results, log(*rows))
    np.testing.assert_array_equal(after.raw.values, results.raw.values)
    assert decided(after)[0] == decided(results)[0] - {0}
    assert apply_decisions(results, log((0, "undo"), (0, "reject"), (0, "undo"), (0, "undo"))) is results


def test_a_unit_taken_out_of_a_merge_is_a_cell_of_its_own_again(results):
    after = apply_decisions(results, log((7, "merge into 3"), (7, "accept")))
    np.testing.assert_array_equal(after.raw.values, results.raw.values)
    assert decided(after)[0] == decided(results)[0]


def test_decisions_applied_before_change_nothing(results):
    decisions = log((7, "merge into 3"), (3, "merge into 1"), (4, "accept"), (0, "reject"), (0, "merge into 9"))
    once = apply_decisions(results, decisions)
    twice = apply_decisions(once, decisions)
    np.testing.assert_array_equal(twice.footprints.weights.toarray(), once.footprints.weights.toarray())
    np.testing.assert_array_equal(twice.raw.values, once.raw.values)
    pd.testing.assert_frame_equal(twice.cells, once.cells)
    pd.testing.assert_frame_equal(twice.funnel, once.funnel)


def test_rows_of_another_run_are_not_applied_and_are_named(results):
    y, x = results.footprints.centroids[0]
    decisions = log(
        (0, "reject", y + 3, x - 3), (1, "reject", y + 30, x), (99, "accept"), (2, "merge into 77"), (5, "reject"),
    )  # fmt: skip
    with pytest.warns(UserWarning, match="3 decisions are not applied") as caught:
        after = apply_decisions(results, decisions)
    for text in ("unit 1 (reject; lies elsewhere now)", "unit 99 (accept; is not there", "unit 2 (merge into 77; is not there"):
        assert text in str(caught[0].message)
    assert decided(results)[0] - decided(after)[0] == {0, 5}


def test_the_centre_of_a_unit_with_another_in_it_may_be_its_own_or_that_of_both(results):
    merged = apply_decisions(results, log((7, "merge into 3")))
    places = [one.footprints.centroids[3] for one in (results, merged)]
    assert np.hypot(*(places[0] - places[1])) > 5
    for place in places:
        with warnings.catch_warnings(action="error"):
            after = apply_decisions(results, log((7, "merge into 3"), (3, "reject", *place)))
        assert not after.cells_by_id()["accepted"][3]


def test_results_without_cells_reasons_or_noise():
    empty = make_results(n_cells=0, shape=(16, 16), n_frames=5)
    with pytest.warns(UserWarning, match="unit 0"):
        assert apply_decisions(empty, log((0, "accept"))) is empty
    small = make_results(n_cells=2, shape=(32, 32), n_frames=1)
    dff = Traces(np.full((2, 1), np.nan), small.dff.fs, "dff")
    small = small._replace(dff=dff, cells=small.cells.drop(columns=["reason", "snr"]).set_index("id"))
    after = apply_decisions(small, log((1, "merge into 0")))
    assert after.cells["reason"].tolist() == ["", "merged into 0 by ann"]
    assert (after.summary["n_accepted"], after.summary["median_snr"], after.summary["median_noise"]) == (1, None, None)


@pytest.mark.parametrize("text", ["", "yes", "merge", "merge into", "merge into x", "merge into -3", "accepted"])
def test_other_decisions_are_refused(text):
    with pytest.raises(ValueError, match=r'must be "accept", "reject", "merge into N" .* got'):
        read_decision(text)


# The log on disk.


def test_two_writers_lose_nothing(tmp_path):
    path = tmp_path / "curation.csv"
    add_decision(path, 3, "accept", who="ann", where=(12.345, 6))
    theirs = load_decisions(path)  # another program opened it now
    add_decision(path, 4, "reject", who="bob, jr.")
    assert len(theirs) == 1
    table = add_decision(path, 3, "Merge  into 4", who="ann")
    assert path.read_text().splitlines()[0] == "unit,decision,who,when,y_px,x_px"
    assert table[["unit", "decision", "who"]].to_numpy().tolist() == [
        [3, "accept", "ann"], [4, "reject", "bob, jr."], [3, "merge into 4", "ann"],
    ]  # fmt: skip
    pd.testing.assert_frame_equal(load_decisions(path), table)
    assert table["y_px"].tolist()[0] == 12.35
    assert np.isnan(table["y_px"].iloc[1])
    assert all(pd.Timestamp(when).tzinfo is not None for when in table["when"])
    assert list(tmp_path.iterdir()) == [path]


def test_undo_in_the_log_names_what_it_undoes(tmp_path):
    path = tmp_path / "curation.csv"
    add_decision(path, 3, "accept")
    add_decision(path, 5, "reject")
    assert [add_decision(path, None, "undo")["unit"].iloc[-1] for _ in range(2)] == [5, 3]
    assert standing(load_decisions(path)).empty
    with pytest.raises(ValueError, match="nothing to undo"):
        add_decision(path, None, "undo")
    assert load_decisions(path)["who"].str.len().gt(0).all(), "the user's name"


def test_what_cannot_be_decided_is_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "curation.csv"
    for unit, decision, problem in (
        (3, "merge into 3", "unit 3 cannot be merged into itself"),
        (8, "accept", "unit 8 is not among the 4 components"),
        (3, "merge into 9", "unit 9 is not among the 4"),
        (None, "accept", "unit must be the id"),
        (3, "maybe", "must be"),
    ):
        with pytest.raises(ValueError, match=problem):
            add_decision(path, unit, decision, ids=np.arange(4))
    assert not path.exists()


def test_a_log_edited_by_hand(tmp_path):
    path = tmp_path / "curation.csv"
    path.write_text("\ufeffDecision ; unit; comment\n  ACCEPT; 3 ; clear\n\nmerge  into 4 ;5;\nundo;;\n", encoding="utf-8")
    table = load_decisions(path)
    assert table[["unit", "decision"]].to_numpy().tolist() == [[3, "accept"], [5, "merge into 4"], [-1, "undo"]]
    assert table["who"].tolist() == ["", "", ""]
    added = add_decision(path, 6, "reject", who="ann")
    assert added["comment"].tolist() == ["clear", "", "", ""]
    pd.testing.assert_frame_equal(load_decisions(path), added)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1 lacks the column unit"),
        ("unit,who\n3,ann\n", "line 1 lacks the column decision"),
        ("unit,decision\n3,accept\nx,reject\n", "line 3 cannot be understood"),
        ("unit,decision\n,reject\n", "line 2 cannot be understood"),
        ("unit,decision\n3,\n", "line 2 cannot be understood"),
        ("unit,decision\n3,keep\n", "line 2 cannot be understood .*'keep'"),
        ("unit,decision\n3,accept\n3,merge into 3\n", "line 3 .*itself"),
        ("unit,decision,y_px\n3,accept,north\n", "line 2 .*north"),
        ("unit,decision\n3,accept,ann\n", "line 2 has 3 cells"),
    ],
)
def test_a_line_that_cannot_be_understood_is_named_and_the_log_left_alone(tmp_path, text, problem):
    path = tmp_path / "curation.csv"
    path.write_text(text)
    with pytest.raises(MovieFileError, match=problem):
        load_decisions(path)
    with pytest.raises(MovieFileError, match=problem):
        add_decision(path, 1, "accept")
    assert path.read_text() == text


def test_results_are_loaded_as_people_decided(results, tmp_path):
    io.save_results(results, tmp_path / "results.h5")
    assert decided(io.load_results(tmp_path)) == decided(results)
    add_decision(tmp_path / "curation.csv", 7, "merge into 3", where=results.footprints.centroids[7])
    assert 7 not in decided(io.load_results(tmp_path / "results.h5"))[0]
    assert decided(io.load_results(tmp_path, curated=False)) == decided(results)
    io.save_results(io.load_results(tmp_path), tmp_path / "results.h5")  # what was applied is stored
    once, raw = io.load_results(tmp_path), apply_decisions(results, log((7, "merge into 3"))).raw.values
    np.testing.assert_array_equal(once.raw.values, raw)


def test_the_command_writes_tables_and_report_as_people_decided(results, tmp_path, capsys):
    io.save_results(results, tmp_path / "results.h5")
    path = tmp_path / "curation.csv"
    add_decision(path, 4, "accept", who="ann")
    add_decision(path, 0, "reject", who="ann")
    add_decision(path, 99, "reject", who="ann")
    assert main(["update", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "10 cells of 12 components (10 before)" in said
    assert "note: 1 decisions are not applied: unit 99" in said
    cells = pd.read_csv(tmp_path / "cells.csv", index_col="id")
    assert (cells["reason"][4], cells["reason"][0]) == ("accepted by ann", "rejected by ann")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["median_snr"] == pytest.approx(cells["snr"][cells["accepted"]].median())
    assert (summary["n_accepted"], summary["n_rejected"]) == (10, 2)
    assert set(pd.read_csv(tmp_path / "statistics.csv")["roi"]) == set(cells.index[cells["accepted"]])
    assert "accepted by ann" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_command_says_what_it_cannot_do(results, tmp_path, capsys):
    assert main(["update", str(tmp_path)]) == 2
    assert "there is no such file" in capsys.readouterr().err
    io.save_results(results, tmp_path / "results.h5")
    (tmp_path / "responses.csv").write_text("roi\n")
    assert main(["update", str(tmp_path)]) == 2
    assert "--stimuli" in capsys.readouterr().err
