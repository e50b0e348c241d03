"""What the records of the latent-diffusion chapter say, in sentences; every number computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from adlib.study import ldm_tables
from adlib.study.ldm_pictures import Live, Pictures
from adlib.study.ldm_tables import (
    CONTROLS,
    METHODS,
    NAMES,
    START,
    TITLES,
    UNASSIGNED,
    Layout,
    Score,
)
from adlib.study.magnetic_tile_tables import read

FEW = 3  # categories that a correlation over them needs more than


def relation(runs: pd.DataFrame, layout: Layout) -> str:
    """Say in Markdown what was recorded, and with how many images."""
    rows = [ldm_tables.chosen(runs, layout.dataset, method) for method in METHODS.values()]
    if not any(map(len, rows)):
        return f"Nothing is recorded on {layout.dataset} yet."
    found = pd.concat([each for each in rows if len(each)])
    counts = ", ".join(
        f"{TITLES[method]} {found[found['method'] == method]['category'].nunique()}"
        for method in METHODS.values()
    )
    low, high = int(found["n_train"].min()), int(found["n_train"].max())
    train = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return (
        f"Recorded with the preset *small*, of {len(layout.categories)} categories: {counts}. "
        f"Training images: {train}, of normal classes only and without their labels; test images: "
        f"{int(found['n_test'].max()):,}, the official test set."
    )


def unassigned(printed: pd.DataFrame, layout: Layout) -> str:
    """Say in Markdown which numbers the paper prints where they cannot be assigned to columns."""
    lines = [
        f"- {NAMES[method]}: {', '.join(f'{value:.1f}' for value in values)} "
        f"({len(values)} numbers for {len(layout.columns)} columns)"
        for method, values in ldm_tables.unassigned(printed, layout).items()
    ]
    head = (
        f"{UNASSIGNED} The text of {layout.where} at hand is damaged: two rows hold another number "
        "of values than the table has columns, so none of them can be assigned to a digit. They "
        "are listed as they stand, and nothing is compared with them:\n\n"
    )
    return head + "\n".join(lines) if lines else ""


def missing(runs: pd.DataFrame, layout: Layout) -> str:
    """Say in Markdown what was not run, with the commands."""
    commands = ldm_tables.missing_commands(runs, layout)
    if not commands:
        return "Every cell was run."
    return (
        "**The commands that fill what was not run** (add `--preset paper` for the paper's sizes):"
        "\n\n```sh\n" + "\n".join(commands) + "\n```"
    )


def partial(runs: pd.DataFrame, layout: Layout, results: Path | str = "results") -> str:
    """Say in Markdown what the records of a table say of their data: parts of a data set."""
    found = [ldm_tables.chosen(runs, layout.dataset, method) for method in METHODS.values()]
    made = [record for rows in found if len(rows) for record in read(rows, results)]
    notes = sorted({text for record in made for text in record["deviations"]})
    return f"At hand were {'; '.join(notes)}." if notes else ""


def claim(printed: pd.DataFrame, layout: Layout) -> str:
    """Say in Markdown in how many printed columns the paper's own method is the highest."""
    rows = pd.DataFrame(
        {method: ldm_tables.printed_row(printed, layout, method) for method in METHODS}
    )
    if rows.isna().to_numpy().any():
        return "The paper's own ranking cannot be checked: two of its rows cannot be assigned."
    below = rows[rows["ldm"] < rows.drop(columns="ldm").max(axis=1)]
    parts = [
        f"in {{{column}}} its {row['ldm']:.1f} lies below "
        + ", ".join(f"{NAMES[m]} {row[m]:.1f}" for m in METHODS if row[m] > row["ldm"])
        for column, row in below.iterrows()
    ]
    return (
        "The paper says that its method *surpassed* the others. Its own table says so in "
        f"{len(rows) - len(below)} of {len(rows)} columns"
        + (f"; {'; '.join(parts)}." if parts else ".")
    )


def summary(runs: pd.DataFrame, layout: Layout) -> str:
    """Say in Markdown what the records answer; nothing where nothing is recorded."""
    lines = [*_classifier(runs, layout), *_starts(runs, layout), *_ink(runs, layout)]
    return "\n".join(lines) if lines else "Nothing to sum up is recorded yet."


def _classifier(runs: pd.DataFrame, layout: Layout) -> list[str]:
    ours = _means(runs, layout, ldm_tables.own("latent_diffusion"))
    if ours.empty:
        return []
    lines = [
        f"- The score classifier at t = {START}: AUROC **{ours.mean():.1f}** in the mean over "
        f"{_counted(len(ours))}, from {ours.min():.1f} to {ours.max():.1f} (chance: 50)."
    ]
    best = ldm_tables.plain(runs, layout)
    others = {
        f"the {ldm_tables.PLAIN[best.name]} of the same reconstruction": _means(runs, layout, best)
    }
    others |= {
        TITLES[name]: _means(runs, layout, ldm_tables.own(name))
        for name in METHODS.values()
        if name != "latent_diffusion"
    }
    others["the latent error z-scored over t"] = _means(
        runs, layout, Score("latent_diffusion", "zscore_latent")
    )
    others[f"{CONTROLS[layout.dataset]}, without any model"] = pd.Series(
        {name: ldm_tables.control(runs, layout.dataset, name) for name in layout.categories}
    )
    parts = [
        f"{title} in {int((ours[both] > other[both]).sum())} of {len(both)} "
        f"({ours[both].mean():.1f} to {other[both].mean():.1f})"
        for title, other in others.items()
        if len(both := ours.index.intersection(other.dropna().index))
    ]
    everywhere = [
        name for name in ours.index if all(name in others[TITLES[m]].index for m in _BASELINES)
    ]
    first = sum(ours[n] > max(others[TITLES[m]][n] for m in _BASELINES) for n in everywhere)
    lines.append(f"- It is higher than {'; '.join(parts)}: categories won, and mean AUROCs.")
    if everywhere:
        lines.append(
            f"- Where all four methods were run ({_counted(len(everywhere))}) it is the highest "
            f"in {first}."
        )
    return lines


def _counted(n: int) -> str:
    return f"{n} categor{'y' if n == 1 else 'ies'}"


_BASELINES = tuple(name for name in METHODS.values() if name != "latent_diffusion")


def _means(runs: pd.DataFrame, layout: Layout, score: Score) -> pd.Series:
    """Return the mean AUROC over seeds by category, where it was run."""
    values = {
        name: ldm_tables.auroc(runs, layout.dataset, name, score).mean()
        for name in layout.categories
    }
    return pd.Series(values, dtype=float).dropna()


def _starts(runs: pd.DataFrame, layout: Layout) -> list[str]:
    found = ldm_tables.by_start(runs, layout)
    if found.empty:
        return []
    means = found.groupby(["kind", "t"])["auroc"].mean()
    parts = []
    for kind in ldm_tables.KINDS:
        best = int(means[kind].idxmax())
        parts.append(f"{kind} {means[kind][best]:.1f} at t = {best}")
    ratio = found[found["kind"] == "pixel"].groupby("t")["ratio"].mean()
    shown = ", ".join(
        f"t = {t} {ratio[t]:.2f}" for t in ratio.index if t in (START, ratio.index.max())
    )
    return [
        f"- Highest mean AUROC over the starts t: {'; '.join(parts)} (t = 0: the VQ model alone; "
        f"at the paper's t = {START}: "
        + ", ".join(f"{kind} {means[kind].get(START, np.nan):.1f}" for kind in ldm_tables.KINDS)
        + ").",
        f"- Identity shortcut: the pixel error of anomalous over that of normal images is "
        f"{ratio.get(0, np.nan):.2f} after the VQ model alone; after diffusion: {shown} (means "
        f"over categories; 1: both are copied equally well).",
    ]


def _ink(runs: pd.DataFrame, layout: Layout) -> list[str]:
    itself = "classifier, image with itself"  # no reconstruction at all
    asked = ldm_tables.SCORES | {itself: ldm_tables.FURTHER[itself]}
    follows = {
        title: of["auroc"].corr(of["control"])
        for title, of in ldm_tables.scores(runs, layout, asked).groupby("score", sort=False)
        if len(of) > FEW and of["auroc"].std() > 0
    }
    if not follows:
        return []
    shown = "; ".join(f"{title} {value:+.2f}" for title, value in follows.items())
    return [
        f"- Correlation over categories between the AUROC of a score and that of the "
        f"{CONTROLS[layout.dataset]} alone: {shown}."
    ]


def recorded(shown: Pictures | None, out: str) -> str:
    """Say in Markdown which model made the recorded pictures, or how to make them."""
    if shown is None:
        command = "python -m adlib.study.ldm_pictures --root DIR --category 0"
        return f"No pictures were recorded yet; `{command}` makes {out}."
    about = shown.about
    return (
        f"Recorded from the preset *{about['preset']}*, digit {about['category']} held out, the "
        f"networks of the record with the key `{about['key']}`. `{about['command']}` makes the "
        "file again."
    )


def live(ran: Live) -> str:
    """Say in Markdown what was trained live, and how little or how much that means."""
    about, n = ran.about, len(ran.category.train)
    head = (
        f"Trained here: the preset *{about['preset']}* on {n:,} images of {about['dataset']}, "
        f"anomalous {about['category']}; {len(ran.category.test):,} test images."
    )
    if about["preset"] == "tiny":
        steps = about["parameters"]
        head += (
            f" With {steps['compression_steps']} updates of the compression model, "
            f"{steps['diffusion_steps']} of the diffusion and {steps['classifier_steps']} of the "
            "classifier, *tiny* proves the machinery and nothing else: its reconstructions are "
            "blurs and its AUROCs say nothing about the method."
        )
    return head
