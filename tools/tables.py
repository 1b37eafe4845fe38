"""Write the tables of the README from benchmarks/results: ``make tables``.

``<!-- table: NAME -->`` ... ``<!-- /table -->`` encloses the rows of benchmarks/results/NAME.csv. The first line of a CSV names
the command that made it (``# python benchmarks/NAME.py``); its column ``commit`` says on which commit and is not shown.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- /table -->)", flags=re.DOTALL)


class Table(NamedTuple):
    """Rows of a benchmark: the command that made them, the names of the columns, the cells as text."""

    command: str
    columns: list[str]
    rows: list[list[str]]


def read_table(path: Path) -> Table:
    """Read a CSV of benchmarks/results.

    Raises
    ------
    ValueError
        When the first line names no command, there is no row or no column ``commit``, or a row has the wrong length.
    """
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    if not first.startswith("# python benchmarks/"):
        raise ValueError(f"{path.name}: the first line must be '# python benchmarks/...', got {first!r}")
    columns, *rows = list(csv.reader(lines)) or [[]]
    if not rows or "commit" not in columns:
        raise ValueError(f"{path.name}: needs at least one row and a column 'commit', got {len(rows)} rows of {columns}")
    if wrong := [row for row in rows if len(row) != len(columns)]:
        raise ValueError(f"{path.name}: expected {len(columns)} cells a row, got {wrong[0]}")
    return Table(first.removeprefix("# "), columns, rows)


def render(table: Table) -> str:
    """Return the table in markdown, without its commits, and the command that reproduces it."""
    shown = [index for index, name in enumerate(table.columns) if name != "commit"]
    lines = [[row[index] for index in shown] for row in (table.columns, ["---"] * len(table.columns), *table.rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + f"\n\nReproduce: `{table.command}`\n"


def rewrite_readme(text: str) -> str:
    """Return the README with its tables written anew."""
    return _TABLE.sub(lambda match: match[1] + render(read_table(RESULTS / f"{match[2]}.csv")) + match[3], text)


def table_names(text: str) -> list[str]:
    """Return the names of the tables that the README shows."""
    return [match[2] for match in _TABLE.finditer(text)]


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(rewrite_readme(readme.read_text(encoding="utf-8")), encoding="utf-8")
