"""PatchCore's ablations (its Section 4.4): one choice varied, everything else as in `BASE`.

A `Sweep` names the settings of one choice. Its records become a long table (`curve`), paired
differences from the default (`differences`), tables for a page, and the commands of what is
missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from adlib.report import command, mean_sd, paired, select
from adlib.tables import NOT_RUN, NOTHING
from adlib.variants import SHOWN

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
        "Euclidean, b = 3": {},
        "Euclidean, no Eq. 7": {"reweight": 1},
        "Euclidean, b = 9": {"reweight": 9},
        "squared, no Eq. 7": {"reweight": 1, "distance": "squared"},
        "squared, b = 3": {"distance": "squared"},
        "squared, b = 9": {"reweight": 9, "distance": "squared"},
    },
    "Euclidean, b = 3",
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


def difference_table(runs: pd.DataFrame, sweep: Sweep, backbone: str) -> pd.DataFrame:
    """Lay out ``differences`` for a page: a row a setting, a column a metric.

    The default's own row shows its level in percent, the mean over the categories of the sweep.
    """
    by_metric = {m: differences(runs, sweep, backbone, m).set_index("label") for m in METRICS}
    levels = {m: curve(runs, sweep, backbone, m) for m in METRICS}
    rows = []
    for label in sweep.points:
        row = {sweep.name: label}
        for metric, name in METRICS.items():
            if label == sweep.default:
                row[name] = _level(levels[metric], label)
            else:
                row[name] = _interval(by_metric[metric], label)
        known = [d.loc[label] for d in by_metric.values() if label in d.index]
        count = f"{known[0].n_seeds} x {known[0].n_categories}" if known else NOTHING
        rows.append(row | {"seeds x categories": count})
    return pd.DataFrame(rows)


def value_table(runs: pd.DataFrame, sweep: Sweep, backbone: str) -> pd.DataFrame:
    """Lay out the values themselves: mean ± sd over seeds (how many), percent, by category."""
    wide = {}
    for metric, name in METRICS.items():
        measured = curve(runs, sweep, backbone, metric)
        for (category, label), cell in measured.groupby(["category", "label"])["value"]:
            wide.setdefault((category, label), {})[name] = mean_sd(cell * 100)
    order = {label: i for i, label in enumerate(sweep.points)}
    rows = [
        {"category": category, sweep.name: label} | wide[category, label]
        for category, label in sorted(wide, key=lambda place: (place[0], order[place[1]]))
    ]
    return pd.DataFrame(rows)


def missing_commands(
    runs: pd.DataFrame, sweep: Sweep, backbone: str, categories: Iterable[str]
) -> list[str]:
    """Return the commands that make what a sweep lacks on some categories, none if it is whole."""
    commands = []
    for settings in sweep.points.values():
        run = text(BASE | settings)
        found = chosen(runs, run, backbone)
        there = set() if found.empty else set(found["category"])
        lacking = [category for category in categories if category not in there]
        if lacking:
            commands.append(command(run, DATASET, " --category ".join(lacking), backbone, SEEDS))
    return commands


def not_run(commands: Iterable[str]) -> str:
    """Say in Markdown what fills the gaps; an empty text where there is none."""
    listed = list(dict.fromkeys(commands))
    if not listed:
        return ""
    return (
        "**Not run yet**, and what runs it (the page then shows the new rows):\n\n```sh\n"
        + "\n".join(listed)
        + "\n```"
    )


def page(
    runs: pd.DataFrame, sweeps: Iterable[Sweep], backbone: str, categories: Iterable[str]
) -> str:
    """Return differences, values and what is missing of some sweeps as one Markdown text."""
    parts = []
    categories = list(categories)
    for sweep in sweeps:
        parts.append(f"Difference from {sweep.name} = {sweep.default}, percentage points:")
        parts.append(_markdown(difference_table(runs, sweep, backbone)))
        table = value_table(runs, sweep, backbone)
        if len(table):
            parts.append("The values, mean ± standard deviation (seeds), percent:")
            parts.append(_markdown(table))
        parts.append(not_run(missing_commands(runs, sweep, backbone, categories)))
    return "\n\n".join(part for part in parts if part)


def _markdown(table: pd.DataFrame) -> str:
    return table.to_markdown(index=False, disable_numparse=True)


def _level(curve: pd.DataFrame, label: str) -> str:
    cells = curve[curve["label"] == label]
    if cells.empty:
        return NOT_RUN
    return f"level {cells.groupby('category')['value'].mean().mean() * 100:.2f} %"


def _interval(differences: pd.DataFrame, label: str) -> str:
    if label not in differences.index:
        return NOT_RUN
    row = differences.loc[label]
    return f"{row['mean']:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"
