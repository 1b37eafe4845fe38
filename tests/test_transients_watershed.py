"""Events from probabilities: what touches stays two, what is one stays one."""

import numpy as np
import pytest
from scipy import ndimage

from calcium_helpers.simulate.synapses import synaptic_events
from calcium_helpers.transients import watershed
from calcium_helpers.transients.polyhedra import edge_probability
from calcium_helpers.transients.watershed import connected_volumes, erase_seams, split_volumes

SHAPE = (20, 24, 40)


def balls(*centres, radii=(3, 4, 4)) -> np.ndarray:
    """Label of ellipsoids; a voxel belongs to the nearest."""
    grid = np.moveaxis(np.indices(SHAPE), 0, -1)
    distance = np.array([(((grid - np.array(centre)) / radii) ** 2).sum(axis=-1) for centre in centres])
    return np.where(distance.min(axis=0) <= 1, distance.argmin(axis=0) + 1, 0).astype(np.uint16)


def blurred(mask: np.ndarray, seed: int = 0) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=mask.shape), 1)
    return np.clip(ndimage.gaussian_filter(mask.astype(np.float32), 0.7) + 0.05 * noise / noise.std(), 0, 1)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def best_ious(true: np.ndarray, found: np.ndarray) -> list[float]:
    """IoU of each true event with the found one that covers most of it."""
    scores = []
    for number in range(1, true.max() + 1):
        counts = np.bincount(found[true == number], minlength=2)[1:]
        scores.append(iou(true == number, found == counts.argmax() + 1) if counts.any() else 0.0)
    return scores


@pytest.mark.parametrize("other", [(10, 12, 19), (10, 17, 16), (16, 12, 12)], ids=["beside", "diagonal", "in time"])
def test_two_that_touch_stay_two(other):
    true = balls((10, 12, 12), other)
    probability = blurred(true > 0)
    assert connected_volumes(probability).max() == 1
    found = split_volumes(probability)
    assert found.max() == 2
    assert min(best_ious(true, found)) > 0.75


@pytest.mark.parametrize("radii", [(1.5, 2, 2), (3, 4, 4), (2, 3, 12), (8, 3, 3)])
def test_one_stays_one(radii):
    true = balls((10, 12, 20), radii=radii)
    for seed in range(3):
        found = split_volumes(blurred(true > 0, seed), threshold=0.4)
        assert found.max() == 1
        assert iou(true > 0, found > 0) > 0.75


def test_events_that_touch_in_simulated_movies():
    """Of seams erased from the target, the watershed finds most; touching pairs in plain masks are lost to it."""
    true = synaptic_events(seed=2).label
    target = blurred(erase_seams(true) > 0)
    found = split_volumes(target, threshold=0.4)
    assert abs(int(found.max()) - int(true.max())) <= 0.1 * true.max()
    scores = np.array(best_ious(true, found))
    assert (scores >= 0.5).mean() >= 0.85
    merged = np.array(best_ious(true, connected_volumes(blurred(true > 0))))
    assert (merged >= 0.5).mean() < (scores >= 0.5).mean()


def test_centrality_alone_tells_events_apart():
    true = balls((10, 12, 12), (10, 12, 19), (10, 12, 26))
    found = split_volumes(edge_probability(true), threshold=0.01)
    assert min(best_ious(true, found)) > 0.9


def test_what_is_too_small():
    probability = np.zeros(SHAPE, dtype=np.float32)
    probability[3:5, 3:6, 3:6] = 0.9
    probability[3:4, 10:15, 3:8] = 0.9  # one frame
    probability[10:15, 3:5, 20:25] = 0.9  # two rows
    for found in connected_volumes(probability), split_volumes(probability):
        assert found.max() == 1
        assert (found > 0).sum() == 18
    assert split_volumes(probability, min_size=(1, 1, 1)).max() == 3


def test_small_parts_go_to_their_neighbours():
    """A second summit of two frames within a large event."""
    probability = np.zeros(SHAPE, dtype=np.float32)
    probability[4:14, 4:14, 4:14] = 0.8
    probability[13:14, 4:14, 4:14] = 0.6
    probability[14:16, 7:10, 7:10] = 1.0
    few = split_volumes(probability, sigma=(0, 0, 0), depth=0.05, min_size=(4, 5, 5))
    assert few.max() == 1
    np.testing.assert_array_equal(few > 0, probability > 0.5)
    assert split_volumes(probability, sigma=(0, 0, 0), depth=0.05, min_size=(1, 1, 1)).max() > 1


def test_no_part_of_the_movie_changes_another(monkeypatch):
    """The same events in one movie as in two with a gap, in chunks of a frame as in one, and from a file."""
    probability = blurred(balls((10, 12, 12), (10, 12, 19), (8, 5, 33)) > 0)
    alone = split_volumes(probability)
    monkeypatch.setattr(watershed, "CHUNK_BYTES", 4)
    twice = split_volumes(np.concatenate([probability, np.zeros_like(probability), probability]))
    np.testing.assert_array_equal(twice[: len(alone)], alone)
    np.testing.assert_array_equal(twice[-len(alone) :], np.where(alone, alone + alone.max(), 0))


def test_a_file_gives_the_same(tmp_path):
    probability = blurred(balls((10, 12, 12), (10, 12, 19)) > 0).astype(np.float16)
    np.save(tmp_path / "p.npy", probability)
    np.testing.assert_array_equal(split_volumes(np.load(tmp_path / "p.npy", mmap_mode="r")), split_volumes(probability))


def test_all_above_the_threshold_is_cut_in_time(monkeypatch):
    monkeypatch.setattr(watershed, "MAX_BOX", 24 * 40 * 7)
    found = split_volumes(np.full(SHAPE, 0.7, dtype=np.float32))
    assert (found > 0).all()
    assert [len(np.unique(found[a : a + 7])) for a in (0, 7, 14)] == [1, 1, 1]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 9), (7, 1, 3)])
@pytest.mark.parametrize("value", [0.0, np.nan, 1.0])
def test_nothing_found(shape, value):
    for find in connected_volumes, split_volumes:
        found = find(np.full(shape, value, dtype=np.float32))
        assert found.dtype == np.uint32
        assert found.shape == shape
        assert not found.any()


def test_gaps_in_the_probability_are_no_events():
    true = balls((10, 12, 12))
    probability = blurred(true > 0)
    probability[:, :, 14:16] = np.nan
    found = split_volumes(probability)
    assert not found[:, :, 14:16].any()
    assert found[10, 12, 11] > 0


def test_seams():
    true = balls((10, 12, 12), (10, 12, 19), (10, 12, 33))
    erased = erase_seams(true)
    assert erased.dtype == true.dtype
    assert ndimage.label(erased > 0, np.ones((3, 3, 3)))[1] == 3
    np.testing.assert_array_equal(erased == 3, true == 3)
    assert (true[(true > 0) & (erased == 0)] > 0).sum() < 0.3 * (true > 0).sum()
    thin = np.zeros((4, 5, 6), dtype=np.uint16)
    thin[:, :, :3], thin[:, :, 3] = 1, 2
    assert np.unique(erase_seams(thin)).tolist() == [0, 1, 2]
    assert not erase_seams(np.zeros((1, 2, 3), dtype=np.uint16)).any()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"threshold": 1.0}, "threshold must lie"),
        ({"depth": 0.0}, "depth must lie"),
        ({"sigma": (1, 1)}, "sigma must be three"),
        ({"min_size": (2, 0, 3)}, "min_size must be three"),
    ],
)
def test_what_is_refused(change, text):
    with pytest.raises(ValueError, match=text):
        split_volumes(np.zeros((3, 4, 5)), **change)
    with pytest.raises(ValueError, match="T, H, W"):
        split_volumes(np.zeros((3, 4)))
