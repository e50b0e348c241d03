"""Reader of MVTec AD's folder layout, for MVTec AD itself and for users' own sets.

The layout is ``<root>/<category>/train/good/``, ``test/good/``, ``test/<defect>/`` and
``ground_truth/<defect>/<stem>_mask.png``; without ``ground_truth`` there are no pixel metrics.
"""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path

from adlib.datasets.decode import SUFFIXES, read_size
from adlib.datasets.folder import GOOD, Category, Images, Sample, Transform
from adlib.datasets.listing import contents, folders, images, is_folder
from adlib.errors import InputError

NAME = "mvtec_ad"
OBTAIN = (
    "MVTec AD is obtained from the page 'The MVTec Anomaly Detection Dataset (MVTec AD)' "
    "of MVTec Software GmbH"
)
LAYOUT = (
    "<root>/<category>/{train/good, test/good, test/<defect>, ground_truth/<defect>}, "
    "for example <root>/bottle/train/good/000.png"
)
# published numbers of training and test images: they tell MVTec AD from a set of one's own
OFFICIAL_COUNTS = {
    "bottle": (209, 83), "cable": (224, 150), "capsule": (219, 132), "carpet": (280, 117),
    "grid": (264, 78), "hazelnut": (391, 110), "leather": (245, 124), "metal_nut": (220, 115),
    "pill": (267, 167), "screw": (320, 160), "tile": (230, 117), "toothbrush": (60, 42),
    "transistor": (213, 100), "wood": (247, 79), "zipper": (240, 151),
}  # fmt: skip


class MissingMasks(UserWarning):
    """Some anomalous images of a category have a mask, others have none."""


def categories(root: Path | None) -> list[str]:
    """List the folders of `root` that hold a ``train`` folder, sorted.

    Raises
    ------
    InputError
        No root, no folder, or nothing in it that looks like a category.
    """
    root = _existing(root)
    found = _categories_in(root)
    if not found:
        raise InputError(
            f"The root folder must hold categories as {LAYOUT}; found {contents(root)} in {root}"
            f"{_near_miss(root)}; {OBTAIN}."
        )
    return found


def category(name: str, root: Path | None, transform: Transform, dataset: str = NAME) -> Category:
    """Open the category `name` below `root`.

    Parameters
    ----------
    name
        Name of a folder in `root`.
    root
        Folder that holds the categories.
    transform
        Resize and crop.
    dataset
        Name that the category carries.

    Raises
    ------
    InputError
        Something of the layout is missing, or images and masks do not fit together.

    Warns
    -----
    MissingMasks
        Only a part of the anomalous images has masks; ``has_masks`` is False then.
    """
    names = categories(root)
    folder = root / str(name)
    if not isinstance(name, str) or name in {"", ".", ".."} or Path(name).name != name:
        raise InputError(f"The category must be one of {', '.join(names)}, found {name!r}.")
    if name not in names and not (is_folder(folder) and folders(folder)):
        close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.7)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise InputError(
            f"The category must be one of {', '.join(names)} in {root}, found {name!r}{hint}."
        )
    train = [Sample(path, 0, GOOD) for path in _train_good(folder)]
    test = _test_samples(folder)
    return Category(
        dataset, name, Images(train, transform, folder), Images(test, transform, folder)
    )


def _train_good(folder: Path) -> list[Path]:
    good = folder / "train" / GOOD
    paths = images(good) if is_folder(good) else []
    if not paths:
        parent = good if is_folder(good) else good.parent
        found = contents(parent) if is_folder(parent) else contents(folder)
        where = parent if is_folder(parent) else folder
        raise InputError(
            f"{good} must hold the normal training images ({_formats()}), found {found} in {where}."
        )
    return paths


def _test_samples(folder: Path) -> list[Sample]:
    """Collect the test images, kinds in alphabetical order, with their masks."""
    test = folder / "test"
    by_defect = {d: images(test / d) for d in folders(test)} if is_folder(test) else {}
    by_defect = {defect: paths for defect, paths in by_defect.items() if paths}
    defects = [defect for defect in by_defect if defect != GOOD]
    if GOOD not in by_defect or not defects:
        missing = "normal images in test/good" if GOOD not in by_defect else "a defect folder"
        raise InputError(
            f"{test} must hold normal images in 'good' and anomalous ones in at least one other "
            f"folder, found no {missing.removeprefix('a ')} with images ({_formats()}), "
            f"only {contents(test) if is_folder(test) else 'no such folder'}."
        )
    masks = _masks(folder / "ground_truth", {d: by_defect[d] for d in defects})
    return [
        Sample(path, int(defect != GOOD), defect, masks.get(path))
        for defect, paths in by_defect.items()
        for path in paths
    ]


def _masks(truth: Path, by_defect: dict[str, list[Path]]) -> dict[Path, Path]:
    """Pair images with masks; ``ground_truth/good``, which some tools write, is ignored."""
    if not is_folder(truth):
        return {}
    pairs: dict[Path, Path] = {}
    for defect in folders(truth):
        if defect != GOOD:
            pairs.update(_pairs(images(truth / defect), by_defect.get(defect, []), defect))
    without = [path for paths in by_defect.values() for path in paths if path not in pairs]
    if pairs and without:
        warnings.warn(
            f"{len(without)} of {len(pairs) + len(without)} anomalous images in {truth.parent} "
            f"have no mask ({'/'.join(without[0].parts[-2:])} is the first): "
            "pixel metrics are left out.",
            MissingMasks,
            stacklevel=5,
        )
    return pairs


def _pairs(masks: list[Path], images: list[Path], defect: str) -> dict[Path, Path]:
    stems: dict[str, Path] = {}
    for image in images:
        if masks and stems.setdefault(image.stem, image) is not image:
            raise InputError(
                f"Test images of one defect need different names for their masks, found "
                f"{stems[image.stem].name} and {image.name} in {image.parent}."
            )
    pairs: dict[Path, Path] = {}
    for mask in masks:
        image = stems.get(mask.stem.removesuffix("_mask"), stems.get(mask.stem))
        if image is None:
            raise InputError(
                f"Every mask must belong to an image, found {mask} but no "
                f"test/{defect}/{mask.stem.removesuffix('_mask')}.* ({_formats()})."
            )
        if image in pairs:
            raise InputError(f"{image} must have one mask, found {pairs[image]} and {mask}.")
        _check_sizes(image, mask)
        pairs[image] = mask
    return pairs


def _check_sizes(image: Path, mask: Path) -> None:
    size, mask_size = read_size(image), read_size(mask)
    if size != mask_size:
        raise InputError(
            f"An image and its mask must have one size, found {size[0]} x {size[1]} for {image} "
            f"and {mask_size[0]} x {mask_size[1]} for {mask} (height x width)."
        )


def _existing(root: Path | None) -> Path:
    """Check that the root is a folder that is not empty."""
    needs = f"The data set {NAME} needs the folder that holds its categories (--root DIR)"
    if root is None:
        raise InputError(f"{needs}, laid out as {LAYOUT}, and none was given; {OBTAIN}.")
    if not is_folder(root):
        what = "a file" if root.is_file() else "nothing"
        raise InputError(f"{needs}, laid out as {LAYOUT}; found {what} at {root}; {OBTAIN}.")
    return root


def _near_miss(root: Path) -> str:
    """Say which folder was probably meant."""
    if is_folder(root / "train") or is_folder(root / "test"):
        return f"; this is one category, so give the folder above it, {root.parent}"
    for above in list(root.parents)[:3]:
        if _categories_in(above) and root.name in {"train", "test", "ground_truth", GOOD}:
            return f"; this lies inside a category, so give {above}"
    below = [name for name in folders(root) if _categories_in(root / name)]
    if below:
        return f"; the categories are one level further down, so give {root / below[0]}"
    packed = [p.name for p in root.iterdir() if p.name.endswith((".tar.xz", ".tar", ".zip"))]
    return f"; unpack {sorted(packed)[0]} first" if packed else ""


def _categories_in(folder: Path) -> list[str]:
    return [name for name in folders(folder) if is_folder(folder / name / "train")]


def _formats() -> str:
    return ", ".join(sorted(SUFFIXES))
