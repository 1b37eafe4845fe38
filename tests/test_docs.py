"""The pages of ``docs/``: each of their commands, tables and programs is run as it stands there, in order, page by page."""

import glob
import re
import shlex
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml

import calcium_helpers as ch
from calcium_helpers import simulate
from calcium_helpers.cli import main
from calcium_helpers.models import lstm_ista
from calcium_helpers.training import FitConfig

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from gallery import FOLDER, pictures  # noqa: E402

PAGES = sorted((ROOT / "docs").glob("*.md"))
TABLES = {"batch.md": "files.csv", "train.md": "first.csv"}  # what the example of a table is called
FIELD = simulate.TwoPhotonConfig(n_frames=300, height=96, width=96, fs=15.0, n_cells=12)
TRANSIENTS = simulate.SynapseConfig(n_frames=80, height=48, width=48, n_dendrites=1, n_events=14.0, amplitude=2.5)
SESSION = {
    "session": {"session_start_time": "2026-01-31T14:05:00+01:00", "session_description": "Vision."},
    "subject": {"subject_id": "m1", "species": "Mus musculus", "sex": "F", "age": "P90D"},
    "device": {"name": "microscope"},
    "imaging": {"indicator": "GCaMP6f", "excitation_nm": 920, "emission_nm": 510, "location": "VISp"},
}
LEARNING = {"steps": 20, "every": 10, "batch": 4, "crop": [8, 16, 16], "risk": "plain"}  # of seconds
TINY = lstm_ista.TrainConfig(
    fit=FitConfig(steps=2, every=1), n_fields=2, n_bins=20, tile_px=24, batch=1, head_steps=1,
    network=lstm_ista.NetworkConfig(n_blocks=1, filters=2, hidden=4, looks=2, head=4),
)  # fmt: skip


def blocks(page):
    """Language and text of each fenced block."""
    text = page.read_text(encoding="utf-8")
    return [(language, re.sub(r"(?m)^   ", "", code)) for language, code in re.findall(r"(?ms)^ *```(\w*)\n(.*?)^ *```$", text)]


@pytest.fixture(scope="module")
def recording():
    return simulate.two_photon(FIELD, seed=0)


@pytest.fixture(scope="module")
def run(recording, tmp_path_factory):
    """The folder of a run on ``my.tif``."""
    folder = tmp_path_factory.mktemp("run")
    ch.save_movie(recording.movie, folder / "my.tif")
    assert main(["report", str(folder / "my.tif"), "--fs", "15", "--modality", "2p", "-o", str(folder / "out")]) == 0
    return folder


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(lstm_ista.PROFILES, "cpu", TINY)
    return tmp_path


def lay_out(page, desk, recording, request):
    """Put there what a reader of the page would have."""
    frames = np.asarray(recording.movie.data)
    if page in ("curate.md", "export.md", "layout.md"):
        folder = request.getfixturevalue("run")
        (desk / "out").symlink_to(folder / "out")
        (desk / "my.tif").symlink_to(folder / "my.tif")
    if page in ("layout.md", "train.md"):
        for number, name in enumerate(("first", "second")):
            made = simulate.synaptic_events(TRANSIENTS, seed=number)
            ch.save_movie(made.movie, desk / f"{name}.tif")
            found = made.events.table
            points = pd.DataFrame({"t_frame": (found["peak_s"] * 10).astype(int), "y_px": found["y_px"], "x_px": found["x_px"]})
            points.to_csv(desk / f"{name}.csv", index=False)
    if page == "layout.md":
        assert main(["annotate", "first.tif", "--points", "first.csv", "--fs", "10", "-o", "data.h5"]) == 0
    if page == "train.md":
        (desk / "movies").mkdir()
        (desk / "second.tif").rename(desk / "movies/second.tif")
        (desk / "second.tif").symlink_to(desk / "movies/second.tif")
    if page in ("formats.md", "train.md"):
        ch.save_movie(recording.movie, desk / "my.tif")
    if page == "formats.md":
        frames.astype("uint16").tofile(desk / "raw.bin")
        with h5py.File(desk / "many.h5", "w") as file:
            file["scan/green"], file["scan/red"] = frames, frames
        label = np.zeros(frames.shape[1:], np.uint16)
        for row in range(len(recording.footprints)):
            image = recording.footprints.image(row)
            label[image > 0.3 * image.max()] = row + 1
        tifffile.imwrite(desk / "masks.tif", label)
    if page == "batch.md":
        (desk / "days").mkdir()
        for day in ("mon", "tue"):
            ch.save_movie(recording.movie, desk / f"days/{day}.tif")


def fill_in(desk):
    """Do what the page asks of the reader between two commands."""
    metadata, settings = desk / "metadata.yaml", desk / "settings.yaml"
    if metadata.exists():
        metadata.write_text(yaml.safe_dump(SESSION))
    if settings.exists():
        known = yaml.safe_load(settings.read_text())
        settings.write_text(yaml.safe_dump({**known, "learning": LEARNING, "network": {"widths": [4, 8]}}))


def run_command(line, capsys):
    name, *arguments = shlex.split(line, comments=True)
    assert name == "calcium-helpers", line
    spread = [path for argument in arguments for path in (sorted(glob.glob(argument)) if "*" in argument else [argument])]
    code = main(spread)
    assert code == 0, f"{line}: {code}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_runs(page, desk, recording, request, capsys):
    lay_out(page.name, desk, recording, request)
    names = {}  # a program goes on with what those before it defined
    for language, code in blocks(page):
        if language == "sh":
            for line in code.splitlines():
                run_command(line, capsys)
            fill_in(desk)
        elif language == "python":
            exec(compile(code, page.name, "exec"), names)
        elif language == "csv" and not (desk / TABLES[page.name]).exists():
            (desk / TABLES[page.name]).write_text(code)
        else:
            assert language in ("csv", ""), language


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_to_is_there(page):
    for address in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert address.startswith("https://") or (page.parent / address).exists(), address


def test_the_readme_names_every_page():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f"docs/{page.name}" not in readme] == []


def test_the_gallery_shows_what_the_notebooks_drew():
    """After a change: `make notebooks`."""
    drawn = pictures()
    assert {path.stem: path.read_bytes() for path in FOLDER.glob("*.jpg")} == drawn
    page = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    assert [name for name in drawn if f"(gallery/{name}.jpg)" not in page] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_every_command_is_one_that_there_is(page):
    """What is not run above, such as a window or an hour of training, has at least the right name and options."""
    from calcium_helpers.cli import _parser

    text = page.read_text(encoding="utf-8")
    fenced = [line for code in re.findall(r"(?ms)^ *```\w*\n(.*?)^ *```$", text) for line in code.splitlines()]
    inline = re.findall(r"`(calcium-helpers [^`]+)`", re.sub(r"(?ms)^ *```.*?^ *```$", "", text))
    commands = [line.strip() for line in fenced if line.strip().startswith("calcium-helpers ")] + inline
    assert commands or page.name in ("gallery.md", "layout.md")
    for command in commands:
        arguments = shlex.split(command, comments=True)[1:]
        named_only = len(arguments) == 1
        assert try_to_parse(_parser(), [*arguments, "--help"] if named_only else arguments), command


def try_to_parse(parser, arguments):
    """Whether the command line takes the arguments."""
    try:
        parser.parse_args(arguments)
    except SystemExit as stop:
        return stop.code == 0
    return True
