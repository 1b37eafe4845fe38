"""Simulated synaptic transients: what they call truth is true of the frames."""

import numpy as np
import pytest
from scipy import ndimage

from calcium_helpers.simulate.synapses import SynapseConfig, synaptic_events

SMALL = SynapseConfig(n_frames=120, height=64, width=72)
QUIET = {"n_events": 0.0, "bleaching": 0.0, "drift_px": 0.0}


@pytest.fixture(scope="module")
def movies():
    """Three movies with the defaults."""
    return [synaptic_events(seed=seed) for seed in range(3)]


def column(movies, name):
    return np.concatenate([sim.events.table[name].to_numpy() for sim in movies])


def test_equal_seeds_give_equal_movies_and_others_do_not():
    first, same, other = (synaptic_events(SMALL, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.movie.data, same.movie.data)
    np.testing.assert_array_equal(first.label, same.label)
    assert first.events.table.equals(same.events.table)
    assert (first.movie.data != other.movie.data).any()


def test_shapes_and_units():
    sim = synaptic_events(SMALL, seed=0)
    assert sim.movie.shape == sim.label.shape == (120, 64, 72)
    assert (sim.movie.fs, sim.movie.pixel_um, sim.label.dtype) == (10.0, 0.16, np.uint16)
    assert sim.structure.shape == (64, 72)
    assert sim.sites["n_events"].sum() == len(sim.events)
    inside = sim.sites[["y_px", "x_px"]].to_numpy()
    assert (inside >= 0).all()
    assert (inside < (64, 72)).all()


def test_label_masks_and_table_agree(movies):
    for sim in movies:
        table = sim.events.table
        voxels = np.bincount(sim.label.ravel())
        assert len(voxels) == len(table) + 1
        for i, (t0, y0, x0, mask) in enumerate(sim.events.masks):
            box = tuple(slice(a, a + n) for a, n in zip((t0, y0, x0), mask.shape, strict=True))
            np.testing.assert_array_equal(sim.label[box] == i + 1, mask)
            assert mask.sum() == voxels[i + 1]
            assert [mask.any(axis=axes).all() for axes in ((1, 2), (0, 2), (0, 1))] == [True] * 3
            assert table["area_px"][i] == mask.any(axis=0).sum()
            assert (table["onset_s"][i], table["offset_s"][i]) == (t0 / 10.0, (t0 + len(mask)) / 10.0)
            assert ndimage.label(mask, np.ones((3, 3, 3)))[1] == 1


def test_events_are_as_large_and_long_as_reported(movies):
    """Area and duration: tenths to a few square micrometres and seconds; on dendrites wider and slower."""
    area, duration = column(movies, "area_px") * 0.16**2, column(movies, "offset_s") - column(movies, "onset_s")
    synapse = column(movies, "kind") == "synapse"
    assert 0.5 < synapse.mean() < 0.95
    assert 0.3 < np.percentile(area[synapse], 5) < np.percentile(area[synapse], 95) < 3
    assert 0.2 < np.percentile(duration[synapse], 5) < np.percentile(duration[synapse], 95) < 2.5
    assert np.median(area[~synapse]) > 2 * np.median(area[synapse])
    assert np.median(duration[~synapse]) > 1.5 * np.median(duration[synapse])


def test_events_reach_from_hidden_to_obvious(movies):
    snr = column(movies, "snr")
    assert 1 < np.percentile(snr, 5) < 2.5
    assert 2 < np.percentile(snr, 25) < 4
    assert 8 < np.percentile(snr, 97) < 20


def test_the_stated_snr_is_that_of_the_movie():
    """The mean trace of an event's pixels, its quiet time and its peak, in frames with nothing else."""
    config = SynapseConfig(n_events=20, distractors_per_min=0, bleaching=0, drift_px=0, glow_photons=0, amplitude_log_sd=0.2)
    stated, measured = [], []
    for seed in range(2):
        sim = synaptic_events(config, seed=seed)
        frames = sim.movie.data.astype(float)
        for i, event in sim.events.table.iterrows():
            area = (sim.label == i + 1).any(axis=0)
            quiet = ~ndimage.binary_dilation(sim.label[:, area].any(axis=1), iterations=15)
            trace = frames[:, area].mean(axis=1)
            if quiet.sum() > 50:
                stated.append(event["snr"])
                measured.append((trace[round(event["peak_s"] * 10)] - trace[quiet].mean()) / trace[quiet].std())
    assert len(stated) > 15
    difference = np.array(measured) - stated
    assert abs(difference.mean()) < 0.6  # one frame of noise is 1 each; touching events add a little
    assert np.median(np.abs(difference)) < 1.5


def test_some_events_touch_and_the_table_says_which(movies):
    touching = column(movies, "touching")
    assert 0.1 < touching.mean() < 0.5
    for sim in movies:
        places = [set(map(tuple, np.argwhere(mask) + np.array(start))) for *start, mask in sim.events.masks]
        beside = [{(t + a, y + b, x + c) for t, y, x in own for a, b, c in np.ndindex(2, 2, 2)} for own in places]
        meet = np.array([[bool(a & b) for b in beside] for a in beside])  # cubes of 2 meet where voxels are at most 1 apart
        np.testing.assert_array_equal(meet.sum(axis=1) > 1, sim.events.table["touching"])


def test_some_sites_fire_again_and_some_never(movies):
    n = np.concatenate([sim.sites["n_events"] for sim in movies])
    assert min((n == 0).sum(), (n == 1).sum(), (n > 1).sum()) > 5


def test_events_on_synapses_stay_at_their_spine(movies):
    for sim in movies:
        table = sim.events.table
        for i in np.flatnonzero(table["kind"] == "synapse"):
            centre = np.argwhere((sim.label == i + 1).any(axis=0)).mean(axis=0)
            assert np.hypot(*(centre - table.loc[i, ["y_px", "x_px"]].to_numpy(dtype=float))) < 8


def test_transients_of_whole_dendrites_are_no_events():
    sim = synaptic_events(SynapseConfig(**QUIET, distractors_per_min=6, glow_photons=0, n_dendrites=1), seed=2)
    assert len(sim.events) == 0
    assert not sim.label.any()
    mean = sim.movie.data.mean(axis=(1, 2))
    rise = [mean[int(t * 10) + 4] - mean[int(t * 10) - 1] for t in sim.distractors["onset_s"] if 1 < t < 29]
    assert len(rise)
    assert min(rise) > 3 * np.abs(np.diff(mean)).std() / np.sqrt(2)


def test_bleaching_and_noise():
    """Brightness falls by the stated share; photons and electrons make the stated variance."""
    config = {**QUIET, "distractors_per_min": 0, "glow_photons": 0}
    sim = synaptic_events(SynapseConfig(**{**config, "bleaching": 0.3}), seed=1)
    light = sim.movie.data.mean(axis=(1, 2)) - 100
    assert light[-10:].mean() / light[:10].mean() == pytest.approx(0.7, abs=0.02)
    still = synaptic_events(SynapseConfig(**config), seed=1)
    variance = ((still.movie.data.astype(float) - 100) / 8).var(axis=0)
    bright = still.structure > 15
    assert (variance / (still.structure + 1.5**2))[bright].mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("shape", [(1, 64, 64), (5, 8, 8), (40, 16, 200)])
def test_odd_shapes(shape):
    sim = synaptic_events(SynapseConfig(n_frames=shape[0], height=shape[1], width=shape[2]), seed=0)
    assert sim.movie.shape == sim.label.shape == shape
    assert len(sim.events.masks) == len(sim.events.table) == len(np.unique(sim.label)) - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_frames": 0}, "n_frames must be a whole number"),
        ({"fs": 0.0}, "fs must be a finite number of Hz"),
        ({"decay_s": (2.0, 1.0)}, "decay_s must be"),
        ({"touching": 1.5}, "touching must be a share"),
        ({"n_events": -1.0}, "n_events must be 0 or more"),
    ],
)
def test_impossible_configurations_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        SynapseConfig(**change)
