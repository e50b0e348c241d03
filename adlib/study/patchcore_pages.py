"""PatchCore's ablations as a page shows them: tables, what they say in words, what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from adlib.report import command, mean_sd
from adlib.study import subsampler_ablation
from adlib.study.patchcore_ablation import (
    BASE,
    DATASET,
    LAYERS,
    METRICS,
    PATCH_SIZE,
    SCORE,
    SEEDS,
    STRIDE,
    Sweep,
    chosen,
    curve,
    differences,
    text,
)
from adlib.study.tables import NOT_RUN, NOTHING


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
    gaps: dict[tuple, list[str]] = {}
    for settings in sweep.points.values():
        found = chosen(runs, text(BASE | settings), backbone)
        there = set() if found.empty else set(found["category"])
        lacking = tuple(category for category in categories if category not in there)
        if lacking:
            # settings of one same parameter share a command; others have one each
            alone = tuple(settings) if len(settings) == 1 else tuple(settings.items())
            gaps.setdefault((lacking, alone), []).append(settings)
    return [_command(group, lacking, backbone) for (lacking, _), group in gaps.items()]


def _command(group: list[dict[str, Any]], categories: tuple[str, ...], backbone: str) -> str:
    joined = {
        name: ",".join(text({name: settings[name]}).partition("=")[2] for settings in group)
        for name in group[0]
    }
    run = text(BASE | joined)
    return command(run, DATASET, " --category ".join(categories), backbone, SEEDS)


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
        parts.append(
            f"{sweep.name[0].upper()}{sweep.name[1:]}: difference from the default "
            f"({sweep.default}) in percentage points, with a 95 % interval over seeds."
        )
        parts.append(_markdown(difference_table(runs, sweep, backbone)))
        table = value_table(runs, sweep, backbone)
        if len(table) and table[sweep.name].nunique() > 1:
            parts.append(
                "<details><summary>The values by category: mean ± standard deviation (seeds), "
                f"percent</summary>\n\n{_markdown(table)}\n\n</details>"
            )
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
    return _points(differences.loc[label])


def summary(runs: pd.DataFrame, backbone: str) -> str:
    """Say in Markdown what the recorded ablations answer; every number computed."""
    lines = [
        line
        for line in (
            _best(runs, PATCH_SIZE, backbone, "Neighbourhood", "p = "),
            _best(runs, LAYERS, backbone, "Levels", ""),
            _changes(runs, STRIDE, backbone, {"2": "stride 2", "3": "stride 3"}),
            _changes(
                runs,
                SCORE,
                backbone,
                {
                    "Euclidean, no weight": "leaving out the weight",
                    "Euclidean, b = 3": "b = 3",
                },
            ),
            _random(runs, backbone),
            _used(runs, backbone),
        )
        if line
    ]
    return "\n".join(f"- {line}" for line in lines) or "No ablation is recorded yet."


def _best(runs: pd.DataFrame, sweep: Sweep, backbone: str, what: str, sign: str) -> str:
    """Name the setting with the highest mean for every metric, and how far it leads the default."""
    found = []
    for metric, name in METRICS.items():
        of = differences(runs, sweep, backbone, metric)
        if of.empty:
            continue
        top = of.loc[of["mean"].idxmax()]
        ahead = top["mean"] > 0
        label = top["label"] if ahead else sweep.default
        lead = f" ({_points(top)} against {sweep.default})" if ahead else ""
        found.append(f"{sign}{label} for {name}{lead}")
    return f"{what}: highest is {'; '.join(found)}." if found else ""


def _changes(runs: pd.DataFrame, sweep: Sweep, backbone: str, labels: dict[str, str]) -> str:
    found = []
    for label, words in labels.items():
        cells = []
        for metric, name in METRICS.items():
            of = differences(runs, sweep, backbone, metric).set_index("label")
            if label in of.index:
                cells.append(f"{name} {_points(of.loc[label])}")
        if cells:
            found.append(f"{words} changes {', '.join(cells)}")
    return f"{sweep.name[0].upper()}{sweep.name[1:]}: {'; '.join(found)} points." if found else ""


def _random(runs: pd.DataFrame, backbone: str, fraction: float = 0.01) -> str:
    cells = []
    for metric, name in METRICS.items():
        of = subsampler_ablation.differences(runs, backbone, metric)
        at = of[(of["arm"] == "random") & (of["fraction"] == fraction)] if len(of) else of
        cells += [f"{name} {_points(at.iloc[0])}"] if len(at) else []
    kept = subsampler_ablation.percent(fraction)
    return f"Random patches instead of the coreset, {kept}: {', '.join(cells)}." if cells else ""


def _used(runs: pd.DataFrame, backbone: str) -> str:
    shares = subsampler_ablation.curve(runs, backbone, subsampler_ablation.USED)
    cells = []
    for arm, fraction, words in (
        ("whole bank", 1.0, "of the whole bank"),
        ("coreset", 0.01, "of the 1 % coreset"),
    ):
        at = shares[(shares["arm"] == arm) & (shares["fraction"] == fraction)]
        by_category = at.groupby("category")["value"].mean() * 100
        listed = ", ".join(f"{name} {value:.0f}" for name, value in by_category.items())
        cells += [f"{words} {listed} %"] if listed else []
    return f"Ever used while scoring: {'; '.join(cells)}." if cells else ""


def _points(row: pd.Series) -> str:
    return f"{row['mean']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
