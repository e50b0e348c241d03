"""Magnetic tile reader: split, masks, counts, hostile folders; on a small set made here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adlib import datasets
from adlib.datasets import DefectCropped, EmptyMask, Transform, magnetic_tile
from adlib.errors import InputError

KINDS = {"Blowhole": 2, "Break": 1, "Crack": 1, "Fray": 1, "Uneven": 2}
REAL = Path(os.environ.get("ADLIB_MAGNETIC_TILE", "/nonexistent"))
real = pytest.mark.skipif(not REAL.is_dir(), reason="ADLIB_MAGNETIC_TILE names no folder")
SQUASHED = Transform(resize=16, crop=None, squash=True)


def tile(root: Path, kind: str, number: int, size=(40, 20)) -> Path:
    """Write a grey tile and its mask: 255 in a box, 127 along its rim; nothing for MT_Free."""
    folder = root / f"MT_{kind}" / "Imgs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"exp1_num_{number}.jpg"
    Image.fromarray(np.full(size, 50 + number, dtype=np.uint8)).save(path)
    mask = np.zeros(size, dtype=np.uint8)
    if kind != "Free":
        mask[15:25, 5:15] = 127
        mask[16:24, 6:14] = 128
    Image.fromarray(mask).save(path.with_suffix(".png"))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten tiles without defects and seven with, of two sizes."""
    root = tmp_path / "tiles"
    for number in range(10):
        tile(root, "Free", number, (40, 20) if number % 2 else (20, 30))
    for kind, count in KINDS.items():
        for number in range(count):
            tile(root, kind, number)
    return root


def load(root: Path, split: str = "split0", transform: Transform = SQUASHED) -> datasets.Category:
    return datasets.load("magnetic_tile", split, root, transform)


def refused(call, *parts: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    for part in parts:
        assert part in message


def names(images: datasets.Images) -> list[str]:
    return [sample.path.relative_to(images.folder).as_posix() for sample in images.samples]


def test_counts_order_and_labels(root):
    category = load(root)
    assert datasets.categories("magnetic_tile", root) == ["split0", "split1", "split2"]
    assert (category.dataset, category.name) == ("magnetic_tile", "split0")
    assert (len(category.train), len(category.test)) == (8, 2 + 7)
    kinds = ["blowhole"] * 2 + ["break", "crack", "fray", "good", "good", "uneven", "uneven"]
    assert category.test.defects == kinds
    assert category.test.labels.tolist() == [int(kind != "good") for kind in kinds]
    assert names(category.train) == sorted(names(category.train))


def test_split_is_a_partition_that_the_seed_decides(root):
    chosen = {}
    for split in ("split0", "split1", "split2", "split7"):
        category = load(root, split)
        good = [p for p, kind in zip(names(category.test), category.test.defects, strict=True)
                if kind == "good"]  # fmt: skip
        assert not set(good) & set(names(category.train))
        assert len({*good, *names(category.train)}) == 10
        chosen[split] = tuple(good)
        assert names(load(root, split).test) == names(category.test)
    assert len(set(chosen.values())) > 1


def test_split_of_the_public_release_is_pinned():
    """762 training and 190 test images of 952; the places that numpy's generator chose once."""
    tested = magnetic_tile._tested(952, 0)
    assert (tested.sum(), (~tested).sum()) == (190, 762)
    assert np.flatnonzero(tested)[:6].tolist() == [2, 8, 13, 19, 23, 25]
    assert (magnetic_tile._tested(952, 1) != tested).any()


def stems(*numbers: tuple[int, int]) -> list[str]:
    return [f"exp{exposure}_num_{number}" for exposure, number in numbers]


def test_tiles_are_told_by_the_order_of_their_photographs():
    one = [(1, 1000), (2, 1020), (3, 1500), (6, 1520)]  # exposures left out, and a pause within
    two = [(1, 1621), (2, 1640)]
    late = [(3, 9999)]  # rises: may be of the tile before
    together = [(1, 20000), (2, 20010), (1, 20020), (2, 20035)]  # alternate: kept together
    names = stems(*one, *two, *late, *together)
    expected = [0] * 4 + [1] * 3 + [2] * 4
    assert magnetic_tile.tiles(names).tolist() == expected
    order = np.random.default_rng(0).permutation(len(names))
    shuffled = magnetic_tile.tiles([names[i] for i in order])
    assert shuffled.tolist() == [expected[i] for i in order]
    assert magnetic_tile.tiles(stems((1, 100), (1, 200), (1, 301))).tolist() == [0, 0, 1]
    assert magnetic_tile.tiles(stems((4, 5))).tolist() == [0]
    for name in ("exp1_num_", "num_3", "exp1_num_3b", "exp1_num_٣"):
        refused(lambda name=name: magnetic_tile.tiles([name]), repr(name), "split0 instead")


def test_grouped_splits_keep_the_photographs_of_a_tile_together(root):
    for path in (root / "MT_Free/Imgs").iterdir():
        path.unlink()
    for number in range(5):
        for exposure in (1, 2, 3):
            path = tile(root, "Free", 0)
            name = f"exp{exposure}_num_{1000 * number + exposure}.jpg"
            path.rename(path.with_name(name))
    seen = set()
    for seed in range(8):
        category = load(root, f"grouped{seed}")
        good = [name for name in names(category.test) if name.startswith("MT_Free")]
        rest = names(category.train)
        assert len(good) == 3 and len(rest) == 12 and len({*good, *rest}) == 15
        place = magnetic_tile.tiles([Path(name).stem for name in (*good, *rest)])
        assert len(set(place[:3])) == 1 and place[0] not in place[3:]
        assert names(load(root, f"grouped{seed}").test) == names(category.test)
        seen.add(tuple(good))
    assert len(seen) > 1
    assert load(root, "grouped0").fingerprint != load(root, "split0").fingerprint


def test_a_grouped_split_needs_several_tiles(root):
    refused(lambda: load(root, "grouped0"), "found 10", "several tiles")  # all numbers are close


def test_grey_images_and_masks_above_127(root):
    test = load(root, transform=Transform(None, 20)).test
    assert test[0].shape == (20, 20, 3)
    assert np.ptp(test[0], axis=2).max() == 0
    expected = np.zeros((20, 20), dtype=bool)
    expected[6:14, 6:14] = True  # the crop starts in row 10
    for mask, kind in zip(test.masks(), test.defects, strict=True):
        np.testing.assert_array_equal(mask, expected & (kind != "good"))


def test_fingerprint_depends_on_split_and_content_only(root, tmp_path):
    prints = {split: load(root, split).fingerprint for split in ("split0", "split1", "split7")}
    assert len(set(prints.values())) == 3
    moved = shutil.move(root, tmp_path / "elsewhere")
    assert load(moved, "split1", Transform()).fingerprint == prints["split1"]
    tile(moved, "Fray", 0, (20, 40))
    assert load(moved, "split1").fingerprint != prints["split1"]


def test_masks_of_defect_free_tiles_do_not_count(root):
    before = load(root).fingerprint
    for path in (root / "MT_Free" / "Imgs").glob("*.png"):
        path.unlink()
    (root / "MT_Free" / "Imgs" / "readme.txt").write_text("")
    assert load(root).fingerprint == before


def test_empty_mask_leaves_an_image_level_defect(root):
    path = root / "MT_Uneven/Imgs/exp1_num_1.png"
    Image.fromarray(np.zeros((40, 20), dtype=np.uint8)).save(path)
    test = load(root).test
    with pytest.warns(EmptyMask, match=r"anomalous Imgs/exp1_num_1.jpg\.$"):
        truth = test.ground_truth()
    assert test.labels[-1] == 1
    assert truth.known.tolist() == [True] * 8 + [False]
    assert not truth.masks[-1].any()


def test_crop_of_an_elongated_tile_cuts_defects_off(root):
    path = tile(root, "Fray", 0)
    mask = np.zeros((40, 20), dtype=np.uint8)
    mask[:6] = 255
    Image.fromarray(mask).save(path.with_suffix(".png"))
    with pytest.warns(DefectCropped, match="Imgs/exp1_num_0.jpg"):
        truth = load(root, transform=Transform(16, 14)).test.ground_truth()
    assert truth.known.all()  # what is left is known to be normal
    assert load(root).test.masks().any(axis=(1, 2)).sum() == 7


@pytest.mark.parametrize(
    "name",
    [
        "split",
        "grouped",
        "grouped01",
        "group0",
        "split-1",
        "split01",
        "split1.0",
        "Split1",
        "0",
        "split٣",
        "split1\n",
        None,
        1,
    ],
)
def test_unknown_split(root, name):
    refused(lambda: load(root, name), "split0, split1, split2 or another", repr(name))


def test_missing_root(tmp_path):
    listed = ("MT_Blowhole, MT_Break", "magnetic_tile needs", "Huang")
    refused(lambda: datasets.categories("magnetic_tile"), *listed, "none was given")
    refused(lambda: datasets.categories("magnetic_tile", tmp_path / "no"), *listed, "found nothing")
    refused(lambda: datasets.categories("magnetic_tile", tmp_path), *listed, "found nothing in")
    (tmp_path / "tiles.zip").write_text("")
    refused(lambda: datasets.categories("magnetic_tile", tmp_path), "unpack tiles.zip first")
    refused(lambda: datasets.categories("magnetic_tile", tmp_path / "tiles.zip"), "found a file")


@pytest.mark.parametrize("below", ["MT_Free", "MT_Free/Imgs", "MT_Uneven/Imgs"])
def test_root_too_low(root, below):
    refused(lambda: datasets.categories("magnetic_tile", root / below), f"so give {root};")


def test_root_too_high_and_missing_folder(root):
    refused(lambda: datasets.categories("magnetic_tile", root.parent), f"so give {root};")
    (root / "MT_Fray").rename(root / "Fray")
    refused(lambda: load(root), "no MT_Fray/Imgs;", "found Fray/, MT_Blowhole/")


def test_missing_mask_or_image(root):
    folder = root / "MT_Crack/Imgs"
    (folder / "exp1_num_0.png").rename(folder / "exp1_num_9.png")
    refused(lambda: load(root), "exp1_num_0.jpg without exp1_num_0.png", "MT_Crack", "again")
    tile(root, "Crack", 0)
    refused(lambda: load(root), "exp1_num_9.png without exp1_num_9.jpg")


def test_mask_of_another_size(root):
    Image.fromarray(np.zeros((20, 40), dtype=np.uint8)).save(root / "MT_Fray/Imgs/exp1_num_0.png")
    refused(lambda: load(root), "40 x 20", "20 x 40", "MT_Fray")


def test_too_few_or_damaged_images(root):
    for number in range(2, 10):
        (root / f"MT_Free/Imgs/exp1_num_{number}.jpg").unlink()
    refused(lambda: load(root), "found 2", "at least 3")
    for number in range(2):
        (root / f"MT_Free/Imgs/exp1_num_{number}.jpg").unlink()
    refused(lambda: load(root), "must hold images", "exp1_num_0.png")
    (root / "MT_Break/Imgs/exp1_num_0.jpg").write_text("<html>")
    refused(lambda: load(root), "exp1_num_0.jpg cannot be read")


@real
def test_public_release():
    """Counts and the four masks that mark nothing, as the book states them."""
    empty = ["exp3_num_45042", "exp4_num_124690", "exp4_num_352527", "exp4_num_45057"]
    for split in datasets.categories("magnetic_tile", REAL):
        category = load(REAL, split, Transform(256, None, squash=True))
        assert (len(category.train), len(category.test)) == magnetic_tile.OFFICIAL_COUNTS
        assert category.test.labels.sum() == 392
    with pytest.warns(EmptyMask, match="exp3_num_45042"):
        truth = category.test.ground_truth()
    samples = category.test.samples
    assert [samples[i].path.stem for i in np.flatnonzero(~truth.known)] == empty
    assert truth.masks.any(axis=(1, 2)).sum() == 388


@real
def test_crop_takes_two_fifths_of_the_defects():
    test = load(REAL, "split0", Transform()).test
    with pytest.warns(UserWarning) as caught:
        truth = test.ground_truth()
    assert {warning.category for warning in caught} == {DefectCropped, EmptyMask}
    lost = truth.known & ~truth.masks.any(axis=(1, 2)) & (test.labels == 1)
    assert lost.sum() == 162


@real
def test_grouped_splits_of_the_public_release():
    """As many whole tiles as fit into 190 images; no tile on both sides."""
    for name in magnetic_tile.GROUPED:
        category = load(REAL, name)
        good = [s.path.stem for s in category.test.samples if s.defect == "good"]
        rest = [s.path.stem for s in category.train.samples]
        assert 185 <= len(good) <= 190 and len(good) + len(rest) == 952
        place = magnetic_tile.tiles(good + rest)
        assert place.max() + 1 == 152
        assert not set(place[: len(good)]) & set(place[len(good) :])
