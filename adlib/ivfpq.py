"""Approximate nearest neighbours for the IVFPQ row of PatchCore's Table 5, by faiss."""

from __future__ import annotations

import math
import warnings
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from adlib.errors import InputError
from adlib.nearest import centre_and_scale, check_k, matrix


class IVFPQ:
    """Approximate search: inverted lists and product quantisation, by faiss.

    The bank is cut into `lists` cells; an entry is kept as its cell and `subquantizers` codes of at
    most 8 bits for the difference from the cell's centre. A query looks into the `probes` nearest
    cells only. So both its neighbours and its distances are approximate: distances are those to the
    quantised entries, and an entry of the bank need not be at distance 0 from itself.

    PatchCore's Table 5 names the index and none of its parameters.

    Parameters
    ----------
    bank : Tensor of shape (M, D), float32, any device
        faiss runs on the CPU; neighbours come back on the bank's device.
    lists : int, optional
        Number of cells, in [1, M]; None takes the square root of M, rounded.
    subquantizers : int, optional
        Codes an entry, a divisor of D; None takes the largest divisor up to D / 8.
    probes : int
        Cells a query looks into, at least 1; all of them where it exceeds their number. Queries
        whose cells hold fewer than k entries look into all of them.
    seed : int
        Seed of the two k-means. A small bank has fewer codes, 2^bits <= M.

    Raises
    ------
    InputError
        faiss is not installed, a parameter is out of range, or the bank is empty or no float32
        matrix.
    NotFinite
        The bank holds NaN or infinity.
    """

    def __init__(
        self,
        bank: Tensor,
        *,
        lists: int | None = None,
        subquantizers: int | None = None,
        probes: int = 8,
        seed: int = 0,
    ) -> None:
        faiss = _faiss()
        bank = matrix(bank, "the bank")
        if len(bank) == 0:
            raise InputError("the bank needs at least one entry, found none; add training images")
        entries, channels = bank.shape
        self.lists = round(math.sqrt(entries)) if lists is None else lists
        self.subquantizers = _divisor(channels) if subquantizers is None else subquantizers
        self.bits = min(8, max(1, entries.bit_length() - 1))
        self.probes = probes
        self._check(entries, channels)
        self._device = bank.device
        self._centre, _ = centre_and_scale(bank)
        self.index = self._train(faiss, (bank - self._centre).cpu().numpy(), seed)

    def _check(self, entries: int, channels: int) -> None:
        for name, value, most in (
            ("lists", self.lists, entries),
            ("subquantizers", self.subquantizers, channels),
            ("probes", self.probes, None),
        ):
            if value < 1 or (most is not None and value > most):
                raise InputError(
                    f"{name} must be at least 1{f' and at most {most}' if most else ''}, "
                    f"found {value}"
                )
        if channels % self.subquantizers:
            raise InputError(
                f"subquantizers must divide the {channels} channels, found {self.subquantizers}"
            )

    def _train(self, faiss: ModuleType, bank: np.ndarray, seed: int):
        entries, channels = bank.shape
        self._cells = faiss.IndexFlatL2(channels)  # the index below does not keep it alive
        index = faiss.IndexIVFPQ(self._cells, channels, self.lists, self.subquantizers, self.bits)
        for clustering in (index.cp, index.pq.cp):
            clustering.seed = seed % 2**31  # a C int
            clustering.min_points_per_centroid = 1  # a small bank is no reason to print a warning
        if entries == 1:  # one bit still means two codes
            bank = np.repeat(bank, 2, axis=0)
        index.train(bank)
        index.add(bank[:entries])
        return index

    def query(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """Find k entries near each query; as `NearestNeighbors.query`, but approximate.

        Returns
        -------
        distances : Tensor of shape (n, k), float32
            Euclidean, ascending: distances to the quantised entries.
        indices : Tensor of shape (n, k), int64
        """
        x = matrix(x, "queries", self.index.d).to(self._device)
        check_k(k, self.index.ntotal)
        queries = (x - self._centre).cpu().numpy()
        squares, indices = self._search(queries, k, self.probes)
        short = indices[:, -1] < 0  # the cells held fewer than k
        if short.any():
            squares[short], indices[short] = self._search(queries[short], k, self.lists)
        distances = torch.from_numpy(squares).clamp_(min=0).sqrt_()
        return distances.to(self._device), torch.from_numpy(indices).to(self._device)

    def _search(self, queries: np.ndarray, k: int, probes: int) -> tuple[np.ndarray, np.ndarray]:
        self.index.nprobe = min(probes, self.lists)
        return self.index.search(queries, k)


def _divisor(channels: int) -> int:
    """Return the largest divisor of the channels up to an eighth of them, at least 1."""
    return max(m for m in range(1, max(2, channels // 8 + 1)) if channels % m == 0)


def _faiss() -> ModuleType:
    try:
        with warnings.catch_warnings():
            # SWIG's types lack a module name, a deprecation of Python 3.12
            warnings.filterwarnings("ignore", "builtin type [sS]wig", DeprecationWarning)
            import faiss
    except ImportError:
        raise InputError(
            "search 'ivfpq' needs faiss, which is not installed: "
            "pip install -c constraints.txt faiss-cpu"
        ) from None
    return faiss
