"""Files of one's own on Google Colab: uploaded, or on Google Drive."""

from __future__ import annotations

import sys
from pathlib import Path

DRIVE = Path("/content/drive")
UPLOAD = "upload"


def own_file(where: str | Path) -> Path:
    """Find a file of one's own, also on Colab.

    Parameters
    ----------
    where : str or Path
        A path. On Colab, below ``/content/drive/MyDrive`` it is one on Google Drive, which is mounted when needed (Google asks
        for leave); ``"upload"`` opens a dialogue to upload one.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        When not exactly one file was uploaded, or there is nothing to upload to.
    FileNotFoundError
        When nothing is there.
    """
    path, on_colab = Path(where), "google.colab" in sys.modules
    if str(where) == UPLOAD:
        if not on_colab:
            raise ValueError('where="upload" works on Google Colab only; give the path of a file on this machine')
        from google.colab import files

        names = list(files.upload())
        if len(names) != 1:
            raise ValueError(f"upload one file, got {len(names)}; several are read from a folder on Google Drive")
        return Path(names[0])
    if on_colab and path.is_relative_to(DRIVE) and not DRIVE.exists():
        from google.colab import drive

        drive.mount(str(DRIVE))
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file; on Colab, files on Drive are below {DRIVE}/MyDrive")
    return path
