"""What latent diffusion's ablation says, in sentences; every number computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from adlib.study import ldm_ablation_choices, ldm_classes, ldm_tables
from adlib.study.ldm_ablation import (
    ASKED,
    INKED,
    ITSELF,
    LABELLED,
    LESS_STARTS,
    LOOKED_AT,
    METHOD,
    PAPER,
    PLAIN,
    TITLES,
    at,
    by_score,
    clipping_moves,
    controls,
    judge,
    number,
)
from adlib.study.ldm_tables import CIFAR10, MNIST, START, Layout, Score

CHANCE = 50.0  # AUROC, percent
VQ = "VQ model alone"
CLEAR = 2.0  # points; twice the standard error at chance with 1,000 of 10,000 images


def in_short(found: pd.DataFrame, labelled: dict[str, dict[str, Any]], runs: pd.DataFrame) -> str:
    """Say in Markdown what the ablations answer, a line a question; every number computed."""
    lines = (
        _pairs_in_short(found, runs),
        _less_in_short(found),
        _labels_in_short(labelled),
        _plain_in_short(runs),
        _choices_in_short(found, runs),
    )
    return "\n".join(f"- {line}" for line in lines if line) or "No ablation is recorded yet."


def _pairs_in_short(found: pd.DataFrame, runs: pd.DataFrame) -> str:
    values = {name: of for name in TITLES if len(of := at(found, name).reindex(ASKED).dropna())}
    whole = {name: of for name, of in values.items() if len(of) == len(ASKED)}
    if PAPER not in whole or len(whole) < 2:
        return ""
    paper = whole.pop(PAPER)
    best = max(whole, key=lambda name: whole[name].mean())
    passed = sum(bool((of > CHANCE + CLEAR).all()) for of in [paper, *whole.values()])
    told = found[found["variant"] == PAPER]["pairs"]
    return (
        f"**Pairs.** The paper's teach the classifier to tell held-out pairs apart "
        f"({told.mean():.1f}) and the held-out digit from the others with {paper.mean():.1f}, "
        f"mean over digits {_joined(ASKED)}. The best of {len(whole)} other kinds, "
        f"*{TITLES[best]}*, has {whole[best].mean():.1f}. Kinds above chance by more than "
        f"{CLEAR:g} points on every digit: {passed} of {len(whole) + 1}. All this at t = {START}."
        f" {_seeds_alone(runs)}"
    )


def _seeds_alone(runs: pd.DataFrame) -> str:
    widest = max((max(v) - min(v) for v in _by_seed(runs, ASKED).values()), default=0.0)
    return f"Another seed alone moves a digit by up to {widest:.1f} points." if widest else ""


def _less_in_short(found: pd.DataFrame) -> str:
    text = less_summary(found)
    return (
        f"**Less what it says of the image alone.** The logit less that of the image with itself: "
        f"{text[0].lower()}{text[1:]}"
        if text
        else ""
    )


def _labels_in_short(labelled: dict[str, dict[str, Any]]) -> str:
    known = list(labelled.values())
    if not known:
        return ""
    kept = [
        np.mean([s["kept"][str(START)][kind] for s in known]) for kind in ("anomalous", "normal")
    ]
    judged = {t: np.mean([judge(s, t) for s in known]) for t in ldm_classes.COMPARED}
    last = max(judged, key=judged.get)
    means = {
        (LABELLED[name], t): np.mean([s["auroc"][name][str(t)] for s in known]) * 100
        for name in LABELLED
        for t in ldm_classes.COMPARED
    }
    (kind, t), top = max(means.items(), key=lambda item: item[1])
    return (
        f"**What a judge of classes could find.** Means over {len(known)} held-out "
        f"digit{'s' if len(known) > 1 else ''}: after t = {START} the held-out digit still shows "
        f"its class in {kept[0]:.1%} of the reconstructions, normal digits in {kept[1]:.1%}. The "
        f"labeller who says which reconstructions have lost their class has an AUROC of "
        f"{judged[START]:.1f}, and {judged[last]:.1f} at t = {last}. Of all pairs of that study, "
        f"those made by labels among them, the best have {top:.1f} (*{kind}*, at t = {t}; chosen "
        "on the test images)."
    )


def _plain_in_short(runs: pd.DataFrame) -> str:
    parts = []
    for layout, what in _tables():
        wide = by_score(runs, layout, {**PLAIN, VQ: INKED[VQ]})
        if wide.empty:
            continue
        listed = ", ".join(f"{title} {wide[title].mean():.1f}" for title in (*PLAIN, VQ))
        parts.append(f"{len(wide)} {what}: {listed}")
    return f"**Classifier or plain error.** Means over {'; '.join(parts)}." if parts else ""


def _choices_in_short(found: pd.DataFrame, runs: pd.DataFrame) -> str:
    table = ldm_ablation_choices.choice_table(runs, found).iloc[:, :3]
    table.columns = ["choice", "digit", "change"]
    changed = table.iloc[len(ldm_ablation_choices.VARIED) :]
    changed = changed.assign(change=pd.to_numeric(changed["change"], errors="coerce")).dropna()
    if changed.empty:
        return ""
    changed = changed.assign(size=changed["change"].abs())
    of = changed.groupby("choice", sort=False)
    whole = of["digit"].nunique() == len(ldm_ablation_choices.VARIED)
    sizes = of["size"].mean()[whole]
    if sizes.empty:
        return ""
    top = sizes.idxmax()
    each = ", ".join(
        f"{row.change:+.1f} (digit {row.digit})"
        for row in changed[changed["choice"] == top].itertuples()
    )
    return (
        f"**Other choices.** Of {len(sizes)} that were run on digits "
        f"{_joined(ldm_ablation_choices.VARIED)}, one seed each, *{top}* changes the classifier's "
        f"AUROC most: {each}. {_seeds_alone(runs)}"
    )


def pair_summary(found: pd.DataFrame, runs: pd.DataFrame, asked: Sequence[str] = ASKED) -> str:
    """Say in Markdown which pairs help; every number computed. Digits not yet run are left out."""
    known = [c for c in asked if c in set(found.loc[found["variant"] == PAPER, "category"])]
    if not known:
        return "No kind of pairs is recorded yet."
    paper, told = at(found, PAPER)[known], found[found["variant"] == PAPER]["pairs"]
    values = {name: of for name in TITLES if (of := at(found, name).reindex(known)).notna().all()}
    best = max(values, key=lambda name: values[name].mean())
    beside = controls(runs, known)
    lines = [
        f"With the paper's pairs the classifier tells held-out pairs apart with an AUROC of "
        f"{told.mean():.1f}, and the held-out digit at t = {START} with {_listed(paper)}, where 50 "
        "is chance.",
        f"Of {len(values)} kinds of pairs the highest mean at t = {START} has *{TITLES[best]}*: "
        f"{_listed(values[best])}.",
        _passed(values, pd.Series(CHANCE + CLEAR, known), f"chance by more than {CLEAR:g} points"),
    ]
    lines += [
        _passed(values, level, f"{title}, which has {_listed(level)},")
        for title, level in beside.iterrows()
        if level.notna().all()
    ]
    lines.append(_over_starts(found, known, list(values)))
    spread = _spread(runs, asked)
    return "\n".join(f"- {line}" for line in [*lines, spread] if line)


def _passed(values: dict[str, pd.Series], level: pd.Series, title: str) -> str:
    """Say which variants lie above a level on every digit."""
    above = [f"*{TITLES[name]}*" for name, of in values.items() if (of > level[of.index]).all()]
    return f"Above {title} on every digit: {', '.join(above) or 'none'}."


def clipping(found: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Say how far clipping and rounding move a classifier, where a study and a record show it."""
    moved = clipping_moves(found, runs)
    if np.isnan(moved):
        return ""
    return (
        "In these studies reconstructions are pictures: clipped to the range of images, which the "
        "decoder may leave, and rounded to 8 bits. In the records they are not. For the same "
        "classifier and no diffusion, where nothing else differs, that moves the AUROC by up to "
        f"{moved:.1f} points."
    )


def less_summary(found: pd.DataFrame) -> str:
    """Say how well the difference does on the digits that it was not thought of."""
    fresh = found[(found["variant"] == PAPER) & ~found["category"].isin(LOOKED_AT)]
    parts = []
    for start in LESS_STARTS:
        of = fresh[fresh["start"] == str(start)].groupby("category")[["less", "auroc"]].mean()
        values = of["less"].dropna()
        if len(values) > 1:
            low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
            parts.append(
                f"at t = {start} {values.mean():.1f} [{low:.1f}, {high:.1f}], above {CHANCE:g} on "
                f"{int((values > CHANCE).sum())} of {len(values)} (the classifier's own score: "
                f"{of['auroc'].mean():.1f})"
            )
    if not parts:
        return ""
    digits = _joined(sorted(fresh.loc[fresh["less"].notna(), "category"].unique()))
    return (
        f"With the paper's pairs, on digits {digits}, which it was not thought of, its AUROC with "
        f"a 95 % interval over digits is {'; '.join(parts)}."
    )


def _over_starts(found: pd.DataFrame, known: list[str], names: list[str]) -> str:
    """Name the kind of pairs and the start with the highest mean, and its digits."""
    chosen = found[found["variant"].isin(names) & found["category"].isin(known)]
    chosen = chosen[chosen["start"] != ITSELF]
    wide = chosen.pivot_table(index=["variant", "start"], columns="category", values="auroc")
    name, start = wide.dropna().mean(axis=1).idxmax()
    return (
        f"Over all starts the highest mean has *{TITLES[name]}* at t = {start}: "
        f"{_listed(wide.loc[(name, start)])}; chosen on the test images."
    )


def _spread(runs: pd.DataFrame, asked: Sequence[str]) -> str:
    """Say how far seeds alone move the classifier with the paper's pairs."""
    parts = [
        f"digit {c} {', '.join(f'{v:.1f}' for v in values)}"
        for c, values in _by_seed(runs, asked).items()
    ]
    if not parts:
        return ""
    return f"How little a difference means: seeds alone give {'; '.join(parts)} with these pairs."


def _by_seed(runs: pd.DataFrame, asked: Sequence[str]) -> dict[str, pd.Series]:
    """Return the classifier's AUROC at t = 200, a value a seed, of digits that have several."""
    score = Score(METHOD, f"classifier_t{START}")
    found = {c: ldm_tables.auroc(runs, "mnist", c, score) for c in asked}
    return {c: values for c, values in found.items() if len(values) > 1}


def class_summary(found: dict[str, dict[str, Any]], asked: Sequence[str] = ASKED) -> str:
    """Say in Markdown how often classes are kept, and what pairs made by labels reach."""
    known = [found[c] for c in asked if c in found]
    if not known:
        return "No examination with labels is recorded yet."
    lines = [
        f"- Digit {s['category']} held out: the labeller is right on {s['labeller_accuracy']:.1%} "
        f"of the test images. At t = {START} normal digits keep their class in "
        f"{s['kept'][str(START)]['normal']:.1%} of the cases, the held-out digit in "
        f"{s['kept'][str(START)]['anomalous']:.1%}; at t = 500 in {s['kept']['500']['normal']:.1%} "
        f"and {s['kept']['500']['anomalous']:.1%}. Of the samples from noise {s['same_class']:.1%} "
        f"have the class of the image they are called different from (chance: "
        f"{s['expected_same_class']:.1%})."
        for s in known
    ]
    names = [s["category"] for s in known]
    levels = pd.DataFrame(
        {
            name: [np.mean([s["auroc"][name][str(t)] for s in known]) for t in ldm_classes.COMPARED]
            for name in LABELLED
        },
        index=[f"t = {t}" for t in ldm_classes.COMPARED],
    ).T
    parts = [
        f"*{LABELLED[name]}* {number(levels.loc[name].max() * 100)} at {levels.loc[name].idxmax()}"
        for name in levels.max(axis=1).sort_values(ascending=False).index
    ]
    head = f"digit{'s' if len(names) > 1 else ''} {_joined(names)}"
    lines.append(f"- Highest AUROC of each kind, mean over {head}: {'; '.join(parts)}.")
    return "\n".join(lines)


def plain_summary(runs: pd.DataFrame) -> str:
    """Say in Markdown how the classifier does against plain errors of the same reconstruction."""
    lines = []
    for layout, what in _tables():
        wide = by_score(runs, layout, PLAIN)
        if wide.empty:
            continue
        ours, *others = (wide[title] for title in PLAIN)
        parts = [
            f"{other.name} in {int((ours > other).sum())} (mean {other.mean():.1f})"
            for other in others
        ]
        lines.append(
            f"- {what}, {len(wide)} recorded: classifier {ours.mean():.1f} in the mean, from "
            f"{ours.min():.1f} to {ours.max():.1f}. It is above {'; '.join(parts)}."
        )
    return "\n".join(lines) or "No run of latent diffusion is recorded yet."


def _tables() -> list[tuple[Layout, str]]:
    """Return what is averaged over: each reading of CIFAR-10 apart, as complements cancel."""
    readings = [
        (one, f"sets of CIFAR-10, {title.removeprefix('ours, ')}")
        for title, one in CIFAR10.apart().items()
    ]
    return [(MNIST, "MNIST digits"), *readings]


def ink_summary(runs: pd.DataFrame) -> str:
    """Say in Markdown how much of each score is ink, over the digits."""
    found = ldm_tables.scores(runs, MNIST, INKED)
    wide = by_score(runs, MNIST, INKED)
    if wide.empty:
        return "No digit is recorded yet."
    pixel, divided = f"pixel error, t = {START}", f"pixel error / ink, t = {START}"
    ink = found.groupby("score")["ink"].mean()
    beaten = int((wide["control"] > wide[pixel]).sum())
    return (
        f"Over {len(wide)} digits: among normal test images the pixel error at t = {START} has a "
        f"rank correlation of {ink[pixel]:+.2f} with the ink (the classifier "
        f"{ink[f'classifier, t = {START}']:+.2f}). The mean ink alone beats it on {beaten} of "
        f"{len(wide)} digits. Divided by the ink the pixel error has an AUROC of "
        f"{wide[divided].mean():.1f} in the mean, from {wide[divided].min():.1f} to "
        f"{wide[divided].max():.1f}, before {wide[pixel].mean():.1f}, from "
        f"{wide[pixel].min():.1f} to {wide[pixel].max():.1f}."
    )


def _listed(values: pd.Series) -> str:
    parts = [f"{value:.1f} (digit {category})" for category, value in values.items()]
    mean = f", mean {values.mean():.1f}" if len(parts) > 1 else ""
    return _joined(parts) + mean


def _joined(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
