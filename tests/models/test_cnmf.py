"""Detection by matrix factorisation: true cells found, none made up, and nothing ordinary (one frame, no cell) an error."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
from scipy import optimize, signal, sparse

from calcium_helpers import metrics, simulate
from calcium_helpers.containers import Footprints, Movie, Traces
from calcium_helpers.models import cnmf
from calcium_helpers.models.cnmf import CNMFConfig, refine
from calcium_helpers.models.cnmf.demix import demix

BRIGHT = simulate.TwoPhotonConfig(
    n_frames=400, height=96, width=96, fs=10.0, n_cells=8, min_distance_px=16.0, baseline_photons=20.0, tissue_photons=14.0,
    neuropil=0.05, dff_per_spike=0.5, rate_hz=(0.2, 0.8), motion_px=1e-6, field_px=1e-6,
)  # fmt: skip
CENTRES = [(12, 12), (12, 40), (34, 14), (36, 46)]
SHAPE = (48, 60)


class Scene(NamedTuple):
    movie: Movie
    footprints: Footprints
    calcium: Traces


def draw(centres=CENTRES, *, shape=SHAPE, n_frames=300, radius=5.0, peak=20.0, background=20.0, seed=0):
    """Discs with soft edges, each with its own transients, on a flat background, with Poisson noise; fs 10 Hz."""
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[: shape[0], : shape[1]]
    distance = np.array([np.hypot(y - v, x - u) for v, u in centres])
    profiles = 1 / (1 + np.exp((distance - radius) / 0.5))
    spikes = rng.uniform(size=(len(centres), n_frames)) < 0.03
    calcium = signal.lfilter([1], [1, -np.exp(-0.1 / 0.5)], spikes, axis=1)
    light = background + peak * np.einsum("nt,nhw->thw", calcium, profiles)
    footprints = Footprints.from_images(np.where(distance <= radius, profiles, 0))
    return Scene(Movie(rng.poisson(light).astype(np.uint16), fs=10.0), footprints, Traces(calcium, 10.0, "dff"))


def match(detection, truth, iou=0.5):
    return metrics.match_footprints(detection.accepted().footprints, truth.footprints, iou=iou)


def assert_same_cells(first, second, *, iou=0.9):
    """Equal decisions, and each cell of one lies on a cell of the other."""
    assert first.scores["accepted"].tolist() == second.scores["accepted"].tolist()
    assert metrics.match_footprints(first.footprints, second.footprints, iou=iou, truth_level=0.2).f1 == 1.0


@pytest.fixture(scope="module")
def scene():
    return draw()


@pytest.fixture(scope="module")
def found(scene):
    return cnmf.detect(scene.movie)


@pytest.mark.parametrize("seed", range(3))
def test_finds_simulated_cells_and_follows_them(seed):
    truth = simulate.two_photon(BRIGHT, seed=seed)
    detection = cnmf.detect(truth.movie)
    matching = match(detection, truth)
    assert matching.f1 >= 0.85
    assert matching.precision >= 0.85
    correlation = metrics.trace_correlation(detection.accepted().traces, truth.calcium, matching)
    assert correlation.matched >= 0.92
    true_diameter = 2 * np.sqrt(np.median(truth.footprints.area_px) / np.pi)
    assert 0.75 * true_diameter < detection.extras["diameter_px"] < 1.4 * true_diameter


def test_finds_discs_without_the_simulator(scene, found):
    matching = match(found, scene)
    assert matching.f1 == 1.0
    assert matching.scores.min() > 0.6
    assert metrics.trace_correlation(found.accepted().traces, scene.calcium, matching).per_cell.min() > 0.95
    distance = found.accepted().footprints.centroids[matching.pairs[:, 0]] - CENTRES
    assert np.abs(distance).max() < 0.9
    assert (found.traces.fs, found.traces.kind) == (10.0, "raw")


def test_traces_are_in_counts(scene, found):
    matching = match(found, scene)
    frames = scene.movie.data.reshape(300, -1).astype(float)
    for row, true in matching.pairs:
        weights = found.accepted().footprints.weights[row].toarray()[0]
        averaged = frames @ weights / weights.sum()
        slope = np.polyfit(averaged, found.accepted().traces.values[row], 1)[0]
        assert slope == pytest.approx(1, abs=0.1), true


def test_scores_and_tables_fit_one_another(scene, found):
    n = len(found.footprints)
    assert found.traces.values.shape == (n, 300)
    assert found.scores.columns.tolist() == ["accepted", "reason", "snr", "contrast", "consistency", "compactness", "area_px"]
    assert found.scores.index.tolist() == found.footprints.ids.tolist()
    assert found.scores["area_px"].tolist() == found.footprints.area_px.tolist()
    assert ((found.scores["reason"] == "") == found.scores["accepted"]).all()
    spatial, temporal = found.background
    assert spatial.shape[1:] == scene.movie.shape[1:]
    assert temporal.shape == (len(spatial), 300)
    rebuilt = np.tensordot(temporal.T, spatial, axes=1).mean(axis=0)
    assert np.median(rebuilt) == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize("config", [CNMFConfig(), CNMFConfig(min_snr=25.0, max_cells=1), CNMFConfig(seed_threshold=0.5)])
def test_the_funnel_adds_up(scene, config):
    detection = cnmf.detect(scene.movie, config=config)
    counts = dict(zip(detection.funnel["stage"], detection.funnel["n"], strict=True))
    assert list(counts) == ["places tried", "seeded", "merged", "refined", "kept"]
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    assert counts["refined"] == len(detection.scores)
    assert counts["kept"] == detection.scores["accepted"].sum() == len(detection.accepted().footprints)
    lost = -np.diff(detection.funnel["n"])[:-1]
    assert [int(why.split()[0]) for why in detection.funnel["why"][1:-1]] == lost.tolist()
    reasons = detection.scores.loc[~detection.scores["accepted"], "reason"].value_counts()
    for reason, n in reasons.items():
        assert f"{n} {reason}" in detection.funnel["why"].iloc[-1]
    assert counts["refined"] - counts["kept"] == reasons.sum()


NOISE = [(kind, seed) for kind in ("Poisson", "Gaussian", "textured") for seed in range(8)]


@pytest.mark.parametrize(("kind", "seed"), NOISE)
def test_no_cell_in_noise(kind, seed):
    rng = np.random.default_rng(seed)
    if kind == "Gaussian":
        frames = rng.normal(100, 10, (300, 64, 64)).astype(np.float32)
    else:
        light = 5.0 if kind == "Poisson" else 2 + 30 * rng.uniform(size=(64, 64)) ** 2
        frames = rng.poisson(light, (300, 64, 64)).astype(np.uint16)
    detection = cnmf.detect(Movie(frames, fs=10))
    assert not detection.scores["accepted"].any()
    assert detection.funnel["n"].iloc[-1] == 0
    assert len(detection.accepted().footprints) == len(detection.accepted().traces) == 0


@pytest.mark.parametrize("shape", [(1, 48, 60), (1, 1, 1), (2, 3, 3), (50, 8, 8), (40, 1, 30), (200, 33, 47), (3, 20, 20)])
@pytest.mark.parametrize("constant", [True, False])
def test_small_and_empty_movies_give_no_cells(shape, constant):
    frames = np.full(shape, 7) if constant else np.random.default_rng(0).poisson(20, shape)
    detection = cnmf.detect(Movie(frames.astype(np.uint16), fs=10))
    assert not detection.scores["accepted"].any()
    assert detection.traces.values.shape == (len(detection.footprints), shape[0])
    assert detection.extras["diameter_px"] > 0
    assert all(np.isfinite(part).all() for part in detection.background)


def test_odd_shapes_keep_rows_and_columns_apart():
    scene = draw([(9, 35), (23, 12)], shape=(33, 47))
    matching = match(cnmf.detect(scene.movie), scene)
    assert matching.f1 == 1.0


def test_silent_cells_are_not_activity():
    scene = draw()
    still = scene.movie.data[:1].repeat(300, axis=0) + np.random.default_rng(0).poisson(9, scene.movie.shape)
    assert not cnmf.detect(Movie(still.astype(np.uint16), fs=10)).scores["accepted"].any()


@pytest.mark.parametrize("n", [1, 2, 10])
def test_max_cells_keeps_the_best(scene, found, n):
    detection = cnmf.detect(scene.movie, config=CNMFConfig(max_cells=n))
    kept = detection.scores[detection.scores["accepted"]]
    assert kept["snr"].tolist() == found.scores["snr"].sort_values(ascending=False)[:n].sort_index().tolist()
    assert (detection.scores["reason"] == "beyond max_cells").sum() == max(0, 4 - n)


def test_min_snr_and_consistency_reject(scene):
    for changes, reason in (({"min_snr": 1e3}, "low SNR"), ({"min_consistency": 1.0}, "not found again in both halves")):
        scores = cnmf.detect(scene.movie, config=CNMFConfig(**changes)).scores
        assert set(scores["reason"]) == {reason}
        assert not scores["accepted"].any()


@pytest.mark.parametrize("radius", [3.5, 5.0, 7.0])
def test_the_diameter_is_estimated_or_taken_as_set(radius):
    scene = draw([(14, 14), (14, 46), (46, 14), (46, 46)], shape=(60, 60), radius=radius)
    assert cnmf.detect(scene.movie).extras["diameter_px"] == pytest.approx(2 * radius, rel=0.35)
    detection = cnmf.detect(scene.movie, config=CNMFConfig(diameter_px=2 * radius))
    assert detection.extras["diameter_px"] == 2 * radius
    assert match(detection, scene).f1 == 1.0


def test_a_wrong_diameter_loses_cells(scene):
    assert match(cnmf.detect(scene.movie, config=CNMFConfig(diameter_px=30.0)), scene).recall < 1


@pytest.mark.parametrize("distance", [7, 8])
def test_overlapping_cells_with_their_own_activity_are_both_found(distance):
    scene = draw([(24, 24), (24, 24 + distance), (10, 50)], n_frames=500, seed=1)
    assert np.diff(scene.footprints.masks.multiply(1).sum(axis=0)).any()
    detection = cnmf.detect(scene.movie)
    matching = match(detection, scene, iou=0.4)
    assert matching.recall == 1.0
    correlation = metrics.trace_correlation(detection.accepted().traces, scene.calcium, matching).per_cell
    assert correlation.min() > 0.85
    cross = np.corrcoef(detection.accepted().traces.values[matching.pairs[:2, 0]])[0, 1]
    assert abs(cross) < np.corrcoef(scene.calcium.values[:2])[0, 1] + 0.3


def components(scene, rows=slice(None)):
    images = scene.footprints.weights[rows]
    norm = sparse.diags(1 / np.sqrt(np.asarray(images.multiply(images).sum(axis=1)).ravel()))
    return refine.Components(sparse.csr_matrix(norm @ images, dtype=np.float32), scene.calcium.values[rows])


def test_a_cell_seeded_twice_is_merged(scene):
    whitened = scene.movie.data.astype(np.float32) - 20
    merged = refine.merge(whitened, components(scene, [0, 1, 0, 2, 3, 1]), correlation=0.8)
    assert len(merged.traces) == 4
    expected = components(scene).footprints.toarray()
    overlap = merged.footprints.toarray() @ expected.T
    np.testing.assert_allclose(np.sort(overlap.max(axis=1)), 1, atol=1e-5)
    for trace, row in zip(merged.traces, overlap.argmax(axis=1), strict=True):
        assert np.corrcoef(trace, scene.calcium.values[row])[0, 1] > 0.95


def test_merging_needs_overlap_and_correlation(scene):
    whitened = scene.movie.data.astype(np.float32) - 20
    apart = components(scene, [0, 1])
    same_trace = apart._replace(traces=apart.traces[[0, 0]])
    assert refine.merge(whitened, same_trace, correlation=0.8) is same_trace
    on_top = refine.Components(apart.footprints[[0, 0]], apart.traces)
    assert refine.merge(whitened, on_top, correlation=0.8) is on_top
    assert len(refine.merge(whitened, on_top, correlation=-1.0).traces) == 1
    for n in (0, 1):
        few = apart.select(np.arange(n))
        assert refine.merge(whitened, few, correlation=0.8) is few


@pytest.mark.parametrize("seed", range(4))
def test_hals_against_nnls(seed):
    rng = np.random.default_rng(seed)
    design, data = rng.normal(size=(40, 5)) + 0.5, rng.normal(size=(40, 12))
    expected = np.stack([optimize.nnls(design, column)[0] for column in data.T], axis=1)
    start = rng.uniform(size=(5, 12)).astype(np.float32)
    solved = refine.hals(design.T @ design, design.T @ data, start, n_sweeps=400)
    np.testing.assert_allclose(solved, expected, atol=2e-4)
    assert (expected == 0).any()
    assert solved.min() >= 0
    assert refine.hals(np.zeros((0, 0)), np.zeros((0, 12)), np.zeros((0, 12)), n_sweeps=3).shape == (0, 12)


def test_hals_never_makes_the_fit_worse():
    rng = np.random.default_rng(0)
    design, data = rng.uniform(size=(30, 6)), rng.uniform(size=(30, 8))
    x = np.zeros((6, 8), np.float32)
    errors = [np.linalg.norm(data - design @ x)]
    for _ in range(10):
        x = refine.hals(design.T @ design, design.T @ data, x, n_sweeps=1)
        errors.append(np.linalg.norm(data - design @ x))
    assert (np.diff(errors) <= 1e-4).all()
    assert errors[-1] < errors[0]


def test_demixing_against_least_squares():
    scene = draw([(12, 12), (12, 19)], shape=(24, 32), n_frames=20)
    rng = np.random.default_rng(0)
    mean, noise = scene.movie.data.mean(axis=0), rng.uniform(1, 3, (24, 32)).astype(np.float32)
    demixed = demix(scene.movie, scene.footprints, mean, noise, spacing_px=15.0)
    images = scene.footprints.weights.toarray()
    cells = images * (images.sum(axis=1) / (images**2).sum(axis=1))[:, None]
    basis = np.vstack([cells, demixed.spatial.reshape(len(demixed.spatial), -1)]) / noise.ravel()
    frames = scene.movie.data.reshape(20, -1) / noise.ravel()
    expected = np.linalg.lstsq(basis.T, frames.T, rcond=None)[0]
    np.testing.assert_allclose(demixed.traces, expected[:2], atol=0.02 * np.abs(expected[:2]).max())
    np.testing.assert_allclose(demixed.spatial.sum(axis=0), mean, rtol=1e-4)  # together the bumps are the mean image


def test_bad_frames_are_not_looked_at(scene, found):
    bad = np.array([0, 50, 51, 52, 53, 200, 299])
    frames = scene.movie.data.copy()
    frames[bad] = 0
    clean = cnmf.detect(scene.movie.replace(data=frames), bad_frames=bad)
    frames[bad, 20:30, 20:30] = 60_000
    spoiled = cnmf.detect(scene.movie.replace(data=frames), bad_frames=bad)
    cut = cnmf.detect(scene.movie.replace(data=np.delete(frames, bad, axis=0)))
    for other in (spoiled, cut):
        np.testing.assert_array_equal(other.footprints.weights.toarray(), clean.footprints.weights.toarray())
        assert other.scores.equals(clean.scores)
    assert clean.traces.n_frames == spoiled.traces.n_frames == 300
    good = np.delete(np.arange(300), bad)
    np.testing.assert_array_equal(spoiled.traces.values[:, good], clean.traces.values[:, good])
    assert match(clean, scene).f1 == 1.0
    looked_at = cnmf.detect(scene.movie.replace(data=frames))
    assert not np.array_equal(looked_at.footprints.weights.toarray(), clean.footprints.weights.toarray())
    with pytest.raises(ValueError, match="bad_frames must leave at least one of 300 frames, got 300"):
        cnmf.detect(scene.movie, bad_frames=np.arange(300))


def test_cells_outside_the_valid_rectangle_are_left_out(scene):
    detection = cnmf.detect(scene.movie, valid=(0, 48, 0, 30))
    centres = detection.accepted().footprints.centroids
    assert len(centres) == 2
    assert centres[:, 1].max() < 30


def test_the_same_twice(scene, found):
    again = cnmf.detect(scene.movie)
    np.testing.assert_array_equal(again.footprints.weights.toarray(), found.footprints.weights.toarray())
    np.testing.assert_array_equal(again.traces.values, found.traces.values)
    assert again.scores.equals(found.scores)
    assert again.funnel.equals(found.funnel)


def test_progress_changes_nothing_and_shows(scene, found, capsys):
    again = cnmf.detect(scene.movie, progress=True)
    np.testing.assert_array_equal(again.traces.values, found.traces.values)
    shown = capsys.readouterr().err
    assert all(word in shown for word in ("preparing detection", "seeds", "demixing"))


@pytest.mark.parametrize(("gain", "offset"), [(4.0, 0.0), (0.01, 0.0), (1.0, 500.0), (20.0, -300.0)])
def test_gain_and_offset_do_not_matter(scene, found, gain, offset):
    frames = scene.movie.data.astype(np.float32) * np.float32(gain) + np.float32(offset)
    detection = cnmf.detect(scene.movie.replace(data=frames))
    assert_same_cells(detection, found)
    matching = metrics.match_footprints(detection.footprints, found.footprints, truth_level=0.2)
    for a, b in matching.pairs:
        assert np.corrcoef(detection.traces.values[a], found.traces.values[b])[0, 1] > 0.99
        slope = np.polyfit(found.traces.values[b], detection.traces.values[a], 1)[0]
        assert slope == pytest.approx(gain, rel=0.05)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_any_dtype_gives_the_same(scene, found, dtype):
    assert scene.movie.data.max() < 256
    detection = cnmf.detect(scene.movie.replace(data=scene.movie.data.astype(dtype)))
    np.testing.assert_array_equal(detection.footprints.weights.toarray(), found.footprints.weights.toarray())
    np.testing.assert_array_equal(detection.traces.values, found.traces.values)


def test_lazy_frames_in_small_chunks_give_the_same(scene, found, monkeypatch):
    class Lazy:
        shape, dtype = scene.movie.data.shape, scene.movie.data.dtype

        def __getitem__(self, key):
            assert isinstance(key, slice)
            return scene.movie.data[key]

    monkeypatch.setattr("calcium_helpers.movie.CHUNK_BYTES", 4 * 48 * 60 * 7)
    detection = cnmf.detect(Movie(Lazy(), fs=10.0))
    np.testing.assert_array_equal(detection.footprints.weights.toarray(), found.footprints.weights.toarray())
    np.testing.assert_allclose(detection.traces.values, found.traces.values, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("turn", [lambda a: a[..., ::-1], lambda a: a[..., ::-1, :], lambda a: a.swapaxes(-1, -2)])
def test_a_mirrored_movie_gives_mirrored_cells(scene, found, turn):
    detection = cnmf.detect(scene.movie.replace(data=np.ascontiguousarray(turn(scene.movie.data))))
    images = np.stack([turn(found.footprints.image(row)) for row in range(len(found.footprints))])
    mirrored = found._replace(footprints=Footprints.from_images(images))
    assert_same_cells(detection, mirrored, iou=0.8)


@pytest.mark.parametrize("name", ["diameter_px", "decay_s", "highpass_s", "max_cells", "n_iterations"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_the_configuration_refuses(name, value):
    with pytest.raises(ValueError, match=f"{name} must be above 0, got {value}"):
        CNMFConfig(**{name: value})


def test_the_configuration_refuses_what_is_no_correlation():
    for name in ("min_consistency", "merge_correlation"):
        with pytest.raises(ValueError, match=f"{name}.*must lie in -1..1"):
            dataclasses.replace(CNMFConfig(), **{name: 1.5})


@pytest.mark.filterwarnings("error")
def test_a_field_that_flickers_as_one_has_no_cell():
    course = 100 + 10 * np.random.default_rng(0).normal(size=200)
    detection = cnmf.detect(Movie(np.broadcast_to(course[:, None, None], (200, 40, 44)).astype(np.float32), fs=10))
    assert not detection.scores["accepted"].any()
