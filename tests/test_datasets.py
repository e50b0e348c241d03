"""Folder reader, transform, hostile folders; expected values from torchvision and by hand."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adlib import datasets
from adlib.datasets import DefectCropped, EmptyMask, MissingMasks, Transform
from adlib.errors import InputError

PLAIN = Transform(resize=None, crop=None)


def picture(path: Path, size=(20, 24), value: int | np.ndarray = 90, **options) -> Path:
    """Write an RGB picture of `size` (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.broadcast_to(np.asarray(value, dtype=np.uint8), (*size, 3))
    Image.fromarray(np.ascontiguousarray(array)).save(path, **options)
    return path


def mask(path: Path, size=(20, 24), box=(8, 8, 12, 12)) -> Path:
    """Write a mask that marks rows and columns of `box` (top, left, bottom, right)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros(size, dtype=np.uint8)
    array[box[0] : box[2], box[1] : box[3]] = 255
    Image.fromarray(array).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set with one category: 3 train, 2 good, 2 'dent' with masks."""
    part = tmp_path / "data" / "part"
    for i in (2, 0, 1):
        picture(part / "train" / "good" / f"{i:03}.png", value=80 + i)
    for i in range(2):
        picture(part / "test" / "good" / f"{i:03}.png")
        picture(part / "test" / "dent" / f"{i:03}.png", value=200 + i)
        mask(part / "ground_truth" / "dent" / f"{i:03}_mask.png")
    return tmp_path / "data"


def load(root: Path, transform: Transform = PLAIN) -> datasets.Category:
    return datasets.load("mvtec_ad", "part", root, transform)


# the reader


def test_counts_order_labels_and_masks(root):
    category = load(root)
    assert (category.dataset, category.name) == ("mvtec_ad", "part")
    assert [s.path.name for s in category.train.samples] == ["000.png", "001.png", "002.png"]
    assert category.test.defects == ["dent", "dent", "good", "good"]
    assert category.test.labels.tolist() == [1, 1, 0, 0]
    assert category.test.has_masks
    expected = np.zeros((4, 20, 24), dtype=bool)
    expected[:2, 8:12, 8:12] = True
    np.testing.assert_array_equal(category.test.masks(), expected)
    assert category.test.masks().dtype == bool


def test_images_are_a_sequence_of_uint8_rgb(root):
    train = load(root).train
    assert train[0].shape == (20, 24, 3)
    assert train[0].dtype == np.uint8
    assert [int(image[0, 0, 0]) for image in train] == [80, 81, 82]
    assert int(train[-1][0, 0, 0]) == 82
    assert [s.path.name for s in train[1:].samples] == ["001.png", "002.png"]
    train[0][:] = 0  # writable, and decoded anew each time
    assert train[0].max() == 80
    with pytest.raises(IndexError):
        train[3]


def test_everything_but_images_is_ignored(root):
    before = load(root).fingerprint
    for folder in ("part", "part/train/good", "part/test/dent", "part/ground_truth/dent"):
        (root / folder / "license.txt").write_text("CC BY")
        (root / folder / ".hidden.png").write_bytes(b"not a picture")
        (root / folder / "sub.png").mkdir()
    picture(root / "part" / "ground_truth" / "good" / "000_mask.png")
    (root / "part" / "test" / "not_yet").mkdir()
    (root / ".cache").mkdir()
    (root / "notes").mkdir()
    assert datasets.categories("mvtec_ad", root) == ["part"]
    assert load(root).fingerprint == before


def test_links_count_as_what_they_point_to(root, tmp_path):
    linked = tmp_path / "linked"
    linked.symlink_to(root)
    (root / "part" / "train" / "good" / "003.png").symlink_to(root / "part/test/good/000.png")
    assert len(load(linked).train) == 4


def test_fingerprint_depends_on_bytes_and_names_only(root, tmp_path):
    one = load(root)
    train, both = one.train.fingerprint, one.fingerprint
    moved = root.rename(tmp_path / "elsewhere")
    same = load(moved, Transform(16, 16))
    assert (same.train.fingerprint, same.fingerprint) == (train, both)
    assert len({train, both, one.test.fingerprint}) == 3
    assert len(both) == 64
    mask(moved / "part/ground_truth/dent/000_mask.png", box=(0, 0, 1, 1))
    after = load(moved)
    assert after.train.fingerprint == same.train.fingerprint
    assert after.test.fingerprint != same.test.fingerprint
    (moved / "part/train/good/002.png").rename(moved / "part/train/good/009.png")
    assert load(moved).train.fingerprint != same.train.fingerprint


def test_own_data_without_masks(root):
    shutil.rmtree(root / "part" / "ground_truth")
    test = load(root).test
    assert not test.has_masks
    with pytest.raises(InputError, match=r"found none for dent/000.png, dent/001.png"):
        test.masks()


def test_some_masks_missing_warns_and_counts_as_none(root):
    (root / "part/ground_truth/dent/001_mask.png").unlink()
    with pytest.warns(MissingMasks, match=r"1 of 2 anomalous images .*dent/001.png"):
        test = load(root).test
    assert not test.has_masks


@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".JPEG", ".bmp", ".tif", ".TIFF", ".webp", ".PNG"]
)
def test_formats_of_images_and_masks(root, suffix):
    part = root / "part"
    options = {"lossless": True} if suffix == ".webp" else {}
    for name in ("000", "001"):
        (part / "test/dent" / f"{name}.png").unlink()
        (part / "ground_truth/dent" / f"{name}_mask.png").unlink()
        picture(part / "test/dent" / f"{name}{suffix}", value=201, **options)
    marked = np.zeros((20, 24), dtype=np.uint8)
    marked[8:16, 8:16] = 255  # a whole JPEG block, so that compression changes nothing
    Image.fromarray(marked).save(part / "ground_truth/dent" / f"000_mask{suffix}", **options)
    Image.fromarray(marked).save(part / "ground_truth/dent" / f"001{suffix}", **options)
    test = load(root).test
    assert abs(int(test[0][0, 0, 0]) - 201) <= 1
    np.testing.assert_array_equal(test.masks()[:2], np.stack([marked > 0] * 2))


def modes() -> dict[str, Image.Image]:
    ramp = np.arange(20 * 24, dtype=np.float64).reshape(20, 24) / (20 * 24 - 1)
    grey = np.rint(255 * ramp).astype(np.uint8)
    alpha = np.dstack([grey, grey, grey, 255 - grey])
    return {
        "grey": Image.fromarray(grey),
        "grey+alpha": Image.fromarray(np.dstack([grey, 255 - grey])),
        "rgba": Image.fromarray(alpha),
        "palette": Image.fromarray(grey).convert("P"),
        "16 bit": Image.fromarray(grey.astype(np.uint16) * 257),
    }


@pytest.mark.parametrize("mode", modes())
def test_pixel_types_become_rgb(root, mode):
    modes()[mode].save(root / "part/train/good/000.png")
    expected = np.asarray(modes()["grey"])
    image = load(root).train[0]
    for channel in range(3):
        np.testing.assert_array_equal(image[..., channel], expected)


def test_floating_point_tiff(root):
    path = root / "part/train/good/000.tiff"
    (root / "part/train/good/000.png").unlink()
    Image.fromarray(np.full((20, 24), 0.5, dtype=np.float32)).save(path)
    assert int(load(root).train[0][0, 0, 0]) == 128
    Image.fromarray(np.full((20, 24), np.nan, dtype=np.float32)).save(path)
    with pytest.raises(InputError, match=r"grey values in \[0, 1\]"):
        load(root).train[0]


def test_exif_orientation_turns_image_and_size(root):
    path = root / "part/test/dent/000.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    array = np.zeros((24, 20, 3), dtype=np.uint8)
    array[:12] = 255
    Image.fromarray(array).save(path, exif=exif)  # stored upright 24 x 20, shown as 20 x 24
    image = load(root).test[0]
    assert image.shape == (20, 24, 3)
    np.testing.assert_array_equal(image, np.rot90(array, -1))


@pytest.mark.parametrize(
    ("values", "marked"),
    [
        (np.array([[0, 1], [0, 0]], dtype=np.uint8), [[False, True], [False, False]]),
        (np.array([[0, 1], [0, 65535]], dtype=np.uint16), [[False, True], [False, True]]),
        (np.array([[False, True], [True, False]]), [[False, True], [True, False]]),
        (
            np.array([[[0, 0, 0], [0, 0, 9]], [[0, 0, 0], [9, 0, 0]]], dtype=np.uint8),
            [[False, True], [False, True]],
        ),
        (
            np.array([[[0, 0, 0, 255], [1, 0, 0, 255]]] * 2, dtype=np.uint8),
            [[False, True], [False, True]],
        ),
    ],
)
def test_any_value_above_zero_is_defect(root, values, marked):
    for i in range(2):
        picture(root / f"part/test/dent/00{i}.png", size=(2, 2))
        picture(root / f"part/test/good/00{i}.png", size=(2, 2))
        Image.fromarray(values).save(root / f"part/ground_truth/dent/00{i}_mask.png")
    np.testing.assert_array_equal(load(root).test.masks()[0], marked)


# the transform


@pytest.mark.parametrize("size", [(256, 256), (300, 400), (401, 299), (257, 255), (100, 130)])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (64, 33), (64, 64), (97, None)])
def test_transform_equals_torchvision(size, resize, crop):
    from adlib._torchvision import ensure_torchvision

    ensure_torchvision()
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    rng = np.random.default_rng(0)
    pixels = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    marked = rng.random(size) > 0.7
    image, truth = Resize(resize)(pixels), Image.fromarray(marked.astype(np.uint8) * 255)
    truth = Resize(resize, InterpolationMode.NEAREST)(truth)
    if crop is not None:
        image, truth = CenterCrop(crop)(image), CenterCrop(crop)(truth)
    ours = Transform(resize, crop)
    np.testing.assert_array_equal(np.asarray(ours.image(pixels)), np.asarray(image))
    np.testing.assert_array_equal(ours.mask(marked), np.asarray(truth) > 0)


def truths() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    blob = np.hypot(*np.mgrid[-90:91, -130:131]) < 40
    return {
        "blob": blob,
        "line": np.arange(261)[None] // 3 * np.ones((181, 1), dtype=int) % 20 == 0,
        "noise": rng.random((181, 261)) > 0.1,
        "full": np.ones((300, 200), dtype=bool),
        "small": rng.random((60, 50)) > 0.2,
    }


def official(marked: np.ndarray, resize: int | tuple[int, int], crop: int | None) -> np.ndarray:
    """Run the masks' pipeline of the released PatchCore code in torchvision: ToTensor, then int."""
    from adlib._torchvision import ensure_torchvision

    ensure_torchvision()
    from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

    steps = [Resize(resize), *([] if crop is None else [CenterCrop(crop)]), ToTensor()]
    return Compose(steps)(Image.fromarray(marked.astype(np.uint8) * 255))[0].numpy().astype(int)


@pytest.mark.parametrize("name", truths())
@pytest.mark.parametrize(("resize", "crop"), [(64, 48), (97, None), (256, 224), (181, 33)])
def test_official_masks_equal_torchvision(name, resize, crop):
    marked = truths()[name]
    ours = Transform(resize, crop, masks="official").mask(marked)
    assert ours.dtype == bool
    np.testing.assert_array_equal(ours, official(marked, resize, crop))
    squashed = Transform(resize, crop, squash=True, masks="official").mask(marked)
    np.testing.assert_array_equal(squashed, official(marked, (resize, resize), crop))


def test_official_masks_wear_defects_away():
    blob, line = truths()["blob"], truths()["line"]
    near, worn = (Transform(64, None, masks=rule).mask(blob) for rule in ("nearest", "official"))
    assert 0.5 * near.sum() < worn.sum() < near.sum()
    assert not (worn & ~near).any()
    assert Transform(64, None).mask(line).any()
    assert not Transform(64, None, masks="official").mask(line).any()
    # an image that needs no resizing keeps its mask
    np.testing.assert_array_equal(Transform(181, None, masks="official").mask(blob), blob)


@pytest.mark.parametrize("size", [(256, 256), (300, 400), (401, 299), (64, 33)])
def test_squash_equals_torchvision(size):
    from adlib._torchvision import ensure_torchvision

    ensure_torchvision()
    from torchvision.transforms import InterpolationMode, Resize

    rng = np.random.default_rng(0)
    pixels = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    marked = rng.random(size) > 0.7
    ours = Transform(64, None, squash=True)
    np.testing.assert_array_equal(
        np.asarray(ours.image(pixels)), np.asarray(Resize((64, 64))(pixels))
    )
    truth = Resize((64, 64), InterpolationMode.NEAREST)(Image.fromarray(marked))
    np.testing.assert_array_equal(ours.mask(marked), np.asarray(truth))


def test_transform_describes_what_was_changed():
    assert Transform().describe() == {"resize": 256, "crop": 224}
    assert Transform(None, None).describe() == {"resize": None, "crop": None}
    every = Transform(256, None, squash=True, masks="official")
    words = {"resize": 256, "crop": None, "squash": True, "masks": "official"}
    assert every.describe() == words
    assert Transform(**words) == every
    assert [t.size for t in (Transform(), every, Transform(256, None))] == [
        (224, 224), (256, 256), None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [{"squash": 1}, {"squash": True, "resize": None}, {"masks": "bilinear"}, {"masks": 0}]
)
def test_transform_refuses_other_words(wrong):
    with pytest.raises(InputError, match="must be"):
        Transform(**{"crop": None, **wrong})


def test_transform_reaches_images_and_masks(root):
    test = load(root, Transform(10, 8)).test
    assert test[0].shape == (8, 8, 3)
    assert test.masks().shape == (4, 8, 8)


@pytest.mark.parametrize(
    ("resize", "crop"), [(0, None), (-3, None), (2.5, None), (True, None), ("256", None), (8, 9)]
)
def test_transform_refuses_sizes(resize, crop):
    with pytest.raises(InputError, match="must be"):
        Transform(resize, crop)


def test_crop_larger_than_the_image_names_the_file(root):
    with pytest.raises(InputError, match=r"000.png: The crop of 21 pixels .* found 20 x 24"):
        load(root, Transform(None, 21)).train[0]


def test_defects_lost_by_the_crop_warn_once_and_are_named(root):
    for i in range(2):
        mask(root / f"part/ground_truth/dent/00{i}_mask.png", box=(0, 0, 2, 2))
    test = load(root, Transform(None, 10)).test
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        masks = test.masks()
    assert [w.category for w in caught] == [DefectCropped]
    assert "dent/000.png, dent/001.png" in str(caught[0].message)
    assert Path(caught[0].filename) == Path(__file__)
    assert not masks.any()


def test_masks_that_mark_nothing_warn(root):
    mask(root / "part/ground_truth/dent/001_mask.png", box=(0, 0, 0, 0))
    with pytest.warns(EmptyMask, match=r"dent/001.png\.$"):
        load(root).test.masks()


def test_place_of_a_defect_is_unknown_only_where_the_mask_file_is_empty(root):
    mask(root / "part/ground_truth/dent/000_mask.png", box=(0, 0, 2, 2))
    mask(root / "part/ground_truth/dent/001_mask.png", box=(0, 0, 0, 0))
    test = load(root, Transform(None, 10)).test
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        truth = test.ground_truth()
    assert [w.category for w in caught] == [DefectCropped, EmptyMask]
    assert {Path(w.filename) for w in caught} == {Path(__file__)}
    assert truth.known.tolist() == [True, False, True, True]
    assert truth.masks.shape == (4, 10, 10)
    assert not truth.masks.any()


def test_squash_brings_images_to_one_size_without_reading_them(root):
    path = picture(root / "part/test/good/000.png", size=(30, 24))
    test = load(root, Transform(8, None, squash=True)).test
    assert {image.shape for image in test} == {(8, 8, 3)}
    path.write_text("not read again")
    assert test.masks().shape == (4, 8, 8)


def test_sizes_that_differ_need_a_crop(root):
    picture(root / "part/test/good/000.png", size=(30, 24))
    with pytest.raises(InputError, match="one size after the transform"):
        load(root).test.masks()
    assert load(root, Transform(10, 10)).test.masks().shape == (4, 10, 10)


# bad input: one sentence that names what is wrong


def refused(call, *parts: str) -> None:
    """Assert that `call` raises one sentence that holds every part."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    for part in parts:
        assert part in message


def test_unknown_data_set(root):
    refused(lambda: datasets.load("mvtec", "part", root), "embedded, mvtec_ad", "'mvtec'")
    refused(lambda: datasets.categories(None), "found None")


@pytest.mark.parametrize("bad", [3, "", " ", b"x"])
def test_root_of_the_wrong_type(bad):
    refused(lambda: datasets.categories("mvtec_ad", bad), "root must be")


def test_missing_root_says_where_and_how(tmp_path):
    expected = ("MVTec Anomaly Detection Dataset", "train/good", "ground_truth")
    refused(lambda: datasets.categories("mvtec_ad"), *expected, "none was given")
    refused(lambda: datasets.categories("mvtec_ad", tmp_path / "no"), *expected, "found nothing at")
    refused(lambda: datasets.categories("mvtec_ad", tmp_path), *expected, "found nothing in")
    (tmp_path / "readme.md").write_text("")
    refused(lambda: datasets.categories("mvtec_ad", tmp_path), *expected, "found readme.md")
    refused(lambda: datasets.categories("mvtec_ad", tmp_path / "readme.md"), "found a file")
    (tmp_path / "mvtec.tar.xz").write_text("")
    refused(lambda: datasets.categories("mvtec_ad", tmp_path), "unpack mvtec.tar.xz first")


def test_near_misses_of_the_root(root):
    refused(
        lambda: datasets.categories("mvtec_ad", root / "part"), f"give the folder above it, {root}"
    )
    refused(lambda: datasets.categories("mvtec_ad", root / "part/train"), f"so give {root}")
    refused(lambda: datasets.categories("mvtec_ad", root / "part/train/good"), f"so give {root}")
    refused(lambda: datasets.categories("mvtec_ad", root.parent), f"so give {root}")


@pytest.mark.parametrize("name", ["prat", "Part", "", "..", "part/train", None, 3])
def test_unknown_category(root, name):
    refused(lambda: datasets.load("mvtec_ad", name, root), "must be one of part", repr(name))


def test_unknown_category_hint(root):
    refused(lambda: datasets.load("mvtec_ad", "Part", root), "did you mean part?")


@pytest.mark.parametrize(
    ("gone", "parts"),
    [
        ("train/good/*", ("train/good must hold", "found nothing")),
        ("test/good/*", ("test must hold", "no normal images in test/good", "dent/, good/")),
        ("test/dent/*", ("test must hold", "no defect folder", "dent/, good/")),
        ("test/*/*", ("test must hold",)),
    ],
)
def test_missing_parts(root, gone, parts):
    for path in (root / "part").glob(gone):
        path.unlink()
    refused(lambda: load(root), *parts)


def test_missing_folders(root):
    part = root / "part"
    (part / "test").rename(part / "tests")
    refused(lambda: load(root), "part/test must hold", "no such folder")
    (part / "train" / "good").rename(part / "train" / "ok")
    refused(lambda: load(root), "train/good must hold", "found ok/")
    (part / "train").rename(part / "training")
    picture(root / "other/train/good/000.png")
    refused(lambda: load(root), "train/good must hold", "training/")


def test_mask_without_image(root):
    mask(root / "part/ground_truth/dent/007_mask.png")
    refused(lambda: load(root), "007_mask.png", "test/dent/007.*")


def test_masks_of_a_defect_without_images(root):
    mask(root / "part/ground_truth/scratch/000_mask.png")
    refused(lambda: load(root), "scratch/000_mask.png", "test/scratch/000.*")


def test_two_masks_or_two_images_of_one_name(root):
    mask(root / "part/ground_truth/dent/000.png")
    refused(lambda: load(root), "must have one mask", "000.png", "000_mask.png")
    (root / "part/ground_truth/dent/000.png").unlink()
    picture(root / "part/test/dent/000.jpg")
    refused(lambda: load(root), "different names", "000.jpg and 000.png")


def test_mask_of_another_size(root):
    mask(root / "part/ground_truth/dent/001_mask.png", size=(24, 20))
    refused(lambda: load(root), "20 x 24", "24 x 20", "dent/001.png", "001_mask.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.6])
def test_truncated_image_is_named(root, suffix, kept):
    (root / "part/train/good/000.png").unlink()
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 3))
    path = picture(root / f"part/train/good/000{suffix}", value=noise)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    refused(lambda: load(root).train[0], str(path), "cannot be read")


def test_file_that_is_no_image(root):
    (root / "part/train/good/000.png").write_text("<html>404</html>")
    refused(lambda: load(root).train[0], "train/good/000.png", "cannot be read")
    (root / "part/ground_truth/dent/000_mask.png").write_text("<html>404</html>")
    refused(lambda: load(root), "000_mask.png", "cannot be read")


def test_dangling_link(root):
    (root / "part/train/good/009.png").symlink_to(root / "gone.png")
    refused(lambda: load(root), "009.png", "link to a file that does not exist")


def test_file_removed_after_loading(root):
    train = load(root).train
    (root / "part/train/good/000.png").unlink()
    refused(lambda: train[0], "000.png", "cannot be read")
    refused(lambda: train.fingerprint, "000.png", "cannot be read")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator may read all")
def test_folder_without_permission(root):
    (root / "part").chmod(0)
    try:
        refused(lambda: load(root), "cannot be read")
    finally:
        (root / "part").chmod(0o755)


# the real data set


@pytest.mark.data
def test_official_counts():
    """Counts as MVTec AD publishes them: training, test, masks."""
    official = {
        "bottle": (209, 83, 63),
        "capsule": (219, 132, 109),
        "screw": (320, 160, 119),
        "transistor": (213, 100, 40),
    }
    folder = os.environ["ADLIB_MVTEC_AD"]
    here = sorted(official.keys() & set(datasets.categories("mvtec_ad", folder)))
    assert here
    for name in here:
        category = datasets.load("mvtec_ad", name, folder)
        masks = category.test.masks()
        found = (len(category.train), len(category.test), int(masks.any(axis=(1, 2)).sum()))
        assert found == official[name]
        assert category.train[0].shape == (224, 224, 3)


@pytest.mark.data
def test_official_masks_of_real_defects():
    """Below the stored size, so that something is resized whatever copy of the data this is."""
    folder = os.environ["ADLIB_MVTEC_AD"]
    name = datasets.categories("mvtec_ad", folder)[0]
    worn = datasets.load("mvtec_ad", name, folder, Transform(200, 180, masks="official")).test
    plain = datasets.load("mvtec_ad", name, folder, PLAIN).test
    kept = []
    for before, after in zip(plain.samples, worn.samples, strict=True):
        if after.mask_path is not None:
            ours = worn.transform.mask(after.mask())
            np.testing.assert_array_equal(ours, official(before.mask(), 200, 180))
            kept.append(ours.sum() / Transform(200, 180).mask(after.mask()).sum())
    assert len(kept) > 30
    assert 0.5 < np.mean(kept) < 1.0


# the cache folder


def test_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path / "a" / "b"))
    assert datasets.cache_dir() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path / "file" / "below"))
    refused(datasets.cache_dir, "cannot be created", "ADLIB_CACHE")


def test_cache_folder_of_the_platform(tmp_path, monkeypatch):
    monkeypatch.delenv("ADLIB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert datasets.cache_dir().name == "adlib"
