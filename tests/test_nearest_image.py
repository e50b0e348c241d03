"""The nearest training image against a slow float64 version, and what a model has to survive."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import mean_of_nearest
from sklearn.neighbors import NearestNeighbors as Neighbors

from adlib import model_file, parameters
from adlib import nearest_image as module
from adlib.errors import InputError
from adlib.features import Features
from adlib.nearest_image import NearestImage, pool

SIZE = (24, 24)
SHAPES = ((6, 6, 10), (3, 3, 8), (2, 2, 6))


def levels(n: int, seed: int = 0, shapes=SHAPES) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.gamma(2, 1, (n, *shape)).astype(np.float32) for shape in shapes]


def features(n: int, seed: int = 0, **options) -> Features:
    return Features(levels(n, seed, **options), SIZE)


def fitted(n: int = 9, **options) -> NearestImage:
    return NearestImage(**({"image_level": 3} | options)).fit_features(features(n))


@pytest.mark.parametrize("image_level", [1, 2, 3])
@pytest.mark.parametrize("neighbors", [1, 4, 9])
def test_scores_equal_the_reference_and_scikit_learn(image_level, neighbors):
    scores = fitted(image_level=image_level, neighbors=neighbors).score_features(features(5, 1))
    bank, queries = (
        x[image_level - 1].astype(np.float64).mean(axis=(1, 2)) for x in (levels(9), levels(5, 1))
    )
    np.testing.assert_allclose(scores.image, mean_of_nearest(queries, bank, neighbors), rtol=1e-5)
    found, _ = Neighbors(n_neighbors=neighbors).fit(bank).kneighbors(queries)
    np.testing.assert_allclose(scores.image, found.mean(axis=1), rtol=1e-5)
    assert scores.image.dtype == np.float32 and scores.map is None


def test_training_images_score_zero_and_duplicates_are_neighbours_too():
    assert (fitted().score_features(features(9)).image == 0).all()
    twice = Features([np.concatenate([x, x]) for x in levels(4)], SIZE)
    model = NearestImage(image_level=2, neighbors=2).fit_features(twice)
    assert (model.score_features(features(4)).image == 0).all()


def test_positions_and_sizes_do_not_matter():
    test = levels(3, 1)
    moved = [np.roll(x[:, ::-1], 1, axis=2) for x in test]
    tall = [np.concatenate([x, x], axis=1) for x in test]
    a, b, c = (
        fitted().score_features(Features(x, size)).image
        for x, size in ((test, SIZE), (moved, SIZE), (tall, (48, 24)))
    )
    np.testing.assert_allclose(a, b, rtol=1e-6)
    np.testing.assert_allclose(a, c, rtol=1e-6)


def test_batches_of_any_size_give_the_same_scores(monkeypatch):
    whole = fitted(neighbors=3).score_features(features(7, 1)).image
    monkeypatch.setattr(module, "BATCH", 2)
    assert np.array_equal(fitted(neighbors=3).score_features(features(7, 1)).image, whole)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-20, 1e15])
def test_constant_features_are_finite(value):
    flat = [np.full((5, *shape), value, np.float32) for shape in SHAPES]
    model = NearestImage(image_level=1).fit_features(Features(flat, SIZE))
    assert (model.score_features(Features(flat, SIZE)).image == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused_and_leave_no_model(value):
    model, spoiled = fitted(), levels(5)
    spoiled[2][3, 1, 1, 2] = value
    with pytest.raises(InputError, match="must be finite"):
        model.score_features(Features(spoiled, SIZE))
    with pytest.raises(InputError, match="must be finite"):
        model.fit_features(Features(spoiled, SIZE))
    with pytest.raises(InputError, match="not fitted"):
        model.score_features(features(2))


def test_too_few_images_missing_levels_and_other_channels_are_named():
    with pytest.raises(InputError, match="compares with 1 training images, found 0"):
        fitted(0)
    with pytest.raises(InputError, match="compares with 4 training images, found 3"):
        fitted(3, neighbors=4)
    with pytest.raises(InputError, match="image_level=4 needs 4 levels .* found 3"):
        fitted(image_level=4)
    with pytest.raises(InputError, match="must have 6 channels as in training, found 7"):
        fitted().score_features(features(3, 1, shapes=((6, 6, 10), (3, 3, 8), (2, 2, 7))))
    with pytest.raises(InputError, match="needs a backbone"):
        NearestImage().fit([np.zeros((8, 8, 3), np.uint8)])


@pytest.mark.parametrize(
    ("name", "value"),
    [("image_level", 0), ("image_level", 5), ("neighbors", 0), ("neighbors", "2")],
)
def test_parameters_out_of_range_are_refused(name, value):
    with pytest.raises(InputError, match=f"NearestImage: {name} must be"):
        NearestImage(**{name: value})


def test_the_depth_is_the_level():
    values = parameters.check(NearestImage, {})
    assert NearestImage.depth(values) == 4
    assert NearestImage.effective(values) == values


def test_pooling_is_the_mean_over_positions():
    batch = [torch.from_numpy(x) for x in levels(3)]
    expected = levels(3)[1].astype(np.float64).mean(axis=(1, 2))
    np.testing.assert_allclose(pool(batch, 2), expected, rtol=1e-7)


def test_a_loaded_model_scores_alike_and_can_be_saved_again(tmp_path):
    model = fitted(neighbors=3)
    model.save(tmp_path / "a")
    again = NearestImage.load(tmp_path / "a")
    assert (again.image_level, again.neighbors) == (3, 3)
    assert again.drawn() == model.drawn() == {"images": 9, "channels": 6, "model_mb": 0.0}
    a, b = (m.score_features(features(5, 1)).image for m in (model, again))
    assert np.array_equal(a, b)
    again.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_files_of_others_and_damaged_ones_are_refused(tmp_path):
    path = tmp_path / "model"
    fitted().save(path)
    tensors, description = model_file.read(path)
    model_file.write(path, tensors, description | {"method": "spade"})
    with pytest.raises(InputError, match="holds no one_nn model"):
        NearestImage.load(path)
    model_file.write(path, {"other": tensors["bank"]}, description)
    with pytest.raises(InputError, match="holds no one_nn model"):
        NearestImage.load(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="save the model again"):
        NearestImage.load(path)
    with pytest.raises(InputError, match="not fitted"):
        NearestImage().save(path)
