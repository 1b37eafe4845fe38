"""Write the repository's address into the pages and the notebooks: Colab badges, first cells, clone and pip lines.

The address has one home, ``[project.urls] Repository`` of pyproject.toml; ``make badges`` runs this file. In a notebook a
markdown line that begins with ``[![Open In Colab]`` becomes its badge, and the cell tagged ``bootstrap`` gets the text below.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

BOOTSTRAP = """\
# @title Install the package (does nothing where it is installed)
import importlib
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    version("calcium-helpers")
except PackageNotFoundError:
    if "google.colab" in sys.modules:
        repository = "{address}"
        if not Path("{folder}").exists():
            subprocess.run(["git", "clone", "-q", "--depth", "1", repository], check=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "./{folder}"], check=True)
        importlib.invalidate_caches()
    else:
        print("Install first: {install}")
"""


def read_address() -> str:
    """Return the repository's address from pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]


def install_command(address: str) -> str:
    """Return the pip line that the README gives and a notebook prints where the package is missing."""
    return f"pip install git+{address}"


def bootstrap_cell(address: str) -> str:
    """Return the text of a notebook's first code cell."""
    folder = address.rpartition("/")[2]
    return BOOTSTRAP.format(folder=folder, address=address, install=install_command(address)).rstrip("\n")


def badge(address: str, notebook: str) -> str:
    """Return the markdown badge that opens ``notebooks/<notebook>.ipynb`` in Colab."""
    target = address.replace("https://", "https://colab.research.google.com/") + f"/blob/main/notebooks/{notebook}.ipynb"
    target = target.replace("github.com/", "github/")
    return f"[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]({target})"


def rewrite_script(text: str, *, notebook: str, address: str) -> str:
    """Rewrite badge and first cell of a notebook in percent format."""
    text = re.sub(r"^# \[!\[Open In Colab\].*$", lambda _: f"# {badge(address, notebook)}", text, flags=re.MULTILINE)
    cell = re.compile(r'^(# %%[^\n]*"bootstrap"[^\n]*\n).*?(?=^# %%|\Z)', flags=re.MULTILINE | re.DOTALL)
    return cell.sub(lambda match: f"{match[1]}{bootstrap_cell(address)}\n\n", text)


def rewrite_print(text: str, *, notebook: str, address: str) -> str:
    """Rewrite badge and first cell of a notebook in ipynb format, keeping its outputs."""
    content = json.loads(text)
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if "bootstrap" in cell["metadata"].get("tags", ()):
            source = bootstrap_cell(address)
        source = re.sub(r"^\[!\[Open In Colab\].*$", lambda _: badge(address, notebook), source, flags=re.MULTILINE)
        cell["source"] = source.splitlines(keepends=True)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def rewrite_page(text: str, *, address: str) -> str:
    """Rewrite the badges, ``git clone`` lines and ``pip install git+`` lines of a page in markdown."""
    link = r"\[!\[Open In Colab\]\([^)]*\)\]\([^)]*/notebooks/(\w+)\.ipynb\)"
    text = re.sub(link, lambda match: badge(address, match[1]), text)
    return re.sub(r"(git clone (?:--depth 1 )?|git\+)https://[^\s\"'`]+", lambda match: match[1] + address, text)


def rewritten() -> dict[Path, str]:
    """Return what the pages and the notebooks should contain."""
    address = read_address()
    texts = {}
    for path in sorted((ROOT / "notebooks").glob("*.py")):
        texts[path] = rewrite_script(path.read_text(encoding="utf-8"), notebook=path.stem, address=address)
        if (pair := path.with_suffix(".ipynb")).exists():
            texts[pair] = rewrite_print(pair.read_text(encoding="utf-8"), notebook=path.stem, address=address)
    for path in filter(Path.exists, (ROOT / "README.md", ROOT / "CONTRIBUTING.md")):
        texts[path] = rewrite_page(path.read_text(encoding="utf-8"), address=address)
    return texts


if __name__ == "__main__":
    for path, text in rewritten().items():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"rewrote {path.relative_to(ROOT)}")
