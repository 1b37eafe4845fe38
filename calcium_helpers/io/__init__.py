"""Movies and results, from and to disk."""

from calcium_helpers.io.checks import FrameCheck, check_frames
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.load import load_movie
from calcium_helpers.io.results import load_results, save_results
from calcium_helpers.io.save import save_movie

__all__ = ["FrameCheck", "MovieFileError", "check_frames", "load_movie", "load_results", "save_movie", "save_results"]
