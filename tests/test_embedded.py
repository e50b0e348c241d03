"""The embedded data set: complete, exact, repeatable to the byte, and safe against accidents."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adlib import datasets
from adlib.datasets import embedded, png
from adlib.datasets.scenes import shapes, textures
from adlib.errors import InputError

NAMES = datasets.categories("embedded")


def hashes(folder: Path) -> dict[str, str]:
    """Map the relative path of every file to the sha256 of its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def quick(monkeypatch):
    """Make the category 'grass' as small as possible."""
    for name in ("N_TRAIN", "N_GOOD", "N_DEFECT"):
        monkeypatch.setattr(embedded, name, 1)
    return "grass"


# what is in it


def test_categories():
    assert len(NAMES) >= 5
    assert {"brick", "grass", "gravel"} < set(NAMES)
    assert all(3 <= len(subject.kinds) <= 4 for subject in embedded.SUBJECTS.values())


@pytest.mark.parametrize("name", NAMES)
def test_category_is_complete_and_every_defect_survives_the_crop(name):
    category = datasets.load("embedded", name)
    kinds = embedded.SUBJECTS[name].kinds
    assert (category.dataset, category.name) == ("embedded", name)
    assert len(category.train) == embedded.N_TRAIN
    assert set(category.test.defects) == {"good", *kinds}
    assert [category.test.defects.count(kind) for kind in kinds] == [embedded.N_DEFECT] * len(kinds)
    assert category.test.defects.count("good") == embedded.N_GOOD
    assert category.train[0].shape == (224, 224, 3)
    masks = category.test.masks()  # a warning about cropped or empty masks would fail here
    np.testing.assert_array_equal(masks.any(axis=(1, 2)), category.test.labels == 1)
    marked = masks[category.test.labels == 1].mean(axis=(1, 2))
    assert marked.max() < 0.15
    pictures = {
        sample.path.read_bytes()
        for part in (category.train, category.test)
        for sample in part.samples
    }
    assert len(pictures) == len(category.train) + len(category.test)


class Harmless:
    """A subject whose defects do nothing."""

    def __init__(self, subject):
        self.kinds, self.noise, self.look = subject.kinds, subject.noise, subject.look
        self.render = lambda look, kind=None, rng=None: subject.render(look)


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_the_pixels_that_were_altered(name, monkeypatch):
    subject = embedded.SUBJECTS[name]
    for kind in subject.kinds:
        image, mask = embedded.picture(name, "test", kind, 0)
        with monkeypatch.context() as patch:
            patch.setitem(embedded.SUBJECTS, name, Harmless(subject))
            clean, nothing = embedded.picture(name, "test", kind, 0)
        differs = (image != clean).any(axis=-1)
        assert not nothing.any()
        assert not (differs & ~mask).any()
        assert differs[mask].mean() > 0.7, kind
        assert mask.sum() >= 20


def test_masks_find_a_known_difference():
    clean = np.full((256, 256), 0.5)
    damaged = clean.copy()
    damaged[100:110, 50:60] += 0.1
    damaged[104:106, 54:56] = 0.5  # by chance as before
    damaged[200, 200] = 1.0  # a speck
    damaged[20:40, 20:40] += 0.001  # invisible
    expected = np.zeros((256, 256), dtype=bool)
    expected[100:110, 50:60] = True
    np.testing.assert_array_equal(embedded._altered(clean, damaged), expected)
    np.testing.assert_array_equal(
        embedded._altered(np.dstack([clean] * 3), np.dstack([clean, clean, damaged])), expected
    )


@pytest.mark.parametrize("texture", [textures.BRICK, textures.GRASS, textures.GRAVEL])
@pytest.mark.parametrize("split", ["train", "test"])
def test_train_and_test_share_no_pixel_of_a_photograph(texture, split, monkeypatch):
    import skimage.data

    photo = getattr(skimage.data, texture.photo_name)()
    assert (photo.shape, photo.dtype) == ((512, 512), np.uint8)
    other = photo.copy()
    hidden = (
        np.s_[:, textures.SPLIT_COLUMN :] if split == "train" else np.s_[:, : textures.SPLIT_COLUMN]
    )
    other[hidden] = 255 - other[hidden]
    monkeypatch.setattr(skimage.data, texture.photo_name, lambda: other)
    changed = replace(texture)  # a copy that has read no photograph yet
    for seed in range(4):
        look = texture.look(np.random.default_rng(seed), split)
        np.testing.assert_array_equal(changed.render(look), texture.render(look))


@pytest.mark.parametrize("texture", [textures.BRICK, textures.GRASS, textures.GRAVEL])
@pytest.mark.parametrize("split", ["train", "test"])
def test_crops_lie_inside_their_part(texture, split):
    rows, columns = texture._parts[split].shape
    corners = np.array([[0, 0], [0, 255], [255, 0], [255, 255]])
    for seed in range(200):
        look = texture.look(np.random.default_rng(seed), split)
        places = corners @ look.matrix.T + look.offset
        assert places.min() >= 0
        assert (places.max(axis=0) <= [rows - 1, columns - 1]).all()


# repeatable


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_depends_on_its_name_alone(name):
    category = datasets.load("embedded", name)
    for sample in (category.test.samples[-1], category.test.samples[0], category.train.samples[3]):
        split, kind = sample.path.parts[-3:-1]
        image, mask = embedded.picture(name, split, kind, int(sample.path.stem))
        assert sample.path.read_bytes() == png.encode(image)
        if sample.mask_path is not None:
            stored = np.asarray(Image.open(sample.mask_path))
            np.testing.assert_array_equal(stored, np.where(mask, 255, 0))


def test_two_generations_are_equal_to_the_byte(tmp_path):
    category = datasets.load("embedded", "grass")
    again = embedded.generate("grass", tmp_path)
    first = hashes(category.train.folder)
    assert first == hashes(again)
    counts = len(category.train) + len(category.test) + int(category.test.labels.sum())
    assert len(first) == counts


@pytest.mark.parametrize("shape", [(1, 1), (3, 5, 3), (256, 256), (256, 256, 3), (255, 256)])
def test_png_is_read_back_by_pillow(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    opened = Image.open(io.BytesIO(png.encode(image)))
    assert opened.mode == ("L" if len(shape) == 2 else "RGB")
    np.testing.assert_array_equal(np.asarray(opened), image)


# accidents


def test_two_processes_at_once_both_succeed(tmp_path):
    code = (
        "from adlib.datasets import embedded, load;"
        "embedded.N_TRAIN = embedded.N_GOOD = embedded.N_DEFECT = 4;"
        "print(load('embedded', 'grass').fingerprint)"
    )
    environment = os.environ | {"ADLIB_CACHE": str(tmp_path)}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert printed[0] == printed[1]
    (folder,) = (tmp_path / "embedded").iterdir()
    assert [path.name for path in folder.iterdir()] == ["grass"]


def test_the_slower_process_keeps_what_is_there(quick, tmp_path):
    first = hashes(embedded.generate(quick, tmp_path))
    assert hashes(embedded.generate(quick, tmp_path)) == first
    assert [path.name for path in tmp_path.iterdir()] == [quick]


def test_an_interruption_leaves_nothing(quick, tmp_path, monkeypatch):
    written = []

    def encode(image):
        written.append(image)
        if len(written) == 3:
            raise KeyboardInterrupt
        return b""

    monkeypatch.setattr(png, "encode", encode)
    with pytest.raises(KeyboardInterrupt):
        embedded.generate(quick, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence(quick, tmp_path, monkeypatch):
    def write_bytes(self, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(
        InputError, match=r"No space left on device\): make room or set ADLIB_CACHE"
    ):
        embedded.generate(quick, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "embedded").write_text("in the way")
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="cannot be written to"):
        datasets.load("embedded", "grass")


def test_a_damaged_cache_is_noticed(quick, tmp_path, monkeypatch):
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path))
    category = datasets.load("embedded", quick)
    category.train.samples[0].path.with_name("more.png").write_bytes(
        category.train.samples[0].path.read_bytes()
    )
    with pytest.raises(InputError, match="found 2 and 5: delete .*grass to have it made anew"):
        datasets.load("embedded", quick)


@pytest.mark.parametrize("name", ["bottle", "", None, "../grass"])
def test_unknown_category(name):
    with pytest.raises(InputError, match="must be one of brick, circuit, gear, grass, gravel"):
        datasets.load("embedded", name)


def test_takes_no_root(tmp_path):
    with pytest.raises(InputError, match="takes no root"):
        datasets.load("embedded", "grass", tmp_path)
    with pytest.raises(InputError, match="takes no root"):
        datasets.categories("embedded", tmp_path)


# the shapes it is drawn with


def test_shapes_are_signed_distances():
    x, y = shapes.grid()
    np.testing.assert_allclose(shapes.disc(10, 20, 5)(x, y), np.hypot(x - 10, y - 20) - 5)
    square = shapes.box(0, 0, 4, 2)
    points = np.array([[0, 0], [2, 0], [5, 0], [5, 5], [0, -3]], dtype=float).T
    np.testing.assert_allclose(square(*points), [-1, 0, 3, 5, 2])
    turned = shapes.box(0, 0, 2, 4, np.pi / 2)
    np.testing.assert_allclose(turned(*points), [-1, 0, 3, 5, 2], atol=1e-12)
    path = shapes.line([(0, 0), (10, 0), (10, 10)], 2)
    np.testing.assert_allclose(path(np.array([5.0, 10, -3]), np.array([0.0, 14, 4])), [-1, 3, 4])


def test_fine_grids_reduce_to_coarse_ones():
    fine, coarse = shapes.grid(shapes.FINE)[0], shapes.grid()[0]
    np.testing.assert_allclose(shapes.reduce(fine, shapes.FINE), coarse)
    np.testing.assert_array_equal(shapes.reduce(shapes.enlarge(coarse), shapes.FINE), coarse)


# its page


def test_page_names_what_there_is(root):
    page = " ".join((root / "book" / "data.md").read_text(encoding="utf-8").split())
    for name, subject in embedded.SUBJECTS.items():
        kinds = ", ".join(f"`{kind}`" for kind in subject.kinds)
        assert f"| `{name}` |" in page
        assert f"| {kinds} |" in page
    assert (
        f"{embedded.N_TRAIN} training images, {embedded.N_GOOD} normal test images and "
        f"{embedded.N_DEFECT} test images of each kind" in page
    )
    assert f"{shapes.SIZE} x {shapes.SIZE} pixels" in page
    for warning in ("DefectCropped", "EmptyMask", "MissingMasks"):
        assert f"`{warning}`" in page
        assert hasattr(datasets, warning)
