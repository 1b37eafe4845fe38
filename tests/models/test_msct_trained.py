"""A trained network for transients on disk and on movies, and the choice of its thresholds."""

import json

import numpy as np
import pytest
import torch

from calcium_helpers import simulate
from calcium_helpers.containers import Movie
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.msct import Stream, events_of
from calcium_helpers.metrics import match_events
from calcium_helpers.models.msct import (
    PUConfig,
    Thresholds,
    find_transients,
    load_transient_net,
    save_thresholds,
    score_thresholds,
    train,
)  # fmt: skip
from calcium_helpers.models.msct.events import LEVELS, find_events, predict_probability
from calcium_helpers.models.msct.trained import as_seen, load_bare_net, weigh_thresholds
from calcium_helpers.models.stardist3d import StarDist3DConfig, predict_instances
from calcium_helpers.models.unet3d import UNet3DConfig
from calcium_helpers.training import FitConfig
from calcium_helpers.transients import label_from_events, normalise
from calcium_helpers.transients.volumes import events_from_label

torch.set_num_threads(1)
FIELD = simulate.SynapseConfig(
    n_frames=80, height=48, width=48, n_dendrites=1, n_events=14.0, amplitude=2.5, amplitude_log_sd=0.1, touching=0.0,
    distractors_per_min=0.0,
)  # fmt: skip
SMALL = {"msct-unet": UNet3DConfig(widths=(4, 8)), "msct-stardist": StarDist3DConfig(widths=(4, 8), n_rays=24)}
LEAST_F1 = {"msct-unet": 0.6, "msct-stardist": 0.25}  # after seconds of training
LEARNING = PUConfig(
    risk="plain", dice=0.2, unlabelled=0.5, batch=8, crop=(8, 16, 16), fit=FitConfig(steps=80, every=40, learning_rate=2e-2)
)


def draw(seed):
    """A simulation, and its normalised stream."""
    simulation = simulate.synaptic_events(FIELD, seed=seed)
    movie = np.asarray(normalise(simulation.movie).data)
    return simulation, Stream(str(seed), movie, simulation.label, events_of(simulation.label))


@pytest.fixture(scope="session")
def field():
    """What is to be found: three movies to train on, one to choose by, one to look at."""
    simulations, streams = zip(*(draw(seed) for seed in range(5)), strict=True)
    return simulations[4], streams[:3], streams[3:4]


@pytest.fixture(scope="session", params=SMALL)
def network(request, field, tmp_path_factory):
    """A folder of a network of each kind, with thresholds."""
    kind, (_, streams, valid) = request.param, field
    folder = tmp_path_factory.mktemp(kind)
    model = train(kind, folder, streams, config=LEARNING, network=SMALL[kind]).model
    save_thresholds(score_thresholds(kind, model, valid, FIELD.fs), folder)
    return kind, folder


def test_a_trained_network_finds_transients_of_another_movie(network, field):
    kind, folder = network
    simulation = field[0]
    found = find_transients(simulation.movie, load_transient_net(kind, folder))
    assert match_events(found, simulation.events).f1 > LEAST_F1[kind]
    assert (found.table["score"] >= load_transient_net(kind, folder).thresholds.score).all()
    label = label_from_events(found, simulation.movie.shape)
    assert found.table["label"].tolist() == [number + 1 for number in found.table["roi"]] == list(range(1, len(found) + 1))
    assert np.isin(np.unique(label), [0, *found.table["label"]]).all()


def test_tiles_and_what_was_normalised_before_change_nothing(network, field):
    net = load_transient_net(*network)
    movie = field[0].movie
    whole, cut, again = (
        find_transients(movie, net), find_transients(movie, net, core=(32, 24, 40)), find_transients(normalise(movie), net),
    )  # fmt: skip
    for other in (cut, again):
        assert other.table["t_frame"].tolist() == whole.table["t_frame"].tolist()
        assert np.allclose(other.table["score"], whole.table["score"], atol=1e-4)


def test_what_is_in_counts_is_normalised_and_nothing_else(field):
    movie = field[0].movie
    shown = as_seen(movie)
    assert np.array_equal(shown.data, normalise(movie).data)
    assert as_seen(shown) is shown
    dark = Movie(np.zeros((9, 12, 12), np.float32), fs=10)
    assert as_seen(dark) is dark
    with pytest.raises(ValueError, match="must be finite"):
        as_seen(Movie(np.full((9, 12, 12), np.nan), fs=10))


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 17, 5)])
def test_a_movie_without_transients_gives_none(network, shape):
    kind, folder = network
    net = load_transient_net(kind, folder)._replace(thresholds=Thresholds(0.5, 1.1))
    found = find_transients(Movie(np.random.default_rng(0).poisson(50, shape), fs=10), net)
    assert len(found) == 0
    assert found.masks == ()
    assert {"score", "t_frame", "label"} <= set(found.table)


def test_thresholds_are_the_best_of_all(network, field):
    """Squared recall over the number called, by hand, at every level and score."""
    kind, folder = network
    model, (stream,) = load_bare_net(kind, folder), field[2]
    chosen = weigh_thresholds(kind, model, [stream], FIELD.fs)
    movie = Movie(stream.movie, fs=FIELD.fs)
    true = events_from_label(stream.label, movie)
    if kind == "msct-unet":
        probability = predict_probability(model, movie)
        candidates = [(level, find_events(probability, movie, level=level)) for level in LEVELS]
    else:
        candidates = [(0.0, predict_instances(model, movie))]
    best = 0.0
    for level, events in candidates:
        for score in np.unique(events.table["score"])[-30:]:  # of more, most are wrong
            keep = (events.table["score"] >= score).to_numpy()
            called = events.replace(
                table=events.table[keep].reset_index(drop=True),
                masks=tuple(mask for mask, kept in zip(events.masks, keep, strict=True) if kept),
            )
            n_hit = len(match_events(called, true).pairs)
            best = max(best, n_hit**2 / len(true) / keep.sum())
            if (level, score) == chosen.thresholds:
                reached = n_hit**2 / len(true) / keep.sum()
    assert chosen.surrogate == pytest.approx(reached)
    assert reached > 0.9 * best  # the curve matches by rank, which may differ a little from the best matching
    assert score_thresholds(kind, model, [stream], FIELD.fs) == chosen.thresholds == load_transient_net(kind, folder).thresholds


def test_nothing_labelled_is_refused(network, field):
    kind, folder = network
    bare = field[2][0]._replace(events=np.zeros((0, 7), int))
    with pytest.raises(ValueError, match="at least one labelled event"):
        score_thresholds(kind, load_bare_net(kind, folder), [bare], FIELD.fs)


def test_a_network_on_disk_is_whole_and_of_its_kind(network, tmp_path):
    kind, folder = network
    other = next(name for name in SMALL if name != kind)
    with pytest.raises(MovieFileError, match=rf"config\.json: .*it is no {other}"):
        load_transient_net(other, folder)
    with pytest.raises(ValueError, match="kind must be one of msct-unet, msct-stardist, got 'unet'"):
        load_transient_net("unet", folder)
    for name in ("config.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(MovieFileError, match=rf"no such file. Choose them: calcium-helpers optimize {kind} --config"):
        load_transient_net(kind, tmp_path)
    for text in ("{", "[]", '{"level": 0.5}', '{"level": 1.5, "score": 0.5}'):
        (tmp_path / "thresholds.json").write_text(text)
        with pytest.raises(MovieFileError, match="holds no thresholds"):
            load_transient_net(kind, tmp_path)
    save_thresholds(Thresholds(0.25, 0.75), tmp_path)
    assert load_transient_net(kind, tmp_path).thresholds == (0.25, 0.75)
    assert json.loads((tmp_path / "thresholds.json").read_text()) == {"level": 0.25, "score": 0.75}
