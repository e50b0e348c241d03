"""The answer of the PatchCore chapter: what its comparisons give on recorded runs."""

from __future__ import annotations

from typing import NamedTuple

from adlib.claims import Evidence
from adlib.claims.evidence import sample_of
from adlib.fragments.markdown import table
from adlib.fragments.recorded import METRICS, NETWORKS, interval, over_categories, standing

ONE = "patchcore fraction=0.01"
PADIM = "padim reduction=coordinate dim=100"
SPADE = "spade image_level=3 pixel_stride=2"


class Contrast(NamedTuple):
    """Two runs that are compared.

    Attributes
    ----------
    label : str
    a, b : str
        Texts for ``report.select``; the difference is a - b.
    """

    label: str
    a: str
    b: str


CONTRASTS = [
    Contrast("PatchCore-1 % − PaDiM, 100 channels", ONE, PADIM),
    Contrast("PatchCore-1 % − PaDiM, all channels", ONE, "padim reduction=none"),
    Contrast("PatchCore-1 % − SPADE", ONE, SPADE),
    Contrast("bank of 1 % − 25 %", ONE, "patchcore fraction=0.25"),
    Contrast("bank of 1 % − whole bank", ONE, "patchcore subsampler=none"),
    Contrast("coreset of 1 % − random 1 %", ONE, f"{ONE} subsampler=random"),
    Contrast("with Eq. 7 − without", ONE, f"{ONE} reweight=1"),
]


def patchcore_answer(evidence: Evidence) -> str:
    """Return the chapter's paired contrasts: in words for the first one, then a table a network."""
    parts, lines = [], []
    for backbone, name in NETWORKS.items():
        rows = []
        for contrast in CONTRASTS:
            found = {
                metric: evidence.paired(contrast.a, contrast.b, backbone, metric)
                for metric in METRICS
            }
            known = [one for one in found.values() if one is not None]
            if known:
                shown = ["–" if one is None else interval(one) for one in found.values()]
                rows.append([contrast.label, *shown, sample_of(known[0])])
        if rows:
            header = [f"{name}", *METRICS.values(), "over"]
            parts.append(table(header, rows, numbers=range(1, len(header))))
        lines += _in_words(evidence, backbone, name)
    if not parts:
        return "Nothing that could be compared is recorded yet."
    note = (
        "Paired differences in percentage points on MVTec AD with 95 % intervals over seeds, not "
        "corrected for their number: they say how other random draws would vary on these "
        "categories, not how other categories would."
    )
    return "\n\n".join(["\n".join(lines), note, *parts])


def _in_words(evidence: Evidence, backbone: str, name: str) -> list[str]:
    found = evidence.paired(ONE, PADIM, backbone, "image_auroc")
    if found is None:
        return []
    spread = found.by_category.set_index("category")["difference"]
    bank = evidence.paired(ONE, "patchcore fraction=0.25", backbone, "image_auroc")
    small = "" if bank is None else f" Against a bank of 25 % a bank of 1 % is {standing(bank)}."
    return [
        f"- **{name}:** PatchCore with 1 % of its patches is {standing(found)} of PaDiM in image "
        f"AUROC.{over_categories(spread)}{small}"
    ]
