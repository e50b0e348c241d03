"""The papers' tables in their own layout, with ours beside every printed number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from adlib import records
from adlib.report import by_seed, compare, mean_sd, reported, select

NOT_RUN = "not run"
NOTHING = "–"
BESIDE = ("other implementations", "Haar, ours", "all channels, ours")
JL_METHODS = {"padim": "PaDiM", "jl_padim": "JL"}


def jl_table1(results: Path | str = "results", backbone: str = "resnet18") -> pd.DataFrame:
    """Lay out Table 1 of the JL report for one backbone: pixel AUROC in percent.

    Parameters
    ----------
    results : path
        Folder of records and of ``reported.csv``.
    backbone : {'resnet18', 'wide_resnet50_2'}

    Returns
    -------
    DataFrame
        A row a category. For PaDiM and for JL: the printed number, the other implementations, ours
        as mean ± sd (seeds), signed difference and the tolerance of ``report.compare``,
        marked where it lies outside; then Haar and no reduction. ``not run`` where there is no
        record: one column ``ours`` where that holds for the whole backbone.
    """
    printed = reported(results)
    printed = printed[
        (printed["metric"] == "pixel_auroc")
        & printed["method"].isin(JL_METHODS)
        & (
            (printed["paper"] == "jl_padim") & (printed["where"] == "Table 1")
            | (printed["source"] != "paper")
        )
    ]
    runs = records.table(results)
    cells = compare(printed, runs, backbone=backbone)
    others = [name for name in printed["source"].unique() if name != "paper"]
    rows = [
        _category_row(group, runs, others) for _, group in cells.groupby("category", sort=False)
    ]
    table = pd.DataFrame(rows).set_index("category")
    empty = [name for name in table if table[name].isin([NOT_RUN, NOTHING]).all()]
    return table.drop(columns=empty).assign(ours=NOT_RUN) if empty else table


def _category_row(cells: pd.DataFrame, runs: pd.DataFrame, others: list[str]) -> dict[str, str]:
    by_method = {cell["method"]: cell for cell in cells.to_dict("records")}
    first = next(iter(by_method.values()))
    row = {"category": first["category"]}
    for method, name in JL_METHODS.items():
        cell = by_method[method]
        row[f"{name}, paper"] = f"{cell['paper']:.1f}"
        if method == "padim":
            row["other implementations"] = " / ".join(_number(cell[other]) for other in others)
        row[f"{name}, ours"] = _ours(cell)
        row[f"{name}, difference"] = _difference(cell)
    width = first["run"].rpartition("dim=")[2]
    for name, run in (
        ("Haar, ours", f"padim reduction=haar dim={width}"),
        ("all channels, ours", "padim reduction=none"),
    ):
        values = (
            by_seed(select(runs, run, first["backbone"], first["category"]), "pixel_auroc") * 100
        )
        row[name] = mean_sd(values) if len(values) else NOT_RUN
    return row


def missing_commands(table: pd.DataFrame, backbone: str, dim: int) -> list[str]:
    """Return one command that fills the rows of ``jl_table1`` that were not run, or none."""
    empty = [name for name, row in table.iterrows() if NOT_RUN in row.to_numpy()]
    if not empty:
        return []
    categories = " ".join(f"--category {name}" for name in empty)
    return [
        f"adlib evaluate padim --root DIR {categories} --backbone {backbone} "
        f"--set reduction=coordinate,gaussian,haar --set dim={dim} --seed 0-4",
        f"adlib evaluate padim --root DIR {categories} --backbone {backbone} --set reduction=none",
    ]


def _ours(cell: dict) -> str:
    if not cell["n"]:
        return NOT_RUN
    sd = "" if np.isnan(cell["sd"]) else f" ± {cell['sd']:.2f}"
    return f"{cell['ours']:.2f}{sd} ({cell['n']})"


def _difference(cell: dict) -> str:
    if not cell["n"]:
        return NOTHING
    outside = " **outside**" if cell["within"] is False else ""
    return f"{cell['delta']:+.2f}{outside} (± {cell['tolerance']:.2f})"


def _number(value: float | None) -> str:
    return NOTHING if value is None or np.isnan(value) else f"{value:.1f}"


def live(runs: dict) -> pd.DataFrame:
    """Summarise the runs of a notebook: metrics in percent, mean ± sd (seeds).

    Parameters
    ----------
    runs : dict of (category, reduction, seed) to ``evaluate.Run``

    Returns
    -------
    DataFrame
        A row a category and reduction; a metric that the data do not allow is a dash.
    """
    rows = pd.DataFrame(
        {"category": category, "reduction": reduction} | run.record["metrics"]
        for (category, reduction, _), run in runs.items()
    )
    names = {"pixel_auroc": "pixel AUROC", "aupro": "AUPRO", "image_auroc": "image AUROC"}
    for metric in names:
        rows[metric] = rows.get(metric, np.nan)
    grouped = rows.groupby(["category", "reduction"], sort=False)
    return (
        pd.DataFrame(
            {
                name: grouped[metric].agg(lambda v: mean_sd(v.dropna() * 100))
                for metric, name in names.items()
            }
        )
        .reset_index()
        .set_index("category")
    )
