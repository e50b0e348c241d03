"""From records and the papers' printed numbers to tables.

Every function reads records anew and computes its aggregates; nothing is stored. Metrics of records
are fractions; tables for people show percent, as the papers do.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from adlib import parameters, records
from adlib.errors import InputError

METRICS = ("image_auroc", "pixel_auroc", "aupro")
SEEDLESS = -1  # in place of the seed of a run that draws nothing
# columns of ``records.table()`` that say what was done to the data, and the papers' values
PROTOCOL: dict[str, Any] = {
    "resize": 256, "crop": 224, "squash": False, "masks": "nearest", "shots": None,
}  # fmt: skip
SIZED = ("mnist", "cifar10", "digits")  # come in one size: `PROTOCOL` has nothing to say of them
COVERAGE = 2.0  # tolerance in standard deviations
MAD_TO_SD = float(1 / stats.norm.ppf(0.75))  # 1.4826, for normal errors
KEY = ["method", "backbone", "category", "metric"]


def reported(results: Path | str = "results") -> pd.DataFrame:
    """Read the printed numbers of the papers and of other implementations.

    Returns
    -------
    DataFrame
        The columns of ``results/reported.csv``: ``source`` ('paper' or an implementation),
        ``paper``, ``where``, ``task``, ``method``, ``backbone``, ``dataset``, ``category``,
        ``metric``, ``value`` (in ``unit``), ``run`` (which of our runs answers it: ``method
        name=value ...``), ``note``.
    """
    path = Path(results) / "reported.csv"
    if not path.is_file():
        raise InputError(
            f"the papers' numbers must be in {path}, found nothing there; name the results folder"
        )
    return pd.read_csv(
        path,
        dtype={"value": float, "category": str},
        keep_default_na=False,
        na_values={"value": [""]},
    )


def compare(
    printed: pd.DataFrame, runs: pd.DataFrame, *, backbone: str | None = None
) -> pd.DataFrame:
    """Hold printed numbers against ours, a row a printed cell.

    Parameters
    ----------
    printed : DataFrame
        Rows of ``reported()``, those of other implementations included; only cells in percent.
    runs : DataFrame
        ``records.table()``, or a part of it.
    backbone : str, optional
        Only this backbone.

    Returns
    -------
    DataFrame
        ``method``, ``backbone``, ``category``, ``metric``, ``paper``, one column an implementation,
        ``ours`` (mean over seeds), ``sd``, ``n`` (seeds), ``delta`` = ours - paper, ``tolerance``,
        ``within`` (None where either number is missing), ``run``, ``command``. In percent.

    Notes
    -----
    ``tolerance`` = 2 sqrt(sd_seed^2 + sd_implementations^2): what seeds and faithful
    re-implementations differ by. The second term is 1.4826 times the median absolute difference
    between other implementations and the paper, over all cells of the same method, backbone and
    metric that both print (for normal errors that is their standard deviation; a single category
    that went wrong elsewhere does not widen it). A method that nobody else implemented borrows the
    value of its metric.
    """
    printed = printed[printed["unit"] == "percent"]
    if backbone is not None:
        printed = printed[printed["backbone"] == backbone]
    paper = printed[printed["source"] == "paper"]
    others = printed[printed["source"] != "paper"].pivot_table(
        index=KEY, columns="source", values="value", aggfunc="first", sort=False
    )
    spreads = _implementation_spread(paper, others)
    rows = []
    for cell in paper.itertuples():
        same = runs if runs.empty else runs[runs["dataset"] == cell.dataset]
        category = own_category(cell.dataset, cell.category)
        values = by_seed(select(same, cell.run, cell.backbone, category), cell.metric) * 100
        row: dict[str, Any] = {
            "method": cell.method,
            "backbone": cell.backbone,
            "category": cell.category,
            "metric": cell.metric,
            "paper": cell.value,
        }
        place = (cell.method, cell.backbone, cell.category, cell.metric)
        row |= (
            others.loc[place].to_dict() if place in others.index else dict.fromkeys(others.columns)
        )
        row |= _ours(values, cell.value, spreads, (cell.method, cell.backbone, cell.metric))
        row |= {
            "run": cell.run,
            "command": command(cell.run, cell.dataset, category, cell.backbone),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def own_category(dataset: str, printed: str) -> str:
    """Return the category here of a printed one: sets of classes are named in ascending order."""
    return "".join(sorted(printed)) if dataset == "cifar10" and printed.isdecimal() else printed


def _ours(
    values: pd.Series, printed: float, spreads: dict, cell: tuple[str, str, str]
) -> dict[str, Any]:
    n = len(values)
    mean = values.mean() if n else np.nan
    sd = values.std(ddof=1) if n > 1 else np.nan
    spread = spreads.get(cell, spreads.get(cell[2], np.nan))
    tolerance = COVERAGE * float(np.sqrt(np.nan_to_num(sd) ** 2 + spread**2))
    delta = mean - printed
    known = np.isfinite(delta) and np.isfinite(tolerance)
    return {
        "ours": mean,
        "sd": sd,
        "n": n,
        "delta": delta,
        "tolerance": tolerance,
        "within": bool(abs(delta) <= tolerance) if known else None,
    }


def _implementation_spread(paper: pd.DataFrame, others: pd.DataFrame) -> dict[Any, float]:
    """Robust standard deviation from the paper: by (method, backbone, metric) and by metric."""
    joined = paper.set_index(KEY)["value"].to_frame().join(others, how="inner")
    distance = joined[others.columns].sub(joined["value"], axis=0).abs().stack()
    if distance.empty:
        return {}
    names = distance.index.to_frame(index=False)
    cell = [names[name].to_numpy() for name in ("method", "backbone", "metric")]
    by_cell = distance.groupby(cell).median() * MAD_TO_SD
    by_metric = distance.groupby(cell[-1]).median() * MAD_TO_SD
    return by_cell.to_dict() | by_metric.to_dict()


def select(
    runs: pd.DataFrame, run: str, backbone: str | None = None, category: str | None = None
) -> pd.DataFrame:
    """Choose the runs that answer a text like ``padim reduction=gaussian dim=100``.

    Parameters that the text does not name take the method's defaults, or what the ``PRESETS`` of
    the method say where it holds ``preset=NAME``; the seed is free. The words of `PROTOCOL` name
    what is done to the data, as in ``patchcore fraction=0.1 shots=5`` or ``padim crop=256``;
    without them all training images are used, resized and cropped as the papers do. Images that
    come in one size (`SIZED`) are neither. Only float32 backbones with pinned weights count, on the
    published images: records of other images that carry the same names are left out.
    """
    if runs.empty or not run:
        return runs.iloc[:0]
    method, values = read_run(run)
    chosen = runs[(runs["method"] == method) & _standard(runs, read_protocol(run))]
    for name, value in values.items():
        if name in chosen:
            same = chosen[name].isna() if value is None else chosen[name] == value
            chosen = chosen[same]
    for name, value in (("backbone", backbone), ("category", category)):
        if value:
            chosen = chosen[chosen[name] == value]
    return chosen


def _standard(runs: pd.DataFrame, protocol: dict[str, Any] | None = None) -> pd.Series:
    chosen = (
        _column(runs, "official", True)
        # no network: nothing to be wrong about it; its precision may be a parameter of the method
        & (runs["backbone"].isna() | runs["precision"].isna() | (runs["precision"] == "float32"))
        & ~runs["weights"].isin(["random", "unverified"])
    )
    sized = _column(runs, "dataset", "").isin(SIZED)
    for name, value in (PROTOCOL | (protocol or {})).items():
        column = _column(runs, name, PROTOCOL[name])
        same = column.isna() if value is None else column == value
        chosen &= same | (sized & (name in ("resize", "crop")))
    return chosen


def _column(runs: pd.DataFrame, name: str, default: Any) -> pd.Series:
    return runs[name] if name in runs else pd.Series(default, index=runs.index)


def read_protocol(run: str) -> dict[str, Any]:
    """Return what a text like ``patchcore fraction=0.1 shots=5`` says about the data."""
    _, *settings = run.split()
    pairs = (text.partition("=") for text in settings)
    return {name: parameters.read_scalar(value) for name, _, value in pairs if name in PROTOCOL}


def read_run(run: str) -> tuple[str, dict[str, Any]]:
    """Split ``method name=value ...`` into the method and its effective parameters but the seed."""
    method, values = _read_run(run)
    return method, dict(values)


@functools.cache
def _read_run(run: str) -> tuple[str, dict[str, Any]]:
    from adlib.evaluate import METHODS

    method, *settings = run.split()
    values = {
        name: parameters.read_scalar(value)
        for name, _, value in (text.partition("=") for text in settings)
        if name not in PROTOCOL
    }
    if method not in METHODS:
        raise InputError(parameters.unknown("method", method, METHODS))
    if (name := values.pop("preset", None)) is not None:
        values = parameters.preset(METHODS[method], name, values)
    effective = METHODS[method].effective(parameters.check(METHODS[method], values))
    return method, {name: value for name, value in effective.items() if name != "seed"}


def command(run: str, dataset: str, category: str, backbone: str, seeds: str = "0-4") -> str:
    """Return the command that makes the runs of a printed cell."""
    if not run:
        return ""
    method, *settings = run.split()
    options = " ".join(map(option, settings))
    where = f"--dataset {dataset} --root DIR --category {category}"
    network = f"--backbone {backbone}" if backbone else ""
    words = ["adlib evaluate", method, where, network, options, f"--seed {seeds}"]
    return " ".join(word for word in words if word)


def option(setting: str) -> str:
    """Return the option of ``adlib evaluate`` for one ``name=value`` of a run's text."""
    name, _, value = setting.partition("=")
    if name == "preset":
        return f"--preset {value}"
    if name not in PROTOCOL:
        return f"--set {setting}"
    if value in ("true", "false"):
        return f"--{name}" if value == "true" else ""
    return f"--{name} {'0' if value == 'null' else value}"


def by_seed(runs: pd.DataFrame, metric: str) -> pd.Series:
    """Return one value a seed (a seed run twice, with other weight files, counts once)."""
    if runs.empty or metric not in runs:
        return pd.Series(dtype=float)
    values = runs.dropna(subset=[metric])
    return values.assign(seed=values["seed"].fillna(0)).groupby("seed")[metric].first()


def dimension_curve(
    backbone: str = "resnet18", metric: str = "pixel_auroc", results: Path | str = "results"
) -> pd.DataFrame:
    """Return the measured dimension ablation (the report's Fig. 3), a row a run.

    Returns
    -------
    DataFrame
        ``category``, ``reduction``, ``dim`` (m, after the reduction), ``eps_scale``, ``seed``,
        ``value`` (fraction), ``n_train``, ``channels`` (D); empty where nothing is recorded.
    """
    columns = ["category", "reduction", "dim", "eps_scale", "seed", "value", "n_train", "channels"]
    runs = records.table(results)
    if runs.empty or metric not in runs:
        return pd.DataFrame(columns=columns)
    chosen = runs[
        (runs["method"] == "padim")
        & (runs["dataset"] == "mvtec_ad")
        & (runs["backbone"] == backbone)
        & _standard(runs)
        & (runs["eps"] == 0.01)
        & (runs["sigma"] == 4.0)
        & (runs["image_score"] == "smoothed")
    ].dropna(subset=[metric])
    chosen = chosen.assign(
        dim=chosen["reduced_dim"], value=chosen[metric], seed=chosen["seed"].fillna(0).astype(int)
    )
    order = ["category", "reduction", "eps_scale", "dim", "seed"]
    return chosen[columns].sort_values(order, ignore_index=True)


class Paired(NamedTuple):
    """A paired comparison A - B.

    Attributes
    ----------
    by_category : DataFrame
        ``category``, ``difference`` (mean over seeds), ``sd``, ``n``, ``wins`` (seeds where A > B).
    mean, low, high : float
        Mean over categories and seeds with a 95 % interval.
    n_seeds, n_categories : int
    p_value : float
        Two-sided t-test of the mean difference against 0.
    """

    by_category: pd.DataFrame
    mean: float
    low: float
    high: float
    n_seeds: int
    n_categories: int
    p_value: float


def paired(a: pd.DataFrame, b: pd.DataFrame, value: str = "value") -> Paired | None:
    """Compare two sets of runs over the same categories and seeds.

    Each seed gives one number: its mean difference over the categories. The interval is Student's t
    over seeds: it says how the result would vary with other random draws on *these* categories, not
    how it would vary with other categories.

    Parameters
    ----------
    a, b : DataFrame
        With ``category``, ``seed`` and the column `value`. Runs that draw nothing (no seed, or -1)
        are compared with every seed of the other side.

    Returns
    -------
    Paired or None
        None where fewer than two seeds are common to both in at least one category.
    """
    left, right = (
        runs.assign(seed=runs["seed"].fillna(SEEDLESS)).pivot_table(
            index="seed", columns="category", values=value
        )
        for runs in (a, b)
    )
    left, right = _spread(left, right), _spread(right, left)
    difference = (left - right).dropna(axis=1, how="all").dropna(axis=0)
    if len(difference) < 2 or difference.shape[1] == 0:
        return None
    per_seed = difference.mean(axis=1)
    test = stats.ttest_1samp(per_seed, 0.0) if per_seed.std() > 0 else None
    low, high = test.confidence_interval(0.95) if test is not None else (per_seed.mean(),) * 2
    by_category = pd.DataFrame(
        {
            "category": difference.columns,
            "difference": difference.mean().to_numpy(),
            "sd": difference.std(ddof=1).to_numpy(),
            "n": len(difference),
            "wins": (difference > 0).sum().to_numpy(),
        }
    )
    p_value = float(test.pvalue) if test is not None else float("nan")
    return Paired(
        by_category,
        float(per_seed.mean()),
        float(low),
        float(high),
        len(difference),
        difference.shape[1],
        p_value,
    )


def _spread(lone: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Repeat a result that depends on no seed for every seed of the other side."""
    if list(lone.index) != [SEEDLESS] or list(other.index) == [SEEDLESS]:
        return lone
    return pd.DataFrame([lone.iloc[0]] * len(other), index=other.index)


def mean_sd(values: pd.Series, digits: int = 2) -> str:
    """Write ``mean ± sd (n)``; the sd only for n > 1, a dash for nothing."""
    if not len(values):
        return "–"
    sd = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{sd} ({len(values)})"
