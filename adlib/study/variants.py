"""What a choice changes: variants of a method against its baseline, paired over seeds."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from adlib.report import PROTOCOL, Paired, command, paired

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


COMMON: dict[str, object] = PROTOCOL | {
    "dataset": "mvtec_ad", "backbone": "resnet18", "precision": "float32",
}  # fmt: skip
PADIM_BASELINE: dict[str, object] = COMMON | {
    "method": "padim", "reduction": "coordinate", "dim": 100, "eps": 0.01,
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

PATCHCORE_BASELINE: dict[str, object] = COMMON | {
    "method": "patchcore", "layers": "2+3", "patch_size": 3, "stride": 1, "border": "zeros",
    "embedding": "concat", "embedding_dim": None, "subsampler": "coreset", "fraction": 0.01,
    "coreset_dim": 128, "start": "random", "distance": "l2", "neighbors": 1, "reweight": 9,
    "search": "exact", "sigma": 4.0,
}  # fmt: skip
# parameters without effect are null in a record
_POOLED: dict[str, object] = {"embedding": "official", "embedding_dim": 1024, "border": None}
_APPROXIMATE: dict[str, object] = {"subsampler": "approximate", "start": None}
PATCHCORE_VARIANTS = [
    Variant("features pooled to 1024 numbers, not a mean per channel", "released code", _POOLED),
    Variant("squared distances", "released code", {"distance": "squared"}),
    Variant("no weight (Eq. 7 left out)", "released code", {"reweight": 1}),
    Variant("squared distances, no weight", "released code",
            {"distance": "squared", "reweight": 1}),
    Variant("greedy selection from ten random points", "released code", _APPROXIMATE),
    Variant("all of the above (preset official)", "released code",
            _POOLED | _APPROXIMATE | {"distance": "squared", "reweight": 1}),
    Variant("mean distance to 5 neighbours", "released code's default, not its README",
            {"neighbors": 5}),
    Variant("b = 3 in Eq. 7", "quoted by its readers; the paper names no b", {"reweight": 3}),
    Variant("256 x 256 without centre crop", "anomalib's default", {"crop": 256}),
    Variant("no zeros averaged in at the border", "open in the text; an option here",
            {"border": "inside"}),
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


def patchcore_effects(runs: pd.DataFrame) -> str:
    """Return paper against released code, and other variants, as a Markdown table with caption.

    Variants that were not run are named below the table.
    """
    table = effects(runs, PATCHCORE_BASELINE, PATCHCORE_VARIANTS) if len(runs) else pd.DataFrame()
    if table.empty:
        return "No variant is recorded yet."
    lacking = [v for v in PATCHCORE_VARIANTS if v.name not in set(table["what differs"])]
    return (
        "Difference from PatchCore-1 % as the paper describes it (ResNet-18), percentage points "
        "with a 95 % interval over seeds. One difference could not be measured: the released code "
        "also resizes masks bilinearly and keeps only pixels that stay full (`--masks official`), "
        "which changes nothing here, as the masks at hand had been resized before.\n\n"
        + table.to_markdown(index=False, disable_numparse=True)
        + "".join(f"\n\nNot run yet: {v.name} (`{patchcore_command(v)}`)." for v in lacking)
    )


def patchcore_command(variant: Variant) -> str:
    """Return the command that runs a variant of PatchCore on one category."""
    named = {
        name: value
        for name, value in variant.where.items()
        if value is not None and name != "embedding_dim"  # what follows from the others
    }
    settings = " ".join(f"{name}={value}" for name, value in named.items())
    return command(
        f"patchcore fraction=0.01 {settings}", "mvtec_ad", "bottle", "resnet18", seeds="0-2"
    )


def _where(runs: pd.DataFrame, values: dict[str, object]) -> pd.DataFrame:
    chosen = runs[runs["official"]]
    for column, value in values.items():
        if value is None:
            chosen = chosen[chosen[column].isna()] if column in chosen else chosen
        else:
            chosen = chosen[chosen[column] == value] if column in chosen else chosen.iloc[:0]
    return chosen


def _cell(test: Paired | None) -> str:
    if test is None:
        return "–"
    # adding 0.0 turns a rounded -0.0 into 0.0
    mean, low, high = (round(v * 100, 2) + 0.0 for v in (test.mean, test.low, test.high))
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
