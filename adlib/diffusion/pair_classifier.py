"""Do two images show the same class? A ResNet-18 on their concatenation.

The classification model of Wang & Tavakkoli (2023), Section 3.2: input and reconstruction are
concatenated along the channels, and one logit says "different". The paper states a convolutional
network; ResNet-18 (He et al., 2016) is built here from torchvision's blocks, with its names, so
that its weights fit where the shapes do.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from adlib._torchvision import ensure_torchvision
from adlib.errors import InputError

ensure_torchvision()  # before the first import of torchvision

from torchvision.models.resnet import BasicBlock, conv1x1  # noqa: E402

STEMS = ("small", "imagenet")
RESNET18 = (64, 128, 256, 512)


class PairClassifier(nn.Module):
    """ResNet-18 with two images side by side in its input channels and one logit as output.

    Parameters
    ----------
    channels : int
        Of one image: 1 or 3.
    widths : tuple of 4 int
        Channels of the four stages, two blocks each; (64, 128, 256, 512) is ResNet-18.
    stem : {'small', 'imagenet'}
        'imagenet' is the original, 7 x 7 with stride 2 and max pooling: of a 32-pixel image it
        leaves 8 x 8 to the first block and 1 x 1 to the last. 'small' is 3 x 3 with stride 1 and no
        pooling: 32 x 32 to the first block, 4 x 4 to the last.

    Raises
    ------
    InputError
        A parameter is out of its range.
    """

    def __init__(
        self, channels: int, widths: tuple[int, int, int, int] = RESNET18, stem: str = "small"
    ) -> None:
        super().__init__()
        _check(channels, widths, stem)
        self.channels = channels
        first = widths[0]
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(2 * channels, first, 7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(2 * channels, first, 3, stride=1, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _stage(first, first, stride=1)
        self.layer2 = _stage(first, widths[1], stride=2)
        self.layer3 = _stage(widths[1], widths[2], stride=2)
        self.layer4 = _stage(widths[2], widths[3], stride=2)
        self.fc = nn.Linear(widths[3], 1)
        _initialise(self)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return how sure the network is that two images are of different classes.

        Parameters
        ----------
        x, y : Tensor of shape (N, channels, H, W), float, in [-1, 1]
            Input and reconstruction; the order matters, since the network sees them as different
            channels.

        Returns
        -------
        Tensor of shape (N,)
            The logit of "different".

        Raises
        ------
        InputError
            The shapes differ, or they are not those of images of `channels` channels.
        """
        return self.fc(self.features(x, y)).squeeze(1)

    def features(self, x: Tensor, y: Tensor) -> Tensor:
        """Return what the last layer sees: the fourth stage, averaged over all places.

        Parameters
        ----------
        x, y
            As for `forward`.

        Returns
        -------
        Tensor of shape (N, widths[3])
        """
        self._check_pair(x, y)
        hidden = self.maxpool(torch.relu(self.bn1(self.conv1(torch.cat([x, y], dim=1)))))
        return self.layer4(self.layer3(self.layer2(self.layer1(hidden)))).mean(dim=(2, 3))

    def probability(self, x: Tensor, y: Tensor, batch: int = 256) -> np.ndarray:
        """Return P(different), in evaluation mode: the logistic function of `logit`.

        Parameters
        ----------
        x, y, batch
            As for `logit`.

        Returns
        -------
        ndarray of shape (N,), float32, in [0, 1]

        Raises
        ------
        InputError
            As for `logit`.
        """
        return torch.from_numpy(self.logit(x, y, batch)).sigmoid().numpy()

    def logit(self, x: Tensor, y: Tensor, batch: int = 256) -> np.ndarray:
        """Return the logit of "different", in evaluation mode; the mode is put back afterwards.

        Parameters
        ----------
        x, y : Tensor of shape (N, channels, H, W), float, in [-1, 1]
            On any device; batches are moved to that of the network.
        batch : int
            Pairs at once; changes the memory, not the result.

        Returns
        -------
        ndarray of shape (N,), float32

        Raises
        ------
        InputError
            As for `forward`, or `batch` is below 1.
        """
        if batch < 1:
            raise InputError(f"batch must be at least 1, found {batch}; raise it")
        self._check_pair(x, y)
        device = self.fc.weight.device
        modes = {module: module.training for module in self.modules()}  # a part may be frozen
        self.eval()
        try:
            with torch.no_grad():
                logits = [
                    self(a.to(device), b.to(device)).float().cpu()
                    for a, b in zip(x.split(batch), y.split(batch), strict=True)
                ]
        finally:
            for module, training in modes.items():
                module.training = training
        return torch.cat(logits).numpy()

    def _check_pair(self, x: Tensor, y: Tensor) -> None:
        if x.shape != y.shape:
            raise InputError(
                f"the two images of a pair must have the same shape, found {tuple(x.shape)} and "
                f"{tuple(y.shape)}; compare each image with its own reconstruction"
            )
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise InputError(
                f"this classifier compares images of shape (N, {self.channels}, H, W), found "
                f"{tuple(x.shape)}; use images as in training"
            )


def _stage(channels: int, width: int, stride: int) -> nn.Sequential:
    downsample = None
    if stride != 1 or channels != width:
        downsample = nn.Sequential(conv1x1(channels, width, stride), nn.BatchNorm2d(width))
    return nn.Sequential(BasicBlock(channels, width, stride, downsample), BasicBlock(width, width))


def _initialise(network: nn.Module) -> None:
    """Draw the convolutions as torchvision's ResNet does; all else starts as PyTorch leaves it."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _check(channels: int, widths: tuple[int, ...], stem: str) -> None:
    if channels not in (1, 3):
        raise InputError(
            f"channels must be 1 or 3, those of one image, found {channels}; the network doubles it"
        )
    if len(widths) != 4 or min(widths) < 1:
        raise InputError(
            f"widths must be four positive integers, found {tuple(widths)}; "
            f"ResNet-18 has {RESNET18}"
        )
    if stem not in STEMS:
        raise InputError(
            f"stem must be one of {', '.join(STEMS)}, found {stem!r}; choose one of them"
        )
