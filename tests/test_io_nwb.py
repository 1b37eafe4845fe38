"""NWB files as pynwb writes them: frames, times, pixels, and which series is the movie."""

import warnings
from datetime import UTC, datetime

import h5py
import numpy as np
import pynwb
import pytest
import tifffile
from pynwb.image import ImageSeries
from pynwb.ophys import CorrectedImageStack, MotionCorrection, OnePhotonSeries, OpticalChannel, TwoPhotonSeries

from calcium_helpers.io import MovieFileError, load_movie

FRAMES = np.random.default_rng(0).integers(0, 900, (30, 8, 9)).astype(np.uint16)  # T, H, W
STORED = FRAMES.transpose(0, 2, 1)  # as the specification orders it: frame, width, height


class Session:
    """An NWB file in the making, with one imaging plane."""

    def __init__(self, **plane):
        start = datetime(2026, 1, 2, tzinfo=UTC)
        self.file = pynwb.NWBFile(session_description="test", identifier="test", session_start_time=start)
        device = self.file.create_device(name="microscope")
        channel = OpticalChannel(name="green", description="green", emission_lambda=510.0)
        known = {"name": "plane", "description": "test", "excitation_lambda": 920.0, "indicator": "GCaMP6f", "location": "V1"}
        self.plane = self.file.create_imaging_plane(optical_channel=channel, device=device, **{**known, **plane})

    def photons(self, name="movie", kind=TwoPhotonSeries, **options):
        series = {"data": STORED, "unit": "n.a.", "rate": 7.81, **options}
        return kind(name=name, imaging_plane=self.plane, **{key: value for key, value in series.items() if value is not None})

    def write(self, path, *series):
        for item in series:
            self.file.add_acquisition(item)
        with warnings.catch_warnings(), pynwb.NWBHDF5IO(path, "w") as io:
            warnings.simplefilter("ignore")
            io.write(self.file)
        return path


@pytest.mark.parametrize("kind", [TwoPhotonSeries, OnePhotonSeries])
def test_frames_rate_and_pixels(tmp_path, kind):
    session = Session(grid_spacing=[1.2e-6, 1.2e-6])
    movie = load_movie(session.write(tmp_path / "a.nwb", session.photons(kind=kind)))
    assert (movie.shape, movie.data.dtype, movie.fs, movie.times_s) == (FRAMES.shape, np.uint16, 7.81, None)
    assert movie.pixel_um == pytest.approx(1.2)
    assert not isinstance(movie.data, np.ndarray)
    for key in (slice(None), slice(3, 20, 4), slice(9, 2, -3), 7, [5, 5, 1], np.arange(30) > 20):
        np.testing.assert_array_equal(movie.data[key], FRAMES[key])
    assert "NWB, series acquisition/movie, frame, x, y turned to frame, y, x, fs 7.81 Hz from rate" in movie.history[0]


def test_x_of_the_specification_is_the_column(tmp_path):
    session = Session()
    movie = load_movie(session.write(tmp_path / "a.nwb", session.photons()))
    with pynwb.NWBHDF5IO(tmp_path / "a.nwb", "r") as io:
        data = io.read().acquisition["movie"].data
        for t, x, y in ((3, 8, 0), (29, 0, 7), (11, 5, 2)):
            assert movie.data[t][y, x] == data[t, x, y]


def test_times_with_a_gap(tmp_path, caplog):
    times = 12.5 + np.arange(30) / 7.81
    times[20:] += 3
    session = Session()
    movie = load_movie(session.write(tmp_path / "a.nwb", session.photons(rate=None, timestamps=times)))
    np.testing.assert_array_equal(movie.times_s, times)
    assert movie.fs == pytest.approx(7.81, rel=1e-5)
    assert "a.nwb: 1 gaps in the frame times, the first after frame 19" in caplog.text


def test_times_that_are_too_few(tmp_path):
    session = Session()
    path = session.write(tmp_path / "a.nwb", session.photons(rate=None, timestamps=np.arange(30.0)))
    with h5py.File(path, "r+") as file:
        del file["acquisition/movie/timestamps"]
        file["acquisition/movie/timestamps"] = np.arange(20.0)
    with pytest.raises(MovieFileError, match="holds 20 frame times, the movie has 30 frames"):
        load_movie(path)


def test_rate_of_the_plane_stands_in(tmp_path):
    session = Session(imaging_rate=15.3)
    path = session.write(tmp_path / "a.nwb", session.photons(rate=np.float32(0.1)))
    assert load_movie(path).fs == 0.1
    with h5py.File(path, "r+") as file:
        file["acquisition/movie/starting_time"].attrs["rate"] = 0.0
    assert load_movie(path).fs == 15.3
    assert load_movie(path, fs=30).fs == 30


@pytest.mark.parametrize(
    ("spacing", "unit", "expected"),
    [
        ((2, 2), "micrometers", 2),
        ((2, 2, 30), "microns", 2),
        ((1.5e-3, 1.5e-3), "mm", 1.5),
        ((2, 2), "meters", None),
        ((2, 3), "microns", None),
        ((2, 2), "furlongs", None),
    ],
)
def test_pixels_in_any_unit(tmp_path, caplog, spacing, unit, expected):
    session = Session(grid_spacing=list(map(float, spacing)), grid_spacing_unit=unit)
    movie = load_movie(session.write(tmp_path / "a.nwb", session.photons()))
    assert movie.pixel_um == (None if expected is None else pytest.approx(expected))
    assert ("is no side of a square pixel" in caplog.text) == (expected is None)


def test_planes(tmp_path):
    stack = np.stack([STORED, STORED[::-1]], axis=-1)
    session = Session()
    path = session.write(tmp_path / "a.nwb", session.photons(data=stack))
    with pytest.raises(MovieFileError, match="holds 2 planes"):
        load_movie(path)
    movie = load_movie(path, plane=1)
    np.testing.assert_array_equal(movie.data[4:20:3], FRAMES[::-1][4:20:3])
    assert "plane 1 of 2" in movie.history[0]
    with pytest.raises(MovieFileError, match="channel=0 was given"):
        load_movie(path, channel=0)
    session = Session()
    np.testing.assert_array_equal(
        load_movie(session.write(tmp_path / "b.nwb", session.photons(data=stack[..., :1]))).data[:], FRAMES
    )


def test_several_series_are_listed_and_cameras_are_no_movies(tmp_path):
    camera = {"name": "eye", "data": STORED[:, :4], "unit": "n.a.", "rate": 60.0}
    session = Session()
    assert load_movie(session.write(tmp_path / "a.nwb", session.photons("green"), ImageSeries(**camera))).shape == FRAMES.shape
    session = Session()
    red = session.photons("red", data=STORED[::-1])
    path = session.write(tmp_path / "b.nwb", session.photons("green"), red, ImageSeries(**camera))
    with pytest.raises(MovieFileError, match=r"holds 2 series, expected one: acquisition/green, acquisition/red\. .*dataset="):
        load_movie(path)
    for name in ("red", "acquisition/red", "/acquisition/red/"):
        np.testing.assert_array_equal(load_movie(path, dataset=name).data[:], FRAMES[::-1])
    with pytest.raises(MovieFileError, match="has 0 series 'blue'"):
        load_movie(path, dataset="blue")
    only = Session().write(tmp_path / "c.nwb", ImageSeries(name="eye", data=STORED, unit="n.a.", rate=60.0))
    np.testing.assert_array_equal(load_movie(only).data[:], FRAMES)
    with pytest.raises(MovieFileError, match="holds no imaging series"):
        load_movie(Session().write(tmp_path / "d.nwb"))


def test_corrected_stacks(tmp_path):
    session = Session()
    raw = session.photons("raw", data=STORED[::-1])
    shifts = pynwb.TimeSeries(name="xy_translation", data=np.zeros((30, 2)), unit="px", rate=7.81)
    corrected = ImageSeries(name="corrected", data=STORED, unit="n.a.", rate=7.81)
    stack = CorrectedImageStack(corrected=corrected, original=raw, xy_translation=shifts)
    module = session.file.create_processing_module(name="ophys", description="test")
    module.add(MotionCorrection(corrected_image_stacks=[stack]))
    path = session.write(tmp_path / "a.nwb", raw)
    place = "processing/ophys/MotionCorrection/CorrectedImageStack/corrected"
    with pytest.raises(MovieFileError, match=f"holds 2 series, expected one: acquisition/raw, {place}"):
        load_movie(path)
    np.testing.assert_array_equal(load_movie(path, dataset="corrected").data[:], FRAMES)


def test_frames_in_other_files(tmp_path):
    session = Session(grid_spacing=[2.0, 2.0], grid_spacing_unit="microns")
    times = np.arange(30) / 8
    options = {
        "data": None,
        "rate": None,
        "timestamps": times,
        "format": "external",
        "external_file": ["part 1.tif", "part 2.tif"],
        "starting_frame": [0, 12],
    }
    path = session.write(tmp_path / "a.nwb", session.photons(**options))
    with pytest.raises(MovieFileError, match=r"has its frames in .*part 1\.tif, which is not there"):
        load_movie(path)
    tifffile.imwrite(tmp_path / "part 1.tif", FRAMES[:12], metadata={"fs": 99.0})
    tifffile.imwrite(tmp_path / "part 2.tif", FRAMES[12:], metadata={"fs": 99.0})
    movie = load_movie(path)
    np.testing.assert_array_equal(movie.data[:], FRAMES)
    assert (movie.fs, movie.pixel_um) == (8.0, 2.0)
    assert "series acquisition/movie, frames in part 1.tif, TIFF, 2 files" in movie.history[0]


def test_frames_in_a_video(tmp_path):
    from test_io_video import FFV1, encode
    from test_io_video import FRAMES as VIDEO

    encode(tmp_path / "0.avi", VIDEO, *FFV1, fs=60)
    session = Session()
    times = np.arange(90) / 20
    options = {"data": None, "format": "external", "external_file": ["./0.avi"], "starting_frame": [0]}
    path = session.write(tmp_path / "a.nwb", session.photons(kind=OnePhotonSeries, rate=None, timestamps=times, **options))
    movie = load_movie(path)
    np.testing.assert_array_equal(movie.data[50:60], VIDEO[50:60])
    np.testing.assert_array_equal(movie.times_s, times)
    assert movie.fs == 20


def test_zero_frames_and_truncation(tmp_path):
    session = Session()
    path = session.write(tmp_path / "a.nwb", session.photons(data=STORED[:1]))
    assert load_movie(path).shape == (1, 8, 9)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(MovieFileError, match="is no readable HDF5 file"):
        load_movie(path)
    session = Session()
    with pytest.raises(MovieFileError, match="is empty, shape"):
        load_movie(session.write(tmp_path / "b.nwb", session.photons(data=STORED[:0])))
