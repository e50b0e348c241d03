"""The pair classifier is torchvision's ResNet-18, apart from its two ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adlib.diffusion.pair_classifier import PairClassifier
from adlib.errors import InputError

# the import above lets torchvision load
from torchvision.models import resnet18  # isort: skip

WIDTHS = (8, 12, 16, 20)


def images(n: int = 5, channels: int = 1, side: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((n, channels, side, side), generator=generator) * 2 - 1


@pytest.fixture
def network() -> PairClassifier:
    """A small network whose batch normalisation has seen something."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = PairClassifier(1, WIDTHS)
    with torch.no_grad():
        network(images(16), images(16, seed=1))
    return network.eval()


def ends(network: nn.Module) -> int:
    return sum(p.numel() for part in (network.conv1, network.fc) for p in part.parameters())


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("stem", ["small", "imagenet"])
@pytest.mark.parametrize("channels", [1, 3])
def test_parameters_are_those_of_resnet18(channels, stem):
    network, reference = PairClassifier(channels, stem=stem), resnet18()
    assert size(network) - ends(network) == size(reference) - ends(reference)
    kernel = {"small": 9, "imagenet": 49}[stem]
    assert ends(network) == 2 * channels * 64 * kernel + 512 + 1


def test_outputs_are_those_of_resnet18():
    """With weights that torchvision made: two images of channels 1 and 2 stand for one of 3."""
    reference = resnet18()
    with torch.no_grad():
        reference(images(4, 3, 64, seed=2))  # running means that are not 0
    reference.eval()
    body = nn.Sequential(*list(reference.children())[:-1], nn.Flatten())
    network = PairClassifier(1, stem="imagenet").eval()
    weights = {k: v for k, v in reference.state_dict().items() if not k.startswith("fc.")}
    weights["conv1.weight"] = weights["conv1.weight"][:, :2]
    missing, unexpected = network.load_state_dict(weights, strict=False)
    assert missing == ["fc.weight", "fc.bias"]
    assert not unexpected
    x, y = images(3, side=64), images(3, side=64, seed=1)
    with torch.no_grad():
        wanted = body(torch.cat([x, y, torch.zeros_like(x)], dim=1))
        torch.testing.assert_close(network.features(x, y), wanted)
        logit = wanted @ network.fc.weight[0] + network.fc.bias
        torch.testing.assert_close(network(x, y), logit)


def test_first_weights_are_drawn_as_torchvision_draws_them():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours = PairClassifier(3, stem="imagenet").state_dict()
        theirs = resnet18().state_dict()
    for name, weight in theirs.items():
        if weight.ndim == 4:
            assert float(ours[name].std() / weight.std()) == pytest.approx(1, abs=0.06), name
        elif "fc" not in name:
            assert torch.equal(ours[name], weight), name


@pytest.mark.parametrize(("stem", "first", "last"), [("small", 32, 4), ("imagenet", 8, 1)])
def test_what_a_stem_leaves_of_32_pixels(stem, first, last):
    network, seen = PairClassifier(1, WIDTHS, stem).eval(), {}

    def look(name: str):
        return lambda module, args, out: seen.update({name: (args[0].shape, out.shape)})

    network.layer1.register_forward_hook(look("layer1"))
    network.layer4.register_forward_hook(look("layer4"))
    with torch.no_grad():
        assert network(images(2), images(2)).shape == (2,)
    assert seen["layer1"][0] == (2, WIDTHS[0], first, first)
    assert seen["layer4"][1] == (2, WIDTHS[3], last, last)


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(channels):
    network = PairClassifier(channels, WIDTHS)
    x, y = images(5, channels), images(5, channels, seed=1)
    assert network(x, y).shape == (5,)
    assert network.features(x, y).shape == (5, WIDTHS[3])
    assert network.eval()(x[:1], y[:1]).shape == (1,)  # not ()


def test_order_matters(network):
    x, y = images(), images(seed=1)
    with torch.no_grad():
        assert not torch.allclose(network(x, y), network(y, x), atol=1e-4)
        network.conv1.weight[:, 1:] = network.conv1.weight[:, :1]  # until both are seen alike
        torch.testing.assert_close(network(x, y), network(y, x))


def test_probability_is_the_sigmoid_of_the_logit(network):
    x, y = images(7), images(7, seed=1)
    found = network.probability(x, y)
    assert found.shape == (7,)
    assert found.dtype == np.float32
    with torch.no_grad():
        wanted = 1 / (1 + np.exp(-network(x, y).double().numpy()))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_allclose(network.probability(x, y, batch=3), found, rtol=1e-5)


def test_probability_rises_with_the_logit_of_different(network):
    x, y = images(), images(seed=1)
    with torch.no_grad():
        network.fc.bias += 50
    assert (network.probability(x, y) > 0.99).all()


@pytest.mark.parametrize("training", [True, False])
def test_probability_changes_nothing(network, training):
    network.train(training)
    network.bn1.eval()  # a frozen part stays frozen
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    network.probability(images(), images(seed=1))
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


def test_the_mode_comes_back_after_an_error(network):
    network.train()
    with pytest.raises(RuntimeError):
        network.probability(images().long(), images().long())
    assert network.training
    assert network.layer1.training


def test_no_pairs_no_probabilities(network):
    assert network.probability(images(0), images(0)).shape == (0,)


def test_it_learns_to_tell_copies_from_strangers(network):
    x, y, network = images(32, side=16), images(32, side=16, seed=1), network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    different = torch.cat([torch.zeros(32), torch.ones(32)])
    for _ in range(25):
        logit = network(torch.cat([x, x]), torch.cat([x, y]))
        loss = nn.functional.binary_cross_entropy_with_logits(logit, different)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    a, b = network.probability(x, x), network.probability(x, y)
    assert a.max() < b.min()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2,), "channels must be 1 or 3"),
        ((1, (8, 8, 8)), "four positive integers"),
        ((1, (8, 8, 0, 8)), "four positive integers"),
        ((1, WIDTHS, "large"), "stem must be one of"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(InputError, match=message):
        PairClassifier(*arguments)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (images(2), images(3), "must have the same shape"),
        (images(2), images(2, side=16), "must have the same shape"),
        (images(2, 3), images(2, 3), r"\(N, 1, H, W\)"),
        (images(2)[0], images(2)[0], r"\(N, 1, H, W\)"),
    ],
)
def test_bad_pairs(network, x, y, message):
    for call in (network, network.features, network.probability):
        with pytest.raises(InputError, match=message):
            call(x, y)


def test_bad_batch(network):
    with pytest.raises(InputError, match="batch must be at least 1"):
        network.probability(images(), images(), batch=0)
