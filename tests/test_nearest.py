"""Neighbours against a float64 search of all pairs; ties, offsets and magnitudes that hurt."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import all_neighbors

from adlib import nearest as module
from adlib.errors import InputError
from adlib.ivfpq import IVFPQ
from adlib.levels import NotFinite
from adlib.nearest import NearestNeighbors, squared_distances

FILTERS = {"axes": module._Axes, "product": module._Product}


def features(n: int, d: int = 40, seed: int = 0, rank: int = 6) -> np.ndarray:
    """Non-negative and strongly correlated, as patch embeddings are."""
    fixed, rng = np.random.default_rng(7), np.random.default_rng(seed)
    mixing = fixed.standard_normal((rank, d))
    x = rng.standard_normal((n, rank)) @ mixing + 0.3 * rng.standard_normal((n, d))
    return np.maximum(x + 1, 0).astype(np.float32)


def search(bank: np.ndarray, kind: str = "axes") -> NearestNeighbors:
    found = NearestNeighbors(torch.from_numpy(bank))
    found._filter = FILTERS[kind](found.bank)
    return found


def ask(searcher, x: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    distances, indices = searcher.query(torch.from_numpy(x), k)
    assert distances.dtype == torch.float32 and indices.dtype == torch.int64
    assert distances.shape == indices.shape == (len(x), k)
    return distances.numpy(), indices.numpy()


def assert_exact(bank: np.ndarray, x: np.ndarray, k: int, kind: str) -> None:
    distances, indices = ask(search(bank, kind), x, k)
    expected, order = all_neighbors(bank, x, k)
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, expected, rtol=1e-7, atol=1e-45)


# against the reference


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("k", [1, 3, 9])
@pytest.mark.parametrize("d", [1, 15, 40, 70])  # below and above the number of axes and lanes
def test_neighbours_equal_the_reference(kind, k, d):
    assert_exact(features(300, d), features(50, d, seed=1), k, kind)


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("change", ["+1000", "-1e5", "*1e30", "*1e-30", "*1e-41", "one far"])
def test_offsets_and_magnitudes(kind, change):
    """What |x|^2 + |m|^2 - 2 x.m in float32 gets wrong, or cannot even represent."""
    bank, x = features(200), features(40, seed=1)
    if change == "one far":
        bank[17], x[3], x[4] = 1e15, 1e15, -1e25
    else:
        bank, x = (
            (v + np.float32(change) if change[0] in "+-" else v * np.float32(change[1:]))
            for v in (bank, x)
        )
    x[0], x[1] = bank[5], np.nextafter(bank[6], np.float32(np.inf))
    for k in (1, 4):
        assert_exact(bank, x, k, kind)
    assert ask(search(bank, kind), x)[0][0] == 0


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("distinct", [1, 2, 5, 400])
def test_the_lowest_index_wins_a_tie(kind, distinct):
    rng = np.random.default_rng(distinct)
    points = rng.integers(-3, 4, (distinct, 20)).astype(np.float32)
    bank = points[rng.integers(0, distinct, 400)]
    x = np.concatenate([points[:10], rng.integers(-3, 4, (30, 20)).astype(np.float32)])
    for k in (1, 7, 400):
        assert_exact(bank, x, k, kind)


@pytest.mark.parametrize("kind", FILTERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_small_integers(kind, data):
    """Sums of such squares are exact, hence so are ties."""
    d = data.draw(st.integers(1, 5))
    points = st.lists(st.lists(st.integers(-2, 2), min_size=d, max_size=d), min_size=1, max_size=9)
    bank, x = (np.array(data.draw(points), np.float32) for _ in range(2))
    assert_exact(bank, x, data.draw(st.integers(1, len(bank))), kind)


def test_every_entry_finds_itself():
    bank = features(500) + 1000
    distances, indices = ask(search(bank), bank)
    assert (distances == 0).all()
    np.testing.assert_array_equal(indices[:, 0], np.arange(500))


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("precision", ["high", "medium"])
def test_coarser_products_change_nothing(kind, precision):
    bank, x = features(300), features(50, seed=1)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        assert_exact(bank, x, 3, kind)
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("precision, factor", [("highest", None), ("medium", torch.bfloat16)])
def test_the_error_of_a_product_is_bounded(monkeypatch, precision, factor):
    """Whether or not this machine has products that round their factors to bfloat16."""
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: precision)
    x, m = (torch.from_numpy(features(60, seed=seed)) for seed in (1, 2))
    product = x.to(factor or x.dtype).float() @ m.to(factor or m.dtype).float().T
    error = (product - x.double() @ m.double().T).abs()
    bound = module._product_error(40) * (x.abs().double() @ m.abs().double().T)
    assert (error <= bound).all()
    assert (error > bound / 100).any()


# laws


@pytest.mark.parametrize("kind", FILTERS)
def test_block_sizes_and_company_change_no_bit(kind, monkeypatch):
    bank, x = features(300), features(30, seed=1)
    distances, indices = ask(search(bank, kind), x, 5)
    one_by_one = [ask(search(bank, kind), row[None], 5) for row in x]
    np.testing.assert_array_equal(np.concatenate([d for d, _ in one_by_one]), distances)
    np.testing.assert_array_equal(np.concatenate([i for _, i in one_by_one]), indices)
    monkeypatch.setattr(FILTERS[kind], "queries", 7)
    monkeypatch.setattr(module._Axes, "rows", 4)
    monkeypatch.setattr(module._Axes, "entries", 3)  # fewer than k
    monkeypatch.setattr(module, "BLOCK", 900)
    small = ask(search(bank, kind), x, 5)
    np.testing.assert_array_equal(small[0], distances)
    np.testing.assert_array_equal(small[1], indices)


def test_both_filters_agree_bit_for_bit():
    bank, x = features(500, 77), features(100, 77, seed=1)
    for one, other in zip(
        search(bank)._filter.nearest(torch.from_numpy(x), 4),
        search(bank, "product")._filter.nearest(torch.from_numpy(x), 4),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_the_fixed_order_of_summation():
    rng = np.random.default_rng(0)
    x, bank = (rng.standard_normal((9, 50)).astype(np.float32) for _ in range(2))
    pairs = torch.arange(9)
    fast = squared_distances(torch.from_numpy(x), torch.from_numpy(bank), pairs, pairs)
    for row, entry, found in zip(x, bank, fast.tolist(), strict=True):
        assert found == module._square(row, entry, np.empty(module.LANES))
        assert found == pytest.approx(np.square(row.astype(float) - entry).sum(), rel=1e-14)


@pytest.mark.parametrize("kind", ["plain", "+1000", "flat", "few axes"])
def test_lower_bounds_are_lower(kind):
    """|p_x - p_m|^2 + (s_x - s_m)^2 <= d^2 for all pairs, rounding included."""
    bank, x = features(300, 80), features(60, 80, seed=1)
    x[:20] = np.nextafter(bank[:20], np.float32(np.inf))
    x[20:40] = bank[20:40]
    if kind == "+1000":
        bank, x = bank + 1000, x + 1000
    if kind == "flat":  # nothing is left beyond the axes: the root amplifies rounding
        bank[:, 20:], x[:, 20:] = 0, 0
    if kind == "few axes":
        bank[:, 3:] *= 1e-4
        x[:, 3:] *= 1e-4
    axes = module._Axes(torch.from_numpy(bank))
    near, far, norms, moved = axes._project(torch.from_numpy(x))
    factors = torch.cat([near, norms.new_ones(len(x), 1)], dim=1).float()
    first = (factors @ axes.factors.T).double() + norms[:, None]
    second = torch.cdist(far.float().double(), axes.points.double()).square()
    exact = torch.cdist(torch.from_numpy(x).double(), torch.from_numpy(bank).double())
    slack = axes._slack(norms)[:, None]
    for low in (first, second):
        assert (low <= (exact * axes.scale + moved[:, None]).square() + slack).all()
    assert (first - (exact * axes.scale).square()).abs().min() < slack.max()  # not by much


def test_a_product_in_float32_moves_queries_by_no_more_than_stated():
    bank, x = features(300, 80), features(60, 80, seed=1)
    for rest in (1, 1e-2, 0):
        bank[:, 40:] *= rest
        x[:, 40:] *= rest
        axes = module._Axes(torch.from_numpy(bank))
        exact = axes._coordinates(torch.from_numpy(x))
        *rounded, _, moved = axes._project(torch.from_numpy(x))
        for one, other in zip(exact, rounded, strict=False):
            assert ((one - other).norm(dim=1) <= moved).all()


def test_hardly_any_pair_is_computed(monkeypatch):
    """The filter is the point: without it the answer is right and slow."""
    bank, x = features(2000, 60), features(50, 60, seed=1)
    calls = []
    monkeypatch.setattr(
        module, "_rough_square", lambda a, b: calls.append(1) or np.square(a - b).sum()
    )
    monkeypatch.setattr(module, "_compiled", lambda: module._visit)
    assert_exact(bank, x, 1, "axes")
    assert len(calls) < 0.1 * bank.shape[0] * x.shape[0]


BIG = """
import resource, sys, torch
from adlib.nearest import NearestNeighbors
assert not {"numba", "faiss"} & set(sys.modules)
generator = torch.Generator().manual_seed(0)
bank, x = (torch.rand((n, 8), generator=generator) for n in (40000, 3000))
search = NearestNeighbors(bank)
search.query(x[:10], 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
search.query(x, 2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_is_bounded_and_slow_imports_wait():
    command = [sys.executable, "-c", BIG]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) < 64e3  # KiB; the distance matrix would take 480 MB


@pytest.mark.gpu
def test_a_gpu_finds_the_same():
    bank, x = (torch.from_numpy(features(n, 50, seed=n)) for n in (3000, 500))
    distances, indices = NearestNeighbors(bank).query(x, 3)
    on_gpu = NearestNeighbors(bank.cuda()).query(x, 3)
    assert on_gpu[0].is_cuda
    assert torch.equal(on_gpu[0].cpu(), distances)
    assert torch.equal(on_gpu[1].cpu(), indices)


# input


def test_no_queries_give_no_neighbours():
    distances, indices = search(features(10)).query(torch.empty(0, 40), 2)
    assert distances.shape == indices.shape == (0, 2)


def test_a_view_and_a_parameter_will_do():
    bank, x = features(30), features(6, seed=1)
    expected = ask(search(bank), x)
    wide = torch.from_numpy(np.repeat(bank, 2, axis=1))[:, ::2]
    found = NearestNeighbors(wide).query(torch.nn.Parameter(torch.from_numpy(x.T.copy()).T))
    np.testing.assert_array_equal(found[1].numpy(), expected[1])


def build(kind: str, bank: torch.Tensor):
    if kind == "ivfpq":
        pytest.importorskip("faiss")
        return IVFPQ(bank)
    return NearestNeighbors(bank)


@pytest.mark.parametrize("kind", ["exact", "ivfpq"])
def test_bad_input(kind):
    good = torch.from_numpy(features(20))
    searcher = build(kind, good)
    for k in (0, 21):
        with pytest.raises(
            InputError, match=rf"between 1 and the 20 entries of the bank, found {k}"
        ):
            searcher.query(good, k)
    with pytest.raises(InputError, match=r"\(n, 40\), found torch.float32 of shape \(20, 39\)"):
        searcher.query(good[:, :39])
    for wrong in (good.double(), good[0], good[None], good[:, :0]):
        with pytest.raises(InputError, match="must be float32 of shape"):
            searcher.query(wrong)
        with pytest.raises(InputError, match="must be float32 of shape"):
            build(kind, wrong)
    with pytest.raises(InputError, match="at least one entry"):
        build(kind, good[:0])
    for value in (torch.nan, torch.inf, -torch.inf):
        bad = good.clone()
        bad[7, 3] = value
        with pytest.raises(NotFinite):
            searcher.query(bad)
        with pytest.raises(NotFinite):
            build(kind, bad)


# the approximate index


@pytest.fixture
def faiss():
    return pytest.importorskip("faiss")


def clustered(n: int, seed: int) -> np.ndarray:
    centres = 10 * np.random.default_rng(5).standard_normal((50, 64))
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(0, 50, n)] + rng.standard_normal((n, 64))).astype(np.float32)


def test_ivfpq_comes_close(faiss):
    bank, x = clustered(3000, 1) + 1000, clustered(200, 2) + 1000
    distances, indices = ask(IVFPQ(torch.from_numpy(bank)), x, 10)
    expected, order = all_neighbors(bank, x, 10)
    assert (np.diff(distances) >= 0).all()
    np.testing.assert_allclose(distances[:, 0], expected[:, 0], rtol=0.4)
    true = np.linalg.norm(bank[indices[:, 0]].astype(float) - x, axis=1)
    assert np.median(true / expected[:, 0]) < 1.1
    shared = [len(set(a) & set(b)) for a, b in zip(indices.tolist(), order.tolist(), strict=True)]
    assert np.mean(shared) > 3  # of 10; chance would be 0.03


def test_ivfpq_repeats_itself(faiss):
    bank, x = torch.from_numpy(clustered(600, 1)), clustered(50, 2)
    first, again, other = (ask(IVFPQ(bank, seed=seed), x, 3) for seed in (4, 4, 2**40 + 1))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100, 300])
def test_ivfpq_takes_small_banks_and_finds_k(faiss, capfd, n):
    bank = clustered(n, 1)
    distances, indices = ask(IVFPQ(torch.from_numpy(bank), probes=1), bank[:5], n)
    for row in indices:  # one cell holds fewer than n: the others are asked too
        assert sorted(row) == list(range(n))
    assert np.isfinite(distances).all() and (distances >= 0).all()
    assert capfd.readouterr() == ("", "")


def test_ivfpq_parameters(faiss):
    bank = torch.from_numpy(clustered(400, 1))
    index = IVFPQ(bank, lists=10, subquantizers=16, probes=99)
    assert (index.index.nlist, index.index.pq.M, index.index.pq.nbits) == (10, 16, 8)
    default = IVFPQ(bank).index
    assert (default.nlist, default.pq.M) == (20, 8)
    for name, value in (("lists", 0), ("lists", 401), ("subquantizers", 65), ("probes", 0)):
        with pytest.raises(InputError, match=f"{name} must be at least 1.*found {value}"):
            IVFPQ(bank, **{name: value})
    with pytest.raises(InputError, match="must divide the 64 channels, found 7"):
        IVFPQ(bank, subquantizers=7)


def test_without_faiss_ivfpq_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match="pip install -c constraints.txt faiss-cpu"):
        IVFPQ(torch.from_numpy(features(20)))
