"""The exact metrics against scikit-learn, plain references, closed forms and hostile input."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import best_f1, global_sort_pro, threshold_pro
from sklearn.metrics import f1_score, roc_auc_score

from adlib.errors import InputError
from adlib.metrics import aupro, auroc, f1_optimal, pixel_auroc, pixel_metrics

EXACT = {"rel": 0, "abs": 1e-12}
SHAPE = (6, 17, 23)


def blobs(seed: int, share: float = 0.3, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Random masks with regions of many sizes, single pixels and diagonal contacts among them."""
    rng = np.random.default_rng(seed)
    masks = rng.random(shape) < share
    masks[0] = False  # a good image
    masks[1:3] &= rng.random((2, *shape[1:])) < 0.1  # mostly single pixels
    return masks


def noisy(seed: int, masks: np.ndarray, dtype: type = np.float32, ties: bool = False) -> np.ndarray:
    maps = np.random.default_rng(seed).normal(size=masks.shape) + masks
    return (np.round(2 * maps) if ties else maps).astype(dtype)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Small masks with both classes, and small integer scores: nearly everything ties."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(2, 5)))
    size = int(np.prod(shape))
    truth = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    truth[:2] = [True, False]
    levels = draw(st.integers(1, 8))
    scores = draw(st.lists(st.integers(-levels, levels), min_size=size, max_size=size))
    return np.array(truth).reshape(shape), np.array(scores, dtype=np.float32).reshape(shape)


# --- against independent implementations ----------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_pixel_metrics_equal_scikit_learn_and_global_sort(seed, ties, dtype):
    masks = blobs(seed)
    maps = noisy(seed, masks, dtype, ties)
    found = pixel_metrics(masks, maps)
    assert found.auroc == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), **EXACT)
    assert found.aupro == pytest.approx(global_sort_pro(masks, maps), **EXACT)
    assert found == (pixel_auroc(masks, maps), aupro(masks, maps))


@settings(deadline=None, max_examples=150)
@given(scenes(), st.sampled_from([0.01, 0.05, 0.3, 0.5, 1.0]))
def test_tied_scores_equal_both_references(scene, limit):
    masks, maps = scene
    value = aupro(masks, maps, limit)
    assert value == pytest.approx(global_sort_pro(masks, maps, limit), **EXACT)
    assert value == pytest.approx(threshold_pro(masks, maps, limit), **EXACT)
    expected = roc_auc_score(masks.ravel(), maps.ravel())
    assert pixel_auroc(masks, maps) == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize("ties", [False, True])
def test_image_auroc_equals_scikit_learn(ties):
    rng = np.random.default_rng(1)
    for _ in range(20):
        labels = np.append([0, 1], rng.integers(0, 2, 60))
        scores = labels + rng.normal(size=62)
        scores = np.round(scores) if ties else scores
        assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), **EXACT)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=25))
def test_f1_optimal_equals_trying_every_threshold(rows):
    labels = np.array([1, 0] + [row[0] for row in rows], dtype=int)
    scores = np.array([3, 2] + [row[1] for row in rows], dtype=np.float64)
    found = f1_optimal(labels, scores)
    assert found == pytest.approx(best_f1(labels, scores))
    assert found.f1 == pytest.approx(f1_score(labels, scores >= found.threshold))
    assert isinstance(found.misclassified, int)


# --- closed forms ---------------------------------------------------------------------


def test_hand_made_curve():
    # Two regions: two pixels and one pixel. Normals descending: 9, 5, 3, 1 (rates 1/4 ... 1).
    masks = np.array([[[1, 1, 0, 0, 1, 0, 0]]], dtype=bool)
    maps = np.array([[[10.0, 4.0, 9.0, 5.0, 3.0, 3.0, 1.0]]])
    # Steps: weight 1/4 at rate 0, 1/4 at 2/4; the third region shares a tie: ramp from 2/4 to 3/4.
    assert aupro(masks, maps, 1.0) == pytest.approx(0.25 + 0.25 * 0.5 + 0.5 * 0.375)
    # At limit 5/8 the ramp has risen halfway: triangle of width 1/8 and height 1/2.
    area = 0.25 * 0.625 + 0.25 * 0.125 + 0.5 * (0.125 * 0.5 / 2)
    assert aupro(masks, maps, 0.625) == pytest.approx(area / 0.625)
    assert pixel_auroc(masks, maps) == pytest.approx((4 + 2 + 1.5) / 12)


def test_perfect_inverted_and_constant_maps():
    masks = blobs(0)
    assert pixel_metrics(masks, masks.astype(np.float32)) == (1.0, 1.0)
    assert pixel_metrics(masks, ~masks * 1.0) == (0.0, 0.0)
    auc, pro = pixel_metrics(masks, np.zeros(SHAPE))
    assert auc == 0.5
    assert pro == pytest.approx(0.15)  # the diagonal: limit / 2


@pytest.mark.parametrize("ties", [False, True])
def test_limit_one_with_single_pixel_regions_is_auroc(ties):
    masks = np.zeros(SHAPE, dtype=bool)
    masks[:4, ::2, ::2] = True  # no two anomalous pixels touch, so all weigh the same
    maps = noisy(3, masks, ties=ties)
    assert aupro(masks, maps, 1.0) == pytest.approx(pixel_auroc(masks, maps), **EXACT)


def test_every_region_weighs_the_same():
    masks = np.zeros((2, 8, 8), dtype=bool)
    masks[0, 1:7, 1:7] = True  # 36 pixels, all found
    masks[1, 0, 0] = True  # 1 pixel, missed
    maps = np.where(masks, 2.0, 1.0)
    maps[1, 0, 0] = 0.0
    assert aupro(masks, maps) == pytest.approx(0.5)


def test_diagonal_contact_is_one_region_and_images_are_kept_apart():
    masks = np.zeros((2, 3, 3), dtype=bool)
    masks[0, 0, 0] = masks[0, 1, 1] = True  # touch at a corner: one region
    masks[1, 0, 0] = True  # same place in the next image: another
    maps = np.ones((2, 3, 3))
    maps[0, 0, 0] = 2.0
    maps[0, 1, 1] = maps[1, 0, 0] = 0.0
    assert aupro(masks, maps) == pytest.approx(0.25)


def test_good_images_enter_the_false_positive_rate():
    masks = np.zeros((2, 1, 4), dtype=bool)
    masks[0, 0, 0] = True
    maps = np.array([[[2.0, 0.0, 0.0, 0.0]], [[3.0, 3.0, 0.0, 0.0]]])
    assert pixel_auroc(masks, maps) == pytest.approx(1 - 2 / 7)
    assert aupro(masks, maps, 0.5) == pytest.approx((0.5 - 2 / 7) / 0.5)


# --- invariances ----------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(scenes())
def test_monotone_maps_leave_the_metrics_unchanged(scene):
    masks, maps = scene
    assert pixel_metrics(masks, np.exp(maps.astype(np.float64) / 4)) == pixel_metrics(masks, maps)


@settings(deadline=None, max_examples=60)
@given(scenes())
def test_negated_scores_and_swapped_classes_complement_auroc(scene):
    masks, maps = scene
    value = pixel_auroc(masks, maps)
    assert pixel_auroc(masks, -maps) == pytest.approx(1 - value, **EXACT)
    assert pixel_auroc(~masks, maps) == pytest.approx(1 - value, **EXACT)


def test_float64_scores_are_not_rounded():
    masks = np.array([[[True, False, False]]])
    maps = np.array([[[np.nextafter(1.0, 2.0), 1.0, 0.0]]])
    assert pixel_auroc(masks, maps) == 1.0
    assert pixel_auroc(masks, maps.astype(np.float32)) == 0.75


def test_infinite_scores_rank_like_others():
    labels = [1, 1, 0, 0]
    assert auroc(labels, [np.inf, 0.0, 0.0, -np.inf]) == 0.875
    assert auroc(labels, [np.inf, -np.inf, np.inf, 0.0]) == 0.375
    masks, maps = np.array([[labels]]), np.array([[[np.inf, 0.0, 0.0, -np.inf]]])
    assert pixel_metrics(masks, maps, 1.0) == (0.875, 0.875)


@pytest.mark.parametrize("convert", [np.uint8, np.float32, np.int64])
def test_any_positive_mask_value_is_anomalous(convert):
    masks = blobs(2)
    maps = noisy(2, masks)
    assert pixel_metrics(convert(masks) * convert(200), maps) == pixel_metrics(masks, maps)


def test_inputs_are_left_as_they_were():
    masks = blobs(4)
    maps = noisy(4, masks)
    before = masks.copy(), maps.copy()
    masks.flags.writeable = maps.flags.writeable = False
    pixel_metrics(masks, maps)
    np.testing.assert_array_equal(masks, before[0])
    np.testing.assert_array_equal(maps, before[1])


def test_memory_is_one_copy_of_the_normal_scores():
    masks = np.zeros((50, 100, 100), dtype=bool)
    masks[::2, 10:30, 10:30] = True
    maps = noisy(6, masks)
    pixel_metrics(masks[:2], maps[:2])
    tracemalloc.start()
    pixel_metrics(masks, maps)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * maps.nbytes


def test_strided_and_reversed_views_are_read_correctly():
    masks, maps = blobs(5), noisy(5, blobs(5))
    views = masks[:, ::-1, ::2], maps[:, ::-1, ::2]
    assert pixel_metrics(*views) == pixel_metrics(*map(np.ascontiguousarray, views))


# --- F1 -------------------------------------------------------------------------------


def test_f1_takes_the_larger_of_equal_thresholds():
    # At 4: one of two found, none wrong, F1 2/3. At 1: both found with two alarms, F1 4/6.
    assert f1_optimal([1, 0, 0, 1], [4, 3, 2, 1]) == (4.0, pytest.approx(2 / 3), 1)


def test_f1_flags_tied_scores_together():
    assert f1_optimal([1, 0, 1, 0], [2, 2, 2, 0]) == (2.0, pytest.approx(0.8), 1)


def test_f1_perfect():
    assert f1_optimal([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8]) == (0.8, 1.0, 0)


# --- bad input ------------------------------------------------------------------------

BOTH = np.array([[[True, False]]])
PIXEL = [
    (pixel_auroc, "^pixel AUROC "),
    (aupro, "^AUPRO "),
    (pixel_metrics, "^pixel AUROC and AUPRO "),
]
IMAGE = [(auroc, "^AUROC "), (f1_optimal, "^F1 ")]


@pytest.mark.parametrize(("metric", "name"), PIXEL)
@pytest.mark.parametrize(
    ("masks", "maps", "message"),
    [
        (BOTH & False, np.ones((1, 1, 2)), "found no anomalous ones"),
        (BOTH | True, np.ones((1, 1, 2)), "found no normal ones"),
        (np.ones((0, 4, 4), bool), np.ones((0, 4, 4)), "found no anomalous or normal ones"),
        (BOTH, np.array([[[np.nan, 1.0]]]), "cannot rank NaN"),
        (BOTH, np.array([[[1.0, np.nan]]]), "cannot rank NaN, found in the maps"),
        (np.array([[[1.0, np.nan]]]), np.ones((1, 1, 2)), "found in the masks"),
        (BOTH, np.ones((1, 2, 1)), r"same 3-dimensional shape, found \(1, 1, 2\) and \(1, 2, 1\)"),
        (BOTH[0], np.ones((1, 2)), "3-dimensional"),
        (BOTH, np.ones((1, 1, 2), complex), "found dtype complex128"),
        (BOTH, [[["a", "b"]]], "maps of real numbers"),
        ([BOTH[0], BOTH[0].T], np.ones((1, 1, 2)), "masks of one size"),
    ],
)
def test_pixel_metrics_refuse(metric, name, masks, maps, message):
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        metric(masks, maps)


@pytest.mark.parametrize(("metric", "name"), IMAGE)
@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 0], [1.0, 2.0], "found no anomalous ones"),
        ([1, 1], [1.0, 2.0], "found no normal ones"),
        ([], [], "found no anomalous or normal ones"),
        ([0, 1], [1.0, np.nan], "cannot rank NaN"),
        ([0, 1], [1.0, 2.0, 3.0], r"found \(2,\) and \(3,\)"),
        ([[0, 1]], [[1.0, 2.0]], "1-dimensional"),
        ([-1, 1], [1.0, 2.0], "found -1"),
        ([0.0, 0.5, 1.0], [1.0, 2.0, 3.0], "found 0.5"),
        (["good", "cut"], [1.0, 2.0], "labels of real numbers"),
    ],
)
def test_image_metrics_refuse(metric, name, labels, scores, message):
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        metric(labels, scores)


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.01, np.nan, np.inf, "0.3", None])
def test_limit_outside_its_range_is_refused(limit):
    for metric in (aupro, pixel_metrics):
        with pytest.raises(InputError, match=r"limit in \(0, 1\]"):
            metric(BOTH, np.ones((1, 1, 2)), limit)
