"""Files compared with their hash: found in the user's data folder, else in the cache, else downloaded into the cache."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# Hash algorithm -> its hexadecimal digits.
HEX_DIGITS = {"sha256": 64, "git_blob": 40}
_CHUNK_BYTES = 1 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class File:
    """A file and the hash of its content.

    Attributes
    ----------
    path : str
        Its place, relative to a data folder.
    url : str or None
        Its address.
    algorithm : {"sha256", "git_blob"}
        "git_blob" is the object id that git gives the content.
    digest : str or None
        Hexadecimal digits; None where no hash is published.
    """

    path: str
    url: str | None
    algorithm: str
    digest: str | None

    def __post_init__(self) -> None:
        if PurePosixPath(self.path).is_absolute() or ".." in PurePosixPath(self.path).parts:
            raise ValueError(f"path must be relative and stay inside its folder, got {self.path!r}")
        digits = HEX_DIGITS[self.algorithm]
        if self.digest is not None and not re.fullmatch(f"[0-9a-f]{{{digits}}}", str(self.digest)):
            raise ValueError(f"{self.algorithm} must be null or {digits} hexadecimal digits, got {self.digest!r}")


def cache_dir() -> Path:
    """Folder for downloads: ``CALCIUM_CACHE_DIR``, else the operating system's cache folder."""
    import pooch

    return Path(os.environ.get("CALCIUM_CACHE_DIR") or pooch.os_cache("calcium-helpers"))


def find_root(files: Iterable[File]) -> Path:
    """Find the folder that holds all the files: the package, ``CALCIUM_DATA_DIR``; the cache where neither does."""
    data, files = os.environ.get("CALCIUM_DATA_DIR"), list(files)
    places = [Path(__file__).parent, *([Path(data)] if data else [])]
    return next((place for place in places if files and all((place / file.path).is_file() for file in files)), cache_dir())


def compute_digest(path: str | Path, *, algorithm: str) -> str:
    """Hash a file piece by piece.

    Parameters
    ----------
    path : str or Path
        File to read.
    algorithm : {"sha256", "git_blob"}
        "git_blob" is sha1 of ``blob <bytes>``, a zero byte and the content.

    Returns
    -------
    str
        Hexadecimal digits.
    """
    digest = hashlib.sha256()
    if algorithm == "git_blob":
        digest = hashlib.sha1(b"blob %d\0" % Path(path).stat().st_size, usedforsecurity=False)
    with Path(path).open("rb") as stream:
        while piece := stream.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def check_file(file: File, *, root: Path) -> str:
    """Compare a file under ``root`` with its hash: "ok", "missing" or "mismatch"."""
    path = root / file.path
    if not path.is_file():
        return "missing"
    return "ok" if _expected(file) in (None, compute_digest(path, algorithm=file.algorithm)) else "mismatch"


def obtain(file: File, *, root: Path, owner: str, progress: bool = True) -> Path:
    """Check a file under ``root``, or download it there.

    Parameters
    ----------
    file : File
        What is wanted. Without a published digest the one seen first is recorded in the cache and holds from then on.
    root : Path
        Data folder or cache.
    owner : str
        Name of the entry, for messages.
    progress : bool
        Show a progress bar while downloading.

    Returns
    -------
    Path
        The intact file.

    Raises
    ------
    FileNotFoundError, ConnectionError, ValueError
        When it is absent and has no address, cannot be downloaded, or differs from its hash.
    """
    path = root / file.path
    if path.is_file():
        _compare(file, path, f"{owner}: {path}", "delete it and fetch it again")
        return path
    if file.url is None:
        raise FileNotFoundError(
            f"{owner}: {file.path} cannot be downloaded: set CALCIUM_DATA_DIR to the folder that holds it "
            f"(now {os.environ.get('CALCIUM_DATA_DIR') or 'not set'})"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        part = Path(folder) / path.name
        _download(
            file.url, part, f"{owner}: set CALCIUM_DATA_DIR to a folder that holds {file.path}, or save it as {path}", progress
        )
        _compare(
            file,
            part,
            f"{owner}: the download of {file.url}",
            "nothing was kept: try again, it may be cut short or have changed",
        )
        os.replace(part, path)
    return path


def _download(url: str, path: Path, advice: str, progress: bool) -> None:
    import pooch

    _log.info("downloading %s", url)
    try:
        pooch.HTTPDownloader(progressbar=progress)(url, str(path), None)
    except OSError as error:  # requests' errors are OSErrors
        raise ConnectionError(f"could not download {url} ({type(error).__name__}). For {advice}") from error


def _note(file: File) -> Path:
    """Where the digest seen first is recorded."""
    return cache_dir() / f"{file.path}.{file.algorithm}"


def _expected(file: File) -> str | None:
    """Return the published digest, else the one recorded at first sight, else None."""
    if file.digest is not None or not _note(file).exists():
        return file.digest
    return _note(file).read_text(encoding="ascii").strip()


def _compare(file: File, path: Path, what: str, advice: str) -> None:
    """Raise unless ``path`` has the expected digest; record the digest where none was known."""
    found, expected = compute_digest(path, algorithm=file.algorithm), _expected(file)
    if expected is None:
        note = _note(file)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(found + "\n", encoding="ascii")
        _log.info("%s: no %s is published; recorded %s", what, file.algorithm, found)
    elif found != expected:
        raise ValueError(f"{what} differs from the manifest: {file.algorithm} expected {expected}, found {found}; {advice}")
