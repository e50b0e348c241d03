"""What thumbnails say about the split of the magnetic tiles, and splits by tile."""

from __future__ import annotations

import pandas as pd
from made_runs import table
from test_magnetic_tile_tables import made, printed, thumbnails  # noqa: F401 (a fixture)

from adlib.study import magnetic_tile_leak as leak
from adlib.study import magnetic_tile_tables as tiles
from adlib.study.tables import NOT_RUN, NOTHING

ONE_NN = tiles.ROWS["1nn"]


def test_both_kinds_of_split_stand_side_by_side(printed):  # noqa: F811
    rows = made() + made((0.7, 0.8), kind="grouped") + thumbnails((0.6,), kind="grouped")
    found = leak.table(table(rows), printed)
    assert found.loc["PatchCore-10 %"].tolist() == ["97.9", "92.00 ± 2.00 (3)", "75.00 ± 7.07 (2)"]
    assert found.loc["1-NN"].tolist() == ["80.0", NOT_RUN, NOT_RUN]
    assert found.loc["Thumbnails, no network"].tolist() == [NOTHING, NOT_RUN, "60.00 (1)"]
    assert (leak.table(pd.DataFrame(), printed)["images drawn"] == NOT_RUN).all()


def test_the_finding_stands_beside_the_other_numbers(printed):  # noqa: F811
    rows = [*made(), *made((0.91,) * 3, ONE_NN), *thumbnails()]
    text = leak.finding(table(rows), printed)
    assert "image AUROC of 96.00 ± 1.00 (3)**" in text
    assert "1-NN 91.00 ± 0.00 (3); PatchCore-10 % 92.00 ± 2.00 (3); the paper's" in text
    assert "says little about how well a method sees defects" in text and "printed 97.9" in text
    assert "on one side" not in text


def test_the_finding_follows_the_records(printed):  # noqa: F811
    assert "no thumbnails were run" in leak.finding(pd.DataFrame(), printed)
    assert "no thumbnails were run" in leak.finding(table(made()), printed)
    text = leak.finding(table(thumbnails((0.6, 0.6, 0.6))), printed)
    assert "60.00 ± 0.00 (3)" in text and "do not solve" in text and "says little" not in text


def test_whole_tiles_are_compared_where_both_were_run(printed):  # noqa: F811
    rows = thumbnails() + thumbnails((0.6, 0.62, 0.64), kind="grouped")
    text = leak.finding(table(rows + made(kind="grouped")), printed)
    assert "Thumbnails, no network **62.00 ± 2.00 (3)** (-34.0 points)." in text
    assert "PatchCore-10 % **" not in text
