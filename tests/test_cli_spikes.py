"""``calcium-helpers spikes``: a table of traces in, a table of rates out."""

import numpy as np
import pandas as pd
import pytest
import torch

from calcium_helpers.cli import main
from calcium_helpers.containers import Traces
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.trace_tables import read_traces, write_traces
from calcium_helpers.models._base import save_model
from calcium_helpers.models.spike_inference import infer_spikes, load_spike_net
from calcium_helpers.models.spike_net import SpikeNet, SpikeNetConfig

DFF = 0.1 * np.random.default_rng(0).normal(size=(400, 2)).cumsum(axis=0).astype(np.float32)


@pytest.fixture
def model(tmp_path):
    """A network that nobody trained."""
    torch.manual_seed(0)
    folder = tmp_path / "net"
    save_model(SpikeNet(SpikeNetConfig(channels=16, dilations=(1, 2))), folder)
    return folder


def write(path, table):
    table.to_csv(path, index=False)
    return path


def test_rates_of_a_table(tmp_path, model, capsys):
    path, out = write(tmp_path / "traces.csv", pd.DataFrame(DFF, columns=["a 1", "b"])), tmp_path / "spikes.csv"
    assert main(["spikes", str(path), "--fs", "20", "-o", str(out), "--model", str(model)]) == 0
    found = pd.read_csv(out)
    assert list(found) == ["time_s", "a 1", "b"]
    np.testing.assert_allclose(found["time_s"], np.arange(400) / 20, atol=1e-4)
    expected = infer_spikes(Traces(DFF.T, 20, "dff"), model=load_spike_net(model)).values
    np.testing.assert_allclose(found[["a 1", "b"]].to_numpy().T, expected, rtol=1e-3, atol=1e-5)
    assert "rates of 2 cells, 400 frames at 20 Hz" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net", "spikes.csv", "traces.csv"]


def test_rate_from_the_times_and_one_cell(tmp_path, model, capsys):
    times = np.round(3 + np.arange(400) / 15, 3)
    path = write(tmp_path / "traces.csv", pd.DataFrame({"time_s": times, "7": DFF[:, 0]}))
    assert main(["spikes", str(path), "-o", str(tmp_path / "out.csv"), "--model", str(model)]) == 0
    found = pd.read_csv(tmp_path / "out.csv")
    np.testing.assert_allclose(found["time_s"], times)
    assert "rates of 1 cell, 400 frames at 15 Hz" in capsys.readouterr().out


def test_warns_of_percent(tmp_path, model, capsys):
    loaded = load_spike_net(model)
    save_model(SpikeNet(SpikeNetConfig(channels=16, dilations=(1, 2), noise_range=(0.1, 20))), model)
    assert loaded.config.noise_range == (0, float("inf"))
    path = write(tmp_path / "traces.csv", pd.DataFrame(100 * DFF))
    assert main(["spikes", str(path), "--fs", "20", "-o", str(tmp_path / "out.csv"), "--model", str(model)]) == 0
    assert "warning: noise of 2 of 2 traces is outside the 0.1 to 20" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "fs", "problem"),
    [
        ("a,b\n1,2\n3,4\n", None, "has no column time_s to find the rate from"),
        ("a,b\n1,2\n3,x\n", "30", "column 'b' holds 'x', where a number was expected"),
        ("a,b\n1,2\n3,\n", "30", "column 'b' has 1 empty or infinite values, the first in line 3"),
        ("a,b\n1,inf\n3,4\n", "30", "column 'b' has 1 empty or infinite values, the first in line 2"),
        ("0.1,0.2\n0.3,0.4\n", "30", "has numbers in its first row, where names were expected"),
        ("time_s,a\n0,1\n1,2\n5,3\n", None, "time_s does not increase by equal steps"),
        ("time_s,a\n0,1\n0,2\n0,3\n", None, "time_s does not increase by equal steps"),
        ("time_s,a\n0,1\n0.1,2\n0.2,3\n", "30", "time_s says 10 Hz, not 30"),
        ("time_s\n0\n0.1\n", None, "has no column of a cell"),
        ("", "30", "cannot be read as a table"),
        ("a,b\n1,2\n3,4,5\n", "30", "cannot be read as a table"),
    ],
)
def test_broken_tables(tmp_path, capsys, text, fs, problem):
    path = tmp_path / "traces.csv"
    path.write_text(text)
    with pytest.raises(MovieFileError, match=r"traces\.csv: ") as error:
        read_traces(path, fs=None if fs is None else float(fs))
    assert problem in str(error.value)
    arguments = ["spikes", str(path), "-o", str(tmp_path / "out.csv"), *([] if fs is None else ["--fs", fs])]
    assert main(arguments) == 2
    assert problem in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["traces.csv"]


def test_missing_files_and_folders(tmp_path, capsys):
    assert main(["spikes", str(tmp_path / "no.csv"), "--fs", "30"]) == 2
    assert "no.csv" in capsys.readouterr().err
    path = write(tmp_path / "traces.csv", pd.DataFrame(DFF))
    assert main(["spikes", str(path), "--fs", "30", "-o", str(tmp_path / "no" / "out.csv")]) == 2
    assert "does not exist; make it first" in capsys.readouterr().err
    assert main(["spikes", str(path), "--fs", "0", "-o", str(tmp_path / "out.csv")]) == 2
    assert "--fs" in capsys.readouterr().err
    assert main(["spikes", str(path), "--fs", "30", "-o", str(tmp_path / "out.csv"), "--model", str(tmp_path)]) == 2
    assert "cannot be read as a network" in capsys.readouterr().err


def test_a_written_table_is_read_again(tmp_path):
    table = read_traces(write(tmp_path / "traces.csv", pd.DataFrame(DFF, columns=["x", "y"])), fs=12.5)
    write_traces(table.traces, tmp_path / "again.csv", names=table.names, times_s=table.times_s)
    again = read_traces(tmp_path / "again.csv")
    np.testing.assert_allclose(again.traces.values, DFF.T, rtol=1e-4, atol=1e-6)
    assert again.names == ("x", "y")
    assert again.traces.fs == pytest.approx(12.5)
