import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage

from calcium_helpers import metrics
from calcium_helpers.background import Blur
from calcium_helpers.containers import Movie
from calcium_helpers.memory import limit_memory
from calcium_helpers.models import one_photon
from calcium_helpers.models.one_photon import CoordinatesConfig, adapt
from calcium_helpers.models.one_photon.blobs import SHAPE, Coordinates, Scene, render, render_seen, window_corners, window_shape
from calcium_helpers.models.one_photon.learn import Level, fit_activity, learn, reconstruction_loss, repulsion_loss
from calcium_helpers.models.one_photon.path import Path
from calcium_helpers.models.one_photon.view import View
from calcium_helpers.models.one_photon.wobble import Wobble
from calcium_helpers.simulate import OnePhotonConfig
from calcium_helpers.simulate import one_photon as simulate

STILL = {"motion_px": 0.0, "field_px": 0.0}
DIAMETER = 8.0


@pytest.fixture(scope="module")
def simulation():
    return simulate(OnePhotonConfig(n_frames=500, height=112, width=120, n_cells=9, **STILL), seed=3)


@pytest.fixture(scope="module")
def found(simulation):
    config = CoordinatesConfig(start="random")
    return one_photon.detect(simulation.movie, config=config, seed=1)


def bare_view(cells, *, n_bins=120, shape=(64, 72), height=20.0, seed=0):
    """White noise of 1 with round cells (y, x) that flash now and then; no glow."""
    rng = np.random.default_rng(seed)
    frames = rng.standard_normal((n_bins, *shape)).astype(np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for cy, cx in cells:
        course = height * np.convolve(rng.random(n_bins) < 0.06, np.exp(-np.arange(12) / 3))[:n_bins]
        image = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * (0.3 * DIAMETER) ** 2))
        frames += (course - course.mean())[:, None, None].astype(np.float32) * image.astype(np.float32)
    share, noise, inside = np.zeros(shape, np.float32), np.ones(shape, np.float32), np.ones(shape, bool)
    wobble = Wobble(np.ones(shape), share, noise, inside, diameter_px=DIAMETER)
    return View(frames, share, noise, inside, wobble, DIAMETER, 1)


def learned(view, places, *, blurs, n_fits=8, repulsion=0.1):
    coordinates, path = Coordinates(np.array(places), diameter_px=DIAMETER), Path(len(places))
    config = CoordinatesConfig(repulsion=repulsion)
    for blur in blurs:
        learn(Level.of(view, blur=blur, device="cpu"), coordinates, path, config, n_fits=n_fits)
    return coordinates


def test_a_blob_seen_through_the_high_pass_is_what_the_high_pass_leaves_of_it():
    shape = (61, 67)
    coordinates = Coordinates(np.array([[30.3, 33.6]]), diameter_px=DIAMETER)
    with torch.no_grad():
        coordinates.stretch += torch.tensor([[0.5, -0.4]])
        coordinates.steepness += 2.5
        share = np.random.default_rng(0).uniform(0.7, 1.2, shape).astype(np.float32)
        gain = np.random.default_rng(1).uniform(0.5, 2.0, shape).astype(np.float32)
        scene = Scene(torch.from_numpy(share), torch.from_numpy(gain), DIAMETER, 1)
        whole = torch.zeros(1, 2, dtype=torch.long)
        blob = render(coordinates, whole, shape)[0].numpy()
        seen = render_seen(coordinates, whole, shape, scene, blur_px=0.0)[0].numpy()
    expected = (blob - share * Blur(shape, DIAMETER)(blob)) * gain
    expected /= np.linalg.norm(expected)
    assert np.abs(seen - expected).max() < 0.02 * expected.max()


def test_pooled_blobs_are_the_means_of_pixels():
    coordinates = Coordinates(np.array([[30.3, 33.6]]), diameter_px=DIAMETER)
    scenes = [Scene(torch.zeros(n, n), torch.ones(n, n), DIAMETER, f) for n, f in ((64, 1), (32, 2))]
    corner = torch.zeros(1, 2, dtype=torch.long)
    with torch.no_grad():
        fine = render_seen(coordinates, corner, (64, 64), scenes[0], blur_px=0.0)[0]
        pooled = render_seen(coordinates, corner, (32, 32), scenes[1], blur_px=0.0)[0]
    means = fine.reshape(32, 2, 32, 2).mean(dim=(1, 3))
    assert torch.allclose(pooled, means / means.norm(), atol=0.01 * float(pooled.max()))


@pytest.mark.parametrize("angle", [0.3, 2.0, 4.4])
def test_a_coordinate_reaches_a_cell_more_than_a_diameter_away(angle):
    cell = np.array([32.4, 35.8])
    start = cell + 1.3 * DIAMETER * np.array([np.sin(angle), np.cos(angle)])
    view, levels = bare_view([cell]), CoordinatesConfig().blur_levels
    coordinates = Coordinates(start[None], diameter_px=DIAMETER)
    level = Level.of(view, blur=levels[0], device="cpu")
    reconstruction_loss(level, coordinates, fit_activity(level, coordinates)).backward()
    downhill = -coordinates.place.grad[0].numpy()
    towards = (cell - start) / np.linalg.norm(cell - start)
    assert downhill @ towards > 0.9 * np.linalg.norm(downhill) > 0
    coarse_to_fine = learned(view, [start], blurs=levels)
    assert np.linalg.norm(coarse_to_fine.yx.detach().numpy() - cell) < 0.3


def test_gradients_reach_every_parameter():
    view = bare_view([(30, 30), (40, 50)])
    level = Level.of(view, blur=0.0, device="cpu")
    coordinates = Coordinates(np.array([[31.5, 29.0], [39.0, 51.0]]), diameter_px=DIAMETER)
    with torch.no_grad():
        coordinates.stretch += 0.1
    (reconstruction_loss(level, coordinates, fit_activity(level, coordinates)) + repulsion_loss(coordinates)).backward()
    for name, parameter in coordinates.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad.abs() > 0).all(), name


def test_shapes_are_learned():
    shape, cell = (64, 72), np.array([30.0, 36.0])
    rng = np.random.default_rng(2)
    y, x = np.mgrid[: shape[0], : shape[1]] - cell[:, None, None]
    along, across = (y + x) / np.sqrt(2), (y - x) / np.sqrt(2)
    image = np.exp(-0.5 * ((along / 3.6) ** 2 + (across / 2.0) ** 2)).astype(np.float32)
    course = (20 * (rng.random(150) < 0.1)).astype(np.float32)
    frames = rng.standard_normal((150, *shape)).astype(np.float32) + (course - course.mean())[:, None, None] * image
    view = bare_view([])._replace(whitened=frames)
    coordinates = learned(view, [cell + 1.5], blurs=(0.0,), n_fits=25)
    short, long = adapt.blob_radii(coordinates)[0]
    assert long == pytest.approx(3.6, rel=0.08)
    assert short == pytest.approx(2.0, rel=0.08)
    ends = adapt.halves(coordinates)[0].numpy() - cell
    assert abs(ends[0] @ [1, 1]) > 5 * abs(ends[0] @ [1, -1])


def test_activity_is_fitted_beside_an_overlapping_neighbour():
    cells = np.array([[30.0, 30.0], [30.0, 35.5]])
    view = bare_view(cells, height=30.0)
    fit = fit_activity(Level.of(view, blur=0.0, device="cpu"), Coordinates(cells, diameter_px=DIAMETER))
    clean = bare_view(cells, height=30.0).whitened - bare_view([], height=30.0).whitened
    assert (fit.activity >= 0).all()
    for number, (cy, cx) in enumerate(((30, 26), (30, 39))):  # the far side of each cell shows that cell alone
        truth = clean[:, cy, cx]
        assert np.corrcoef(fit.activity[number], truth)[0, 1] > 0.97


def test_repulsion_parts_what_sits_in_one_place():
    near = Coordinates(np.array([[10.0, 10.0], [10.0, 11.0], [40.0, 40.0]]), diameter_px=DIAMETER)
    repulsion_loss(near).backward()
    grad = near.place.grad.numpy()
    assert grad[0, 1] > 0 > grad[1, 1]
    assert np.abs(grad[2]).max() < 1e-6


def test_doubles_are_merged_and_the_empty_dropped():
    view = bare_view([(20, 20), (44, 50)])
    places = np.array([[20.2, 20.1], [19.5, 20.6], [44.0, 50.0], [50.0, 15.0]])
    coordinates = learned(view, places, blurs=(0.0,), repulsion=0.0)
    verdict = adapt.judge(coordinates, fit_activity(Level.of(view, blur=0.0, device="cpu"), coordinates), view.inside)
    assert verdict.merged[:2].sum() == 1
    assert not verdict.merged[2:].any()
    assert not verdict.dropped[:3].any()
    outside = np.ones(view.inside.shape, dtype=bool)
    outside[40:] = False
    verdict = adapt.judge(coordinates, fit_activity(Level.of(view, blur=0.0, device="cpu"), coordinates), outside)
    assert verdict.dropped[2:].all()


def test_new_places_are_peaks_away_from_what_was_tried():
    score = np.zeros((40, 50))
    score[10, 10], score[12, 12], score[30, 40], score[30, 20] = 3, 2, 2.5, 1
    found = adapt.new_places(score, np.zeros((0, 2)), diameter_px=DIAMETER, threshold=1.5)
    assert found.tolist() == [[10, 10], [30, 40]]
    assert adapt.new_places(score, np.array([[29.5, 40.5]]), diameter_px=DIAMETER, threshold=1.5).tolist() == [[10, 10]]


def test_movement_is_taken_out_and_cells_are_left():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :72]
    mean = (400 - 150 * np.exp(-((y - x - 4) ** 2) / 18)).astype(np.float32)  # a vessel, right beside the cell
    view = bare_view([(20, 24)])
    noise, share = np.sqrt(mean), np.ones_like(mean)
    wobble = Wobble(mean, share, noise, view.inside, diameter_px=DIAMETER)
    steps = 0.5 * rng.standard_normal((120, 2))
    moved = np.stack([ndimage.shift(mean, step, mode="nearest", order=3) for step in steps]) - mean
    blur = Blur((64, 72), DIAMETER)
    movement = np.stack([(frame - blur(frame)) / noise for frame in moved]).astype(np.float32)
    centre = (slice(None), slice(14, 27), slice(18, 31))
    clean = view.whitened[centre].mean(axis=(1, 2))
    for known, most in ((False, 0.08), (True, 0.03)):
        movie = view.whitened + movement
        wobble.subtract(movie, bare_view([]).whitened + movement if known else movie)
        assert np.std((movie - view.whitened)[:, 4:-4, 4:-4]) < 0.35 * np.std(movement[:, 4:-4, 4:-4])
        course = movie[centre].mean(axis=(1, 2))
        assert np.corrcoef(course, clean)[0, 1] > 0.995
        assert np.polyfit(clean, course, 1)[0] == pytest.approx(1, abs=most)


def test_coordinates_from_random_starts_find_the_cells(simulation, found):
    cells = found.accepted()
    points = metrics.match_points(cells.footprints.centroids, simulation.footprints.centroids, max_distance_px=5)
    matching = metrics.match_footprints(cells.footprints, simulation.footprints)
    assert min(points.f1, matching.f1) > 0.85
    assert matching.scores.mean() > 0.8
    assert metrics.trace_correlation(cells.traces, simulation.calcium, matching).matched > 0.9
    assert found.extras["diameter_px"] == pytest.approx(12, rel=0.25)


def test_the_path_leads_from_the_start_to_the_cells(found):
    path, ids = found.extras["path"], found.extras["path_ids"]
    assert path.shape[0] == len(found.extras["path_stage"]) == len(found.extras["explained"])
    assert path.shape[1] == len(ids)
    assert sorted(ids[ids >= 0].tolist()) == found.footprints.ids.tolist()
    exists = np.isfinite(path[..., 0])
    for column in exists.T:  # from birth to death without a break
        assert np.abs(np.diff(column.astype(int))).sum() <= 2
    ends = path[-1, ids >= 0][np.argsort(ids[ids >= 0])]
    inside = ((ends > 8) & (ends < np.array(found.footprints.shape) - 9)).all(axis=1)
    assert np.abs(ends - found.footprints.centroids)[inside].max() < 0.6
    assert found.extras["path_stage"][:2] == ["start", "blur 0.6"]
    assert found.extras["path_stage"][-1] == "end"
    assert found.extras["explained"][-1] > 2 * found.extras["explained"][0]
    assert found.funnel["n"].iloc[-2] == len(found.scores)
    assert found.funnel["n"].iloc[-1] == found.scores["accepted"].sum()


def test_same_seed_same_cells_whatever_the_memory(simulation, found):
    with limit_memory(0.02):
        again = one_photon.detect(simulation.movie, config=CoordinatesConfig(start="random"), seed=1)
    assert np.allclose(again.footprints.centroids, found.footprints.centroids, atol=1e-3)
    assert np.allclose(again.scores["confidence"], found.scores["confidence"], atol=1e-3)
    assert np.allclose(again.traces.values, found.traces.values, rtol=1e-3, atol=1e-2 * found.traces.values.std())


def test_seeds_and_limits(simulation):
    config = CoordinatesConfig(max_cells=3, diameter_px=12.0)
    limited = one_photon.detect(simulation.movie, config=config, bad_frames=np.arange(20), valid=(10, 100, 10, 110))
    assert limited.scores["accepted"].sum() == 3
    kept = limited.scores["confidence"][limited.scores["accepted"]].min()
    assert (limited.scores["confidence"][limited.scores["reason"] == "beyond max_cells"] <= kept).all()
    assert ((limited.footprints.centroids > 7) & (limited.footprints.centroids < (103, 113))).all()
    everything = one_photon.detect(simulation.movie, config=dataclasses.replace(config, max_cells=None, min_confidence=0.0))
    assert everything.scores["accepted"].all()


@pytest.mark.parametrize("start", ["seeds", "random"])
@pytest.mark.parametrize("shape", [(60, 31, 47), (1, 40, 40), (2, 9, 80), (30, 3, 3)])
def test_noise_of_odd_shapes_has_no_cells(shape, start):
    rng = np.random.default_rng(0)
    movie = Movie(rng.poisson(100, shape).astype(np.uint16), fs=10.0)
    found = one_photon.detect(movie, config=CoordinatesConfig(start=start))
    assert found.scores["accepted"].sum() <= 1
    assert found.traces.values.shape == (len(found.scores), shape[0])


@pytest.mark.parametrize("start", ["seeds", "random"])
def test_a_constant_movie_has_no_cells(start):
    found = one_photon.detect(Movie(np.full((50, 40, 44), 7, np.uint16), fs=10.0), config=CoordinatesConfig(start=start))
    assert not found.scores["accepted"].any()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"diameter_px": 0}, "diameter_px"), ({"n_rounds": 0}, "n_rounds"), ({"start": "grid"}, "start"),
        ({"blur_levels": (1.0,)}, "blur_levels"), ({"blur_levels": ()}, "blur_levels"), ({"repulsion": -1}, "repulsion"),
        ({"min_confidence": 2}, "min_confidence"),
    ],
)  # fmt: skip
def test_bad_parameters_are_named(changes, name):
    with pytest.raises(ValueError, match=name):
        CoordinatesConfig(**changes)


def test_too_many_bad_frames():
    with pytest.raises(ValueError, match="bad_frames"):
        one_photon.detect(Movie(np.ones((3, 20, 20)), fs=1.0), bad_frames=np.arange(3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_cuda_finds_the_same(simulation, found):
    again = one_photon.detect(simulation.movie, config=CoordinatesConfig(start="random"), seed=1, device="cuda")
    assert np.allclose(again.accepted().footprints.centroids, found.accepted().footprints.centroids, atol=0.05)


def test_windows_stay_inside_small_frames():
    scene = Scene(torch.zeros(9, 80), torch.ones(9, 80), DIAMETER, 1)
    shape = window_shape(DIAMETER, 0.0, scene)
    corners = window_corners(torch.tensor([[-3.0, 2.0], [8.0, 79.0]]), shape, scene)
    assert shape[0] == 9
    assert corners.tolist() == [[0, 0], [0, 80 - shape[1]]]
    assert set(SHAPE) < set(dict(Coordinates(np.zeros((1, 2)), diameter_px=1.0).named_parameters()))
