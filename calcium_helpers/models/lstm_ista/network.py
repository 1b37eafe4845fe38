"""LSTM-ISTA: frames cleaned by unrolled sparse coding, time carried by a recurrent layer, cells drawn by slots.

After the idea of Zhang et al. 2024 (doi:10.1038/s42256-024-00892-w). An iteration of shrinkage-thresholding (ISTA) steps
towards the data and shrinks what is small in a sparse code; unrolled, its transform, its inverse, the step and the threshold
are learned (Zhang & Ghanem 2018, arXiv:1706.07929). A convolutional LSTM then carries time. A slot stands on every fourth
pixel. Each attends to time in several learned ways, and the movie averaged with that attention shows what is active with it:
from these images a small network draws one footprint, free to overlap with others, and says whether a cell is there at all.
All is convolution or a sum over time, so that any number of frames, rows and columns will do.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from calcium_helpers.models.lstm_ista.config import NetworkConfig
from calcium_helpers.models.lstm_ista.trace_head import TraceHead

SPACING = 4  # px between slots
REACH = 3  # a slot's window reaches so many spacings beyond its own square
WINDOW = SPACING * (2 * REACH + 1)
CACHED_PX = 2**16
SLOTS_AT_ONCE = 256
RANGE = 3.0  # noise sds up to which the heads see brightness about linearly


_State = tuple[torch.Tensor, torch.Tensor]


class Output(NamedTuple):
    """What the network makes of a batch of B movies with S slots each.

    ``denoised`` (B, T, H, W) in the units of the movie; ``symmetry``, how badly the transforms are inverted; logits of
    ``attention`` (B, H, W), of ``presence`` (B, S) and of ``footprints`` (B, S, WINDOW, WINDOW); ``activity`` (B, S, T), the
    first way in which a slot attends to time. ``corners`` (S, 2) are where the windows begin: (y, x), px, also below 0.
    """

    denoised: torch.Tensor
    symmetry: torch.Tensor
    attention: torch.Tensor
    presence: torch.Tensor
    footprints: torch.Tensor
    activity: torch.Tensor
    corners: torch.Tensor


class _Seen(NamedTuple):
    """``denoised`` (B, T, H, W), ``looks`` (B, T, L, H/4, W/4), ``symmetry``; ``highest`` and ``mean`` features over time."""

    denoised: torch.Tensor
    looks: torch.Tensor
    symmetry: torch.Tensor
    highest: torch.Tensor
    mean: torch.Tensor


def soft_threshold(x: torch.Tensor, threshold: torch.Tensor | float) -> torch.Tensor:
    """Move values towards 0 by a threshold, those nearer to 0 than that to 0: the proximal step of sparse coding.

    Parameters
    ----------
    x : Tensor
    threshold : Tensor or float
        0 or more.

    Returns
    -------
    Tensor
        Of the shape of ``x``.
    """
    limit = torch.as_tensor(threshold, dtype=x.dtype, device=x.device)
    return x - x.clamp(-limit, limit)


class ISTABlock(nn.Module):
    """One iteration: a gradient step towards the frames, then shrinkage in a learned sparse code.

    Parameters
    ----------
    filters : int
        Channels of the code.
    """

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.tensor(0.5))
        self.threshold = nn.Parameter(torch.tensor(0.1))
        self.forward_transform = nn.Sequential(_conv(1, filters), nn.ReLU(), _conv(filters, filters))
        self.inverse_transform = nn.Sequential(_conv(filters, filters), nn.ReLU(), _conv(filters, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Iterate once.

        Parameters
        ----------
        x : Tensor, shape (N, 1, H, W)
            Estimate of the clean frames.
        y : Tensor, shape (N, 1, H, W)
            Noisy frames.

        Returns
        -------
        x : Tensor, shape (N, 1, H, W)
            Better estimate.
        symmetry : Tensor, scalar
            Mean squared difference between a sample of frames and what transform and inverse without shrinkage make of it.
        """
        gradient = x - y
        r = x - self.step * gradient
        code = self.forward_transform(r)
        symmetry = r.new_zeros(())
        if torch.is_grad_enabled():
            some = slice(None, None, 8)
            symmetry = (self.inverse_transform(code[some]) - r[some]).square().mean()
        return self.inverse_transform(soft_threshold(code, F.softplus(self.threshold))), symmetry


class ConvLSTM(nn.Module):
    """Convolutional LSTM (Shi et al. 2015, arXiv:1506.04214) with ``hidden`` channels in and out."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.enter = _conv(hidden, 4 * hidden)
        self.carry = nn.Conv2d(hidden, 4 * hidden, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor, state: _State | None = None) -> tuple[torch.Tensor, _State]:
        """Carry time through features (B, T, C, H, W), from the state in which earlier ones left the layer."""
        n, n_frames = x.shape[:2]
        entered = self.enter(x.flatten(0, 1)).unflatten(0, (n, n_frames))
        h, cell = state or (torch.zeros_like(x[:, 0]),) * 2
        states = []
        for frame in entered.unbind(1):
            forget, take, show, new = (frame + self.carry(h)).chunk(4, dim=1)
            cell = torch.sigmoid(forget + 1) * cell + torch.sigmoid(take) * torch.tanh(new)
            h = torch.sigmoid(show) * torch.tanh(cell)
            states.append(h)
        return torch.stack(states, dim=1), (h, cell)


class LSTMISTA(nn.Module):
    """Footprints, presence and a denoised movie from a whitened movie.

    Parameters
    ----------
    config : NetworkConfig, optional
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        width = config.hidden
        self.blocks = nn.ModuleList(ISTABlock(config.filters) for _ in range(config.n_blocks))
        self.stem = nn.Conv2d(2, width, 4, stride=2, padding=1)  # half the resolution
        self.lstm = ConvLSTM(width) if config.recurrent else None
        self.attention = nn.Sequential(_conv(2 * width, width), nn.ReLU(), _conv(width, 4), nn.PixelShuffle(2))
        self.slots = nn.Sequential(
            nn.Conv2d(width, width, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(width, config.looks, 1)
        )
        self.draw = _Draw(2 * config.looks + 2, config.head)
        self.trace_head = TraceHead()

    def forward(self, movie: torch.Tensor) -> Output:
        """Find cells.

        Parameters
        ----------
        movie : Tensor, shape (B, T, H, W)
            In units of the noise, resting at 0.

        Returns
        -------
        Output
        """
        height, width = movie.shape[2:]
        movie = F.pad(movie, (0, -width % SPACING, 0, -height % SPACING))
        seen = self._watch(movie)
        both = torch.stack([seen.denoised, movie], dim=2)  # (B, T, 2, H, W)
        attention = self.attention(torch.cat([seen.highest, seen.mean], dim=1))  # (B, 1, H, W)
        energy = seen.denoised.square().mean(dim=1, keepdim=True).clamp(min=1e-12).sqrt()
        images = torch.asinh(torch.cat([self._look(seen.looks, both), _windows(energy)], dim=2) / RANGE)
        images = torch.cat([images, _windows(attention)], dim=2)
        drawn = [self.draw(some) for some in images.flatten(0, 1).split(SLOTS_AT_ONCE)]
        footprints, presence = (torch.cat(part) for part in zip(*drawn, strict=True))
        slope, offset = self.config.calibration
        presence = slope * presence + offset
        shape = images.shape[:2]
        return Output(
            seen.denoised[..., :height, :width], seen.symmetry, attention[:, 0, :height, :width],
            presence.unflatten(0, shape), footprints.unflatten(0, shape), seen.looks[:, :, 0].flatten(2).transpose(1, 2),
            _corners(seen.looks.shape[3:], movie.device),
        )  # fmt: skip

    def denoise(self, movie: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Iterate the blocks on every frame of a movie (B, T, H, W); also the mean residual of their symmetry."""
        y = movie.flatten(0, 1)[:, None]
        x = torch.zeros_like(y) if len(self.blocks) else y
        residual = y.new_zeros(())
        for block in self.blocks:
            x, left = block(x, y)
            residual = residual + left / len(self.blocks)
        return x[:, 0].unflatten(0, movie.shape[:2]), residual

    def _watch(self, movie: torch.Tensor) -> _Seen:
        """See the frames (B, T, H, W) one after another: blocks, features, memory."""
        n_frames = movie.shape[1]
        # Without gradients a few frames at a time: they stay in the processor's cache.
        some = n_frames if torch.is_grad_enabled() or movie.is_cuda else max(1, CACHED_PX // movie[:, 0].numel())
        state, parts = None, []
        for frames in movie.split(some, dim=1):
            denoised, symmetry = self.denoise(frames)
            both = torch.stack([denoised, frames], dim=2).flatten(0, 1)
            x = F.relu(self.stem(torch.asinh(both / RANGE))).unflatten(0, frames.shape[:2])  # (B, T, C, H/2, W/2)
            if self.lstm is not None:
                carried, state = self.lstm(x, state)
                x = x + carried
            looks = F.softplus(self.slots(x.flatten(0, 1))).unflatten(0, frames.shape[:2])  # (B, T, L, H/4, W/4)
            parts.append(_Seen(denoised, looks, symmetry, x.amax(dim=1), x.sum(dim=1) / n_frames))
        return _Seen(
            torch.cat([part.denoised for part in parts], dim=1), torch.cat([part.looks for part in parts], dim=1),
            torch.stack([part.symmetry for part in parts]).mean(), torch.stack([part.highest for part in parts]).amax(dim=0),
            torch.stack([part.mean for part in parts]).sum(dim=0),
        )  # fmt: skip

    def _look(self, looks: torch.Tensor, movies: torch.Tensor) -> torch.Tensor:
        """Average the movies (B, T, M, H, W) over time as the slots attend to it: windows (B, S, L * M, WINDOW, WINDOW)."""
        n_frames = movies.shape[1]
        looks = looks / looks.square().sum(dim=1, keepdim=True).clamp(min=1e-6).sqrt()  # images in units of noise
        looks = looks.permute(0, 3, 4, 2, 1)  # (B, H/4, W/4, L, T)
        rows, columns = looks.shape[1:3]
        squares = F.pixel_unshuffle(movies.flatten(1, 2), SPACING).unflatten(1, (n_frames, -1))  # (B, T, M * 16, H/4, W/4)
        around = F.pad(squares, (REACH,) * 4).permute(0, 4, 1, 3, 2).contiguous()  # (B, W/4 + 2 R, T, H/4 + 2 R, M * 16)
        side = 2 * REACH + 1
        images = []
        for looked, tile in zip(looks, around, strict=True):
            for y in range(rows):  # products of views: copies of the windows would take longer than the products
                band = tile[:, :, y : y + side].flatten(2)  # (W/4 + 2 R, T, side * M * 16)
                images += [looked[y] @ band[x : x + columns] for x in range(side)]  # (W/4, L, side * M * 16)
        return _assemble(torch.stack(images), len(movies), rows, movies.shape[2])


class _Draw(nn.Module):
    """From the images around slots to footprints and presence."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = _conv(channels + 1, width)
        self.second = nn.Conv2d(width, width, 3, padding=2, dilation=2)
        self.third = nn.Conv2d(width, width, 3, padding=4, dilation=4)
        self.footprint = _conv(width, 1)
        self.presence = nn.Sequential(nn.Linear(3 * width, 32), nn.ReLU(), nn.Linear(32, 1))
        at = torch.arange(WINDOW) - (WINDOW - 1) / 2
        self.centre: torch.Tensor
        self.register_buffer("centre", torch.exp(-(at[:, None] ** 2 + at**2) / (2 * SPACING**2)), persistent=False)
        nn.init.constant_(self.presence[2].bias, -3.0)  # type: ignore[arg-type]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of footprints (N, WINDOW, WINDOW) and of presence (N,) from images (N, C, WINDOW, WINDOW)."""
        where = self.centre.expand(len(images), 1, -1, -1)
        x = F.relu(self.first(torch.cat([images, where], dim=1)))
        x = F.relu(self.second(x)) + x
        x = F.relu(self.third(x)) + x
        logits = self.footprint(x)
        inside = torch.sigmoid(logits)
        pooled = [(x * w).sum(dim=(2, 3)) / (w.sum(dim=(2, 3)) + 1) for w in (inside, 1 - inside, where)]
        return logits[:, 0], self.presence(torch.cat(pooled, dim=1))[:, 0]


def _windows(image: torch.Tensor) -> torch.Tensor:
    """Cut the windows of all slots out of images (B, 1, H, W): (B, S, 1, WINDOW, WINDOW)."""
    cut = F.unfold(image, WINDOW, padding=REACH * SPACING, stride=SPACING)  # (B, WINDOW^2, S)
    return cut.transpose(1, 2).unflatten(2, (1, WINDOW, WINDOW))


def _assemble(images: torch.Tensor, n: int, rows: int, n_movies: int) -> torch.Tensor:
    """Put the strips of windows (B * H/4 * side, W/4, L, side * M * 16) together: (B, S, L * M, WINDOW, WINDOW)."""
    side = 2 * REACH + 1
    x = images.unflatten(0, (n, rows, side)).unflatten(-1, (side, n_movies, SPACING, SPACING))
    x = x.permute(0, 1, 3, 4, 6, 5, 7, 2, 8)  # (B, H/4, W/4, L, M, Y, sy, X, sx)
    return x.flatten(7, 8).flatten(5, 6).flatten(3, 4).flatten(1, 2)


def _corners(shape: torch.Size, device: torch.device) -> torch.Tensor:
    """Top left corners of the windows of a grid of slots, (S, 2), px."""
    at = [(torch.arange(n, device=device) - REACH) * SPACING for n in shape]
    return torch.stack(torch.meshgrid(*at, indexing="ij"), dim=-1).flatten(0, 1)


def _conv(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1)
