"""Ensembles of networks: how scores are put together, and what is recorded."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

from adlib import datasets, records
from adlib.backbones import Backbone, weights_for
from adlib.datasets import Transform
from adlib.ensemble import Ensemble, combine, open_backbone
from adlib.errors import InputError
from adlib.evaluate import Experiment
from adlib.patchcore import PatchCore
from adlib.scores import Scores

NAMES = "densenet201+resnext101_32x8d+wide_resnet101_2"  # Table 4


def scores(seed: int, scale: float = 1.0, shift: float = 0.0) -> Scores:
    rng = np.random.default_rng(seed)
    image, maps = rng.random(5, np.float32), rng.random((5, 4, 3), np.float32)
    return Scores(image * scale + shift, maps * scale + shift)


def test_combine_is_the_mean_of_scores_scaled_over_the_set():
    a, b = scores(0), scores(1, scale=100, shift=-7)
    got = combine([a, b])
    for ours, x, y in ((got.image, a.image, b.image), (got.map, a.map, b.map)):
        expected = sum((v - v.min()) / (v.max() - v.min()) for v in (x, y)) / 2
        np.testing.assert_allclose(ours, expected, rtol=1e-5)
        assert ours.min() >= 0 and ours.max() <= 1


def test_a_member_that_tells_nothing_apart_adds_nothing():
    a, flat = scores(0), Scores(np.ones(5, np.float32), np.ones((5, 4, 3), np.float32))
    got = combine([a, flat])
    assert np.array_equal(np.argsort(got.image), np.argsort(a.image))
    assert np.isfinite(got.map).all()


def test_a_member_without_maps_leaves_an_ensemble_without():
    assert combine([scores(0), Scores(scores(1).image)]).map is None


@pytest.mark.slow
def test_the_ensemble_of_table_4_runs_with_random_weights(tmp_path):
    tiny.category(tmp_path, train=3)
    category = datasets.load("mvtec_ad", "part", tmp_path, Transform(64, 64))
    network = open_backbone(NAMES, weights="random")
    assert network.name == NAMES and len(network.describe()["levels"]) == 9
    assert network.origin.label == "random"
    experiment = Experiment(category, network, cache=False)
    for layers in ("2+3", "1+2+3"):
        run = experiment.run("patchcore", {"layers": layers, "fraction": 0.2}, results=tmp_path)
        record = records.read(run.path)
        assert record["identity"]["backbone"]["name"] == NAMES
        assert any("scaled to [0, 1]" in text for text in record["deviations"])
        assert run.scores.image.min() >= 0 and run.scores.image.max() <= 1
        assert record["drawn"]["densenet201.channels"] == {"2+3": 2304, "1+2+3": 2560}[layers]


def test_an_ensembles_scores_are_those_of_its_members_put_together(tmp_path):
    tiny.category(tmp_path, train=3)
    category = datasets.load("mvtec_ad", "part", tmp_path, Transform(64, 64))
    members = [Backbone("resnet18", weights="random"), Backbone("efficientnet_lite0")]
    alone = []
    for member in members:
        detector = PatchCore(backbone=member, fraction=0.3).fit(category.train)
        alone.append(detector.score(category.test))
    run = Experiment(category, Ensemble(members), cache=False).run("patchcore", {"fraction": 0.3})
    expected = combine(alone)
    np.testing.assert_allclose(run.scores.image, expected.image, atol=1e-6)
    np.testing.assert_allclose(run.scores.map, expected.map, atol=1e-6)
    assert run.record["metrics"].keys() >= {"image_auroc", "pixel_auroc", "aupro"}


def test_one_name_opens_one_network_and_a_network_joins_once():
    assert isinstance(open_backbone("efficientnet_lite0"), Backbone)
    assert open_backbone("resnet18", 4, weights="random").levels[-1] == "layer4"
    with pytest.raises(InputError, match="two or more different backbones"):
        open_backbone("efficientnet_lite0+efficientnet_lite0")
    with pytest.raises(InputError, match="no backbone 'resnet19'; .* did you mean resnet18"):
        open_backbone("efficientnet_lite0+resnet19")


def test_a_folder_of_weights_stands_for_each_networks_file(tmp_path):
    (tmp_path / "resnet18-x.safetensors").touch()
    assert weights_for("resnet18", tmp_path) == tmp_path / "resnet18-x.safetensors"
    assert weights_for("efficientnet_lite0", tmp_path) is None
    assert weights_for("resnet18", "random") == "random" and weights_for("x", None) is None
    (tmp_path / "resnet18-y.pth").touch()
    with pytest.raises(InputError, match="resnet18-x.safetensors, resnet18-y.pth; keep one"):
        weights_for("resnet18", tmp_path)
