"""``calcium-helpers spikes traces.csv --fs 30 -o spikes.csv``: traces of any program to firing rates."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path


def add_spikes(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``spikes``."""
    spikes = commands.add_parser(
        "spikes",
        help="infer firing rates from a table of dF/F",
        description="Infer the firing rate of each cell, Hz, from dF/F (as a fraction: 0.2, not 20 %), with a trained network.",
    )
    spikes.add_argument(
        "traces", type=Path, help="CSV: a header row, one row a frame, one column a cell; a column time_s may hold seconds"
    )
    spikes.add_argument("--fs", type=float, metavar="HZ", help="frames per second; needed where there is no time_s")
    spikes.add_argument("-o", "--out", type=Path, default="spikes.csv", help="table to write (default: spikes.csv)")
    spikes.add_argument("--model", type=Path, metavar="FOLDER", help="a network of your own (config.json, weights.safetensors)")
    spikes.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    return spikes


def run_spikes(options: argparse.Namespace) -> int:
    """Infer and write."""
    from calcium_helpers.io.trace_tables import read_traces, write_traces
    from calcium_helpers.models.spike_inference import infer_spikes, load_spike_net

    if not options.out.parent.is_dir():
        raise ValueError(f"--out: the folder {options.out.parent} does not exist; make it first")
    table = read_traces(options.traces, fs=options.fs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        rates = infer_spikes(table.traces, model=None if options.model is None else load_spike_net(options.model))
    for warning in caught:
        print(f"warning: {warning.message}")
    write_traces(rates, options.out, names=table.names, times_s=table.times_s)
    n = len(rates)
    mean = f", {rates.values.mean():.2f} Hz in the mean" if rates.values.size else ""
    print(f"{options.out}: rates of {n} {'cell' if n == 1 else 'cells'}, {rates.n_frames} frames at {rates.fs:g} Hz{mean}")
    return 0
