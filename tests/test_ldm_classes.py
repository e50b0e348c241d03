"""The examination with labels: partners by brute force, and where labels are looked at."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from sklearn.svm import SVC
from tiny_diffusion import QUICK, fitted
from typer.testing import CliRunner

from adlib import datasets
from adlib.datasets.arrays import ArrayImages
from adlib.diffusion.detector import LatentDiffusionDetector
from adlib.diffusion.pixels import as_pixels
from adlib.errors import InputError
from adlib.study import ldm_classes

CLASSES = np.array(list("112233344"))
KINDS = np.array(list("334411212"))  # what the samples happen to show


def partners(same, kinds=CLASSES, seed=0):
    rng = np.random.default_rng(seed)
    return ldm_classes._partners(CLASSES, kinds, rng, same=same)


@pytest.mark.parametrize("kinds", [CLASSES, KINDS], ids=["images", "samples"])
@pytest.mark.parametrize("same", [True, False])
def test_partners_are_drawn_from_all_that_fit_and_from_no_other(same, kinds):
    drawn = np.stack([partners(same, kinds, seed) for seed in range(300)])
    for place, own in enumerate(CLASSES):
        fitting = {other for other, kind in enumerate(kinds) if (kind == own) == same}
        assert set(drawn[:, place].tolist()) == fitting


def pairs(variant):
    n = len(CLASSES)
    images, made, samples = (torch.full((n, 1, 2, 2), 0.0) for _ in range(3))
    for place in range(n):
        images[place], made[place], samples[place] = place, 100 + place, 200 + place
    return ldm_classes._pairs(variant, images, CLASSES, made, samples, KINDS, 0)


@pytest.mark.parametrize("variant", ldm_classes.VARIANTS)
def test_pairs_are_what_their_name_says(variant):
    found, n = pairs(variant), len(CLASSES)
    assert found.different.tolist() == [0.0] * n + [1.0] * n
    assert found.first[:, 0, 0, 0].tolist() == [*range(n), *range(n)]
    value = found.second[:, 0, 0, 0].int().numpy()
    assert (value % 100 == found.partner).all()
    same, different = found.partner[:n], found.partner[n:]
    assert (value[:n] // 100 == 1).all(), "the same: reconstructions"
    noise = variant.startswith("noise")
    assert (value[n:] // 100 == (2 if noise else 1)).all()
    kinds = KINDS if noise else CLASSES
    if variant == "same class":
        assert (CLASSES[same] == CLASSES).all()
    else:
        assert (same == np.arange(n)).all()
    if variant in ("noise", "other"):  # no label has a say
        assert sorted(different.tolist()) == list(range(n))
        assert noise or (different != np.arange(n)).all()
    else:
        assert (kinds[different] != CLASSES).all()


def test_chance_is_the_share_of_all_combinations():
    agree = np.mean([a == b for a in CLASSES for b in KINDS])
    assert ldm_classes._chance(CLASSES, KINDS) == pytest.approx(agree)
    assert ldm_classes._chance(CLASSES, np.array(["9"] * 4)) == 0


def test_the_labeller_learns_from_one_half_and_is_judged_on_the_other():
    test = datasets.load("digits", "0").test
    first, second = test[:200], test[200:260]
    machine, accuracy = ldm_classes._labeller(first, second)
    flat = [np.array(part.pixels, float).reshape(len(part), -1) / 127.5 - 1
            for part in (first, second)]  # fmt: skip
    reference = SVC(C=5).fit(flat[0], first.defects).predict(flat[1])
    assert accuracy == pytest.approx(accuracy_score(second.defects, reference), abs=0.02)
    assert (machine.predict(ldm_classes._flat(as_pixels(first))) == first.defects).mean() > 0.95


def test_kept_is_the_share_of_reconstructions_that_are_called_by_the_class_of_their_image():
    images = datasets.load("digits", "0").test[:40]
    detector = fitted("latent_diffusion")

    class Seven:
        """Calls every second picture 0, the others 7."""

        def predict(self, flat):
            return np.array(["0", "7"] * 20)

    found = ldm_classes._kept(detector, Seven(), images)
    assert list(found) == ["0", *map(str, ldm_classes.STARTS)]
    said, truth = np.array(["0", "7"] * 20), np.array(images.defects)
    for one in found.values():
        assert one["anomalous"] == pytest.approx((said == "0")[truth == "0"].mean(), abs=1e-4)
        assert one["normal"] == pytest.approx((said == truth)[truth != "0"].mean(), abs=1e-4)


@pytest.fixture
def small(monkeypatch):
    """Let the examination take seconds."""
    monkeypatch.setitem(LatentDiffusionDetector.PRESETS, "tiny", QUICK["latent_diffusion"])
    monkeypatch.setattr(ldm_classes, "STARTS", (100,))
    monkeypatch.setattr(ldm_classes, "COMPARED", (200,))
    # an untrained network makes pictures of one class: names that the samples do not decide
    monkeypatch.setattr(ldm_classes, "VARIANTS", ("noise", "other", "same class"))
    whole = datasets.load("digits", "0")
    cut = replace(whole, train=whole.train[:60], test=whole.test[:120])
    monkeypatch.setattr(ldm_classes.datasets, "load", lambda *given: cut)
    return cut


def test_classes_of_the_second_half_are_only_counted(small, monkeypatch):
    found = ldm_classes.examine("digits", "0", None, "tiny")
    test = small.test
    rng, names = np.random.default_rng(0), np.array(test.defects)
    swapped = names.copy()
    for label in (0, 1):
        rows = 1 + 2 * np.flatnonzero(test.labels[1::2] == label)
        swapped[rows] = rng.permutation(names[rows])
    assert (swapped[::2] == names[::2]).all() and (swapped != names).any()
    other = replace(small, test=ArrayImages(test.pixels, test.labels, swapped.tolist()))
    monkeypatch.setattr(ldm_classes.datasets, "load", lambda *given: other)
    again = ldm_classes.examine("digits", "0", None, "tiny")
    for name in ("auroc", "same_class", "expected_same_class", "images"):
        assert again[name] == found[name], name
    assert again["labeller_accuracy"] < found["labeller_accuracy"]
    assert set(found["auroc"]) == {"noise", "other", "same class"}
    assert found["images"] == {"pairs": int((test.labels[::2] == 0).sum()), "tested": 60}
    assert set(small.train.defects) == {"good"}, "the detector is given no class"


def test_data_without_classes_are_refused():
    with pytest.raises(InputError, match="needs images in classes, as mnist has them"):
        ldm_classes.examine("embedded", "brick", None, "tiny")


def test_the_command_line_writes_in_one_step(small, tmp_path, monkeypatch):
    monkeypatch.setattr(ldm_classes, "examine", lambda *given: {"schema": 1, "seed": given[4]})
    app = ldm_classes.typer.Typer()
    app.command()(ldm_classes.main)
    options = ["--dataset", "digits", "--preset", "tiny", "--out", str(tmp_path / "new")]
    done = CliRunner().invoke(app, [*options, "--seed", "2"])
    assert done.exit_code == 0, done.output
    (file,) = (tmp_path / "new").iterdir()
    assert file.name == "ldm_classes-digits-0-tiny-seed2.json" and str(file) in done.output
    assert json.loads(file.read_text()) == {"schema": 1, "seed": 2}
    before, real = file.read_text(), ldm_classes.Path.write_text

    def half(path, text, **given):
        real(path, text[:3], **given)
        raise OSError("disk full")

    monkeypatch.setattr(ldm_classes.Path, "write_text", half)
    done = CliRunner().invoke(app, [*options, "--seed", "2"])
    assert isinstance(done.exception, OSError)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_text() == before
