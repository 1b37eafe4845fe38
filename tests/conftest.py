"""What the tests share."""

import os

# One thread in each library, also of the programs that tests start: workers side by side would wait for each other.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import matplotlib
import pytest
from _fake_results import make_results

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def fake_results():
    """Results as of a run on 60 cells, 256 x 256 px, 1500 frames."""
    return make_results()
