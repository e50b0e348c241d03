"""The three baselines: their scores recomputed, their chains, their statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_diffusion import QUICK, Predictor, detector, digits, fitted

from adlib import parameters
from adlib.diffusion.baselines import DDPM, AnoDDPM, Autoencoder
from adlib.diffusion.denoising import Chain, gaussian
from adlib.diffusion.pixels import as_pixels, checksums
from adlib.diffusion.simplex import simplex
from adlib.errors import InputError


def errors(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    return ((first.double() - second.double()) ** 2).mean(dim=(1, 2, 3)).numpy()


def fresh(method: str):
    """A fitted copy that a test may change."""
    return detector(method).fit(digits())


def test_the_autoencoder_is_the_compression_model_without_its_codebook():
    model, images = fitted("autoencoder"), digits(6, first=50)
    network = model.networks["autoencoder"]
    assert network.codes == 0
    pixels = as_pixels(images)
    with torch.no_grad():
        wanted = errors(network(pixels), pixels)
    found = model.score(images)
    np.testing.assert_allclose(found.image, wanted, rtol=1e-5)
    np.testing.assert_array_equal(found.others["pixel"], found.image)
    np.testing.assert_allclose(
        found.others["pixel_per_ink"], wanted / found.others["ink"], rtol=1e-5
    )
    assert found.map is None and found.others.keys() == {"ink", "pixel", "pixel_per_ink"}


def test_the_autoencoder_learns():
    model = detector("autoencoder", widths="4+8+8", steps=60, batch=8).fit(digits(200))
    curve = model.report["curve_autoencoder"]["loss"]
    assert curve[-1] < 0.6 * curve[0]
    untrained = detector("autoencoder", widths="4+8+8", steps=1, batch=8).fit(digits(200))
    test = digits(30, first=300)
    assert model.score(test).image.mean() < 0.6 * untrained.score(test).image.mean()


def test_a_black_image_has_a_score():
    for method in ("autoencoder", "anoddpm"):
        found = fitted(method).score(np.zeros((2, 32, 32, 1), np.uint8))
        assert all(np.isfinite(score).all() for score in found.others.values())
        assert (found.others["ink"] == 0).all()


@pytest.mark.parametrize("method", ["anoddpm", "ddpm"])
def test_pixels_are_clipped_in_the_chain(method):
    diffusion = fitted(method).networks["diffusion"]
    assert diffusion.clip and diffusion.scheduler.config.clip_sample
    assert diffusion.shape == (1, 32, 32)


def test_noise_is_simplex_for_one_and_gaussian_for_the_other():
    assert fitted("ddpm").networks["diffusion"].noise is gaussian
    model = detector("anoddpm", octaves=2, persistence=0.5).fit(digits())
    for diffusion, options in (
        (model.networks["diffusion"], {"octaves": 2, "persistence": 0.5}),
        (fitted("anoddpm").networks["diffusion"], {"octaves": 6, "persistence": 0.8}),
    ):
        ours, theirs = (torch.Generator().manual_seed(3) for _ in range(2))
        found = diffusion.noise((2, 1, 32, 32), ours)
        assert torch.equal(found, simplex((2, 1, 32, 32), theirs, **options))


def test_anoddpm_begins_at_its_start_and_every_image_has_its_own_field():
    model = fresh("anoddpm")
    model.values |= {"start": 250, "stride": 50}
    diffusion = model.networks["diffusion"]
    diffusion.network = Predictor(lambda noised, time: torch.zeros_like(noised))
    images = np.concatenate([digits(3), digits(1)])
    model.score(images)
    assert diffusion.network.times == [250, 200, 150, 100, 50, 0]
    kept = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[250]
    pixels = as_pixels(images)
    field = (diffusion.network.seen[0] - kept**0.5 * pixels) / (1 - kept) ** 0.5
    assert torch.equal(field[0], field[3])  # the same image
    assert abs(np.corrcoef(field[0].flatten(), field[1].flatten())[0, 1]) < 0.5
    neighbours = np.corrcoef(field[:3, :, :, 1:].flatten(), field[:3, :, :, :-1].flatten())[0, 1]
    assert neighbours > 0.5  # smooth: simplex noise


def test_anoddpm_scores_are_the_errors_of_its_reconstruction():
    model, images = fitted("anoddpm"), digits(5, first=60)
    pixels = as_pixels(images)
    made = model.networks["diffusion"].reconstruct(
        pixels, 200, seeds=checksums(pixels), seed=0,
        chain=Chain("ddim", 100),
    )  # fmt: skip
    np.testing.assert_allclose(model.score(images).image, errors(pixels, made), rtol=1e-4)


def test_ddpm_averages_z_scores_with_the_statistics_of_held_out_images():
    """Means and deviations recomputed from the images that were not trained on."""

    class Watched(DDPM):
        def _fit_network(self, name, network, loss, data, plan, **options):
            self.trained_on = data
            super()._fit_network(name, network, loss, data, plan, **options)

        def _measure_normal(self, pixels):
            self.measured_on = pixels
            super()._measure_normal(pixels)

    images, test = digits(), digits(7, first=80)
    model = Watched(**QUICK["ddpm"]).fit(images)
    sets = [{p.numpy().tobytes() for p in part} for part in (model.trained_on, model.measured_on)]
    assert [len(part) for part in sets] == [28, 12]
    assert not sets[0] & sets[1]
    assert sets[0] | sets[1] == {p.numpy().tobytes() for p in as_pixels(images)}
    held = model.score(((model.measured_on + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    found = model.score(test)
    z = []
    for start in (200, 400):
        normal = held.others[f"pixel_t{start}"].astype(np.float64)
        z.append((found.others[f"pixel_t{start}"] - normal.mean()) / normal.std(ddof=1))
    np.testing.assert_allclose(found.image, np.mean(z, axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(found.image, found.others["zscore_pixel"])
    np.testing.assert_allclose(held.image.mean(), 0, atol=1e-4)
    assert found.others.keys() == {"ink", "pixel_t200", "pixel_t400", "zscore_pixel"}


def test_every_start_of_ddpm_is_walked():
    model = fresh("ddpm")
    network = Predictor(lambda noised, time: torch.zeros_like(noised))
    model.networks["diffusion"].network = network
    model.score(digits(2))
    assert network.times == [200, 0, 400, 200, 0]


def test_their_loss_is_that_of_equation_8_on_pixels():
    for method in ("anoddpm", "ddpm"):
        curve = fitted(method).report["curve_pixel_diffusion"]
        assert curve["step"] == [1, 2, 3]
        assert all(0.3 < value < 4 for value in curve["loss"])


@pytest.mark.parametrize(
    ("cls", "values", "said"),
    [
        (AnoDDPM, {"start": 1000}, "starts must lie below timesteps = 1000 .* found 1000 and 50"),
        (AnoDDPM, {"stride": 300}, "stride must divide it, found 250 and 300"),
        (AnoDDPM, {"timesteps": 100}, "below timesteps = 100"),
        (DDPM, {"starts": "200+1000"}, "found 1000 and 100"),
        (DDPM, {"starts": "200+x"}, "starts must be whole numbers joined by"),
        (DDPM, {"starts": "0"}, "starts must be whole numbers"),
        (DDPM, {"stride": 7}, "stride must divide"),
        (DDPM, {"unet_widths": "8+8+"}, "unet_widths must be whole numbers"),
        (AnoDDPM, {"unet_widths": "8+8"}, "unet_widths must hold 3 numbers of channels, found 2"),
        (DDPM, {"unet_widths": "+".join("8" * 7)}, "unet_widths must hold 3 .* found 7"),
        (DDPM, {"seed": 2**32}, "seed must be"),
        (Autoencoder, {"widths": "8+8"}, "widths must hold 3 numbers of channels"),
        (Autoencoder, {"widths": "8+-8+8"}, "widths must be whole numbers"),
        (Autoencoder, {"start": 3}, "Autoencoder has no parameter 'start'"),
        (DDPM, {"start": 3}, "did you mean starts"),
        (AnoDDPM, {"octaves": 0}, "octaves must be an integer >= 1"),
        (DDPM, {"held_out": 9}, "held_out must be an integer >= 10"),
    ],
)
def test_bad_parameters(cls, values, said):
    with pytest.raises(InputError, match=said):
        cls(**parameters.check(cls, values))  # as the command line does


@pytest.mark.parametrize("cls", [Autoencoder, AnoDDPM, DDPM])
def test_presets_and_the_parameters_that_count(cls):
    for name, values in cls.PRESETS.items():
        checked = parameters.check(cls, values)
        assert cls(**values).values == checked
        assert cls.effective(checked) == checked
        assert {*cls.LABEL} <= checked.keys(), name
    assert cls().values == parameters.check(cls, cls.PRESETS["small"])
