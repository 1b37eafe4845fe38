"""Small tables that people write: CSV with any usual separator, errors by line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from calcium_helpers.io.errors import MovieFileError


def read_text_rows(path: Path) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """Read a table separated by commas, semicolons or tabs.

    Parameters
    ----------
    path : Path
        UTF-8, names of columns in the first line.

    Returns
    -------
    list of str
        Names of the columns, in small letters with ``_`` for ``-``.
    iterator of (int, dict)
        Number of the line, and its cells by column; empty cells and empty lines are left out.

    Raises
    ------
    MovieFileError
        Without such a file, for other than UTF-8, and for a line with more cells than columns.
    """
    if not path.is_file():
        raise MovieFileError(path, "there is no such file", "Check the path; relative ones start at the working folder")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise MovieFileError(path, f"is no text in UTF-8 ({error})", "Save it as CSV, UTF-8") from error
    head = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=max(",;\t", key=head.count))
    columns = [name.strip().lower().replace("-", "_") for name in next(reader, [])]

    def rows() -> Iterator[tuple[int, dict[str, str]]]:
        for cells in reader:
            row = {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if cell.strip()}
            if any(cell.strip() for cell in cells[len(columns) :]):
                problem = f"line {reader.line_num} has {len(cells)} cells, expected at most {len(columns)}"
                raise MovieFileError(path, problem, "Correct that line")
            if row:
                yield reader.line_num, row

    return columns, rows()
