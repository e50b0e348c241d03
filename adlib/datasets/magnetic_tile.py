"""Reader of the magnetic tile defects (Huang et al.), with the split of the PatchCore paper.

The layout is ``<root>/MT_<kind>/Imgs/<stem>.jpg`` with ``<stem>.png``, the mask, beside each image,
for the kinds Free, Blowhole, Break, Crack, Fray and Uneven. The data set has no split of its own.
The paper tests on 20 % of the defect-free images and learns from the rest; which, a seed decides.
The splits are the categories: ``split0`` draws images with seed 0, and ``grouped0`` draws tiles.

The names suggest that most images are one of six photographs of a tile: in order of ``num``, the
number after ``exp`` counts from 1 to 6 again and again. ``split0`` puts photographs of one tile on
both sides, ``grouped0`` on one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adlib.datasets.decode import read_size
from adlib.datasets.folder import GOOD, Category, Images, Sample, Transform
from adlib.datasets.listing import contents, images, is_folder, near_miss
from adlib.errors import InputError

NAME = "magnetic_tile"
OBTAIN = (
    "the data set is obtained from the repository 'Magnetic-tile-defect-datasets.' of its authors, "
    "Huang, Qiu and Yuan"
)
KINDS = {
    "blowhole": "MT_Blowhole",
    "break": "MT_Break",
    "crack": "MT_Crack",
    "fray": "MT_Fray",
    GOOD: "MT_Free",
    "uneven": "MT_Uneven",
}
SPLITS = ("split0", "split1", "split2")  # listed; any other whole number makes a split as well
GROUPED = ("grouped0", "grouped1", "grouped2")  # the same with all photographs of a tile together
TEST_SHARE = 0.2  # of the defect-free images (Roth et al., section 4.1)
MASK_ABOVE = 127  # the masks hold grey values along the rims of the defects
# training and test images of the public release: 952 without defects, 392 with (115 blowhole,
# 85 break, 57 crack, 32 fray, 103 uneven); the paper counts 925 without
OFFICIAL_COUNTS = (762, 582)
# two tiles whose photographs alternate (exp1, exp2, exp1, exp2, ...) differ by less in ``num``, the
# next tile nearly always by more; tiles that are taken for one are only kept together
TILE_JUMP = 100


def categories(root: Path | None) -> list[str]:
    """List the splits that are recorded; the images are not looked at.

    Raises
    ------
    InputError
        No root, or it does not hold the six folders.
    """
    needs = (
        f"The data set {NAME} needs the folder that holds {', '.join(sorted(KINDS.values()))} "
        "(--root DIR), each with Imgs/*.jpg and a *.png mask beside each image"
    )
    if root is None:
        raise InputError(f"{needs}, and none was given; {OBTAIN}.")
    if not is_folder(root):
        what = "a file" if root.is_file() else "nothing"
        raise InputError(f"{needs}; found {what} at {root}; {OBTAIN}.")
    missing = [folder for folder in KINDS.values() if not is_folder(root / folder / "Imgs")]
    if missing:
        lacking = ", ".join(f"{folder}/Imgs" for folder in missing)
        raise InputError(
            f"{needs}; found {contents(root)} in {root}, no {lacking}{near_miss(root, _fits)}; "
            f"{OBTAIN}."
        )
    return list(SPLITS)


def category(name: str, root: Path | None, transform: Transform) -> Category:
    """Open a split.

    Parameters
    ----------
    name
        ``split`` or ``grouped`` and a whole number, the seed of the choice of test images.
    root
        Folder that holds the six folders.
    transform
        Resize and crop.

    Returns
    -------
    Category
        Test images in alphabetical order of their kind, with all the defects in every split. Four
        masks of the public release mark nothing (kind ``uneven``).

    Raises
    ------
    InputError
        Something of the layout is missing, or images and masks do not fit together.
    """
    categories(root)
    rule = r"(split|grouped)(0|[1-9][0-9]{0,8})"
    numbered = re.fullmatch(rule, name) if isinstance(name, str) else None
    if not numbered:
        raise InputError(
            f"The category must be {', '.join(SPLITS)} or another split and whole number, "
            f"the seed of the choice of test images, or {GROUPED[0]} and so on, found {name!r}."
        )
    train: list[Sample] = []
    test: list[Sample] = []
    for kind, folder in KINDS.items():
        paths, masks = _files(root / folder / "Imgs")
        if kind != GOOD:
            _check_pairs(paths, masks)
            test += [Sample(paths[s], 1, kind, masks[s], MASK_ABOVE) for s in sorted(paths)]
            continue
        good = [Sample(paths[stem], 0, GOOD) for stem in sorted(paths)]
        seed = int(numbered[2])
        tested = (
            _tested(len(good), seed)
            if numbered[1] == "split"
            else _tested_tiles(tiles([sample.path.stem for sample in good]), seed)
        )
        test += [sample for sample, chosen in zip(good, tested, strict=True) if chosen]
        train += [sample for sample, chosen in zip(good, tested, strict=True) if not chosen]
    return Category(NAME, name, Images(train, transform, root), Images(test, transform, root))


def tiles(stems: Sequence[str]) -> np.ndarray:
    """Number the tiles that images show, as far as their names tell.

    In order of ``num``, a new tile begins where the number after ``exp`` does not rise and ``num``
    jumps by more than `TILE_JUMP`.

    Parameters
    ----------
    stems
        Names like ``exp1_num_824``.

    Returns
    -------
    ndarray of shape (n,), int
        From 0, equal for images of one tile.

    Raises
    ------
    InputError
        A name has another form.
    """
    parts = [re.fullmatch(r"exp(\d{1,9})_num_(\d{1,9})", stem, re.ASCII) for stem in stems]
    for stem, part in zip(stems, parts, strict=True):
        if part is None:
            raise InputError(
                "A grouped split needs images named exp<number>_num_<number>.jpg, which tell the "
                f"tiles apart, found {stem!r}: take {SPLITS[0]} instead."
            )
    exposure, number = np.array([[int(p[1]), int(p[2])] for p in parts]).reshape(-1, 2).T
    order = np.lexsort((exposure, number))
    starts = (np.diff(exposure[order]) <= 0) & (np.diff(number[order]) > TILE_JUMP)
    found = np.empty(len(stems), dtype=int)
    found[order] = np.concatenate([[0], np.cumsum(starts)])
    return found


def _tested_tiles(tile: np.ndarray, seed: int) -> np.ndarray:
    """Choose whole tiles for the test, as many images as fit into the share: bool (n,)."""
    sizes = np.bincount(tile)
    room = round(TEST_SHARE * len(tile))
    chosen = []
    for one in np.random.default_rng(seed).permutation(len(sizes)):
        if sizes[one] <= room:
            room -= sizes[one]
            chosen.append(one)
    return _checked(np.isin(tile, chosen))


def _tested(n: int, seed: int) -> np.ndarray:
    """Choose the test images among `n` defect-free ones in order of name: bool (n,)."""
    tested = np.zeros(n, dtype=bool)
    tested[np.random.default_rng(seed).permutation(n)[: round(TEST_SHARE * n)]] = True
    return _checked(tested)


def _checked(tested: np.ndarray) -> np.ndarray:
    if tested.all() or not tested.any():
        raise InputError(
            f"{KINDS[GOOD]} must hold enough images for training and test, found {len(tested)}: "
            "at least 3 are needed, for a grouped split several tiles."
        )
    return tested


def _files(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return images and masks of a folder by stem; the format tells them apart."""
    files = images(folder)
    paths = {path.stem: path for path in files if path.suffix.lower() in {".jpg", ".jpeg"}}
    masks = {path.stem: path for path in files if path.suffix.lower() == ".png"}
    if not paths:
        raise InputError(f"{folder} must hold images (*.jpg), found {contents(folder)}.")
    return paths, masks


def _check_pairs(paths: dict[str, Path], masks: dict[str, Path]) -> None:
    folder = next(iter(paths.values())).parent
    for present, absent, what in ((paths, masks, "png"), (masks, paths, "jpg")):
        alone = sorted(present.keys() - absent.keys())
        if alone:
            more = f", and so for {len(alone) - 1} more" if len(alone) > 1 else ""
            raise InputError(
                f"Every image of a defect must have its mask beside it, found "
                f"{present[alone[0]].name} without {alone[0]}.{what} in {folder}{more}: "
                "unpack the data set again."
            )
    for stem, path in paths.items():
        size, mask_size = read_size(path), read_size(masks[stem])
        if size != mask_size:
            raise InputError(
                f"An image and its mask must have one size, found {size[0]} x {size[1]} for {path} "
                f"and {mask_size[0]} x {mask_size[1]} for {masks[stem]} (height x width)."
            )


def _fits(folder: Path) -> bool:
    return all(is_folder(folder / name / "Imgs") for name in KINDS.values())
