"""What was measured, as tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from adlib import report
from adlib.claims import Evidence
from adlib.claims.evidence import sample_of
from adlib.claims.verdict import signed
from adlib.fragments.markdown import escape, table
from adlib.records import Record

ARMS = {
    "channels (PaDiM)": "padim reduction=coordinate dim=100",
    "Gaussian (JL)": "padim reduction=gaussian dim=100",
    "Haar": "padim reduction=haar dim=100",
    "all channels": "padim reduction=none",
}
METRICS = {"pixel_auroc": "pixel AUROC", "aupro": "AUPRO", "image_auroc": "image AUROC"}
NETWORKS = {"resnet18": "ResNet-18", "efficientnet_lite0": "EfficientNet-Lite0"}
# eps of the coordinates divided by D/m = 448/100: what Eq. 6 does to the weight of the regulariser
SMALL_EPS = "padim reduction=coordinate dim=100 eps=0.002232142857142857"
CONTRASTS = {
    "Gaussian − channels, eps as printed": (ARMS["Gaussian (JL)"], ARMS["channels (PaDiM)"]),
    "Gaussian − channels, eps matched": (
        "padim reduction=gaussian dim=100 eps_scale=matched",
        "padim reduction=coordinate dim=100 eps_scale=matched",
    ),
    "Gaussian, eps as printed − matched": (
        ARMS["Gaussian (JL)"],
        "padim reduction=gaussian dim=100 eps_scale=matched",
    ),
    "Haar − channels, equal weight of eps": (ARMS["Haar"], ARMS["channels (PaDiM)"]),
    "channels with eps m/D − channels": (SMALL_EPS, ARMS["channels (PaDiM)"]),
    "Gaussian − channels with eps m/D": (ARMS["Gaussian (JL)"], SMALL_EPS),
    "all channels − Gaussian": (ARMS["all channels"], ARMS["Gaussian (JL)"]),
}


def glance(evidence: Evidence) -> str:
    """Return, for each network, pixel and image AUROC of every category at m = 100.

    Percent, mean ± standard deviation over seeds (number of seeds); beside the pixel AUROC what
    the JL report prints.
    """
    parts = []
    for backbone, name in NETWORKS.items():
        for metric in ("pixel_auroc", "image_auroc"):
            text = by_category(evidence, backbone, metric)
            if text:
                title = METRICS[metric][0].upper() + METRICS[metric][1:]
                parts.append(
                    f"{title} on MVTec AD, {name}, 100 dimensions; percent, mean ± sd (seeds):"
                    f"\n\n{text}"
                )
    return "\n\n".join(parts) or "Nothing is recorded on MVTec AD yet."


def answer(evidence: Evidence) -> str:
    """Return the paired contrasts at m = 100: projections against channels, and what eps does."""
    parts = []
    for backbone, name in NETWORKS.items():
        rows = []
        for label, (a, b) in CONTRASTS.items():
            found = {metric: evidence.paired(a, b, backbone, metric) for metric in METRICS}
            first = found["pixel_auroc"]
            if first is not None:
                wins, pairs = first.by_category["wins"].sum(), first.by_category["n"].sum()
                shown = ["–" if f is None else interval(f) for f in found.values()]
                rows.append([label, *shown, f"{wins} of {pairs}", sample_of(first)])
        if rows:
            header = [f"{name}, m = 100", *METRICS.values(), "ahead in pixel AUROC", "over"]
            parts.append(table(header, rows, numbers=range(1, len(header))))
    if not parts:
        return "Nothing that could be compared is recorded yet."
    note = (
        "Paired differences in percentage points on MVTec AD with 95 % intervals over seeds, not "
        "corrected for their number. *Matched* scales eps like the variance of a reduced "
        "coordinate; *eps m/D* gives PaDiM's channels the weaker regulariser that Eq. 6 implies."
    )
    return "\n\n".join([in_words(evidence), note, *parts])


def in_words(evidence: Evidence) -> str:
    """Return the answer of the JL chapter, a line a network; every word follows a number."""
    lines = []
    for backbone, name in NETWORKS.items():
        gain, matched, haar = (
            evidence.paired(*CONTRASTS[label], backbone, "pixel_auroc")
            for label in (
                "Gaussian − channels, eps as printed",
                "Gaussian − channels, eps matched",
                "Haar − channels, equal weight of eps",
            )
        )
        if gain is None:
            continue
        spread = gain.by_category.set_index("category")["difference"]
        text = (
            f"- **{name}:** against a choice of 100 channels the Gaussian projection is "
            f"{standing(gain)} in pixel AUROC, from {signed(spread.min())} ({spread.idxmin()}) to "
            f"{signed(spread.max())} ({spread.idxmax()}) points by category"
        )
        if matched is not None and haar is not None:
            text += (
                f"; with eps matched it is {standing(matched)}, and Haar's orthonormal rows, to "
                f"which eps weighs the same anyway, are {standing(haar)}"
            )
        lines.append(f"{text}.{over_categories(spread)}")
    return "\n".join(lines)


def over_categories(differences: pd.Series) -> str:
    """Say what the mean owes to single categories, and whether it holds beyond these."""
    number = len(differences)
    if number < 2:
        return " This is one category and says nothing about others."
    mean = differences.mean()
    without = (differences.sum() - differences) / (number - 1)
    most = (without - mean).abs().idxmax()
    spread = differences.std(ddof=1)
    half = stats.t.ppf(0.975, number - 1) * spread / np.sqrt(number)
    low, high = mean - half, mean + half
    beyond = "it contains 0, so these categories are too few to say whether it holds for others"
    if not low <= 0 <= high:
        beyond = "it excludes 0, as far as other categories are like these"
    return (
        f" With one category left out in turn the mean lies between {signed(without.min())} and "
        f"{signed(without.max())}; it changes most without {most} ({signed(without[most])}). Over "
        f"the means of the {number} categories the 95 % interval is [{signed(low)}, "
        f"{signed(high)}]: {beyond}."
    )


def standing(found: report.Paired) -> str:
    """Say which side a comparison favours, with its interval."""
    if found.low <= 0 <= found.high:
        return f"not told apart ({interval(found)})"
    return f"{'ahead' if found.mean > 0 else 'behind'} ({interval(found)})"


def counts(made: Sequence[Record]) -> str:
    """Return images and masks of every category that a record was made on."""
    seen = {}
    for record in made:
        if "shots" in record["identity"]:
            continue  # a draw of the training images, not the data set
        dataset = record["identity"]["dataset"]
        place = (dataset["name"], dataset["category"], dataset["fingerprint"][:12])
        seen[place] = record["counts"]
    rows = [
        [
            *map(escape, place[:2]),
            number["train"],
            number["test"],
            number["anomalous"],
            number["masks"],
            number["masks_empty"],
            f"`{place[2]}`",
        ]
        for place, number in sorted(seen.items())
    ]
    header = [
        "Data set",
        "Category",
        "Training images",
        "Test images",
        "of these anomalous",
        "Masks",
        "Masks lost by the crop",
        "Fingerprint",
    ]
    return table(header, rows, numbers=range(2, 7)) if rows else "Nothing is recorded yet."


def interval(found: report.Paired) -> str:
    """Write a mean difference with its interval."""
    return f"{signed(found.mean)} [{signed(found.low)}, {signed(found.high)}]"


def _mean_sd(values: pd.Series) -> str:
    """``report.mean_sd`` that does not break behind the sign."""
    return report.mean_sd(values).replace("± ", "±\u00a0")


def by_category(evidence: Evidence, backbone: str, metric: str) -> str:
    """Return a metric of every arm by category beside the JL report's; empty without a run."""
    arms = {name: evidence.values(run, backbone, metric) for name, run in ARMS.items()}
    arms = {name: runs for name, runs in arms.items() if len(runs)}
    if not arms:
        return ""
    categories = sorted(set().union(*(runs["category"] for runs in arms.values())))
    printed = _printed(evidence, backbone, metric)
    rows = [
        [
            escape(category),
            *(_mean_sd(r.loc[r["category"] == category, "value"]) for r in arms.values()),
            *(_number(column.get(category)) for column in printed.values()),
        ]
        for category in categories
    ]
    means = [runs.groupby("category")["value"].mean() for runs in arms.values()]
    whole = [f"{m.mean():.2f}" if len(m) == len(categories) else "–" for m in means]
    if len(categories) > 1:
        both = [column.reindex(categories).mean() for column in printed.values()]
        rows.append([f"mean of {len(categories)}", *whole, *map(_number, both)])
    header = ["Category", *arms, *printed]
    return table(header, rows, numbers=range(1, len(header)))


def _printed(evidence: Evidence, backbone: str, metric: str) -> dict[str, pd.Series]:
    rows = evidence.printed
    rows = rows[
        (rows["paper"] == "jl_padim")
        & (rows["where"] == "Table 1")
        & (rows["backbone"] == backbone)
        & (rows["metric"] == metric)
    ]
    names = {"padim": "report: PaDiM", "jl_padim": "report: JL"}
    columns = {
        name: rows[rows["method"] == method].set_index("category")["value"]
        for method, name in names.items()
    }
    return {name: column for name, column in columns.items() if len(column)}


def _number(value: float | None) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.1f}"
