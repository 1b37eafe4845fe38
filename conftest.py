"""Says of a notebook's cell what it printed instead of what is stored; above notebooks/, where nbval looks for hooks."""

import difflib
import os
import re
from functools import cache

import pytest

SIDES = ("stored in the notebook", "printed now")


def pytest_assertrepr_compare(config, op, left, right):
    """Compare line by line; outside nbval pytest explains itself."""
    if not config.getoption("nbval_lax") or not isinstance(left, str) or not isinstance(right, str):
        return None
    return list(difflib.unified_diff(left.splitlines(), right.splitlines(), *SIDES, lineterm="", n=1))


def pytest_runtest_setup(item):
    """Skip notebooks on recordings that are not at hand: fetching them is left to people."""
    if item.path.suffix == ".ipynb" and "CALCIUM_DATA_DIR" not in os.environ and (missing := find_recordings(item.path)):
        pytest.skip(f"CALCIUM_DATA_DIR is not set, and {item.path.name} needs {missing[0]}")


@cache
def find_recordings(notebook):
    """Name the real recordings that a notebook cannot do without, sorted: none where it asks ``manifest.verify`` first."""
    from calcium_helpers import manifest

    text = notebook.read_text(encoding="utf-8")
    if "manifest.verify(" in text:
        return []

    real = {entry.name for entry in manifest.entries() if not entry.generate and entry.kind != "weights"}
    return sorted(real & set(re.findall(r'\\"(\w+)\\"', text)))
