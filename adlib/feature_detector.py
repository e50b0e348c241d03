"""What the methods share that read the features of a frozen network: images in, files out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor

from adlib import model_file, parameters
from adlib.errors import InputError
from adlib.features import ImageFeatures, Source
from adlib.scores import Scores


class FeatureDetector:
    """Base of the methods that read the feature levels of a backbone.

    A method gives `fit_features` and `score_features`, and both halves of a file: `_state` and
    `_restore`.

    Attributes
    ----------
    METHOD : str
        Its name in files.
    TENSORS : set of str
        Attributes of a fitted model and tensors that its file must hold.
    FIELDS : set of str
        What the description in its file must hold besides the parameters.
    backbone : Backbone or None
    """

    METHOD: ClassVar[str]
    TENSORS: ClassVar[set[str]]
    FIELDS: ClassVar[set[str]] = set()
    backbone: Any

    def fit(self, images: Sequence[np.ndarray]) -> Self:
        """Fit on normal images, each of shape (H, W, 3), uint8, all of one size."""
        return self.fit_features(self._features(images))

    def score(self, images: Sequence[np.ndarray]) -> Scores:
        """Score images, each of shape (H, W, 3), uint8, all of one size."""
        return self.score_features(self._features(images))

    def fit_features(self, features: Source) -> Self:
        """Fit on the feature levels of normal images."""
        raise NotImplementedError

    def score_features(self, features: Source) -> Scores:
        """Score the feature levels of images."""
        raise NotImplementedError

    @staticmethod
    def effective(values: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters, with None where one has no effect; here each has one."""
        return dict(values)

    def save(self, path: Path | str) -> None:
        """Write the fitted model to one safetensors file.

        The backbone is named in the file by its weights' checksum, and not contained.

        Raises
        ------
        InputError
            The model is not fitted, or the file cannot be written.
        """
        self._check_fitted()
        tensors, fields = self._state()
        description = {
            "method": self.METHOD,
            "parameters": {name: getattr(self, name) for name in parameters.of(type(self))},
            "backbone": self.backbone and self.backbone.describe(),
        }
        model_file.write(path, tensors, description | fields)

    @classmethod
    def load(cls, path: Path | str, backbone: Any = None) -> Self:
        """Read a fitted model; it scores as the one that was saved, bit for bit.

        Parameters
        ----------
        path : Path
            A file that ``save`` wrote.
        backbone : Backbone, optional
            The one the model was fitted with; without it, features can be scored, images cannot.

        Raises
        ------
        InputError
            The file is missing, damaged or foreign, or the backbone is another one.
        """
        tensors, description = model_file.read_model(
            path, cls.METHOD, cls.TENSORS, cls.FIELDS, backbone
        )
        model = cls(backbone=backbone, **description["parameters"])
        missing = model._names() - tensors.keys()
        if missing:
            raise InputError(f"{path} lacks {', '.join(sorted(missing))}; save the model again")
        device = getattr(backbone, "torch_device", "cpu")
        model._restore({name: x.to(device) for name, x in tensors.items()}, description)
        return model

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors of the fitted model, and further fields of its description."""
        raise NotImplementedError

    def _restore(self, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        """Take back what `_state` gave."""
        raise NotImplementedError

    def _names(self) -> set[str]:
        """Return the tensors that a file with these parameters must hold."""
        return self.TENSORS

    def _check_fitted(self) -> None:
        if not all(hasattr(self, name) for name in self.TENSORS):
            raise InputError(
                f"{type(self).__name__} is not fitted: call fit or load a fitted model first"
            )

    def _features(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        if self.backbone is None:
            name = type(self).__name__
            raise InputError(
                f"{name} needs a backbone to read images: {name}(backbone=Backbone('resnet18'))"
            )
        return ImageFeatures(self.backbone, images)
