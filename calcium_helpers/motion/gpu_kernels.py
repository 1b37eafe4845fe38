"""The passes of ``kernels`` and ``warp`` on batches of frames, in torch; names as there, one batch axis more."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

NEWTON_STEPS = 4


def highpass(frames: torch.Tensor, width: int) -> torch.Tensor:
    """Subtract the mean over a box of odd ``width`` px from frames (B, H, W); the edge is repeated."""
    half = width // 2
    padded = torch.cat([frames[:, :1].expand(-1, half, -1), frames, frames[:, -1:].expand(-1, half, -1)], dim=1)
    local = functional.avg_pool2d(padded, (width, 1), stride=1)
    padded = torch.cat([local[:, :, :1].expand(-1, -1, half), local, local[:, :, -1:].expand(-1, -1, half)], dim=2)
    return frames - functional.avg_pool2d(padded, (1, width), stride=1)


def cross_power(spectrum: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Conjugate phases of ``spectrum`` (..., n, m) times ``reference`` (..., k, c): the low frequencies alone."""
    rows, columns = reference.shape[-2:]
    low = torch.cat([spectrum[..., : rows // 2, :columns], spectrum[..., spectrum.shape[-2] - rows // 2 :, :columns]], dim=-2)
    return low.conj() * reference / (low.abs() + 1e-12)


def blend_neighbours(spectra: torch.Tensor, weight: float) -> torch.Tensor:
    """Add a share of the eight neighbours to each block's spectrum (B, gy, gx, n, m): along one axis, then the other."""
    for axis in (1, 2):
        padding = [0, 0] * (spectra.ndim - 1 - axis) + [1, 1]
        padded = functional.pad(spectra, padding)
        n = spectra.shape[axis]
        spectra = spectra + weight * (padded.narrow(axis, 0, n) + padded.narrow(axis, 2, n))
    return spectra


def find_peaks(cross: torch.Tensor, size: int, reach: float) -> torch.Tensor:
    """Place (M, 2) of each correlation's maximum within +-reach px: on a 2-px lattice, then by Newton steps."""
    n = int(reach / 2)
    places = 2.0 * torch.arange(-n, n + 1, device=cross.device)
    down, across = _waves(cross, (size, size), places, places)
    lattice = torch.einsum("ai,mij,bj->mab", down, cross, across).real
    return refine_peaks(cross, (size, size), 2.0 * find_maximum(lattice, [n, n]), 2.0).clamp(-reach, reach)


def find_maximum(lattice: torch.Tensor, centre: list[int]) -> torch.Tensor:
    """Place (M, 2) of the maximum of each lattice (M, h, w), counted from ``centre``; 0 where nothing is above 0."""
    value, index = lattice.flatten(1).max(dim=1)
    place = torch.stack([index // lattice.shape[2] - centre[0], index % lattice.shape[2] - centre[1]], dim=1)
    return torch.where(value[:, None] > 0, place, torch.zeros_like(place))


def _frequencies(cross: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Angular frequencies, 1/px, of the rows and columns that ``cross`` (M, k, c) holds."""
    rows, columns = cross.shape[1:]
    y = torch.cat([torch.arange(rows // 2), torch.arange(-(rows // 2), 0)]).to(cross.device, torch.float32)
    x = torch.arange(columns, device=cross.device, dtype=torch.float32)
    return 2 * math.pi / size[0] * y, 2 * math.pi / size[1] * x


def _waves(cross: torch.Tensor, size: tuple[int, int], y: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """exp(i w p) at rows ``y`` and columns ``x`` px, shapes (..., k) and (..., c); columns above 0 count twice."""
    wy, wx = _frequencies(cross, size)
    twice = torch.where(wx > 0, 2.0, 1.0)
    return torch.exp(1j * y[..., None] * wy), twice * torch.exp(1j * x[..., None] * wx)


def refine_peaks(cross: torch.Tensor, size: tuple[int, int], start: torch.Tensor, reach: float) -> torch.Tensor:
    """Climb from ``start`` (M, 2) px to the maxima of the correlations that ``cross`` (M, k, c) stands for."""
    wy, wx = _frequencies(cross, size)
    place = start = start.to(torch.float32)
    moving = torch.ones(len(start), dtype=torch.bool, device=cross.device)
    for _ in range(NEWTON_STEPS):
        down, across = _waves(cross, size, place[:, 0], place[:, 1])
        across = torch.stack([across, across * wx, across * wx**2], dim=-1)
        s = (down[:, :, None] * (cross @ across)).unbind(-1)  # sums over columns with weights 1, wx, wx^2
        gradient = -torch.stack([(wy * s[0].imag).sum(1), s[1].imag.sum(1)], dim=1)
        hyy, hxy, hxx = -(wy**2 * s[0].real).sum(1), -(wy * s[1].real).sum(1), -s[2].real.sum(1)
        determinant = hyy * hxx - hxy * hxy
        moving = moving & (determinant > 0) & (hyy < 0)
        step_y = -(hxx * gradient[:, 0] - hxy * gradient[:, 1]) / determinant
        step_x = -(hyy * gradient[:, 1] - hxy * gradient[:, 0]) / determinant
        step = torch.where(moving[:, None], torch.stack([step_y, step_x], dim=1), torch.zeros_like(place))
        place = torch.minimum(torch.maximum(place + step, start - reach), start + reach)
        moving = moving & (step.abs().sum(dim=1) >= 1e-3)
    return place


def warp_grid(frames: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Shift frames (B, H, W) by grids of shifts (B, gy, gx, 2): bilinear between block centres, the edge repeated."""
    height, width = frames.shape[1:]
    field = functional.interpolate(grid.permute(0, 3, 1, 2), size=(height, width), mode="bilinear", align_corners=False)
    y = (torch.arange(height, device=frames.device)[:, None] - field[:, 0]).clamp(0, height - 1)
    x = (torch.arange(width, device=frames.device) - field[:, 1]).clamp(0, width - 1)
    top, left = y.floor().clamp(max=height - 2), x.floor().clamp(max=width - 2)
    fy, fx = y - top, x - left
    corner, flat = (top * width + left).long().flatten(1), frames.flatten(1)
    a, b, c, d = (flat.gather(1, corner + step).view_as(frames) for step in (0, 1, width, width + 1))
    above, below = a + fx * (b - a), c + fx * (d - c)
    return above + fy * (below - above)


def correlate(images: torch.Tensor, template: torch.Tensor, border: torch.Tensor) -> torch.Tensor:
    """Pearson correlation (B,) of images with a template inside ``border`` (B,) px; 0 where one is constant."""
    places = [torch.arange(n, device=images.device) for n in template.shape]
    y, x = (torch.minimum(place, place.flip(0)) >= border[:, None] for place in places)
    weight = (y[:, :, None] & x[:, None, :]).to(torch.float32)
    n = weight.sum(dim=(1, 2), keepdim=True).clamp(min=1)
    a, b = ((z - (z * weight).sum(dim=(1, 2), keepdim=True) / n) * weight for z in (images, template))
    norm = (a.square().sum(dim=(1, 2)) * b.square().sum(dim=(1, 2))).sqrt()
    return torch.where(norm > 1e-6, (a * b).sum(dim=(1, 2)) / norm, torch.zeros_like(norm))
