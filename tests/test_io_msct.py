"""Annotated recordings of synaptic transients: written, read, broken."""

import h5py
import numpy as np
import pytest

from calcium_helpers.io import MovieFileError
from calcium_helpers.io.msct import Stream, append_stream, events_of, masks_of, read_streams, write_streams


def make_stream(name="0", *, seed=0, shape=(20, 17, 23)):
    rng = np.random.default_rng(seed)
    label = np.zeros(shape, np.uint16)
    label[3:7, 2:6, 4:9] = 4
    label[3, 2, 4] = 0  # a corner that leaves the box as it is
    label[7:12, 2:6, 4:9] = 9
    label[18:, 12:, 20:] = 65535
    return Stream(name, rng.random(shape, dtype=np.float32), label, events_of(label))


def same(a, b):
    assert a.name == b.name
    for x, y in zip(a[1:], b[1:], strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def test_boxes_and_masks():
    stream = make_stream()
    assert stream.events.tolist() == [[4, 3, 7, 2, 6, 4, 9], [9, 7, 12, 2, 6, 4, 9], [65535, 18, 20, 12, 17, 20, 23]]
    again = np.zeros_like(stream.label)
    for (t0, y0, x0, mask), number in zip(masks_of(stream.label, stream.events), stream.events[:, 0], strict=True):
        again[t0 : t0 + mask.shape[0], y0 : y0 + mask.shape[1], x0 : x0 + mask.shape[2]][mask] = number
    np.testing.assert_array_equal(again, stream.label)
    empty = np.zeros((3, 4, 5), np.uint16)
    assert events_of(empty).shape == (0, 7)
    assert masks_of(empty, events_of(empty)) == ()


@pytest.mark.parametrize("lazy", [False, True])
def test_round_trip(tmp_path, lazy):
    streams = [make_stream(str(n), seed=n, shape=(20 + n, 17, 23)) for n in (0, 2, 10)]
    other = Stream("a", np.zeros((1, 1, 1), np.float32), np.zeros((1, 1, 1), np.uint16), np.zeros((0, 7), int))
    write_streams(tmp_path / "d.h5", {"train": [streams[i] for i in (2, 0, 1)], "valid": [other]})
    back = read_streams(tmp_path / "d.h5", lazy=lazy)
    assert [stream.name for stream in back] == ["0", "2", "10"]
    for a, b in zip(streams, back, strict=True):
        same(a, b)
        np.testing.assert_array_equal(a.label[4:9], b.label[4:9])
        assert (b.movie.dtype, b.label.dtype, b.events.dtype) == (np.float32, np.uint16, np.int64)
    same(other, read_streams(tmp_path / "d.h5", split="valid", lazy=lazy)[0])
    assert [path.name for path in tmp_path.iterdir()] == ["d.h5"]


def test_lazy_frames_are_read_when_asked_for(tmp_path):
    """Writing from what is still on disk, over the same file, too."""
    stream = make_stream()
    write_streams(tmp_path / "d.h5", {"train": [stream]})
    lazy = read_streams(tmp_path / "d.h5", lazy=True)
    assert not isinstance(lazy[0].movie, np.ndarray)
    write_streams(tmp_path / "d.h5", {"train": [lazy[0]._replace(name="5"), lazy[0]]})
    for back, name in zip(read_streams(tmp_path / "d.h5"), ("0", "5"), strict=True):
        same(stream._replace(name=name), back)


def test_the_published_layout_is_read(tmp_path):
    """Written with h5py as others do: other dtypes, no compression, further groups and datasets."""
    stream = make_stream()
    with h5py.File(tmp_path / "d.h5", "w") as file:
        group = file.create_group("train/12")
        group["input"], group["label"], group["events"] = (
            stream.movie.astype(">f8"),
            stream.label.astype(np.int32),
            stream.events.astype(np.int32),
        )
        group["cache-input"] = np.zeros(3)
        file["train/7/input"] = stream.movie
        file["cache-input/x"] = np.zeros(3)
    unlabelled, labelled = read_streams(tmp_path / "d.h5")
    same(labelled, stream._replace(name="12"))
    assert unlabelled.label.shape == stream.movie.shape
    assert not unlabelled.label.any()
    assert unlabelled.events.shape == (0, 7)
    assert not read_streams(tmp_path / "d.h5", lazy=True)[0].label[2:5].any()


def test_append(tmp_path):
    path = tmp_path / "d.h5"
    append_stream(path, make_stream("a"))
    append_stream(path, make_stream("b", seed=1), split="valid")
    append_stream(path, make_stream("c", seed=2))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="'a' is there already in train"):
        append_stream(path, make_stream("a", seed=3))
    assert path.read_bytes() == before
    for stream, expected in zip(read_streams(path), (make_stream("a"), make_stream("c", seed=2)), strict=True):
        same(stream, expected)
    same(read_streams(path, split="valid")[0], make_stream("b", seed=1))
    path.write_bytes(b"nonsense")
    with pytest.raises(MovieFileError, match="no readable HDF5"):
        append_stream(path, make_stream("a"))
    assert path.read_bytes() == b"nonsense"
    assert [p.name for p in tmp_path.iterdir()] == ["d.h5"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": np.zeros((20, 17, 22), np.uint16)}, "label has the shape"),
        ({"movie": np.zeros((20, 17), np.float32)}, r"must be \(N, H, W\)"),
        ({"events": np.zeros((2, 6), int)}, r"must be \(M, 7\)"),
        ({"events": np.array([[0, 0, 1, 0, 1, 0, 1]])}, "ids 1 to 65535"),
        ({"events": np.array([[1, 0, 21, 0, 1, 0, 1]])}, r"box \[0, 21, 0, 1, 0, 1\] of event 1"),
        ({"label": np.full((20, 17, 23), -1)}, "labels must be 0 to 65535"),
        ({"name": "a/b"}, "without '/'"),
    ],
)
def test_what_does_not_fit_is_not_written(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write_streams(tmp_path / "d.h5", {"train": [make_stream()._replace(**change)]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"valid/0/input": np.zeros((2, 3, 4))}, "no group 'train'"),
        ({"train": np.zeros(3)}, "no group 'train'"),
        ({"train/0/label": np.zeros((2, 3, 4), int)}, "train/0 has no dataset input"),
        ({"train/0/input": np.zeros((2, 3))}, "train/0/input has the shape"),
        ({"train/0/input/deep": np.zeros((2, 3))}, "train/0/input has the shape no of a group"),
        ({"train/0/input": np.zeros((2, 3, 4)), "train/0/label": np.zeros((2, 3, 4))}, "train/0/label has the shape"),
        ({"train/0/input": np.zeros((2, 3, 4)), "train/0/label": np.zeros((2, 3, 5), int)}, "train/0/label has the shape"),
        ({"train/0/input": np.zeros((2, 3, 4)), "train/0/label": np.full((2, 3, 4), 70000)}, "train/0/label holds 70000"),
        ({"train/0/input": np.zeros((2, 3, 4)), "train/0/events": np.ones((1, 7), int)}, "train/0/events has the box"),
    ],
)
def test_other_files_are_named_with_their_dataset(tmp_path, datasets, message):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for name, values in datasets.items():
            file[name] = values
    with pytest.raises(MovieFileError, match=message) as caught:
        read_streams(tmp_path / "d.h5")
    assert str(tmp_path / "d.h5") in str(caught.value)


def test_damaged_files(tmp_path):
    path = tmp_path / "d.h5"
    with pytest.raises(MovieFileError, match="no such file"):
        read_streams(path)
    write_streams(path, {"train": [make_stream(shape=(64, 64, 64))]})
    with h5py.File(path) as file:
        start = file["train/0/input"].id.get_chunk_info(1).byte_offset
    content = bytearray(path.read_bytes())
    content[start : start + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(MovieFileError, match="train/0/input cannot be read"):
        read_streams(path)
    path.write_bytes(content[:500])
    with pytest.raises(MovieFileError, match="no readable HDF5"):
        read_streams(path)
