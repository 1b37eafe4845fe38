"""A folder laid out as the Allen movies of SUNS is scored, and faulty ones are refused."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from calcium_helpers.containers import Footprints, Traces
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.results import Detection

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from lstm_ista_abo import PUBLISHED, find_labels, load_labels, score_folder


def discs(n):
    """Masks (N, 40, 60) of cells apart, radius 4 px."""
    y, x = np.mgrid[:40, :60]
    return np.stack([np.hypot(y - (10 + 18 * (i % 2)), x - (8 + 14 * (i // 2))) <= 4 for i in range(n)])


def save_movie(folder, name, frames):
    with h5py.File(folder / f"{name}.h5", "w") as file:
        file["mov"] = frames


def save_labels(path, masks, *, version):
    """Masks (N, Lx, Ly) as MATLAB's (Ly, Lx, N): HDF5 states the axes the other way round."""
    path.parent.mkdir(exist_ok=True)
    if version == "7.3":
        with h5py.File(path, "w", userblock_size=512) as file:
            file["FinalMasks"] = masks.astype(np.uint8)
    else:
        savemat(path, {"FinalMasks": masks.transpose(2, 1, 0).astype(np.uint8)})


def test_a_folder_is_scored_beside_what_was_published(tmp_path, capsys):
    cells = discs(6)
    for name, version, labelled in (("501", "7.3", cells), ("502", "5", cells[:3])):
        save_movie(tmp_path, name, np.zeros((5, 40, 60), dtype=np.uint16))
        save_labels(tmp_path / "GT Masks" / f"FinalMasks_{name}.mat", labelled, version=version)
    shifted = cells.copy()
    shifted[0] = np.roll(cells[0], 2, axis=1)  # IoU 0.54
    shifted[1] = np.roll(cells[1], 3, axis=1)  # IoU 0.36

    def detect(movie):
        """Four cells with faint skirts, the first two beside their places; the fifth one is not accepted."""
        weights = shifted[:5] + 0.1
        footprints = Footprints.from_images(weights)
        traces = Traces(np.zeros((5, movie.n_frames)), movie.fs, "raw")
        scores = pd.DataFrame({"accepted": [True] * 4 + [False]}, index=footprints.ids)
        return Detection(footprints, traces, None, scores, pd.DataFrame(), {})

    rows = score_folder(tmp_path, {"four cells": detect})
    assert [row["program"] for row in rows] == ["four cells", *PUBLISHED]
    assert [row["F1"] for row in rows[1:]] == ["0.720", "0.755", "0.822", "0.853"]
    # Cells 0, 2 and 3 of six labels in the first movie; 0 and 2 of three in the second.
    assert rows[0]["movies"] == "2"
    assert rows[0]["precision"] == "0.625 ± 0.125"
    assert rows[0]["recall"] == f"{(3 / 6 + 2 / 3) / 2:.3f} ± {1 / 12:.3f}"
    assert rows[0]["F1"] == f"{(6 / 10 + 4 / 7) / 2:.3f} ± {(6 / 10 - 4 / 7) / 2:.3f}"
    assert "502 four cells" in capsys.readouterr().out


@pytest.mark.parametrize("version", ["7.3", "5"])
@pytest.mark.parametrize("n", [1, 4])
def test_labels_lie_as_the_movie_does(tmp_path, version, n):
    masks = np.zeros((n + 1, 20, 30), dtype=bool)  # the last one is empty
    for index in range(n):
        masks[index, 2 + index : 6, 10:25] = True
    save_labels(tmp_path / "FinalMasks_a.mat", masks, version=version)
    labels = load_labels(tmp_path / "FinalMasks_a.mat", (20, 30))
    np.testing.assert_array_equal(labels.weights.toarray().reshape(-1, 20, 30), masks[:n])


@pytest.mark.parametrize("version", ["7.3", "5"])
def test_labels_of_one_cell_may_lack_an_axis(tmp_path, version):
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[3:9, 5:8] = 1
    path = tmp_path / "FinalMasks_a.mat"
    if version == "7.3":
        with h5py.File(path, "w") as file:
            file["FinalMasks"] = mask
    else:
        savemat(path, {"FinalMasks": mask.T})
    np.testing.assert_array_equal(load_labels(path, (20, 30)).image(0) > 0, mask > 0)


def test_labels_beside_the_movie_and_by_their_other_names_are_found(tmp_path):
    save_movie(tmp_path, "501", np.zeros((3, 8, 8)))
    (tmp_path / "FinalMasks_FPremoved_501.mat").touch()
    (tmp_path / "FinalMasks_1501_sparse.mat").touch()
    assert find_labels(tmp_path / "501.h5").name == "FinalMasks_FPremoved_501.mat"
    (tmp_path / "GT Masks").mkdir()
    (tmp_path / "GT Masks" / "FinalMasks_501.mat").touch()
    assert find_labels(tmp_path / "501.h5").parent.name == "GT Masks"


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(MovieFileError, match="holds no movie"):
        score_folder(tmp_path, {})
    save_movie(tmp_path, "501", np.ones((3, 20, 30), dtype=np.uint16))
    with pytest.raises(MovieFileError, match=r"501\.h5: has no labels\. Put FinalMasks_501\.mat into the folder 'GT Masks'"):
        score_folder(tmp_path, {})
    path = tmp_path / "FinalMasks_501.mat"
    path.write_bytes(b"nothing")
    with pytest.raises(MovieFileError, match=r"FinalMasks_501\.mat: cannot be read"):
        score_folder(tmp_path, {})
    savemat(path, {"Masks": np.ones((30, 20, 2))})
    with pytest.raises(MovieFileError, match="no variable FinalMasks"):
        score_folder(tmp_path, {})
    save_labels(path, np.ones((2, 18, 30)), version="7.3")
    with pytest.raises(MovieFileError, match=r"18 x 30 px, the movie is of 20 x 30.*Crop the movie"):
        score_folder(tmp_path, {})
