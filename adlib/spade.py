r"""SPADE: nearest images, then nearest pixels among them (Cohen and Hoshen 2020).

==============================  ====================  ==========================================
symbol                          variable              shape
==============================  ====================  ==========================================
f_i, features of an image       ``pooled``            (N, C), the deepest level, averaged
N_K(f_y), K nearest images      ``nearest``           (images, K)
d_y                             ``Scores.image``      (images,), mean distance to them
F(x_i, p)                       a ``pyramid``         (h, w, D), levels concatenated
G, the gallery                  ``gallery``           (K h w, D), all pixels of the K images
d(y, p)                         ``distance``          (images, h, w), mean over kappa in G
==============================  ====================  ==========================================

What the paper leaves open, and what is done here:

- Distances: the text says Euclidean, the formulas print squared norms; `distance` names the two.
- The pyramid: deeper levels are brought to the first one's grid bilinearly and concatenated as they
  are, all with equal weight, so that one neighbour is found for all levels. A widely used port
  searches each level on its own instead and averages the maps.
- Fewer than K training images: all of them are used.

Unlike PaDiM's, the model knows no positions: images to score may have another size than those it
was fitted on. Nothing is drawn: there is no seed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import psutil
import torch
from pydantic import Field
from torch import Tensor

from adlib import parameters, patches
from adlib.anomaly_map import upsample_and_smooth
from adlib.errors import InputError
from adlib.feature_detector import FeatureDetector
from adlib.features import Source
from adlib.gallery import Gallery
from adlib.levels import NotFinite
from adlib.nearest import NearestNeighbors
from adlib.nearest_image import check_channels, pool
from adlib.scores import Scores

BATCH = 16  # images whose levels are read at a time


class SPADE(FeatureDetector):
    """Mean distance to the K nearest images; a pixel's, to the nearest pixels of those images.

    Parameters
    ----------
    backbone : Backbone, optional
        Needed to fit or score images; features that were extracted before need none.
    image_level : int
        The level of the network that is pooled to compare images, 1 to 4; the paper's is the last.
    pixel_layers : str
        Levels of the pyramid, as ``1+2+3``; the first sets the grid.
    k : int
        K, nearest training images; all of them where there are fewer.
    kappa : int
        A pixel's score is its mean distance to that many nearest pixels of the gallery.
    pixel_stride : int
        Keep every s-th row and column of the pyramid, in training and test images alike: s^4 times
        cheaper; 1 is the paper. The map is shifted by (s - 1) / 2 pixels of the pyramid.
    distance : {'l2', 'squared'}
        Euclidean, or squared as the formulas are printed; of images and of pixels.
    sigma : float
        Gaussian smoothing of the anomaly map, pixels.

    Attributes
    ----------
    pooled : Tensor of shape (N, C), float32
        The training images' features, averaged over all positions.
    levels : list of Tensor of shape (N, h_l, w_l, C_l), float32
        The levels in ``pixel_layers``, each at its own resolution.

    Raises
    ------
    InputError
        A parameter of the wrong name, type or range.
    """

    METHOD = "spade"
    TENSORS = {"pooled"}
    LABEL = ("image_level", "pixel_layers", "k")  # what a record's file name shows

    def __init__(
        self,
        *,
        backbone: Any = None,
        image_level: Annotated[
            int, Field(ge=1, le=4, description="level that is pooled to compare images")
        ] = 4,
        pixel_layers: Annotated[
            str,
            Field(
                pattern=r"^(1(\+2)?(\+3)?(\+4)?|2(\+3)?(\+4)?|3(\+4)?|4)$",
                description="levels of the pyramid, shallow to deep, as 1+2+3",
            ),
        ] = "1+2+3",
        k: Annotated[int, Field(ge=1, description="K, nearest training images")] = 50,
        kappa: Annotated[
            int, Field(ge=1, description="nearest pixels of the gallery that are averaged")
        ] = 1,
        pixel_stride: Annotated[
            int, Field(ge=1, description="keep every s-th row and column of the pyramid")
        ] = 1,
        distance: Annotated[
            Literal["l2", "squared"], Field(description="Euclidean or squared Euclidean")
        ] = "l2",
        sigma: Annotated[
            float,
            Field(ge=0, allow_inf_nan=False, description="smoothing of the anomaly map, pixels"),
        ] = 4.0,
    ) -> None:
        given = locals()
        names = parameters.of(SPADE)
        checked = parameters.check(SPADE, {name: given[name] for name in names})
        self.backbone = backbone
        for name in names:
            setattr(self, name, checked[name])

    @staticmethod
    def depth(values: dict[str, Any]) -> int:
        """Return the deepest level of the network that is needed, counted from 1."""
        return max(values["image_level"], int(values["pixel_layers"][-1]))

    def drawn(self) -> dict[str, Any]:
        """Return the size of what is kept and compared: for the record of a run."""
        grid = self.levels[0].shape[1:3]
        per_image = int(np.prod([-(-side // self.pixel_stride) for side in grid]))
        compared = min(self.k, len(self.pooled))
        return {
            "images": len(self.pooled),
            "images_compared": compared,
            "gallery": compared * per_image,
            "channels": sum(level.shape[-1] for level in self.levels),
            "image_channels": self.pooled.shape[1],
            "model_mb": round(sum(x.nbytes for x in (self.pooled, *self.levels)) / 1e6, 1),
        }

    def fit_features(self, features: Source) -> SPADE:
        """Keep the feature levels of normal images.

        Parameters
        ----------
        features : Source
            All levels of the network up to the deepest that is used, of at least one image.

        Returns
        -------
        SPADE
            self.

        Raises
        ------
        InputError
            No image, levels that are missing, features that are not finite, a pyramid with fewer
            pixels than ``kappa``, or a model that does not fit into memory.
        """
        vars(self).pop("pooled", None)  # a fit that fails leaves no half-fitted model
        if len(features) == 0:
            raise InputError("SPADE needs at least one normal image, found none; add images")
        one = self._chosen(next(iter(features.batches(1))))
        self._check_memory(len(features), one)
        self._check_kappa(len(features), self.pyramid(one))
        levels = [x.new_empty((len(features), *x.shape[1:])) for x in one]
        pooled, start = [], 0
        for batch in features.batches(BATCH):
            pooled.append(pool(batch, self.image_level))
            for kept, level in zip(levels, self._chosen(batch), strict=True):
                kept[start : start + len(level)] = level
            start += len(pooled[-1])
        if not all(torch.isfinite(x.sum()) for x in levels):  # NaN or infinity survives the sum
            raise NotFinite
        self._open(torch.cat(pooled), levels)
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
            The model is not fitted, or the features are of another kind or not finite.
        """
        self._check_fitted()
        image_scores, maps = [], []
        for batch in features.batches(BATCH):
            score, nearest = self.nearest_images(batch)
            smooth = upsample_and_smooth(
                self.distances(batch, nearest), features.image_size, self.sigma
            )
            image_scores.append(score.cpu().numpy())
            maps.append(smooth.cpu().numpy())
        return Scores(np.concatenate(image_scores), np.concatenate(maps))

    def nearest_images(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Compare images as wholes.

        Parameters
        ----------
        levels : list of Tensor of shape (B, h, w, C)

        Returns
        -------
        score : Tensor of shape (B,)
            d_y, the mean distance to the nearest training images.
        nearest : Tensor of shape (B, min(K, N)), int64
            Those images, the nearest first.
        """
        pooled = pool(levels, self.image_level)
        check_channels(pooled, self.pooled)
        found, nearest = self.searcher.query(pooled, min(self.k, len(self.pooled)))
        return self._measured(found).mean(dim=1), nearest

    def distances(self, levels: list[Tensor], nearest: Tensor) -> Tensor:
        """Compare the pixels of images with those of their nearest images.

        Parameters
        ----------
        levels : list of Tensor of shape (B, h, w, C)
        nearest : Tensor of shape (B, K), int64

        Returns
        -------
        Tensor of shape (B, h, w)
            d(y, p), before interpolation.
        """
        chosen = self._chosen(levels)
        for level, trained in zip(chosen, self.levels, strict=True):
            check_channels(level, trained)
        pyramids = self.pyramid(chosen)
        if not torch.isfinite(pyramids.sum()):  # NaN or infinity survives the sum
            raise NotFinite
        distance = pyramids.new_empty(pyramids.shape[:3])
        for one, images, out in zip(pyramids, nearest, distance, strict=True):
            found = self._nearest_pixels(one.flatten(0, 1), images.tolist())
            out[:] = self._measured(found).mean(dim=1).view_as(out)
        return distance

    def pyramid(self, chosen: list[Tensor]) -> Tensor:
        """Concatenate levels (B, h_l, w_l, C_l) on the first one's grid, shape (B, h, w, D)."""
        whole = patches.concat(chosen, 1, 1, "inside")
        return whole[:, :: self.pixel_stride, :: self.pixel_stride].contiguous()

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        levels = dict(zip(self._level_names(), self.levels, strict=True))
        return {"pooled": self.pooled} | levels, {}

    def _restore(self, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        self._open(tensors["pooled"], [tensors[name] for name in self._level_names()])

    def _names(self) -> set[str]:
        return self.TENSORS | set(self._level_names())

    def _open(self, pooled: Tensor, levels: list[Tensor]) -> None:
        self.searcher = NearestNeighbors(pooled)
        self.levels = levels
        self.gallery: Gallery | None = None
        if pooled.device.type == "cpu":
            self.gallery = Gallery(lambda image: self._pixels(image).numpy(), len(pooled))
        self.pooled = pooled

    def _nearest_pixels(self, x: Tensor, images: list[int]) -> Tensor:
        """Distances (n, kappa) of pixels (n, D) in the gallery of some training images."""
        if self.gallery is not None:
            return torch.from_numpy(self.gallery.query(x.numpy(), images, self.kappa))
        gallery = torch.cat([self._pixels(image) for image in images])
        return NearestNeighbors(gallery).query(x, self.kappa)[0]

    def _pixels(self, image: int) -> Tensor:
        return self.pyramid([x[image : image + 1] for x in self.levels]).flatten(0, 2)

    def _measured(self, distances: Tensor) -> Tensor:
        return distances.square() if self.distance == "squared" else distances

    def _level_names(self) -> list[str]:
        return [f"level_{layer}" for layer in self.pixel_layers.split("+")]

    def _chosen(self, levels: list[Tensor]) -> list[Tensor]:
        wanted = [int(layer) for layer in self.pixel_layers.split("+")]
        if wanted[-1] > len(levels):
            raise InputError(
                f"pixel_layers={self.pixel_layers} needs {wanted[-1]} levels of the network, found "
                f"{len(levels)}; open the backbone with more levels or choose shallower layers"
            )
        return [levels[layer - 1] for layer in wanted]

    def _check_kappa(self, n_images: int, pyramid: Tensor) -> None:
        gallery = min(self.k, n_images) * pyramid.shape[1] * pyramid.shape[2]
        if self.kappa > gallery:
            raise InputError(
                f"kappa must be at most the {gallery} pixels of the gallery, found {self.kappa}; "
                "lower it, add images or lower pixel_stride"
            )

    def _check_memory(self, n_images: int, one: list[Tensor]) -> None:
        """Estimate before anything is allocated: all levels, and what speeds up the search."""
        h, w = (-(-side // self.pixel_stride) for side in one[0].shape[1:3])
        prepared = h * w * Gallery.columns(sum(level.shape[-1] for level in one))
        needed = 4 * n_images * (sum(level.numel() for level in one) + prepared)
        available = psutil.virtual_memory().available
        if needed > available:
            raise InputError(
                f"the features of {n_images} images need {needed / 1e9:.1f} GB, "
                f"{available / 1e9:.1f} GB are free; use fewer images, a larger "
                "pixel_stride, deeper pixel_layers or smaller images"
            )
