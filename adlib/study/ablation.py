"""The dimension ablation of the JL report (its Fig. 3), as paired differences."""

from __future__ import annotations

import pandas as pd

from adlib import records
from adlib.report import Paired, paired, select

ARMS = {
    ("coordinate", "nominal"): "coordinate (PaDiM)",
    ("coordinate", "matched"): "coordinate, matched eps",
    ("gaussian", "nominal"): "Gaussian (Eq. 6)",
    ("gaussian", "matched"): "Gaussian, matched eps",
    ("haar", "nominal"): "Haar (Section 3)",
    ("haar", "matched"): "Haar, matched eps",
}
"""What a pair of reduction and eps_scale is called in figures and tables."""


def arm(curve: pd.DataFrame, reduction: str, eps_scale: str = "nominal") -> pd.DataFrame:
    """Return the runs of one arm of ``report.dimension_curve()``."""
    return curve[(curve["reduction"] == reduction) & (curve["eps_scale"] == eps_scale)]


def by_dimension(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over categories as a table, dimensions in rows, seeds in columns.

    A seed counts only where every category of the table has it: else the mean over categories
    would compare different categories.
    """
    cells = runs.pivot_table(index=["dim", "seed"], columns="category", values="value")
    return cells.dropna().mean(axis=1).unstack("seed")


def gains(
    curve: pd.DataFrame, baseline: tuple[str, str] = ("coordinate", "nominal")
) -> pd.DataFrame:
    """Compare every arm with the baseline at equal dimension, paired over categories and seeds.

    Parameters
    ----------
    curve : DataFrame
        ``report.dimension_curve()``.
    baseline : (reduction, eps_scale)

    Returns
    -------
    DataFrame
        ``arm``, ``reduction``, ``eps_scale``, ``dim``, ``gain``, ``low``, ``high`` (95 %,
        percentage points), ``wins`` and ``pairs`` (category-seed pairs), ``n_seeds``,
        ``n_categories``, ``p_value``; a row an arm and dimension that has at least two seeds.
    """
    rows = []
    reference = arm(curve, *baseline)
    for (reduction, eps_scale), name in ARMS.items():
        runs = arm(curve, reduction, eps_scale)
        for dim in sorted(runs["dim"].unique()):
            test = paired(runs[runs["dim"] == dim], reference[reference["dim"] == dim])
            if test is not None and (reduction, eps_scale) != baseline:
                rows.append(
                    {"arm": name, "reduction": reduction, "eps_scale": eps_scale, "dim": int(dim)}
                    | _row(test)
                )
    return pd.DataFrame(rows)


def ceiling(curve: pd.DataFrame) -> pd.Series:
    """Return the value without reduction, by category."""
    return curve[curve["reduction"] == "none"].groupby("category")["value"].mean()


def _row(test: Paired) -> dict[str, float]:
    return {
        "gain": test.mean * 100,
        "low": test.low * 100,
        "high": test.high * 100,
        "wins": int(test.by_category["wins"].sum()),
        "pairs": int(test.by_category["n"].sum()),
        "n_seeds": test.n_seeds,
        "n_categories": test.n_categories,
        "p_value": test.p_value,
    }


def gain_table(gains: pd.DataFrame) -> pd.DataFrame:
    """Lay out ``gains`` for a page: a row an arm, a column a dimension."""
    cell = gains.assign(
        text=[f"{r.gain:+.2f} [{r.low:+.2f}, {r.high:+.2f}]" for r in gains.itertuples()]
    )
    wide = cell.pivot(index="arm", columns="dim", values="text").fillna("–")
    order = [name for name in ARMS.values() if name in wide.index]
    return wide.loc[order].rename(columns=lambda dim: f"m = {dim}").reset_index()


def decomposition(runs: pd.DataFrame, backbone: str, dim: int = 100) -> str:
    """Say in Markdown how much of the Gaussian's gain at one dimension the regulariser explains.

    Every line is a paired difference from coordinates with eps as printed.
    """
    controls = control_gains(runs, backbone, dim)
    if not controls:
        return "No paired records yet."
    lines = [
        "| against coordinates, eps as printed | pixel AUROC [points] | AUPRO [points] "
        "| image AUROC [points] | seeds x categories |",
        "|:--|--:|--:|--:|--:|",
    ]
    for name, by_metric in controls.items():
        cells = [
            _interval(by_metric.get(metric)) for metric in ("pixel_auroc", "aupro", "image_auroc")
        ]
        test = next(iter(by_metric.values()))
        lines.append(f"| {name} | {' | '.join(cells)} | {test.n_seeds} x {test.n_categories} |")
    return "\n".join(lines)


def control_gains(
    runs: pd.DataFrame, backbone: str, dim: int = 100
) -> dict[str, dict[str, Paired]]:
    """Compare the Gaussian and its controls with coordinates at one dimension, for every metric."""
    channels = _channels(runs, backbone)
    if channels is None:
        return {}
    smaller = 0.01 * dim / channels
    controls = {
        "Gaussian (Eq. 6)": f"padim reduction=gaussian dim={dim}",
        "Gaussian, eps matched (x D/m)": f"padim reduction=gaussian dim={dim} eps_scale=matched",
        "Haar": f"padim reduction=haar dim={dim}",
        "coordinates, eps / (D/m)": f"padim reduction=coordinate dim={dim} eps={smaller!r}",
        "all channels": "padim reduction=none",
    }
    baseline = select(runs, f"padim reduction=coordinate dim={dim}", backbone)
    found: dict[str, dict[str, Paired]] = {}
    for name, run in controls.items():
        for metric in ("pixel_auroc", "aupro", "image_auroc"):
            test = paired(select(runs, run, backbone), baseline, metric)
            if test is not None:
                found.setdefault(name, {})[metric] = test
    return found


def second_network(results: str, backbone: str) -> str:
    """Say in Markdown what the same comparison gives with another backbone."""
    runs = records.table(results)
    text = decomposition(runs, backbone)
    return f"{backbone}, m = 100:\n\n{text}"


def cost_table(runs: pd.DataFrame, backbone: str) -> pd.DataFrame:
    """Return model size and time against m, and both relative to the largest m.

    Returns
    -------
    DataFrame
        Median over categories and seeds of runs on the CPU; a row a dimension.
    """
    if runs.empty:
        return runs
    chosen = runs[
        (runs["method"] == "padim")
        & (runs["backbone"] == backbone)
        & (runs["reduction"] == "gaussian")
        & (runs["device"] == "cpu")
        & runs["official"]
    ]
    if chosen.empty:
        return pd.DataFrame()
    per_image = chosen["seconds_score"] / chosen["n_test"] * 1000
    grouped = chosen.assign(score_ms=per_image).groupby("reduced_dim")
    median = grouped[["model_mb", "seconds_fit", "score_ms"]].median()
    largest = median.iloc[-1]
    out = pd.DataFrame(
        {
            "model [MB]": median["model_mb"].map("{:.0f}".format),
            "fit [s]": median["seconds_fit"].map("{:.1f}".format),
            "score [ms an image]": median["score_ms"].map("{:.1f}".format),
            "model, relative": (median["model_mb"] / largest["model_mb"]).map("{:.2f}".format),
            "score, relative": (median["score_ms"] / largest["score_ms"]).map("{:.2f}".format),
        }
    )
    out.index = [f"m = {int(dim)}" for dim in out.index]
    return out


def summary(curve: pd.DataFrame, gains: pd.DataFrame, runs: pd.DataFrame, name: str) -> str:
    """Say in Markdown what the records answer; every number computed."""
    if gains.empty:
        return "No paired records yet."
    lines = []
    at = gains[(gains["reduction"] == "gaussian") & (gains["eps_scale"] == "nominal")]
    for row in at.itertuples():
        lines.append(
            f"- m = {row.dim}: Gaussian minus coordinates **{row.gain:+.2f}** points of {name} "
            f"[{row.low:+.2f}, {row.high:+.2f}], ahead in {row.wins} of {row.pairs} "
            "category-seed pairs."
        )
    spread = {
        reduction: seed_spread(curve, reduction) for reduction in ("coordinate", "gaussian", "haar")
    }
    lines.append(
        "- Standard deviation over seeds at m = 100, mean over categories: "
        + ", ".join(
            f"{reduction} {value * 100:.2f}"
            for reduction, value in spread.items()
            if value is not None
        )
        + " points."
    )
    return "\n".join(lines)


def seed_spread(curve: pd.DataFrame, reduction: str, dim: int = 100) -> float | None:
    """Return the standard deviation over seeds at one dimension, averaged over categories."""
    runs = arm(curve, reduction)
    sd = runs[runs["dim"] == dim].groupby("category")["value"].std()
    return None if sd.dropna().empty else float(sd.mean())


def _channels(runs: pd.DataFrame, backbone: str) -> int | None:
    chosen = runs[runs["backbone"] == backbone] if len(runs) else runs
    return int(chosen["channels"].iloc[0]) if len(chosen) else None


def _interval(test: Paired | None) -> str:
    if test is None:
        return "–"
    return f"{test.mean * 100:+.2f} [{test.low * 100:+.2f}, {test.high * 100:+.2f}]"
