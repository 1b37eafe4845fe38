"""A whole run: what it finds, what it leaves on disk, and that a second run goes on where the first one stopped."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from warnings import catch_warnings

import numpy as np
import pandas as pd
import pytest
from _same_results import assert_equal

from calcium_helpers import io, motion, pipeline, simulate
from calcium_helpers.containers import Movie, Traces
from calcium_helpers.denoise import DenoiseConfig
from calcium_helpers.events import detect_events
from calcium_helpers.indicators import get_indicator
from calcium_helpers.io import MovieFileError
from calcium_helpers.models._base import WEIGHTS
from calcium_helpers.models.cnmf import CNMFConfig
from calcium_helpers.models.spike_inference import find_strange, infer_spikes
from calcium_helpers.pipeline import Given, PipelineConfig, steps
from calcium_helpers.pipeline.strip import take_strip
from calcium_helpers.report import write_report, write_tables

SMALL = simulate.TwoPhotonConfig(
    n_frames=300, height=72, width=80, fs=10.0, n_cells=4, min_distance_px=20.0, baseline_photons=20.0, tissue_photons=14.0,
    neuropil=0.05, dff_per_spike=0.5, rate_hz=(0.3, 0.8), motion_px=2.0, field_px=0.3,
)  # fmt: skip
CONFIG = PipelineConfig.for_modality("2p", offset=100.0)
RESUMABLE = {"motion", "detect", "traces"}
NOISE = Movie(np.random.default_rng(0).poisson(9, (120, 40, 44)).astype(np.uint16), fs=10)


@pytest.fixture(scope="module")
def truth():
    return simulate.two_photon(SMALL, seed=1)


@pytest.fixture(scope="module")
def finished(truth, tmp_path_factory):
    """A run that has written its results, and the folder."""
    out = tmp_path_factory.mktemp("run")
    return pipeline.run(truth.movie, CONFIG, out=out, given=Given(truth)), out


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of the folder of a finished run, times of the files included."""
    for file in (finished[1] / "work").iterdir():
        (tmp_path / "work").mkdir(exist_ok=True)
        (tmp_path / "work" / file.name).write_bytes(file.read_bytes())
        os.utime(tmp_path / "work" / file.name, (1e9, 1e9))
    return tmp_path


def found_again(results):
    return set(results.steps.loc[results.steps["note"] == "found from an earlier run", "step"])


def test_a_simulated_movie_is_analysed_well(truth, finished):
    results, _ = finished
    scores = results.summary["truth"]
    assert scores["n_truth"] == 4
    assert scores["f1"] >= 0.85
    assert scores["trace_correlation_matched"] > 0.9
    assert 0.1 < scores["spike_correlation"] <= 1
    assert scores["rigid_rms_px"] < 0.3
    assert scores["field_rms_px"] < 0.5
    corrected, raw = results.summary["motion"], results.images
    assert corrected["template_correlation_after"] > corrected["template_correlation_before"]
    assert 0.5 < corrected["max_shift_px"] < 5
    sharp, blurred = (np.corrcoef(raw[name].ravel(), truth.shifts.template.ravel())[0, 1] for name in ("mean", "mean_raw"))
    assert sharp > blurred


def test_the_parts_fit_one_another(truth, finished):
    results, _ = finished
    n = len(results.footprints)
    for name in ("raw", "neuropil", "dff", "denoised", "spikes"):
        traces = getattr(results, name)
        assert traces.values.shape == (n, 300)
        assert np.isfinite(traces.values).all()
        assert (traces.kind, traces.fs) == (name, 10.0)
        np.testing.assert_array_equal(traces.ids, results.footprints.ids)
    assert results.spikes.values.min() >= 0
    np.testing.assert_allclose(results.cells[["y_px", "x_px"]], results.footprints.centroids)
    assert results.cells["id"].tolist() == results.footprints.ids.tolist()
    assert set(results.images) == {"mean", "max", "correlation", "pnr", "mean_raw"}
    assert all(image.shape == (72, 80) for image in results.images.values())
    assert results.parameters == CONFIG.as_dict()
    summary = results.summary
    assert summary["n_accepted"] == results.cells["accepted"].sum()
    assert summary["n_accepted"] + summary["n_rejected"] == summary["n_components"] == n
    assert (summary["n_frames"], summary["height_px"], summary["width_px"], summary["duration_s"]) == (300, 72, 80, 30.0)
    assert summary["source"] == truth.movie.history[0] == results.history[0]
    assert summary["versions"]["numpy"] == np.__version__
    assert summary["seconds_total"] >= results.steps["seconds"].sum() - 0.1
    assert "motion corrected" in results.history[1]


def test_events_are_those_of_the_traces(truth, finished):
    results, _ = finished
    decay_s, rise_s = (results.summary[name] for name in ("decay_s", "rise_s"))
    again = detect_events(results.dff, decay_s=decay_s, rise_s=rise_s)
    pd.testing.assert_frame_equal(results.events.table, again.table)
    accepted = results.footprints.ids[results.cells["accepted"]]
    true_s = [truth.spikes.times_s[row > 0] for row in truth.spikes.values]
    onsets = results.events.table.loc[results.events.table["roi"].isin(accepted), "onset_s"]
    near = [min(np.abs(times - onset).min() for times in true_s) < 0.35 for onset in onsets]
    assert len(near) > 10
    assert np.mean(near) > 0.9
    strict = steps.find_events(
        steps.Activity(*results[1:6], np.array([decay_s, rise_s])), replace(CONFIG, false_positives_per_min=1e-6)
    )
    assert len(strict) < len(results.events)


def test_the_strip_shows_the_same_moments_before_and_after(truth, finished):
    raw, corrected = (finished[0].strip[name] for name in ("raw", "corrected"))
    assert raw.shape == corrected.shape == (6, 72, 80)
    np.testing.assert_array_equal(raw.times_s, corrected.times_s)
    np.testing.assert_allclose(np.diff(raw.times_s), 0.5)
    frame = round(raw.times_s[1] * truth.movie.fs)
    np.testing.assert_array_equal(raw.data[1], truth.movie.frames(frame, frame + 1)[0])
    calcium = finished[0].denoised.values
    course = (calcium / np.ptp(calcium, axis=1, keepdims=True)).sum(axis=0)
    assert frame == course.argmax() or raw.times_s[-1] > 29


def test_a_strip_of_large_and_short_movies():
    dim = Traces(np.zeros((0, 3)), 10, "denoised")
    wide = Movie(np.arange(3 * 700 * 1001, dtype=np.float32).reshape(3, 700, 1001), 10, pixel_um=1.5)
    small = take_strip({"raw": wide}, dim)["raw"]
    assert small.shape == (1, 175, 250)
    assert small.pixel_um == 6.0
    np.testing.assert_allclose(small.data[0, 0, 0], wide.data[0, :4, :4].mean())
    line = take_strip({"raw": Movie(np.ones((9, 1, 900)), 2)}, Traces(np.ones((2, 9)), 2, "denoised"))["raw"]
    assert line.shape == (6, 1, 225)


def without_truth(results):
    """The same results as of a movie of which nothing is known."""
    return results._replace(summary={name: value for name, value in results.summary.items() if name != "truth"})


def test_truth_is_only_compared_never_used(truth, finished):
    blind = pipeline.run(truth.movie, CONFIG)
    assert_equal(blind, without_truth(finished[0]))  # and what is kept in memory equals what was kept on disk


def test_kinetics_are_those_of_the_indicator_or_of_the_traces(truth, finished):
    named = pipeline.run(truth.movie, replace(CONFIG, indicator="GCaMP6f")).summary
    assert (named["decay_s"], named["rise_s"]) == (get_indicator("GCaMP6f").decay_s, get_indicator("GCaMP6f").rise_s)
    assert 0 < finished[0].summary["rise_s"] < finished[0].summary["decay_s"] <= 3


def test_results_come_back_from_disk(finished):
    results, out = finished
    stored = io.load_results(out / "results.h5")
    assert_equal(stored, results)
    assert stored.summary["seconds_total"] == results.summary["seconds_total"]
    assert stored.parameters["cnmf"] == results.parameters["cnmf"]
    assert stored.steps.equals(results.steps)


def test_names_of_the_intermediates(finished):
    names = sorted(file.name.split("-")[0] + file.suffix for file in (finished[1] / "work").iterdir())
    assert names == ["detect.npz", "motion.npy", "motion.npz", "traces.npz"]


def test_a_second_run_computes_nothing_anew(truth, finished, folder):
    again = pipeline.run(truth.movie, CONFIG, out=folder, given=Given(truth))
    assert found_again(again) == RESUMABLE
    assert not found_again(finished[0])
    assert_equal(again, finished[0])
    assert {file.stat().st_mtime for file in (folder / "work").iterdir()} == {1e9}
    assert len(list((folder / "work").iterdir())) == 4


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"deconvolution": "ar1"}, {"motion", "detect"}),
        ({"neuropil": 0.5}, {"motion", "detect"}),
        ({"offset": 90.0}, {"motion", "detect"}),
        ({"indicator": "GCaMP6f"}, {"motion", "detect"}),
        ({"cnmf": CNMFConfig(max_cells=1)}, {"motion"}),
        ({"motion": replace(motion.TWO_PHOTON, piecewise=False)}, set()),
    ],
    ids=lambda value: "-".join(sorted(value)),
)
def test_a_changed_parameter_recomputes_what_depends_on_it(truth, finished, folder, changes, found):
    changed = replace(CONFIG, **changes)
    results = pipeline.run(truth.movie, changed, out=folder)
    assert found_again(results) == found
    assert_equal(results, pipeline.run(truth.movie, changed))
    assert found_again(pipeline.run(truth.movie, CONFIG, out=folder)) == RESUMABLE  # the earlier ones are still there


def test_another_movie_in_the_same_folder_is_not_mixed_up(truth, folder):
    other = truth.movie.replace(data=truth.movie.data[:, ::-1])
    results = pipeline.run(other, CONFIG, out=folder)
    assert not found_again(results)
    assert_equal(results, pipeline.run(other, CONFIG))


@pytest.mark.parametrize(
    ("lost", "found"),
    [
        (["traces"], {"motion", "detect"}),
        (["traces", "detect"], {"motion"}),
        (["traces", "detect", "motion.npz"], set()),
        (["traces", "detect", "motion"], set()),
        (["motion.npy"], {"detect", "traces"}),
    ],
    ids=lambda value: "-".join(sorted(value)),
)
def test_a_run_that_was_killed_goes_on(truth, finished, folder, lost, found):
    """Files that were being written when it was killed bear a temporary name and half of the content."""
    with subprocess.Popen([sys.executable, "-c", ""]) as killed:
        pass
    for file in (folder / "work").iterdir():
        step, suffix = file.name.split("-")[0], file.suffix
        if step in lost or step + suffix in lost:
            file.with_name(f"{file.name}-{killed.pid}.part").write_bytes(file.read_bytes()[: file.stat().st_size // 2])
            file.unlink()
    results = pipeline.run(truth.movie, CONFIG, out=folder, given=Given(truth))
    assert found_again(results) == found
    assert_equal(results, finished[0])
    assert not list(folder.rglob("*.part"))


def test_a_run_that_stops_leaves_no_results_and_goes_on(truth, finished, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("calcium_helpers.pipeline.steps.extract_with_neuropil", stop)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(truth.movie, CONFIG, out=tmp_path, given=Given(truth))
    assert not (tmp_path / "results.h5").exists()
    results = pipeline.run(truth.movie, CONFIG, out=tmp_path, given=Given(truth))
    assert found_again(results) == {"motion", "detect"}
    assert_equal(results, finished[0])


def test_without_out_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipeline.run(NOISE, CONFIG)
    assert not list(tmp_path.iterdir())


def test_the_corrected_movie_is_saved_on_request(truth, finished, folder):
    results = pipeline.run(truth.movie, CONFIG, out=folder, save_movie=True)
    saved = io.load_movie(folder / "motion_corrected.tif", progress=False)
    assert saved.fs == pytest.approx(10.0)
    expected = motion.apply_shifts(truth.movie, results.shifts)
    np.testing.assert_allclose(saved.frames(), expected.frames(), atol=0.51)
    with pytest.raises(ValueError, match="save_movie needs out"):
        pipeline.run(truth.movie, CONFIG, save_movie=True)


def test_progress_is_shown_on_request(capsys):
    pipeline.run(NOISE, CONFIG)
    assert capsys.readouterr() == ("", "")
    pipeline.run(NOISE, CONFIG, progress=True)
    assert capsys.readouterr().err


def test_one_photon():
    config = simulate.OnePhotonConfig(n_frames=200, height=72, width=80, n_cells=4, min_distance_px=18.0, motion_px=2.0)
    truth = simulate.one_photon(config, seed=0)
    results = pipeline.run(truth.movie, PipelineConfig.for_modality("1p", offset=100.0), given=Given(truth))
    assert results.summary["modality"] == "1p"
    assert results.parameters["motion"]["highpass_px"] == motion.ONE_PHOTON.highpass_px
    assert results.summary["truth"]["rigid_rms_px"] < 0.5
    assert results.summary["truth"]["n_truth"] == 4


def test_without_motion_correction(truth):
    config = replace(CONFIG, motion=None)
    results = pipeline.run(truth.movie, config, given=Given(truth))
    assert results.shifts is None
    assert results.summary["motion"] is None
    assert "motion" not in results.steps["step"].tolist()
    assert "rigid_rms_px" not in results.summary["truth"]
    assert results.history[1] == "no motion correction"
    np.testing.assert_allclose(results.images["mean"], truth.movie.data.mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("shape", [(120, 40, 44), (30, 10, 12), (1, 32, 34), (1, 3, 3), (2, 17, 16), (60, 1, 50)])
@pytest.mark.parametrize("kind", ["noise", "constant"])
def test_no_cells_give_a_report_and_tables_all_the_same(tmp_path, shape, kind):
    frames = np.random.default_rng(0).poisson(9, shape) if kind == "noise" else np.full(shape, 9)
    results = pipeline.run(Movie(frames.astype(np.uint16), fs=10), CONFIG, out=tmp_path)
    assert results.summary["n_accepted"] == 0
    assert any("no cell was accepted" in warning for warning in results.summary["warnings"])
    small = min(shape[1:]) < 16
    assert any("too small" in warning for warning in results.summary["warnings"]) == small
    assert (results.shifts is None) == small
    assert any(f"{shape[0]} constant frames" in warning for warning in results.summary["warnings"]) == (kind == "constant")
    assert_equal(io.load_results(tmp_path / "results.h5"), results)
    assert write_report(results, tmp_path).stat().st_size > 1000
    tables = write_tables(results, tmp_path)
    assert len(pd.read_csv(tables.traces)) == shape[0]
    assert len(pd.read_csv(tables.cells)) == len(results.footprints)
    assert found_again(pipeline.run(Movie(frames.astype(np.uint16), fs=10), CONFIG, out=tmp_path)) >= {"detect", "traces"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_a_number_is_refused_before_anything_is_written(tmp_path, value):
    frames = NOISE.data.astype(np.float32)
    frames[17, 3, 4] = value
    with pytest.raises(MovieFileError, match="frame 17 holds NaN or infinite"):
        pipeline.run(Movie(frames, fs=10, history=("loaded a.tif",)), CONFIG, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_constant_frames_and_gaps_in_time_are_said():
    frames = NOISE.data.copy()
    frames[[30, 31]] = 0
    times = np.arange(120) / 10
    times[60:] += 5
    warnings = pipeline.run(Movie(frames, fs=10, times_s=times), CONFIG).summary["warnings"]
    assert any(warning.startswith("2 constant frames (the first is frame 30)") for warning in warnings)
    assert any(warning.startswith("1 gaps in the frame times") for warning in warnings)


def test_any_dtype_gives_the_same(truth, finished):
    for dtype in (np.int32, np.float32):
        results = pipeline.run(truth.movie.replace(data=truth.movie.data.astype(dtype)), CONFIG)
        assert_equal(results, without_truth(finished[0]))


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ('modality must be "2p" or "1p", got \'3p\'', {"modality": "3p"}),
        ("GCaMP9", {"modality": "2p", "indicator": "GCaMP9"}),
    ],
)
def test_the_configuration_refuses(words, arguments):
    with pytest.raises(ValueError, match=words):
        PipelineConfig(**arguments)


def test_unknown_choices_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"detector must be one of .'cnmf', 'coordinates', .*got 'best'"):
        pipeline.run(NOISE, replace(CONFIG, detector="best"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["baseline", "polarity", "deconvolution", "neuropil", "baseline_window_s", "offset"])
def test_a_wrong_choice_is_refused_when_it_is_made(name):
    with pytest.raises((ValueError, TypeError), match=name):
        PipelineConfig(modality="2p", **{name: "wrong"})


def test_denoising_makes_traces_quieter_and_finds_the_same_cells(truth, finished, folder):
    config = replace(CONFIG, denoise=DenoiseConfig())
    results = pipeline.run(truth.movie, config, out=folder, given=Given(truth))
    plain = finished[0]
    assert found_again(results) == {"motion", "detect"}  # neither depends on denoising
    np.testing.assert_array_equal(results.footprints.weights.toarray(), plain.footprints.weights.toarray())
    gain = results.summary["denoising"]
    assert gain["median_noise_before"] == pytest.approx(plain.summary["median_noise"], rel=1e-6)
    assert gain["gain"] == pytest.approx(gain["median_noise_before"] / results.summary["median_noise"])
    assert gain["gain"] > 1.1
    assert gain["share_removed"] == pytest.approx(1 - gain["gain"] ** -2)
    dff = "trace_correlation_matched"
    assert results.summary["truth"][dff] > plain.summary["truth"][dff]
    assert plain.summary["denoising"] is None
    assert any("denoised" in entry for entry in results.history)
    assert "Denoising lowers the noise" in write_report(results, folder).read_text(encoding="utf-8")
    again = pipeline.run(truth.movie, config, out=folder, given=Given(truth))
    assert found_again(again) == RESUMABLE | {"denoise"}
    assert_equal(again, results)
    assert_equal(pipeline.run(truth.movie, config, given=Given(truth)), results)  # without a folder
    next(folder.glob("work/denoise-*.npz")).unlink()  # killed between its two files
    assert found_again(pipeline.run(truth.movie, config, out=folder, given=Given(truth))) == RESUMABLE
    assert found_again(pipeline.run(truth.movie, CONFIG, out=folder, given=Given(truth))) == RESUMABLE


def test_denoising_of_nothing():
    results = pipeline.run(NOISE, replace(CONFIG, denoise=DenoiseConfig(), motion=None))
    assert results.summary["n_accepted"] == 0
    assert results.summary["denoising"] is None


@pytest.mark.real
def test_a_real_movie(tmp_path):
    if not os.environ.get("CALCIUM_DATA_DIR"):
        pytest.skip("CALCIUM_DATA_DIR is not set: no real recordings")
    path = Path(os.environ["CALCIUM_DATA_DIR"]) / "2p_neurofinder_7hz.tif"
    movie = io.load_movie(path, fs=7, progress=False)
    results = pipeline.run(movie.replace(data=movie.frames(0, 100)), PipelineConfig.for_modality("2p"), out=tmp_path)
    assert 3 <= results.summary["n_accepted"] <= 150
    assert results.summary["source"] == "2p_neurofinder_7hz.tif"
    after, before = (results.summary["motion"][f"template_correlation_{when}"] for when in ("after", "before"))
    assert after >= before
    assert np.isfinite(results.dff.values).all()
    assert write_report(results, tmp_path).exists()


@pytest.mark.skipif(not (WEIGHTS / "spike_net").exists(), reason="the package has no trained network")
def test_spikes_by_the_network(truth, finished, folder):
    """Only the traces are made again; rates in Hz take the place of the spikes, and the summary says so."""
    before, _ = finished
    with catch_warnings(action="error"):  # what is unlike the training is said in the summary
        results = pipeline.run(truth.movie, replace(CONFIG, spikes="net"), out=folder, given=Given(truth))
    strange = find_strange(results.dff.select(results.cells["accepted"].to_numpy()))
    assert [warning for warning in results.summary["warnings"] if "spike network" in warning] == strange
    assert found_again(results) == RESUMABLE - {"traces"}
    np.testing.assert_array_equal(results.dff.values, before.dff.values)
    np.testing.assert_array_equal(results.spikes.values, infer_spikes(results.dff).values)
    assert results.summary["spikes_from"].startswith("a network")
    assert before.summary["spikes_from"] == "deconvolution"
    accepted = results.cells["accepted"].to_numpy(dtype=bool)
    assert results.summary["mean_rate"] == pytest.approx(60 * results.spikes.values[accepted].mean(), rel=1e-4)
    assert results.summary["truth"]["spike_correlation"] > 0.1
    with pytest.raises(ValueError, match="spikes must be one of"):
        replace(CONFIG, spikes="guess")
