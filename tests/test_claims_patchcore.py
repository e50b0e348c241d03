"""The rules that PatchCore's claims need, pushed to each of their verdicts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy.special import softmax

from adlib import report
from adlib.claims import Evidence
from adlib.claims.amounts import Above, Bound, Cheaper, NotAtHand
from adlib.claims.choices import BestOf, Dominates, Keeps, Somewhere
from adlib.claims.commands import commands
from adlib.claims.consistency import ErrorReduction, ErrorRows, Lead
from adlib.claims.gains import Gain
from adlib.claims.patchcore import ImageCounts, PatchCoreTheory, eq7_weight, eq8_rebuilt
from adlib.claims.times import Faster
from adlib.claims.values import Solved, TableValues
from adlib.errors import InputError

ONE, TEN, ALL = "patchcore fraction=0.01", "patchcore fraction=0.1", "patchcore subsampler=none"
SPADE = "spade image_level=3 pixel_stride=2"
CATEGORIES = ("bottle", "screw")
FIFTEEN = Evidence(pd.DataFrame(), pd.DataFrame()).whole("mean")


def rows_of(run, values, column="image_auroc", names=CATEGORIES, dataset="mvtec_ad", **more):
    """Rows of ``records.table()``: values by category and seed; metrics in percent."""
    method, parameters = report.read_run(run)
    protocol = report.PROTOCOL | report.read_protocol(run)
    scale = 100 if column in report.METRICS else 1
    for category, by_seed in zip(names, values, strict=False):
        for seed, value in enumerate(np.atleast_1d(by_seed)):
            drawn = {"seed": seed} if np.ndim(by_seed) else {"seed": None}
            place = {"method": method, "dataset": dataset, "category": category}
            network = {"backbone": "resnet18", "precision": "float32", "weights": "IMAGENET1K_V1"}
            yield place | network | protocol | {column: value / scale} | parameters | drawn | more


def evidence_of(*rows, printed=None, benchmarks=None) -> Evidence:
    frame = pd.DataFrame([row for some in rows for row in some])
    return Evidence(
        frame, pd.DataFrame() if printed is None else printed, benchmarks=benchmarks or {}
    )


def spread(mean, sd=0.01, n=5, seed=0):
    draw = np.random.default_rng(seed).normal(size=n)
    return mean + sd * (draw - draw.mean())


def runs(**means):
    """Rows of several runs: name=(run, mean of bottle, mean of screw)."""
    for start, (run, *values) in enumerate(means.values()):
        yield from rows_of(run, [spread(v, seed=7 * start + i) for i, v in enumerate(values)])


# --- choices ---


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ((99.0, 97.0), "reproduced"),
        ((99.5, 97.5), "reproduced"),  # better is no loss
        ((98.9, 96.9), "partly"),  # the interval holds the tolerance
        ((98.0, 96.0), "not reproduced"),
    ],
)
def test_keeps(kept, expected):
    rule = Keeps(rule="keeps", kept=ONE, full=TEN, backbone="resnet18")
    found = rule.judge(evidence_of(runs(a=(ONE, *kept), b=(TEN, 99.0, 97.0))), 0.1)
    assert found.verdict == expected
    assert found.effect.value == pytest.approx(np.mean(kept) - 98)
    missing = rule.judge(evidence_of(runs(a=(ONE, *kept))), 0.1)
    assert missing.verdict == "not testable here" and TEN in missing.evidence


PATCHES = [f"{ONE} patch_size={p}" for p in (1, 3, 5)]


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((97, 98, 97), "reproduced"),
        ((97, 98, 98.0), "partly"),
        ((97, 98, 99), "not reproduced"),
        ((99, 98, 97), "not reproduced"),
        ((97, 98), "not testable here"),
    ],
)
def test_best_of(means, expected):
    rule = BestOf(
        rule="best_of", best=PATCHES[1], others=[PATCHES[0], PATCHES[2]], backbone="resnet18"
    )
    listed = {str(i): (PATCHES[i], m, m) for i, m in enumerate(means)}
    found = rule.judge(evidence_of(runs(**listed)), 0)
    assert found.verdict == expected
    if expected == "not testable here":
        assert "patch_size=5" in found.evidence and "patch_size=1`" not in found.evidence
    else:
        assert found.effect.value == pytest.approx(98 - max(means[0], means[2]), abs=1e-9)


def curve(**arms):
    """Rows of coreset and random at fractions: f01=(coreset, random)."""
    for name, (better, worse) in arms.items():
        fraction = float(name.replace("f", "0."))
        yield from runs(
            a=(f"patchcore fraction={fraction}", better, better),
            b=(f"patchcore fraction={fraction} subsampler=random", worse, worse),
        )


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ({"f01": (98, 97), "f1": (98, 97)}, "reproduced"),
        ({"f01": (98, 97), "f1": (98, 98)}, "partly"),
        ({"f01": (98, 97)}, "partly"),  # the other value was not run
        ({"f01": (98, 97), "f1": (97, 98)}, "not reproduced"),
        ({"f01": (98, 98), "f1": (98, 98)}, "not reproduced"),
        ({}, "not testable here"),
    ],
)
def test_dominates(arms, expected):
    rule = Dominates(
        rule="dominates",
        better="patchcore fraction={x}",
        worse="patchcore fraction={x} subsampler=random",
        values=[0.01, 0.1],
        backbone="resnet18",
    )
    found = rule.judge(evidence_of(curve(**arms)), 0)
    assert found.verdict == expected
    assert bool(found.commands) == (len(arms) < 2)


@pytest.mark.parametrize(
    ("half", "tenth", "expected"),
    [
        (98.5, 97.0, "reproduced"),
        (98.005, 97.0, "partly"),
        (98.0, 97.0, "not reproduced"),
        (None, None, "not testable here"),
    ],
)
def test_somewhere(half, tenth, expected):
    """Image AUROC alone gains a point everywhere: the mean of both metrics decides."""
    rule = Somewhere(
        rule="somewhere",
        better="patchcore fraction={x}",
        worse=ALL,
        values=[0.5, 0.1],
        metrics=["image_auroc", "pixel_auroc"],
        backbone="resnet18",
    )
    rows = list(rows_of(ALL, [98.0, 98.0], pixel_auroc=0.98))
    for fraction, mean in ((0.5, half), (0.1, tenth)):
        if mean is not None:
            run = f"patchcore fraction={fraction}"
            made = rows_of(run, [spread(mean + 1, 0.05), spread(mean + 1, 0.05, seed=1)])
            rows += [row | {"pixel_auroc": (mean - 1) / 100} for row in made]
    found = rule.judge(evidence_of(rows), 0)
    assert found.verdict == expected
    if half is not None:
        assert found.effect.value == pytest.approx(half - 98, abs=1e-9)


def test_less_can_be_better():
    rule = Gain(
        rule="gain",
        better=ONE,
        worse=TEN,
        backbone="resnet18",
        metric="f1_misclassified",
        lower=True,
    )
    both = evidence_of(
        rows_of(ONE, [spread(3, seed=1), spread(5, seed=2)], "f1_misclassified"),
        rows_of(TEN, [spread(6, seed=3), spread(9, seed=4)], "f1_misclassified"),
    )
    found = rule.judge(both, 0.5)
    assert found.verdict == "reproduced" and found.effect.value == pytest.approx(3.5)
    assert " images (" in str(found.effect) and "points" not in found.evidence


def test_few_images_are_runs_of_their_own():
    few = f"{TEN} shots=5"
    rule = Keeps(rule="keeps", kept=few, full=TEN, backbone="resnet18")
    rows = runs(a=(few, 98.0, 98.0), b=(TEN, 99.0, 99.0))
    assert rule.judge(evidence_of(rows), 0.1).effect.value == pytest.approx(-1)


# --- amounts ---


@pytest.mark.parametrize(
    ("better", "expected"),
    [
        ((99.0, 97.0), "reproduced"),
        ((98.0, 97.0), "reproduced"),  # no worse in bottle
        ((97.9, 98.0), "partly"),
        ((97.0, 96.0), "not reproduced"),
        ((), "not testable here"),
    ],
)
def test_above(better, expected):
    rule = Above(rule="above", better=ALL, worse=SPADE, backbone="resnet18", metric="image_auroc")
    found = rule.judge(evidence_of(rows_of(ALL, better), rows_of(SPADE, (98.0, 96.0))), 0.05)
    assert found.verdict == expected
    if better:
        assert found.effect.value == pytest.approx(np.mean(better) - 97) and not found.commands
        assert found.effect.low is None


def test_another_data_set_is_another_question():
    rule = Above(
        rule="above",
        dataset="magnetic_tile",
        better=TEN,
        worse=SPADE,
        backbone="resnet18",
        metric="image_auroc",
    )
    tiles = {"dataset": "magnetic_tile", "names": ("split0", "split1")}
    here = [*rows_of(TEN, [[99.0], [99.0]], **tiles), *rows_of(SPADE, (80.0, 90.0), **tiles)]
    there = [*rows_of(TEN, [[10.0], [10.0]]), *rows_of(SPADE, (80.0, 90.0))]
    both = evidence_of(here, there)
    assert rule.judge(both.on(rule.dataset), 0).effect.value == pytest.approx(14)
    assert rule.judge(both, 0).verdict == "not reproduced"  # of MVTec AD
    missing = rule.judge(evidence_of(there).on(rule.dataset), 0)
    assert missing.verdict == "not testable here"
    assert all("--dataset magnetic_tile" in text for text in missing.commands)


@pytest.mark.parametrize(
    ("used", "bound", "expected"),
    [
        ((0.2, 0.3), {"at_most": 30}, "reproduced"),
        ((0.2, 0.6), {"at_most": 30}, "partly"),
        ((0.5, 0.6), {"at_most": 30}, "not reproduced"),
        ((0.93, 0.96), {"at_least": 95}, "reproduced"),
        ((0.80, 0.96), {"at_least": 95}, "partly"),
        ((), {"at_least": 95}, "not testable here"),
    ],
)
def test_bound(used, bound, expected):
    rule = Bound(rule="bound", run=ALL, backbone="resnet18", column="bank_used", **bound)
    found = rule.judge(evidence_of(rows_of(ALL, used, "bank_used")), 2.5)
    assert found.verdict == expected
    if used:
        assert found.effect.value == pytest.approx(100 * np.mean(used))
    metric = Bound(rule="bound", run=ALL, backbone="resnet18", column="image_auroc", at_least=97)
    assert metric.judge(evidence_of(rows_of(ALL, (98.0, 97.0))), 0).verdict == "reproduced"


@pytest.mark.parametrize("bounds", [{}, {"at_least": 1, "at_most": 2}])
def test_a_bound_has_one_side(bounds):
    with pytest.raises(ValidationError, match="one of at_least and at_most"):
        Bound(rule="bound", run=ALL, backbone="resnet18", column="bank_used", **bounds)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((10.0, 20.0), "reproduced"),
        ((10.0, 41.0), "partly"),
        ((30.0, 60.0), "not reproduced"),
        ((), "not testable here"),
    ],
)
def test_cheaper(seconds, expected):
    dear = f"{ONE} coreset_dim=null"
    rule = Cheaper(rule="cheaper", cheap=ONE, dear=dear, backbone="resnet18")
    rows = [rows_of(ONE, seconds, "seconds_fit"), rows_of(dear, (20.0, 40.0), "seconds_fit")]
    found = rule.judge(evidence_of(*rows), 0.05)
    assert found.verdict == expected
    assert not seconds or found.effect.value == pytest.approx(60 / sum(seconds))


def test_not_at_hand():
    rule = NotAtHand(
        rule="not_at_hand", reason="No weights are at hand.", runs=[ONE, TEN], backbone="other"
    )
    found = rule.judge(evidence_of(), 0)
    assert found.verdict == "not testable here" and found.evidence == rule.reason
    assert found.commands == (
        "adlib evaluate patchcore --dataset mvtec_ad --root DIR --backbone other "
        "--set fraction=0.01,0.1 --seed 0-2",
    )


# --- printed means and sums ---


def printed(value, metric="image_auroc", category="mean", where="Table 1", method="pc", **more):
    row = {"source": "paper", "paper": "patchcore", "where": where, "method": method, "run": TEN}
    row |= {"backbone": "resnet18", "dataset": "mvtec_ad", "category": category, "metric": metric}
    return row | {"value": value, "unit": "percent"} | more


TABLE = {"rule": "table_values", "where": "Table 1", "backbone": "resnet18"}


@pytest.mark.parametrize(
    ("ours", "names", "expected"),
    [
        (99.0, FIFTEEN, "reproduced"),
        (98.0, FIFTEEN, "not reproduced"),
        (99.0, FIFTEEN[:14], "not testable here"),
        (99.0, [], "not testable here"),
    ],
)
def test_a_printed_mean_needs_every_category(ours, names, expected):
    rule = TableValues(**TABLE, metric="image_auroc", methods=["pc"])
    means = [ours + (-1) ** i * 0.3 for i in range(len(names))]
    rows = rows_of(TEN, means, names=names)
    found = rule.judge(evidence_of(rows, printed=pd.DataFrame([printed(99.1)])), 0.2)
    assert found.verdict == expected
    assert "99.1" in found.evidence


def test_a_printed_sum_is_a_sum():
    rule = TableValues(**TABLE, metric="f1_misclassified", methods=["pc"])
    rows = rows_of(TEN, [[2, 4]] * 15, "f1_misclassified", FIFTEEN)
    table = pd.DataFrame([printed(47, "f1_misclassified", "sum", unit="count")])
    found = rule.judge(evidence_of(rows, printed=table), 7)
    assert found.verdict == "reproduced" and str(found.effect).startswith("−2 images")


def test_printed_categories_stand_for_themselves():
    rule = TableValues(**TABLE, metric="image_auroc", methods=["pc"])
    table = pd.DataFrame(
        [printed(v, category=n) for n, v in zip(FIFTEEN, [99.0] * 3, strict=False)]
    )
    rows = rows_of(TEN, (99.0, 90.0), names=FIFTEEN)
    found = rule.judge(evidence_of(rows, printed=table), 0.2)
    assert found.verdict == "partly" and "1 of 2 values that were run" in found.evidence


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ([0] * 5 + [1] * 10, "reproduced"),
        ([0] * 4 + [1] * 11, "not reproduced"),
        ([0] * 5, "not testable here"),
        ([], "not testable here"),
    ],
)
def test_solved(wrong, expected):
    rule = Solved(rule="solved", run=TEN, backbone="resnet18", share=0.3333)
    found = rule.judge(evidence_of(rows_of(TEN, wrong, "f1_misclassified", FIFTEEN)), 0.01)
    assert found.verdict == expected


# --- the text against the table ---


def error_rows(first=0.9, second=5.1):
    yield printed(99.1)
    yield printed(first, "image_auroc_error")
    yield printed(94.9, "aupro", where="Table 4")
    yield printed(second, "aupro_error", where="Table 4")


def test_error_rows():
    rule = ErrorRows(rule="error_rows", paper="patchcore", where=["Table 1", "Table 4"])
    right = rule.judge(evidence_of(printed=pd.DataFrame(error_rows())), 0.1)
    assert right.verdict == "not testable here" and "2 of 2" in right.evidence
    wrong = rule.judge(evidence_of(printed=pd.DataFrame(error_rows(second=5.6))), 0.1)
    assert wrong.verdict == "contradicted by the paper's own table"
    assert (
        wrong.effect.value == pytest.approx(0.5) and "94.9 with an error of 5.6" in wrong.evidence
    )
    with pytest.raises(InputError, match="printed errors"):
        rule.judge(evidence_of(printed=pd.DataFrame([printed(99.1)])), 0.1)


@pytest.mark.parametrize(
    ("claimed", "at_least", "agrees"),
    [(57, False, True), (60, False, False), (50, True, True), (60, True, False)],
)
def test_error_reduction(claimed, at_least, agrees):
    rule = ErrorReduction(
        rule="error_reduction",
        before={"where": "Table 1", "method": "old"},
        after={"where": "Table 1", "method": "new"},
        claimed=claimed,
        at_least=at_least,
    )
    table = pd.DataFrame([printed(97.9, method="old"), printed(99.1, method="new")])
    found = rule.judge(evidence_of(printed=table), 0.5)
    assert ("agree" in found.evidence) == agrees
    assert found.verdict == (
        "not testable here" if agrees else "contradicted by the paper's own table"
    )
    assert found.effect.value == pytest.approx(100 * 1.2 / 2.1)
    with pytest.raises(InputError, match="one printed number, found 0 of old"):
        rule.judge(evidence_of(printed=table[1:]), 0.5)


def test_lead():
    rule = Lead(
        rule="lead",
        ours="ours",
        rivals=["spade"],
        quoted={"image_auroc": "Table 1"},
        again="Table 5",
    )

    def judged(again):
        cells = [("Table 1", "ours", 98), ("Table 1", "spade", 96), ("Table 5", "ours", 98)]
        cells.append(("Table 5", "spade", again))
        table = pd.DataFrame([printed(v, where=w, method=m) for w, m, v in cells])
        return rule.judge(evidence_of(printed=table), 0.2)

    assert "agree" in judged(95.0).evidence and "agree" in judged(96.2).evidence
    found = judged(96.6)
    assert found.verdict == "contradicted by the paper's own table"
    assert found.effect.value == pytest.approx(-0.6) and "over SPADE" in found.evidence


# --- times ---


def timed(setting, total, category="bottle", backbone="resnet18"):
    row = {"setting": setting, "dataset": "mvtec_ad", "category": category, "backbone": backbone}
    return row | {"milliseconds_per_image": {"backbone": 20.0, "total": total}}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([timed(ONE, 30), timed(SPADE, 90)], "reproduced"),
        ([timed("patchcore seed=3 fraction=0.01", 30), timed(SPADE, 90)], "reproduced"),
        ([timed(ONE, 30), timed(SPADE, 30.1)], "partly"),
        ([timed(ONE, 30), timed(SPADE, 20)], "not reproduced"),
        ([timed(ONE, 30), timed(SPADE, 90, backbone="other")], "not testable here"),
        ([timed(ONE, 30), timed(SPADE, 90, "screw")], "not testable here"),
        ([timed(ONE, 30), timed("the backbone alone", 20)], "not testable here"),
        (None, "not testable here"),
    ],
)
def test_faster(rows, expected):
    rule = Faster(rule="faster", fast=ONE, slow=SPADE, backbone="resnet18")
    found = rule.judge(
        evidence_of(benchmarks={} if rows is None else {"patchcore": {"rows": rows}}), 0.02
    )
    assert found.verdict == expected
    assert (found.commands == ("make bench",)) == (expected == "not testable here")


def test_printed_times_are_quoted():
    rule = Faster(
        rule="faster", fast=ONE, slow=SPADE, backbone="resnet18", printed=("Table 5", "pc", "spade")
    )
    times = [printed(0.17, "seconds_per_image", where="Table 5", unit="seconds")]
    times.append(times[0] | {"method": "spade", "value": 0.66})
    found = rule.judge(evidence_of(printed=pd.DataFrame(times)), 0)
    assert "prints 0.66 and 0.17 seconds" in found.evidence


# --- derivations ---


def test_eq7_is_one_minus_a_softmax():
    distances = np.random.default_rng(1).random((5, 4)) * 300
    expected = 1 - softmax(distances, axis=1)[:, 0]
    assert eq7_weight(distances) == pytest.approx(expected)
    assert eq7_weight(np.full(3, 700.0)) == pytest.approx(2 / 3)  # without overflow


@pytest.mark.parametrize("b", [2, 3, 9])
def test_no_weight_increases_a_score(b):
    found = PatchCoreTheory(rule="patchcore_theory", check="weight", neighbors=b).judge(None, 0)
    assert found.verdict == "refuted by derivation"
    assert 1 - 1 / b <= found.effect.value < 1


def test_a_weight_above_one_would_be_seen(monkeypatch):
    from adlib.claims import patchcore

    monkeypatch.setattr(patchcore, "eq7_weight", lambda distances: distances[0] + 1)
    rule = PatchCoreTheory(rule="patchcore_theory", check="weight", neighbors=4)
    assert rule.judge(None, 0).verdict == "reproduced"


def test_eq8_weighs_the_far_proxy_most():
    points = np.array([[0.0], [5.0]])
    assert eq8_rebuilt(points, points, 1.0)[:, 0] == pytest.approx(
        [5 / (1 + np.exp(-5)), 5 - 5 / (1 + np.exp(-5))]
    )
    assert eq8_rebuilt(points, points, -1.0)[0, 0] < 0.04
    found = PatchCoreTheory(rule="patchcore_theory", check="proxies").judge(None, 0)
    assert found.verdict == "refuted by derivation" and found.effect.value > 1


def test_what_the_text_says_of_sizes_and_coverage():
    for check in ("cover", "other_size"):
        found = PatchCoreTheory(rule="patchcore_theory", check=check).judge(None, 0)
        assert found.verdict == "reproduced"


@pytest.mark.parametrize(
    ("dataset", "counts", "expected"),
    [
        ("mvtec_ad", {"total": 5354, "test": 1725}, "reproduced"),
        ("mvtec_ad", {"total": 5354, "test": 1700}, "not reproduced"),
        ("magnetic_tile", {"total": 1317}, "not reproduced"),
        ("magnetic_tile", {"total": 1344}, "reproduced"),
    ],
)
def test_image_counts(dataset, counts, expected):
    rule = ImageCounts(rule="image_counts", dataset=dataset, **counts)
    assert rule.judge(evidence_of(), 0).verdict == expected


# --- commands ---


def test_runs_that_differ_in_one_value_share_a_command():
    wanted = [f"{TEN} shots=1", f"{SPADE} shots=1", f"{TEN} shots=2", f"{ONE} shots=2", ONE]
    start = "--dataset mvtec_ad --root DIR --backbone resnet18 --set"
    assert commands(wanted, "mvtec_ad", "resnet18") == (
        f"adlib evaluate patchcore {start} fraction=0.1 --shots 1,2 --seed 0-4",
        f"adlib evaluate spade {start} image_level=3 --set pixel_stride=2 --shots 1 --seed 0-4",
        f"adlib evaluate patchcore {start} fraction=0.01 --shots 2 --seed 0-4",
        f"adlib evaluate patchcore {start} fraction=0.01 --seed 0-2",
    )


def test_what_is_done_to_the_data_is_an_option():
    (text,) = commands(["patchcore resize=256 crop=null squash=true"], "mstc", "resnet18")
    assert text.endswith("--resize 256 --crop 0 --squash --seed 0-2")
