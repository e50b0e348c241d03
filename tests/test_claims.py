"""Every rule of the ledger, pushed to each of its verdicts; a ledger with faults."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from adlib import claims, report
from adlib.claims import Effect, Evidence, Verdict
from adlib.claims.attribution import Attribution
from adlib.claims.cells import Cells, SingleRun
from adlib.claims.commands import command
from adlib.claims.curves import Plateau, Reaches
from adlib.claims.derived import StageWidths, Theory, stage_widths
from adlib.claims.gains import Equal, Gain
from adlib.claims.measured import ModelSize, Speedup
from adlib.claims.printed import TableMean, TableOrder
from adlib.errors import InputError

GAUSSIAN, CHANNELS = "padim reduction=gaussian dim=100", "padim reduction=coordinate dim=100"
HAAR, NONE = "padim reduction=haar dim=100", "padim reduction=none"
SMALL_EPS = f"{CHANNELS} eps=0.002232142857142857"
CATEGORIES = ("bottle", "screw")
TABLE = "Table 1"


def rows_of(run: str, values, backbone: str = "resnet18", metric: str = "pixel_auroc", **more):
    """Rows of ``records.table()``: values by category and seed, in percent."""
    method, parameters = report.read_run(run)
    for category, by_seed in zip(CATEGORIES, values, strict=False):
        for seed, value in enumerate(by_seed):
            yield (
                {
                    "method": method,
                    "dataset": "mvtec_ad",
                    "category": category,
                    "backbone": backbone,
                    "precision": "float32",
                    "weights": "IMAGENET1K_V1",
                    "resize": 256,
                    "crop": 224,
                    metric: value / 100,
                    "seconds_score": 1.0,
                }
                | parameters
                | {"seed": None if parameters["reduction"] == "none" else seed}
                | more
            )


def evidence_of(*rows, printed=None) -> Evidence:
    frame = pd.DataFrame([row for some in rows for row in some])
    return Evidence(frame, printed_table() if printed is None else printed)


def printed_table(better=(98.5, 97.5), worse=(98.0, 97.0), text=None, other=None) -> pd.DataFrame:
    base = {
        "source": "paper",
        "paper": "p",
        "where": TABLE,
        "backbone": "resnet18",
        "unit": "percent",
        "dataset": "mvtec_ad",
        "metric": "pixel_auroc",
    }
    rows = []
    for method, run, values in (("jl_padim", GAUSSIAN, better), ("padim", CHANNELS, worse)):
        for category, value in zip(CATEGORIES, values, strict=True):
            rows.append(base | {"method": method, "category": category, "value": value, "run": run})
            if other is not None:
                there = {"source": "elsewhere", "paper": "", "where": "README"}
                rows.append(rows[-1] | there | {"value": value + other})
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


@pytest.mark.parametrize("few", [GAUSSIAN, CHANNELS])
def test_one_common_seed_decides_nothing(few):
    many = CHANNELS if few == GAUSSIAN else GAUSSIAN
    one = evidence_of(rows_of(few, [[98.0]]), rows_of(many, [spread(97)]))
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
    [
        ((97.0, 97.0), "reproduced"),
        ((97.05, 97.05), "partly"),
        ((97.2, 96.8), "partly"),  # equal on average only
        ((97.5, 97.5), "not reproduced"),
    ],
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
        rule="attribution",
        better=GAUSSIAN,
        worse=CHANNELS,
        cause=HAAR,
        rival=SMALL_EPS,
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


ATTRIBUTION = {
    "rule": "attribution",
    "better": GAUSSIAN,
    "worse": CHANNELS,
    "cause": HAAR,
    "rival": SMALL_EPS,
    "backbone": "resnet18",
}


def three_arms(total, cause, sd=0.01, n=5, **more):
    """Rows of a gain and its cause over channels at 97; means by category."""
    for start, (run, means) in enumerate(
        [(GAUSSIAN, total), (HAAR, cause), (CHANNELS, [97.0] * len(total))]
    ):
        values = [spread(v, sd, n, seed=9 * start + i) for i, v in enumerate(means)]
        yield from rows_of(run, values, **more)


@pytest.mark.parametrize(
    ("cause", "every", "expected"),
    [
        ((97.8, 97.8), True, "reproduced"),
        ((98.5, 96.9), False, "reproduced"),
        ((98.5, 96.9), True, "partly"),  # behind in one category
    ],
)
def test_attribution_in_every_category(cause, every, expected):
    rule = Attribution(**ATTRIBUTION, every=every)
    outcome = rule.judge(evidence_of(three_arms((98.0, 98.0), cause)), 0.5)
    assert outcome.verdict == expected
    assert f"screw {'+0.80' if cause[1] > 97 else '−0.10'}" in outcome.evidence


@pytest.mark.parametrize(
    ("total", "cause", "expected"),
    [
        (98.0, 97.8, "reproduced"),
        (98.0, 97.2, "partly"),  # less than half there
        (96.0, 97.8, "partly"),  # no gain there
        (None, None, "partly"),  # not run there
    ],
)
def test_attribution_must_agree_on_further_networks(total, cause, expected):
    rule = Attribution(**ATTRIBUTION, also=["other"])
    rows = list(three_arms((98.0,), (97.8,)))
    if total is not None:
        rows += three_arms((total,), (cause,), backbone="other")
    outcome = rule.judge(evidence_of(rows), 0.5)
    there = outcome.evidence.partition("On `other`: ")[2]
    assert outcome.verdict == expected and there
    assert ("share" in there) == (total == 98.0) and ("not run" in there) == (total is None)


def test_the_share_has_an_interval():
    rows = list(three_arms((98.0,), (97.6,), sd=0.2))
    outcome = Attribution(**ATTRIBUTION).judge(evidence_of(rows), 0.5)
    low, high = map(float, re.search(r"share of 0\.60 \[(.+?), (.+?)\]", outcome.evidence).groups())
    assert low < 0.5 < 0.6 < high and outcome.verdict == "partly"  # half is not excluded
    by_run = [[100 * row["pixel_auroc"] for row in rows[i : i + 5]] for i in (0, 5, 10)]
    total, part = np.subtract(by_run[0], by_run[2]), np.subtract(by_run[1], by_run[2])
    for end in (low, high):  # Fieller: the ratios that a t-test just does not refuse
        assert stats.ttest_1samp(part - end * total, 0).pvalue == pytest.approx(0.05, abs=0.004)


def test_a_gain_that_may_be_0_has_no_share():
    rows = three_arms((97.05,), (97.04,), sd=0.3)
    outcome = Attribution(**ATTRIBUTION).judge(evidence_of(rows), 0.5)
    assert outcome.verdict == "not reproduced" and "share" not in outcome.evidence


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
        rule="reaches",
        curve=curve,
        target=CHANNELS,
        dims=[25, 50],
        claimed=27,
        target_dim=100,
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
    ("rival", "expected", "words"),
    [
        ((98.1, 97.1), "partly", "cannot tell the two apart"),
        ((98.1, 90.0), "reproduced", "does not lie within all"),
        ((98.1,), "reproduced", "was not run in all"),
        ((), "reproduced", "was not run in all"),
    ],
)
def test_cells_that_a_rival_passes_too(rival, expected, words):
    rule = Cells(rule="cells", where=TABLE, method="padim", backbone="resnet18", rival=HAAR)
    ours = rows_of(CHANNELS, [spread(v) for v in (98.1, 97.1)])
    made = evidence_of(
        ours, rows_of(HAAR, [spread(v) for v in rival]), printed=printed_table(other=0.2)
    )
    outcome = rule.judge(made, 0)
    assert outcome.verdict == expected and words in outcome.evidence
    assert outcome.evidence.startswith("2 of 2 printed cells were run; 2 of them")


def test_few_cells_are_called_few():
    printed = printed_table(other=0.2)
    more = [
        printed[printed["category"] == "bottle"].assign(category=name) for name in ("tile", "wood")
    ]
    rule = Cells(rule="cells", where=TABLE, method="padim", backbone="resnet18")
    printed = pd.concat([printed, *more], ignore_index=True)
    made = evidence_of(rows_of(CHANNELS, [spread(98.1)]), printed=printed)
    outcome = rule.judge(made, 0)
    assert outcome.verdict == "reproduced" and "1 of 4 cells" in str(outcome.effect)
    assert outcome.evidence.startswith("Only 1 of 4 printed cells were run; 1 of them")


@pytest.mark.parametrize(
    ("sds", "expected"),
    [((0.01, 0.01), "reproduced"), ((0.01, 2.0), "partly"), ((2.0, 2.0), "not reproduced")],
)
def test_single_run(sds, expected):
    rule = SingleRun(
        rule="single_run",
        better=GAUSSIAN,
        worse=CHANNELS,
        backbone="resnet18",
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
    ("whole", "part", "expected"),
    [(2.5, 4.0, "reproduced"), (1.1, 2.5, "partly"), (1.1, 2.3, "not reproduced")],
)
def test_speedup(whole, part, expected):
    rule = Speedup(rule="speedup", benchmark="size", whole="all", part="own", claimed=3)
    ratios = {
        name: {"median": value, "lowest": value - 0.1, "highest": value + 0.1}
        for name, value in (("all", whole), ("own", part))
    }
    none = pd.DataFrame()
    measured = Evidence(
        none, none, benchmarks={"size": {"ratios": ratios, "settings": {"repeats": 3}}}
    )
    outcome = rule.judge(measured, 0.2)
    assert outcome.verdict == expected
    assert (outcome.effect.value, outcome.effect.low) == (whole, whole - 0.1)
    missing = rule.judge(Evidence(none, none), 0.2)
    assert missing.verdict == "not testable here" and missing.commands


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
        rule="table_mean",
        where="text",
        table=TABLE,
        methods=["padim", "jl_padim"],
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
    assert outcome.verdict == "partly" and "not measured" in outcome.evidence
    assert outcome.effect.value == pytest.approx((550 + 550**2) / (150 + 150**2))
    assert "3.80 GB" in outcome.evidence
    assert ModelSize(**rule, claimed=20).judge(NOTHING, 0.2).verdict == "not reproduced"


@pytest.mark.parametrize(
    ("peak", "claimed", "expected"),
    [(8.5, 10, "reproduced"), (2.6, 10, "partly"), (2.6, 20, "not reproduced")],
)
def test_model_size_measured(peak, claimed, expected):
    ratios = {
        name: {"median": value, "lowest": value - 0.1, "highest": value + 0.1}
        for name, value in (("peak_memory", peak), ("model", 5.1))
    }
    found = {"padim_size": {"ratios": ratios, "settings": {"repeats": 3}}}
    rule = ModelSize(rule="model_size", large=550, small=150, positions=3136, claimed=claimed)
    outcome = rule.judge(Evidence(pd.DataFrame(), printed_table(), benchmarks=found), 0.2)
    assert outcome.verdict == expected
    assert (outcome.effect.value, outcome.effect.low) == (peak, peak - 0.1)
    assert all(f"{text}" in outcome.evidence for text in ("13.4×", "5.1×", f"{peak} ["))


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
    loose = Theory(rule="theory", check="isometry").judge(NOTHING, 4.0)
    assert loose.verdict == "reproduced"
    monkeypatch.setattr(theory, "order_probability", theory.length_ratio)
    assert Theory(rule="theory", check="length_ratio").judge(NOTHING, 0.01).verdict == "reproduced"
    monkeypatch.setattr(theory, "consistent_curve", lambda *_: 1.0)
    assert Theory(rule="theory", check="lower_bound").judge(NOTHING, 0.01).verdict == "reproduced"


def test_a_common_factor_refutes_nothing():
    """Kept shares of m/D = 0.22 are all alike without decay; 1 - tolerance is far above them."""
    flat = Theory(rule="theory", check="isometry", decay=0.0).judge(NOTHING, 0.2)
    assert flat.verdict == "reproduced"
    assert flat.effect.value == pytest.approx(1, abs=0.15)


def test_a_decaying_spectrum_keeps_the_first_direction():
    """Against the refitted distance of one projection, by linear algebra alone."""
    outcome = Theory(rule="theory", check="isometry").judge(NOTHING, 0.5)
    variances = np.arange(1, 449.0) ** -1.0
    kept = []
    for seed in range(10):
        matrix = np.random.default_rng(100 + seed).standard_normal((100, 448))
        inverse = np.linalg.inv(matrix @ np.diag(variances) @ matrix.T)
        kept.append(np.diag(matrix.T @ inverse @ matrix)[[0, -1]] * variances[[0, -1]])
    first, last = np.mean(kept, axis=0)
    assert outcome.verdict == Verdict.REFUTED and "100/448 = 0.22" in outcome.evidence
    assert outcome.effect.value == pytest.approx(first / last, rel=0.15)


def test_the_ceiling_is_quoted():
    made = evidence_of(rows_of(NONE, [[98.0], [97.0]]))
    outcome = Theory(rule="theory", check="lower_bound").judge(made, 0.01)
    assert "97.50 %" in outcome.evidence and outcome.effect.value == pytest.approx(2.5)


def test_no_results_folder(tmp_path):
    with pytest.raises(InputError, match=r"reported\.csv"):
        Evidence.read(tmp_path)


# --- words ---


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


# --- a ledger with faults ---

GOOD = {
    "id": "one",
    "paper": "p",
    "where": "Table 1",
    "claim": "It is better.",
    "confirm": "A gain.",
    "page": "padim",
    "test": GAIN,
    "tolerance": 0.05,
    "why": "Half a digit.",
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
        ({"extension": "perhaps"}, "claim one: extension"),
        ({"page": "a page"}, "claim one: page"),
        ({"id": "One!"}, "claim One!: id"),
        ({"test": GAIN | {"rule": "guess"}}, "claim one: test.*guess"),
        ({"test": GAIN | {"better": "magic dim=3"}}, "claim one: test.gain.better.*magic"),
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
