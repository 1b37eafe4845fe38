import logging
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from calcium_helpers import manifest
from calcium_helpers.io import MovieFileError
from calcium_helpers.io.ground_truth import load_ground_truth, load_spikefinder
from calcium_helpers.spike_trains import FOLDS, resample

DATA = os.environ.get("CALCIUM_DATA_DIR")
needs_data = pytest.mark.skipif(not DATA, reason="CALCIUM_DATA_DIR is not set")


def sweep(times, dff, spikes_s=(), **fields):
    return {
        "fluo_time": np.asarray(times, float),
        "fluo_mean": np.asarray(dff),
        "events_AP": 1e4 * np.asarray(spikes_s),
        **fields,
    }


@pytest.fixture
def write(tmp_path):
    """Write neurons of a data set as MATLAB would."""

    def write(*sweeps, folder="DS06-GCaMP6f-zf-aDp", name="cell_1"):
        (tmp_path / folder).mkdir(exist_ok=True)
        cells = np.empty(len(sweeps), dtype=object)
        cells[:] = sweeps
        savemat(tmp_path / folder / f"{name}.mat", {"CAttached": cells})
        return tmp_path / folder

    return write


def test_a_clean_sweep_comes_as_it_is(write):
    times, dff = np.arange(50) / 20, np.random.default_rng(0).normal(size=50).astype(np.float32)
    folder = write(sweep(times, dff, [1.0, 0.5], neuropil=dff + 1))
    (only,) = load_ground_truth(folder)
    assert (only.dataset, only.indicator, only.cell) == ("DS06", "GCaMP6f", "cell_1")
    assert only.fs == pytest.approx(20)
    np.testing.assert_allclose(only.times_s, times)
    np.testing.assert_array_equal(only.dff, dff)
    np.testing.assert_allclose(only.spikes_s, [0.5, 1.0])
    np.testing.assert_array_equal(only.neuropil, dff + 1)
    assert (only.times_s.dtype, only.dff.dtype) == (np.float64, np.float32)


def test_what_is_irregular_is_mended_and_counted(write, caplog):
    times = np.array([0.0, 0.1, 0.3, 0.2, 0.4, 0.4, np.nan, 0.5, 0.6])
    dff = np.array([0.0, 1, 3, 2, 4, 99, 9, np.nan, 6])
    folder = write(
        sweep(times, dff, [-0.2, -0.05, 0.25, 0.6, 0.7, np.nan], neuropil=dff * 2),
        {"ephys_raw": np.zeros(3)},
        sweep([0, 1], [np.nan, np.nan]),
        sweep([], []),
        sweep([0.0], [1.0]),
    )
    with caplog.at_level(logging.INFO):
        (only,) = load_ground_truth(folder)
    np.testing.assert_allclose(only.times_s, [0, 0.1, 0.2, 0.3, 0.4, 0.6])
    np.testing.assert_array_equal(only.dff, [0, 1, 2, 3, 4, 6])
    np.testing.assert_array_equal(only.neuropil, 2 * only.dff)
    np.testing.assert_allclose(only.spikes_s, [-0.05, 0.25, 0.6])
    assert only.fs == pytest.approx(10)  # the gap of 0.2 s does not count
    (line,) = caplog.messages
    for count in ("not finite, left out 4", "sorted 1", "before, left out 1", "outside the fluorescence, left out 3"):
        assert count in line
    assert "sweeps without fluorescence, left out 4" in line


def test_sweeps_of_one_neuron_share_its_name_and_a_folder_of_sets_is_read_in_order(write):
    good = sweep(np.arange(5) / 10, np.zeros(5))
    write(good, good, folder="DS32-GCaMP8s-m-V1", name="b")
    write(good, folder="DS32-GCaMP8s-m-V1", name="a")
    above = write(good, folder="DS02-OGB1-2-m-V1").parent
    assert [(s.dataset, s.indicator, s.cell) for s in load_ground_truth(above)] == [
        ("DS02", "OGB-1", "cell_1"),
        ("DS32", "jGCaMP8s", "a"),
        ("DS32", "jGCaMP8s", "b"),
        ("DS32", "jGCaMP8s", "b"),
    ]
    assert {s.spikes_s.shape for s in load_ground_truth(above)} == {(0,)}


def test_broken_files_are_named(write, tmp_path):
    for nothing in (tmp_path, tmp_path / "absent"):
        with pytest.raises(MovieFileError, match="holds no ground truth"):
            load_ground_truth(nothing)
    folder = write(sweep(np.arange(5), np.zeros(4)))
    with pytest.raises(MovieFileError, match=r"cell_1\.mat: has 5 times and 4 values"):
        load_ground_truth(folder)
    folder = write(sweep(np.arange(3), np.array(["a", "b", "c"], dtype=object)))
    with pytest.raises(MovieFileError, match=r"cell_1\.mat: holds no numbers in fluo_mean"):
        load_ground_truth(folder)
    savemat(folder / "cell_1.mat", {"other": 1})
    with pytest.raises(MovieFileError, match=r"cell_1\.mat: has no variable CAttached"):
        load_ground_truth(folder)
    whole = (write(sweep(np.arange(500), np.random.default_rng(0).normal(size=500))) / "cell_1.mat").read_bytes()
    for damaged in (b"", b"no MATLAB file", whole[: len(whole) // 2]):
        (folder / "cell_1.mat").write_bytes(damaged)
        with pytest.raises(MovieFileError, match=r"cell_1\.mat: cannot be read as a MATLAB file"):
            load_ground_truth(folder)


CALCIUM = "0,1\n0.1,5\n0.2,6\n0.3,\n0.4,\n"
SPIKES = "0,1\n0,1\n2,0\n0,\n1,\n"


def test_spikefinder_counts_become_times_in_their_bins(tmp_path):
    (tmp_path / "c.csv").write_text(CALCIUM)
    (tmp_path / "s.csv").write_text(SPIKES)
    first, second = load_spikefinder(tmp_path / "c.csv", tmp_path / "s.csv", dataset="spikefinder-3", indicator="GCaMP6s")
    assert (first.dataset, first.indicator, first.cell, second.cell, first.fs) == ("spikefinder-3", "GCaMP6s", "0", "1", 100)
    np.testing.assert_allclose(first.dff, [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_array_equal(resample(first).spikes, [0, 2, 0, 1])
    np.testing.assert_array_equal(second.dff, [5, 6])
    np.testing.assert_array_equal(resample(second).spikes, [1, 0])
    (tmp_path / "s.csv").write_text("0,1,2\n0,0,0\n")
    with pytest.raises(MovieFileError, match=r"c\.csv: has 2 columns, its file of spikes 3"):
        load_spikefinder(tmp_path / "c.csv", tmp_path / "s.csv", dataset="x")
    (tmp_path / "c.csv").write_text("0,1\na,b\n")
    with pytest.raises(MovieFileError, match=r"c\.csv: cannot be read"):
        load_spikefinder(tmp_path / "c.csv", tmp_path / "s.csv", dataset="x")


def test_the_archive_of_spikefinder_is_read_by_number(tmp_path):
    path = tmp_path / "spikefinder.train.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in (10, 2):
            archive.writestr(f"spikefinder.train/{number}.train.calcium.csv", CALCIUM)
            archive.writestr(f"spikefinder.train/{number}.train.spikes.csv", SPIKES)
        archive.writestr("__MACOSX/spikefinder.train/._2.train.calcium.csv", "x")
    found = [(s.dataset, s.indicator, s.cell) for s in load_ground_truth(path)]
    assert found[::2] == [("spikefinder-2", "OGB-1", "0"), ("spikefinder-10", "jRGECO1a", "0")]
    assert len(found) == 4
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1.train.calcium.csv", CALCIUM)
    with pytest.raises(MovieFileError, match=r"incomplete at 1\.train\.calcium\.csv"):
        load_ground_truth(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.csv", CALCIUM)
    with pytest.raises(MovieFileError, match="holds no N"):
        load_ground_truth(path)


@needs_data
@pytest.mark.real
def test_all_recordings_at_hand_are_taken():
    sweeps = load_ground_truth(Path(str(DATA)) / "spikes")
    cells = {(s.dataset, s.cell) for s in sweeps}
    assert (len(sweeps), len(cells)) == (824, 240)
    assert [sum(dataset in fold for dataset, _ in cells) for fold in FOLDS] == [74, 42, 43, 41, 40]
    for recording in sweeps:
        assert np.isfinite(recording.dff).all()
        assert (np.diff(recording.times_s) > 0).all()
        assert 2.5 < recording.fs < 501
        own = resample(recording)  # at its own rate a recording is unchanged, to the sample and to the spike
        np.testing.assert_allclose(own.dff, recording.dff, atol=1e-5)
        assert own.spikes.sum() == len(recording.spikes_s)
        assert own.valid.all()
        np.testing.assert_allclose(own.times_s, recording.times_s, atol=0.5 / recording.fs)


@needs_data
@pytest.mark.real
def test_ground_truth_is_loaded_by_name():
    sweeps = manifest.load("cascade_ds14", progress=False)
    assert ({s.indicator for s in sweeps}, len(sweeps), len({s.cell for s in sweeps})) == ({"GCaMP6s"}, 18, 7)
