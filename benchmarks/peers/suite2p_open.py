"""Open a folder with suite2p's own loaders: ``python suite2p_open.py MOVIE.npy OUT.npz FOLDER FS``.

FOLDER holds ``plane0``. Where MOVIE has frames, suite2p first analyses them and writes that folder itself. Runs inside the
interpreter where suite2p is installed (see ``__init__.py``), so it imports nothing of this repository.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
from suite2p_run import make_settings, pack_cells, stub_torchvision, to_int16

WINDOWS = {"qtpy", "pyqtgraph", "superqt", "rastermap"}
KNOWN = ("meanImg", "max_proj", "Vcorr", "yoff", "xoff", "fs")
MEASURES = ("npix", "radius", "aspect_ratio", "compact", "skew")


class NoWindows:
    """Stands in for the libraries of windows: the loader stands among them in suite2p, and opens none."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Claim these libraries and all parts of them."""
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] in WINDOWS else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> MagicMock:
        """Return a module that has every name."""
        return MagicMock()

    def exec_module(self, module: MagicMock) -> None:
        """Do nothing."""


def analyse(movie: np.ndarray, folder: Path, fs: float) -> None:
    """Let suite2p analyse a movie, from a TIFF to its folder."""
    import tifffile
    from suite2p import run_s2p

    settings = make_settings(fs, {"mode": "rigid"})
    settings["torch_device"] = "cpu"
    with tempfile.TemporaryDirectory() as source:
        tifffile.imwrite(Path(source, "movie.tif"), to_int16(movie))
        run_s2p(db={"data_path": [source], "save_path0": str(folder.parent), "save_folder": folder.name}, settings=settings)


def main(movie_path: str, out_path: str, folder: str, fs: str) -> None:
    """Analyse where there is something to, open, and store what the loaders return."""
    stub_torchvision()
    sys.meta_path.insert(0, NoWindows())  # type: ignore[arg-type]
    movie = np.load(movie_path)
    if len(movie):
        analyse(movie, Path(folder), float(fs))
    from suite2p.detection.stats import roi_stats
    from suite2p.gui.io import load_files
    from suite2p.io.save import combined

    found = load_files(str(Path(folder, "plane0", "stat.npy")))
    if found is None:
        sys.exit("suite2p's load_files refuses the folder")
    stat, ops, f, fneu, spks, iscell, probability, *_ = found
    planes = combined(folder, save=False)
    packed = pack_cells({"stat": stat, "F": f, "Fneu": fneu, "spks": spks, "iscell": None}, f.shape[1])
    packed["iscell"] = np.stack([iscell, probability], axis=1)
    packed["ids"] = np.array([roi.get("id", row) for row, roi in enumerate(stat)])
    packed["combined_F"], packed["combined_stat"] = planes[3], np.array([len(roi["ypix"]) for roi in planes[0]])
    packed |= {f"stated_{name}": np.array([roi[name] for roi in stat], dtype=float) for name in MEASURES}
    bare = np.array([{name: roi[name] for name in ("ypix", "xpix", "lam")} for roi in stat])
    again = roi_stats(bare, ops["Ly"], ops["Lx"], diameter=ops["diameter"], max_overlap=None, do_soma_crop=False)
    packed |= {f"measured_{name}": np.array([roi[name] for roi in again], dtype=float) for name in MEASURES[:-1]}
    packed |= {name: np.asarray(ops[name]) for name in KNOWN}
    np.savez(out_path, size=np.array([ops["Ly"], ops["Lx"]]), **packed)


if __name__ == "__main__":
    main(*sys.argv[1:])
