"""What the writer of a TIFF says of it: how pages are ordered, the frame rate, the pixel size."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.source import MICRONS, positive

MAX_CHANNELS = 7
"""What ImageJ can show as channels; a stack of more without slices and frames is a movie whose axes were not named."""

_SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "min": 60.0, "h": 3600.0}


class TiffMeta(NamedTuple):
    """How the pages of a file are ordered, and what they measure.

    ``sizes`` gives the axes of the sequence of pages, slowest first, out of T, Z, C; T = 0 where the file does not say how
    many frames it holds. ``planes`` counts the planes that hold an image where others are flyback;
    ``note`` says how the order was understood where that needed a rule.
    """

    kind: str = "TIFF"
    sizes: tuple[tuple[str, int], ...] = (("T", 0),)
    fs: float | None = None
    fs_from: str = ""
    pixel_um: float | None = None
    planes: int | None = None
    note: str = ""

    @property
    def sizes_beside_time(self) -> tuple[tuple[str, int], ...]:
        """Channels and planes, where there are several."""
        return tuple((axis, size) for axis, size in self.sizes if axis != "T")

    @property
    def n_pages(self) -> int:
        """Pages that the file should have; 0 where it does not say."""
        return int(np.prod([size for _, size in self.sizes]))


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
    counts = {"c": meta.get("channels", 1), "z": meta.get("slices", 1), "t": meta.get("frames", 1)}
    if page.samplesperpixel > 1:
        counts["c"] = 1
    if set(counts.values()) == {1}:
        counts["t"] = meta.get("images", 1)
    order = str(meta.get("order", "czt")).lower()
    order = order if sorted(order) == ["c", "t", "z"] else "czt"
    interval, fps = positive(meta.get("finterval")), positive(meta.get("fps"))
    fs, fs_from = (_invert(interval), "ImageJ's finterval") if interval else (fps, "ImageJ's fps, which may be a playback rate")
    unit = str(meta.get("unit", "")).replace("\\u00B5", "µ").replace("μ", "µ")
    resolution = page.tags.valueof(282)
    pixel_um = resolution[1] / resolution[0] * MICRONS[unit] if unit in MICRONS and resolution and resolution[0] else None
    sizes, note = _order((letter.upper(), int(counts[letter])) for letter in reversed(order))
    return TiffMeta("ImageJ TIFF", sizes, fs, fs_from, pixel_um, note=note)


def _ome(path: Path, xml: str, samples: int) -> TiffMeta:
    """Read the only image of an OME-XML description (http://www.openmicroscopy.org/Schemas/OME/2016-06)."""
    pixels = ElementTree.fromstring(xml).findall(".//{*}Pixels")
    if not pixels:  # a file of a set that is described in another file
        return TiffMeta("OME-TIFF")
    if len(pixels) > 1:
        raise MovieFileError(path, f"holds {len(pixels)} OME images, expected one movie", "Save the movie as its own file")
    entry = pixels[0].attrib
    counts = {axis: int(entry.get(f"Size{axis}", 1)) for axis in "TZC"}
    counts["C"] //= samples
    sizes, note = _order((axis, counts[axis]) for axis in reversed(entry.get("DimensionOrder", "XYCZT")[2:]))
    if len({item.get("FileName") for item in pixels[0].iterfind(".//{*}UUID")}) > 1:
        sizes, note = (("T", _pages_in_set(path, pixels[0])),), "one channel and plane of a set of files"
    interval = _scaled(entry, "TimeIncrement", "s", _SECONDS)
    pixel_um = _scaled(entry, "PhysicalSizeX", "µm", MICRONS)
    return TiffMeta("OME-TIFF", sizes, _invert(interval), "OME TimeIncrement", pixel_um, note=note)


def _pages_in_set(path: Path, pixels: ElementTree.Element) -> int:
    """Count the pages of this file where the description is of a set of files (as Bruker writes, a file a frame)."""
    parts = [item for item in pixels.iterfind("{*}TiffData") if item.find(f"{{*}}UUID[@FileName='{path.name}']") is not None]
    if len({(item.get("FirstC", "0"), item.get("FirstZ", "0")) for item in parts}) != 1:
        problem = "is one file of an OME set, expected under its own name and with one channel and plane"
        raise MovieFileError(path, problem, "Undo the renaming, or export the movie as one file")
    return sum(int(item.get("PlaneCount", 1)) for item in parts)


def _shaped(path: Path, page: Any) -> TiffMeta:
    """Read the shape that tifffile writes as JSON, with ``fs`` and ``pixel_um`` where given."""
    meta = json.loads(page.description)
    shape = tuple(int(n) for n in meta["shape"])
    lead, axes = shape[: -page.ndim], re.sub("[IQ]", "T", str(meta.get("axes", "")))
    sizes, note = TiffMeta().sizes, ""  # pages written one by one are described one by one
    if lead and shape[-page.ndim :] == page.shape:
        if max(lead) == np.prod(lead):
            sizes = (("T", max(lead)),)
        elif len(axes) == len(shape) and set(axes[: len(lead)]) <= set("TZC"):
            sizes, note = _order(zip(axes, lead, strict=False))
        else:
            problem = f"has {len(shape)} axes, shape {shape}, expected three (frames, rows, columns)"
            raise MovieFileError(
                path, problem, "Save one channel of one plane, or write OME-TIFF for channel= and plane= to choose"
            )
    return TiffMeta("TIFF", sizes, positive(meta.get("fs")), "entry 'fs'", positive(meta.get("pixel_um")), note=note)


def _order(sizes: Iterable[tuple[str, int]]) -> tuple[tuple[tuple[str, int], ...], str]:
    """Drop axes of length 1 and name the time: a movie saved as a stack has slices (or far too many channels) for frames."""
    kept = [(axis, n) for axis, n in sizes if n != 1]
    counts = dict(kept)
    if "T" in counts:
        return tuple(kept), ""
    if "Z" not in counts and counts.get("C", 0) <= MAX_CHANNELS:
        return (("T", 1), *kept), ""
    stack = "Z" if "Z" in counts else "C"
    renamed = tuple(("T" if axis == stack else axis, n) for axis, n in kept)
    return renamed, f"{'slices' if stack == 'Z' else 'channels'} taken as frames"


def _invert(interval: float | None) -> float | None:
    """Rate of an interval; twelve digits undo the rounding of the division."""
    return float(f"{1 / interval:.12g}") if interval else None


def _scaled(entry: dict[str, str], name: str, unit: str, units: dict[str, float]) -> float | None:
    number = positive(entry.get(name))
    factor = units.get(entry.get(f"{name}Unit", unit).replace("μ", "µ"))
    return number * factor if number and factor else None
