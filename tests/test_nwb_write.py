"""NWB files of results: valid, what the inspector asks for, read back as they were written, and never of made-up metadata."""

import json
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import h5py
import numpy as np
import pandas as pd
import pynwb
import pytest
import tifffile
import yaml
from _fake_results import make_results
from nwbinspector import Importance, inspect_nwbfile

from calcium_helpers.cli import main
from calcium_helpers.containers import Events, Footprints
from calcium_helpers.io import MovieFileError, load_movie, save_nwb, save_results
from calcium_helpers.io.nwb_metadata import KEYS, read_metadata, write_template

N, T, SHAPE, FS = 6, 300, (32, 40), 7.81
META = {
    "session": {
        "session_start_time": "2024-01-31T14:05:00+01:00",
        "session_description": "spontaneous activity",
        "session_id": "day 3",
        "experimenter": ["Doe, Jane", "Roe, R."],
        "institution": "An institute",
        "keywords": ["vision"],
    },
    "subject": {"subject_id": "m7", "species": "Mus musculus", "sex": "F", "age": "P90D", "weight": "0.025 kg"},
    "device": {"name": "microscope", "description": "resonant scanner"},
    "imaging": {"indicator": "GCaMP6f", "excitation_nm": 920, "emission_nm": 510.5, "location": "VISp"},
}
FORBIDDEN = {Importance.CRITICAL, Importance.BEST_PRACTICE_VIOLATION, Importance.ERROR, Importance.PYNWB_VALIDATION}


def renamed(results):
    """The same with ids that are no row numbers."""
    ids = 10 * np.arange(len(results.footprints)) + 3
    traces = {kind: getattr(results, kind).replace(ids=ids) for kind in ("raw", "neuropil", "dff", "denoised", "spikes")}
    events = results.events.table.assign(roi=ids[results.events.table["roi"].to_numpy(dtype=int)])
    footprints = Footprints(results.footprints.weights, results.footprints.shape, ids)
    return results._replace(footprints=footprints, cells=results.cells.assign(id=ids), events=Events(events), **traces)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Results, and the movies that they are of."""
    results = renamed(make_results(n_cells=N, shape=SHAPE, n_frames=T, fs=FS))
    folder = tmp_path_factory.mktemp("session")
    frames = np.random.default_rng(0).integers(0, 900, (T, *SHAPE)).astype(np.uint16)
    tifffile.imwrite(folder / "simulated.tif", frames)
    tifffile.imwrite(folder / "motion_corrected.tif", frames[::-1].astype(np.float32))
    return results, folder, frames


def inspect(path):
    """What the inspector and the schema find wrong."""
    found = [message for message in inspect_nwbfile(nwbfile_path=str(path)) if message.importance in FORBIDDEN]
    return [*found, *pynwb.validate(path=str(path))]


def change(metadata, section, **values):
    return {**metadata, section: {**metadata[section], **values}}


@pytest.mark.parametrize(
    ("modality", "kind", "clock"),
    [("2p", "TwoPhotonSeries", "rate"), ("2p", "TwoPhotonSeries", "regular"), ("1p", "OnePhotonSeries", "gap")],
)
def test_whole_files(session, modality, kind, clock):
    """All that was written is read back by pynwb, and there is nothing that the inspector forbids."""
    results, folder, _ = session
    times = {"rate": None, "regular": 2.5 + np.arange(T) / 8, "gap": 2.5 + np.arange(T) / 8 + 9.0 * (np.arange(T) > 99)}[clock]
    results = results._replace(times_s=times, summary={**results.summary, "modality": modality})
    path = folder / f"{modality} {clock}.nwb"
    lacks = save_nwb(results, path, metadata=META, movie=folder / "simulated.tif", corrected=folder / "motion_corrected.tif")
    assert lacks == ()
    assert inspect(path) == []
    times = np.arange(T) / FS if times is None else times
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        file = io.read()
        ophys = file.processing["ophys"]
        raw = file.acquisition[kind]
        assert type(raw).__name__ == kind
        assert (list(raw.external_file), raw.num_samples) == (["simulated.tif"], T)
        check_cells(ophys, results)
        check_traces(ophys, results, times)
        check_events(ophys, results, times)
        check_motion(ophys, results, raw)
        for name, image in results.images.items():
            np.testing.assert_array_equal(ophys["SummaryImages"][name].data[:].T, image)
        assert list(ophys["history"]["text"][:3]) == list(results.history)
        parameters = {name: json.loads(value) for _, name, value in ophys["parameters"].to_dataframe().itertuples()}
        assert parameters["cnmf.diameter_px"] == 11.5
        assert dict(file.was_generated_by[:])["numpy"] == "2.4.6"


def check_cells(ophys, results):
    table = ophys["ImageSegmentation"]["PlaneSegmentation"].to_dataframe()
    np.testing.assert_array_equal(table.index, results.footprints.ids)
    images = np.zeros((N, *SHAPE), np.float32)
    for image, pixels in zip(images, table["pixel_mask"], strict=True):
        for x, y, weight in pixels:
            image[y, x] = weight
    np.testing.assert_array_equal(images, [results.footprints.image(row) for row in range(N)])
    for name in ("accepted", "reason", "snr", "area_px", "y_px"):
        assert table[name].tolist() == results.cells[name].tolist()


def check_traces(ophys, results, times):
    places = {"raw": "Fluorescence", "neuropil": "Fluorescence", "dff": "DfOverF", "denoised": "DfOverF", "spikes": None}
    for name, container in places.items():
        series = ophys[name] if container is None else ophys[container][name]
        assert series.data.shape == (T, N)
        np.testing.assert_array_equal(series.data[:], getattr(results, name).values.T)
        np.testing.assert_array_equal(series.rois.data[:], np.arange(N))
        np.testing.assert_allclose(series.get_timestamps(), times, atol=1e-9)
    assert ophys["spikes"].unit == "dF/F a frame"


def check_events(ophys, results, times):
    table, expected = ophys["events"].to_dataframe(index=True), results.events.table
    np.testing.assert_array_equal(results.footprints.ids[table["unit"]], expected["roi"])
    for name in ("onset", "peak", "offset"):
        frames = np.minimum(expected[f"{name}_s"] * FS, T - 1)
        low = np.minimum(frames.astype(int), T - 2)
        on_clock = times[low] + (frames - low) * (times[low + 1] - times[low])
        shown = expected[f"{name}_s"] if results.times_s is None else on_clock
        np.testing.assert_allclose(table[f"{name}_time"], shown, atol=1e-9)
    np.testing.assert_array_equal(table["amplitude"], expected["amplitude"])


def check_motion(ophys, results, raw):
    stack = ophys["MotionCorrection"]["CorrectedImageStack"]
    assert stack.original is raw
    assert list(stack.corrected.external_file) == ["motion_corrected.tif"]
    np.testing.assert_array_equal(stack.xy_translation.data[:], results.shifts.rigid_yx[:, ::-1])
    np.testing.assert_array_equal(ophys["block_translation"].data[:][..., 1], results.shifts.yx[..., 0])
    assert stack.xy_translation.unit == "pixels"


def test_times_are_stored_once(session, tmp_path):
    results, folder, _ = session
    times = np.cumsum(np.random.default_rng(0).uniform(0.1, 0.2, T))
    save_nwb(results._replace(times_s=times), tmp_path / "a.nwb", metadata=META, movie=folder / "simulated.tif")
    found = []
    with h5py.File(tmp_path / "a.nwb") as file:
        file.visititems(lambda name, item: found.append(name) if name.endswith("timestamps") else None)  # not through links
        np.testing.assert_array_equal(file["processing/ophys/DfOverF/dff/timestamps"], times)
    assert found == ["acquisition/TwoPhotonSeries/timestamps"]


def test_what_was_said_of_the_session(session, tmp_path):
    metadata = change(META, "subject", age=None, date_of_birth=date(2023, 11, 2))
    save_nwb(session[0], tmp_path / "a.nwb", metadata=metadata)
    with pynwb.NWBHDF5IO(str(tmp_path / "a.nwb"), "r") as io:
        file = io.read()
        assert file.session_start_time == datetime.fromisoformat("2024-01-31T14:05:00+01:00")
        assert (file.session_description, file.session_id, file.lab) == ("spontaneous activity", "day 3", None)
        assert file.experimenter == ("Doe, Jane", "Roe, R.")
        assert len(file.identifier) == 36
        assert (file.subject.species, file.subject.weight, file.subject.strain) == ("Mus musculus", "0.025 kg", None)
        assert file.subject.date_of_birth.isoformat() == "2023-11-02T00:00:00+01:00"
        plane = file.imaging_planes["ImagingPlane"]
        assert (plane.excitation_lambda, plane.optical_channel[0].emission_lambda, plane.location) == (920, 510.5, "VISp")
        assert (plane.imaging_rate, plane.description) == (FS, None)
        np.testing.assert_allclose(plane.grid_spacing[:], 1.25e-6)


def test_our_reader_finds_the_movies(session, tmp_path):
    results, folder, frames = session
    path = folder / "read.nwb"
    save_nwb(results, path, metadata=META, movie=folder / "simulated.tif", corrected=folder / "motion_corrected.tif")
    raw, corrected = (load_movie(path, dataset=name) for name in ("TwoPhotonSeries", "corrected"))
    np.testing.assert_array_equal(raw.data[:], frames)
    np.testing.assert_array_equal(corrected.data[:], frames[::-1])
    assert (raw.fs, raw.pixel_um, corrected.fs) == (FS, 1.25, FS)


def test_files_elsewhere_and_in_parts(session, tmp_path):
    """Paths are relative to the NWB file, and lead out of the folder that a link stands for."""
    results, _, frames = session
    (tmp_path / "raw").mkdir()
    (tmp_path / "deep" / "real").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "real")
    parts = [tmp_path / "raw" / f"{i}.tif" for i in range(2)]
    tifffile.imwrite(parts[0], frames[:100])
    tifffile.imwrite(parts[1], frames[100:])
    path = tmp_path / "link" / "a.nwb"
    lacks = save_nwb(results, path, metadata=META, movie=parts)
    assert lacks == ("the motion-corrected movie is not referred to, since there is none",)
    with h5py.File(path) as file:
        places = file["acquisition/TwoPhotonSeries/external_file"]
        assert places.asstr()[:].tolist() == ["../../raw/0.tif", "../../raw/1.tif"]
        assert places.attrs["starting_frame"].tolist() == [0, 100]
    np.testing.assert_array_equal(load_movie(tmp_path / "deep" / "real" / "a.nwb").data[:], frames)
    assert inspect(path) == []


def test_without_movies(session, tmp_path):
    lacks = save_nwb(session[0], tmp_path / "a.nwb", metadata=META)
    assert lacks == (
        "the raw movie (simulated.tif) is not referred to, since it was not given",
        "the motion-corrected movie is not referred to, since there is none",
    )
    assert inspect(tmp_path / "a.nwb") == []
    with h5py.File(tmp_path / "a.nwb") as file:
        assert len(file["acquisition"]) == 0
        assert file["processing/ophys/xy_translation/data"].shape == (T, 2)


def test_another_name_is_said(session, tmp_path):
    results, folder, _ = session
    (folder / "other.tif").write_bytes((folder / "simulated.tif").read_bytes())
    (said, _) = save_nwb(results, folder / "other.nwb", metadata=META, movie=folder / "other.tif")
    assert said == "the raw movie is other.tif, the results were made of simulated.tif: is it the same?"


@pytest.mark.parametrize(
    ("name", "frames", "message"),
    [
        ("a.npy", (T, *SHAPE), r"a\.npy: is of a kind that an NWB file cannot point to.*\.tif"),
        ("a.tif", (T - 1, *SHAPE), "holds 299 frames, the results 300"),
        ("a.tif", (T, *SHAPE[::-1]), "has frames of 40 x 32 px, the results 32 x 40"),
        ("a.tif", None, "is no one movie"),
        ("channels.tif", (T, 2, *SHAPE), "is no one movie.*2 channels"),
    ],
)
def test_wrong_movies(session, tmp_path, name, frames, message):
    movie = tmp_path / name
    if frames is None:
        movie.write_bytes(b"no TIFF")
    elif movie.suffix == ".npy":
        np.save(movie, np.zeros(frames, np.uint8))
    else:
        extra = {"imagej": True, "metadata": {"axes": "TCYX"}} if len(frames) == 4 else {}
        tifffile.imwrite(movie, np.zeros(frames, np.uint8), **extra)
    with pytest.raises(MovieFileError, match=message):
        save_nwb(session[0], tmp_path / "a.nwb", metadata=META, movie=movie)
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_no_components(tmp_path):
    results = make_results(n_cells=0, shape=SHAPE, n_frames=T, fs=FS)
    lacks = save_nwb(results, tmp_path / "a.nwb", metadata=META)
    assert lacks[-1] == "there are no components: no footprints, traces and events"
    assert inspect(tmp_path / "a.nwb") == []
    with h5py.File(tmp_path / "a.nwb") as file:
        assert "ImageSegmentation" not in file["processing/ophys"]
        assert "SummaryImages" in file["processing/ophys"]


def test_no_events_and_nothing_known(session, tmp_path):
    """No event, image, shift, parameter or history, and a modality that nobody said."""
    results, folder, _ = session
    results = results._replace(
        events=Events(results.events.table.iloc[:0]), images={}, shifts=None, parameters={}, summary={}, history=()
    )
    lacks = save_nwb(results, folder / "bare.nwb", metadata=META, movie=folder / "simulated.tif")
    assert lacks == ()
    assert inspect(folder / "bare.nwb") == []
    with h5py.File(folder / "bare.nwb") as file:
        assert list(file["acquisition"]) == ["ImageSeries"]
        assert {"events", "history", "parameters", "SummaryImages"}.isdisjoint(file["processing/ophys"])


@pytest.mark.parametrize("times", [None, np.array([4.5])])
def test_one_frame(tmp_path, times):
    results = make_results(n_cells=3, shape=SHAPE, n_frames=1, fs=FS)._replace(times_s=times)
    save_nwb(results, tmp_path / "a.nwb", metadata=META)
    assert pynwb.validate(path=str(tmp_path / "a.nwb")) == []
    with pynwb.NWBHDF5IO(str(tmp_path / "a.nwb"), "r") as io:
        series = io.read().processing["ophys"]["DfOverF"]["dff"]
        np.testing.assert_array_equal(series.data[:], results.dff.values.T)
        np.testing.assert_array_equal(series.get_timestamps(), [0] if times is None else times)


def test_missing_text_and_numbers(session, tmp_path):
    results = session[0]
    cells = results.cells.assign(reason=[None, *results.cells["reason"][1:]], snr=np.nan)
    save_nwb(results._replace(cells=cells), tmp_path / "a.nwb", metadata=META)
    with pynwb.NWBHDF5IO(str(tmp_path / "a.nwb"), "r") as io:
        table = io.read().processing["ophys"]["ImageSegmentation"]["PlaneSegmentation"].to_dataframe()
    assert table["reason"].iloc[0] == ""
    assert table["snr"].isna().all()


@pytest.mark.parametrize(("parameters", "source", "unit"), [({"spikes": "net"}, "a network", "Hz"), ({}, "suite2p", "a.u.")])
def test_units_of_spikes(session, tmp_path, parameters, source, unit):
    results = session[0]
    results = results._replace(parameters=parameters, summary={**results.summary, "spikes_from": source})
    save_nwb(results, tmp_path / "a.nwb", metadata=META)
    with h5py.File(tmp_path / "a.nwb") as file:
        assert file["processing/ophys/spikes/data"].attrs["unit"] == unit


def test_a_modality_that_the_results_do_not_know(session):
    results, folder, _ = session
    for known, found in ((None, "OnePhotonSeries"), ("2p", "TwoPhotonSeries")):
        results = results._replace(summary={**results.summary, "modality": known})
        metadata = change(META, "imaging", modality="1p")
        save_nwb(results, folder / "known.nwb", metadata=metadata, movie=folder / "simulated.tif", overwrite=True)
        with h5py.File(folder / "known.nwb") as file:
            assert list(file["acquisition"]) == [found]


def test_nothing_is_replaced_or_left_half_written(session, tmp_path):
    results = session[0]
    path = tmp_path / "a.nwb"
    path.write_bytes(b"precious")
    with pytest.raises(MovieFileError, match="is there already"):
        save_nwb(results, path, metadata=META)
    broken = results._replace(images={"mean": np.array([[object()]])})  # fails in the middle of writing
    with pytest.raises(TypeError):
        save_nwb(broken, path, metadata=META, overwrite=True)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.nwb", b"precious")]
    save_nwb(results, path, metadata=META, overwrite=True)
    assert h5py.is_hdf5(path)
    for wrong in (tmp_path / "a.h5", tmp_path / "absent" / "a.nwb"):
        with pytest.raises(MovieFileError, match="no name of a new NWB file"):
            save_nwb(results, wrong, metadata=META)


def test_the_template_names_all_that_is_required(session, tmp_path):
    write_template(tmp_path / "metadata.yaml")
    template = yaml.safe_load((tmp_path / "metadata.yaml").read_text())
    assert {section: list(keys) for section, keys in template.items()} == {name: list(keys) for name, keys in KEYS.items()}
    assert {value for keys in template.values() for value in keys.values()} == {None}
    with pytest.raises(MovieFileError, match="is there already"):
        write_template(tmp_path / "metadata.yaml")
    with pytest.raises(MovieFileError, match=r"lacks session\.session_start_time") as error:
        save_nwb(session[0], tmp_path / "a.nwb", metadata=tmp_path / "metadata.yaml")
    required = ["session_description", "subject_id", "species", "sex", "age", "name", "indicator"]
    required += ["excitation_nm", "emission_nm", "location"]
    assert [name.rpartition(".")[2] for name in str(error.value).split(". ")[0].split(", ")[1:]] == required
    assert [path.name for path in tmp_path.iterdir()] == ["metadata.yaml"]


@pytest.mark.parametrize("section", list(KEYS))
def test_each_required_key_is_missed(section):
    for key in [name for name, about in KEYS[section].items() if about.required]:
        for empty in (None, "  ", []):
            with pytest.raises(MovieFileError, match=f"metadata: lacks {section}.{key}. Correct"):
                read_metadata(change(META, section, **{key: empty}))
    with pytest.raises(MovieFileError, match=f"lacks {section}."):
        read_metadata({name: keys for name, keys in META.items() if name != section})


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("session", "session_start_time", "2024-01-31T14:05:00", "time zone"),
        ("session", "session_start_time", datetime.now(UTC) + timedelta(days=1), "a date and time: when the recording began"),
        ("session", "session_start_time", "yesterday", "'yesterday', expected a date and time"),
        ("session", "session_start_time", date(2024, 1, 31), "expected a date and time"),
        ("session", "session_description", 7, "is 7, expected text"),
        ("session", "session_id", "a/b", "without /"),
        ("session", "keywords", [1, 2], "a list of text"),
        ("session", "experimenters", "Doe, Jane", "session.experimenters is an unknown key"),
        ("subject", "species", "mouse", "Latin name"),
        ("subject", "sex", "female", "M, F, O"),
        ("subject", "sex", "XX", "'XX' of Mus musculus"),
        ("subject", "age", "90 days", "P90D"),
        ("subject", "weight", "25", "0.025 kg"),
        ("subject", "subject_id", 12, "is 12, expected text"),
        ("subject", "date_of_birth", "31.10.2025", "expected a date: as in 2025-10-31"),
        ("device", "name", "a/b", "without / and :"),
        ("imaging", "excitation_nm", 920e-9, "nanometres"),
        ("imaging", "emission_nm", "green", "expected a number"),
    ],
)
def test_wrong_values(section, key, value, message):
    with pytest.raises(MovieFileError, match=message) as error:
        read_metadata(change(META, section, **{key: value}))
    assert f"{section}.{key}" in str(error.value)


def test_all_that_is_wrong_is_said_at_once():
    metadata = {**change(META, "subject", sex="female", age=None), "device": "microscope", "stimuli": {}}
    with pytest.raises(MovieFileError) as error:
        read_metadata(metadata)
    text = str(error.value)
    assert text.startswith("metadata: lacks subject.age; stimuli is an unknown section; subject.sex is 'female'")
    assert "device is 'microscope', expected keys with values" in text


@pytest.mark.parametrize("age", ["P90D", "P12W/P14W", "P1Y6M", "P90Y/", "PT12H", "/P3D"])
def test_ages_as_the_inspector_reads_them(age):
    from nwbinspector.checks import check_subject_age

    assert read_metadata(change(META, "subject", age=age)).subject["age"] == age
    assert check_subject_age(pynwb.file.Subject(subject_id="a", age=age)) is None


def test_worms_have_other_sexes():
    worm = change(META, "subject", species="Caenorhabditis elegans", sex="XO")
    assert read_metadata(worm).subject["sex"] == "XO"
    with pytest.raises(MovieFileError, match="'M' of Caenorhabditis elegans"):
        read_metadata(change(worm, "subject", sex="M"))


def test_command_line(session, tmp_path, capsys, monkeypatch):
    """Template, filled in by hand, to file: as the README has it."""
    results, folder, frames = session
    monkeypatch.chdir(tmp_path)
    save_results(results, tmp_path / "results.h5")
    tifffile.imwrite("motion_corrected.tif", frames[::-1])
    assert main(["nwb", "--template", "metadata.yaml"]) == 0
    text = (tmp_path / "metadata.yaml").read_text()
    for keys in META.values():
        for name, value in keys.items():
            text = re.sub(rf"^  {name}:$", f"  {name}: {json.dumps(value)}", text, count=1, flags=re.MULTILINE)
    (tmp_path / "metadata.yaml").write_text(text)
    command = ["nwb", str(tmp_path), "--metadata", "metadata.yaml", "-o", "a.nwb", "--movie", str(folder / "simulated.tif")]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "a.nwb"
    assert inspect("a.nwb") == []
    np.testing.assert_array_equal(load_movie("a.nwb", dataset="corrected").data[:], frames[::-1])
    assert main(command) == 2
    assert "a.nwb: is there already. Name another file, or replace it with --force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert main(["nwb", "results.h5", "-o", "b.nwb"]) == 2
    assert "nwb needs --metadata" in capsys.readouterr().err


def test_without_pynwb(session, tmp_path):
    save_results(session[0], tmp_path / "results.h5")
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(META))
    code = (
        "import sys; sys.modules['pynwb'] = None\nfrom calcium_helpers.cli import main\n"
        "sys.exit(main(['nwb', '.', '--metadata', 'm.yaml', '-o', 'a.nwb']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "calcium-helpers: NWB files need pynwb: pip install 'calcium_helpers[nwb]'\n")
    assert not (tmp_path / "a.nwb").exists()


def test_columns_say_what_they_mean(session, tmp_path):
    save_nwb(session[0], tmp_path / "a.nwb", metadata=META)
    with pynwb.NWBHDF5IO(str(tmp_path / "a.nwb"), "r") as io:
        ophys = io.read().processing["ophys"]
        tables = (ophys["ImageSegmentation"]["PlaneSegmentation"], ophys["events"])
        said = pd.Series({column.name: column.description for table in tables for column in table.columns})
    assert not said.str.contains("as in the results").any(), said
