"""Table 5 of the PatchCore paper: time an image, split by stage, beside the printed seconds.

The times come from ``results/bench/patchcore.json``, which ``benchmarks/patchcore.py`` measures;
the metrics beside them from the records of the same runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from adlib.errors import InputError
from adlib.report import read_run
from adlib.study import figures
from adlib.study.bench_report import measurements
from adlib.study.patchcore_tables import METRICS, NAMES, over_categories, printed_means, rows
from adlib.study.tables import NOT_RUN, NOTHING

STAGES = {
    "backbone": "backbone", "embed": "patch features", "search": "search", "map": "map and score",
}  # fmt: skip
ORDER = ("patchcore_100", "patchcore_10", "patchcore_1", "patchcore_100_ivfpq", "spade", "padim")
COMMAND = "make bench"


def times(results: Path | str = "results", backbone: str = "resnet18") -> pd.DataFrame:
    """Read the measured time of an image, a row a method of Table 5.

    Parameters
    ----------
    results : path
        Folder that holds ``bench/patchcore.json``.
    backbone : str

    Returns
    -------
    DataFrame
        Milliseconds an image by stage (`STAGES`) and ``total``, mean over the measured categories;
        ``categories``, a list. Indexed by the name of the method in ``reported.csv``, in the
        paper's order. Empty where nothing was measured.

    Raises
    ------
    InputError
        A row of the measurement lacks a field.
    """
    measured = measurements(results).get("patchcore", {}).get("rows", [])
    found = []
    for row in measured:
        try:
            method = name_of(row["method"], row["setting"], row["backbone"])
            stages = dict(row["milliseconds_per_image"])
            place = {"category": row["category"]}
        except (KeyError, TypeError) as error:
            raise InputError(
                f"a row of bench/patchcore.json must have a method, a setting, a category, a "
                f"backbone and milliseconds_per_image, found one without {error}; "
                f"run {COMMAND} again"
            ) from error
        if method in ORDER and row["backbone"] == backbone:
            found.append({"method": method} | place | {name: stages.get(name) for name in STAGES})
            found[-1]["total"] = stages.get("total", sum(stages.values()))
    if not found:
        return pd.DataFrame(columns=[*STAGES, "total", "categories"])
    grouped = pd.DataFrame(found).groupby("method")
    mean = grouped[[*STAGES, "total"]].mean().assign(categories=grouped["category"].agg(list))
    return mean.loc[[method for method in ORDER if method in mean.index]]


def name_of(method: str, setting: str, backbone: str) -> str | None:
    """Return what ``reported.csv`` calls a measured run, as ``patchcore_10`` for fraction=0.1.

    Parameters
    ----------
    method : str
        A key of ``evaluate.METHODS``.
    setting : str
        Its parameters as ``name=value``, separated by blanks; the method may stand before them.
    backbone : str
        Decides which run answers a method (``patchcore_tables.rows``).

    Returns
    -------
    str or None
        None for a run that answers no row of the tables.
    """
    setting = setting.removeprefix(f"{method} ")  # the benchmark writes the whole run
    if method == "spade":
        # times are of the whole pyramid, which the paper timed; the scores of every second row
        setting = f"{setting.replace('pixel_stride=1', '')} pixel_stride=2"
    asked = read_run(f"{method} {setting}")
    answers = rows(backbone).items()
    return next((name for name, run in answers if read_run(run) == asked), None)


def table5(
    measured: pd.DataFrame,
    runs: pd.DataFrame,
    printed: pd.DataFrame,
    names: list[str],
    backbone: str = "resnet18",
) -> pd.DataFrame:
    """Lay out Table 5, turned: a row a method, the paper's seconds and scores beside ours.

    Parameters
    ----------
    measured : DataFrame
        ``times()``, may be empty.
    runs, printed : DataFrame
        ``records.table()`` and ``report.reported()``.
    names : list of str
        Categories of our scores.
    backbone : str

    Returns
    -------
    DataFrame
        Scores are image AUROC / pixel AUROC / AUPRO in percent, ours as mean over categories (and
        over seeds); times a stage in milliseconds.
    """
    seconds = printed_means(printed, "seconds_per_image", "Table 5")
    theirs = {metric: printed_means(printed, metric, "Table 5") for metric in METRICS}
    table = {}
    for method in ORDER:
        ours = [
            over_categories(runs, rows(backbone)[method], backbone, metric, names)
            for metric in METRICS
        ]
        row = {
            "paper, scores": " / ".join(f"{theirs[metric][method]:.1f}" for metric in METRICS),
            "ours, scores": " / ".join(f"{values.mean() * 100:.1f}" for values in ours)
            if all(map(len, ours))
            else NOT_RUN,
            "paper [s]": f"{seconds[method]:g}",
            "ours [s]": NOT_RUN,
        }
        row |= {f"{stage} [ms]": NOTHING for stage in STAGES.values()}
        if method in measured.index:
            row["ours [s]"] = f"{measured.loc[method, 'total'] / 1000:.3f}"
            for stage, title in STAGES.items():
                value = measured.loc[method, stage]
                row[f"{title} [ms]"] = NOTHING if pd.isna(value) else f"{value:.1f}"
        table[NAMES[method]] = row
    return pd.DataFrame(table).T


def bars(measured: pd.DataFrame, printed: pd.DataFrame) -> Figure:
    """Draw Table 5: on the left ours, stacked by stage, on the right the paper's seconds.

    The scales differ, and so do machine and network: within a panel lengths can be compared,
    between them only their order.

    Parameters
    ----------
    measured : DataFrame
        ``times()``; empty leaves the left panel without bars.
    printed : DataFrame
        ``report.reported()``.
    """
    seconds = printed_means(printed, "seconds_per_image", "Table 5")
    fig, (left, right) = figures.figure(7, 3.6, columns=2, sharey=True)
    places = {method: place for place, method in enumerate(ORDER)}
    start = dict.fromkeys(ORDER, 0.0)
    for (stage, title), color in zip(STAGES.items(), figures.PALETTE, strict=False):
        shown = measured[stage].dropna() if len(measured) else measured.get(stage, pd.Series())
        left.barh(
            [places[method] for method in shown.index],
            shown.to_numpy(float),
            left=[start[method] for method in shown.index],
            color=color,
            height=0.62,
            label=title,
        )
        for method, value in shown.items():
            start[method] += value
    _label(left, {places[method]: start[method] for method in measured.index}, "{:.0f}")
    right.barh(
        list(places.values()), [seconds[method] for method in ORDER], color="0.55", height=0.62
    )
    _label(right, {places[method]: seconds[method] for method in ORDER}, "{:.2f}")
    left.set_yticks(list(places.values()), labels=[NAMES[method] for method in ORDER])
    left.invert_yaxis()
    left.set(xlabel="time an image [ms]", title="ours")
    right.set(xlabel="time an image [s]", title="paper (WideResNet-50, GPU)")
    if len(measured):
        fig.legend(loc="outside lower center", ncols=len(STAGES), fontsize=9.5)
    else:
        left.text(0.5, 0.5, NOT_RUN, transform=left.transAxes, ha="center", va="center")
    for ax in (left, right):
        ax.grid(axis="y", visible=False)
    return fig


def _label(ax: Any, ends: Mapping[int, float], form: str) -> None:
    """Write the totals behind the bars, and make room for them."""
    for place, value in ends.items():
        ax.text(value, place, f" {form.format(value)}", va="center", fontsize=9.5)
    if ends:
        ax.set_xlim(0, 1.2 * max(ends.values()))
