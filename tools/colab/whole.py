"""Run a whole notebook in a kernel as Colab's, with a file uploaded as one's own recording: ``python whole.py NOTEBOOK``."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from calcium_helpers import io, simulate

KINDS = {"01": (simulate.one_photon, simulate.OnePhotonConfig)}  # of recording; two-photon where not named
FIELD = {"n_frames": 200, "height": 80, "width": 80, "n_cells": 8, "fs": 20.0}

book = Path(sys.argv[1])
make, config = KINDS.get(book.name[:2], (simulate.two_photon, simulate.TwoPhotonConfig))
mine = Path("elsewhere/mine.tif").resolve()
mine.parent.mkdir()
io.save_movie(make(config(**FIELD), seed=0).movie, mine)

notebook = nbformat.read(book, as_version=4)
code = [cell for cell in notebook.cells if cell.cell_type == "code"]
own = [cell for cell in code if 'OWN = ""' in cell.source]
if len(own) != 1:
    sys.exit(f"{book.name} has {len(own)} cells for one's own recording, expected one")
own[0].source = own[0].source.replace('OWN = ""', 'OWN = "upload"')
notebook.cells.insert(0, nbformat.v4.new_code_cell("import google.colab"))  # Colab's kernel has it loaded
os.environ |= {"COLAB_UPLOAD": str(mine), "PYTHONFAULTHANDLER": "1"}  # a kernel that crashes says where
client = NotebookClient(notebook, timeout=240, kernel_name="python3")
try:
    client.execute()
except DeadKernelError:
    free_gb = shutil.disk_usage(tempfile.gettempdir()).free / 1e9
    sys.exit(f"{book.name}: the kernel died in code cell {client.code_cells_executed - 1}; {free_gb:.1f} GB of disk are free")
results = io.load_results("out/results.h5")
if not results.cells["accepted"].any() or not Path("out/report.html").is_file():
    sys.exit(f"{book.name}: the uploaded recording left no cell, or no report")
print(f"  all {len(code)} cells ran; of the uploaded recording {int(results.cells['accepted'].sum())} cells")
