"""The prepared search among pixels against all float64 distances: the same numbers, always."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adlib import gallery as module
from adlib.gallery import Gallery


def clustered(rng, n, d, spread=0.01):
    centres = rng.standard_normal((3, d))
    return centres[rng.integers(0, 3, n)] + spread * rng.standard_normal((n, d))


KINDS = {
    "normal": lambda rng, n, d: rng.standard_normal((n, d)),
    "steep": lambda rng, n, d: rng.standard_normal((n, d)) * 0.9 ** np.arange(d),
    "clustered": clustered,
    # distances that float32 products of the whole cannot tell from zero
    "tight": lambda rng, n, d: clustered(rng, n, d, 1e-5),
    "integers": lambda rng, n, d: rng.integers(0, 3, (n, d)),
    "duplicates": lambda rng, n, d: rng.standard_normal((4, d))[rng.integers(0, 4, n)],
    "equal": lambda rng, n, d: np.full((n, d), 2.7),
    "zero": lambda rng, n, d: np.zeros((n, d)),
    "far away": lambda rng, n, d: 1e4 + rng.standard_normal((n, d)),
    "one far": lambda rng, n, d: (
        rng.standard_normal((n, d)) * np.where(np.arange(n) == 0, 1e6, 1)[:, None]
    ),
}


def everything(x: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    differences = x[:, None].astype(np.float64) - rows[None]
    return np.sqrt(np.sort((differences**2).sum(axis=2), axis=1)[:, :k])


def draw(kind: str, seed: int, images: int, pixels: int, channels: int, scale: float = 1.0):
    rng = np.random.default_rng(seed)
    rows = KINDS[kind](rng, images * pixels + 40, channels).astype(np.float32) * np.float32(scale)
    return rows[40:].reshape(images, pixels, channels), rows[:40]


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    images=st.integers(1, 5),
    pixels=st.integers(1, 150),
    channels=st.sampled_from([1, 3, 64, 65, 128, 129, 200]),
    k=st.integers(1, 4),
    scale=st.sampled_from([1.0, 1e-25, 1e-12, 1e12, 1e18, 1e25]),
    seed=st.integers(0, 10**6),
)
def test_the_distances_are_those_of_all_pairs(kind, images, pixels, channels, k, scale, seed):
    bank, x = draw(kind, seed, images, pixels, channels, scale)
    searched = Gallery(lambda i: bank[i], images)
    some = list(range(images))[::-1][: max(1, images - 1)]
    k = min(k, len(some) * pixels)
    found = searched.query(x, some, k)
    assert found.dtype == np.float32 and found.shape == (40, k)
    expected = everything(x, bank[some].reshape(-1, channels), k).astype(np.float32)
    np.testing.assert_allclose(found, expected, rtol=3e-7)


def test_a_pixel_of_the_gallery_is_found_at_distance_zero():
    bank, _ = draw("normal", 0, 4, 90, 130)
    searched = Gallery(lambda i: bank[i], 4)
    assert (searched.query(bank[2], [0, 2]) == 0).all()
    assert (searched.query(bank[2], [0, 1, 3]) > 0).all()


def test_more_queries_than_a_block_and_than_pixels(monkeypatch):
    bank, x = draw("steep", 3, 3, 70, 140)
    whole = Gallery(lambda i: bank[i], 3).query(x, [2, 0], 3)
    monkeypatch.setattr(module, "ROWS", 7)
    assert np.array_equal(Gallery(lambda i: bank[i], 3).query(x, [0, 2], 3), whole)


def test_few_pairs_are_looked_up_in_full(monkeypatch):
    # the bounds must rule out most pairs of data as networks give them; count what reaches step 3
    bank, x = draw("steep", 5, 4, 500, 256)
    searched = Gallery(lambda i: bank[i], 4)
    full, offer = [], module.offer.py_func

    def counted(*pair):
        full.append(1)
        return offer(*pair)

    monkeypatch.setattr(module, "offer", counted)
    monkeypatch.setattr(module, "product", module.product.py_func)
    monkeypatch.setattr(module, "search", module.search.py_func)
    found = searched.query(x, [0, 1, 2, 3])
    np.testing.assert_allclose(found, everything(x, bank.reshape(-1, 256), 1), rtol=3e-7)
    assert len(full) < 0.02 * len(x) * 2000


@pytest.mark.parametrize(("channels", "columns"), [(448, 131), (128, 131), (20, 23)])
def test_the_estimate_of_columns_is_what_is_kept(channels, columns):
    bank, _ = draw("normal", 0, 2, 5, channels)
    searched = Gallery(lambda i: bank[i], 2)
    assert searched.head.shape[2] + searched.more.shape[2] == columns == Gallery.columns(channels)
