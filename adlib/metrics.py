"""Exact ranking metrics of image scores and anomaly maps: AUROC, AUPRO, F1-optimal threshold.

No threshold grid is chosen anywhere. Only the *normal* scores are sorted; every anomalous score
then needs two numbers, read off by binary search:

* ``F``, the false positive rate just before a falling threshold reaches it: the share of normal
  scores strictly greater;
* ``F'``, the rate once the threshold has reached it: the share greater or equal. ``F' = F`` unless
  normal scores tie with it.

As a function of the false positive rate, the detection of one anomalous pixel is thus a ramp from
0 at ``F`` to 1 at ``F'``: a step without ties, and with ties the straight line that the trapezoidal
rule draws between two points of a curve. Both pixel metrics are weighted means of the areas below
these ramps: AUROC with equal weights up to rate 1, AUPRO with equal weights *per region* up to
``limit``. The latter is the per-region-overlap curve of Bergmann et al., "The MVTec anomaly
detection dataset" (IJCV 2021), ties merged and integrated in closed form.

Every metric is a fraction in [0, 1]. Higher scores mean more anomalous; infinite scores rank like
any others, NaN is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from adlib.errors import InputError

EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


class PixelMetrics(NamedTuple):
    """Both pixel metrics of one set of anomaly maps, as fractions."""

    auroc: float
    aupro: float


class F1Optimal(NamedTuple):
    """The decision ``score >= threshold`` with the highest F1, and what it gets wrong.

    ``misclassified`` counts false positives and false negatives together.
    """

    threshold: float
    f1: float
    misclassified: int


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: P(anomalous > normal) + P(equal) / 2.

    Parameters
    ----------
    labels : (N,) bool or 0/1
        1 where anomalous.
    scores : (N,) real
        Higher is more anomalous.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InputError
        On shapes that differ, other labels, a single class, or NaN.
    """
    anomalous, scores = _checked_images(labels, scores, "AUROC")
    normal = np.sort(scores[~anomalous])
    above, reached = _normal_above(normal, scores[anomalous])
    return 1.0 - float(np.mean(above + reached)) / (2 * normal.size)


def f1_optimal(labels: ArrayLike, scores: ArrayLike) -> F1Optimal:
    """Threshold on the scores with the largest F1; of several, the largest threshold.

    Parameters
    ----------
    labels : (N,) bool or 0/1
        1 where anomalous.
    scores : (N,) real
        Higher is more anomalous.

    Returns
    -------
    F1Optimal
        ``threshold`` is one of the scores; a score equal to it counts as anomalous.

    Raises
    ------
    InputError
        On shapes that differ, other labels, a single class, or NaN.
    """
    anomalous, scores = _checked_images(labels, scores, "F1")
    order = np.argsort(scores)[::-1]
    ranked = scores[order]
    # A threshold takes a run of equal scores whole, so it can only stop at the last of the run.
    stops = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(anomalous[order])[stops]
    flagged, total = stops + 1, np.count_nonzero(anomalous)
    f1 = 2 * hits / (flagged + total)
    best = int(np.argmax(f1))  # the first maximum: thresholds fall along the array
    wrong = flagged[best] + total - 2 * hits[best]
    return F1Optimal(float(ranked[stops[best]]), float(f1[best]), int(wrong))


def pixel_auroc(masks: ArrayLike, maps: ArrayLike) -> float:
    """AUROC over all pixels of all images together.

    Parameters and errors are those of `pixel_metrics`.
    """
    return _pixel_metrics(masks, maps, 1.0, "pixel AUROC").auroc


def aupro(masks: ArrayLike, maps: ArrayLike, limit: float = 0.3) -> float:
    """Area under the per-region-overlap curve up to a false positive rate, over that rate.

    Parameters and errors are those of `pixel_metrics`.
    """
    return _pixel_metrics(masks, maps, limit, "AUPRO").aupro


def pixel_metrics(masks: ArrayLike, maps: ArrayLike, limit: float = 0.3) -> PixelMetrics:
    """Pixel AUROC and AUPRO from one sort.

    Regions are the 8-connected components of each mask, all of equal weight whatever their size.
    The false positive rate counts all normal pixels of all images, good ones too.

    Parameters
    ----------
    masks : (N, H, W) bool, or numbers that are > 0 where anomalous
        Bool is used as it is; anything else is compared image by image.
    maps : (N, H, W) real
        Higher is more anomalous. Ranked in its own dtype, so float64 stays exact.
    limit : float
        Largest false positive rate of AUPRO, in (0, 1]; the value there is interpolated.

    Returns
    -------
    PixelMetrics
        Both in [0, 1].

    Raises
    ------
    InputError
        On shapes that differ, a bad limit, NaN, or masks with no anomalous or no normal pixel.

    Notes
    -----
    Memory beyond the inputs: one copy of the normal scores, and temporaries of one image.
    """
    return _pixel_metrics(masks, maps, limit, "pixel AUROC and AUPRO")


def _pixel_metrics(masks: ArrayLike, maps: ArrayLike, limit: float, metric: str) -> PixelMetrics:
    """`pixel_metrics` under the name that its errors give."""
    if not (isinstance(limit, Real) and 0 < limit <= 1):
        raise InputError(f"{metric} needs a limit in (0, 1], found {limit!r}; 0.3 is customary.")
    masks, maps = _checked_pair(masks, maps, 3, metric, ("masks", "maps"))
    normal = _sorted_normal(masks, maps, metric)
    pixels = regions = false_alarms = 0
    overlap = 0.0
    for mask, scores in _anomalous_parts(masks, maps):
        labels, count = ndimage.label(mask, EIGHT_NEIGHBOURS)
        order = np.argsort(scores)  # searches in sequence share cache lines: four times faster
        region = labels[mask][order] - 1
        above, reached = _normal_above(normal, scores[order])
        share = _area_below_ramp(above / normal.size, reached / normal.size, limit) / limit
        overlap += float(np.sum(np.bincount(region, weights=share) / np.bincount(region)))
        false_alarms += int(np.sum(above + reached))
        pixels += scores.size
        regions += count
    return PixelMetrics(1.0 - false_alarms / (2 * pixels * normal.size), overlap / regions)


def _sorted_normal(masks: NDArray, maps: NDArray, metric: str) -> NDArray:
    """Scores of all normal pixels, ascending: the only large array that is made."""
    total = maps.size - sum(np.count_nonzero(_anomalous(mask)) for mask in masks)
    _refuse_one_class(maps.size - total, total, "pixels", metric)
    normal = np.empty(total, dtype=maps.dtype)
    filled = 0
    for mask, scores in zip(masks, maps, strict=True):
        _refuse_nan(mask, "masks", metric)
        _refuse_nan(scores, "maps", metric)
        part = scores[~_anomalous(mask)]
        normal[filled : filled + part.size] = part
        filled += part.size
    normal.sort()
    return normal


def _anomalous_parts(masks: NDArray, maps: NDArray) -> Iterator[tuple[NDArray, NDArray]]:
    """For each image with a defect: the mask cropped to it, and the scores (pixels,) inside it."""
    for mask, scores in zip(map(_anomalous, masks), maps, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size:
            box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            yield mask[box], scores[box][mask[box]]


def _normal_above(normal: NDArray, scores: NDArray) -> tuple[NDArray, NDArray]:
    """Number of ``normal`` (sorted) that are greater, and greater or equal, for each score."""
    above = normal.size - np.searchsorted(normal, scores, side="right")
    reached = normal.size - np.searchsorted(normal, scores, side="left")
    return above, reached


def _area_below_ramp(start: NDArray, end: NDArray, limit: float) -> NDArray:
    """Integral from 0 to ``limit`` of the ramp that rises from 0 at ``start`` to 1 at ``end``."""
    area = np.maximum(limit - (start + end) / 2, 0.0)
    cut = (start < limit) & (limit < end)
    area[cut] = (limit - start[cut]) ** 2 / (2 * (end[cut] - start[cut]))
    return area


def _anomalous(mask: NDArray) -> NDArray[np.bool_]:
    return mask if mask.dtype == bool else mask > 0


def _checked_images(
    labels: ArrayLike, scores: ArrayLike, metric: str
) -> tuple[NDArray[np.bool_], NDArray]:
    """Labels as bool (N,) with both classes present, and scores (N,) without NaN."""
    labels, scores = _checked_pair(labels, scores, 1, metric, ("labels", "scores"))
    other = labels[(labels != 0) & (labels != 1)]
    if other.size:
        raise InputError(f"{metric} needs labels 0 (normal) or 1 (anomalous), found {other[0]}.")
    _refuse_nan(scores, "scores", metric)
    anomalous = labels.astype(bool)
    found = np.count_nonzero(anomalous)
    _refuse_one_class(found, labels.size - found, "images", metric)
    return anomalous, scores


def _checked_pair(
    truth: ArrayLike, scores: ArrayLike, ndim: int, metric: str, names: tuple[str, str]
) -> tuple[NDArray, NDArray]:
    """Both as arrays of real numbers with the same ``ndim``-dimensional shape."""
    arrays = []
    for name, values in zip(names, (truth, scores), strict=True):
        try:
            array = np.asarray(values)
        except ValueError as error:  # a list of images of several sizes
            raise InputError(f"{metric} needs {name} of one size, but {error}.") from error
        if array.dtype.kind not in "biuf":
            raise InputError(f"{metric} needs {name} of real numbers, found dtype {array.dtype}.")
        arrays.append(array)
    shapes = [array.shape for array in arrays]
    if shapes[0] != shapes[1] or len(shapes[0]) != ndim:
        raise InputError(
            f"{metric} needs {names[0]} and {names[1]} of the same {ndim}-dimensional shape, "
            f"found {shapes[0]} and {shapes[1]}."
        )
    return arrays[0], arrays[1]


def _refuse_nan(values: NDArray, name: str, metric: str) -> None:
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise InputError(f"{metric} cannot rank NaN, found in the {name}; look where it arises.")


def _refuse_one_class(anomalous: int, normal: int, what: str, metric: str) -> None:
    missing = [name for name, n in (("anomalous", anomalous), ("normal", normal)) if not n]
    if missing:
        raise InputError(
            f"{metric} compares anomalous with normal {what}, found no "
            f"{' or '.join(missing)} ones; add some or leave this metric out."
        )
