"""Pairs for the classifier: which images meet, what they are called, that none meets itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adlib.diffusion import pairs
from adlib.diffusion.pairs import check_negatives, make
from adlib.errors import InputError

N = 7
NOISE = -1000.0


class Maker:
    """Stands in for the diffusion: what it gives says what it was made from."""

    def __init__(self) -> None:
        self.images = torch.arange(1.0, N + 1).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()
        self.asked: list[tuple[int, int]] = []

    def reconstruct(self, images: Tensor, start: int, draw: int) -> Tensor:
        self.asked.append((start, draw))
        assert torch.equal(images, self.images)
        return images + 100 * start + 10 * draw

    def sample(self, n: int, draw: int) -> Tensor:
        return NOISE + 1000 * draw - torch.arange(float(n)).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)

    def make(self, **options) -> pairs.Pairs:
        given = {"positives": (2,), "negatives": "noise", "later": 6, "draws": 1}
        return make(self.images, self.reconstruct, self.sample, **{**given, "seed": 0, **options})


def values(images: Tensor) -> list[float]:
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].tolist()


def blocks(found: pairs.Pairs) -> list[tuple[set[float], list[float], list[int]]]:
    """Labels, second images and partners of each block of N pairs; the first are the images."""
    for part in found.first.split(N):
        assert values(part) == list(range(1, N + 1))
    parts = zip(found.different.split(N), found.second.split(N),
                np.split(found.partner, len(found.partner) // N), strict=True)  # fmt: skip
    return [(set(a.tolist()), values(b), c.tolist()) for a, b, c in parts]


OWN = list(range(N))


def test_the_papers_pairs_are_an_image_with_its_reconstruction_and_with_noise():
    same, different = blocks(Maker().make())
    assert same == ({0.0}, [200 + i + 1 for i in OWN], OWN)
    assert different == ({1.0}, [NOISE - i for i in OWN], [-1] * N)


def test_an_image_is_never_its_own_other():
    maker = Maker()
    for seed in range(30):
        _, (label, second, partner) = blocks(maker.make(negatives="other", seed=seed))
        assert label == {1.0}
        assert sorted(partner) == OWN  # each is another's other once
        assert all(a != b for a, b in zip(partner, OWN, strict=True))
        assert second == [200 + p + 1 for p in partner]


def test_two_images_are_each_others_other():
    images = torch.tensor([[[[1.0]]], [[[2.0]]]])
    found = make(images, lambda some, start, draw: some, lambda n, draw: images, positives=(2,),
                 negatives="other", later=6, draws=1, seed=0)  # fmt: skip
    assert found.partner.tolist() == [0, 1, 1, 0]


def test_the_seed_decides_who_meets_whom():
    def partners(seed: int) -> list[int]:
        return Maker().make(negatives="other", draws=3, seed=seed).partner.tolist()

    assert partners(0) == partners(0) != partners(1)
    assert len({tuple(partners(0)[i : i + N]) for i in (N, 3 * N, 5 * N)}) == 3


def test_later_is_the_same_image_from_a_later_start():
    _, (label, second, partner) = blocks(Maker().make(negatives="later"))
    assert (label, second, partner) == ({1.0}, [600 + i + 1 for i in OWN], OWN)


def test_kinds_and_positives_take_turns():
    found = blocks(Maker().make(negatives="noise+later", positives=(1, 2, 3), draws=4))
    assert len(found) == 2 * 4
    assert [second[0] for _, second, _ in found[::2]] == [101, 211, 321, 131]
    assert [second[0] for _, second, _ in found[1::2]] == [NOISE, 611, NOISE + 2000, 631]
    assert [label for label, _, _ in found] == [{0.0}, {1.0}] * 4


def test_others_come_from_the_start_of_the_positives_beside_them():
    """Else the classifier could tell the start instead of the class."""
    found = blocks(Maker().make(negatives="other", positives=(1, 3), draws=2))
    for (_, same, _), (_, different, partner) in zip(found[::2], found[1::2], strict=True):
        assert [same[p] for p in partner] == different


@pytest.mark.parametrize(
    ("negatives", "positives", "draws", "blocks_of_each"),
    [("noise", (2,), 1, 1), ("noise", (2,), 3, 3), ("noise+other+later", (2,), 1, 3),
     ("noise", (1, 2, 3, 4), 2, 4)],
)  # fmt: skip
def test_there_are_as_many_of_both(negatives, positives, draws, blocks_of_each):
    found = Maker().make(negatives=negatives, positives=positives, draws=draws)
    assert len(found.first) == len(found.second) == len(found.partner) == 2 * N * blocks_of_each
    assert float(found.different.mean()) == 0.5
    assert (found.different.dtype, found.partner.dtype) == (torch.float32, np.int64)


def test_each_draw_has_noise_of_its_own():
    maker = Maker()
    maker.make(draws=3)
    assert maker.asked == [(2, 0), (2, 1), (2, 2)]


@pytest.mark.parametrize(("text", "kinds"), [("noise", ["noise"]),
                                             ("noise+other", ["noise", "other"])])  # fmt: skip
def test_kinds_are_read(text, kinds):
    assert check_negatives(text) == kinds


@pytest.mark.parametrize("text", ["", "nose", "noise,other", "noise+", "Noise", "noise + other"])
def test_unknown_kinds_are_refused(text):
    with pytest.raises(InputError, match="no kind of negatives .* there is later, noise, other"):
        check_negatives(text)


def test_the_loss_is_the_cross_entropy_of_different():
    class Difference(nn.Module):
        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return (second - first).mean(dim=(1, 2, 3)) / 100

    found = Maker().make(draws=2)
    loss = pairs.loss(Difference(), found)
    rows = torch.tensor([0, 5, N + 2, 3 * N + 1])
    logit = (found.second - found.first)[rows].double().mean(dim=(1, 2, 3)).numpy() / 100
    label = found.different[rows].numpy()
    p = 1 / (1 + np.exp(-logit))
    wanted = -(label * np.log(p) + (1 - label) * np.log(1 - p)).mean()
    assert float(loss(rows, torch.Generator(), 0)["loss"]) == pytest.approx(wanted, rel=1e-5)
