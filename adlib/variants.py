"""What a choice changes: variants of a method against its baseline, paired over seeds."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from adlib.report import Paired, paired

SHOWN = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}


class Variant(NamedTuple):
    """One departure from the baseline.

    Attributes
    ----------
    name : str
        What differs, in words.
    who : str
        Which text or code does it.
    where : dict
        Columns of ``records.table()`` and the values that differ from the baseline's.
    """

    name: str
    who: str
    where: dict[str, object]


PADIM_BASELINE: dict[str, object] = {
    "method": "padim", "dataset": "mvtec_ad", "backbone": "resnet18", "precision": "float32",
    "resize": 256, "crop": 224, "reduction": "coordinate", "dim": 100, "eps": 0.01,
    "eps_scale": "nominal", "sigma": 4.0, "image_score": "smoothed",
}  # fmt: skip
PADIM_VARIANTS = [
    Variant("image score from unsmoothed distances", "the report's text", {"image_score": "raw"}),
    Variant("256 x 256 without centre crop", "anomalib's default", {"crop": 256}),
    Variant("backbone in bfloat16", "an option here", {"precision": "bfloat16"}),
    Variant("eps 4.48 times smaller", "what Eq. 6 does at m = 100", {"eps": 0.01 * 100 / 448}),
    Variant("Gaussian projection", "the report's Eq. 6", {"reduction": "gaussian"}),
    Variant("orthonormal projection", "the report's Section 3", {"reduction": "haar"}),
    Variant("sparse random projection", "Li et al. 2006", {"reduction": "sparse"}),
    Variant("PCA, 100 directions", "for comparison", {"reduction": "pca"}),
]  # fmt: skip


def effects(
    runs: pd.DataFrame, baseline: dict[str, object], variants: list[Variant]
) -> pd.DataFrame:
    """Measure what each variant changes, in percentage points.

    Parameters
    ----------
    runs : DataFrame
        ``records.table()``.
    baseline : dict
        Column -> value.
    variants : list of Variant

    Returns
    -------
    DataFrame
        A row a variant with at least two seeds in common with the baseline: ``what differs``,
        ``who does it``, a column a metric (mean difference and 95 % interval over seeds),
        ``categories``, ``seeds``.
    """
    rows = []
    reference = _where(runs, baseline)
    for variant in variants:
        chosen = _where(runs, baseline | variant.where)
        tests = {name: paired(chosen, reference, metric) for metric, name in SHOWN.items()}
        known = [test for test in tests.values() if test is not None]
        if known:
            rows.append(
                {"what differs": variant.name, "who does it": variant.who}
                | {name: _cell(test) for name, test in tests.items()}
                | {"categories": known[0].n_categories, "seeds": known[0].n_seeds}
            )
    return pd.DataFrame(rows)


def padim_effects(runs: pd.DataFrame) -> str:
    """Return the effects of PaDiM's variants as a Markdown table with its caption."""
    table = effects(runs, PADIM_BASELINE, PADIM_VARIANTS) if len(runs) else pd.DataFrame()
    if table.empty:
        return "No variant is recorded yet."
    return (
        "Difference from PaDiM as run here (ResNet-18, 100 coordinates), percentage points with a "
        "95 % interval over seeds; the categories differ between rows.\n\n"
        + table.to_markdown(index=False, disable_numparse=True)
    )


def _where(runs: pd.DataFrame, values: dict[str, object]) -> pd.DataFrame:
    chosen = runs[runs["official"]]
    for column, value in values.items():
        chosen = chosen[chosen[column] == value]
    return chosen


def _cell(test: Paired | None) -> str:
    if test is None:
        return "–"
    return f"{test.mean * 100:+.2f} [{test.low * 100:+.2f}, {test.high * 100:+.2f}]"
