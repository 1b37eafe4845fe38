"""YAML files that people fill in: read, and their values taken for what they should be, or refused in words."""

from __future__ import annotations

import math
from datetime import date, datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import yaml

from calcium_helpers.io.errors import MovieFileError

WORDS: dict[Any, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path", date: "a date",
    datetime: "a date and time",
}  # fmt: skip


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping.

    Raises
    ------
    MovieFileError
        Where there is none.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        remedy = "Check the path, or write one with --template FILE.yaml"
        raise MovieFileError(path, "there is no such file", remedy) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MovieFileError(path, f"cannot be read as YAML ({' '.join(str(error).split())})", "Correct it") from error
    if not isinstance(given, dict):
        raise MovieFileError(path, f"holds {given!r:.50}, expected keys with values", "See --template FILE.yaml")
    return given


def as_type(value: Any, hint: Any) -> Any:
    """Take a value for what it should be: a type, a tuple of one, or either with None; TypeError or ValueError if it is not."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if value is None and NoneType in kinds:
        return None
    if get_origin(kinds[0]) is tuple:
        items = get_args(kinds[0])
        items = items[:1] * len(value) if items[-1] is Ellipsis else items
        if not isinstance(value, list) or len(value) != len(items):
            raise TypeError
        return tuple(as_type(one, item) for one, item in zip(value, items, strict=True))
    if kinds[0] is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        if not math.isfinite(number := float(value)):  # YAML takes 3e-3 for text
            raise ValueError
        return number
    if kinds[0] in (date, datetime):
        value = kinds[0].fromisoformat(value) if isinstance(value, str) else value  # YAML takes 14:05 without seconds for text
        if type(value) is not kinds[0]:  # a time is a date to isinstance
            raise TypeError
        return value
    expected = str if kinds[0] is Path else kinds[0]
    if type(value) is not expected:
        raise TypeError
    return kinds[0](value)


def say_type(hint: Any) -> str:
    """Say what is expected."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if get_origin(kinds[0]) is tuple:
        items = get_args(kinds[0])
        n = "" if items[-1] is Ellipsis else f"{len(items)} times "
        words = f"a list of {n}{WORDS[items[0]]}"
    else:
        words = WORDS[kinds[0]]
    return words + (" or null" if NoneType in kinds else "")
