"""SPADE against a slow float64 version, and what a model has to survive."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reference import mean_of_nearest, pyramid, smoothed, spade
from safetensors.torch import load_file

from adlib import model_file, parameters
from adlib import spade as module
from adlib.errors import InputError
from adlib.features import Features
from adlib.spade import SPADE

SIZE = (24, 24)
SHAPES = ((6, 6, 10), (3, 3, 8), (2, 2, 6))


def levels(n: int, seed: int = 0, shapes=SHAPES) -> list[np.ndarray]:
    """Features as a network gives them: non-negative, correlated, of unequal variance."""
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    found = []
    for h, w, c in shapes:
        mixing = fixed.standard_normal((4, c)) * fixed.uniform(0.1, 2, c)
        common = rng.standard_normal((n, h, w, 4)) @ mixing
        x = common + 0.1 * rng.standard_normal((n, h, w, c)) + fixed.uniform(0, 3, c)
        found.append(np.maximum(x, 0).astype(np.float32))
    return found


def features(n: int, seed: int = 0, **options) -> Features:
    return Features(levels(n, seed, **options), SIZE)


def fitted(n: int = 9, source: Features | None = None, **options) -> SPADE:
    source = features(n) if source is None else source
    return SPADE(**({"image_level": 3, "k": 4} | options)).fit_features(source)


# against the reference


@pytest.mark.parametrize("image_level", [1, 3])
@pytest.mark.parametrize("distance", ["l2", "squared"])
@pytest.mark.parametrize(("k", "kappa", "stride"), [(4, 1, 1), (1, 3, 1), (9, 5, 2), (3, 2, 4)])
def test_scores_and_maps_equal_the_reference(image_level, distance, k, kappa, stride):
    model = fitted(
        image_level=image_level, distance=distance, k=k, kappa=kappa, pixel_stride=stride
    )
    scores = model.score_features(features(5, 1))
    squared = distance == "squared"
    image, pixel = spade(levels(9), levels(5, 1), image_level, k, kappa, squared, stride)
    np.testing.assert_allclose(scores.image, image, rtol=1e-5)
    maps = np.stack([smoothed(one, SIZE, 4.0) for one in pixel])
    np.testing.assert_allclose(scores.map, maps, rtol=1e-5)
    assert scores.map.dtype == scores.image.dtype == np.float32
    assert scores.map.shape == (5, *SIZE)


@pytest.mark.parametrize(("layers", "chosen"), [("1", [0]), ("2+3", [1, 2]), ("1+3", [0, 2])])
def test_the_pyramid_has_the_layers_that_are_named(layers, chosen):
    model = fitted(pixel_layers=layers, image_level=1)
    train, test = levels(9), levels(3, 1)
    scores = model.score_features(Features(test, SIZE))
    _, nearest = model.nearest_images([torch.from_numpy(x) for x in test])
    pixels = pyramid([test[i] for i in chosen])
    for found, images, one in zip(scores.map, nearest, pixels, strict=True):
        rows = pyramid([train[i][images] for i in chosen]).reshape(-1, one.shape[-1])
        pixel = mean_of_nearest(one.reshape(-1, one.shape[-1]), rows, 1).reshape(one.shape[:2])
        np.testing.assert_allclose(found, smoothed(pixel, SIZE, 4.0), rtol=1e-5)


def test_only_pixels_of_the_nearest_images_count():
    # the test image is training image 7 in the pixels, but as a whole it is nearest to image 2
    train = levels(9)
    test = [x[7:8].copy() for x in train]
    test[2][:] = train[2][2:3]
    model = fitted(source=Features(train, SIZE), pixel_layers="1", k=1)
    assert model.score_features(Features(test, SIZE)).image[0] == 0
    assert (model.score_features(Features(test, SIZE)).map > 0.1).all()
    model = fitted(source=Features(train, SIZE), pixel_layers="1", k=9)
    assert (model.score_features(Features(test, SIZE)).map == 0).all()


def test_fewer_training_images_than_k_are_all_used():
    few, all_of_them = fitted(3, k=50), fitted(3, k=3)
    a, b = (model.score_features(features(4, 1)) for model in (few, all_of_them))
    assert np.array_equal(a.image, b.image) and np.array_equal(a.map, b.map)
    assert few.drawn()["images_compared"] == 3
    one = fitted(1, k=50).score_features(features(4, 1))
    image, pixel = spade(levels(1), levels(4, 1), 3, 50)
    np.testing.assert_allclose(one.image, image, rtol=1e-5)
    np.testing.assert_allclose(one.map[0], smoothed(pixel[0], SIZE, 4.0), rtol=1e-5)


def test_training_images_score_zero_where_one_neighbour_is_asked():
    scores = fitted(k=1).score_features(features(9))
    assert (scores.image == 0).all() and (scores.map == 0).all()


def test_a_planted_anomaly_is_found_where_it_is():
    test = levels(2, 1)
    test[0][0, 2, 4] += 8
    scores = fitted(40, sigma=1.0).score_features(Features(test, SIZE))
    row, column = np.unravel_index(scores.map[0].argmax(), SIZE)
    assert (row // 4, column // 4) == (2, 4)


def test_the_search_without_preparation_gives_the_same_maps():
    # what runs on an accelerator
    model = fitted(kappa=3)
    prepared = model.score_features(features(4, 1))
    model.gallery = None
    plain = model.score_features(features(4, 1))
    assert np.array_equal(prepared.image, plain.image)
    np.testing.assert_allclose(prepared.map, plain.map, rtol=1e-6)


@pytest.mark.gpu
def test_an_accelerator_gives_the_same_scores():
    source, test = features(9), features(4, 1)

    class Moved(Features):
        def batches(self, size: int = 16):
            for batch in super().batches(size):
                yield [x.cuda() for x in batch]

    model = fitted(source=Moved(source.levels, SIZE), kappa=2)
    assert model.pooled.is_cuda and model.gallery is None
    found = model.score_features(Moved(test.levels, SIZE))
    expected = fitted(kappa=2).score_features(test)
    np.testing.assert_allclose(found.image, expected.image, rtol=1e-5)
    np.testing.assert_allclose(found.map, expected.map, rtol=1e-4, atol=1e-5)


# batches, sizes, order


def test_batches_of_any_size_give_the_same_scores(monkeypatch):
    whole = fitted().score_features(features(7, 1))
    monkeypatch.setattr(module, "BATCH", 2)
    parts = fitted().score_features(features(7, 1))
    assert np.array_equal(parts.image, whole.image)
    np.testing.assert_allclose(parts.map, whole.map, rtol=1e-6)


def test_the_order_of_the_training_images_does_not_matter():
    order = np.random.default_rng(0).permutation(9)
    shuffled = Features([x[order] for x in levels(9)], SIZE)
    a, b = (model.score_features(features(4, 1)) for model in (fitted(), fitted(source=shuffled)))
    np.testing.assert_allclose(a.image, b.image, rtol=1e-6)
    np.testing.assert_allclose(a.map, b.map, rtol=1e-6)


def test_test_images_may_have_another_size():
    shapes = ((8, 4, 10), (4, 2, 8), (2, 1, 6))
    test = Features(levels(3, 1, shapes), (32, 16))
    scores = fitted().score_features(test)
    image, pixel = spade(levels(9), levels(3, 1, shapes), 3, 4)
    np.testing.assert_allclose(scores.image, image, rtol=1e-5)
    np.testing.assert_allclose(scores.map[2], smoothed(pixel[2], (32, 16), 4.0), rtol=1e-5)


def test_levels_whose_sizes_are_no_multiples():
    shapes = ((7, 5, 10), (3, 3, 8), (2, 1, 6))
    scores = fitted(source=features(9, shapes=shapes)).score_features(features(3, 1, shapes=shapes))
    _, pixel = spade(levels(9, 0, shapes), levels(3, 1, shapes), 3, 4)
    np.testing.assert_allclose(scores.map[0], smoothed(pixel[0], SIZE, 4.0), rtol=1e-5)


# degenerate and hostile input


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-20, 1e15])
def test_constant_features_are_finite(value):
    flat = [np.full((5, *shape), value, np.float32) for shape in SHAPES]
    scores = fitted(source=Features(flat, SIZE)).score_features(Features(flat, SIZE))
    assert (scores.image == 0).all() and (scores.map == 0).all()
    moved = fitted(source=Features(flat, SIZE)).score_features(
        Features([2 * x + 1 for x in flat], SIZE)
    )
    assert np.isfinite(moved.map).all() and (moved.image > 0).all()


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(level, value):
    spoiled = levels(5)
    spoiled[level][3, 1, 1, 2] = value
    with pytest.raises(InputError, match="must be finite"):
        fitted(source=Features(spoiled, SIZE))
    with pytest.raises(InputError, match="must be finite"):
        fitted().score_features(Features(spoiled, SIZE))


def test_a_fit_that_fails_leaves_no_model():
    model = fitted()
    spoiled = levels(5)
    spoiled[0][0] = np.nan
    with pytest.raises(InputError, match="finite"):
        model.fit_features(Features(spoiled, SIZE))
    with pytest.raises(InputError, match="not fitted"):
        model.score_features(features(2))


def test_no_image_is_refused():
    with pytest.raises(InputError, match="at least one normal image, found none"):
        fitted(source=features(0))


def test_images_need_a_backbone():
    with pytest.raises(InputError, match="needs a backbone"):
        SPADE().fit([np.zeros((8, 8, 3), np.uint8)])


def test_missing_levels_are_named():
    with pytest.raises(InputError, match="image_level=4 needs 4 levels .* found 3"):
        SPADE().fit_features(features(5))
    with pytest.raises(InputError, match=r"pixel_layers=1\+2\+4 needs 4 levels .* found 3"):
        fitted(pixel_layers="1+2+4")
    two = Features(levels(5, 1)[:2], SIZE)
    with pytest.raises(InputError, match="needs 3 levels .* found 2"):
        fitted().score_features(two)


@pytest.mark.parametrize("level", [0, 2])
def test_another_number_of_channels_is_refused(level):
    shapes = [list(shape) for shape in SHAPES]
    shapes[level][2] += 1
    with pytest.raises(InputError, match="channels as in training, found"):
        fitted().score_features(features(3, 1, shapes=shapes))


def test_more_neighbours_than_pixels_are_refused():
    assert fitted(2, kappa=72).score_features(features(1, 1)).map.shape == (1, *SIZE)
    with pytest.raises(InputError, match="at most the 72 pixels .* found 73"):
        fitted(2, kappa=73)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_allocated(monkeypatch):
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: SimpleNamespace(available=20_000))
    with pytest.raises(InputError, match=r"features of 9 images need 0\.\d GB, 0\.0 GB are free"):
        fitted()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("k", 0), ("k", 2.5), ("kappa", 0), ("pixel_stride", 0), ("image_level", 0),
        ("image_level", 5), ("pixel_layers", "3+1"), ("pixel_layers", ""), ("pixel_layers", 5),
        ("distance", "cosine"), ("sigma", -1.0), ("sigma", float("nan")),
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_refused(name, value):
    with pytest.raises(InputError, match=f"SPADE: {name} must be"):
        SPADE(**{name: value})


def test_the_depth_is_that_of_the_deepest_level_used():
    values = parameters.check(SPADE, {})
    assert SPADE.depth(values) == 4
    assert SPADE.depth(values | {"image_level": 3}) == 3
    assert SPADE.depth(values | {"image_level": 1, "pixel_layers": "2"}) == 2
    assert SPADE.effective(values) == values


# saved models


class Named:
    """Stands for a backbone: only its description matters to a file."""

    torch_device = torch.device("cpu")

    def __init__(self, sha: str = "a" * 64) -> None:
        self.sha = sha

    def describe(self) -> dict:
        return {"name": "net", "weights_sha256": self.sha}


SCORE = """
import sys
import numpy as np
from adlib.features import Features
from adlib.spade import SPADE
data = np.load(sys.argv[2])
source = Features([data[name] for name in sorted(data.files)], (24, 24))
scores = SPADE.load(sys.argv[1]).score_features(source)
np.savez(sys.argv[3], image=scores.image, map=scores.map)
"""


def test_another_process_scores_alike_to_the_last_bit(tmp_path):
    model = fitted(kappa=2, distance="squared", pixel_stride=2, sigma=2.5)
    expected = model.score_features(features(4, 1))
    model.save(tmp_path / "model.safetensors")
    np.savez(tmp_path / "features.npz", **{f"l{i}": x for i, x in enumerate(levels(4, 1))})
    names = ("model.safetensors", "features.npz", "scores.npz")
    command = [sys.executable, "-c", SCORE, *(tmp_path / name for name in names)]
    subprocess.run(command, check=True)
    found = np.load(tmp_path / "scores.npz")
    assert np.array_equal(found["image"], expected.image)
    assert np.array_equal(found["map"], expected.map)


def test_a_loaded_model_is_the_saved_one_and_can_be_saved_again(tmp_path):
    model = fitted(pixel_layers="1+3")
    model.save(tmp_path / "a")
    again = SPADE.load(tmp_path / "a")
    for name in parameters.of(SPADE):
        assert getattr(again, name) == getattr(model, name)
    assert again.drawn() == model.drawn()
    again.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_files_of_others_and_files_that_lack_something_are_refused(tmp_path):
    path = tmp_path / "model"
    model = fitted()
    model.backbone = Named()
    model.save(path)
    assert SPADE.load(path, Named()).backbone is not None
    with pytest.raises(InputError, match="weights_sha256 is aaaa.*found bbbb"):
        SPADE.load(path, Named("b" * 64))
    tensors, (_, description) = load_file(path), model_file.read(path)
    model_file.write(path, tensors, description | {"method": "padim"})
    with pytest.raises(InputError, match="holds no spade model"):
        SPADE.load(path)
    del tensors["level_2"]
    model_file.write(path, tensors, description)
    with pytest.raises(InputError, match="lacks level_2; save the model again"):
        SPADE.load(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="save the model again"):
        SPADE.load(path)
    with pytest.raises(InputError, match="not fitted"):
        SPADE().save(path)
