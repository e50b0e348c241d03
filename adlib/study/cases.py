"""Which test images to show: the best, the typical and the worst, chosen by a rule, not by hand."""

from __future__ import annotations

import numpy as np

from adlib.metrics import pixel_auroc

NAMES = ("best", "typical", "worst")


def rank(masks: np.ndarray, maps: np.ndarray) -> list[tuple[int, float]]:
    """Rank images by how well their anomaly map finds their defect.

    Parameters
    ----------
    masks : ndarray of shape (N, H, W), bool
        Images with an empty mask (normal ones, lost defects) are left out, and so are full masks.
    maps : ndarray of shape (N, H, W)

    Returns
    -------
    list of (index, pixel AUROC within the image)
        Best first; equal values in the order of the images.
    """
    shown = [i for i, mask in enumerate(masks) if mask.any() and not mask.all()]
    scored = [(i, pixel_auroc(masks[i : i + 1], maps[i : i + 1])) for i in shown]
    return sorted(scored, key=lambda case: -case[1])


def pick(masks: np.ndarray, maps: np.ndarray) -> dict[str, tuple[int, float]]:
    """Pick the best, the median and the worst case of ``rank``, as far as they differ."""
    ranked = rank(masks, maps)
    places = (0, len(ranked) // 2, len(ranked) - 1)
    named = zip(NAMES, places, strict=True)
    return {
        name: ranked[place]
        for i, (name, place) in enumerate(named)
        if ranked and place not in places[:i]
    }
