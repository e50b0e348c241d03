"""The lazy selection with books: the list of the rule, and books that hold."""

from __future__ import annotations

import numpy as np
import pytest
from reference import k_center_greedy
from scipy.spatial.distance import cdist

from adlib.study.coreset_trace import BOUNDED, MEASURED, NEVER, lazy_greedy


def cloud(kind, N, d, seed=0):
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.standard_normal((N, d)), axis=0)
    kinds = {
        "images": walk,
        "normal": rng.standard_normal((N, d)),
        "shifted": walk + 1000,
        "integer": rng.integers(0, 3, (N, d)),
        "duplicated": walk[rng.integers(0, min(9, N), N)],
        "equal": np.ones((N, d)),
    }
    return kinds[kind].astype(np.float32)


KINDS = ("images", "normal", "shifted", "integer", "duplicated", "equal")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 3, 50])
def test_the_list_of_the_rule(kind, d):
    for N, n, start in [(1, 1, 0), (2, 2, 1), (60, 60, 7), (200, 40, 199)]:
        x = cloud(kind, N, d, seed=N)
        trace = lazy_greedy(x, n, start)
        assert np.array_equal(trace.chosen, k_center_greedy(x, n, start)), (N, n)
        assert trace.pairs.shape == (N, n)


@pytest.mark.parametrize("share", [0.001, 0.3, 1.0])
@pytest.mark.parametrize("columns", [2, 80])
def test_the_list_depends_on_neither_share_nor_sketch(share, columns):
    x = cloud("images", 150, 20)
    trace = lazy_greedy(x, 40, share=share, columns=columns)
    assert np.array_equal(trace.chosen, k_center_greedy(x, 40))


def test_each_pair_is_one_of_three_and_most_are_never_looked_at():
    trace = lazy_greedy(cloud("images", 600, 40), 40)
    kinds = [trace.share(kind) for kind in (NEVER, BOUNDED, MEASURED)]
    assert sum(kinds) == pytest.approx(1)
    assert kinds[0] > 0.5 and kinds[1] > 0 and kinds[2] > 1 / 40 - 1 / 600
    assert (trace.pairs[1:, 0] == MEASURED).all()  # the first centre meets everybody else
    assert trace.pairs[0, 0] == NEVER


def test_a_phase_is_what_its_picture_says():
    x = cloud("images", 400, 10)
    trace = lazy_greedy(x, 60)
    distances = cdist(x.astype(float), x[trace.chosen].astype(float))
    assert [p.first for p in trace.phases[1:]] == [p.last for p in trace.phases[:-1]]
    assert trace.phases[0].first == 1 and trace.phases[-1].last == 60
    thetas = [p.theta for p in trace.phases]
    assert sorted(thetas, reverse=True) == thetas
    for phase in trace.phases:
        true = distances[:, : phase.first].min(axis=1)
        assert (phase.before >= true - 1e-6).all() and (phase.after >= true - 1e-6).all()
        assert (phase.after <= phase.before).all()
        candidates = phase.after >= phase.theta
        assert phase.after[candidates] == pytest.approx(true[candidates])
        assert np.isin(trace.chosen[phase.first : phase.last], np.flatnonzero(candidates)).all()
        assert not (phase.hinted & (phase.current | candidates)).any()
        untouched = phase.before < phase.theta
        assert (phase.after[untouched] == phase.before[untouched]).all()


def test_what_a_bound_rules_out_is_no_nearer():
    x = cloud("images", 300, 40)
    trace = lazy_greedy(x, 30)
    distances = cdist(x.astype(float), x[trace.chosen].astype(float))
    nearest = distances.min(axis=1)
    points, centres = np.nonzero(trace.pairs == BOUNDED)
    assert (distances[points, centres] >= nearest[points] - 1e-9).all()
