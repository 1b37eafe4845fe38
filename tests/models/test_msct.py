"""Networks for transients: crops, training with some labels, and events from what they say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from calcium_helpers import simulate
from calcium_helpers.containers import Movie
from calcium_helpers.io.msct import Stream, events_of
from calcium_helpers.metrics import detection_curve, match_events
from calcium_helpers.models._base import load_model
from calcium_helpers.models.msct.config import PUConfig
from calcium_helpers.models.msct.crops import Labelled, crop_batches, label_boxes
from calcium_helpers.models.msct.events import find_events, optimize_thresholds
from calcium_helpers.models.msct.losses import stardist_loss, voxel_loss
from calcium_helpers.models.msct.training import KINDS, look, measure_prior, train
from calcium_helpers.models.stardist3d import StarDist3D, StarDist3DConfig, predict_instances
from calcium_helpers.models.unet3d import UNet3DConfig
from calcium_helpers.training import FitConfig
from calcium_helpers.transients.prepare import normalise
from calcium_helpers.transients.volumes import events_from_label
from calcium_helpers.transients.withhold import withhold

torch.set_num_threads(1)
SMALL = {"msct-unet": UNet3DConfig(widths=(4, 6)), "msct-stardist": StarDist3DConfig(widths=(4, 6), n_rays=16)}
SHORT = PUConfig(risk="plain", batch=4, crop=(8, 16, 16), fit=FitConfig(steps=6, every=3))


@pytest.fixture(scope="module")
def streams():
    config = simulate.SynapseConfig(
        n_frames=80,
        height=48,
        width=48,
        n_dendrites=1,
        n_events=16.0,
        amplitude=1.5,
        distractors_per_min=0.0,
        amplitude_log_sd=0.1,
    )
    found = []
    for seed in range(2):
        simulation = simulate.synaptic_events(config, seed=seed)
        movie = np.asarray(normalise(simulation.movie).data)
        found.append(Stream(str(seed), movie, simulation.label, events_of(simulation.label)))
    return found


def balls(radius=4.0, centres=((10, 12, 12), (10, 12, 19), (25, 30, 28))):
    """Label of balls, of which the first two touch."""
    at = np.stack(np.mgrid[:36, :40, :40])
    label = np.zeros((36, 40, 40), dtype=np.uint16)
    distance = np.stack([np.sqrt(((at - np.array(c)[:, None, None, None]) ** 2).sum(axis=0)) for c in centres])
    nearest = distance.argmin(axis=0)
    label[distance.min(axis=0) <= radius] = nearest[distance.min(axis=0) <= radius] + 1
    return label


def test_crops_lie_around_events_and_anywhere(streams):
    movies = [look(stream) for stream in streams]
    config = replace(SHORT, batch=64, unlabelled=1.0)
    crops = crop_batches(movies, config)(np.random.default_rng(0))
    assert crops.channels.shape == (64, 3, 8, 16, 16)
    assert crops.label.shape == (64, 8, 16, 16)
    assert 20 <= (crops.label > 0).flatten(1).any(dim=1).sum() <= 60
    only = crop_batches(movies, replace(config, unlabelled=0.0))(np.random.default_rng(0))
    assert (only.label > 0).flatten(1).any(dim=1).all()


def test_channels_and_label_of_a_crop_are_of_one_place():
    label = balls().astype(np.int32)
    movie = Labelled(np.stack([label, -label]).astype(np.float32), label)
    crops = crop_batches([movie], SHORT)(np.random.default_rng(3))
    assert torch.equal(crops.channels[:, 0], crops.label.float())


def test_a_movie_smaller_than_a_crop_is_filled_up():
    label = np.ones((3, 5, 40), dtype=np.int32)
    crops = crop_batches([Labelled(np.ones((3, 3, 5, 40), np.float32), label)], SHORT)(np.random.default_rng(0))
    assert crops.label.shape == (4, 8, 16, 16)
    assert (crops.label.sum(dim=(1, 2, 3)) == 3 * 5 * 16).all()


def test_without_a_label_there_is_nothing_to_learn(streams, tmp_path):
    bare = withhold(streams, share=0, how="random", seed=0)
    with pytest.raises(ValueError, match="at least one labelled event"):
        train("msct-unet", tmp_path, bare, config=SHORT, network=SMALL["msct-unet"])


@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_loss_and_goes_on_where_it_stopped(kind, streams, tmp_path):
    longer = replace(SHORT, fit=FitConfig(steps=40, every=10, learning_rate=1e-2))
    whole = train(kind, tmp_path / "whole", streams, config=longer, network=SMALL[kind])
    assert whole.history.loss[-1] < 0.8 * whole.history.loss[0]

    again = train(kind, tmp_path / "whole", streams, config=longer, network=SMALL[kind])
    assert again.history.loss.tolist() == whole.history.loss.tolist()  # finished: nothing was trained anew
    with pytest.raises(ValueError, match="holds another training"):
        train(kind, tmp_path / "whole", streams, config=SHORT, network=SMALL[kind])
    loaded = load_model(tmp_path / "whole", lambda known: KINDS[kind].make(KINDS[kind].config(**known)))
    x = torch.randn(1, 3, 8, 16, 16)
    assert torch.equal(loaded(x), whole.model(x))


class Brightness(torch.nn.Module):
    """Takes the deviation from rest, averaged over the voxels around, for a logit."""

    def forward(self, x):
        return torch.nn.functional.avg_pool3d(x[:, 1:], 3, stride=1, padding=1)


def test_the_prior_of_crops_is_about_what_hides_in_them(streams):
    """In the middle of several ways to label half of the few events."""
    config = replace(SHORT, batch=32, crop=(16, 32, 32))
    ratios = []
    for seed in range(5):
        few = [look(stream) for stream in withhold(streams, share=0.5, how="random", seed=seed)]
        hidden = [
            Labelled(np.stack([part.label, whole.label]).astype(np.float32), part.label)
            for part, whole in zip(few, streams, strict=True)
        ]
        crops = crop_batches(hidden, replace(config, batch=200))(np.random.default_rng(0))
        true = float((crops.channels[:, 1][crops.label == 0] > 0).float().mean())
        ratios.append(measure_prior(Brightness(), few, config) / true)
    assert 0.5 < np.median(ratios) < 2


def test_the_prior_is_estimated_where_it_is_not_given(streams, tmp_path):
    config = replace(SHORT, risk="non-negative")
    few = withhold(streams, share=0.5, how="random", seed=0)
    trained = train("msct-unet", tmp_path, few[:1], few[1:], config=config, network=SMALL["msct-unet"])
    plain = train("msct-unet", tmp_path / "p", few[:1], config=replace(config, risk="plain"), network=SMALL["msct-unet"])
    assert trained.prior == measure_prior(plain.model, [look(stream, KINDS["msct-unet"].label) for stream in few[1:]], config)
    with pytest.raises(ValueError, match="valid must hold a labelled event"):
        train("msct-unet", tmp_path / "other", few, config=config, network=SMALL["msct-unet"])


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    label = balls().astype(np.int32)
    movie = Labelled(np.random.default_rng(0).normal(size=(3, *label.shape)).astype(np.float32), label)
    crops = crop_batches([movie], replace(SHORT, unlabelled=0.0))(np.random.default_rng(0))
    model = StarDist3D(SMALL["msct-stardist"]).train()
    stardist_loss(SHORT, model.rays)(model, crops).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_crops_without_an_event_are_a_loss_too():
    crops = crop_batches([Labelled(np.zeros((3, 9, 16, 16), np.float32), np.eye(16, dtype=np.int32)[None].repeat(9, 0))], SHORT)
    batch = crops(np.random.default_rng(0))
    batch = batch._replace(label=torch.zeros_like(batch.label))
    star = StarDist3D(SMALL["msct-stardist"])
    unet = KINDS["msct-unet"].make(SMALL["msct-unet"])
    assert torch.isfinite(stardist_loss(SHORT, star.rays)(star, batch))
    assert torch.isfinite(voxel_loss(SHORT)(unet, batch))


def test_events_are_cut_apart_and_scored():
    label = balls()
    from calcium_helpers.transients.watershed import erase_seams

    probability = np.where(erase_seams(label) > 0, 0.9, 0.02).astype(np.float32)
    probability[label == 3] *= 0.5
    movie = Movie(probability, fs=10)
    found = find_events(probability, movie, level=0.2)
    assert len(found) == 3
    matching = match_events(found, events_from_label(label, movie))
    assert len(matching.pairs) == 3
    assert sorted(np.round(found.table["score"], 2)) == pytest.approx([0.45, 0.9, 0.9], abs=0.01)
    assert len(find_events(np.zeros_like(probability), movie, level=0.2)) == 0


def test_thresholds_are_chosen_on_what_is_labelled():
    """Three sure events, one of them labelled, and many unsure ones: the threshold lies between."""
    rng = np.random.default_rng(0)
    label = balls(3.0, tuple((6, 5 + 10 * i, 5 + 10 * j) for i in range(4) for j in range(4)))
    heights = np.r_[0.0, 0.8 + 0.1 * rng.random(3), 0.25 + 0.1 * rng.random(13)]
    probability = heights[label].astype(np.float32)
    movie = Movie(probability, fs=10)
    known = events_from_label(np.where(label == 2, label, 0), movie)
    chosen = optimize_thresholds(lambda _, level: find_events(probability, movie, level=level), [known], [36], fs=10)
    called = find_events(probability, movie, level=chosen.level).table["score"] >= chosen.score
    assert 1 <= called.sum() <= 3


def test_star_convex_instances_from_true_answers():
    """A network that answers the truth: touching balls stay two, and each volume is right."""
    from calcium_helpers.transients.polyhedra import distances_to_edge, edge_probability

    label = balls()

    class Knows(torch.nn.Module):
        step, reach = 1, 1
        rays = StarDist3D(StarDist3DConfig(n_rays=48)).rays

        def forward(self, x):
            central = np.clip(edge_probability(label), 1e-4, 1 - 1e-4)
            answer = np.concatenate([np.log(central / (1 - central))[None], distances_to_edge(label, self.rays)])
            return torch.from_numpy(answer.astype(np.float32))[None]

    movie = Movie(np.zeros(label.shape, np.float32), fs=10)
    found = predict_instances(Knows(), movie, core=(64, 64, 64))
    curve = detection_curve(found, events_from_label(label, movie), iou=0.6)
    assert curve.average_precision == 1.0


def test_an_empty_answer_gives_no_events():
    model = StarDist3D(SMALL["msct-stardist"]).eval()
    torch.nn.init.constant_(model.trunk.out.bias, -20.0)
    assert len(predict_instances(model, Movie(np.zeros((9, 12, 13), np.float32), fs=10))) == 0


@pytest.mark.parametrize("bad", [{"risk": "mse"}, {"prior": 1.0}, {"batch": 0}, {"crop": (0, 1, 1)}, {"unlabelled": -1.0}])
def test_what_cannot_be_learned_from_is_refused(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} .*got"):
        PUConfig(**bad)


def test_boxes_are_of_the_ids_there_are():
    label = np.zeros((4, 5, 6), dtype=int)
    label[1:3, 2:4, 0:2] = 7
    assert label_boxes(label).tolist() == [[[1, 3], [2, 4], [0, 2]]]
    assert label_boxes(np.zeros((2, 2, 2), dtype=int)).shape == (0, 3, 2)
