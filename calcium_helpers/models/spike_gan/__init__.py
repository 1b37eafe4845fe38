"""From spikes to fluorescence: a conditional Wasserstein GAN with gradient penalty in one dimension."""

from calcium_helpers.models.spike_gan.config import SpikeGanConfig
from calcium_helpers.models.spike_gan.fit import GanHistory, fit_gan
from calcium_helpers.models.spike_gan.generate import generate, imitate, load_gan
from calcium_helpers.models.spike_gan.measure import STATISTICS, Sweep, as_sweep, measure_cells
from calcium_helpers.models.spike_gan.networks import SpikeGan

__all__ = [
    "STATISTICS",
    "GanHistory",
    "SpikeGan",
    "SpikeGanConfig",
    "Sweep",
    "as_sweep",
    "fit_gan",
    "generate",
    "imitate",
    "load_gan",
    "measure_cells",
]
