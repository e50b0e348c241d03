"""The second chapter at a glance, and what README.md shows of all."""

from __future__ import annotations

from collections.abc import Sequence

from adlib.claims import Evidence, Ledger, Result
from adlib.fragments.latent_diffusion import digits
from adlib.fragments.markdown import escape, table
from adlib.fragments.recorded import METRICS, NETWORKS, by_category
from adlib.fragments.verdicts import tally, telling
from adlib.report import mean_sd
from adlib.study.patchcore_tables import DATASET, over_categories

ROWS = {
    "PatchCore, 25 % of the patches": "patchcore fraction=0.25",
    "PatchCore, 10 %": "patchcore fraction=0.1",
    "PatchCore, 1 %": "patchcore fraction=0.01",
    "PatchCore, all patches": "patchcore subsampler=none",
    "PaDiM, 100 channels": "padim dim=100",
    "SPADE": "spade image_level=3 pixel_stride=2",
}
FIRST = "resnet18"  # the network that README.md shows


def patchcore_glance(evidence: Evidence) -> str:
    """Return the means over categories of PatchCore and its rivals, a table a network."""
    parts = [_means(evidence, backbone, name) for backbone, name in NETWORKS.items()]
    return "\n\n".join(part for part in parts if part)


def readme(ledger: Ledger, judged: Sequence[Result], evidence: Evidence) -> str:
    """Return what README.md shows: verdicts by paper, the telling ones, a table a chapter."""
    jl = by_category(evidence, FIRST, "pixel_auroc")
    parts = [tally(ledger, judged), telling(ledger, judged)]
    if jl:
        title = f"Pixel AUROC on MVTec AD, {NETWORKS[FIRST]}, 100 dimensions"
        parts += [f"{title}; percent, mean ± sd (seeds):", jl]
    parts += [_means(evidence, FIRST, NETWORKS[FIRST]), digits(evidence)]
    return "\n\n".join(part for part in parts if part)


def _means(evidence: Evidence, backbone: str, network: str) -> str:
    """Means over the categories of PatchCore with 1 %; a run that lacks one of them is left out."""
    first = evidence.on(DATASET).values(ROWS["PatchCore, 1 %"], backbone, "image_auroc")
    names = sorted(first["category"].unique())
    if not names:
        return ""
    lines = []
    for label, run in ROWS.items():
        found = [over_categories(evidence.runs, run, backbone, m, names) * 100 for m in METRICS]
        if any(len(values) for values in found):
            lines.append([label, *(mean_sd(values).replace("± ", "±\u00a0") for values in found)])
    where = escape(", ".join(names))
    title = f"Means over {where} of MVTec AD, {network}; percent, mean ± sd (seeds):"
    header = ["", *METRICS.values()]
    return f"{title}\n\n{table(header, lines, numbers=range(1, len(header)))}"
