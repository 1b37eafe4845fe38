"""The YAML file that networks for synaptic transients are trained and used by: its keys, what they may hold, a template."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.save import atomic_path
from calcium_helpers.io.yaml_values import as_type, read_yaml, say_type

KINDS = ("msct-unet", "msct-stardist")

KEYS = {
    "": {
        "data": "recordings with labels, as `calcium-helpers annotate` writes them (HDF5): groups train and valid",
        "fs": "frames per second, Hz, of data, and of movies, which need it only where their files do not say",
        "model": "folder of the network: train makes it, the others read it; without, predict takes the package's own",
        "movies": "motion-corrected recordings to find transients in: a file or pattern, or a list of them",
        "out": "folder of what predict finds, with one folder a movie",
        "pixel_um": "side of a pixel of movies, micrometres, where their files do not say",
        "dataset": "name of the movie in an HDF5 or .npz file of several",
        "channel": "of a TIFF file of several, counted from 0",
        "plane": "of a TIFF or NWB file of several, counted from 0",
    },
    "learning": {
        "risk": "how what is not labelled counts: as negative (plain), or as partly positive (unbiased, non-negative)",
        "prior": "share of positives among what is not labelled; null estimates it on valid, by a first training",
        "dice": "weight of the Dice loss beside the risk (not of msct-stardist)",
        "unlabelled": "crops from anywhere for each around a labelled event",
        "batch": "crops a step",
        "crop": "frames, rows and columns of a crop",
        "steps": "batches in all",
        "learning_rate": "the highest",
        "weight_decay": "of AdamW",
        "clip": "largest norm of the gradient",
        "every": "steps between two checkpoints",
        "seed": "of first weights and batches",
    },
    "network": {
        "widths": "channels of each level, the finest first",
        "n_rays": "rays from each voxel (msct-stardist)",
        "extents": "usual proportions of an event in frames, rows and columns (msct-stardist)",
    },
}  # fmt: skip
EXAMPLES = {"data": "data.h5", "fs": 10, "model": "network", "movies": ["movies/*.tif"], "out": "transients"}
LEFT_OUT = {"fit", "channels", "outputs", "patience"}
"""Fields of configurations that are no keys."""


@dataclass(frozen=True)
class Settings:
    """What a configuration says, None where it says nothing; ``learning`` and ``network`` are configurations of their own."""

    data: Path = None  # type: ignore[assignment]
    fs: float = None  # type: ignore[assignment]
    model: Path = None  # type: ignore[assignment]
    movies: tuple[str, ...] = ()
    out: Path = None  # type: ignore[assignment]
    pixel_um: float = None  # type: ignore[assignment]
    dataset: str = None  # type: ignore[assignment]
    channel: int = None  # type: ignore[assignment]
    plane: int = None  # type: ignore[assignment]
    learning: Any = None
    network: Any = None


def describe_keys() -> str:
    """List all keys with their meaning, for ``--help``."""
    lines = ["keys of the file (paths start at its folder):"]
    for section, keys in KEYS.items():
        lines += [f"  {section}:"] if section else []
        for key, text in keys.items():
            lines.append(textwrap.fill(f"{'    ' if section else '  '}{key}: {text}", 110, subsequent_indent=" " * 8))
    return "\n".join(lines)


def write_template(kind: str, path: Path) -> None:
    """Write a configuration with all keys, their defaults and what they mean.

    Parameters
    ----------
    kind : {"msct-unet", "msct-stardist"}
    path : Path
        Must not exist.
    """
    if path.exists():
        raise ValueError(f"--template: {path} is there already, and is not replaced: name another file")
    lines = [
        f"# calcium-helpers train|optimize|predict {kind} --config {path.name}",
        "# Paths start at the folder of this file.",
    ]
    values = {
        "": {**dict.fromkeys(KEYS[""]), **EXAMPLES},
        **{name: _defaults(*parts) for name, parts in _configs(kind).items()},
    }
    for section, defaults in values.items():
        lines += ["", f"{section}:"] if section else []
        indent = "  " if section else ""
        for key, value in defaults.items():
            shown = yaml.safe_dump(list(value) if isinstance(value, tuple) else value, default_flow_style=True, width=200)
            off = "# " if value is None and not section else ""
            lines += [f"{indent}# {KEYS[section][key]}", f"{indent}{off}{key}: {shown.splitlines()[0]}"]
    with atomic_path(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_settings(path: Path, kind: str, *needed: str) -> Settings:
    """Read a configuration.

    Parameters
    ----------
    path : Path
        YAML.
    kind : {"msct-unet", "msct-stardist"}
    *needed : str
        Keys that must be there.

    Returns
    -------
    Settings

    Raises
    ------
    MovieFileError
        Where it cannot be read, or a key is unknown, missing or holds what it must not: names it, what came, what was expected.
    """
    given = read_yaml(path)
    _check_keys(path, "", given, {*KEYS[""], "learning", "network"})
    if isinstance(given.get("movies"), str):
        given["movies"] = [given["movies"]]
    hints = get_type_hints(Settings)
    said = {key: value for key, value in given.items() if key in KEYS[""] and value is not None}
    values = {key: _convert(path, key, value, hints[key]) for key, value in said.items()}
    for key in {"fs", "pixel_um"} & set(values):
        if values[key] <= 0:
            raise MovieFileError(path, f"{key} is {values[key]:g}, expected a number above 0", "Correct that key")
    for key in needed:
        if not values.get(key):
            raise MovieFileError(path, f"lacks the key {key}", f"Expected is {KEYS[''][key]}")
    values = {key: path.parent / value if isinstance(value, Path) else value for key, value in values.items()}
    configs = _configs(kind)
    learning, fit = configs["learning"]
    found, layers = (_read_section(path, section, given, configs[section]) for section in configs)
    try:
        fit = replace(fit, **{key: found.pop(key) for key in _defaults(fit) if key in found})
        return Settings(**values, learning=replace(learning, fit=fit, **found), network=replace(*configs["network"], **layers))
    except (TypeError, ValueError) as error:
        raise MovieFileError(path, str(error), "Correct that key") from error


def _configs(kind: str) -> dict[str, tuple[Any, ...]]:
    """Make the configurations, with their defaults, that the keys of each section are fields of."""
    from calcium_helpers.models.msct.config import PUConfig
    from calcium_helpers.models.msct.training import KINDS as NETWORKS

    return {"learning": (PUConfig(), PUConfig().fit), "network": (NETWORKS[kind].config(),)}


def _defaults(*configs: Any) -> dict[str, Any]:
    names = [(config, field.name) for config in configs for field in fields(config) if field.name not in LEFT_OUT]
    return {name: getattr(config, name) for config, name in names}


def _check_keys(path: Path, section: str, given: dict[str, Any], known: set[str]) -> None:
    unknown = [key for key in given if key not in known]
    if unknown:
        place = f" of {section}" if section else ""
        raise MovieFileError(path, f"has the unknown key {unknown[0]!r}{place}", f"Known are {', '.join(sorted(known))}")


def _read_section(path: Path, section: str, given: dict[str, Any], configs: tuple[Any, ...]) -> dict[str, Any]:
    """Read a mapping within the mapping."""
    values = {} if given.get(section) is None else given[section]
    if not isinstance(values, dict):
        raise MovieFileError(path, f"{section} is {values!r:.50}, expected keys with values", "See --template FILE.yaml")
    _check_keys(path, section, values, set(_defaults(*configs)))
    hints = {name: hint for config in configs for name, hint in get_type_hints(type(config)).items()}
    return {key: _convert(path, f"{section}: {key}", value, hints[key]) for key, value in values.items()}


def _convert(path: Path, key: str, value: Any, hint: Any) -> Any:
    """Take a value for what it should be, or say that it is not."""
    try:
        return as_type(value, hint)
    except (TypeError, ValueError) as error:
        raise MovieFileError(path, f"{key} is {value!r}, expected {say_type(hint)}", "Correct that key") from error
