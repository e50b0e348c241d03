"""From a folder of images to a record: every number against its definition."""

from __future__ import annotations

import shlex
import warnings

import numpy as np
import pytest
import tiny
from sklearn.metrics import roc_auc_score

from adlib import datasets, evaluate, records, report
from adlib.backbones import Backbone
from adlib.datasets import Transform
from adlib.datasets.folder import GroundTruth
from adlib.errors import InputError
from adlib.evaluate import (
    METHODS,
    Experiment,
    Shots,
    by_defect,
    grid,
    measure,
    open_experiment,
    reads_images,
)
from adlib.padim import PaDiM
from adlib.scores import Scores
from adlib.thumbnail import Thumbnail

SMALL = Transform(64, 56)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone("efficientnet_lite0", device="cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def experiment(tmp_path, backbone) -> Experiment:
    tiny.category(tmp_path / "data")
    return Experiment(datasets.load("mvtec_ad", "part", tmp_path / "data", SMALL), backbone)


def test_a_record_holds_what_its_parts_say(experiment, tmp_path):
    run = experiment.run("padim", {"dim": 20, "reduction": "haar"}, results=tmp_path / "results")
    category, record = experiment.category, run.record
    model = PaDiM(backbone=experiment.backbone, dim=20, reduction="haar")
    scores = model.fit(category.train).score(category.test)
    masks = category.test.masks()
    np.testing.assert_allclose(run.scores.map, scores.map, rtol=1e-4)
    labels = category.test.labels
    assert record["metrics"]["image_auroc"] == pytest.approx(roc_auc_score(labels, scores.image))
    expected = roc_auc_score(masks.ravel(), scores.map.ravel())
    assert record["metrics"]["pixel_auroc"] == pytest.approx(expected, abs=1e-5)
    assert record["metrics"]["pixel_auroc"] > 0.9  # a red square is found where it is
    assert record["counts"] == {
        "train": 6, "test": 6, "anomalous": 3, "masks": 3, "masks_empty": 0,
    }  # fmt: skip
    assert list(record["scores"]) == ["good", "spot"]
    np.testing.assert_allclose(record["scores"]["spot"], scores.image[labels == 1], rtol=1e-4)
    assert record["drawn"]["form"] == "dual" and record["drawn"]["reduced_dim"] == 20
    assert record["identity"]["transform"] == {"resize": 64, "crop": 56}
    assert record["seconds"]["features"] > 0
    assert record["deviations"] == []
    assert records.read(run.path) == record
    assert str(tmp_path) not in run.path.read_text()
    assert run.fresh


def test_a_run_that_is_recorded_is_read(experiment, tmp_path, monkeypatch):
    first = experiment.run("padim", {"dim": 9}, results=tmp_path)
    before = first.path.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "_measure", lambda *a: pytest.fail("ran again"))
        second = experiment.run("padim", {"dim": 9}, results=tmp_path)
    assert (second.fresh, second.record, second.path) == (False, first.record, first.path)
    third = experiment.run("padim", {"dim": 9}, results=tmp_path, force=True)
    assert third.fresh and third.path == first.path
    assert third.path.stat().st_mtime_ns > before
    for name in ("identity", "metrics", "scores", "drawn", "counts", "command"):
        assert third.record[name] == first.record[name]


def test_features_that_were_cached_have_no_seconds(experiment):
    assert experiment.run("padim", {"dim": 9}).record["seconds"]["features"] > 0
    assert experiment.run("padim", {"dim": 8}).record["seconds"]["features"] is None
    again = Experiment(experiment.category, experiment.backbone)
    assert again.run("padim", {"dim": 9}).record["seconds"]["features"] is None  # from disk
    fresh = Experiment(experiment.category, experiment.backbone, cache=False)
    assert fresh.run("padim", {"dim": 9}).record["seconds"]["features"] > 0


def test_a_seed_without_effect_has_one_record(experiment, tmp_path):
    paths = {
        experiment.run(
            "padim", {"reduction": "none", "dim": dim, "seed": seed}, results=tmp_path
        ).path
        for seed, dim in ((3, 5), (0, 7))
    }
    assert len(paths) == len(records.read_all(tmp_path)) == 1
    (path,) = paths
    assert path.name.startswith("efficientnet_lite0-none-nominal-seed0-")


def test_the_key_follows_everything_that_decides_the_numbers(experiment, backbone, tmp_path):
    def key(values: dict, of: Experiment = experiment) -> str:
        from adlib import parameters

        checked = parameters.check(PaDiM, values)
        return records.key(of.identity("padim", checked))

    root = tmp_path / "data"
    keys = [
        key({}),
        key({"dim": 99}),
        key({"seed": 1}),
        key({"sigma": 2}),
        key({"image_score": "raw"}),
        key({}, Experiment(datasets.load("mvtec_ad", "part", root, Transform(64, 48)), backbone)),
        key({}, Experiment(experiment.category, Backbone("resnet18", weights="random"))),
        key(
            {},
            Experiment(experiment.category, Backbone("efficientnet_lite0", precision="bfloat16")),
        ),
    ]
    assert key({"eps": 0.01, "sigma": 4}) == keys[0]
    tiny.picture(root / "part" / "test" / "good" / "001.png", seed=12345)
    keys.append(key({}, Experiment(datasets.load("mvtec_ad", "part", root, SMALL), backbone)))
    assert len(set(keys)) == len(keys)


def test_the_command_repeats_the_run(experiment, tmp_path):
    values = {"dim": 9, "eps": 1e-4, "reduction": "gaussian", "seed": 2}
    run = experiment.run("padim", values, results=tmp_path / "results")
    words = shlex.split(run.record["command"])
    options = dict(zip(words[3::2], words[4::2], strict=True))
    settings = {words[i + 1] for i, word in enumerate(words) if word == "--set"}
    assert words[:3] == ["adlib", "evaluate", "padim"]
    assert settings == {"reduction=gaussian", "dim=9", "eps=0.0001"}
    del options["--set"]
    assert options == {
        "--dataset": "mvtec_ad", "--root": "DIR", "--category": "part", "--seed": "2",
        "--backbone": "efficientnet_lite0", "--resize": "64", "--crop": "56",
    }  # fmt: skip


def test_deviations_are_put_into_words(tmp_path):
    tiny.category(tmp_path / "data", masks=False)
    category = datasets.load("mvtec_ad", "part", tmp_path / "data", SMALL)
    network = Backbone("resnet18", weights="random", precision="bfloat16", device="cpu")
    record = Experiment(category, network, cache=False).run("padim", {"dim": 9}).record
    assert record["deviations"] == [
        "weights are random, not the pinned ones",
        "the backbone ran in bfloat16",
        "no pixel metrics: the data set has no masks for its anomalous images",
    ]
    assert not {"pixel_auroc", "aupro"} & record["metrics"].keys()
    assert record["counts"]["masks"] == 0
    assert "--weights random --precision bfloat16" in record["command"]


def test_a_part_of_the_masks_gives_no_pixel_metrics(experiment, backbone, tmp_path):
    folder = tmp_path / "data" / "part"
    (folder / "ground_truth" / "spot" / "001_mask.png").unlink()
    with pytest.warns(datasets.MissingMasks):
        category = datasets.load("mvtec_ad", "part", tmp_path / "data", SMALL)
    record = Experiment(category, backbone).run("padim", {"dim": 9}).record
    assert "pixel_auroc" not in record["metrics"] and record["counts"]["masks"] == 2


def test_a_defect_lost_by_the_crop_is_a_deviation_and_counted(tmp_path, backbone):
    folder = tiny.category(tmp_path / "data")
    tiny.mask(folder / "ground_truth" / "spot" / "000_mask.png", empty=True)
    category = datasets.load("mvtec_ad", "part", tmp_path / "data", SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record = Experiment(category, backbone).run("padim", {"dim": 9}).record
    assert record["counts"]["masks_empty"] == 1
    assert any("spot/000.png" in text for text in record["deviations"])
    assert str(tmp_path) not in str(record["deviations"])
    assert "pixel_auroc" in record["metrics"]


def test_masks_without_a_pixel_leave_the_pixel_metrics_out(tmp_path, backbone):
    folder = tiny.category(tmp_path / "data")
    for i in range(3):
        tiny.mask(folder / "ground_truth" / "spot" / f"{i:03}_mask.png", empty=True)
    category = datasets.load("mvtec_ad", "part", tmp_path / "data", SMALL)
    record = Experiment(category, backbone).run("padim", {"dim": 9}, results=tmp_path).record
    assert "pixel_auroc" not in record["metrics"]
    assert any("no pixel metrics" in text for text in record["deviations"])


def test_measure_leaves_out_what_there_is_no_ground_truth_for():
    labels, image = np.array([0, 0, 1]), np.array([0.1, 0.5, 0.4], np.float32)
    maps, masks = np.random.default_rng(0).random((3, 4, 4)), np.zeros((3, 4, 4), bool)
    masks[2, 1, 1] = True
    known = np.ones(3, bool)
    truth = GroundTruth(masks, known)
    assert set(measure(labels, Scores(image), truth)) == {
        "image_auroc", "image_f1", "f1_misclassified",
    }  # fmt: skip
    assert set(measure(labels, Scores(image, maps), None)) == set(
        measure(labels, Scores(image, maps), GroundTruth(np.zeros_like(masks), known))
    )
    both = measure(labels, Scores(image, maps), truth)
    assert both["image_auroc"] == 0.5 and both["f1_misclassified"] == 1
    assert both["pixel_auroc"] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()))


def test_an_image_whose_defect_is_not_located_counts_for_image_metrics_only():
    labels, image = np.array([0, 1, 1]), np.array([0.1, 0.05, 0.4], np.float32)
    maps, masks = np.random.default_rng(0).random((3, 4, 4)), np.zeros((3, 4, 4), bool)
    masks[2, 1, 1] = True
    got = measure(labels, Scores(image, maps), GroundTruth(masks, np.array([True, False, True])))
    assert got["image_auroc"] == 0.5
    expected = roc_auc_score(masks[[0, 2]].ravel(), maps[[0, 2]].ravel())
    assert got["pixel_auroc"] == pytest.approx(expected)


def test_scores_survive_the_text():
    scores = np.random.default_rng(0).random(50).astype(np.float32) * 1e-3
    grouped = by_defect(scores, ["good", "cut"] * 25)
    assert np.array_equal(np.array(grouped["good"], np.float32), scores[::2])
    assert max(len(str(value)) for value in grouped["cut"]) < 15


def test_grid_counts_through_its_values_the_last_fastest():
    assert list(grid({"a": [1, 2], "b": [3, 4]})) == [
        {"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4},
    ]  # fmt: skip
    assert list(grid({})) == [{}]


@pytest.mark.parametrize("method", ["padimm", "", None, ["padim"]])
def test_unknown_methods_are_refused(method, experiment):
    with pytest.raises(InputError, match="no method .*padim"):
        experiment.run(method)


def test_methods_state_what_the_chain_needs():
    for name, method in METHODS.items():
        verbs = ("fit", "score") if reads_images(name) else ("fit_features", "score_features")
        for attribute in ("effective", "drawn", "depth", "LABEL", *verbs):
            assert hasattr(method, attribute)


def test_a_method_that_reads_images_makes_a_record_without_a_network(tmp_path):
    tiny.category(tmp_path / "data")
    category = datasets.load("mvtec_ad", "part", tmp_path / "data", SMALL)
    experiment = Experiment(category, None)
    run = experiment.run("thumbnail", {"side": 16}, results=tmp_path / "results")
    record = records.read(run.path)
    expected = Thumbnail(side=16).fit(category.train).score(category.test).image
    np.testing.assert_array_equal(run.scores.image, expected)
    assert record["identity"]["backbone"] is None and record["deviations"] == []
    assert record["seconds"]["features"] is None
    assert set(record["metrics"]) == {"image_auroc", "image_f1", "f1_misclassified"}
    assert "--backbone" not in record["command"] and "--set side=16" in record["command"]
    assert run.path.name.startswith("16-seed0-")
    few = experiment.run("thumbnail", shots=Shots(2, 3), results=tmp_path / "results")
    drawn = [category.train[int(i)] for i in Shots(2, 3).draw(len(category.train))]
    expected = Thumbnail().fit(drawn).score(category.test).image
    np.testing.assert_array_equal(few.scores.image, expected)
    assert few.record["counts"]["train"] == few.record["drawn"]["images"] == 2
    assert "--shots 2" in few.record["command"]

    runs = records.table(tmp_path / "results").assign(official=True)
    protocol = "resize=64 crop=56"
    assert runs["backbone"].isna().all() and len(runs) == 2
    chosen = report.select(runs, f"thumbnail side=16 {protocol}")
    assert chosen["image_auroc"].tolist() == [record["metrics"]["image_auroc"]]
    assert len(report.select(runs, f"thumbnail {protocol} shots=2")) == 1
    assert report.select(runs, f"thumbnail side=16 {protocol}", "resnet18").empty


def test_a_network_at_hand_does_not_enter_the_record_of_a_method_without(experiment):
    alone = Experiment(experiment.category, None).run("thumbnail").record
    assert experiment.run("thumbnail").record["key"] == alone["key"]


def test_a_damaged_record_stops_the_run_and_force_replaces_it(experiment, tmp_path):
    path = experiment.run("padim", {"dim": 9}, results=tmp_path).path
    path.write_text(path.read_text()[:-40])
    with pytest.raises(InputError, match="delete it and run again"):
        experiment.run("padim", {"dim": 9}, results=tmp_path)
    experiment.run("padim", {"dim": 9}, results=tmp_path, force=True)
    assert records.read(path)


def test_open_experiment_opens_by_name(tmp_path):
    tiny.category(tmp_path / "data")
    opened = open_experiment(
        "mvtec_ad", "part", root=tmp_path / "data", backbone="resnet18", weights="random",
        device="cpu", resize=64, crop=56, cache=False,
    )  # fmt: skip
    assert opened.run("padim", {"dim": 9}).record["identity"]["backbone"]["name"] == "resnet18"
    assert evaluate.METHODS["padim"] is PaDiM
