"""What the writer of a TIFF says of it: how pages are ordered, the frame rate, the pixel size."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from calcium_helpers.io.errors import MovieFileError

_SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "min": 60.0, "h": 3600.0}
_MICRONS = {"µm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "nm": 1e-3, "mm": 1e3, "m": 1e6}


class TiffMeta(NamedTuple):
    """How the pages of a file are ordered, and what they measure.

    ``sizes`` gives the axes of the sequence of pages, slowest first, out of T, Z, C; T = 0 where the file does not say how
    many frames it holds. ``planes`` counts the planes that hold an image where others are flyback.
    """

    kind: str = "TIFF"
    sizes: tuple[tuple[str, int], ...] = (("T", 0),)
    fs: float | None = None
    fs_from: str = ""
    pixel_um: float | None = None
    planes: int | None = None

    @property
    def sizes_beside_time(self) -> tuple[tuple[str, int], ...]:
        """Channels and planes, where there are several."""
        return tuple((axis, size) for axis, size in self.sizes if axis != "T")

    @property
    def n_pages(self) -> int:
        """Pages that the file should have; 0 where it does not say."""
        n = 1
        for _, size in self.sizes:
            n *= size
        return n


def read_meta(path: Path, tif: Any) -> TiffMeta:
    """Read what ImageJ, OME or tifffile wrote into the first page; ScanImage has a module of its own."""
    page = tif.pages.first
    if tif.is_ome:
        return _ome(path, tif.ome_metadata, page.samplesperpixel)
    if tif.is_imagej:
        return _imagej(tif.imagej_metadata or {}, page)
    if page.is_shaped:
        return _shaped(path, page)
    return TiffMeta()


def _imagej(meta: dict[str, Any], page: Any) -> TiffMeta:
    """Read ImageJ's description; channels vary fastest, then slices, then frames, unless ``order`` says otherwise."""
    letters = {"c": "C", "z": "Z", "t": "T"}
    counts = {"C": meta.get("channels", 1), "Z": meta.get("slices", 1), "T": meta.get("frames", 1)}
    if page.samplesperpixel > 1:
        counts["C"] = 1
    if counts["C"] * counts["Z"] * counts["T"] == 1:
        counts["T"] = meta.get("images", 1)
    order = str(meta.get("order", "czt")).lower()
    order = order if sorted(order) == ["c", "t", "z"] else "czt"
    interval, fps = _number(meta.get("finterval")), _number(meta.get("fps"))
    fs, fs_from = (_invert(interval), "ImageJ's finterval") if interval else (fps, "ImageJ's fps, which may be a playback rate")
    unit = str(meta.get("unit", "")).replace("\\u00B5", "µ").replace("μ", "µ")
    resolution = page.tags.valueof(282)
    pixel_um = resolution[1] / resolution[0] * _MICRONS[unit] if unit in _MICRONS and resolution and resolution[0] else None
    sizes = _time_axis([(letters[c], int(counts[letters[c]])) for c in reversed(order)])
    return TiffMeta("ImageJ TIFF", sizes, fs, fs_from, pixel_um)


def _ome(path: Path, xml: str, samples: int) -> TiffMeta:
    """Read the only image of an OME-XML description (http://www.openmicroscopy.org/Schemas/OME/2016-06)."""
    pixels = [item for item in ElementTree.fromstring(xml).iter() if item.tag.rsplit("}", 1)[-1] == "Pixels"]
    if len(pixels) != 1:
        raise MovieFileError(path, f"holds {len(pixels)} OME images, expected one movie", "Save the movie as its own file")
    entry = pixels[0].attrib
    counts = {axis: int(entry.get(f"Size{axis}", 1)) for axis in "TZC"}
    counts["C"] //= samples
    order = reversed(entry.get("DimensionOrder", "XYCZT")[2:])
    interval = _scaled(entry, "TimeIncrement", "s", _SECONDS)
    pixel_um = _scaled(entry, "PhysicalSizeX", "µm", _MICRONS)
    sizes = _time_axis([(axis, counts[axis]) for axis in order])
    return TiffMeta("OME-TIFF", sizes, _invert(interval), "OME TimeIncrement", pixel_um)


def _shaped(path: Path, page: Any) -> TiffMeta:
    """Read the shape that tifffile writes as JSON, with ``fs`` and ``pixel_um`` where given."""
    meta = json.loads(page.description)
    shape = [int(n) for n in meta["shape"]]
    lead = shape[: len(shape) - page.ndim] if shape[len(shape) - page.ndim :] == list(page.shape) else [0]
    axes = re.sub("[IQ]", "T", str(meta.get("axes", ""))[: len(lead)])
    named = [(axis, n) for axis, n in zip(axes, lead, strict=False) if n != 1]
    if len([n for n in lead if n != 1]) <= 1:
        named = [("T", max(lead, default=1) if 0 not in lead else 0)]
    elif len(axes) != len(lead) or not {axis for axis, _ in named} <= set("TZC"):
        raise MovieFileError(
            path,
            f"has {len(shape)} axes, shape {tuple(shape)}, expected three (frames, rows, columns)",
            "Save one channel of one plane, or name the axes (OME or ImageJ) so that channel= and plane= can choose",
        )
    return TiffMeta("TIFF", _time_axis(named), _number(meta.get("fs")), "entry 'fs'", _number(meta.get("pixel_um")))


def _time_axis(sizes: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Drop axes of length 1; without frames, slices (or channels) are those of a movie that was saved as a stack."""
    kept = {axis: n for axis, n in sizes if n != 1}
    time = next((axis for axis in "TZC" if axis in kept), "T")
    return tuple(("T" if axis == time else axis, n) for axis, n in kept.items()) or (("T", 1),)


def _number(value: Any) -> float | None:
    """Return a number above 0, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < float("inf") else None


def _invert(interval: float | None) -> float | None:
    """Rate of an interval; twelve digits undo the rounding of the division."""
    return float(f"{1 / interval:.12g}") if interval else None


def _scaled(entry: dict[str, str], name: str, unit: str, units: dict[str, float]) -> float | None:
    number = _number(entry.get(name))
    factor = units.get(entry.get(f"{name}Unit", unit).replace("μ", "µ"))
    return number * factor if number and factor else None
