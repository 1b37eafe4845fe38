"""Coordinates learn: activity in closed form, then a few steps of gradient descent on places and shapes, again and again.

With the activity at its optimum the gradient of the reconstruction error needs no gradient through the activity. What a
coordinate should look like is then the movie regressed on its activity, neighbours taken out; the error is how far it is
from that image, each coordinate in its own units, so that dim ones learn as fast as bright ones.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from calcium_helpers.memory import scratch_array
from calcium_helpers.models.cnmf.refine import hals
from calcium_helpers.models.one_photon.blobs import RADIUS, Coordinates, Scene, render_seen, window_corners, window_shape
from calcium_helpers.models.one_photon.config import CoordinatesConfig
from calcium_helpers.models.one_photon.path import Path
from calcium_helpers.models.one_photon.view import View, pool

SPARSITY = 1.0
"""What a transient must exceed to count, in units of the noise of a coordinate's activity."""
STEPS = 8
"""Steps of gradient descent between two fits of the activity."""
RATE = 0.03
"""Learning rate: about how far a step goes, in diameters."""
SWEEPS = 4
USUAL_SPREAD = 0.4
"""Logarithms of radii usually differ by so much."""
FINE_BLUR_PX = 1.7
"""A blur of so many pixels needs no finer ones."""
TOO_NEAR = 1 / 3
"""Coordinates nearer than this push one another away, diameters."""


class Level(NamedTuple):
    """The whitened movie (h, w, B) at one resolution, its noise 1, what blobs are seen through there, and their blur."""

    frames: Tensor
    scene: Scene
    blur_px: float

    @classmethod
    def of(cls, view: View, *, blur: float, device: str) -> Level:
        """Pool the view as coarsely as a blur of so many diameters allows."""
        blur_px = blur * view.diameter_px
        factor = min(max(1, int(blur_px / FINE_BLUR_PX)), *view.share.shape)
        share, gain = (
            torch.from_numpy(pool(image, factor).astype(np.float32)).to(device)
            for image in (view.share, view.noise.mean() / view.noise)
        )
        frames = scratch_array((*share.shape, len(view.whitened)))
        for number, frame in enumerate(view.whitened):
            frames[:, :, number] = pool(frame, factor) * factor
        scene = Scene(share, gain, view.diameter_px, factor)
        return cls(torch.from_numpy(frames).to(device), scene, blur_px)


class Fit(NamedTuple):
    """What is known after a fit of the activity: ``activity`` (K, B) of blobs ``seen`` (K, h, w) at ``corners`` (K, 2).

    ``rows`` (K, H*W) are the blobs in the frame; ``images`` (K, h, w) the movie regressed on each activity, neighbours taken
    out; ``traces`` (K, B) the activity by plain least squares, in units of noise; ``explained`` the share of the movie's
    variance.
    """

    activity: np.ndarray
    traces: np.ndarray
    seen: Tensor
    rows: sparse.csr_matrix
    corners: Tensor
    images: Tensor
    explained: float


def learn(level: Level, coordinates: Coordinates, path: Path, config: CoordinatesConfig, *, n_fits: int) -> None:
    """Alternate fits of the activity and gradient descent; the coordinates are changed in place.

    Where the rendering is blurred only places are learned.
    """
    activity = None
    optimiser = torch.optim.Adam([coordinates.place] if level.blur_px else coordinates.parameters(), lr=RATE)
    for _ in range(n_fits):
        fit = fit_activity(level, coordinates, start=activity)
        activity = fit.activity
        path.record(coordinates.yx.detach().cpu().numpy(), fit.explained)
        for _ in range(STEPS):
            optimiser.zero_grad()
            loss = reconstruction_loss(level, coordinates, fit)
            loss = loss + config.repulsion * repulsion_loss(coordinates) + config.compactness * compactness_loss(coordinates)
            loss.backward()
            optimiser.step()


def reconstruction_loss(level: Level, coordinates: Coordinates, fit: Fit) -> Tensor:
    """Sum over coordinates of the share of their image that their blob does not explain."""
    seen = render_seen(coordinates, fit.corners, (fit.images.shape[1], fit.images.shape[2]), level.scene, blur_px=level.blur_px)
    power = (fit.images**2).sum(dim=(1, 2)).clamp_min(1e-9)
    explained = (seen * fit.images).sum(dim=(1, 2)).clamp_min(0) ** 2 / power
    return (1 - explained).sum()


def repulsion_loss(coordinates: Coordinates) -> Tensor:
    """Sum over pairs, 1 for two coordinates in one place, 0 beyond ``TOO_NEAR`` and a little."""
    distance = torch.cdist(coordinates.place, coordinates.place)
    pairs = torch.triu(torch.ones_like(distance), diagonal=1)
    return (pairs * torch.exp(-0.5 * (distance / (TOO_NEAR / 2)) ** 2)).sum()


def compactness_loss(coordinates: Coordinates) -> Tensor:
    """Sum over coordinates of how far they are from round and from the usual size, each squared."""
    size = (coordinates.log_radius - math.log(RADIUS)) / USUAL_SPREAD
    return (coordinates.stretch**2).sum() + (size**2).sum()


@torch.no_grad()
def fit_activity(level: Level, coordinates: Coordinates, *, start: np.ndarray | None = None) -> Fit:
    """Fit the activity, sparse and never negative, and regress the movie on it."""
    frames, scene, blur_px = level
    shape = window_shape(coordinates.diameter_px, blur_px, scene)
    corners = window_corners(coordinates.yx, shape, scene)
    seen = render_seen(coordinates, corners, shape, scene, blur_px=blur_px)
    rows = as_rows(seen.cpu().numpy(), corners.cpu().numpy(), (scene.share.shape[0], scene.share.shape[1]))
    projection = _project(frames, seen, corners).cpu().numpy()
    gram = (rows @ rows.T).toarray()
    traces = np.linalg.solve(gram + 1e-3 * np.eye(len(gram), dtype=np.float32), projection)
    rest = np.median(traces, axis=1, keepdims=True) if traces.size else traces[:, :1]
    above = projection - gram @ rest  # the movie's mean was taken out: a silent cell is below it
    activity = hals(gram, above - SPARSITY, np.maximum(traces - rest, 0) if start is None else start, n_sweeps=SWEEPS)
    images = regress(level, rows, corners, shape, activity)
    change = activity - activity.mean(axis=1, keepdims=True)
    explained = 2 * float((change * projection).sum()) - float(((change @ change.T) * gram).sum())
    return Fit(
        activity, traces, seen, rows, corners, images, explained / max(float(torch.linalg.vector_norm(frames)) ** 2, 1e-9)
    )


def regress(level: Level, rows: sparse.csr_matrix, corners: Tensor, shape: tuple[int, int], activity: np.ndarray) -> Tensor:
    """Regress the movie on each activity (K, B), neighbours taken out: images (K, h, w)."""
    device = level.frames.device
    activity = activity - activity.mean(axis=1, keepdims=True)
    images = _weighted_sums(level.frames, torch.from_numpy(activity).to(device), corners, shape)
    power = activity @ activity.T
    near = (rows @ rows.T).tocoo()
    others = np.where(near.row == near.col, 0, power[near.row, near.col])
    taken = sparse.csr_matrix((others, (near.row, near.col)), shape=near.shape) @ rows
    images -= torch.from_numpy(_windows_of(taken, corners.cpu().numpy(), shape, level.scene.share.shape[1])).to(device)
    scale = np.maximum(np.diag(power), 1e-6).astype(np.float32)
    return images / torch.from_numpy(scale).to(device)[:, None, None]


def as_rows(windows: np.ndarray, corners: np.ndarray, frame: tuple[int, int]) -> sparse.csr_matrix:
    """Place windows (K, h, w) into empty frames, as sparse rows (K, H*W)."""
    n, height, width = windows.shape
    columns = _pixels(corners, (height, width), frame)
    indptr = np.arange(n + 1) * height * width
    return sparse.csr_matrix((windows.reshape(-1), columns.reshape(-1), indptr), shape=(n, frame[0] * frame[1]))


def _pixels(corners: np.ndarray, shape: tuple[int, int], frame: tuple[int, int]) -> np.ndarray:
    """Index of each pixel of the windows in the flattened frame, (K, h*w)."""
    inner = np.add.outer(np.arange(shape[0]) * frame[1], np.arange(shape[1])).reshape(-1)
    return (corners[:, 0] * frame[1] + corners[:, 1])[:, None] + inner


def _windows_of(rows: sparse.csr_matrix, corners: np.ndarray, shape: tuple[int, int], width: int) -> np.ndarray:
    """Cut windows (K, h, w), one of each sparse row."""
    result = np.zeros((len(corners), *shape), dtype=np.float32)
    for k, (image, (top, left)) in enumerate(zip(result, corners, strict=True)):
        part = slice(rows.indptr[k], rows.indptr[k + 1])
        y, x = np.divmod(rows.indices[part], width)
        y, x = y - top, x - left
        inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        image[y[inside], x[inside]] = rows.data[part][inside]
    return result


def _project(frames: Tensor, seen: Tensor, corners: Tensor) -> Tensor:
    """Inner products (K, B) of windows with frames."""
    h, w = seen.shape[1:]
    rows = [
        image.reshape(-1) @ frames[y : y + h, x : x + w].reshape(h * w, -1)
        for image, (y, x) in zip(seen, corners.tolist(), strict=True)
    ]
    return torch.stack(rows) if rows else frames.new_zeros((0, frames.shape[2]))


def _weighted_sums(frames: Tensor, activity: Tensor, corners: Tensor, shape: tuple[int, int]) -> Tensor:
    """Add up frames weighted by activity (K, B), in windows (K, h, w)."""
    h, w = shape
    images = [
        (frames[y : y + h, x : x + w].reshape(h * w, -1) @ course).reshape(shape)
        for course, (y, x) in zip(activity, corners.tolist(), strict=True)
    ]
    return torch.stack(images) if images else frames.new_zeros((0, h, w))
