"""The diffusion against closed formulas, an ideal predictor, and diffusers' own schedulers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_diffusion import Predictor, digits, latents
from torch import Tensor

from adlib.diffusion.compression import CompressionModel
from adlib.diffusion.denoising import Chain, Diffusion, LatentDiffusion, gaussian
from adlib.diffusion.pixels import as_pixels
from adlib.errors import InputError

# the imports above let diffusers load
from diffusers import DDPMScheduler  # isort: skip

RANGE = {"linear": (1e-4, 0.02), "scaled_linear": (0.0015, 0.0195)}


def betas(schedule: str = "linear", timesteps: int = 1000) -> np.ndarray:
    """The schedules, float64, as the papers write them."""
    first, last = RANGE[schedule]
    if schedule == "linear":
        return np.linspace(first, last, timesteps)
    return np.linspace(first**0.5, last**0.5, timesteps) ** 2


def small(rule=None, timesteps: int = 1000, **options) -> Diffusion:
    """A diffusion of (3, 8, 8) with the given rule in place of its U-net."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        diffusion = Diffusion(3, 8, (8, 8), timesteps=timesteps, **options)
    if rule is not None:
        diffusion.network = Predictor(rule)
    return diffusion


def ideal(clean: Tensor, timesteps: int = 1000):
    """Predict exactly the noise that stands between an example and its noised version."""
    kept = np.cumprod(1 - betas(timesteps=timesteps))

    def rule(noised: Tensor, time: int) -> Tensor:
        return (noised - kept[time] ** 0.5 * clean.to(noised)) / (1 - kept[time]) ** 0.5

    return rule


def crooked(noised: Tensor, time: int) -> Tensor:
    """Predict something that is neither ideal nor linear."""
    return torch.sin(noised + time / 300) * (0.4 + time / 2000)


def generators(n: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


# --- the forward chain ------------------------------------------------------------------


@pytest.mark.parametrize(("schedule", "at_200"), [("linear", 0.656), ("scaled_linear", 0.615)])
def test_schedules(schedule, at_200):
    diffusion = small(schedule=schedule)
    wanted = betas(schedule)
    np.testing.assert_allclose(diffusion.beta, wanted, rtol=1e-5)
    np.testing.assert_allclose(diffusion.alpha_bar, np.cumprod(1 - wanted), rtol=1e-4)
    assert float(diffusion.alpha_bar[200]) == pytest.approx(at_200, abs=5e-4)


def test_noise_is_added_as_in_equation_4():
    """Step by step from x_0, Equation 3, gives the same mean and variance as the closed form."""
    diffusion = small()
    clean, noise = latents(4), latents(4, seed=1)
    time = torch.tensor([0, 7, 200, 999])
    found = diffusion.add_noise(clean, time, noise)
    for row, last in enumerate(time.tolist()):
        scale, variance = 1.0, 0.0
        for beta in betas()[: last + 1]:
            scale, variance = scale * (1 - beta) ** 0.5, variance * (1 - beta) + beta
        wanted = scale * clean[row] + variance**0.5 * noise[row]
        torch.testing.assert_close(found[row], wanted, atol=2e-5, rtol=1e-4)


def test_the_loss_is_the_squared_error_of_the_noise():
    """A predictor that knows the image and is told the right time makes it zero; a blind one 1."""
    clean = latents(64)
    diffusion = small(timesteps=50)
    kept = torch.from_numpy(np.cumprod(1 - betas(timesteps=50))).float()
    asked = []

    def knowing(noised: Tensor, time: Tensor) -> Tensor:
        asked.extend(time.tolist())
        share = kept[time].view(-1, 1, 1, 1)
        return (noised - share.sqrt() * clean) / (1 - share).sqrt()

    diffusion.predict = knowing
    for step in range(10):
        rng = torch.Generator().manual_seed(step)
        assert float(diffusion.loss(clean, rng, step)["loss"]) < 1e-6
    assert set(asked) == set(range(50))
    diffusion.predict = lambda noised, time: torch.zeros_like(noised)
    blind = float(diffusion.loss(clean, torch.Generator().manual_seed(0), 0)["loss"])
    assert blind == pytest.approx(1, abs=5 * (2 / clean.numel()) ** 0.5)


def test_the_loss_uses_the_noise_that_it_was_given():
    diffusion = small(noise=lambda shape, rng: torch.full(shape, 3.0))
    diffusion.predict = lambda noised, time: torch.ones_like(noised)
    assert float(diffusion.loss(latents(2), torch.Generator(), 0)["loss"]) == 4


# --- where the reverse chain begins -----------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "start", "times"),
    [
        (Chain("ddpm"), 200, list(range(200, -1, -1))),
        (Chain("ddpm", stride=50), 200, list(range(200, -1, -1))),
        (Chain("ddim", stride=20), 200, list(range(200, -1, -20))),
        (Chain("ddim", stride=1), 200, list(range(200, -1, -1))),
        (Chain("ddim", stride=100), 250, [250, 150, 50]),
        (Chain("ddim", stride=50), 30, [30]),
        (Chain("ddpm"), 0, [0]),
    ],
)
def test_the_chain_begins_at_exactly_the_index_it_is_told(chain, start, times):
    clean = latents(6)
    diffusion = small(ideal(clean))
    diffusion.reconstruct(clean, start, seeds=range(6), chain=chain)
    assert diffusion.network.times == times
    kept = np.cumprod(1 - betas())[start]
    noise = (diffusion.network.seen[0] - kept**0.5 * clean) / (1 - kept) ** 0.5
    size = noise.numel()  # what the network sees first is q(x_t | x_0) at that very index
    assert float(noise.mean()) == pytest.approx(0, abs=5 / size**0.5)
    assert float(noise.square().mean()) == pytest.approx(1, abs=5 * (2 / size) ** 0.5)


def test_the_numbers_of_steps_in_the_book():
    assert len(Chain("ddpm").indices(200)) == 201
    assert len(Chain("ddim", 20).indices(200)) == 11


@pytest.mark.parametrize("chain", [Chain("ddpm"), Chain("ddim", 20), Chain("ddim", 50)])
@pytest.mark.parametrize("start", [200, 230])
def test_a_perfect_predictor_gives_the_example_back(chain, start):
    clean = latents(3)
    found = small(ideal(clean)).reconstruct(clean, start, seeds=range(3), chain=chain)
    torch.testing.assert_close(found, clean, atol=2e-3, rtol=0)


@pytest.mark.parametrize("chain", [Chain("ddpm"), Chain("ddim", 20)])
def test_latents_are_not_clipped_and_pixels_are(chain):
    clean = 5 * latents(3).sign()
    free = small(ideal(clean)).reconstruct(clean, 200, seeds=range(3), chain=chain)
    torch.testing.assert_close(free, clean, atol=5e-3, rtol=0)
    assert not small().scheduler.config.clip_sample  # the default of diffusers is True
    clipped = small(ideal(clean), clip=True).reconstruct(clean, 200, seeds=range(3), chain=chain)
    assert float(clipped.abs().max()) <= 1 + 1e-5


# --- one step, and all of them ----------------------------------------------------------


@pytest.mark.parametrize(("start", "stride"), [(200, 20), (250, 100), (999, 1), (37, 40)])
@pytest.mark.parametrize("clip", [False, True])
def test_ddim_against_the_closed_formula(start, stride, clip):
    """Song et al. 2021, Equation 12 with eta = 0; past the last index lies the clean example."""
    noised = latents(2)
    found = small(crooked, clip=clip).denoise(noised, start, generators(2), Chain("ddim", stride))
    kept, x = np.cumprod(1 - betas()), noised.double()
    for index in range(start, -1, -stride):
        before = kept[index - stride] if index >= stride else 1.0
        noise = crooked(x, index)
        clean = (x - (1 - kept[index]) ** 0.5 * noise) / kept[index] ** 0.5
        clean = clean.clamp(-1, 1) if clip else clean
        x = before**0.5 * clean + (1 - before) ** 0.5 * noise
    torch.testing.assert_close(found, x.float(), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("schedule", ["linear", "scaled_linear"])
def test_ddpm_against_diffusers_over_the_whole_chain(schedule, clip):
    """Variance beta_t of Equation 6 is called fixed_large there, and is not the default."""
    first, last = RANGE[schedule]
    theirs = DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=first,
        beta_end=last,
        beta_schedule=schedule,
        variance_type="fixed_large",
        clip_sample=clip,
    )
    wanted, (rng,) = latents(1, seed=5), generators(1, seed=9)
    for index in range(999, -1, -1):
        wanted = theirs.step(crooked(wanted, index), index, wanted, generator=rng).prev_sample
    diffusion = small(crooked, schedule=schedule, clip=clip)
    found = diffusion.denoise(latents(1, seed=5), 999, generators(1, seed=9), Chain("ddpm"))
    torch.testing.assert_close(found, wanted, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("printed", [False, True])
def test_ddpm_spreads_gaussian_data_as_computed(printed):
    """For data N(0, s^2) the ideal predictor is linear: the variance follows a recursion."""
    spread, timesteps, n = 0.5, 200, 60
    beta = betas(timesteps=timesteps)
    kept = np.cumprod(1 - beta)
    total = kept * spread**2 + 1 - kept  # variance of x_t

    def rule(noised: Tensor, time: int) -> Tensor:
        return (1 - kept[time]) ** 0.5 / total[time] * noised

    diffusion = small(rule, timesteps=timesteps)
    chain = Chain("ddpm", printed=printed)
    found = diffusion.denoise(latents(n), timesteps - 1, generators(n), chain)
    variance = 1.0
    for t in range(timesteps - 1, -1, -1):
        mean = (1 - beta[t] / total[t]) / (1 - beta[t]) ** 0.5  # Equation 7, a factor
        added = 0 if t == 0 else beta[t] ** 2 if printed else beta[t]
        variance = mean**2 * variance + added
    size = found.numel()
    assert float(found.mean()) == pytest.approx(0, abs=5 * (variance / size) ** 0.5)
    assert float(found.var()) == pytest.approx(variance, rel=5 * (2 / size) ** 0.5)
    # close to the data with sqrt(beta_t); as printed the chain is under-noised
    assert (variance / spread**2 > 0.95) == (not printed)


def test_equation_9_as_printed_scales_the_noise_by_beta():
    beta = betas()
    for printed, scale in ((True, beta[200]), (False, beta[200] ** 0.5)):
        diffusion = small(crooked)
        drawn = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(4))
        diffusion._each = lambda rngs, device, drawn=drawn: drawn
        args = (latents(2), latents(2, seed=1), 200, [], printed)
        with_noise = diffusion._ancestral(*args)
        diffusion._each = lambda rngs, device: torch.zeros(2, 3, 8, 8)
        difference = with_noise - diffusion._ancestral(*args)
        torch.testing.assert_close(difference, scale * drawn, atol=1e-6, rtol=1e-3)


def test_the_last_step_adds_no_noise():
    diffusion = small(crooked)
    first, second = (
        diffusion.denoise(latents(2), 0, generators(2, seed), Chain("ddpm")) for seed in (0, 50)
    )
    assert torch.equal(first, second)


# --- noise belongs to the example -------------------------------------------------------


@pytest.mark.parametrize("chain", [Chain("ddpm"), Chain("ddim", 50)])
def test_a_reconstruction_depends_on_the_example_not_on_its_place(chain):
    clean, seeds = latents(7), [11, 5, 77, 8, 1, 0, 4_000_000_000]
    diffusion = small(crooked)

    def run(rows: list[int], batch: int = 500) -> Tensor:
        chosen = [seeds[i] for i in rows]
        return diffusion.reconstruct(clean[rows], 100, seeds=chosen, chain=chain, batch=batch)

    # an operation on a whole batch may round differently: no more than that
    everything = run([*range(7)])
    for rows in ([6, 0, 3], [4]):
        torch.testing.assert_close(run(rows), everything[rows])
    torch.testing.assert_close(run([*range(7)], batch=2), everything)


def test_noise_differs_between_examples_seeds_and_starts():
    clean = latents(1).expand(2, -1, -1, -1)
    diffusion = small(crooked)
    first = diffusion.reconstruct(clean, 100, seeds=[1, 2])
    assert not torch.allclose(first[0], first[1])
    assert torch.equal(first, diffusion.reconstruct(clean, 100, seeds=[1, 2], seed=0))
    assert not torch.allclose(first, diffusion.reconstruct(clean, 100, seeds=[1, 2], seed=1))
    diffusion = small(lambda noised, time: torch.zeros_like(noised))
    noises = []
    for start in (100, 120):
        diffusion.reconstruct(0 * clean, start, seeds=[1, 2])
        noises.append(diffusion.network.seen[-len(Chain().indices(start))])
    assert abs(np.corrcoef(noises[0].flatten(), noises[1].flatten())[0, 1]) < 0.3


@pytest.mark.parametrize(("sampler", "times"), [("ddpm", [*range(999, -1, -1)]),
                                                ("ddim", [*range(950, -1, -50)])])  # fmt: skip
def test_samples_walk_the_whole_chain(sampler, times):
    diffusion = small(crooked)
    three = diffusion.sample(3, seed=0, chain=Chain(sampler, 50))
    assert diffusion.network.times == times
    assert three.shape == (3, 3, 8, 8)
    pure = diffusion.network.seen[0]
    assert float(pure.std()) == pytest.approx(1, abs=0.2)
    five = diffusion.sample(5, seed=0, chain=Chain(sampler, 50), batch=2)
    torch.testing.assert_close(five[:3], three)
    assert not torch.allclose(five[0], five[1])
    assert not torch.allclose(diffusion.sample(3, seed=1, chain=Chain(sampler, 50)), three)


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    diffusion = small()
    before = torch.get_rng_state()
    assert torch.equal(state, before)
    diffusion.reconstruct(latents(2), 100, seeds=[0, 1], chain=Chain("ddim", 100))
    diffusion.reconstruct(latents(2), 3, seeds=[0, 1], chain=Chain("ddpm"))
    diffusion.loss(latents(2), torch.Generator(), 0)
    assert torch.equal(torch.get_rng_state(), before)


# --- bad input --------------------------------------------------------------------------


@pytest.mark.parametrize("start", [-1, 1000, 10**6])
def test_a_start_outside_of_the_chain_is_refused(start):
    with pytest.raises(InputError, match=rf"must lie in 0 .. 999, found {start}"):
        small(crooked).reconstruct(latents(1), start, seeds=[0])


@pytest.mark.parametrize("stride", [3, 300, 2000])
def test_a_stride_that_does_not_divide_is_refused(stride):
    with pytest.raises(InputError, match=f"stride must divide the 1000 steps .* found {stride}"):
        small(crooked).reconstruct(latents(1), 200, seeds=[0], chain=Chain("ddim", stride))


# --- the U-net, and latents -------------------------------------------------------------


@pytest.mark.parametrize("attention", [False, True])
def test_the_unet_predicts_one_value_a_pixel_and_learns_from_the_time(attention):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        diffusion = Diffusion(3, 8, (32, 64), attention=attention).eval()
    names = {type(module).__name__ for module in diffusion.network.modules()}
    assert ("AttnDownBlock2D" in names) == ("AttnUpBlock2D" in names) == attention
    with torch.no_grad():
        early = diffusion.predict(latents(2), torch.tensor([3, 3]))
        late = diffusion.predict(latents(2), torch.tensor([3, 900]))
    assert early.shape == (2, 3, 8, 8)
    torch.testing.assert_close(early[0], late[0])
    assert not torch.allclose(early[1], late[1])


@pytest.fixture(scope="module")
def model() -> LatentDiffusion:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        compression = CompressionModel(1, (4, 4, 8), 16).eval()
    with torch.no_grad():  # far from the mean 0 and variance 1 that diffusion assumes
        compression.network.quant_conv.weight *= 7
        compression.network.quant_conv.bias += torch.tensor([3.0, -5.0, 0.0])
    compression.place_codes(as_pixels(digits()), 0)
    return LatentDiffusion(compression, small())


def test_latents_have_unit_variance_after_calibration(model):
    pixels = as_pixels(digits())
    raw = model.compression.encode(pixels).detach()
    assert abs(float(raw.mean(dim=(0, 2, 3))[1])) > 1 and float(raw.std()) > 1.5
    latent = model.calibrate(pixels)
    torch.testing.assert_close(latent.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    assert float(latent.var()) == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(model.encode(pixels), latent, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.encode(pixels, batch=7), latent, atol=1e-4, rtol=0)
    torch.testing.assert_close(model.calibrate(pixels), latent)  # not on top of the first
    # one factor for all channels: their relative sizes stay
    torch.testing.assert_close(
        latent.std(dim=(0, 2, 3)) / latent.std(), raw.std(dim=(0, 2, 3)) * model.scale
    )


def test_latents_are_quantised_after_the_diffusion_not_before(model):
    pixels = as_pixels(digits())
    model.calibrate(pixels)
    latent = model.encode(pixels)
    raw = latent / model.scale + model.offset
    distinct = torch.unique(raw.movedim(1, -1).reshape(-1, 3), dim=0)
    assert len(distinct) > 10 * model.compression.codes
    with torch.no_grad():
        alone = model.compression(pixels)
    torch.testing.assert_close(model.decode(latent), alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.decode(latent, batch=3), alone, atol=1e-5, rtol=1e-4)


def test_the_scale_is_stored_with_the_model(model):
    model.calibrate(as_pixels(digits()))
    state = model.state_dict()
    assert {"scale", "offset"} <= state.keys()
    assert not any("alpha_bar" in name for name in state)


def test_gaussian_noise_comes_from_the_generator():
    rng = torch.Generator().manual_seed(3)
    again = torch.randn((2, 1, 4, 4), generator=torch.Generator().manual_seed(3))
    assert torch.equal(gaussian((2, 1, 4, 4), rng), again)
