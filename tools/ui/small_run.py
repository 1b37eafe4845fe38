"""Make a run to look at, from a small simulated movie: ``python small_run.py FOLDER``."""

import sys

from calcium_helpers import PipelineConfig, run
from calcium_helpers.simulate import OFFSET, TwoPhotonConfig, two_photon

simulation = two_photon(TwoPhotonConfig(n_frames=600, height=128, width=128, n_cells=20), seed=3)
config = PipelineConfig.for_modality("2p", offset=OFFSET, indicator="GCaMP6s", detector="cnmf")
results = run(simulation.movie.replace(pixel_um=1.0), config, out=sys.argv[1])
if len(results.footprints) < 3:
    sys.exit(f"the small run found {len(results.footprints)} cells, expected at least 3")
print(f"{len(results.footprints)} components, {results.summary['n_accepted']} accepted")
