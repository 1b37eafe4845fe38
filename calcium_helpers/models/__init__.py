"""Detectors, each with ``detect(movie, ...) -> Detection``, and networks: one architecture a module."""
