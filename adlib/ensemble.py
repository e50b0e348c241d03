"""Several networks judge together (PatchCore, Table 4).

Each network gets a detector of its own. How their scores are put together the paper does not say;
the released code scales each detector's to [0, 1] over the test set and averages them, and so does
this module. An ensemble's score of one image therefore depends on the other images in the set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adlib.backbones import Backbone, Weights, levels, weights_for
from adlib.errors import InputError
from adlib.scores import Scores

JOIN = "+"


class Ensemble:
    """Backbones that are used side by side; describes itself as one backbone would.

    Parameters
    ----------
    members : sequence of Backbone
        At least two, of different names.

    Raises
    ------
    InputError
        Fewer than two members, or one twice.
    """

    def __init__(self, members: Sequence[Backbone]) -> None:
        self.members = list(members)
        self.name = JOIN.join(member.name for member in self.members)
        if len({member.name for member in self.members}) < max(2, len(self.members)):
            raise InputError(
                f"an ensemble joins two or more different backbones, found {self.name!r}; "
                "write them as resnet18+efficientnet_lite0"
            )
        first = self.members[0]
        self.precision, self.torch_device = first.precision, first.torch_device
        self.weights = first.weights

    @property
    def origin(self) -> Weights:
        """Where the weights came from: a doubtful member makes the ensemble doubtful."""
        labels = [member.origin.label for member in self.members]
        doubtful = [label for label in labels if label in ("random", "unverified")]
        text = JOIN.join(member.origin.sha256 for member in self.members)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Weights((doubtful or [JOIN.join(labels)])[0], digest, "")

    def describe(self) -> dict[str, Any]:
        """Return what identifies the features, as ``Backbone.describe``."""
        return {
            "name": self.name,
            "levels": [f"{m.name}/{level}" for m in self.members for level in m.levels],
            "precision": self.precision,
            "weights": self.origin.label,
            "weights_sha256": self.origin.sha256,
        }


def open_backbone(
    name: str,
    depth: int = 3,
    *,
    weights: Path | str | None = None,
    device: str = "auto",
    precision: str = "float32",
) -> Backbone | Ensemble:
    """Open a network, or several joined by ``+``, with the levels 1 to `depth`.

    Parameters
    ----------
    name : str
    depth : int
        Deepest level that is needed; at least three are opened.
    weights : Path or str, optional
        As for `Backbone`; a folder stands for the file in it whose name begins with the network's.
    device, precision
        As for `Backbone`.

    Raises
    ------
    InputError
        As for `Backbone` and `Ensemble`.
    """
    opened = [
        Backbone(
            part,
            levels(part, depth),
            weights=weights_for(part, weights),
            device=device,
            precision=precision,
        )
        for part in str(name).split(JOIN)
    ]
    return opened[0] if len(opened) == 1 else Ensemble(opened)


def combine(scores: Sequence[Scores]) -> Scores:
    """Average the scores of several detectors, each scaled to [0, 1] over all images.

    Image scores and maps are scaled apart. A detector that finds all images equal adds nothing.

    Parameters
    ----------
    scores : sequence of Scores
        Of the same images; maps of the same size.

    Returns
    -------
    Scores
        Without maps where a detector has none.
    """
    image = np.mean([_scaled(one.image) for one in scores], axis=0, dtype=np.float32)
    if any(one.map is None for one in scores):
        return Scores(image)
    maps = np.zeros_like(scores[0].map)
    for one in scores:
        maps += _scaled(one.map) / len(scores)
    return Scores(image, maps)


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
