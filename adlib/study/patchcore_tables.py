"""Tables 1-3 of the PatchCore paper: its printed means, and ours from records.

The paper prints means over the fifteen categories of MVTec AD. Ours are means over the categories
that were run, and a mean exists only where every one of them was: else it would be a mean over
other categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from adlib.datasets.mvtec_ad import OFFICIAL_COUNTS
from adlib.evaluate import Run
from adlib.report import by_seed, mean_sd, paired, select
from adlib.study.tables import NOT_RUN, NOTHING

DATASET = "mvtec_ad"
BACKBONES = {
    "resnet18": "ResNet-18",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "wide_resnet50_2": "WideResNet-50",
}
PAPERS_BACKBONE = "wide_resnet50_2"
NAMES = {
    "spade": "SPADE", "patch_svdd": "PatchSVDD", "differnet": "DifferNet", "padim": "PaDiM",
    "mah_ad": "Mah. AD", "padim_star": "PaDiM\\*", "ae_ssim": "AE-SSIM",
    "gamma_vae_grad": "γ-VAE + grad.", "cavga_rw": "CAVGA-Rw", "cavga_ru": "CAVGA-Ru",
    "student": "Student", "ganomaly": "GANomaly", "1nn": "1-NN",
    "patchcore_25": "PatchCore-25 %", "patchcore_10": "PatchCore-10 %",
    "patchcore_1": "PatchCore-1 %", "patchcore_100": "PatchCore-100 %",
    "patchcore_100_ivfpq": "PatchCore-100 % + IVFPQ",
    "thumbnail": "Thumbnails, no network",
}  # fmt: skip
"""What ``reported.csv`` calls a method, and what a table calls it."""
METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}
WHERE = {"image_auroc": "Table 1", "pixel_auroc": "Table 2", "aupro": "Table 3"}


def rows(backbone: str) -> dict[str, str]:
    """Return which of our runs answers a method of the tables: its name in `NAMES` -> the run.

    SPADE and 1-NN compare images on the last level; of ResNet-18 the weights end at level 3. SPADE
    ran on every second row and column there, a tenth of the cost.
    """
    level = " image_level=3" if backbone == "resnet18" else ""
    dim = 550 if backbone == PAPERS_BACKBONE else 100
    return {
        "patchcore_25": "patchcore fraction=0.25",
        "patchcore_10": "patchcore fraction=0.1",
        "patchcore_1": "patchcore fraction=0.01",
        "patchcore_100": "patchcore subsampler=none",
        "patchcore_100_ivfpq": "patchcore subsampler=none search=ivfpq",
        "padim": f"padim dim={dim}",
        "spade": f"spade{level} pixel_stride=2" if level else "spade",
        "1nn": f"one_nn{level}",
    }


def of_mvtec(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs on MVTec AD."""
    return runs[runs["dataset"] == DATASET] if len(runs) else runs


def categories(runs: pd.DataFrame) -> list[str]:
    """List MVTec AD's categories of which there is at least one run of these tables."""
    found = of_mvtec(runs)
    return sorted(set(found["category"]) & set(OFFICIAL_COUNTS)) if len(found) else []


def over_categories(
    runs: pd.DataFrame,
    run: str,
    backbone: str,
    metric: str,
    names: Sequence[str],
    how: str = "mean",
) -> pd.Series:
    """Return one number a seed: the mean, or the sum, over categories.

    Parameters
    ----------
    runs : DataFrame
        ``records.table()``.
    run : str
        As ``report.select`` reads it.
    backbone, metric : str
    names : sequence of str
        The categories; a seed counts only where all of them have it.
    how : {'mean', 'sum'}

    Returns
    -------
    Series
        By seed, in the metric's own unit; empty where nothing is complete.
    """
    chosen = select(of_mvtec(runs), run, backbone)
    cells = {name: by_seed(chosen[chosen["category"] == name], metric) for name in names}
    if not cells or any(values.empty for values in cells.values()):
        return pd.Series(dtype=float)
    return pd.DataFrame(cells).dropna().agg(how, axis=1)


def printed_means(printed: pd.DataFrame, metric: str, where: str | None = None) -> pd.Series:
    """Return the paper's means over fifteen categories in its own order, by method, percent."""
    chosen = _of_paper(printed, metric)
    chosen = chosen[(chosen["category"] == "mean") & (chosen["where"] == (where or WHERE[metric]))]
    return chosen.set_index("method")["value"]


def printed_by_category(printed: pd.DataFrame, metric: str, method: str) -> pd.Series:
    """Return the paper's numbers by category in percent, empty where there are none at hand."""
    chosen = _of_paper(printed, metric)
    chosen = chosen[
        (chosen["method"] == method)
        & chosen["category"].isin(OFFICIAL_COUNTS)
        & chosen["backbone"].isin([PAPERS_BACKBONE, ""])
    ]
    return chosen.groupby("category")["value"].first()


def _of_paper(printed: pd.DataFrame, metric: str) -> pd.DataFrame:
    chosen = (printed["paper"] == "patchcore") & (printed["dataset"] == DATASET)
    return printed[chosen & (printed["metric"] == metric)]


def _printed_over(
    printed: pd.DataFrame, metric: str, method: str, names: Sequence[str]
) -> float | None:
    """Return the paper's mean over just these categories, None unless it prints all of them."""
    values = printed_by_category(printed, metric, method)
    return float(values[list(names)].mean()) if names and set(names) <= set(values.index) else None


def means_table(runs: pd.DataFrame, printed: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Lay out Table 1, 2 or 3, turned: a row a method, the paper's means beside ours, in percent.

    Parameters
    ----------
    runs : DataFrame
        ``records.table()``.
    printed : DataFrame
        ``report.reported()``.
    metric : {'image_auroc', 'pixel_auroc', 'aupro'}

    Returns
    -------
    DataFrame
        A column for the printed mean over fifteen categories, one for the paper's mean over the
        categories that were run (where it prints them), one a backbone of ours: mean over
        categories, as mean ± sd (seeds). ``not run`` where a category is missing.
    """
    names = categories(runs)
    quoted = printed_means(printed, metric)
    elsewhere = printed_means(printed, metric, "Table 5")
    ours = rows("resnet18")
    table = []
    for method in [*quoted.index, *(name for name in ours if name not in quoted.index)]:
        same = _printed_over(printed, metric, method, names)
        row = {
            "method": NAMES.get(method, method),
            "paper, 15 categories": _printed(method, quoted, elsewhere),
            f"paper, these {len(names)}": NOTHING if same is None else f"{same:.1f}",
        }
        for backbone, title in BACKBONES.items():
            row[f"{title}, ours"] = (
                _ours(over_categories(runs, rows(backbone)[method], backbone, metric, names))
                if method in ours and not (method == "1nn" and metric != "image_auroc")
                else NOTHING
            )
        table.append(row)
    out = pd.DataFrame(table).set_index("method")
    same = f"paper, these {len(names)}"
    return out.drop(columns=same) if (out[same] == NOTHING).all() else out


def _printed(method: str, quoted: pd.Series, elsewhere: pd.Series) -> str:
    if method in quoted.index:
        return f"{quoted[method]:.1f}"
    return f"{elsewhere[method]:.1f} (Table 5)" if method in elsewhere.index else NOTHING


def _ours(values: pd.Series) -> str:
    return mean_sd(values * 100) if len(values) else NOT_RUN


def misclassified_table(runs: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """Lay out the misclassifications of Table 1: images on the wrong side of the best threshold.

    Returns
    -------
    DataFrame
        A row a method: the printed count, and ours summed over the categories that were run, as
        mean ± sd over seeds; each with its share of the test images.
    """
    names = categories(runs)
    images = sum(OFFICIAL_COUNTS[name][1] for name in names)
    everything = sum(test for _, test in OFFICIAL_COUNTS.values())
    quoted = _of_paper(printed, "f1_misclassified")
    quoted = quoted[quoted["category"] == "sum"].set_index("method")["value"]
    table = []
    for method in rows("resnet18"):
        row = {
            "method": NAMES[method],
            f"paper, of {everything}": _count(quoted[[method]], everything)
            if method in quoted.index
            else NOTHING,
        }
        for backbone, title in BACKBONES.items():
            values = over_categories(
                runs, rows(backbone)[method], backbone, "f1_misclassified", names, "sum"
            )
            row[f"{title}, of {images}"] = _count(values, images)
        table.append(row)
    return pd.DataFrame(table).set_index("method")


def _count(values: pd.Series, images: int) -> str:
    """Write a count as mean ± sd over seeds with its share: counts of one run are whole."""
    if not len(values):
        return NOT_RUN
    digits = 0 if values.nunique() == 1 else 1
    sd = f" ± {values.std(ddof=1):.1f}" if digits else ""
    return f"{values.mean():.{digits}f}{sd} ({values.mean() / images * 100:.1f} %)"


def category_table(
    runs: pd.DataFrame, printed: pd.DataFrame, backbone: str, metric: str
) -> pd.DataFrame:
    """Lay out one metric by category: a row a category, a column a method, in percent.

    Returns
    -------
    DataFrame
        Ours as mean ± sd (seeds); the paper's PatchCore-1 % beside it where it is at hand. Below,
        the mean over the categories that were run, and how many of MVTec AD were not.
    """
    names = categories(runs)
    paper = printed_by_category(printed, metric, "patchcore_1")
    methods = {
        method: run
        for method, run in rows(backbone).items()
        if method != "patchcore_100_ivfpq" and not (method == "1nn" and metric != "image_auroc")
    }
    table = {}
    for name in names:
        table[name] = {"paper, 1 %": f"{paper[name]:.1f}" if name in paper.index else NOTHING} | {
            NAMES[method]: _ours(
                by_seed(select(of_mvtec(runs), run, backbone, name), metric).dropna()
            )
            for method, run in methods.items()
        }
    same = _printed_over(printed, metric, "patchcore_1", names)
    table["mean"] = {"paper, 1 %": NOTHING if same is None else f"{same:.1f}"} | {
        NAMES[method]: _ours(over_categories(runs, run, backbone, metric, names))
        for method, run in methods.items()
    }
    left = len(OFFICIAL_COUNTS) - len(names)
    if left:
        rest = paper.drop(names, errors="ignore")
        table[f"the other {left}"] = {
            "paper, 1 %": f"{rest.mean():.1f}" if len(rest) == left else NOTHING
        } | {NAMES[method]: NOT_RUN for method in methods}
    out = pd.DataFrame(table).T
    empty = [name for name in out if (out[name] == NOTHING).all()]
    return out.drop(columns=empty)


def relation(runs: pd.DataFrame, printed: pd.DataFrame) -> str:
    """Say in Markdown how a mean over our categories relates to the paper's over fifteen."""
    names = categories(runs)
    shown = ", ".join(names)
    head = f"Our means are over {len(names)} of the {len(OFFICIAL_COUNTS)} categories ({shown})"
    parts = []
    for metric, title in METRICS.items():
        same = _printed_over(printed, metric, "patchcore_1", names)
        whole = printed_means(printed, metric).get("patchcore_1")
        if same is not None and whole is not None:
            parts.append(f"{title} {same:.2f} here and {whole:.1f} there ({same - whole:+.2f})")
    if not names:
        return "Nothing is recorded on MVTec AD yet."
    if not parts:
        return (
            f"{head}; what the paper gets on just these is not at hand, so a difference from its "
            "means mixes the choice of categories with the network and with the method."
        )
    return (
        f"{head}. The paper's own PatchCore-1 % has on just these, and on all: {'; '.join(parts)}. "
        "That difference is the choice of categories alone, before network or method play a part."
    )


def missing_commands(runs: pd.DataFrame) -> list[str]:
    """Return the commands that fill every empty cell, as short as they go.

    They name no category: they run all that the folder holds, and what is recorded is read.
    """
    commands = []
    for backbone in BACKBONES:
        level = " --set image_level=3" if backbone == "resnet18" else ""
        dim = rows(backbone)["padim"].rpartition("=")[2]
        asked = {
            ("patchcore_25", "patchcore_10", "patchcore_1"): (
                "patchcore", "--set fraction=0.25,0.1,0.01 --seed 0-2",
            ),
            ("patchcore_100", "patchcore_100_ivfpq"): (
                "patchcore", "--set subsampler=none --set search=exact,ivfpq",
            ),
            ("padim",): ("padim", f"--set dim={dim} --seed 0-4"),
            ("spade",): ("spade", f"{level.strip()} --set pixel_stride=2" if level else ""),
            ("1nn",): ("one_nn", level.strip()),
        }  # fmt: skip
        for methods, (method, settings) in asked.items():
            lacking = any(
                over_categories(
                    runs, rows(backbone)[name], backbone, "image_auroc", list(OFFICIAL_COUNTS)
                ).empty
                for name in methods
            )
            if lacking:
                where = f"--dataset {DATASET} --root DIR --backbone {backbone}"
                commands.append(f"adlib evaluate {method} {where} {settings}".strip())
    return commands


def live(runs: Mapping[tuple[str, str, int], Run]) -> pd.DataFrame:
    """Summarise the runs of a notebook, a row a category and method.

    Parameters
    ----------
    runs : mapping of (category, method's title, seed) to ``evaluate.Run``

    Returns
    -------
    DataFrame
        Metrics in percent and misclassified images, as mean ± sd (seeds); a dash where a method or
        the data do not allow a metric.
    """
    found = pd.DataFrame(
        {"category": category, "method": title} | run.record["metrics"]
        for (category, title, _), run in runs.items()
    )
    shown = {name: found.get(name, np.nan) for name in METRICS}
    grouped = found.assign(**shown).groupby(["category", "method"], sort=False)
    cells = {
        title: grouped[name].agg(lambda values: mean_sd(values.dropna() * 100))
        for name, title in METRICS.items()
    }
    wrong = {"misclassified": grouped["f1_misclassified"].agg(lambda values: mean_sd(values, 1))}
    return pd.DataFrame(cells | wrong).reset_index().set_index("category")


def summary(runs: pd.DataFrame, printed: pd.DataFrame, backbone: str = "resnet18") -> str:
    """Say in Markdown what the records answer; every number computed."""
    names, answers = categories(runs), rows(backbone)
    lines = []
    for metric, title in METRICS.items():
        cells = {
            method: over_categories(runs, answers[method], backbone, metric, names)
            for method in ("patchcore_25", "patchcore_10", "patchcore_1")
        }
        if not all(map(len, cells.values())):
            continue
        quoted = printed_means(printed, metric)
        ours = " / ".join(f"{values.mean() * 100:.2f}" for values in cells.values())
        theirs = " / ".join(f"{quoted[method]:.1f}" for method in cells)
        lines.append(
            f"- {title} of PatchCore with 25 / 10 / 1 % of the patches: **{ours}** on "
            f"{len(names)} categories with {BACKBONES[backbone]}; the paper's, on 15 with "
            f"{BACKBONES[PAPERS_BACKBONE]}: {theirs}."
        )
    for other in ("padim", "spade"):
        lines += _against(runs, answers, backbone, other)
    return "\n".join(lines) if lines else "Nothing to sum up is recorded yet."


def _against(
    runs: pd.DataFrame, answers: Mapping[str, str], backbone: str, other: str
) -> list[str]:
    """Say how far PatchCore-1 % is ahead of another method, paired over seeds and categories."""
    ours = select(of_mvtec(runs), answers["patchcore_1"], backbone)
    theirs = select(of_mvtec(runs), answers[other], backbone)
    if ours.empty or theirs.empty:
        return []
    tests = {
        title: paired(ours, theirs, name)
        for name, title in METRICS.items()
        if name in ours and name in theirs
    }
    parts = [
        f"{test.mean * 100:+.2f} points of {title} [{test.low * 100:+.2f}, {test.high * 100:+.2f}]"
        for title, test in tests.items()
        if test is not None
    ]
    known = next((test for test in tests.values() if test is not None), None)
    return (
        [
            f"- PatchCore-1 % minus {NAMES[other]}: {', '.join(parts)} (95 % intervals over "
            f"{known.n_seeds} seeds; {known.n_categories} categories)."
        ]
        if known
        else []
    )
