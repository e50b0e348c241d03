r"""Nearest normal image: the distance of globally pooled features (Nazare et al. 2018).

======================  ==================  ================================================
symbol                  variable            shape
======================  ==================  ================================================
f_i                     ``bank``            (N, C), one row a training image
mean \|f - f_i\|        ``Scores.image``    (images,), over the nearest rows
======================  ==================  ================================================

The 1-NN row of PatchCore's Table 6. Nazare et al. compare several networks, normalisations and a
PCA of the features; here the features of one level are averaged over positions and compared as they
are. Nothing is drawn, no position is kept: there is no seed and no map, and images to score may
have another size than those it was fitted on.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from adlib import parameters
from adlib.errors import InputError
from adlib.feature_detector import FeatureDetector
from adlib.features import Source
from adlib.levels import NotFinite
from adlib.nearest import NearestNeighbors
from adlib.scores import Scores

BATCH = 16  # images whose levels are pooled at a time


class NearestImage(FeatureDetector):
    """Distance to the nearest training images, on features pooled over all positions.

    Parameters
    ----------
    backbone : Backbone, optional
        Needed to fit or score images; features that were extracted before need none.
    image_level : int
        The level of the network that is pooled, 1 to 4.
    neighbors : int
        An image's score is its mean distance to that many nearest training images.

    Attributes
    ----------
    bank : Tensor of shape (N, C), float32
        The pooled training images, in their order.

    Raises
    ------
    InputError
        A parameter of the wrong name, type or range.
    """

    METHOD = "one_nn"
    TENSORS = {"bank"}
    LABEL = ("image_level", "neighbors")  # what a record's file name shows

    def __init__(
        self,
        *,
        backbone: Any = None,
        image_level: Annotated[
            int, Field(ge=1, le=4, description="level of the network that is pooled")
        ] = 4,
        neighbors: Annotated[
            int, Field(ge=1, description="nearest training images an image is compared with")
        ] = 1,
    ) -> None:
        checked = parameters.check(
            NearestImage, {"image_level": image_level, "neighbors": neighbors}
        )
        self.backbone = backbone
        self.image_level: int = checked["image_level"]
        self.neighbors: int = checked["neighbors"]

    @staticmethod
    def depth(values: dict[str, Any]) -> int:
        """Return the deepest level of the network that is needed, counted from 1."""
        return values["image_level"]

    def drawn(self) -> dict[str, Any]:
        """Return the size of what is kept: for the record of a run."""
        return {
            "images": len(self.bank),
            "channels": self.bank.shape[1],
            "model_mb": round(self.bank.nbytes / 1e6, 3),
        }

    def fit_features(self, features: Source) -> NearestImage:
        """Pool the feature levels of normal images.

        Parameters
        ----------
        features : Source
            All levels of the network up to ``image_level``, of at least ``neighbors`` images.

        Returns
        -------
        NearestImage
            self.

        Raises
        ------
        InputError
            No image or fewer than ``neighbors``, a level that is missing, or features that are not
            finite.
        """
        vars(self).pop("bank", None)  # a fit that fails leaves no half-fitted model
        if len(features) < self.neighbors:
            raise InputError(
                f"NearestImage compares with {self.neighbors} training images, found "
                f"{len(features)}; add images or lower neighbors"
            )
        self._open(torch.cat([self._pool(batch) for batch in features.batches(BATCH)]))
        return self

    def score_features(self, features: Source) -> Scores:
        """Score the feature levels of images.

        Returns
        -------
        Scores
            Without maps.

        Raises
        ------
        InputError
            The model is not fitted, or the features are of another kind or not finite.
        """
        self._check_fitted()
        found = []
        for batch in features.batches(BATCH):
            pooled = self._pool(batch)
            check_channels(pooled, self.bank)
            distances, _ = self.searcher.query(pooled, self.neighbors)
            found.append(distances.mean(dim=1).cpu().numpy())
        return Scores(np.concatenate(found))

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"bank": self.bank}, {}

    def _restore(self, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        self._open(tensors["bank"])

    def _open(self, bank: Tensor) -> None:
        self.searcher = NearestNeighbors(bank)
        self.bank = bank

    def _pool(self, levels: list[Tensor]) -> Tensor:
        return pool(levels, self.image_level)


def pool(levels: list[Tensor], level: int) -> Tensor:
    """Average a level over all positions of each image.

    Parameters
    ----------
    levels : list of Tensor of shape (B, h, w, C)
        Shallow to deep.
    level : int
        Which of them, counted from 1.

    Returns
    -------
    Tensor of shape (B, C), float32
        Summed in float64, so that an image's row does not depend on its batch.

    Raises
    ------
    InputError
        There is no such level.
    NotFinite
        It holds NaN or infinity.
    """
    if level > len(levels):
        raise InputError(
            f"image_level={level} needs {level} levels of the network, found {len(levels)}; open "
            "the backbone with more levels or set a shallower image_level"
        )
    pooled = levels[level - 1].double().mean(dim=(1, 2)).float()
    if not torch.isfinite(pooled).all():
        raise NotFinite
    return pooled


def check_channels(found: Tensor, trained: Tensor) -> None:
    """See that features (..., C) have the channels of those of the training.

    Raises
    ------
    InputError
        They have not.
    """
    if found.shape[-1] != trained.shape[-1]:
        raise InputError(
            f"features must have {trained.shape[-1]} channels as in training, found "
            f"{found.shape[-1]}; use the backbone and levels of the training"
        )
