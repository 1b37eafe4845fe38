"""Sliders: a control moved changes the picture, and what is shown is what was asked for."""

import sys

import numpy as np
import pytest
import torch
from _fake_path import make_path

from calcium_helpers import widgets
from calcium_helpers.io.ground_truth import GroundTruth
from calcium_helpers.models.spike_gan import SpikeGan, SpikeGanConfig

FS = 30.0


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return SpikeGan(SpikeGanConfig(sets=("DS09 GCaMP6f",))).eval()


@pytest.fixture(scope="module")
def recordings():
    """A cell with one noise and bursts of two spikes 40 ms apart every 8 s, then the same with single spikes."""
    rng = np.random.default_rng(0)
    times = np.arange(round(200 * FS)) / FS
    found = []
    for sweep, gap in enumerate((0.04, None)):
        onsets = np.arange(4, 196, 8.0)
        spikes = np.sort(np.concatenate([onsets, onsets + gap])) if gap else onsets
        dff = 0.01 * rng.standard_normal(len(times)).astype(np.float32)
        found.append(GroundTruth("DS09", "GCaMP6f", f"cell {sweep}", times, dff, spikes, FS))
    return found


def test_a_slider_changes_the_picture(model, recordings):
    box = widgets.explore_generator(model, recordings, n_shown=3)
    *controls, picture = box.children
    assert [control.description for control in controls] == ["spikes", "interval (s)", "noise (%/√Hz)", "indicator"]
    seen = {picture.value}
    for control, value in zip(controls[:3], (5, 0.1, 4.0), strict=True):
        control.value = value
        seen.add(picture.value)
    assert len(seen) == 4
    assert all(bytes(value).startswith(b"\x89PNG") for value in seen)


def test_recorded_bursts_are_of_the_condition(recordings):
    level = 100 * np.median(np.abs(np.diff(recordings[0].dff))) / np.sqrt(FS)
    for n, many in ((1, 24), (2, 24), (3, 0)):
        found, alike = widgets._recorded(recordings, 25.0, n, 0.04, level)
        assert (found.size == n).sum() == many
        assert alike
    assert not widgets._recorded(recordings, 25.0, 2, 0.04, 10 * level)[1]
    assert (widgets._recorded(recordings, 25.0, 2, 0.01, level)[0].size == 2).sum() == 24


def test_generated_bursts_start_at_zero(model):
    made = widgets._generated(model, 4, 0.1, 1.0, "DS09", 5, 0)
    assert made.dff.shape == (5, len(made.times_s))
    assert made.times_s[0] == pytest.approx(-widgets.BEFORE_S, abs=1 / 25)
    before = made.times_s < 0
    np.testing.assert_allclose(made.dff[:, before].mean(axis=1), 0, atol=1e-5)


def test_a_slider_goes_through_the_history():
    found = make_path()
    controls, picture = widgets.explore_path(found, np.eye(40, 50), truth=found.footprints).children
    player, slider = controls.children
    assert (slider.min, slider.max, player.max) == (0, 8, 8)
    seen = {picture.value}
    for slider.value in range(1, 9):
        seen.add(picture.value)
    assert len(seen) == 9
    assert all(bytes(value).startswith(b"\x89PNG") for value in seen)


@pytest.mark.parametrize("n_steps", [0, 1])
def test_a_history_without_a_way_has_a_picture(n_steps):
    *_, picture = widgets.explore_path(make_path(n_cells=0, n_steps=n_steps), np.zeros((40, 50))).children
    assert bytes(picture.value).startswith(b"\x89PNG")


def test_without_ipywidgets_it_says_what_to_install(model, recordings, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'calcium_helpers\[widgets\]'"):
        widgets.explore_generator(model, recordings)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'calcium_helpers\[widgets\]'"):
        widgets.explore_path(make_path(), np.zeros((40, 50)))
