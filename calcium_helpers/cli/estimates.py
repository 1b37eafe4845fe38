"""How estimates are said: about how long, and how much room there is."""

from __future__ import annotations

import shutil
from pathlib import Path


def say_duration(seconds: float) -> str:
    """Round a time as an estimate deserves."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s or less"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def free_gb(folder: Path) -> float:
    """Room on the disk of a folder, which may not exist yet, in GB (10**9 bytes)."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free / 1e9
