"""Run CNMF-E on one movie: ``python cnmfe_run.py MOVIE.npy OUT.npz OPTIONS``, OPTIONS being JSON.

Runs inside the interpreter where inscopix-cnmfe is installed (see ``__init__.py``), so it imports nothing of this repository.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from importlib import metadata

import inscopix_cnmfe
import numpy as np
import tifffile

PARALLEL_PATCHES = 2  # the mode that its authors take by default


def main(movie_path: str, out_path: str, options_json: str) -> None:
    """Convert the movie to a TIFF, which is not timed, find cells and store what was found."""
    options = json.loads(options_json)
    with tempfile.NamedTemporaryFile(suffix=".tif") as file:
        tifffile.imwrite(file.name, np.load(movie_path))
        start, busy = time.perf_counter(), time.process_time()
        footprints, traces = inscopix_cnmfe.run_cnmfe(
            file.name,
            average_cell_diameter=options["diameter"],
            num_threads=options["threads"],
            processing_mode=PARALLEL_PATCHES,
            output_units=0,
        )
        seconds, processor_s = time.perf_counter() - start, time.process_time() - busy
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    measured = {"seconds": seconds, "processor_s": processor_s, "peak_mb": peak_mb}
    np.savez(out_path, footprints=footprints, traces=traces, version=metadata.version("inscopix-cnmfe"), **measured)


if __name__ == "__main__":
    main(*sys.argv[1:])
