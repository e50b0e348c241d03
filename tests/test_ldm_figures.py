"""Figures of the latent-diffusion chapter, and the pictures they show."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from test_ldm_tables import made

from adlib import datasets, records
from adlib.diffusion.detector import LatentDiffusionDetector
from adlib.errors import InputError
from adlib.study import (
    figures,
    ldm_ablation,
    ldm_figures,
    ldm_pictures,
    ldm_summary,
    ldm_tables,
)
from adlib.study.ldm_pictures import ANOMALOUS, NORMAL, OTHER, Pictures
from adlib.study.ldm_tables import MNIST

ROOT = Path(__file__).parent.parent
RECORDED = ROOT / "results/pictures/ldm_mnist_0.npz"


@pytest.fixture(autouse=True)
def _settings():
    """Give every test matplotlib's settings as they were."""
    with mpl.rc_context():
        yield


def line(ax, label):
    return next(each for each in ax.lines if each.get_label() == label)


class Copies:
    """A detector that adds the start to every pixel."""

    def reconstruct(self, images, start):
        return (images // 2 + start // 10).astype(np.uint8)

    def sample(self, n):
        return np.full((n, 32, 32, 1), 7, dtype=np.uint8)


def pictures(channels: int = 1) -> Pictures:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 32, 32, channels), dtype=np.uint8)
    made = np.stack([images // 2, images // 4])
    samples = rng.integers(0, 256, (9, 32, 32, channels), dtype=np.uint8)
    about = {"preset": "small", "category": "0", "key": "k", "command": "c"}
    return Pictures(images, [NORMAL, NORMAL, ANOMALOUS, OTHER], [0, 200], made, samples, about)


def test_the_strip_is_ordered_by_the_control():
    found = ldm_tables.scores(made(), MNIST)
    fig = ldm_figures.strip(found.sample(frac=1, random_state=0), "digit", "mean ink")
    (ax,) = fig.axes
    ink = line(ax, "mean ink: no model")
    assert ink.get_xdata().tolist() == pytest.approx([100 * (d + 1) / 12 for d in range(10)])
    assert [t.get_text() for t in ax.get_yticklabels()] == list("0123456789")
    dots = line(ax, "autoencoder").get_xydata()
    assert {y: x for x, y in dots} == pytest.approx({d: 50 * (d + 1) / 12 for d in range(10)})


def test_every_score_of_a_figure_has_a_style_of_its_own():
    drawn = {**ldm_tables.SCORES, **ldm_ablation.PLAIN}
    assert set(drawn) == set(ldm_figures.STYLES)
    assert len(set(ldm_figures.STYLES.values())) == len(drawn)


def test_lines_against_the_start_and_their_mean():
    fig = ldm_figures.against_start(ldm_tables.by_start(made(digits="04"), MNIST))
    pixel, latent, classifier = fig.axes
    mean = pixel.lines[-1]
    assert mean.get_xdata().tolist() == [0, 100, 200, 300, 400, 500]
    by_hand = 100 * (1 / 12 + 5 / 12) / 2
    assert mean.get_ydata() == pytest.approx([by_hand + 1, *(by_hand + t for t in range(1, 6))])
    assert len(pixel.lines) == 5  # chance, t = 200, two digits, mean
    assert pixel.lines[1].get_xdata() == [200, 200]
    assert latent.lines[-1].get_xdata().tolist() == [100, 200, 300, 400, 500]
    assert classifier.lines[-1].get_ydata()[0] == pytest.approx(45)


def test_ratios_stand_in_the_row_of_their_category():
    fig = ldm_figures.ratios(ldm_tables.by_start(made(digits="904"), MNIST), "digit")
    (ax,) = fig.axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0", "4", "9"]
    vq, after = line(ax, "VQ model alone"), line(ax, "after diffusion from t = 200")
    assert vq.get_xdata() == pytest.approx([0.5 + (d + 1) / 12 for d in (0, 4, 9)])
    assert np.asarray(vq.get_xdata()) - after.get_xdata() == pytest.approx([0.02] * 3)
    assert line(ax, "after diffusion from t = 500")


def test_curves_have_a_line_a_run_and_a_logarithm_where_they_fall_far():
    drawn = ldm_figures.trained(made(("latent_diffusion",), "01", seeds=2), MNIST)
    assert len(drawn) == 4
    far = {"curve_diffusion": {"step": [1, 9], "loss": [1.0, 0.01]}}
    fig = ldm_figures.curves([*drawn, far, {}, {"curve_classifier": float("nan")}])
    assert [len(ax.lines) for ax in fig.axes] == [4, 5, 4]
    assert [ax.get_yscale() for ax in fig.axes] == ["linear", "log", "linear"]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_picture_is_in_its_place(channels):
    shown = pictures(channels)
    fig = ldm_figures.reconstructions(shown)
    (ax,) = fig.axes
    mosaic = ax.images[0].get_array()
    step, gap = 32 + ldm_figures.GAP, 3 * ldm_figures.GAP
    for column, shift in enumerate((0, 0, gap, 2 * gap)):
        left = column * step + shift
        for number, row in enumerate([shown.images, *shown.reconstructions]):
            part = mosaic[number * step : number * step + 32, left : left + 32]
            assert (part[..., :3] == row[column]).all() and (part[..., 3] == 255).all()
    below = 3 * step + gap
    assert (mosaic[below : below + 32, 7 * step : 7 * step + 32, :3] == shown.samples[7]).all()
    assert (mosaic[below + step :, :32, :3] == shown.samples[8]).all()
    assert (mosaic[:32, 32 : 32 + ldm_figures.GAP, 3] == 0).all()  # transparent between
    labels = [each.get_text() for each in ax.get_yticklabels()]
    assert labels == ["input", "t = 0", "t = 200", "samples"]
    assert [each.get_text() for each in ax.texts] == [NORMAL, ANOMALOUS, OTHER]


def test_without_records_every_figure_says_so():
    none = pd.DataFrame()
    starts = ldm_tables.by_start(none, MNIST)
    made_of_nothing = [
        ldm_figures.strip(ldm_tables.scores(none, MNIST), "digit", "mean ink"),
        ldm_figures.against_start(starts),
        ldm_figures.ratios(starts, "digit"),
        ldm_figures.curves(ldm_figures.trained(none, MNIST)),
        ldm_figures.reconstructions(None),
    ]
    for fig in made_of_nothing:
        assert all("not run" in [t.get_text() for t in ax.texts] for ax in fig.axes)
        assert figures.svg(fig, "title", "description").data


# pictures


@pytest.fixture(scope="module")
def digits() -> datasets.Category:
    return datasets.load("digits", "01")


def test_a_rule_chooses_the_pictures(digits):
    images, kinds = ldm_pictures.choose(digits)
    assert kinds == [NORMAL] * 5 + [ANOMALOUS] * 3 + [OTHER] * 3
    names = np.array(digits.test.defects)
    for place, name in enumerate("23456"):
        assert (images[place] == digits.test.pixels[np.flatnonzero(names == name)[0]]).all()
    held_out = np.flatnonzero(np.isin(names, ["0", "1"]))[:3]
    assert (images[5:8] == digits.test.pixels[held_out]).all()
    foreign = ldm_pictures.foreign_images()
    assert (images[8:, ..., 0] == foreign).all() and foreign.std(axis=(1, 2)).min() > 5


def test_pictures_come_back_from_their_file(digits, tmp_path):
    shown = ldm_pictures.pictures(Copies(), digits, {"preset": "tiny"})
    assert shown.starts == list(ldm_pictures.STARTS)
    assert (shown.reconstructions[2] == shown.images // 2 + 20).all()
    target = tmp_path / "deep/er/x.npz"
    ldm_pictures.write(shown, target)
    again = ldm_pictures.read(target)
    for name, value in shown._asdict().items():
        assert np.array_equal(getattr(again, name), value), name
    assert again.images.dtype == np.uint8 and list(target.parent.iterdir()) == [target]
    assert ldm_pictures.read(tmp_path / "none.npz") is None


def arrays(shown: Pictures, **changes) -> dict[str, np.ndarray]:
    text = {"kinds": shown.kinds, "starts": shown.starts, "about": {}}
    found = {"images": shown.images, "samples": shown.samples} | {
        "reconstructions": shown.reconstructions,
        "description": np.frombuffer(json.dumps(text).encode(), np.uint8),
    }
    return {name: value for name, value in (found | changes).items() if value is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": None},
        {"images": np.zeros((3, 32, 32, 1), np.uint8)},
        {"description": np.frombuffer(b"[", np.uint8)},
        {"description": np.frombuffer(b"[1]", np.uint8)},
        {"images": np.array([{"a": 1}], dtype=object)},
    ],
)
def test_a_damaged_file_is_refused_and_never_unpickled(tmp_path, changes):
    file = tmp_path / "x.npz"
    np.savez(file, **arrays(pictures(), **changes))
    with pytest.raises(InputError, match="write it again"):
        ldm_pictures.read(file)


def test_no_archive_and_half_an_archive_are_refused(tmp_path):
    file = tmp_path / "x.npz"
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays(pictures()))
    for content in (b"", b"text", buffer.getvalue()[:500]):
        file.write_bytes(content)
        with pytest.raises(InputError, match="write it again"):
            ldm_pictures.read(file)


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    tmp_path.joinpath("file").touch()
    with pytest.raises(InputError, match="--out"):
        ldm_pictures.write(pictures(), tmp_path / "file/x.npz")


@pytest.fixture
def brief(monkeypatch):
    """Make the preset tiny train for two updates a network."""
    steps = ("compression_steps", "diffusion_steps", "classifier_steps")
    tiny = LatentDiffusionDetector.PRESETS["tiny"] | dict.fromkeys(steps, 2)
    tiny |= {"held_out": 20, "grid": "200", "stride": 200}
    presets = LatentDiffusionDetector.PRESETS | {"tiny": tiny}
    monkeypatch.setattr(LatentDiffusionDetector, "PRESETS", presets)


def test_the_command_writes_a_file_that_says_what_it_is(brief, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(datasets, "cache_dir", lambda: tmp_path / "cache")
    out = tmp_path / "x.npz"
    ldm_pictures.main(["--dataset", "digits", "--preset", "tiny", "--out", str(out)])
    assert str(out) in capsys.readouterr().out
    shown = ldm_pictures.read(out)
    assert shown.reconstructions.shape == (6, 11, 32, 32, 1) and shown.samples.shape[0] == 16
    assert len(list((tmp_path / "cache/trainings").glob("*.safetensors"))) == 3
    words = shown.about["command"].split()
    assert words[:3] == ["python", "-m", "adlib.study.ldm_pictures"] and "--root" not in words
    assert shown.about["parameters"]["diffusion_steps"] == 2
    # the second time every network is found again, and the pictures are the same
    times = [file.stat().st_mtime_ns for file in (tmp_path / "cache/trainings").iterdir()]
    assert "--out" not in words  # it may be a path of this machine
    ldm_pictures.main([*words[3:], "--out", str(tmp_path / "y.npz")])
    assert times == [file.stat().st_mtime_ns for file in (tmp_path / "cache/trainings").iterdir()]
    again = ldm_pictures.read(tmp_path / "y.npz")
    assert (again.reconstructions == shown.reconstructions).all()


def test_a_live_run_is_measured_and_says_that_tiny_means_nothing(brief, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "cache_dir", lambda: tmp_path)
    ran = ldm_pictures.live("digits", "01")
    assert ran.metrics["image_auroc"] == pytest.approx(ran.metrics["auroc_classifier_t200"])
    text = ldm_summary.live(ran)
    assert "proves the machinery and nothing else" in text and "anomalous 01" in text


def test_wrong_words_are_one_sentence(capsys):
    with pytest.raises(InputError, match="preset"):
        ldm_pictures.live("digits", "0", preset="huge")
    with pytest.raises(SystemExit) as stopped:
        ldm_pictures.main(["--dataset", "mnist", "--root", "/nowhere"])
    assert stopped.value.code == 2
    assert "found nothing at /nowhere" in capsys.readouterr().err


def test_the_recorded_pictures_are_of_a_recorded_model():
    shown = ldm_pictures.read(RECORDED)
    found = list((ROOT / "results/mnist/0/latent_diffusion").glob(f"*-{shown.about['key']}.json"))
    assert len(found) == 1
    identity = records.read(found[0])["identity"]
    assert identity["parameters"] == shown.about["parameters"]
    assert shown.about["dataset"] in ldm_pictures.SHOWN  # CIFAR-10's may not be passed on
    assert RECORDED.stat().st_size < 100_000
    with zipfile.ZipFile(RECORDED) as archive:
        assert not any(b"/root" in archive.read(name) for name in archive.namelist())
    assert shown.about["key"] in ldm_summary.recorded(shown, "x")
    assert "--root DIR" in ldm_summary.recorded(None, "x")
