"""From dF/F to spikes: non-negative deconvolution of every trace."""

from calcium_helpers.deconvolve.fit import Deconvolution, deconvolve

__all__ = ["Deconvolution", "deconvolve"]
