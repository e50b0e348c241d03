"""Slow selection and what a page says about subsets, against `reference` and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from reference import k_center_greedy
from scipy.spatial.distance import cdist

from adlib.errors import InputError
from adlib.study import coreset_demo as demo

SQUARE = np.array([[0, 0], [3, 0], [0, 4], [3, 4]], np.float32)


def test_each_cluster_has_half_as_many_points_as_the_one_before():
    points, cluster = demo.multimodal(1000, seed=3)
    assert points.shape == (1000, 2) and points.dtype == np.float32
    assert np.bincount(cluster).tolist() == [507, 250, 125, 62, 31, 15, 7, 3]
    centres = np.array([points[cluster == c].mean(axis=0) for c in range(demo.CLUSTERS)])
    own = np.linalg.norm(points - centres[cluster], axis=1)
    between = cdist(centres, centres)[~np.eye(demo.CLUSTERS, dtype=bool)]
    assert own.mean() < between.min() / 2


def test_points_depend_on_the_seed_alone():
    for draw in (demo.uniform, lambda n, seed: demo.multimodal(n, seed)[0]):
        assert np.array_equal(draw(300, 1), draw(300, 1))
        assert not np.array_equal(draw(300, 1), draw(300, 2))
    points = demo.uniform(4000, 0)
    assert points.min() >= 0 and points.max() <= 10
    assert points.mean(axis=0) == pytest.approx([5, 5], abs=0.2)


def test_too_few_points_for_the_clusters_are_refused():
    assert np.bincount(demo.multimodal(256, 0)[1]).min() == 1
    with pytest.raises(InputError, match=r"8 clusters need at least 256 points, found 255"):
        demo.multimodal(255, 0)


def test_the_covering_radius_of_a_rectangle():
    assert demo.nearest_kept(SQUARE, np.array([0])).tolist() == [0, 3, 4, 5]
    assert demo.covering_radius(SQUARE, np.array([0, 3])) == 3
    assert demo.radii(SQUARE, np.array([0, 3, 1, 2])).tolist() == [5, 3, 3, 0]


def test_radii_are_those_of_every_first_part():
    points = np.random.default_rng(0).standard_normal((80, 5)).astype(np.float32)
    order = np.random.default_rng(1).permutation(80)[:20]
    slow = [cdist(points, points[order[: k + 1]]).min(axis=1).max() for k in range(20)]
    assert demo.radii(points, order) == pytest.approx(slow)
    assert demo.covering_radius(points, order) == pytest.approx(slow[-1])


@pytest.mark.parametrize("kind", ["normal", "integer", "equal"])
def test_the_rule_is_that_of_the_reference(kind):
    rng = np.random.default_rng(5)
    points = {
        "normal": rng.standard_normal((90, 7)),
        "integer": rng.integers(0, 3, (90, 4)),
        "equal": np.ones((90, 2)),
    }[kind].astype(np.float32)
    for n, start in [(1, 4), (30, 0), (90, 89)]:
        assert np.array_equal(
            demo.plain_greedy(points, n, start), k_center_greedy(points, n, start)
        )


def test_greedy_is_within_twice_the_best_radius():
    points = np.random.default_rng(2).standard_normal((12, 2)).astype(np.float32)
    distances = cdist(points, points)
    triples = ((i, j, k) for i in range(12) for j in range(i) for k in range(j))
    best = min(distances[list(three)].min(axis=0).max() for three in triples)
    found = demo.covering_radius(points, demo.plain_greedy(points, 3))
    assert best <= found <= 2 * best


def test_float32_by_norms_finds_the_same_only_where_digits_suffice():
    points = np.random.default_rng(4).standard_normal((200, 3)).astype(np.float32)
    assert np.array_equal(demo.float32_greedy(points, 20), demo.plain_greedy(points, 20))
    far = points + np.float32(3000)
    assert not np.array_equal(demo.float32_greedy(far, 20), demo.plain_greedy(far, 20))


def test_places_count_image_by_image_and_row_by_row():
    found = demo.places(np.array([0, 5, 6, 17]), (2, 3))
    assert found.tolist() == [[0, 0, 0], [0, 1, 2], [1, 0, 0], [2, 1, 2]]


def test_contrast_belongs_to_the_square_of_a_patch():
    images = np.zeros((2, 4, 6, 3), np.uint8)
    images[1, 2:, 2:4] = [[[10] * 3, [30] * 3]] * 2  # second image, second row, second column
    found = demo.contrast(list(images), (2, 3))
    assert found[demo.places(np.arange(12), (2, 3)).tolist().index([1, 1, 1])] == 10
    assert found.sum() == 10


def test_code_shows_the_source_with_one_line_of_its_docstring():
    shown = demo.code(demo.plain_greedy, demo.columns_of)
    assert shown.startswith("<details><summary>The code: <code>plain_greedy</code>, <code>colu")
    assert "while len(chosen) < n:" in shown and "Parameters" not in shown
    assert 'against every centre: what *exact* means."""\n    columns' in shown
    compiled = type("Compiled", (), {"py_func": staticmethod(demo.places), "__name__": "places"})
    assert "np.divmod" in demo.code(compiled())


def test_the_table_of_cost_shows_ratios_and_dashes_where_there_is_none():
    ratio = {"median": 0.8, "lowest": 0.7, "highest": 0.9}
    row = {
        "name": "bottle", "fraction": 0.01, "points": [163856, 128], "centres": 1639,
        "medians": {"adlib": {"seconds": 0.6543, "added_peak_mb": 47.6}},
        "adlib_over_product": ratio, "plain_over_adlib": None,
    }  # fmt: skip
    assert demo.cost_table([row]).iloc[0].tolist() == [
        "bottle, 163,856", "1,639 (1%)", "0.654", "0.80 [0.70, 0.90]", "–", "–", "48",
    ]  # fmt: skip
