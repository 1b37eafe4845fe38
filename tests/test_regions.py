"""Regions of the user: every kind of file gives the same footprints, and what cannot be used says why."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile

from calcium_helpers import io, pipeline, simulate
from calcium_helpers.containers import Footprints, Movie
from calcium_helpers.io import MovieFileError
from calcium_helpers.io.regions import load_regions
from calcium_helpers.pipeline import Given, PipelineConfig
from calcium_helpers.report import write_report, write_tables

SHAPE = (24, 30)
LABELS = np.zeros(SHAPE, np.uint16)
LABELS[2:6, 3:8], LABELS[10:15, 20:26], LABELS[18:22, 4:9] = 1, 4, 9  # with gaps
MASKS = np.stack([np.equal(LABELS, n) for n in (1, 4, 9)])


def stat(masks, weights=1.0):
    """What suite2p stores, in its types."""
    entries = []
    for mask in masks:
        y, x = np.nonzero(mask)
        entries.append(
            {
                "ypix": y, "xpix": x, "lam": np.full(len(y), weights, np.float32), "med": [int(y.mean()), int(x.mean())],
                "footprint": np.float64(1.5), "overlap": np.zeros(len(y), bool), "npix": len(y), "soma": np.True_,
            }
        )  # fmt: skip
    return np.array(entries, dtype=object)


def save_npy(path, array):
    np.save(path, array, allow_pickle=True)


GOOD = {
    "label.tif": lambda path: tifffile.imwrite(path, LABELS),
    "label.npy": lambda path: np.save(path, LABELS),
    "float.npy": lambda path: np.save(path, LABELS.astype(np.float32)),
    "one-plane.npy": lambda path: np.save(path, LABELS[None]),
    "label.npz": lambda path: np.savez(path, LABELS),
    "named.npz": lambda path: np.savez(path, fs=3.0, masks=LABELS),
    "stack.tif": lambda path: tifffile.imwrite(path, MASKS.astype(np.uint8) * 255, photometric="minisblack"),
    "stack.npy": lambda path: np.save(path, MASKS),
    "weights.npz": lambda path: np.savez(path, MASKS.astype(np.float32)),
    "stat.npy": lambda path: save_npy(path, stat(MASKS)),
    "cellpose_seg.npy": lambda path: save_npy(
        path, {"masks": LABELS, "outlines": LABELS, "filename": "a.tif", "est_diam": None}
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_every_kind_of_file_gives_the_same_footprints(name, tmp_path):
    GOOD[name](tmp_path / name)
    found = load_regions(tmp_path / name, SHAPE)
    assert found.shape == SHAPE
    np.testing.assert_array_equal(found.weights.toarray() > 0, MASKS.reshape(3, -1))
    kept = [1, 4, 9] if name in {"label.tif", "label.npy", "float.npy", "one-plane.npy"} or "cellpose" in name else None
    kept = [1, 4, 9] if name in {"label.npz", "named.npz"} else kept
    assert found.ids.tolist() == (kept or [0, 1, 2])


def test_weights_are_kept(tmp_path):
    save_npy(tmp_path / "stat.npy", stat(MASKS, weights=0.25))
    assert set(load_regions(tmp_path / "stat.npy", SHAPE).weights.data) == {0.25}


def test_of_suite2p_only_the_cells(tmp_path, caplog):
    save_npy(tmp_path / "stat.npy", stat(MASKS))
    np.save(tmp_path / "iscell.npy", np.array([[1, 0.9], [0, 0.1], [1, 0.8]]))
    assert load_regions(tmp_path / "stat.npy", SHAPE).ids.tolist() == [0, 2]
    assert "2 of 3 regions are cells by iscell.npy" in caplog.text


def test_a_mask_without_numbers_falls_into_pieces(tmp_path, caplog):
    tifffile.imwrite(tmp_path / "mask.tif", np.where(LABELS > 0, 255, 0).astype(np.uint8))
    found = load_regions(tmp_path / "mask.tif", SHAPE)
    np.testing.assert_array_equal(np.sort(found.area_px), np.sort(MASKS.sum(axis=(1, 2))))
    assert "its 3 connected pieces are taken as regions" in caplog.text


def test_one_region_keeps_its_number(tmp_path):
    np.save(tmp_path / "a.npy", np.where(LABELS == 9, 9, 0))
    assert load_regions(tmp_path / "a.npy", SHAPE).ids.tolist() == [9]


def test_empty_masks_of_a_stack_are_left_out_and_numbers_kept(tmp_path, caplog):
    np.save(tmp_path / "a.npy", np.stack([MASKS[0], np.zeros(SHAPE, bool), MASKS[1]]))
    assert load_regions(tmp_path / "a.npy", SHAPE).ids.tolist() == [0, 2]
    assert "1 of 3 masks are empty" in caplog.text


class Harm:
    """What a hostile pickle does: run a program when it is read."""

    def __reduce__(self):
        return os.system, ("touch harmed",)


def gadget(path):
    """A name below numpy that is no part of an array."""
    payload = b"\x80\x04cnumpy.testing._private.utils\nrunstring\n."
    with Path(path).open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        file.write(payload)


BROKEN = {
    "absent.tif": (lambda path: None, "there is no such file"),
    "regions.txt": (lambda path: path.write_text("1"), "unknown suffix '.txt'"),
    "text.tif": (lambda path: path.write_text("no image"), "cannot be read as regions"),
    "text.npy": (lambda path: path.write_text("no array"), "cannot be read as regions"),
    "text.npz": (lambda path: path.write_text("no array"), "cannot be read as regions"),
    "empty.npy": (lambda path: path.touch(), "cannot be read as regions"),
    "cut.npy": (lambda path: (save_npy(path, stat(MASKS)), path.write_bytes(path.read_bytes()[:400])), "cannot be read"),
    "background.npy": (lambda path: np.save(path, LABELS * 0), "holds no region"),
    "no-masks.npy": (lambda path: np.save(path, MASKS[:0]), "holds no region"),
    "empty-stat.npy": (lambda path: save_npy(path, np.zeros(0, object)), "holds no region"),
    "transposed.npy": (lambda path: np.save(path, LABELS.T), r"\(30, 24\) px.*\(24, 30\)\. It is transposed"),
    "small.npy": (lambda path: np.save(path, LABELS[:9]), r"\(9, 30\) px, the movie's are \(24, 30\).*not cropped"),
    "list.npy": (lambda path: np.save(path, np.arange(9)), r"shape \(9,\), expected a label image"),
    "fractions.npy": (lambda path: np.save(path, LABELS / 7), "has fractions"),
    "negative.npy": (lambda path: np.save(path, LABELS.astype(int) - 1), "negative"),
    "nan.npy": (lambda path: np.save(path, np.full(SHAPE, np.nan)), "NaN"),
    "many.npz": (lambda path: np.savez(path, a=LABELS, b=LABELS), "holds the arrays a, b"),
    "far.npy": (
        lambda path: save_npy(path, stat([np.pad(MASKS[0], ((30, 0), (0, 0)))])),
        r"region 0 reaches pixel \(y, x\) = \(35",
    ),
    "other.npy": (lambda path: save_npy(path, np.array([{"x": 1}], object)), "not suite2p's stat.npy"),
    "harm.npy": (lambda path: save_npy(path, np.array([Harm()], object)), r"asks for posix\.system to be run"),
    "gadget.npy": (gadget, r"asks for numpy\.testing\._private\.utils\.runstring"),
    "movie.h5": (lambda path: io.save_movie(Movie(MASKS.astype(np.uint8), fs=1), path), "holds no results"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_used_says_why(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, words = BROKEN[name]
    make(tmp_path / name)
    with pytest.raises(MovieFileError, match=words):
        load_regions(tmp_path / name, SHAPE)
    assert not Path("harmed").exists()


def test_the_hostile_file_would_have_done_harm(tmp_path, monkeypatch):
    """Else the test above would show nothing."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Harm()))
    assert Path("harmed").exists()


@pytest.fixture(scope="module")
def truth():
    config = simulate.TwoPhotonConfig(
        n_frames=300, height=72, width=80, fs=10.0, n_cells=4, min_distance_px=20.0, baseline_photons=20.0, tissue_photons=14.0,
        neuropil=0.05, dff_per_spike=0.5, rate_hz=(0.3, 0.8), motion_px=2.0, field_px=0.3,
    )  # fmt: skip
    return simulate.two_photon(config, seed=1)


CONFIG = PipelineConfig.for_modality("2p", offset=100.0)


def test_a_run_takes_the_regions_as_they_are(truth, tmp_path):
    regions = Footprints(truth.footprints.weights, truth.footprints.shape, np.array([3, 5, 8, 13]))
    results = pipeline.run(truth.movie, CONFIG, given=Given(truth, regions), out=tmp_path)
    np.testing.assert_array_equal(results.footprints.weights.toarray(), regions.weights.toarray())
    assert results.footprints.ids.tolist() == results.cells["id"].tolist() == results.dff.ids.tolist() == [3, 5, 8, 13]
    assert results.cells["accepted"].all()
    assert (results.cells["snr"] > 3).all()
    scores = results.summary["truth"]
    assert scores["f1"] == 1.0
    assert scores["trace_correlation_matched"] > 0.9
    assert "detect" not in results.steps["step"].tolist()
    assert results.funnel["stage"].tolist() == ["regions of the user"]
    assert results.parameters["detector"] == results.summary["detector"] == "rois"
    assert results.history[-2] == "4 regions of the user"
    assert "regions of the user" in write_report(results, tmp_path).read_text(encoding="utf-8")
    write_tables(results, tmp_path)


def test_regions_of_an_earlier_run_are_its_accepted_cells(truth, tmp_path):
    first = pipeline.run(truth.movie, CONFIG, out=tmp_path)
    first.cells.loc[1, "accepted"] = False
    io.save_results(first, tmp_path / "results.h5")
    regions = load_regions(tmp_path / "results.h5", truth.footprints.shape)
    assert regions.ids.tolist() == first.footprints.ids[first.cells["accepted"]].tolist()
    again = pipeline.run(truth.movie, CONFIG, given=Given(regions=regions), out=tmp_path)
    np.testing.assert_array_equal(again.dff.ids, regions.ids)
    assert again.steps.set_index("step")["note"]["motion"] == "found from an earlier run"
    with pytest.raises(MovieFileError, match=r"frames of \(72, 80\) px, the movie's are \(9, 9\)"):
        load_regions(tmp_path / "results.h5", (9, 9))


def test_other_regions_are_other_traces(truth, tmp_path):
    regions = truth.footprints
    pipeline.run(truth.movie, CONFIG, given=Given(regions=regions), out=tmp_path)
    fewer = pipeline.run(truth.movie, CONFIG, given=Given(regions=regions.select(np.array([0, 2]))), out=tmp_path)
    assert fewer.steps.set_index("step")["note"]["traces"] == ""
    assert len(fewer.dff) == 2
    again = pipeline.run(truth.movie, CONFIG, given=Given(regions=regions), out=tmp_path)
    assert again.steps.set_index("step")["note"]["traces"] == "found from an earlier run"


def test_regions_that_do_not_fit_are_refused_before_anything_is_written(truth, tmp_path):
    with pytest.raises(ValueError, match=r"regions must fit the movie's frames of \(72, 80\) px, got \(24, 30\)"):
        pipeline.run(truth.movie, CONFIG, given=Given(regions=Footprints.from_images(MASKS)), out=tmp_path / "out")
    with pytest.raises(ValueError, match="regions must be at least one, got none"):
        pipeline.run(truth.movie, CONFIG, given=Given(regions=truth.footprints.select(np.zeros(0, int))), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
