"""``calcium-helpers train``: a folder with a network, the same after an interruption, never one over another."""

import importlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from calcium_helpers.cli import main
from calcium_helpers.cli.train import NETWORKS, PROFILES
from calcium_helpers.models import lstm_ista
from calcium_helpers.training import FitConfig

TINY = lstm_ista.TrainConfig(
    fit=FitConfig(steps=6, every=3), n_fields=2, n_bins=20, tile_px=24, batch=1, head_steps=3,
    network=lstm_ista.NetworkConfig(n_blocks=1, filters=2, hidden=4, looks=2, head=4),
)  # fmt: skip
MODULE = importlib.import_module(lstm_ista.train.__module__)


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """A training of seconds stands for the profile of two cores."""
    monkeypatch.setitem(lstm_ista.PROFILES, "cpu", TINY)
    monkeypatch.setattr(MODULE, "N_VALIDATION", 1)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished training."""
    folder = tmp_path_factory.mktemp("network")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(lstm_ista.PROFILES, "cpu", TINY)
        patch.setattr(MODULE, "N_VALIDATION", 1)
        assert main(["train", "lstm-ista", "-o", str(folder / "net"), "-q"]) == 0
    return folder / "net"


def train(capsys, *arguments):
    code = main(["train", "lstm-ista", "-o", "net", "-q", *map(str, arguments)])
    return code, *capsys.readouterr()


def lend_fields(finished):
    """The same fields again: to simulate them takes longest."""
    shutil.copytree(finished / "fields", "net/fields")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_training_leaves_a_network_its_history_and_a_picture(finished, capsys, monkeypatch):
    lend_fields(finished)
    code, printed, complaint = train(capsys)
    assert (code, complaint) == (0, "")
    first, *_, result, use, _ = printed.splitlines()
    assert re.fullmatch(
        r"lstm-ista, profile cpu, 6 steps: about .* on two cores, [\d.]+ GB of memory, [\d.]+ GB on disk", first
    )
    history = pd.read_csv("net/history.csv")
    assert history["step"].tolist() == [3, 6]
    assert np.isfinite(history[["loss", "score"]]).all(axis=None)
    best = history.loc[history["score"].idxmax()]
    assert (
        result
        == f"net: F1 of cells in simulated fields {best['score']:.3f}, best after {best['step']:.0f} of 6 steps (history.png)"
    )
    assert use == "use it: calcium-helpers report MOVIE --modality 2p --detector lstm-ista --model net"
    with Image.open("net/history.png") as picture:
        assert picture.size == (900, 450)
        assert np.ptp(np.asarray(picture)) > 100
    assert replace(lstm_ista.load_lstm_ista("net").config, calibration=(1.0, 0.0)) == TINY.network
    about = json.loads(Path("net/config.json").read_text(encoding="utf-8"))["about"]
    assert (about["profile"], about["seed"], about["steps"]) == ("cpu", 0, 6)


def test_a_finished_folder_is_left_as_it_is(finished, capsys):
    before = contents(finished)
    assert main(["train", "lstm-ista", "-o", str(finished)]) == 0
    assert (
        capsys.readouterr().out
        == f"{finished} holds this network, finished: nothing was trained. Name another folder to train one more\n"
    )
    assert contents(finished) == before


@pytest.mark.parametrize("part", ["draw_field", "tile_batches"])
def test_interrupted_it_goes_on_to_the_same_network(finished, capsys, monkeypatch, part):
    if part == "tile_batches":
        lend_fields(finished)
    whole, calls = getattr(MODULE, part), []

    def stop(n):
        calls.append(n)
        if len(calls) == n:
            raise KeyboardInterrupt

    def field(*arguments):
        stop(3)
        return whole(*arguments)

    def batches(*arguments):
        def draw(rng):
            stop(5)
            return drawn(rng)

        drawn = whole(*arguments)
        return draw

    with monkeypatch.context() as patch:
        patch.setattr(MODULE, part, field if part == "draw_field" else batches)
        code, _, complaint = train(capsys)
    assert code == 130
    assert complaint == "calcium-helpers: stopped; the same command goes on from what lies in net\n"
    code, printed, _ = train(capsys)
    assert code == 0
    assert printed.splitlines()[0].endswith("; goes on where it was")
    assert len(calls) == {"draw_field": 3, "tile_batches": 5}[part]
    for name in ("weights.safetensors", "history.csv", "config.json"):
        assert Path("net", name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.parametrize("other", [("--seed", 1), ("--steps", 9), ("--profile", "gpu")], ids=lambda pair: pair[0].strip("-"))
def test_two_trainings_share_no_folder(finished, capsys, other):
    before = contents(finished)
    assert main(["train", "lstm-ista", "-o", str(finished), *map(str, other)]) == 2
    words = f"{finished} holds another training (network lstm-ista, profile cpu, steps 6, seed 0): name another folder"
    assert words in capsys.readouterr().err
    assert contents(finished) == before


def test_what_cannot_be_is_refused_and_leaves_nothing(finished, capsys, tmp_path):
    code, _, complaint = train(capsys, "--steps", 0)
    assert code == 2
    assert "--steps must be" in complaint
    code, _, complaint = train(capsys, "--device", "abacus")
    assert code == 2
    assert "device must be one that torch can use here, 'cpu' for instance, got 'abacus'" in complaint
    assert not list(tmp_path.iterdir())
    (tmp_path / "net").write_text("no folder")
    assert train(capsys)[0] == 2
    (tmp_path / "net").unlink()
    (tmp_path / "net").mkdir()
    shutil.copy(finished / "weights.safetensors", "net")
    code, _, complaint = train(capsys)
    assert code == 2
    assert "net holds a network that was not trained there: name another folder" in complaint
    assert [path.name for path in (tmp_path / "net").iterdir()] == ["weights.safetensors"]


@pytest.mark.parametrize("arguments", [("train",), ("train", "lstm-ista"), ("train", "other", "-o", "net")])
def test_usage(arguments, capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(arguments)
    assert "usage: calcium-helpers train" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_all_profiles_and_their_costs(name):
    module = importlib.import_module(NETWORKS[name].module)
    assert set(module.PROFILES) == set(NETWORKS[name].costs) == set(PROFILES)
    assert all(replace(config, fit=replace(config.fit, steps=1)).fit.steps == 1 for config in module.PROFILES.values())
