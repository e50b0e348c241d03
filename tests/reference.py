"""Slow, obvious versions of what ``adlib`` computes, written from the definitions."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

# --- metrics --------------------------------------------------------------------------


def global_sort_pro(masks: np.ndarray, maps: np.ndarray, limit: float = 0.3) -> float:
    """AUPRO by one global sort of all pixels (Bergmann et al., IJCV 2021).

    A falling threshold flags pixel after pixel. Each normal one adds 1 / (number of normal pixels)
    to the false positive rate, each anomalous one 1 / (size of its region x number of regions) to
    the mean overlap; runs of equal scores are flagged together.
    """
    overlap_step = np.zeros(maps.shape)
    regions = 0
    for mask, step in zip(masks, overlap_step, strict=True):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        sizes = np.bincount(labels.ravel())
        step[mask] = 1.0 / sizes[labels[mask]]
        regions += count
    order = np.argsort(maps, axis=None)[::-1]
    ranked = maps.ravel()[order]
    rate = np.cumsum(~masks.ravel()[order]) / np.count_nonzero(~masks)
    overlap = np.cumsum(overlap_step.ravel()[order]) / regions
    last_of_run = np.append(ranked[1:] != ranked[:-1], True)
    rate = np.concatenate([[0.0], rate[last_of_run]])
    overlap = np.concatenate([[0.0], overlap[last_of_run]])
    return area_to_limit(rate, overlap, limit) / limit


def threshold_pro(masks: np.ndarray, maps: np.ndarray, limit: float = 0.3) -> float:
    """AUPRO by trying every distinct score as threshold and looking at every region."""
    regions = []
    for mask, scores in zip(masks, maps, strict=True):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        regions += [scores[labels == index] for index in range(1, count + 1)]
    rate, overlap = [0.0], [0.0]
    for threshold in np.unique(maps)[::-1]:
        rate.append(np.mean(maps[~masks] >= threshold))
        overlap.append(np.mean([np.mean(region >= threshold) for region in regions]))
    return area_to_limit(np.array(rate), np.array(overlap), limit) / limit


def area_to_limit(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Trapezoids below the points (x, y), x ascending, with the value at ``limit`` interpolated."""
    inside = np.count_nonzero(x <= limit)
    if inside < x.size:
        before, after = inside - 1, inside
        share = (limit - x[before]) / (x[after] - x[before])
        y_limit = y[before] + share * (y[after] - y[before])
        x, y = np.append(x[:inside], limit), np.append(y[:inside], y_limit)
    return float(np.trapezoid(y, x))


def best_f1(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float, int]:
    """(threshold, F1, FP + FN) by trying every score, the larger threshold on ties."""
    best = (0.0, -1.0, 0)
    for threshold in np.unique(scores)[::-1]:
        flagged = scores >= threshold
        true = np.count_nonzero(flagged & (labels == 1))
        wrong = np.count_nonzero(flagged != (labels == 1))
        f1 = 2 * true / (2 * true + wrong)
        if f1 > best[1]:
            best = (float(threshold), f1, wrong)
    return best
