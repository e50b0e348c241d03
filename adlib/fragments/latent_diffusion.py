"""The answer of the latent-diffusion chapter, and its tables at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from adlib.claims import Evidence
from adlib.claims.commands import commands
from adlib.claims.sides import Side, contrast, counted, differences
from adlib.claims.studies import by_category
from adlib.claims.verdict import joined, signed
from adlib.datasets.cifar10 import PRINTED, READINGS
from adlib.datasets.classes import one_each
from adlib.diffusion.score_names import score_name
from adlib.fragments.markdown import code, escape, table
from adlib.report import mean_sd
from adlib.study.ldm_ablation import LESS_STARTS, LOOKED_AT, judge

METHOD = "latent_diffusion"
RIVALS = {"autoencoder": "autoencoder", "anoddpm": "AnoDDPM", "ddpm": "DDPM"}
STARTS = (100, 200, 300, 400, 500)
SCORES = ("classifier", "pixel", "latent")
PAPERS_PAIRS = "noise"
PAIRS = {  # variants of adlib.study.ldm_pairs
    PAPERS_PAIRS: "sample from noise (the paper)",
    "other": "reconstruction of another image",
    "later": "the same image from t = 600",
    "noise+other": "noise, and another image",
    "noise, all starts": "noise; positives from t = 100 to 500",
    "other, all starts": "another image; both kinds from t = 100 to 500",
}
CEILING = 100 * (1 - 1 / (2 * 9))  # of pairs with 9 normal classes, by classes alone
CIFAR10_NORMAL = 25_000  # training images of five classes
SMALL = "Networks of the preset `small`: what the paper's networks do is another question."


def latent_diffusion_answer(evidence: Evidence) -> str:
    """Return what the records say about the chapter's four claims, then by t and by pairs."""
    mnist, cifar = evidence.on("mnist"), evidence.on("cifar10")
    if mnist.select(METHOD, "").empty:
        return f"Nothing is recorded on MNIST yet: {code(commands([METHOD], 'mnist', '')[0])}."
    lines = [
        f"- **Best in nine of ten digits?** {best_in(mnist, one_each())}",
        *(
            f"- **Best on CIFAR-10, printed classes {reading}{_part(cifar, names)}?** "
            f"{best_in(cifar, names)}"
            for reading, names in READINGS.items()
        ),
        f"- **Identity shortcut avoided?** {shortcut(mnist)}",
        f"- **Is t = 200 right?** {best_start(mnist)}",
        f"- **Does the classifier compare classes?** {classifier(mnist)}",
        f"- **What could a comparison of classes find?** {class_judge(mnist)}",
        f"- **Do other pairs make it work?** {other_pairs(mnist)}",
        f"- **Does the comparison alone detect?** {less_itself(mnist)}",
        f"- **How far does another seed move the classifier's AUROC?** {by_seeds(mnist)}",
    ]
    parts = [_scale(mnist), "\n".join(lines), by_start(mnist), by_pairs(mnist)]
    return "\n\n".join(filter(None, parts))


def latent_diffusion_glance(evidence: Evidence) -> str:
    """Return image AUROC by digit and by set of classes, beside what the paper prints."""
    return "\n\n".join(filter(None, [digits(evidence), sets(evidence)]))


def best_in(evidence: Evidence, names: Sequence[str]) -> str:
    """Say in how many categories the method is ahead of every rival that was run."""
    ours = _means(evidence, METHOD).reindex(names)
    theirs = pd.DataFrame({run: _means(evidence, run).reindex(names) for run in RIVALS})
    known = ours.notna() & theirs.notna().any(axis=1)
    if not known.any():
        return f"Not run: {code(commands([*RIVALS], evidence.dataset, '')[0])} and the others."
    ahead = known & (theirs.max(axis=1) < ours)
    whole = known & theirs.notna().all(axis=1)
    lost = int((known & ~ahead).sum())
    claimed = len(names) - (len(names) > len(PRINTED))  # nine of ten digits, or every set
    answer = "Yes" if int((ahead & whole).sum()) >= claimed else "Open"
    answer = f"Not in {claimed}" if len(names) - lost < claimed else answer
    return (
        f"{answer}. In {int(known.sum())} of {len(names)} at least one rival was run, in "
        f"{int(whole.sum())} all three; the method is ahead of all that were run in "
        f"{int(ahead.sum())}{_levels(ours[ahead])}. AnoDDPM and DDPM are smaller networks here "
        "than the method's."
    )


def shortcut(evidence: Evidence) -> str:
    """Say what diffusion does to the error of anomalies over that of normal images."""
    after, before = (Side(run=METHOD, column=f"ratio_{name}") for name in ("pixel_t200", "vq"))
    gain = differences(evidence, after, before, [])
    means = [differences(evidence, side, 0.0, []).mean() for side in (before, after)]
    found = contrast(gain)
    answer = "Yes" if found.low > 0 else "No" if found.high < 0 else "Not shown"
    return (
        f"{answer}. Anomalies have {means[0]:.2f} times the error of normal digits after the "
        f"compression model alone and {means[1]:.2f} times after diffusion from t = 200 (mean of "
        f"{counted(len(gain))}): a difference of {_interval(gain)}, and more in "
        f"{int((gain > 0).sum())} of {len(gain)}."
    )


def best_start(evidence: Evidence) -> str:
    """Say where each score is best on average, and what it is at t = 200."""
    parts, best, clear = [], set(), []
    for score in SCORES[:2]:
        means = _by_start(evidence, "auroc", score)
        if means.isna().all():
            continue
        t = int(means.idxmax())
        best.add(t)
        text = f"the mean AUROC of {score_name(score)} is largest at t = {t} ({means.max():.1f} %)"
        if t != 200:
            other, paper = (Side(run=METHOD, column=f"auroc_{score}_t{s}") for s in (t, 200))
            lead = differences(evidence, other, paper, [])
            clear.append(contrast(lead).low > 0)
            text += f", {_interval(lead)} points ahead of 200 ({means[200]:.1f} %)"
        parts.append(text)
    if not parts:
        return "Not recorded."
    text = "; ".join(parts)
    answer = "No" if clear and all(clear) else "Not by these AUROCs"
    answer = "Yes" if best == {200} else answer
    return f"{answer}. {text[0].upper()}{text[1:]}.{_matched(evidence)}"


def _matched(evidence: Evidence) -> str:
    """Say what a start at 400 does where the classifier's pairs are made at 400 as well."""
    later = Side(run=f"{METHOD} start=400 positives=400")
    gain = differences(evidence, later, Side(run=METHOD), [])
    if gain.empty:
        return ""
    each = ", ".join(f"{name} {signed(value)}" for name, value in gain.items())
    return f" With the classifier's pairs made at 400 as well, by digit: {each} points against 200."


def classifier(evidence: Evidence) -> str:
    """Say how far the classifier's score is from chance, and how it separates its own pairs."""
    above = differences(evidence, Side(run=METHOD), 50.0, [])
    alone = Side(run=METHOD, column="auroc_classifier_itself")
    pairs = Side(run=METHOD, column="pair_auroc")
    itself, told, ink = (
        differences(evidence, side, 0.0, [])
        for side in (alone, pairs, Side(run=METHOD, column="auroc_ink"))
    )
    follows = ""
    if len(itself) > 2 and itself.std() > 0 and ink.std() > 0:
        follows = (
            f" (from {itself.min():.1f} to {itself.max():.1f}; correlation with the AUROC of the "
            f"ink {signed(itself.corr(ink))})"
        )
    classes_only = told.mean() <= CEILING and contrast(above).low > 0
    return (
        f"{'Yes' if classes_only else 'Not shown'}. Held-out pairs are told apart with an AUROC of "
        f"{told.mean():.1f} % (classes alone allow {CEILING:.1f} %), test images with "
        f"{50 + above.mean():.1f} %, {_interval(above)} points from chance over "
        f"{counted(len(above))}; shown an image and itself the same classifier has "
        f"{itself.mean():.1f} % in the mean{follows}."
    )


def class_judge(evidence: Evidence) -> str:
    """Say what a labeller from outside would detect, on the digits that were studied."""
    studies = _small(evidence, "classes")
    if not studies:
        return (
            "Not run: `python -m adlib.study.ldm_classes --dataset mnist --root DIR --category 0`."
        )
    levels = pd.DataFrame({t: by_category(studies, lambda s, t=t: judge(s, t)) for t in STARTS})
    means = levels.mean()
    each = ", ".join(f"{name}: {value:.1f}" for name, value in levels[200].items())
    return (
        f"A labeller from outside, who knows the class of the image and says only whether the "
        f"reconstruction has lost it, has an AUROC of {means[200]:.1f} % at t = 200 (by held-out "
        f"digit: {each}; chance: 50) and of {means.max():.1f} % at t = {means.idxmax()}, the best "
        f"of {', '.join(map(str, means.index))}. It errs itself, and a judge who says how sure he "
        f"is could have more."
    )


def by_seeds(evidence: Evidence) -> str:
    """Say how far another seed alone moves the classifier's AUROC, where several were run."""
    found = evidence.values(METHOD, "", "image_auroc")
    each = {name: of["value"] for name, of in found.groupby("category") if len(of) > 1}
    if not each:
        return "One seed a category was run."
    listed = "; ".join(
        f"{name}: {', '.join(f'{value:.1f}' for value in values)}" for name, values in each.items()
    )
    widest = max(values.max() - values.min() for values in each.values())
    return (
        f"By up to {widest:.1f} points, with the same data and settings: {listed}. A "
        "comparison that rests on one seed a digit can show large differences only."
    )


def other_pairs(evidence: Evidence) -> str:
    """Say which pairs change the classifier's score at t = 200, on the digits that were studied."""
    levels = _pair_levels(evidence)
    if PAPERS_PAIRS not in levels or levels.shape[1] < 2:
        return "Not run: `python -m adlib.study.ldm_pairs --dataset mnist --root DIR --category 0`."
    gains = levels.sub(levels[PAPERS_PAIRS], axis=0).drop(columns=PAPERS_PAIRS)
    clear = [name for name in gains if contrast(gains[name].dropna()).low > 0]
    parts = [
        f"{PAIRS[name]} {_interval(gains[name].dropna())} points to {levels[name].mean():.1f} % "
        f"({counted(gains[name].count())})"
        for name in gains
    ]
    answer = f"{joined([PAIRS[name] for name in clear])}: yes" if clear else "Not shown"
    return f"{answer}. Against the paper's pairs, at t = 200: {'; '.join(parts)}."


def less_itself(evidence: Evidence) -> str:
    """Say what the classifier detects less what it says of the image alone."""
    studies = _small(evidence, "pairs")
    parts = []
    for t in LESS_STARTS:
        values = by_category(
            studies, lambda s, t=t: 100 * s["variants"][PAPERS_PAIRS]["less_itself"][str(t)]
        ).drop(list(LOOKED_AT), errors="ignore")
        if len(values) > 1:
            own = by_category(
                studies, lambda s, t=t: 100 * s["variants"][PAPERS_PAIRS]["auroc"][str(t)]
            ).reindex(values.index)
            parts.append(
                f"{values.mean():.1f} % at t = {t}, {_interval(values - 50)} points from chance "
                f"over {counted(len(values))} with one seed each, and {_interval(values - own)} "
                "from the classifier's own score there"
            )
    if not parts:
        return "Not run: `python -m adlib.study.ldm_pairs --dataset mnist --root DIR --category 2`."
    return (
        "The classifier's logit less its logit for the image with itself, with the paper's pairs, "
        f"has an AUROC of {'; '.join(parts)}. The score was thought of after a look at digits "
        f"{joined(LOOKED_AT)}, which are left out."
    )


def by_start(evidence: Evidence) -> str:
    """Return mean AUROC and error ratio against the start of the reverse chain."""
    rows = []
    for score in SCORES:
        kinds = ["auroc"] if score == "classifier" else ["auroc", "ratio"]
        for kind in kinds:
            means = _by_start(evidence, kind, score)
            first = _column(evidence, f"{kind}_{_ALONE[score]}") if score in _ALONE else None
            shown = [first, *(means[t] for t in STARTS)]
            digits = 1 if kind == "auroc" else 2
            cells = ["–" if v is None or pd.isna(v) else f"{v:.{digits}f}" for v in shown]
            rows.append([f"{_KINDS[kind]} {score_name(score)}", *cells])
    number = len(_means(evidence, METHOD))
    title = f"Against the start of the reverse chain, means over {counted(number)} of MNIST:"
    header = ["", "no diffusion", *(f"t = {t}" for t in STARTS)]
    return f"{title}\n\n{table(header, rows, numbers=range(1, len(header)))}"


def by_pairs(evidence: Evidence) -> str:
    """Return the classifier's score by the pairs it was trained with, a column a digit."""
    levels = _pair_levels(evidence)
    if levels.empty:
        return ""
    rows = [
        [
            PAIRS[variant],
            *(_printed(value) for value in levels[variant]),
            _printed(levels[variant].mean() if levels[variant].notna().all() else None),
        ]
        for variant in levels
    ]
    title = (
        "Image AUROC at t = 200 by held-out digit and by the negatives that the classifier was "
        "trained with, percent, one seed a digit (reconstructions clipped to the range of "
        "images here, unlike in the records: the classifier's AUROC moves by points for that, as "
        "{doc}`/executed/ldm_ablation` says):"
    )
    header = ["Negatives", *map(str, levels.index), "mean"]
    return f"{title}\n\n{table(header, rows, numbers=range(1, len(header)))}"


def _pair_levels(evidence: Evidence) -> pd.DataFrame:
    """Return image AUROC in percent: a row a digit, a column a variant; NaN where not run."""
    found = _small(evidence, "pairs")
    columns = {
        variant: by_category(
            found, lambda study, v=variant: 100 * study["variants"][v]["auroc"]["200"]
        )
        for variant in PAIRS
    }
    return pd.DataFrame({n: c for n, c in columns.items() if len(c)})


def _small(evidence: Evidence, kind: str) -> list[dict[str, Any]]:
    """Return the studies of a kind that were made on this data set with the preset small."""
    return [
        study
        for study in evidence.studies.get(kind, [])
        if (study["dataset"], study["preset"]) == (evidence.dataset, "small")
    ]


def digits(evidence: Evidence) -> str:
    """Return Table 1: image AUROC of four methods by anomalous digit; empty without a run."""
    return _overview(
        evidence.on("mnist"),
        {name: name for name in one_each()},
        "Digit",
        "Image AUROC on MNIST, one digit anomalous, preset `small`; percent, mean ± sd (seeds). "
        "Only two of the paper's rows can be read:",
        {"autoencoder": "paper: autoencoder", "ddpm": "paper: DDPM"},
    )


def sets(evidence: Evidence) -> str:
    """Return Table 2 in both readings; empty without a run."""
    here = evidence.on("cifar10")
    parts = []
    for reading, names in READINGS.items():
        parts.append(
            _overview(
                here,
                dict(zip(names, PRINTED, strict=True)),
                "Anomalous classes",
                f"Image AUROC on CIFAR-10, the printed classes being {reading}, preset `small`"
                f"{_part(here, names)}; percent, mean ± sd (seeds):",
                {"ldm": "paper: the method", "autoencoder": "paper: autoencoder"},
            )
        )
    return "\n\n".join(filter(None, parts))


def _part(evidence: Evidence, names: Sequence[str]) -> str:
    """Say how many normal images were trained on, where that is not all of the data set."""
    found = evidence.select(METHOD, "")
    found = found[found["category"].isin(names)] if len(found) else found
    if found.empty or found["n_train"].min() >= CIFAR10_NORMAL:
        return ""
    return f", {found['n_train'].min():,} of {CIFAR10_NORMAL:,} normal training images"


_ALONE = {"classifier": "classifier_vq", "pixel": "vq"}
_KINDS = {"auroc": "AUROC (%) of", "ratio": "error ratio of"}


def _overview(
    evidence: Evidence, names: dict[str, str], first: str, title: str, quoted: dict[str, str]
) -> str:
    """Return a table, a row a category (ours -> printed); empty where nothing was run."""
    runs = {METHOD: "latent diffusion"} | RIVALS
    if all(_means(evidence, run).reindex(list(names)).isna().all() for run in runs):
        return ""
    printed = evidence.printed
    printed = printed[(printed["paper"] == "ldm") & (printed["dataset"] == evidence.dataset)]
    cells = printed.set_index(["method", "category"])["value"].to_dict() if len(printed) else {}
    rows = [
        [
            escape(name),
            *(_shown(evidence, run, name) for run in runs),
            _shown(evidence, METHOD, name, "auroc_ink"),
            *(_printed(cells.get((method, theirs))) for method in quoted),
        ]
        for name, theirs in names.items()
    ]
    header = [first, *runs.values(), "brightness alone", *quoted.values()]
    return f"{title}\n\n{table(header, rows, numbers=range(1, len(header)))}"


def _shown(evidence: Evidence, run: str, name: str, column: str = "image_auroc") -> str:
    values = evidence.values(run, "", column)
    return mean_sd(values.loc[values["category"] == name, "value"], 1).replace("± ", "±\u00a0")


def _printed(value: float | None) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.1f}"


def _means(evidence: Evidence, run: str) -> pd.Series:
    return differences(evidence, Side(run=run), 0.0, [])


def _column(evidence: Evidence, column: str) -> float:
    return differences(evidence, Side(run=METHOD, column=column), 0.0, []).mean()


def _by_start(evidence: Evidence, kind: str, score: str) -> pd.Series:
    return pd.Series({t: _column(evidence, f"{kind}_{score}_t{t}") for t in STARTS}, dtype=float)


def _interval(values: pd.Series) -> str:
    found = contrast(values)
    if pd.isna(found.low):
        return signed(found.mean)
    return f"{signed(found.mean)} [{signed(found.low)}, {signed(found.high)}]"


def _levels(chosen: pd.Series) -> str:
    """List categories with what the method has there: ahead may be below 50."""
    each = [f"{name} with {value:.1f}" for name, value in chosen.items()]
    return f" ({joined(each)})" if each else ""


def _scale(evidence: Evidence) -> str:
    runs = evidence.select(METHOD, "")
    size = runs["parameters_millions"].mean() if "parameters_millions" in runs else float("nan")
    many = "" if pd.isna(size) else f" The method's three networks have {size:.1f} million weights."
    return f"{SMALL}{many} Intervals are 95 % over categories."
