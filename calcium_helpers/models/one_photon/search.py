"""The search: coordinates learn, K adapts, until nothing changes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from calcium_helpers.memory import scratch_array
from calcium_helpers.models.cnmf.refine import Components, subtract
from calcium_helpers.models.cnmf.seeds import ScoreMap, seed_limit
from calcium_helpers.models.one_photon.adapt import find_outside, find_slim, halves, judge, new_places
from calcium_helpers.models.one_photon.blobs import Coordinates
from calcium_helpers.models.one_photon.config import CoordinatesConfig
from calcium_helpers.models.one_photon.learn import Fit, Level, fit_activity, learn
from calcium_helpers.models.one_photon.path import Path
from calcium_helpers.models.one_photon.view import View

FITS, LATER_FITS = 8, 6
"""Fits of the activity a level of blur, and a later round."""
SPREADS = 2.5
"""A new place's score stands out of the background's by so many of its spreads: the confidence tells cells from the rest."""
START_APART = 1.5
"""Diameters between random coordinates, on average."""


class Search:
    """Coordinates on their way to cells.

    Parameters
    ----------
    view : View
        The movie; movement is taken out of it better the more cells are known.
    config : CoordinatesConfig
        Parameters.
    device : str
        Where windows are rendered and multiplied.
    seed : int
        Of random starts.
    """

    def __init__(self, view: View, config: CoordinatesConfig, *, device: str, seed: int) -> None:
        self.view, self.config, self.device, self.seed = view, config, device, seed
        self._fine: Level | None = None
        self.near_inside = ndimage.binary_dilation(view.inside, iterations=max(1, round(view.diameter_px / 4)))
        self.residual = scratch_array(view.whitened.shape)
        self.residual[:] = view.whitened
        score = ScoreMap(self.residual, view.diameter_px, view.inside).score
        self.threshold = seed_limit(score[view.inside], threshold=SPREADS)
        places = self._random_places() if config.start == "random" else self._peaks(score, np.zeros((0, 2)))
        self.coordinates = Coordinates(places, diameter_px=view.diameter_px).to(device)
        self.tried = places if config.start == "seeds" else np.zeros((0, 2), dtype=np.float32)
        self.was_split = np.zeros(len(places), dtype=bool)
        self.path = Path(len(places))
        self.counts = {"started": len(places), "merged": 0, "dropped": 0, "split": 0, "added": 0}

    def run(self, *, progress: bool = False) -> Fit:
        """Learn and adapt until nothing changes, or ``n_rounds`` are over."""
        self._record(self._fit())
        with tqdm(total=self.config.n_rounds, desc="coordinates", unit="round", disable=not progress) as bar:
            for number in range(self.config.n_rounds):
                self._learn(first=number == 0)
                changed = number + 1 < self.config.n_rounds and self._adapt()
                self.path.stage = f"round {number + 2}"
                bar.set_postfix(coordinates=len(self.coordinates), refresh=False)
                bar.update()
                if not changed:
                    break
        while self.config.n_rounds > 1 and self._prune(self._fit()):
            self._learn(first=False)  # what is left moves into the middle
        self._keep(np.flatnonzero(~find_outside(self.coordinates, self.near_inside)))
        fit = self._fit()
        self.path.stage = "end"
        self._record(fit)
        return fit

    @property
    def fine(self) -> Level:
        """The movie as the unblurred coordinates see it."""
        if self._fine is None:
            self._fine = Level.of(self.view, blur=0.0, device=self.device)
        return self._fine

    def _record(self, fit: Fit) -> None:
        self.path.record(self.coordinates.yx.detach().cpu().numpy(), fit.explained)

    def _fit(self) -> Fit:
        return fit_activity(self.fine, self.coordinates)

    def _learn(self, *, first: bool) -> None:
        coarse_to_fine = first and self.config.start == "random"
        for blur in self.config.blur_levels if coarse_to_fine else (0.0,):
            if first:
                self.path.stage = f"blur {blur:g}" if blur else "fine"
            n_fits = FITS if first else LATER_FITS
            level = Level.of(self.view, blur=blur, device=self.device) if blur else self.fine
            learn(level, self.coordinates, self.path, self.config, n_fits=n_fits)

    def _adapt(self) -> bool:
        """Merge, drop, take out movement anew, split and add; tell whether anything changed."""
        before = dict(self.counts)
        self._prune(self._fit())
        fit = self._fit()
        subtract(self.view.whitened, Components(fit.rows, fit.activity), out=self.residual)
        self.residual -= self.residual.mean(axis=0)
        self._fine = None  # the movie is about to change
        self.view.wobble.subtract(self.view.whitened, self.residual)
        self._split()
        score = ScoreMap(self.residual, self.view.diameter_px, self.view.inside).score
        places = self._peaks(score, np.concatenate([self.tried, self.coordinates.yx.detach().cpu().numpy()]))
        self.tried = np.concatenate([self.tried, places])
        self.counts["added"] += len(places)
        self._join(Coordinates(places, diameter_px=self.view.diameter_px), split=False)
        return self.counts != before

    def _prune(self, fit: Fit) -> bool:
        """Merge and drop; tell whether there was anything to do."""
        verdict = judge(self.coordinates, fit, self.near_inside, split=self.was_split)
        self.counts["merged"] += int(verdict.merged.sum())
        self.counts["dropped"] += int(verdict.dropped.sum())
        self._keep(verdict.kept)
        return bool(verdict.merged.any() or verdict.dropped.any())

    def _split(self) -> None:
        """Put two coordinates in the place of a long one, once; where it was one cell, they are merged again."""
        slim = find_slim(self.coordinates) & ~self.was_split
        places = halves(self.coordinates)[slim].reshape(-1, 2)
        self.counts["split"] += int(slim.sum())
        self._keep(np.flatnonzero(~slim))
        self._join(Coordinates(places, diameter_px=self.view.diameter_px), split=True)

    def _keep(self, rows: np.ndarray) -> None:
        self.coordinates, self.was_split = self.coordinates.select(rows), self.was_split[rows]
        self.path.keep(rows)

    def _join(self, new: Coordinates, *, split: bool) -> None:
        self.coordinates = self.coordinates.join(new.to(self.device))
        self.was_split = np.concatenate([self.was_split, np.full(len(new), split)])
        self.path.add(len(new))

    def _peaks(self, score: np.ndarray, tried: np.ndarray) -> np.ndarray:
        return new_places(score, tried, diameter_px=self.view.diameter_px, threshold=self.threshold)

    def _random_places(self) -> np.ndarray:
        """Draw places anywhere inside, (K, 2)."""
        rng = np.random.default_rng(self.seed)
        pixels = np.argwhere(self.view.inside)
        usual = round(len(pixels) / (START_APART * self.view.diameter_px) ** 2)
        n = (self.config.n_start or max(usual, 1)) if len(pixels) else 0
        return (pixels[rng.integers(len(pixels), size=n)] + rng.uniform(-0.5, 0.5, (n, 2))).astype(np.float32)
