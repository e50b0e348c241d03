"""What one choice of latent diffusion changes, against the default on the same digit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from adlib import parameters
from adlib.diffusion.detector import LatentDiffusionDetector
from adlib.report import by_seed
from adlib.study import ldm_tables
from adlib.study.ldm_ablation import METHOD, PAPER, cell
from adlib.study.ldm_tables import START, Score
from adlib.study.tables import NOT_RUN, NOTHING

VARIED = ("0", "1")  # digits of the runs in which one choice differs


class Choice(NamedTuple):
    """One departure from the default, answered by records or by a study of pairs.

    Attributes
    ----------
    name : str
        What differs, in words.
    settings : str
        Of ``adlib evaluate``, ``name=value ...``; empty where a study answers.
    variant : str
        Of ``ldm_pairs``; empty where records answer.
    start : int
        Where the scores of the varied run are read.
    """

    name: str
    settings: str = ""
    variant: str = ""
    start: int = START


CHOICES = (
    Choice("DDIM, 20 indices a step instead of 50", "grid=200 stride=20"),
    Choice("DDPM, every index, Eq. 9 corrected", "grid=200 sampler=ddpm printed=false"),
    Choice("DDPM, every index, Eq. 9 as printed", "grid=200 sampler=ddpm printed=true"),
    Choice("noise schedule scaled_linear", "schedule=scaled_linear"),
    Choice("decoder predicts edges", "edges=true"),
    Choice("t = 400, in the classifier's pairs as well", "start=400 positives=400", start=400),
    Choice("ImageNet stem in the classifier", variant="noise, imagenet stem"),
    Choice("pairs of images seen in training", variant="noise, seen images"),
)
SHOWN = {
    f"classifier, t = {START}": f"classifier_t{START}",
    f"pixel error, t = {START}": f"pixel_t{START}",
    f"latent error, t = {START}": f"latent_t{START}",
    "VQ model alone": "vq",
}


def choice_table(
    runs: pd.DataFrame, found: pd.DataFrame, asked: Sequence[str] = VARIED
) -> pd.DataFrame:
    """Lay out what a choice changes: AUROC in points against the default on the same digit.

    Parameters
    ----------
    runs : DataFrame
        ``records.table()``.
    found : DataFrame
        ``pair_runs()``.
    asked : sequence of str
        Digits.

    Returns
    -------
    DataFrame
        The defaults' level in percent first, then a row a choice and digit that were run: the
        difference over the seeds that both have. A study of pairs looks at the default's
        reconstructions, so only the classifier's column is filled.
    """
    rows = []
    for category in asked:
        seeds = _seeds(runs, category)
        level = {title: _level(runs, category, name, seeds) for title, name in SHOWN.items()}
        rows.append({"what differs": "the default: level", "digit": category} | level)
    for choice in CHOICES:
        for category in asked:
            cells = _changes(runs, found, choice, category)
            if set(cells.values()) - {NOT_RUN, NOTHING}:
                rows.append({"what differs": choice.name, "digit": category} | cells)
    return pd.DataFrame(rows)


def _seeds(runs: pd.DataFrame, category: str) -> set[int]:
    """Return the seeds of the varied runs: the level is that of the default with the same ones."""
    found = [varied(runs, category, choice.settings) for choice in CHOICES if choice.settings]
    return {int(seed) for one in found if len(one) for seed in one["seed"]}


def _level(runs: pd.DataFrame, category: str, name: str, seeds: set[int]) -> str:
    values = ldm_tables.auroc(runs, "mnist", category, Score(METHOD, name))
    return cell(values[values.index.isin(seeds)].mean() if seeds else values.mean())


def _changes(
    runs: pd.DataFrame, found: pd.DataFrame, choice: Choice, category: str
) -> dict[str, str]:
    if choice.variant:
        of = found[(found["category"] == category) & (found["start"] == str(START))]
        wide = of.pivot_table(index="seed", columns="variant", values="auroc")
        wide = wide.reindex(columns=[choice.variant, PAPER])
        cells = dict.fromkeys(SHOWN, NOTHING)
        first = next(iter(SHOWN))
        return cells | {first: _difference(wide[choice.variant] - wide[PAPER])}
    here = varied(runs, category, choice.settings)
    return {
        title: _difference(
            by_seed(here, f"auroc_{name.replace(f't{START}', f't{choice.start}')}") * 100
            - ldm_tables.auroc(runs, "mnist", category, Score(METHOD, name))
        )
        for title, name in SHOWN.items()
    }


def varied(
    runs: pd.DataFrame, category: str, settings: str, dataset: str = "mnist"
) -> pd.DataFrame:
    """Return the recorded runs whose parameters are the small preset's but for `settings`."""
    if runs.empty:
        return runs
    given = {name: one[0] for name, one in parameters.read_assignments(settings.split()).items()}
    preset = LatentDiffusionDetector.PRESETS["small"] | given
    values = parameters.check(LatentDiffusionDetector, preset)
    found = runs[
        (runs["method"] == METHOD) & (runs["dataset"] == dataset) & (runs["category"] == category)
    ]
    for name, value in LatentDiffusionDetector.effective(values).items():
        if name != "seed" and len(found):
            column = found[name]
            found = found[column.isna() if value is None else column == value]
    return found


def missing_choices(
    runs: pd.DataFrame, found: pd.DataFrame, asked: Sequence[str] = VARIED
) -> list[str]:
    """Return the commands of the choices that were not run on every digit."""
    commands = []
    for choice in CHOICES:
        if choice.variant:
            there = set(found.loc[found["variant"] == choice.variant, "category"])
        else:
            there = {c for c in asked if len(varied(runs, c, choice.settings))}
        lacking = [c for c in asked if c not in there]
        if lacking and choice.variant:
            commands += [
                f"python -m adlib.study.ldm_pairs --root DIR --category {c}" for c in lacking
            ]
        elif lacking:
            where = " ".join(f"--category {c}" for c in lacking)
            options = " ".join(f"--set {setting}" for setting in choice.settings.split())
            commands.append(f"adlib evaluate {METHOD} --dataset mnist --root DIR {where} {options}")
    return list(dict.fromkeys(commands))


def _difference(values: pd.Series) -> str:
    known = values.dropna()
    return f"{known.mean():+.1f}" if len(known) else NOT_RUN
