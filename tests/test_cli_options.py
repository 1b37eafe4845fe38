"""Options of ``report`` for special recordings and long runs: another channel, own regions, preview, dry run, memory."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from calcium_helpers import io, motion, pipeline, simulate
from calcium_helpers.cli import main
from calcium_helpers.containers import Movie
from calcium_helpers.pipeline import Given, PipelineConfig

CONFIG = PipelineConfig.for_modality("2p", offset=100.0)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def truth():
    config = simulate.TwoPhotonConfig(
        n_frames=200, height=72, width=80, fs=10.0, n_cells=4, min_distance_px=20.0, baseline_photons=20.0, tissue_photons=14.0,
        neuropil=0.05, dff_per_spike=0.5, rate_hz=(0.3, 0.8), motion_px=2.0, field_px=0.3,
    )  # fmt: skip
    return simulate.two_photon(config, seed=1)


@pytest.fixture(scope="module")
def two_channels(truth, tmp_path_factory):
    """A dim green channel, on which nothing can be aligned, and a bright red one that moves with it, in one file."""
    red = truth.movie.frames().astype(float) - 100
    noise = np.random.default_rng(0).normal(100, 400, red.shape)
    green = np.clip(0.05 * red + noise + 1000, 0, None)
    path = tmp_path_factory.mktemp("channels") / "both.tif"
    frames = np.stack([green, red + 100], axis=1).astype(np.uint16)
    tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TCYX", "finterval": 0.1})
    return path


def call(capsys, *arguments):
    code = main([str(argument) for argument in ("report", *arguments)])
    return code, *capsys.readouterr()


def summary(out="report"):
    return json.loads((Path(out) / "summary.json").read_text())


def test_motion_is_estimated_on_another_channel(truth, two_channels, capsys):
    arguments = (two_channels, "--modality", "2p", "--channel", 0, "-q", "--fs", 10)
    code, printed, complaint = call(capsys, *arguments, "--register-on", 1, "-o", "out")
    assert (code, complaint) == (0, "")
    assert "on channel 1 of 2" in printed
    results = io.load_results("out/results.h5")
    red = io.load_movie(two_channels, channel=1, fs=10, progress=False)
    expected = motion.estimate_shifts(red)
    np.testing.assert_array_equal(results.shifts.yx, expected.yx)
    assert results.summary["motion"]["estimated_on"] == "channel 1 of 2"
    assert results.summary["motion"]["template_correlation_after"] > results.summary["motion"]["template_correlation_before"]
    assert results.summary["motion"]["residual_px"] < 0.3
    assert re.search(r"shifts applied \(at most .* px\), estimated on channel 1 of 2", results.history[1])
    assert "Estimated on" in Path("out/report.html").read_text(encoding="utf-8")
    green = io.load_movie(two_channels, channel=0, fs=10, progress=False)
    np.testing.assert_allclose(results.images["mean"], motion.apply_shifts(green, expected).data.mean(axis=0), rtol=1e-4)

    again = (*arguments, "--register-on", 1, "-o", "out")
    assert call(capsys, *again)[0] == 0
    assert {step["note"] for step in summary("out")["steps"] if step["step"] == "motion"} == {"found from an earlier run"}
    np.testing.assert_array_equal(io.load_results("out/results.h5").shifts.yx, results.shifts.yx)
    assert call(capsys, *arguments, "-o", "out")[0] == 0  # on its own channel: not what the red one gave
    assert {step["note"] for step in summary("out")["steps"] if step["step"] == "motion"} == {""}
    assert "estimated_on" not in summary("out")["motion"]


def test_another_red_channel_is_another_key(truth, tmp_path):
    red = truth.movie.replace(history=("red",))
    first = pipeline.run(truth.movie, CONFIG, given=Given(register_on=red), out=tmp_path)
    other = red.replace(data=np.roll(red.frames(), 3, axis=1))
    second = pipeline.run(truth.movie, CONFIG, given=Given(register_on=other), out=tmp_path)
    for results in (first, second):
        assert results.steps.set_index("step")["note"]["motion"] == ""
    assert first.summary["motion"]["estimated_on"] == "red"
    without = pipeline.run(truth.movie, CONFIG, given=Given(register_on=red))
    np.testing.assert_array_equal(without.dff.values, first.dff.values)  # with and without a folder


@pytest.mark.parametrize("shape", [(199, 72, 80), (200, 72, 81)])
def test_channels_of_two_recordings_are_refused(truth, shape, tmp_path):
    other = Movie(np.zeros(shape, np.uint16), fs=10)
    words = f"must have the movie's 200 frames of 72 x 80 px, got {shape[0]} of {shape[1]} x {shape[2]}"
    with pytest.raises(ValueError, match=words):
        pipeline.run(truth.movie, CONFIG, given=Given(register_on=other), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="register_on needs motion correction"):
        pipeline.run(truth.movie, replace(CONFIG, motion=None), given=Given(register_on=truth.movie))


@pytest.fixture
def recording(truth):
    io.save_movie(truth.movie.replace(history=()), "a.tif")
    return "a.tif"


ABOUT = ("--modality", "2p", "--offset", 100, "-q")


def test_own_regions(truth, recording, capsys):
    labels = np.zeros((72, 80), np.uint8)
    for number in range(4):
        labels[truth.footprints.image(number) > 0] = 3 * number + 2
    tifffile.imwrite("masks.tif", labels)
    code, printed, _ = call(capsys, recording, *ABOUT, "--rois", "masks.tif")
    assert code == 0
    assert "4 regions as given" in printed
    results = io.load_results("report/results.h5")
    assert results.footprints.ids.tolist() == [2, 5, 8, 11]
    for number, word in ((np.zeros((9, 9), int), "frames of \\(9, 9\\) px"), (labels * 0, "holds no region")):
        np.save("bad.npy", number)
        code, _, complaint = call(capsys, recording, *ABOUT, "--rois", "bad.npy", "-o", "other")
        assert code == 2
        assert re.search(word, complaint)
    code, _, complaint = call(capsys, recording, *ABOUT, "--rois", "masks.tif", "--max-cells", 3)
    assert code == 2
    assert "--max-cells and --diameter-px are for finding cells" in complaint
    assert not Path("other").exists()


def test_a_preview_does_not_touch_the_whole_run(truth, recording, capsys):
    code, printed, _ = call(capsys, recording, *ABOUT, "--preview", 8)
    assert code == 0
    assert "80 frames of 72 x 80 px at 10 Hz (8 s)" in printed
    assert re.search(r"the whole recording, 200 frames of 72 x 80 px .*: about .* s.*, \d\.\d GB of memory", printed)
    assert [path.name for path in Path("report").iterdir()] == ["preview"]
    part = io.load_results("report/preview/results.h5")
    assert part.dff.n_frames == 80
    assert "preview: the first 80 of 200 frames" in part.history
    alone = pipeline.run(truth.movie.replace(data=truth.movie.frames(0, 80)), CONFIG)
    np.testing.assert_array_equal(part.dff.values, alone.dff.values)
    _, printed, _ = call(capsys, recording, *ABOUT, "--dry-run")
    assert printed.startswith("200 frames")
    assert "found from an earlier run" not in printed
    _, printed, _ = call(capsys, recording, *ABOUT, "--preview", 999, "--dry-run")
    assert printed.startswith("200 frames")


def test_a_dry_run_says_what_would_be_done(recording, capsys, tmp_path):
    code, printed, complaint = call(capsys, recording, *ABOUT, "--dry-run")
    assert (code, complaint) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    steps = re.findall(r"^  (\w[\w ]*?) +(?:about|found)", printed, re.MULTILINE)
    assert steps == ["check", "motion", "images", "motion quality", "detect", "traces", "events"]
    assert "found from an earlier run" not in printed
    assert "nothing was written" in printed
    assert call(capsys, recording, *ABOUT)[0] == 0
    assert [step["step"] for step in summary()["steps"]] == steps  # the plan names the very steps of the run
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    code, printed, _ = call(capsys, recording, *ABOUT, "--dry-run", "--neuropil", 0.5)
    found = re.findall(r"^  (\w+) +found from an earlier run", printed, re.MULTILINE)
    assert found == ["motion", "detect"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_dry_run_refuses_what_a_run_would(recording, capsys):
    for arguments, words in (
        (("--detector", "coordinates"), "--detector coordinates is not made for --modality 2p"),
        (("--max-memory", "100MB"), r"--max-memory must be at least 0\.\d GB for this recording, got 0\.1 GB"),
        (("-o", "a.tif"), "out must be a folder"),
    ):
        for dry in ((), ("--dry-run",)):
            code, _, complaint = call(capsys, recording, *ABOUT, *arguments, *dry)
            assert code == 2
            assert re.search(words, complaint)
    assert not Path("report").exists()


@pytest.mark.parametrize(
    ("text", "gb"),
    [("2GB", 2), ("2", 2), ("1.5g", 1.5), ("800 MB", 0.8), ("1GiB", 1.073741824), ("1t", 1000), ("512MiB", 0.536870912)],
)
def test_sizes(text, gb):
    from calcium_helpers.cli.options import _gigabytes

    assert _gigabytes(text) == pytest.approx(gb)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--max-memory", "much"), "must be a size such as 2GB or 800MB, got 'much'"),
        (("--max-memory", "-2GB"), "expected one argument"),
        (("--preview", "0"), "must be a number of seconds above 0, got 0"),
        (("--preview", "a.tif"), "must be a number of seconds above 0, got a.tif"),
        (("--register-on", "red"), "invalid int value: 'red'"),
    ],
)
def test_values_that_cannot_be(arguments, words, capsys):
    with pytest.raises(SystemExit):
        call(capsys, "a.tif", *arguments)
    assert words in capsys.readouterr().err


def test_the_same_channel_twice_is_refused(two_channels, capsys):
    code, _, complaint = call(capsys, two_channels, "--modality", "2p", "--channel", 1, "--register-on", 1)
    assert code == 2
    assert "--register-on must be another channel than --channel 1" in complaint
