"""Movies and results, from and to disk."""

from calcium_helpers.io.checks import FrameCheck, check_frames
from calcium_helpers.io.curation import add_decision, load_decisions
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.load import load_movie
from calcium_helpers.io.nwb_write import save_nwb
from calcium_helpers.io.results import load_results, save_results
from calcium_helpers.io.save import save_movie
from calcium_helpers.io.suite2p_export import save_suite2p

__all__ = [
    "FrameCheck",
    "MovieFileError",
    "add_decision",
    "check_frames",
    "load_decisions",
    "load_movie",
    "load_results",
    "save_movie",
    "save_nwb",
    "save_results",
    "save_suite2p",
]
