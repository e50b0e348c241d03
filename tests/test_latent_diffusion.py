"""The detector, fitted in a second: what it may look at, what it keeps, what it refuses."""

from __future__ import annotations

import dataclasses
import json
import shlex

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score
from test_cli import adlib  # noqa: F401 (a fixture)
from test_training import same_weights
from tiny_diffusion import DETECTORS, QUICK, Predictor, coloured, detector, digits, fitted
from torch import Tensor

from adlib import datasets, parameters, records
from adlib.diffusion import compression, training
from adlib.diffusion import detector as module
from adlib.diffusion.base import Detector
from adlib.diffusion.detector import CodebookCollapse, LatentDiffusionDetector
from adlib.diffusion.pixels import as_pixels
from adlib.errors import InputError
from adlib.evaluate import Experiment, Shots, _compared
from adlib.scores import Scores

METHODS = [*DETECTORS]
OWN = "latent_diffusion"


class StoppedError(Exception):
    """What a test raises in the middle of a training."""


def same_scores(first: Scores, second: Scores, exact: bool = True) -> None:
    assert first.others.keys() == second.others.keys()
    for name, score in first.others.items():
        if exact:
            np.testing.assert_array_equal(score, second.others[name], err_msg=name)
        else:
            other = second.others[name]
            np.testing.assert_allclose(score, other, rtol=1e-3, atol=1e-4, err_msg=name)


# --- scores -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_score_belongs_to_the_image_not_to_its_neighbours(method):
    model, images = fitted(method), digits(9, first=70)
    everything = model.score(images)
    assert everything.image.shape == (9,) and everything.image.dtype == np.float32
    for rows in ([4], [8, 2, 5], [3, 3]):
        part = model.score(images[rows])
        wanted = Scores(
            everything.image[rows], None, {k: v[rows] for k, v in everything.others.items()}
        )
        same_scores(part, wanted, exact=False)
        np.testing.assert_allclose(part.image, wanted.image, rtol=1e-3, atol=1e-4)
    same_scores(model.score(images), everything)


@pytest.mark.parametrize("method", METHODS)
def test_two_fits_are_equal_and_another_seed_is_not(method):
    torch.rand(5)  # the global generator has no say
    again = detector(method).fit(digits())
    assert same_weights(again.networks, fitted(method).networks)
    same_scores(again.score(digits(3)), fitted(method).score(digits(3)))
    assert not same_weights(detector(method, seed=1).fit(digits()).networks, again.networks)


def test_the_scores_of_one_reconstruction():
    """Every score from its definition, through the networks alone."""
    model, images = fitted(OWN), digits(6, first=60)
    found, pixels = model.score(images).others, as_pixels(images)
    inner, classifier = model.latent_diffusion, model.classifier
    latents = inner.encode(pixels)
    z = {"pixel": [], "latent": []}

    def error(a: Tensor, b: Tensor) -> np.ndarray:
        return ((a.double() - b.double()) ** 2).mean(dim=(1, 2, 3)).numpy()

    for start in (100, 200):
        made = model._reconstruct(pixels, start)
        assert not torch.allclose(made.latent, latents, atol=0.05)
        for name, value in (("pixel", error(made.pixels, pixels)),
                            ("latent", error(made.latent, latents))):  # fmt: skip
            np.testing.assert_allclose(found[f"{name}_t{start}"], value, rtol=1e-4)
            mean, deviation = model.normal[start][name]
            z[name].append((value - mean) / deviation)
        with torch.no_grad():
            logit = classifier(pixels, made.pixels)
        np.testing.assert_allclose(found[f"classifier_t{start}"], logit.sigmoid(), atol=1e-5)
    for name, parts in z.items():
        np.testing.assert_allclose(found[f"zscore_{name}"], np.mean(parts, axis=0), atol=1e-3)
    with torch.no_grad():
        alone = inner.compression(pixels)
        itself = classifier(pixels, pixels).sigmoid()
        by_codes = classifier(pixels, alone).sigmoid()
    np.testing.assert_allclose(found["vq"], error(alone, pixels), rtol=1e-4)
    np.testing.assert_allclose(found["classifier_itself"], itself, atol=1e-5)
    np.testing.assert_allclose(found["classifier_vq"], by_codes, atol=1e-4)
    ink = images.mean(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(found["ink"], ink, atol=1e-6)
    np.testing.assert_allclose(found["pixel_per_ink"], found["pixel_t200"] / ink, rtol=1e-4)


@pytest.mark.parametrize(
    ("score", "name"),
    [("classifier", "classifier_t200"), ("pixel", "pixel_t200"), ("latent", "latent_t200"),
     ("zscore", "zscore_pixel"), ("vq", "vq")],
)  # fmt: skip
def test_the_image_score_is_the_one_that_was_asked_for(score, name, monkeypatch):
    model = fitted(OWN)
    monkeypatch.setitem(model.values, "score", score)
    found = model.score(digits(4))
    np.testing.assert_array_equal(found.image, found.others[name])


def test_the_reverse_chain_begins_at_200_and_latents_are_not_clipped(monkeypatch):
    model = fitted(OWN)
    diffusion = model.latent_diffusion.diffusion
    assert not diffusion.clip and not diffusion.scheduler.config.clip_sample
    network = Predictor(lambda noised, time: torch.zeros_like(noised))
    monkeypatch.setitem(diffusion._modules, "network", network)
    for sampler, stride, times in (
        ("ddpm", 20, list(range(200, -1, -1))),
        ("ddim", 20, list(range(200, -1, -20))),
    ):
        network.times.clear()
        monkeypatch.setitem(model.values, "sampler", sampler)
        monkeypatch.setitem(model.values, "stride", stride)
        model.reconstruct(digits(2), 200)
        assert network.times == times


def test_reconstructions_are_images():
    model, images = fitted(OWN), digits(3, first=45)
    for start in (0, 200, 999):
        made = model.reconstruct(images, start)
        assert (made.shape, made.dtype) == ((3, 32, 32, 1), np.uint8)
    with torch.no_grad():
        alone = model.latent_diffusion.compression(as_pixels(images))
    difference = (
        model.reconstruct(images, 0) / 127.5 - 1 - alone.clamp(-1, 1).permute(0, 2, 3, 1).numpy()
    )
    assert np.abs(difference).max() < 0.01
    for start in (-1, 1000):
        with pytest.raises(InputError, match=f"in 0 .. 999, found {start}"):
            model.reconstruct(images, start)
    sampled = model.sample(3)
    assert (sampled.shape, sampled.dtype) == ((3, 32, 32, 1), np.uint8)


# --- what it may look at ----------------------------------------------------------------


class Watched(LatentDiffusionDetector):
    """Trains nothing, and remembers which images were for what."""

    def _fit_network(self, name, network, loss, data, plan, **options) -> None:
        self.given = getattr(self, "given", {}) | {name: data}
        network.eval()

    def _measure_normal(self, pixels) -> None:
        self.given["statistics"] = pixels

    def _measure_codebook(self, pixels) -> None:
        self.given["codebook"] = pixels

    def _pairs(self, images, first_draw):
        self.given["pairs"] = [*self.given.get("pairs", []), images]
        return super()._pairs(images, first_draw)


def keys(images: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


@pytest.mark.parametrize("seen", [False, True])
def test_pairs_and_statistics_come_from_held_out_images(seen):
    pixels = as_pixels(digits())
    model = Watched(**{**QUICK[OWN], "seen": seen}).fit(digits())
    trained, held = keys(model.given["compression model"]), keys(model.given["statistics"])
    assert (len(trained), len(held)) == (28, 12)
    assert not trained & held and trained | held == keys(pixels)
    shown, unseen = map(keys, model.given["pairs"])
    assert not shown & unseen  # its accuracy is measured on other images
    assert (len(shown), len(unseen)) == (9, 3)
    assert shown | unseen <= (trained if seen else held)
    assert keys(model.given["codebook"]) == held
    # the diffusion learns from the latents of the training images, encoded once
    wanted = model.latent_diffusion.encode(model.given["compression model"])
    torch.testing.assert_close(model.given["diffusion"], wanted)
    assert float(wanted.var()) == pytest.approx(1, abs=1e-4)
    assert model.report["latent_scale"] == pytest.approx(
        float(model.latent_diffusion.scale), rel=1e-3
    )


def test_which_images_are_held_out_follows_from_the_seed():
    held = [
        keys(detector(OWN, seed=seed)._slices(as_pixels(digits())).held_out) for seed in (0, 0, 1)
    ]
    assert held[0] == held[1] != held[2]


def test_no_sample_from_noise_is_a_negative_twice():
    model = fitted(OWN)
    pixels = as_pixels(digits(20))
    values, model.values = model.values, {**model.values, "draws": 2}
    try:
        shown, unseen = model._pairs(pixels[4:], 0), model._pairs(pixels[:4], 1000)
    finally:
        model.values = values
    noise = [found.second[torch.from_numpy(found.partner == -1)] for found in (shown, unseen)]
    assert [len(part) for part in noise] == [32, 8]
    assert not keys(noise[0]) & keys(noise[1])
    assert len(keys(noise[0])) == 32


# --- what it keeps ----------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_model_comes_back_from_its_file(method, tmp_path):
    model, images = fitted(method), digits(4, first=50)
    model.save(tmp_path / "model.safetensors")
    state = torch.get_rng_state()
    found = DETECTORS[method].load(tmp_path / "model.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    same_scores(found.score(images), model.score(images))
    assert found.values == model.values and found.drawn() == model.drawn()
    assert same_weights(found.networks, model.networks)


@pytest.mark.parametrize("method", METHODS)
def test_foreign_and_damaged_files(method, tmp_path):
    file, cls = tmp_path / "model.safetensors", DETECTORS[method]
    other = METHODS[METHODS.index(method) - 1]
    fitted(other).save(file)
    with pytest.raises(InputError, match=f"holds no {method} model"):
        cls.load(file)
    fitted(method).save(file)
    content = file.read_bytes()
    for bad in (content[:-7], b"", content[:-1] + bytes([content[-1] ^ 1])):
        file.write_bytes(bad)
        with pytest.raises(InputError, match=r"model.safetensors"):
            cls.load(file)
    with pytest.raises(InputError, match="found none at"):
        cls.load(tmp_path / "none.safetensors")


def test_a_file_without_a_network(tmp_path):
    from adlib import model_file

    file = tmp_path / "model.safetensors"
    fitted("autoencoder").save(file)
    tensors, description = model_file.read(file)
    model_file.write(file, dict(list(tensors.items())[1:]), description)
    with pytest.raises(InputError, match="holds no complete autoencoder model"):
        DETECTORS["autoencoder"].load(file)


def test_what_the_training_left_behind():
    found = fitted(OWN).drawn()
    assert found.keys() >= {
        "curve_compression_model", "curve_diffusion", "curve_classifier", "latent_scale",
        "codes_used", "perplexity", "codes_restarted", "pairs", "pair_accuracy", "pair_auroc",
        "parameters_millions", "channels", "seconds_diffusion",
    }  # fmt: skip
    assert found["pairs"] == 18 and found["channels"] == 1
    assert 0 < found["codes_used"] <= 1 <= found["perplexity"] <= 24
    assert {"step", "loss", "codebook", "perplexity"} <= found["curve_compression_model"].keys()
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_checkpoints_again_train_nothing(method, tmp_path, monkeypatch):
    first = detector(method)
    first.checkpoints = tmp_path / "trainings"
    first.fit(digits())
    without = fitted(method)  # no checkpoints; fitted before training is forbidden
    monkeypatch.setattr(training, "_update", lambda *args: pytest.fail("trained"))
    again = detector(method)
    again.checkpoints = tmp_path / "trainings"
    again.fit(digits())
    same_scores(again.score(digits(3)), first.score(digits(3)))
    same_scores(first.score(digits(3)), without.score(digits(3)))


def test_other_settings_or_images_do_not_share_a_checkpoint(tmp_path, monkeypatch):
    def trained(*args, checkpoint, **options) -> training.Trained:
        checkpoint.touch()
        return training.Trained({}, 0.0)

    monkeypatch.setattr(training, "train", trained)

    def files(n: int = 40, **changes) -> set[str]:
        model = detector(OWN, **changes)
        model.checkpoints = tmp_path
        model.fit(digits(n))
        return {path.name for path in tmp_path.iterdir()}

    assert {name.partition("-")[0] for name in files()} == {
        "compression_model", "diffusion", "classifier",
    }  # fmt: skip
    assert len(files(grid="300")) == 3  # decides no training
    assert len(files(negatives="other")) == 4  # another classifier
    assert len(files(schedule="scaled_linear")) == 6  # another diffusion and classifier
    assert len(files(codes=20)) == 9
    assert len(files(seed=1)) == 12
    assert len(files(n=41)) == 15


@pytest.fixture
def eager(monkeypatch):
    """Write a checkpoint after every step."""
    monkeypatch.setattr(training, "CHECK_EVERY", 1)
    monkeypatch.setattr(training, "SAVE_SECONDS", -1.0)


def interrupted(place: tuple[str, int], folder, **changes) -> Detector:
    """Stop a fit at a step of one network's training, and go on with a new detector."""

    def stop(name: str, done: int, total: int) -> None:
        if (name, done) == place:
            raise StoppedError

    for progress in (stop, None):
        model = detector(OWN, **changes)
        model.checkpoints, model.progress = folder, progress
        if progress is None:
            return model.fit(digits())
        with pytest.raises(StoppedError):
            model.fit(digits())


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("place", [("compression model", 2), ("diffusion", 3), ("classifier", 1)])
def test_a_fit_that_was_stopped_ends_the_same(place, tmp_path):
    found = interrupted(place, tmp_path)
    assert same_weights(found.networks, fitted(OWN).networks)
    same_scores(found.score(digits(3)), fitted(OWN).score(digits(3)))


@pytest.mark.usefixtures("eager")
def test_codes_are_restarted_after_a_stop_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(compression, "RESTART_EVERY", 3)
    changes = {"compression_steps": 10, "codes": 600}
    whole = detector(OWN, **changes).fit(digits())
    assert whole.report["codes_restarted"] > 0
    found = interrupted(("compression model", 2), tmp_path, **changes)
    assert same_weights(found.networks, whole.networks)


@pytest.mark.usefixtures("eager")
def test_an_adversary_is_resumed_too(tmp_path):
    changes = {"adversarial": 0.5, "adversarial_start": 0.25, "compression_steps": 6}
    with torch.random.fork_rng():  # until the adversary has weights of its seed, see below
        torch.manual_seed(0)
        whole = detector(OWN, **changes).fit(digits())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = interrupted(("compression model", 3), tmp_path, **changes)
    curve = whole.report["curve_compression_model"]
    assert {"adversarial", "opponent_loss"} <= curve.keys()
    assert any(value != 0 for value in curve["adversarial"])
    assert same_weights(found.networks, whole.networks)
    assert whole.latent_diffusion.compression.terms == {}


def test_the_seed_decides_the_adversary():
    found = []
    for state in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(state)
            model = detector(OWN, adversarial=0.5, adversarial_start=0.0).fit(digits())
        found.append(model.networks)
    assert same_weights(*found)


# --- options ----------------------------------------------------------------------------


def test_edges_are_an_option():
    model = detector(OWN, edges=True).fit(digits())
    pixels = as_pixels(digits(4))
    with torch.no_grad():
        made = model.latent_diffusion.compression(pixels)
    wanted = (made - compression.edge_map(pixels)).double().square().mean(dim=(1, 2, 3))
    np.testing.assert_allclose(model.score(digits(4)).others["vq"], wanted, rtol=1e-4)
    assert not same_weights(model.latent_diffusion, fitted(OWN).latent_diffusion)


@pytest.mark.parametrize(
    "changes",
    [
        {"sampler": "ddpm", "start": 10, "grid": "5", "positives": "3"},
        {"sampler": "ddpm", "printed": True, "start": 10, "grid": "5", "positives": "3"},
        {"negatives": "noise+other+later", "positives": "100+300", "later": 400},
        {"stem": "imagenet"},
        {"schedule": "scaled_linear", "timesteps": 500, "stride": 50},
        {"precision": "bfloat16"},
        {"unet_widths": "32+32+32", "unet_attention": True},
        {"unet_widths": "8+8+16", "unet_attention": True},  # narrower than an attention head
    ],
)
def test_other_settings_run_and_change_the_scores(changes):
    model = detector(OWN, **changes).fit(digits())
    found = model.score(digits(3))
    assert all(np.isfinite(score).all() for score in found.others.values())
    start = changes.get("start", 200)
    assert f"pixel_t{start}" in found.others
    reference = fitted(OWN).score(digits(3)).image
    assert not np.allclose(found.image, reference, atol=1e-7)


def test_colour():
    model = detector(OWN).fit(coloured())
    assert model.channels == 3 and model.reconstruct(coloured(2), 200).shape == (2, 32, 32, 3)
    both = model.score(np.concatenate([coloured(2), digits(2).repeat(3, axis=3)]))
    np.testing.assert_allclose(model.score(digits(2)).image, both.image[2:], rtol=1e-3, atol=1e-5)


def test_the_perceptual_term_without_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match="the perceptual term needs VGG-16's weights"):
        detector(OWN, perceptual=1.0).fit(digits())


def test_effective_parameters():
    cls = LatentDiffusionDetector

    def idle(**changes) -> set[str]:
        values = parameters.check(cls, changes)
        effective = cls.effective(values)
        assert effective.keys() == values.keys()
        assert all(effective[n] in (None, v) for n, v in values.items())
        return {name for name, value in effective.items() if value is None}

    assert idle() == {"adversarial_start", "printed", "later"}
    assert idle(adversarial=0.5, sampler="ddpm", negatives="noise+later") == set()
    assert idle(negatives="later") == {"adversarial_start", "printed"}


def test_presets():
    cls = LatentDiffusionDetector
    assert {*cls.PRESETS} == {"tiny", "small", "paper"}
    for values in cls.PRESETS.values():
        assert cls(**values).values == parameters.check(cls, values)
    paper = cls(**cls.PRESETS["paper"]).values
    assert paper["widths"] == "64+128+256" and paper["unet_widths"] == "224+448+672"
    assert (paper["start"], paper["timesteps"], paper["sampler"]) == (200, 1000, "ddpm")
    assert paper["classifier_widths"] == "64+128+256+512" and paper["negatives"] == "noise"
    assert not {"seed", "start", "negatives", "positives"} & cls.PRESETS["paper"].keys()


# --- bad input --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"start": 1000}, "every start t must lie below timesteps = 1000, found 1000"),
        ({"timesteps": 100}, "below timesteps = 100, found 500"),
        ({"positives": "200+1200"}, "found 1200"),
        ({"grid": "100+2000"}, "found 2000"),
        ({"stride": 30}, "stride must divide timesteps = 1000, found 30"),
        ({"widths": "8+16"}, "widths must hold 3 numbers of channels, found 2"),
        ({"unet_widths": "8+16+32+64"}, "unet_widths must hold 3 .* found 4"),
        ({"classifier_widths": "8"}, "classifier_widths must hold 4"),
        ({"widths": "8+0+8"}, "widths must be whole numbers"),
        ({"grid": ""}, "grid must be whole numbers joined by"),
        ({"positives": "200+"}, "positives must be whole numbers"),
        ({"negatives": "nothing"}, "no kind of negatives 'nothing'"),
        ({"codes": 1}, "codes must be an integer >= 2"),
        ({"start": "200"}, "start must be an integer"),
        ({"commitment": float("nan")}, "commitment must be"),
        ({"sampler": "plms"}, "one of 'ddim', 'ddpm'"),
        ({"printed": 1}, "printed must be true or false"),
        ({"strid": 20}, "no parameter 'strid'.*did you mean stride"),
    ],
)
def test_bad_parameters(values, said):
    with pytest.raises(InputError, match=said):
        LatentDiffusionDetector(**parameters.check(LatentDiffusionDetector, values))


def test_a_start_called_later_outside_of_the_chain_is_refused_at_once():
    with pytest.raises(InputError, match="below timesteps"):
        LatentDiffusionDetector(negatives="later", later=1000)


@pytest.mark.parametrize("method", METHODS)
def test_images_that_do_not_fit(method):
    for images, said in (
        ([], "found none"),
        (np.zeros((9, 28, 28, 1), np.uint8), "must be 32 x 32"),
        (digits(30) / 255.0, "uint8"),
        (digits(3), "at least one batch" if method == "autoencoder" else "held_out must be less"),
    ):
        with pytest.raises(InputError, match=said):
            detector(method).fit(images)
    model = fitted(method)
    for images, said in (
        ([], "found none"),
        (np.zeros((2, 64, 64, 3), np.uint8), "must be 32 x 32"),
        (digits(2).astype(np.float32), "uint8"),
        (coloured(2), "fitted on grey images"),
    ):
        with pytest.raises(InputError, match=said):
            model.score(images)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_is_not_fitted(method, tmp_path):
    model = detector(method)
    calls = [lambda: model.score(digits(1)), lambda: model.save(tmp_path / "model.safetensors")]
    if method == OWN:
        calls += [lambda: model.reconstruct(digits(1), 200), lambda: model.sample(1)]
    for call in calls:
        with pytest.raises(InputError, match="is not fitted: call fit or load"):
            call()


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_that_failed_is_no_fit(method):
    model = detector(method)
    model.progress = lambda *told: (_ for _ in ()).throw(StoppedError)
    with pytest.raises(StoppedError):
        model.fit(digits())
    with pytest.raises(InputError, match="is not fitted"):
        model.score(digits(1))


def test_fewer_images_than_a_batch():
    with pytest.raises(InputError, match="compression model .* batch of 4 images, found 3"):
        detector(OWN).fit(digits(15))
    with pytest.raises(InputError, match="classifier .* batch of 19 images, found 18"):
        detector(OWN, classifier_batch=19).fit(digits())


def test_a_loss_that_is_no_number_names_network_and_step(monkeypatch, tmp_path):
    predict = module.Diffusion.predict

    def broken(self, noised, time):
        found = predict(self, noised, time)
        return found * float("nan") if self.training else found

    monkeypatch.setattr(module.Diffusion, "predict", broken)
    model = detector(OWN)
    model.checkpoints = tmp_path
    with pytest.raises(InputError, match=r"loss of the diffusion .* at step 1 of 3; .*\(0.001\)"):
        model.fit(digits())
    # what was finished before is kept, and loads
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("compression_model-")


def test_a_collapsed_codebook_is_a_warning_with_the_usage(monkeypatch):
    monkeypatch.setattr(
        compression.CompressionModel, "nearest",
        lambda self, latents: torch.zeros(latents.shape[0], 8, 8, dtype=torch.int64),
    )  # fmt: skip
    said = r"codebook has collapsed: 1.0% of 100 codes are in use, perplexity 1.0; lower"
    with pytest.warns(CodebookCollapse, match=said):
        model = detector(OWN, codes=100).fit(digits())
    assert model.report["collapsed"] is True
    assert (model.report["codes_used"], model.report["perplexity"]) == (0.01, 1.0)
    assert "collapsed" not in fitted(OWN).report


def test_a_small_codebook_can_collapse_too(monkeypatch):
    monkeypatch.setattr(
        compression.CompressionModel, "nearest",
        lambda self, latents: torch.zeros(latents.shape[0], 8, 8, dtype=torch.int64),
    )  # fmt: skip
    with pytest.warns(CodebookCollapse):
        detector(OWN, codes=32).fit(digits())


def test_checkpoints_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    model = detector("autoencoder")
    model.checkpoints = tmp_path / "file" / "trainings"
    with pytest.raises(InputError, match="checkpoints cannot be written"):
        model.fit(digits())


def test_progress_names_each_network():
    told = []
    model = detector(OWN)
    model.progress = lambda name, done, total: told.append((name, done, total))
    model.fit(digits())
    assert list(dict.fromkeys(name for name, _, _ in told)) == [
        "compression model", "diffusion", "classifier",
    ]  # fmt: skip
    assert ("compression model", 4, 4) in told and ("classifier", 2, 2) in told
    told.clear()
    model.score(digits(2))
    assert told == [("scoring", 0, 2), ("scoring", 1, 2), ("scoring", 2, 2)]


# --- records ----------------------------------------------------------------------------


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def test_further_scores_are_measured_from_their_definitions():
    rng = np.random.default_rng(0)
    labels = (rng.random(60) < 0.3).astype(int)
    ink = rng.random(60).round(1)  # with ties
    others = {
        "ink": ink,
        "error": (ink + rng.random(60)).round(1),
        "signed": rng.standard_normal(60),
        "low": np.where(labels == 1, 0.1, 0.9) + 0.01 * rng.random(60),
        "constant": np.full(60, 2.0),
        "zero": np.zeros(60),
    }
    found = _compared(labels, Scores(others["error"], None, others))
    normal = labels == 0
    for name, score in others.items():
        wanted = roc_auc_score(labels, score)
        assert found[f"auroc_{name}"] == pytest.approx(wanted, abs=1e-6)
        if name in ("signed", "zero"):  # a ratio of means would mean nothing
            assert f"ratio_{name}" not in found
        else:
            ratio = score[~normal].mean() / score[normal].mean()
            assert found[f"ratio_{name}"] == pytest.approx(ratio, abs=1e-6)
        if name in ("ink", "constant", "zero"):
            assert f"ink_{name}" not in found
        else:
            wanted = spearman(ink[normal], score[normal])
            assert found[f"ink_{name}"] == pytest.approx(wanted, abs=1e-6)
    assert found["auroc_low"] == 0  # never folded
    assert _compared(labels, Scores(ink)) == {}


@pytest.fixture
def experiment(tmp_path, monkeypatch) -> Experiment:
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path / "cache"))
    whole = datasets.load("digits", "0")
    few = dataclasses.replace(whole, train=whole.train[:60], test=whole.test[:50])
    return Experiment(few, None)


def test_a_record_holds_every_score_of_the_same_images(experiment, tmp_path):
    run = experiment.run(OWN, QUICK[OWN], results=tmp_path / "results")
    record, scores, labels = run.record, run.scores, experiment.category.test.labels
    assert 0 < labels.sum() < 20
    names = {"ink", "vq", "pixel_t100", "pixel_t200", "latent_t100", "latent_t200",
             "classifier_t100", "classifier_t200", "classifier_itself", "classifier_vq",
             "pixel_per_ink", "zscore_pixel", "zscore_latent"}  # fmt: skip
    assert scores.others.keys() == names
    for name in names:
        wanted = roc_auc_score(labels, scores.others[name])
        assert record["metrics"][f"auroc_{name}"] == pytest.approx(wanted, abs=1e-6)
    assert record["metrics"]["image_auroc"] == pytest.approx(
        record["metrics"]["auroc_classifier_t200"], abs=1e-6
    )
    assert {"ratio_vq", "ratio_ink", "ink_vq"} <= record["metrics"].keys()
    assert not {"ink_ink", "ratio_zscore_pixel"} & record["metrics"].keys()
    kinds, counts = np.unique(experiment.category.test.defects, return_counts=True)
    found = {kind: len(values) for kind, values in record["scores"].items()}
    assert found == dict(zip(kinds.tolist(), counts.tolist(), strict=True))
    np.testing.assert_array_equal(
        np.array(record["scores"]["0"], np.float32), scores.image[labels == 1]
    )
    assert record["drawn"]["pairs"] == 18 and record["identity"]["backbone"] is None
    assert records.read(run.path) == record
    assert run.path.parent.name == OWN and run.path.name.startswith("8+8+8-noise-200-seed0-")
    (row,) = records.table(tmp_path / "results").to_dict("records")
    assert row["auroc_vq"] == record["metrics"]["auroc_vq"]
    assert row["negatives"] == "noise" and row["category"] == "0"


def test_a_second_run_uses_the_checkpoints_of_the_first(experiment, tmp_path, monkeypatch):
    first = experiment.run(OWN, QUICK[OWN])
    folder = tmp_path / "cache" / "trainings"
    assert len(list(folder.iterdir())) == 3
    monkeypatch.setattr(training, "_update", lambda *args: pytest.fail("trained"))
    again = experiment.run(OWN, QUICK[OWN])
    assert again.record["metrics"] == first.record["metrics"]
    wider = experiment.run(OWN, {**QUICK[OWN], "grid": "300", "score": "pixel"})
    assert "auroc_pixel_t300" in wider.record["metrics"]


def test_shots_are_a_few_training_images(experiment):
    run = experiment.run("autoencoder", QUICK["autoencoder"], shots=Shots(9, 0))
    assert run.record["counts"]["train"] == 9 and "--shots 9" in run.record["command"]
    with pytest.raises(InputError, match="held_out must be less .* found 12 of 9"):
        experiment.run(OWN, QUICK[OWN], shots=Shots(9, 0))


def test_the_command_in_the_record_repeats_it(adlib, tmp_path):  # noqa: F811
    words = ("--dataset", "digits", "--category", "06789", "--preset", "tiny", "--seed", 3)
    status, out, err = adlib("evaluate", "autoencoder", *words, "--set", "steps=2")
    assert status == 0, err
    (record,) = records.read_all("results")
    assert record["identity"]["parameters"]["widths"] == "4+4+8"
    assert f"{record['metrics']['image_auroc']:.4f}" in out
    command = shlex.split(record["command"])
    assert command[:3] == ["adlib", "evaluate", "autoencoder"] and "--root" not in command
    status, out, err = adlib(*command[1:], "--json", "again.json", "--no-cache")
    assert status == 0, err
    again = json.loads((tmp_path / "again.json").read_text())
    for name in ("key", "identity", "metrics", "scores", "counts", "command"):
        assert again[name] == record[name]
    assert {*record["scores"]} == {*"0123456789"}
    assert record["counts"]["test"] == 599


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--category", "zebra"], ["'zebra'"]),
        (["--category", "10"], ["'10'"]),
        (["--category", "0123456789"], ["found all 10", "leave at least one out"]),
        (["--category", "00"], ["'00'"]),
        (["--category", ""], ["''"]),
        (["--set", "start=1000"], ["every start t must lie below timesteps = 1000, found 1000"]),
        (["--set", "stride=30"], ["stride must divide timesteps = 1000, found 30"]),
        (["--set", "negatives=mirror"], ["no kind of negatives 'mirror'", "noise"]),
        (["--set", "codes=0"], ["codes must be an integer >= 2"]),
        (["--set", "widths=8"], ["widths must hold 3 numbers"]),
        (["--set", "strides=30"], ["no parameter 'strides'", "did you mean stride?"]),
        (["--preset", "large"], ["no preset 'large'", "tiny"]),
        (["--shots", "9"], ["held_out must be less than", "found 12 of 9"]),
        (["--shots", "100000"], ["shots must lie in [1, ", "found 100000"]),
        (["--set", "compression_batch=5000"], ["at least one batch of 5000 images"]),
        (["--set", "perceptual=1.0"], ["the perceptual term needs VGG-16's weights"]),
        (["--resize", "64"], ["resize"]),
        (["--device", "tpu"], ["auto, cpu or cuda"]),
    ],
)
def test_bad_input_on_the_command_line(words, said, adlib, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    category = [] if "--category" in words else ["--category", "0"]
    named = {word.partition("=")[0] for word in words}  # a setting is given once
    given = [w for n, v in QUICK[OWN].items() if n not in named for w in ("--set", f"{n}={v}")]
    status, out, err = adlib("evaluate", OWN, "--dataset", "digits", *category, *given, *words)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("adlib: ") and len(line) < 600
    for part in said:
        assert part in line
    assert records.read_all("results") == []
