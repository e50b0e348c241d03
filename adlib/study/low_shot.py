"""PatchCore's Fig. 6: how few normal images suffice, beside PaDiM and SPADE.

The same images are drawn with a seed for every method, so that methods are compared in pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from adlib.report import command, mean_sd, paired
from adlib.study.patchcore_ablation import DATASET, METRICS, chosen
from adlib.study.tables import NOT_RUN, NOTHING

METHODS = {
    "PatchCore": "patchcore fraction=0.1",
    "PaDiM": "padim dim=100",
    "SPADE": "spade image_level=3 pixel_stride=2",
}
"""Name of a method and the run that answers it; SPADE on every second row and column."""
FEWEST = {"PaDiM": 2}  # images below which a method is not defined: a covariance needs two
SHOTS = (1, 2, 5, 10, 16, 20, 50)
SEEDS = "0-4"
ALL = "all"


class Reach(NamedTuple):
    """With how many images one method reaches what another does with all.

    Attributes
    ----------
    shots : int, 'all', 'never' or None
        The smallest number from which on the mean over seeds stays at or above `target`; ``all``
        where only all images reach it, ``never`` where they do not; None: not recorded.
    value, target : float
        The mean at `shots`, and what is to be reached; fractions.
    """

    shots: int | str | None
    value: float
    target: float


def curve(runs: pd.DataFrame, backbone: str, metric: str) -> pd.DataFrame:
    """Return what was measured with few images, a row a run.

    Returns
    -------
    DataFrame
        ``method`` (a key of `METHODS`), ``shots``, ``category``, ``seed``, ``value`` (fraction).
    """
    rows = []
    for name, run in METHODS.items():
        for shots in SHOTS:
            rows += _cells(chosen(runs, f"{run} shots={shots}", backbone), name, shots, metric)
    return pd.DataFrame(rows, columns=["method", "shots", "category", "seed", "value"])


def ceiling(runs: pd.DataFrame, backbone: str, metric: str) -> pd.DataFrame:
    """Return what was measured with all training images: ``method``, ``category``, ``value``.

    The mean over seeds, where the method draws anything.
    """
    rows = []
    for name, run in METHODS.items():
        rows += _cells(chosen(runs, run, backbone), name, ALL, metric)
    made = pd.DataFrame(rows, columns=["method", "shots", "category", "seed", "value"])
    return made.groupby(["method", "category"], sort=False)["value"].mean().reset_index()


def common(curve: pd.DataFrame) -> list[str]:
    """Return the categories that every method of the curve was run on, sorted."""
    by_method = [set(of["category"]) for _, of in curve.groupby("method")]
    return sorted(set.intersection(*by_method)) if by_method else []


def by_shots(curve: pd.DataFrame, method: str, categories: list[str]) -> pd.DataFrame:
    """Return one method's mean over categories: numbers of images in rows, seeds in columns.

    A seed counts only where every category has it: else the mean would compare different ones.
    """
    of_method = curve[(curve["method"] == method) & curve["category"].isin(categories)]
    cells = of_method.pivot_table(index=["shots", "seed"], columns="category", values="value")
    whole = cells.reindex(columns=categories).dropna()
    return whole.mean(axis=1).unstack("seed") if len(whole) else pd.DataFrame()


def reach(curve: pd.DataFrame, levels: pd.DataFrame, method: str, target: str) -> Reach:
    """Find with how many images `method` reaches what `target` reaches with all of them.

    Parameters
    ----------
    curve, levels : DataFrame
        ``curve()`` and ``ceiling()``, of the categories that are to be averaged.
    method, target : str
        Keys of `METHODS`.
    """
    categories = sorted(set(curve.loc[curve["method"] == method, "category"]))
    means = by_shots(curve, method, categories).mean(axis=1)
    full = {
        name: levels[(levels["method"] == name) & levels["category"].isin(categories)]
        for name in (method, target)
    }
    aim, own = (
        float(full[name]["value"].mean()) if len(full[name]) == len(categories) > 0 else np.nan
        for name in (target, method)
    )
    if means.empty or np.isnan(aim):
        return Reach(None, np.nan, aim)
    below = means.index[means < aim]
    enough = means[means.index > below.max()] if len(below) else means
    if len(enough):
        return Reach(int(enough.index[0]), float(enough.iloc[0]), aim)
    if np.isnan(own):
        return Reach(None, np.nan, aim)
    return Reach(ALL if own >= aim else "never", own, aim)


def reach_table(runs: pd.DataFrame, backbone: str, method: str = "PatchCore") -> pd.DataFrame:
    """Lay out ``reach`` for a page: a row a category and their mean, a column a rival's level."""
    rows: dict[str, dict[str, str]] = {}
    for metric, name in METRICS.items():
        measured, levels = curve(runs, backbone, metric), ceiling(runs, backbone, metric)
        own = sorted(set(measured.loc[measured["method"] == method, "category"]))
        groups = {category: [category] for category in own}
        groups |= {f"mean of {len(own)}": own} if len(own) > 1 else {}
        for title, categories in groups.items():
            row = rows.setdefault(title, {"category": title})
            for target in METHODS:
                if target != method:
                    cells = (x[x["category"].isin(categories)] for x in (measured, levels))
                    found = reach(*cells, method, target)
                    row[f"{target}, {name}"] = _reach_text(found)
    return pd.DataFrame(list(rows.values()))


def value_table(runs: pd.DataFrame, backbone: str, metric: str) -> pd.DataFrame:
    """Lay out means over the common categories, percent: a row a method, a column a number."""
    measured, levels = curve(runs, backbone, metric), ceiling(runs, backbone, metric)
    categories = common(measured)
    rows = []
    for method in METHODS:
        cells = by_shots(measured, method, categories) if categories else pd.DataFrame()
        row = {METRICS[metric]: method}
        for shots in SHOTS:
            if shots < FEWEST.get(method, 1):
                row[str(shots)] = NOTHING
            elif shots in cells.index:
                row[str(shots)] = mean_sd(cells.loc[shots].dropna() * 100, 1)
            else:
                row[str(shots)] = NOT_RUN
        own = levels[(levels["method"] == method) & levels["category"].isin(categories)]
        row[ALL] = (
            f"{own['value'].mean() * 100:.1f}" if len(own) == len(categories) > 0 else NOT_RUN
        )
        rows.append(row)
    return pd.DataFrame(rows)


def gains(runs: pd.DataFrame, backbone: str, rival: str, method: str = "PatchCore") -> pd.DataFrame:
    """Compare two methods on the same few images, paired over seeds.

    Returns
    -------
    DataFrame
        A row a number of images: ``images``, `method` minus `rival` for every metric (mean and 95 %
        interval over seeds, percentage points, as a text), ``seeds x categories``.
    """
    rows = []
    for shots in SHOTS:
        pair = [chosen(runs, f"{METHODS[x]} shots={shots}", backbone) for x in (method, rival)]
        row, count = {}, NOTHING
        for metric, name in METRICS.items():
            test = paired(*pair, metric) if all(metric in side for side in pair) else None
            if test is not None:
                row[name] = (
                    f"{test.mean * 100:+.1f} [{test.low * 100:+.1f}, {test.high * 100:+.1f}]"
                )
                count = f"{test.n_seeds} x {test.n_categories}"
        if row:
            images = {f"against {rival}, images": str(shots)}
            rows.append(images | row | {"seeds x categories": count})
    return pd.DataFrame(rows).fillna(NOTHING)


def summary(runs: pd.DataFrame, backbone: str, method: str = "PatchCore") -> str:
    """Say in Markdown how many images `method` needs; every number computed."""
    lines = []
    for target in METHODS:
        found = []
        for metric, name in METRICS.items():
            measured, levels = curve(runs, backbone, metric), ceiling(runs, backbone, metric)
            own = sorted(set(measured.loc[measured["method"] == method, "category"]))
            answer = reach(measured, levels, method, target)
            if target != method and answer.shots is not None:
                found.append(f"{name} {_reach_text(answer)}")
        if found:
            lines.append(
                f"- Images with which {method} reaches, and from there on keeps, what {target} "
                f"reaches with all: {'; '.join(found)}. Means over {', '.join(own)}, percent."
            )
    return "\n".join(lines) or "Nothing to compare is recorded yet."


def missing_commands(runs: pd.DataFrame, backbone: str, categories: list[str]) -> list[str]:
    """Return the commands that fill the gaps of Fig. 6 on some categories, none if it is whole."""
    commands = []
    for name, run in METHODS.items():
        gaps: dict[str, list[int]] = {}
        for shots in (n for n in SHOTS if n >= FEWEST.get(name, 1)):
            found = chosen(runs, f"{run} shots={shots}", backbone)
            there = set() if found.empty else set(found["category"])
            for category in categories:
                if category not in there:
                    gaps.setdefault(category, []).append(shots)
        for numbers in dict.fromkeys(tuple(of) for of in gaps.values()):
            lacking = [category for category, of in gaps.items() if tuple(of) == numbers]
            listed = f"{run} shots={','.join(map(str, numbers))}"
            where = " --category ".join(lacking)
            commands.append(command(listed, DATASET, where, backbone, SEEDS))
        found = chosen(runs, run, backbone)
        lacking = [c for c in categories if found.empty or c not in set(found["category"])]
        if lacking:  # the level of all images
            where = " --category ".join(lacking)
            commands.append(command(run, DATASET, where, backbone, SEEDS))
    return commands


def _cells(found: pd.DataFrame, method: str, shots: int | str, metric: str) -> list[tuple]:
    if metric not in found:
        return []
    known = found.dropna(subset=[metric])
    seeds = known["seed"].fillna(-1).astype(int)
    return [
        (method, shots, category, seed, value)
        for category, seed, value in zip(known["category"], seeds, known[metric], strict=True)
    ]


def _reach_text(found: Reach) -> str:
    if found.shots is None:
        return NOT_RUN
    numbers = f"{found.value * 100:.2f} against {found.target * 100:.2f}"
    return f"{found.shots} ({numbers})"
