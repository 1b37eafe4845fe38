"""Where the results of the steps lie: the name of each is made of all that could change it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from calcium_helpers.containers import Footprints, Movie
from calcium_helpers.pipeline.config import PipelineConfig
from calcium_helpers.pipeline.detectors import DETECTORS
from calcium_helpers.pipeline.given import Given, corrects_motion
from calcium_helpers.workdir import WorkDir, fingerprint, is_whole

TRACE_PARAMETERS = (
    "offset", "neuropil", "unmix", "f0", "baseline", "baseline_window_s", "polarity", "deconvolution", "indicator",
    "spikes",
)  # fmt: skip


class Files(NamedTuple):
    """The file of each step; None where nothing is kept or the step is left out."""

    motion: Path | None
    denoise: Path | None
    detect: Path | None
    traces: Path | None

    def found(self) -> dict[str, bool]:
        """Whether the result of each step is there from an earlier run."""
        return {step: is_whole(path) for step, path in self._asdict().items()}


def name_files(movie: Movie, config: PipelineConfig, given: Given, folder: Path | None) -> Files:
    """Name the files of a run in ``folder``; nothing is written."""
    if folder is None:
        return Files(None, None, None, None)
    work = WorkDir(folder, movie)
    motion = denoise = detect = None
    if config.motion is not None and corrects_motion(movie, config):
        channel = {} if given.register_on is None else {"register_on": fingerprint(given.register_on)}
        motion = work.path("motion", {**asdict(config.motion), **channel}, "npy")
    if config.denoise is not None:
        denoise = work.branch().path("denoise", asdict(config.denoise), "npy")
    if given.regions is not None:
        work.path("regions", {"sha256": _hash(given.regions)}, "npz")
    else:
        settings = asdict(config.detector_config)
        if settings.get("weights") is not None:  # a folder may hold another network the next time
            files = [Path(settings["weights"]) / name for name in ("config.json", "weights.safetensors")]
            settings["weights"] = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
        seed = {"seed": config.seed} if "seed" in DETECTORS[config.detector].takes else {}
        detect = work.path("detect", {"detector": config.detector, **settings, **seed}, "npz")
    parameters = {name: getattr(config, name) for name in TRACE_PARAMETERS}
    denoised = {} if config.denoise is None else {"denoise": asdict(config.denoise)}
    return Files(motion, denoise, detect, work.path("traces", {**parameters, **denoised}, "npz"))


def _hash(regions: Footprints) -> str:
    digest = hashlib.sha256()
    for array in (regions.weights.indptr, regions.weights.indices, regions.weights.data, regions.ids):
        digest.update(repr((array.dtype.str, array.shape)).encode() + array.tobytes())
    return digest.hexdigest()
