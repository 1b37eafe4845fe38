"""Store the rows of a benchmark as the README quotes them, with the commit that made them."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def write_table(name: str, rows: list[dict], command: str) -> None:
    """Write ``rows`` to ``results/<name>.csv`` and print them.

    The first line is a comment with the ``command`` that makes the table, the last column the commit it was made with.
    """
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parent, capture_output=True, text=True, check=True
    ).stdout.strip()
    rows = [{**row, "commit": commit} for row in rows]
    RESULTS.mkdir(exist_ok=True)
    part = RESULTS / f"{name}.csv.part"
    with part.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {command}\n")
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(RESULTS / f"{name}.csv")
    show_table(rows)


def show_table(rows: list[dict]) -> None:
    """Print ``rows`` in columns."""
    widths = {key: max(len(key), *(len(str(row[key])) for row in rows)) for key in rows[0]}
    for row in [{key: key for key in rows[0]}, *rows]:
        print("  ".join(str(row[key]).ljust(width) for key, width in widths.items()))
