"""What goes into the networks of the third chapter: sizes, ranges, grey or colour."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_diffusion import coloured, digits

from adlib import datasets
from adlib.diffusion.pixels import as_images, as_pixels, checksums, ink, squared_error
from adlib.errors import InputError


def test_values_are_those_of_the_formula():
    images = np.arange(256, dtype=np.uint8).repeat(4).reshape(1, 32, 32, 1)
    pixels = as_pixels(images)
    assert (pixels.shape, pixels.dtype) == ((1, 1, 32, 32), torch.float32)
    wanted = images.astype(np.float64)[..., 0] / 255 * 2 - 1
    np.testing.assert_allclose(pixels[:, 0].numpy(), wanted, atol=1e-7)
    assert (float(pixels.min()), float(pixels.max())) == (-1, 1)
    np.testing.assert_array_equal(as_images(pixels), images)


def test_colours_keep_their_order():
    images = np.zeros((2, 32, 32, 3), np.uint8)
    images[1, 3, 7] = (255, 51, 0)
    pixels = as_pixels(images)
    assert pixels.shape == (2, 3, 32, 32)
    assert pixels[1, :, 3, 7].tolist() == pytest.approx([1, -0.6, -1])
    np.testing.assert_array_equal(as_images(pixels), images)


def test_grey_is_noticed_and_one_coloured_pixel_is_enough_for_colour():
    grey = digits(3).repeat(3, axis=3)
    assert torch.equal(as_pixels(grey), as_pixels(digits(3)))
    assert as_pixels(grey).shape[1] == 1
    for channel in range(3):
        tinted = grey.copy()
        tinted[-1, 31, 31, channel] ^= 1
        assert as_pixels(tinted).shape[1] == 3


def test_a_list_an_array_and_a_data_set_are_the_same_images():
    test = datasets.load("digits", "0").test[:5]
    wanted = as_pixels(test.pixels)
    assert wanted.shape == (5, 1, 32, 32)
    assert torch.equal(as_pixels(test), wanted)
    assert torch.equal(as_pixels([test[i] for i in range(5)]), wanted)
    assert torch.equal(as_pixels(test.pixels[..., 0]), wanted)


def test_a_model_of_colour_takes_grey_images_and_not_the_other_way_round():
    assert torch.equal(as_pixels(digits(2), 3), as_pixels(digits(2)).expand(-1, 3, -1, -1))
    with pytest.raises(InputError, match="fitted on grey images, found images in colour"):
        as_pixels(coloured(4), 1)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([], "at least one image is needed, found none"),
        (np.zeros((0, 32, 32, 1), np.uint8), "at least one image is needed"),
        (np.zeros((2, 28, 28, 1), np.uint8), "must be 32 x 32 .* found 28 x 28"),
        (np.zeros((2, 32, 31, 3), np.uint8), "found 32 x 31"),
        (np.zeros((2, 3, 32, 32), np.uint8), r"shape \(2, 3, 32, 32\)"),
        (np.zeros((2, 32, 32, 4), np.uint8), "1 or 3 channels"),
        (np.zeros((32, 32, 3), np.uint8), "32 x 32 with"),  # one image, not a sequence
        (np.zeros(32, np.uint8), "found 0 x 0"),
        (np.full((2, 32, 32, 1), 0.5), r"0 to 255 \(uint8\), found float64 in \[0.5, 0.5\]"),
        (np.full((2, 32, 32, 1), np.nan), "found float64"),
        (np.full((2, 32, 32, 1), 300), r"found int64 in \[300, 300\]"),
        (np.ones((2, 32, 32, 1), bool), "found bool"),
        ([np.zeros((32, 32, 3), np.uint8), np.zeros((30, 32, 3), np.uint8)], "must have one size"),
        ([np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)], "must have one size"),
    ],
)
def test_unfit_images_are_refused_in_one_sentence(images, said):
    with pytest.raises(InputError, match=said) as caught:
        as_pixels(images)
    assert "\n" not in str(caught.value) and ";" in str(caught.value)


def test_the_input_is_left_alone():
    images = coloured(3)
    images.flags.writeable = False
    before = images.copy()
    as_pixels(images).fill_(7)
    np.testing.assert_array_equal(images, before)


def test_images_are_clipped_and_rounded():
    values = torch.tensor([-3.0, -1.0, -0.9999, 0.0, 0.5, 1.0, 9.0])
    pixels = values.view(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    assert as_images(pixels)[:, 0, 0, 0].tolist() == [0, 0, 0, 128, 191, 255, 255]


def test_ink_and_error_are_means_over_the_image():
    images = coloured(6)
    pixels = as_pixels(images)
    brightness = images.astype(np.float64).mean(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(ink(pixels), brightness, atol=1e-6)
    other = as_pixels(coloured(6, seed=1))
    wanted = ((pixels.double() - other.double()) ** 2).mean(dim=(1, 2, 3)).numpy()
    found = squared_error(pixels, other)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert (ink(pixels).dtype, found.dtype) == (np.float32, np.float32)
    assert ink(as_pixels(np.full((1, 32, 32, 1), 255, np.uint8))) == 1


def test_checksums_belong_to_the_image():
    pixels = as_pixels(digits(30))
    found = checksums(pixels)
    assert len(set(found)) == len({image.tobytes() for image in pixels.numpy()})
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    assert checksums(pixels[order]) == [found[i] for i in order]
    assert checksums(pixels[7:8]) == found[7:8]
