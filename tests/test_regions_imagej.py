"""Regions of ImageJ: the pixels whose centres lie inside, whatever the region is drawn with."""

import sys

import numpy as np
import pytest
import roifile
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi
from skimage.draw import ellipse, polygon2mask

from calcium_helpers.cli import main
from calcium_helpers.io import MovieFileError
from calcium_helpers.io.regions import load_regions

SHAPE = (24, 30)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def box(kind, left, top, right, bottom, **more):
    roi = ImagejRoi()
    roi.name = f"{kind.name}-{left}-{more.get('xd', 0)}"
    roi.roitype, roi.left, roi.top, roi.right, roi.bottom = kind, left, top, right, bottom
    for name, value in more.items():
        setattr(roi, name, value)
    return roi


def drawn(points, kind=ROI_TYPE.POLYGON, **more):
    roi = ImagejRoi.frompoints(np.asarray(points), **more)
    roi.roitype = kind
    return roi


def composite(*rings):
    path = [value for ring in rings for i, point in enumerate(ring) for value in (min(i, 1), *point)] + [4]
    roi = box(ROI_TYPE.RECT, 0, 0, 20, 20)
    roi.multi_coordinates = np.array(path, np.float32)
    roi.shape_roi_size = len(path)
    return roi


def load(*rois, shape=SHAPE):
    """Write a zip as the ROI manager does, and read it: ids and masks (N, H, W)."""
    roifile.roiwrite("rois.zip", list(rois), mode="w")
    found = load_regions("rois.zip", shape)
    assert set(found.weights.data) == {1}
    return found.ids.tolist(), found.weights.toarray().reshape(-1, *shape) > 0


def rectangle(left, top, right, bottom):
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_rectangles_and_polygons_on_whole_pixels_are_the_pixels_between_their_borders():
    corners = [(5, 3), (12, 3), (12, 9), (5, 9)]
    rois = [
        box(ROI_TYPE.RECT, 5, 3, 12, 9),
        *(drawn(corners, kind) for kind in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)),
    ]
    ids, masks = load(*rois)
    assert ids == [0, 1, 2, 3]
    for mask in masks:
        np.testing.assert_array_equal(mask, rectangle(5, 3, 12, 9))


@pytest.mark.parametrize("seed", range(8))
def test_polygons_between_pixels_hold_the_centres_inside(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radii = rng.uniform(3, 10, 9)
    points = np.stack([14 + radii * np.cos(angles), 12 + radii * np.sin(angles)], axis=1).astype(np.float32)
    kind = ROI_TYPE.FREEHAND if seed % 2 else ROI_TYPE.POLYGON
    _, masks = load(drawn(points, kind))
    # Pixel (0, 0) reaches from 0 to 1 in ImageJ; in scikit-image its centre is at 0.
    np.testing.assert_array_equal(masks[0], polygon2mask(SHAPE, points[:, ::-1] - 0.5))


def test_regions_that_share_a_border_share_no_pixel_and_leave_none_out():
    """Borders that run through centres: a square cut along both of its diagonals."""
    a, b, c, d, middle = (4, 4), (20, 4), (20, 20), (4, 20), (12, 12)
    _, masks = load(*(drawn([first, second, middle]) for first, second in ((a, b), (b, c), (c, d), (d, a))))
    np.testing.assert_array_equal(masks.sum(axis=0), rectangle(4, 4, 20, 20))


def test_ovals_hold_the_centres_inside():
    _, masks = load(box(ROI_TYPE.OVAL, 2, 3, 6, 7), box(ROI_TYPE.OVAL, 4, 2, 26, 20))
    expected = ["0110", "1111", "1111", "0110"]
    np.testing.assert_array_equal(masks[0][3:7, 2:6], np.array([list(row) for row in expected]) == "1")
    assert masks[0].sum() == 12
    other = np.zeros(SHAPE, bool)
    other[ellipse(11 - 0.5, 15 - 0.5, 9, 11)] = True
    np.testing.assert_array_equal(masks[1], other)


def test_parts_of_pixels_count_in_rectangles_and_ovals():
    parts = {"options": ROI_OPTIONS.SUB_PIXEL_RESOLUTION, "version": 228}
    rois = [
        box(kind, 5, 3, 12, 9, xd=x, yd=3.0, widthd=7.0, heightd=6.0, **parts)
        for kind in (ROI_TYPE.RECT, ROI_TYPE.OVAL)
        for x in (5.4, 5.6, 6.0)
    ]
    _, masks = load(*rois)
    np.testing.assert_array_equal(masks[0], rectangle(5, 3, 12, 9))
    np.testing.assert_array_equal(masks[1], rectangle(6, 3, 13, 9))
    np.testing.assert_array_equal(masks[5], np.roll(load(box(ROI_TYPE.OVAL, 5, 3, 12, 9))[1][0], 1, axis=1))


def test_composite_regions_have_holes_and_islands():
    outer, hole, island = ([(x, y), (x + n, y), (x + n, y + n), (x, y + n)] for x, y, n in ((2, 2, 12), (5, 5, 4), (20, 8, 3)))
    _, masks = load(composite(outer, hole, island))
    expected = (rectangle(2, 2, 14, 14) & ~rectangle(5, 5, 9, 9)) | rectangle(20, 8, 23, 11)
    np.testing.assert_array_equal(masks[0], expected)


def test_what_has_no_area_is_left_out_and_named(caplog):
    line = box(ROI_TYPE.LINE, 0, 0, 9, 9, x1=1, y1=1, x2=8, y2=8, name="ruler")
    text = box(ROI_TYPE.RECT, 3, 3, 9, 9, subtype=ROI_SUBTYPE.TEXT, name="note")
    thin = drawn([(3.6, 3), (3.9, 3), (3.9, 9)], name="hair")
    far = box(ROI_TYPE.RECT, 40, 40, 50, 50, name="elsewhere")
    curved = composite([(2, 2), (8, 2), (8, 8)])
    curved.multi_coordinates[3] = 2
    curved.name = "curve"
    soma = box(ROI_TYPE.OVAL, 9, 9, 18, 18, name="soma", position=7)
    ids, masks = load(drawn([(5, 5)], ROI_TYPE.POINT, name="spot"), line, text, soma, thin, far, curved)
    assert ids == [3]
    assert masks[0].sum() > 50
    named = "spot (point), ruler (line), note (rect), hair (no pixel of the frames), elsewhere (no pixel"
    assert f"rois.zip: 6 of 7 regions are left out: {named}" in caplog.text
    assert "curve" in caplog.text


def test_regions_across_the_edge_end_there():
    _, masks = load(box(ROI_TYPE.RECT, -3, 20, 4, 40), drawn([(25.2, -4), (40, -4), (40, 5), (25.2, 5)]))
    np.testing.assert_array_equal(masks[0], rectangle(0, 20, 4, 24))
    np.testing.assert_array_equal(masks[1], rectangle(25, 0, 30, 5))


def test_one_region_is_a_file_of_its_own():
    roifile.roiwrite("soma.roi", box(ROI_TYPE.RECT, 5, 3, 12, 9))
    found = load_regions("soma.roi", SHAPE)
    np.testing.assert_array_equal(found.image(0), rectangle(5, 3, 12, 9))


def test_files_without_a_region_say_so():
    with open("text.roi", "w") as file:
        file.write("no region")
    with pytest.raises(MovieFileError, match=r"text\.roi: is no readable file of ImageJ"):
        load_regions("text.roi", SHAPE)
    with open("text.zip", "w") as file:
        file.write("no archive")
    with pytest.raises(MovieFileError, match=r"text\.zip: is no readable file of ImageJ"):
        load_regions("text.zip", SHAPE)
    roifile.roiwrite("point.roi", drawn([(5, 5)], ROI_TYPE.POINT))
    with pytest.raises(MovieFileError, match=r"point\.roi: holds no region"):
        load_regions("point.roi", SHAPE)


def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys):
    roifile.roiwrite("soma.roi", box(ROI_TYPE.RECT, 5, 3, 12, 9))
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'calcium_helpers\[rois\]'"):
        load_regions("soma.roi", SHAPE)
    np.save("movie.npy", np.random.default_rng(0).poisson(100, (20, *SHAPE)).astype(np.uint16))
    arguments = ["report", "movie.npy", "--fs", "10", "--modality", "2p", "--rois", "soma.roi", "-q"]
    assert main(arguments) == 2
    assert capsys.readouterr().err.endswith("need roifile: pip install 'calcium_helpers[rois]'\n")
