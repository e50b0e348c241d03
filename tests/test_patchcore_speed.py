"""Table 5: measured times in their rows, and what is said without them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pandas as pd
import pytest
from made_runs import row, table

from adlib import report
from adlib.errors import InputError
from adlib.study import patchcore_speed as speed
from adlib.study.tables import NOT_RUN

ROOT = Path(__file__).parent.parent
TIMES = {"backbone": 40.0, "embed": 5.0, "search": 20.0, "map": 3.0, "total": 68.0}


def measured(folder: Path, *rows: dict) -> Path:
    content = {"benchmark": "patchcore", "environment": {}, "aims": [], "rows": list(rows)}
    (folder / "bench").mkdir()
    (folder / "bench" / "patchcore.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def one(**changes: object) -> dict:
    fixed = {
        "method": "patchcore", "setting": "fraction=0.1", "dataset": "mvtec_ad",
        "category": "bottle", "backbone": "resnet18", "milliseconds_per_image": TIMES,
    }  # fmt: skip
    return fixed | changes


@pytest.fixture(scope="module")
def printed() -> pd.DataFrame:
    return report.reported(ROOT / "results")


@pytest.mark.parametrize(
    ("method", "setting", "name"),
    [
        ("patchcore", "fraction=0.01", "patchcore_1"),
        ("patchcore", "subsampler=none", "patchcore_100"),
        ("patchcore", "fraction=1", "patchcore_100"),
        ("patchcore", "subsampler=none search=ivfpq", "patchcore_100_ivfpq"),
        ("spade", "image_level=3", "spade"),
        ("spade", "spade image_level=3", "spade"),
        ("patchcore", "patchcore fraction=0.01", "patchcore_1"),
        ("padim", "dim=100", "padim"),
        ("padim", "dim=50", None),
        ("patchcore", "fraction=0.1 patch_size=5", None),
    ],
)
def test_a_measured_run_finds_its_row(method, setting, name):
    assert speed.name_of(method, setting, "resnet18") == name


def test_times_are_means_over_categories_in_the_papers_order(tmp_path):
    slow = TIMES | {"search": 40.0, "total": 88.0}
    folder = measured(
        tmp_path,
        one(method="padim", setting="dim=100"),
        one(),
        one(category="screw", milliseconds_per_image=slow),
        one(backbone="efficientnet_lite0", milliseconds_per_image=slow),
        one(method="one_nn", setting="image_level=3"),
    )
    found = speed.times(folder)
    assert list(found.index) == ["patchcore_10", "padim"]
    assert found.loc["patchcore_10", ["search", "total"]].tolist() == [30.0, 78.0]
    assert found.loc["patchcore_10", "categories"] == ["bottle", "screw"]


def test_a_row_without_a_field_is_refused_in_one_sentence(tmp_path):
    row = one()
    del row["setting"]
    with pytest.raises(InputError, match="found one without 'setting'"):
        speed.times(measured(tmp_path, row))


def test_nothing_measured_is_an_empty_table_and_a_drawn_figure(tmp_path, printed):
    found = speed.times(tmp_path)
    assert found.empty
    shown = speed.table5(found, pd.DataFrame(), printed, [])
    assert (shown["ours [s]"] == NOT_RUN).all() and (shown["ours, scores"] == NOT_RUN).all()
    assert shown.loc["PatchCore-1 %", "paper [s]"] == "0.17"
    fig = speed.bars(found, printed)
    assert [text.get_text() for text in fig.axes[0].texts] == [NOT_RUN]


def test_table_5_holds_seconds_stages_and_scores(tmp_path, printed):
    metrics = {"image_auroc": 0.95, "pixel_auroc": 0.98, "aupro": 0.92}
    runs = table([row("patchcore fraction=0.1", "bottle", metrics)])
    shown = speed.table5(speed.times(measured(tmp_path, one())), runs, printed, ["bottle"])
    ours = shown.loc["PatchCore-10 %"]
    assert ours["ours, scores"] == "95.0 / 98.0 / 92.0"
    assert ours["paper, scores"] == "99.0 / 98.1 / 93.5"
    assert (ours["ours [s]"], ours["search [ms]"]) == ("0.068", "20.0")


def test_the_bars_are_as_long_as_the_times(tmp_path, printed):
    fig = speed.bars(speed.times(measured(tmp_path, one())), printed)
    left, right = fig.axes
    ends = {patch.get_x() + patch.get_width() for patch in left.patches}
    assert max(ends) == pytest.approx(TIMES["total"])
    assert [bar.get_width() for bar in right.patches] == [0.6, 0.22, 0.17, 0.2, 0.66, 0.19]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig.draw_without_rendering()
