"""Coreset selection against the slow version of ``reference``, on benign and hostile points."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import approximate_k_center_greedy as slow_approximate
from reference import k_center_greedy as slow

from adlib import coreset
from adlib.coreset import approximate_k_center_greedy, k_center_greedy
from adlib.errors import InputError


def cloud(kind: str, N: int, d: int, seed: int) -> np.ndarray:
    """Points (N, d) of a kind that has its own way to go wrong."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, d))
    few = rng.standard_normal((max(1, N // 4), d))
    kinds = {
        "normal": x,
        "shifted": x + 1000,
        "shifted far": 1e-3 * x + 1000,
        "clustered": 10 * few[rng.integers(0, min(5, len(few)), N)] + 0.1 * x,
        "duplicated": few[rng.integers(0, len(few), N)],
        "integer": rng.integers(0, 4, (N, d)),
        "lattice": np.arange(N)[:, None] // 6.0 ** np.arange(d) % 6,
        "equal": np.full((N, d), 3.7),
        "zero columns": x * (np.arange(d) % 2),
        "outlier": x * np.where(np.arange(N) == N // 2, 1e10, 1)[:, None],
        "tiny": 1e-20 * x,
        "subnormal": 1e-45 * rng.integers(0, 50, (N, d)),
        "huge": 1e15 * x,
        "largest": 3e38 * np.tanh(x),
        "images": np.cumsum(x, axis=0) / np.sqrt(1 + np.arange(d)),
    }
    return kinds[kind].astype(np.float32)


KINDS = (
    "normal",
    "shifted",
    "shifted far",
    "clustered",
    "duplicated",
    "integer",
    "lattice",
    "equal",
    "zero columns",
    "outlier",
    "tiny",
    "subnormal",
    "huge",
    "largest",
    "images",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 3, 40, 150])
def test_the_list_of_brute_force(kind, d):
    for N, n, start in [(1, 1, 0), (2, 2, 1), (130, 130, 7), (900, 150, 899)]:
        x = cloud(kind, N, d, seed=N)
        assert np.array_equal(k_center_greedy(x, n, start=start), slow(x, n, start)), (N, n)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_list_of_brute_force_anywhere(data):
    kind = data.draw(st.sampled_from(KINDS))
    N, d = data.draw(st.integers(1, 400)), data.draw(st.integers(1, 70))
    n, start = data.draw(st.integers(1, N)), data.draw(st.integers(0, N - 1))
    x = cloud(kind, N, d, data.draw(st.integers(0, 2**32)))
    x = x[data.draw(st.permutations(range(N)))] if data.draw(st.booleans()) else x
    assert np.array_equal(k_center_greedy(x, n, start=start), slow(x, n, start))


def test_many_phases_on_many_points():
    x = cloud("images", 10_000, 48, 0)
    assert np.array_equal(k_center_greedy(x, 400, start=11), slow(x, 400, 11))


def test_ties_go_to_the_lowest_index():
    corners = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)
    assert k_center_greedy(corners, 5).tolist() == [0, 1, 2, 3, 4]
    assert k_center_greedy(corners, 5, start=1).tolist() == [1, 3, 2, 4, 0]
    assert k_center_greedy(np.ones((6, 3), np.float32), 6, start=4).tolist() == [4, 0, 1, 2, 3, 5]


def test_what_is_returned():
    x = cloud("normal", 50, 4, 0)
    chosen = k_center_greedy(x, 20, start=3)
    assert chosen.shape == (20,)
    assert chosen.dtype == np.int64
    assert chosen[0] == 3
    assert len(set(chosen.tolist())) == 20
    assert np.array_equal(chosen, k_center_greedy(torch.from_numpy(x), 20, start=3))
    assert np.array_equal(chosen, k_center_greedy(x.T.copy().T, 20, start=3)), "Fortran order"


BAD = [
    (np.zeros((3, 2)), 1, 0, "float32"),
    (np.zeros((3, 2), np.int32), 1, 0, "float32"),
    (np.zeros(3, np.float32), 1, 0, r"\(N, d\)"),
    (np.zeros((0, 2), np.float32), 1, 0, r"\(N, d\)"),
    (np.zeros((2, 0), np.float32), 1, 0, r"\(N, d\)"),
    (np.array([[1, np.nan]], np.float32), 1, 0, "finite"),
    (np.array([[1, -np.inf]], np.float32), 1, 0, "finite"),
    (np.zeros((3, 2), np.float32), 0, 0, r"n must lie in \[1, 3\]"),
    (np.zeros((3, 2), np.float32), 4, 0, r"n must lie in \[1, 3\]"),
    (np.zeros((3, 2), np.float32), 1, 3, r"start must lie in \[0, 2\]"),
    (np.zeros((3, 2), np.float32), 1, -1, r"start must lie in \[0, 2\]"),
]


@pytest.mark.parametrize(("features", "n", "start", "words"), BAD)
def test_bad_input_is_one_sentence(features, n, start, words):
    with pytest.raises(InputError, match=words) as caught:
        k_center_greedy(features, n, start=start)
    assert "\n" not in str(caught.value)


def below_all(state: NamedTuple, i: int) -> np.ndarray:
    """Bounds of the distances of point i from the first five centres, a block of them."""
    from adlib import coreset_kernel as kernel

    sums, limits = np.empty(64, np.float32), np.full((1, 64), np.inf, np.float32)
    row = np.zeros((1, state.blocks.shape[1]), np.float32)
    row[0, : state.sketch.shape[1]] = state.sketch[i]
    assert kernel.any_below(state.blocks, 0, row, 0, sums, limits, 0)
    return np.sqrt(np.maximum(sums[:5], 0))


def test_bounds_hold_after_rounding():
    """No sketch is farther from another than slack allows, and no ceiling is below a distance."""
    from adlib import coreset_kernel as kernel

    for kind in ("normal", "shifted", "images", "outlier", "huge"):
        for d in (20, 128, 300):
            x = cloud(kind, 400, d, 5)
            state = coreset._state(x, 5, 0, kernel)
            for k in range(1, 5):
                kernel.add_centre(state, k, k)
            points, sketch = x.astype(np.float64), state.sketch.astype(np.float64)
            for i in range(0, 400, 37):
                true = np.linalg.norm(points - points[i], axis=1) * state.scale
                short = np.linalg.norm(sketch[:, :32] - sketch[i, :32], axis=1)
                whole = np.delete(sketch, [31, sketch.shape[1] - 1], axis=1)
                inner = ((whole - whole[i]) ** 2).sum(axis=1)
                upper = np.sqrt(inner + (sketch[:, -1] + sketch[i, -1]) ** 2)
                assert (short <= true + state.slack).all()
                assert (
                    np.sqrt(inner + (sketch[:, -1] - sketch[i, -1]) ** 2) <= true + state.slack
                ).all()
                assert (upper >= true - state.slack).all()
                assert (below_all(state, i) <= (true[:5] + state.slack) * 1.0001).all()
            assert state.slack < 0.03 * coreset.LEVELS, "bounds that are of use"


def test_the_approximate_variant():
    x = cloud("normal", 300, 6, 0)
    starts = np.random.default_rng(4).choice(300, 10, replace=False)
    assert np.array_equal(
        approximate_k_center_greedy(x, 40, seed=4), slow_approximate(x, 40, starts)
    )
    assert not np.array_equal(
        approximate_k_center_greedy(x, 40, seed=5), slow_approximate(x, 40, starts)
    )
    with pytest.raises(InputError, match=r"starts must lie in \[1, 300\]"):
        approximate_k_center_greedy(x, 40, starts=301)


def test_kernels_that_cannot_be_kept_still_run(tmp_path, root):
    """No folder to write to, neither beside the source nor in the user's cache."""
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    code = (
        "import sys, numba.core.caching as c\n"
        "c.CacheImpl._locator_classes = []\n"
        "import numpy as np\n"
        "from adlib.coreset_kernel import squared_distance\n"
        "x = np.float32([[0, 0], [3, 4]])\n"
        "print(squared_distance(x, 0, 1, np.inf))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "25.0", done.stderr


def test_progress_says_what_it_will_cost(capsys):
    k_center_greedy(cloud("normal", 300, 5, 0), 30, progress=True)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, "an estimate; the bar needs a terminal"
    assert re.fullmatch(r"coreset: 30 of 300 patches, about 0\.\d s and \d+ MB", lines[0])
    assert str(coreset.Estimate(3.2, 60_400_000)) == "about 3 s and 60 MB"


@pytest.mark.parametrize(("kind", "n"), [("images", 200), ("equal", 40), ("normal", 1)])
def test_progress_is_told(kind, n, capsys):
    told = []
    x = cloud(kind, 2000, 8, 0)
    chosen = k_center_greedy(x, n, progress=lambda done, total: told.append((done, total)))
    assert np.array_equal(chosen, k_center_greedy(x, n))
    done = [count for count, _ in told]
    assert {total for _, total in told} == {n}
    assert done == sorted(done)
    assert done.index(n) == len(done) - 1, "who closes a bar at the end has to be told of it once"
    assert (len(done) > 3) == (kind == "images")
    assert capsys.readouterr().err == ""


def test_the_width_of_images_is_found():
    smooth = np.random.default_rng(0).standard_normal((30, 4, 4, 6))
    images = smooth.repeat(5, axis=1).repeat(5, axis=2)[:, :, :17]  # 20 rows of 17 patches
    images = images + 0.1 * np.random.default_rng(1).standard_normal(images.shape)
    assert coreset._stride((1000 * images).reshape(-1, 6).astype(np.int16)) == 17
    assert [coreset._stride(np.zeros((N, 6), np.int16)) for N in (1, 3, 4)] == [1, 1, 2]


def test_the_estimate_grows():
    small, large = coreset.estimate(1000, 16, 10), coreset.estimate(100_000, 16, 1000)
    assert 0 < small.seconds < large.seconds
    assert 0 < small.bytes < large.bytes
