"""``calcium-helpers sessions day1/ day2/ -o matched/``: the same cells on two days."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_sessions(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``sessions``."""
    sessions = commands.add_parser(
        "sessions",
        help="find the same cells in the results of two days",
        description="Align the fields of two runs and match their cells (as you decided, where you did), with a probability: "
        "cells.csv and sessions.png.",
    )
    sessions.add_argument("a", type=Path, help="folder of the run of one day")
    sessions.add_argument("b", type=Path, help="folder of the run of the other day")
    sessions.add_argument("-o", "--out", type=Path, required=True, help="folder to write to")
    sessions.add_argument("--max-shift", type=float, default=30.0, metavar="PX", help="largest shift (default: 30 px)")
    sessions.add_argument("--max-rotation", type=float, default=5.0, metavar="DEG", help="largest rotation (default: 5)")
    sessions.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    return sessions


def run_sessions(options: argparse.Namespace) -> int:
    """Load, match, write."""
    import pandas as pd
    from matplotlib.figure import Figure

    from calcium_helpers.io import load_results
    from calcium_helpers.io.save import atomic_path
    from calcium_helpers.plots import show_sessions
    from calcium_helpers.sessions import register_sessions

    days = [load_results(folder) for folder in (options.a, options.b)]
    cells = [day.footprints.select(day.cells_by_id()["accepted"].to_numpy(dtype=bool)) for day in days]
    means = [day.images["mean"] for day in days if "mean" in day.images]
    match = register_sessions(
        *cells, images=(means[0], means[1]) if len(means) == 2 else None, max_shift_px=options.max_shift,
        max_rotation=options.max_rotation, pixel_um=(days[0].summary.get("pixel_um"), days[1].summary.get("pixel_um")),
    )  # fmt: skip
    table = pd.DataFrame(match.pairs, columns=["id_a", "id_b"]).assign(probability=match.probability)
    for name, day in zip("ab", cells, strict=True):
        places = pd.DataFrame(day.centroids, index=day.ids).loc[table[f"id_{name}"]]
        table[f"y_{name}_px"], table[f"x_{name}_px"] = places[0].to_numpy(), places[1].to_numpy()
    options.out.mkdir(parents=True, exist_ok=True)
    with atomic_path(options.out / "cells.csv") as path:
        table.round(4).to_csv(path, index=False)
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    show_sessions(match, days[0].images.get("mean"), ax=figure.add_subplot())
    with atomic_path(options.out / "sessions.png") as path:
        figure.savefig(path, dpi=150, format="png")
    print(f"{len(table)} cells matched of {len(cells[0])} and {len(cells[1])}: {options.out / 'cells.csv'}, sessions.png")
    return 0
