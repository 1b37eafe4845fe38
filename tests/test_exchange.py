"""Results of suite2p and CaImAn: read as their files hold them, completed as is true, written so that nothing changes."""

import collections
import datetime
import json
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from _fake_results import make_results
from scipy import sparse

from calcium_helpers import io, load_caiman, load_suite2p, save_suite2p
from calcium_helpers.cli import main
from calcium_helpers.io import MovieFileError
from calcium_helpers.io.save import atomic_folder
from calcium_helpers.report import write_report, write_tables

SHAPE, FS, N_FRAMES = (40, 52), 10.0, 400
DECAY_S = 0.6


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def masks(n):
    """Rectangles that do not overlap, none of them symmetrical in the frame, with weights."""
    images = np.zeros((n, *SHAPE), np.float32)
    for row in range(n):
        y, x = 2 + 12 * (row // 4), 3 + 12 * (row % 4)
        images[row, y : y + 5, x : x + 8] = 1 + np.arange(40).reshape(5, 8) / 40
    return images


def transients(n):
    """What cells did, as a fraction, and the onset of each of their events, s."""
    onsets = [np.arange(4.0 + row, 36, 9) for row in range(n)]
    after = np.arange(N_FRAMES) / FS - np.concatenate([*onsets, [0]])[:, None]
    single = np.where(after >= 0, np.exp(-np.maximum(after, 0) / DECAY_S), 0)[:-1]
    return np.array([part.sum(axis=0) for part in np.split(single, np.cumsum([len(o) for o in onsets])[:-1])][:n]), onsets


def suite2p_arrays(n=3, seed=0):
    """Arrays of F, Fneu, spks, stat, iscell and ops in the types of suite2p; cells rest at 100 counts over their neuropil."""
    rng = np.random.default_rng(seed)
    dff = transients(n)[0] if n else np.zeros((0, N_FRAMES))
    neuropil = 50 + 5 * rng.standard_normal((n, N_FRAMES)).cumsum(axis=1) / 20
    stat = np.empty(n, object)
    for row, image in enumerate(masks(n)):
        y, x = np.nonzero(image)
        stat[row] = {
            "ypix": y, "xpix": x, "lam": image[y, x], "med": [int(np.median(y)), int(np.median(x))], "npix": len(y),
            "footprint": np.float64(2), "overlap": np.zeros(len(y), bool), "skew": np.float32(1.5), "soma_crop": y >= 0,
        }  # fmt: skip
    ops = {
        "Ly": SHAPE[0], "Lx": SHAPE[1], "fs": FS, "tau": 1.0, "nframes": N_FRAMES, "diameter": np.array([9.0, 9.0]),
        "meanImg": rng.random(SHAPE, np.float32), "max_proj": rng.random((36, 46), np.float32), "Vcorr": rng.random((36, 46)),
        "yrange": [1, 37], "xrange": [4, 50], "yoff": rng.integers(-2, 3, N_FRAMES), "xoff": rng.integers(-2, 3, N_FRAMES),
        "badframes": np.arange(N_FRAMES) == 7, "corrXY": rng.random(N_FRAMES, np.float32),
        "refImg": rng.integers(0, 99, SHAPE).astype(np.int16), "Vmap": np.array([np.ones((2, 2)), np.ones(1)], object),
        "date_proc": datetime.datetime(2024, 5, 6, 7, 8, tzinfo=datetime.timezone.utc),  # noqa: UP017
        "data_path": [Path("here")], "iplane": np.int64(0), "extraction": {"neuropil_coefficient": 0.7},
    }  # fmt: skip
    f = 100 * (1 + dff + 0.02 * rng.standard_normal((n, N_FRAMES))) + 0.7 * neuropil
    return {
        "F": f.astype(np.float32), "Fneu": neuropil.astype(np.float32), "spks": rng.random((n, N_FRAMES), np.float32),
        "stat": stat, "iscell": np.array([[row != 1, 0.9 - 0.6 * (row == 1)] for row in range(n)]).reshape(n, 2), "ops": ops,
    }  # fmt: skip


def write_folder(folder, arrays):
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=True)
    return folder


def split_settings(arrays):
    """What version 1 writes where it leaves out ops.npy."""
    ops = arrays.pop("ops")
    parts = {
        "db": {"Ly", "Lx", "nframes", "data_path"}, "settings": {"fs", "tau", "date_proc", "extraction"},
        "detect_outputs": {"max_proj", "Vcorr", "Vmap"},
    }  # fmt: skip
    known = set().union(*parts.values())
    parts["reg_outputs"] = ops.keys() - known
    return arrays | {part: {name: ops[name] for name in names} for part, names in parts.items()}


@pytest.mark.parametrize("place", ["plane0", "s/plane0", "r/suite2p/plane0"])
@pytest.mark.parametrize("version", ["ops", "db"])
def test_a_folder_of_suite2p_is_read_as_it_is(place, version):
    arrays = suite2p_arrays()
    write_folder(Path(place), arrays if version == "ops" else split_settings(dict(arrays)))
    results = load_suite2p(Path(place) if place == "plane0" else Path(place).parts[0])
    ops = arrays["ops"]
    np.testing.assert_array_equal(results.raw.values, arrays["F"])
    np.testing.assert_array_equal(results.neuropil.values, arrays["Fneu"])
    np.testing.assert_array_equal(results.spikes.values, arrays["spks"])
    np.testing.assert_array_equal(results.footprints.weights.toarray(), masks(3).reshape(3, -1))
    assert results.raw.fs == results.summary["fs_hz"] == FS
    assert results.cells["accepted"].tolist() == [True, False, True]
    np.testing.assert_array_equal(results.cells["confidence"], arrays["iscell"][:, 1])
    np.testing.assert_array_equal(results.images["mean"], ops["meanImg"])
    np.testing.assert_array_equal(results.images["max"][1:37, 4:50], ops["max_proj"])
    np.testing.assert_allclose(results.images["correlation"][1:37, 4:50], ops["Vcorr"], rtol=1e-6)
    np.testing.assert_array_equal(results.shifts.yx, -np.stack([ops["yoff"], ops["xoff"]], axis=1))
    assert results.shifts.valid == (1, 37, 4, 50)
    assert results.shifts.bad_frames.tolist() == [7]
    assert results.summary["detector"] == "suite2p"
    assert results.history[1] == "3 components read, 2 accepted"


def test_dff_and_events_of_suite2p_are_the_true_ones():
    write_folder(Path("plane0"), suite2p_arrays())
    results = load_suite2p("plane0")
    dff, onsets = transients(3)
    error = results.dff.values - dff
    assert np.abs(np.median(error, axis=1)).max() < 0.03
    assert np.corrcoef(results.dff.values.ravel(), dff.ravel())[0, 1] > 0.98
    for row in range(3):
        found = results.events.table["onset_s"][results.events.table["roi"] == row]
        np.testing.assert_allclose(found, onsets[row], atol=0.21)


def test_the_share_of_neuropil_is_that_of_the_folder():
    arrays = suite2p_arrays()
    write_folder(Path("a"), arrays)
    write_folder(Path("b"), arrays | {"ops": arrays["ops"] | {"neucoeff": 0.0}})
    assert load_suite2p("a").parameters["neuropil"] == 0.7
    assert load_suite2p("b").parameters["neuropil"] == 0.0
    assert load_suite2p("b").dff.values.max() < load_suite2p("a").dff.values.max()  # a larger F0


def test_what_suite2p_left_out_is_filled_in(caplog):
    arrays = suite2p_arrays()
    del arrays["spks"], arrays["iscell"]
    for name in ("meanImg", "max_proj", "Vcorr", "yoff", "yrange", "xrange"):
        del arrays["ops"][name]
    write_folder(Path("plane0"), arrays)
    results = load_suite2p("plane0")
    assert results.summary["spikes_from"] == "deconvolution"
    assert (results.spikes.values > 0).any(axis=1).all()
    assert results.cells["accepted"].all()
    assert "all 3 regions count as cells" in caplog.text
    assert results.images == {}
    assert results.shifts is None


def test_of_several_planes_one_is_chosen():
    for plane in (0, 1, 10):
        write_folder(Path(f"suite2p/plane{plane}"), suite2p_arrays(seed=plane))
    write_folder(Path("suite2p/combined"), suite2p_arrays())
    with pytest.raises(MovieFileError, match=r"holds the planes \[0, 1, 10\], expected one\. Choose one with plane="):
        load_suite2p("suite2p")
    with pytest.raises(MovieFileError, match=r"planes \[0, 1, 10\], plane 2 was asked for"):
        load_suite2p("suite2p", plane=2)
    np.testing.assert_array_equal(load_suite2p("suite2p", plane=10).raw.values, suite2p_arrays(seed=10)["F"])


def change(name, function):
    return lambda arrays: arrays | {name: function(arrays[name])}


def without(name):
    return lambda arrays: {other: array for other, array in arrays.items() if other != name}


class Harm:
    """What a hostile pickle does: run a program when it is read."""

    def __reduce__(self):
        return os.system, ("touch harmed",)


BROKEN = {
    "no F": (without("F"), r"F\.npy: there is no such file"),
    "no Fneu": (without("Fneu"), r"Fneu\.npy: there is no such file"),
    "no stat": (without("stat"), r"stat\.npy: there is no such file"),
    "no ops": (without("ops"), r"ops\.npy: there is no such file"),
    "other N": (change("F", lambda f: f[:2]), r"F\.npy: holds float32 of shape \(2, 400\), stat.npy 3 regions"),
    "transposed": (change("F", np.transpose), r"F\.npy: holds .* \(400, 3\), stat.npy 3 regions. It is transposed"),
    "other T": (change("Fneu", lambda f: f[:, :9]), r"Fneu\.npy: has shape \(3, 9\), F.npy \(3, 400\)"),
    "no frames": (lambda arrays: arrays | {name: arrays[name][:, :0] for name in ("F", "Fneu", "spks")}, "holds no frame"),
    "NaN": (change("F", lambda f: f * np.nan), r"F\.npy: holds NaN or infinity"),
    "other iscell": (change("iscell", lambda marks: marks[:2]), r"iscell\.npy: has shape \(2, 2\), stat.npy 3 regions"),
    "turned frames": (change("ops", lambda ops: ops | {"Ly": 52, "Lx": 40}), r"lie outside frames of \(52, 40\) px"),
    "small frames": (change("ops", lambda ops: ops | {"Lx": 20}), r"region 1 reaches pixel .* = \(6, 22\).*nor transposed"),
    "no size": (change("ops", lambda ops: {"fs": 3.0}), r"ops\.npy: does not tell Ly and Lx"),
    "ops of text": (change("ops", lambda ops: np.array("text")), "holds .*, expected suite2p's settings by name"),
    "no rate": (change("ops", lambda ops: ops | {"fs": 0}), r"does not tell its frame rate. Give it with fs="),
    "stat of numbers": (change("stat", lambda stat: np.arange(3)), "entries lack ypix, xpix, lam"),
    "empty region": (
        change("stat", lambda stat: np.array([*stat[:2], {**stat[2], "lam": 0 * stat[2]["lam"]}])), "rows without a pixel"
    ),
    "harm": (change("stat", lambda stat: np.array([*stat, Harm()], object)), r"asks for posix\.system .* trusted=True"),
    "unknown": (change("ops", collections.OrderedDict), r"ops\.npy: asks for collections\.OrderedDict .* trusted=True"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_folder_that_cannot_be_used_says_why(name):
    make, words = BROKEN[name]
    write_folder(Path("plane0"), make(suite2p_arrays()))
    with pytest.raises(MovieFileError, match=words):
        load_suite2p("plane0")
    assert not Path("harmed").exists()


def test_a_truncated_file_is_named():
    write_folder(Path("plane0"), suite2p_arrays())
    for name in ("F", "stat"):
        whole = Path(f"plane0/{name}.npy").read_bytes()
        Path(f"plane0/{name}.npy").write_bytes(whole[:300])
        with pytest.raises(MovieFileError, match=rf"{name}\.npy: cannot be read"):
            load_suite2p("plane0")
        Path(f"plane0/{name}.npy").write_bytes(whole)


def test_trust_reads_what_asks_for_more():
    arrays = suite2p_arrays()
    write_folder(Path("plane0"), arrays | {"ops": collections.OrderedDict(arrays["ops"])})
    np.testing.assert_array_equal(load_suite2p("plane0", trusted=True).raw.values, arrays["F"])


def test_old_files_and_paths_of_other_systems_need_no_trust():
    """Pickles that Python 2 could read, as of early suite2p, and paths of a Windows machine."""
    arrays = suite2p_arrays()
    write_folder(Path("plane0"), arrays)
    stat = np.empty(3, object)
    stat[:] = list(arrays["stat"])
    with Path("plane0/stat.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (3,)})
        pickle.dump(stat, file, protocol=2)
    whole = Path("plane0/ops.npy").read_bytes()
    Path("plane0/ops.npy").write_bytes(whole.replace(b"\x8c\tPosixPath", b"\x8c\x0bWindowsPath"))
    assert b"_codecs" in Path("plane0/stat.npy").read_bytes()
    assert Path("plane0/ops.npy").read_bytes() != whole
    np.testing.assert_array_equal(load_suite2p("plane0").footprints.weights.toarray(), masks(3).reshape(3, -1))


@pytest.mark.parametrize("with_motion", [True, False])
def test_results_come_back_from_suite2p_as_they_were(with_motion):
    results = make_results(n_cells=12, shape=(64, 80), n_frames=300, fs=15.0, with_motion=with_motion, with_truth=False)
    ids = np.arange(12) * 3 + 5
    results = results._replace(
        footprints=results.footprints.replace(ids=ids), cells=results.cells.assign(id=ids, confidence=np.linspace(0, 1, 12)),
        **{kind: getattr(results, kind).replace(ids=ids) for kind in ("raw", "neuropil", "dff", "denoised", "spikes")},
    )  # fmt: skip
    save_suite2p(results, "s/plane0")
    again = load_suite2p("s")
    for kind in ("raw", "neuropil", "spikes"):
        np.testing.assert_array_equal(getattr(again, kind).values, getattr(results, kind).values)
        assert getattr(again, kind).ids.tolist() == ids.tolist()
        assert getattr(again, kind).fs == 15.0
    assert (again.footprints.weights != results.footprints.weights).nnz == 0
    assert again.cells["accepted"].tolist() == results.cells["accepted"].tolist()
    np.testing.assert_array_equal(again.cells["confidence"], results.cells["confidence"])
    for name in ("mean", "max", "correlation"):
        np.testing.assert_array_equal(again.images[name], results.images[name].astype(np.float32))
    assert again.summary["pixel_um"] == results.summary["pixel_um"]
    assert (again.shifts is None) == (not with_motion)
    if with_motion:
        np.testing.assert_array_equal(again.shifts.yx, results.shifts.rigid_yx.astype(np.float32))
        np.testing.assert_array_equal(again.shifts.correlation, results.shifts.correlation.astype(np.float32))
        assert again.shifts.bad_frames.tolist() == results.shifts.bad_frames.tolist()
    save_suite2p(again, "t/plane0")
    for name in ("F", "Fneu", "spks", "iscell"):
        np.testing.assert_array_equal(np.load(f"t/plane0/{name}.npy"), np.load(f"s/plane0/{name}.npy"))
    for first, second in zip(*(np.load(f"{f}/plane0/stat.npy", allow_pickle=True) for f in "st"), strict=True):
        assert first.keys() == second.keys()
        assert all(np.array_equal(value, second[name]) for name, value in first.items())


def test_measures_of_shape_are_those_of_known_shapes():
    results = make_results(n_cells=2, shape=(64, 80), n_frames=50)
    y, x = np.mgrid[:64, :80]
    disc, ellipse = np.hypot(y - 20, x - 20) <= 10, np.hypot((y - 40) / 6, (x - 52) / 18) <= 1
    footprints = results.footprints.from_images(np.stack([disc, ellipse]))
    save_suite2p(results._replace(footprints=footprints), "plane0")
    round_, long = np.load("plane0/stat.npy", allow_pickle=True)
    assert round_["med"] == [20, 20]
    assert round_["npix"] == disc.sum()
    assert round_["radius"] == pytest.approx(10, rel=0.03)  # twice the sd of a disc along an axis is its radius
    assert long["radius"] == pytest.approx(18, rel=0.03)
    assert round_["aspect_ratio"] == pytest.approx(1, abs=0.01)
    assert long["aspect_ratio"] == pytest.approx(1.5, abs=0.03)
    assert round_["compact"] == pytest.approx(1, abs=0.01)
    assert long["compact"] > 1.2
    assert not round_["overlap"].any()


@pytest.mark.parametrize(("n", "n_frames"), [(0, 30), (1, 30), (1, 1)])
def test_no_cell_one_cell_and_one_frame_go_both_ways(n, n_frames):
    results = make_results(n_cells=n, shape=SHAPE, n_frames=n_frames)
    save_suite2p(results, "plane0")
    again = load_suite2p("plane0")
    assert again.raw.values.shape == (n, n_frames)
    assert again.footprints.shape == SHAPE
    write_tables(again, "out")
    if n_frames > 1:
        write_report(again, "out")
    io.save_results(again, "out/results.h5")
    assert len(io.load_results("out/results.h5").footprints) == n


def test_one_pixel_can_be_a_cell():
    results = make_results(n_cells=1, shape=SHAPE, n_frames=30)
    image = np.zeros((1, *SHAPE))
    image[0, 7, 9] = 2
    save_suite2p(results._replace(footprints=results.footprints.from_images(image)), "plane0")
    entry = np.load("plane0/stat.npy", allow_pickle=True)[0]
    assert (entry["med"], entry["npix"], entry["compact"]) == ([7, 9], 1, 1.0)
    assert entry["radius"] > 0


def test_a_folder_that_exists_stays_as_it_is():
    Path("plane0").mkdir()
    Path("plane0/notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="folder must be a new one, got plane0, which exists"):
        save_suite2p(make_results(n_cells=1, shape=SHAPE, n_frames=9), "plane0")
    assert [path.name for path in Path("plane0").iterdir()] == ["notes.txt"]


def test_nothing_half_written_is_left():
    def fail():
        with atomic_folder(Path("s/plane0")) as folder:
            (folder / "F.npy").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(Path("s").iterdir()) == []


def caiman_truth(n=3, seed=0):
    """A movie that is exactly what CaImAn's model says, and the parts of the model; pixels run down the image."""
    rng = np.random.default_rng(seed)
    a = masks(n).reshape(n, *SHAPE).transpose(2, 1, 0).reshape(SHAPE[0] * SHAPE[1], n)  # rows of A: y fastest
    a = a / np.linalg.norm(a, axis=0)
    c = 60 * transients(n)[0] * np.linalg.norm(a, axis=0)[:, None] * 6 if n else np.zeros((0, N_FRAMES))
    b, f = rng.random((a.shape[0], 2)) + 1, np.stack([np.full(N_FRAMES, 20.0), 1 + 0.1 * rng.random(N_FRAMES)])
    movie = a @ c + b @ f + 0.5 * rng.standard_normal((a.shape[0], N_FRAMES))
    return {"A": a, "C": c, "YrA": a.T @ (movie - a @ c - b @ f), "S": rng.random(c.shape), "b": b, "f": f}, movie


def write_caiman(path, parts, *, at="estimates", sparse_b=False, rate=FS, dims=SHAPE, **more):
    """Write as CaImAn's ``save`` does: groups for sparse matrices, the text NoneType for None."""
    with h5py.File(path, "w") as file:
        group = file.create_group(at) if at else file
        for name, value in {**parts, "F_dff": None, "Cn": None, "idx_components": None, **more}.items():
            if name == "A" or (name == "b" and sparse_b):
                matrix, part = sparse.csc_matrix(value), group.create_group(name)
                for key in ("data", "indices", "indptr", "shape"):
                    part[key] = getattr(matrix, key)
            else:
                group[name] = "NoneType" if value is None else value
        file["dims"] = list(dims)
        file["params/data/dims"], file["params/data/fr"] = list(dims), rate


@pytest.mark.parametrize("layout", [{}, {"at": ""}, {"sparse_b": True}])
def test_a_file_of_caiman_is_read_as_it_is(layout):
    parts, movie = caiman_truth()
    write_caiman("a.hdf5", parts, **layout)
    results = load_caiman("a.hdf5")
    images = results.footprints.weights.toarray().reshape(3, *SHAPE)
    np.testing.assert_array_equal(images > 0, masks(3) > 0)
    assert np.corrcoef(images.ravel(), masks(3).ravel())[0, 1] > 0.999
    # Footprints that do not overlap: the movie projected on them is C, its residual and the background.
    np.testing.assert_allclose(results.raw.values, parts["A"].T @ movie, rtol=1e-4)
    np.testing.assert_allclose(results.raw.values - results.neuropil.values, parts["C"] + parts["YrA"], atol=0.01)
    np.testing.assert_allclose(results.spikes.values, parts["S"], rtol=1e-6)
    np.testing.assert_allclose(results.images["mean"], movie.mean(axis=1).reshape(SHAPE, order="F"), rtol=0.02)
    assert results.raw.fs == FS
    assert results.cells["accepted"].all()


def test_dff_and_events_of_caiman_are_the_true_ones():
    parts, _ = caiman_truth()
    write_caiman("a.hdf5", parts)
    results = load_caiman("a.hdf5")
    dff = parts["C"] / (parts["A"].T @ parts["b"] @ parts["f"])  # relative to all light in a cell's place
    assert np.abs(np.median(results.dff.values - dff, axis=1)).max() < 0.01
    assert np.corrcoef(results.dff.values.ravel(), dff.ravel())[0, 1] > 0.98
    for row, onsets in enumerate(transients(3)[1]):
        found = results.events.table["onset_s"][results.events.table["roi"] == row]
        np.testing.assert_allclose(found, onsets, atol=0.21)


def test_what_caiman_inferred_is_kept():
    parts, _ = caiman_truth()
    dff, local = 0.1 + parts["C"] / 100, np.random.default_rng(1).random(SHAPE)
    write_caiman("a.hdf5", parts, F_dff=dff, Cn=local, idx_components=[2, 0], cnn_preds=[0.9, 0.2, 0.8])
    results = load_caiman("a.hdf5")
    np.testing.assert_allclose(results.dff.values, dff, rtol=1e-6)
    np.testing.assert_allclose(results.images["correlation"], local, rtol=1e-6)
    assert results.cells["accepted"].tolist() == [True, False, True]
    assert results.cells["reason"].tolist() == ["", "rejected by CaImAn", ""]
    assert results.cells["confidence"].tolist() == [0.9, 0.2, 0.8]


@pytest.mark.parametrize(
    ("good", "bad", "accepted"),
    [(None, None, [1, 1, 1]), ([], [], [1, 1, 1]), ([], [0, 1, 2], [0, 0, 0]), ([1], [0, 2], [0, 1, 0])],
)
def test_decisions_of_caiman(good, bad, accepted):
    parts, _ = caiman_truth()
    write_caiman("a.hdf5", parts, idx_components=good, idx_components_bad=bad)
    assert load_caiman("a.hdf5").cells["accepted"].tolist() == accepted


def test_the_ring_model_has_its_light_in_b0(caplog):
    parts, _ = caiman_truth()
    bare = parts | {"b": None, "f": None, "S": None}
    write_caiman("a.hdf5", bare, b0=np.full(len(parts["A"]), 30.0))
    results = load_caiman("a.hdf5")
    np.testing.assert_allclose(results.neuropil.values, 30 * parts["A"].sum(axis=0)[:, None] + 0 * parts["C"], rtol=1e-5)
    assert results.summary["spikes_from"] == "deconvolution"
    assert caplog.text == ""
    write_caiman("b.hdf5", bare)
    assert np.isfinite(load_caiman("b.hdf5").dff.values).all()
    assert "holds no background" in caplog.text


def test_components_without_a_pixel_are_left_out(caplog):
    parts, _ = caiman_truth()
    parts["A"] = parts["A"] * [1, 0, 1]
    write_caiman("a.hdf5", parts, idx_components=[1, 2])
    results = load_caiman("a.hdf5")
    assert results.footprints.ids.tolist() == [0, 2]
    assert results.cells["accepted"].tolist() == [False, True]
    np.testing.assert_allclose(results.spikes.values, parts["S"][[0, 2]], rtol=1e-6)
    assert "1 of 3 components have no pixel" in caplog.text


@pytest.mark.parametrize("n", [0, 1])
def test_no_component_and_one_component(n):
    parts, _ = caiman_truth(n)
    write_caiman("a.hdf5", parts)
    results = load_caiman("a.hdf5")
    assert results.raw.values.shape == (n, N_FRAMES)
    save_suite2p(results, "plane0")
    again = load_suite2p("plane0")
    assert len(again.footprints) == n
    assert "max" not in again.images  # suite2p needs one, and is given a blank one


CAIMAN_BROKEN = {
    "no A": (lambda parts: {"C": parts["C"]}, {}, "holds no components A and C"),
    "transposed C": (lambda parts: parts | {"C": parts["C"].T}, {}, r"C of \(400, 3\).* they do not fit"),
    "other dims": (lambda parts: parts, {"dims": (40, 40)}, r"A of shape \(2080, 3\).*\(40, 40\) px"),
    "volume": (lambda parts: parts, {"dims": (40, 26, 2)}, r"is of a volume of \[40, 26, 2\] px"),
    "no rate": (lambda parts: parts, {"rate": "NoneType"}, r"does not tell its frame rate. Give it with fs="),
    "other YrA": (lambda parts: parts | {"YrA": parts["YrA"][:2]}, {}, r"has YrA of shape \(2, 400\)"),
    "NaN": (lambda parts: parts | {"C": parts["C"] * np.nan}, {}, "NaN or infinity"),
    "negative A": (lambda parts: parts | {"A": -parts["A"]}, {}, "cannot be read as CaImAn's"),
}


@pytest.mark.parametrize("name", CAIMAN_BROKEN)
def test_a_file_that_cannot_be_used_says_why(name):
    make, layout, words = CAIMAN_BROKEN[name]
    write_caiman("a.hdf5", make(caiman_truth()[0]), **layout)
    with pytest.raises(MovieFileError, match=words):
        load_caiman("a.hdf5")


def test_files_of_another_kind_are_refused():
    Path("a.hdf5").write_text("no HDF5")
    with pytest.raises(MovieFileError, match="no readable HDF5"):
        load_caiman("a.hdf5")
    with pytest.raises(MovieFileError, match="no such file"):
        load_caiman("b.hdf5")


def call(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_the_commands_import_and_export(capsys):
    arrays = suite2p_arrays()
    write_folder(Path("suite2p/plane0"), arrays)
    code, printed, complaint = call(capsys, "import", "suite2p", "-o", "out")
    assert (code, complaint) == (0, "")
    assert "2 cells of 3 components, 400 frames at 10 Hz, found by suite2p" in printed
    assert json.loads(Path("out/summary.json").read_text())["detector"] == "suite2p"
    assert "suite2p, whose results were read" in Path("out/report.html").read_text(encoding="utf-8")
    code, printed, complaint = call(capsys, "export", "out", "--to", "suite2p", "-o", "again/plane0")
    assert (code, complaint) == (0, "")
    assert "2 cells of 3 components" in printed
    np.testing.assert_array_equal(np.load("again/plane0/F.npy"), arrays["F"])
    before = Path("out/results.h5").read_bytes()
    for words, *arguments in (
        ("out holds results already", "import", "suite2p", "-o", "out"),
        ("folder must be a new one", "export", "out", "--to", "suite2p", "-o", "again/plane0"),
        ("out/results.h5: holds no components A and C", "import", "out/results.h5", "-o", "new"),
        ("no such folder", "import", "absent", "-o", "new"),
        ("--plane is of suite2p's folders", "import", "out/results.h5", "--plane", 0, "-o", "new"),
        ("--fs must be", "import", "suite2p", "--fs", -1, "-o", "new"),
    ):
        code, _, complaint = call(capsys, *arguments)
        assert code == 2
        assert words in complaint
    assert Path("out/results.h5").read_bytes() == before
    assert not Path("new").exists()


def test_the_command_says_how_to_trust_and_what_is_missing(capsys):
    arrays = suite2p_arrays()
    for name in ("max_proj", "fs"):
        del arrays["ops"][name]
    write_folder(Path("plane0"), arrays | {"ops": collections.OrderedDict(arrays["ops"])})
    code, _, complaint = call(capsys, "import", "plane0", "-o", "out")
    assert code == 2
    assert "--trust" in complaint
    code, _, complaint = call(capsys, "import", "plane0", "-o", "out", "--trust")
    assert code == 2
    assert "Give it with --fs" in complaint
    code, printed, _ = call(capsys, "import", "plane0", "-o", "out", "--trust", "--fs", 7)
    assert code == 0
    assert "400 frames at 7 Hz" in printed
    assert "not in the report: the images max" in printed


@pytest.mark.parametrize("command", ["import", "export"])
def test_help_fits_a_terminal(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
