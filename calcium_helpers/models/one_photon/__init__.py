"""One-photon cell localisation: coordinates that are parameters themselves learn to sit in the centres of active cells."""

from calcium_helpers.models.one_photon.config import CoordinatesConfig
from calcium_helpers.models.one_photon.detect import detect

__all__ = ["CoordinatesConfig", "detect"]
