"""Pairs of images for the classifier: which ones count as the same, which as different.

The paper has no anomalous images to learn from, so both kinds are made from normal ones: an image
and its own reconstruction are "the same", an image and a sample from pure noise are "different"
(Section 3.2, Fig. 2). The other negatives here ask whether the idea works with harder ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adlib.diffusion.pair_classifier import PairClassifier
from adlib.errors import InputError
from adlib.parameters import unknown

NEGATIVES = ("noise", "other", "later")
VERSION = 2  # raise when the same settings give other pairs: older checkpoints are not used then
VALIDATION = 5  # every fifth image is kept from the classifier


class Pairs(NamedTuple):
    """Pairs of images.

    Attributes
    ----------
    first, second : Tensor of shape (M, C, 32, 32), float32
        Image and what it is compared with.
    different : Tensor of shape (M,), float32
        1 different, 0 same.
    partner : ndarray of shape (M,), int64
        Index of the image that `second` was made from; -1: from noise.
    """

    first: Tensor
    second: Tensor
    different: Tensor
    partner: np.ndarray


def check_negatives(text: str) -> list[str]:
    """Read kinds of negatives: ``noise``, ``noise+other``.

    Raises
    ------
    InputError
        A kind does not exist.
    """
    kinds = text.split("+")
    for kind in kinds:
        if kind not in NEGATIVES:
            raise InputError(unknown("kind of negatives", kind, NEGATIVES))
    return kinds


def make(
    images: Tensor,
    reconstruct: Callable[[Tensor, int, int], Tensor],
    sample: Callable[[int, int], Tensor],
    *,
    positives: tuple[int, ...],
    negatives: str,
    later: int,
    draws: int,
    seed: int,
) -> Pairs:
    """Make pairs: for each image and draw one positive and one negative.

    Parameters
    ----------
    images : Tensor of shape (N, C, 32, 32)
    reconstruct : callable
        Given images, a start t and the number of the draw: reconstructions.
    sample : callable
        Given a number and the number of the draw: new images from noise.
    positives : tuple of int
        Starts; draw `d` takes the one at place ``d mod len``.
    negatives : str
        Kinds as for `check_negatives`, taken in turn by the draws: ``noise`` a sample,
        ``other`` the reconstruction of another image from the same start as the positive,
        ``later`` one of the same image from `later`.
    later : int
        Start of the kind ``later``.
    draws : int
        At least as many are made as there are positives and kinds of negatives.
    seed : int
        Which other image.
    """
    kinds = check_negatives(negatives)
    rng = np.random.default_rng([seed, 2])
    n, own = len(images), np.arange(len(images))
    first, second, different, partner = [], [], [], []

    def add(made: Tensor, label: float, source: np.ndarray) -> None:
        first.append(images)
        second.append(made)
        different.append(torch.full((n,), label))
        partner.append(source)

    for draw in range(max(draws, len(kinds), len(positives))):
        start = positives[draw % len(positives)]
        add(reconstruct(images, start, draw), 0.0, own)
        kind = kinds[draw % len(kinds)]
        if kind == "noise":
            add(sample(n, draw), 1.0, np.full(n, -1))
        elif kind == "other":
            other = _others(n, rng)
            add(reconstruct(images, start, draw)[torch.from_numpy(other)], 1.0, other)
        else:
            add(reconstruct(images, later, draw), 1.0, own)
    return Pairs(torch.cat(first), torch.cat(second), torch.cat(different), np.concatenate(partner))


def loss(classifier: PairClassifier, pairs: Pairs) -> Callable:
    """Return the loss of a batch of row numbers: binary cross-entropy of the logit."""

    def of_rows(rows: Tensor, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        at = rows.cpu()
        first, second = pairs.first[at].to(rows.device), pairs.second[at].to(rows.device)
        logit = classifier(first, second)
        label = pairs.different[at].to(rows.device)
        return {"loss": functional.binary_cross_entropy_with_logits(logit.float(), label)}

    return of_rows


def _others(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw another image for each: a permutation, and no image gets itself."""
    order = rng.permutation(n)
    other = np.empty(n, dtype=np.int64)
    other[order] = np.roll(order, 1)
    return other
