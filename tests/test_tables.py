"""The papers' tables: printed numbers and ours in their places."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adlib import report
from adlib.study import tables

ROOT = Path(__file__).parent.parent


@pytest.fixture
def empty(tmp_path) -> Path:
    shutil.copy(ROOT / "results" / "reported.csv", tmp_path)
    return tmp_path


def test_without_records_everything_is_not_run_and_has_a_command(empty):
    table = tables.jl_table1(empty, "wide_resnet50_2")
    assert len(table) == 15
    assert (table["ours"] == tables.NOT_RUN).all()
    assert table.loc["grid", "PaDiM, paper"] == "97.3" and table.loc["grid", "JL, paper"] == "97.8"
    commands = tables.missing_commands(table, "wide_resnet50_2", 550)
    assert len(commands) == 2
    assert all(f"--category {name} " in commands[0] for name in table.index)
    assert "--set dim=550" in commands[0]


def test_recorded_rows_hold_our_mean_over_seeds():
    table = tables.jl_table1(ROOT / "results", "resnet18")
    curve = report.dimension_curve(results=ROOT / "results")
    runs = curve.query(
        "category == 'bottle' and reduction == 'gaussian' and dim == 100 and eps_scale == 'nominal'"
    )
    cell = table.loc["bottle", "JL, ours"]
    expected = f"{runs['value'].mean() * 100:.2f} ± {runs['value'].std() * 100:.2f} ({len(runs)})"
    assert cell == expected
    assert table.loc["bottle", "JL, difference"].startswith(
        f"{runs['value'].mean() * 100 - 98.4:+.2f}"
    )
    assert table.loc["carpet", "JL, ours"] == tables.NOT_RUN
    commands = tables.missing_commands(table, "resnet18", 100)
    assert "--category carpet" in commands[0] and "--category bottle" not in commands[0]


def test_a_full_table_needs_no_command():
    table = tables.jl_table1(ROOT / "results", "resnet18").loc[["bottle", "screw"]]
    assert tables.missing_commands(table, "resnet18", 100) == []
