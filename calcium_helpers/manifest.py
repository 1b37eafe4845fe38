"""Recordings, labels and weights by name: where they are, whether they are intact, and what they are.

``data_manifest.yaml`` is the only registry. Files are looked for in the folder that the environment variable
``CALCIUM_DATA_DIR`` names, then in the cache, and downloaded into the cache where the entry has an address. Each is
compared with its hash whenever it is fetched.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from calcium_helpers.download import HEX_DIGITS, File, check_file, find_root, obtain

if TYPE_CHECKING:
    import pandas as pd

    from calcium_helpers.containers import Movie
    from calcium_helpers.io.ground_truth import GroundTruth
    from calcium_helpers.results import Simulation

KINDS = ("movie", "labels", "results", "spikes", "archive", "weights", "page")
# Simulator -> its configuration, both in calcium_helpers.simulate.
GENERATORS = {"two_photon": "TwoPhotonConfig", "one_photon": "OnePhotonConfig"}


@dataclass(frozen=True)
class Entry:
    """One named recording, set of labels or set of weights of the manifest.

    Attributes
    ----------
    name, kind, what, licence, cite : str
        What it is; ``kind`` is one of ``KINDS``.
    path : str
        File or folder relative to ``CALCIUM_DATA_DIR`` or to the cache; empty for simulations and pages.
    url : str or None
        Address of the file, of the folder (ending in "/"), or of the page.
    files : tuple of File
        What has to be there; empty for simulations and pages.
    generate : str or None
        Simulator, one of ``GENERATORS``, called with ``shape``, ``fs``, ``parameters`` and ``seed``.
    modality : str or None
        "2p" or "1p", for movies of cells.
    shape : tuple of int or None
        Frames, rows, columns.
    fs : float or None
        Frames per second, Hz.
    """

    name: str
    kind: str
    what: str
    licence: str
    cite: str = ""
    path: str = ""
    url: str | None = None
    files: tuple[File, ...] = ()
    generate: str | None = None
    modality: str | None = None
    shape: tuple[int, ...] | None = None
    fs: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        for holds, rule in self._rules():
            if not holds:
                raise ValueError(rule)

    def _rules(self) -> Iterator[tuple[bool, str]]:
        yield self.kind in KINDS, f"kind must be one of {KINDS}, got {self.kind!r}"
        yield self.fs is None or self.fs > 0, f"fs must be above 0 Hz, got {self.fs!r}"
        yield self.shape is None or len(self.shape) == 3, f"shape must be [frames, rows, columns], got {self.shape!r}"
        yield self.url is None or self.url.startswith(("https://", "http://")), f"url must be https or http, got {self.url!r}"
        if self.kind == "page":
            yield self.url is not None and not self.files, "a page needs a url and has no files"
        elif self.generate is not None:
            yield self.generate in GENERATORS, f"generate must be one of {tuple(GENERATORS)}, got {self.generate!r}"
            yield self.shape is not None and self.fs is not None, "generate needs shape and fs"
            yield not self.files and self.url is None, "generate excludes path, url and files"
        else:
            yield bool(self.files), "one of generate, path and url is needed"


def read_manifest(path: str | Path) -> tuple[Entry, ...]:
    """Parse and check a manifest.

    Parameters
    ----------
    path : str or Path
        YAML file with a mapping ``entries`` of names to fields, as ``data_manifest.yaml`` explains in its first lines.

    Returns
    -------
    tuple of Entry
        In the order of the file.

    Raises
    ------
    ValueError
        When an entry has an unknown field, lacks one or contradicts itself; the message names it.
    """
    parsed = []
    for name, values in yaml.safe_load(Path(path).read_text(encoding="utf-8"))["entries"].items():
        try:
            parsed.append(_parse(str(name), values))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: entry {name!r}: {error}") from error
    return tuple(parsed)


@cache
def entries() -> tuple[Entry, ...]:
    """All entries of ``data_manifest.yaml``, in its order."""
    installed = Path(__file__).with_name("data_manifest.yaml")
    return read_manifest(installed if installed.exists() else Path(__file__).parents[1] / installed.name)


def find(name: str) -> Entry:
    """Look an entry up by name; the error for an unknown one lists near matches."""
    known = {entry.name: entry for entry in entries()}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else "`calcium-helpers list` shows all."
        raise ValueError(f"name {name!r} is not in the manifest: {hint}")
    return known[name]


def fetch(name: str | Entry, *, progress: bool = True) -> Path:
    """Find the files of an entry, download what is missing, and check each against its hash.

    Parameters
    ----------
    name : str or Entry
        Entry of the manifest.
    progress : bool
        Show a progress bar while downloading.

    Returns
    -------
    Path
        The file, or the folder where the entry has several.

    Raises
    ------
    FileNotFoundError
        When the file is absent and has no address to download it from.
    ConnectionError
        When the download failed; the message says what to do by hand.
    ValueError
        When the name is unknown, the entry has no files (simulations, pages), or a file differs from its hash.
    """
    entry = name if isinstance(name, Entry) else find(name)
    if not entry.files:
        advice = f"open {entry.url} and choose" if entry.kind == "page" else f"use load({entry.name!r})"
        raise ValueError(f"{entry.name} has no file to fetch: {advice}")
    root = find_root(entry.files)
    for file in entry.files:
        obtain(file, root=root, owner=entry.name, progress=progress)
    return root / entry.path


def load(name: str | Entry, *, progress: bool = True) -> Movie | Simulation | tuple[GroundTruth, ...]:
    """Load a movie of the manifest, simulate it with its truth, or load fluorescence with its known spikes.

    Parameters
    ----------
    name : str or Entry
        Entry of kind "movie" or "spikes".
    progress : bool
        Show a progress bar while downloading or simulating.

    Returns
    -------
    Movie, Simulation or tuple of GroundTruth
        A Simulation for entries with ``generate``, ground truth for those of kind "spikes".

    Raises
    ------
    ValueError
        When the entry is of another kind; else as ``fetch``, ``io.load_movie`` and ``io.ground_truth.load_ground_truth``.
    """
    entry = name if isinstance(name, Entry) else find(name)
    if entry.kind not in {"movie", "spikes"}:
        raise ValueError(
            f"{entry.name} is of kind {entry.kind!r}, not a movie or spikes: fetch({entry.name!r}) gives its place"
        )
    if entry.kind == "spikes":
        from calcium_helpers.io.ground_truth import load_ground_truth

        return load_ground_truth(fetch(entry, progress=progress))
    if entry.generate is None:
        from calcium_helpers.io import load_movie

        return load_movie(fetch(entry, progress=progress), fs=entry.fs, progress=progress)
    return _simulate(entry, progress=progress)


def verify(names: Sequence[str | Entry] | None = None) -> pd.DataFrame:
    """Compare the files at hand with the manifest, without downloading.

    Parameters
    ----------
    names : sequence of str or Entry, optional
        Entries to look at; all by default. Simulations and pages have no files and no rows.

    Returns
    -------
    DataFrame
        One row a file: ``name, path, status``; the status is "ok", "missing" or "mismatch".
    """
    import pandas as pd

    chosen = entries() if names is None else [name if isinstance(name, Entry) else find(name) for name in names]
    places = [(entry.name, find_root(entry.files), file) for entry in chosen for file in entry.files]
    rows = [(name, root / file.path, check_file(file, root=root)) for name, root, file in places]
    return pd.DataFrame(rows, columns=["name", "path", "status"])


def _parse(name: str, values: Mapping[str, Any]) -> Entry:
    """Build an entry from its YAML fields."""
    rest = {key: value for key, value in values.items() if key not in {"files", "path", *HEX_DIGITS}}
    rest["shape"] = tuple(values["shape"]) if "shape" in values else None
    url, folder = values.get("url"), values.get("files")
    if values.get("kind") == "page" or not (url or values.get("path")):
        return Entry(name=name, **rest)
    path = str(values.get("path") or (name if folder else f"{name}/{str(url).rpartition('/')[2]}"))
    if folder:
        files = tuple(_file(f"{path}/{part}", url and url + part, hashes) for part, hashes in folder.items())
    else:
        files = (_file(path, url, values),)
    return Entry(name=name, path=path, files=files, **rest)


def _file(path: str, url: str | None, hashes: Mapping[str, Any]) -> File:
    given = [algorithm for algorithm in HEX_DIGITS if algorithm in hashes]
    if len(given) != 1:
        raise ValueError(f"{path} needs one of sha256, git_blob (null where none is published)")
    return File(path, url, given[0], hashes[given[0]])


def _simulate(entry: Entry, *, progress: bool) -> Simulation:
    from calcium_helpers import simulate

    simulator, config = (getattr(simulate, name) for name in (str(entry.generate), GENERATORS[str(entry.generate)]))
    size = dict(zip(("n_frames", "height", "width"), entry.shape or (), strict=True))
    return simulator(config(fs=entry.fs, **size, **entry.parameters), seed=entry.seed, progress=progress)
