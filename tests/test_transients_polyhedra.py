"""Star-convex polyhedra: rays, distances, drawing and suppression, against analytic volumes and plain numpy."""

import numpy as np
import pytest

from calcium_helpers.simulate.synapses import synaptic_events
from calcium_helpers.transients.polyhedra import (
    Rays,
    distances_at,
    distances_to_edge,
    edge_probability,
    golden_rays,
    overlap,
    render,
    suppress,
)


def ellipsoid(radii, centre, shape=(16, 18, 20)) -> np.ndarray:
    steps = (np.moveaxis(np.indices(shape), 0, -1) - np.asarray(centre)) / np.asarray(radii)
    return (steps**2).sum(axis=-1) <= 1


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def drawn_plainly(distances: np.ndarray, point: np.ndarray, rays: Rays, shape) -> np.ndarray:
    """Every voxel against every face: its direction's shares of the three rays, and the distance between them."""
    lengths = np.linalg.norm(rays.vertices / rays.extents, axis=1)
    steps = (np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 3) - point) / rays.extents
    inside = np.zeros(len(steps), dtype=bool)
    for face in rays.faces:
        shares = np.linalg.solve((rays.vertices[face] / rays.extents * 1 / lengths[face][:, None]).T, steps.T).T
        edge = shares @ (distances[face] * lengths[face])
        inside |= (shares.min(axis=1) >= -1e-6) & (np.linalg.norm(steps, axis=1) * shares.sum(axis=1) <= edge + 1e-6)
    return inside.reshape(shape)


@pytest.mark.parametrize("extents", [(1, 1, 1), (2, 5, 3)])
@pytest.mark.parametrize("n_rays", [6, 33, 96])
def test_rays_enclose_a_volume(n_rays, extents):
    rays = golden_rays(n_rays, extents)
    assert len(rays.faces) == 2 * n_rays - 4  # Euler, triangles on a sphere
    np.testing.assert_allclose(np.linalg.norm(rays.vertices, axis=1), 1)
    assert (np.linalg.det(rays.vertices[rays.faces]) > 0).all()
    np.testing.assert_allclose(np.abs(rays.vertices[[0, -1], 0]), 1)


def test_rays_are_even():
    """Each ray is alone in about the same solid angle."""
    rays = golden_rays(64).vertices
    nearest = np.sort(rays @ rays.T, axis=1)[:, -2]
    assert np.degrees(np.arccos(nearest)).min() > 14
    assert np.linalg.norm(rays.mean(axis=0)) < 0.01


def test_distances_are_those_to_the_edge_of_a_box():
    label = np.zeros((9, 11, 13), dtype=np.uint16)
    label[2:6, 3:8, 4:11] = 3
    label[6:, :, :] = 5  # another event beside it is not its own
    rays = golden_rays(64)
    distances = distances_to_edge(label, rays)
    point = np.array([3, 4, 8])
    edges = np.where(rays.vertices > 0, np.array([6, 8, 11]) - 0.5 - point, point - np.array([2, 3, 4]) + 0.5)
    expected = (edges / np.maximum(np.abs(rays.vertices), 1e-9)).min(axis=1)
    np.testing.assert_allclose(distances[:, *point], expected, rtol=1e-5)
    assert distances.shape == (64, 9, 11, 13)
    assert not distances[:, label == 0].any()
    np.testing.assert_array_equal(distances_at(label, point[None], rays)[0], distances[:, *point])


@pytest.mark.parametrize("extents", [(1, 1, 1), (2, 3, 5)])
def test_what_is_drawn_is_what_the_faces_enclose(extents):
    rng = np.random.default_rng(0)
    rays = golden_rays(40, extents)
    for point in ([8, 9, 10], [7.3, 8.6, 9.9], [0, 17, 3]):
        distances = rng.uniform(1, 7, 40)
        drawn = render(distances[None], np.array([point]), rays, (16, 18, 20)) > 0
        np.testing.assert_array_equal(drawn, drawn_plainly(distances, np.array(point), rays, drawn.shape))


@pytest.mark.parametrize("radius", [0.4, 1, 3.3, 6])
def test_equal_distances_give_a_ball(radius):
    drawn = render(np.full((1, 32), radius), np.array([[8, 9, 10]]), golden_rays(32), (16, 18, 20)) > 0
    np.testing.assert_array_equal(drawn, ellipsoid([radius] * 3, (8, 9, 10)))


@pytest.mark.parametrize("radii", [(1.2, 1.6, 1.6), (2, 3, 3), (4, 3, 3), (2, 5, 5), (6, 4, 4), (7, 7, 7)])
def test_ellipsoids_survive(radii):
    label = ellipsoid(radii, (7.6, 8.7, 9.4)).astype(np.uint16)
    point = np.rint(np.argwhere(label).mean(axis=0)).astype(int)[None]
    rays = golden_rays(64)
    assert iou(render(distances_at(label, point, rays), point, rays, label.shape) > 0, label > 0) >= 0.85


def test_simulated_events_survive():
    """Labels to distances at the most central voxel and back: on average 0.8, also of small events alone."""
    label = synaptic_events(seed=1).label
    rays, central = golden_rays(96), edge_probability(label)
    numbers = np.arange(1, label.max() + 1)
    points = np.array([np.unravel_index(np.where(label == n, central, -1).argmax(), label.shape) for n in numbers])
    back = render(distances_at(label, points, rays), points, rays, label.shape)
    scores = np.array([iou(label == n, back == n) for n in numbers])
    small = np.bincount(label.ravel())[1:] < 100
    assert scores.mean() >= 0.8
    assert small.any()
    assert scores[small].mean() >= 0.8


def test_the_probability_is_highest_inside():
    label = np.zeros((12, 15, 15), dtype=np.uint16)
    label[2:7, 3:8, 3:8] = 4
    label[2:7, 3:8, 8:11] = 9  # touches the first
    probability = edge_probability(label)
    assert probability[4, 5, 5] == 1
    assert probability[4, 5, 7] == pytest.approx(1 / 3)
    assert probability[label == 9].max() == 1
    assert not probability[label == 0].any()
    assert (probability[label > 0] > 0).all()
    stretched = edge_probability(label, anisotropy=(2, 1, 1))
    assert stretched[2, 5, 5] < stretched[4, 3, 5] == pytest.approx(2 / 3)


def test_the_border_of_the_array_is_no_edge():
    assert edge_probability(np.ones((3, 4, 5), dtype=int)).min() == 1
    label = np.zeros((8, 9, 9), dtype=int)
    label[:4, 3:6, 3:6] = 1
    assert edge_probability(label)[0, 4, 4] == 1


def test_the_first_is_drawn_on_top():
    rays = golden_rays(32)
    label = render(np.full((2, 32), 3.0), np.array([[8, 8, 8], [8, 8, 11]]), rays, (16, 16, 20))
    assert label.dtype == np.uint32
    assert (label[8, 8, 8], label[8, 8, 10], label[8, 8, 12]) == (1, 1, 2)


def test_overlap_of_balls():
    """Two equal balls whose centres are a radius apart share 5/16 of their volume."""
    rays = golden_rays(64)
    near = overlap(np.full((2, 64), 10.0), np.array([[0, 0, 0], [0, 10, 0]]), rays)
    assert near == pytest.approx(5 / 16, abs=0.02)
    assert overlap(np.array([[9.0] * 64, [2.0] * 64]), np.zeros((2, 3)), rays) == 1
    assert overlap(np.full((2, 64), 2.0), np.array([[0, 0, 0], [9, 0, 0]]), rays) == 0


def test_suppression_is_greedy_by_score():
    """The same as comparing every candidate with every one kept before."""
    rng = np.random.default_rng(3)
    rays = golden_rays(24, (2, 3, 3))
    points = rng.integers(0, [12, 30, 30], size=(150, 3))
    distances = rng.uniform(1, 4, size=(150, 24)) * rng.uniform(0.5, 1.5, size=(150, 1))
    scores = rng.random(150).round(1)
    distances[scores.argmin()] *= 20  # reaches over all others
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        if all(overlap(distances[[row, other]], points[[row, other]], rays) <= 0.3 for other in kept):
            kept.append(int(row))
    assert 10 < len(kept) < 140
    assert suppress(distances, points, scores, rays, max_overlap=0.3).tolist() == kept


def test_every_voxel_of_an_event_proposes_it_once():
    """Candidates from all central voxels of events that touch: one each is left."""
    label = np.zeros((14, 24, 24), dtype=np.uint16)
    for number, x in enumerate((4, 9, 17), start=1):
        label[ellipsoid((3, 3, 2.6), (6, 8, x), label.shape)] = number
    rays, central = golden_rays(64), edge_probability(label)
    points = np.argwhere(central > 0.4)
    rows = suppress(distances_at(label, points, rays), points, central[*points.T], rays)
    assert sorted(label[*points[rows].T]) == [1, 2, 3]


def test_nothing_to_do():
    rays = golden_rays(16)
    none = np.zeros((0, 16)), np.zeros((0, 3))
    assert suppress(*none, np.zeros(0), rays).tolist() == []
    assert not render(*none, rays, (1, 2, 3)).any()
    assert not distances_to_edge(np.zeros((1, 2, 3), dtype=int), rays).any()
    assert not edge_probability(np.zeros((1, 2, 3), dtype=int)).any()
    assert suppress(np.zeros((1, 16)), np.array([[0.5, 0.5, 0.5]]), np.ones(1), rays).tolist() == []  # no voxel inside


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda rays: golden_rays(5), "n_rays must be at least 6"),
        (lambda rays: golden_rays(32, (1, 0, 1)), "anisotropy must be three extents"),
        (lambda rays: render(np.ones((2, 15)), np.ones((2, 3)), rays, (3, 3, 3)), r"must be \(N, 16\)"),
        (lambda rays: render(np.full((1, 16), np.nan), np.ones((1, 3)), rays, (3, 3, 3)), "finite"),
        (lambda rays: suppress(np.ones((2, 16)), np.ones((2, 3)), np.ones(3), rays), "scores must be 2 finite"),
        (lambda rays: suppress(np.ones((2, 16)), np.ones((2, 3)), np.ones(2), rays, max_overlap=2), "max_overlap must lie"),
    ],
)
def test_what_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call(golden_rays(16))
