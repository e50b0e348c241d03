"""From anomaly maps to segmentations, and which test images show what they get wrong.

A map becomes a segmentation by a threshold. The one used here maximises F1 over all pixels of a
category. It is chosen on the test images with their ground truth, so it shows what a map could do
at best; a user who has no ground truth has to set it otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from adlib import metrics
from adlib.errors import InputError
from adlib.study import cases

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adlib.evaluate import Experiment
    from adlib.scores import Scores


class Localised(NamedTuple):
    """Test images of one category with their maps, and the threshold that segments them.

    Attributes
    ----------
    images : sequence of ndarray of shape (H, W, 3), uint8
        N of them, decoded when asked for.
    labels : ndarray of shape (N,), 0 normal or 1 anomalous
    defects : list of str
        Kind of defect, ``good`` for normal images.
    masks : ndarray of bool, shape (N, H, W)
    known : ndarray of bool, shape (N,)
        False for an anomalous image whose defect is not located.
    maps : ndarray of float, shape (N, H, W)
    best : metrics.F1Optimal
        Over all pixels of images with known ground truth.
    """

    images: Sequence[np.ndarray]
    labels: np.ndarray
    defects: list[str]
    masks: np.ndarray
    known: np.ndarray
    maps: np.ndarray
    best: metrics.F1Optimal

    @property
    def regions(self) -> np.ndarray:
        """The segmentation: bool (N, H, W), True where the map reaches the threshold."""
        return self.maps >= self.best.threshold


class Case(NamedTuple):
    """One test image and what the segmentation makes of it.

    Attributes
    ----------
    index : int
        Place among the test images.
    share : float
        Of an anomalous image: the share of its defect that is found. Of a normal one: the share of
        its pixels that are marked.
    """

    index: int
    share: float


def localise(experiment: Experiment, scores: Scores) -> Localised:
    """Put together the test images of an experiment and the maps of one of its runs.

    Raises
    ------
    InputError
        The method makes no maps, or the data set has no masks.
    """
    truth = experiment.truth
    if scores.map is None or truth is None or not truth.masks.any():
        missing = "anomaly maps" if scores.map is None else "masks that mark a defect"
        raise InputError(f"segmentations need {missing}, found none; choose another run or data")
    test = experiment.category.test
    best = metrics.f1_optimal(truth.masks[truth.known].ravel(), scores.map[truth.known].ravel())
    return Localised(test, test.labels, test.defects, truth.masks, truth.known, scores.map, best)


def typical(found: Localised) -> Case | None:
    """Pick the anomalous image whose map is the median one: ``cases.pick``."""
    picked = cases.pick(found.masks, found.maps)
    if not picked:
        return None
    index, _ = picked.get("typical") or picked["best"]
    return Case(index, _found(found, index))


def missed(found: Localised) -> Case | None:
    """Pick the anomalous image of whose defect the smallest share lies inside the segmentation.

    Of several, the one whose defect's highest score is lowest: the farthest from being found.
    """
    shown = [i for i in np.flatnonzero(found.labels) if found.masks[i].any()]
    if not shown:
        return None
    index = min(shown, key=lambda i: (_found(found, i), found.maps[i][found.masks[i]].max()))
    return Case(int(index), _found(found, index))


def false_alarm(found: Localised) -> Case | None:
    """Pick the normal image of which the largest share is marked; of several, the highest score."""
    shown = np.flatnonzero(found.labels == 0)
    if not len(shown):
        return None
    index = max(shown, key=lambda i: (_marked(found, i), found.maps[i].max()))
    return Case(int(index), _marked(found, index))


def _found(found: Localised, index: int) -> float:
    region = found.maps[index] >= found.best.threshold
    return float(region[found.masks[index]].mean())


def _marked(found: Localised, index: int) -> float:
    return float((found.maps[index] >= found.best.threshold).mean())


class Tally(NamedTuple):
    """What a segmentation gets wrong, counted in images.

    Attributes
    ----------
    defects, untouched : int
        Images with a located defect, and those of whose defect not one pixel is marked.
    normal, alarms : int
        Normal images, and those of which any pixel is marked.
    """

    defects: int
    untouched: int
    normal: int
    alarms: int


def tally(found: Localised) -> Tally:
    """Count defects that the segmentation misses whole, and normal images that it marks."""
    regions = found.regions
    located = found.masks.any(axis=(1, 2))
    touched = (regions & found.masks).any(axis=(1, 2))
    normal = found.labels == 0
    alarms = regions[normal].any(axis=(1, 2))
    return Tally(
        int(located.sum()), int((located & ~touched).sum()), int(normal.sum()), int(alarms.sum())
    )


def tally_table(found: Mapping[str, Mapping[str, Localised]]) -> pd.DataFrame:
    """Lay out ``tally`` of several methods, a row a category and method.

    Parameters
    ----------
    found : mapping of str to mapping of str to Localised
        Category -> method's title -> images, maps, threshold.
    """
    rows = []
    for category, methods in found.items():
        for title, one in methods.items():
            counted = tally(one)
            rows.append(
                {
                    "category": category,
                    "method": title,
                    "F1 over pixels": f"{one.best.f1:.2f}",
                    "defects without a marked pixel": f"{counted.untouched} of {counted.defects}",
                    "normal images with a mark": f"{counted.alarms} of {counted.normal}",
                }
            )
    return pd.DataFrame(rows).set_index("category")
