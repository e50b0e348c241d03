r"""PatchCore: nearest neighbours in a memory bank of nominal patch features (Roth et al. 2022).

======================  ==================  ================================================
symbol                  variable            shape
======================  ==================  ================================================
P_{s,p}(phi_j(x))       ``patches``         (B, h, w, D), Eqs. 1-3: ``adlib.patches``
M                       ``bank`` in fit     (N, D), Eq. 4
M_C                     ``bank``            (l, D), Algorithm 1: ``adlib.subsampling``
|m_test - m*|           ``distance``        (B, h, w), Eq. 6: ``adlib.nearest``
s                       ``Scores.image``    (images,), Eq. 7
======================  ==================  ================================================

The preset ``paper`` (the defaults) follows the text, ``official`` the released code, which differs
from it in the embedding, the distance, the subsampler and the image score. Each choice is a
parameter of its own.

Unlike PaDiM's, the model knows no positions: images to score may have another size than those it
was fitted on.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import numpy as np
import psutil
import torch
from pydantic import Field
from torch import Tensor

from adlib import parameters, patches, subsampling
from adlib.anomaly_map import upsample_and_smooth
from adlib.errors import InputError
from adlib.feature_detector import FeatureDetector
from adlib.features import Source
from adlib.ivfpq import IVFPQ
from adlib.levels import NotFinite
from adlib.nearest import NearestNeighbors
from adlib.scores import Scores

BATCH = 16  # images whose patches are looked up at a time
Odd = Literal[1, 3, 5, 7, 9, 11, 13, 15]


class PatchCore(FeatureDetector):
    """Memory bank of locally aware patch features, thinned out by a subsampler.

    Parameters
    ----------
    backbone : Backbone, optional
        Needed to fit or score images; features that were extracted before need none.
    layers : str
        Levels of the network that make up a patch feature, as ``2+3``; the first sets the grid.
    patch_size, stride : int
        p and s of Eqs. 1 and 3.
    border : {'zeros', 'inside'}
        What the average over a neighbourhood counts beyond the image's border: zeros, as every
        released implementation does, or nothing (``concat`` only; the text leaves it open).
    embedding : {'concat', 'official'}
        The paper's average a channel, or the released code's pooling (``adlib.patches``).
    embedding_dim : int
        Length of a patch feature under ``official``.
    subsampler : {'coreset', 'approximate', 'random', 'proxies', 'none'}
        See ``adlib.subsampling``.
    fraction : float
        Share of the patches that is kept, in (0, 1]; 1 keeps all of them.
    coreset_dim : int or None
        d*, dimensions of the projected features that the greedy subsamplers see; None: all D.
    start : {'random', 'first'}
        The first centre of ``coreset``: a patch drawn with the seed, or patch 0.
    proxy_steps, proxy_sign
        Steps of the optimiser and sign of the exponent of Eq. 8.
    distance : {'l2', 'squared'}
        Euclidean (Eq. 6), or squared as in the released code.
    neighbors : int
        A patch's score is its mean distance to that many nearest members of the bank.
    reweight : int
        b of Eq. 7, the neighbourhood of m* (itself included); 1 leaves the weight out. The paper
        does not state it; 9 is what widely used implementations of the equation take.
    search : {'exact', 'ivfpq'}
        Exact nearest neighbours, or faiss's approximate index (the paper's Table 5).
    sigma : float
        Gaussian smoothing of the anomaly map, pixels.
    seed : int
        Seed of the projection, the start, random subsets and proxies.

    Attributes
    ----------
    bank : Tensor of shape (l, D), float32
        The members, unprojected, in the order of selection.
    indices : ndarray of shape (l,), int64, or None
        Which patches they are, counted image by image, row by row; None for proxies and after
        loading.
    progress : bool or callable
        Show how the selection of the coreset advances (``coreset.k_center_greedy``).

    Raises
    ------
    InputError
        A parameter of the wrong name, type or range.
    """

    METHOD = "patchcore"
    TENSORS = {"bank"}
    FIELDS = {"n_patches"}
    LABEL = ("layers", "subsampler", "fraction")  # what a record's file name shows
    PRESETS: dict[str, dict[str, Any]] = {
        "paper": {},
        "official": {
            "embedding": "official",
            "subsampler": "approximate",
            "distance": "squared",
            "reweight": 1,
        },
    }

    def __init__(
        self,
        *,
        backbone: Any = None,
        layers: Annotated[
            str,
            Field(
                pattern=r"^(1(\+2)?(\+3)?(\+4)?|2(\+3)?(\+4)?|3(\+4)?|4)$",
                description="levels of the network, shallow to deep, as 2+3",
            ),
        ] = "2+3",
        patch_size: Annotated[Odd, Field(description="p, side of the neighbourhood")] = 3,
        stride: Annotated[int, Field(ge=1, description="s, keep every s-th row and column")] = 1,
        border: Annotated[
            Literal["zeros", "inside"], Field(description="what a neighbourhood averages outside")
        ] = "zeros",
        embedding: Annotated[
            Literal["concat", "official"], Field(description="how a patch becomes a vector")
        ] = "concat",
        embedding_dim: Annotated[
            int, Field(ge=1, description="length of a patch feature under official")
        ] = 1024,
        subsampler: Annotated[
            subsampling.Name, Field(description="which patches are kept")
        ] = "coreset",
        fraction: Annotated[
            float, Field(gt=0, le=1, description="share of the patches that is kept")
        ] = 0.1,
        coreset_dim: Annotated[
            int | None, Field(ge=1, description="dimensions the selection sees; null: all")
        ] = 128,
        start: Annotated[
            Literal["random", "first"], Field(description="first centre of the coreset")
        ] = "random",
        proxy_steps: Annotated[int, Field(ge=0, description="steps of Eq. 8's optimiser")] = 300,
        proxy_sign: Annotated[
            Literal["minus", "plus"], Field(description="sign in Eq. 8; the paper prints plus")
        ] = "minus",
        distance: Annotated[
            Literal["l2", "squared"], Field(description="Euclidean or squared Euclidean")
        ] = "l2",
        neighbors: Annotated[
            int, Field(ge=1, description="nearest members a patch is compared with")
        ] = 1,
        reweight: Annotated[
            int, Field(ge=1, description="b of Eq. 7; 1 leaves the weight out")
        ] = 9,
        search: Annotated[
            Literal["exact", "ivfpq"], Field(description="how neighbours are found")
        ] = "exact",
        sigma: Annotated[
            float,
            Field(ge=0, allow_inf_nan=False, description="smoothing of the anomaly map, pixels"),
        ] = 4.0,
        seed: Annotated[int, Field(ge=0, description="seed of everything that is drawn")] = 0,
    ) -> None:
        given = locals()
        names = parameters.of(PatchCore)
        checked = parameters.check(PatchCore, {name: given[name] for name in names})
        self.backbone = backbone
        self.progress: subsampling.Progress = False
        for name in names:
            setattr(self, name, checked[name])

    @classmethod
    def preset(cls, name: str, *, backbone: Any = None, **changes: Any) -> PatchCore:
        """Return a PatchCore as the ``paper`` or the ``official`` code sets it, with changes."""
        return cls(backbone=backbone, **parameters.preset(cls, name, changes))

    @staticmethod
    def depth(values: dict[str, Any]) -> int:
        """Return the deepest level of the network that is needed, counted from 1."""
        return int(values["layers"][-1])

    @staticmethod
    def effective(values: dict[str, Any]) -> dict[str, Any]:
        """Set to None what has no effect; a fraction of 1 is the same as ``none``."""
        values = dict(values)
        if values["subsampler"] in ("coreset", "random") and values["fraction"] == 1:
            values["subsampler"] = "none"
        kept = {
            "coreset": {"fraction", "coreset_dim", "start", "seed"},
            "approximate": {"fraction", "coreset_dim", "seed"},
            "random": {"fraction", "seed"},
            "proxies": {"fraction", "proxy_steps", "proxy_sign", "seed"},
            "none": {"seed"} if values["search"] == "ivfpq" else set(),
        }[values["subsampler"]]
        ignored = {"fraction", "coreset_dim", "start", "proxy_steps", "proxy_sign", "seed"} - kept
        if (
            values["subsampler"] == "coreset"
            and values["start"] == "first"
            and values["coreset_dim"] is None
            and values["search"] == "exact"
        ):
            ignored.add("seed")
        ignored.add("embedding_dim" if values["embedding"] == "concat" else "border")
        return {name: None if name in ignored else value for name, value in values.items()}

    def drawn(self) -> dict[str, Any]:
        """Return what was selected and, after scoring, how much of it was ever used."""
        selected = np.arange(0) if self.indices is None else self.indices
        return {
            "indices_sha256": hashlib.sha256(selected.astype("<i8").tobytes()).hexdigest(),
            "patches": self.n_patches,
            "bank": len(self.bank),
            "channels": self.bank.shape[1],
            "bank_used": None if self.used is None else float(self.used.float().mean()),
            "model_mb": round(self.bank.nbytes / 1e6, 1),
        }

    def fit_features(self, features: Source) -> PatchCore:
        """Fill the memory bank from the feature levels of normal images and subsample it.

        Parameters
        ----------
        features : Source
            All levels of the network up to the deepest in ``layers``, of at least one image.

        Returns
        -------
        PatchCore
            self.

        Raises
        ------
        InputError
            No image, levels that are missing, features that are not finite, a bank that does not
            fit into memory, or fewer members than ``reweight`` or ``neighbors`` ask for.
        """
        vars(self).pop("bank", None)  # a fit that fails leaves no half-fitted model
        if len(features) == 0:
            raise InputError("PatchCore needs at least one normal image, found none; add images")
        one = self.embed(next(iter(features.batches(1))))
        per_image, channels = one.shape[1] * one.shape[2], one.shape[3]
        self.n_patches = len(features) * per_image
        target = self._target(self.n_patches)
        self._check_memory(len(features), per_image, channels)
        self._check_bank(target)
        bank = one.new_empty((self.n_patches, channels))
        start = 0
        for batch in features.batches(BATCH):
            flat = self.embed(batch).flatten(0, 2)
            bank[start : start + len(flat)] = flat
            start += len(flat)
        if not torch.isfinite(bank.sum()):  # a NaN or an infinity survives the sum
            raise NotFinite
        kept, self.indices = self._subsample(bank, target)
        del bank
        self._open(kept)
        return self

    def score_features(self, features: Source) -> Scores:
        """Score the feature levels of images.

        Returns
        -------
        Scores
            With maps at the size of the images.

        Raises
        ------
        InputError
            The model is not fitted, or the features are of another kind or not finite.
        """
        self._check_fitted()
        self.used = torch.zeros(len(self.bank), dtype=torch.bool)
        image_scores, maps = [], []
        for batch in features.batches(BATCH):
            patch_features = self.embed(batch)
            if patch_features.shape[-1] != self.bank.shape[1]:
                raise InputError(
                    f"patch features must have {self.bank.shape[1]} channels as in training, found "
                    f"{patch_features.shape[-1]}; use the backbone and layers of the training"
                )
            distance, member = self.distances(patch_features)
            image_scores.append(self._image_scores(patch_features, distance, member).cpu().numpy())
            smooth = upsample_and_smooth(distance, features.image_size, self.sigma)
            maps.append(smooth.cpu().numpy())
            self.used[member.flatten().cpu()] = True
        return Scores(np.concatenate(image_scores), np.concatenate(maps))

    def embed(self, levels: list[Tensor]) -> Tensor:
        """Return the patch features (Eqs. 1-3) of a batch, shape (B, h, w, D).

        Raises
        ------
        InputError
            A level in ``layers`` is not among those given.
        """
        wanted = [int(layer) for layer in self.layers.split("+")]
        if wanted[-1] > len(levels):
            raise InputError(
                f"layers={self.layers} needs {wanted[-1]} levels of the network, found "
                f"{len(levels)}; open the backbone with more levels or choose shallower layers"
            )
        chosen = [levels[layer - 1] for layer in wanted]
        if self.embedding == "official":
            return patches.official(chosen, self.patch_size, self.stride, self.embedding_dim)
        return patches.concat(chosen, self.patch_size, self.stride, self.border)

    def distances(self, patch_features: Tensor) -> tuple[Tensor, Tensor]:
        """Look up patches (B, h, w, D) in the bank.

        Returns
        -------
        distance : Tensor of shape (B, h, w)
            Patch scores: Eq. 6's distance, or the mean over several neighbours.
        member : Tensor of shape (B, h, w), int64
            The nearest member of the bank.
        """
        shape = patch_features.shape[:3]
        found, member = self.searcher.query(patch_features.flatten(0, 2), self.neighbors)
        if self.distance == "squared":
            found = found.square()
        return found.mean(dim=1).view(shape), member[:, 0].view(shape)

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"bank": self.bank}, {"n_patches": self.n_patches}

    def _restore(self, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        self.n_patches, self.indices = description["n_patches"], None
        self._open(tensors["bank"])

    def _image_scores(self, patch_features: Tensor, distance: Tensor, member: Tensor) -> Tensor:
        """Return s* of Eq. 6, times the weight of Eq. 7 unless b = 1."""
        flat = distance.flatten(1)
        position = flat.argmax(dim=1, keepdim=True)
        score = flat.gather(1, position)[:, 0]
        if self.reweight == 1:
            return score
        closest = member.flatten(1).gather(1, position)[:, 0]  # m*
        test = patch_features.flatten(1, 2)[torch.arange(len(score)), position[:, 0]]
        neighbourhood = self._neighbourhood(closest)
        gaps = (test[:, None] - self.bank[neighbourhood]).norm(dim=2)
        if self.distance == "squared":
            gaps = gaps.square()
        # exp(d*) / sum exp(d) as a softmax: exp of a squared distance overflows
        return score * (1 - torch.softmax(gaps, dim=1)[:, 0])

    def _neighbourhood(self, member: Tensor) -> Tensor:
        """Return N_b(m*), shape (B, b), the members m* themselves first."""
        _, found = self.searcher.query(self.bank[member], self.reweight)
        # among duplicates of m* the search may list others first, or not list m* at all
        others = torch.where(found == member[:, None], found.new_tensor(len(self.bank)), found)
        absent = (found != member[:, None]).all(dim=1)
        others[absent, -1] = len(self.bank)
        order = torch.argsort(others == len(self.bank), dim=1, stable=True)
        return torch.cat([member[:, None], others.gather(1, order)[:, :-1]], dim=1)

    def _subsample(self, bank: Tensor, n: int) -> tuple[Tensor, np.ndarray | None]:
        if self.subsampler == "none" or (n == len(bank) and self.subsampler != "proxies"):
            return bank, np.arange(len(bank))
        if self.subsampler == "proxies":
            learned = subsampling.proxies(bank, n, self.proxy_steps, self.proxy_sign, self.seed)
            return learned, None
        if self.subsampler == "random":
            indices = subsampling.random(len(bank), n, self.seed)
        else:
            indices = subsampling.greedy(
                self.subsampler, bank, n, self.coreset_dim, self.start, self.seed, self.progress
            )
        return bank[torch.from_numpy(indices).to(bank.device)], indices

    def _open(self, bank: Tensor) -> None:
        self.bank = bank
        self.used = None
        exact = self.search == "exact"
        self.searcher = NearestNeighbors(bank) if exact else IVFPQ(bank, seed=self.seed)

    def _target(self, n_patches: int) -> int:
        return (
            n_patches if self.subsampler == "none" else subsampling.size(n_patches, self.fraction)
        )

    def _check_bank(self, n: int) -> None:
        for name in ("reweight", "neighbors"):
            if getattr(self, name) > n:
                raise InputError(
                    f"{name} must be at most the {n} members of the bank, found "
                    f"{getattr(self, name)}; lower it, raise fraction or add images"
                )

    def _check_memory(self, n_images: int, per_image: int, channels: int) -> None:
        """Estimate before anything is allocated: all patches, and what the selection adds."""
        selects = self.subsampler in ("coreset", "approximate")
        seen = channels if self.coreset_dim is None else min(self.coreset_dim, channels)
        needed = 4 * n_images * per_image * (channels + 2 * seen * selects)
        available = psutil.virtual_memory().available
        if needed > available:
            raise InputError(
                f"the patches of {n_images} images need {needed / 1e9:.1f} GB, "
                f"{available / 1e9:.1f} GB are free; use fewer images, a larger stride, deeper "
                "layers or smaller images"
            )
