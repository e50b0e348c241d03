"""Readers of MNIST and CIFAR-10 on files made here: layouts, damaged and foreign files."""

from __future__ import annotations

import gzip
import os
import pickle
import shutil
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adlib import datasets
from adlib.datasets import cifar10, class_folders, mnist
from adlib.datasets.classes import Labelled
from adlib.errors import InputError

MNIST = Path(os.environ.get("ADLIB_MNIST", "/nonexistent"))
CIFAR10 = Path(os.environ.get("ADLIB_CIFAR10", "/nonexistent"))
real_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="ADLIB_MNIST names no folder")
real_cifar10 = pytest.mark.skipif(not CIFAR10.is_dir(), reason="ADLIB_CIFAR10 names no folder")
IDX = [name for pair in mnist.FILES for name in pair]


def refused(call, *parts: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    for part in parts:
        assert part in message


def noise(n: int, seed: int, side: int, channels: int) -> Labelled:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (n, side, side, channels), dtype=np.uint8)
    return Labelled(pixels, rng.permutation(np.arange(n) % 10))


DIGITS = (noise(40, 0, 28, 1), noise(30, 1, 28, 1))
COLOURS = (noise(40, 2, 32, 3), noise(30, 3, 32, 3))


def idx(array: np.ndarray) -> bytes:
    """Encode bytes as IDX: two zeros, 8 for uint8, the number of axes, big-endian lengths."""
    start = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return start + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, splits=DIGITS, packed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for (pixels, classes), names in zip(splits, mnist.FILES, strict=True):
        for array, name in ((pixels[..., 0], names[0]), (classes, names[1])):
            path = folder / (f"{name}.gz" if packed else name)
            path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    return folder


def batch(split: Labelled, part: slice = slice(None)) -> bytes:
    """Encode images one by one as the page of CIFAR-10 describes: class, red, green, blue."""
    records = b""
    for pixels, number in zip(split.pixels[part], split.classes[part], strict=True):
        records += bytes([number]) + b"".join(pixels[:, :, c].tobytes() for c in range(3))
    return records


def write_batches(folder: Path, splits=COLOURS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(5):
        part = slice(8 * number, 8 * (number + 1))
        (folder / f"data_batch_{number + 1}.bin").write_bytes(batch(splits[0], part))
    (folder / "test_batch.bin").write_bytes(batch(splits[1]))
    (folder / "batches.meta.txt").write_text("airplane\n")
    return folder


def write_pictures(root: Path, splits, names, suffix: str = "png") -> Path:
    for split, (pixels, classes) in zip(("train", "test"), splits, strict=True):
        for number, (image, one) in enumerate(zip(pixels, classes, strict=True)):
            path = root / split / names[one] / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.squeeze()).save(path, lossless=True)
    return root


def check_mnist(root: Path, splits=DIGITS) -> datasets.Category:
    """Compare with the arrays that were written."""
    category = datasets.load("mnist", "3", root)
    (train, train_digits), (test, test_digits) = splits
    kept = train[train_digits != 3]
    for images, inner in ((category.train, kept), (category.test, test)):
        assert images.pixels.shape == (len(inner), 32, 32, 1)
        np.testing.assert_array_equal(images.pixels[:, 2:30, 2:30], inner)
        assert images.pixels.sum(dtype=np.int64) == inner.sum(dtype=np.int64)  # a black rim
    assert category.test.labels.tolist() == (test_digits == 3).tolist()
    assert category.test.defects == [str(digit) for digit in test_digits]
    assert category.notes == (
        "40 of the 60,000 training images",
        "30 of the 10,000 test images",
    )
    return category


def check_cifar10(root: Path, splits=COLOURS) -> datasets.Category:
    category = datasets.load("cifar10", "06789", root)
    (train, train_classes), (test, test_classes) = splits
    kept = [one for one, number in zip(train, train_classes, strict=True) if 1 <= number <= 5]
    np.testing.assert_array_equal(category.train.pixels, kept)
    np.testing.assert_array_equal(category.test.pixels, test)
    np.testing.assert_array_equal(category.test[5], test[5])
    assert category.test.labels.tolist() == [int(n in (0, 6, 7, 8, 9)) for n in test_classes]
    assert category.test.defects == [cifar10.NAMES[number] for number in test_classes]
    return category


# MNIST


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw", "mnist/MNIST/raw"])
def test_mnist_idx(tmp_path, below, packed):
    write_idx(tmp_path / below, packed=packed)
    assert datasets.categories("mnist", tmp_path) == list("0123456789")
    check_mnist(tmp_path)


def test_mnist_has_one_fingerprint_in_every_layout(tmp_path):
    idx_files = check_mnist(write_idx(tmp_path / "idx"))
    spelt = ["0", "1_one", "2 - two", "3", "4-four", "5", "6_", "7", "8_eight", "9"]
    pictures = check_mnist(write_pictures(tmp_path / "png", DIGITS, spelt))
    assert idx_files.fingerprint == pictures.fingerprint
    assert idx_files.fingerprint != datasets.load("mnist", "4", tmp_path / "idx").fingerprint
    webp = write_pictures(tmp_path / "webp", DIGITS, list("0123456789"), "webp")
    assert check_mnist(webp).fingerprint == idx_files.fingerprint


def test_mnist_plain_files_go_first(tmp_path):
    write_idx(tmp_path)
    for name in IDX:
        (tmp_path / f"{name}.gz").write_bytes(b"no gzip file")
    check_mnist(tmp_path)


def test_mnist_layout_refused(tmp_path):
    def asked(root, *parts):
        asks = ("mnist needs", "(--root DIR)", "train-images-idx3-ubyte", "train/<class>/*.png")
        how = "'adlib download mnist --root DIR' fetches"
        refused(lambda: datasets.categories("mnist", root), *asks, how, *parts)
        refused(lambda: datasets.load("mnist", "0", root), *asks, how, *parts)

    asked(None, "none was given")
    asked(tmp_path / "no", "found nothing at")
    asked(tmp_path, "found nothing in")
    (tmp_path / "mnist.zip").write_bytes(b"")
    asked(tmp_path, "found mnist.zip", "unpack mnist.zip first")
    asked(tmp_path / "mnist.zip", "found a file at")
    write_idx(tmp_path / "one" / "MNIST" / "raw")
    asked(tmp_path, f"so give {tmp_path / 'one'};")
    (tmp_path / "one" / "MNIST" / "raw" / "inner").mkdir()
    asked(tmp_path / "one/MNIST/raw/inner", f"so give {tmp_path / 'one/MNIST/raw'};")
    refused(lambda: datasets.load("mnist", "10", tmp_path / "one"), "write 01")


def test_mnist_missing_file(tmp_path):
    write_idx(tmp_path, packed=True)
    (tmp_path / f"{IDX[3]}.gz").unlink()
    refused(
        lambda: datasets.categories("mnist", tmp_path),
        f"holds only a part of mnist, no {IDX[3]};",
        "adlib download mnist",
    )


def damaged(folder: Path, name: str, content: bytes, *parts: str) -> None:
    """Replace one file, plain and packed, and expect a refusal."""
    for packed in (False, True):
        write_idx(folder / str(packed), packed=packed)
        path = folder / str(packed) / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
        refused(lambda path=path: datasets.load("mnist", "0", path.parent), str(path), *parts)


def test_mnist_damaged_files(tmp_path):
    images, labels = idx(DIGITS[0].pixels[..., 0]), idx(DIGITS[0].classes)
    size = 40 * 28 * 28
    damaged(tmp_path / "a", IDX[0], images[:-1], f"{size} bytes", f"only {size - 1}", "again")
    damaged(tmp_path / "b", IDX[0], images + b"\0", f"{size} bytes", "found more")
    damaged(tmp_path / "c", IDX[0], images[:15], "ends within its header")
    damaged(tmp_path / "d", IDX[0], b"", "ends within its header")
    damaged(tmp_path / "e", IDX[0], labels + images, "magic number 2051", "2049")
    damaged(tmp_path / "f", IDX[1], images, "IDX file of n bytes (magic number 2049)", "2051")
    wide = idx(np.zeros((40, 28, 29)))
    damaged(tmp_path / "g", IDX[0], wide, "n x 28 x 28 bytes", "found magic number 2051 and 40 x")
    damaged(tmp_path / "h", IDX[0], idx(np.zeros((0, 28, 28))), "0 x 28 x 28")
    damaged(tmp_path / "i", IDX[1], idx(np.arange(40) % 11), "Labels of mnist are 0 to 9", "10")
    damaged(tmp_path / "j", IDX[1], idx(np.zeros(39)), "40 images", "39 labels")
    floats = bytes([0, 0, 13, 3]) + images[4:]
    damaged(tmp_path / "k", IDX[0], floats, "magic number 3331")
    huge = struct.pack(">4I", 0x803, 4_000_000_000, 28, 28) + images[16:]
    damaged(tmp_path / "l", IDX[0], huge, "4000000000 x 28 x 28")


def test_mnist_damaged_gzip(tmp_path):
    path = write_idx(tmp_path, packed=True) / f"{IDX[0]}.gz"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-6] ^= 1  # in the checksum
    for content in (whole[:-9], whole[: len(whole) // 2], b"no gzip", bytes(flipped)):
        path.write_bytes(content)
        refused(lambda: datasets.load("mnist", "0", tmp_path), str(path), "cannot be read (")
    path.unlink()
    path.mkdir()
    refused(lambda: datasets.load("mnist", "0", tmp_path), str(path), "cannot be read (")


def test_mnist_gzip_bomb(tmp_path):
    """300 MB of zeros in 300 kB: no more is unpacked than the header announces."""
    folder = write_idx(tmp_path, packed=True)
    with gzip.open(folder / f"{IDX[0]}.gz", "wb") as file:
        file.write(struct.pack(">4I", 0x803, 40, 28, 28))
        for _ in range(300):
            file.write(bytes(1_000_000))
    tracemalloc.start()
    try:
        refused(lambda: datasets.load("mnist", "0", tmp_path), "found more")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


# folders of classes


def test_order_is_that_of_the_numbers_in_the_names(tmp_path):
    """Not of the text: 9 comes before 10, and classes take turns; without number first."""
    pixels = noise(5, 0, 32, 3).pixels
    places = ["bird/10.png", "cat/9.png", "cat/a10.png", "airplane/zero.png", "cat/10.png"]
    for split in ("train", "test"):
        for image, name in zip(pixels, places, strict=True):
            path = tmp_path / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
        (tmp_path / split / "cat" / "notes.txt").write_text("")
        (tmp_path / split / ".hidden").mkdir()
    train, test = class_folders.read(tmp_path, cifar10.NAMES, 32, 3)
    np.testing.assert_array_equal(train.pixels, pixels[[3, 1, 0, 4, 2]])
    assert train.classes.tolist() == test.classes.tolist() == [0, 3, 2, 3, 3]


def test_changed_files_are_read_again(tmp_path):
    write_pictures(tmp_path, COLOURS, cifar10.NAMES)
    before = check_cifar10(tmp_path)
    path = tmp_path / "test" / cifar10.NAMES[COLOURS[1].classes[0]] / "0.png"
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path)
    after = datasets.load("cifar10", "06789", tmp_path)
    assert not after.test[0].any()
    assert before.test[0].any() and before.fingerprint != after.fingerprint


def test_refused_pictures(tmp_path):
    root = write_pictures(tmp_path / "mnist", DIGITS, list("0123456789"))
    path = next((root / "test" / "7").iterdir())

    def replaced(image: np.ndarray, *parts: str) -> None:
        Image.fromarray(image).save(path)
        refused(lambda: datasets.load("mnist", "0", root), str(path), *parts)

    replaced(np.zeros((28, 29), np.uint8), "must be 28 x 28 pixels, found 28 x 29")
    replaced(np.zeros((32, 32), np.uint8), "found 32 x 32")
    red = np.zeros((28, 28, 3), np.uint8)
    red[3, 4, 0] = 1
    replaced(red, "must be grey, found colours")
    path.write_bytes(path.read_bytes()[:60])
    refused(lambda: datasets.load("mnist", "0", root), str(path), "cannot be read as an image")
    Image.fromarray(np.zeros((28, 28, 3), np.uint8)).save(path)
    assert len(datasets.load("mnist", "0", root).test) == 30  # grey, though stored as RGB


def test_refused_class_folders(tmp_path):
    root = write_pictures(tmp_path, COLOURS, [f"{i}_{n}" for i, n in enumerate(cifar10.NAMES)])
    check_cifar10(root)

    def renamed(old: str, new: str, *parts: str) -> None:
        (root / "train" / old).rename(root / "train" / new)
        refused(lambda: datasets.load("cifar10", "0", root), *parts)
        (root / "train" / new).rename(root / "train" / old)

    rule = ("must be named after the classes, as 0_airplane", str(root / "train"))
    for wrong in ("3_dog", "kitten", "10_cat", "33", "3cat", "cat_3", "0003_cat", "٣_cat"):
        renamed("3_cat", wrong, *rule, f"found {wrong}")
    renamed("3_cat", "2", "one folder, found 2 and 2_bird")
    renamed("3_cat", ".3_cat", "class 3 (cat) has no training image")
    for path in (root / "train" / "3_cat").iterdir():
        path.unlink()
    refused(lambda: datasets.load("cifar10", "0", root), "class 3 (cat) has no training image")
    assert len(datasets.load("cifar10", "3", root).train) == 36


def test_splits_without_images(tmp_path):
    root = write_pictures(tmp_path / "a", DIGITS, list("0123456789"))
    empty = tmp_path / "b"
    (empty / "train" / "0").mkdir(parents=True)
    (empty / "test").mkdir()
    refused(
        lambda: datasets.load("mnist", "0", empty),
        f"{empty / 'train'} must hold a folder of images for each class, as 0/1.png",
        "found 0/ and no image in it",
    )
    (root / "test").rename(root / "other")
    refused(lambda: datasets.categories("mnist", root), "found other/, train/ in")
    (root / "other").rename(root / "test")
    inside = f"so give {root};"
    refused(lambda: datasets.categories("mnist", root / "train"), inside)
    refused(lambda: datasets.categories("cifar10", root / "train" / "0"), inside)
    assert datasets.categories("mnist", root)


# CIFAR-10


@pytest.mark.parametrize("below", ["", "cifar-10-batches-bin"])
def test_cifar10_batches(tmp_path, below):
    write_batches(tmp_path / below)
    category = check_cifar10(tmp_path)
    wanted = ("40 of the 50,000 training images", "30 of the 10,000 test images")
    assert category.notes == wanted
    eight = ["01234", "01239", "01789", "06789", "12345", "23456", "45678", "56789"]
    assert datasets.categories("cifar10", tmp_path) == eight


def test_cifar10_has_one_fingerprint_in_every_layout(tmp_path):
    binary = check_cifar10(write_batches(tmp_path / "bin"))
    numbered = [f"{i}_{name}" for i, name in enumerate(cifar10.NAMES)]
    webp = check_cifar10(write_pictures(tmp_path / "webp", COLOURS, numbered, "webp"))
    png = check_cifar10(write_pictures(tmp_path / "png", COLOURS, cifar10.NAMES))
    assert binary.fingerprint == webp.fingerprint == png.fingerprint


def test_cifar10_part_of_the_batches(tmp_path):
    write_batches(tmp_path)
    for number in (1, 3, 4):
        (tmp_path / f"data_batch_{number}.bin").unlink()
    category = datasets.load("cifar10", "13", tmp_path)  # classes that the two do not hold
    assert category.notes[0] == "16 of the 50,000 training images"
    kept = [i for i in (*range(8, 16), *range(32, 40)) if COLOURS[0].classes[i] not in (1, 3)]
    np.testing.assert_array_equal(category.train.pixels, COLOURS[0].pixels[kept])


def test_cifar10_is_read_once_for_all_categories(tmp_path):
    write_batches(tmp_path)
    first, second = (datasets.load("cifar10", name, tmp_path) for name in ("0", "1"))
    assert np.shares_memory(first.test.pixels, second.test.pixels)
    (tmp_path / "test_batch.bin").write_bytes(batch(COLOURS[1], slice(10, 30)))
    assert len(datasets.load("cifar10", "0", tmp_path).test) == 20


def test_cifar10_damaged_batches(tmp_path):
    write_batches(tmp_path)
    path = tmp_path / "data_batch_2.bin"
    whole = path.read_bytes()

    def replaced(content: bytes, *parts: str) -> None:
        path.write_bytes(content)
        refused(lambda: datasets.load("cifar10", "0", tmp_path), str(path), *parts)

    replaced(whole[:-1], "1 to 10000 images of 3073 bytes each", "found 8.00")
    replaced(b"", "found 0.00")
    replaced(bytes([10]) + whole[1:], "Classes of cifar10 are 0 to 9, found 10")
    replaced(bytes(3073 * 10_001), "found more than 10000")
    path.unlink()
    path.mkdir()
    refused(lambda: datasets.load("cifar10", "0", tmp_path), str(path), "cannot be read")


def test_cifar10_layout_refused(tmp_path):
    def asked(root, *parts):
        asks = ("cifar10 needs", "(--root DIR)", "test_batch.bin", "train/<class>/*.png")
        how = "'adlib download cifar10 --root DIR' fetches"
        refused(lambda: datasets.categories("cifar10", root), *asks, how, *parts)

    asked(None, "none was given")
    asked(tmp_path / "no", "found nothing at")
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"")
    asked(tmp_path, "unpack cifar-10-binary.tar.gz first")
    asked(tmp_path / "cifar-10-binary.tar.gz", "found a file at")
    batches = write_batches(tmp_path / "cifar-10-batches-bin")
    assert datasets.categories("cifar10", tmp_path) == datasets.categories("cifar10", batches)
    refused(lambda: datasets.load("cifar10", "airplane", batches), "write --category 0")
    (batches / "test_batch.bin").unlink()
    asked(batches, "found batches.meta.txt, data_batch_1.bin")


def test_cifar10_is_never_unpickled(tmp_path):
    """The Python version, in three places; opening it would run what it says."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    for name in ("data_batch_1", "test_batch"):
        (folder / name).write_bytes(pickle.dumps(Trap()))
    for root in (tmp_path, folder):
        refused(
            lambda root=root: datasets.load("cifar10", "0", root),
            str(folder),
            "pickle files can run any code and are never opened here",
            "take the binary version instead",
            "adlib download cifar10",
        )
    assert not (tmp_path / "sprung").exists()
    write_batches(tmp_path / "cifar-10-batches-bin")  # both versions: the binary one is read
    check_cifar10(tmp_path)


# downloads; the network is not asked here


@pytest.fixture
def torchvision():
    from adlib._torchvision import ensure_torchvision

    ensure_torchvision()
    import torchvision.datasets

    return torchvision.datasets


def test_downloads_ask_torchvision(tmp_path, monkeypatch, torchvision):
    asked = []

    def fetch(root, download):
        asked.append(download)
        write_idx(Path(root) / "MNIST" / "raw", packed=True)

    def unpack(url, download_root, md5):
        asked.extend([url.rsplit("/", 1)[1], md5])
        write_batches(Path(download_root) / "cifar-10-batches-bin")

    monkeypatch.setattr(torchvision, "MNIST", fetch)
    monkeypatch.setattr(torchvision.utils, "download_and_extract_archive", unpack)
    mnist.download(tmp_path / "mnist")
    cifar10.download(tmp_path / "cifar10")
    assert asked == [True, "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"]
    check_mnist(tmp_path / "mnist")
    check_cifar10(tmp_path / "cifar10")


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("File not found\ncorrupted")])
def test_downloads_that_fail(tmp_path, monkeypatch, torchvision, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(torchvision, "MNIST", fail)
    monkeypatch.setattr(torchvision.utils, "download_and_extract_archive", fail)
    for reader in (mnist, cifar10):
        refused(lambda reader=reader: reader.download(tmp_path), "cannot be fetched", "try again")


def test_nothing_heavy_is_imported_early():
    """Listing categories needs neither torchvision nor scikit-learn."""
    import subprocess

    code = (
        "import sys; from adlib import datasets; datasets.categories('digits'); "
        "print([m for m in ('torch', 'torchvision', 'sklearn') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "[]"


# the real data sets


@real_mnist
def test_real_mnist():
    """Counts of each digit, and the mean and deviation that everybody normalises by."""
    per_class = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    tested = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (sum(per_class), sum(tested)) == mnist.OFFICIAL
    for digit in (0, 7):
        category = datasets.load("mnist", str(digit), MNIST)
        assert category.notes == ()
        assert len(category.train) == 60_000 - per_class[digit]
        assert int(category.test.labels.sum()) == tested[digit]
        assert category.test.defects[:8] == list("72104149")
    parts = [datasets.load("mnist", name, MNIST).train.pixels for name in ("01234", "56789")]
    inner = np.concatenate(parts)[:, 2:30, 2:30] / np.float32(255)
    assert len(inner) == 60_000
    assert inner.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert inner.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)


@real_mnist
def test_torchvision_unpacks_what_is_there(tmp_path):
    """It fetches nothing where the packed files have the right checksums."""
    packed = next(MNIST.rglob(f"{IDX[0]}.gz"), None)
    if packed is None:
        pytest.skip("the files in ADLIB_MNIST are unpacked")
    shutil.copytree(packed.parent, tmp_path / "MNIST" / "raw", copy_function=shutil.copyfile)
    (tmp_path / "MNIST" / "raw").chmod(0o755)
    mnist.download(tmp_path)
    assert (tmp_path / "MNIST" / "raw" / IDX[0]).is_file()
    found, wanted = (datasets.load("mnist", "0", root) for root in (tmp_path, MNIST))
    assert found.fingerprint == wanted.fingerprint


@real_cifar10
def test_real_cifar10():
    category = datasets.load("cifar10", "01234", CIFAR10)
    assert len(category.test) == 10_000 and int(category.test.labels.sum()) == 5000
    first = ["cat", "ship", "ship", "airplane", "frog", "frog", "automobile", "frog"]
    assert category.test.defects[:8] == first
    whole = len(category.train) == 25_000
    assert whole == (category.notes == ())
    # a copy that keeps the place in the official batches in its file names
    assert category.test.pixels[0, 0, 0].tolist() == [158, 112, 49]
