"""Slow, obvious versions of what ``adlib`` computes, written from the definitions."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch.nn.functional import interpolate

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


# --- PaDiM ----------------------------------------------------------------------------


def concatenated(levels: list[np.ndarray]) -> np.ndarray:
    """Levels (N, h, w, C) upsampled by torch to the first grid and concatenated: (N, P, D)."""
    grid = levels[0].shape[1:3]
    brought = [
        interpolate(torch.from_numpy(x).double().permute(0, 3, 1, 2), size=grid, mode="nearest")
        for x in levels
    ]
    return torch.cat(brought, dim=1).flatten(2).permute(0, 2, 1).numpy()


def mahalanobis(train: np.ndarray, test: np.ndarray, eps: float) -> np.ndarray:
    """Mahalanobis distances (B, P) of test patches (B, P, m) from training patches (N, P, m)."""
    distances = np.empty(test.shape[:2])
    for p in range(train.shape[1]):
        x = train[:, p].astype(np.float64)
        covariance = np.atleast_2d(np.cov(x, rowvar=False)) + eps * np.eye(x.shape[1])
        inverse = np.linalg.inv(covariance)
        for b, patch in enumerate(test[:, p]):
            delta = patch - x.mean(axis=0)
            distances[b, p] = np.sqrt(delta @ inverse @ delta)
    return distances


def padim(
    train: list[np.ndarray],
    test: list[np.ndarray],
    pi: np.ndarray,
    eps: float,
    size: tuple[int, int],
    sigma: float = 4.0,
) -> tuple[np.ndarray, np.ndarray]:
    """PaDiM by the book, in float64: distances (B, h, w) and smoothed maps (B, H, W)."""
    x, y = concatenated(train) @ pi.T, concatenated(test) @ pi.T
    distance = mahalanobis(x, y, eps).reshape(-1, *train[0].shape[1:3])
    return distance, np.stack([smoothed(image, size, sigma) for image in distance])


def smoothed(distance: np.ndarray, size: tuple[int, int], sigma: float) -> np.ndarray:
    """Bilinear interpolation by torch, then SciPy's Gaussian filter."""
    grid = torch.from_numpy(distance.astype(np.float64))[None, None]
    fine = interpolate(grid, size=size, mode="bilinear", align_corners=False)[0, 0].numpy()
    return ndimage.gaussian_filter(fine, sigma) if sigma else fine


# --- coreset --------------------------------------------------------------------------


def k_center_greedy(features: np.ndarray, n: int, start: int = 0) -> np.ndarray:
    """Indices by greedy k-centre selection as it is written down (Roth et al., Algorithm 1).

    Every point is measured against every centre, in float64, coordinate after coordinate; the
    farthest point that is not chosen comes next, the first of several.
    """
    columns = features.astype(np.float64).T.copy()
    nearest = np.full(len(features), np.inf)
    chosen = [start]
    while len(chosen) < n:
        squared = np.zeros(len(features))
        for column in columns:
            squared += (column - column[chosen[-1]]) ** 2
        nearest = np.minimum(nearest, squared)
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
    return np.array(chosen)


def approximate_k_center_greedy(features: np.ndarray, n: int, starts: np.ndarray) -> np.ndarray:
    """Indices by the released code's approximate variant, from given random starts.

    The mean distance to the starts stands in for the distance to a first centre.
    """
    points = features.astype(np.float64)
    nearest = np.mean([np.linalg.norm(points - points[s], axis=1) for s in starts], axis=0)
    chosen: list[int] = []
    while len(chosen) < n:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)


# --- SPADE ----------------------------------------------------------------------------


def mean_of_nearest(x: np.ndarray, bank: np.ndarray, k: int, squared: bool = False) -> np.ndarray:
    """Mean distance of each row of x to the k nearest rows of the bank."""
    found = []
    for row in x.astype(np.float64):
        distances = np.sort(((bank.astype(np.float64) - row) ** 2).sum(axis=1))[:k]
        found.append(np.mean(distances if squared else np.sqrt(distances)))
    return np.array(found)


def pyramid(levels: list[np.ndarray], stride: int = 1) -> np.ndarray:
    """Levels (N, h, w, C) brought to the first grid bilinearly, concatenated: (N, h, w, D)."""
    grid = levels[0].shape[1:3]
    brought = [
        interpolate(
            torch.from_numpy(x).double().permute(0, 3, 1, 2),
            size=grid, mode="bilinear", align_corners=False,
        )
        for x in levels
    ]  # fmt: skip
    return torch.cat(brought, dim=1).permute(0, 2, 3, 1).numpy()[:, ::stride, ::stride]


def spade(
    train: list[np.ndarray],
    test: list[np.ndarray],
    image_level: int,
    k: int,
    kappa: int = 1,
    squared: bool = False,
    stride: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """SPADE by the book with all given levels as the pyramid: scores (B,), distances (B, h, w)."""
    bank, queries = (
        levels[image_level - 1].astype(np.float64).mean(axis=(1, 2)) for levels in (train, test)
    )
    gallery, pixels = pyramid(train, stride), pyramid(test, stride)
    distances = np.empty(pixels.shape[:3])
    for b, query in enumerate(queries):
        nearest = np.argsort(((bank - query) ** 2).sum(axis=1), kind="stable")[:k]
        rows = gallery[nearest].reshape(-1, gallery.shape[-1])
        flat = pixels[b].reshape(-1, pixels.shape[-1])
        distances[b] = mean_of_nearest(flat, rows, kappa, squared).reshape(pixels.shape[1:3])
    return mean_of_nearest(queries, bank, k, squared), distances


# --- nearest neighbours ---------------------------------------------------------------


def all_neighbors(bank: np.ndarray, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices (n, k) by looking at all pairs in float64; ties: the lower index."""
    squares = np.stack([np.square(bank.astype(np.float64) - row).sum(axis=1) for row in x])
    indices = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return np.sqrt(np.take_along_axis(squares, indices, axis=1)), indices
