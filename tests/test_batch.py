"""Many recordings: each for itself, one table of how it went, and the same command goes on where it stopped."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from calcium_helpers.cli import main

FRAMES = np.random.default_rng(0).poisson(30, (40, 32, 36)).astype(np.uint16)
OPTIONS = ("--fs", "10", "--modality", "2p", "--no-motion")
COLUMNS = ["path", "status", "message", "cells", "seconds", "report"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def write(path, frames=FRAMES):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, frames, photometric="minisblack")


def call(capfd, *arguments):
    code = main([str(argument) for argument in ("report", *arguments)])
    return code, *capfd.readouterr()


def outcomes(out="report"):
    with (Path(out) / "outcomes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(list(row) == COLUMNS for row in rows)
    return rows


def keys(*arguments):
    """What each recording's analysis is known by: it is done again where that changes."""
    from calcium_helpers.cli import _parser
    from calcium_helpers.cli.batch import _key, list_entries

    return [_key(entry) for entry in list_entries(_parser().parse_args(["report", *arguments]))]


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file()}


def test_one_failure_does_not_stop_the_rest_and_the_same_command_goes_on(capfd):
    write("day1/mov.tif")
    write("day2/mov.tif", FRAMES[:30])
    write("blocked.tif", FRAMES[:9])
    Path("bad.tif").write_text("no movie")
    Path("out").mkdir()
    Path("out/blocked").write_text("where its folder should be")
    movies = ("day1/mov.tif", "none.tif", "blocked.tif", "bad.tif", "day2/mov.tif")
    code, printed, complaint = call(capfd, *movies, *OPTIONS, "-o", "out")
    assert code == 1
    assert complaint == "none.tif: there is no such file; the others are analysed\n"
    rows = outcomes("out")
    assert [(row["path"], row["status"]) for row in rows] == [
        ("day1/mov.tif", "done"), ("none.tif", "missing"), ("blocked.tif", "failed"), ("bad.tif", "failed"),
        ("day2/mov.tif", "done"),
    ]  # fmt: skip
    assert "File exists" in rows[2]["message"]
    assert "is no readable TIFF" in rows[3]["message"]
    assert [row["report"] for row in rows] == ["day1_mov/report.html", "", "", "", "day2_mov/report.html"]
    assert all((Path("out") / row["report"]).is_file() for row in (rows[0], rows[4]))
    assert rows[0]["cells"].isdigit()
    assert "2 done, 1 missing, 2 failed" in printed

    before = stamps("out/day1_mov")
    write("bad.tif")  # the user has mended it
    write("day2/mov.tif", FRAMES[:9])  # and recorded this one again
    code, printed, _ = call(capfd, *movies, *OPTIONS, "-o", "out")
    assert code == 1
    rows = outcomes("out")
    assert [row["status"] for row in rows] == ["done", "missing", "failed", "done", "done"]
    assert [row["message"] for row in rows if row["status"] != "failed"] == [
        "done in an earlier run", "there is no such file", "", "",
    ]  # fmt: skip
    assert stamps("out/day1_mov") == before
    assert json.loads(Path("out/day2_mov/summary.json").read_text())["n_frames"] == 9


def test_other_options_or_files_are_another_analysis():
    for name in "ab":
        write(f"{name}.tif", FRAMES[:9])
    Path("files.csv").write_text("path,offset\na.tif,\nb.tif,\n")
    first = keys("files.csv", *OPTIONS)
    assert keys("files.csv", *OPTIONS, "-q") == first
    Path("files.csv").write_text("path,offset\na.tif,\nb.tif,3\n")
    second = keys("files.csv", *OPTIONS)
    assert [one == other for one, other in zip(first, second, strict=True)] == [True, False]
    write("a.tif", FRAMES[:8])
    assert keys("files.csv", *OPTIONS)[0] not in first


def test_a_table_gives_each_its_own_options(capfd):
    write("data/a.tif")
    write("data/b.tif")
    table = "\ufeffPath;fs;modality;no-motion;pixel_um;rois\na.tif;10;2p;yes;;\n\nb.tif;20;1p;no;0.5;own.npy\na.tif;12;;1;;\n"
    Path("data/files.csv").write_text(table, encoding="utf-8")
    Path("data/2p").touch()  # a value is no file, though one may be called like it
    np.save("data/own.npy", np.arange(32 * 36).reshape(32, 36) // 400)
    assert call(capfd, "data/files.csv", "--modality", "2p", "-o", "out")[0] == 0
    assert [row["report"] for row in outcomes("out")] == [
        f"{name}/report.html" for name in ("data_a", "b", "data_a-2")
    ]  # fmt: skip
    found = [json.loads((Path("out") / name / "summary.json").read_text()) for name in ("data_a", "b", "data_a-2")]
    assert [summary["fs_hz"] for summary in found] == [10, 20, 12]
    assert [summary["modality"] for summary in found] == ["2p", "1p", "2p"]
    assert [summary["motion"] is None for summary in found] == [True, False, True]
    assert [summary["n_accepted"] for summary in found][1] == 2
    assert found[1]["pixel_um"] == 0.5


def test_each_has_a_folder_of_its_own_below_out():
    from calcium_helpers.cli import _parser
    from calcium_helpers.cli.batch import list_entries

    movies = (".", "..", "a*.tif", "a?.tif", "a+.tif", "b/x.tif", "c/x.tif", "b/x.tif")
    folders = [entry.folder for entry in list_entries(_parser().parse_args(["report", *movies]))]
    assert len(set(folders)) == len(movies)
    assert not {"", ".", ".."} & set(folders)
    assert not [folder for folder in folders if set(folder) & set("/*?")]


def test_other_cells_of_suite2p_are_another_analysis():
    write("a.tif")
    np.save("stat.npy", np.arange(3))
    found = keys("a.tif", "--rois", "stat.npy")
    for marks in (np.ones((3, 2)), np.ones((4, 2))):
        np.save("iscell.npy", marks)
        found += keys("a.tif", "--rois", "stat.npy")
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", r"has the columns none \(path is missing"),
        ("file,fs\na.tif,10\n", r"unknown: 'file'\)\. Needed is path; possible are channel, condition, dataset"),
        ("path,path\na.tif,10\n", "a column stands twice"),
        ("path,fs\n", "names no recording"),
        ("path,fs\na.tif,10,2p\n", "line 2 has 3 cells"),
        ("path,fs\n,10\n", "line 2 has no path"),
        ("path,rigid\na.tif,perhaps\n", "line 2 has rigid = 'perhaps'"),
        ("path,out\na.tif,here\n", "unknown: 'out'"),
        (b"path\n\xff\xfe.tif\n", "is no text in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_used_runs_nothing(table, words, capfd):
    write("a.tif")
    Path("files.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    code, printed, complaint = call(capfd, "files.csv", *OPTIONS)
    assert code == 2
    assert complaint.startswith("calcium-helpers: files.csv: ")
    assert re.search(words, complaint), complaint
    assert not printed
    assert not Path("report").exists()
    assert call(capfd, "none.csv")[0] == 2
    code, _, complaint = call(capfd, "a.tif", "a.tif", "-o", "a.tif")
    assert (code, complaint) == (2, "calcium-helpers: out must be a folder, got the file a.tif: name another one\n")


def test_wrong_values_fail_by_themselves(capfd):
    write("a.tif")
    Path("files.csv").write_text("path,fs\na.tif,fast\n--version,10\n")
    code, _, _ = call(capfd, "files.csv", "--modality", "2p")
    assert code == 1
    rows = outcomes()
    assert rows[0]["message"] == "error: argument --fs: invalid float value: 'fast'"
    assert rows[1]["status"] == "missing"


def test_a_dry_run_writes_nothing(tmp_path, capfd):
    """Each recording is read by a process of its own, which takes no clone of the package beside it for the package."""
    write("calcium_helpers/docs/a.tif")
    write("b.tif")
    before = stamps(tmp_path)
    code, printed, complaint = call(capfd, "calcium_helpers/docs/a.tif", "b.tif", *OPTIONS, "--dry-run")
    assert (code, complaint) == (0, "")
    assert printed.count("40 frames of 32 x 36 px") == printed.count("nothing was written") == 2
    assert stamps(tmp_path) == before
    Path("files.csv").write_text("path\nnone.tif\n")
    assert call(capfd, "files.csv", *OPTIONS, "--dry-run")[0] == 1


def start(*arguments):
    command = [sys.executable, "-m", "calcium_helpers", "report", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A shell's background job ignores the interrupt, and what it starts would too.
    return subprocess.Popen(command, **pipes, start_new_session=True, preexec_fn=heed_interrupt)


def heed_interrupt():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def running_child(process):
    """The process that analyses a recording, as soon as it is there."""
    for _ in range(5000):
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        for number in listed.read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                command = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
                if b"--quiet" in command:
                    return int(number), command[-2].decode()
        time.sleep(0.02)
    raise AssertionError("nothing was started")


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")


@linux
def test_a_crash_does_not_stop_the_rest(capfd):
    """A process that the system kills, as it does where memory runs out, and one that a library ends."""
    for name in "abc":
        write(f"{name}.tif")
    process = start("a.tif", "b.tif", "c.tif", *OPTIONS)
    for name, how in (("a", signal.SIGKILL), ("b", signal.SIGSEGV)):
        number, path = running_child(process)
        while path != f"{name}.tif":
            time.sleep(0.02)
            number, path = running_child(process)
        os.kill(number, how)
    assert process.wait(timeout=300) == 1
    assert not process.stderr.read()
    process.stdout.close(), process.stderr.close()
    rows = outcomes()
    assert [row["status"] for row in rows] == ["crashed", "crashed", "done"]
    assert rows[0]["message"].startswith("ended by SIGKILL: the system ran out of memory")
    assert rows[1]["message"].startswith("ended by SIGSEGV: a library crashed")
    Path("files.csv").write_text("path\na.tif\nc.tif\n")
    assert call(capfd, "files.csv", *OPTIONS)[0] == 0  # another run mends it
    assert [row["message"] for row in outcomes()] == ["", "done in an earlier run"]


@linux
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopping_stops_all(how):
    for name in "ab":
        write(f"{name}.tif")
    process = start("a.tif", "b.tif", *OPTIONS)
    number, _ = running_child(process)
    time.sleep(0.5)  # the analysis goes on for longer
    process.send_signal(how)
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "run the same command again to go on" in complaint
    assert not Path(f"/proc/{number}").exists()
    assert [row["status"] for row in outcomes()] == ["stopped", "waiting"]
