"""Table 6 of the PatchCore paper: magnetic tiles and mSTC, printed numbers and ours.

The magnetic tiles have no split of their own. Ours draws 20 % of the defect-free images for the
test with each of three seeds, and the spread of these splits is what a number varies by. Images are
squashed whole; three comparisons stand beside: cropped as elsewhere, thumbnails without a network,
and splits that keep all photographs of a tile on one side.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from adlib import metrics, records
from adlib.datasets.folder import GOOD
from adlib.datasets.magnetic_tile import GROUPED
from adlib.evaluate import reads_images
from adlib.records import Record
from adlib.report import mean_sd, option, select
from adlib.study import figures
from adlib.study.localisation import Localised
from adlib.study.patchcore_tables import NAMES
from adlib.study.tables import NOT_RUN, NOTHING

TILES = "magnetic_tile"
SQUASHED = "resize=224 crop=null squash=true"
"""What is done to the images: whole, but out of proportion."""
ROWS = {
    "patchcore_10": f"patchcore fraction=0.1 {SQUASHED}",
    "patchcore_1": f"patchcore fraction=0.01 {SQUASHED}",
    "padim": f"padim dim=100 {SQUASHED}",
    "spade": f"spade image_level=3 pixel_stride=2 {SQUASHED}",
    "1nn": f"one_nn image_level=3 {SQUASHED}",
    "thumbnail": f"thumbnail {SQUASHED}",
}
"""Which of our runs answers a method of the table (ResNet-18, whose weights end at level 3)."""
CROPPED = {"patchcore_10": "patchcore fraction=0.1", "thumbnail": "thumbnail"}
"""The runs with the central crop instead: short side to 256, the middle 224 x 224 pixels kept."""
BY_TILE = ("patchcore_10", "1nn", "thumbnail")
"""The methods that were also run with all photographs of a tile on one side of the split."""
BY_IMAGE_SPLIT, BY_TILE_SPLIT = "split", "grouped"  # what the names of these splits begin with
SHOWN = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}
SPLITS = 3  # of the defect-free images, that a row of the table averages
MSTC_RUN = "patchcore fraction=0.1 layers=3+4 crop=null squash=true"
MSTC_COMMAND = (
    "adlib evaluate patchcore --dataset mstc --root DIR --backbone wide_resnet50_2 --crop 0 "
    "--squash --set fraction=0.1 --set layers=3+4"
)
Scored = dict[tuple[str, str], np.ndarray]
_CROPPED = "Resize and crop leave nothing of the defect in "
_UNMARKED = "The mask file marks no defect for the anomalous "


def splits(
    runs: pd.DataFrame, run: str, backbone: str = "resnet18", kind: str = BY_IMAGE_SPLIT
) -> pd.DataFrame:
    """Return our runs of a method on the tiles, one a split.

    Parameters
    ----------
    runs : DataFrame
        ``records.table()``.
    run : str
        A value of `ROWS` or `CROPPED`.
    backbone : str
        Of the methods that use one.
    kind : {'split', 'grouped'}
        Splits that draw images, or whole tiles.
    """
    if runs.empty:
        return runs
    network = None if reads_images(run.split()[0]) else backbone
    here = runs[(runs["dataset"] == TILES) & runs["category"].str.startswith(kind)]
    chosen = select(here, run, network)
    return chosen.drop_duplicates("category").sort_values("category")


def table6(runs: pd.DataFrame, printed: pd.DataFrame, backbone: str = "resnet18") -> pd.DataFrame:
    """Lay out the lower half of Table 6, turned: a row a method, printed image AUROC and ours.

    Returns
    -------
    DataFrame
        The paper's image AUROC; ours with pixel AUROC and AUPRO, in percent, as mean ± sd (splits);
        images on the wrong side of the best threshold, of all test images.
    """
    paper = _printed(printed, TILES, "image_auroc")
    table = {}
    for method in [*paper.index, *(name for name in ROWS if name not in paper.index)]:
        row = {"paper": f"{paper[method]:.1f}" if method in paper.index else NOTHING}
        row |= _row(splits(runs, ROWS[method], backbone)) if method in ROWS else _row(None)
        table[NAMES[method]] = row
    return pd.DataFrame(table).T


def crop_table(runs: pd.DataFrame, backbone: str = "resnet18") -> pd.DataFrame:
    """Hold squashing whole images against the central crop, which cuts defects off.

    Returns
    -------
    DataFrame
        Image AUROC and pixel AUROC in percent, mean ± sd (splits); a row a method that has both.
    """
    table = {}
    for method, cropped in CROPPED.items():
        pair = {"squashed": ROWS[method], "cropped": cropped}
        cells = {name: _row(splits(runs, run, backbone)) for name, run in pair.items()}
        table[NAMES[method]] = {
            f"{title}, {name}": cells[name][f"{title}, ours"]
            for title in ("image AUROC", "pixel AUROC")
            for name in pair
        }
    return pd.DataFrame(table).T


def missing_commands(runs: pd.DataFrame) -> list[str]:
    """Return a command for every method of which a split was not run; it runs all the splits."""
    asked = [(run, BY_IMAGE_SPLIT) for run in (*ROWS.values(), *CROPPED.values())]
    asked += [(ROWS[method], BY_TILE_SPLIT) for method in BY_TILE]
    return [
        _command(run, kind) for run, kind in asked if len(splits(runs, run, kind=kind)) < SPLITS
    ]


def _command(run: str, kind: str) -> str:
    method, *settings = run.split()
    words = [f"adlib evaluate {method} --dataset {TILES} --root DIR"]
    # without a category all that are listed are run: the splits that draw images
    words += [f"--category {name}" for name in GROUPED] if kind == BY_TILE_SPLIT else []
    words += [] if reads_images(method) else ["--backbone resnet18"]
    return " ".join([*words, *map(option, settings)])


def paper(printed: pd.DataFrame, method: str = "patchcore_10") -> float:
    """Return the printed image AUROC on the tiles, percent."""
    return float(_printed(printed, TILES, "image_auroc")[method])


def protocol(runs: pd.DataFrame, results: Path | str = "results") -> str:
    """Say in Markdown what the recorded splits hold, and what a crop would take from them."""
    squashed = _one_record(runs, ROWS, results)
    if squashed is None:
        return "Nothing is recorded on the magnetic tiles yet."
    _, unmarked = lost(squashed)
    counted, images = squashed["counts"], counts(squashed)
    good = images[GOOD]
    side = squashed["identity"]["transform"]["resize"]
    text = (
        f"The public release holds {counted['train'] + good} defect-free images (the paper counts "
        f"925) and {counted['anomalous']} with a defect. A split takes {good} of the defect-free "
        "ones for the test, drawn by its seed, and all the defects. Images differ in size and "
        f"shape, and the paper does not say what it does about that; here whole images are "
        f"squashed to {side} x {side} pixels, out of proportion, which lets PaDiM run although "
        f"the paper leaves it out as needing equal sizes. {unmarked} masks mark nothing in the "
        "release: their images count for the image metrics only."
    )
    cropped = _one_record(runs, CROPPED, results)
    if cropped is not None:
        transform = cropped["identity"]["transform"]
        text += (
            f" The crop used elsewhere (short side to {transform['resize']}, the middle "
            f"{transform['crop']} x {transform['crop']} kept) would cut off "
            f"{lost(cropped)[0]} defects whole: those images would still count as anomalous, and "
            "no method could see what is wrong with them."
        )
    return text


def _one_record(runs: pd.DataFrame, asked: dict[str, str], results: Path | str) -> Record | None:
    for run in asked.values():
        chosen = splits(runs, run)
        if len(chosen):
            return read(chosen.iloc[:1], results)[0]
    return None


def _row(chosen: pd.DataFrame | None) -> dict[str, str]:
    titles = [f"{title}, ours" for title in SHOWN.values()]
    if chosen is None or chosen.empty:
        empty = NOTHING if chosen is None else NOT_RUN
        return dict.fromkeys([*titles, "misclassified, ours"], empty)
    row = {}
    for metric, title in zip(SHOWN, titles, strict=True):
        values = chosen[metric].dropna() if metric in chosen else pd.Series(dtype=float)
        row[title] = mean_sd(values * 100)
    wrong = chosen["f1_misclassified"]
    row["misclassified, ours"] = f"{wrong.mean():.1f} of {chosen['n_test'].iloc[0]}"
    return row


def mstc_table(runs: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """Lay out the upper half of Table 6: pixel AUROC on mSTC; ours is empty without the data.

    Returns
    -------
    DataFrame
        Ours is the mean over the recorded scenes, with their number; a row a method.
    """
    paper = _printed(printed, "mstc", "pixel_auroc")
    ours = runs[runs["dataset"] == "mstc"] if len(runs) else runs
    chosen = select(ours, MSTC_RUN)
    values = chosen["pixel_auroc"].dropna() * 100 if len(chosen) else []
    text = f"{values.mean():.1f} ({len(values)} scenes)" if len(values) else NOT_RUN
    return pd.DataFrame(
        {
            NAMES[method]: {
                "paper, pixel AUROC": f"{value:g}",
                "ours": text if method == "patchcore_10" else NOTHING,
            }
            for method, value in paper.items()
        }
    ).T


def _printed(printed: pd.DataFrame, dataset: str, metric: str) -> pd.Series:
    chosen = printed[
        (printed["paper"] == "patchcore")
        & (printed["where"] == "Table 6")
        & (printed["dataset"] == dataset)
        & (printed["metric"] == metric)
    ]
    return chosen.set_index("method")["value"]


def read(runs: pd.DataFrame, results: Path | str = "results") -> list[Record]:
    """Read the records behind rows of ``records.table()``, in their order."""
    return [
        records.read(next(Path(results, row.dataset, row.category).glob(f"*/*-{row.key}.json")))
        for row in runs.itertuples()
    ]


def by_kind(made: list[Record]) -> pd.DataFrame:
    """Measure how well each kind of defect is told from the good images.

    Parameters
    ----------
    made : list of dict
        Records of one method, one a split.

    Returns
    -------
    DataFrame
        Image AUROC (fraction) of the images of a kind against the good ones: a row a kind, a column
        a split; the first row, ``all``, is the record's own image AUROC.
    """
    columns = {}
    for record in made:
        scores = record["scores"]
        good = scores[GOOD]
        columns[record["identity"]["dataset"]["category"]] = {
            "all": record["metrics"]["image_auroc"]
        } | {
            kind: metrics.auroc([0] * len(good) + [1] * len(values), [*good, *values])
            for kind, values in scores.items()
            if kind != GOOD
        }
    return pd.DataFrame(columns)


def counts(record: Record) -> pd.Series:
    """Return the number of test images by kind of defect, good ones first, then all."""
    found = {kind: len(values) for kind, values in record["scores"].items()}
    order = [GOOD, *(kind for kind in found if kind != GOOD)]
    return pd.Series({kind: found[kind] for kind in order} | {"all": sum(found.values())})


def crop_kinds(runs: pd.DataFrame, results: Path | str = "results") -> pd.DataFrame:
    """Lay out ``by_kind`` of PatchCore-10 % on squashed and on cropped images."""
    pair = {"squashed": ROWS["patchcore_10"], "cropped": CROPPED["patchcore_10"]}
    found = {name: splits(runs, run) for name, run in pair.items()}
    title = NAMES["patchcore_10"]
    return kind_table(
        {
            f"{title}, {name}": by_kind(read(chosen, results))
            for name, chosen in found.items()
            if len(chosen)
        },
        None,
    )


def kind_table(kinds: dict[str, pd.DataFrame], images: pd.Series | None) -> pd.DataFrame:
    """Lay out ``by_kind`` of several methods: a row a kind, in percent, mean ± sd (splits).

    Parameters
    ----------
    kinds : dict of str to DataFrame
        Method's title -> ``by_kind``; methods without records are left out by the caller.
    images : Series, optional
        ``counts``; adds the number of test images.
    """
    table = {
        title: values.apply(lambda row: mean_sd(row * 100), axis=1)
        for title, values in kinds.items()
    }
    out = pd.DataFrame(table)
    if images is not None and len(out):
        shown = images.reindex(out.index)
        out.insert(0, "images", shown.astype("Int64").astype(str))
    return out


def visible_table(found: dict[str, dict[str, Localised]], scores: Scored) -> pd.DataFrame:
    """Compare images whose defect is in the picture with those whose defect was cut off.

    Parameters
    ----------
    found : dict of category to dict of method's title to Localised
    scores : dict of (category, title) to ndarray of shape (N,)
        Image scores of the same runs.

    Returns
    -------
    DataFrame
        Image AUROC against the normal images in percent, with the number of images; a dash where no
        defect was cut off. A method that finds what is not in the picture has found something else.
    """
    rows = []
    for category, methods in found.items():
        for title, one in methods.items():
            located = one.masks.any(axis=(1, 2))
            groups = {
                "defect in the picture": located,
                "defect cut off": (one.labels == 1) & one.known & ~located,
            }
            cells = {
                name: _auroc_of(group, one.labels == 0, scores[category, title])
                for name, group in groups.items()
            }
            rows.append({"category": category, "method": title} | cells)
    return pd.DataFrame(rows).set_index("category")


def _auroc_of(group: np.ndarray, normal: np.ndarray, scores: np.ndarray) -> str:
    if not group.any():
        return NOTHING
    value = metrics.auroc(group[group | normal], scores[group | normal])
    return f"{value * 100:.1f} ({group.sum()} images)"


def lost(record: Record) -> tuple[int, int]:
    """Count the defects of which resize and crop leave nothing, and the masks that mark nothing."""
    return _named(record, _CROPPED), _named(record, _UNMARKED)


def _named(record: Record, head: str) -> int:
    """Count the files that a warning names: some by name, then ``and N more``."""
    (text,) = [t for t in record["deviations"] if t.startswith(head)] or [""]
    if not text:
        return 0
    names, more = re.fullmatch(r"(.*?)(?: and (\d+) more)?\.", text[len(head) :]).groups()
    return len(names.split(", ")) + int(more or 0)


def kind_figure(kinds: dict[str, pd.DataFrame], paper: float | None) -> Figure:
    """Draw image AUROC by kind of defect: mean and range over splits, a colour a method.

    Parameters
    ----------
    kinds : dict of str to DataFrame
        Method's title -> ``by_kind``.
    paper : float, optional
        The paper's AUROC of PatchCore-10 % over all kinds, percent; marked in the row ``all``.
    """
    shown = next(iter(kinds.values())).index if kinds else []
    fig, ax = figures.figure(7, 1.4 + 0.52 * max(len(shown), 3))
    step = 0.72 / max(len(kinds), 1)
    for number, (title, values) in enumerate(kinds.items()):
        values = values.reindex(shown) * 100
        places = [place - 0.36 + (number + 0.5) * step for place in range(len(shown))]
        mean, color = values.mean(axis=1), figures.PALETTE[number % len(figures.PALETTE)]
        marker = figures.MARKERS[number % len(figures.MARKERS)]
        ax.hlines(places, values.min(axis=1), values.max(axis=1), color=color, linewidth=2)
        ax.plot(mean, places, marker, color=color, label=title)
    if paper is not None and len(shown):
        ax.plot([paper, paper], [-0.42, 0.42], "--", color="0.5", linewidth=1.4)
        ax.text(paper, -0.46, f"paper {paper:g}", ha="center", va="bottom", fontsize=9.5)
    for place in range(1, len(shown)):
        ax.axhline(place - 0.5, color="0.5", linewidth=0.5, alpha=0.5)
    ax.set_yticks(range(len(shown)), labels=list(shown))
    ax.set(xlabel="image AUROC against the good images [%]", ylim=(len(shown) - 0.5, -0.95))
    ax.grid(axis="y", visible=False)
    if kinds:
        fig.legend(loc="outside lower center", ncols=min(len(kinds), 3), fontsize=9.5)
    else:
        ax.text(0.5, 0.5, NOT_RUN, transform=ax.transAxes, ha="center", va="center")
    return fig


def summary(runs: pd.DataFrame, printed: pd.DataFrame, kinds: dict[str, pd.DataFrame]) -> str:
    """Say in Markdown what the records answer about the methods; every number computed."""
    lines = []
    values = {
        NAMES[method]: splits(runs, run)["image_auroc"] * 100
        for method, run in ROWS.items()
        if len(splits(runs, run))
    }
    title = NAMES["patchcore_10"]
    if title in values:
        lines.append(
            f"- {title}, image AUROC: **{mean_sd(values[title])}**; the paper prints "
            f"{paper(printed):g} with WideResNet-50."
        )
    if values:
        ranked = sorted(values, key=lambda name: -values[name].mean())
        lines.append(
            "- In order of our mean image AUROC: "
            + "; ".join(f"{name} {values[name].mean():.1f}" for name in ranked)
            + "."
        )
    if title in kinds:
        by = kinds[title].drop(index="all").mean(axis=1).sort_values() * 100
        lines.append(
            f"- The kind that {title} tells least well from the good images is {by.index[0]} "
            f"({by.iloc[0]:.1f}), the one it tells best is {by.index[-1]} ({by.iloc[-1]:.1f})."
        )
    return "\n".join(lines) if lines else "Nothing to sum up is recorded yet."
