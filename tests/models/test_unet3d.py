"""The 3D U-Net: shapes, reach, sizes, tiles, and what it sees of a movie."""

import numpy as np
import pytest
import torch

from calcium_helpers.containers import Movie
from calcium_helpers.models._base import load_model, save_model
from calcium_helpers.models.msct.look import look_at
from calcium_helpers.models.msct.tiles import run_tiles
from calcium_helpers.models.unet3d import PUBLISHED_WIDTHS, UNet3D, UNet3DConfig

torch.set_num_threads(1)


def make(widths=(4, 6, 8), **config):
    torch.manual_seed(0)
    model = UNet3D(UNet3DConfig(widths=widths, **config)).eval()
    for module in model.modules():  # statistics as after a training, not those of a new network
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


@pytest.mark.parametrize("shape", [(1, 1, 1), (16, 32, 32), (7, 33, 21), (3, 5, 64)])
def test_any_shape_comes_back(shape):
    assert make()(torch.randn(2, 3, *shape)).shape == (2, 1, *shape)


def test_the_published_size_runs_and_what_ships_is_small():
    assert sum(p.numel() for p in UNet3D().parameters()) <= 400_000
    with torch.no_grad():
        assert make(PUBLISHED_WIDTHS, channels=1)(torch.randn(1, 1, 32, 32, 32)).shape == (1, 1, 32, 32, 32)


def test_gradients_reach_every_parameter():
    model = make().train()
    model(torch.randn(2, 3, 16, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_nothing_beyond_the_reach_counts(axis):
    model, shape = make().double(), [8, 8, 8]
    shape[axis] = 96
    x = torch.randn(1, 3, *shape, dtype=torch.float64)
    changed = x.clone()
    changed.movedim(axis + 2, 0)[48] += 5
    with torch.no_grad():
        moved = (model(x) != model(changed)).movedim(axis + 2, 0).flatten(1).any(dim=1).nonzero()
    assert 48 - model.reach <= moved.min()
    assert moved.max() <= 48 + model.reach
    assert moved.max() - moved.min() > model.reach  # the halo is not wildly too wide


def test_saved_and_loaded_it_predicts_the_same(tmp_path):
    model, x = make(), torch.randn(1, 3, 8, 8, 8)
    save_model(model, tmp_path)
    again = load_model(tmp_path, lambda known: UNet3D(UNet3DConfig(**known)))
    assert torch.equal(model(x), again(x))


@pytest.mark.parametrize("core", [(16, 16, 16), (32, 64, 24), (1000, 1000, 1000)])
def test_tiles_change_nothing(core):
    movie = Movie(np.random.default_rng(0).normal(size=(50, 45, 61)).astype(np.float32), fs=10)
    model, out = make(), np.full((50, 45, 61), np.nan, dtype=np.float32)

    def keep(part, seen):
        out[part] = seen[0]

    run_tiles(model, movie, keep, core=core)
    whole = torch.from_numpy(look_at(movie).channels(movie.data, 0))[None]
    with torch.no_grad():
        np.testing.assert_allclose(out, model(whole)[0, 0].numpy(), atol=1e-4)


def test_rest_and_noise_are_those_of_the_pixel():
    rng = np.random.default_rng(0)
    rest, noise = rng.uniform(1, 5, (20, 20)), rng.uniform(0.1, 0.5, (20, 20))
    frames = (rest + noise * rng.normal(size=(400, 20, 20))).astype(np.float32)
    frames[200:208, 5:9, 5:9] += 4
    look = look_at(Movie(frames, fs=10))
    np.testing.assert_allclose(look.noise, noise, rtol=0.4)
    assert np.abs(look.levels - rest).max() < 0.4
    channels = look.channels(frames[190:220], 190)
    assert channels[1, 10:18, 5:9, 5:9].min() > 4
    assert channels[1, :10].std() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("frames", [np.ones((1, 6, 7)), np.zeros((30, 5, 5)), np.full((4, 3, 3), np.nan), np.ones((150, 4, 4))])
def test_odd_movies_are_seen_without_warnings(frames):
    movie = Movie(frames.astype(np.float32), fs=10)
    channels = look_at(movie).channels(movie.data, 0)
    assert channels.shape == (3, *frames.shape)
    assert np.isfinite(channels).all()
    assert (channels[1] == 0).all()
