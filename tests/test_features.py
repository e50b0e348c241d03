"""Feature sources: batches, and a cache on disk that is complete or absent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from adlib import datasets, features
from adlib.backbones import Backbone
from adlib.datasets import Transform
from adlib.errors import InputError
from adlib.features import Features, ImageFeatures, extract, is_cached, key

SMALL = Transform(32, 32)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone("resnet18", levels=["layer1", "layer2"], weights="random", device="cpu")


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Six images and an empty cache."""
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path / "cache"))
    tiny.category(tmp_path / "data")
    return datasets.load("mvtec_ad", "part", tmp_path / "data", SMALL).train


def entries() -> list[Path]:
    folder = datasets.cache_dir() / "features"
    return sorted(folder.iterdir()) if folder.exists() else []


class Counting:
    """A backbone that counts its images, and stops where it is told to."""

    def __init__(self, backbone: Backbone, fail_after: int = 10**9, error=None) -> None:
        self.backbone, self.seen, self.fail_after, self.error = backbone, 0, fail_after, error
        self.levels, self.name = backbone.levels, backbone.name

    def describe(self) -> dict:
        return self.backbone.describe()

    def __call__(self, batch: np.ndarray) -> list[torch.Tensor]:
        if self.seen >= self.fail_after:
            raise self.error
        self.seen += len(batch)
        return self.backbone(batch)


def equal(a: Features, b: Features) -> bool:
    return a.image_size == b.image_size and all(
        np.array_equal(x, y) for x, y in zip(a.levels, b.levels, strict=True)
    )


# sources


@pytest.mark.parametrize("size", [1, 4, 6, 100])
def test_batches_are_consecutive_and_complete(size, backbone, images):
    source = ImageFeatures(backbone, images)
    whole = backbone(np.stack(list(images)))
    found = [torch.cat(parts) for parts in zip(*source.batches(size), strict=True)]
    assert [len(batch[0]) for batch in source.batches(size)][:-1] == [size] * ((6 - 1) // size)
    for a, b in zip(found, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    arrays = Features([x.numpy() for x in whole], source.image_size)
    assert len(arrays) == len(source) == 6
    for a, b in zip(zip(*arrays.batches(size), strict=True), whole, strict=True):
        assert torch.equal(torch.cat(a), b)


def test_features_of_any_number_type_are_read_as_float32():
    (batch,) = Features([np.arange(12).reshape(3, 2, 2, 1)], (8, 8)).batches()
    assert batch[0].dtype == torch.float32


@pytest.mark.parametrize(
    "levels",
    [
        [],
        [np.zeros((2, 3, 3, 4)), np.zeros((3, 1, 1, 4))],
        [np.zeros((2, 9, 4))],
        [np.zeros((2, 0, 3, 4))],
    ],
)
def test_levels_that_do_not_fit_together_are_refused(levels):
    with pytest.raises(InputError, match="feature level"):
        Features(levels, (8, 8))


def test_no_image_and_unequal_images_are_refused(backbone):
    with pytest.raises(InputError, match="found none"):
        ImageFeatures(backbone, [])
    unequal = [np.zeros((32, 32, 3), np.uint8), np.zeros((32, 40, 3), np.uint8)]
    with pytest.raises(InputError, match="share one size"):
        list(ImageFeatures(backbone, unequal).batches())


def test_no_bar_is_shown_on_a_pipe(backbone, images, capsys):
    list(ImageFeatures(backbone, images, progress=True).batches())
    assert capsys.readouterr() == ("", "")


# the cache


def test_the_backbone_runs_once(backbone, images):
    counting = Counting(backbone)
    assert not is_cached(counting, images)
    first = extract(counting, images, batch_size=4)
    assert is_cached(counting, images)
    second = extract(counting, images, batch_size=2)
    assert counting.seen == 6
    assert equal(first, second)
    assert isinstance(first.levels[0], np.memmap)
    direct = extract(counting, images, cache=False)
    assert counting.seen == 12 and len(entries()) == 1
    for a, b in zip(direct.levels, first.levels, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        assert a.dtype == b.dtype == np.float32


def test_cached_files_are_plain_npy(backbone, images):
    found = extract(backbone, images)
    (entry,) = entries()
    assert sorted(p.name for p in entry.iterdir()) == ["layer1.npy", "layer2.npy"]
    assert np.array_equal(np.load(entry / "layer2.npy", allow_pickle=False), found.levels[1])


READ = """
import sys
from adlib import datasets, features
from adlib.backbones import Backbone
backbone = Backbone("resnet18", levels=["layer1", "layer2"], weights="random", device="cpu")
backbone._network = None  # a forward pass would fail
images = datasets.load("mvtec_ad", "part", sys.argv[1], datasets.Transform(32, 32)).train
print(features.extract(backbone, images).levels[0].sum())
"""


def test_a_second_process_reads_what_the_first_computed(backbone, images, tmp_path):
    expected = extract(backbone, images).levels[0].sum()
    command = [sys.executable, "-c", READ, str(tmp_path / "data")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert float(done.stdout) == pytest.approx(float(expected), rel=1e-5)


def test_the_key_follows_weights_levels_precision_transform_and_content(backbone, images, tmp_path):
    keys = [key(backbone, images)]
    keys.append(key(backbone, images[:5]))
    root = tmp_path / "data"
    keys.append(key(backbone, datasets.load("mvtec_ad", "part", root, Transform(32, 24)).train))
    keys.append(key(backbone, datasets.load("mvtec_ad", "part", root, Transform(40, 32)).train))
    one = Backbone("resnet18", levels=["layer1"], weights="random", device="cpu")
    half = Backbone(
        "resnet18", ["layer1", "layer2"], weights="random", device="cpu", precision="bfloat16"
    )
    keys += [key(one, images), key(half, images)]
    other = Counting(backbone)
    other.describe = lambda: backbone.describe() | {"weights_sha256": "0" * 64}
    keys.append(key(other, images))
    tiny.picture(root / "part" / "train" / "good" / "000.png", seed=77)
    keys.append(key(backbone, datasets.load("mvtec_ad", "part", root, SMALL).train))
    assert len(set(keys)) == len(keys)


def test_the_key_does_not_depend_on_where_the_data_lie(backbone, images, tmp_path):
    before = key(backbone, images)
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = datasets.load("mvtec_ad", "part", tmp_path / "moved", SMALL).train
    assert key(backbone, moved) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")])
def test_an_interrupted_extraction_leaves_nothing(error, backbone, images):
    with pytest.raises(type(error)):
        extract(Counting(backbone, 4, error), images, batch_size=2)
    assert entries() == []


@pytest.mark.parametrize(
    "name", ["tempfile.mkdtemp", "os.rename", "os.fsync", "np.lib.format.write_array_header_1_0"]
)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(name, backbone, images, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"adlib.features.{name}", full)
    with pytest.raises(InputError, match=r"No space left on device.*ADLIB_CACHE.*--no-cache"):
        extract(backbone, images)
    assert entries() == []


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from adlib import datasets, features
from adlib.backbones import Backbone
from adlib.errors import InputError
images = datasets.load("mvtec_ad", "part", sys.argv[1], datasets.Transform(32, 32)).train
backbone = Backbone("resnet18", levels=["layer1", "layer2"], weights="random", device="cpu")
try:
    features.extract(backbone, images, batch_size=1)
except InputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits")
def test_a_write_that_fails_in_earnest_does_not_kill_the_process(images, tmp_path):
    # 16 KiB an image in layer1: the limit is met inside the second batch. Through a memory map this
    # would be a bus error.
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "could not be cached" in done.stdout and "too large" in done.stdout
    assert entries() == []


def test_a_cache_folder_that_is_a_file_is_one_sentence(backbone, images):
    (datasets.cache_dir() / "features").write_text("in the way")
    with pytest.raises(InputError, match="could not be cached"):
        extract(backbone, images)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def fewer(path: Path) -> None:
    for file in path.parent.iterdir():
        np.save(file, np.load(file)[:3])


@pytest.mark.parametrize("damage", [cut, empty, fewer, Path.unlink])
def test_a_damaged_entry_is_made_again(damage, backbone, images):
    expected = [np.array(x) for x in extract(backbone, images).levels]
    (entry,) = entries()
    damage(entry / "layer2.npy")
    again = extract(backbone, images)
    assert all(np.array_equal(a, b) for a, b in zip(again.levels, expected, strict=True))
    assert entries() == [entry]


def test_another_process_may_finish_first(backbone, images, monkeypatch):
    to_files = features._to_files

    def overtaken(source, batch_size, folder):
        to_files(source, batch_size, folder)
        monkeypatch.setattr(features, "_to_files", to_files)
        overtaken.first = extract(backbone, images)

    monkeypatch.setattr(features, "_to_files", overtaken)
    assert equal(extract(backbone, images), overtaken.first)
    assert len(entries()) == 1


SLOW = """
import sys, time
from adlib import datasets, features
from adlib.backbones import Backbone
images = datasets.load("mvtec_ad", "part", sys.argv[1], datasets.Transform(32, 32)).train
class Slow(Backbone):
    def __call__(self, batch):
        print("batch", flush=True)
        time.sleep(0.2)
        return super().__call__(batch)
backbone = Slow("resnet18", levels=["layer1", "layer2"], weights="random", device="cpu")
features.extract(backbone, images, batch_size=1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_extraction_is_not_taken_for_a_complete_one(backbone, images, tmp_path):
    command = [sys.executable, "-c", SLOW, str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "batch\n"
        assert process.stdout.readline() == "batch\n"
        os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.1)
    assert all(entry.name.startswith(".part-") for entry in entries())
    assert not is_cached(backbone, images)
    assert len(extract(backbone, images)) == 6
