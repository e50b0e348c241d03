"""Which choices make latent diffusion detect anything: recorded studies and varied runs, as tables.

Three sources: the studies of pairs (``ldm_pairs``), those with labels from outside
(``ldm_classes``), and records of runs in which one choice differs. AUROCs are in percent here and
never folded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from adlib.study import ldm_classes, ldm_pairs, ldm_tables, study_files
from adlib.study.ldm_tables import START, Layout, Score
from adlib.study.tables import NOT_RUN, NOTHING

METHOD = "latent_diffusion"
ASKED = ("0", "1", "4")  # digits of the studies
LESS_STARTS = (200, 400)
LOOKED_AT = ("0", "1")  # digits from which the score of `less_table` was thought of: no test of it
ITSELF = "itself"
PAPER = "noise"  # the pairs of the paper, in both studies
TITLES = {
    "noise": "from noise (the paper)",
    "other": "another image, reconstructed",
    "later": "the same image from t = 600",
    "noise+other": "noise and another image",
    "noise, all starts": "noise; same: every t",
    "other, all starts": "another image; both: every t",
    "noise, seen images": "noise; images seen in training",
    "noise, imagenet stem": "noise; ImageNet stem",
}
"""Variant of ``ldm_pairs`` -> what its classifier learns to call different."""
LABELLED = {
    "noise": "a sample from noise (the paper)",
    "noise of another class": "a sample of another class (label)",
    "other": "another image, reconstructed",
    "other of another class": "an image of another class (label)",
    "same class": "another class; same: any image of the class (labels)",
}
"""Variant of ``ldm_classes`` -> what its classifier learns to call different."""
JUDGE = "no classifier: has the class gone, says the labeller"
PLAIN = {
    f"classifier, t = {START}": Score(METHOD, f"classifier_t{START}"),
    f"pixel error, t = {START}": Score(METHOD, f"pixel_t{START}"),
    f"latent error, t = {START}": Score(METHOD, f"latent_t{START}"),
    "pixel error, z-scores over t": Score(METHOD, "zscore_pixel"),
    "latent error, z-scores over t": Score(METHOD, "zscore_latent"),
}
"""Scores of one and the same run that are held against each other."""
INKED = {
    **{title: score for title, score in PLAIN.items() if not title.startswith("pixel error, z")},
    "VQ model alone": Score(METHOD, "vq"),
    f"pixel error / ink, t = {START}": Score(METHOD, "pixel_per_ink"),
}
CONTROLS = {
    f"pixel error, t = {START}": f"pixel_t{START}",
    "VQ model alone": "vq",
    "mean ink, no model": "ink",
}
"""Scores of the record of the same digit that stand beside the classifiers of a study."""


def pair_runs(results: Path | str, dataset: str = "mnist", preset: str = "small") -> pd.DataFrame:
    """Return what ``ldm_pairs`` measured, a row a digit, seed, variant and start.

    Returns
    -------
    DataFrame
        ``category``, ``seed``, ``variant``, ``start`` (text; `ITSELF` for score(x, x)), ``auroc``
        (percent, test images), ``less`` (the same of the logit less that of the image with itself)
        and ``pairs`` (percent, AUROC on held-out pairs).
    """
    rows = [
        (
            *(study["category"], study["seed"], name, start, value * 100),
            one.get("less_itself", {}).get(start, np.nan) * 100,
            one["pair_auroc"] * 100,
        )
        for study in _of(study_files.read_all(results, "pairs"), dataset, preset)
        for name, one in study["variants"].items()
        for start, value in one["auroc"].items()
    ]
    return pd.DataFrame(
        rows, columns=["category", "seed", "variant", "start", "auroc", "less", "pairs"]
    )


def class_runs(
    results: Path | str, dataset: str = "mnist", preset: str = "small"
) -> dict[str, dict[str, Any]]:
    """Return the study with labels of each digit; of several seeds the first."""
    found = _of(study_files.read_all(results, "classes"), dataset, preset)
    return {study["category"]: study for study in sorted(found, key=lambda s: -s["seed"])}


def _of(found: Iterable[dict[str, Any]], dataset: str, preset: str) -> list[dict[str, Any]]:
    return [s for s in found if s["dataset"] == dataset and s["preset"] == preset]


def at(found: pd.DataFrame, variant: str, start: str | int = START) -> pd.Series:
    """Return the AUROC of a variant by digit, mean over seeds, percent."""
    chosen = found[(found["variant"] == variant) & (found["start"] == str(start))]
    return chosen.groupby("category")["auroc"].mean()


def controls(runs: pd.DataFrame, categories: Sequence[str]) -> pd.DataFrame:
    """Return `CONTROLS` of the recorded runs in percent: a row a score, a column a digit."""
    table = {
        category: {
            title: ldm_tables.auroc(runs, "mnist", category, Score(METHOD, name)).mean()
            for title, name in CONTROLS.items()
        }
        for category in categories
    }
    return pd.DataFrame(table, index=list(CONTROLS), dtype=float)


def clipping_moves(found: pd.DataFrame, runs: pd.DataFrame) -> float:
    """Return by how much 8-bit pictures for decoder outputs move the classifier's AUROC at most.

    The same classifier (the paper's pairs, the same seed) in a study and in the record of the
    digit, compared where no noise is drawn: the compression model alone. A picture is clipped to
    the range of images and rounded; a decoder may leave that range. Points of AUROC; NaN where a
    digit has not both.
    """
    start = found[(found["variant"] == PAPER) & (found["start"] == "0")]
    moved = [
        abs(row.auroc - recorded[row.seed])
        for row in start.itertuples()
        if row.seed in (recorded := _of_record(runs, row.category, "classifier_vq")).index
    ]
    return max(moved, default=np.nan)


def _of_record(runs: pd.DataFrame, category: str, name: str) -> pd.Series:
    return ldm_tables.auroc(runs, "mnist", category, Score(METHOD, name))


def pair_table(
    found: pd.DataFrame, runs: pd.DataFrame, asked: Sequence[str] = ASKED
) -> pd.DataFrame:
    """Lay out which pairs help: a row a variant, then the controls; percent.

    Returns
    -------
    DataFrame
        By digit the AUROC on held-out pairs and, at t = 200, on test images; the mean of the
        latter (a dash where a digit is missing); the start with the highest mean, and that mean.
    """
    table = {}
    for name, title in TITLES.items():
        of = found[found["variant"] == name]
        told = of.groupby("category")["pairs"].mean().reindex(asked)
        values = at(found, name).reindex(asked)
        row = {f"pairs, digit {c}": cell(v) for c, v in told.items()}
        row |= {f"images, digit {c}": cell(v) for c, v in values.items()}
        table[title] = row | {"images, mean": number(values.mean(skipna=False))} | _best(of, asked)
    beside = controls(runs, asked)
    for title, values in beside.iterrows():
        row = dict.fromkeys((f"pairs, digit {c}" for c in asked), NOTHING)
        row |= {f"images, digit {c}": cell(v) for c, v in values.items()}
        table[title] = row | {"images, mean": number(values.mean(skipna=False))}
    return pd.DataFrame(table).T.fillna(NOTHING)


def _best(of: pd.DataFrame, asked: Sequence[str]) -> dict[str, str]:
    of = of[of["start"] != ITSELF]
    wide = of.pivot_table(index="start", columns="category", values="auroc").reindex(columns=asked)
    means = wide.mean(axis=1, skipna=False).dropna()
    if means.empty:
        return {"best t": NOTHING, "mean there": NOTHING}
    return {"best t": str(means.idxmax()), "mean there": number(means.max())}


def less_table(found: pd.DataFrame, asked: Sequence[str] = ASKED) -> pd.DataFrame:
    """Lay out what comparing adds to what the classifier says of the image alone; percent.

    Returns
    -------
    DataFrame
        A row a variant of which anything was run; AUROC of the logit of image and reconstruction
        less that of the image with itself, by start and digit, and its mean.
    """
    table = {}
    for name, title in TITLES.items():
        of = found[found["variant"] == name]
        if of["less"].isna().all():
            continue
        row = {}
        for start in LESS_STARTS:
            by_digit = of[of["start"] == str(start)].groupby("category")["less"].mean()
            values = by_digit.reindex(asked)
            row |= {f"t = {start}, digit {c}": cell(v) for c, v in values.items()}
            row[f"t = {start}, mean"] = number(values.mean(skipna=False))
        table[title] = row
    return pd.DataFrame(table).T


def missing_pairs(found: pd.DataFrame, asked: Sequence[str] = ASKED) -> list[str]:
    """Return the commands that fill what the studies of pairs lack; whole variants are kept."""
    there = found.groupby("category")["variant"].agg(set).to_dict()
    return [
        f"python -m adlib.study.ldm_pairs --root DIR --category {c}"
        for c in asked
        if not set(ldm_pairs.VARIANTS) <= there.get(c, set())
    ]


def missing_classes(found: dict[str, Any], asked: Sequence[str] = ASKED) -> list[str]:
    """Return the commands that make the studies with labels that are missing."""
    return [
        f"python -m adlib.study.ldm_classes --root DIR --category {c}"
        for c in asked
        if c not in found
    ]


def class_table(found: dict[str, dict[str, Any]], asked: Sequence[str] = ASKED) -> pd.DataFrame:
    """Lay out what labels would add: a row a kind of pairs, a column a digit.

    Returns
    -------
    DataFrame
        AUROC in percent on the other half of the test images at t = 200 / 400 / 500; last what
        `judge` has. The last column is the mean over all digits that were studied, asked for or
        not.
    """
    table = {}
    for c in asked:
        if c not in found:
            table[f"digit {c}"] = dict.fromkeys([*LABELLED.values(), JUDGE], NOT_RUN)
            continue
        values = {
            title: [found[c]["auroc"][name][str(t)] * 100 for t in ldm_classes.COMPARED]
            for name, title in LABELLED.items()
        }
        values[JUDGE] = [judge(found[c], t) for t in ldm_classes.COMPARED]
        table[f"digit {c}"] = {
            title: " / ".join(f"{value:.1f}" for value in of) for title, of in values.items()
        }
    shown = pd.DataFrame(table, index=[*LABELLED.values(), JUDGE])
    if found:
        number_of = f"{len(found)} digit{'s' if len(found) > 1 else ''}"
        shown[f"mean of {number_of}"] = _means_of_studies(list(found.values()))
    return shown


def _means_of_studies(found: list[dict[str, Any]]) -> list[str]:
    rows = [
        [np.mean([s["auroc"][name][str(t)] * 100 for s in found]) for t in ldm_classes.COMPARED]
        for name in LABELLED
    ]
    rows.append([np.mean([judge(s, t) for s in found]) for t in ldm_classes.COMPARED])
    return [" / ".join(f"{value:.1f}" for value in row) for row in rows]


def difference_table(found: pd.DataFrame) -> pd.DataFrame:
    """Lay out what other pairs change on all digits that were studied, at t = 200.

    Returns
    -------
    DataFrame
        A row a variant: digits on which it and the paper's pairs were run; the mean difference in
        points with Student's 95 % interval over digits; on how many it is above.
    """
    paper, table = at(found, PAPER), {}
    for name, title in TITLES.items():
        gain = (at(found, name) - paper).dropna()
        if name == PAPER or gain.empty:
            continue
        row = {"digits": str(len(gain)), "difference": f"{gain.mean():+.1f}"}
        if len(gain) > 1 and gain.std() > 1e-9:  # else an interval means nothing
            low, high = stats.ttest_1samp(gain, 0.0).confidence_interval(0.95)
            row["difference"] += f" [{low:+.1f}, {high:+.1f}]"
        table[title] = row | {"above on": str(int((gain > 0).sum()))}
    return pd.DataFrame(table).T


def judge(study: dict[str, Any], start: int) -> float:
    """Return the AUROC, percent, of one who says only whether a reconstruction lost its class.

    Two answers, so the area has two pieces: (1 + share of anomalies that lost it - share of normal
    images that lost it) / 2.

    Parameters
    ----------
    study : dict
        Of ``class_runs()``.
    start : int
        One of its starts; 0 is the compression model alone.
    """
    kept = study["kept"][str(start)]
    return 50 * (1 + kept["normal"] - kept["anomalous"])


def by_score(runs: pd.DataFrame, layout: Layout, asked: dict[str, Score]) -> pd.DataFrame:
    """Return the AUROC of each score, percent, mean over seeds: a row a category, `control` too."""
    found = ldm_tables.scores(runs, layout, asked)
    if found.empty:
        return pd.DataFrame(columns=[*asked, "control"], dtype=float)
    wide = found.pivot_table(index="category", columns="score", values="auroc", sort=False)
    return wide[list(asked)].assign(control=found.groupby("category")["control"].first())


def cell(value: float) -> str:
    """Write an AUROC in percent; what is missing was not run."""
    return NOT_RUN if np.isnan(value) else number(value)


def number(value: float) -> str:
    """Write an AUROC in percent; a dash where there is none."""
    return NOTHING if np.isnan(value) else f"{value:.1f}"
