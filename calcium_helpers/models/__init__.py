"""Detectors: one architecture a module, each with ``detect(movie, ...) -> Detection``."""
