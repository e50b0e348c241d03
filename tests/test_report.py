"""Records and printed numbers turned into tables, on records made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_records import record

from adlib import records, report
from adlib.datasets.mvtec_ad import OFFICIAL_COUNTS
from adlib.errors import InputError


@pytest.fixture
def results(tmp_path):
    """An empty folder of records, and a function that adds one."""

    def add(auroc: float, category: str = "bottle", official: bool = True, **changes) -> None:
        parameters = {
            "reduction": "coordinate", "dim": 100, "eps": 0.01, "eps_scale": "nominal",
            "sigma": 4.0, "image_score": "smoothed", "seed": 0,
        }  # fmt: skip
        parameters |= {k: changes.pop(k) for k in list(changes) if k in parameters}
        made = record(
            identity__parameters=parameters,
            metrics={"image_auroc": 0.9, "f1_misclassified": 1, "pixel_auroc": auroc},
            drawn={"channels": 448, "reduced_dim": parameters["dim"] or 448},
            **changes,
        )
        made["identity"]["dataset"]["category"] = category
        train, test = OFFICIAL_COUNTS[category] if official else (5, 5)
        made["counts"] |= {"train": train, "test": test}
        made["identity"]["dataset"]["fingerprint"] = ("f" if official else "a") * 64
        made["key"] = records.key(made["identity"])
        records.write(made, records.path(tmp_path, made["identity"], "x"))

    add.folder = tmp_path
    return add


def printed(*rows: dict) -> pd.DataFrame:
    fixed = {
        "source": "paper", "paper": "jl_padim", "where": "Table 1", "task": "localization",
        "method": "padim", "backbone": "resnet18", "dataset": "mvtec_ad", "category": "bottle",
        "metric": "pixel_auroc", "value": 98.0, "unit": "percent",
        "run": "padim reduction=coordinate dim=100", "note": "",
    }  # fmt: skip
    return pd.DataFrame([fixed | row for row in rows])


def test_select_takes_defaults_for_what_is_not_named(results):
    results(0.98)
    results(0.97, seed=1)
    for changes in (
        {"dim": 50},
        {"eps_scale": "matched"},
        {"eps": 0.1},
        {"sigma": 2.0},
        {"image_score": "raw"},
        {"reduction": "haar"},
        {"identity__transform": {"resize": 224, "crop": 224}},
        {"identity__transform": {"resize": 256, "crop": 256}},
        {"category": "screw"},
    ):
        results(0.1, **changes)
    for place, value in (
        ("precision", "bfloat16"), ("weights", "unverified"), ("weights", "random"),
        ("name", "wide_resnet50_2"),
    ):  # fmt: skip
        results(0.2, **{f"identity__backbone__{place}": value})
    results(0.3, official=False)  # a folder of one's own that is called bottle
    runs = records.table(results.folder)
    chosen = report.select(runs, "padim dim=100", "resnet18", "bottle")
    assert sorted(chosen["pixel_auroc"]) == [0.97, 0.98]
    assert report.select(runs, "", "resnet18", "bottle").empty
    assert report.select(pd.DataFrame(), "padim").empty


def test_select_finds_runs_without_dim_and_seed(results):
    results(0.95, reduction="none", dim=None, seed=None)
    results(0.96)
    runs = records.table(results.folder)
    assert report.select(runs, "padim reduction=none")["pixel_auroc"].tolist() == [0.95]
    assert report.by_seed(report.select(runs, "padim reduction=none"), "pixel_auroc").tolist() == [
        0.95
    ]


def test_read_run_checks_names_and_values():
    method, values = report.read_run("padim reduction=none eps=1e-4")
    assert method == "padim" and values["eps"] == 1e-4
    assert values["dim"] is None and "seed" not in values
    for wrong in ("padin dim=3", "padim dims=3", "padim dim=x"):
        with pytest.raises(InputError):
            report.read_run(wrong)


def test_compare_holds_printed_against_measured(results):
    for seed, value in enumerate((0.981, 0.979, 0.983)):
        results(value, seed=seed)
    rows = [
        {},
        {"category": "screw", "value": 90.0},
        {"source": "a", "value": 97.0},
        {"source": "b", "value": 98.3},
        {"source": "a", "category": "screw", "value": 90.5},
        {"value": 12.0, "unit": "count"},
    ]
    table = report.compare(printed(*rows), records.table(results.folder)).set_index("category")
    bottle = table.loc["bottle"]
    assert (bottle["paper"], bottle["a"], bottle["b"], bottle["n"]) == (98.0, 97.0, 98.3, 3)
    values = np.array([98.1, 97.9, 98.3])
    assert bottle["ours"] == pytest.approx(values.mean())
    assert bottle["sd"] == pytest.approx(values.std(ddof=1))
    assert bottle["delta"] == pytest.approx(values.mean() - 98.0)
    spread = 1.4826 * np.median([1.0, 0.3, 0.5])
    expected = 2 * np.sqrt(values.var(ddof=1) + spread**2)
    assert bottle["tolerance"] == pytest.approx(expected, rel=1e-4)
    assert bottle["within"] is True
    screw = table.loc["screw"]
    assert np.isnan(screw["ours"]) and screw["within"] is None and screw["n"] == 0
    assert screw["command"] == (
        "adlib evaluate padim --dataset mvtec_ad --root DIR --category screw --backbone resnet18 "
        "--set reduction=coordinate --set dim=100 --seed 0-4"
    )


def test_compare_says_no_where_the_difference_is_too_large(results):
    results(0.90)
    rows = [{}, {"source": "a", "value": 97.5}]
    (row,) = report.compare(printed(*rows), records.table(results.folder)).to_dict("records")
    assert row["within"] is False and row["delta"] == pytest.approx(-8.0)
    assert np.isnan(row["sd"])  # one seed


def test_compare_works_without_records_and_ignores_other_data(results):
    empty = report.compare(printed({}), records.table(results.folder))
    assert empty.loc[0, "n"] == 0 and empty.loc[0, "within"] is None
    results(0.5, identity__dataset={"name": "embedded", "category": "", "fingerprint": "e" * 64})
    assert report.compare(printed({}), records.table(results.folder)).loc[0, "n"] == 0


def test_compare_chooses_the_backbone(results):
    rows = [{}, {"backbone": "wide_resnet50_2", "value": 99.0}]
    table = report.compare(printed(*rows), pd.DataFrame(), backbone="wide_resnet50_2")
    assert table["paper"].tolist() == [99.0]


def test_dimension_curve_has_a_row_a_run_of_the_papers_setting(results):
    results(0.98, dim=100, seed=1)
    results(0.97, dim=50, seed=0)
    results(0.99, reduction="none", dim=None, seed=None)
    results(0.1, eps=0.5)
    results(0.1, identity__transform={"resize": 64, "crop": 56})
    results(0.1, identity__backbone__weights="random")
    curve = report.dimension_curve(results=results.folder)
    assert curve["dim"].tolist() == [50, 100, 448]
    assert curve["value"].tolist() == [0.97, 0.98, 0.99]
    assert curve["seed"].tolist()[:2] == [0, 1]
    assert curve["channels"].unique().tolist() == [448]
    empty = report.dimension_curve(results=results.folder / "none")
    assert empty.empty and list(empty.columns) == list(curve.columns)


def frame(values: dict[tuple[str, int], float]) -> pd.DataFrame:
    rows = [(category, seed, value) for (category, seed), value in values.items()]
    return pd.DataFrame(rows, columns=["category", "seed", "value"])


def test_paired_is_the_t_test_of_the_means_over_categories():
    rng = np.random.default_rng(0)
    names = [(c, s) for c in ("bottle", "screw", "cable") for s in range(6)]
    a, b = ({n: float(v) for n, v in zip(names, rng.random(18), strict=True)} for _ in range(2))
    found = report.paired(frame(a), frame(b))
    means = [np.mean([a[c, s] - b[c, s] for c in ("bottle", "screw", "cable")]) for s in range(6)]
    test = stats.ttest_1samp(means, 0)
    assert found.mean == pytest.approx(np.mean(means))
    assert found.p_value == pytest.approx(test.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert (found.n_seeds, found.n_categories) == (6, 3)
    screw = found.by_category.set_index("category").loc["screw"]
    differences = np.array([a["screw", s] - b["screw", s] for s in range(6)])
    assert screw["difference"] == pytest.approx(differences.mean())
    assert screw["sd"] == pytest.approx(differences.std(ddof=1))
    assert screw["wins"] == (differences > 0).sum()


def test_paired_uses_common_categories_and_seeds_only():
    a = frame({("bottle", 0): 1.0, ("bottle", 1): 2.0, ("bottle", 2): 9.0, ("screw", 0): 5.0})
    b = frame({("bottle", 0): 0.5, ("bottle", 1): 1.0, ("cable", 0): 1.0})
    found = report.paired(a, b)
    assert (found.mean, found.n_seeds, found.n_categories) == (0.75, 2, 1)


def test_paired_compares_a_run_without_seeds_with_every_seed():
    a = frame({("bottle", s): 1.0 + s for s in range(3)})
    for seedless in (np.nan, -1):
        one = frame({("bottle", seedless): 1.0})
        assert report.paired(a, one).mean == pytest.approx(1.0)
        assert report.paired(one, a).mean == pytest.approx(-1.0)
    # a single seed is no statement about the others
    assert report.paired(a, frame({("bottle", 0): 1.0})) is None


def test_paired_needs_two_seeds_and_survives_equal_ones():
    assert report.paired(frame({("bottle", 0): 1.0}), frame({("bottle", 0): 2.0})) is None
    assert report.paired(frame({}), frame({})) is None
    same = frame({("bottle", s): 1.0 for s in range(3)})
    found = report.paired(same, same)
    assert (found.mean, found.low, found.high) == (0, 0, 0) and np.isnan(found.p_value)


def test_mean_sd():
    assert report.mean_sd(pd.Series([1.0, 2.0])) == "1.50 ± 0.71 (2)"
    assert report.mean_sd(pd.Series([1.25]), digits=1) == "1.2 (1)"
    assert report.mean_sd(pd.Series([], dtype=float)) == "–"


def test_reported_reads_the_file_or_says_where_it_must_be(root, tmp_path):
    assert {"paper", "value", "run"} <= set(report.reported(root / "results").columns)
    with pytest.raises(InputError, match=r"must be in .*reported\.csv"):
        report.reported(tmp_path)
