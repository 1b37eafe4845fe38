"""The detector ``coordinates`` in a whole run: refusals, keys, resuming, plan, command line and report."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from _same_results import assert_equal

from calcium_helpers import io, pipeline, simulate
from calcium_helpers.cli import main
from calcium_helpers.cli.options import add_report
from calcium_helpers.containers import Footprints, Movie
from calcium_helpers.models import one_photon
from calcium_helpers.models.cnmf import CNMFConfig
from calcium_helpers.models.one_photon import CoordinatesConfig
from calcium_helpers.pipeline import DETECTORS, Given, PipelineConfig
from calcium_helpers.pipeline.keys import name_files
from calcium_helpers.report import write_report, write_tables

SMALL = simulate.OnePhotonConfig(
    n_frames=300, height=64, width=64, fs=10.0, n_cells=4, min_distance_px=16.0, cell_fraction=(0.06, 0.1), rate_hz=(0.2, 0.5),
    motion_px=2.0, field_px=0.3,
)  # fmt: skip
CONFIG = PipelineConfig.for_modality("1p", detector="coordinates", offset=100.0)
RESUMABLE = {"motion", "detect", "traces"}


@pytest.fixture(scope="module")
def truth():
    return simulate.one_photon(SMALL, seed=1)


@pytest.fixture(scope="module")
def finished(truth, tmp_path_factory):
    """A run that has written its results, and the folder."""
    out = tmp_path_factory.mktemp("coordinates")
    return pipeline.run(truth.movie, CONFIG, out=out, given=Given(truth)), out


def found_again(results):
    return set(results.steps.loc[results.steps["note"] == "found from an earlier run", "step"])


def test_cells_are_found_and_the_results_say_how(finished):
    results, _ = finished
    assert results.summary["truth"]["f1"] >= 0.75
    assert results.summary["truth"]["trace_correlation_matched"] > 0.8
    accepted = results.cells["accepted"]
    assert results.cells["confidence"].between(0, 1).all()
    assert (results.cells.loc[accepted, "confidence"] >= CONFIG.coordinates.min_confidence).all()
    assert results.summary["median_confidence"] == results.cells.loc[accepted, "confidence"].median()
    assert results.summary["detector"] == results.parameters["detector"] == "coordinates"
    assert results.summary["method"] == DETECTORS["coordinates"].method
    assert results.parameters["coordinates"] == asdict(CONFIG.coordinates)
    assert "cnmf" not in results.parameters  # it did not run
    assert any(entry.startswith(f"coordinates: {accepted.sum()} of {len(accepted)}") for entry in results.history)


def test_results_come_back_from_disk(finished):
    results, out = finished
    stored = io.load_results(out / "results.h5")
    assert_equal(stored, results)
    assert stored.parameters == json.loads(json.dumps(results.parameters))


def test_the_detector_is_told_what_the_run_was_told(truth):
    settings = CoordinatesConfig(start="random", diameter_px=9.0, n_rounds=2)
    config = replace(CONFIG, motion=None, coordinates=settings, seed=3)
    cells = pipeline.run(truth.movie, config).footprints
    direct = one_photon.detect(truth.movie, config=settings, seed=3).footprints
    np.testing.assert_array_equal(cells.weights.toarray(), direct.weights.toarray())
    other = one_photon.detect(truth.movie, config=settings, seed=4).footprints
    assert cells.weights.shape != other.weights.shape or (cells.weights != other.weights).nnz


def test_a_run_is_resumed_and_only_its_own_settings_count(truth, finished):
    results, out = finished
    again = pipeline.run(truth.movie, replace(CONFIG, cnmf=CNMFConfig(max_cells=1)), out=out, given=Given(truth))
    assert found_again(again) == RESUMABLE
    assert_equal(again, results)
    for changes in ({"coordinates": CoordinatesConfig(max_cells=1)}, {"seed": 1}):
        changed = pipeline.run(truth.movie, replace(CONFIG, **changes), out=out)
        assert found_again(changed) == {"motion"}
    assert found_again(pipeline.run(truth.movie, CONFIG, out=out)) == RESUMABLE


def test_keys_of_each_detector(truth, tmp_path):
    def key(**changes):
        return name_files(truth.movie, replace(CONFIG, **changes), Given(), tmp_path).detect

    others = {"coordinates": CoordinatesConfig(repulsion=0.0), "seed": 9}
    assert key(detector="cnmf") == key(detector="cnmf", **others)
    assert key(detector="cnmf") != key(detector="cnmf", cnmf=CNMFConfig(min_snr=9.0))
    assert key() == key(cnmf=CNMFConfig(min_snr=9.0))
    assert len({key(), key(detector="cnmf"), *(key(**{name: value}) for name, value in others.items())}) == 4


@pytest.mark.parametrize("shape", [(60, 32, 34), (1, 20, 24), (2, 17, 16), (30, 1, 40)])
@pytest.mark.parametrize("kind", ["noise", "constant"])
def test_no_cells_give_a_report_and_tables_all_the_same(tmp_path, shape, kind):
    frames = np.random.default_rng(0).poisson(200, shape) if kind == "noise" else np.full(shape, 9)
    results = pipeline.run(Movie(frames.astype(np.uint16), fs=10), CONFIG, out=tmp_path)
    assert results.summary["n_accepted"] == 0
    assert results.summary["median_confidence"] is None
    assert "confidence" in results.cells
    assert_equal(io.load_results(tmp_path / "results.h5"), results)
    assert write_report(results, tmp_path).stat().st_size > 1000
    assert len(pd.read_csv(write_tables(results, tmp_path).cells)) == len(results.footprints)


def test_two_photon_movies_are_refused_and_what_to_do_is_said():
    words = 'say modality="1p" if that is what the movie is, or take detector="cnmf"'
    with pytest.raises(ValueError, match=re.escape(words)):
        PipelineConfig.for_modality("2p", detector="coordinates")
    with pytest.raises(ValueError, match=re.escape(words)):
        replace(CONFIG, modality="2p")


def test_regions_need_no_detector_but_their_name_needs_them(truth):
    for call in (pipeline.plan, pipeline.run):
        with pytest.raises(ValueError, match='detector "rois" needs regions, got none'):
            call(truth.movie, replace(CONFIG, detector="rois"))
    own = Given(regions=Footprints.from_images(np.eye(64)[None]))
    assert "detect" not in pipeline.plan(truth.movie, CONFIG, given=own).steps["step"].tolist()


def test_the_plan_grows_with_what_it_is_of():
    def plan(n_frames, side, **settings):
        frame = np.random.default_rng(0).integers(0, 99, (1, side, side), dtype=np.uint16)
        movie = Movie(np.broadcast_to(frame, (n_frames, side, side)), fs=20)
        planned = pipeline.plan(movie, replace(CONFIG, coordinates=CoordinatesConfig(**settings)), out="none")
        return planned.steps.set_index("step")["seconds"]["detect"], planned.memory_gb

    once, longer, wider = plan(3000, 256), plan(9000, 256), plan(3000, 512)
    assert once[0] < longer[0]
    assert once[1] < longer[1]
    assert once[0] < wider[0]
    assert once[1] < wider[1]
    coarser = plan(3000, 256, decay_s=2.0)
    assert coarser[0] < once[0]
    assert coarser[1] < once[1]


def test_the_command_line_offers_all_detectors():
    import argparse

    parser = add_report(argparse.ArgumentParser().add_subparsers())
    (detector,) = (action for action in parser._actions if action.dest == "detector")
    assert tuple(detector.choices) == tuple(DETECTORS)


@pytest.fixture
def recording(truth, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    io.save_movie(truth.movie.replace(history=()), "a.tif")
    return "a.tif"


def test_on_the_command_line(recording, capsys, tmp_path):
    arguments = ("report", recording, "--modality", "1p", "--detector", "coordinates", "--offset", "100", "-q")
    own = ("--diameter-px", "9", "--max-cells", "2")
    assert main([*arguments, *own, "--dry-run"]) == 0
    assert re.search(r"^  detect +about", capsys.readouterr().out, re.MULTILINE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert main([*arguments, *own]) == 0
    summary = json.loads((tmp_path / "report/summary.json").read_text(encoding="utf-8"))
    settings = summary["parameters"]["coordinates"]
    assert (settings["diameter_px"], settings["max_cells"]) == (9.0, 2)
    assert summary["diameter_px"] == 9.0
    assert summary["n_accepted"] == 2
    cells = pd.read_csv("report/cells.csv")
    assert cells["confidence"].between(0, 1).all()
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert DETECTORS["coordinates"].method in page
    assert re.search(r'data-key="detector">coordinates<', page)
    assert re.search(r'data-key="median_confidence">[01]', page)
    explorer = json.loads(re.search(r'id="explorer-data">(.*?)</script>', page, re.DOTALL)[1])
    shown = [row[explorer["columns"].index("confidence")] for row in explorer["rows"]]
    assert shown == [f"{value:.3g}" for value in cells["confidence"]]
    capsys.readouterr()
    assert main([*arguments, *own, "--neuropil", "0.5", "--dry-run"]) == 0
    assert re.findall(r"^  (\w+) +found", capsys.readouterr().out, re.MULTILINE) == ["motion", "detect"]


def test_reports_of_the_other_detector_say_so_too(truth, tmp_path):
    results = pipeline.run(truth.movie, replace(CONFIG, detector="cnmf", motion=None))
    assert "coordinates" not in results.parameters
    assert results.summary["median_confidence"] is None
    page = write_report(results, tmp_path).read_text(encoding="utf-8")
    assert DETECTORS["cnmf"].method in page
    assert re.search(r'data-key="detector">cnmf<', page)
    assert "median_confidence" not in page


def test_importing_the_pipeline_leaves_torch_alone():
    code = "import sys, calcium_helpers.pipeline, calcium_helpers.cli.report\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


def test_on_a_gpu(truth):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA here")
    config = replace(CONFIG, motion=None)
    here, there = (pipeline.run(truth.movie, config, given=Given(truth), device=device) for device in ("cpu", "cuda"))
    assert there.summary["n_accepted"] == here.summary["n_accepted"]
    assert there.summary["truth"]["f1"] == here.summary["truth"]["f1"]
