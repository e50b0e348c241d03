"""What a choice changes, measured against the baseline."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from adlib import parameters
from adlib.patchcore import PatchCore
from adlib.study import variants


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


def test_few_images_and_other_masks_are_no_baseline():
    """Runs on a few images differ from a full run in their number of images only."""
    few = runs().query("image_score == 'smoothed' and crop == 224")
    both = pd.concat([runs(), few.assign(shots=5.0, image_auroc=0.1)])
    expected = variants.effects(runs(), variants.PADIM_BASELINE, variants.PADIM_VARIANTS)
    found = variants.effects(both, variants.PADIM_BASELINE, variants.PADIM_VARIANTS)
    pd.testing.assert_frame_equal(found, expected)


def patchcore_runs() -> pd.DataFrame:
    rows = []
    for where, gain in (({}, 0.0), (variants._POOLED, 0.01), ({"border": "inside"}, 0.02)):
        for seed in range(3):
            value = 0.9 + gain + seed * 1e-3
            measured = {"image_auroc": value, "pixel_auroc": value, "aupro": value}
            place = {"category": "bottle", "seed": seed, "official": True}
            rows.append(variants.PATCHCORE_BASELINE | where | place | measured)
    return pd.DataFrame(rows)


def test_patchcore_against_the_released_code():
    text = variants.patchcore_effects(patchcore_runs())
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if "| +" in line}
    assert len(lines) == 2
    assert lines["features pooled to 1024 numbers, not a mean per channel"].count("+1.00 [") == 3
    assert "+2.00 [" in lines["no zeros averaged in at the border"]
    assert text.count("Not run yet") == len(variants.PATCHCORE_VARIANTS) - 2


def test_the_baseline_is_patchcore_as_it_is_by_default():
    """Also after the subsampler's and embedding's parameters without effect became None."""
    effective = PatchCore.effective(parameters.check(PatchCore, {"fraction": 0.01}))
    settings = {k: v for k, v in effective.items() if not k.startswith(("proxy_", "seed"))}
    assert settings.items() <= variants.PATCHCORE_BASELINE.items()


@pytest.mark.parametrize("variant", variants.PATCHCORE_VARIANTS, ids=lambda v: v.name)
def test_what_a_variant_names_is_what_its_command_records(variant):
    words = variants.patchcore_command(variant).split()
    settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    values = {n: v[0] for n, v in parameters.read_assignments(settings).items()}
    effective = PatchCore.effective(parameters.check(PatchCore, values))
    expected = variants.PATCHCORE_BASELINE | variant.where
    assert {n: expected[n] for n in effective if n in expected} == {
        n: v for n, v in effective.items() if n in expected
    }
    assert ("--crop" in words) == ("crop" in variant.where)


def test_the_preset_is_its_parts_together():
    preset = next(v for v in variants.PATCHCORE_VARIANTS if "preset" in v.name)
    values = parameters.preset(PatchCore, "official", {"fraction": 0.01})
    effective = PatchCore.effective(parameters.check(PatchCore, values))
    expected = variants.PATCHCORE_BASELINE | preset.where
    assert {n: v for n, v in effective.items() if n in expected} == {
        n: expected[n] for n in effective if n in expected
    }


def test_every_variant_differs_from_the_baseline_in_columns_that_exist():
    for baseline, listed in (
        (variants.PADIM_BASELINE, variants.PADIM_VARIANTS),
        (variants.PATCHCORE_BASELINE, variants.PATCHCORE_VARIANTS),
    ):
        for variant in listed:
            assert set(variant.where) <= set(baseline)
            assert any(baseline[k] != v for k, v in variant.where.items())


@pytest.mark.parametrize("table", [pd.DataFrame(), runs().query("image_score == 'smoothed'")])
def test_nothing_to_compare_says_so(table):
    assert variants.padim_effects(table) == "No variant is recorded yet."
    assert variants.patchcore_effects(table) == "No variant is recorded yet."
