"""Plans: which runs a command means, and that each is made once."""

from __future__ import annotations

import pytest
import tiny

from adlib import records, sweep
from adlib.errors import InputError
from adlib.evaluate import Experiment
from adlib.sweep import Plan, read_seeds


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Make a plan over two tiny categories."""
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path / "cache"))
    for name in ("nut", "bolt"):
        tiny.category(tmp_path / "data", name)

    def make(**options) -> Plan:
        fixed = {"dataset": "mvtec_ad", "root": tmp_path / "data", "weights": "random"}
        return Plan("padim", backbone="resnet18", resize=64, crop=56, **(fixed | options))

    return make


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", [3]),
        ("0,3,7", [0, 3, 7]),
        ("0-3", [0, 1, 2, 3]),
        ("5-5", [5]),
        ("0-2,7, 1 ,9-10", [0, 1, 2, 7, 9, 10]),
        (" 4 - 6 ", [4, 5, 6]),
    ],
)
def test_seeds(text, seeds):
    assert read_seeds(text) == seeds


@pytest.mark.parametrize(
    "text",
    ["", "a", "-1", "1-", "3-1", "1.5", "0,,1", "0-", "1e3", "²", "0-99999999999", "9" * 5000],
)
def test_seeds_of_another_form_are_refused(text):
    with pytest.raises(InputError, match="--seed"):
        read_seeds(text)


def test_combinations_are_checked_and_each_run_counts_once():
    made = Plan("padim", settings=["dim=5,10", "reduction=coordinate,none"], seeds=[0, 1])
    found = [(c["reduction"], c["dim"], c["seed"]) for c in made.combinations()]
    # none ignores dim and seed
    assert found == [
        ("coordinate", 5, 0), ("coordinate", 5, 1), ("none", 5, 0), ("coordinate", 10, 0),
        ("coordinate", 10, 1),
    ]  # fmt: skip
    assert len(Plan("padim", settings=["eps=1,1.0"]).combinations()) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["dim=abc"], "dim must be an integer >= 1, found 'abc'"),
        (["dim=5,0"], "found 0"),
        (["dims=5"], "did you mean dim"),
        (["seed=3"], "seeds are given by --seed"),
        (["dim"], "name=value"),
        (["reduction=jl"], "one of 'coordinate'"),
        (["eps=nan"], "eps"),
        (["eps=inf"], "eps"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(settings, message):
    with pytest.raises(InputError, match=message):
        Plan("padim", settings=settings).combinations()


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="did you mean padim"):
        Plan("padin").combinations()


def test_the_default_backbone_has_its_weights_at_hand():
    assert Plan("padim").backbone_name() == "efficientnet_lite0"
    assert Plan("padim", dataset="mvtec_ad").backbone_name() == "resnet18"
    assert Plan("padim", backbone="wide_resnet50_2").backbone_name() == "wide_resnet50_2"


def test_a_sweep_makes_every_record_and_repeats_none(plan, tmp_path, monkeypatch):
    made = plan(settings=["dim=5,10", "reduction=haar"], seeds=[0, 1])
    rows = sweep.run(made, results=tmp_path / "results")
    assert [(r["category"], r["dim"], r["seed"]) for r in rows] == [
        (name, dim, seed) for name in ("bolt", "nut") for dim in (5, 10) for seed in (0, 1)
    ]
    assert "reduction" not in rows[0]  # only what varies
    assert {"image_auroc", "pixel_auroc", "aupro", "f1_misclassified"} <= rows[0].keys()
    assert len(records.read_all(tmp_path / "results")) == 8
    monkeypatch.setattr(Experiment, "_measure", lambda *a: pytest.fail("ran again"))
    assert sweep.run(made, results=tmp_path / "results") == rows


def test_categories_are_chosen_in_order_and_once(plan, tmp_path):
    rows = sweep.run(
        plan(categories=["nut", "bolt", "nut"], settings=["dim=5"]), results=tmp_path / "r"
    )
    assert [row["category"] for row in rows] == ["nut", "bolt"]


def test_a_wrong_category_is_refused_before_the_first_run(plan, tmp_path):
    with pytest.raises(InputError, match="nutt"):
        sweep.run(plan(categories=["bolt", "nutt"]), results=tmp_path / "r")
    assert records.read_all(tmp_path / "r") == []


def test_json_takes_one_run(plan, tmp_path):
    target = tmp_path / "out" / "one.json"
    made = plan(categories=["nut"], settings=["dim=5"])
    sweep.run(made, json_file=target, results=tmp_path / "untouched")
    assert records.read(target)["identity"]["dataset"]["category"] == "nut"
    assert not (tmp_path / "untouched").exists()
    for many in (plan(), plan(categories=["nut"], seeds=[0, 1])):
        with pytest.raises(InputError, match="--json takes the record of one run, this is 2"):
            sweep.run(many, json_file=target)
    with pytest.raises(InputError, match="is a folder"):
        sweep.run(made, json_file=tmp_path)


def test_a_sweep_that_fails_midway_keeps_what_was_recorded(plan, tmp_path):
    # 448 channels: the second dimension is too large, which only the features can tell
    made = plan(categories=["nut"], settings=["dim=5,449"])
    with pytest.raises(InputError, match=r"\[1, 448\].*found 449"):
        sweep.run(made, results=tmp_path / "r")
    assert len(records.read_all(tmp_path / "r")) == 1
