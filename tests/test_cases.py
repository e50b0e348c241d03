"""Which images are shown: by a rule."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from adlib.study import cases


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    masks = np.zeros((6, 8, 8), dtype=bool)
    masks[1:, 2:5, 2:5] = True
    masks[5] = True  # a full mask has no normal pixel to compare with
    maps = rng.random((6, 8, 8)).astype(np.float32)
    for i, lift in ((1, 0.1), (2, 2.0), (3, 0.5), (4, 0.3)):
        maps[i][masks[i]] += lift
    return masks, maps


def test_rank_is_by_the_auroc_within_the_image():
    masks, maps = scene()
    ranked = cases.rank(masks, maps)
    expected = {i: roc_auc_score(masks[i].ravel(), maps[i].ravel()) for i in range(1, 5)}
    assert dict(ranked) == {i: np.float64(v) for i, v in expected.items()} or all(
        abs(dict(ranked)[i] - v) < 1e-12 for i, v in expected.items()
    )
    assert [i for i, _ in ranked] == sorted(expected, key=lambda i: -expected[i])


def test_normal_images_and_full_masks_are_never_shown():
    shown = {i for i, _ in cases.rank(*scene())}
    assert shown == {1, 2, 3, 4}


def test_pick_names_three_different_images_or_fewer():
    masks, maps = scene()
    picked = cases.pick(masks, maps)
    ranked = cases.rank(masks, maps)
    assert picked == {"best": ranked[0], "typical": ranked[2], "worst": ranked[-1]}
    assert list(cases.pick(masks[:2], maps[:2])) == ["best"]
    assert cases.pick(masks[:1], maps[:1]) == {}
