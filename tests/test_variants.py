"""What a choice changes, measured against the baseline."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from adlib import variants


def runs() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(3):
        base = {"category": "bottle", "seed": seed, "image_auroc": 0.9 + rng.normal(0, 1e-3)}
        base |= {"pixel_auroc": 0.95, "aupro": 0.8, "official": True}
        rows.append(variants.PADIM_BASELINE | base)
        raw = base | {"image_auroc": base["image_auroc"] - 0.02}
        rows.append(variants.PADIM_BASELINE | raw | {"image_score": "raw"})
    rows.append(variants.PADIM_BASELINE | base | {"crop": 256})  # one seed is no comparison
    return pd.DataFrame(rows)


def test_effect_is_the_paired_difference():
    table = variants.effects(runs(), variants.PADIM_BASELINE, variants.PADIM_VARIANTS)
    assert list(table["what differs"]) == ["image score from unsmoothed distances"]
    row = table.iloc[0]
    assert row["image AUROC"].startswith("-2.00 [")
    assert row["pixel AUROC"] == "+0.00 [+0.00, +0.00]"
    assert (row["categories"], row["seeds"]) == (1, 3)


def test_every_variant_differs_from_the_baseline_in_columns_that_exist():
    for variant in variants.PADIM_VARIANTS:
        assert set(variant.where) <= set(variants.PADIM_BASELINE)
        assert any(variants.PADIM_BASELINE[k] != v for k, v in variant.where.items())


@pytest.mark.parametrize("table", [pd.DataFrame(), runs().query("image_score == 'smoothed'")])
def test_nothing_to_compare_says_so(table):
    assert variants.padim_effects(table) == "No variant is recorded yet."
