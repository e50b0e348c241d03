"""Classes as normal and anomalous: the split, images in memory, scikit-learn's digits."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest

from adlib import datasets
from adlib.datasets import ArrayImages, Transform, cifar10, classes
from adlib.datasets.classes import Labelled
from adlib.errors import InputError
from adlib.thumbnail import Thumbnail

DIGITS = tuple("0123456789")
OFFICIAL = (40, 30)
SPELT = {0: "airplane", 1: "automobile", 2: "bird", 3: "cat", 4: "deer"} | {
    5: "dog", 6: "frog", 7: "horse", 8: "ship", 9: "truck"
}  # fmt: skip


def refused(call, *parts: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    for part in parts:
        assert part in message


def noise(n: int, seed: int, channels: int = 3) -> Labelled:
    """Make distinct images of every class in random order."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (n, 32, 32, channels), dtype=np.uint8)
    return Labelled(pixels, rng.permutation(np.arange(n) % 10))


def split(name: str, train=None, test=None, names=cifar10.NAMES) -> datasets.Category:
    train, test = train or noise(40, 0), test or noise(30, 1)
    return classes.split("cifar10", name, names, train, test, OFFICIAL)


# the split


def test_every_split_of_ten_classes_against_a_loop():
    """All 1,022 proper subsets, image by image."""
    train, test = noise(40, 0, 1), noise(30, 1, 1)
    every = ["".join(c) for k in range(1, 10) for c in itertools.combinations(DIGITS, k)]
    assert len(every) == 2**10 - 2
    for name in every[::7] + every[:10] + every[-10:]:
        found = split(name, train, test)
        wanted = [p for p, c in zip(*train, strict=True) if str(c) not in name]
        np.testing.assert_array_equal(found.train.pixels, wanted)
        assert found.train.defects == ["good"] * len(wanted)
        assert not found.train.labels.any()
        np.testing.assert_array_equal(found.test.pixels, test.pixels)
        assert found.test.labels.tolist() == [int(str(c) in name) for c in test.classes]
        assert found.test.defects == [SPELT[c] for c in test.classes]
        assert (found.dataset, found.name) == ("cifar10", name)
    for name in every:
        assert classes.check("cifar10", name, cifar10.NAMES) == tuple(map(int, name))


def test_refused_names():
    def named(name, *parts):
        refused(lambda: classes.check("cifar10", name, cifar10.NAMES), *parts)

    named("airplane", "airplane is class 0 of cifar10, write --category 0.")
    named("truck", "truck is class 9 of cifar10, write --category 9.")
    named("67890", "ascending", "'67890'", "write 06789.")
    named("00", "each once", "write 0.")
    named("3113", "write 13.")
    named("0123456789", "found all 10")
    for name in ("", "Airplane", "0 1", "-1", "1.0", "٣", "²", "01a", "0\n", None, 3, ["0"]):
        named(name, "must be the digits of the anomalous classes", repr(name))
    refused(lambda: classes.check("mnist", "airplane", DIGITS), "category of mnist", "'airplane'")


def test_a_class_without_images():
    train, test = noise(40, 0), noise(30, 1)
    no_cat = Labelled(train.pixels[train.classes != 3], train.classes[train.classes != 3])
    refused(lambda: split("0", no_cat), "class 3 (cat) has no training image")
    refused(lambda: split("0", no_cat, names=DIGITS), "class 3 has no training image")
    assert len(split("3", no_cat).train) == 36  # nothing is learned from it
    without = Labelled(test.pixels[test.classes != 3], test.classes[test.classes != 3])
    refused(lambda: split("3", test=without), "found no anomalous one among 27")
    alone = Labelled(test.pixels[test.classes == 3], test.classes[test.classes == 3])
    refused(lambda: split("3", test=alone), "found no normal one among 3")
    assert split("4", test=without).notes == ("27 of the 30 test images",)


def test_notes_tell_what_is_missing():
    assert split("0").notes == ()
    train, test = noise(20, 0), noise(10, 1)
    assert split("0", train, test).notes == (
        "20 of the 40 training images",
        "10 of the 30 test images",
    )
    found = classes.split("cifar10", "1", DIGITS, train, test, (50_000, 10))
    assert found.notes == ("20 of the 50,000 training images",)
    assert datasets.Category("x", "y", found.train, found.test).notes == ()


def test_both_readings_of_table_2():
    """What is printed, read as the anomalous classes and as the normal ones."""
    assert cifar10.PRINTED == ("01234", "23456", "45678", "67890")
    for i, printed in enumerate(cifar10.PRINTED):
        anomalous, normal = cifar10.READINGS["anomalous"][i], cifar10.READINGS["normal"][i]
        assert set(anomalous) == set(printed)
        assert set(normal) == set(DIGITS) - set(printed)
        assert len(split(anomalous).train) == len(split(normal).train) == 20
        assert not (split(anomalous).test.labels == split(normal).test.labels).any()
    for name in itertools.chain(*cifar10.READINGS.values()):
        assert classes.complement(classes.complement(name)) == name
        classes.check("cifar10", name, cifar10.NAMES)


def test_sizes_are_not_asked_for():
    for usual in (Transform(), Transform(None, None), Transform(256, None)):
        assert len(datasets.load("digits", "0", None, usual).test) == 599
    other = (Transform(64, 56), Transform(32, None), Transform(256, 32), Transform(None, 32),
             Transform(256, None, squash=True), Transform(masks="official"))  # fmt: skip
    for transform in other:
        refused(
            lambda transform=transform: datasets.load("digits", "0", None, transform),
            "Images of digits come as 32 x 32 pixels and take no --resize, --crop",
        )


# images in memory


@pytest.mark.parametrize("channels", [1, 3])
def test_images_behave_like_those_of_a_folder(channels):
    pixels = noise(7, 3, channels).pixels
    labels = np.array([0, 1, 0, 1, 1, 0, 0])
    images = ArrayImages(pixels, labels, list("abcdefg"))
    assert len(images) == len(list(images)) == 7
    for i, image in enumerate(images):
        assert (image.shape, image.dtype) == ((32, 32, 3), np.uint8)
        for channel in range(3):
            wanted = pixels[i, :, :, channel % channels]
            np.testing.assert_array_equal(image[:, :, channel], wanted)
    np.testing.assert_array_equal(images[-1], images[6])
    np.testing.assert_array_equal(images[np.int64(2)], images[2])
    part = images[1:6:2]
    assert isinstance(part, ArrayImages)
    assert (part.labels.tolist(), part.defects) == ([1, 1, 0], ["b", "d", "f"])
    assert np.shares_memory(part.pixels, pixels)
    np.testing.assert_array_equal(part[1], images[3])
    assert images.labels.dtype == np.int64
    assert images.transform == Transform(None, None) and images.transform.size is None
    assert not images.has_masks and images.samples == ()
    refused(images.ground_truth, "no pixel masks")
    for index in (7, -8):
        with pytest.raises(IndexError):
            images[index]
    for index in (1.0, "1", np.array([0, 1]), None):
        with pytest.raises(TypeError):
            images[index]


def test_nothing_can_be_changed_through_the_images():
    pixels = noise(3, 0).pixels
    images = ArrayImages(pixels, np.zeros(3, int), list("abc"))
    before = images.fingerprint
    images[0][:] = 0
    images.defects.append("d")
    with pytest.raises(ValueError, match="read-only"):
        images.pixels[0] = 0
    assert ArrayImages(images.pixels, images.labels, images.defects).fingerprint == before
    assert pixels.flags.writeable and len(images.defects) == 3


def test_fingerprint_depends_on_everything():
    pixels, labels, kinds = noise(4, 0).pixels, np.array([0, 1, 0, 1]), list("abcd")
    changed = pixels.copy()
    changed[3, 31, 31, 2] ^= 1
    made = [
        ArrayImages(pixels, labels, kinds),
        ArrayImages(changed, labels, kinds),
        ArrayImages(pixels, 1 - labels, kinds),
        ArrayImages(pixels, labels, list("abce")),
        ArrayImages(pixels[::-1], labels, kinds),
        ArrayImages(pixels.reshape(4, 16, 64, 3), labels, kinds),
        ArrayImages(pixels[:3], labels[:3], kinds[:3]),
    ]
    assert len({images.fingerprint for images in made}) == len(made)
    again = ArrayImages(np.asfortranarray(pixels), labels.astype(np.int8), tuple(kinds))
    assert again.fingerprint == made[0].fingerprint
    both = "\n".join([made[0].fingerprint, made[1].fingerprint, ""]).encode()
    category = datasets.Category("x", "y", made[0], made[1])
    assert category.fingerprint == hashlib.sha256(both).hexdigest()


def test_arrays_that_do_not_fit():
    pixels, labels = noise(4, 0).pixels, np.zeros(4, int)

    def make(pixels=pixels, labels=labels, kinds="abcd"):
        refused(lambda: ArrayImages(pixels, labels, kinds), "must be" if len(kinds) == 4 else "as")

    make(pixels.astype(np.float32))
    make(pixels[..., 0])
    make(pixels[..., :2])
    make(labels=labels[:3])
    make(labels=labels + 2)
    make(labels=labels[:, None])
    make(kinds="abc")


# scikit-learn's digits


def test_digits():
    """Enlarged as scipy does it, but for rounding."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    stored = load_digits()
    assert datasets.categories("digits") == list(DIGITS)
    category = datasets.load("digits", "3")
    tested = [i for i in range(1797) if i % 3 == 2]
    rest = [i for i in range(1797) if i % 3 != 2 and stored.target[i] != 3]
    assert (len(category.train), len(category.test)) == (len(rest), 599)
    assert category.test.labels.tolist() == [int(stored.target[i] == 3) for i in tested]
    assert category.test.defects == [str(stored.target[i]) for i in tested]
    assert category.notes == ()
    assert category.test.pixels.shape == (599, 32, 32, 1)
    for images, places in ((category.train, rest), (category.test, tested)):
        for number in (0, 100, len(places) - 1):
            given = stored.images[places[number]] * 255 / 16
            large = zoom(given, 4, order=1, mode="nearest", grid_mode=True)
            np.testing.assert_allclose(images.pixels[number, :, :, 0], large, atol=2)
    assert category.test.pixels.min() == 0 and category.test.pixels.max() >= 240
    several = datasets.load("digits", "01234")
    assert several.fingerprint != category.fingerprint
    assert set(several.test.defects) == set(DIGITS)


def test_digits_take_no_root(tmp_path):
    for ask in (datasets.categories, lambda name, root: datasets.load(name, "3", root)):
        with pytest.raises(InputError, match="takes no root, found .*; leave the root out"):
            ask("digits", tmp_path)


def test_a_method_runs_on_them():
    """Nearest thumbnails tell a digit never seen from the others."""
    category = datasets.load("digits", "4")
    scores = Thumbnail(side=8).fit(category.train).score(category.test).image
    labels = category.test.labels.astype(bool)
    assert (scores[labels][:, None] > scores[~labels]).mean() > 0.9
