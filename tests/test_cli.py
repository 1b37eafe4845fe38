"""The command line: what it writes, what it says, and one message without a traceback for what cannot be used."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile

from calcium_helpers import io, manifest, simulate
from calcium_helpers.cli import main

FRAMES = np.random.default_rng(0).poisson(30, (40, 32, 36)).astype(np.uint16)
TABLES = (
    "traces", "denoised", "spikes", "cells", "events", "statistics", "groups", "clusters", "correlation", "spectra", "bands",
    "synchrony",
)  # fmt: skip
OUTPUTS = {"report.html", "results.h5", "summary.json", "figures", "work", *(f"{name}.csv" for name in TABLES)}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Relative paths, the default folder report/ included, lie in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


def python(*arguments, **environment):
    """Run Python as a user would, in a process of its own."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def call(capsys, *arguments):
    """Exit code, what was printed and what was complained about."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        code = stopped.code
    return code, *capsys.readouterr()


def write_good(path="a.tif", frames=FRAMES):
    tifffile.imwrite(path, frames, photometric="minisblack")


def make_truncated():
    write_good()
    whole = Path("a.tif").read_bytes()
    Path("a.tif").write_bytes(whole[: len(whole) // 2])


def make_nan():
    frames = FRAMES.astype(np.float32)
    frames[17, 3, 4] = np.nan
    write_good(frames=frames)


def make_hdf5():
    with h5py.File("a.h5", "w") as file:
        file["trace"] = np.arange(5)


def make_two():
    with h5py.File("a.h5", "w") as file:
        file["first"], file["second"] = FRAMES, FRAMES


OPTIONS = ("--fs", "10", "--modality", "2p", "-q")
BROKEN = {
    "truncated": (make_truncated, "a.tif", OPTIONS, r"a\.tif: .*(truncated|promises)"),
    "text": (
        lambda: Path("a.tif").write_text("a movie, one would think\n" * 9),
        "a.tif",
        OPTIONS,
        r"a\.tif: is no readable TIFF",
    ),
    "empty": (lambda: Path("a.tif").touch(), "a.tif", OPTIONS, r"a\.tif: is empty \(0 bytes\)"),
    "RGB": (
        lambda: tifffile.imwrite("a.tif", np.zeros((9, 32, 36, 3), np.uint8), photometric="rgb"),
        "a.tif",
        OPTIONS,
        r"a\.tif: .*(RGB|colour|channels)",
    ),
    "4-D": (lambda: write_good(frames=FRAMES.reshape(10, 4, 32, 36)), "a.tif", OPTIONS, r"a\.tif: has 4 axes"),
    "zero frames": (lambda: np.save("a.npy", FRAMES[:0]), "a.npy", OPTIONS, r"a\.npy: is empty, shape \(0,"),
    "NaN": (make_nan, "a.tif", OPTIONS, r"a\.tif: frame 17 holds NaN"),
    "fs zero": (write_good, "a.tif", ("--fs", "0", *OPTIONS[2:]), r"a\.tif: fs must be a finite number of Hz above 0, got 0"),
    "fs below zero": (write_good, "a.tif", ("--fs=-30", *OPTIONS[2:]), r"a\.tif: fs must be .* got -30"),
    "fs no number": (write_good, "a.tif", ("--fs", "nan", *OPTIONS[2:]), r"a\.tif: fs must be .* got nan"),
    "no fs": (write_good, "a.tif", OPTIONS[2:], r"a\.tif: does not tell its frame rate\. Give it with --fs \("),
    "no modality": (write_good, "a.tif", ("--fs", "10", "-q"), r"a\.tif: .*--modality 2p or --modality 1p"),
    "HDF5 without a movie": (make_hdf5, "a.h5", OPTIONS, r"a\.h5: holds no movie"),
    "absent": (lambda: None, "none.tif", OPTIONS, r"none\.tif: there is no such file"),
    "no TIFFs": (lambda: Path("folder").mkdir(), "folder", OPTIONS, "folder: is a folder without TIFF files"),
    "unknown suffix": (lambda: Path("a.xyz").write_bytes(b"RIFF"), "a.xyz", OPTIONS, r"a\.xyz: has the unknown suffix"),
    "rate of a known movie": (lambda: None, "demo_2p", OPTIONS, "demo_2p is known by name.*: leave out --fs"),
    "detector": (
        write_good,
        "a.tif",
        (*OPTIONS, "--detector", "coordinates"),
        r"--detector coordinates is not made for --modality 2p: say --modality 1p .* or take --detector cnmf$",
    ),
    "indicator": (write_good, "a.tif", (*OPTIONS, "--indicator", "GCaMP9"), "indicator.*GCaMP9"),
    "diameter": (write_good, "a.tif", (*OPTIONS, "--diameter-px", "-3"), "diameter_px must be above 0, got -3"),
    "channel": (write_good, "a.tif", (*OPTIONS, "--channel", "3"), r"a\.tif: .* --channel 3 was asked for"),
    "dataset": (make_two, "a.h5", OPTIONS, r"a\.h5: holds 2 movies.*Name the one to read with --dataset$"),
    "pixel": (write_good, "a.tif", (*OPTIONS, "--pixel-um", "0"), r"a\.tif: pixel_um must be"),
    "out": (write_good, "a.tif", (*OPTIONS, "-o", "a.tif"), r"out must be a folder, got the file a\.tif"),
    "device": (write_good, "a.tif", (*OPTIONS, "--device", "abacus"), "device.*abacus"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_used_gives_one_message(case, tmp_path, capsys, caplog):
    make, name, options, words = BROKEN[case]
    make()
    before = set(tmp_path.rglob("*"))
    code, printed, complaint = call(capsys, "report", name, "-o", "out", *options)
    assert code == 2
    assert complaint.startswith("calcium-helpers: ")
    assert complaint.count("\n") == 1
    assert re.search(words, complaint), complaint
    assert "Traceback" not in printed + complaint
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "required: COMMAND"),
        (("reprot",), "invalid choice: 'reprot'"),
        (("report", "a.tif", "--modality", "3p"), "--modality: invalid choice: '3p'"),
        (("report", "a.tif", "--detector", "best"), "--detector: invalid choice: 'best'"),
        (("report", "a.tif", "--fs", "fast"), "--fs: invalid float value: 'fast'"),
        (("report", "a.tif", "--speed", "9"), "unrecognized arguments: --speed 9"),
        (("fetch",), "required: name"),
    ],
)
def test_options_that_do_not_exist(arguments, words, capsys):
    code, printed, complaint = call(capsys, *arguments)
    assert code == 2
    assert words in complaint
    assert not printed


def test_a_message_in_a_process_of_its_own(tmp_path):
    Path("a.tif").write_text("no movie")
    for arguments in (
        ["-m", "calcium_helpers", "report", "a.tif", *OPTIONS],
        ["-m", "calcium_helpers", "fetch", "neurofinder"],
    ):
        done = python(*arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("calcium-helpers: ")
        assert done.stderr.count("\n") == 1
        assert not done.stdout
    assert os.listdir(tmp_path) == ["a.tif"]


def test_verbose_shows_where_it_happened(caplog, capsys):
    Path("a.tif").write_text("no movie")
    code, _, complaint = call(capsys, "report", "a.tif", *OPTIONS, "-v")
    assert code == 2
    assert "is no readable TIFF" in complaint
    assert "Traceback" in caplog.text


def test_stopped_by_the_user(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    write_good()
    monkeypatch.setattr("calcium_helpers.pipeline.run", stop)
    code, _, complaint = call(capsys, "report", "a.tif", *OPTIONS)
    assert code == 130
    assert complaint == "calcium-helpers: stopped; run the same command again to go on after the last finished step\n"


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A TIFF with cells in it."""
    config = simulate.TwoPhotonConfig(
        n_frames=300, height=72, width=80, fs=10.0, n_cells=4, min_distance_px=20.0, baseline_photons=20.0, tissue_photons=14.0,
        neuropil=0.05, dff_per_spike=0.5, rate_hz=(0.3, 0.8), motion_px=2.0, field_px=0.3,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("recording") / "cells.tif"
    io.save_movie(simulate.two_photon(config, seed=1).movie.replace(history=()), path)
    return path


@pytest.fixture(scope="module")
def reported(recording, tmp_path_factory):
    """The folder and the output of a run as a user starts it."""
    out = tmp_path_factory.mktemp("reported") / "out"
    done = python(
        "-m", "calcium_helpers", "report", str(recording), "--fs", "10", "--modality", "2p", "--offset", "100", "--pixel-um",
        "0.8", "-o", str(out), "--save-movie", "-q",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out, done


def test_everything_promised_is_written(reported):
    out, done = reported
    assert {file.name for file in out.iterdir()} == OUTPUTS | {"motion_corrected.tif"}
    assert not done.stderr
    assert re.search(
        r"300 frames of 72 x 80 px at 10 Hz \(30 s\): about \d+ s, 0\.\d GB of memory, 0\.0 GB on disk", done.stdout
    )
    assert f"report: {out / 'report.html'}" in done.stdout
    summary = json.loads((out / "summary.json").read_text())
    assert f"{summary['n_accepted']} cells accepted of {summary['n_components']} components" in done.stdout
    assert f"motion: up to {summary['motion']['max_shift_px']:.1f} px" in done.stdout
    assert 3 <= summary["n_accepted"] <= 5
    assert (summary["fs_hz"], summary["pixel_um"], summary["modality"]) == (10.0, 0.8, "2p")
    assert "truth" not in summary
    assert "against truth" not in done.stdout


def test_the_files_agree_with_one_another(reported):
    out, _ = reported
    results = io.load_results(out / "results.h5")
    traces, spikes, cells = (pd.read_csv(out / f"{name}.csv") for name in ("traces", "spikes", "cells"))
    ids = [str(i) for i in results.footprints.ids]
    assert traces.columns.tolist() == spikes.columns.tolist() == ["time_s", *ids]
    np.testing.assert_allclose(traces[ids].to_numpy().T, results.dff.values, atol=2e-5)
    np.testing.assert_allclose(spikes[ids].to_numpy().T, results.spikes.values, atol=2e-5)
    np.testing.assert_allclose(traces["time_s"], np.arange(300) / 10)
    assert cells["accepted"].tolist() == results.cells["accepted"].tolist()
    assert {"id", "y_px", "x_px", "accepted", "area_px", "snr"} <= set(cells.columns)
    assert results.parameters["offset"] == 100.0
    assert io.load_movie(out / "motion_corrected.tif", progress=False).shape == (300, 72, 80)
    assert (out / "report.html").read_text(encoding="utf-8").count("<html") == 1


def test_a_second_run_resumes_and_says_the_same(reported, recording, capsys):
    out, _ = reported
    stamps = {file: file.stat().st_mtime_ns for file in (out / "work").iterdir()}
    spikes = (out / "spikes.csv").read_bytes()
    code, _, complaint = call(
        capsys, "report", recording, "--fs", 10, "--modality", "2p", "--offset", 100, "--pixel-um", 0.8, "-o", out, "-q"
    )
    assert (code, complaint) == (0, "")
    assert {file: file.stat().st_mtime_ns for file in (out / "work").iterdir()} == stamps
    assert (out / "spikes.csv").read_bytes() == spikes
    notes = {step["step"]: step["note"] for step in json.loads((out / "summary.json").read_text())["steps"]}
    assert {step for step, note in notes.items() if note} == {"motion", "detect", "traces"}


def test_options_reach_the_parameters(capsys):
    write_good()
    arguments = (
        "--rigid", "--no-bidiphase", "--denoise", "--diameter-px", 9, "--max-cells", 7, "--offset", 3, "--indicator", "GCaMP6s",
    )  # fmt: skip
    code, printed, _ = call(capsys, "report", "a.tif", *OPTIONS, *arguments)
    assert code == 0
    assert "note: no cell was accepted" in printed
    assert {file.name for file in Path("report").iterdir()} == OUTPUTS  # the default folder; no movie unless asked for
    parameters = io.load_results("report/results.h5").parameters
    assert parameters["motion"]["piecewise"] is parameters["motion"]["bidiphase"] is False
    assert parameters["denoise"]["block_px"] > 0
    assert (parameters["cnmf"]["diameter_px"], parameters["cnmf"]["max_cells"]) == (9, 7)
    assert (parameters["offset"], parameters["indicator"], parameters["modality"]) == (3, "GCaMP6s", "2p")


def test_a_report_may_bear_the_name_of_its_recording(monkeypatch, capsys):
    """Its folder does not hide the recording from a second run."""
    small = replace(manifest.find("demo_2p"), shape=(40, 40, 40), parameters={"n_cells": 1})
    monkeypatch.setattr(manifest, "entries", lambda: (small,))
    for _ in range(2):
        code, printed, complaint = call(capsys, "report", "demo_2p", "-o", "demo_2p", "--dry-run", "-q")
        assert (code, complaint) == (0, ""), printed
        Path("demo_2p").mkdir(exist_ok=True)
        Path("demo_2p/results.h5").touch()


def test_no_motion_and_one_photon(capsys):
    write_good()
    assert call(capsys, "report", "a.tif", "--fs", 10, "--modality", "1p", "--no-motion", "-q", "-o", "b")[0] == 0
    results = io.load_results("b/results.h5")
    assert results.parameters["motion"] is None
    assert results.shifts is None
    assert results.summary["modality"] == "1p"


def test_other_formats_and_choices(capsys):
    with h5py.File("a.h5", "w") as file:
        file["first"], file["second"] = FRAMES, FRAMES[:20]
    assert call(capsys, "report", "a.h5", *OPTIONS, "--no-motion", "--dataset", "second", "-o", "b")[0] == 0
    assert io.load_results("b/results.h5").summary["n_frames"] == 20
    Path("series").mkdir()
    for number in (1, 2, 10):
        write_good(f"series/a_{number}.tif", FRAMES[:number])
    assert call(capsys, "report", "series", *OPTIONS, "--no-motion", "-o", "c")[0] == 0
    assert io.load_results("c/results.h5").summary["n_frames"] == 13


def test_progress_is_shown_unless_quiet(capsys):
    write_good()
    assert call(capsys, "report", "a.tif", "--fs", 10, "--modality", "2p", "--no-motion")[2].count("%") > 1
    assert call(capsys, "report", "a.tif", *OPTIONS, "--no-motion")[2] == ""


def test_a_file_goes_before_a_name_of_the_list(capsys):
    name = next(entry.name for entry in manifest.entries() if entry.kind == "movie")
    Path(name).mkdir()
    write_good(f"{name}/a.tif")
    assert call(capsys, "report", name, *OPTIONS, "--no-motion", "-o", "out")[0] == 0
    assert io.load_results("out/results.h5").summary["n_frames"] == 40


def test_the_built_in_movie_is_scored_against_its_truth(monkeypatch, capsys):
    bright = {
        "n_cells": 4, "min_distance_px": 20.0, "baseline_photons": 20.0, "tissue_photons": 14.0, "neuropil": 0.05,
        "dff_per_spike": 0.5, "rate_hz": [0.3, 0.8], "motion_px": 2.0, "field_px": 0.3,
    }  # fmt: skip
    entry = manifest.find("demo_2p")
    small = replace(entry, shape=(300, 72, 80), fs=10.0, parameters=bright)
    monkeypatch.setattr(manifest, "entries", lambda: (small,))
    code, printed, complaint = call(capsys, "report", "-q")
    assert (code, complaint) == (0, "")
    summary = json.loads(Path("report/summary.json").read_text())
    truth = summary["truth"]
    assert truth["n_truth"] == 4
    assert truth["f1"] >= 0.75
    assert f"against truth: F1 {truth['f1']:.2f} (precision {truth['precision']:.2f}, recall {truth['recall']:.2f}, " in printed
    assert f"trace correlation {truth['trace_correlation_matched']:.2f}" in printed
    assert summary["modality"] == entry.modality == "2p"
    assert summary["parameters"]["offset"] == simulate.OFFSET


def test_help_reads_well(capsys):
    code, printed, complaint = call(capsys, "--help")
    assert (code, complaint) == (0, "")
    assert all(re.search(rf"^ +{name} +\w+", printed, re.MULTILINE) for name in ("report", "list", "fetch", "verify"))
    assert "calcium-helpers report my.tif --fs 30 --modality 2p -o out/" in printed
    assert max(map(len, printed.splitlines())) <= 80
    code, printed, _ = call(capsys, "report", "--help")
    assert code == 0
    options = set(re.findall(r"--[a-z][a-z-]+", printed))
    assert {"--fs", "--modality", "--out", "--no-bidiphase", "--diameter-px", "--save-movie", "--device"} <= options
    described = re.findall(r"^  (?:-\w(?:, | \w+, ))?(--[a-z-]+)[^\n]*(?:\s{2,}|\n\s{10,})(\w)", printed, re.MULTILINE)
    assert {name for name, _ in described} == options  # each option says what it is for


def test_version(capsys):
    from calcium_helpers import __version__

    assert call(capsys, "--version")[:2] == (0, f"calcium-helpers {__version__}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["report", "--help"], ["--version"], ["list"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments):
    script = (
        "import sys\nfrom calcium_helpers.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as stopped:\n    assert not stopped.code\n"
        "print({'torch', 'matplotlib', 'numba'} & set(sys.modules), file=sys.stderr)\n"
    )
    done = python("-c", script)
    assert done.returncode == 0
    assert done.stderr == "set()\n"
    assert done.stdout


def test_list_prints_all_names(capsys):
    code, printed, complaint = call(capsys, "list")
    assert (code, complaint) == (0, "")
    assert [line.split()[0] for line in printed.splitlines()] == [entry.name for entry in manifest.entries()]


def test_fetch_of_an_unknown_name_shows_near_ones(capsys):
    name = next(entry.name for entry in manifest.entries() if entry.files)
    code, printed, complaint = call(capsys, "fetch", name[:-1])
    assert (code, printed) == (2, "")
    assert f"name '{name[:-1]}' is not in the manifest: did you mean " in complaint
    assert name in complaint
    assert "`calcium-helpers list` shows all" in call(capsys, "fetch", "%%%%")[2]
    assert call(capsys, "verify", name[:-1])[0] == 2


def test_fetch_and_verify_of_what_is_on_disk(tmp_path, monkeypatch, capsys):
    import hashlib

    from calcium_helpers.download import File

    (tmp_path / "a.bin").write_bytes(b"frames")
    file = File("a.bin", None, "sha256", hashlib.sha256(b"frames").hexdigest())
    entry = manifest.Entry("mine", "archive", "a file", "none", path="a.bin", files=(file,))
    monkeypatch.setattr(manifest, "entries", lambda: (entry,))
    monkeypatch.setenv("CALCIUM_DATA_DIR", str(tmp_path))
    assert call(capsys, "fetch", "mine")[:2] == (0, f"{tmp_path / 'a.bin'}\n")
    code, printed, _ = call(capsys, "verify")
    assert code == 0
    assert re.search(r"mine .*a\.bin +ok", printed)
    (tmp_path / "a.bin").write_bytes(b"frames!")
    code, printed, _ = call(capsys, "verify", "mine")
    assert code == 2
    assert "mismatch" in printed
    assert call(capsys, "fetch", "mine")[0] == 2
    (tmp_path / "a.bin").unlink()
    code, _, complaint = call(capsys, "fetch", "mine")
    assert code == 2
    assert "set CALCIUM_DATA_DIR" in complaint


def test_a_mistyped_recording_gets_its_name(capsys):
    assert main(["report", "demo_2", "--modality", "2p"]) == 2
    assert "demo_2p" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("napari") is not None, reason="napari is installed")
def test_view_without_napari_says_how_to_install_it(capsys):
    assert main(["view", "out"]) == 2
    assert "pip install 'calcium_helpers[napari]' 'napari[pyqt6]'" in capsys.readouterr().err
