r"""PaDiM, and PaDiM under a Johnson-Lindenstrauss projection.

PaDiM (Defard et al. 2020) fits a Gaussian to the patch embeddings of every position over the normal
training images and scores a patch by its Mahalanobis distance. To bound the cost it keeps m randomly
chosen channels; the JL report (COS 521, 2021) multiplies by a random matrix Pi instead. Here the two
differ by one object, the reduction.

======================  =================  ===========================================
symbol                  variable           shape
======================  =================  ===========================================
x_ij, Pi x_ij           ``z``              (positions, N, m)
mu'_ij (Eq. 8)          ``mean``           (positions, m)
Sigma'_ij (Eq. 9)       not kept           (positions, m, m)
L^-1, Sigma' = L L^T    ``factor``         (positions, m, m), where m <= N (primal)
K (below)               ``factor``         (positions, N, m), where m > N (dual)
M(x'_ij) (Eq. 10)       ``distance``       (images, h, w)
======================  =================  ===========================================

With X the centred N x m matrix of one position, Sigma' = X^T X / (N-1) + eps I. Primal form:
M^2 = |L^-1 delta|^2. Dual form, by the Woodbury identity with A = X X^T + eps (N-1) I = L_A L_A^T and
K = L_A^-1 X: M^2 = (|delta|^2 - |K delta|^2) / eps. Both are exact; the smaller one is kept. Factors
are computed in float64 and stored in float32.

A map over channels commutes with nearest-neighbour upsampling, so each level is projected at its own
resolution, Pi = [Pi_1 Pi_2 Pi_3], and the results are added on the grid of the first level: up to 16
times fewer operations for the third level, and the same numbers.

Differences from the widely used ports: the covariance gets eps I once (one library adds a second
1e-5 I), distances are neither clamped nor normalised over the test set, and image scores are not
rescaled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from adlib import parameters, projection
from adlib.anomaly_map import upsample_and_smooth
from adlib.errors import InputError
from adlib.features import ImageFeatures, Source
from adlib.projection import Reduction

SCORE_BATCH = 32  # images a block of scoring; the factor is read once a block


class Scores(NamedTuple):
    """What a detector says about N images; higher is more anomalous.

    Attributes
    ----------
    image : ndarray of shape (N,), float32
    map : ndarray of shape (N, H, W), float32, or None
        Anomaly maps at image resolution, where the method localises.
    """

    image: np.ndarray
    map: np.ndarray | None = None


class PaDiM:
    """Gaussian model of the patch embeddings of each position, after a linear reduction.

    Parameters
    ----------
    backbone : Backbone, optional
        Needed to fit or score images; features that were extracted before need none.
    reduction : {'coordinate', 'gaussian', 'haar', 'sparse', 'pca', 'none'}
        ``coordinate`` is PaDiM; ``gaussian`` is the JL report's Eq. 6, ``haar`` its Section 3.
    dim : int
        m, dimensions after the reduction, in [1, D]; ``none`` keeps all D whatever it says.
    eps : float
        Regulariser of Eq. 9, > 0.
    eps_scale : {'nominal', 'matched'}
        ``nominal`` adds eps as printed. ``matched`` multiplies it by the mean variance of a reduced
        coordinate over that of a raw one, so that it weighs the same after every reduction.
    sigma : float
        Gaussian smoothing of the anomaly map, pixels.
    image_score : {'smoothed', 'raw'}
        Maximum of the smoothed map, or of the distances before interpolation (the report's text).
    seed : int
        Seed of the reduction.

    Attributes
    ----------
    reduction_ : Reduction
        The map that was drawn.
    eps_ : float
        The regulariser that was added.
    mean : Tensor of shape (positions, m)
    factor : Tensor of shape (positions, min(m, N), m)
    grid : (h, w)
        Size of the first level.

    Raises
    ------
    InputError
        A parameter of the wrong name, type or range.
    """

    LABEL = ("reduction", "dim", "eps_scale")  # what a record's file name shows

    def __init__(
        self,
        *,
        backbone: Any = None,
        reduction: Annotated[
            projection.Name, Field(description="map from D channels to m dimensions")
        ] = "coordinate",
        dim: Annotated[int, Field(ge=1, description="m, dimensions after the reduction")] = 100,
        eps: Annotated[float, Field(gt=0, description="regulariser added to the covariance, Eq. 9")] = 0.01,
        eps_scale: Annotated[
            Literal["nominal", "matched"], Field(description="eps as printed, or scaled like the projected variance")
        ] = "nominal",
        sigma: Annotated[float, Field(ge=0, description="smoothing of the anomaly map, pixels")] = 4.0,
        image_score: Annotated[
            Literal["smoothed", "raw"], Field(description="image score: maximum of which map")
        ] = "smoothed",
        seed: Annotated[int, Field(ge=0, description="seed of the random reduction")] = 0,
    ) -> None:
        checked = parameters.check(
            PaDiM,
            dict(
                reduction=reduction, dim=dim, eps=eps, eps_scale=eps_scale, sigma=sigma,
                image_score=image_score, seed=seed,
            ),
        )
        self.backbone = backbone
        self.reduction: str = checked["reduction"]
        self.dim: int = checked["dim"]
        self.eps: float = checked["eps"]
        self.eps_scale: str = checked["eps_scale"]
        self.sigma: float = checked["sigma"]
        self.image_score: str = checked["image_score"]
        self.seed: int = checked["seed"]

    @staticmethod
    def effective(values: dict[str, Any]) -> dict[str, Any]:
        """Set to None what has no effect: ``none`` ignores dim and seed, ``pca`` the seed."""
        ignored = {"none": ("dim", "seed"), "pca": ("seed",)}.get(values["reduction"], ())
        return {name: None if name in ignored else value for name, value in values.items()}

    def drawn(self) -> dict[str, Any]:
        """Return what the seed gave and what followed: for the record of a run."""
        reduction = self.reduction_
        array = reduction.indices if reduction.matrix is None else reduction.matrix
        return {
            "reduction_sha256": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest(),
            "channels": sum(shape[-1] for shape in self.level_shapes),
            "reduced_dim": reduction.dim,
            "eps_added": self.eps_,
            "form": "primal" if self.primal else "dual",
            "model_mb": round((self.mean.nbytes + self.factor.nbytes) / 1e6, 1),
        }

    def fit(self, images: Sequence[np.ndarray]) -> PaDiM:
        """Fit on normal images, each of shape (H, W, 3), uint8, all of one size."""
        return self.fit_features(self._features(images))

    def score(self, images: Sequence[np.ndarray]) -> Scores:
        """Score images of the size of the training images."""
        return self.score_features(self._features(images))

    def fit_features(self, features: Source) -> PaDiM:
        """Fit on the feature levels of normal images.

        Parameters
        ----------
        features : Source
            Levels of N >= 2 images; ``pca`` reads them twice, everything else once.

        Returns
        -------
        PaDiM
            self.

        Raises
        ------
        InputError
            Fewer than two images, a dimension larger than the features, or NaN among them.
        """
        if len(features) < 2:
            raise InputError(f"PaDiM needs at least 2 normal images to fit a covariance, found {len(features)}")
        first = next(iter(features.batches(1)))
        self.image_size = tuple(features.image_size)
        self.grid = tuple(first[0].shape[1:3])
        self.level_shapes = [tuple(level.shape[1:]) for level in first]
        channels = sum(shape[-1] for shape in self.level_shapes)
        covariance = pooled_covariance(features, self.grid) if self.reduction == "pca" else None
        self.reduction_ = projection.draw(self.reduction, self.dim, channels, self.seed, covariance)
        z, raw_variance = self._reduce_all(features, channels)
        self.eps_ = self.eps * self._eps_factor(z, raw_variance)
        self.mean, self.factor = fit_positions(z, self.eps_)
        self.primal = self.factor.shape[1] == self.factor.shape[2]
        return self

    def score_features(self, features: Source) -> Scores:
        """Score the feature levels of images.

        Returns
        -------
        Scores
            With maps at the size of the images.

        Raises
        ------
        InputError
            The features are of another shape than those of the training images.
        """
        if not hasattr(self, "factor"):
            raise InputError("PaDiM is not fitted: call fit or load a fitted model before score")
        image_scores, maps = [], []
        for batch in features.batches(SCORE_BATCH):
            self._check(batch, features.image_size)
            distance = self.distances(batch)
            smooth = upsample_and_smooth(distance, self.image_size, self.sigma)
            source = smooth if self.image_score == "smoothed" else distance
            image_scores.append(source.amax(dim=(1, 2)).cpu().numpy())
            maps.append(smooth.cpu().numpy())
        return Scores(np.concatenate(image_scores), np.concatenate(maps))

    def distances(self, levels: list[Tensor]) -> Tensor:
        """Mahalanobis distances (Eq. 10) of a batch, shape (B, h, w), before interpolation."""
        z = reduce_levels(levels, self.reduction_, self.grid).flatten(1, 2)
        squared = torch.empty(z.shape[:2], dtype=z.dtype, device=z.device)
        for block in _blocks(z.shape[1]):
            delta = z[:, block].transpose(0, 1) - self.mean[block, None]
            inner = torch.bmm(delta, self.factor[block].transpose(1, 2)).square_().sum(-1)
            if not self.primal:
                inner = (delta.square_().sum(-1) - inner).clamp_(min=0) / self.eps_
            squared[:, block] = inner.T
        return squared.sqrt_().unflatten(1, self.grid)

    def _features(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        if self.backbone is None:
            raise InputError("PaDiM needs a backbone to read images: PaDiM(backbone=Backbone('resnet18'))")
        return ImageFeatures(self.backbone, images)

    def _reduce_all(self, features: Source, channels: int) -> tuple[Tensor, float]:
        """Reduce every image; also the mean variance of a raw coordinate, pooled over positions."""
        h, w = self.grid
        z: Tensor | None = None
        moments = [_Moments() for _ in self.level_shapes]
        start = 0
        for batch in features.batches():
            reduced = reduce_levels(batch, self.reduction_, self.grid).flatten(1, 2)
            if z is None:
                z = reduced.new_empty((len(features), h * w, self.reduction_.dim))
            z[start : start + len(reduced)] = reduced
            start += len(reduced)
            if self.eps_scale == "matched":
                for level, moment in zip(batch, moments, strict=True):
                    moment.add(level)
        if not torch.isfinite(z.sum()):
            raise InputError("features must be finite, found NaN or infinity; check the images and the weights")
        if self.eps_scale == "nominal":
            return z, 1.0
        # a coarse position stands for several fine ones: weigh its variance by how many
        total = sum(m.variance().sum().item() * h * w / (m.positions) for m in moments)
        return z, total / (h * w * channels)

    def _eps_factor(self, z: Tensor, raw_variance: float) -> float:
        """eps_scale: [tr(Pi Sigma Pi^T) / m] / [tr(Sigma) / D], pooled over positions."""
        if self.eps_scale == "nominal":
            return 1.0
        reduced = torch.stack([z[:, block].double().var(dim=0).sum() for block in _blocks(z.shape[1])])
        return reduced.sum().item() / (z.shape[1] * z.shape[2]) / raw_variance

    def _check(self, batch: list[Tensor], image_size: tuple[int, int]) -> None:
        shapes = [tuple(level.shape[1:]) for level in batch]
        if shapes != self.level_shapes or tuple(image_size) != self.image_size:
            raise InputError(
                f"PaDiM models each position: images must be {self.image_size} pixels with levels "
                f"{self.level_shapes}, as in training, found {tuple(image_size)} with {shapes}; "
                "resize and crop them alike"
            )


def reduce_levels(levels: list[Tensor], reduction: Reduction, grid: tuple[int, int]) -> Tensor:
    """Concatenate levels over channels on the grid of the first and apply Pi, level by level (Eq. 7).

    Parameters
    ----------
    levels : list of Tensor of shape (B, h, w, C)
    reduction : Reduction
        With D = the sum of all C.
    grid : (h, w)
        Deeper levels are brought to it by nearest neighbour.

    Returns
    -------
    Tensor of shape (B, h, w, m)
    """
    first = levels[0]
    out = first.new_zeros((len(first), *grid, reduction.dim))
    start = 0
    for level in levels:
        stop = start + level.shape[-1]
        if reduction.matrix is None:
            # indices are sorted, so the channels of one level fill a run of columns
            first_column, last_column = np.searchsorted(reduction.indices, [start, stop])
            chosen = torch.from_numpy(reduction.indices[first_column:last_column] - start)
            _add_nearest(out[..., first_column:last_column], level[..., chosen.to(level.device)])
        else:
            matrix = torch.from_numpy(reduction.matrix[:, start:stop]).to(level)
            _add_nearest(out, level @ matrix.T)
        start = stop
    return out


def nearest(level: Tensor, grid: tuple[int, int]) -> Tensor:
    """Nearest-neighbour upsampling of (B, h, w, C) to a grid, as ``torch.nn.functional.interpolate``."""
    if tuple(level.shape[1:3]) == tuple(grid):
        return level
    rows, columns = (
        torch.arange(fine, device=level.device) * coarse // fine
        for fine, coarse in zip(grid, level.shape[1:3], strict=True)
    )
    return level[:, rows][:, :, columns]


def _add_nearest(out: Tensor, level: Tensor) -> None:
    b, h, w, m = level.shape
    rows, columns = out.shape[1] // h, out.shape[2] // w
    if (h * rows, w * columns) != tuple(out.shape[1:3]):
        out += nearest(level, tuple(out.shape[1:3]))
        return
    # whole factors: broadcast instead of building the upsampled array
    out.unflatten(2, (w, columns)).unflatten(1, (h, rows)).add_(level.reshape(b, h, 1, w, 1, m))


def fit_positions(z: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and whitening factor of every position.

    Parameters
    ----------
    z : Tensor of shape (N, positions, m), float32
    eps : float
        > 0.

    Returns
    -------
    mean : Tensor of shape (positions, m), float32
    factor : Tensor of shape (positions, m, m) or (positions, N, m), float32
        L^-1 where m <= N, else K; see the module's docstring.
    """
    n, positions, m = z.shape
    primal = m <= n
    mean = z.new_empty((positions, m))
    factor = z.new_empty((positions, m if primal else n, m))
    identity = torch.eye(min(m, n), dtype=torch.float64, device=z.device)
    for block in _blocks(positions):
        x = z[:, block].transpose(0, 1).double()  # (block, N, m)
        mean[block] = center = x.mean(dim=1)
        x -= center[:, None]
        if primal:
            covariance = torch.bmm(x.transpose(1, 2), x) / (n - 1) + eps * identity
            lower = torch.linalg.cholesky(covariance)
            factor[block] = torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False)
        else:
            gram = torch.bmm(x, x.transpose(1, 2)) + eps * (n - 1) * identity
            factor[block] = torch.linalg.solve_triangular(torch.linalg.cholesky(gram), x, upper=False)
    return mean, factor


def pooled_covariance(features: Source, grid: tuple[int, int]) -> np.ndarray:
    """Covariance of the concatenated levels around each position's mean, averaged over positions.

    Returns
    -------
    ndarray of shape (D, D), float64
    """
    total: Tensor | None = None
    sums: Tensor | None = None
    for batch in features.batches():
        x = torch.cat([nearest(level, grid) for level in batch], dim=-1)
        if total is None:
            total = torch.zeros((x.shape[-1], x.shape[-1]), dtype=torch.float64)
            sums = torch.zeros(x.shape[1:], dtype=torch.float64)
        for image in x:
            flat = image.flatten(0, 1)
            total += (flat.T @ flat).double()
        sums += x.sum(dim=0)
    n, means = len(features), sums.flatten(0, 1) / len(features)
    return ((total - n * means.T @ means) / ((n - 1) * len(means))).numpy()


class _Moments:
    """Sums of one level, for the variance of each of its channels at each position."""

    def __init__(self) -> None:
        self.n = 0
        self.sum: Any = 0.0
        self.squares: Any = 0.0

    def add(self, level: Tensor) -> None:
        x = level.double()
        self.n += len(x)
        self.sum = self.sum + x.sum(dim=0)
        self.squares = self.squares + x.square().sum(dim=0)

    @property
    def positions(self) -> int:
        return self.sum.shape[0] * self.sum.shape[1]

    def variance(self) -> Tensor:
        return (self.squares - self.sum.square() / self.n) / (self.n - 1)


def _blocks(positions: int, size: int = 56) -> list[slice]:
    """Position blocks small enough that a block's matrices stay in the processor's cache."""
    return [slice(start, min(start + size, positions)) for start in range(0, positions, size)]
