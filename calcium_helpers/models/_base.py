"""A trained network on disk: a folder with ``config.json`` and ``weights.safetensors``; no pickles."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.save import atomic_path

WEIGHTS = Path(__file__).parent / "weights"
"""Where the networks that come with the package lie."""

_Model = TypeVar("_Model", bound=nn.Module)


def save_model(model: nn.Module, folder: str | Path, *, about: dict[str, Any] | None = None) -> None:
    """Write a network whose attribute ``config`` is a dataclass.

    Parameters
    ----------
    model : Module
        With ``model.config``.
    folder : str or Path
        Made where it does not exist.
    about : dict, optional
        What to remember of the training, as JSON allows: data, command, seed.
    """
    from safetensors.torch import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    with atomic_path(folder / "weights.safetensors") as part:
        part.write_bytes(save(weights))
    known = {"model": type(model).__name__, "config": asdict(model.config), "about": about or {}}  # type: ignore[call-overload]
    with atomic_path(folder / "config.json") as part:
        part.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def load_model(folder: str | Path, make: Callable[[dict[str, Any]], _Model]) -> _Model:
    """Read a network that ``save_model`` wrote, in ``eval`` mode.

    Parameters
    ----------
    folder : str or Path
        With ``config.json`` and ``weights.safetensors``.
    make : callable
        ``make(config)`` builds the network from the fields of its configuration.

    Raises
    ------
    MovieFileError
        Where a file is missing, broken or of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    path = folder / "config.json"
    try:
        model = make(json.loads(path.read_text(encoding="utf-8"))["config"])
        path = folder / "weights.safetensors"
        model.load_state_dict(load_file(path))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise MovieFileError(path, f"cannot be read as a network ({error})", "train it again, or fetch it again") from error
    return model.eval()
