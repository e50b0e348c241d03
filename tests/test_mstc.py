"""Mini ShanghaiTech Campus: clips in its layout, made here; frames carry their number as grey."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adlib import datasets
from adlib.datasets import EmptyMask, Transform, mstc
from adlib.errors import InputError

SIZE = (12, 20)
PLAIN = Transform(None, None)


def frames(folder: Path, numbers, size=SIZE, digits: int = 3, suffix: str = ".jpg") -> None:
    folder.mkdir(parents=True)
    for number in numbers:
        picture = np.full((*size, 3), number % 256, dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{number:0{digits}}{suffix}")


def truth(root: Path, clip: str, pixels: np.ndarray, labels: np.ndarray | None = None) -> None:
    """Write both ground truth files of a test clip; labels by default as the pixels say."""
    for name, array in (
        ("test_pixel_mask", pixels),
        ("test_frame_mask", pixels.any(axis=(1, 2)) if labels is None else labels),
    ):
        folder = root / "testing" / name
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{clip}.npy", array)


def marked(length: int, *places: int) -> np.ndarray:
    """Masks (T, H, W) with a box at the given places; the box tells the place."""
    pixels = np.zeros((length, *SIZE), dtype=np.uint8)
    for place in places:
        pixels[place, :3, : 1 + place % SIZE[1]] = 1
    return pixels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Scenes 01 (two training, two test clips) and 02; a training scene 13 without test clips."""
    root = tmp_path / "shanghaitech"
    for clip, length in (("01_001", 12), ("01_002", 6), ("02_001", 5), ("13_001", 5)):
        frames(root / "training" / "frames" / clip, range(length))
    for clip, length, places in (
        ("01_0014", 23, (7, 9, 10, 11, 15)),
        ("01_0015", 5, ()),
        ("02_0128", 11, (5,)),
    ):
        frames(root / "testing" / "frames" / clip, range(length))
        truth(root, clip, marked(length, *places))
    return root


def load(root: Path, scene: str = "01", transform: Transform = PLAIN) -> datasets.Category:
    return datasets.load("mstc", scene, root, transform)


def names(images: datasets.Images) -> list[str]:
    return ["/".join(sample.path.parts[-2:]) for sample in images.samples]


def refused(call, *parts: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    for part in parts:
        assert part in message


def test_scenes_with_training_and_test_clips(root):
    (root / "training/frames/readme").mkdir()
    (root / "testing/frames/.DS_Store").write_text("")
    assert datasets.categories("mstc", root) == ["01", "02"]


def test_every_fifth_frame_of_each_clip(root):
    category = load(root)
    assert (category.dataset, category.name) == ("mstc", "01")
    assert names(category.train) == [
        "01_001/000.jpg", "01_001/005.jpg", "01_001/010.jpg", "01_002/000.jpg", "01_002/005.jpg",
    ]  # fmt: skip
    assert names(category.test) == [
        "01_0014/000.jpg", "01_0014/005.jpg", "01_0014/010.jpg", "01_0014/015.jpg",
        "01_0014/020.jpg", "01_0015/000.jpg",
    ]  # fmt: skip
    assert [int(image[0, 0, 0]) for image in category.train] == [0, 5, 10, 0, 5]
    assert category.test.labels.tolist() == [0, 0, 1, 1, 0, 0]
    assert category.test.defects == ["good", "good", "anomaly", "anomaly", "good", "good"]


def test_masks_are_found_by_place(root):
    expected = np.zeros((6, *SIZE), dtype=bool)
    expected[2, :3, :11] = True
    expected[3, :3, :16] = True
    np.testing.assert_array_equal(load(root).test.masks(), expected)


def test_numbers_count_not_names(root):
    """Past 999 the order of the names is not the order of the frames; a clip may begin at 1."""
    clip = root / "testing/frames/01_0015"
    shutil.rmtree(clip)
    frames(clip, range(996, 1007))
    truth(root, "01_0015", marked(11, 10))
    test = load(root).test[5:]
    assert names(test) == ["01_0015/996.jpg", "01_0015/1001.jpg", "01_0015/1006.jpg"]
    assert test.labels.tolist() == [0, 0, 1]
    assert test.masks()[2, 0].sum() == 11


def test_clips_that_were_thinned_out_before(root):
    """Every fifth frame under its own number: nothing is skipped twice."""
    for clip in ("training/frames/01_001", "testing/frames/01_0014"):
        whole = load(root).fingerprint
        for path in (root / clip).iterdir():
            if int(path.stem) % 5:
                path.unlink()
        assert load(root).fingerprint == whole


def test_label_from_the_frame_mask_or_from_any_pixel(root):
    labels = np.zeros(23, dtype=bool)
    labels[20] = True  # a label without pixels; 10 and 15 are pixels without a label
    truth(root, "01_0014", marked(23, 10, 15), labels)
    test = load(root).test
    assert test.labels.tolist() == [0, 0, 1, 1, 1, 0]
    with pytest.warns(EmptyMask, match=r"anomalous 01_0014/020.jpg\.$"):
        known = test.ground_truth().known
    assert known.tolist() == [True, True, True, True, False, True]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_types_of_masks(root, dtype):
    truth(root, "01_0014", (marked(23, 10) * (1 if dtype is bool else 100)).astype(dtype))
    test = load(root).test
    assert test.labels.tolist() == [0, 0, 1, 0, 0, 0]
    assert test.masks().sum() == 33


def test_both_sides_are_resized(root):
    test = load(root, transform=Transform(16, None, squash=True)).test
    assert test[0].shape == (16, 16, 3)
    rows, columns = np.nonzero(test.masks()[2])
    assert (rows.max() + 1, columns.max() + 1) == (4, 9)  # 3 of 12 and 11 of 20, nearest


def test_fingerprint_depends_on_used_content_only(root, tmp_path):
    before = load(root)
    whole = before.fingerprint
    moved = shutil.move(root, tmp_path / "elsewhere")
    truth(moved, "01_0014", marked(23, 10, 15, 16).astype(bool))  # frame 16 is not used
    assert load(moved, transform=Transform(8, 8)).fingerprint == whole
    truth(moved, "01_0014", marked(23, 10))
    after = load(moved)
    assert after.train.fingerprint == before.train.fingerprint
    assert after.test.fingerprint != before.test.fingerprint
    pixels = marked(23, 10, 15)
    pixels[15, -1, -1] = 1
    truth(moved, "01_0014", pixels)
    assert load(moved).fingerprint != whole


def test_masks_are_not_read_whole(root, monkeypatch):
    """A clip of the data set has hundreds of masks of 480 x 856: only the used ones are read."""
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("read at once"))
    pixels = datasets.decode.open_array(root / "testing/test_pixel_mask/01_0014.npy", 3)
    assert isinstance(pixels, np.memmap)
    assert load(root).test.masks().any()


# bad input


def test_videos_are_not_frames(root):
    videos = root / "training" / "videos"
    videos.mkdir()
    for clip in ("01_001", "01_002", "01_003"):
        (videos / f"{clip}.avi").write_bytes(b"RIFF")
    asks = ("ffmpeg -i", "training/videos/*.avi", "-start_number 0", f"in {root} run")
    refused(lambda: load(root), *asks, "1 that are only videos", "01_003.avi")
    (videos / "03_001.avi").write_bytes(b"RIFF")
    refused(lambda: load(root, "03"), *asks, "03_001.avi")
    shutil.rmtree(root / "training" / "frames")
    refused(lambda: datasets.categories("mstc", root), *asks, "4 that are only videos")


def test_missing_root(tmp_path):
    layout = ("mstc needs", "training/frames/<clip>", "test_pixel_mask", "ShanghaiTech Campus")
    refused(lambda: datasets.categories("mstc"), *layout, "none was given")
    refused(lambda: datasets.categories("mstc", tmp_path / "no"), *layout, "found nothing at")
    refused(lambda: datasets.categories("mstc", tmp_path), *layout, "found nothing in")
    (tmp_path / "shanghaitech.tar.gz").write_text("")
    refused(lambda: datasets.categories("mstc", tmp_path), "unpack shanghaitech.tar.gz first")
    refused(lambda: datasets.categories("mstc", tmp_path / "shanghaitech.tar.gz"), "found a file")


@pytest.mark.parametrize("near", ["..", "training", "testing/frames", "testing/frames/01_0014"])
def test_near_misses_of_the_root(root, near):
    wrong = (root / near).resolve()
    refused(lambda: datasets.categories("mstc", wrong), f"so give {root};")


@pytest.mark.parametrize("name", ["13", "1", "01_0014", "", None, 1])
def test_unknown_scene(root, name):
    refused(lambda: load(root, name), "must be one of 01, 02", repr(name))


def test_missing_or_broken_masks(root):
    path = root / "testing/test_pixel_mask/01_0014.npy"
    whole = path.read_bytes()
    for content in (b"", b"<html>404</html>", whole[:60], whole[:-1], b"PK\3\4" + whole):
        path.write_bytes(content)
        refused(lambda: load(root), "01_0014.npy", "cannot be read as an array file")
    path.unlink()
    refused(lambda: load(root), "01_0014.npy", "No such file")


def test_damaged_header_of_masks(root):
    """Whatever numpy's parser makes of it, one sentence comes out, or an array of three axes."""
    path = root / "testing/test_pixel_mask/01_0014.npy"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refusals = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, 70, 2):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            assert datasets.decode.open_array(path, 3).ndim == 3
        except InputError as error:
            refusals += 1
            assert "01_0014.npy" in str(error)
    assert refusals > 100


def test_nothing_is_unpickled(root, tmp_path):
    path = root / "testing/test_pixel_mask/01_0014.npy"
    bomb = Bomb(str(tmp_path / "exploded"))
    np.save(path, np.array([bomb], dtype=object), allow_pickle=True)
    refused(lambda: load(root), "01_0014.npy", "cannot be read as an array file")
    path.write_bytes(pickle.dumps(bomb))
    refused(lambda: load(root), "01_0014.npy", "cannot be read as an array file")
    assert not (tmp_path / "exploded").exists()


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_masks_that_do_not_fit(root):
    truth(root, "01_0014", marked(20, 7))
    refused(lambda: load(root), "at place 20, 20 pixel masks and 20 frame labels", "01_0014")
    truth(root, "01_0014", marked(26, 7))
    refused(lambda: load(root), "26 pixel masks")
    truth(root, "01_0014", marked(23, 7), np.zeros(22, dtype=bool))
    refused(lambda: load(root), "23 pixel masks and 22 frame labels")
    truth(root, "01_0014", marked(23, 7).swapaxes(1, 2))
    refused(lambda: load(root), "12 x 20", "20 x 12", "000.jpg", "01_0014.npy")
    truth(root, "01_0014", marked(23, 7).astype(float))
    refused(lambda: load(root), "whole numbers or truth values", "float64")
    truth(root, "01_0014", marked(23, 7)[0], np.zeros(23, dtype=bool))
    refused(lambda: load(root), "along 3 axes", "(12, 20)")


def test_masks_that_changed_after_loading(root):
    test = load(root).test
    truth(root, "01_0014", marked(12, 7))
    refused(test.masks, "must hold mask 15, found 12 masks")


@pytest.mark.parametrize("name", ["img_3.jpg", "0.jpg", "-1.jpg", "٣.jpg", "1.5.jpg"])
def test_frames_without_a_number(root, name):
    clip = root / "training/frames/01_002"
    shutil.copy(clip / "000.jpg", clip / name)
    refused(lambda: load(root), "named by their number", str(clip))


def test_clip_without_frames(root):
    (root / "training/frames/01_003").mkdir()
    refused(lambda: load(root), "01_003 must hold the frames", "found nothing")


def test_scene_without_anomaly(root):
    truth(root, "02_0128", marked(11, 6))
    refused(lambda: load(root, "02"), "normal and anomalous", "only good ones among the 3")


def test_page_gives_the_same_command(request):
    page = (request.config.rootpath / "book" / "data.md").read_text(encoding="utf-8")
    block = next(b for b in page.split("```") if "ffmpeg -i" in b).removeprefix("bash\n")
    lines = [line.strip() for line in block.strip().splitlines()]
    assert "; ".join(lines).replace("do; ", "do ") == mstc.EXTRACT
