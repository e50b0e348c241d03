"""The compression model: its loss against float64 and diffusers, its codebook, its edges."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.stats import entropy
from tiny_diffusion import coloured, digits, fitted, latents
from torch import Tensor, nn

from adlib.diffusion import compression
from adlib.diffusion.adversary import Adversary, Perceptual
from adlib.diffusion.compression import CompressionModel, edge_map, perplexity, usage
from adlib.diffusion.pixels import as_pixels
from adlib.errors import InputError

# the imports above let diffusers load
from diffusers.models.autoencoders.vae import VectorQuantizer  # isort: skip

RNG = torch.Generator()


def model(codes: int = 16, channels: int = 1, **options) -> CompressionModel:
    """A small model whose codes lie among the latents, so that many are in use."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = CompressionModel(channels, (4, 4, 8), codes, **options)
        if codes:
            network.codebook.data.normal_(std=0.7)
    return network


def fixed(network: CompressionModel, latent: Tensor) -> CompressionModel:
    """Let a model see these latents whatever the image, and decode to the latents themselves."""
    network.encode = lambda pixels: latent
    network._decode = lambda quantised: quantised
    return network


def quantiser(network: CompressionModel, legacy: bool) -> VectorQuantizer:
    theirs = VectorQuantizer(network.codes, 3, beta=network.commitment, legacy=legacy)
    theirs.embedding.weight.data.copy_(network.codebook.data)
    return theirs


# --- shapes -----------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("codes", [0, 16])
def test_images_become_8_by_8_by_3_and_come_back(channels, codes):
    network = model(codes, channels)
    pixels = as_pixels(digits(2) if channels == 1 else coloured(2))
    with torch.no_grad():
        latent = network.encode(pixels)
        assert latent.shape == (2, 3, 8, 8)
        assert network(pixels).shape == pixels.shape
        torch.testing.assert_close(network(pixels), network.decode(latent))
        same = torch.equal(network.quantise(latent), latent)
    assert same == (codes == 0)


@pytest.mark.parametrize("widths", [(5, 7, 9), (8, 16, 128)])
def test_any_widths_can_be_built(widths):
    network = CompressionModel(1, widths, 4)
    with torch.no_grad():
        assert network(as_pixels(digits(1))).shape == (1, 1, 32, 32)


# --- the nearest code -------------------------------------------------------------------


def test_nearest_against_all_distances():
    network, latent = model(40), latents(5)
    codes = network.codebook.detach().double().numpy()
    found = network.nearest(latent)
    assert (found.shape, found.dtype) == ((5, 8, 8), torch.int64)
    vectors = latent.double().numpy().transpose(0, 2, 3, 1)
    distance = np.linalg.norm(vectors[..., None, :] - codes, axis=-1)
    np.testing.assert_array_equal(found, distance.argmin(axis=-1))
    quantised = network.quantise(latent).detach()
    assert torch.equal(quantised[2, :, 3, 5], network.codebook[found[2, 3, 5]])


def test_ties_go_to_the_first_code():
    """Small whole numbers, so that distances are exact; many positions lie between codes."""
    network = model(30)
    rng = np.random.default_rng(0)
    codes = rng.integers(-2, 3, (30, 3)) * 2
    codes[20:] = codes[:10]  # and some codes are there twice
    network.codebook.data.copy_(torch.from_numpy(codes))
    vectors = rng.integers(-4, 5, (6, 8, 8, 3))
    distance = ((vectors[..., None, :] - codes) ** 2).sum(axis=-1)
    assert ((distance == distance.min(axis=-1, keepdims=True)).sum(axis=-1) > 1).mean() > 0.3
    found = network.nearest(torch.from_numpy(vectors.transpose(0, 3, 1, 2)).float())
    np.testing.assert_array_equal(found, distance.argmin(axis=-1))


def test_nearest_is_the_same_under_autocast():
    network, latent = model(512), latents(8)
    with torch.autocast("cpu", torch.bfloat16):
        found = network.nearest(latent)
    assert float((found != network.nearest(latent)).double().mean()) < 0.001


# --- the loss ---------------------------------------------------------------------------


def reference_loss(network: CompressionModel, pixels: Tensor) -> Tensor:
    """L1, |sg(z) - e|^2, and the commitment weight on |z - sg(e)|^2, in the type of `network`."""
    inner = network.network
    z = inner.quant_conv(inner.encoder(pixels))
    vectors = z.movedim(1, -1).reshape(-1, 3)
    chosen = torch.cdist(vectors.detach(), network.codebook.detach()).argmin(dim=1)
    e = network.codebook[chosen].reshape(*z.movedim(1, -1).shape).movedim(-1, 1)
    made = inner.decoder(inner.post_quant_conv(z + (e - z).detach()))
    codebook = (z.detach() - e).pow(2).mean()
    commitment = (z - e.detach()).pow(2).mean()
    return (made - pixels).abs().mean() + codebook + network.commitment * commitment


@pytest.mark.parametrize("commitment", [0.25, 2.0])
def test_gradients_against_float64(commitment):
    network = model(commitment=commitment)
    pixels = as_pixels(digits(4))
    slow = copy.deepcopy(network).double()
    wanted = reference_loss(slow, pixels.double())
    wanted.backward()
    found = network.loss(pixels, RNG, 0)["loss"]
    found.backward()
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    for (name, ours), theirs in zip(network.named_parameters(), slow.parameters(), strict=True):
        assert float(theirs.grad.abs().max()) > 0 or name.endswith(".bias"), name
        torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=2e-5, rtol=2e-3)


@pytest.mark.parametrize("legacy", [False, True])
def test_the_quantiser_against_that_of_diffusers(legacy):
    """Value, straight-through gradient and codebook's gradient; its legacy form is another."""
    network = model()
    ours, theirs = latents(4).requires_grad_(), latents(4).requires_grad_()
    target = latents(4, seed=1)
    found = fixed(network, ours).loss(target, RNG, 0)
    found["loss"].backward()
    other = quantiser(network, legacy)
    quantised, term, (_, _, indices) = other(theirs)
    ((quantised - target).abs().mean() + term).backward()
    assert torch.equal(network.nearest(theirs).flatten(), indices)
    wanted = float((quantised - target).abs().mean().detach() + term.detach())
    assert float(found["loss"].detach()) == pytest.approx(wanted, rel=1e-5)
    same = [
        torch.allclose(ours.grad, theirs.grad, atol=1e-7),
        torch.allclose(network.codebook.grad, other.embedding.weight.grad, atol=1e-7),
    ]
    assert same == ([False, False] if legacy else [True, True])


def test_the_decoders_gradient_passes_the_quantiser_unchanged():
    network = model(commitment=1e-12)
    latent = latents(2).requires_grad_()
    fixed(network, latent).loss(latents(2, seed=1), RNG, 0)["loss"].backward()
    quantised = network.quantise(latent).detach()
    wanted = torch.sign(quantised - latents(2, seed=1)) / latent.numel()
    torch.testing.assert_close(latent.grad, wanted)


def test_without_a_codebook_the_loss_is_the_mean_square():
    network, pixels = model(0), as_pixels(digits(3))
    parts = network.loss(pixels, RNG, 0)
    wanted = (network(pixels) - pixels).double().square().mean()
    assert float(parts["loss"].detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert parts.keys() == {"loss", "reconstruction"}


def test_further_terms_are_added_and_reported():
    network, pixels = model().eval(), as_pixels(digits(3))
    alone = network.loss(pixels, RNG, 0)
    asked = []

    def term(made: Tensor, target: Tensor, step: int) -> Tensor:
        asked.append((made.shape, step))
        assert torch.equal(target, pixels)
        return made.new_tensor(3.5)

    network.terms["extra"] = term
    with_term = network.loss(pixels, RNG, 17)
    difference = with_term["loss"].detach() - alone["loss"].detach()
    assert float(difference) == pytest.approx(3.5, rel=1e-5)
    assert float(with_term["extra"]) == 3.5
    assert asked == [(pixels.shape, 17)]


# --- the codebook -----------------------------------------------------------------------


def test_codes_start_as_the_centres_of_the_latents():
    """Four tight heaps of latents and four codes: the codes are the means of the heaps."""
    network = model(4)
    heaps = torch.tensor([[4.0, 0, 0], [0, 5.0, 0], [0, 0, -6.0], [-3.0, -3.0, 3.0]])
    vectors = heaps.repeat(64, 1) + 0.01 * latents(1, 1, 32).reshape(-1, 1)[:256].expand(-1, 3)
    fixed(network, vectors.reshape(4, 8, 8, 3).movedim(-1, 1))
    network.place_codes(torch.empty(0), seed=0)
    found = network.codebook.detach()
    nearest = torch.cdist(heaps, found).argmin(dim=1)
    assert sorted(nearest.tolist()) == [0, 1, 2, 3]
    for heap, code in enumerate(nearest.tolist()):
        torch.testing.assert_close(found[code], vectors[heap::4].mean(dim=0), atol=1e-4, rtol=0)


def test_every_code_is_used_at_the_start():
    network, pixels = model(64), as_pixels(digits(30))
    network.codebook.data.fill_(100)  # so far away that none would ever be chosen
    network.place_codes(pixels, seed=0)
    with torch.no_grad():
        found = usage(network, network.encode(pixels))
    assert found["codes_used"] > 0.95 and found["perplexity"] > 20
    before = network.codebook.detach().clone()
    network.place_codes(pixels, seed=0)
    assert torch.equal(network.codebook, before)


@pytest.mark.parametrize("distinct", [1, 5])
def test_fewer_distinct_latents_than_codes(distinct):
    network, values = model(16), latents(1, 3, 4)[0].reshape(3, -1).T[:distinct]
    rows = torch.arange(2 * 64) % distinct
    fixed(network, values[rows].reshape(2, 8, 8, 3).movedim(-1, 1))
    network.place_codes(torch.empty(0), seed=0)
    found = {tuple(code) for code in network.codebook.detach().numpy().round(5).tolist()}
    assert found == {tuple(value) for value in values.numpy().round(5).tolist()}


def test_a_plain_autoencoder_has_no_codes_to_place():
    network = model(0)
    before = network.codebook.detach().clone()
    network.place_codes(as_pixels(digits(2)), 0)
    assert torch.equal(network.codebook, before)


@pytest.fixture
def dying(monkeypatch) -> CompressionModel:
    """A model with 4 codes that nothing will choose, and a look for them every third step."""
    monkeypatch.setattr(compression, "RESTART_EVERY", 3)
    network = model(12)
    network.codebook.data[8:] = 1000 + torch.arange(12.0).view(4, 3)
    network.restart_until = 6
    return network.train()


def test_codes_that_nothing_uses_are_placed_on_latents(dying):
    latent = latents(4)
    before = dying.codebook.detach().clone()
    fixed(dying, latent)
    for step in (0, 1):
        dying.loss(latent, RNG, step)
        assert torch.equal(dying.codebook, before)
    assert int(dying.counts.sum()) == 2 * 4 * 64
    dying.loss(latent, torch.Generator().manual_seed(0), 2)
    unused = (before > 900).any(dim=1)
    assert int(unused.sum()) == 4 and torch.equal(dying.codebook[~unused], before[~unused])
    vectors = {tuple(vector) for vector in latent.movedim(1, -1).reshape(-1, 3).tolist()}
    assert {tuple(code) for code in dying.codebook[unused].tolist()} <= vectors
    assert int(dying.restarted) == 4
    assert int(dying.counts.sum()) == 0  # a fresh look begins


@pytest.mark.parametrize(("step", "moves"), [(2, True), (5, True), (8, False), (4, False)])
def test_the_restarts_come_at_their_steps_and_end(dying, step, moves):
    before = dying.codebook.detach().clone()
    fixed(dying, latents(4)).loss(latents(4), torch.Generator().manual_seed(0), step)
    assert torch.equal(dying.codebook, before) == (not moves)


def test_nothing_is_counted_or_moved_in_evaluation_mode(dying):
    before = dying.codebook.detach().clone()
    fixed(dying.eval(), latents(4)).loss(latents(4), RNG, 2)
    assert torch.equal(dying.codebook, before) and int(dying.counts.sum()) == 0


def test_codes_used_once_since_the_last_look_stay(dying):
    """Chosen two steps ago and not now: that is use."""
    far = dying.codebook.detach()[8:].repeat(16, 1).reshape(1, 8, 8, 3).movedim(-1, 1)
    fixed(dying, far).loss(far, RNG, 0)
    before = dying.codebook.detach().clone()
    fixed(dying, latents(4)).loss(latents(4), RNG, 2)
    assert torch.equal(dying.codebook[8:], before[8:])


def test_restarts_end_after_a_share_of_the_training():
    found = fitted("latent_diffusion")
    steps = found.values["compression_steps"]
    assert found.latent_diffusion.compression.restart_until == round(0.6 * steps) > 0


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [([1] * 8, 8), ([5, 0, 0, 0], 1), ([2, 1, 1, 0], 2**1.5), ([97, 2, 1], None)],
)
def test_perplexity(counts, wanted):
    share = np.array(counts) / sum(counts)
    wanted = np.exp(entropy(share)) if wanted is None else wanted
    assert float(perplexity(torch.from_numpy(share))) == pytest.approx(wanted, rel=1e-6)


def test_usage_and_the_perplexity_of_the_loss():
    network = model(10).eval()
    codes = network.codebook.detach()
    rows = torch.tensor([0, 0, 1, 2]).repeat(32)
    latent = codes[rows].reshape(2, 8, 8, 3).movedim(-1, 1)
    assert usage(network, latent) == {"codes_used": 0.3, "perplexity": round(2**1.5, 2)}
    parts = fixed(network, latent).loss(latent, RNG, 0)
    assert float(parts["perplexity"]) == pytest.approx(2**1.5, rel=1e-5)
    assert float(parts["codebook"].detach()) == 0


# --- edges ------------------------------------------------------------------------------


def test_edges_against_scipy():
    pixels = as_pixels(coloured(3))
    found = edge_map(pixels).numpy()
    planes = pixels.double().numpy()
    sides = [  # plane by plane: scipy smooths along every other axis
        np.stack([[ndimage.sobel(plane, axis, mode="nearest") for plane in image]
                  for image in planes])
        for axis in (-1, -2)
    ]  # fmt: skip
    length = np.hypot(*sides) / 8
    np.testing.assert_allclose(found, np.minimum(2 * length - 1, 1), atol=1e-5)


def test_edges_of_simple_images():
    flat = torch.full((1, 1, 32, 32), 0.3)
    torch.testing.assert_close(edge_map(flat), torch.full_like(flat, -1), atol=1e-5, rtol=0)
    step = torch.ones(1, 1, 32, 32)
    step[..., :16] = -1
    for image in (step, step.transpose(2, 3)):
        found = edge_map(image)
        assert float(found.max()) == pytest.approx(1)
        assert int((found > -0.99).sum()) == 2 * 32  # on both sides of the step
    corner = torch.ones(1, 1, 32, 32)
    corner[..., :16, :16] = -1
    assert float(edge_map(corner).max()) <= 1


def test_edges_are_what_the_decoder_is_measured_by():
    pixels = as_pixels(digits(3))
    network = model(edges=True).eval()
    made = network(pixels).detach()
    wanted = float((made - edge_map(pixels)).abs().mean())
    assert float(network.loss(pixels, RNG, 0)["reconstruction"].detach()) == pytest.approx(
        wanted, rel=1e-5
    )
    assert torch.equal(network.target(pixels), edge_map(pixels))
    assert torch.equal(model().target(pixels), pixels)


# --- adversarial and perceptual terms ---------------------------------------------------


def test_the_adversary_starts_late():
    network, pixels = model(), as_pixels(digits(4))
    judge = Adversary(network, 1, weight=0.5, start=3)
    assert float(judge.against(pixels, pixels, 2)) == 0
    assert judge.loss(pixels, RNG, 2) == {}
    wanted = -0.5 * judge.judge(pixels).mean()
    assert float(judge.against(pixels, pixels, 3).detach()) == pytest.approx(float(wanted.detach()))


def test_the_adversary_learns_to_tell_and_leaves_the_model_alone():
    network, pixels = model(), as_pixels(digits(8))
    judge = Adversary(network, 1, weight=1.0, start=0)
    assert not any(p is q for p in judge.parameters() for q in network.parameters())
    parts = judge.loss(pixels, RNG, 0)
    with torch.no_grad():
        real, fake = judge.judge(pixels).numpy(), judge.judge(network(pixels)).numpy()
    wanted = (np.maximum(0, 1 - real) + np.maximum(0, 1 + fake)).mean() / 2
    assert float(parts["loss"].detach()) == pytest.approx(wanted, rel=1e-4)
    parts["loss"].backward()
    assert all(p.grad is None for p in network.parameters())
    optimizer = torch.optim.Adam(judge.parameters(), 1e-3)
    for _ in range(15):
        optimizer.zero_grad()
        loss = judge.loss(pixels, RNG, 0)["loss"]
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5 * wanted


def test_the_adversarial_term_makes_reconstructions_look_real():
    network, pixels = model(), as_pixels(digits(4))
    judge = Adversary(network, 1, weight=1.0, start=0)
    made = torch.zeros_like(pixels, requires_grad=True)
    judge.against(made, pixels, 0).backward()
    with torch.no_grad():
        better = judge.judge(made - 0.1 * made.grad / made.grad.norm()).mean()
        assert better > judge.judge(made).mean()


def test_the_perceptual_term_without_weights_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match="needs VGG-16's weights, found no vgg16-397923af.pth"):
        Perceptual()


def test_the_perceptual_term_names_the_parameter_that_turns_it_off(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match="set perceptual=0"):
        Perceptual()


def test_the_perceptual_term_reads_its_weights_and_compares_features(tmp_path, monkeypatch):
    """With a small stand-in for VGG-16, in the place of the file."""
    models = pytest.importorskip("torchvision.models")

    class Standin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            parts = [nn.Conv2d(3, 4, 3), nn.Tanh(), *[nn.Identity()] * 2, nn.MaxPool2d(2)]
            self.features = nn.Sequential(*parts, nn.Conv2d(4, 4, 3), *[nn.Tanh()] * 10)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Standin()
        monkeypatch.setattr(models, "vgg16", lambda weights: Standin())
        (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
        torch.save(made.state_dict(), tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth")
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        term = Perceptual()
    grey, colour = as_pixels(digits(2)), as_pixels(coloured(2))
    assert float(term(grey, grey)) == float(term(colour, colour, 7)) == 0
    torch.testing.assert_close(term(grey, -grey), term(grey.expand(-1, 3, -1, -1), -grey))
    mean, std = (
        np.reshape(v, (1, 3, 1, 1)) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    wanted = 0.0
    with torch.no_grad():
        a, b = (
            torch.from_numpy(((p.numpy() + 1) / 2 - mean) / std).float() for p in (colour, -colour)
        )
        for first, last in ((0, 4), (4, 9), (9, 16)):
            a, b = made.features[first:last](a), made.features[first:last](b)
            unit = [v.numpy() / np.linalg.norm(v.numpy(), axis=1, keepdims=True) for v in (a, b)]
            wanted += float(((unit[0] - unit[1]) ** 2).mean())
    assert float(term(colour, -colour)) == pytest.approx(wanted, rel=1e-4)
    assert wanted > 0.1
    assert not any(p.requires_grad for p in term.parameters())
