"""The committed ledger: every verdict again from the records, by other means."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from adlib import claims
from adlib.claims import Evidence, Verdict


@pytest.fixture(scope="session")
def ledger(pytestconfig):
    return claims.read(pytestconfig.rootpath / "book/claims.yaml")


@pytest.fixture(scope="session")
def real(pytestconfig):
    return Evidence.read(pytestconfig.rootpath / "results")


@pytest.fixture(scope="session")
def judged(ledger, real):
    return {result.claim.id: result for result in claims.judge(ledger, real)}


# --- the committed ledger ---


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
        if outcome.verdict is Verdict.NOT_TESTABLE:
            assert outcome.commands or re.search("agree|cannot tell", outcome.evidence), name
        else:
            assert outcome.effect is not None and math.isfinite(outcome.effect.value), name


# --- each verdict again, from the files themselves ---


def plain_values(results: Path, backbone: str, metric: str, **wanted) -> dict:
    """Category -> seed -> percent, read with json alone."""
    defaults = {"eps": 0.01, "eps_scale": "nominal", "sigma": 4.0, "image_score": "smoothed"}
    wanted = defaults | wanted
    found: dict = defaultdict(dict)
    for path in sorted((results / "mvtec_ad").glob("*/padim/*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        identity = record["identity"]
        network = identity["backbone"]
        same = all(identity["parameters"][name] == value for name, value in wanted.items())
        same &= identity["transform"] == {"resize": 256, "crop": 224} and "shots" not in identity
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
    arms = [plain(metric, backbone, reduction=r, dim=100) for r in ("gaussian", "coordinate")]
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
        clear = drop[1] > 0 and drop[0] >= 0.05
        assert (judged["jl-drop"].outcome.verdict == "reproduced") == clear
    same = plain_paired(gaussian, haar)
    if assert_effect(judged["jl-haar-default"].outcome, same):
        inside = same[1] >= -0.05 and same[2] <= 0.05
        inside &= all(abs(value) <= 0.05 for value in same[3].values())
        assert (judged["jl-haar-default"].outcome.verdict == "reproduced") == inside
    total, part = plain_paired(gaussian, channels), plain_paired(haar, channels)
    if total is not None and assert_effect(judged["jl-information"].outcome, part):
        whole = total[1] > 0 and part[1] > 0
        other = [
            plain(backbone="efficientnet_lite0", reduction=r, dim=100)
            for r in ("gaussian", "haar", "coordinate")
        ]
        pairs = [plain_paired(one, other[2]) for one in other[:2]]
        both = [(total, part)] + ([tuple(pairs)] if None not in pairs else [])
        stands = len(both) == 2 and all(
            t[1] > 0 and p[1] > 0 and p[0] >= t[0] / 2 and min(p[3].values()) > 0 for t, p in both
        )
        verdict = judged["jl-information"].outcome.verdict
        assert verdict in (("partly", "reproduced") if whole else ("not reproduced",))
        assert stands or verdict != "reproduced"


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
        rows = [row for row in csv.DictReader(file) if row["paper"] == "jl_padim"]
    rows = [row for row in rows if row["where"] == "Table 1"]
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
        cells = real.cells("Table 1", "resnet18", "pixel_auroc")
        printed = cells[cells["method"] == method].set_index("category")["value"]
        deltas = [np.mean(list(found[c].values())) - printed[c] for c in found if len(found[c])]
        if not deltas:
            assert outcome.verdict == "not testable here"
            continue
        assert outcome.effect.value == pytest.approx(np.mean(deltas))
        assert f"{len(deltas)} of 15 printed cells were run" in outcome.evidence
        assert f"({len(deltas)} of 15 cells)" in str(outcome.effect)
    if deltas:  # of the proposed method; what the channels pass as well tells nothing
        tolerances = re.findall(
            r"(\w+) \S+ of ±(\d+\.\d+)", judged["jl-proposed-cells"][1].evidence
        )
        channels = plain(reduction="coordinate", dim=100)
        inside = [
            abs(np.mean(list(channels[name].values())) - printed[name]) <= float(tolerance)
            for name, tolerance in tolerances
        ]
        assert len(inside) == len(deltas)
        assert not all(inside) or judged["jl-proposed-cells"].outcome.verdict != "reproduced"


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
    for name in ("jl-gain-wide-resnet", "jl-150-dimensions"):
        outcome = judged[name].outcome
        if (real.runs["backbone"] == "wide_resnet50_2").any():
            continue
        assert outcome.verdict is Verdict.NOT_TESTABLE
        assert "weights" in outcome.evidence and outcome.effect is None
        assert all("--backbone wide_resnet50_2" in text for text in outcome.commands)


def test_memory_is_judged_by_the_whole(judged, pytestconfig):
    measured = json.loads(
        (pytestconfig.rootpath / "results/bench/padim_size.json").read_text(encoding="utf-8")
    )
    peak = measured["ratios"]["peak_memory"]["median"]
    outcome = judged["jl-memory"].outcome
    assert outcome.verdict == ("reproduced" if peak >= 8 else "partly")
    assert outcome.effect.value == peak and "13.4×" in outcome.evidence


def test_extensions_are_marked(ledger):
    marked = {c.id for c in ledger.claims if c.extension and c.paper == "jl_padim"}
    assert marked == {"jl-gain-second-network", "jl-fewer-dimensions-resnet18"}


def test_model_size_is_what_records_say(pytestconfig):
    seen = set()
    folder = pytestconfig.rootpath / "results/mvtec_ad"
    for path in sorted(folder.glob("*/padim/resnet18-*.json")):
        drawn = json.loads(path.read_text(encoding="utf-8"))["drawn"]
        if drawn["form"] == "primal" and drawn["reduced_dim"] not in seen:
            seen.add(drawn["reduced_dim"])
            expected = 3136 * (drawn["reduced_dim"] + drawn["reduced_dim"] ** 2) * 4 / 1e6
            assert drawn["model_mb"] == pytest.approx(expected, abs=0.06)
    assert seen


def test_without_any_record_the_ledger_still_answers(ledger, real):
    results = claims.judge(ledger, Evidence(pd.DataFrame(), real.printed))
    by_rule = defaultdict(set)
    for claim, outcome in results:
        by_rule[claim.test.rule].add(outcome.verdict)
        decided = outcome.verdict is not Verdict.NOT_TESTABLE or "agree" in outcome.evidence
        assert decided or outcome.commands
    calculated = {"table_order", "table_mean", "model_size", "stage_widths", "theory"}
    calculated |= {"patchcore_theory", "image_counts", "error_rows", "lead"}
    calculated |= {"alignments", "table_best", "diffusion_theory"}
    for rule in by_rule.keys() - calculated:
        assert by_rule[rule] == {Verdict.NOT_TESTABLE}, rule
    assert by_rule["table_order"] == by_rule["table_mean"] == {Verdict.CONTRADICTED}


def test_each_claim_looks_at_its_own_data_set(real):
    assert set(real.here["dataset"]) == {"mvtec_ad"}
    assert set(real.on("mstc").runs["dataset"]) == set(real.runs["dataset"])
    assert not (real.on("magnetic_tile").here["dataset"] == "mvtec_ad").any()
