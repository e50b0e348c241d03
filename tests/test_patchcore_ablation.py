"""PatchCore's ablations, subsamplers, few images and ensembles, on tables of runs made by hand."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from adlib import parameters
from adlib.evaluate import METHODS
from adlib.report import PROTOCOL
from adlib.study import ensemble_table, low_shot, patchcore_ablation, patchcore_pages
from adlib.study import subsampler_ablation as subsamplers
from adlib.sweep import read_counts

LEVELS = {"capsule": 0.95, "screw": 0.90}
R18 = "resnet18"


@functools.cache
def effective(method: str, settings: tuple) -> dict:
    return METHODS[method].effective(parameters.check(METHODS[method], dict(settings)))


def row(method: str, category: str, seed: int, value: float, **settings) -> dict:
    """One row of ``records.table()``: `settings` are parameters, protocol words or a backbone."""
    backbone = settings.pop("backbone", R18)
    protocol = PROTOCOL | {name: settings.pop(name) for name in PROTOCOL if name in settings}
    values = effective(method, tuple(settings.items()))
    drawn = values.get("seed") is not None or protocol["shots"] is not None
    return (
        {"method": method, "dataset": "mvtec_ad", "category": category, "backbone": backbone}
        | {"precision": "float32", "weights": "pinned", "official": True}
        | protocol
        | values
        | {"seed": seed if drawn else None}
        | {"image_auroc": value, "pixel_auroc": value - 0.01, "aupro": value - 0.1}
        | {"bank_used": 0.9}
    )


def rows(method: str, gain: float, seeds: int = 3, noise: float = 1e-6, **settings) -> list[dict]:
    """Runs on both categories whose seeds differ by `noise`, `gain` above the category's level."""
    rng = np.random.default_rng([seeds, round(abs(gain) * 1e6), len(str(settings))])
    return [
        row(method, category, seed, level + gain + rng.normal(0, noise), **settings)
        for category, level in LEVELS.items()
        for seed in range(seeds)
    ]


def ablation() -> pd.DataFrame:
    made = rows("patchcore", 0.0, fraction=0.01)
    made += rows("patchcore", -0.02, fraction=0.01, patch_size=1)
    made += rows("patchcore", 0.01, fraction=0.01, patch_size=5)
    made += rows("patchcore", -0.01, fraction=0.01, layers="1+2+3")
    made += [row("patchcore", "bottle", 0, 1.0, fraction=0.01)]  # the default alone
    # what must not count: other images, few images, another data set
    made += [row("patchcore", "screw", 0, 0.1, fraction=0.01, patch_size=5, crop=256)]
    made += [row("patchcore", "screw", 0, 0.1, fraction=0.01, patch_size=5, shots=5)]
    made += [row("patchcore", "screw", 0, 0.1, fraction=0.01, patch_size=5) | {"dataset": "x"}]
    return pd.DataFrame(made)


def few() -> pd.DataFrame:
    """PatchCore passes SPADE's level at 5 images and PaDiM's only with all of them."""
    made = []
    gains = {1: -0.10, 2: -0.05, 5: -0.02, 10: -0.03, 16: -0.015, 20: -0.012, 50: -0.011}
    for shots, gain in gains.items():
        made += rows("patchcore", gain, 5, 1e-5, fraction=0.1, shots=shots)
        made += rows("spade", gain - 0.01, 5, 1e-5, image_level=3, pixel_stride=2, shots=shots)
        if shots > 1:
            made += rows("padim", gain - 0.02, 5, 1e-5, dim=100, shots=shots)
    made += rows("patchcore", 0.0, 3, 0.0, fraction=0.1) + rows("padim", -0.005, 5, 0.0, dim=100)
    made += rows("spade", -0.035, 1, 0.0, image_level=3, pixel_stride=2)
    return pd.DataFrame(made)


# -- one choice at a time


def test_every_sweep_is_one_the_method_accepts_and_has_its_default():
    for sweep in patchcore_ablation.SWEEPS:
        assert sweep.points[sweep.default] == {}
        for label, settings in sweep.points.items():
            checked = parameters.check(METHODS["patchcore"], settings)
            same = checked == parameters.check(METHODS["patchcore"], {})
            assert same == (label == sweep.default), (sweep.name, label)


def test_a_curve_holds_the_runs_of_the_sweep_and_no_other():
    curve = patchcore_ablation.curve(ablation(), patchcore_ablation.PATCH_SIZE, R18, "image_auroc")
    assert curve.groupby("label").size().to_dict() == {"1": 6, "3": 6, "5": 6}
    assert set(curve["category"]) == set(LEVELS)  # bottle has the default only
    assert curve["value"].min() > 0.8
    assert sorted(curve["position"].unique()) == [0, 1, 2]


def test_values_are_mean_and_sd_over_seeds():
    curve = patchcore_ablation.curve(ablation(), patchcore_ablation.PATCH_SIZE, R18, "image_auroc")
    table = patchcore_ablation.values(curve).set_index(["category", "label"])
    by_hand = curve.query("category == 'screw' and label == '5'")["value"].to_numpy()
    cell = table.loc["screw", "5"]
    assert (cell["mean"], cell["sd"], cell["n"]) == pytest.approx(
        (by_hand.mean(), np.std(by_hand, ddof=1), 3)
    )


def test_differences_are_the_paired_t_interval_by_hand():
    runs = ablation()
    found = patchcore_ablation.differences(
        runs, patchcore_ablation.PATCH_SIZE, R18, "pixel_auroc"
    ).set_index("label")
    plain = runs[(runs["crop"] == 224) & runs["shots"].isna() & (runs["dataset"] == "mvtec_ad")]
    cells = plain[plain["layers"] == "2+3"].set_index(["patch_size", "category", "seed"])
    per_seed = [
        np.mean(
            [
                cells.loc[(5, c, s), "pixel_auroc"] - cells.loc[(3, c, s), "pixel_auroc"]
                for c in LEVELS
            ]
        )
        for s in range(3)
    ]
    half = stats.t.ppf(0.975, 2) * np.std(per_seed, ddof=1) / np.sqrt(3)
    by_hand = np.array([np.mean(per_seed), np.mean(per_seed) - half, np.mean(per_seed) + half])
    assert found.loc["5", ["mean", "low", "high"]].tolist() == pytest.approx(by_hand * 100)
    assert (found.loc["5", "n_seeds"], found.loc["5", "n_categories"]) == (3, 2)
    assert np.mean(list(found.loc["5", "by_category"].values())) == pytest.approx(by_hand[0] * 100)
    assert "3" not in found.index


def test_the_page_shows_levels_differences_and_what_is_missing():
    text = patchcore_pages.page(ablation(), [patchcore_ablation.PATCH_SIZE], R18, LEVELS)
    assert "level 92.50" in text and "+1.0" in text and "-2.0" in text
    assert "| 7              | not run" in text
    assert "--category capsule --category screw" in text
    assert "--set patch_size=7,9,13 --seed 0-2" in text


def test_each_gap_of_a_category_is_asked_for_once():
    runs = ablation()
    runs = runs[(runs["category"] != "screw") | (runs["patch_size"] != 1)]
    commands = patchcore_pages.missing_commands(runs, patchcore_ablation.PATCH_SIZE, R18, LEVELS)
    assert len(commands) == 2
    assert (
        "--category screw --backbone resnet18 --set fraction=0.01 --set patch_size=1 "
        in (commands[0])
    )
    everything = patchcore_pages.missing_commands(runs, patchcore_ablation.SCORE, R18, ["screw"])
    assert sum("--set distance=squared" in command for command in everything) == 3


def test_the_summary_names_the_best_setting():
    text = patchcore_pages.summary(ablation(), R18)
    assert "Neighbourhood: highest is p = 5 for image AUROC (+1.0" in text
    assert "Levels: highest is 2+3 for image AUROC" in text
    assert "Ever used while scoring: of the 1 % coreset" in text


def test_printed_strides_and_shares_are_those_of_the_paper():
    points = patchcore_ablation.printed_stride()["image_auroc"]
    assert points == pytest.approx({"2": 97.6 - 99.0, "3": 96.8 - 99.0})
    assert subsamplers.printed_used() == {1.0: 30.0, 0.01: 95.0}


# -- what is kept


def bank() -> pd.DataFrame:
    made = []
    for fraction in (0.01, 0.1):
        made += rows("patchcore", 0.0, fraction=fraction)
        made += rows("patchcore", -0.01, fraction=fraction, subsampler="random")
    made += rows("patchcore", -0.2, fraction=0.01, subsampler="proxies", proxy_sign="plus")
    made += rows("patchcore", 0.002, 1, 0.0, subsampler="none")
    made += [row("patchcore", "bottle", s, 1.0, fraction=0.01) for s in range(3)]
    return pd.DataFrame(made)


def test_subsamplers_are_told_apart_by_name_and_size():
    curve = subsamplers.curve(bank(), R18, "image_auroc")
    sizes = curve.groupby(["arm", "fraction"]).size().to_dict()
    assert sizes == {
        ("coreset", 0.01): 6, ("coreset", 0.1): 6, ("random", 0.01): 6, ("random", 0.1): 6,
        ("proxies, + as printed", 0.01): 6, ("whole bank", 1.0): 2,
    }  # fmt: skip


def test_subsamplers_are_compared_at_the_same_size_and_with_the_whole_bank():
    at_size = subsamplers.differences(bank(), R18, "image_auroc").set_index(["arm", "fraction"])
    assert set(at_size.index.get_level_values("arm")) == {"random", "proxies, + as printed"}
    assert at_size.loc[("random", 0.1), "mean"] == pytest.approx(-1, abs=0.3)
    whole = subsamplers.differences(bank(), R18, "image_auroc", "whole bank")
    coreset = whole[(whole["arm"] == "coreset") & (whole["fraction"] == 0.01)].iloc[0]
    assert coreset["mean"] == pytest.approx(-0.2, abs=0.2)
    assert (coreset["n_seeds"], coreset["n_categories"]) == (3, 2)
    table = subsamplers.difference_table(bank(), R18, "whole bank")
    assert list(table["against the whole bank"]) == ["coreset", "coreset"]
    assert list(table["kept"]) == ["1 %", "10 %"]


def test_the_share_that_is_used_and_what_is_missing():
    table = subsamplers.used_table(subsamplers.curve(bank(), R18, subsamplers.USED))
    assert table.set_index(["category", "kept"]).loc[("screw", "100 %"), "whole bank"] == "90.0 (1)"
    commands = subsamplers.missing_commands(bank(), R18, ["screw"])
    assert any("--set fraction=0.001,0.05,0.25,0.5 --set subsampler=random" in c for c in commands)
    assert any("--set proxy_sign=plus" in c and "fraction=0.001 " in c for c in commands)


# -- few images


def test_reach_is_the_smallest_number_from_which_on_the_mean_stays_above():
    curve, levels = (of(few(), R18, "image_auroc") for of in (low_shot.curve, low_shot.ceiling))
    spade = low_shot.reach(curve, levels, "PatchCore", "SPADE")
    assert spade.shots == 5
    assert (spade.value, spade.target) == pytest.approx((0.905, 0.89), abs=1e-4)
    assert low_shot.reach(curve, levels, "PatchCore", "PaDiM").shots == low_shot.ALL
    assert low_shot.reach(curve, levels, "SPADE", "PaDiM").shots == "never"
    # a dip below the level at 10 images: what 5 reached does not count
    dip = levels.assign(value=np.where(levels["method"] == "SPADE", levels["value"] + 0.01, 0))
    assert low_shot.reach(curve, dip, "PatchCore", "SPADE").shots == 16


def test_reach_without_records_is_not_a_number_of_images():
    runs = few()
    curve = low_shot.curve(runs, R18, "image_auroc")
    levels = low_shot.ceiling(runs[runs["method"] != "spade"], R18, "image_auroc")
    assert low_shot.reach(curve, levels, "PatchCore", "SPADE").shots is None
    one = levels[(levels["method"] == "PaDiM") & (levels["category"] == "screw")]
    assert low_shot.reach(curve, one, "PatchCore", "PaDiM").shots is None  # half of the categories
    nothing = curve.iloc[:0]
    assert low_shot.reach(nothing, levels, "PatchCore", "PaDiM").shots is None


def test_the_mean_over_categories_needs_all_of_them():
    runs = few()
    gap = (runs["category"] == "screw") & (runs["seed"] == 4) & (runs["shots"] == 5)
    curve = low_shot.curve(runs[~gap], R18, "aupro")
    assert low_shot.common(curve) == ["capsule", "screw"]
    cells = low_shot.by_shots(curve, "PatchCore", ["capsule", "screw"])
    assert cells.loc[5].notna().sum() == 4 and cells.loc[10].notna().sum() == 5
    assert low_shot.by_shots(curve, "PatchCore", ["bottle"]).empty


def test_low_shot_tables():
    runs = few()
    reached = low_shot.reach_table(runs, R18).set_index("category")
    assert list(reached.index) == ["capsule", "screw", "mean of 2"]
    assert reached.loc["mean of 2", "SPADE, image AUROC"] == "5 (90.50 against 89.00)"
    assert reached.loc["screw", "PaDiM, AUPRO"] == "all (80.00 against 79.50)"
    values = low_shot.value_table(runs, R18, "image_auroc").set_index("image AUROC")
    assert values.loc["PaDiM", "1"] == "–" and values.loc["PaDiM", "2"].startswith("85.5")
    assert values.loc["SPADE", "all"] == "89.0"
    gains = low_shot.gains(runs, R18, "PaDiM")
    assert list(gains["against PaDiM, images"]) == ["2", "5", "10", "16", "20", "50"]
    assert gains["image AUROC"].iloc[0].startswith("+2.0 [+2.0,")
    assert set(gains["seeds x categories"]) == {"5 x 2"}
    assert "PatchCore reaches, and from there on keeps, what SPADE" in low_shot.summary(runs, R18)


def test_low_shot_gaps_are_commands_that_the_command_line_reads():
    runs = few()
    assert low_shot.missing_commands(runs, R18, list(LEVELS)) == []
    commands = low_shot.missing_commands(runs[runs["method"] != "padim"], R18, ["screw"])
    assert len(commands) == 2  # few images, and all; one is no gap: PaDiM is not defined there
    assert "--shots" not in commands[1]
    shots = commands[0].partition("--shots ")[2].split()[0]
    assert read_counts(shots) == [2, 5, 10, 16, 20, 50]


# -- ensembles


def test_table_4_compares_the_same_categories():
    made = rows("patchcore", 0.0, fraction=0.01)
    made += rows("patchcore", 0.01, fraction=0.01, backbone=ensemble_table.ENSEMBLE)
    made += [row("patchcore", "bottle", s, 1.0, fraction=0.01) for s in range(3)]
    table = ensemble_table.own_table(pd.DataFrame(made)).set_index("configuration")
    alone = table.loc["ResNet-18; levels 2+3"]
    both = table.loc["ResNet-18, EfficientNet-Lite0; levels 2+3"]
    assert alone["image AUROC"].startswith("92.5") and both["categories"] == "capsule, screw"
    assert both["AUPRO, difference"].startswith("+1.0")
    assert table.loc["ResNet-18; levels 1+2+3", "AUPRO"] == "not run"


def test_table_4_prints_the_paper_and_the_commands_of_what_is_missing():
    runs = pd.DataFrame(rows("patchcore", 0.0, fraction=0.01))
    table = ensemble_table.printed_table(runs)
    assert list(table["image AUROC, paper"]) == ["99.6", "99.4", "99.2"]
    assert set(table["AUPRO, ours"]) == {"not run"}
    commands = ensemble_table.missing_commands(runs, ["screw"])
    assert len(commands) == 7
    assert "--resize 366 --crop 320" in commands[0] and "--category" not in commands[0]
    assert commands[0].count("+") == 2 and "--category screw" in commands[-1]


# -- nothing yet


@pytest.mark.parametrize("runs", [pd.DataFrame(), few().query("method == 'padim'")])
def test_an_empty_study_says_so(runs):
    for sweep in patchcore_ablation.SWEEPS:
        assert patchcore_ablation.curve(runs, sweep, R18, "aupro").empty
        assert patchcore_ablation.differences(runs, sweep, R18, "aupro").empty
    assert "not run" in patchcore_pages.page(runs, patchcore_ablation.SWEEPS, R18, ["screw"])
    assert patchcore_pages.summary(runs, R18) == "No ablation is recorded yet."
    assert subsamplers.curve(runs, R18, "aupro").empty
    assert subsamplers.difference_table(runs, R18).empty
    assert len(subsamplers.missing_commands(runs, R18, ["screw"])) == 4
    assert low_shot.summary(runs, R18) == "Nothing to compare is recorded yet."
    assert set(ensemble_table.own_table(runs)["AUPRO"]) == {"not run"}
    assert len(ensemble_table.missing_commands(runs, ["screw"])) == 8


def test_an_empty_study_has_empty_low_shot_tables():
    runs = pd.DataFrame()
    assert low_shot.reach_table(runs, R18).empty and low_shot.gains(runs, R18, "SPADE").empty
    assert (low_shot.value_table(runs, R18, "aupro")["all"] == "not run").all()
