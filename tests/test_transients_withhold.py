"""Labels withheld: how many, which, and that nothing hidden is left."""

import numpy as np
import pytest

from calcium_helpers.io.msct import Stream, events_of
from calcium_helpers.transients.withhold import withhold


def make_streams(n_movies=4, n_events=12):
    """Events of equal shape and known brightness, the brighter the higher their id."""
    streams = []
    for number in range(n_movies):
        label = np.zeros((n_events * 8 + 8, 10, 10), np.uint16)
        rng = np.random.default_rng(number)
        for i, brightness in enumerate(rng.permutation(n_events)):
            label[8 + 8 * i : 10 + 8 * i, 3:6, 4:7] = 10 * (brightness + 1)
        noise = 0.01 * rng.standard_normal(label.shape)
        streams.append(Stream(str(number), (label / 10 + noise).astype(np.float32), label, events_of(label)))
    return streams


def kept(full, partial):
    """Ids of ``full`` that are labelled in ``partial``, after checking that each is so entirely."""
    ids = np.unique(full.label[partial.label > 0])
    np.testing.assert_array_equal(partial.label > 0, np.isin(full.label, ids) & (full.label > 0))
    np.testing.assert_array_equal(partial.events, events_of(partial.label))
    np.testing.assert_array_equal(partial.events[:, 0], np.arange(1, len(ids) + 1))
    return set(ids.tolist())


@pytest.mark.parametrize("how", ["movies", "random", "brightest"])
def test_all_and_nothing(how):
    full = make_streams()
    for a, b, c in zip(
        full, withhold(full, share=1.0, how=how, seed=0), withhold(full, share=0.0, how=how, seed=0), strict=True
    ):
        assert len(kept(a, b)) == 12
        assert not c.label.any()
        assert c.events.shape == (0, 7)
        assert a.name == b.name == c.name
        np.testing.assert_array_equal(a.movie, c.movie)


def test_whole_movies():
    full = make_streams(8)
    numbers = [len(kept(a, b)) for a, b in zip(full, withhold(full, share=0.25, how="movies", seed=1), strict=True)]
    assert sorted(numbers) == [0] * 6 + [12] * 2
    assert sum(bool(len(s.events)) for s in withhold(full, share=0.01, how="movies", seed=1)) == 1


def test_a_share_of_every_movie_at_random():
    full = make_streams(40)
    numbers = [len(kept(a, b)) for a, b in zip(full, withhold(full, share=0.2, how="random", seed=1), strict=True)]
    assert set(numbers) == {2, 3}  # 2.4
    assert np.mean(numbers) == pytest.approx(2.4, abs=0.25)
    seen = [kept(a, b) for a, b in zip(full, withhold(full, share=0.2, how="random", seed=1), strict=True)]
    assert len(set().union(*seen)) == 12


def test_the_brightest():
    full = make_streams()
    for a, b in zip(full, withhold(full, share=0.5, how="brightest", seed=1), strict=True):
        assert kept(a, b) == {70, 80, 90, 100, 110, 120}


@pytest.mark.parametrize("how", ["movies", "random", "brightest"])
def test_choices_are_repeatable_and_nested(how):
    full = make_streams()
    few, same, more = (withhold(full, share=share, how=how, seed=3) for share in (0.3, 0.3, 0.6))
    for a, b, c, d in zip(full, few, same, more, strict=True):
        np.testing.assert_array_equal(b.label, c.label)
        assert kept(a, b) <= kept(a, d)
    if how == "random":
        assert any((a.label != b.label).any() for a, b in zip(few, withhold(full, share=0.3, how=how, seed=4), strict=True))


def test_movies_without_events():
    empty = Stream("0", np.zeros((3, 4, 5), np.float32), np.zeros((3, 4, 5), np.uint16), np.zeros((0, 7), int))
    for how in ("movies", "random", "brightest"):
        assert withhold([], share=0.5, how=how, seed=0) == []
        assert not withhold([empty], share=0.5, how=how, seed=0)[0].label.any()


def test_arguments():
    with pytest.raises(ValueError, match="share must be between 0 and 1, got 25"):
        withhold([], share=25, how="random", seed=0)
    with pytest.raises(ValueError, match="how must be one of"):
        withhold([], share=0.5, how="dimmest", seed=0)
