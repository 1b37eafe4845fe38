"""The notebooks as they lie in the repository: pairs agree, were executed, keep to the budgets. nbval runs them."""

import json
import re
import sys
from pathlib import Path

import jupytext
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from badges import badge, bootstrap_cell, install_command, read_address, rewritten  # noqa: E402

SCRIPTS = sorted((ROOT / "notebooks").glob("*.py"))
each_notebook = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def read_print(script: Path) -> dict:
    return json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))


def source(cell: dict) -> str:
    return "".join(cell["source"])


def cells(script: Path, kind: str) -> list[dict]:
    return [cell for cell in read_print(script)["cells"] if cell["cell_type"] == kind]


def tagged(script: Path, tag: str) -> list[dict]:
    return [cell for cell in cells(script, "code") if tag in cell["metadata"].get("tags", ())]


def code_lines(cell: dict) -> int:
    """Lines of code: neither blank nor a comment alone."""
    return sum(1 for line in source(cell).splitlines() if line.strip() and not line.lstrip().startswith("#"))


def test_there_is_a_notebook_and_each_is_a_pair():
    assert SCRIPTS
    assert [path.stem for path in SCRIPTS] == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem) for path in SCRIPTS)


@each_notebook
def test_script_and_print_agree(script):
    """The .py is the source: `make notebooks` after a change."""
    written = [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in jupytext.read(script).cells]
    printed = [(cell["cell_type"], source(cell), cell["metadata"].get("tags", [])) for cell in read_print(script)["cells"]]
    assert written == printed


@each_notebook
def test_it_was_executed_from_top_to_bottom(script):
    code = cells(script, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs
    assert [output for output in outputs if output["output_type"] == "error"] == []


@each_notebook
def test_results_are_stated_and_compared(script):
    """nbval compares these alone, and passes where nothing is stored."""
    checked = tagged(script, "nbval-check-output")
    assert 3 <= len(checked) <= 6
    for cell in checked:
        texts = ["".join(output.get("text", output.get("data", {}).get("text/plain", ""))) for output in cell["outputs"]]
        assert any(text.strip() for text in texts), source(cell)


@each_notebook
def test_it_tells_and_the_package_does(script):
    code = cells(script, "code")
    assert not [source(cell) for cell in code if re.search(r"^\s*(async )?(def|class) ", source(cell), re.MULTILINE)]
    assert 8 <= len(code) <= 18
    assert max(code_lines(cell) for cell in code) <= 20
    assert 60 <= sum(code_lines(cell) for cell in code[1:]) <= 120  # without the cell that installs


@each_notebook
def test_it_says_why(script):
    prose = re.sub(r"\[!\[.*", "", "\n".join(source(cell) for cell in cells(script, "markdown")))
    assert 400 <= len(re.findall(r"[A-Za-z][\w'-]*", prose)) <= 900


@each_notebook
def test_it_opens_everywhere(script):
    content = read_print(script)
    assert content["metadata"]["kernelspec"]["name"] == "python3"
    assert "widgets" not in content["metadata"]
    assert script.with_suffix(".ipynb").stat().st_size < 450_000  # with stills of widgets
    assert not [cell for cell in content["cells"] if "execution" in cell["metadata"]], "executed with record_timing"


@each_notebook
def test_it_starts_on_colab(script):
    address = read_address()
    opening = read_print(script)["cells"][:2]
    assert source(opening[0]).startswith("# ")
    assert any(badge(address, script.stem) in source(cell).splitlines() for cell in opening)
    code = cells(script, "code")
    assert tagged(script, "bootstrap") == [code[0]]
    assert source(code[0]) == bootstrap_cell(address)
    assert code[0]["outputs"] == []


@each_notebook
def test_its_parameters_are_a_form(script):
    (parameters,) = tagged(script, "parameters")
    assert "# @param" in source(parameters)


def test_one_address_everywhere():
    """README and notebooks carry the address of pyproject.toml: `make badges`."""
    stale = [path.name for path, text in rewritten().items() if path.read_text(encoding="utf-8") != text]
    assert stale == []
    assert install_command(read_address()) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_new_address_reaches_badges_cells_and_readme():
    from badges import rewrite_page, rewrite_print, rewrite_script

    old, new = "https://github.com/one/calcium_helpers", "https://github.com/two/calcium"
    script = (
        f'# %% [markdown]\n# # T\n# {badge(old, "01_a")}\n\n# %% tags=["bootstrap"]\n{bootstrap_cell(old)}\n\n# %%\nx = 1\n'
    )
    moved = rewrite_script(script, notebook="01_a", address=new)
    assert "one/" not in moved
    assert jupytext.reads(moved, "py:percent").cells[1].source == bootstrap_cell(new)
    assert jupytext.reads(moved, "py:percent").cells[2].source == "x = 1"
    printed = rewrite_print(jupytext.writes(jupytext.reads(script, "py:percent"), "ipynb"), notebook="01_a", address=new)
    assert [cell.source for cell in jupytext.reads(printed, "ipynb").cells] == [
        cell.source for cell in jupytext.reads(moved, "py:percent").cells
    ]
    readme = f"{badge(old, '01_a')}\n\n    git clone {old}\n    {install_command(old)}\n"
    assert rewrite_page(readme, address=new) == f"{badge(new, '01_a')}\n\n    git clone {new}\n    {install_command(new)}\n"
