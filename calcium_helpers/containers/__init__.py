"""The nouns of the package: five frozen containers; everything else is a function over them.

A container never holds a CUDA tensor. Axes are fixed: ``T H W`` for movies, ``N`` for regions; points are ``(y, x)`` in
pixels from the top left.
"""

from calcium_helpers.containers.cells import Events, Footprints, Traces
from calcium_helpers.containers.frames import Movie, Shifts

__all__ = ["Events", "Footprints", "Movie", "Shifts", "Traces"]
