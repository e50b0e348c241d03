"""Generated Markdown: made from records, again by each change of a record, and well formed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from adlib import claims, fragments, records
from adlib.claims import Evidence
from adlib.claims.evidence import Rule
from adlib.errors import InputError
from adlib.fragments.markdown import block, cell, code, escape, list_table, table
from adlib.fragments.overview import patchcore_glance
from adlib.fragments.recorded import in_words
from adlib.fragments.status import status
from adlib.fragments.verdicts import caveat, summary
from adlib.report import PROTOCOL, read_run

NAMES = {
    "verdicts",
    "answer",
    "glance",
    "status",
    "counts",
    "evidence-jl_padim",
    "evidence-patchcore",
    "evidence-ldm",
    "padim_effects",
    "patchcore_answer",
    "patchcore_effects",
    "latent_diffusion_answer",
    "latent_diffusion_settings",
    "bench",
}


@pytest.fixture(scope="module")
def few(tmp_path_factory, pytestconfig) -> Path:
    """A results folder with two seeds of two categories."""
    source = pytestconfig.rootpath / "results"
    target = tmp_path_factory.mktemp("few") / "results"
    for name in ("bottle", "transistor"):
        for arm in ("coordinate-100-nominal", "gaussian-100-nominal", "haar-100-nominal"):
            for seed in (0, 1):
                _copy(source, target, name, f"resnet18-{arm}-seed{seed}-*.json")
        _copy(source, target, name, "resnet18-none-nominal-*.json")
    shutil.copy(source / "reported.csv", target)
    return target


def _copy(source: Path, target: Path, category: str, pattern: str) -> None:
    found = []
    for path in sorted((source / f"mvtec_ad/{category}/padim").glob(pattern)):
        identity = json.loads(path.read_text())["identity"]
        given = identity["parameters"]
        if (given["eps"], given["image_score"], identity["transform"]["crop"]) == (
            0.01,
            "smoothed",
            224,
        ):
            found.append(path)
    copy = target / found[0].relative_to(source)
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(found[0], copy)


@pytest.fixture
def ledger(root) -> Path:
    return root / "book/claims.yaml"


@pytest.fixture(scope="module")
def made(few, pytestconfig, tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("out")
    paths = fragments.write_all(few, out, pytestconfig.rootpath / "book/claims.yaml")
    assert sorted(out.iterdir()) == sorted(paths)
    return {path.stem: path.read_text(encoding="utf-8") for path in paths}


def cells_of(text: str) -> list[list[str]]:
    """Every table row of a Markdown text, as GitHub reads it."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and token.level >= 4:
            rows[-1].append(token.content)
    return rows


def test_every_fragment_is_written(made):
    assert set(made) == NAMES
    for name, text in made.items():
        assert text.startswith("<!-- made by"), name
        assert not re.search(r"^#", text, flags=re.M), f"{name} has a heading"
        assert not re.search(r"\bnan\b|None\b|/tmp|<NA>", text), name


def test_the_same_records_give_the_same_bytes(made, few, ledger, tmp_path):
    again = fragments.write_all(few, tmp_path / "new" / "folder", ledger)
    assert {path.stem: path.read_text(encoding="utf-8") for path in again} == made
    assert not list((tmp_path / "new/folder").glob(".part*"))


def test_verdicts_name_every_claim_once(made, few, ledger):
    results = claims.judge(claims.read(ledger), Evidence.read(few))
    text = made["verdicts"]
    papers = {result.claim.paper for result in results}
    rows = text.split("\n* - ")
    assert len(rows) == 1 + len(results) + len(papers)  # a header a paper
    for claim, outcome in results:
        (row,) = [row for row in rows if f"{claim.claim} *{claim.where}" in row]
        assert row.startswith(f"**{outcome.verdict.mark}\u00a0{outcome.verdict}**")
        assert f"{{doc}}`/{claim.page}`" in row and str(outcome.effect or "–") in row
    ours = [row for row in rows if "; our extension.*" in row]
    assert len(ours) == sum(result.claim.extension for result in results)
    assert made["evidence-jl_padim"].count("; our extension; ") == 2


def test_verdicts_are_counted_by_paper(made, few, ledger):
    results = claims.judge(claims.read(ledger), Evidence.read(few))
    papers = ("JL", "PatchCore", "Latent")
    counted = [row for row in cells_of(made["verdicts"]) if row[0].startswith(papers)]
    assert [row[0] for row in counted] == [
        "JL report: claims",
        "JL report: our extensions",
        "PatchCore: claims",
        "PatchCore: our extensions",
        "Latent diffusion: claims",
        "Latent diffusion: our extensions",
    ]
    for row in counted:
        each = [int(number or 0) for number in row[1:]]
        assert sum(each[:-1]) == each[-1]
    assert sum(int(row[-1]) for row in counted) == len(results)
    refuted = [r for r in results if r.outcome.verdict == "refuted by derivation"]
    assert sum(int(row[5] or 0) for row in counted) == len(refuted)


def test_evidence_holds_sentences_and_commands(made, few, ledger):
    for claim, outcome in claims.judge(claims.read(ledger), Evidence.read(few)):
        text = made[f"evidence-{claim.paper}"]
        entry = text.partition(f"`{claim.id}`")[2].partition("\n\n**")[0]
        assert outcome.evidence in entry and claim.why in entry
        assert all(command in entry for command in outcome.commands)


def _result(verdict, extension=False, rule="gain", value=1.0, p_value=None) -> claims.Result:
    test = {"rule": rule, "better": "padim dim=2", "worse": "padim dim=1", "backbone": "resnet18"}
    texts = dict.fromkeys(("paper", "where", "claim", "confirm", "page", "why"), "text")
    claim = claims.Claim(id="one", test=test, tolerance=0, extension=extension, **texts)
    effect = claims.Effect(value, "points")
    return claims.Result(claim, claims.Outcome(verdict, "1", effect, p_value=p_value))


def test_extensions_are_counted_apart():
    good, bad = claims.Verdict.REPRODUCED, claims.Verdict.NOT_REPRODUCED
    stated, ours = [_result(good), _result(bad)], [_result(bad, extension=True)]
    assert summary(stated) == "Of 2 checkable claims: 1 reproduced and 1 not reproduced."
    assert summary(ours) == "Of 1 extension of ours: 1 not reproduced."
    assert summary(stated[:1] + ours * 2) == (
        "Of 1 checkable claim: 1 reproduced; of 2 extensions of ours: 2 not reproduced."
    )


def test_directions_are_counted_apart():
    verdict = claims.Verdict.PARTLY
    judged = [
        _result(verdict, value=1, p_value=0.001),
        _result(verdict, value=1, p_value=0.04),
        _result(verdict, value=-1, p_value=0.001),
        _result(verdict, value=1, p_value=0.001, rule="equal"),  # it should be 0
        _result(verdict, value=-1, p_value=0.5),
        _result(verdict),
    ]
    text = caveat(judged)
    assert (
        "Of 5 paired comparisons in these tables, 2 differ from 0 in the direction of the claim, "
        "2 against it at the 5 % level; after Bonferroni's correction for 5 tests, 1 differs from "
        "0 in the direction of the claim, 2 against it."
    ) in text
    assert "not the noise of the draws" in text
    assert "paired comparisons" not in caveat(judged[-1:])


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        (
            (0.1, 0.2, 0.9),
            "lies between +0.15 and +0.55; it changes most without c (+0.15). Over the means of "
            "the 3 categories the 95 % interval is [−0.68, +1.48]: it contains 0, so these "
            "categories are too few to say whether it holds for others.",
        ),
        ((0.4, 0.5, 0.6), "[+0.25, +0.75]: it excludes 0"),
        ((0.4,), "This is one category and says nothing about others."),
    ],
)
def test_the_answer_says_what_rests_on_one_category(gains, words):
    rows = [
        {
            "method": "padim",
            "dataset": "mvtec_ad",
            "category": name,
            "backbone": "resnet18",
            "precision": "float32",
            "weights": "IMAGENET1K_V1",
            "resize": 256,
            "crop": 224,
            "seed": seed,
            "pixel_auroc": (97 + (reduction == "gaussian") * gain + 0.01 * seed) / 100,
        }
        | read_run(f"padim reduction={reduction} dim=100")[1]
        | {"seed": seed}
        for reduction in ("gaussian", "coordinate")
        for name, gain in zip("abc", gains, strict=False)
        for seed in range(3)
    ]
    for row in rows[:2]:
        row["pixel_auroc"] += 1e-7  # an interval needs some spread over seeds
    text = in_words(Evidence(pd.DataFrame(rows), pd.DataFrame()))
    assert text.count("\n") == 0 and words in text


def _rewrite(results: Path, change) -> None:
    for path in sorted(results.rglob("*.json")):
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))


def test_a_changed_record_changes_the_pages(few, made, ledger, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(few, results)

    def better(record):
        if record["identity"]["parameters"]["reduction"] == "gaussian":
            record["metrics"]["pixel_auroc"] = 0.9991

    _rewrite(results, better)
    paths = fragments.write_all(results, tmp_path / "out", ledger)
    new = {path.stem: path.read_text(encoding="utf-8") for path in paths}
    changed = {name for name in NAMES if new[name] != made[name]}
    others = {"evidence-patchcore", "patchcore_answer", "patchcore_effects"}  # no run of it here
    others |= {"evidence-ldm", "latent_diffusion_answer", "latent_diffusion_settings"}
    assert changed == NAMES - {"status", "counts", "bench"} - others
    first = new["verdicts"].partition("\n* - ")[2].split("\n* - ")[1]
    assert "reproduced" in first and "not reproduced" not in first
    assert "99.91 ±\u00a00.00 (2)" in new["glance"]


def test_glance_is_the_mean_over_seeds(made, few):
    values = []
    for path in few.glob("mvtec_ad/bottle/padim/resnet18-gaussian-*.json"):
        values.append(100 * json.loads(path.read_text())["metrics"]["pixel_auroc"])
    series = pd.Series(values)
    shown = f"{series.mean():.2f} ±\u00a0{series.std():.2f} (2)"
    rows = cells_of(made["glance"])
    assert rows[0][:3] == ["Category", "channels (PaDiM)", "Gaussian (JL)"]
    assert rows[1][0] == "bottle" and rows[1][2] == shown
    assert rows[1][-2:] == ["98.1", "98.4"]
    assert rows[3][0] == "mean of 2" and rows[3][-2:] == ["97.7", "98.0"]
    assert all(len(row) in (5, 7) for row in rows)


def test_status_counts_what_there_is(made):
    rows = cells_of(made["status"])
    assert rows[1][:6] == ["mvtec\\_ad", "bottle", "resnet18", "padim", "7", "2"]
    assert "14 records" in made["status"]
    missing = {tuple(row[1:4]): row[4] for row in rows if row[0] == "JL report, Table 1"}
    wide = "`padim reduction=coordinate dim=550`"
    assert missing["wide\\_resnet50\\_2", wide, "15 of 15"] == "all"
    left = missing["resnet18", "`padim reduction=gaussian dim=100`", "13 of 15"]
    assert "screw" in left and "bottle" not in left
    commands = made["status"].partition("```console\n")[2].partition("\n```")[0].splitlines()
    assert len(commands) == len(set(commands)) > 3
    known = ("adlib evaluate ", "python benchmarks/", "python -m adlib.study.", "make bench")
    assert all(text.startswith(known) for text in commands)


def test_the_commands_are_understood(made):
    from adlib import sweep

    for text in re.findall(r"^\s*adlib evaluate .*", made["status"], flags=re.M):
        words = [word for word in text.split() if word != "--squash"]
        options = dict(zip(words[3::2], words[4::2], strict=True))
        known = {"--dataset", "--root", "--category", "--backbone", "--preset", "--set", "--seed"}
        assert options.keys() <= known | {f"--{name}" for name in PROTOCOL}
        settings = [b for a, b in zip(words, words[1:], strict=False) if a == "--set"]
        plan = sweep.Plan(
            method=words[2],
            dataset=options["--dataset"],
            backbone=options.get("--backbone", "resnet18"),
            preset=options.get("--preset"),
            seeds=sweep.read_seeds(options["--seed"]),
            shots=sweep.read_counts(options["--shots"]) if "--shots" in options else (),
            settings=settings,
        )
        assert plan.combinations()


def test_readme_shows_what_the_ledger_marks(few, ledger):
    text = fragments.readme_block(few, ledger)
    results = claims.judge(claims.read(ledger), Evidence.read(few))
    marked = [result.claim.claim for result in results if result.claim.telling]
    rows = [row for row in cells_of(text) if len(row) == 3]
    assert len(rows) == 1 + len(marked) and 5 <= len(marked) <= 20
    assert all(claim in row[1] for claim, row in zip(marked, rows[1:], strict=True))


def test_means_are_over_whole_rows_only():
    """A run that lacks a category of PatchCore-1 % has no mean; the others have one a seed."""
    rows = [
        {
            "method": method,
            "dataset": "mvtec_ad",
            "category": name,
            "backbone": "resnet18",
            "precision": "float32",
            "weights": "IMAGENET1K_V1",
            "image_auroc": value / 100,
        }
        | PROTOCOL
        | values
        | {"seed": seed}
        for run, cells in {
            "patchcore fraction=0.01": {"bottle": (99, 97), "screw": (95, 93)},
            "padim dim=100": {"bottle": (90, 92)},
        }.items()
        for method, values in [read_run(run)]
        for name, both in cells.items()
        for seed, value in enumerate(both)
    ]
    text = patchcore_glance(Evidence(pd.DataFrame(rows), pd.DataFrame()))
    assert "Means over bottle, screw of MVTec AD, ResNet-18" in text and "PaDiM" not in text
    (_, row) = cells_of(text)
    assert row == ["PatchCore, 1 %", "–", "–", "96.00 ±\u00a01.41 (2)"]
    assert patchcore_glance(Evidence(pd.DataFrame(), pd.DataFrame())) == ""


def test_hostile_names_stay_text(few, ledger, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(few, results)
    hostile = "a|b `x` {doc}`y` <script> *z* {{ n }} $m$ [t](http://u)"

    def rename(record):
        record["environment"]["processor"] = hostile

    _rewrite(results, rename)
    evidence = Evidence.read(results)
    text = status(records.read_all(results), evidence, [])
    row = next(row for row in cells_of(text) if any("script" in part for part in row))
    assert len(row) == 10
    tokens = MarkdownIt("commonmark").enable("table").parseInline(row[6])[0].children
    assert all(token.type.startswith("text") for token in tokens)
    assert "".join(token.content for token in tokens) == hostile


def test_without_records(root, ledger, tmp_path):
    shutil.copy(root / "results/reported.csv", tmp_path)
    paths = fragments.write_all(tmp_path, tmp_path / "out", ledger)
    texts = {path.stem: path.read_text(encoding="utf-8") for path in paths}
    assert "Nothing is recorded" in texts["glance"] and "No record yet." in texts["status"]
    assert "15 of 15" in texts["status"] and "not testable here" in texts["verdicts"]


def test_bad_places(few, ledger, tmp_path):
    with pytest.raises(InputError, match="ledger"):
        fragments.write_all(few, tmp_path, tmp_path / "none.yaml")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="could not be written"):
        fragments.write_all(few, tmp_path / "file", ledger)


def test_a_failed_write_leaves_the_old_file(few, ledger, tmp_path, monkeypatch):
    old = tmp_path / "verdicts.md"
    old.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match="No space left"):
        fragments.write_all(few, tmp_path, ledger)
    assert old.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["verdicts.md"]


# --- README ---


def test_readme_is_up_to_date(root, ledger):
    text = (root / "README.md").read_text(encoding="utf-8")
    block = fragments.readme_block(root / "results", ledger)
    assert fragments.replace_block(text, block) == text, (
        "README.md is older than results/ or book/claims.yaml: adlib report --readme README.md"
    )


def test_readme_picture_is_up_to_date(root):
    committed = (root / fragments.PICTURE).read_text(encoding="utf-8")
    made = fragments.readme_picture(root / "results")
    # other processors may round the last digit of a coordinate differently
    numbers = [
        [round(float(n), 1) for n in re.findall(r"-?\d+\.\d+", t)] for t in (committed, made)
    ]
    assert numbers[0] == numbers[1], "adlib report --readme README.md brings it up to date"


def test_the_block_is_replaced_alone(few, ledger, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Before\n{fragments.BEGIN}\nold\n{fragments.END}\nafter\n")
    assert fragments.write_readme(few, readme, ledger) == readme
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("# Before\n") and text.endswith("-->\nafter\n") and "old" not in text
    assert "| JL report: claims |" in text and "| bottle |" in text
    assert "{doc}" not in text  # GitHub shows it, not MyST
    before = readme.stat().st_mtime_ns
    fragments.write_readme(few, readme, ledger)
    assert readme.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "text",
    [
        "no marker",
        fragments.BEGIN,
        f"{fragments.END}{fragments.BEGIN}",
        f"{fragments.BEGIN}{fragments.END}{fragments.BEGIN}{fragments.END}",
    ],
)
def test_markers_must_be_whole(text):
    with pytest.raises(InputError, match="restore the two lines"):
        fragments.replace_block(text, "new")


def test_a_missing_readme(few, ledger, tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        fragments.write_readme(few, tmp_path / "README.md", ledger)


# --- Markdown ---


def test_tables():
    text = table(["a", "b"], [[cell("x|y"), 1], [escape("p_q|r"), 2]], numbers=[1])
    assert text.splitlines()[1] == "| --- | ---: |"
    assert cells_of(text) == [["a", "b"], ["x|y", "1"], ["p\\_q|r", "2"]]
    with pytest.raises(ValueError, match="as many cells"):
        table(["a"], [["x", "y"]])
    with pytest.raises(ValueError, match="as many cells"):
        list_table(["a"], [["x", "y"]], widths=[1])
    assert cell("a\nb \\| c") == "a b \\| c"


def test_code_and_blocks():
    assert code("a b") == "`a b`"
    assert code("a `b`") == "`` a `b` ``"
    assert block("x") == "```console\nx\n```"


def test_every_rule_is_documented():
    def names(rule):
        here = rule.model_fields.get("rule")
        found = {here.annotation.__args__[0]} if here is not None else set()
        return found.union(*(names(child) for child in rule.__subclasses__()))

    assert names(Rule) == set(re.findall(r"^``(\w+)``", claims.__doc__, flags=re.M))
