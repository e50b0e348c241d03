"""Does the split of the magnetic tiles give the answer away? A control, and a split by tile.

If photographs of one tile lie on both sides of a split, a normal test image has near-duplicates
among the training images and most anomalous ones have none. Then thumbnails do well, which hardly
show a defect; and they do so no more once whole tiles are drawn.
"""

from __future__ import annotations

import pandas as pd

from adlib.report import mean_sd
from adlib.study.magnetic_tile_tables import (
    BY_IMAGE_SPLIT,
    BY_TILE,
    BY_TILE_SPLIT,
    ROWS,
    paper,
    splits,
)
from adlib.study.patchcore_tables import NAMES
from adlib.study.tables import NOT_RUN, NOTHING

NEARLY_SOLVED = 90.0  # percent of image AUROC; a benchmark on which a control has it says little
QUOTED = {"patchcore_10", "1nn"}  # the rows that the paper prints
KINDS = {"images drawn": BY_IMAGE_SPLIT, "whole tiles drawn": BY_TILE_SPLIT}


def measured(runs: pd.DataFrame, method: str, kind: str = BY_IMAGE_SPLIT) -> pd.Series:
    """Return the image AUROC of a method of `ROWS` in percent, a value a split."""
    chosen = splits(runs, ROWS[method], kind=kind)
    return chosen["image_auroc"] * 100 if len(chosen) else pd.Series(dtype=float)


def table(runs: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """Hold splits that draw images against splits that draw whole tiles.

    Parameters
    ----------
    runs : DataFrame
        ``records.table()``.
    printed : DataFrame
        ``report.reported()``.

    Returns
    -------
    DataFrame
        The paper's image AUROC, and ours on both kinds of split in percent, mean ± sd (splits); a
        row a method that was asked for on both.
    """
    rows = {}
    for method in BY_TILE:
        values = {title: measured(runs, method, kind) for title, kind in KINDS.items()}
        rows[NAMES[method]] = {
            "paper": f"{paper(printed, method):.1f}" if method in QUOTED else NOTHING
        } | {title: mean_sd(each) if len(each) else NOT_RUN for title, each in values.items()}
    return pd.DataFrame(rows).T


def finding(runs: pd.DataFrame, printed: pd.DataFrame) -> str:
    """Say in Markdown what thumbnails alone reach, and what that means; every number computed."""
    control = measured(runs, "thumbnail")
    if control.empty:
        return (
            "- Whether the split gives the answer away was not looked at: no thumbnails were run."
        )
    beside = [
        f"{NAMES[method]} {mean_sd(values)}"
        for method in ("1nn", "patchcore_10")
        if len(values := measured(runs, method))
    ]
    lines = [
        f"- **Thumbnails of 32 x 32 grey pixels, without any network, have an image AUROC of "
        f"{mean_sd(control)}**; beside them: {'; '.join([*beside, _quoted(printed)])}."
    ]
    if control.mean() >= NEARLY_SOLVED:
        lines.append(
            "- A thumbnail shows which tile it is and hardly its defect. A split that thumbnails "
            "nearly solve says little about how well a method sees defects, and that holds for "
            f"our numbers on it as for the printed {paper(printed):g}, if the paper's images were "
            "drawn one by one as well. Which they were it does not say; its 1-NN, "
            f"quoted from elsewhere and of other features, has {paper(printed, '1nn'):g}."
        )
    else:
        lines.append("- Thumbnails do not solve this split: it does not give the answer away.")
    return "\n".join([*lines, *_by_tile(runs)])


def _quoted(printed: pd.DataFrame) -> str:
    return f"the paper's PatchCore-10 % {paper(printed):g}, with WideResNet-50"


def _by_tile(runs: pd.DataFrame) -> list[str]:
    """Say what is left once whole tiles are drawn; nothing without records of it."""
    changes = []
    for method in BY_TILE:
        before, after = (measured(runs, method, kind) for kind in KINDS.values())
        if len(before) and len(after):
            change = after.mean() - before.mean()
            changes.append(f"{NAMES[method]} **{mean_sd(after)}** ({change:+.1f} points)")
    if not changes:
        return []
    return [
        "- With all photographs of a tile on one side, as far as the names of the files tell: "
        f"{'; '.join(changes)}."
    ]
