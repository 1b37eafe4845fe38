"""What ScanImage says of its files: channels, planes, frame rate, field of view, time of each frame.

ScanImage's BigTIFF keeps ``SI.name = value`` lines in the file header and in the Software tag of its pages, and what varies
from frame to frame in the ImageDescription of each page (https://docs.scanimage.org, "ScanImage BigTiff specification").
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.source import positive
from calcium_helpers.io.tiff_meta import TiffMeta

logger = logging.getLogger(__name__)

_TIMESTAMP = re.compile(r"(?:frameTimestamps_sec|Frame Timestamp\(s\)) *= *([-+.\deE]+)")


def read_scanimage(path: Path, tif: Any) -> TiffMeta | None:
    """Describe a ScanImage file; None for files of others.

    Pages come channel by channel, plane by plane (flyback planes included), volume by volume. The rate is that of one plane:
    the scanner's frame rate divided by the pages of a volume.
    """
    settings = _settings(tif.pages.first)
    if not settings:
        if tif.pages.first.is_scanimage:
            logger.warning("%s: the settings of this old ScanImage are not read; channels may be interleaved", path.name)
        return None
    channels = np.size(settings.get("SI.hChannels.channelSave", 1))
    planes, per_volume = _planes(path, settings)
    fs = positive(settings.get("SI.hRoiManager.scanFrameRate"))
    return TiffMeta(
        "ScanImage TIFF",
        (("T", 0), ("Z", per_volume), ("C", channels)),
        fs / per_volume if fs else None,
        "SI.hRoiManager.scanFrameRate" + (f" / {per_volume} planes" if per_volume > 1 else ""),
        _pixel_um(settings, tif.pages.first.imagewidth),
        planes,
    )


def timestamp(description: str) -> float:
    """Time of a frame in seconds as its page says, NaN where it does not."""
    found = _TIMESTAMP.search(description)
    return float(found.group(1)) if found else float("nan")


def _settings(page: Any) -> dict[str, Any]:
    """Parse the ``SI.`` lines of the first page; older versions keep them in its description as ``scanimage.SI.``."""
    from tifffile import matlabstr2py

    text = page.software if page.software.startswith("SI.") else page.description
    lines = re.findall(r"^(?:scanimage\.)?(SI\..+)$", text, flags=re.MULTILINE)
    return matlabstr2py("\n".join(lines)) if lines else {}


def _planes(path: Path, settings: dict[str, Any]) -> tuple[int, int]:
    """Count the planes with an image, and the pages a volume and channel."""

    def number(*names: str) -> int:
        values = [settings.get(f"SI.{name}") for name in names]
        return int(next((value for value in values if isinstance(value, (int, float)) and np.isfinite(value)), 1))

    if not (settings.get("SI.hStackManager.enable") or settings.get("SI.hFastZ.enable")):
        return 1, 1
    planes = number("hStackManager.actualNumSlices", "hStackManager.numSlices")
    frames = number("hStackManager.framesPerSlice")
    if planes > 1 and frames > 1:
        raise MovieFileError(
            path,
            f"is a slow stack, {frames} frames at each of {planes} depths, expected planes that are scanned in turn",
            "Save the frames of one depth as their own file",
        )
    # Flyback frames are written to the file, whatever discardFlybackFrames says.
    return planes, max(number("hStackManager.numFramesPerVolumeWithFlyback", "hFastZ.numFramesPerVolume"), planes)


def _pixel_um(settings: dict[str, Any], width: int) -> float | None:
    """Width of the field of view over its pixels, where the page shows the whole field."""
    corners = np.array(settings.get("SI.hRoiManager.imagingFovUm", ()), dtype=float)
    if corners.ndim != 2 or settings.get("SI.hRoiManager.pixelsPerLine") != width:
        return None
    return float(np.ptp(corners[:, 0])) / width or None
