"""Table 6: the magnetic tiles by split and by kind of defect, and mSTC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_runs import row, table
from sklearn.metrics import roc_auc_score
from test_localisation import experiment, scene
from test_records import record

from adlib import records, report
from adlib.scores import Scores
from adlib.study import localisation
from adlib.study import magnetic_tile_tables as tiles
from adlib.study.tables import NOT_RUN, NOTHING

ROOT = Path(__file__).parent.parent
SCORES = {"blowhole": [0.4, 0.9], "crack": [0.1, 0.8, 0.95], "good": [0.1, 0.2, 0.3]}
CROPPED = (
    "Resize and crop leave nothing of the defect in Imgs/exp1_num_1.jpg, Imgs/exp1_num_2.jpg "
    "and 154 more."
)
UNMARKED = "The mask file marks no defect for the anomalous Imgs/a b.jpg, Imgs/c.jpg."


@pytest.fixture(scope="module")
def printed() -> pd.DataFrame:
    return report.reported(ROOT / "results")


def made(
    values: tuple[float, ...] = (0.9, 0.92, 0.94),
    run: str = tiles.ROWS["patchcore_10"],
    kind: str = "split",
    **changes,
) -> list[dict]:
    return [
        row(
            run, f"{kind}{i}",
            {"image_auroc": value, "pixel_auroc": 0.8, "aupro": 0.7, "f1_misclassified": 10 + i},
            dataset="magnetic_tile", n_test=582, **changes,
        )
        for i, value in enumerate(values)
    ]  # fmt: skip


def thumbnails(values=(0.95, 0.96, 0.97), run: str = tiles.ROWS["thumbnail"], kind="split"):
    """Rows of the control as ``records.table()`` has them: no network, no pixel metrics."""
    return [
        {k: v for k, v in one.items() if k not in ("pixel_auroc", "aupro")}
        | {"backbone": None, "precision": None, "weights": None}
        for one in made(values, run, kind)
    ]


def of_tiles(squash: bool = True, **changes) -> dict:
    """Return a valid record of a split with the scores above, of PatchCore-10 %."""
    one = record(scores=SCORES, deviations=[UNMARKED] if squash else [CROPPED, UNMARKED])
    method, values = report.read_run("patchcore fraction=0.1")
    one["identity"] |= {"method": method, "parameters": values | {"seed": 0}}
    if squash:
        one["identity"]["transform"] = {"resize": 224, "crop": None, "squash": True}
    one["identity"]["dataset"] |= {"name": "magnetic_tile", "category": "split1"}
    one["metrics"]["image_auroc"] = 0.5
    one |= changes
    one["key"] = records.key(one["identity"])
    return one


def test_table_6_is_the_mean_over_splits_beside_the_printed_number(printed):
    found = tiles.table6(table(made()), printed)
    assert list(found.index)[:4] == ["GANomaly", "1-NN", "DifferNet", "PatchCore-10 %"]
    ours = found.loc["PatchCore-10 %"]
    assert ours["paper"] == "97.9" and ours["image AUROC, ours"] == "92.00 ± 2.00 (3)"
    assert ours["misclassified, ours"] == "11.0 of 582"
    assert found.loc["SPADE", "pixel AUROC, ours"] == NOT_RUN
    assert found.loc["GANomaly", "image AUROC, ours"] == NOTHING


def test_table_6_holds_the_control_without_network_or_maps(printed):
    found = tiles.table6(table([*made(), *thumbnails()]), printed).loc["Thumbnails, no network"]
    assert found["paper"] == NOTHING and found["image AUROC, ours"] == "96.00 ± 1.00 (3)"
    assert found["pixel AUROC, ours"] == NOTHING
    alone = tiles.table6(table(thumbnails()), printed).loc["Thumbnails, no network"]
    assert alone.tolist() == found.tolist()


def test_only_tiles_count_and_each_split_once():
    rows = made() + [made()[0] | {"weights": "IMAGENET1K_V1 (another file)"}]
    rows += [rows[0] | {"dataset": "mvtec_ad", "category": "bottle"}]
    rows += made((0.5,), kind="grouped") + made((0.5,), tiles.CROPPED["patchcore_10"])
    found = tiles.splits(table(rows), tiles.ROWS["patchcore_10"])
    assert found["category"].tolist() == ["split0", "split1", "split2"]
    assert (found["image_auroc"] >= 0.9).all()
    grouped = tiles.splits(table(rows), tiles.ROWS["patchcore_10"], kind="grouped")
    assert grouped["category"].tolist() == ["grouped0"]
    assert tiles.splits(pd.DataFrame(), tiles.ROWS["padim"]).empty


def test_cropped_and_squashed_stand_side_by_side():
    cropped = made((0.97,), tiles.CROPPED["patchcore_10"])
    found = tiles.crop_table(table([*made(), *cropped]))
    assert list(found.index) == ["PatchCore-10 %", "Thumbnails, no network"]
    assert found.loc["PatchCore-10 %", "image AUROC, squashed"] == "92.00 ± 2.00 (3)"
    assert found.loc["PatchCore-10 %", "image AUROC, cropped"] == "97.00 (1)"
    assert found.loc["Thumbnails, no network", "image AUROC, cropped"] == NOT_RUN


def test_kinds_of_squashed_and_cropped_images(tmp_path):
    assert tiles.crop_kinds(pd.DataFrame(), tmp_path).empty
    for one in (of_tiles(), of_tiles(False, scores=SCORES | {"crack": [1.0, 1.0, 1.0]})):
        one["counts"] |= {"train": 762, "test": 582}
        records.write(one, records.path(tmp_path, one["identity"], "x"))
    found = tiles.crop_kinds(records.table(tmp_path), tmp_path)
    assert list(found) == ["PatchCore-10 %, squashed", "PatchCore-10 %, cropped"]
    assert found.loc["crack"].tolist() == [f"{650 / 9:.2f} (1)", "100.00 (1)"]  # a tie counts half


def test_a_split_by_tile_counts_with_a_few_images_more_or_less(tmp_path):
    for name, train, test in (
        ("grouped0", 763, 581), ("grouped1", 700, 581), ("split0", 763, 581), ("split1", 762, 582),
    ):  # fmt: skip
        one = of_tiles()
        one["identity"]["dataset"]["category"] = name
        one["counts"] |= {"train": train, "test": test}
        one["key"] = records.key(one["identity"])
        records.write(one, records.path(tmp_path, one["identity"], "x"))
    official = records.table(tmp_path).set_index("category")["official"]
    assert official[official].index.tolist() == ["grouped0", "split1"]


def test_commands_are_those_of_missing_splits():
    every = tiles.missing_commands(pd.DataFrame())
    kinds = (len(tiles.ROWS), len(tiles.CROPPED), len(tiles.BY_TILE))
    assert len(every) == len(set(every)) == sum(kinds)
    assert len(tiles.missing_commands(table(made()))) == len(every) - 1
    assert len(tiles.missing_commands(table(made((0.9, 0.9))))) == len(every)
    assert len(tiles.missing_commands(table(made(kind="grouped")))) == len(every) - 1
    assert len(tiles.missing_commands(table(thumbnails()))) == len(every) - 1
    assert sum("--squash" in text for text in every) == kinds[0] + kinds[2]
    assert sum("--category grouped0 --category grouped1" in text for text in every) == kinds[2]


def test_commands_name_all_that_a_run_needs():
    every = tiles.missing_commands(pd.DataFrame())
    where = "--dataset magnetic_tile --root DIR"
    protocol = "--resize 224 --crop 0 --squash"
    settings = "--set image_level=3 --set pixel_stride=2"
    assert f"adlib evaluate spade {where} --backbone resnet18 {settings} {protocol}" in every
    assert f"adlib evaluate thumbnail {where} {protocol}" in every
    assert f"adlib evaluate thumbnail {where}" in every
    assert f"adlib evaluate patchcore {where} --backbone resnet18 --set fraction=0.1" in every
    assert any("one_nn" in text and "grouped2" in text and protocol in text for text in every)


def test_a_kind_is_held_against_the_good_images():
    found = tiles.by_kind([of_tiles()])["split1"]
    good = SCORES["good"]
    for kind in ("blowhole", "crack"):
        labels = [0] * len(good) + [1] * len(SCORES[kind])
        assert found[kind] == pytest.approx(roc_auc_score(labels, [*good, *SCORES[kind]]))
    assert found["all"] == 0.5 and list(found.index) == ["all", "blowhole", "crack"]


def test_the_table_of_kinds_counts_images_and_spreads_over_splits():
    kinds = pd.DataFrame({"split0": {"all": 0.9, "crack": 0.8}, "split1": {"all": 0.9, "crack": 1}})
    found = tiles.kind_table({"PaDiM": kinds}, tiles.counts(of_tiles()))
    assert found.loc["crack"].tolist() == ["3", "90.00 ± 14.14 (2)"]
    assert found.loc["all", "images"] == "8"
    assert tiles.kind_table({}, None).empty


def test_lost_defects_are_counted_by_name_and_by_number():
    assert tiles.lost(of_tiles(False)) == (156, 2)
    assert tiles.lost(of_tiles()) == (0, 2)
    assert tiles.lost(of_tiles(deviations=[])) == (0, 0)


def test_the_protocol_is_read_from_the_records(tmp_path):
    assert tiles.protocol(pd.DataFrame(), tmp_path).startswith("Nothing is recorded")
    for squash in (True, False):
        one = of_tiles(squash)
        one["counts"] |= {"train": 762, "test": 582, "anomalous": 392, "masks": 392}
        records.write(one, records.path(tmp_path, one["identity"], "x"))
        text = tiles.protocol(records.table(tmp_path), tmp_path)
        assert "holds 765 defect-free images" in text and "392 with a defect" in text
        assert "squashed to 224 x 224" in text and "2 masks mark nothing" in text
        assert ("cut off 156 defects" in text) == (not squash)
    assert "short side to 256, the middle 224 x 224 kept" in text


def test_mstc_is_not_run_until_it_is(printed):
    empty = tiles.mstc_table(pd.DataFrame(), printed)
    assert empty.loc["PatchCore-10 %"].tolist() == ["91.8", NOT_RUN]
    scene = row(tiles.MSTC_RUN, "01", {"pixel_auroc": 0.9}, dataset="mstc")
    other = row("patchcore fraction=0.1", "02", {"pixel_auroc": 0.1}, dataset="mstc")
    found = tiles.mstc_table(table([scene, other]), printed)
    assert found.loc["PatchCore-10 %", "ours"] == "90.0 (1 scenes)"
    assert found.loc["SPADE", "ours"] == NOTHING


def test_the_figure_marks_every_method_and_the_printed_number(printed):
    kinds = pd.DataFrame({"split0": {"all": 0.9, "crack": 0.8}, "split1": {"all": 0.8, "crack": 1}})
    fig = tiles.kind_figure({"PaDiM": kinds, "SPADE": kinds}, tiles.paper(printed))
    ax = fig.axes[0]
    by_label = {line.get_label(): line for line in ax.lines}
    assert by_label["PaDiM"].get_xdata().tolist() == pytest.approx([85, 90])
    assert [text.get_text() for text in ax.texts] == ["paper 97.9"]
    fig.draw_without_rendering()
    empty = tiles.kind_figure({}, 97.9)
    assert [text.get_text() for text in empty.axes[0].texts] == [NOT_RUN]
    empty.draw_without_rendering()


def test_images_without_their_defect_are_scored_apart():
    masks, maps = scene()
    labels = masks.any(axis=(1, 2)).astype(int)
    masks[6] = False  # known, and nothing is left of it
    found = localisation.localise(experiment(masks, None, labels), Scores(np.zeros(7), maps))
    scores = np.array([0.1, 0.2, 0.3, 0.9, 0.9, 0.25, 0.15])
    shown = tiles.visible_table({"a": {"x": found}}, {("a", "x"): scores}).loc["a"]
    assert shown["defect in the picture"] == f"{800 / 9:.1f} (3 images)"
    assert shown["defect cut off"] == f"{100 / 3:.1f} (1 images)"


def test_the_summary_is_of_what_is_recorded(printed):
    assert tiles.summary(pd.DataFrame(), printed, {}).startswith("Nothing to sum up")
    kinds = {"PatchCore-10 %": tiles.by_kind([of_tiles()])}
    text = tiles.summary(table(made()), printed, kinds)
    assert "**92.00 ± 2.00 (3)**; the paper prints 97.9" in text
    assert "least well from the good images is crack" in text
