r"""Nearest neighbours in a bank of patch embeddings: exact in bounded memory, or approximate.

What *exact* means is stated in float64: the squared distance of x and m is

.. math:: d^2(x, m) = \sum_j (x_j - m_j)^2,

each difference, square and sum in float64, summed in one fixed order. `NearestNeighbors` returns
the k entries with the smallest d^2, the lowest index first among bit-equal ones.

Most pairs are ruled out before that by |x|^2 + |m|^2 - 2 x.m in float32, one matrix product for
many pairs. That form cancels, so it never decides: a pair is dropped only where it is behind by
more than a bound of its rounding error.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adlib.errors import InputError
from adlib.levels import NotFinite

BLOCK = 1 << 21  # pairs of a block of the filter; 8 MB of float32
LANES = 16  # d^2 is the sum of 16 running sums: one fixed order on every device
# unit roundoff of torch's float32 products: float32, TF32 (or two bfloat16), bfloat16
_ROUNDOFF = {"highest": 2.0**-24, "high": 2.0**-11, "medium": 2.0**-8}


class NearestNeighbors:
    """Exact search of the k nearest entries of a bank, in bounded memory.

    Parameters
    ----------
    bank : Tensor of shape (M, D), float32, any device
        Kept as it is, not copied.

    Raises
    ------
    InputError
        The bank is empty or not a float32 matrix.
    NotFinite
        It holds NaN or infinity.
    """

    def __init__(self, bank: Tensor) -> None:
        self.bank = _matrix(bank, "a bank")
        if len(bank) == 0:
            raise InputError("a bank needs at least one entry, found none; fit on more images")
        self._centre = bank.mean(dim=0, dtype=torch.float64).float()
        self._scale = _power_of_two(max(float(block.abs().max()) for block in self._centred_bank()))

    def _centred_bank(self):
        rows = max(1, BLOCK // self.bank.shape[1])
        for start in range(0, len(self.bank), rows):
            yield self.bank[start : start + rows] - self._centre

    def query(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """Find the k nearest entries of each query.

        Parameters
        ----------
        x : Tensor of shape (n, D), float32
            Brought to the device of the bank.
        k : int
            In [1, M].

        Returns
        -------
        distances : Tensor of shape (n, k), float32
            Euclidean, ascending: the float64 distance, rounded.
        indices : Tensor of shape (n, k), int64
            Rows of the bank; the lower one first where distances are equal in float64.

        Raises
        ------
        InputError
            k is not in [1, M], or x is not a float32 matrix with D columns.
        NotFinite
            x holds NaN or infinity.
        """
        x = _matrix(x, "queries", self.bank.shape[1]).to(self.bank.device)
        _check_k(k, len(self.bank))
        distances = x.new_empty((len(x), k))
        indices = torch.empty((len(x), k), dtype=torch.int64, device=x.device)
        rows = max(1, min(1024, BLOCK // x.shape[1]))
        for start in range(0, len(x), rows):
            block = slice(start, start + rows)
            squares, indices[block] = self._nearest(x[block], k)
            distances[block] = squares.sqrt().float()
        return distances, indices

    def _nearest(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Squared distances (n, k), float64, and indices of one block of queries."""
        queries = (x - self._centre) * self._scale
        bound = x.new_full((len(x),), torch.inf)
        best = (bound[:0].long(), bound[:0].double(), bound[:0].long())
        rows = max(1, BLOCK // max(x.shape))
        for start in range(0, len(self.bank), rows):
            entries = (self.bank[start : start + rows] - self._centre) * self._scale
            low, high = _between(queries, entries)
            if len(entries) >= k:
                bound = torch.minimum(bound, high.kthvalue(k, dim=1).values)
            query, entry = (~(low > bound[:, None])).nonzero(as_tuple=True)
            found = (query, squared_distances(x, self.bank, query, entry + start), entry + start)
            best = _smallest([torch.cat(both) for both in zip(best, found, strict=True)], k)
        return best[1].view(-1, k), best[2].view(-1, k)


def squared_distances(x: Tensor, bank: Tensor, query: Tensor, entry: Tensor) -> Tensor:
    """d^2 of the pairs (x[query], bank[entry]), float64, summed in the fixed order.

    Lane l sums the columns l, l + LANES, ... in turn; then the upper half of the lanes is added to
    the lower until one is left.
    """
    found = torch.empty(len(query), dtype=torch.float64, device=x.device)
    rows = max(1, BLOCK // x.shape[1])
    for start in range(0, len(query), rows):
        pairs = slice(start, start + rows)
        squares = (x[query[pairs]].double() - bank[entry[pairs]].double()).square_()
        lanes = squares.new_zeros((len(squares), LANES))
        for columns in squares.split(LANES, dim=1):
            lanes[:, : columns.shape[1]] += columns
        while lanes.shape[1] > 1:
            lower, upper = lanes.chunk(2, dim=1)
            lanes = lower + upper
        found[pairs] = lanes[:, 0]
    return found


def _between(queries: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of all d^2 from one product: what float32 says, less and plus its largest error.

    Sums of D products are off by at most D u times the sum of their magnitudes, in any order.
    """
    u = _ROUNDOFF[torch.get_float32_matmul_precision()]
    q, e = queries.square().sum(dim=1), entries.square().sum(dim=1)
    about = torch.addmm(e, queries, entries.T, alpha=-2).add_(q[:, None])
    error = 1.01 * u * (queries.shape[1] + 8) * (q.sqrt()[:, None] + e.sqrt()).square_() + 1e-30
    return about - error, about + error


def _smallest(pairs: list[Tensor], k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keep of (query, d^2, entry) the k nearest a query, sorted; entries come ascending."""
    query, squares, entry = pairs
    order = squares.argsort(stable=True)
    order = order[query[order].argsort(stable=True)]
    query, squares, entry = query[order], squares[order], entry[order]
    counts = torch.bincount(query)
    first = (counts.cumsum(0) - counts)[query]
    keep = torch.arange(len(query), device=query.device) - first < k
    return query[keep], squares[keep], entry[keep]


def _matrix(x: Tensor, name: str, columns: int | None = None) -> Tensor:
    """Return x if it is a finite float32 matrix."""
    if x.ndim != 2 or x.dtype != torch.float32 or columns not in (None, x.shape[1]):
        shape = f"(n, {columns or 'D'})"
        raise InputError(
            f"{name} must be float32 of shape {shape}, found {x.dtype} of shape {tuple(x.shape)}; "
            "pass the patch embeddings the bank was made for"
        )
    if not torch.isfinite(x).all():
        raise NotFinite
    return x


def _check_k(k: int, entries: int) -> None:
    if not 1 <= k <= entries:
        raise InputError(
            f"the number of neighbours must lie between 1 and the {entries} entries of the bank, "
            f"found {k}; ask for fewer neighbours or keep a larger fraction"
        )


def _power_of_two(largest: float) -> float:
    """Factor that brings the largest magnitude near 1 without rounding anything."""
    return 2.0 ** -torch.tensor(largest, dtype=torch.float64).frexp().exponent.item()
