"""The nouns: what they refuse, what they guarantee, and that nothing ordinary (no cell, one frame) is an error."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, sparse

from calcium_helpers.containers import Events, Footprints, Movie, Shifts, Traces

FRAMES = np.arange(24, dtype=np.uint16).reshape(4, 2, 3)
TEMPLATE = np.zeros((8, 10), np.float32)
INSIDE = (0, 8, 0, 10)


def make_events(onset, **changes):
    onset = np.asarray(onset, dtype=float)
    columns = {"roi": np.arange(len(onset)), "onset_s": onset, "peak_s": onset + 1, "offset_s": onset + 2, "amplitude": 1.0}
    return pd.DataFrame({**columns, **changes})


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (TypeError, "data must be an array .T, H, W., got list", {"data": [[[1]]]}),
        (ValueError, r"data must have three axes .* got shape \(4, 6\)", {"data": FRAMES.reshape(4, 6)}),
        (ValueError, r"each at least 1, got shape \(0, 2, 3\)", {"data": FRAMES[:0]}),
        (TypeError, "data must be real numbers, got dtype bool", {"data": FRAMES > 3}),
        (TypeError, "data must be real numbers, got dtype complex", {"data": FRAMES * 1j}),
        (ValueError, "fs must be a finite number of Hz above 0, got 0", {"fs": 0}),
        (ValueError, "fs .* got -30", {"fs": -30}),
        (ValueError, "fs .* got nan", {"fs": np.nan}),
        (ValueError, "fs .* got inf", {"fs": np.inf}),
        (TypeError, "fs must be a number in Hz, got '30'", {"fs": "30"}),
        (TypeError, "fs must be a number in Hz, got True", {"fs": True}),
        (TypeError, "fs must be a number in Hz, got None", {"fs": None}),
        (ValueError, "pixel_um must be a finite number of micrometres above 0, got 0", {"pixel_um": 0}),
        (ValueError, r"times_s must have one entry a frame \(4\), got shape \(3,\)", {"times_s": [0, 1, 2]}),
        (ValueError, "times_s must be finite and increasing", {"times_s": [0, 1, 1, 2]}),
        (ValueError, "times_s must be finite and increasing", {"times_s": [0, 1, np.nan, 2]}),
    ],
)
def test_a_movie_refuses(error, words, arguments):
    with pytest.raises(error, match=words):
        Movie(**{"data": FRAMES, "fs": 30, **arguments})


def test_a_movie_tells_what_it_is():
    movie = Movie(FRAMES, fs=2, times_s=[0, 1, 2, 4])
    assert (movie.shape, movie.n_frames, movie.duration_s) == ((4, 2, 3), 4, 2.0)
    assert movie.times_s.dtype == np.float64
    assert repr(movie) == "Movie(4 x 2 x 3 uint16, fs=2 Hz, 2.0 s)"
    np.testing.assert_array_equal(movie.frames(1, 3), FRAMES[1:3])
    np.testing.assert_array_equal(movie.frames(), FRAMES)
    assert movie.frames(2, 2).shape == (0, 2, 3)


def test_a_movie_asks_only_for_shape_dtype_and_time_slices():
    class Lazy:
        shape, dtype = FRAMES.shape, FRAMES.dtype

        def __getitem__(self, key):
            assert isinstance(key, slice)
            return FRAMES[key]

    np.testing.assert_array_equal(Movie(Lazy(), fs=30).frames(1), FRAMES[1:])


@pytest.mark.parametrize(
    "container",
    [
        Movie(FRAMES, fs=30),
        Shifts(np.zeros((4, 2)), TEMPLATE, INSIDE),
        Footprints.from_images(np.ones((2, 3, 4))),
        Traces(np.zeros((2, 5)), 30, "raw"),
        Events(make_events([0, 1])),
    ],
    ids=lambda container: type(container).__name__,
)
def test_frozen(container):
    for field in dataclasses.fields(container):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(container, field.name, None)
    with pytest.raises(TypeError, match="unexpected keyword"):
        container.replace(no_such_field=1)


def test_replace_leaves_the_original_and_validates():
    movie = Movie(FRAMES, fs=30, history=("made",))
    faster = movie.replace(fs=60)
    assert (movie.fs, faster.fs, faster.history) == (30, 60, ("made",))
    assert faster.data is movie.data
    with pytest.raises(ValueError, match="fs must be"):
        movie.replace(fs=-1)
    with pytest.raises(ValueError, match="kind must be one of"):
        Traces(np.zeros((1, 2)), 30, "raw").replace(kind="fast")
    with pytest.raises(ValueError, match="valid must be"):
        Shifts(np.zeros((4, 2)), TEMPLATE, INSIDE).replace(valid=(0, 9, 0, 10))
    with pytest.raises(ValueError, match="need 12 columns"):
        Footprints.from_images(np.ones((2, 3, 5))).replace(shape=(3, 4))


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (r"yx must be \(T, 2\) or \(T, gy, gx, 2\), got shape \(4, 3\)", {"yx": np.zeros((4, 3))}),
        (r"yx must be .* got shape \(4, 2, 2\)", {"yx": np.zeros((4, 2, 2))}),
        ("yx must be finite", {"yx": np.full((4, 2), np.nan)}),
        (r"template must be \(H, W\), got shape \(8,\)", {"template": np.zeros(8)}),
        (r"valid must be \(y0, y1, x0, x1\) inside \(8, 10\)", {"valid": (0, 8, 5, 5)}),
        ("valid must be", {"valid": (-1, 8, 0, 10)}),
        ("valid must be", {"valid": (0, 8, 0, 11)}),
        (r"correlation must have 4 entries, got shape \(5,\)", {"correlation": np.ones(5)}),
        (r"bad_frames must lie in 0\.\.3, got 4\.\.4", {"bad_frames": [4]}),
        (r"bad_frames must lie in 0\.\.3, got -1\.\.0", {"bad_frames": [0, -1]}),
    ],
)
def test_shifts_refuse(words, arguments):
    with pytest.raises(ValueError, match=words):
        Shifts(**{"yx": np.zeros((4, 2)), "template": TEMPLATE, "valid": INSIDE, **arguments})


def test_rigid_shifts_are_the_same_everywhere():
    yx = np.random.default_rng(0).normal(size=(4, 2))
    shifts = Shifts(yx, TEMPLATE, INSIDE)
    assert not shifts.is_piecewise
    assert shifts.yx.dtype == np.float32
    np.testing.assert_array_equal(shifts.rigid_yx, shifts.yx)
    np.testing.assert_allclose(shifts.at(np.array([[0, 0], [3.3, 7.1]])), np.stack([yx, yx], axis=1), rtol=1e-6)
    assert shifts.at(np.zeros((0, 2))).shape == (4, 0, 2)
    with pytest.raises(ValueError, match=r"points_yx must be \(P, 2\), got shape \(2,\)"):
        shifts.at(np.zeros(2))


def test_piecewise_shifts_against_an_interpolator():
    rng = np.random.default_rng(1)
    grid = rng.normal(size=(3, 2, 5, 2))
    shifts = Shifts(grid, TEMPLATE, INSIDE)
    assert shifts.is_piecewise
    np.testing.assert_allclose(shifts.rigid_yx, grid.mean(axis=(1, 2)), rtol=1e-5, atol=1e-7)
    points = rng.uniform((0, 0), (7, 9), (50, 2))
    where = [(points[:, 0] + 0.5) * 2 / 8 - 0.5, (points[:, 1] + 0.5) * 5 / 10 - 0.5]
    for frame in range(3):
        for axis in (0, 1):
            expected = ndimage.map_coordinates(grid[frame, ..., axis], where, order=1, mode="nearest")
            np.testing.assert_allclose(shifts.at(points)[frame, :, axis], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (r"weights need 12 columns for shape \(3, 4\), got \(2, 11\)", {"weights": np.ones((2, 11))}),
        ("weights must be finite and non-negative", {"weights": np.full((2, 12), -1.0)}),
        ("weights must be finite and non-negative", {"weights": np.full((2, 12), np.nan)}),
        (r"must not be empty; rows without a pixel: \[1\]", {"weights": np.arange(2)[::-1, None] * np.ones((2, 12))}),
        (r"ids must be 2 integers, got shape \(3,\)", {"ids": [1, 2, 3]}),
        ("ids must be 2 integers, got shape .* float64", {"ids": [1.0, 2.0]}),
        ("ids must be unique", {"ids": [7, 7]}),
    ],
)
def test_footprints_refuse(words, arguments):
    with pytest.raises(ValueError, match=words):
        Footprints(**{"weights": np.ones((2, 12)), "shape": (3, 4), **arguments})


def test_footprints_keep_no_stored_zeros_and_no_hold_on_the_input():
    matrix = sparse.csr_matrix(([1.0, 0.0, 2.0], ([0, 0, 0], [3, 5, 1])), shape=(1, 12))
    footprints = Footprints(matrix, (3, 4))
    assert footprints.area_px.tolist() == [2]
    assert footprints.weights.indices.tolist() == [1, 3]
    matrix.data[:] = 9
    assert footprints.weights.data.tolist() == [2.0, 1.0]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.integers(0, 10_000))
def test_footprints_against_dense_images(n, height, width, seed):
    rng = np.random.default_rng(seed)
    images = rng.uniform(size=(n, height, width)) * (rng.uniform(size=(n, height, width)) > 0.5)
    images[:, rng.integers(height), rng.integers(width)] = 0.5
    footprints = Footprints.from_images(images, ids=range(10, 10 + n))
    centres = [ndimage.center_of_mass(image) for image in images]
    np.testing.assert_allclose(footprints.centroids, centres, atol=1e-4)
    np.testing.assert_array_equal(footprints.area_px, (images > 0).sum(axis=(1, 2)))
    np.testing.assert_array_equal(footprints.masks.toarray(), (images > 0).reshape(n, -1))
    np.testing.assert_allclose(footprints.image(n - 1), images[-1], rtol=1e-6)
    rows = rng.permutation(n)[: rng.integers(n + 1)]
    chosen = footprints.select(rows)
    np.testing.assert_array_equal(chosen.ids, 10 + rows)
    np.testing.assert_array_equal(chosen.weights.toarray(), footprints.weights.toarray()[rows])


def test_images_must_be_three_dimensional():
    with pytest.raises(ValueError, match=r"images must be \(N, H, W\), got shape \(3, 4\)"):
        Footprints.from_images(np.ones((3, 4)))


def test_no_cells_are_ordinary():
    for footprints in (Footprints.from_images(np.zeros((0, 3, 4))), Footprints(sparse.csr_matrix((0, 12)), (3, 4))):
        assert len(footprints) == 0
        assert footprints.centroids.shape == (0, 2)
        assert footprints.area_px.shape == footprints.ids.shape == (0,)
        assert len(footprints.select([])) == len(footprints.select(np.zeros(0, bool))) == 0
    traces = Traces(np.zeros((0, 5)), 10, "dff")
    assert (len(traces), traces.n_frames, len(traces.select([]))) == (0, 5, 0)
    assert len(Events(make_events([]))) == 0


@pytest.mark.parametrize("make", [
    lambda ids: Footprints.from_images(np.ones((3, 2, 2)), ids=ids),
    lambda ids: Traces(np.arange(12.0).reshape(3, 4), 10, "spikes", np.array(ids)),
], ids=["footprints", "traces"])  # fmt: skip
def test_select_by_mask_by_number_and_nothing(make):
    container = make([4, 9, 2])
    assert container.select(np.array([True, False, True])).ids.tolist() == [4, 2]
    assert container.select([2, 0]).ids.tolist() == [2, 4]
    assert container.select(np.array([-1])).ids.tolist() == [2]
    assert container.select([]).ids.tolist() == []
    with pytest.raises(IndexError):
        container.select([3])


def test_select_refuses_what_is_no_choice_of_rows():
    traces = Traces(np.zeros((3, 4)), 10, "raw")
    with pytest.raises(ValueError, match=r"rows as a mask must have one entry a row \(3\), got shape \(2,\)"):
        traces.select(np.array([True, False]))
    with pytest.raises(TypeError, match="rows must be a boolean mask or integers, got float64"):
        traces.select([0.5])


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (ValueError, r"values must be \(N, T\), got shape \(4,\)", {"values": np.zeros(4)}),
        (ValueError, "kind must be one of .* got 'voltage'", {"kind": "voltage"}),
        (ValueError, "fs must be a finite number", {"fs": 0}),
        (TypeError, "fs must be a number", {"fs": "10"}),
        (ValueError, "ids must be 3 integers", {"ids": [1, 2]}),
    ],
)
def test_traces_refuse(error, words, arguments):
    with pytest.raises(error, match=words):
        Traces(**{"values": np.zeros((3, 4)), "fs": 10, "kind": "raw", **arguments})


def test_traces_tell_their_times():
    traces = Traces(np.ones((2, 4), np.float64), 8.0, "dff")
    assert traces.values.dtype == np.float32
    assert traces.times_s.tolist() == [0, 0.125, 0.25, 0.375]
    assert traces.ids.tolist() == [0, 1]


def test_events_are_sorted_with_their_masks():
    events = Events(make_events([5, 1, 3, 1]), masks=("a", "b", "c", "d"))
    assert events.table["onset_s"].tolist() == [1, 1, 3, 5]
    assert events.table["roi"].tolist() == [1, 3, 2, 0]  # equal onsets keep their order
    assert events.table.index.tolist() == [0, 1, 2, 3]
    assert events.masks == ("b", "d", "c", "a")
    assert Events(make_events([2], peak_s=[2.0], offset_s=[2.0])).masks is None


def test_chosen_events_keep_their_masks():
    events = Events(make_events([5, 1, 3, 1]), masks=("a", "b", "c", "d"))  # sorted: b d c a
    late = events.select(events.table["onset_s"].to_numpy() > 2)
    assert (late.table["onset_s"].tolist(), late.masks) == ([3, 5], ("c", "a"))
    assert events.select([3, 0]).masks == ("b", "a")
    assert len(events.select([])) == 0
    assert events.select([]).masks == ()
    assert Events(make_events([1, 2])).select([1]).masks is None
    with pytest.raises(ValueError, match="4"):
        events.select(np.array([True]))


@pytest.mark.parametrize(
    ("words", "table", "masks"),
    [
        (r"lacks the columns \['peak_s', 'amplitude'\]", make_events([1]).drop(columns=["peak_s", "amplitude"]), None),
        (r"one an event \(2\), got 1", make_events([1, 2]), ("a",)),
        ("onset_s <= peak_s <= offset_s", make_events([1], peak_s=[0.5]), None),
        ("onset_s <= peak_s <= offset_s", make_events([1], offset_s=[1.5]), None),
        ("onset_s <= peak_s <= offset_s", make_events([1], peak_s=[np.nan]), None),
    ],
)
def test_events_refuse(words, table, masks):
    with pytest.raises(ValueError, match=words):
        Events(table, masks)
