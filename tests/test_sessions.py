"""The same cells on two days: simulated truth, days that share nothing, few cells, real footprints, the command."""

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from _fake_results import make_results
from scipy import sparse

from benchmarks.known_answers.days import draw_days
from calcium_helpers import io, register_sessions
from calcium_helpers.cli import main
from calcium_helpers.containers import Footprints
from calcium_helpers.plots import show_sessions
from calcium_helpers.sessions.match import assign

SHAPE = (160, 160)


def mirrored(footprints):
    images = footprints.weights.toarray().reshape(len(footprints), *footprints.shape)
    return Footprints.from_images(images[:, :, ::-1])


def moved(footprints, dy, dx, shape):
    """Shifted by whole pixels into a frame of another shape; cells that would be cut off must not exist."""
    y, x = np.divmod(footprints.weights.tocoo().col, footprints.shape[1])
    rows = footprints.weights.tocoo().row
    flat = (y + dy) * shape[1] + x + dx
    return Footprints(
        sparse.csr_matrix((footprints.weights.data, (rows, flat)), shape=(len(footprints), np.prod(shape))), shape
    )


@pytest.fixture(scope="module")
def days():
    return draw_days(100, n_cells=60, shape=SHAPE, shift_px=8, warp_px=3)


@pytest.fixture(scope="module")
def match(days):
    return register_sessions(days.a, days.b)


def test_cells_and_movement_are_those_of_the_truth(days, match):
    truth, found = (set(map(tuple, pairs.tolist())) for pairs in (days.pairs, match.pairs))
    assert 2 * len(truth & found) / (len(truth) + len(found)) >= 0.95
    assert len(np.unique(match.pairs[:, 0])) == len(np.unique(match.pairs[:, 1])) == len(match.pairs)
    y, x = np.rint(days.a.centroids).astype(int).T
    assert np.median(np.hypot(*(match.field - days.moved)[y, x].T)) < 1
    assert match.probability.sum() == pytest.approx(len(truth & found), abs=0.1 * len(truth))


def test_aligned_footprints_lie_on_their_partners(match):
    centres = [pd.DataFrame(one.centroids, index=one.ids) for one in (match.a, match.aligned)]
    a, b = (one.loc[ids].to_numpy() for one, ids in zip(centres, match.pairs.T, strict=True))
    assert np.hypot(*(a - b).T).max() < 4
    listed = match.candidates.set_index(["id_a", "id_b"]).loc[list(map(tuple, match.pairs.tolist()))]
    np.testing.assert_allclose(listed["distance_px"], np.hypot(*(a - b).T), atol=1e-6)


def test_the_same_footprints_are_the_same_cells(days):
    match = register_sessions(days.a, days.a)
    np.testing.assert_array_equal(match.pairs[:, 0], match.pairs[:, 1])
    assert len(match.pairs) == len(days.a)
    assert match.probability.min() > 0.95


def test_a_shift_into_a_larger_frame_is_found(days):
    b = moved(days.a, 9, 14, (180, 190))
    match = register_sessions(days.a, b, alignment="rigid")
    np.testing.assert_array_equal(match.pairs[:, 0], match.pairs[:, 1])
    assert len(match.pairs) == len(days.a)
    assert match.field.shape == (*SHAPE, 2)
    np.testing.assert_allclose(match.field, np.broadcast_to([9, 14], match.field.shape), atol=0.3)


@pytest.mark.parametrize("other", ["mirrored", "another field"])
def test_days_that_share_nothing_are_not_matched(days, other):
    b = mirrored(days.b) if other == "mirrored" else draw_days(101, n_cells=60, shape=SHAPE).b
    with pytest.warns(UserWarning, match="No cells are matched"):
        match = register_sessions(days.a, b)
    assert match.pairs.shape == (0, 2)
    assert match.candidates["probability"].max() == 0


def test_few_cells_are_said_not_guessed(days):
    none, one = days.a.select([]), days.a.select([0])
    for a, b in ((none, none), (none, days.b), (one, none), (one, one)):
        with pytest.warns(UserWarning, match="too few cells"):
            match = register_sessions(a, b)
        assert match.pairs.shape == (0, 2)
        assert match.field.shape == (*SHAPE, 2)
        show_sessions(match).figure.clear()


def test_images_align_what_cells_cannot():
    """Cells of another field each day, and a texture that moved: only the images know the shift."""
    rng = np.random.default_rng(0)
    tissue = rng.standard_normal((200, 200)) @ np.eye(200)
    tissue = np.abs(
        np.fft.ifft2(np.fft.fft2(tissue) * np.exp(-((np.hypot(*np.meshgrid(*[np.fft.fftfreq(200)] * 2)) * 20) ** 2)))
    )
    a, b = (draw_days(seed, n_cells=12, shape=SHAPE).a for seed in (1, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        images = tissue[20:180, 20:180], tissue[14:174, 29:189]
        match = register_sessions(a, b, images=images, alignment="rigid")
    np.testing.assert_allclose(np.median(match.field, axis=(0, 1)), [6, -9], atol=0.6)


def test_the_best_odds_win_over_more_pairs():
    pairs = pd.DataFrame({"id_a": [1, 1, 2], "id_b": [7, 8, 7], "probability": [0.99, 0.55, 0.55]})
    assert assign(pairs, 0.5)[["id_a", "id_b"]].to_numpy().tolist() == [[1, 7]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pixel_um": (1.0, 1.2)}, "resample one of them"),
        ({"images": (np.zeros(SHAPE), np.zeros((3, 3)))}, "images must be one a day"),
        ({"max_shift_px": 0}, "max_shift_px"),
        ({"alignment": "affine"}, "alignment"),
        ({"threshold": 1.0}, "threshold"),
    ],
)
def test_what_cannot_be_compared_is_named(days, given, message):
    with pytest.raises(ValueError, match=message):
        register_sessions(days.a, days.b, **given)


def test_frames_too_small_to_align_are_named():
    tiny = Footprints.from_images(np.ones((1, 8, 40)))
    with pytest.raises(ValueError, match="at least 16 px"):
        register_sessions(tiny, tiny)


def test_the_command_writes_pairs_and_a_picture(tmp_path, capsys):
    results = make_results(n_cells=12, shape=(64, 64), n_frames=40, fs=10.0)
    for day in ("a", "b"):
        (tmp_path / day).mkdir()
        io.save_results(results, tmp_path / day / "results.h5")
    assert main(["sessions", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "matched")]) == 0
    table = pd.read_csv(tmp_path / "matched" / "cells.csv")
    accepted = results.cells_by_id()["accepted"]
    assert table["id_a"].tolist() == table["id_b"].tolist() == accepted.index[accepted].tolist()
    np.testing.assert_allclose(table[["y_a_px", "x_a_px"]], results.footprints.centroids[accepted], atol=1e-3)
    assert (tmp_path / "matched" / "sessions.png").stat().st_size > 10_000
    assert "cells matched of" in capsys.readouterr().out


@pytest.mark.real
def test_real_days_share_most_cells_and_mirrored_ones_none():
    folder = os.environ.get("CALCIUM_DATA_DIR")
    if not folder or not (Path(folder) / "cellreg").is_dir():
        pytest.skip("needs the footprints of two days in CALCIUM_DATA_DIR/cellreg")
    days = []
    for name in ("session1.npz", "session2.npz"):
        with np.load(Path(folder) / "cellreg" / name) as file:
            n, height, width = file["shape"]
            weights = sparse.csr_matrix((file["data"], file["indices"], file["indptr"]), shape=(n, height * width))
            days.append(Footprints(weights, (height, width)))
    match = register_sessions(*days)
    assert 400 <= len(match.pairs) <= min(map(len, days))
    listed = match.candidates.set_index(["id_a", "id_b"]).loc[list(map(tuple, match.pairs.tolist()))]
    assert listed["distance_px"].median() < 1
    assert listed["similarity"].median() > 0.9
    with pytest.warns(UserWarning, match="No cells are matched"):
        assert len(register_sessions(days[0], mirrored(days[1])).pairs) == 0
