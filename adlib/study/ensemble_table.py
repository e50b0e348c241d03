"""PatchCore's Table 4: larger images, deeper networks, several networks at once.

The printed rows with the commands that run them, and the part that the weights at hand allow.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from adlib.report import by_seed, command, mean_sd, paired, reported
from adlib.study.patchcore_ablation import DATASET, METRICS, chosen
from adlib.study.tables import NOT_RUN, NOTHING

SEEDS = "0-2"
ENSEMBLE = "resnet18+efficientnet_lite0"


class Row(NamedTuple):
    """One row: what it is called, and the run and network that answer it."""

    name: str
    run: str
    backbone: str


# as ``backbone`` names them in reported.csv; 366 and 320 keep 256 : 224, as the released code does
PRINTED = {
    "densenet201+resnext101+wide_resnet101 layers 2+3, 320 px": Row(
        "DenseNet-201, ResNeXt-101, WideResNet-101; levels 2+3, 320 px",
        "patchcore fraction=0.01 resize=366 crop=320",
        "densenet201+resnext101_32x8d+wide_resnet101_2",
    ),
    "wide_resnet101 layers 2+3, 280 px": Row(
        "WideResNet-101; levels 2+3, 280 px",
        "patchcore fraction=0.01 resize=320 crop=280",
        "wide_resnet101_2",
    ),
    "wide_resnet101 layers 1+2+3, 280 px": Row(
        "WideResNet-101; levels 1+2+3, 280 px",
        "patchcore fraction=0.01 layers=1+2+3 resize=320 crop=280",
        "wide_resnet101_2",
    ),
}
DEEP, ALL_LEVELS = "patchcore fraction=0.01", "patchcore fraction=0.01 layers=1+2+3"
OURS = (
    Row("ResNet-18; levels 2+3", DEEP, "resnet18"),
    Row("ResNet-18; levels 1+2+3", ALL_LEVELS, "resnet18"),
    Row("EfficientNet-Lite0; levels 2+3", DEEP, "efficientnet_lite0"),
    Row("ResNet-18, EfficientNet-Lite0; levels 2+3", DEEP, ENSEMBLE),
    Row("ResNet-18, EfficientNet-Lite0; levels 1+2+3", ALL_LEVELS, ENSEMBLE),
)
"""What can be run with the weights that a fresh copy finds; 224 px, the first row the baseline."""


def printed_table(runs: pd.DataFrame, results: Path | str = "results") -> pd.DataFrame:
    """Lay out the printed rows, percent, each with ours beside it or ``not run``.

    Ours is the mean over seeds of the mean over the categories that were run, with their number.
    """
    cells = reported(results)
    cells = cells[(cells["paper"] == "patchcore") & (cells["where"] == "Table 4")]
    rows = []
    for configuration, of in cells.groupby("backbone", sort=False):
        row = PRINTED.get(configuration, Row(configuration, "", ""))
        made = {"configuration": row.name}
        found = chosen(runs, row.run, row.backbone) if row.run else runs.iloc[:0]
        for metric, name in METRICS.items():
            value = of.loc[of["metric"] == metric, "value"]
            made[f"{name}, paper"] = f"{value.iloc[0]:.1f}" if len(value) else NOTHING
            made[f"{name}, ours"] = _mean(found, metric, _categories(found))
        rows.append(made | {"categories": len(_categories(found)) or NOTHING})
    return pd.DataFrame(rows)


def own_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out what was run here: levels in percent, differences from the first row in points.

    Every row is about the same categories: those that all rows with records have.
    """
    found = {row.name: chosen(runs, row.run, row.backbone) for row in OURS}
    there = [set(_categories(rows)) for rows in found.values() if len(rows)]
    categories = sorted(set.intersection(*there)) if there else []
    baseline = _of(found[OURS[0].name], categories)
    table = []
    for row in OURS:
        own = _of(found[row.name], categories)
        made = {"configuration": row.name}
        for metric, name in METRICS.items():
            made[name] = _mean(own, metric, categories)
            made[f"{name}, difference"] = (
                NOTHING if row == OURS[0] else _difference(own, baseline, metric)
            )
        table.append(made)
    return pd.DataFrame(table).assign(categories=", ".join(categories) or NOTHING)


def missing_commands(runs: pd.DataFrame, categories: list[str]) -> list[str]:
    """Return the commands of the rows without records: printed ones on all 15 categories."""
    commands = []
    for row in (*PRINTED.values(), *OURS):
        if chosen(runs, row.run, row.backbone).empty:
            where = " --category ".join(categories)
            made = command(row.run, DATASET, where, row.backbone, SEEDS)
            everything = row in PRINTED.values()
            commands.append(made.replace(f"--category {where} ", "") if everything else made)
    return commands


def _categories(found: pd.DataFrame) -> list[str]:
    return sorted(found["category"].unique()) if len(found) else []


def _of(found: pd.DataFrame, categories: list[str]) -> pd.DataFrame:
    return found[found["category"].isin(categories)] if len(found) else found


def _mean(found: pd.DataFrame, metric: str, categories: list[str]) -> str:
    """Write the mean over categories as mean ± sd over the seeds that all of them have."""
    if found.empty or not categories:
        return NOT_RUN
    by_category = [by_seed(found[found["category"] == name], metric) for name in categories]
    values = pd.concat(by_category, axis=1).dropna().mean(axis=1) * 100
    return mean_sd(values) if len(values) else NOT_RUN


def _difference(own: pd.DataFrame, baseline: pd.DataFrame, metric: str) -> str:
    if own.empty or baseline.empty or metric not in own:
        return NOTHING
    test = paired(own, baseline, metric)
    if test is None:
        return NOTHING
    return f"{test.mean * 100:+.2f} [{test.low * 100:+.2f}, {test.high * 100:+.2f}]"
