r"""Nearest pixels among those of a few of many images, exact.

SPADE looks up the pixels of a test image among those of its K nearest training images, another
selection for each test image. What can be shared is prepared once for every training image: its
pixels in a common orthonormal basis (principal axes V of a sample, in descending order), of which
only the first coordinates are kept, and the norm r of the rest. As a rotation changes no distance,

.. math:: \|x - g\|^2 \ge \|x\|^2 + \|g\|^2 - 2\,(x_h \cdot g_h + r_x r_g)

with x_h, g_h the first h coordinates (Cauchy-Schwarz for the rest). A pair is looked up in three
steps, each for what the one before could not rule out against the nearest pixels found so far:

1. the bound with h = HEAD coordinates, one float32 product for a block of pixels and an image,
2. the bound with MORE coordinates,
3. the float64 sum of squared differences of the features as they are: it alone decides.

The first two have a margin for rounding that errs to the safe side, so the result is that of the
third step for all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from adlib.coreset_kernel import compiled

HEAD = 64  # coordinates of the first bound
MORE = 64  # further coordinates of the second
ROWS = 448  # queries a block: its products with one image stay near the cache
SAMPLE = 16384  # pixels behind the principal axes
ROUNDING = 4 * 2.0**-24  # of a bound, relative to D (|x| + |g|)^2


class Queries(NamedTuple):
    """Pixels that are looked up, as the compiled search wants them.

    Attributes
    ----------
    head : ndarray of shape (n, h + 2), float32
        First coordinates, norm of the rest, -1.
    rest : ndarray of shape (n,), float32
        That norm.
    more : ndarray of shape (n, m + 1), float32
        Further coordinates, norm of their rest.
    least : ndarray of shape (n,), float64
        Half the squared norm, less the margin.
    x : ndarray of shape (n, D), float32
        The features as they are.
    best : ndarray of shape (n, k), float64
        The smallest squared distances so far, ascending; changed in place.
    """

    head: np.ndarray
    rest: np.ndarray
    more: np.ndarray
    least: np.ndarray
    x: np.ndarray
    best: np.ndarray


class Gallery:
    """Pixels of images, prepared so that any few of the images can be searched.

    Parameters
    ----------
    pixels : callable
        ``pixels(i)`` returns those of image i, an ndarray of shape (P, D), float32, finite; the
        same each time it is asked.
    images : int
        N, how many there are.

    Attributes
    ----------
    head : ndarray of shape (N, P, h + 2), float32
        First coordinates, norm of the rest, half the squared norm of the whole.
    more : ndarray of shape (N, P, m + 1), float32
        Further coordinates, norm of the rest.
    """

    def __init__(self, pixels: Callable[[int], np.ndarray], images: int) -> None:
        self.pixels = pixels
        self._rotate(images)
        for i in range(images):
            head, more = self._short(pixels(i))
            if i == 0:
                self.head = np.empty((images, *head.shape), np.float32)
                self.more = np.empty((images, *more.shape), np.float32)
            self.head[i], self.more[i] = head, more
        with np.errstate(over="ignore"):
            self.largest = np.sqrt(2 * self.head[..., -1].max())

    @staticmethod
    def columns(channels: int) -> int:
        """Return how many float32 a pixel takes, of D channels: for an estimate of memory."""
        return min(channels, HEAD + MORE) + 3

    def query(self, x: np.ndarray, images: Sequence[int], k: int = 1) -> np.ndarray:
        """Find the distances to the k nearest pixels of some of the images.

        Parameters
        ----------
        x : ndarray of shape (n, D), float32
            Finite.
        images : sequence of int
        k : int
            At most the number of pixels of these images.

        Returns
        -------
        ndarray of shape (n, k), float32
            Euclidean, ascending: the float64 distance, rounded.
        """
        best = np.full((len(x), k), np.inf)
        # huge features overflow the bounds, which then say nothing: step 3 decides
        with np.errstate(over="ignore", invalid="ignore"):
            head, more = self._short(x)
            rest, square = head[:, -2].copy(), 2 * head[:, -1].astype(np.float64)
            head[:, -1] = -1  # so that a product is that of the bound, less |g|^2 / 2
            margin = ROUNDING * x.shape[1] * (np.sqrt(square) + self.largest) ** 2 + 1e-30
            queries = Queries(head, rest, more, (square - margin) / 2, x, best)
            for image in images:
                self._compare(queries, image)
        return np.sqrt(best).astype(np.float32)

    def _compare(self, queries: Queries, image: int) -> None:
        """Bring the best of all queries up to date with one image, a block of them at a time."""
        pixels, head = self.pixels(image), self.head[image]
        rest = np.ascontiguousarray(head[:, -2])
        for start in range(0, len(queries.x), ROWS):
            block = Queries(*(array[start : start + ROWS] for array in queries))
            products = block.head @ head.T
            search(products, products.argmax(axis=1), block, rest, self.more[image], pixels)

    def _rotate(self, images: int) -> None:
        """Principal axes of a sample of pixels, spread over all images."""
        each = max(1, SAMPLE // images)
        sample = [(p := self.pixels(i))[:: max(1, len(p) // each)] for i in range(images)]
        x = np.concatenate(sample).astype(np.float64)
        self.centre = x.mean(axis=0)
        x -= self.centre
        x /= max(np.abs(x).max(), np.finfo(float).tiny)
        axes = np.linalg.eigh(x.T @ x)[1][:, ::-1]
        self.axes = np.ascontiguousarray(axes[:, : HEAD + MORE]).astype(np.float32)
        self.centre = self.centre.astype(np.float32)

    def _short(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Short rows of pixels (P, D): see the attributes `head` and `more`."""
        with np.errstate(over="ignore", invalid="ignore"):
            centred = x - self.centre
            whole = np.square(centred, dtype=np.float64).sum(axis=1)
            rotated = centred @ self.axes
            squares = np.square(rotated, dtype=np.float64)
            # a rest that is too long only weakens the bound, one that is too short would break it
            slack = ROUNDING * x.shape[1] * whole
            first, second = squares[:, :HEAD].sum(axis=1), squares.sum(axis=1)
            rests = [np.sqrt(np.maximum(whole - part, 0) + slack) for part in (first, second)]
            head = np.column_stack([rotated[:, :HEAD], rests[0], whole / 2])
            more = np.column_stack([rotated[:, HEAD:], rests[1]])
            return head.astype(np.float32), more.astype(np.float32)


@compiled()
def search(products, likely, queries, rest, more, pixels):
    """Bring the best of a block of queries up to date with the pixels of an image.

    `products` (queries, pixels) are those of the first bound, `likely` their largest in each row. A
    pixel can be nearer than the k-th best only where its product is at least ``least - best / 2``.
    """
    for i in range(len(products)):
        best, x = queries.best[i], queries.x[i]
        offer(best, x, pixels[likely[i]])
        needed = np.float32(queries.least[i] - best[-1] / 2)
        for start in range(0, products.shape[1], 64):
            stop = min(start + 64, products.shape[1])
            count = 0
            for j in range(start, stop):  # without a branch: many at once
                count += not (products[i, j] < needed)  # where a bound is NaN, too
            if count == 0:
                continue
            for j in range(start, stop):
                if products[i, j] < needed or j == likely[i]:
                    continue
                shared = products[i, j] - queries.rest[i] * rest[j]
                if shared + product(queries.more[i], more[j]) < needed:
                    continue
                if offer(best, x, pixels[j]):
                    needed = np.float32(queries.least[i] - best[-1] / 2)


@compiled(fastmath={"contract", "reassoc"})
def product(a, b):
    """Scalar product in float32."""
    total = np.float32(0)
    for c in range(len(a)):
        total += a[c] * b[c]
    return total


@compiled()
def offer(best, a, b):
    """Insert the squared distance of two pixels among the best, if it is one of them.

    Float64, from the first channel to the last; the sum stops once it is too large.
    """
    total = 0.0
    for start in range(0, len(a), 32):
        for c in range(start, min(start + 32, len(a))):
            delta = np.float64(a[c]) - np.float64(b[c])
            total += delta * delta
        if total >= best[-1]:
            return False
    place = len(best) - 1
    while place > 0 and best[place - 1] > total:
        best[place] = best[place - 1]
        place -= 1
    best[place] = total
    return True
