"""PatchCore's ablations (its Section 4.4): one choice varied, everything else as in `BASE`.

A `Sweep` names the settings of one choice. Its records become a long table (`curve`), summaries by
category (`values`) and paired differences from the default (`differences`); ``patchcore_pages``
turns those into text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from adlib.report import paired, reported, select
from adlib.study.variants import SHOWN

METHOD = "patchcore"
BASE: dict[str, Any] = {"fraction": 0.01}
"""What every run of an ablation has in common, beside the defaults: PatchCore-1 %."""
DATASET = "mvtec_ad"
METRICS = SHOWN  # column of a record -> its name
SEEDS = "0-2"


class Sweep(NamedTuple):
    """One choice and the settings it was run with.

    Attributes
    ----------
    name : str
        What is varied, for axes and table headings.
    points : dict of str to dict
        Label -> parameters that differ from `BASE`, in the order of the axis.
    default : str
        The label of the default, which `BASE` alone describes.
    """

    name: str
    points: dict[str, dict[str, Any]]
    default: str


PATCH_SIZE = Sweep(
    "patch size p",
    {str(p): {"patch_size": p} if p != 3 else {} for p in (1, 3, 5, 7, 9, 13)},
    "3",
)
LAYERS = Sweep(
    "levels of the network",
    {
        layers: {"layers": layers} if layers != "2+3" else {}
        for layers in ("1", "2", "3", "1+2", "2+3", "1+2+3")
    },
    "2+3",
)
STRIDE = Sweep("stride s", {str(s): {"stride": s} if s > 1 else {} for s in (1, 2, 3)}, "1")
CORESET_DIM = Sweep(
    "dimensions d* the selection sees",
    {
        name: {"coreset_dim": dim} if dim != 128 else {}
        for name, dim in (("16", 16), ("32", 32), ("64", 64), ("128", 128), ("all", None))
    },
    "128",
)
START = Sweep("first centre", {"random": {}, "patch 0": {"start": "first"}}, "random")
SCORE = Sweep(
    "distance and Eq. 7",
    {
        "Euclidean, no weight": {"reweight": 1},
        "Euclidean, b = 3": {"reweight": 3},
        "Euclidean, b = 9": {},
        "squared, no weight": {"reweight": 1, "distance": "squared"},
        "squared, b = 3": {"reweight": 3, "distance": "squared"},
        "squared, b = 9": {"distance": "squared"},
    },
    "Euclidean, b = 9",
)
SWEEPS = (PATCH_SIZE, LAYERS, STRIDE, CORESET_DIM, START, SCORE)


def text(settings: dict[str, Any]) -> str:
    """Write settings as ``report.select`` reads them: ``patchcore fraction=0.01 patch_size=5``."""
    words = {"None": "null", "True": "true", "False": "false"}
    pairs = (f"{name}={words.get(str(value), value)}" for name, value in settings.items())
    return " ".join([METHOD, *pairs])


def chosen(runs: pd.DataFrame, run: str, backbone: str) -> pd.DataFrame:
    """Return the runs on MVTec AD that answer a text, a row a run."""
    if runs.empty:
        return runs
    return select(runs[runs["dataset"] == DATASET], run, backbone)


def curve(runs: pd.DataFrame, sweep: Sweep, backbone: str, metric: str) -> pd.DataFrame:
    """Return what a sweep measured, a row a run.

    Parameters
    ----------
    runs : DataFrame
        ``records.table()``.
    sweep : Sweep
    backbone, metric : str

    Returns
    -------
    DataFrame
        ``label``, ``position`` (place on the axis, from 0), ``category``, ``seed`` (-1 for runs
        that draw nothing), ``value`` (fraction). Categories where only the default was run are
        left out, so that every label is about the same ones as far as they were run.
    """
    rows = []
    for position, (label, settings) in enumerate(sweep.points.items()):
        found = chosen(runs, text(BASE | settings), backbone)
        if metric in found:
            rows += [
                (label, position, run.category, run.seed, run.value)
                for run in found.assign(value=found[metric]).dropna(subset=["value"]).itertuples()
            ]
    made = pd.DataFrame(rows, columns=["label", "position", "category", "seed", "value"])
    made["seed"] = made["seed"].fillna(-1).astype(int)
    varied = made.loc[made["label"] != sweep.default, "category"].unique()
    return made[made["category"].isin(varied)].reset_index(drop=True) if len(varied) else made


def values(curve: pd.DataFrame) -> pd.DataFrame:
    """Summarise ``curve`` by label and category.

    Returns
    -------
    DataFrame
        ``label``, ``position``, ``category``, ``mean``, ``sd`` (n - 1; NaN for one seed), ``n``.
    """
    grouped = curve.groupby(["label", "position", "category"])["value"]
    table = grouped.agg(mean="mean", sd="std", n="count").reset_index()
    return table.sort_values(["category", "position"], ignore_index=True)


def differences(runs: pd.DataFrame, sweep: Sweep, backbone: str, metric: str) -> pd.DataFrame:
    """Compare every setting with the default, paired over categories and seeds.

    Returns
    -------
    DataFrame
        ``label``, ``position``, ``mean``, ``low``, ``high`` (95 % over seeds, percentage points),
        ``n_seeds``, ``n_categories``, ``by_category`` (dict: difference in points); a row a
        setting that shares at least two seeds with the default.
    """
    reference = chosen(runs, text(BASE | sweep.points[sweep.default]), backbone)
    rows = []
    for position, (label, settings) in enumerate(sweep.points.items()):
        found = chosen(runs, text(BASE | settings), backbone)
        if label == sweep.default or metric not in found:
            continue
        test = paired(found, reference, metric)
        if test is not None:
            by_category = test.by_category.set_index("category")["difference"] * 100
            rows.append(
                (label, position, test.mean * 100, test.low * 100, test.high * 100)
                + (test.n_seeds, test.n_categories, by_category.to_dict())
            )
    columns = ["label", "position", "mean", "low", "high", "n_seeds", "n_categories", "by_category"]
    return pd.DataFrame(rows, columns=columns)


def printed_stride(results: Path | str = "results") -> dict[str, dict[str, float]]:
    """Return what the paper loses by its strides (Section 4.4.2) against its PatchCore-1 %.

    Returns
    -------
    dict
        Metric -> stride -> difference in percentage points, its means over 15 categories.
    """
    cells = reported(results)
    cells = cells[(cells["paper"] == METHOD) & (cells["metric"] == "image_auroc")]
    default = cells.loc[(cells["where"] == "Table 1") & (cells["method"] == "patchcore_1")]
    strided = cells[cells["method"].str.startswith("patchcore stride ")]
    if default.empty:
        return {}
    level = float(default["value"].iloc[0])
    points = {row.method.rpartition(" ")[2]: row.value - level for row in strided.itertuples()}
    return {"image_auroc": points}
