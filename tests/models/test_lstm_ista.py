import itertools

import numpy as np
import pytest
import torch
from scipy import sparse

from calcium_helpers import metrics
from calcium_helpers.containers import Footprints, Movie, Traces
from calcium_helpers.models import lstm_ista
from calcium_helpers.models._base import save_model
from calcium_helpers.models.lstm_ista import (
    LSTMISTA,
    ISTABlock,
    LossWeights,
    LSTMISTAConfig,
    NetworkConfig,
    TrainConfig,
    draw_field,
    loss_parts,
    lstm_ista_loss,
    match_slots,
    matching_cost,
    soft_threshold,
    tile_batches,
)
from calcium_helpers.models.lstm_ista.clean import clean_traces
from calcium_helpers.models.lstm_ista.fields import Batch
from calcium_helpers.models.lstm_ista.losses import FAR_COST, windows_of
from calcium_helpers.models.lstm_ista.network import SPACING, WINDOW
from calcium_helpers.models.lstm_ista.search import _without_fragments
from calcium_helpers.models.lstm_ista.slots import Slots, one_a_cell
from calcium_helpers.models.lstm_ista.tiles import active_bins, average_bins, find_slots
from calcium_helpers.models.lstm_ista.trace_head import trace_batches, trace_loss
from calcium_helpers.models.lstm_ista.training import _find
from calcium_helpers.models.lstm_ista.zoom import Zoom, zoom_factor
from calcium_helpers.simulate import TwoPhotonConfig
from calcium_helpers.simulate import two_photon as simulate
from calcium_helpers.training import FitConfig, fit

SMALL = NetworkConfig(n_blocks=2, filters=4, hidden=6, looks=2, head=6)
TILES = TrainConfig(n_bins=40, batch=2, network=SMALL)


@pytest.fixture(scope="module")
def fields():
    return [draw_field([5, number]) for number in range(3)]


@pytest.fixture
def batch(fields):
    return tile_batches(fields, TILES)(np.random.default_rng(1))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return LSTMISTA(SMALL)


def test_soft_threshold_is_the_proximal_step_of_the_absolute_value():
    x = torch.linspace(-2, 2, 81)
    grid = torch.linspace(-3, 3, 6001)
    best = grid[(0.5 * (grid - x[:, None]) ** 2 + 0.7 * grid.abs()).argmin(dim=1)]
    torch.testing.assert_close(soft_threshold(x, 0.7), best, atol=2e-3, rtol=0)


def test_a_block_is_an_iteration_of_ista():
    torch.manual_seed(1)
    block, y, x = ISTABlock(4), torch.randn(3, 1, 9, 11), torch.randn(3, 1, 9, 11)
    r = x + block.step * (y - x)
    code = block.forward_transform(r)
    threshold = torch.nn.functional.softplus(block.threshold)
    shrunk = torch.where(code.abs() > threshold, code - code.sign() * threshold, 0)
    torch.testing.assert_close(block(x, y)[0], block.inverse_transform(shrunk))


@pytest.mark.parametrize("shape", [(1, 1, 5, 7), (2, 3, 33, 40), (1, 17, 64, 29)])
def test_any_number_of_frames_rows_and_columns_will_do(network, shape):
    output = network(torch.randn(shape))
    n_slots = -(-shape[2] // SPACING) * -(-shape[3] // SPACING)
    assert output.denoised.shape == shape
    assert output.attention.shape == (shape[0], *shape[2:])
    assert output.footprints.shape == (shape[0], n_slots, WINDOW, WINDOW)
    assert output.presence.shape == (shape[0], n_slots)
    assert output.activity.shape == (shape[0], n_slots, shape[1])


def test_slots_look_at_the_movie_where_their_window_lies(network):
    """What a slot sees is a plain weighted sum over time of the pixels of its window."""
    movie = torch.randn(2, 12, 24, 32)
    seen = network._watch(movie)
    images = network._look(seen.looks, movie[:, :, None])
    margin = (WINDOW - SPACING) // 2
    padded = torch.nn.functional.pad(movie, (margin,) * 4)
    for tile, row, column, look in [(0, 0, 0, 0), (1, 2, 5, 1), (0, 5, 7, 1)]:
        course = seen.looks[tile, :, look, row, column]
        window = padded[tile, :, row * SPACING : row * SPACING + WINDOW, column * SPACING : column * SPACING + WINDOW]
        expected = torch.einsum("t,thw->hw", course / course.norm(), window)
        torch.testing.assert_close(images[tile, row * 8 + column, look], expected, atol=1e-4, rtol=1e-4)


def test_frames_in_pieces_give_what_they_give_together(network, monkeypatch):
    movie = 3 * torch.randn(2, 23, 24, 20)
    together = network(movie)
    monkeypatch.setattr("calcium_helpers.models.lstm_ista.network.CACHED_PX", 2 * 24 * 20 * 5)
    with torch.no_grad():
        pieces = network(movie)
    for name in ("denoised", "attention", "presence", "footprints", "activity"):
        torch.testing.assert_close(getattr(pieces, name), getattr(together, name), atol=1e-4, rtol=1e-4)


def test_gradients_reach_every_parameter(network, batch, fields):
    lstm_ista_loss()(network, batch).backward()
    trace_loss()(network.trace_head, trace_batches([field.calcium for field in fields], 4)(np.random.default_rng(0))).backward()
    without = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert not without


@pytest.mark.parametrize("config", [SMALL, NetworkConfig(n_blocks=0, recurrent=False, filters=2, hidden=4, looks=1, head=4)])
def test_a_saved_network_predicts_the_same(tmp_path, config):
    model = LSTMISTA(config).eval()
    save_model(model, tmp_path / "net")
    again = lstm_ista.load_lstm_ista(tmp_path / "net")
    movie = torch.randn(1, 6, 20, 24)
    with torch.no_grad():
        for one, other in zip(model(movie), again(movie), strict=True):
            torch.testing.assert_close(one, other)
    assert again.config == config


def test_a_field_is_its_cells_and_noise(fields):
    for field in fields:
        clean = np.einsum("kt,khw->thw", field.courses, field.profiles.astype(np.float32), optimize=True)
        left = field.movie.astype(np.float32) - clean
        assert left.std() == pytest.approx(1, abs=0.35)  # glow and registration leave something
        power, noise = (clean**2).mean(), (left**2).mean()
        assert ((field.movie.astype(np.float32)) ** 2).mean() == pytest.approx(power + noise, rel=0.15)
        assert np.abs(np.median(field.movie, axis=0)).max() < 0.05


def test_fields_and_batches_repeat_with_their_seed(fields, batch):
    np.testing.assert_array_equal(draw_field([5, 0]).movie, fields[0].movie)
    for one, other in zip(batch, tile_batches(fields, TILES)(np.random.default_rng(1)), strict=True):
        torch.testing.assert_close(one, other)


def test_silent_cells_have_no_weight_and_loud_ones_have(fields):
    silent = fields[0]._replace(courses=np.zeros_like(fields[0].courses))
    draw = tile_batches([silent], TILES)
    assert all(draw(np.random.default_rng(seed)).weight.abs().max() == 0 for seed in range(5))
    loud = fields[0]._replace(courses=100 * np.maximum(fields[0].courses, 0))
    weights = torch.cat([tile_batches([loud], TILES)(np.random.default_rng(seed)).weight.flatten() for seed in range(5)])
    assert (weights == 1).sum() > 5


def test_the_order_of_cells_does_not_matter(network, fields):
    batch = tile_batches(fields[:1], TILES)(np.random.default_rng(3))
    order = torch.randperm(batch.masks.shape[1], generator=torch.Generator().manual_seed(0))
    shuffled = batch._replace(masks=batch.masks[:, order], weight=batch.weight[:, order])
    with torch.no_grad():
        one, other = (loss_parts(network, each) for each in (batch, shuffled))
    assert set(one) <= set(LossWeights.__dataclass_fields__)
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=1e-5, rtol=1e-4)


def test_matching_costs_least_of_all_ways(network, fields):
    """Against every way of giving four cells their slots, each among its nearest eight."""
    batch = tile_batches(fields[:1], TILES)(np.random.default_rng(3))
    output = network(batch.movie)
    pairs = match_slots(output, batch)
    tile = 0
    cells = torch.nonzero(batch.weight[tile].abs() > 0.05)[:, 0][:4]
    one = batch._replace(weight=torch.zeros_like(batch.weight).index_put((torch.tensor(tile), cells), torch.tensor(1.0)))
    pairs = match_slots(output, one)
    cost = matching_cost(output, batch.masks[tile, cells], tile).detach().numpy()
    near = [np.argsort(cost[:, k])[:8] for k in range(len(cells))]
    ways = [sum(cost[s, k] for k, s in enumerate(way)) for way in itertools.product(*near) if len(set(way)) == len(cells)]
    matched = {int(cell): int(slot) for cell, slot in zip(pairs.cell, pairs.slot, strict=True)}
    total = sum(cost[matched[int(cell)], k] if int(cell) in matched else FAR_COST for k, cell in enumerate(cells))
    assert total == pytest.approx(min(ways), rel=1e-5)


def test_windows_of_images_lie_at_their_corners():
    image = torch.arange(40 * 36, dtype=torch.float32).reshape(1, 40, 36) + 1
    corners = torch.tensor([[0, 0], [-5, 3], [30, 20]])
    cut = windows_of(image, corners)[0]
    torch.testing.assert_close(cut[0], image[0, :WINDOW, :WINDOW])
    assert (cut[1, :5] == 0).all()
    torch.testing.assert_close(cut[1, 5:], image[0, : WINDOW - 5, 3 : 3 + WINDOW])
    torch.testing.assert_close(cut[2, :10, :16], image[0, 30:, 20:])
    assert (cut[2, 10:] == 0).all()


def test_training_lowers_the_loss(fields):
    torch.manual_seed(0)
    model = LSTMISTA(SMALL)
    draw = tile_batches(fields, TILES)
    tests = [draw(np.random.default_rng(1000 + seed)) for seed in range(4)]

    def total() -> float:
        with torch.no_grad():
            return float(sum(lstm_ista_loss()(model, each) for each in tests))

    before = total()
    fit(model, draw, lstm_ista_loss(), config=FitConfig(steps=25, every=25, learning_rate=5e-3))
    assert total() < 0.85 * before


def test_an_empty_field_can_be_trained_on(network, fields):
    empty = fields[0]._replace(
        profiles=np.zeros((0, *fields[0].masks.shape[1:]), np.float16), masks=np.zeros((0, *fields[0].masks.shape[1:]), bool),
        courses=np.zeros((0, len(fields[0].movie)), np.float32), calcium=np.zeros((0, 300), np.float32),
    )  # fmt: skip
    value = lstm_ista_loss()(network, tile_batches([empty], TILES)(np.random.default_rng(0)))
    assert torch.isfinite(value)


def test_batches_are_tiles_of_the_field(fields):
    batch = tile_batches(fields, TILES)(np.random.default_rng(2))
    assert isinstance(batch, Batch)
    assert batch.movie.shape == batch.clean.shape == (2, 40, 32, 32)
    left = (batch.movie - batch.clean).square().mean().sqrt()
    assert 0.8 < left < 1.3
    inside = batch.masks.amax(dim=1) * 1.0
    assert (batch.active <= inside).all()
    assert (batch.clean.amax(dim=1)[inside == 0] == 0).all()


def test_rare_activity_is_among_the_bins_that_are_kept():
    rng = np.random.default_rng(0)
    movie = rng.standard_normal((900, 40, 48)).astype(np.float32)
    for time in range(0, 900, 2):  # a busy cell
        movie[time, 5:15, 5:15] += 3
    movie[[400, 401], 25:35, 30:40] += 1.5  # fires once, more weakly
    kept = active_bins(movie, 100)
    assert len(kept) == 100
    assert (np.diff(kept) > 0).all()
    assert {400, 401} <= set(kept.tolist())
    np.testing.assert_array_equal(active_bins(movie, 900), np.arange(900))


def test_averaged_bins_keep_the_unit_of_noise():
    movie = np.random.default_rng(0).standard_normal((107, 20, 20)).astype(np.float32)
    averaged = average_bins(movie, 4)
    assert len(averaged) == 27
    assert averaged.std() == pytest.approx(1, abs=0.03)
    np.testing.assert_array_equal(average_bins(movie, 1), movie)
    np.testing.assert_allclose(averaged[26], movie[104:].sum(axis=0) / np.sqrt(3), rtol=1e-4, atol=1e-5)


def test_tiles_give_what_the_whole_gives(network):
    """Up to what lies beyond the halo, of which hardly anything is seen."""
    torch.nn.init.constant_(network.draw.presence[2].bias, 0.0)
    movie = np.random.default_rng(0).standard_normal((12, 96, 104)).astype(np.float32)
    movie[4, 30:40, 50:60] += 20
    whole, parts = (find_slots(network, movie, LSTMISTAConfig(), core_px=size) for size in (200, 48))
    assert len(whole.slots.presence) > 100
    inside = np.abs(np.sort(whole.slots.presence) - np.sort(parts.slots.presence))
    assert inside.max() < 1e-3
    np.testing.assert_allclose(whole.attention, parts.attention, atol=1e-2)


def test_the_size_of_a_batch_changes_nothing(network):
    torch.nn.init.constant_(network.draw.presence[2].bias, 0.0)
    movie = np.random.default_rng(0).standard_normal((80, 64, 64)).astype(np.float32)
    found = [find_slots(network, movie, LSTMISTAConfig(max_bins=15), core_px=32, batch_size=n) for n in (1, 4)]
    order = [np.argsort(part.slots.presence) for part in found]
    np.testing.assert_allclose(*(part.slots.presence[by] for part, by in zip(found, order, strict=True)), atol=1e-5)
    np.testing.assert_allclose(found[0].attention, found[1].attention, atol=1e-5)


def test_slots_of_one_cell_become_one_and_of_two_stay_two():
    rng = np.random.default_rng(0)
    movie = rng.standard_normal((60, 30, 40)).astype(np.float32)
    y, x = np.mgrid[:30, :40]
    cells = [np.hypot(y - 15, x - centre) < 6 for centre in (12, 20)]
    courses = 6 * (rng.random((2, 60)) < 0.15)
    movie += sum(course[:, None, None] * cell for course, cell in zip(courses, cells, strict=True)).astype(np.float32)
    shifted = np.hypot(y - 15, x - 13) < 6
    rows = sparse.csr_matrix(np.stack([cells[0], shifted, cells[1]]).reshape(3, -1).astype(np.float32))
    assert one_a_cell(Slots(np.array([0.9, 0.95, 0.6]), rows), movie).tolist() == [1, 2]
    assert one_a_cell(Slots(np.zeros(0), rows[:0]), movie).tolist() == []


@pytest.mark.parametrize("factor", [0.5, 1.4])
def test_a_zoomed_footprint_is_drawn_back_where_it_was(factor):
    y, x = np.mgrid[:40, :52]
    disc = (np.hypot(y - 17.3, x - 30.1) < 8).astype(np.float32)
    zoom = Zoom.of(disc.shape, factor)
    larger = zoom.frames(disc[None])[0] * factor
    assert larger.shape == (round(40 * factor), round(52 * factor))
    assert larger.sum() == pytest.approx(disc.sum() * factor**2, rel=0.03)
    back = zoom.footprints(sparse.csr_matrix(larger.reshape(1, -1))).toarray().reshape(disc.shape)
    np.testing.assert_allclose(back, zoom.image(larger), atol=1e-5)
    overlap = ((back > 0.5) & (disc > 0)).sum() / ((back > 0.5) | (disc > 0)).sum()
    assert overlap > 0.85


def test_cells_stand_out_of_the_noise_as_far_when_zoomed():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((400, 40, 40)).astype(np.float32)
    y, x = np.mgrid[:40, :40]
    cell = np.exp(-((y - 20) ** 2 + (x - 20) ** 2) / (2 * 4.0**2)).astype(np.float32)
    for factor in (0.5, 1.5):
        zoom = Zoom.of(cell.shape, factor)
        drawn = zoom.frames(cell[None])[0]
        seen = np.einsum("thw,hw->t", zoom.frames(noise), drawn).std() / (drawn**2).sum() * np.sqrt((cell**2).sum())
        assert seen == pytest.approx(1, abs=0.25)  # sd of the noise where 1 is the cell
    assert zoom_factor(13.5) == 1
    assert zoom_factor(6.5) == pytest.approx(2)


def test_a_fragment_is_left_out_and_its_cell_stays():
    rng = np.random.default_rng(0)
    movie = rng.standard_normal((120, 30, 40)).astype(np.float32)
    y, x = np.mgrid[:30, :40]
    cell, other = np.hypot(y - 15, x - 12) < 6, np.hypot(y - 15, x - 21) < 6
    for mask in (cell, other):
        movie += (4 * (rng.random(120) < 0.1))[:, None, None] * mask
    fragment = (np.hypot(y - 18, x - 15) < 5) & ~other
    rows = sparse.csr_matrix(np.stack([cell, other, fragment]).reshape(3, -1).astype(np.float32))
    kept = _without_fragments(movie, Slots(np.array([0.9, 0.8, 0.7]), rows), 4.0)
    assert kept.presence.tolist() == [0.9, 0.8]


def test_scaling_a_trace_scales_the_clean_one(network):
    rng = np.random.default_rng(0)
    noisy = torch.from_numpy(rng.standard_normal((3, 200)).astype(np.float32)) + 5 * (torch.arange(200) % 50 < 8)
    one, ten = (network.trace_head(scale * noisy, scale * torch.ones(3)) for scale in (1.0, 10.0))
    torch.testing.assert_close(10 * one, ten, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(0, 50), (2, 1), (1, 7)])
def test_cleaning_takes_what_there_is(network, shape):
    clean = clean_traces(network, Traces(np.ones(shape, np.float32), 10.0, "raw"), decay_s=0.5)
    assert clean.values.shape == shape
    assert np.isfinite(clean.values).all()


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"min_confidence is a probability and must lie in 0..1, got 2"):
        LSTMISTAConfig(min_confidence=2)
    with pytest.raises(ValueError, match=r'reduction must be "active" or "mean", got \'max\''):
        LSTMISTAConfig(reduction="max")
    with pytest.raises(ValueError, match="max_bins must be above 0, got 0"):
        LSTMISTAConfig(max_bins=0)
    with pytest.raises(ValueError, match="n_blocks must be 0 or more, got -1"):
        NetworkConfig(n_blocks=-1)
    with pytest.raises(ValueError, match="profile must be one of cpu, gpu, got 'tpu'"):
        lstm_ista.train("nowhere", profile="tpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_what_the_processor_gives(network):
    movie = np.random.default_rng(0).standard_normal((20, 64, 64)).astype(np.float32)
    torch.nn.init.constant_(network.draw.presence[2].bias, 0.0)
    found = [find_slots(network, movie, LSTMISTAConfig(), device=device) for device in ("cpu", "cuda")]
    np.testing.assert_allclose(np.sort(found[0].slots.presence), np.sort(found[1].slots.presence), atol=1e-3)


@pytest.fixture(scope="module")
def crowded():
    config = TwoPhotonConfig(n_frames=900, height=100, width=116, n_cells=26, min_distance_px=6.0, motion_px=0.0, field_px=0.0)
    return simulate(config, seed=12)


@pytest.fixture(scope="module")
def found(crowded):
    return lstm_ista.detect(crowded.movie)


def test_cells_of_a_crowded_movie_are_found(crowded, found):
    cells = found.accepted()
    matching = metrics.match_footprints(cells.footprints, crowded.footprints)
    assert matching.f1 > 0.85
    clean = found.extras["denoised_traces"].select(found.scores["accepted"].to_numpy())
    assert (clean.values >= 0).all()
    correlation = metrics.trace_correlation(clean, crowded.calcium, matching).matched
    assert correlation > 0.9
    assert correlation > metrics.trace_correlation(cells.traces, crowded.calcium, matching).matched + 0.02


def test_amplitudes_are_in_the_counts_of_the_movie(crowded):
    """Twice the counts, twice the traces, the same cells."""
    double = crowded.movie.replace(data=2.0 * crowded.movie.frames().astype(np.float32))
    one, two = lstm_ista.detect(crowded.movie), lstm_ista.detect(double)
    assert (one.footprints.weights.astype(bool) != two.footprints.weights.astype(bool)).nnz == 0
    np.testing.assert_allclose(two.traces.values, 2 * one.traces.values, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(
        two.extras["denoised_traces"].values, 2 * one.extras["denoised_traces"].values, rtol=0.01, atol=1
    )


def test_scores_and_funnel_speak_of_all_components(crowded, found):
    assert len(found.scores) == len(found.footprints) == len(found.traces) == len(found.extras["denoised_traces"])
    assert found.scores["confidence"].between(0, 1).all()
    assert (found.scores["accepted"] == (found.scores["reason"] == "")).all()
    counts = found.funnel.set_index("stage")["n"]
    assert counts["slots"] >= counts["components"] == len(found.scores) >= counts["kept"] == found.scores["accepted"].sum()
    assert found.extras["attention"].shape == crowded.movie.shape[1:]
    three = lstm_ista.detect(crowded.movie, config=LSTMISTAConfig(max_cells=3))
    best = found.scores[found.scores["accepted"]].nlargest(3, "confidence").index
    assert set(three.scores.index[three.scores["accepted"]]) == set(best)


def test_confidence_is_about_how_often_it_is_a_cell():
    """On fields of other seeds than training and calibration saw."""
    model = lstm_ista.load_lstm_ista()
    confidence, true = [], []
    for seed in range(4):
        field = draw_field([77, seed])
        slots = _find(model, field)
        truth = Footprints.from_images(field.masks)
        pairs = metrics.match_footprints(Footprints(slots.footprints, truth.shape), truth, found_level=0.0).pairs
        confidence.append(slots.presence)
        true.append(np.isin(np.arange(len(slots.presence)), pairs[:, 0]))
    confidence, true = np.concatenate(confidence), np.concatenate(true)
    assert confidence.mean() == pytest.approx(true.mean(), abs=0.1)
    assert true[confidence > 0.8].mean() > 0.85
    assert true[confidence < 0.3].mean() < 0.4


def test_without_cells_hardly_anything_is_accepted():
    config = TwoPhotonConfig(n_frames=400, height=80, width=90, n_cells=0, motion_px=0.0, field_px=0.0)
    assert lstm_ista.detect(simulate(config, seed=3).movie).scores["accepted"].sum() <= 1


@pytest.mark.parametrize("shape", [(1, 20, 30), (3, 9, 7), (60, 33, 1), (40, 24, 24)])
def test_movies_without_change_have_no_cells(shape):
    detection = lstm_ista.detect(Movie(np.full(shape, 7, dtype=np.uint16), fs=10.0))
    assert detection.scores["accepted"].sum() == 0
    assert detection.traces.values.shape == (len(detection.scores), shape[0])


def test_cells_outside_the_valid_rectangle_do_not_count(crowded):
    y, x = lstm_ista.detect(crowded.movie, valid=(20, 80, 30, 90)).footprints.centroids.T
    assert ((y > 19) & (y < 81) & (x > 29) & (x < 91)).all()


def test_large_cells_are_found_at_their_own_size():
    config = TwoPhotonConfig(
        n_frames=500,
        height=160,
        width=170,
        n_cells=9,
        min_distance_px=34.0,
        radius_px=(13.0, 17.0),
        motion_px=0.0,
        field_px=0.0,
    )
    truth = simulate(config, seed=5)
    cells = lstm_ista.detect(truth.movie, config=LSTMISTAConfig(diameter_px=30.0)).accepted()
    assert metrics.match_footprints(cells.footprints, truth.footprints).f1 > 0.7
