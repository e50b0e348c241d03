"""Reader of mini ShanghaiTech Campus (mSTC): every fifth frame of ShanghaiTech Campus.

The layout is ``<root>/training/frames/<clip>/<number>.jpg`` and, below ``<root>/testing``,
``frames/<clip>/<number>.jpg``, ``test_frame_mask/<clip>.npy`` (T,) and
``test_pixel_mask/<clip>.npy`` (T, H, W). A clip is named ``<scene>_<clip>``; the scenes are the
categories. The training clips are released as ``training/videos/<clip>.avi`` and have to be
unpacked into frames first: reading video would need a decoder.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from adlib.datasets.decode import open_array, read_size
from adlib.datasets.folder import GOOD, Category, Images, Sample, Transform
from adlib.datasets.listing import contents, entries, folders, images, is_folder, near_miss
from adlib.errors import InputError

NAME = "mstc"
ANOMALY = "anomaly"
EVERY = 5  # frames: what makes it 'mini' (Roth et al., section 4.1)
OBTAIN = "the data set is obtained from the page 'ShanghaiTech Campus' of its authors"
LAYOUT = (
    "training/frames/<clip>/<number>.jpg, testing/frames/<clip>/<number>.jpg, "
    "testing/test_frame_mask/<clip>.npy and testing/test_pixel_mask/<clip>.npy, "
    "where a clip is named as 01_0014"
)
EXTRACT = (
    'for v in training/videos/*.avi; do d=training/frames/$(basename "$v" .avi); mkdir -p "$d"; '
    'ffmpeg -i "$v" -fps_mode passthrough -q:v 2 -start_number 0 "$d/%03d.jpg"; done'
)
_CLIP = re.compile(r"([0-9]{2})_[0-9]+")


def categories(root: Path | None) -> list[str]:
    """List the scenes that have training and test clips, sorted; no clip is looked into.

    Raises
    ------
    InputError
        No root, no scene, or the training clips are still videos.
    """
    needs = f"The data set {NAME} needs the folder (--root DIR) that holds {LAYOUT}"
    if root is None:
        raise InputError(f"{needs}, and none was given; {OBTAIN}.")
    if not is_folder(root):
        what = "a file" if root.is_file() else "nothing"
        raise InputError(f"{needs}; found {what} at {root}; {OBTAIN}.")
    if _videos(root) and not _scenes(root / "training"):
        raise _not_extracted(root, _videos(root))
    found = sorted(_scenes(root / "training") & _scenes(root / "testing"))
    if not found:
        raise InputError(
            f"{needs}; found {contents(root)} in {root}, and no scene with clips in both"
            f"{near_miss(root, _fits)}; {OBTAIN}."
        )
    return found


def category(name: str, root: Path | None, transform: Transform) -> Category:
    """Open a scene: every fifth frame of each of its clips.

    Parameters
    ----------
    name
        Two digits, the beginning of the names of its clips.
    root
        Folder that holds ``training`` and ``testing``.
    transform
        The paper resizes both sides to 256: ``Transform(256, None, squash=True)``.

    Returns
    -------
    Category
        Clip by clip. A test frame is anomalous (``anomaly``) if the frame mask or any pixel of the
        pixel mask says so, else ``good``.

    Raises
    ------
    InputError
        Something of the layout is missing, or frames and masks do not fit together.
    """
    names = categories(root)
    training = _clips(root / "training", name)
    videos = {clip for clip in _videos(root) if _scene(clip) == name}
    lacking = sorted(videos - {clip.name for clip in training})
    if lacking:
        raise _not_extracted(root, lacking)
    if name not in names:
        raise InputError(f"The category must be one of {', '.join(names)}, found {name!r}.")
    testing = _clips(root / "testing", name)
    train = [Sample(path, 0, GOOD) for clip in training for _, path in _sampled(clip)]
    test = [sample for clip in testing for sample in _labelled(clip, root / "testing")]
    if len({sample.label for sample in test}) < 2:
        raise InputError(
            f"The test frames of a scene must be normal and anomalous, found only "
            f"{test[0].defect} ones among the {len(test)} of scene {name} in {root}."
        )
    return Category(NAME, name, Images(train, transform, root), Images(test, transform, root))


def _labelled(clip: Path, testing: Path) -> list[Sample]:
    """Collect every fifth frame of a test clip with its label."""
    pixel_path = testing / "test_pixel_mask" / f"{clip.name}.npy"
    pixels = open_array(pixel_path, 3)
    frames = open_array(testing / "test_frame_mask" / f"{clip.name}.npy", 1)
    sampled = _sampled(clip)
    last = sampled[-1][0]
    # masks may go on a little: some users keep only every fifth frame of the test clips, too
    if len(pixels) != len(frames) or not last < len(pixels) <= last + EVERY:
        raise InputError(
            f"A test clip must have a mask for each frame, found a last frame at place {last}, "
            f"{len(pixels)} pixel masks and {len(frames)} frame labels for {clip}."
        )
    size = read_size(sampled[0][1])
    if size != pixels.shape[1:]:
        raise InputError(
            f"A frame and its mask must have one size, found {size[0]} x {size[1]} for "
            f"{sampled[0][1]} and {pixels.shape[1]} x {pixels.shape[2]} for {pixel_path} "
            "(height x width)."
        )
    samples = []
    for place, path in sampled:
        anomalous = bool(frames[place] > 0) or bool(np.any(pixels[place] > 0))
        mask = {"mask_path": pixel_path, "mask_index": place} if anomalous else {}
        samples.append(Sample(path, int(anomalous), ANOMALY if anomalous else GOOD, **mask))
    return samples


def _sampled(clip: Path) -> list[tuple[int, Path]]:
    """List every fifth frame of a clip with its place in it, the first frame being 0."""
    numbered: dict[int, Path] = {}
    for path in images(clip):
        if not (path.stem.isascii() and path.stem.isdigit()) or int(path.stem) in numbered:
            raise InputError(
                f"Frames must be named by their number in the clip, each number once, as 105.jpg, "
                f"found {path}."
            )
        numbered[int(path.stem)] = path
    if not numbered:
        raise InputError(f"{clip} must hold the frames of a clip, found {contents(clip)}.")
    first = min(numbered)
    places = (number - first for number in sorted(numbered))
    return [(place, numbered[first + place]) for place in places if place % EVERY == 0]


def _clips(split: Path, scene: str) -> list[Path]:
    frames = split / "frames"
    return [frames / clip for clip in folders(frames) if _scene(clip) == scene]


def _scenes(split: Path) -> set[str]:
    """Scenes of the clips below ``<split>/frames``, from their names alone."""
    frames = split / "frames"
    return {_scene(path.name) for path in entries(frames)} - {None} if is_folder(frames) else set()


def _scene(clip: str) -> str | None:
    named = _CLIP.fullmatch(clip)
    return named[1] if named else None


def _videos(root: Path) -> list[str]:
    """Names of the training clips that lie there as videos."""
    folder = root / "training" / "videos"
    videos = entries(folder) if is_folder(folder) else []
    return [path.stem for path in videos if path.suffix.lower() == ".avi" and _scene(path.stem)]


def _not_extracted(root: Path, clips: list[str]) -> InputError:
    return InputError(
        f"The training clips must be unpacked into {root / 'training' / 'frames'}, found "
        f"{len(clips)} that are only videos ({clips[0]}.avi is the first): "
        f"in {root} run {EXTRACT}."
    )


def _fits(folder: Path) -> bool:
    return bool(_scenes(folder / "testing")) and is_folder(folder / "training")
