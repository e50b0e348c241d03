r"""Nearest neighbours in a bank of patch embeddings: exact in bounded memory, or approximate.

*Exact* is stated in float64. The squared distance of a query x and an entry m is

.. math:: d^2(x, m) = \sum_j (x_j - m_j)^2,

every difference, square and sum in float64 and in one fixed order (`squared_distances`), of the
float32 values as they are stored. `NearestNeighbors` returns the k entries with the smallest
:math:`d^2`, the lower index first where two are bit-equal. So its answer depends neither on the
other queries of a call, nor on block sizes, threads or the device.

Hardly any pair gets that far, since a cheap number in float32 rules the others out. It never
decides: a pair is dropped only where it is behind by more than a bound of all rounding errors.

- On a CPU (`_Axes`): let p be the coordinates along the leading principal axes of the bank and s
  the length of what they leave. Then :math:`|p_x - p_m|^2 + (s_x - s_m)^2 \le d^2`, the triangle
  inequality in the remaining dimensions. One product with HEAD + 2 columns bounds all pairs from
  below; for those it leaves, the same is computed along HEAD + MORE axes, from the differences.
- Elsewhere (`_Product`): :math:`|x|^2 + |m|^2 - 2 x \cdot m`, one product with all D columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor

from adlib.errors import InputError
from adlib.levels import NotFinite

BLOCK = 1 << 21  # numbers in a temporary array: 8 MB of float32
HEAD = 24  # axes of the first bound: more make it tighter, and the product dearer
MORE = 40  # further axes of the second
SAMPLE = 4096  # entries that the axes are computed from
LANES = 16  # d^2 is the sum of 16 running sums
CHUNK = 32  # bounds that are passed over at once
U = 2.0**-24  # unit roundoff of float32
# what torch may round the factors of a float32 product to: nothing, TF32, bfloat16
_FACTOR_ROUNDOFF = {"highest": 0.0, "high": 2.0**-11, "medium": 2.0**-8}
TINY = 1e-37  # more than float32 loses to underflow
NEAR = 1e-15  # more than a length loses to the underflow of squares


class NearestNeighbors:
    """Exact search of the k nearest entries of a bank, in bounded memory.

    Beside the bank it keeps 2 HEAD + MORE + 3 numbers an entry on a CPU, nothing elsewhere; a query
    takes about 64 MB at most, whatever n and M.

    Parameters
    ----------
    bank : Tensor of shape (M, D), float32, any device
        Kept, not copied, where it is contiguous.

    Raises
    ------
    InputError
        The bank is empty or not a float32 matrix.
    NotFinite
        It holds NaN or infinity.
    """

    def __init__(self, bank: Tensor) -> None:
        self.bank = matrix(bank, "the bank")
        if len(bank) == 0:
            raise InputError("the bank needs at least one entry, found none; add training images")
        self._filter = (_Axes if bank.device.type == "cpu" else _Product)(self.bank)

    def query(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """Find the k nearest entries of each query.

        Parameters
        ----------
        x : Tensor of shape (n, D), float32
            Brought to the device of the bank.
        k : int
            Number of neighbours, in [1, M].

        Returns
        -------
        distances : Tensor of shape (n, k), float32
            Euclidean, ascending: the float64 distances, rounded; 0 for an entry of the bank.
        indices : Tensor of shape (n, k), int64
            Rows of the bank; the lower one first where d^2 is equal.

        Raises
        ------
        InputError
            k is not in [1, M], or x is not a float32 matrix with D columns.
        NotFinite
            x holds NaN or infinity.
        """
        x = matrix(x, "queries", self.bank.shape[1]).to(self.bank.device)
        check_k(k, len(self.bank))
        distances = x.new_empty((len(x), k))
        indices = torch.empty((len(x), k), dtype=torch.int64, device=x.device)
        for block in _blocks(len(x), self._filter.queries):
            squares, indices[block] = self._filter.nearest(x[block], k)
            distances[block] = squares.sqrt()
        return distances, indices


def squared_distances(x: Tensor, bank: Tensor, query: Tensor, entry: Tensor) -> Tensor:
    """d^2 of the pairs (x[query], bank[entry]), float64, in the fixed order of summation.

    Lane l sums the columns l, l + LANES, ... in turn; then the upper half of the lanes is added to
    the lower half until one is left. `_square` is the same for one pair.
    """
    found = torch.empty(len(query), dtype=torch.float64, device=x.device)
    for pairs in _blocks(len(query), BLOCK // (2 * x.shape[1])):
        squares = (x[query[pairs]].double() - bank[entry[pairs]].double()).square_()
        lanes = squares.new_zeros((len(squares), LANES))
        for columns in squares.split(LANES, dim=1):
            lanes[:, : columns.shape[1]] += columns
        while lanes.shape[1] > 1:
            lower, upper = lanes.chunk(2, dim=1)
            lanes = lower + upper
        found[pairs] = lanes[:, 0]
    return found


class _Axes:
    """Search on a CPU: lower bounds along a few axes, then d^2 of what they do not rule out."""

    queries = 1024
    rows = 256  # queries whose bounds are used while they are in the cache
    entries = 2048

    def __init__(self, bank: Tensor) -> None:
        self.bank = bank.numpy()
        self.centre, self.scale = centre_and_scale(bank)
        sample = ((_sample(bank) - self.centre) * self.scale).double()
        _, vectors = torch.linalg.eigh(sample.T @ sample)
        self.axes = vectors.flip(1)[:, : HEAD + MORE].contiguous()
        axes = self.axes.shape[1]
        self.factors = bank.new_empty((len(bank), min(HEAD, axes) + 2))
        self.points = bank.new_empty((len(bank), axes + 1))
        reach = 0.0
        for block in _blocks(len(bank), BLOCK // (2 * bank.shape[1])):
            head, self.points[block], norms = self._coordinates(bank[block])
            self.factors[block, :-1] = -2 * head
            self.factors[block, -1] = norms
            reach = max(reach, float(norms.max()))
        self.reach = math.sqrt(reach)

    def _coordinates(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(p, s) of entries along HEAD and along all axes, and their squared norms; float64."""
        z = x.double().sub_(self.centre).mul_(self.scale)
        norms = torch.linalg.vector_norm(z, dim=1).square_()
        return *_with_rest(z @ self.axes, norms), norms

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `_coordinates`, of queries: a product in float32, and how far that moves each point.

        Rounding moves p by at most g |x|: each of its coordinates errs by a product's error, at
        most that of |x| |v|. It changes s^2 by at most (2 + g) g |x|^2, so that s is off by at
        most the root of this, or by this divided by s. The smaller s, that of all axes, will do.
        """
        z = (x - self.centre).mul_(self.scale)
        lengths = torch.linalg.vector_norm(z, dim=1).double()
        norms = lengths.square()
        near, far = _with_rest((z @ self.axes.float()).double(), norms)
        d, axes = self.axes.shape
        g = 1.1 * (_product_error(d + 2) * math.sqrt(axes) + (d + 8) * U)
        change = norms * (2 + g) * g
        moved = g * lengths + torch.fmin(change.sqrt(), change / far[:, -1]) + NEAR
        return near, far, norms, moved

    def _slack(self, norms: Tensor) -> Tensor:
        """Bound what else rounding may add to a lower bound of each query, relative to d^2.

        With r = |x| + the largest |m|, at most r wide: the product of K columns is off by
        (K + 3) U r^2; rounding (p, s) to float32 and the square root that makes s of an entry move
        the points by U r and sqrt(2 D 2^-52) r; the limit is itself rounded to float32.
        """
        columns, root = self.factors.shape[1], math.sqrt(2 * self.axes.shape[0] * 2.0**-52)
        error = _product_error(columns + 2) + 8 * U + 6 * root
        return error * (norms.sqrt() + self.reach) ** 2 + TINY

    def nearest(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """d^2 (n, k), float64, and indices (n, k) of a block of queries."""
        head, points, norms, moved = self._project(x)
        factors = torch.cat([head, norms.new_ones(len(x), 1)], dim=1).float()
        margins = torch.stack([norms, moved, self._slack(norms)], dim=1).numpy()
        found = np.full((len(x), k), np.inf), np.full((len(x), k), len(self.bank))
        of_query = (x.numpy(), points.float().numpy(), margins, *found)
        memory = factors.new_empty(min(self.rows, len(x)) * min(self.entries, len(self.bank)))
        kept = np.empty(self.entries + 1, np.int64)
        for block in _blocks(len(self.bank), self.entries):
            entries = self.factors[block].T
            for rows in _blocks(len(x), self.rows):
                low = memory[: (rows.stop - rows.start) * entries.shape[1]]
                low = low.view(-1, entries.shape[1])
                low = torch.mm(factors[rows], entries, out=low).numpy()
                _compiled()(
                    *(low, low.argmin(axis=1), block.start, self.bank, self.points.numpy()),
                    *(self.scale, *(array[rows] for array in of_query), np.empty(LANES), kept),
                )
        return torch.from_numpy(found[0]), torch.from_numpy(found[1])


@cache
def _compiled():
    """Compile `_visit` on first use: importing numba takes a second that few commands need."""
    from numba import njit
    from numba.extending import register_jitable

    # counting references to views of arrays would take longer than the arithmetic
    lean = {"_nrt": False, "nogil": True}
    for function in (_reach, _survivors, _square, _insert):
        register_jitable(**lean)(function)
    # any order of summation will do; infinities are left alone
    register_jitable(fastmath={"reassoc", "contract", "nsz"}, **lean)(_rough_square)
    return njit(cache=True, **lean)(_visit)


def _visit(
    low, first, start, bank, entries, scale, x, points, margins, squares, indices, lanes, kept
):
    """Update the k nearest of each query by the entries start, start + 1, ... of the bank.

    A pair is out where ``low > reach - |x|^2``, or where the squared distance of its ``points`` and
    ``entries`` is above `_reach`. ``first`` is the entry with the smallest bound: it brings the
    reach down before the others. ``margins`` are the norms |x|^2, moved and slack of each query.
    """
    last = squares.shape[1] - 1
    short, long = 1 - (points.shape[1] + 8) * U, 1 - (x.shape[1] + 8) * U
    for i in range(len(x)):
        reach = _reach(squares[i], margins[i], scale)
        limit = np.float32(reach - margins[i, 0])
        if low[i, first[i]] > limit:
            continue
        square = _square(x[i], bank[start + first[i]], lanes)
        _insert(square, start + first[i], squares[i], indices[i])
        reach = _reach(squares[i], margins[i], scale)
        limit = np.float32(reach - margins[i, 0])
        for n in range(_survivors(low[i], limit, kept)):
            j = start + kept[n]
            if kept[n] == first[i] or low[i, kept[n]] > limit:
                continue
            rough = _rough_square(points[i], entries[j])
            if rough * short > reach and rough < np.inf:
                continue
            rough = _rough_square(x[i], bank[j])
            if rough * long > squares[i, last] + TINY and rough < np.inf:
                continue
            _insert(_square(x[i], bank[j], lanes), j, squares[i], indices[i])
            reach = _reach(squares[i], margins[i], scale)
            limit = np.float32(reach - margins[i, 0])


def _reach(squares, margins, scale):
    """How large the bound of an entry can be that is as near as the k-th nearest so far."""
    distance = math.sqrt(squares[-1]) * scale + margins[1]
    return distance * distance + margins[2]


def _insert(square, entry, squares, indices):
    """Put an entry into the sorted k nearest of a query, if it belongs there."""
    k = len(squares)
    place = k
    while place > 0 and (
        square < squares[place - 1] or (square == squares[place - 1] and entry < indices[place - 1])
    ):
        place -= 1
        if place < k - 1:
            squares[place + 1] = squares[place]
            indices[place + 1] = indices[place]
    if place < k:
        squares[place] = square
        indices[place] = entry


def _survivors(low, limit, kept):
    """List the columns whose bound is not above the limit, without a branch to mispredict."""
    count = 0
    for begin in range(0, len(low), CHUNK):
        bounds = low[begin : begin + CHUNK]
        near = 0
        for n in range(len(bounds)):  # many at once
            near += not (bounds[n] > limit)
        if near == 0:
            continue
        for n in range(len(bounds)):
            kept[count] = begin + n
            count += not (bounds[n] > limit)
    return count


def _rough_square(x, m):
    """d^2 in float32: right to (D + 3) U relative, as no difference cancels."""
    total = np.float32(0)
    for j in range(len(x)):
        total += (x[j] - m[j]) * (x[j] - m[j])
    return total


def _square(x, m, lanes):
    """d^2 in float64, summed as in `squared_distances`."""
    lanes[:] = 0.0
    for begin in range(0, len(x), LANES):
        a, b = x[begin : begin + LANES], m[begin : begin + LANES]
        for lane in range(len(a)):
            difference = np.float64(a[lane]) - np.float64(b[lane])
            lanes[lane] += difference * difference
    width = LANES
    while width > 1:
        width //= 2
        for lane in range(width):
            lanes[lane] += lanes[lane + width]
    return lanes[0]


def _with_rest(p: Tensor, norms: Tensor) -> Iterator[Tensor]:
    """Append what they leave of the norm to the coordinates along HEAD and along all axes."""
    head = norms - p[:, :HEAD].square().sum(dim=1)
    rest = head - p[:, HEAD:].square().sum(dim=1)
    for part, left in ((p[:, :HEAD], head), (p, rest)):
        yield torch.cat([part, left.clamp(min=0).sqrt_()[:, None]], dim=1)


class _Product:
    """Search in torch alone, for a GPU: all pairs in float32, then d^2 of those that are close."""

    queries = 1024

    def __init__(self, bank: Tensor) -> None:
        self.bank = bank
        self.centre, self.scale = centre_and_scale(bank)

    def nearest(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """d^2 (n, k), float64, and indices (n, k) of a block of queries."""
        queries = (x - self.centre) * self.scale
        bound = x.new_full((len(x),), torch.inf)
        best = (bound[:0].long(), bound[:0].double(), bound[:0].long())
        for block in _blocks(len(self.bank), BLOCK // (2 * max(x.shape))):
            entries = (self.bank[block] - self.centre) * self.scale
            low, high = _between(queries, entries)
            if len(entries) >= k:
                bound = torch.minimum(bound, high.kthvalue(k, dim=1).values)
            query, entry = (~(low > bound[:, None])).nonzero(as_tuple=True)
            entry += block.start
            found = (query, squared_distances(x, self.bank, query, entry), entry)
            best = _smallest([torch.cat(both) for both in zip(best, found, strict=True)], k)
        return best[1].view(-1, k), best[2].view(-1, k)


def _between(queries: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of d^2 of all pairs: what one float32 product says, less and plus its error."""
    q, e = queries.square().sum(dim=1), entries.square().sum(dim=1)
    about = torch.addmm(e, queries, entries.T, alpha=-2).add_(q[:, None])
    error = (q.sqrt()[:, None] + e.sqrt()).square_().mul_(_product_error(queries.shape[1] + 8))
    return about - error.add_(TINY), about + error


def _product_error(terms: int) -> float:
    """Largest error of a float32 product of so many columns, relative to sum_j |x_j| |m_j|."""
    return 1.01 * terms * U + 2.1 * _FACTOR_ROUNDOFF[torch.get_float32_matmul_precision()]


def _smallest(pairs: list[Tensor], k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keep of (query, d^2, entry) the k nearest a query, sorted; its entries come ascending."""
    query, squares, entry = pairs
    order = squares.argsort(stable=True)
    order = order[query[order].argsort(stable=True)]
    query, squares, entry = query[order], squares[order], entry[order]
    counts = torch.bincount(query)
    first = (counts.cumsum(0) - counts)[query]
    keep = torch.arange(len(query), device=query.device) - first < k
    return query[keep], squares[keep], entry[keep]


def _blocks(length: int, size: int) -> Iterator[slice]:
    size = max(1, size)
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def matrix(x: Tensor, name: str, columns: int | None = None) -> Tensor:
    """Return x, contiguous, if it is a finite float32 matrix."""
    fits = x.ndim == 2 and x.shape[1] > 0 and columns in (None, x.shape[1])
    if not fits or x.dtype != torch.float32:
        raise InputError(
            f"{name} must be float32 of shape (n, {columns or 'D'}), found {x.dtype} of shape "
            f"{tuple(x.shape)}; pass the patch embeddings that the bank is made of"
        )
    x = x.detach().contiguous()
    for block in _blocks(len(x), BLOCK // x.shape[1]):
        if not torch.isfinite(torch.stack(x[block].aminmax())).all():
            raise NotFinite
    return x


def check_k(k: int, entries: int) -> None:
    if not 1 <= k <= entries:
        raise InputError(
            f"the number of neighbours must lie between 1 and the {entries} entries of the bank, "
            f"found {k}; ask for fewer neighbours or keep a larger fraction"
        )


def _sample(bank: Tensor) -> Tensor:
    """At most SAMPLE entries, evenly spaced."""
    size = min(len(bank), SAMPLE)
    return bank[torch.arange(size, device=bank.device) * len(bank) // size]


def centre_and_scale(bank: Tensor) -> tuple[Tensor, float]:
    """Point and power of two that bring the bank near 0 and 1, where float32 is at its best."""
    centre = _sample(bank).double().mean(dim=0).float()
    largest = max(
        float((bank[block] - centre).abs_().max())
        for block in _blocks(len(bank), BLOCK // bank.shape[1])
    )
    return centre, 2.0 ** -math.frexp(largest)[1]
