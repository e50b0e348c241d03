"""Figures of PatchCore's ablations: what is drawn is what the tables hold."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from test_patchcore_ablation import R18, ablation, bank, few

from adlib.study import (
    figures,
    low_shot,
    patchcore_ablation,
    patchcore_figures,
    subsampler_ablation,
)


@pytest.fixture(autouse=True)
def _settings():
    """Give every test matplotlib's settings as they were."""
    with mpl.rc_context():
        yield


def line(ax, label):
    return next(each for each in ax.lines if each.get_label() == label)


def legend(fig):
    return [text.get_text() for each in fig.legends for text in each.get_texts()]


def sweep_figure(runs, metrics=("image_auroc", "aupro"), printed=None):
    sweep = patchcore_ablation.PATCH_SIZE
    curves = {m: patchcore_ablation.curve(runs, sweep, R18, m) for m in metrics}
    changes = {m: patchcore_ablation.differences(runs, sweep, R18, m) for m in metrics}
    return patchcore_figures.sweep_panels(sweep, curves, changes, printed)


def test_a_sweep_shows_categories_above_and_differences_below():
    fig = sweep_figure(ablation(), printed={"image_auroc": {"5": -1.4}})
    above, below = fig.axes[0], fig.axes[2]
    assert line(above, "screw").get_xdata().tolist() == [0, 1, 2]
    assert line(above, "screw").get_ydata() == pytest.approx([88, 90, 91], abs=0.01)
    assert [label.get_text() for label in below.get_xticklabels()] == [
        "1",
        "3",
        "5",
        "7",
        "9",
        "13",
    ]
    points = below.containers[0].lines[0]
    assert points.get_xdata().tolist() == [0, 2]
    assert points.get_ydata() == pytest.approx([-2, 1], abs=0.01)
    assert line(below, "paper").get_xydata().tolist() == [[2, -1.4]]
    assert line(below, "default").get_xydata().tolist() == [[1, 0]]
    assert {"capsule", "screw", "default", "paper"} <= set(legend(fig))


def test_subsamplers_have_a_row_a_category_and_the_whole_bank_as_a_line():
    curves = {m: subsampler_ablation.curve(bank(), R18, m) for m in ("image_auroc", "aupro")}
    fig = patchcore_figures.subsampler_panels(curves)
    assert [ax.get_title() for ax in fig.axes] == [
        "capsule: image AUROC", "capsule: AUPRO", "screw: image AUROC", "screw: AUPRO",
    ]  # fmt: skip
    random = line(fig.axes[2], "random")
    assert random.get_xdata().tolist() == [0.01, 0.1]
    assert random.get_ydata() == pytest.approx([89, 89], abs=0.01)
    assert line(fig.axes[2], "whole bank").get_ydata() == pytest.approx([90.2, 90.2])
    assert legend(fig) == ["coreset", "random", "proxies, + as printed", "whole bank"]


def test_the_share_used_shows_the_printed_numbers():
    used = subsampler_ablation.curve(bank(), R18, subsampler_ablation.USED)
    fig = patchcore_figures.used_panels(used, {1.0: 30, 0.01: 95})
    for ax in fig.axes:
        stars = [each.get_xydata()[0].tolist() for each in ax.lines if each.get_marker() == "*"]
        assert stars == [[1, 30], [0.01, 95]]
        assert line(ax, "whole bank").get_xydata()[0] == pytest.approx([1, 90])


def test_few_images_are_averaged_or_shown_by_category():
    runs = few()
    curves = {m: low_shot.curve(runs, R18, m) for m in ("image_auroc", "aupro")}
    levels = {m: low_shot.ceiling(runs, R18, m) for m in curves}
    mean = patchcore_figures.shot_panels(curves, levels)
    assert len(mean.axes) == 2
    padim = line(mean.axes[0], "PaDiM")
    assert padim.get_xdata().tolist() == [2, 5, 10, 16, 20, 50]
    assert padim.get_ydata()[0] == pytest.approx(92.5 - 7, abs=0.01)
    dashed = [each for each in mean.axes[0].lines if each.get_linestyle() == "--"]
    heights = sorted(each.get_ydata()[0] for each in dashed if len(each.get_ydata()))
    assert heights == pytest.approx([89.0, 92.0, 92.5])
    apart = patchcore_figures.shot_panels(curves, levels, by_category=True)
    assert [ax.get_title() for ax in apart.axes][:2] == ["capsule: image AUROC", "capsule: AUPRO"]
    assert line(apart.axes[2], "SPADE").get_ydata()[0] == pytest.approx(90 - 11, abs=0.01)


def test_live_runs_without_levels_are_drawn():
    curve = low_shot.curve(few(), R18, "image_auroc")
    nothing = pd.DataFrame(columns=["method", "category", "value"])
    fig = patchcore_figures.shot_panels({"image_auroc": curve}, {"image_auroc": nothing})
    assert legend(fig) == ["PatchCore", "PaDiM", "SPADE"]


def test_an_empty_study_is_drawn_empty():
    runs = pd.DataFrame()
    used = subsampler_ablation.curve(runs, R18, subsampler_ablation.USED)
    drawn = [
        sweep_figure(runs),
        patchcore_figures.subsampler_panels({"aupro": used}),
        patchcore_figures.used_panels(used),
        patchcore_figures.shot_panels(
            {"aupro": low_shot.curve(runs, R18, "aupro")},
            {"aupro": low_shot.ceiling(runs, R18, "aupro")},
            by_category=True,
        ),
    ]
    for fig in drawn:
        assert "<svg" in figures.svg(fig, "t", "d").data
        assert all(not np.size(ax.collections) for ax in fig.axes)


def test_the_same_runs_give_the_same_bytes_and_nothing_is_cut_off():
    first, second = (figures.svg(sweep_figure(ablation()), "t", "d").data for _ in range(2))
    assert first == second
    fig = sweep_figure(ablation())
    figures.svg(fig, "t", "d")
    below = fig.legends[0].get_window_extent()
    assert all(not ax.get_tightbbox().overlaps(below) for ax in fig.axes)
