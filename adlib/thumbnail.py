"""A control without a network: how alike is an image to its most similar training image?

Thumbnails are too coarse for most defects, but not for the object they are on. Where this control
does well, a split tells normal from anomalous images without a look at the defect: several
photographs of one object were split at random, say, so that a normal test image has near-duplicates
among the training images and an anomalous one has none. Every method that measures the distance to
the training images then does well for that reason alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from adlib import model_file, parameters
from adlib.errors import InputError
from adlib.scores import Scores


class Thumbnail:
    """One minus the highest correlation with a training image, on small grey pictures.

    Parameters
    ----------
    side : int
        Height and width of a thumbnail, pixels.

    Attributes
    ----------
    bank : ndarray of shape (N, side^2), float64
        The training images, each of mean 0 and length 1.

    Raises
    ------
    InputError
        A parameter of the wrong name, type or range.
    """

    LABEL = ("side",)  # what a record's file name shows
    INPUT = "images"  # not the features of a network

    def __init__(
        self,
        *,
        side: Annotated[int, Field(ge=2, le=512, description="of a thumbnail, pixels")] = 32,
    ) -> None:
        self.side: int = parameters.check(Thumbnail, {"side": side})["side"]

    @staticmethod
    def depth(values: dict[str, Any]) -> int:
        """Return 0: no level of a network is needed."""
        return 0

    @staticmethod
    def effective(values: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters as they are: each has an effect."""
        return dict(values)

    def drawn(self) -> dict[str, Any]:
        """Return the size of what is kept: for the record of a run."""
        return {"images": len(self.bank), "model_mb": round(self.bank.nbytes / 1e6, 3)}

    def fit(self, images: Sequence[np.ndarray]) -> Thumbnail:
        """Fit on normal images, each of shape (H, W, 3), uint8, of any sizes.

        Raises
        ------
        InputError
            There is no image.
        """
        if len(images) == 0:
            raise InputError("Thumbnail needs at least one normal image, found none; add images")
        self.bank = thumbnails(images, self.side)
        return self

    def score(self, images: Sequence[np.ndarray]) -> Scores:
        """Score images of any sizes; without maps. Scores lie in [0, 2]."""
        self._check_fitted()
        alike = (thumbnails(images, self.side) @ self.bank.T).max(axis=1)
        return Scores((1 - alike).astype(np.float32))

    def save(self, path: Path | str) -> None:
        """Write the thumbnails to one safetensors file.

        Raises
        ------
        InputError
            The model is not fitted, or the file cannot be written.
        """
        self._check_fitted()
        description = {"method": "thumbnail", "parameters": {"side": self.side}, "backbone": None}
        model_file.write(path, {"bank": torch.from_numpy(self.bank)}, description)

    @classmethod
    def load(cls, path: Path | str) -> Thumbnail:
        """Read a fitted model.

        Raises
        ------
        InputError
            The file is missing, damaged or foreign.
        """
        tensors, description = model_file.read_model(path, "thumbnail", {"bank"}, set())
        model = cls(**description["parameters"])
        model.bank = tensors["bank"].numpy()
        return model

    def _check_fitted(self) -> None:
        if not hasattr(self, "bank"):
            raise InputError("Thumbnail is not fitted: call fit or load a fitted model first")


def thumbnails(images: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Shrink images to grey vectors of mean 0 and length 1: products are correlations.

    Parameters
    ----------
    images : sequence of ndarray of shape (H, W, 3), uint8
        Of any sizes.
    side : int
        Pixels.

    Returns
    -------
    ndarray of shape (N, side^2), float64
        A picture of one grey only becomes zeros: it correlates with nothing.
    """
    flat = np.empty((len(images), side**2))
    for row, image in zip(flat, images, strict=True):
        row[:] = np.asarray(Image.fromarray(image).convert("L").resize((side, side))).ravel()
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.divide(flat, length, out=np.zeros_like(flat), where=length > 1e-9)
