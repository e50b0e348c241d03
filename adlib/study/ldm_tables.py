"""Tables 1 and 2 of the latent-diffusion paper: its printed AUROCs, and ours from records.

An AUROC is shown as it is: below 50 it stays below 50. The paper's rows whose numbers cannot be
assigned to their columns are shown as lists.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from adlib import parameters, report
from adlib.datasets import cifar10
from adlib.diffusion.score_names import score_name
from adlib.evaluate import METHODS as DETECTORS
from adlib.report import by_seed
from adlib.study.tables import NOT_RUN, NOTHING

METHODS = {
    "autoencoder": "autoencoder",
    "anoddpm": "anoddpm",
    "ddpm": "ddpm",
    "ldm": "latent_diffusion",
}
"""What ``reported.csv`` calls a method, and which of ours answers it."""
NAMES = {"autoencoder": "Autoencoder", "anoddpm": "AnoDDPM", "ddpm": "DDPM", "ldm": "Our Method"}
"""What the paper calls it."""
TITLES = {
    "autoencoder": "Autoencoder",
    "anoddpm": "AnoDDPM",
    "ddpm": "DDPM",
    "latent_diffusion": "Latent diffusion",
}
START = 200  # t, where the paper's reverse chain begins (Section 4.2)
PLAIN = {f"pixel_t{START}": "pixel error", f"latent_t{START}": "latent error"}
"""Errors of the very reconstruction that the classifier looks at."""
UNASSIGNED = "†"
CONTROLS = {"mnist": "mean ink", "cifar10": "mean brightness"}


class Score(NamedTuple):
    """A score of images in the records: a method, and what it calls the score."""

    method: str
    name: str


SCORES = {
    "VQ model alone": Score("latent_diffusion", "vq"),
    f"pixel error, t = {START}": Score("latent_diffusion", f"pixel_t{START}"),
    f"latent error, t = {START}": Score("latent_diffusion", f"latent_t{START}"),
    "autoencoder": Score("autoencoder", "pixel"),
    "AnoDDPM": Score("anoddpm", "pixel"),
    "DDPM, z-scores": Score("ddpm", "zscore_pixel"),
    f"classifier, t = {START}": Score("latent_diffusion", f"classifier_t{START}"),
}
FURTHER = {
    "pixel error, t = 500": Score("latent_diffusion", "pixel_t500"),
    "pixel error, z-scores over t": Score("latent_diffusion", "zscore_pixel"),
    "latent error, z-scores over t": Score("latent_diffusion", "zscore_latent"),
    f"pixel error / ink, t = {START}": Score("latent_diffusion", "pixel_per_ink"),
    "classifier, VQ alone": Score("latent_diffusion", "classifier_vq"),
    "classifier, image with itself": Score("latent_diffusion", "classifier_itself"),
}


class Layout(NamedTuple):
    """A table of the paper.

    Attributes
    ----------
    dataset, where : str
        As in ``reported.csv``.
    columns : tuple of str
        As printed.
    readings : mapping of str to tuple of str
        What the columns may mean: title -> our category of each column.
    """

    dataset: str
    where: str
    columns: tuple[str, ...]
    readings: Mapping[str, tuple[str, ...]]

    @property
    def categories(self) -> list[str]:
        """Every category of every reading."""
        return [name for names in self.readings.values() for name in names]

    def apart(self) -> dict[str, Layout]:
        """Return each reading as a table of its own: at most one of them is what was printed."""
        return {
            title: self._replace(readings={title: names}) for title, names in self.readings.items()
        }


MNIST = Layout("mnist", "Table 1", tuple("0123456789"), {"ours": tuple("0123456789")})
CIFAR10 = Layout(
    "cifar10",
    "Table 2",
    cifar10.PRINTED,
    {
        "ours, listed anomalous": cifar10.READINGS["anomalous"],
        "ours, listed normal": cifar10.READINGS["normal"],
    },
)


def chosen(
    runs: pd.DataFrame,
    dataset: str,
    method: str,
    category: str | None = None,
    preset: str = "small",
) -> pd.DataFrame:
    """Return the runs of a method with the settings of a preset and nothing else changed.

    Parameters
    ----------
    runs : DataFrame
        ``records.table()``.
    dataset, method : str
    category : str, optional
        All of them if not given.
    preset : str
        A key of the method's ``PRESETS``.
    """
    if runs.empty:
        return runs
    found = runs[(runs["dataset"] == dataset) & (runs["method"] == method)]
    if category is not None:
        found = found[found["category"] == category]
    if found.empty:
        return found
    wanted = _settings(method, preset)
    given = found[wanted.index]
    same = given.eq(wanted, axis=1) | (given.isna() & wanted.isna())
    return found[same.all(axis=1)]


@functools.cache
def _settings(method: str, preset: str) -> pd.Series:
    """Return the effective parameters of a preset but the seed."""
    detector = DETECTORS[method]
    values = detector.effective(parameters.check(detector, detector.PRESETS[preset]))
    return pd.Series({name: v for name, v in values.items() if name != "seed"}, dtype=object)


def auroc(
    runs: pd.DataFrame, dataset: str, category: str, score: Score, preset: str = "small"
) -> pd.Series:
    """Return the AUROC of a score in percent, a value a seed; empty where nothing was run."""
    found = chosen(runs, dataset, score.method, category, preset)
    return by_seed(found, f"auroc_{score.name}") * 100


def own(method: str) -> Score:
    """Return the score that a method itself stands for, with the defaults."""
    names = {"latent_diffusion": f"classifier_t{START}", "ddpm": "zscore_pixel"}
    return Score(method, names.get(method, "pixel"))


def control(runs: pd.DataFrame, dataset: str, category: str) -> float:
    """Return the AUROC of the mean brightness in percent; NaN where no run of the category is.

    It is a property of the test images, the same in every run.
    """
    if runs.empty or "auroc_ink" not in runs:
        return float("nan")
    found = runs[(runs["dataset"] == dataset) & (runs["category"] == category)]
    known = found["auroc_ink"].dropna()
    return float(known.iloc[0]) * 100 if len(known) else float("nan")


def printed_row(printed: pd.DataFrame, layout: Layout, method: str) -> pd.Series:
    """Return a row of the paper by column in percent; NaN where a number cannot be assigned."""
    found = _of_table(printed, layout)
    found = found[found["method"] == method].set_index("category")["value"]
    return found.reindex(list(layout.columns))


def unassigned(printed: pd.DataFrame, layout: Layout) -> dict[str, list[float]]:
    """Return the rows of the paper that were damaged in extraction: method -> its numbers in order.

    They are fewer or more than the columns: which belongs where is not known.
    """
    found = _of_table(printed, layout)
    notes = found[found["note"].str.startswith("damaged")].groupby("method", sort=False)["note"]
    return {
        method: [float(word) for word in re.search(r"\(([\d. ]+)\)", text)[1].split()]
        for method, text in notes.first().items()
    }


def _of_table(printed: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    return printed[(printed["paper"] == "ldm") & (printed["where"] == layout.where)]


def plain(runs: pd.DataFrame, layout: Layout) -> Score:
    """Return the better plain error of the reconstruction at t = 200: by its mean AUROC.

    The mean goes over every category that was run, and the choice looks at the test images: it is
    the best that a plain error could do.
    """
    means = {name: _mean_over(runs, layout, Score("latent_diffusion", name)) for name in PLAIN}
    best = max(means, key=lambda name: np.nan_to_num(means[name]))
    return Score("latent_diffusion", best)


def _mean_over(runs: pd.DataFrame, layout: Layout, score: Score) -> float:
    values = [auroc(runs, layout.dataset, name, score).mean() for name in layout.categories]
    return float(pd.Series(values, dtype=float).mean())


def main_table(runs: pd.DataFrame, printed: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Lay out Table 1 or 2 with ours below every printed row, AUROC in percent.

    Parameters
    ----------
    runs : DataFrame
        ``records.table()``.
    printed : DataFrame
        ``report.reported()``.
    layout : Layout

    Returns
    -------
    DataFrame
        Per method the paper's row and one a reading of ours; then the better plain error of the
        same reconstruction, and the control. Ours is the mean over seeds, with ± sd (seeds) where
        there are several. ``mean`` is over all columns, a dash where one is missing. Rows of the
        preset ``paper`` are there where it was run.
    """
    lost = unassigned(printed, layout)
    table: dict[str, list[str]] = {}
    for method, name in METHODS.items():
        paper = printed_row(printed, layout, method)
        cells = [UNASSIGNED if method in lost else _percent(value) for value in paper]
        table[f"{NAMES[method]}, paper"] = [*cells, _percent(paper.mean(skipna=False))]
        score = " classifier" if name == "latent_diffusion" else ""
        table |= _rows(runs, layout, f"{TITLES[name]}{score}", own(name))
    best = plain(runs, layout)
    table |= _rows(runs, layout, f"Latent diffusion {PLAIN[best.name]}", best)
    for reading, names in layout.readings.items():
        values = pd.Series([control(runs, layout.dataset, name) for name in names])
        title = reading.removeprefix("ours").strip(", ")
        table[", ".join(filter(None, (f"Control: {CONTROLS[layout.dataset]}", title)))] = _cells(
            [_percent(value) for value in values], values
        )
    columns = [_heading(layout, name) for name in layout.columns]
    return pd.DataFrame(table, index=[*columns, "mean"]).T


def _rows(runs: pd.DataFrame, layout: Layout, title: str, score: Score) -> dict[str, list[str]]:
    """Return a row a reading, and where the preset ``paper`` was run one more each."""
    rows = {}
    for preset, mark in (("small", ""), ("paper", ", preset paper")):
        for reading, names in layout.readings.items():
            values = [auroc(runs, layout.dataset, name, score, preset) for name in names]
            if preset == "small" or any(map(len, values)):
                means = pd.Series([each.mean() for each in values], dtype=float)
                rows[f"{title}, {reading}{mark}"] = _cells([*map(over_seeds, values)], means)
    return rows


def _cells(texts: Sequence[str], means: pd.Series) -> list[str]:
    return [*texts, _percent(means.mean(skipna=False))]


def _heading(layout: Layout, name: str) -> str:
    return name if len(name) == 1 else "{" + name + "}"


def over_seeds(values: pd.Series, digits: int = 1) -> str:
    """Write the mean over seeds; with ± sd (number of seeds) where there are several."""
    if not len(values):
        return NOT_RUN
    if len(values) == 1:
        return f"{values.iloc[0]:.{digits}f}"
    return report.mean_sd(values, digits)


def _percent(value: float) -> str:
    return NOTHING if np.isnan(value) else f"{value:.1f}"


def missing_commands(runs: pd.DataFrame, layout: Layout) -> list[str]:
    """Return a command for every method of which a category was not run with the small preset."""
    commands = []
    for method in METHODS.values():
        lacking = [
            name
            for name in layout.categories
            if auroc(runs, layout.dataset, name, own(method)).empty
        ]
        if lacking:
            every = len(lacking) == len(layout.categories)  # these are run unasked
            asked = [] if every else [f"--category {name}" for name in lacking]
            where = f"--dataset {layout.dataset} --root DIR"
            commands.append(" ".join([f"adlib evaluate {method} {where}", *asked]))
    return commands


def fold(values: pd.Series) -> pd.Series:
    """Return max(a, 100 - a) of AUROCs in percent: what turning a score round would give."""
    return np.maximum(values, 100 - values)


def folding_table(
    runs: pd.DataFrame, printed: pd.DataFrame, layout: Layout = MNIST, category: str = "1"
) -> pd.DataFrame:
    """Show what folding AUROCs to above 50 would do to the comparison with the paper.

    Returns
    -------
    DataFrame
        A row a score: the AUROC on one category as printed, as it is and folded; the same as mean
        over the categories that were run, whose number stands first, and how many lie below 50. A
        row that the paper does not print, or that cannot be assigned, has dashes.
    """
    asked = {TITLES[name]: (method, own(name)) for method, name in METHODS.items()}
    asked["Latent diffusion, pixel error"] = ("", Score("latent_diffusion", f"pixel_t{START}"))
    names = layout.readings["ours"]
    table = {}
    for title, (method, score) in asked.items():
        means = {name: auroc(runs, layout.dataset, name, score).mean() for name in names}
        paper = printed_row(printed, layout, method)
        table[title] = _folded(pd.Series(means, dtype=float), paper, category)
    ink = pd.Series({name: control(runs, layout.dataset, name) for name in names})
    table[f"Control: {CONTROLS[layout.dataset]}"] = _folded(ink, ink * np.nan, category)
    return pd.DataFrame(table).T


def _folded(means: pd.Series, paper: pd.Series, category: str) -> dict[str, str]:
    known = means.dropna()
    one = known.get(category, float("nan"))
    return {
        f"{category}, paper": _percent(paper[category]),
        f"{category}, ours": NOT_RUN if np.isnan(one) else _percent(one),
        f"{category}, folded": _percent(fold(one)),
        "digits": str(len(known)),
        "below 50": str(int((known < 50).sum())),
        "mean, paper": _percent(paper[known.index].mean(skipna=False)),
        "mean, ours": _percent(known.mean()),
        "mean, folded": _percent(fold(known).mean()),
    }


def scores(runs: pd.DataFrame, layout: Layout, asked: Mapping[str, Score] = SCORES) -> pd.DataFrame:
    """Return what every score reaches on every category, beside the control.

    Returns
    -------
    DataFrame
        ``category``, ``score`` (title), ``auroc`` and ``control`` (percent; means over seeds),
        ``ink`` (rank correlation with the brightness among normal test images). A row only where
        there is a run.
    """
    columns = ["category", "score", "auroc", "control", "ink"]
    rows = []
    for category in layout.categories:
        ink = control(runs, layout.dataset, category)
        for title, score in asked.items():
            values = auroc(runs, layout.dataset, category, score)
            if len(values):
                found = chosen(runs, layout.dataset, score.method, category)
                follows = by_seed(found, f"ink_{score.name}").mean()
                rows.append([category, title, values.mean(), ink, follows])
    return pd.DataFrame(rows, columns=columns)


def follow_table(found: pd.DataFrame) -> pd.DataFrame:
    """Tell how closely each score follows the control.

    Parameters
    ----------
    found : DataFrame
        ``scores()``.

    Returns
    -------
    DataFrame
        A row a score: number of categories; correlation of its AUROC with the control's over
        them (a dash below three); mean rank correlation with the brightness of normal images;
        lowest, mean and highest AUROC in percent.
    """
    table = {}
    for title, of in found.groupby("score", sort=False):
        varies = len(of) > 2 and of["auroc"].std() > 0 and of["control"].std() > 0
        r = of["auroc"].corr(of["control"]) if varies else float("nan")
        table[title] = {
            "categories": str(len(of)),
            "AUROC with control": NOTHING if np.isnan(r) else f"{r:+.2f}",
            "score with brightness": NOTHING
            if of["ink"].isna().all()
            else f"{of['ink'].mean():+.2f}",
            "lowest": _percent(of["auroc"].min()),
            "mean": _percent(of["auroc"].mean()),
            "highest": _percent(of["auroc"].max()),
        }
    return pd.DataFrame(table).T


KINDS = {"pixel": "vq", "latent": None, "classifier": "classifier_vq"}
"""Scores at each start t, and what stands at t = 0: the VQ model alone (it has no latent error)."""


def by_start(runs: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Return AUROC and error ratio against the start t.

    Returns
    -------
    DataFrame
        ``category``, ``kind`` (a key of `KINDS`), ``t``, ``auroc`` (percent), ``ratio`` (mean of
        the anomalous over mean of the normal test images); means over seeds. t = 0 is the VQ model
        alone. Empty where nothing is recorded.
    """
    rows = []
    for category in layout.categories:
        found = chosen(runs, layout.dataset, "latent_diffusion", category)
        for kind, alone in KINDS.items() if len(found) else ():
            names = {int(t): f"{kind}_t{t}" for t in _starts(found, kind)}
            names |= {} if alone is None else {0: alone}
            for t, name in sorted(names.items()):
                values = [by_seed(found, f"{what}_{name}").mean() for what in ("auroc", "ratio")]
                rows.append([category, kind, t, values[0] * 100, values[1]])
    return pd.DataFrame(rows, columns=["category", "kind", "t", "auroc", "ratio"])


def _starts(found: pd.DataFrame, kind: str) -> list[str]:
    known = found.columns[found.notna().any()]
    return [m[1] for name in known if (m := re.fullmatch(rf"auroc_{kind}_t(\d+)", name))]


def training_table(runs: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Lay out what the trainings left behind: a row a category, the mean over seeds.

    Returns
    -------
    DataFrame
        Share of the codes in use and perplexity on held-out images, codes restarted; accuracy and
        AUROC of the classifier on held-out pairs, percent; minutes of training, all networks.
    """
    table = {}
    for category in layout.categories:
        found = chosen(runs, layout.dataset, "latent_diffusion", category)
        if found.empty:
            continue
        networks = [f"seconds_{name}" for name in ("compression_model", "diffusion", "classifier")]
        table[category] = {
            "codes used [%]": f"{found['codes_used'].mean() * 100:.0f}",
            "perplexity": f"{found['perplexity'].mean():.0f}",
            "restarted": f"{found['codes_restarted'].mean():.0f}",
            "pairs told apart [%]": f"{found['pair_accuracy'].mean() * 100:.1f}",
            "pair AUROC [%]": f"{found['pair_auroc'].mean() * 100:.1f}",
            "minutes": f"{found[networks].sum(axis=1).mean() / 60:.0f}",
        }
    return pd.DataFrame(table).T


def live(measured: Mapping[str, float]) -> pd.DataFrame:
    """Lay out the metrics of one live run: a row a score, by its name in a record and in words.

    AUROC in percent, error ratio, correlation with the brightness.
    """
    names = [key.removeprefix("auroc_") for key in measured if key.startswith("auroc_")]
    return pd.DataFrame(
        {
            name: {
                "what it is": score_name(name),
                "AUROC": f"{measured[f'auroc_{name}'] * 100:.1f}",
                "anomalous / normal": _number(measured.get(f"ratio_{name}")),
                "with brightness": _number(measured.get(f"ink_{name}"), "+.2f"),
            }
            for name in names
        }
    ).T


def _number(value: float | None, form: str = ".2f") -> str:
    return NOTHING if value is None else format(value, form)
