"""Says of a notebook's cell what it printed instead of what is stored; above notebooks/, where nbval looks for hooks."""

import difflib

SIDES = ("stored in the notebook", "printed now")


def pytest_assertrepr_compare(config, op, left, right):
    """Compare line by line; outside nbval pytest explains itself."""
    if not config.getoption("nbval_lax") or not isinstance(left, str) or not isinstance(right, str):
        return None
    return list(difflib.unified_diff(left.splitlines(), right.splitlines(), *SIDES, lineterm="", n=1))
