"""Bad input, from end to end: one clear sentence, a status that is not 0, records intact."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
import torch
from PIL import Image
from test_cli import adlib  # noqa: F401 - the fixture

from adlib import datasets, records
from adlib.backbones import Backbone
from adlib.errors import InputError
from adlib.padim import PaDiM
from adlib.patchcore import PatchCore


@pytest.fixture
def data(tmp_path) -> Path:
    """One good category."""
    tiny.category(tmp_path / "data", "nut")
    return tmp_path / "data"


def remove(*parts: str):
    def change(nut: Path) -> None:
        for path in sorted(nut.glob("/".join(parts)), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    return change


def no_category(nut: Path) -> None:
    for path in sorted(nut.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    nut.rmdir()


def truncate(nut: Path) -> None:
    path = nut / "train" / "good" / "002.png"
    path.write_bytes(path.read_bytes()[:200])


def garbage(nut: Path) -> None:
    (nut / "test" / "spot" / "001.png").write_bytes(b"not an image")


def mask_size(nut: Path) -> None:
    tiny.mask(nut / "ground_truth" / "spot" / "001_mask.png", size=(30, 30))


def mask_alone(nut: Path) -> None:
    (nut / "test" / "spot" / "001.png").unlink()


def one_image(nut: Path) -> None:
    for i in range(1, 6):
        (nut / "train" / "good" / f"{i:03}.png").unlink()


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        (no_category, [], ["must hold categories", "found nothing in"]),
        (remove("train", "good", "*"), [], ["train/good", "must hold the normal training images"]),
        (remove("test", "good", "*"), [], ["test", "found no normal images"]),
        (remove("*/spot/*"), [], ["at least one other", "found no defect folder"]),
        (truncate, [], ["train/good/002.png"]),
        (garbage, [], ["test/spot/001.png"]),
        (mask_size, [], ["one size", "001_mask.png"]),
        (mask_alone, [], ["mask", "001_mask.png"]),
        (one_image, [], ["at least 2 normal images", "found 1"]),
        (None, ["--set", "dim=177"], ["dim must lie in [1, 176]", "found 177"]),
        (None, ["--set", "dim=ten"], ["dim must be an integer >= 1", "'ten'"]),
        (None, ["--set", "dim=5.5"], ["dim must be an integer >= 1", "5.5"]),
        (None, ["--set", "dimm=5"], ["no parameter 'dimm'", "did you mean dim?"]),
        (None, ["--set", "reduction=gauss"], ["'coordinate', 'gaussian'", "'gauss'"]),
        (None, ["--set", "eps=0"], ["eps must be a number > 0"]),
        (None, ["--set", "reduction=none", "--set", "eps=1e-300"], ["eps must be large enough"]),
        (None, ["--set", "dim"], ["name=value", "'dim'"]),
        (None, ["--seed", "one"], ["--seed", "'one'"]),
        (None, ["--seed", "-1"], ["--seed"]),
        (None, ["--seed", "1.5"], ["--seed", "'1.5'"]),
        (None, ["--category", "nit"], ["nut", "'nit'"]),
        (None, ["--category", ""], ["''"]),
        (None, ["--dataset", "mvtec"], ["mvtec_ad", "'mvtec'"]),
        (None, ["--dataset", "embedded"], ["takes no root"]),
        (None, ["--backbone", "resnet"], ["no backbone 'resnet'", "resnet18"]),
        (None, ["--weights", "none.pth"], ["weights must be a file", "none.pth"]),
        (None, ["--weights", ""], ["weights must be a file"]),
        (None, ["--device", "tpu"], ["auto, cpu or cuda", "'tpu'"]),
        (None, ["--precision", "int8"], ["no precision 'int8'", "bfloat16"]),
        (None, ["--crop", "65"], ["crop must be at most resize"]),
        (None, ["--crop", "-1"], ["crop must be a positive"]),
        (None, ["--masks", "linear"], ["masks must be one of nearest, official"]),
        (None, ["--preset", "paper"], ["PaDiM has no preset 'paper'"]),
        (None, ["--shots", "0"], ["--shots takes whole numbers >= 1"]),
        (None, ["--shots", "99"], ["shots must lie in [1, 6]", "found 99"]),
        (None, ["--root", "data/nut/train/good"], ["give"]),
        (None, ["--root", "data/nut"], ["this is one category"]),
        (None, ["--json", "data"], ["is a folder"]),
        (None, ["--json", "one.json", "--seed", "0-1"], ["--json takes the record of one run"]),
        (None, ["--results", "data/nut/train/good/000.png"], ["must be writable"]),
        (None, ["--json", "data/nut/train/good/000.png/x.json"], ["must be writable"]),
    ],
)
def test_one_sentence_and_status_2(change, words, said, adlib, data):  # noqa: F811
    if change:
        change(data / "nut")
    options = [] if "--root" in words else ["--root", data]
    settings = [] if any(word.startswith("dim=") for word in words) else ["--set", "dim=5"]
    status, out, err = adlib("evaluate", "padim", *options, *tiny.SMALL, *settings, *words)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("adlib: ") and len(line) < 900
    for part in said:
        assert part in line
    assert records.read_all("results") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "fraction=0"], ["fraction must be a number > 0 and <= 1, found 0"]),
        (["--set", "fraction=1.01"], ["fraction must be a number > 0 and <= 1, found 1.01"]),
        (["--set", "fraction=0.001"], ["reweight must be at most", "members of the bank, found 9"]),
        (["--set", "neighbors=500", "--set", "reweight=1"], ["neighbors must be at most"]),
        (["--set", "patch_size=2"], ["patch_size must be one of 1, 3, 5"]),
        (["--set", "layers=3+2"], ["layers must be a text", "'3+2'"]),
        (["--set", "subsampler=kmeans"], ["'coreset', 'approximate'", "'kmeans'"]),
        (["--preset", "offical"], ["no preset 'offical'", "did you mean official?"]),
    ],
)
def test_bad_settings_of_patchcore(words, said, adlib, data):  # noqa: F811
    status, out, err = adlib("evaluate", "patchcore", "--root", data, *tiny.SMALL, *words)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    for part in said:
        assert part in line
    assert records.read_all("results") == []


def test_images_smaller_than_the_crop_are_named(data):
    tiny.picture(data / "nut" / "train" / "good" / "002.png", size=(40, 300))
    category = datasets.load("mvtec_ad", "nut", data, datasets.Transform(None, 60))
    detector = PatchCore(backbone=Backbone("efficientnet_lite0"))
    with pytest.raises(InputError, match="002.png: The crop of 60 pixels must fit .* 40 x 300"):
        detector.fit(category.train)


def test_images_of_another_size_than_in_training(data):
    """PatchCore takes them, PaDiM cannot and says so."""
    network = Backbone("efficientnet_lite0")
    small, large = (
        datasets.load("mvtec_ad", "nut", data, datasets.Transform(64, crop)) for crop in (48, 64)
    )
    scores = PatchCore(backbone=network).fit(small.train).score(large.test)
    assert scores.map.shape == (6, 64, 64)
    padim = PaDiM(backbone=network, dim=5).fit(small.train)
    with pytest.raises(InputError, match="models each position: images must be .48, 48. pixels"):
        padim.score(large.test)


def test_an_unknown_method_lists_the_known(adlib, data):  # noqa: F811
    status, _, err = adlib("evaluate", "padime", "--root", data)
    assert status == 2 and "did you mean padim?" in err


def test_weights_with_nan_are_noticed(adlib, data, tmp_path):  # noqa: F811
    from adlib.backbones import ARCHITECTURES

    state = ARCHITECTURES["resnet18"].build().state_dict()
    state["layer1.0.conv1.weight"][0] = torch.nan
    torch.save(state, tmp_path / "nan.pth")
    words = ["--backbone", "resnet18", "--weights", tmp_path / "nan.pth"]
    words += ["--resize", "64", "--crop", "56", "--set", "reduction=none"]
    status, _, err = adlib("evaluate", "padim", "--root", data, *words)
    assert status == 2 and "features must be finite" in err


def test_pictures_of_one_colour_are_scored(adlib, data):  # noqa: F811
    for path in data.glob("nut/t*/*/*.png"):
        Image.new("RGB", (64, 72), (90, 90, 90)).save(path)
    for scale in ("nominal", "matched"):
        words = ["--set", "dim=5", "--set", f"eps_scale={scale}"]
        status, out, err = adlib("evaluate", "padim", "--root", data, *tiny.SMALL, *words)
        assert (status, err) == (0, "1 record written to results\n")
        assert "0.5000" in out  # every image scores alike


@pytest.mark.parametrize("number", [28, 30])
def test_a_full_disk_while_a_record_is_written(number, adlib, data, monkeypatch):  # noqa: F811
    words = ["evaluate", "padim", "--root", data, *tiny.SMALL, "--set", "dim=5"]
    assert adlib(*words, "--seed", "0")[0] == 0
    sync = os.fsync

    def full(descriptor: int) -> None:
        if ".part-" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("adlib.records.os.fsync", full)
        status, _, err = adlib(*words, "--seed", "0-3")
    assert status == 2 and os.strerror(number) in err and "all records written before" in err
    (kept,) = records.read_all("results")
    assert kept["identity"]["parameters"]["seed"] == 0
    assert [p.name for p in Path("results").rglob(".part-*")] == []
    assert adlib(*words, "--seed", "0-3")[0] == 0
    assert len(records.read_all("results")) == 4


def test_a_results_folder_on_a_read_only_disk(adlib, data, monkeypatch):  # noqa: F811
    def read_only(self, *arguments):
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(Path, "write_bytes", read_only)
    status, _, err = adlib("evaluate", "padim", "--root", data, *tiny.SMALL, "--set", "dim=5")
    assert status == 2 and "must be writable" in err and "Read-only" in err


# a process of its own, stopped from outside

STOPPED = """
import sys, time
from adlib import cli, records
write, written = records.write, []
def slow(record, target):
    write(record, target)
    written.append(target)
    print(target, flush=True)
    time.sleep(60 if len(written) == 2 else 0)
records.write = slow
sys.exit(cli.main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_and_kill_in_the_middle_of_a_sweep(data, tmp_path):
    """First ctrl-C, then kill -9, then to the end: one history of one results folder."""
    words = ["evaluate", "padim", "--root", str(data), *tiny.SMALL, "--set", "dim=5"]
    words += ["--seed", "0-6"]
    environment = os.environ | {"ADLIB_CACHE": str(tmp_path / "cache")}

    def start() -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", STOPPED, *words],
            cwd=tmp_path, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=tiny.hear_ctrl_c,
        )  # fmt: skip

    with start() as process:
        first = [process.stdout.readline().strip() for _ in range(2)]
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.endswith("the same command goes on\n") and "Traceback" not in err
    assert len(records.read_all(tmp_path / "results")) == 2
    written = {path: (tmp_path / path).stat().st_mtime_ns for path in first}

    with start() as process:
        process.stdout.readline()
        (tmp_path / first[0]).with_name(".part-killed.json").write_text('{"schema": 1, ')
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(records.read_all(tmp_path / "results")) >= 3

    command = [str(Path(sys.executable).with_name("adlib")), *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seeds = [r["identity"]["parameters"]["seed"] for r in records.read_all(tmp_path / "results")]
    assert sorted(seeds) == list(range(7))
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in first} == written
