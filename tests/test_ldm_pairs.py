"""The study of pairs: what it writes, what it does not do twice, what it must not look at."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tiny_diffusion import QUICK
from typer.testing import CliRunner

from adlib import datasets
from adlib.datasets.arrays import ArrayImages
from adlib.diffusion import pairs
from adlib.diffusion.detector import LatentDiffusionDetector
from adlib.diffusion.pixels import as_pixels
from adlib.errors import InputError
from adlib.study import ldm_pairs


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let a study take seconds: networks of the tests, 60 images, two starts."""
    monkeypatch.setitem(LatentDiffusionDetector.PRESETS, "tiny", QUICK["latent_diffusion"])
    monkeypatch.setattr(ldm_pairs, "STARTS", (0, 200))
    whole = datasets.load("digits", "0")
    cut = replace(whole, train=whole.train[:60], test=whole.test[:60])
    monkeypatch.setattr(ldm_pairs.datasets, "load", lambda *given: cut)
    return cut


@pytest.fixture
def fits(monkeypatch):
    """List the changes of every detector that is fitted."""
    changes, fitted = [], ldm_pairs._fitted

    def noting(opened, preset, seed, changed):
        changes.append(changed)
        return fitted(opened, preset, seed, changed)

    monkeypatch.setattr(ldm_pairs, "_fitted", noting)
    return changes


def study(out, *names, **given):
    path = ldm_pairs.run("digits", "0", None, preset="tiny", names=names, out=out, **given)
    return json.loads(path.read_text())


def left_over(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_scores_are_those_of_the_detector(tmp_path, small):
    found = study(tmp_path, "other")
    assert [path.name for path in tmp_path.iterdir()] == ["ldm_pairs-digits-0-tiny-seed0.json"]
    assert (found["dataset"], found["category"], found["preset"]) == ("digits", "0", "tiny")
    assert found["schema"] == 1 and found["seed"] == 0
    assert "--dataset digits" in found["command"] and "--root" not in found["command"]
    one = found["variants"]["other"]
    assert set(one["auroc"]) == {"0", "200", "itself"}
    values = QUICK["latent_diffusion"] | {"negatives": "other", "seed": 0}
    detector = LatentDiffusionDetector(**values).fit(small.train)
    pixels = as_pixels(small.test, 1)

    def logit(first, second):
        with torch.no_grad():
            return detector.classifier.eval()(first, second).numpy()

    for start in (0, 200):
        made = as_pixels(detector.reconstruct(small.test.pixels, start), 1)
        score = detector.classifier.probability(pixels, made)
        expected = roc_auc_score(small.test.labels, score)
        assert one["auroc"][str(start)] == pytest.approx(expected, abs=5e-5)
    itself = roc_auc_score(small.test.labels, detector.classifier.probability(pixels, pixels))
    assert one["auroc"]["itself"] == pytest.approx(itself, abs=5e-5)
    assert one["pair_auroc"] == detector.report["pair_auroc"]
    assert one["pairs_version"] == pairs.VERSION
    own = logit(pixels, pixels)
    for start, found in one["less_itself"].items():
        made = as_pixels(detector.reconstruct(small.test.pixels, int(start)), 1)
        less = roc_auc_score(small.test.labels, logit(pixels, made) - own)
        assert found == pytest.approx(less, abs=5e-5)


def test_finished_variants_are_not_run_again(tmp_path, fits, monkeypatch):
    first = study(tmp_path, "noise")
    assert fits == [{}]
    both = study(tmp_path, "noise", "other")
    assert fits == [{}, {"negatives": "other"}]
    assert both["variants"]["noise"] == first["variants"]["noise"]

    def refuse(*given):
        raise AssertionError("nothing was left to do")

    monkeypatch.setattr(ldm_pairs.datasets, "load", refuse)
    assert study(tmp_path, "other", "noise") == both


def test_variants_of_an_earlier_revision_of_the_pairs_are_run_again(tmp_path, fits, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(pairs, "VERSION", 1)
        study(tmp_path, "noise", "other")
    found = study(tmp_path, "noise")["variants"]
    assert fits == [{}, {"negatives": "other"}, {}]
    assert {name: one["pairs_version"] for name, one in found.items()} == {
        "noise": pairs.VERSION,
        "other": 1,
    }


def test_a_study_goes_on_where_it_was_broken_off(tmp_path, monkeypatch):
    fitted = ldm_pairs._fitted

    def broken(opened, preset, seed, changes):
        if changes:
            raise KeyboardInterrupt
        return fitted(opened, preset, seed, changes)

    monkeypatch.setattr(ldm_pairs, "_fitted", broken)
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path, "noise", "other")
    (file,) = tmp_path.iterdir()
    assert set(json.loads(file.read_text())["variants"]) == {"noise"}
    monkeypatch.setattr(ldm_pairs, "_fitted", fitted)
    resumed = study(tmp_path, "noise", "other")
    assert resumed == study(tmp_path / "at once", "noise", "other")


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    before = study(tmp_path, "noise")
    real = ldm_pairs.Path.write_text

    def half(path, text, **given):
        real(path, text[: len(text) // 2], **given)
        raise OSError("disk full")

    monkeypatch.setattr(ldm_pairs.Path, "write_text", half)
    with pytest.raises(OSError, match="disk full"):
        study(tmp_path, "noise", "other")
    monkeypatch.undo()
    assert left_over(tmp_path) == []
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text()) == before


def test_reconstructions_are_made_once_for_all_variants(tmp_path, monkeypatch):
    starts, real = [], LatentDiffusionDetector.reconstruct

    def noting(self, images, start):
        starts.append(start)
        return real(self, images, start)

    monkeypatch.setattr(LatentDiffusionDetector, "reconstruct", noting)
    study(tmp_path, "noise", "other", "noise, seen images")
    assert starts == [0, 200]


def test_variants_that_do_not_exist_are_named_before_anything_is_run(tmp_path, fits):
    with pytest.raises(InputError, match=r"variants are noise, other.*found nois, others$"):
        study(tmp_path, "noise", "others", "nois")
    assert fits == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 1}'])
def test_a_foreign_file_in_the_place_of_the_study(text, tmp_path, fits):
    file = tmp_path / "ldm_pairs-digits-0-tiny-seed0.json"
    file.write_text(text)
    with pytest.raises(InputError, match="must hold a study.*delete it and run the study again"):
        study(tmp_path, "noise")
    assert fits == [] and file.read_text() == text


def test_a_preset_that_does_not_exist_and_a_folder_that_cannot_be_written(tmp_path, fits):
    with pytest.raises(InputError, match="no preset 'smal'.*did you mean small"):
        ldm_pairs.run("digits", "0", None, preset="smal", out=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--out"):
        study(tmp_path / "file", "noise")
    assert fits == []


def test_labels_decide_the_auroc_and_nothing_else(tmp_path, small, monkeypatch):
    found = study(tmp_path / "a", "noise")["variants"]["noise"]
    test = small.test
    turned = ArrayImages(test.pixels, 1 - test.labels, test.defects)
    monkeypatch.setattr(ldm_pairs.datasets, "load", lambda *given: replace(small, test=turned))
    other = study(tmp_path / "b", "noise")["variants"]["noise"]
    assert other["pair_auroc"] == found["pair_auroc"]
    for start, value in found["auroc"].items():
        assert other["auroc"][start] == pytest.approx(1 - value, abs=1e-4)
    assert set(small.train.defects) == {"good"}, "the training images bring no class"


def test_every_variant_is_a_setting_of_the_detector():
    for changes in ldm_pairs.VARIANTS.values():
        LatentDiffusionDetector(**changes)
    texts = [json.dumps(changes, sort_keys=True) for changes in ldm_pairs.VARIANTS.values()]
    assert len(set(texts)) == len(texts)
    # the networks that make the pictures must be the same in all of them
    kept = {"negatives", "positives", "draws", "seen", "stem"}
    assert set().union(*ldm_pairs.VARIANTS.values()) <= kept


def test_the_command_line_writes_the_file_and_names_it(tmp_path):
    app = ldm_pairs.typer.Typer()
    app.command()(ldm_pairs.main)
    options = ["--dataset", "digits", "--preset", "tiny", "--variant", "noise"]
    done = CliRunner().invoke(app, [*options, "--out", str(tmp_path), "--seed", "1"])
    assert done.exit_code == 0, done.output
    (file,) = tmp_path.iterdir()
    assert str(file) in done.output
    found = json.loads(file.read_text())
    assert file.name == "ldm_pairs-digits-0-tiny-seed1.json"
    assert list(found["variants"]) == ["noise"]
    assert np.isfinite(list(found["variants"]["noise"]["auroc"].values())).all()
