"""PatchCore's Fig. 5: what is kept of the memory bank, how much, and how much of it is ever used.

Every subsampler of `ARMS` at every fraction that was run, held against the greedy coreset of the
same size and against the whole bank.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from adlib.report import Paired, command, mean_sd, paired, reported
from adlib.study.patchcore_ablation import DATASET, METRICS, SEEDS, chosen, text
from adlib.study.tables import NOTHING

ARMS: dict[str, dict[str, Any]] = {
    "coreset": {},
    "random": {"subsampler": "random"},
    "proxies": {"subsampler": "proxies"},
    "proxies, + as printed": {"subsampler": "proxies", "proxy_sign": "plus"},
}
"""Subsamplers and how figures call them; Eq. 8 prints a sign that cannot be meant."""
MOST = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5)
FRACTIONS = {
    "coreset": MOST,
    "random": MOST,
    "proxies": (0.001, 0.01),  # every step of their optimiser costs as much as the bank is large
    "proxies, + as printed": (0.001, 0.01),
}
WHOLE: dict[str, Any] = {"subsampler": "none"}
USED = "bank_used"  # column: share of the bank that was nearest to some test patch


def curve(runs: pd.DataFrame, backbone: str, metric: str) -> pd.DataFrame:
    """Return what every subsampler reached at every fraction, a row a run.

    Parameters
    ----------
    runs : DataFrame
        ``records.table()``.
    backbone : str
    metric : str
        A metric, or ``bank_used``.

    Returns
    -------
    DataFrame
        ``arm`` (a key of `ARMS`, or ``whole bank`` at fraction 1), ``fraction``, ``category``,
        ``seed`` (-1 for runs that draw nothing), ``value``. Categories where only the coreset and
        the whole bank were run are left out, if there are others.
    """
    parts = [
        _rows(runs, backbone, metric, arm, {"fraction": fraction} | settings, fraction)
        for arm, settings in ARMS.items()
        for fraction in fractions(runs)
    ]
    parts.append(_rows(runs, backbone, metric, "whole bank", WHOLE, 1.0))
    filled = [part for part in parts if len(part)] or parts[-1:]
    made = pd.concat(filled, ignore_index=True)
    compared = made.loc[~made["arm"].isin(["coreset", "whole bank"]), "category"].unique()
    chosen_rows = made[made["category"].isin(compared)] if len(compared) else made
    return chosen_rows.reset_index(drop=True)


def fractions(runs: pd.DataFrame) -> list[float]:
    """Return the fractions that PatchCore was run with, sorted."""
    if "fraction" not in runs:
        return []
    of_method = runs[(runs["method"] == "patchcore") & (runs["dataset"] == "mvtec_ad")]
    return sorted(float(value) for value in of_method["fraction"].dropna().unique())


def differences(
    runs: pd.DataFrame, backbone: str, metric: str, reference: str = "coreset"
) -> pd.DataFrame:
    """Compare every subsampler at every fraction, paired over categories and seeds.

    Parameters
    ----------
    runs : DataFrame
        ``records.table()``.
    backbone, metric : str
    reference : {'coreset', 'whole bank'}
        The coreset of the same fraction, or the bank without subsampling.

    Returns
    -------
    DataFrame
        ``arm``, ``fraction``, ``mean``, ``low``, ``high`` (95 % over seeds, percentage points),
        ``n_seeds``, ``n_categories``.
    """
    rows = []
    for arm, settings in ARMS.items():
        for fraction in fractions(runs):
            same_size = {"fraction": fraction}
            other = same_size if reference == "coreset" else WHOLE
            found = chosen(runs, text(same_size | settings), backbone)
            if (reference, arm) == ("coreset", "coreset") or metric not in found:
                continue
            test = paired(found, chosen(runs, text(other), backbone), metric)
            if test is not None:
                rows.append((arm, fraction, *_points(test)))
    columns = ["arm", "fraction", "mean", "low", "high", "n_seeds", "n_categories"]
    return pd.DataFrame(rows, columns=columns)


def difference_table(runs: pd.DataFrame, backbone: str, reference: str = "coreset") -> pd.DataFrame:
    """Lay out ``differences`` for a page: a row a subsampler and fraction, a column a metric."""
    cells: dict[tuple[str, float], dict[str, str]] = {}
    for metric, name in METRICS.items():
        compared = differences(runs, backbone, metric, reference)
        if reference == "whole bank":  # what is claimed of the whole bank is claimed of coresets
            compared = compared[compared["arm"] == "coreset"]
        for row in compared.itertuples():
            cell = cells.setdefault((row.arm, row.fraction), {})
            cell[name] = f"{row.mean:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"
            cell["seeds x categories"] = f"{row.n_seeds} x {row.n_categories}"
    heading = f"against the {reference}" + (" of that size" if reference == "coreset" else "")
    rows = [
        {heading: arm, "kept": percent(fraction)} | cell for (arm, fraction), cell in cells.items()
    ]
    order = [heading, "kept", *METRICS.values(), "seeds x categories"]
    return pd.DataFrame(rows, columns=order).fillna(NOTHING)


def missing_commands(runs: pd.DataFrame, backbone: str, categories: list[str]) -> list[str]:
    """Return the commands that make what Fig. 5 lacks on some categories, none if it is whole."""
    commands = []
    for arm, settings in ARMS.items():
        gaps: dict[str, list[float]] = {}
        for fraction in FRACTIONS[arm]:
            found = chosen(runs, text({"fraction": fraction} | settings), backbone)
            there = set() if found.empty else set(found["category"])
            for category in categories:
                if category not in there:
                    gaps.setdefault(category, []).append(fraction)
        for lacking in dict.fromkeys(tuple(of) for of in gaps.values()):
            where = [category for category, of in gaps.items() if tuple(of) == lacking]
            run = text({"fraction": ",".join(f"{f:g}" for f in lacking)} | settings)
            commands.append(command(run, DATASET, " --category ".join(where), backbone, SEEDS))
    return commands


def used_table(curve: pd.DataFrame) -> pd.DataFrame:
    """Lay out the share of the bank that is ever used, percent: a row a fraction, a column an arm.

    Parameters
    ----------
    curve : DataFrame
        ``curve()`` of ``bank_used``.
    """
    rows = []
    for (category, fraction), at in curve.groupby(["category", "fraction"]):
        shares = {arm: mean_sd(of["value"] * 100, 1) for arm, of in at.groupby("arm", sort=False)}
        rows.append({"category": category, "kept": percent(fraction)} | shares)
    return pd.DataFrame(rows).fillna(NOTHING)


def printed_used(results: Path | str = "results") -> dict[float, float]:
    """Return the share of the bank that the paper saw used: fraction kept -> percent."""
    cells = reported(results)
    cells = cells[(cells["paper"] == "patchcore") & (cells["metric"] == "share_of_bank_used")]
    return {int(row.method.rpartition("_")[2]) / 100: row.value for row in cells.itertuples()}


def percent(fraction: float) -> str:
    """Write a fraction in percent, without zeros behind it."""
    return f"{fraction * 100:g} %"


def _rows(
    runs: pd.DataFrame,
    backbone: str,
    metric: str,
    arm: str,
    settings: dict[str, Any],
    fraction: float,
) -> pd.DataFrame:
    columns = ["arm", "fraction", "category", "seed", "value"]
    found = chosen(runs, text(settings), backbone)
    if metric not in found:
        return pd.DataFrame(columns=columns)
    made = found.assign(arm=arm, fraction=fraction, value=found[metric].astype(float))
    made["seed"] = made["seed"].fillna(-1).astype(int)
    return made[columns].dropna(subset=["value"])


def _points(test: Paired) -> tuple[float, float, float, int, int]:
    return test.mean * 100, test.low * 100, test.high * 100, test.n_seeds, test.n_categories
