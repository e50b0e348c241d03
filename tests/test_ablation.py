"""The dimension ablation: paired gains against a calculation by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from adlib.study import ablation

CATEGORIES = ("bottle", "screw")


def curve(rng: np.random.Generator, gain: float, seeds: int = 4) -> pd.DataFrame:
    """Two arms at m = 50 and 100 whose true difference is `gain`; 'none' on top."""
    rows = []
    for category, level in zip(CATEGORIES, (0.9, 0.8), strict=True):
        for dim in (50, 100):
            for seed in range(seeds):
                noise = rng.normal(0, 1e-3, 2)
                for reduction, value in (
                    ("coordinate", level + noise[0]),
                    ("gaussian", level + gain + noise[1]),
                ):
                    rows.append((category, reduction, dim, "nominal", seed, value))
        rows.append((category, "none", 448, "nominal", 0, level + 0.05))
    columns = ["category", "reduction", "dim", "eps_scale", "seed", "value"]
    return pd.DataFrame(rows, columns=columns)


def test_gains_are_the_paired_t_interval_by_hand():
    data = curve(np.random.default_rng(0), gain=0.01)
    row = ablation.gains(data).set_index("dim").loc[100]
    at = data[data["dim"] == 100].pivot_table(
        index="seed", columns=["category", "reduction"], values="value"
    )
    per_seed = [
        np.mean(
            [at.loc[seed, (c, "gaussian")] - at.loc[seed, (c, "coordinate")] for c in CATEGORIES]
        )
        for seed in range(4)
    ]
    mean, half = np.mean(per_seed), stats.t.ppf(0.975, 3) * np.std(per_seed, ddof=1) / 2
    assert row["gain"] == pytest.approx(mean * 100)
    assert (row["low"], row["high"]) == pytest.approx(((mean - half) * 100, (mean + half) * 100))
    assert (row["n_seeds"], row["n_categories"], row["pairs"]) == (4, 2, 8)
    assert row["wins"] == 8


def test_the_baseline_itself_and_the_ceiling_are_no_gain():
    found = ablation.gains(curve(np.random.default_rng(1), gain=0.0))
    assert set(found["reduction"]) == {"gaussian"}
    assert ablation.gains(curve(np.random.default_rng(1), gain=0.0).iloc[:0]).empty


def test_a_seed_missing_in_one_category_is_left_out():
    data = curve(np.random.default_rng(2), gain=0.01)
    gap = (data["category"] == "screw") & (data["seed"] == 3) & (data["reduction"] == "gaussian")
    found = ablation.gains(data[~gap])
    assert (found["n_seeds"] == 3).all()
    means = ablation.by_dimension(ablation.arm(data[~gap], "gaussian"))
    assert list(means.columns) == [0, 1, 2]


def test_ceiling_and_seed_spread():
    data = curve(np.random.default_rng(3), gain=0.01)
    assert ablation.ceiling(data).to_dict() == pytest.approx({"bottle": 0.95, "screw": 0.85})
    by_hand = [
        data.query("category == @c and reduction == 'gaussian' and dim == 100")["value"].std()
        for c in CATEGORIES
    ]
    assert ablation.seed_spread(data, "gaussian") == pytest.approx(np.mean(by_hand))
    assert ablation.seed_spread(data, "haar") is None


def test_gain_table_has_a_row_an_arm_and_a_column_a_dimension():
    table = ablation.gain_table(ablation.gains(curve(np.random.default_rng(4), gain=0.01)))
    assert list(table["arm"]) == ["Gaussian (Eq. 6)"]
    assert list(table.columns) == ["arm", "m = 50", "m = 100"]
    assert table["m = 100"].iloc[0].startswith("+1.0")


def test_pages_of_an_empty_study_say_so():
    empty = pd.DataFrame()
    assert ablation.decomposition(empty, "resnet18") == "No paired records yet."
    assert ablation.summary(empty, empty, empty, "pixel AUROC") == "No paired records yet."
    assert ablation.cost_table(empty, "resnet18").empty
