"""PaDiM against a plain float64 version of its equations, and the laws it must obey."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import concatenated, mahalanobis, padim
from safetensors.torch import load_file, save_file

from adlib import model_file
from adlib import padim as module
from adlib.errors import InputError
from adlib.features import Features
from adlib.levels import nearest, pooled_covariance, reduce_levels
from adlib.mahalanobis import fit_positions, squared_distances
from adlib.padim import PaDiM
from adlib.projection import NAMES, Reduction, draw

SIZE = (24, 24)
SHAPES = ((6, 6, 10), (3, 3, 8), (2, 2, 6))  # D = 24
D = 24


def levels(n: int, seed: int = 0, shapes=SHAPES, rank: int = 4) -> list[np.ndarray]:
    """Features as a network gives them: non-negative, strongly correlated, of unequal variance."""
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    found = []
    for h, w, c in shapes:
        mixing = fixed.standard_normal((rank, c)) * fixed.uniform(0.1, 2, c)
        common = rng.standard_normal((n, h, w, rank)) @ mixing
        x = common + 0.1 * rng.standard_normal((n, h, w, c)) + fixed.uniform(0, 3, c)
        found.append(np.maximum(x, 0).astype(np.float32))
    return found


def features(n: int, seed: int = 0, **options) -> Features:
    return Features(levels(n, seed, **options), SIZE)


def distances(model: PaDiM, source: Features) -> np.ndarray:
    (batch,) = source.batches(len(source))
    return model.distances(batch).numpy()


# against the reference


@pytest.mark.parametrize("reduction", NAMES)
@pytest.mark.parametrize("eps_scale", ["nominal", "matched"])
@pytest.mark.parametrize("n", [8, 12, 40])  # m > N, m = N, m < N for m = 12
def test_distances_and_maps_equal_the_reference(reduction, eps_scale, n):
    model = PaDiM(reduction=reduction, dim=12, eps_scale=eps_scale, seed=3)
    model.fit_features(features(n))
    pi = model.reduction_.dense(D)
    distance, maps = padim(levels(n), levels(5, 1), pi, model.eps_, SIZE)
    np.testing.assert_allclose(distances(model, features(5, 1)), distance, rtol=2e-5)
    scores = model.score_features(features(5, 1))
    np.testing.assert_allclose(scores.map, maps, rtol=2e-5)
    np.testing.assert_allclose(scores.image, maps.max(axis=(1, 2)), rtol=2e-5)
    assert scores.map.dtype == scores.image.dtype == np.float32
    assert model.primal == (len(pi) <= n)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 14),
    m=st.integers(1, 14),
    exponent=st.integers(-7, 1),
    seed=st.integers(0, 10**6),
)
def test_both_forms_equal_the_reference_whatever_the_shape(n, m, exponent, seed):
    eps = 10.0**exponent
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((3, m))
    train, test = (
        (rng.standard_normal((k, 5, 3)) @ mixing + 0.1 * rng.standard_normal((k, 5, m)) + 1)
        .astype(np.float32)
        for k in (n, 4)
    )  # fmt: skip
    mean, factor = fit_positions(torch.from_numpy(train), eps)
    assert factor.shape == (5, min(m, n), m)
    found = squared_distances(torch.from_numpy(test), mean, factor, eps).sqrt().numpy()
    expected = mahalanobis(train, test, eps)
    # the mean is rounded to float32: a distance below sqrt(rounding^2 m / eps) cannot be seen
    floor = 4 * np.finfo(np.float32).eps * np.sqrt(m / eps) * np.abs(train).max()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=floor)


@pytest.mark.parametrize("eps", [1.0, 1e-2, 1e-4, 1e-6, 1e-9])
def test_the_dual_form_does_not_cancel_with_a_tiny_eps(eps):
    # 60 dimensions, 10 images; a test patch halfway between two training patches lies in their
    # span, where |delta|^2 - |K delta|^2 is the difference of two equal numbers
    rng = np.random.default_rng(0)
    train = rng.standard_normal((10, 3, 60)).astype(np.float32)
    test = np.concatenate([train[:2], (train[:1] + train[1:2]) / 2, train[:1] + 3])
    mean, factor = fit_positions(torch.from_numpy(train), eps)
    found = squared_distances(torch.from_numpy(test), mean, factor, eps).sqrt().numpy()
    np.testing.assert_allclose(found, mahalanobis(train, test, eps), rtol=1e-4)
    np.testing.assert_allclose(found[3], mahalanobis(train, test, eps)[3], rtol=1e-6)


def test_primal_and_dual_agree_where_one_more_image_changes_the_form():
    # a copy of m = N images plus one: both forms meet the same float64 reference
    train, test = levels(13), levels(4, 1)
    for n, primal in ((11, False), (12, True), (13, True)):
        part = [x[:n] for x in train]
        model = PaDiM(dim=12).fit_features(Features(part, SIZE))
        assert model.primal is primal
        distance, _ = padim(part, test, model.reduction_.dense(D), 0.01, SIZE)
        np.testing.assert_allclose(distances(model, Features(test, SIZE)), distance, rtol=2e-5)


def test_float32_is_enough_for_many_correlated_dimensions():
    shapes = ((2, 2, 300),)
    for n in (50, 400):  # dual, primal
        model = PaDiM(reduction="none").fit_features(features(n, shapes=shapes, rank=20))
        distance, _ = padim(
            levels(n, shapes=shapes, rank=20), levels(6, 1, shapes=shapes, rank=20),
            np.eye(300), 0.01, SIZE,
        )  # fmt: skip
        found = distances(model, features(6, 1, shapes=shapes, rank=20))
        np.testing.assert_allclose(found, distance, rtol=1e-5)


# laws


@pytest.mark.parametrize("name", ["coordinate", "gaussian", "haar", "sparse", "pca"])
def test_a_projection_contracts_without_eps(name):
    # M'^2 = max over v in the row space of Pi of (v delta)^2 / (v Sigma v) <= M^2
    train = torch.from_numpy(concatenated(levels(80))).float()
    test = torch.from_numpy(concatenated(levels(6, 1))).float()
    tiny = 1e-9
    whole = squared_distances(test, *fit_positions(train, tiny), tiny)
    covariance = pooled_covariance(features(80), (6, 6)) if name == "pca" else None
    for dim in (3, 12, 23):
        pi = torch.from_numpy(draw(name, dim, D, 0, covariance).dense(D)).float()
        part = squared_distances(test @ pi.T, *fit_positions(train @ pi.T, tiny), tiny)
        assert (part <= whole * (1 + 1e-3)).all()
        assert (part < whole * 0.9).any()


def test_without_eps_only_the_row_space_matters():
    # Pi -> B Pi with any invertible B
    rng = np.random.default_rng(0)
    pi, b = rng.standard_normal((5, D)), rng.standard_normal((5, 5)) + 3 * np.eye(5)
    train, test = concatenated(levels(60)), concatenated(levels(4, 1))
    both = []
    for matrix in (pi, b @ pi):
        x, y = (torch.from_numpy(z @ matrix.T) for z in (train, test))
        both.append(squared_distances(y, *fit_positions(x, 1e-10), 1e-10).sqrt().numpy())
    np.testing.assert_allclose(*both, rtol=1e-4)


def test_with_the_nominal_eps_the_scale_of_the_projection_matters_and_matched_repairs_it():
    def score(scale: float, eps_scale: str) -> np.ndarray:
        train, test = ([x * scale for x in levels(n, s)] for n, s in ((30, 0), (4, 1)))
        model = PaDiM(dim=8, eps=0.5, eps_scale=eps_scale, reduction="gaussian")
        model.fit_features(Features(train, SIZE))
        return model.score_features(Features(test, SIZE)).image

    assert not np.allclose(score(1, "nominal"), score(3, "nominal"), rtol=0.05)
    # matched follows Pi, not the features: eps is worth D/m times less after a Gaussian
    model = PaDiM(dim=8, eps_scale="matched", reduction="gaussian").fit_features(features(30))
    assert 0.3 * D / 8 < model.eps_ / 0.01 < 3 * D / 8


@pytest.mark.parametrize("reduction", ["coordinate", "gaussian", "haar", "sparse", "pca", "none"])
@pytest.mark.parametrize("shapes", [SHAPES, ((7, 7, 10), (3, 3, 14))])
def test_matched_eps_follows_its_definition(reduction, shapes):
    model = PaDiM(reduction=reduction, dim=7, eps=0.02, eps_scale="matched", seed=1)
    model.fit_features(features(9, shapes=shapes))
    x = concatenated(levels(9, shapes=shapes))
    pi = model.reduction_.dense(D)
    raw = np.mean([np.trace(np.cov(x[:, p], rowvar=False)) for p in range(x.shape[1])])
    z = x @ pi.T
    reduced = np.mean([np.trace(np.cov(z[:, p], rowvar=False)) for p in range(x.shape[1])])
    expected = 0.02 * (reduced / len(pi)) / (raw / D)
    if shapes is SHAPES:  # whole factors: every coarse position stands for equally many fine ones
        assert model.eps_ == pytest.approx(expected, rel=1e-5)
    else:
        assert model.eps_ == pytest.approx(expected, rel=0.05)
    if reduction == "none" and shapes is SHAPES:
        assert model.eps_ == pytest.approx(0.02, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(NAMES), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9),
    st.integers(0, 99),
)  # fmt: skip
def test_projection_and_upsampling_commute(name, h, w, coarse, seed):
    shapes = ((h, w, 5), (min(coarse, h), min(coarse, w), 4), (1, min(2, w), 3))
    source = levels(2, seed, shapes)
    reduction = draw(name, 6, 12, seed, np.diag(np.arange(1.0, 13)))
    found = reduce_levels([torch.from_numpy(x) for x in source], reduction, (h, w))
    expected = concatenated(source) @ reduction.dense(12).T
    np.testing.assert_allclose(found.flatten(1, 2).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_nearest_equals_torch_for_every_pair_of_sizes():
    for coarse in range(1, 33):
        # in float32 torch rounds the ratio of the sizes, and is a row off at 14 -> 46 and the like
        x = torch.arange(coarse, dtype=torch.float64)
        for fine in range(coarse, 65):
            found = nearest(x.view(1, coarse, 1, 1), (fine, 1)).flatten()
            expected = torch.nn.functional.interpolate(x[None, None], size=fine, mode="nearest")
            assert torch.equal(found, expected.flatten())


def test_pooled_covariance_is_the_mean_over_positions():
    x = concatenated(levels(9))
    expected = np.mean([np.cov(x[:, p], rowvar=False) for p in range(x.shape[1])], axis=0)
    np.testing.assert_allclose(pooled_covariance(features(9), (6, 6)), expected, atol=1e-4)


def test_pca_keeps_more_variance_than_any_other_reduction():
    kept = {}
    for name in ("pca", "coordinate", "haar"):
        model = PaDiM(reduction=name, dim=4, eps_scale="matched").fit_features(features(20))
        kept[name] = model.eps_
    assert kept["pca"] > max(kept["coordinate"], kept["haar"])


def test_the_order_of_the_training_images_does_not_matter():
    order = np.random.default_rng(0).permutation(20)
    shuffled = Features([x[order] for x in levels(20)], SIZE)
    a, b = (PaDiM(dim=9).fit_features(source) for source in (features(20), shuffled))
    np.testing.assert_allclose(
        a.score_features(features(4, 1)).map, b.score_features(features(4, 1)).map, rtol=1e-5
    )


@pytest.mark.parametrize("n", [30, 6])
def test_batches_of_any_size_give_the_same_scores(n, monkeypatch):
    model = PaDiM(dim=9, eps_scale="matched").fit_features(features(n))
    whole = model.score_features(features(7, 1))
    monkeypatch.setattr(module, "SCORE_BATCH", 3)
    np.testing.assert_allclose(model.score_features(features(7, 1)).map, whole.map, rtol=1e-6)
    one = [
        model.score_features(Features([x[i : i + 1] for x in levels(7, 1)], SIZE)) for i in range(7)
    ]
    np.testing.assert_allclose(np.concatenate([s.image for s in one]), whole.image, rtol=1e-6)


def test_levels_whose_sizes_are_no_multiples():
    shapes = ((7, 7, 10), (3, 3, 8), (2, 5, 6))
    model = PaDiM(dim=9, reduction="gaussian").fit_features(features(12, shapes=shapes))
    distance, _ = padim(
        levels(12, shapes=shapes), levels(3, 1, shapes), model.reduction_.dense(D), 0.01, SIZE
    )
    np.testing.assert_allclose(distances(model, features(3, 1, shapes=shapes)), distance, rtol=2e-5)


def test_seeds_repeat_and_differ():
    a, b, c = (
        PaDiM(dim=9, seed=seed).fit_features(features(12)).score_features(features(3, 1)).map
        for seed in (1, 1, 2)
    )
    assert np.array_equal(a, b) and not np.allclose(a, c, rtol=0.01)


def test_the_image_score_is_the_maximum_of_the_map_it_names():
    for name in ("smoothed", "raw"):
        model = PaDiM(dim=9, image_score=name, sigma=2.0).fit_features(features(12))
        scores = model.score_features(features(3, 1))
        source = scores.map if name == "smoothed" else distances(model, features(3, 1))
        np.testing.assert_allclose(scores.image, source.max(axis=(1, 2)), rtol=1e-6)


def test_a_planted_anomaly_is_found_where_it_is():
    test = levels(2, 1)
    test[0][0, 2, 4] += 8
    scores = (
        PaDiM(dim=12, sigma=1.0).fit_features(features(40)).score_features(Features(test, SIZE))
    )
    row, column = np.unravel_index(scores.map[0].argmax(), SIZE)
    assert (row // 4, column // 4) == (2, 4)
    assert scores.image[0] > scores.image[1]


def test_drawn_says_what_followed():
    model = PaDiM(reduction="gaussian", dim=9).fit_features(features(6))
    drawn = model.drawn()
    assert (drawn["channels"], drawn["reduced_dim"], drawn["form"]) == (D, 9, "dual")
    assert drawn["eps_added"] == 0.01
    other = PaDiM(reduction="gaussian", dim=9, seed=1).fit_features(features(6)).drawn()
    assert drawn["reduction_sha256"] != other["reduction_sha256"]


# degenerate and hostile input


@pytest.mark.parametrize("reduction", NAMES)
@pytest.mark.parametrize("eps_scale", ["nominal", "matched"])
@pytest.mark.parametrize("value", [0.0, 0.1, 7.3])
def test_constant_features_are_finite(reduction, eps_scale, value):
    flat = [np.full((5, *shape), value, np.float32) for shape in SHAPES]
    model = PaDiM(reduction=reduction, dim=4, eps_scale=eps_scale).fit_features(
        Features(flat, SIZE)
    )
    assert model.eps_ == 0.01
    scores = model.score_features(Features([x + 1 for x in flat], SIZE))
    assert np.isfinite(scores.map).all() and (scores.image > 0).all()
    assert np.isfinite(model.score_features(Features(flat, SIZE)).map).all()


def test_matched_eps_of_dead_coordinates_is_the_nominal_one():
    alive = draw("coordinate", 1, 10, 0).indices[0]
    source = [np.random.default_rng(0).standard_normal((6, 3, 3, 10)).astype(np.float32)]
    source[0][..., alive] = 2.5
    model = PaDiM(dim=1, eps_scale="matched").fit_features(Features(source, SIZE))
    assert model.eps_ == 0.01


@pytest.mark.parametrize("n", [1, 0])
def test_fewer_than_two_images_are_refused(n):
    with pytest.raises(InputError, match=f"at least 2 normal images .* found {n}"):
        PaDiM(dim=4).fit_features(features(n))


def test_two_images_are_enough():
    model = PaDiM(dim=4).fit_features(features(2))
    distance, _ = padim(levels(2), levels(3, 1), model.reduction_.dense(D), 0.01, SIZE)
    np.testing.assert_allclose(distances(model, features(3, 1)), distance, rtol=2e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("options", [{}, {"reduction": "pca"}, {"eps_scale": "matched"}])
def test_features_that_are_not_finite_are_refused(value, options):
    broken = levels(5)
    broken[1][2, 1, 1] = value
    with pytest.raises(InputError, match="finite"):
        PaDiM(dim=20, **options).fit_features(Features(broken, SIZE))
    model = PaDiM(dim=20, **options).fit_features(features(5))
    with pytest.raises(InputError, match="finite"):
        model.score_features(Features(broken, SIZE))


def test_large_but_finite_features_are_accepted():
    large = [x * 1e17 for x in levels(40)]  # their sum in float32 is beyond its range when squared
    assert PaDiM(dim=4).fit_features(Features(large, SIZE)).primal


@pytest.mark.parametrize("reduction", ["coordinate", "gaussian", "haar", "sparse", "pca"])
def test_more_dimensions_than_channels_are_refused(reduction):
    with pytest.raises(InputError, match=rf"\[1, {D}\].*found 25"):
        PaDiM(reduction=reduction, dim=25).fit_features(features(5))


def test_an_eps_that_leaves_the_covariance_singular_is_refused():
    twins = [np.repeat(x, 2, axis=-1) for x in levels(200, shapes=((2, 2, 6),))]
    with pytest.raises(InputError, match="eps must be large enough"):
        PaDiM(reduction="none", eps=1e-30).fit_features(Features(twins, SIZE))


def test_scoring_needs_a_fit_and_a_failed_fit_leaves_none():
    with pytest.raises(InputError, match="not fitted"):
        PaDiM().score_features(features(2))
    model = PaDiM(dim=4).fit_features(features(5))
    with pytest.raises(InputError):
        model.fit_features(features(1))
    broken = levels(5)
    broken[0][:] = np.nan
    with pytest.raises(InputError):
        model.fit_features(Features(broken, SIZE))
    with pytest.raises(InputError, match="not fitted"):
        model.score_features(features(2))


def test_features_of_another_shape_are_refused():
    model = PaDiM(dim=4).fit_features(features(5))
    with pytest.raises(InputError, match="resize and crop them alike"):
        model.score_features(features(2, shapes=((7, 7, 10), *SHAPES[1:])))
    with pytest.raises(InputError, match="resize and crop them alike"):
        model.score_features(Features(levels(2), (32, 32)))


def test_images_need_a_backbone():
    with pytest.raises(InputError, match="needs a backbone"):
        PaDiM().fit([np.zeros((8, 8, 3), np.uint8)] * 3)


def test_effective_parameters_leave_out_what_has_no_effect():
    values = {"reduction": "none", "dim": 3, "seed": 4, "eps": 0.1}
    assert PaDiM.effective(values) == values | {"dim": None, "seed": None}
    assert PaDiM.effective(values | {"reduction": "pca"})["dim"] == 3
    assert PaDiM.effective(values | {"reduction": "pca"})["seed"] is None
    assert PaDiM.effective(values | {"reduction": "haar"})["seed"] == 4


# saved models


class Named:
    """Stands for a backbone: only its description matters to a file."""

    torch_device = torch.device("cpu")

    def __init__(self, sha: str = "a" * 64, levels: tuple[str, ...] = ("layer1",)) -> None:
        self.description = {"name": "net", "levels": list(levels), "weights_sha256": sha}

    def describe(self) -> dict:
        return dict(self.description)


SCORE = """
import sys
import numpy as np
from adlib.features import Features
from adlib.padim import PaDiM
data = np.load(sys.argv[2])
source = Features([data[name] for name in sorted(data.files)], (24, 24))
scores = PaDiM.load(sys.argv[1]).score_features(source)
np.savez(sys.argv[3], image=scores.image, map=scores.map)
"""


@pytest.mark.parametrize(
    ("reduction", "n", "eps"),
    [("coordinate", 30, 0.01), ("gaussian", 6, 0.01), ("none", 6, 1e-6)],
)
def test_another_process_scores_alike_to_the_last_bit(reduction, n, eps, tmp_path):
    model = PaDiM(reduction=reduction, dim=9, eps=eps, eps_scale="matched", seed=5)
    model.fit_features(features(n))
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
    model = PaDiM(reduction="haar", dim=7, sigma=2.5, image_score="raw").fit_features(features(9))
    model.save(tmp_path / "a")
    again = PaDiM.load(tmp_path / "a")
    for name in ("reduction", "dim", "eps", "eps_scale", "sigma", "image_score", "seed"):
        assert getattr(again, name) == getattr(model, name)
    for name in ("image_size", "grid", "level_shapes", "eps_", "n_train", "primal"):
        assert getattr(again, name) == getattr(model, name)
    assert again.drawn() == model.drawn()
    again.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_saving_replaces_in_one_step_and_leaves_nothing_beside(tmp_path, monkeypatch):
    path = tmp_path / "model"
    PaDiM(dim=4).fit_features(features(5)).save(path)
    before = path.read_bytes()

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    for name in (
        "model_file.save_file",
        "atomic.os.fsync",
        "atomic.os.replace",
        "atomic.tempfile.mkstemp",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"adlib.{name}", full)
            with pytest.raises(InputError, match=r"could not be written .*No space left"):
                PaDiM(dim=5).fit_features(features(5)).save(path)
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_model_cannot_be_saved_unfitted_or_into_no_folder(tmp_path):
    with pytest.raises(InputError, match="not fitted"):
        PaDiM().save(tmp_path / "model")
    with pytest.raises(InputError, match="could not be written"):
        PaDiM(dim=4).fit_features(features(5)).save(tmp_path / "missing" / "model")


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.safetensors"
    model = PaDiM(backbone=Named(), dim=4).fit_features(features(5))
    model.save(path)
    return path


def test_the_backbone_must_be_the_one_of_the_fit(saved):
    assert PaDiM.load(saved, Named()).backbone is not None
    assert PaDiM.load(saved).backbone is None
    with pytest.raises(InputError, match="weights_sha256 is aaaa.*found bbbb"):
        PaDiM.load(saved, Named(sha="b" * 64))
    with pytest.raises(InputError, match=r"levels is \['layer1'\], found \['layer2'\]"):
        PaDiM.load(saved, Named(levels=("layer2",)))


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def damage_bit(path):
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(data)


def damage_empty(path):
    path.write_bytes(b"")


def damage_pickle(path):
    torch.save({"mean": torch.zeros(3)}, path)


def damage_foreign(path):
    save_file({"weight": torch.zeros(3)}, path)


def damage_json(path):
    save_file({"weight": torch.zeros(3)}, path, metadata={"adlib": "{not json"})


def damage_method(path):
    model_file.write(path, load_file(path), {"method": "patchcore"})


def damage_tensors(path):
    model_file.write(path, {"other": torch.zeros(3)}, model_file.read(path)[1])


def damage_gone(path):
    path.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        damage_cut, damage_bit, damage_empty, damage_pickle, damage_foreign, damage_json,
        damage_method, damage_tensors, damage_gone,
    ],
)  # fmt: skip
def test_damaged_and_foreign_files_are_refused(damage, saved):
    damage(saved)
    with pytest.raises(InputError) as error:
        PaDiM.load(saved)
    assert str(saved) in str(error.value)


def test_a_newer_format_is_refused(saved, monkeypatch):
    monkeypatch.setattr(model_file, "FORMAT", 2)
    PaDiM(dim=4).fit_features(features(5)).save(saved)
    monkeypatch.undo()
    with pytest.raises(InputError, match="format 2, this version reads 1"):
        PaDiM.load(saved)


def test_reduction_holds_one_form():
    assert Reduction(indices=np.array([1, 3])).dense(5).tolist() == np.eye(5)[[1, 3]].tolist()
