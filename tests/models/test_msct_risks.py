"""What teaching pictures are made of: pieces of a movie, risks followed on them, the share of hidden positives."""

import numpy as np
import pytest
import torch

from calcium_helpers.models.msct.config import PUConfig
from calcium_helpers.models.msct.crops import Labelled
from calcium_helpers.models.msct.risks import Pieces, draw_pieces, follow_risks, hidden_share


def make_movie(n=20):
    """A movie of one bright block in noise, all pixels alike at rest."""
    label = np.zeros((n, n, n), np.int32)
    label[4:10, 4:10, 4:10] = 1
    rng = np.random.default_rng(0)
    return Labelled(
        np.stack([np.ones(label.shape), 3.0 * (label > 0) + rng.normal(size=label.shape)]).astype(np.float32), label
    )


@pytest.mark.parametrize("side", [1, 3])
def test_pieces_are_cubes_around_voxels(side):
    movie = make_movie()
    values, positive = draw_pieces(movie, 30, 50, side=side, seed=1)
    assert (values.shape, int(positive.sum())) == ((80, side**3), 30)
    assert bool(positive[:30].all())
    middle = values[:, side**3 // 2].numpy() * 3
    known = movie.channels[1][movie.label > 0], movie.channels[1][movie.label == 0]
    assert np.isin(middle[:30].round(4), known[0].round(4)).all()
    assert np.isin(middle[30:].round(4), known[1].round(4)).all()
    assert len(draw_pieces(movie, 10**6, 0).values) == 6**3


def test_only_the_unbiased_risk_falls_below_zero():
    rng = np.random.default_rng(0)
    draw = lambda n: Pieces(  # noqa: E731
        torch.from_numpy((rng.normal(size=(12 * n, 20)) + 0.5 * (np.arange(12 * n) < 5 * n)[:, None]).astype(np.float32)),
        torch.arange(12 * n) < 5 * n,
    )
    courses = follow_risks(draw(15), 30, draw(100), steps=250, seed=0)
    assert list(courses) == ["plain", "unbiased", "non-negative"]
    plain, unbiased, nnpu = courses.values()
    assert unbiased.estimate[-1] < -0.5
    assert min(nnpu.estimate.min(), plain.estimate.min()) > 0
    assert nnpu.true[-1] < unbiased.true[-1]
    assert nnpu.hidden[-1] > plain.hidden[-1] + 0.3
    assert {len(values) for course in courses.values() for values in course} == {250}


@pytest.mark.parametrize("n", [0, 5, 6])
def test_some_positives_must_be_hidden(n):
    pieces = Pieces(torch.zeros(9, 4), torch.arange(9) < 5)
    with pytest.raises(ValueError, match=f"fewer than the 5 positives, got {n}"):
        follow_risks(pieces, n, pieces)


def test_hidden_events_are_counted_where_crops_are_drawn():
    movie = make_movie()
    truth = movie.label.copy()
    truth[12:18, 12:18, 12:18] = 2
    config = PUConfig(crop=movie.label.shape)  # each crop is the whole movie
    assert hidden_share([movie], [truth], config, n_batches=2) == pytest.approx(6**3 / (20**3 - 6**3))
    assert hidden_share([movie], [movie.label], config, n_batches=1) == 0
