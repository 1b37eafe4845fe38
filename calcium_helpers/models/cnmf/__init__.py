"""Constrained non-negative matrix factorisation: overlapping footprints and demixed traces without training."""

from calcium_helpers.models.cnmf.config import CNMFConfig
from calcium_helpers.models.cnmf.detect import detect

__all__ = ["CNMFConfig", "detect"]
