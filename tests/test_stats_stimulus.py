import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.known_answers.conditions import N_RESPONDING, make_recording
from calcium_helpers.containers import Traces
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.stats.stimulus import align_to_stimuli, read_stimuli


@pytest.mark.parametrize(
    "text",
    [
        "onset_s,label\n1.5,tone\n\n0.5,air puff\n",
        "\ufeffStimulus;Trial;Onset-s\ntone;1;1.5\nair puff;2;0.5\n",
        "onset\tduration\ttrial_type\n1.5\t1\ttone\n0.5\t1\tair puff\n",
        'time_s,label\r\n1.5,tone\r\n5e-1,"air puff"\r\n',
    ],
)
def test_times_are_read_in_order_from_what_people_write(text, tmp_path):
    (tmp_path / "stimuli.csv").write_bytes(text.encode())
    table = read_stimuli(tmp_path / "stimuli.csv")
    assert table["onset_s"].tolist() == [0.5, 1.5]
    assert table["label"].tolist() == ["air puff", "tone"]


def test_labels_may_be_missing(tmp_path):
    (tmp_path / "stimuli.csv").write_text("onset_s\n3\n2\n")
    assert read_stimuli(tmp_path / "stimuli.csv").to_dict("list") == {"onset_s": [2.0, 3.0], "label": ["stimulus"] * 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has the columns none, and none of them is a time"),
        ("frame,label\n3,tone\n", "has the columns frame, label, and none of them is a time. Name the one with seconds"),
        ("onset_s\n", "names no stimulus"),
        ("onset_s,label\n1,tone\nsoon,tone\n", "line 3, column onset_s: expected seconds, got 'soon'"),
        ("onset_s,label\n1,tone\nnan,tone\n", "line 3, column onset_s: expected seconds, got 'nan'"),
        ("onset_s,label\n,tone\n", "line 2, column onset_s: expected seconds, got ''"),
        ("onset_s,label\n1,\n", "line 2, column label: is empty"),
        ("onset_s,label\n1,tone,3\n", "line 2 has 3 cells, expected at most 2"),
        (b"onset_s\n\xff\n", "is no text in UTF-8"),
    ],
)
def test_what_cannot_be_read_is_named(text, words, tmp_path):
    path = tmp_path / "stimuli.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(MovieFileError, match=re.escape(words)) as caught:
        read_stimuli(path)
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(MovieFileError, match="there is no such file"):
        read_stimuli(tmp_path / "none.csv")


def test_averages_against_a_loop():
    rng = np.random.default_rng(0)
    traces = Traces(rng.normal(size=(3, 400)) + 5, 10.0, "dff", ids=np.array([7, 2, 9]))
    onsets = {"tone": [5.04, 12.0, 20.51, 33.3], "puff": [8.0, 39.9]}  # the last does not fit
    stimuli = pd.DataFrame([(onset, label) for label, times in onsets.items() for onset in times], columns=["onset_s", "label"])
    aligned = align_to_stimuli(traces, stimuli, before_s=1.0, after_s=2.0, n_shuffles=50)
    assert aligned.labels == ("tone", "puff")
    np.testing.assert_allclose(aligned.times_s, np.arange(-10, 20) / 10)
    table = aligned.responses.set_index(["roi", "label"])
    for row, roi in enumerate(traces.ids):
        trials = np.array([traces.values[row, f - 10 : f + 20].astype(float) for f in (50, 120, 205, 333)])
        trials -= trials[:, :10].mean(axis=1, keepdims=True)
        np.testing.assert_allclose(aligned.mean[row, 0], trials.mean(axis=0), atol=1e-6)
        low, high = stats.ttest_1samp(trials[:, 12], 0).confidence_interval(0.95)
        assert (aligned.low[row, 0, 12], aligned.high[row, 0, 12]) == pytest.approx((low, high), abs=1e-5)
        steps = trials[:, 10:].mean(axis=1)
        assert table.loc[(roi, "tone"), "response"] == pytest.approx(steps.mean(), abs=1e-6)
        interval = stats.ttest_1samp(steps, 0).confidence_interval(0.95)
        assert tuple(table.loc[(roi, "tone"), ["low", "high"]]) == pytest.approx(tuple(interval), abs=1e-6)
    assert (table.xs("tone", level="label")["n_trials"] == 4).all()
    lone = table.xs("puff", level="label")
    assert (lone["n_trials"] == 1).all()
    assert lone[["low", "high", "p", "q"]].isna().to_numpy().all()
    assert not lone["significant"].any()
    assert np.isfinite(aligned.mean[:, 1]).all()


@pytest.mark.parametrize("train", ["random", "regular"])
def test_responses_are_found_and_no_others(train):
    traces, stimuli = make_recording(3, train=train, drift=True, n_responding=N_RESPONDING)
    responses = align_to_stimuli(traces, stimuli, n_shuffles=300).responses
    found = responses["significant"].to_numpy()
    assert found[:N_RESPONDING].all()
    assert found[N_RESPONDING:].sum() <= 1
    assert (responses["response"][:N_RESPONDING] > 0.1).all()
    fewer = align_to_stimuli(traces.replace(values=-traces.values), stimuli, n_shuffles=300).responses
    assert fewer["significant"].equals(responses["significant"])  # a fall is a response too
    np.testing.assert_allclose(fewer["response"], -responses["response"])


def test_only_the_label_that_a_cell_answers_to():
    traces, stimuli = make_recording(4, train="regular", n_responding=0)
    labels = np.random.default_rng(0).permutation(np.repeat(["tone", "puff"], 12))
    values = traces.values.copy()
    for onset in stimuli["onset_s"][labels == "tone"]:
        values[0, round(onset * 10) : round(onset * 10) + 15] += 0.8
    table = align_to_stimuli(traces.replace(values=values), stimuli.assign(label=labels)).responses
    assert table.loc[table["significant"], ["roi", "label"]].to_numpy().tolist() == [[0, "tone"]]
    assert len(table) == 2 * len(traces)


def test_gain_offset_order_and_seed():
    traces, stimuli = make_recording(5, train="random", n_responding=3)
    first = align_to_stimuli(traces, stimuli, n_shuffles=100, seed=1)
    again = align_to_stimuli(traces, stimuli, n_shuffles=100, seed=1)
    pd.testing.assert_frame_equal(first.responses, again.responses)
    louder = align_to_stimuli(traces.replace(values=4 * traces.values + 64), stimuli, n_shuffles=100, seed=1)
    np.testing.assert_allclose(louder.responses["p"], first.responses["p"], rtol=0.02)
    np.testing.assert_allclose(louder.responses["response"], 4 * first.responses["response"], atol=1e-4)
    shuffled = align_to_stimuli(traces.select(np.arange(len(traces))[::-1]), stimuli, n_shuffles=100, seed=1)
    np.testing.assert_allclose(shuffled.responses["p"][::-1], first.responses["p"])


def test_pieces_change_nothing(monkeypatch):
    from calcium_helpers.stats import stimulus

    traces, stimuli = make_recording(6, train="random", n_responding=3)
    whole = align_to_stimuli(traces, stimuli, n_shuffles=50)
    monkeypatch.setattr(stimulus, "CHUNK_SAMPLES", 7000)
    pieces = align_to_stimuli(traces, stimuli, n_shuffles=50)
    np.testing.assert_array_equal(whole.mean, pieces.mean)
    np.testing.assert_allclose(whole.responses["p"], pieces.responses["p"])


def test_nothing_little_and_silence():
    stimuli = pd.DataFrame({"onset_s": [0.0, 3.0, 6.0, 9.0]})
    empty = align_to_stimuli(Traces(np.zeros((0, 200)), 10, "dff"), stimuli, before_s=1, after_s=1)
    assert empty.mean.shape == (0, 1, 20)
    assert empty.responses.empty
    assert list(empty.responses.columns)[:4] == ["roi", "label", "n_trials", "unit"]
    silent = align_to_stimuli(Traces(np.full((2, 200), 0.3), 10, "dff"), stimuli, before_s=1, after_s=1)
    assert (silent.responses["p"] == 1).all()
    assert (silent.responses["response"] == 0).all()
    assert (silent.responses["n_trials"] == 3).all()
    frame = align_to_stimuli(Traces(np.zeros((1, 1)), 10, "spikes"), stimuli)
    assert frame.responses["n_trials"].tolist() == [0]
    assert np.isnan(frame.mean).all()


def test_wrong_arguments_are_named():
    traces, stimuli = Traces(np.zeros((1, 100)), 10, "dff"), pd.DataFrame({"onset_s": [3.0]})
    with pytest.raises(ValueError, match=r"stimuli must be in the recording of 10 s, got 3000 to 3000 s; onset_s are seconds"):
        align_to_stimuli(traces, 1000 * stimuli)
    with pytest.raises(ValueError, match=r"column onset_s, got \['time'\]"):
        align_to_stimuli(traces, stimuli.rename(columns={"onset_s": "time"}))
    with pytest.raises(ValueError, match="before_s must be above 0, got 0"):
        align_to_stimuli(traces, stimuli, before_s=0)
    with pytest.raises(ValueError, match="alpha must be above 0 and below 1, got 5"):
        align_to_stimuli(traces, stimuli, alpha=5)
    with pytest.raises(ValueError, match="finite"):
        align_to_stimuli(traces.replace(values=np.full((1, 100), np.nan)), stimuli)
