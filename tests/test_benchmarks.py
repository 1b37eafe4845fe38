"""The README's tables are those of benchmarks/results, and each says who made it."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from tables import RESULTS, Table, read_table, render, rewrite_readme, table_names  # noqa: E402

README = ROOT / "README.md"
CSVS = sorted(RESULTS.glob("*.csv"))


def test_the_readme_shows_every_table_as_measured():
    text = README.read_text(encoding="utf-8")
    assert sorted(table_names(text)) == [path.stem for path in CSVS] != []
    assert text == rewrite_readme(text), "run `make tables`"


@pytest.mark.parametrize("path", CSVS, ids=lambda path: path.stem)
def test_each_result_names_its_script_and_commit(path):
    table = read_table(path)
    assert (ROOT / table.command.split()[1]).is_file()
    commits = {row[table.columns.index("commit")] for row in table.rows}
    assert all(re.fullmatch(r"[0-9a-f]{7,40}", commit) for commit in commits)


def test_a_table_is_rendered_without_its_commits():
    table = Table(
        "python benchmarks/a.py", ["method", "commit", "F1"], [["ours", "abcdef0", "0.90"], ["peer", "abcdef0", "0.80"]]
    )
    expected = "| method | F1 |\n| --- | --- |\n| ours | 0.90 |\n| peer | 0.80 |\n\nReproduce: `python benchmarks/a.py`\n"
    assert render(table) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,commit\n1,abcdef0\n", "first line must be"),
        ("# python benchmarks/a.py\na,b\n1,2\n", "a column 'commit'"),
        ("# python benchmarks/a.py\na,commit\n", "at least one row"),
        ("# python benchmarks/a.py\na,commit\n1\n", "expected 2 cells a row"),
    ],
)
def test_a_faulty_result_is_refused(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"a.csv: .*{message}"):
        read_table(path)
