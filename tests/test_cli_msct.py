"""``calcium-helpers train|optimize|predict msct-unet|msct-stardist``: from labelled recordings to the transients of movies."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
import yaml
from PIL import Image

from calcium_helpers import io, simulate
from calcium_helpers.cli import main
from calcium_helpers.cli.msct_config import KEYS, KINDS, read_settings
from calcium_helpers.io.msct import Stream, events_of, read_streams, write_streams
from calcium_helpers.metrics import match_events
from calcium_helpers.models._base import save_model
from calcium_helpers.models.msct import find_transients, load_transient_net, score_thresholds, train
from calcium_helpers.models.msct import training as training_module
from calcium_helpers.models.msct.trained import load_bare_net
from calcium_helpers.transients import label_from_events, normalise

torch.set_num_threads(1)
FIELD = simulate.SynapseConfig(
    n_frames=80, height=48, width=48, n_dendrites=1, n_events=14.0, amplitude=2.5, amplitude_log_sd=0.1, touching=0.0,
    distractors_per_min=0.0,
)  # fmt: skip
LEARNING = {
    "risk": "plain",
    "unlabelled": 0.5,
    "batch": 8,
    "crop": [8, 16, 16],
    "steps": 80,
    "every": 40,
    "learning_rate": 2e-2,
}
SETTINGS = {"data": "data.h5", "fs": 10, "model": "net", "movies": "movies/*.tif", "out": "found", "learning": LEARNING}
NETWORKS = {"msct-unet": {"widths": [4, 8]}, "msct-stardist": {"widths": [4, 8], "n_rays": 24}}
LEAST_F1 = {"msct-unet": 0.6, "msct-stardist": 0.25}  # after seconds of training
FILES = {"events.csv", "features.csv", "label.tif", "transients.png", "done.json"}


@pytest.fixture(scope="module")
def simulations():
    return [simulate.synaptic_events(FIELD, seed=seed) for seed in range(6)]


@pytest.fixture(scope="module")
def place(simulations, tmp_path_factory):
    """Labelled data, in counts and normalised, two movies, and a folder of a trained network of each kind."""
    folder = tmp_path_factory.mktemp("place")
    counts = [
        Stream(str(i), np.asarray(s.movie.data, np.float32), s.label, events_of(s.label)) for i, s in enumerate(simulations[:4])
    ]
    shown = [stream._replace(movie=normalise(s.movie).data) for stream, s in zip(counts, simulations, strict=False)]
    for name, streams in (("data", shown), ("counts", counts)):
        write_streams(folder / f"{name}.h5", {"train": streams[:3], "valid": streams[3:]})
    (folder / "movies").mkdir()
    for i in (4, 5):
        tifffile.imwrite(folder / f"movies/m{i}.tif", simulations[i].movie.frames())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for kind in KINDS:
            write(kind, f"{kind}.yaml", model=kind)
            assert main(["train", kind, "--config", f"{kind}.yaml", "-q"]) == 0
    return folder


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch, request):
    """Each test has its own copy of what it asks for."""
    if "place" in request.fixturenames:
        shutil.copytree(request.getfixturevalue("place"), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def write(kind="msct-unet", name="s.yaml", **changes):
    """Write settings; those of learning are changed one by one."""
    learning = {**LEARNING, **changes.pop("learning", {})}
    values = {**SETTINGS, "network": NETWORKS[kind], **changes, "learning": learning}
    Path(name).write_text(yaml.safe_dump(values), encoding="utf-8")
    return name


def call(capsys, *arguments):
    code = main([str(argument) for argument in (*arguments, "-q")])
    return code, *capsys.readouterr()


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_trained_network_is_that_of_the_library(kind, place):
    settings = read_settings(Path(f"{kind}.yaml"), kind)
    valid = read_streams("data.h5", split="valid")
    trained = train(kind, "again", read_streams("data.h5"), valid, network=settings.network, config=settings.learning)
    assert Path("again/weights.safetensors").read_bytes() == Path(kind, "weights.safetensors").read_bytes()
    assert load_transient_net(kind, kind).thresholds == score_thresholds(kind, trained.model, valid, FIELD.fs)
    with Image.open(f"{kind}/history.png") as picture:
        assert np.ptp(np.asarray(picture)) > 100


def test_a_finished_network_is_left_as_it_is(place, capsys):
    before = contents("msct-unet")
    code, printed, _ = call(capsys, "train", "msct-unet", "--config", "msct-unet.yaml")
    assert (code, printed) == (
        0, "msct-unet holds this network, finished: nothing was trained. Name another folder to train one more\n",
    )  # fmt: skip
    write(model="msct-unet", learning={"seed": 3})
    code, _, complaint = call(capsys, "train", "msct-unet", "--config", "s.yaml")
    assert (code, complaint) == (2, "calcium-helpers: msct-unet holds another training (seed 0): name another folder\n")
    assert contents("msct-unet") == before


@pytest.mark.parametrize("kind", KINDS)
def test_optimize_chooses_again(kind, place, capsys):
    before = Path(kind, "thresholds.json").read_text()
    Path(kind, "thresholds.json").write_text('{"level": 0.5, "score": 0.5}')
    code, printed, _ = call(capsys, "optimize", kind, "--config", f"{kind}.yaml")
    assert code == 0
    assert Path(kind, "thresholds.json").read_text() == before
    n = len(read_streams("data.h5", split="valid")[0].events)
    assert re.match(rf"{kind}/thresholds.json: level \S+, score \S+, by {n} labelled events, surrogate 0\.\d+\n", printed)


@pytest.mark.parametrize("kind", KINDS)
def test_predict_writes_what_is_found(kind, place, simulations, capsys):
    code, printed, complaint = call(capsys, "predict", kind, "--config", f"{kind}.yaml")
    assert (code, complaint) == (0, "")
    assert re.search(
        r"\[1/2\] movies/m4.tif -> found/m4\n    Movie\(80 x 48 x 48 .*, about .* GB of memory\n    \d+ events", printed
    )
    assert {path.name for path in Path("found").iterdir()} == {"m4", "m5"}
    movie = io.load_movie("movies/m4.tif", fs=10)
    found = find_transients(movie, load_transient_net(kind, kind))
    assert match_events(found, simulations[4].events).f1 > LEAST_F1[kind]
    assert {path.name for path in Path("found/m4").iterdir()} == FILES
    pd.testing.assert_frame_equal(pd.read_csv("found/m4/events.csv"), found.table, check_dtype=False)
    with tifffile.TiffFile("found/m4/label.tif") as file:
        assert file.is_imagej
        assert file.imagej_metadata["finterval"] == pytest.approx(0.1)
        label = file.asarray()
    assert label.dtype == np.uint16
    assert np.array_equal(label, label_from_events(found, movie.shape))
    assert np.array_equal(io.load_movie("found/m4/label.tif").frames(), label)
    features = pd.read_csv("found/m4/features.csv")
    assert features["roi"].tolist() == found.table["roi"].tolist()
    assert (features["area_px"] >= 9).all()
    with Image.open("found/m4/transients.png") as picture:
        assert min(picture.size) > 300


def test_predict_goes_on_and_replaces_only_by_force(place, capsys):
    predict = ("predict", "msct-unet", "--config", "msct-unet.yaml")
    assert call(capsys, *predict)[0] == 0
    before = contents("found/m4")
    shutil.rmtree("found/m5")
    code, printed, _ = call(capsys, *predict)
    assert code == 0
    assert printed.count("done in an earlier run") == 1
    assert {path.name for path in Path("found/m5").iterdir()} == FILES
    Path("found/m4/notes.txt").write_text("mine")
    Path("msct-unet/thresholds.json").write_text('{"level": 0.5, "score": 1.5}')
    code, _, complaint = call(capsys, *predict)
    assert code == 1
    assert "found/m4: holds something else than what would be found. Name another out, or add --force" in complaint
    assert contents("found/m4") == {**before, "notes.txt": b"mine"}
    assert call(capsys, *predict, "--force")[0] == 0
    after = contents("found/m4")
    assert set(after) == FILES | {"notes.txt"}
    assert after["events.csv"] == before["events.csv"].splitlines(keepends=True)[0]  # none is above 1.5: headers alone
    assert after["features.csv"].count(b"\n") == 1
    assert not tifffile.imread("found/m4/label.tif").any()
    assert "done in an earlier run" in call(capsys, *predict)[1]


def test_a_movie_that_fails_stops_no_other(place, capsys):
    frames = np.ones((9, 20, 20), np.float32)
    frames[4, 3, 3] = np.nan
    tifffile.imwrite("movies/a.tif", frames)
    Path("movies/b.tif").write_text("no movie")
    np.save("one.npy", np.random.default_rng(0).poisson(100, (1, 33, 20)))
    write(model="msct-unet", movies=["movies/*.tif", "none.tif", "one.npy", "movies/m5.tif"])
    code, printed, complaint = call(capsys, "predict", "msct-unet", "--config", "s.yaml")
    assert code == 1
    assert "movie must be finite, got NaN or infinity in frame 4" in complaint
    assert "none.tif: there is no such file" in complaint
    assert complaint.splitlines()[-1] == "3 of 6 failed: movies/a.tif, movies/b.tif, none.tif"
    assert "[6/6] one.npy -> found/one" in printed
    assert sorted(path.name for path in Path("found").iterdir()) == ["m4", "m5", "one"]


def test_interrupted_it_goes_on_to_the_same_network(place, capsys, monkeypatch):
    """Stopped in the training that the prior is estimated by, and again in the last one."""
    short = {"risk": "non-negative", "steps": 6, "every": 3}
    write(learning=short, model="whole")
    assert call(capsys, "train", "msct-unet", "--config", "s.yaml")[0] in (0, 2)  # 2: six steps may find nothing to choose by
    write(learning=short, model="net")
    batches, calls = training_module.crop_batches, []

    def stopping(*arguments):
        draw = batches(*arguments)

        def stop(rng):
            calls.append(1)
            if len(calls) in (5, 7 + training_module.PRIOR_BATCHES + 5):  # the fifth step is drawn twice
                raise KeyboardInterrupt
            return draw(rng)

        return stop

    with monkeypatch.context() as patch:
        patch.setattr(training_module, "crop_batches", stopping)
        for n in (1, 2):
            code, _, complaint = call(capsys, "train", "msct-unet", "--config", "s.yaml")
            assert (code, "run the same command again" in complaint) == (130, True)
            assert len(list(Path("net").glob("*.pt"))) == n
            assert not Path("net/weights.safetensors").exists()
    _, printed, _ = call(capsys, "train", "msct-unet", "--config", "s.yaml")
    assert printed.splitlines()[0].endswith("; goes on where it was")
    for name in ("weights.safetensors", "history.csv", "config.json"):
        assert Path("net", name).read_bytes() == Path("whole", name).read_bytes()


def test_counts_are_normalised_on_the_way(place, capsys):
    for data in ("data", "counts"):
        write(data=f"{data}.h5", model=data, learning={"steps": 4})
        _, printed, _ = call(capsys, "train", "msct-unet", "--config", "s.yaml")
        assert re.match(
            r"msct-unet, 4 steps, 3 recordings with \d+ labelled events, 1 with \d+ .*: about .* GB of memory", printed
        )
    assert Path("data/weights.safetensors").read_bytes() == Path("counts/weights.safetensors").read_bytes()


def test_without_labels_to_choose_by_there_are_no_thresholds(place, capsys):
    write_streams("data.h5", {"train": read_streams("data.h5")})
    write(learning={"steps": 4})
    code, printed, _ = call(capsys, "train", "msct-unet", "--config", "s.yaml")
    assert code == 0
    assert "no thresholds yet, as data has no labelled event in valid. Add some: calcium-helpers annotate" in printed
    code, _, complaint = call(capsys, "predict", "msct-unet", "--config", "s.yaml")
    assert code == 2
    assert "Choose them: calcium-helpers optimize msct-unet --config FILE.yaml" in complaint
    assert call(capsys, "optimize", "msct-unet", "--config", "s.yaml")[0] == 2
    write(learning={"risk": "unbiased"}, model="other")
    code, _, complaint = call(capsys, "train", "msct-unet", "--config", "s.yaml")
    assert code == 2
    assert "s.yaml: learning: prior is null, expected a share" in complaint
    assert not Path("other").exists()


BROKEN = {
    "unknown key": ({"dta": "x.h5"}, "has the unknown key 'dta'. Known are channel, data, "),
    "unknown in a section": ({"network": {"depth": 3}}, "has the unknown key 'depth' of network. Known are widths"),
    "of the other network": ({"network": {"n_rays": 32}}, "has the unknown key 'n_rays' of network"),
    "text for a number": ({"fs": "fast"}, "fs is 'fast', expected a number"),
    "below zero": ({"fs": -3}, "fs is -3, expected a number above 0"),
    "true for a number": ({"fs": True}, "fs is True, expected a number"),
    "part of a step": ({"learning": {"steps": 2.5}}, "learning: steps is 2.5, expected a whole number"),
    "no crop": ({"learning": {"crop": [8, 16]}}, "learning: crop is [8, 16], expected a list of 3 times a whole number"),
    "no widths": ({"network": {"widths": 8}}, "network: widths is 8, expected a list of a whole number"),
    "empty widths": ({"network": {"widths": []}}, "widths must hold at least one level, got none"),
    "no risk": ({"learning": {"risk": "mse"}}, "risk must be one of plain, unbiased, non-negative, got 'mse'"),
    "no steps": ({"learning": {"steps": 0}}, "steps must be a finite number of  above 0, got 0"),
    "number for a path": ({"data": 3}, "data is 3, expected a path"),
    "no such data": (
        {"data": "other.h5"},
        "data is other.h5, and there is no such file. Make it with calcium-helpers annotate",
    ),
    "section is a list": ({"network": [8]}, "network is [8], expected keys with values"),
    "missing": ({"model": None}, "lacks the key model. Expected is folder of the network"),
}


@pytest.mark.parametrize(("changes", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_settings_are_named(changes, words, capsys, tmp_path):
    write(**changes)
    code, _, complaint = call(capsys, "train", "msct-unet", "--config", "s.yaml")
    assert code == 2
    assert complaint.startswith(f"calcium-helpers: s.yaml: {words}")
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "there is no such file"), ("- 1", "holds [1], expected keys"), ("a: [", "cannot be read"), (b"\xff", "cannot")],
)  # fmt: skip
def test_a_file_without_settings_is_refused(text, words, capsys):
    if text is not None:
        Path("s.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    code, _, complaint = call(capsys, "predict", "msct-unet", "--config", "s.yaml")
    assert code == 2
    assert complaint.startswith(f"calcium-helpers: s.yaml: {words}")


def test_a_network_that_is_not_there_is_named(place, capsys):
    write(model="nowhere")
    assert "s.yaml: model is nowhere, expected the folder of a trained network" in call(
        capsys, "predict", "msct-unet", "--config", "s.yaml")[2]  # fmt: skip
    write("msct-stardist", model="msct-unet")
    code, _, complaint = call(capsys, "predict", "msct-stardist", "--config", "s.yaml")
    assert code == 2
    assert "it is no msct-stardist" in complaint
    assert not Path("found").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_holds_every_key_and_the_defaults(kind, capsys):
    code, _, _ = call(capsys, "train", kind, "--template", "new.yaml")
    assert code == 0
    text = Path("new.yaml").read_text(encoding="utf-8")
    settings = read_settings(Path("new.yaml"), kind, "data", "fs", "model", "movies", "out")
    Path("bare.yaml").write_text("fs: 10\nmovies: [movies/*.tif]\ndata: data.h5\nmodel: network\nout: transients")
    assert settings == read_settings(Path("bare.yaml"), kind)
    for section in ("", "learning"):
        assert all(re.search(rf"^ *#? ?{key}: ", text, re.MULTILINE) for key in KEYS[section])
    code, _, complaint = call(capsys, "predict", kind, "--template", "new.yaml")
    assert code == 2
    assert "new.yaml is there already, and is not replaced" in complaint
    assert Path("new.yaml").read_text(encoding="utf-8") == text


def test_help_explains_every_key(capsys):
    for command in ("train", "optimize", "predict"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        printed = capsys.readouterr().out
        assert all(re.search(rf"^ +{key}: ", printed, re.MULTILINE) for keys in KEYS.values() for key in keys)


WRONG = {
    ("train", "msct-unet"): "msct-unet needs --config FILE, or --template FILE to write one",
    (
        "train",
        "msct-unet",
        "-o",
        "net",
        "--steps",
        "5",
    ): "msct-unet knows no --out, --steps: its settings stand in --config FILE",
    ("train", "lstm-ista", "-o", "net", "--config", "s.yaml"): "lstm-ista knows no --config: its folder is named by --out",
    ("train", "msct-unet", "--config", "a", "--template", "b"): "msct-unet needs --config FILE, or --template FILE",
    ("predict", "msct-unet"): "one of the arguments --config --template is required",
    ("optimize", "lstm-ista", "--config", "s.yaml"): "invalid choice: 'lstm-ista'",
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_options_of_another_network_are_refused(arguments, capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(list(arguments))
    assert WRONG[arguments] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_thresholds_of_a_network_that_finds_nothing(place, capsys):
    """Nothing is written that would call events at random."""
    Path("msct-unet/thresholds.json").unlink()
    blind = load_bare_net("msct-unet", "msct-unet")
    torch.nn.init.constant_(blind.out.bias, -100.0)
    save_model(blind, "msct-unet")
    n = sum(len(stream.events) for stream in read_streams("data.h5", split="valid"))
    code, _, complaint = call(capsys, "optimize", "msct-unet", "--config", "msct-unet.yaml")
    assert (code, f"the network finds none of the {n} labelled events of valid" in complaint) == (2, True)
    assert not Path("msct-unet/thresholds.json").exists()
    assert json.loads(Path("msct-unet/training.json").read_text())["network"] == "msct-unet"
