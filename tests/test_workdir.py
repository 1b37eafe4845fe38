"""Intermediates: a key for everything that could change a result, and no half-written file taken for a whole one."""

import os
import subprocess
import sys

import numpy as np
import pytest

from calcium_helpers.containers import Movie
from calcium_helpers.workdir import WorkDir, clear_parts, load_arrays, new_array, save_arrays

FRAMES = np.random.default_rng(0).integers(0, 900, (40, 6, 7)).astype(np.uint16)
MOVIE = Movie(FRAMES, fs=30, history=("loaded a.tif",))


def key(folder, movie=MOVIE, steps=(("motion", {"a": 1, "b": None}),)):
    work = WorkDir(folder, movie)
    return [work.path(step, parameters, "npz").name for step, parameters in steps][-1]


def test_equal_inputs_give_equal_keys(tmp_path):
    name = key(tmp_path)
    assert name.startswith("motion-")
    assert name.endswith(".npz")
    assert name == key(tmp_path / "other", MOVIE.replace(data=FRAMES.copy()))
    assert name == key(tmp_path, steps=[("motion", {"b": None, "a": 1})])  # the order of a dict means nothing


@pytest.mark.parametrize(
    "changes",
    [
        {"fs": 31},
        {"history": ("loaded b.tif",)},
        {"data": FRAMES[:39]},
        {"data": FRAMES.astype(np.int32)},
        {"data": FRAMES[:, ::-1]},
        {"data": FRAMES.reshape(40, 7, 6)},
        *({"data": np.where(np.arange(40)[:, None, None] == frame, FRAMES + 1, FRAMES)} for frame in (0, 39)),
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_movie_has_another_key(tmp_path, changes):
    assert key(tmp_path, MOVIE.replace(**changes)) != key(tmp_path)


def test_another_version_of_the_package_has_another_key(tmp_path, monkeypatch):
    name = key(tmp_path)
    monkeypatch.setattr("calcium_helpers.workdir.__version__", "999")
    assert key(tmp_path) != name


def test_every_frame_of_a_short_movie_counts(tmp_path):
    frames = FRAMES[:16]
    names = {key(tmp_path, MOVIE.replace(data=frames))}
    for frame in range(16):
        changed = frames.copy()
        changed[frame, 3, 3] += 1
        names.add(key(tmp_path, MOVIE.replace(data=changed)))
    assert len(names) == 17


@pytest.mark.parametrize(
    "steps",
    [
        [("motion", {"a": 2, "b": None})],
        [("motion", {"a": 1, "b": False})],
        [("motion", {"a": 1})],
        [("detect", {"a": 1, "b": None})],
        [("detect", {}), ("motion", {"a": 1, "b": None})],
    ],
    ids=str,
)
def test_other_parameters_steps_and_orders_have_other_keys(tmp_path, steps):
    assert key(tmp_path, steps=steps) != key(tmp_path)


def test_a_step_depends_on_the_steps_before(tmp_path):
    first, second = (key(tmp_path, steps=[("motion", {"a": a}), ("detect", {"x": 1})]) for a in (1, 2))
    assert first != second
    assert first.startswith("detect-")


def test_the_folder_is_made_when_something_is_written(tmp_path):
    path = WorkDir(tmp_path / "a" / "work", MOVIE).path("motion", {}, "npy")
    assert not (tmp_path / "a").exists()
    with new_array(path, (1, 2, 3)) as array:
        array[:] = 0
    assert path.exists()


def test_an_array_has_its_name_only_when_it_is_finished(tmp_path):
    path = tmp_path / "motion-1.npy"
    with new_array(path, FRAMES.shape) as array:
        array[:] = FRAMES
        assert not path.exists()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    stored = np.load(path, mmap_mode="r")
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, FRAMES)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_an_error_no_part_is_left(tmp_path, error):
    path = tmp_path / "motion-1.npy"
    with pytest.raises(error), new_array(path, (2, 3, 4)):
        raise error
    assert not list(tmp_path.iterdir())


def test_parts_of_killed_processes_are_cleared_away(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    (tmp_path / "work").mkdir()
    for folder in ("mine", "figures"):
        (tmp_path / folder).mkdir()
    gone = [f"work/motion-1.npy-{ended.pid}.part", f".results-{ended.pid}.part.h5", f"figures/.a-{ended.pid}.part.svg"]
    kept = [
        f"work/motion-1.npy-{os.getppid()}.part",
        f"work/motion-2.npy-{os.getpid()}.part",
        "my-1.partly.tif",
        "a.part",
        f"mine/a-{ended.pid}.part",
    ]
    for name in gone + kept:
        (tmp_path / name).write_bytes(b"half a file")
    clear_parts(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(kept)


def test_of_two_writers_at_a_time_none_names_what_the_other_has_not_finished(tmp_path):
    """Two runs of one command in one folder: one of them in a process of its own, held up while it writes."""
    path = tmp_path / "motion-1.npy"
    code = (
        "import sys; from pathlib import Path; from calcium_helpers.workdir import new_array\n"
        "with new_array(Path(sys.argv[1]), (2, 3, 4)) as array:\n"
        "    print('open', flush=True); array[0] = 7; sys.stdin.read(); array[1] = 7"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "open\n"
        with new_array(path, (2, 3, 4)) as array:
            array[:] = 5
        np.testing.assert_array_equal(np.load(path), np.full((2, 3, 4), 5))
        other.stdin.close()
        assert other.wait(timeout=20) == 0
    np.testing.assert_array_equal(np.load(path), np.full((2, 3, 4), 7))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_arrays_come_back_as_they_were(tmp_path):
    arrays = {"yx": FRAMES[0] / 3, "note": np.array("corrected, \u00b5m"), "none": np.zeros((0, 3)), "number": np.array(1.5)}
    save_arrays(tmp_path / "a.npz", **arrays)
    stored = load_arrays(tmp_path / "a.npz")
    assert stored.keys() == arrays.keys()
    for name, array in arrays.items():
        assert stored[name].dtype == array.dtype
        np.testing.assert_array_equal(stored[name], array)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    class Refuses:
        def __array__(self, dtype=None, copy=None):
            raise OSError("disk full")

    save_arrays(tmp_path / "a.npz", a=np.arange(3))
    with pytest.raises(OSError, match="disk full"):
        save_arrays(tmp_path / "a.npz", a=np.arange(5), b=Refuses())
    assert load_arrays(tmp_path / "a.npz")["a"].tolist() == [0, 1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_pickles_are_not_read(tmp_path):
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        np.savez(file, a=np.array([{"not": "numbers"}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        load_arrays(path)
