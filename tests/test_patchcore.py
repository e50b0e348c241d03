"""PatchCore against a plain float64 version of its equations, and what it must refuse."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from reference import k_center_greedy, smoothed
from safetensors.torch import load_file

from adlib import model_file, parameters, patches, projection
from adlib import patchcore as module
from adlib.errors import InputError
from adlib.features import Features
from adlib.patchcore import PatchCore

SIZE = (24, 20)
SHAPES = ((12, 10, 5), (6, 5, 8), (3, 3, 9))


def levels(n: int, seed: int = 0, shapes=SHAPES) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.maximum(rng.standard_normal((n, *s)) + 0.5, 0).astype(np.float32) for s in shapes]


def features(n: int, seed: int = 0, shapes=SHAPES, size=SIZE) -> Features:
    return Features(levels(n, seed, shapes), size)


def embedded(source: Features) -> np.ndarray:
    """Patch features (N, h, w, D) of levels 2 and 3, p = 3, zeros outside, as float64."""
    chosen = [torch.from_numpy(level) for level in source.levels[1:]]
    return patches.concat(chosen, 3, 1, "zeros").numpy().astype(np.float64)


def eq7(test: np.ndarray, bank: np.ndarray, b: int, power: int = 1) -> tuple[np.ndarray, float]:
    """Patch distances and image score of one image, as Eqs. 6 and 7 are printed."""
    flat = test.reshape(-1, test.shape[-1])
    all_distances = np.linalg.norm(flat[:, None] - bank, axis=2) ** power
    nearest = all_distances.argmin(axis=1)
    distance = all_distances.min(axis=1)
    star = distance.argmax()
    if b == 1:
        return distance.reshape(test.shape[:2]), distance[star]
    around = np.linalg.norm(bank - bank[nearest[star]], axis=1)
    around[nearest[star]] = -1  # m* itself is one of its b nearest
    members = np.argsort(around, kind="stable")[:b]
    terms = np.exp(all_distances[star][members])
    weight = 1 - np.exp(distance[star]) / terms.sum()
    return distance.reshape(test.shape[:2]), weight * distance[star]


@pytest.mark.parametrize(("b", "power"), [(1, 1), (3, 1), (9, 1), (3, 2), (1, 2)])
def test_scores_and_maps_equal_the_equations(b, power):
    distance = "l2" if power == 1 else "squared"
    model = PatchCore(fraction=0.2, reweight=b, distance=distance, coreset_dim=None, seed=3)
    train, test = features(6), features(4, seed=1)
    scores = model.fit_features(train).score_features(test)
    bank = embedded(train).reshape(-1, 17)[model.indices]
    for image, expected in zip(range(4), embedded(test), strict=True):
        patch, score = eq7(expected, bank, b, power)
        assert scores.image[image] == pytest.approx(score, rel=1e-5)
        np.testing.assert_allclose(scores.map[image], smoothed(patch, SIZE, 4.0), rtol=1e-4)


def test_the_coreset_is_the_greedy_one_in_the_projection():
    train = features(6)
    model = PatchCore(fraction=0.1, coreset_dim=4, start="first", seed=2).fit_features(train)
    flat = embedded(train).astype(np.float32).reshape(-1, 17)
    matrix = projection.draw("gaussian", 4, 17, 2).matrix
    seen = (torch.from_numpy(flat) @ torch.from_numpy(matrix.T)).numpy()
    assert model.indices.tolist() == k_center_greedy(seen, 18, 0).tolist()
    assert np.array_equal(model.bank.numpy(), flat[model.indices]), "the bank is not projected"


def test_the_mean_over_several_neighbours():
    train, test = features(4), features(1, seed=1)
    model = PatchCore(subsampler="none", neighbors=3, reweight=1, sigma=0).fit_features(train)
    bank, patch = embedded(train).reshape(-1, 17), embedded(test)[0].reshape(-1, 17)
    nearest = np.sort(np.linalg.norm(patch[:, None] - bank, axis=2), axis=1)[:, :3]
    assert model.score_features(test).image[0] == pytest.approx(
        nearest.mean(axis=1).max(), rel=1e-5
    )


def test_weights_lie_where_the_equation_puts_them():
    """m* is the nearest member, so exp(d*) is the smallest term: the weight is in [1 - 1/b, 1)."""
    train, test = features(6), features(8, seed=1)
    plain = PatchCore(fraction=0.3, reweight=1).fit_features(train).score_features(test).image
    for b in (2, 3, 9):
        weighted = PatchCore(fraction=0.3, reweight=b).fit_features(train).score_features(test)
        weight = weighted.image / plain
        assert (weight >= 1 - 1 / b - 1e-6).all() and (weight < 1).all()


def test_large_squared_distances_do_not_overflow():
    train = Features([100 * level for level in levels(4)], SIZE)
    test = Features([-100 * level for level in levels(2, seed=1)], SIZE)
    model = PatchCore(fraction=0.5, distance="squared").fit_features(train)
    image = model.score_features(test).image
    assert (image > 1e4).all() and np.isfinite(image).all()


def test_duplicates_in_the_bank_keep_m_star_in_its_own_neighbourhood():
    constant = Features([np.ones((3, *shape), np.float32) for shape in SHAPES], SIZE)
    model = PatchCore(subsampler="none", reweight=3).fit_features(constant)
    scores = model.score_features(constant)
    assert (scores.image == 0).all() and (scores.map == 0).all()
    found = model._neighbourhood(torch.tensor([7, 80]))
    assert found[:, 0].tolist() == [7, 80] and all(len(set(row)) == 3 for row in found.tolist())


@pytest.mark.parametrize("subsampler", ["coreset", "approximate", "random", "none"])
def test_indices_are_distinct_patches_of_the_size_asked_for(subsampler):
    model = PatchCore(subsampler=subsampler, fraction=0.25).fit_features(features(5))
    n = 150 if subsampler == "none" else 38  # 5 images of 6 x 5 patches
    assert len(set(model.indices.tolist())) == len(model.bank) == n


def test_proxies_are_learned_not_selected():
    model = PatchCore(subsampler="proxies", fraction=0.1, proxy_steps=5).fit_features(features(5))
    assert model.indices is None and model.bank.shape == (15, 17)
    assert np.isfinite(model.score_features(features(2, seed=1)).map).all()


def test_seeds_change_the_bank_and_repeat_it():
    runs = [PatchCore(seed=s, fraction=0.2).fit_features(features(5)).indices for s in (0, 0, 1)]
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])


def test_batches_do_not_matter(monkeypatch):
    train, test = features(7), features(5, seed=1)
    whole = PatchCore().fit_features(train).score_features(test)
    monkeypatch.setattr(module, "BATCH", 2)
    split = PatchCore().fit_features(train).score_features(test)
    assert np.array_equal(whole.image, split.image) and np.array_equal(whole.map, split.map)


def test_test_images_may_have_another_size():
    model = PatchCore().fit_features(features(5))
    larger = tuple((2 * h, 3 * w, c) for h, w, c in SHAPES)
    scores = model.score_features(features(2, seed=1, shapes=larger, size=(48, 60)))
    assert scores.map.shape == (2, 48, 60)


def test_layers_choose_levels_and_the_first_sets_the_grid():
    source = features(4)
    for layers, d, patches_each in (("1+2+3", 22, 120), ("1", 5, 120), ("3", 9, 9), (3, 9, 9)):
        model = PatchCore(layers=layers, subsampler="none").fit_features(source)
        assert model.bank.shape == (4 * patches_each, d)
    assert PatchCore.depth(parameters.check(PatchCore, {"layers": "3+4"})) == 4


def test_presets_name_every_difference():
    paper, official = PatchCore.preset("paper"), PatchCore.preset("official", fraction=0.25)
    assert (paper.embedding, paper.distance, paper.reweight) == ("concat", "l2", 9)
    assert (official.embedding, official.distance, official.reweight) == ("official", "squared", 1)
    assert (official.subsampler, official.fraction) == ("approximate", 0.25)
    with pytest.raises(InputError, match="preset 'offical'; .* did you mean official"):
        PatchCore.preset("offical")


def test_effective_parameters_drop_what_has_no_effect():
    def effective(**values):
        return PatchCore.effective(parameters.check(PatchCore, values))

    whole = effective(subsampler="none")
    assert whole == effective(fraction=1.0) == effective(subsampler="random", fraction=1.0)
    assert whole["seed"] is whole["fraction"] is whole["coreset_dim"] is None
    assert effective(subsampler="none", search="ivfpq")["seed"] == 0
    assert effective(coreset_dim=None, start="first")["seed"] is None
    assert effective(coreset_dim=None)["seed"] == 0
    assert effective(embedding="official")["border"] is None
    assert effective()["embedding_dim"] is None


def test_the_share_of_the_bank_that_was_used():
    train = features(3)
    model = PatchCore(subsampler="none").fit_features(train)
    assert model.drawn()["bank_used"] is None
    model.score_features(train)
    assert model.drawn()["bank_used"] == 1.0, "every patch is its own nearest neighbour"
    model.score_features(Features([level[:1] for level in train.levels], SIZE))
    assert model.drawn()["bank_used"] == pytest.approx(1 / 3)


# bad input


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"fraction": 0.0}, "fraction must be a number > 0 and <= 1, found 0.0"),
        ({"fraction": 1.5}, "fraction must be a number > 0 and <= 1, found 1.5"),
        ({"fraction": float("nan")}, "fraction must be"),
        ({"patch_size": 4}, "patch_size must be one of 1, 3, 5"),
        ({"layers": "3+2"}, "layers must be a text"),
        ({"reweight": 0}, "reweight must be an integer >= 1, found 0"),
        ({"subsampler": "greedy"}, "subsampler must be one of 'coreset'"),
    ],
)
def test_values_out_of_range_are_refused(values, words):
    with pytest.raises(InputError, match=words):
        PatchCore(**values)


@pytest.mark.parametrize("name", ["reweight", "neighbors"])
def test_more_neighbours_than_members_are_refused(name):
    with pytest.raises(InputError, match=f"{name} must be at most the 2 members .* found 3"):
        PatchCore(fraction=0.01, **{"reweight": 1} | {name: 3}).fit_features(features(7))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad):
    train = features(4)
    train.levels[1][2, 1, 1, 0] = bad
    with pytest.raises(InputError, match="features must be finite"):
        PatchCore().fit_features(train)
    model = PatchCore().fit_features(features(4))
    with pytest.raises(InputError, match="features must be finite"):
        model.score_features(train)


def test_a_bank_that_does_not_fit_into_memory_is_refused_before_it_is_made(monkeypatch):
    memory = type("Memory", (), {"available": 10_000})
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: memory)
    with pytest.raises(InputError, match="7 images need 0.0 GB, 0.0 GB are free; use fewer images"):
        PatchCore().fit_features(features(7))


def test_features_of_another_kind_are_refused():
    model = PatchCore().fit_features(features(4))
    other = features(2, shapes=((12, 10, 5), (6, 5, 8), (3, 3, 4)))
    with pytest.raises(InputError, match="17 channels as in training, found 12"):
        model.score_features(other)
    with pytest.raises(InputError, match=r"layers=3\+4 needs 4 levels of the network, found 3"):
        PatchCore(layers="3+4").fit_features(features(4))


def test_what_is_not_fitted_or_has_no_backbone_says_so():
    with pytest.raises(InputError, match="not fitted"):
        PatchCore().score_features(features(1))
    with pytest.raises(InputError, match="needs a backbone"):
        PatchCore().fit([np.zeros((8, 8, 3), np.uint8)])
    with pytest.raises(InputError, match="needs at least one normal image"):
        PatchCore().fit_features(Features([x[:0] for x in levels(1)], SIZE))


def test_a_fit_that_fails_leaves_no_model():
    model = PatchCore().fit_features(features(4))
    with pytest.raises(InputError):
        model.fit_features(Features([np.full_like(x, np.nan) for x in levels(2)], SIZE))
    with pytest.raises(InputError, match="not fitted"):
        model.score_features(features(1))


# saved models


def test_a_saved_bank_scores_the_same_in_another_process(tmp_path):
    test = features(3, seed=1)
    model = PatchCore(fraction=0.2, distance="squared").fit_features(features(5))
    path, array = tmp_path / "bank.safetensors", tmp_path / "levels.npz"
    model.save(path)
    np.savez(array, *test.levels)
    code = (
        "import sys, numpy as np; from adlib.patchcore import PatchCore; "
        "from adlib.features import Features; f = np.load(sys.argv[2]); "
        f"s = PatchCore.load(sys.argv[1]).score_features(Features([f[n] for n in f], {SIZE})); "
        "np.savez(sys.argv[3], image=s.image, map=s.map)"
    )
    subprocess.run([sys.executable, "-c", code, path, array, tmp_path / "out.npz"], check=True)
    found, expected = np.load(tmp_path / "out.npz"), model.score_features(test)
    assert np.array_equal(found["image"], expected.image)
    assert np.array_equal(found["map"], expected.map)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "bank.safetensors"
    PatchCore().fit_features(features(4)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(InputError, match="complete safetensors file"):
        PatchCore.load(path)
    path.write_bytes(content[:-4] + bytes([content[-4] ^ 1]) + content[-3:])
    with pytest.raises(InputError, match="damaged"):
        PatchCore.load(path)
    path.write_bytes(content)
    tensors, description = load_file(path), model_file.read(path)[1]
    model_file.write(path, tensors, description | {"method": "padim"})
    with pytest.raises(InputError, match="holds no patchcore model"):
        PatchCore.load(path)
    with pytest.raises(InputError, match="not fitted"):
        PatchCore().save(path)
