"""Sliders: a control moved changes the picture, and what is shown is what was asked for."""

import sys

import numpy as np
import pytest
import torch
from _fake_path import make_path

from calcium_helpers import widgets
from calcium_helpers.containers import Movie
from calcium_helpers.io.ground_truth import GroundTruth
from calcium_helpers.models.spike_gan import SpikeGan, SpikeGanConfig
from calcium_helpers.transients import events_from_label
from calcium_helpers.widgets import generator

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
        found, alike = generator._recorded(recordings, 25.0, n, 0.04, level)
        assert (found.size == n).sum() == many
        assert alike
    assert not generator._recorded(recordings, 25.0, 2, 0.04, 10 * level)[1]
    assert (generator._recorded(recordings, 25.0, 2, 0.01, level)[0].size == 2).sum() == 24


def test_generated_bursts_start_at_zero(model):
    made = generator._generated(model, 4, 0.1, 1.0, "DS09", 5, 0)
    assert made.dff.shape == (5, len(made.times_s))
    assert made.times_s[0] == pytest.approx(-generator.BEFORE_S, abs=1 / 25)
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


def make_transients(n=3):
    """Events of scores 0.2, 0.4, 0.6, the middle one not true."""
    label = np.zeros((12, 20, 24), int)
    for i in range(n):
        label[3 * i : 3 * i + 3, 6 * i : 6 * i + 4, 6 * i : 6 * i + 5] = i + 1
    movie = Movie((label > 0) * 3.0, fs=10, pixel_um=0.16)
    events = events_from_label(label, movie)
    found = events.replace(table=events.table.assign(score=0.2 * (1 + np.arange(n))))
    return movie, found, events.select(np.arange(n) != 1)


def test_a_slider_goes_through_the_frames():
    movie, found, truth = make_transients()
    controls, picture = widgets.explore_transients(movie, found, truth=truth, frame=4).children
    player, slider = controls.children
    assert (slider.value, slider.max, player.value, player.max) == (4, 11, 4, 11)
    seen = {picture.value}
    for slider.value in (1, 7):
        seen.add(picture.value)
    assert len(seen) == 3
    assert all(bytes(value).startswith(b"\x89PNG") for value in seen)


def test_a_slider_changes_what_is_called():
    movie, found, truth = make_transients()
    slider, picture = widgets.explore_threshold(movie, found, truth, threshold=0.41).children
    assert slider.value == 0.41
    levels = [level for _, level in slider.options]
    assert levels == pytest.approx([0.2, 0.4, 0.41, 0.6])
    seen = {picture.value}
    for level in levels:
        slider.value = level
        seen.add(picture.value)
    assert len(seen) == 3  # of 3, 2, 1 and 1 events
    assert widgets.explore_threshold(movie, found, truth).children[0].value == pytest.approx(0.4)
    assert all(bytes(value).startswith(b"\x89PNG") for value in seen)


@pytest.mark.parametrize("n", [0, 1])
def test_few_or_no_events_have_a_picture(n):
    movie, found, truth = make_transients(n)
    for box in (widgets.explore_threshold(movie, found, truth), widgets.explore_transients(movie, found)):
        assert bytes(box.children[-1].value).startswith(b"\x89PNG")


def test_without_ipywidgets_it_says_what_to_install(model, recordings, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'calcium_helpers\[widgets\]'"):
        widgets.explore_generator(model, recordings)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'calcium_helpers\[widgets\]'"):
        widgets.explore_path(make_path(), np.zeros((40, 50)))
    movie, found, truth = make_transients()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'calcium_helpers\[widgets\]'"):
        widgets.explore_transients(movie)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'calcium_helpers\[widgets\]'"):
        widgets.explore_threshold(movie, found, truth)
