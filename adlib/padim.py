r"""PaDiM, and PaDiM under a Johnson-Lindenstrauss projection.

PaDiM (Defard et al. 2020) fits a Gaussian to the patch embeddings of every position over the
normal training images and scores a patch by its Mahalanobis distance. To bound the cost it keeps m
randomly chosen channels; the JL report (COS 521, 2021) multiplies by a random matrix Pi instead.
Here the two differ by one object, the reduction.

======================  =================  ===========================================
symbol                  variable           shape
======================  =================  ===========================================
x_ij, Pi x_ij           ``z``              (positions, N, m)
mu'_ij (Eq. 8)          ``mean``           (positions, m)
Sigma'_ij (Eq. 9)       not kept           (positions, m, m)
L^-1, Sigma' = L L^T    ``factor``         (positions, m, m), where m <= N (primal)
K = L_A^-1 X            ``factor``         (positions, N, m), where m > N (dual)
M(x'_ij) (Eq. 10)       ``distance``       (images, h, w)
======================  =================  ===========================================

The two forms, both exact, are those of ``adlib.mahalanobis``; the smaller one is kept.

A map over channels commutes with nearest-neighbour upsampling, so each level is projected at its
own resolution, Pi = [Pi_1 Pi_2 Pi_3], and the results are added on the grid of the first level: up
to 16 times fewer operations for the third level, and the same numbers.

Differences from the widely used ports: the covariance gets eps I once (one library adds a second
1e-5 I), distances are neither clamped nor normalised over the test set, and image scores are not
rescaled.
"""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from adlib import parameters, projection
from adlib.anomaly_map import upsample_and_smooth
from adlib.errors import InputError
from adlib.feature_detector import FeatureDetector
from adlib.features import Source
from adlib.levels import Moments, NotFinite, pooled_covariance, reduce_levels
from adlib.mahalanobis import fit_positions, position_blocks, squared_distances
from adlib.projection import Reduction
from adlib.scores import Scores

SCORE_BATCH = 32  # images a block of scoring; the factor is read once a block
_SAVED = ("image_size", "grid", "level_shapes", "eps_", "n_train")  # beside tensors and parameters
ROUNDING = 1e-12  # of a variance, relative to the mean square


class PaDiM(FeatureDetector):
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
        coordinate over that of a raw one, so that it weighs the same after every reduction; where
        nothing varies there is nothing to match, and eps is added as printed.
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
        float32; float64 in the dual form with a tiny eps (``adlib.mahalanobis``).
    grid : (h, w)
        Size of the first level.

    Raises
    ------
    InputError
        A parameter of the wrong name, type or range.
    """

    METHOD = "padim"
    TENSORS = {"mean", "factor"}
    FIELDS = {"form", *_SAVED}
    LABEL = ("reduction", "dim", "eps_scale")  # what a record's file name shows

    def __init__(
        self,
        *,
        backbone: Any = None,
        reduction: Annotated[
            projection.Name, Field(description="map from D channels to m dimensions")
        ] = "coordinate",
        dim: Annotated[int, Field(ge=1, description="m, dimensions after the reduction")] = 100,
        eps: Annotated[
            float,
            Field(
                gt=0, allow_inf_nan=False, description="regulariser added to the covariance, Eq. 9"
            ),
        ] = 0.01,
        eps_scale: Annotated[
            Literal["nominal", "matched"],
            Field(description="eps as printed, or scaled like the projected variance"),
        ] = "nominal",
        sigma: Annotated[
            float,
            Field(ge=0, allow_inf_nan=False, description="smoothing of the anomaly map, pixels"),
        ] = 4.0,
        image_score: Annotated[
            Literal["smoothed", "raw"], Field(description="image score: maximum of which map")
        ] = "smoothed",
        seed: Annotated[int, Field(ge=0, description="seed of the random reduction")] = 0,
    ) -> None:
        checked = parameters.check(
            PaDiM,
            dict(
                reduction=reduction,
                dim=dim,
                eps=eps,
                eps_scale=eps_scale,
                sigma=sigma,
                image_score=image_score,
                seed=seed,
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
    def depth(values: dict[str, Any]) -> int:
        """Return the deepest level of the network that is needed, counted from 1."""
        return 3

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
            Fewer than two images, a dimension larger than the features, NaN among them, or an eps
            too small to invert the covariance.
        """
        vars(self).pop("factor", None)  # a fit that fails leaves no half-fitted model
        if len(features) < 2:
            raise InputError(
                f"PaDiM needs at least 2 normal images to fit a covariance, found {len(features)}"
            )
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
        self.n_train = len(features)
        return self

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {"mean": self.mean, "factor": self.factor}
        for name in ("indices", "matrix"):
            array = getattr(self.reduction_, name)
            if array is not None:
                tensors[name] = torch.from_numpy(array)
        fields = {name: getattr(self, name) for name in _SAVED}
        return tensors, fields | {"form": "primal" if self.primal else "dual"}

    def _restore(self, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        for name in _SAVED:
            value = description[name]
            setattr(self, name, tuple(value) if name in ("image_size", "grid") else value)
        self.level_shapes = [tuple(shape) for shape in self.level_shapes]
        names = ("indices", "matrix")
        arrays = {name: tensors[name].cpu().numpy() for name in names if name in tensors}
        self.reduction_ = Reduction(**arrays)
        self.primal = description["form"] == "primal"
        self.mean, self.factor = tensors["mean"], tensors["factor"]

    def score_features(self, features: Source) -> Scores:
        """Score the feature levels of images.

        Returns
        -------
        Scores
            With maps at the size of the images.

        Raises
        ------
        InputError
            The features are of another shape than those of the training images, or not finite.
        """
        self._check_fitted()
        image_scores, maps = [], []
        for batch in features.batches(SCORE_BATCH):
            self._check(batch, features.image_size)
            distance = self.distances([level.to(self.mean.device) for level in batch])
            smooth = upsample_and_smooth(distance, self.image_size, self.sigma)
            source = smooth if self.image_score == "smoothed" else distance
            image_scores.append(source.amax(dim=(1, 2)).cpu().numpy())
            maps.append(smooth.cpu().numpy())
            if not np.isfinite(image_scores[-1]).all():
                raise NotFinite
        return Scores(np.concatenate(image_scores), np.concatenate(maps))

    def distances(self, levels: list[Tensor]) -> Tensor:
        """Mahalanobis distances (Eq. 10) of a batch, shape (B, h, w), before interpolation."""
        z = reduce_levels(levels, self.reduction_, self.grid).flatten(1, 2)
        squared = squared_distances(z, self.mean, self.factor, self.eps_)
        return squared.sqrt_().unflatten(1, self.grid)

    def _reduce_all(self, features: Source, channels: int) -> tuple[Tensor, float]:
        """Reduce every image; also the mean variance of a raw coordinate, pooled over positions."""
        h, w = self.grid
        z: Tensor | None = None
        moments = [Moments() for _ in self.level_shapes]
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
        if not all(torch.isfinite(extreme) for extreme in z.aminmax()):
            raise NotFinite
        if self.eps_scale == "nominal":
            return z, 1.0
        # a coarse position stands for several fine ones: weigh its variance by how many
        total = sum(m.variance().sum().item() * h * w / (m.positions) for m in moments)
        if not math.isfinite(total):
            raise NotFinite
        return z, total / (h * w * channels)

    def _eps_factor(self, z: Tensor, raw_variance: float) -> float:
        """eps_scale: [tr(Pi Sigma Pi^T) / m] / [tr(Sigma) / D], pooled over positions."""
        if self.eps_scale == "nominal":
            return 1.0
        blocks = [z[:, block].double().var(dim=0).sum() for block in position_blocks(z.shape[1])]
        variance = torch.stack(blocks).sum().item() / (z.shape[1] * z.shape[2])
        mean_square = torch.stack([image.double().square().mean() for image in z]).mean().item()
        # constant features: both variances are rounding, and their ratio means nothing
        varies = variance > ROUNDING * mean_square and raw_variance > 0
        return variance / raw_variance if varies else 1.0

    def _check(self, batch: list[Tensor], image_size: tuple[int, int]) -> None:
        shapes = [tuple(level.shape[1:]) for level in batch]
        if shapes != self.level_shapes or tuple(image_size) != self.image_size:
            raise InputError(
                f"PaDiM models each position: images must be {self.image_size} pixels with levels "
                f"{self.level_shapes}, as in training, found {tuple(image_size)} with {shapes}; "
                "resize and crop them alike"
            )
