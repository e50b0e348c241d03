"""The ledger: every verdict again from the records by other means, and every rule pushed around."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from adlib import claims, records, report
from adlib.claims import Effect, Evidence, Verdict
from adlib.claims.cells import Cells, SingleRun
from adlib.claims.curves import Plateau, Reaches, Speed
from adlib.claims.derived import ModelSize, StageWidths, Theory, stage_widths
from adlib.claims.evidence import command
from adlib.claims.gains import Attribution, Equal, Gain
from adlib.claims.printed import TableMean, TableOrder
from adlib.errors import InputError

GAUSSIAN, CHANNELS = "padim reduction=gaussian dim=100", "padim reduction=coordinate dim=100"
HAAR, NONE = "padim reduction=haar dim=100", "padim reduction=none"
SMALL_EPS = f"{CHANNELS} eps=0.002232142857142857"
CATEGORIES = ("bottle", "screw")


@pytest.fixture(scope="session")
def ledger(pytestconfig):
    return claims.read(pytestconfig.rootpath / "book/claims.yaml")


@pytest.fixture(scope="session")
def real(pytestconfig):
    return Evidence.read(pytestconfig.rootpath / "results")


@pytest.fixture(scope="session")
def judged(ledger, real):
    return {result.claim.id: result for result in claims.judge(ledger, real)}


# --- the committed ledger -----------------------------------------------------------------------


def test_the_ledger_is_whole(ledger, root):
    assert len(ledger.claims) >= 12
    listed = (root / "book/_toc.yml").read_text(encoding="utf-8")
    for claim in ledger.claims:
        assert f"file: {claim.page}\n" in listed, f"{claim.id}: no page {claim.page}"


def test_no_verdict_is_typed(root):
    rows = yaml.safe_load((root / "book/claims.yaml").read_text(encoding="utf-8"))["claims"]
    for row in rows:
        texts = " ".join(str(value) for value in row.values()).lower()
        assert "verdict" not in row
        assert not any(text in texts for text in ("not reproduced", "refuted", "contradicted"))


def test_every_claim_gets_a_verdict_with_numbers(judged):
    for name, (_, outcome) in judged.items():
        assert isinstance(outcome.verdict, Verdict)
        assert any(character.isdigit() for character in outcome.evidence), name
        assert (outcome.verdict is Verdict.NOT_TESTABLE) == bool(
            outcome.commands
        ) or outcome.verdict is Verdict.NOT_TESTABLE
        if outcome.verdict is not Verdict.NOT_TESTABLE:
            assert outcome.effect is not None and math.isfinite(outcome.effect.value), name


# --- each verdict again, from the files themselves ------------------------------------------------


def plain_values(results: Path, backbone: str, metric: str, **wanted) -> dict:
    """Category -> seed -> percent, read with json alone."""
    defaults = {"eps": 0.01, "eps_scale": "nominal", "sigma": 4.0, "image_score": "smoothed"}
    wanted = defaults | wanted
    found: dict = defaultdict(dict)
    for path in sorted((results / "mvtec_ad").rglob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        identity = record["identity"]
        network = identity["backbone"]
        same = all(identity["parameters"][name] == value for name, value in wanted.items())
        if same and network["name"] == backbone and network["precision"] == "float32":
            seed = identity["parameters"]["seed"]
            found[identity["dataset"]["category"]][seed] = 100 * record["metrics"][metric]
    return found


def plain_paired(a: dict, b: dict):
    """Mean and 95 % interval over the seeds that all common categories share; None below two."""
    common = sorted(set(a) & set(b))
    if not common:
        return None
    per_category = {}
    for name in common:
        seeds = set(b[name]) if None in a[name] else set(a[name]) & set(b[name])
        one = {seed: a[name].get(seed, a[name].get(None)) for seed in seeds}
        per_category[name] = {seed: one[seed] - b[name][seed] for seed in seeds}
    seeds = set.intersection(*(set(found) for found in per_category.values()))
    if len(seeds) < 2:
        return None
    by_seed = np.array([np.mean([per_category[c][s] for c in common]) for s in sorted(seeds)])
    half = stats.t.ppf(0.975, len(seeds) - 1) * by_seed.std(ddof=1) / math.sqrt(len(seeds))
    means = {c: np.mean([per_category[c][s] for s in seeds]) for c in common}
    return by_seed.mean(), by_seed.mean() - half, by_seed.mean() + half, means


@pytest.fixture(scope="session")
def plain(pytestconfig):
    results, cache = pytestconfig.rootpath / "results", {}

    def values(metric="pixel_auroc", backbone="resnet18", **wanted):
        place = (metric, backbone, *sorted(wanted.items()))
        if place not in cache:
            cache[place] = plain_values(results, backbone, metric, **wanted)
        return cache[place]

    return values


def assert_effect(outcome, expected):
    if expected is None:
        assert outcome.verdict is Verdict.NOT_TESTABLE
        return False
    effect = outcome.effect
    assert [effect.value, effect.low, effect.high] == pytest.approx(expected[:3], abs=1e-9)
    return True


@pytest.mark.parametrize(
    ("name", "metric", "backbone"),
    [
        ("jl-gain-resnet18", "pixel_auroc", "resnet18"),
        ("jl-localisation", "aupro", "resnet18"),
        ("jl-gain-second-network", "pixel_auroc", "efficientnet_lite0"),
    ],
)
def test_gains_again(judged, plain, name, metric, backbone):
    arms = [
        plain(metric, backbone, reduction=r, dim=100) for r in ("gaussian", "coordinate")
    ]
    outcome, expected = judged[name].outcome, plain_paired(*arms)
    if assert_effect(outcome, expected):
        mean, low, _, by_category = expected
        everywhere = min(by_category.values()) > 0
        verdict = "reproduced" if mean >= 0.05 and everywhere else "partly"
        assert outcome.verdict == (verdict if low > 0 else "not reproduced")


def test_the_other_comparisons_again(judged, plain):
    gaussian, haar = plain(reduction="gaussian", dim=100), plain(reduction="haar", dim=100)
    channels, ceiling = plain(reduction="coordinate", dim=100), plain(reduction="none")
    drop = plain_paired(ceiling, gaussian)
    if assert_effect(judged["jl-drop"].outcome, drop):
        assert (judged["jl-drop"].outcome.verdict == "reproduced") == (drop[1] > 0 and drop[0] >= 0.05)
    same = plain_paired(gaussian, haar)
    if assert_effect(judged["jl-haar-default"].outcome, same):
        inside = -0.05 <= same[1] and same[2] <= 0.05
        assert (judged["jl-haar-default"].outcome.verdict == "reproduced") == inside
    total, part = plain_paired(gaussian, channels), plain_paired(haar, channels)
    if total is not None and assert_effect(judged["jl-information"].outcome, part):
        whole = total[1] > 0 and part[1] > 0
        enough = whole and part[0] >= total[0] / 2
        expected = "reproduced" if enough else "partly" if whole else "not reproduced"
        assert judged["jl-information"].outcome.verdict == expected


def test_the_curve_again(judged, plain):
    curve = {m: plain(reduction="gaussian", dim=m) for m in (25, 50, 100, 200, 448)}
    channels = plain(reduction="coordinate", dim=100)
    reach = {m: plain_paired(curve[m], channels) for m in (25, 50, 100)}
    outcome = judged["jl-fewer-dimensions-resnet18"].outcome
    if assert_effect(outcome, reach[25]):
        enough = [m for m, found in reach.items() if found and found[1] >= -0.05]
        expected = {25: "reproduced", 50: "partly"}.get(min(enough, default=100), "not reproduced")
        assert outcome.verdict == expected
    rise, rest = plain_paired(curve[200], curve[50]), plain_paired(curve[448], curve[200])
    outcome = judged["jl-plateau"].outcome
    if rest is None:
        assert outcome.verdict == "not testable here"
    elif assert_effect(outcome, rise):
        flat = rest[0] <= 0.25 * rise[0]
        rising = rise[1] > 0 and rest[0] < rise[0]
        expected = ("reproduced" if flat else "partly") if rising else "not reproduced"
        assert outcome.verdict == expected


def test_the_printed_table_again(judged, root):
    with open(root / "results/reported.csv", encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["paper"] == "jl_padim" and r["where"] == "Table 1"]
    table = {(r["backbone"], r["category"], r["method"]): float(r["value"]) for r in rows}
    better = [table[b, c, "jl_padim"] > table[b, c, m] for b, c, m in table if m == "padim"]
    assert (len(better), sum(better)) == (30, 29)
    assert judged["jl-all-classes"].outcome.verdict == Verdict.CONTRADICTED
    assert "29 of 30" in judged["jl-all-classes"].outcome.evidence
    assert "tile on ResNet-18 has 91.2 and 91.2" in judged["jl-all-classes"].outcome.evidence
    means = {
        m: np.mean([v for (b, _, n), v in table.items() if b == "wide_resnet50_2" and n == m])
        for m in ("padim", "jl_padim")
    }
    headline = judged["jl-headline"].outcome
    assert headline.verdict == Verdict.CONTRADICTED
    off = max(abs(means["padim"] - 96.7), abs(means["jl_padim"] - 97.3))
    assert headline.effect.value == pytest.approx(off)
    assert "cable" in headline.evidence


def test_the_printed_cells_again(judged, real, plain):
    for name, method, reduction in (
        ("jl-baseline-cells", "padim", "coordinate"),
        ("jl-proposed-cells", "jl_padim", "gaussian"),
    ):
        outcome = judged[name].outcome
        found = plain(reduction=reduction, dim=100)
        printed = real.cells("Table 1", "resnet18", "pixel_auroc").query("method == @method")
        printed = printed.set_index("category")["value"]
        deltas = [np.mean(list(found[c].values())) - printed[c] for c in found if len(found[c])]
        if not deltas:
            assert outcome.verdict == "not testable here"
            continue
        assert outcome.effect.value == pytest.approx(np.mean(deltas))
        assert f"of {len(deltas)} cells that were run, of 15 printed" in outcome.evidence


def test_the_spread_of_single_runs_again(judged, plain):
    arms = [plain(reduction=r, dim=100) for r in ("gaussian", "coordinate")]
    printed = {"bottle": 0.3, "capsule": 0.1, "screw": 0.1, "transistor": 0.4}
    ratios = []
    for category in set(arms[0]) & set(arms[1]):
        draws = [list(arm[category].values()) for arm in arms]
        if min(map(len, draws)) > 1:
            sd = math.sqrt(sum(np.var(values, ddof=1) for values in draws))
            ratios.append(printed[category] / sd)
    outcome = judged["jl-significant"].outcome
    if ratios:
        clear = sum(ratio > 2 for ratio in ratios)
        verdicts = {0: "not reproduced", len(ratios): "reproduced"}
        assert outcome.verdict == verdicts.get(clear, "partly")
        assert outcome.effect.value == pytest.approx(np.median(ratios))


def test_what_needs_missing_weights_is_not_testable(judged, real):
    for name in ("jl-gain-wide-resnet", "jl-150-dimensions", "jl-speed"):
        outcome = judged[name].outcome
        if (real.runs["backbone"] == "wide_resnet50_2").any():
            continue
        assert outcome.verdict is Verdict.NOT_TESTABLE
        assert "weights" in outcome.evidence and outcome.effect is None
        assert all("--backbone wide_resnet50_2" in text for text in outcome.commands)


def test_model_size_is_what_records_say(pytestconfig):
    seen = set()
    for path in sorted((pytestconfig.rootpath / "results/mvtec_ad").glob("*/padim/resnet18-*.json")):
        drawn = json.loads(path.read_text(encoding="utf-8"))["drawn"]
        if drawn["form"] == "primal" and drawn["reduced_dim"] not in seen:
            seen.add(drawn["reduced_dim"])
            expected = 3136 * (drawn["reduced_dim"] + drawn["reduced_dim"] ** 2) * 4 / 1e6
            assert drawn["model_mb"] == pytest.approx(expected, abs=0.06)
    assert seen


# --- rules on made-up records ----------------------------------------------------------------------

TABLE = "Table 1"


def rows_of(run: str, values, backbone: str = "resnet18", metric: str = "pixel_auroc", **more):
    """Rows of ``records.table()``: values by category and seed, in percent."""
    method, parameters = report.read_run(run)
    for category, by_seed in zip(CATEGORIES, values, strict=False):
        for seed, value in enumerate(by_seed):
            yield {
                "method": method, "dataset": "mvtec_ad", "category": category,
                "backbone": backbone, "precision": "float32", "weights": "IMAGENET1K_V1",
                "resize": 256, "crop": 224, metric: value / 100, "seconds_score": 1.0,
            } | parameters | {"seed": None if parameters["reduction"] == "none" else seed} | more


def evidence_of(*rows, printed=None) -> Evidence:
    frame = pd.DataFrame([row for some in rows for row in some])
    return Evidence(frame, printed_table() if printed is None else printed)


def printed_table(better=(98.5, 97.5), worse=(98.0, 97.0), text=None, other=None) -> pd.DataFrame:
    base = {
        "source": "paper", "paper": "p", "where": TABLE, "backbone": "resnet18", "unit": "percent",
        "dataset": "mvtec_ad", "metric": "pixel_auroc",
    }
    rows = []
    for method, run, values in (("jl_padim", GAUSSIAN, better), ("padim", CHANNELS, worse)):
        for category, value in zip(CATEGORIES, values, strict=True):
            rows.append(base | {"method": method, "category": category, "value": value, "run": run})
            if other is not None:
                there = {"source": "elsewhere", "paper": "", "where": "README", "value": value + other}
                rows.append(rows[-1] | there)
    for method, value in (text or {}).items():
        mean = {"where": "text", "category": "mean", "method": method, "value": value, "run": ""}
        rows.append(base | mean)
    return pd.DataFrame(rows)


def spread(mean: float, sd: float = 0.01, n: int = 5, seed: int = 0) -> np.ndarray:
    """n values with exactly this mean and about this spread."""
    draw = np.random.default_rng(seed).normal(size=n)
    return mean + sd * (draw - draw.mean())


def arms(better, worse, run=GAUSSIAN, base=CHANNELS, **more):
    """Records of two runs; means by category."""
    return evidence_of(
        rows_of(run, [spread(v, seed=i) for i, v in enumerate(better)], **more),
        rows_of(base, [spread(v, seed=i + 9) for i, v in enumerate(worse)], **more),
    )


GAIN = {"rule": "gain", "better": GAUSSIAN, "worse": CHANNELS, "backbone": "resnet18"}


@pytest.mark.parametrize(
    ("better", "every", "expected"),
    [
        ((97.5, 97.5), True, "reproduced"),
        ((98.0, 96.9), True, "partly"),  # behind in one category
        ((98.0, 96.9), False, "reproduced"),
        ((97.03, 97.03), True, "partly"),  # above 0, below the tolerance
        ((97.0, 97.0), True, "not reproduced"),
        ((96.0, 96.0), True, "not reproduced"),
    ],
)
def test_gain(better, every, expected):
    outcome = Gain(**GAIN, every=every).judge(arms(better, (97.0, 97.0)), 0.05)
    assert outcome.verdict == expected
    assert outcome.effect.value == pytest.approx(np.mean(better) - 97.0)


def test_gain_names_what_is_missing():
    only = evidence_of(rows_of(GAUSSIAN, [spread(98)]))
    outcome = Gain(**GAIN).judge(only, 0.05)
    assert outcome.verdict == "not testable here"
    assert outcome.commands == (command(CHANNELS, "mvtec_ad", "resnet18"),)
    assert GAUSSIAN not in outcome.evidence


def test_one_common_seed_decides_nothing():
    one = evidence_of(rows_of(GAUSSIAN, [[98.0]]), rows_of(CHANNELS, [spread(97)]))
    outcome = Gain(**GAIN).judge(one, 0.05)
    assert outcome.verdict == "not testable here" and "two common seeds" in outcome.evidence


def test_a_run_without_seeds_stands_for_all():
    rule = Gain(**(GAIN | {"better": NONE, "worse": GAUSSIAN}))
    both = evidence_of(rows_of(NONE, [[98.5]]), rows_of(GAUSSIAN, [spread(98.0)]))
    outcome = rule.judge(both, 0.05)
    assert outcome.verdict == "reproduced" and "5 seeds × 1 category" in outcome.evidence


def test_printed_gain_is_quoted():
    rule = Gain(**GAIN, printed=(TABLE, "jl_padim", "padim"))
    assert "prints +0.50" in rule.judge(arms((98, 98), (97, 97)), 0.05).evidence


def test_other_data_sizes_and_weights_do_not_count():
    good = list(rows_of(GAUSSIAN, [spread(98)]))
    for change in ({"weights": "random"}, {"precision": "bfloat16"}, {"backbone": "other"}):
        other = evidence_of(good, rows_of(CHANNELS, [spread(97)], **change))
        assert Gain(**GAIN).judge(other, 0.05).verdict == "not testable here"


@pytest.mark.parametrize(
    ("better", "expected"),
    [((97.0, 97.0), "reproduced"), ((97.05, 97.05), "partly"), ((97.5, 97.5), "not reproduced")],
)
def test_equal(better, expected):
    rule = Equal(rule="equal", better=HAAR, worse=CHANNELS, backbone="resnet18")
    assert rule.judge(arms(better, (97.0, 97.0), run=HAAR), 0.05).verdict == expected


@pytest.mark.parametrize(
    ("total", "cause", "expected"),
    [
        (98.0, 97.8, "reproduced"),
        (98.0, 97.2, "partly"),
        (98.0, 97.0, "not reproduced"),
        (97.0, 97.5, "not reproduced"),  # no gain, nothing to attribute
    ],
)
def test_attribution(total, cause, expected):
    rule = Attribution(
        rule="attribution", better=GAUSSIAN, worse=CHANNELS, cause=HAAR, rival=SMALL_EPS,
        backbone="resnet18",
    )
    rows = [
        list(rows_of(run, [spread(value, seed=i)]))
        for i, (run, value) in enumerate([(GAUSSIAN, total), (HAAR, cause), (CHANNELS, 97.0)])
    ]
    outcome = rule.judge(evidence_of(*rows), 0.5)
    assert outcome.verdict == expected and "alone was not run" in outcome.evidence
    rival = rows_of(SMALL_EPS, [spread(97.1, seed=7)])
    outcome = rule.judge(evidence_of(*rows, rival), 0.5)
    assert outcome.verdict == expected and "other cause alone gives +0.10" in outcome.evidence
    assert rule.judge(evidence_of(rows[0], rows[2]), 0.5).verdict == "not testable here"


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ({25: 97.0, 50: 97.5}, "reproduced"),
        ({25: 96.5, 50: 97.0}, "partly"),
        ({25: 96.5, 50: 96.5}, "not reproduced"),
        ({50: 97.0}, "not testable here"),
        ({}, "not testable here"),
    ],
)
def test_reaches(at, expected):
    curve = "padim reduction=gaussian dim={dim}"
    rule = Reaches(
        rule="reaches", curve=curve, target=CHANNELS, dims=[25, 50], claimed=27, target_dim=100,
        backbone="resnet18",
    )
    rows = [rows_of(curve.format(dim=m), [spread(v, seed=m)]) for m, v in at.items()]
    made = evidence_of(*rows, rows_of(CHANNELS, [spread(97.0)]))
    assert rule.judge(made, 0.05).verdict == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((96, 97, 97.1), "reproduced"),
        ((96, 97, 96.5), "reproduced"),
        ((96, 97, 97.6), "partly"),
        ((96, 97, 98.5), "not reproduced"),
        ((97, 97, 97), "not reproduced"),
        ((96, 97), "not testable here"),
    ],
)
def test_plateau(values, expected):
    curve = "padim reduction=gaussian dim={dim}"
    rule = Plateau(rule="plateau", curve=curve, start=50, knee=200, end=448, backbone="resnet18")
    rows = [
        rows_of(curve.format(dim=m), [spread(v, seed=m)])
        for m, v in zip((50, 200, 448), values, strict=False)
    ]
    assert rule.judge(evidence_of(*rows), 0.25).verdict == expected


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        ((98.1, 97.1), "reproduced"),
        ((98.1, 90.0), "partly"),
        ((90.0, 90.0), "not reproduced"),
        ((), "not testable here"),
    ],
)
def test_cells(ours, expected):
    rule = Cells(rule="cells", where=TABLE, method="padim", backbone="resnet18")
    rows = rows_of(CHANNELS, [spread(v) for v in ours])
    other = rows_of(HAAR, [spread(50.0)])
    made = evidence_of(rows, other, printed=printed_table(other=0.2))
    outcome = rule.judge(made, 0)
    assert outcome.verdict == expected
    assert outcome.commands == (() if ours else (command(CHANNELS, "mvtec_ad", "resnet18"),))


@pytest.mark.parametrize(
    ("sds", "expected"),
    [((0.01, 0.01), "reproduced"), ((0.01, 2.0), "partly"), ((2.0, 2.0), "not reproduced")],
)
def test_single_run(sds, expected):
    rule = SingleRun(
        rule="single_run", better=GAUSSIAN, worse=CHANNELS, backbone="resnet18",
        printed=(TABLE, "jl_padim", "padim"),
    )
    made = evidence_of(
        *(rows_of(run, [spread(97, sd) for sd in sds]) for run in (GAUSSIAN, CHANNELS))
    )
    assert rule.judge(made, 0).verdict == expected
    assert rule.judge(evidence_of(rows_of(HAAR, [[97.0]])), 0).verdict == "not testable here"
    single = evidence_of(*(rows_of(run, [[97.0]]) for run in (GAUSSIAN, CHANNELS)))
    assert rule.judge(single, 0).verdict == "not testable here"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(3.0, "reproduced"), (1.5, "partly"), (1.0, "not reproduced"), (0.5, "not reproduced")],
)
def test_speed(seconds, expected):
    rule = Speed(rule="speed", fast=GAUSSIAN, slow=CHANNELS, claimed=3, backbone="resnet18")
    slow = [
        row | {"seconds_score": seconds * factor}
        for row, factor in zip(
            rows_of(CHANNELS, [spread(97)]), (0.98, 1.02, 1.0, 1.03, 0.97), strict=True
        )
    ]
    outcome = rule.judge(evidence_of(rows_of(GAUSSIAN, [spread(97)]), slow), 0.2)
    assert outcome.verdict == expected
    assert outcome.effect.value == pytest.approx(seconds, rel=1e-2)
    assert rule.judge(evidence_of(slow), 0.2).verdict == "not testable here"


def test_table_order():
    rule = TableOrder(rule="table_order", where=TABLE, better="jl_padim", worse="padim")
    none = pd.DataFrame()
    consistent = rule.judge(Evidence(none, printed_table()), 0)
    assert consistent.verdict == "not testable here" and "agree" in consistent.evidence
    for worse in ((98.0, 97.5), (98.0, 99.0)):
        outcome = rule.judge(Evidence(none, printed_table(worse=worse)), 0)
        assert outcome.verdict == Verdict.CONTRADICTED and "1 of 2" in outcome.evidence


def test_table_mean():
    rule = TableMean(
        rule="table_mean", where="text", table=TABLE, methods=["padim", "jl_padim"],
        backbone="resnet18",
    )
    right = printed_table(text={"padim": 97.5, "jl_padim": 98.0})
    assert rule.judge(Evidence(pd.DataFrame(), right), 0.1).verdict == "not testable here"
    wrong = printed_table(text={"padim": 98.0, "jl_padim": 98.5})
    outcome = rule.judge(Evidence(pd.DataFrame(), wrong), 0.1)
    assert outcome.verdict == Verdict.CONTRADICTED
    assert "row of bottle on ResNet-18" in outcome.evidence
    with pytest.raises(InputError, match="nothing at 'text'"):
        rule.judge(Evidence(pd.DataFrame(), printed_table()), 0.1)


NOTHING = Evidence(pd.DataFrame(), printed_table())


def test_model_size():
    rule = {"rule": "model_size", "large": 550, "small": 150, "positions": 3136}
    outcome = ModelSize(**rule, claimed=10).judge(NOTHING, 0.2)
    assert outcome.verdict == "reproduced"
    assert outcome.effect.value == pytest.approx((550 + 550**2) / (150 + 150**2))
    assert "3.80 GB" in outcome.evidence
    assert ModelSize(**rule, claimed=20).judge(NOTHING, 0.2).verdict == "not reproduced"


def test_stage_widths():
    assert list(stage_widths("resnet18").values()) == [64, 128, 256, 512]
    rule = {"rule": "stage_widths", "backbone": "resnet18", "kept": 100}
    assert StageWidths(**rule, claimed=448).judge(NOTHING, 0).verdict == "reproduced"
    assert StageWidths(**rule, claimed=500).judge(NOTHING, 0).verdict == Verdict.REFUTED


def test_theory(monkeypatch):
    from adlib import theory

    for check in ("length_ratio", "isometry", "lower_bound"):
        outcome = Theory(rule="theory", check=check).judge(NOTHING, 0.01)
        assert outcome.verdict == Verdict.REFUTED
    loose = Theory(rule="theory", check="isometry").judge(NOTHING, 0.9)
    assert loose.verdict == "reproduced"
    assert loose.effect.value == pytest.approx(100 / 448)
    monkeypatch.setattr(theory, "order_probability", theory.length_ratio)
    assert Theory(rule="theory", check="length_ratio").judge(NOTHING, 0.01).verdict == "reproduced"
    monkeypatch.setattr(theory, "consistent_curve", lambda *_: 1.0)
    assert Theory(rule="theory", check="lower_bound").judge(NOTHING, 0.01).verdict == "reproduced"


def test_the_ceiling_is_quoted():
    made = evidence_of(rows_of(NONE, [[98.0], [97.0]]))
    outcome = Theory(rule="theory", check="lower_bound").judge(made, 0.01)
    assert "97.50 %" in outcome.evidence and outcome.effect.value == pytest.approx(2.5)


def test_without_any_record_the_ledger_still_answers(ledger, real):
    results = claims.judge(ledger, Evidence(pd.DataFrame(), real.printed))
    by_rule = defaultdict(set)
    for claim, outcome in results:
        by_rule[claim.test.rule].add(outcome.verdict)
        assert outcome.verdict is not Verdict.NOT_TESTABLE or outcome.commands
    for rule in ("gain", "equal", "attribution", "reaches", "plateau", "cells", "single_run", "speed"):
        assert by_rule[rule] == {Verdict.NOT_TESTABLE}
    assert by_rule["table_order"] == by_rule["table_mean"] == {Verdict.CONTRADICTED}


def test_no_results_folder(tmp_path):
    with pytest.raises(InputError, match=r"reported\.csv"):
        Evidence.read(tmp_path)


# --- words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "text"),
    [
        (Effect(0.126, "points", 0.0649, 0.19, "5 seeds"), "+0.13 [+0.06, +0.19] points (5 seeds)"),
        (Effect(-0.001, "points"), "0.00 points"),
        (Effect(-0.2, "points"), "−0.20 points"),
        (Effect(13.43, "times"), "13.4×"),
        (Effect(1792, "channels"), "1792 channels"),
        (Effect(0.41, "", sample="r"), "0.41 (r)"),
    ],
)
def test_effects_in_words(effect, text):
    assert str(effect) == text


def test_each_verdict_has_its_own_mark_and_meaning():
    assert len({verdict.mark for verdict in Verdict}) == len(Verdict) == 6
    assert all(verdict.meaning for verdict in Verdict)


# --- a ledger with faults -----------------------------------------------------------------------------

GOOD = {
    "id": "one", "paper": "p", "where": "Table 1", "claim": "It is better.", "confirm": "A gain.",
    "page": "padim", "test": GAIN, "tolerance": 0.05, "why": "Half a digit.",
}


def written(tmp_path, text) -> Path:
    path = tmp_path / "claims.yaml"
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text), encoding="utf-8")
    return path


def test_a_good_ledger(tmp_path):
    ledger = claims.read(written(tmp_path, {"papers": {"p": "The paper"}, "claims": [GOOD]}))
    assert ledger.claims[0].test == Gain(**GAIN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "reproduced"}, "claim one: verdict: Extra inputs"),
        ({"paper": "other"}, "papers must name each paper"),
        ({"tolerance": -1}, "claim one: tolerance"),
        ({"tolerance": "wide"}, "claim one: tolerance"),
        ({"why": ""}, "claim one: why"),
        ({"page": "a page"}, "claim one: page"),
        ({"id": "One!"}, "claim One!: id"),
        ({"test": GAIN | {"rule": "guess"}}, "claim one: test.*guess"),
        ({"test": GAIN | {"better": "magic dim=3"}}, "a method that exists, found 'magic dim=3'"),
        ({"test": GAIN | {"better": "padim width=3"}}, "width"),
        ({"test": GAIN | {"better": "padim dim=0"}}, "dim"),
        ({"test": GAIN | {"extra": 1}}, "extra"),
        ({"test": {"rule": "gain", "better": GAUSSIAN}}, "worse"),
    ],
)
def test_faulty_rows(tmp_path, change, message):
    path = written(tmp_path, {"papers": {"p": "The paper"}, "claims": [GOOD | change]})
    with pytest.raises(InputError, match=message) as caught:
        claims.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("claims: [", "must be YAML"),
        ("", "the ledger"),
        ("just text", "the ledger"),
        ({"papers": {}, "claims": []}, "claims"),
        ({"papers": {"p": "The paper"}, "claims": [GOOD, GOOD]}, "found twice: one"),
        ({"papers": {"p": "The paper"}, "claims": ["text"]}, "claim 1"),
        ({"papers": {"p": "The paper"}}, "claims: Field required"),
        (b"\xff\xfe".decode("latin1") + "\x00", "must be YAML"),
    ],
)
def test_faulty_files(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        claims.read(written(tmp_path, content))


def test_a_missing_ledger(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        claims.read(tmp_path / "nowhere.yaml")


def test_reading_keeps_one_image_size(pytestconfig, real):
    table = records.table(pytestconfig.rootpath / "results")
    kept = table[(table["dataset"] == "mvtec_ad") & (table["resize"] == 256) & (table["crop"] == 224)]
    assert len(real.runs) == len(kept)
