"""The papers' transform: resize, then keep the centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from adlib.errors import InputError

MASKS = ("nearest", "official")
_MARKED = 255


@dataclass(frozen=True)
class Transform:
    """Resize the short side, then cut out the centre, as the three papers do for MVTec AD.

    Equal to torchvision's ``Resize(resize)`` and ``CenterCrop(crop)`` on Pillow images: bilinear
    with antialiasing for images, by default nearest neighbour for masks.

    Attributes
    ----------
    resize : int or None
        Length of the short side in pixels; None leaves the size as it is.
    crop : int or None
        Side of the central square in pixels; None keeps everything.
    squash : bool
        Resize both sides to `resize`, whatever their ratio (mSTC: 256 x 256, no crop).
    masks : str
        ``nearest``, or ``official`` as in the code that was released with PatchCore: bilinear like
        the images, then a pixel counts only where it is still fully marked. That wears the rim off
        each defect, and small defects away.

    Raises
    ------
    InputError
        A size is not a positive whole number, the crop exceeds the resized image, `squash` lacks a
        size, or `masks` is another word.
    """

    resize: int | None = 256
    crop: int | None = 224
    squash: bool = False
    masks: str = "nearest"

    def __post_init__(self) -> None:
        for name, size in (("resize", self.resize), ("crop", self.crop)):
            whole = isinstance(size, int) and not isinstance(size, bool) and size > 0
            if size is not None and not whole:
                raise InputError(
                    f"{name} must be a positive whole number of pixels or None, found {size!r}."
                )
        if self.resize is not None and self.crop is not None and self.crop > self.resize:
            raise InputError(
                f"crop must be at most resize, found crop {self.crop} of resize {self.resize}."
            )
        if not isinstance(self.squash, bool) or (self.squash and self.resize is None):
            raise InputError(
                f"squash must be True or False, and True needs a resize, found {self.squash!r} "
                f"with resize {self.resize}."
            )
        if self.masks not in MASKS:
            raise InputError(f"masks must be one of {', '.join(MASKS)}, found {self.masks!r}.")

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of everything that comes out; None where that depends on the image."""
        side = self.crop or (self.resize if self.squash else None)
        return None if side is None else (side, side)

    def describe(self) -> dict[str, int | bool | str | None]:
        """Return ``resize`` and ``crop``, and of the other attributes those that were changed.

        So the keys of records stay what they are when an attribute is added.
        """
        others = {"squash": (self.squash, False), "masks": (self.masks, MASKS[0])}
        changed = {name: value for name, (value, usual) in others.items() if value != usual}
        return {"resize": self.resize, "crop": self.crop} | changed

    def image(self, image: Image.Image) -> Image.Image:
        """Apply to a picture, with Pillow's antialiased bilinear filter."""
        return self._apply(image, Image.Resampling.BILINEAR)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Apply to a boolean mask (H, W); see the attribute `masks`."""
        nearest = self.masks == "nearest"
        filtered = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
        marked = Image.fromarray(np.where(mask, np.uint8(_MARKED), np.uint8(0)))
        return np.asarray(self._apply(marked, filtered)) == _MARKED

    def _apply(self, image: Image.Image, resampling: Image.Resampling) -> Image.Image:
        size = self._resized(*image.size)
        if size != image.size:
            image = image.resize(size, resampling)
        if self.crop is None:
            return image
        width, height = size
        if self.crop > min(size):
            raise InputError(
                f"The crop of {self.crop} pixels must fit into the image, "
                f"found {height} x {width} (height x width): resize first."
            )
        # Python's round-half-to-even, as in torchvision
        left, top = round((width - self.crop) / 2), round((height - self.crop) / 2)
        return image.crop((left, top, left + self.crop, top + self.crop))

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if self.resize is None:
            return width, height
        if self.squash:
            return self.resize, self.resize
        short = min(width, height)
        return width * self.resize // short, height * self.resize // short
