"""The control without a network against numpy's correlations, and what a model has to survive."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from adlib import model_file
from adlib.errors import InputError
from adlib.metrics import auroc
from adlib.thumbnail import Thumbnail, thumbnails


def pictures(n: int, seed: int = 0, size: tuple[int, int] = (60, 48)) -> list[np.ndarray]:
    """Return smooth colour pictures (height, width), no two alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 6, 6, 3)).astype(np.uint8)
    return [np.asarray(Image.fromarray(one).resize(size[::-1])) for one in coarse]


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).convert("L").resize((side, side)), float).ravel()


@pytest.mark.parametrize("side", [2, 8, 32])
def test_scores_are_one_minus_numpys_highest_correlation(side):
    train, test = pictures(7), pictures(5, 1)
    scores = Thumbnail(side=side).fit(train).score(test)
    flat = np.array([shrunk(one, side) for one in (*train, *test)])
    expected = 1 - np.corrcoef(flat)[7:, :7].max(axis=1)
    np.testing.assert_allclose(scores.image, expected, atol=1e-6)
    assert scores.image.dtype == np.float32 and scores.map is None
    assert (scores.image >= 0).all() and (scores.image <= 2).all()


def test_near_duplicates_are_found_and_strangers_are_not():
    train = pictures(20)
    rng = np.random.default_rng(5)
    again = [  # brighter, with other noise and with a defect that a thumbnail hardly shows
        np.clip(one * 0.6 + 30 + rng.normal(0, 8, one.shape), 0, 255).astype(np.uint8)
        for one in train[:10]
    ]
    for one in again:
        one[20:23, 20:23] = 255
    scores = Thumbnail().fit(train).score(again + pictures(10, 9)).image
    assert scores[:10].max() < 0.1 < 0.3 < scores[10:].min()
    assert auroc([0] * 10 + [1] * 10, scores) == 1


def test_a_training_image_scores_zero_and_its_negative_much():
    train = pictures(1)
    scores = Thumbnail().fit(train).score([train[0], 255 - train[0]]).image
    np.testing.assert_allclose(scores, [0, 2], atol=1e-3)


@pytest.mark.parametrize("grey", [0, 7, 255])
def test_a_blank_image_correlates_with_nothing(grey):
    blank = np.full((40, 50, 3), grey, np.uint8)
    assert not thumbnails([blank], 32).any()
    assert Thumbnail().fit(pictures(3)).score([blank]).image.tolist() == [1]
    assert Thumbnail().fit([blank]).score([blank, *pictures(1)]).image.tolist() == [1, 1]


def test_sizes_may_differ():
    train = [*pictures(2), *pictures(2, 1, (33, 90))]
    test = [np.asarray(Image.fromarray(one).resize((70, 50))) for one in train]
    assert (Thumbnail().fit(train).score(test).image < 0.05).all()


def test_what_a_record_says_of_it():
    model = Thumbnail(side=16).fit(pictures(3))
    assert model.drawn() == {"images": 3, "model_mb": 0.006}
    assert Thumbnail.effective({"side": 16}) == {"side": 16} and Thumbnail.depth({}) == 0


def test_a_saved_model_gives_the_same_scores(tmp_path):
    model, test = Thumbnail(side=9).fit(pictures(4)), pictures(3, 1)
    model.save(tmp_path / "model.safetensors")
    loaded = Thumbnail.load(tmp_path / "model.safetensors")
    assert loaded.side == 9
    assert np.array_equal(loaded.score(test).image, model.score(test).image)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    Thumbnail(side=9).fit(pictures(4)).save(path)
    with pytest.raises(InputError, match="found none"):
        Thumbnail.load(tmp_path / "no.safetensors")
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(InputError, match="damaged"):
        Thumbnail.load(path)
    path.write_bytes(raw[:60])
    with pytest.raises(InputError):
        Thumbnail.load(path)
    description = {"method": "padim", "parameters": {"side": 9}, "backbone": None}
    model_file.write(path, {"bank": torch.zeros(1, 81)}, description)
    with pytest.raises(InputError, match="no thumbnail model"):
        Thumbnail.load(path)


def test_bad_input_is_refused(tmp_path):
    for call in (
        lambda: Thumbnail().score(pictures(1)),
        lambda: Thumbnail().save(tmp_path / "model.safetensors"),
    ):
        with pytest.raises(InputError, match="not fitted"):
            call()
    with pytest.raises(InputError, match="at least one normal image"):
        Thumbnail().fit([])
    for side in (1, 513, 2.5, "a", None):
        with pytest.raises(InputError, match="side"):
            Thumbnail(side=side)
    assert len(Thumbnail().fit(pictures(1)).score([]).image) == 0
