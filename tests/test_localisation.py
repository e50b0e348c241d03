"""Segmentations by the best threshold, and the cases that rules pick."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from adlib.datasets.folder import GroundTruth
from adlib.errors import InputError
from adlib.scores import Scores
from adlib.study import localisation

SIZE = 12


def experiment(
    masks: np.ndarray, known: np.ndarray | None = None, labels: np.ndarray | None = None
) -> SimpleNamespace:
    """Return as much of an Experiment as is read: test images in grey and their truth."""
    labels = masks.any(axis=(1, 2)).astype(int) if labels is None else labels
    known = np.ones(len(masks), bool) if known is None else known

    class Grey(list):
        pass

    test = Grey(np.full((SIZE, SIZE, 3), 90, np.uint8) for _ in masks)
    test.labels = labels
    test.defects = ["spot" if label else "good" for label in labels]
    category = SimpleNamespace(test=test)
    return SimpleNamespace(category=category, truth=GroundTruth(masks, known))


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three normal images, one with a false alarm, and four defects found from well to not."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((7, SIZE, SIZE), bool)
    masks[3:, 3:7, 3:7] = True
    maps = rng.random((7, SIZE, SIZE)).astype(np.float32)
    for i, lift in ((3, 5.0), (4, 5.0), (5, 5.0), (6, 0.0)):
        maps[i][masks[i]] += lift
    maps[5, 3:5] = 0.5  # half of this defect is lost
    maps[1, :2, :3] += 6.0
    return masks, maps


def test_the_threshold_has_the_best_f1_over_all_pixels():
    masks, maps = scene()
    found = localisation.localise(experiment(masks), Scores(np.zeros(7), maps))
    tried = {
        t: f1_score(masks.ravel(), (maps >= t).ravel())
        for t in [*np.quantile(maps, np.linspace(0, 1, 60)), found.best.threshold]
    }
    assert max(tried.values()) == pytest.approx(tried[found.best.threshold])
    assert found.best.f1 == pytest.approx(tried[found.best.threshold])
    assert (found.regions == (maps >= found.best.threshold)).all()


def test_a_defect_that_is_not_located_does_not_move_the_threshold():
    masks, maps = scene()
    labels = masks.any(axis=(1, 2)).astype(int)
    masks[6] = False  # its mask file marks nothing
    maps[6] += 100
    known = np.arange(7) != 6
    found = localisation.localise(experiment(masks, known, labels), Scores(np.zeros(7), maps))
    alone = localisation.localise(experiment(masks[:6]), Scores(np.zeros(6), maps[:6]))
    assert found.best == alone.best
    counted = localisation.tally(found)
    assert (counted.defects, counted.normal) == (3, 3)
    assert localisation.missed(found).index == 5  # and it is no missed defect either


def test_cases_are_the_worst_by_the_rule():
    masks, maps = scene()
    found = localisation.localise(experiment(masks), Scores(np.zeros(7), maps))
    assert localisation.missed(found) == (6, 0.0)
    assert localisation.false_alarm(found) == (1, 6 / SIZE**2)
    case = localisation.typical(found)
    assert case.index in (3, 4, 5)
    assert case.share == found.regions[case.index][masks[case.index]].mean()
    assert localisation.tally(found) == (4, 1, 3, 1)


def test_of_equally_missed_defects_the_one_farthest_below_the_threshold():
    masks, maps = scene()
    maps[5][masks[5]] = 0.02
    maps[6][masks[6]] = 0.01
    found = localisation.localise(experiment(masks), Scores(np.zeros(7), maps))
    assert localisation.missed(found) == (6, 0.0)


def test_of_normal_images_without_a_mark_the_highest_score():
    masks, maps = scene()
    maps[:3] = 0.0
    maps[2, 0, 0] = 0.3
    found = localisation.localise(experiment(masks), Scores(np.zeros(7), maps))
    assert localisation.false_alarm(found) == (2, 0.0)


def test_where_there_is_no_normal_image_there_is_no_false_alarm():
    masks, maps = scene()
    found = localisation.localise(experiment(masks[3:]), Scores(np.zeros(4), maps[3:]))
    assert localisation.false_alarm(found) is None
    nothing = found._replace(masks=np.zeros_like(found.masks))
    assert localisation.missed(nothing) is None and localisation.typical(nothing) is None


@pytest.mark.parametrize("what", ["maps", "masks"])
def test_what_is_missing_is_said(what):
    masks, maps = scene()
    made = experiment(masks if what == "maps" else np.zeros_like(masks))
    scores = Scores(np.zeros(7), None if what == "maps" else maps)
    with pytest.raises(InputError, match=what):
        localisation.localise(made, scores)


def test_the_tally_is_a_row_a_category_and_method():
    masks, maps = scene()
    found = localisation.localise(experiment(masks), Scores(np.zeros(7), maps))
    shown = localisation.tally_table({"a": {"x": found, "y": found}})
    assert list(shown["method"]) == ["x", "y"]
    assert shown["defects without a marked pixel"].tolist() == ["1 of 4"] * 2
    assert shown["normal images with a mark"].tolist() == ["1 of 3"] * 2
