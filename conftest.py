"""Says of a notebook's cell what it printed instead of what is stored; above notebooks/, where nbval looks for hooks."""

import difflib
import os
import re

import pytest

SIDES = ("stored in the notebook", "printed now")


def pytest_assertrepr_compare(config, op, left, right):
    """Compare line by line; outside nbval pytest explains itself."""
    if not config.getoption("nbval_lax") or not isinstance(left, str) or not isinstance(right, str):
        return None
    return list(difflib.unified_diff(left.splitlines(), right.splitlines(), *SIDES, lineterm="", n=1))


def pytest_collection_modifyitems(items):
    """Skip notebooks on recordings that are not at hand: fetching them is left to people."""
    if "CALCIUM_DATA_DIR" in os.environ:
        return
    from calcium_helpers import manifest

    real = {entry.name for entry in manifest.entries() if not entry.generate and entry.kind != "weights"}
    for notebook in {item.path for item in items if item.path.suffix == ".ipynb"}:
        if named := real & set(re.findall(r'\\"(\w+)\\"', notebook.read_text(encoding="utf-8"))):
            reason = f"CALCIUM_DATA_DIR is not set, and {notebook.name} needs {min(named)}"
            for item in items:
                if item.path == notebook:
                    item.add_marker(pytest.mark.skip(reason=reason))
