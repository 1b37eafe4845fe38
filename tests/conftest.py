"""What the tests share."""

import matplotlib
import pytest
from _fake_results import make_results

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def fake_results():
    """Results as of a run on 60 cells, 256 x 256 px, 1500 frames."""
    return make_results()
