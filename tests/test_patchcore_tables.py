"""Tables 1-3 of PatchCore: printed means, and ours over the categories that were run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_runs import row, table

from adlib import report
from adlib.datasets.mvtec_ad import OFFICIAL_COUNTS
from adlib.study import patchcore_tables as tables
from adlib.study.tables import NOT_RUN, NOTHING

ROOT = Path(__file__).parent.parent
ONE = "patchcore fraction=0.01"


@pytest.fixture(scope="module")
def printed() -> pd.DataFrame:
    made = report.reported(ROOT / "results")
    by_category = (made["paper"] == "patchcore") & made["category"].isin(OFFICIAL_COUNTS)
    return made[~by_category]


def by_category(values: dict[str, float]) -> pd.DataFrame:
    fixed = {
        "source": "paper", "paper": "patchcore", "where": "per category", "dataset": "mvtec_ad",
        "method": "patchcore_1", "backbone": "wide_resnet50_2", "metric": "image_auroc",
        "unit": "percent", "run": "", "note": "", "task": "detection",
    }  # fmt: skip
    return pd.DataFrame([fixed | {"category": c, "value": v} for c, v in values.items()])


def made(seeds: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for category in ("bottle", "screw"):
        for seed in range(seeds):
            metrics = {
                "image_auroc": rng.random(), "pixel_auroc": rng.random(), "aupro": rng.random(),
                "f1_misclassified": int(rng.integers(0, 9)),
            }  # fmt: skip
            rows.append(row(ONE, category, metrics, seed=seed))
        spade = row("spade image_level=3 pixel_stride=2", category, {"image_auroc": 0.5}, seed=None)
        rows.append(spade)
    rows.append(row("patchcore fraction=0.1", "bottle", {"image_auroc": 0.9}))
    return table(rows)


def test_a_mean_is_of_every_seed_over_all_categories():
    runs = made()
    found = tables.over_categories(runs, ONE, "resnet18", "image_auroc", ["bottle", "screw"])
    ours = runs[(runs["method"] == "patchcore") & (runs["fraction"] == 0.01)]
    by_hand = [ours[ours["seed"] == seed]["image_auroc"].mean() for seed in range(3)]
    assert found.tolist() == pytest.approx(by_hand)
    total = tables.over_categories(
        runs, ONE, "resnet18", "f1_misclassified", ["bottle", "screw"], "sum"
    )
    assert total.tolist() == [
        ours[ours["seed"] == seed]["f1_misclassified"].sum() for seed in range(3)
    ]


def test_a_mean_over_fewer_categories_or_of_another_data_set_is_none():
    runs = made()
    asked = ("resnet18", "image_auroc")
    assert tables.over_categories(runs, ONE, *asked, ["bottle", "cable"]).empty
    assert tables.over_categories(runs, "patchcore fraction=0.1", *asked, ["bottle", "screw"]).empty
    assert tables.over_categories(runs, ONE, *asked, []).empty
    elsewhere = runs.assign(dataset="embedded")
    assert tables.over_categories(elsewhere, ONE, *asked, ["bottle"]).empty
    assert tables.categories(elsewhere) == [] == tables.categories(pd.DataFrame())


def test_a_seed_that_one_category_lacks_does_not_count():
    runs = made()
    gap = (runs["category"] == "screw") & (runs["seed"] == 1) & (runs["method"] == "patchcore")
    found = tables.over_categories(runs[~gap], ONE, "resnet18", "image_auroc", ["bottle", "screw"])
    assert found.index.tolist() == [0, 2]


def test_table_1_holds_every_printed_mean_and_ours(printed):
    runs = made()
    found = tables.means_table(runs, printed, "image_auroc")
    paper = found["paper, 15 categories"]
    assert paper["PatchCore-25 %"] == "99.1" and paper["SPADE"] == "85.5"
    assert paper["PatchCore-100 %"] == "99.1 (Table 5)" and paper["1-NN"] == NOTHING
    values = tables.over_categories(runs, ONE, "resnet18", "image_auroc", ["bottle", "screw"])
    assert found.loc["PatchCore-1 %", "ResNet-18, ours"] == report.mean_sd(values * 100)
    assert found.loc["SPADE", "ResNet-18, ours"] == "50.00 (1)"
    assert found.loc["PatchCore-10 %", "ResNet-18, ours"] == NOT_RUN  # only on bottle
    assert found.loc["Mah. AD", "ResNet-18, ours"] == NOTHING  # quoted only
    assert (found["WideResNet-50, ours"].isin([NOT_RUN, NOTHING])).all()
    assert "paper, these 2" not in found


@pytest.mark.parametrize(("metric", "count"), [("pixel_auroc", 9), ("aupro", 7)])
def test_tables_2_and_3_have_the_printed_methods_first(printed, metric, count):
    found = tables.means_table(made(), printed, metric)
    assert (found["paper, 15 categories"].iloc[:count].str.fullmatch(r"\d+\.\d")).all()
    assert found.loc["1-NN", "ResNet-18, ours"] == NOTHING  # it makes no maps


def test_the_papers_own_mean_over_our_categories_stands_beside(printed):
    whole = pd.concat([printed, by_category({"bottle": 100.0, "screw": 98.1, "cable": 99.5})])
    found = tables.means_table(made(), whole, "image_auroc")
    assert found.loc["PatchCore-1 %", "paper, these 2"] == f"{(100 + 98.1) / 2:.1f}"
    assert "image AUROC 99.05 here and 99.0 there (+0.05)" in tables.relation(made(), whole)
    assert "is not at hand" in tables.relation(made(), printed)
    one = pd.concat([printed, by_category({"bottle": 100.0})])
    assert "paper, these 2" not in tables.means_table(made(), one, "image_auroc")
    by = tables.category_table(made(), one, "resnet18", "image_auroc")
    assert by["paper, 1 %"].tolist() == ["100.0", NOTHING, NOTHING, NOTHING]


def test_misclassifications_are_summed_and_out_of_so_many_images(printed):
    found = tables.misclassified_table(made(), printed)
    images = OFFICIAL_COUNTS["bottle"][1] + OFFICIAL_COUNTS["screw"][1]
    values = tables.over_categories(
        made(), ONE, "resnet18", "f1_misclassified", ["bottle", "screw"], "sum"
    )
    expected = f"{values.mean():.1f} ± {values.std():.1f} ({values.mean() / images * 100:.1f} %)"
    assert found.loc["PatchCore-1 %", f"ResNet-18, of {images}"] == expected
    assert found.loc["PatchCore-25 %", "paper, of 1725"] == "42 (2.4 %)"


def test_by_category_the_rest_is_one_row(printed):
    found = tables.category_table(made(), printed, "resnet18", "pixel_auroc")
    assert list(found.index) == ["bottle", "screw", "mean", "the other 13"]
    assert (found.loc["the other 13"] == NOT_RUN).all()
    assert found.loc["bottle", "SPADE"] == NOT_RUN  # a record without the metric
    assert "1-NN" not in found


def test_commands_are_those_of_the_rows_that_are_not_full(printed):
    found = tables.missing_commands(made())
    assert len(found) == 15 and all("--dataset mvtec_ad --root DIR" in text for text in found)
    rows = [
        row(run, category, {"image_auroc": 0.9})
        for run in tables.rows("resnet18").values()
        for category in OFFICIAL_COUNTS
    ]
    left = tables.missing_commands(table(rows))
    assert len(left) == 10 and not any("resnet18" in text for text in left)
    assert any("wide_resnet50_2 --set dim=550" in text for text in left)


def test_nothing_recorded_says_so(printed):
    empty = pd.DataFrame()
    found = tables.means_table(empty, printed, "aupro")
    assert found.loc["PatchCore-1 %", "ResNet-18, ours"] == NOT_RUN
    assert tables.relation(empty, printed).startswith("Nothing is recorded")
    assert tables.summary(empty, printed).startswith("Nothing to sum up")
    assert (tables.misclassified_table(empty, printed)["ResNet-18, of 0"] == NOT_RUN).all()
    assert list(tables.category_table(empty, printed, "resnet18", "aupro").index) == [
        "mean", "the other 15",
    ]  # fmt: skip


def test_the_summary_pairs_seeds(printed):
    rows = [
        row(run, category, {"image_auroc": value + 0.001 * seed, "pixel_auroc": 0.9}, seed=seed)
        for run, value in ((ONE, 0.95), ("padim dim=100", 0.90), ("patchcore fraction=0.25", 0.9),
                           ("patchcore fraction=0.1", 0.9))
        for category in ("bottle", "screw")
        for seed in range(2)
    ]  # fmt: skip
    text = tables.summary(table(rows), printed)
    assert "PatchCore-1 % minus PaDiM: +5.00 points of image AUROC [+5.00, +5.00]" in text
    assert "**90.05 / 90.05 / 95.05** on 2 categories" in text
    assert "(95 % intervals over 2 seeds; 2 categories)" in text


def test_live_runs_have_a_row_a_category_and_method():
    metrics = [{"image_auroc": 0.8, "f1_misclassified": 1, "pixel_auroc": 0.9, "aupro": 0.5}]
    metrics += [metrics[0] | {"image_auroc": 0.9}, {"image_auroc": 1.0, "f1_misclassified": 0}]
    keys = [("gear", "PatchCore", 0), ("gear", "PatchCore", 1), ("gear", "1-NN", 0)]
    runs = {
        key: SimpleNamespace(record={"metrics": one})
        for key, one in zip(keys, metrics, strict=True)
    }
    found = tables.live(runs).set_index("method")
    assert found.loc["PatchCore", "image AUROC"] == "85.00 ± 7.07 (2)"
    assert found.loc["1-NN", "pixel AUROC"] == NOTHING
