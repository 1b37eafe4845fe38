"""Kinetics of common calcium indicators: the one table that simulation and deconvolution share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calcium_helpers.containers._base import check_positive


@dataclass(frozen=True)
class Indicator:
    """How an indicator answers one action potential at t = 0.

    The response is ``dff_per_spike * (exp(-t / decay_s) - exp(-t / rise_s))``, scaled to a peak of ``dff_per_spike``.

    Attributes
    ----------
    name : str
        Usual name.
    rise_s : float
        Time constant of the rise, seconds (not the time to peak: that is ``peak_s``).
    decay_s : float
        Time constant of the decay, seconds (a published half-decay time divided by ln 2).
    dff_per_spike : float
        Peak dF/F after one action potential, as a fraction.
    source : str
        Authors, year and DOI of the measurement.

    Raises
    ------
    ValueError
        Unless ``0 < rise_s < decay_s`` and ``dff_per_spike > 0``.
    """

    name: str
    rise_s: float
    decay_s: float
    dff_per_spike: float
    source: str

    def __post_init__(self) -> None:
        check_positive("rise_s", self.rise_s, "seconds")
        check_positive("decay_s", self.decay_s, "seconds")
        check_positive("dff_per_spike", self.dff_per_spike, "dF/F")
        if self.rise_s >= self.decay_s:
            raise ValueError(f"rise_s must be below decay_s, got {self.rise_s} and {self.decay_s} for {self.name}")

    @property
    def peak_s(self) -> float:
        """Time from the action potential to the peak of the response, seconds."""
        rise, decay = self.rise_s, self.decay_s
        return float(np.log(decay / rise) * decay * rise / (decay - rise))

    def response(self, times_s: np.ndarray) -> np.ndarray:
        """dF/F at ``times_s`` seconds after one action potential; 0 before it.

        Examples
        --------
        >>> indicator = get_indicator("GCaMP6s")
        >>> round(float(indicator.response(indicator.peak_s)), 3)
        0.23
        """
        times = np.maximum(np.asarray(times_s, dtype=np.float64), 0.0)
        double = np.exp(-times / self.decay_s) - np.exp(-times / self.rise_s)
        top = np.exp(-self.peak_s / self.decay_s) - np.exp(-self.peak_s / self.rise_s)
        return self.dff_per_spike * double / top


_CHEN = "Chen et al. 2013, doi:10.1038/nature12354"
_DANA_RED = "Dana et al. 2016, doi:10.7554/eLife.12727"
_DANA = "Dana et al. 2019, doi:10.1038/s41592-019-0435-6"
_ZHANG = "Zhang et al. 2023, doi:10.1038/s41586-023-05828-9"

# Rounded: the same indicator varies by tens of per cent between cells, expression levels and temperatures. GCaMP6 was
# measured in mouse cortex (time to peak), the others mostly in cultured neurons (half-rise time); both are turned into
# the rise constant of the double exponential above.
INDICATORS: dict[str, Indicator] = {
    indicator.name: indicator
    for indicator in (
        Indicator("GCaMP6f", 0.016, 0.20, 0.19, _CHEN),
        Indicator("GCaMP6s", 0.066, 0.79, 0.23, _CHEN),
        Indicator("jGCaMP7f", 0.056, 0.38, 0.30, _DANA),
        Indicator("jGCaMP8f", 0.015, 0.10, 0.41, _ZHANG),
        Indicator("jGCaMP8m", 0.013, 0.17, 0.76, _ZHANG),
        Indicator("jGCaMP8s", 0.017, 0.44, 1.11, _ZHANG),
        Indicator("jRGECO1a", 0.032, 0.43, 0.11, _DANA_RED),
    )
}


def get_indicator(name: str) -> Indicator:
    """Look up an indicator by name, ignoring case.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known ones.

    Examples
    --------
    >>> get_indicator("gcamp6f").decay_s
    0.2
    """
    found = {known.lower(): indicator for known, indicator in INDICATORS.items()}.get(str(name).lower())
    if found is None:
        raise ValueError(f"indicator must be one of {', '.join(INDICATORS)}, got {name!r}; or give rise_s and decay_s instead")
    return found
