"""The detector ``lstm-ista`` in a whole run: refusals, keys, resuming, own networks, plan, command line and report."""

import json
import re
import shutil
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from _same_results import assert_equal

from calcium_helpers import io, pipeline, simulate
from calcium_helpers.cli import main
from calcium_helpers.containers import Movie
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.models import lstm_ista
from calcium_helpers.models._base import WEIGHTS, save_model
from calcium_helpers.models.cnmf import CNMFConfig
from calcium_helpers.models.lstm_ista import LSTMISTAConfig, tiles
from calcium_helpers.pipeline import DETECTORS, Given, PipelineConfig
from calcium_helpers.pipeline.keys import name_files
from calcium_helpers.pipeline.plan import SHOWN_PX
from calcium_helpers.report import write_report, write_tables

SMALL = simulate.TwoPhotonConfig(
    n_frames=300, height=64, width=64, fs=10.0, n_cells=4, min_distance_px=18.0, baseline_photons=20.0, tissue_photons=14.0,
    neuropil=0.05, dff_per_spike=0.5, rate_hz=(0.3, 0.8), motion_px=2.0, field_px=0.3,
)  # fmt: skip
CONFIG = PipelineConfig.for_modality("2p", detector="lstm-ista", offset=100.0)
RESUMABLE = {"motion", "detect", "traces"}
needs_weights = pytest.mark.skipif(not (WEIGHTS / "lstm_ista").exists(), reason="the package has no trained network")


def save_network(folder, seed=0, sure=True):
    """Write a tiny network that was never trained: it draws blots, and is sure of all of them or of none."""
    torch.manual_seed(seed)
    model = lstm_ista.LSTMISTA(lstm_ista.NetworkConfig(n_blocks=1, filters=2, hidden=4, looks=2, head=4))
    torch.nn.init.constant_(model.draw.presence[-1].bias, 3.0 if sure else -9.0)
    save_model(model, folder)
    return str(folder)


@pytest.fixture(scope="module")
def truth():
    return simulate.two_photon(SMALL, seed=1)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return save_network(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def own(network):
    """A configuration with that network."""
    return replace(CONFIG, lstm_ista=LSTMISTAConfig(weights=network, max_cells=5))


@pytest.fixture(scope="module")
def finished(truth, own, tmp_path_factory):
    """A run that has written its results, and the folder."""
    out = tmp_path_factory.mktemp("lstm-ista")
    return pipeline.run(truth.movie, own, out=out, given=Given(truth)), out


def found_again(results):
    return set(results.steps.loc[results.steps["note"] == "found from an earlier run", "step"])


@needs_weights
def test_cells_are_found(truth):
    results = pipeline.run(truth.movie, CONFIG, given=Given(truth))
    accepted = results.cells["accepted"]
    assert results.summary["truth"]["f1"] >= 0.85
    assert results.summary["truth"]["trace_correlation_matched"] > 0.9
    assert (results.cells.loc[accepted, "confidence"] >= CONFIG.lstm_ista.min_confidence).all()
    assert results.summary["median_confidence"] == results.cells.loc[accepted, "confidence"].median()


def test_the_results_say_which_detector_ran(finished, own):
    results, out = finished
    assert results.summary["detector"] == results.parameters["detector"] == "lstm-ista"
    assert results.summary["method"] == DETECTORS["lstm-ista"].method
    assert "10.1038/s42256-024-00892-w" in results.summary["method"]
    assert results.parameters["lstm_ista"] == asdict(own.lstm_ista)
    assert not {"cnmf", "coordinates"} & set(results.parameters)  # they did not run
    assert any(entry.startswith("lstm-ista: ") for entry in results.history)
    assert results.summary["n_accepted"] == 5
    assert results.cells["confidence"].between(0, 1).all()
    assert_equal(io.load_results(out / "results.h5"), results)


def test_the_detector_is_told_what_the_run_was_told(truth, own):
    cells = pipeline.run(truth.movie, replace(own, motion=None)).footprints
    direct = lstm_ista.detect(truth.movie, config=own.lstm_ista).footprints
    np.testing.assert_array_equal(cells.weights.toarray(), direct.weights.toarray())
    assert len(cells) > 5


def test_a_run_is_resumed_and_only_its_own_settings_count(truth, own, finished):
    results, out = finished
    again = pipeline.run(truth.movie, replace(own, cnmf=CNMFConfig(max_cells=1), seed=3), out=out, given=Given(truth))
    assert found_again(again) == RESUMABLE
    assert_equal(again, results)
    changed = replace(own, lstm_ista=replace(own.lstm_ista, max_cells=1))
    assert found_again(pipeline.run(truth.movie, changed, out=out)) == {"motion"}


def test_keys_tell_networks_and_settings_apart(truth, tmp_path, network):
    def key(config=CONFIG, **settings):
        config = replace(config, lstm_ista=LSTMISTAConfig(**settings))
        return name_files(truth.movie, config, Given(), tmp_path).detect

    copied, other = shutil.copytree(network, tmp_path / "copied"), save_network(tmp_path / "other", seed=1)
    assert key(weights=network) == key(weights=str(copied))
    assert len({key(), key(weights=network), key(weights=other), key(min_confidence=0.9), key(diameter_px=9.0)}) == 5
    before = key(weights=other)
    save_network(tmp_path / "other", seed=2)  # trained again in the same place
    assert key(weights=other) != before
    cnmf = replace(CONFIG, detector="cnmf")
    assert key(cnmf) == key(cnmf, diameter_px=9.0) != key()


def test_what_is_no_network_is_refused_before_anything_is_written(truth, tmp_path):
    config = replace(CONFIG, lstm_ista=LSTMISTAConfig(weights=str(tmp_path / "none")))
    for call in (pipeline.plan, pipeline.run):
        with pytest.raises(MovieFileError, match=r"none.config\.json: cannot be read as a network"):
            call(truth.movie, config, out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(60, 32, 34), (1, 20, 24), (2, 17, 16), (30, 1, 40)])
@pytest.mark.parametrize("kind", ["noise", "constant"])
def test_no_cells_give_a_report_and_tables_all_the_same(tmp_path, shape, kind):
    network = save_network(tmp_path / "network", sure=False)
    frames = np.random.default_rng(0).poisson(200, shape) if kind == "noise" else np.full(shape, 9)
    config = replace(CONFIG, lstm_ista=LSTMISTAConfig(weights=network))
    results = pipeline.run(Movie(frames.astype(np.uint16), fs=10), config, out=tmp_path)
    assert not len(results.footprints)
    assert results.summary["n_accepted"] == 0
    assert results.summary["median_confidence"] is None
    assert "confidence" in results.cells
    assert_equal(io.load_results(tmp_path / "results.h5"), results)
    assert write_report(results, tmp_path).stat().st_size > 1000
    assert not len(pd.read_csv(write_tables(results, tmp_path).cells))


def test_one_photon_movies_are_refused_and_what_to_do_is_said():
    words = (
        'detector="lstm-ista" is not made for modality="1p": say modality="2p" if that is what the movie is, '
        'or take detector="cnmf"'
    )
    with pytest.raises(ValueError, match=re.escape(words)):
        PipelineConfig.for_modality("1p", detector="lstm-ista")
    with pytest.raises(ValueError, match=re.escape(words)):
        replace(CONFIG, modality="1p")


def test_the_plan_grows_with_what_it_is_of():
    def plan(n_frames, side, **settings):
        frame = np.random.default_rng(0).integers(0, 99, (1, side, side), dtype=np.uint16)
        movie = Movie(np.broadcast_to(frame, (n_frames, side, side)), fs=20)
        planned = pipeline.plan(movie, replace(CONFIG, lstm_ista=LSTMISTAConfig(**settings)), out="none")
        return planned.steps.set_index("step")["seconds"]["detect"], planned.memory_gb

    once, longer, wider = plan(3000, 256), plan(9000, 256), plan(3000, 512)
    for i in range(2):
        assert once[i] < longer[i]
        assert once[i] < wider[i]
    assert longer[0] < 2 * once[0]  # the network sees as many bins of both
    assert wider[0] == pytest.approx(4 * once[0])
    assert plan(3000, 256, max_bins=50)[0] < 0.7 * once[0]
    assert plan(3000, 256, n_passes=2)[0] > 1.5 * once[0]
    assert plan(3000, 256, max_bins=50)[1] < once[1]
    assert SHOWN_PX == tiles.CORE_PX + 2 * tiles.HALO_PX


@pytest.fixture
def recording(truth, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    io.save_movie(truth.movie.replace(history=()), "a.tif")
    return ("report", "a.tif", "--modality", "2p", "--offset", "100", "-q")


def test_on_the_command_line(recording, network, capsys, tmp_path):
    arguments = (*recording, "--detector", "lstm-ista", "--model", network, "--diameter-px", "9", "--max-cells", "2")
    assert main([*arguments, "--dry-run"]) == 0
    assert re.search(r"^  detect +about", capsys.readouterr().out, re.MULTILINE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert main(arguments) == 0
    summary = json.loads((tmp_path / "report/summary.json").read_text(encoding="utf-8"))
    settings = summary["parameters"]["lstm_ista"]
    assert (settings["diameter_px"], settings["max_cells"], settings["weights"]) == (9.0, 2, network)
    assert summary["diameter_px"] == 9.0
    assert summary["n_accepted"] == 2
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert DETECTORS["lstm-ista"].method in page
    assert re.search(r'data-key="detector">lstm-ista<', page)
    capsys.readouterr()
    assert main([*arguments, "--neuropil", "0.5", "--dry-run"]) == 0
    assert re.findall(r"^  (\w+) +found", capsys.readouterr().out, re.MULTILINE) == ["motion", "detect"]


def test_a_table_names_networks_beside_itself(recording, network, capsys):
    shutil.copytree(network, "networks/mine")
    with open("networks/table.csv", "w", encoding="utf-8") as table:
        table.write("path,modality,detector,model\n../a.tif,2p,lstm-ista,mine\n")
    assert main(["report", "networks/table.csv", "--dry-run", "-q"]) == 0
    assert capsys.readouterr().out.count("a.tif ->") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--modality", "1p", "--detector", "lstm-ista"),
         "--detector lstm-ista is not made for --modality 1p: say --modality 2p if that is what the movie is, or take "
         "--detector cnmf"),
        (("--model", "net"), "--model is the network of --detector lstm-ista, which does not run here: leave it out"),
        (("--detector", "lstm-ista", "--model", "net"), "cannot be read as a network"),
    ],
    ids=["modality", "detector", "folder"],
)  # fmt: skip
def test_what_cannot_be_is_refused(recording, capsys, arguments, words):
    assert main([*recording, *arguments]) == 2
    assert words in capsys.readouterr().err


def test_on_a_gpu(truth, own):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA here")
    config = replace(own, motion=None)
    here, there = (pipeline.run(truth.movie, config, device=device).footprints for device in ("cpu", "cuda"))
    np.testing.assert_allclose(there.weights.toarray(), here.weights.toarray(), rtol=1e-4, atol=1e-6)
