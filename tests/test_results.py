"""What is committed under results/: every record and every printed number."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from adlib import parameters, records, report
from adlib.backbones import ARCHITECTURES
from adlib.datasets import Transform, cifar10, mnist
from adlib.evaluate import METHODS, open_experiment, reads_images
from adlib.sweep import read_seeds

RESULTS = Path(__file__).resolve().parents[1] / "results"
FILES = sorted(
    p
    for p in RESULTS.rglob("*.json")
    if not p.name.startswith(".") and p.parent.name not in ("bench", "studies", "pictures")
)
MACHINE = re.compile(r"/home/|/root/|/Users/|/tmp/|/work/|/mnt/|[A-Z]:\\\\|file://")


@pytest.fixture(scope="module")
def found() -> dict[Path, dict]:
    """Every record by its path; reading validates it against the schema and its key."""
    return {path: records.read(path) for path in FILES}


def test_records_lie_where_their_identity_says(found):
    for path, record in found.items():
        identity = record["identity"]
        folder = Path(
            identity["dataset"]["name"], identity["dataset"]["category"], identity["method"]
        )
        assert path.relative_to(RESULTS).parent == folder
        assert path.stem.endswith(f"-{record['key']}")
        label = path.stem.removesuffix(f"-{record['key']}")
        network = identity["backbone"] or {"name": ""}
        assert label.startswith(network["name"])


def test_no_run_is_recorded_twice(found):
    keys = Counter(record["key"] for record in found.values())
    assert [key for key, count in keys.items() if count > 1] == []


def test_records_belong_to_this_protocol(found):
    # after a change that moves numbers every record is made again
    assert {r["identity"]["protocol"] for r in found.values()} <= {records.PROTOCOL}


def test_no_record_names_the_machine(found):
    for path in found:
        text = path.read_text(encoding="utf-8")
        assert not MACHINE.search(text), path.name


def test_parameters_are_complete_and_valid(found):
    for record in found.values():
        identity = record["identity"]
        method = METHODS[identity["method"]]
        nullable = {k for k, p in parameters.of(method).items() if "null" in p.allowed}
        given = {k: v for k, v in identity["parameters"].items() if v is not None or k in nullable}
        complete = parameters.check(method, given)
        assert identity["parameters"] == method.effective(complete)
        network = identity["backbone"]
        assert (network is None) == reads_images(identity["method"])
        assert network is None or set(network["name"].split("+")) <= set(ARCHITECTURES)


def anomalous(record: dict, kind: str) -> bool:
    """Whether a kind of test image is anomalous: of data sets in classes the category says it."""
    dataset = record["identity"]["dataset"]
    names = {"mnist": mnist.NAMES, "cifar10": cifar10.NAMES}.get(dataset["name"])
    if names is None:
        return kind != "good"
    return str(names.index(kind)) in dataset["category"]


def test_counts_scores_and_metrics_agree(found):
    for path, record in found.items():
        counts, scores = record["counts"], record["scores"]
        assert sum(map(len, scores.values())) == counts["test"], path.name
        found_anomalous = sum(len(v) for name, v in scores.items() if anomalous(record, name))
        assert found_anomalous == counts["anomalous"], path.name
        assert record["metrics"]["f1_misclassified"] <= counts["test"]


def test_image_metrics_follow_from_the_scores(found):
    import numpy as np
    from sklearn.metrics import roc_auc_score

    for path, record in found.items():
        scores = record["scores"]
        labels = np.concatenate([np.full(len(v), anomalous(record, k)) for k, v in scores.items()])
        values = np.concatenate([np.array(v) for v in scores.values()])
        expected = roc_auc_score(labels, values)
        assert record["metrics"]["image_auroc"] == pytest.approx(expected, abs=1e-9), path.name


def test_commands_repeat_the_run_they_stand_in(found):
    defaults = {"--resize": "256", "--crop": "224", "--precision": "float32", "--masks": "nearest"}
    for path, record in found.items():
        identity = record["identity"]
        words = shlex.split(record["command"])
        assert words[:2] == ["adlib", "evaluate"] and words[2] == identity["method"]
        squash = "--squash" in words
        words = [word for word in words if word != "--squash"]
        pairs = list(zip(words[3::2], words[4::2], strict=True))
        options = defaults | {name: value for name, value in pairs if name != "--set"}
        texts = [value for name, value in pairs if name == "--set"]
        values = {k: v[0] for k, v in parameters.read_assignments(texts).items()}
        (seed,) = read_seeds(options["--seed"])
        method = METHODS[identity["method"]]
        drawn = {"seed": seed} if "seed" in parameters.of(method) else {}
        checked = parameters.check(method, values | drawn)
        assert method.effective(checked) == identity["parameters"], path.name
        assert options["--dataset"] == identity["dataset"]["name"]
        assert options["--category"] == identity["dataset"]["category"]
        if identity["backbone"] is not None:
            assert options["--backbone"] == identity["backbone"]["name"]
            assert options["--precision"] == identity["backbone"]["precision"]
        crop = int(options["--crop"]) or None
        transform = Transform(int(options["--resize"]), crop, squash, options["--masks"])
        if identity["dataset"]["name"] in ("mnist", "cifar10", "digits"):
            transform = Transform(None, None)
        assert transform.describe() == identity["transform"]
        if "--shots" in options:
            assert identity["shots"] == {"images": int(options["--shots"]), "seed": seed}
        assert ("--shots" in options) == ("shots" in identity)


def test_one_category_is_one_set_of_files(found):
    seen: dict[tuple, set] = {}
    for record in found.values():
        dataset = record["identity"]["dataset"]
        counts = dict(record["counts"])
        del counts["masks_empty"]  # differs with the crop
        if "shots" in record["identity"]:
            assert counts["train"] == record["identity"]["shots"]["images"]
            continue
        place = (dataset["name"], dataset["category"])
        seen.setdefault(place, set()).add((dataset["fingerprint"], *counts.values()))
    assert all(len(kinds) == 1 for kinds in seen.values())


def test_the_same_seed_drew_the_same_projection_everywhere(found):
    drawn: dict[str, set] = {}
    for record in found.values():
        identity = record["identity"]
        values = identity["parameters"]
        if values.get("reduction") in ("coordinate", "gaussian", "haar", "sparse"):
            channels = record["drawn"]["channels"]
            place = json.dumps([values["reduction"], values["dim"], values["seed"], channels])
            drawn.setdefault(place, set()).add(record["drawn"]["reduction_sha256"])
    assert all(len(sums) == 1 for sums in drawn.values())


def test_the_same_seed_selected_the_same_coreset_whatever_was_scored_with_it(found):
    """Distance, Eq. 7 and neighbours come after the selection."""
    after = ("distance", "neighbors", "reweight", "sigma")
    selected: dict[str, set] = {}
    for record in found.values():
        identity = record["identity"]
        if identity["method"] == "patchcore" and identity["parameters"]["search"] == "exact":
            kept = {k: v for k, v in identity["parameters"].items() if k not in after}
            place = json.dumps([identity | {"parameters": kept}])
            sums = {k: v for k, v in record["drawn"].items() if k.endswith("indices_sha256")}
            selected.setdefault(place, set()).add(json.dumps(sums))
    assert all(len(sums) == 1 for sums in selected.values())


def test_files_are_written_as_the_package_writes_them(found):
    for path, record in found.items():
        text = records._compact_lists(json.dumps(record, indent=1, allow_nan=False) + "\n")
        assert path.read_text(encoding="utf-8") == text, path.name


# reported.csv

COLUMNS = ["source", "paper", "where", "task", "method", "backbone", "dataset", "category",
           "metric", "value", "unit", "run", "note"]  # fmt: skip


@pytest.fixture(scope="module")
def printed():
    return report.reported(RESULTS)


def test_reported_is_well_formed(printed):
    assert list(printed.columns) == COLUMNS
    raw = (RESULTS / "reported.csv").read_bytes()
    assert raw.endswith(b"\n") and b"\r" not in raw
    raw.decode("utf-8")
    for line, row in enumerate(printed.itertuples(), start=2):
        for name in ("source", "where", "metric", "unit"):
            assert getattr(row, name) == getattr(row, name).strip() != "", (line, name)
        assert (row.source == "paper") == (row.paper != ""), line


def test_percentages_are_percentages(printed):
    percent = printed[(printed["unit"] == "percent") & printed["value"].notna()]
    assert percent["value"].between(0, 100).all()
    assert (percent["value"] > 1).mean() > 0.95  # none slipped in as a fraction


def test_no_number_is_printed_twice(printed):
    place = [
        "source",
        "paper",
        "where",
        "task",
        "method",
        "backbone",
        "dataset",
        "category",
        "metric",
    ]
    assert printed[printed.duplicated([*place, "note"], keep=False)].empty


def test_every_run_can_be_run(printed):
    for run in printed["run"].unique():
        if run:
            method, values = report.read_run(run)
            assert method in METHODS and values


def test_runs_name_a_known_backbone(printed):
    named = printed[printed["run"] != ""]
    networks = named[[not reads_images(run.split()[0]) for run in named["run"]]]
    assert set(networks["backbone"]) <= set(ARCHITECTURES)


def test_compare_turns_all_of_it_into_a_table(printed):
    table = report.compare(printed, records.table(RESULTS))
    assert len(table) == ((printed["unit"] == "percent") & (printed["source"] == "paper")).sum()
    known = table[table["n"] > 0]
    assert known["ours"].between(0, 100).all()


@pytest.mark.data
@pytest.mark.parametrize("category", ["bottle", "capsule", "screw", "transistor"])
def test_this_code_makes_the_same_numbers_again(category, tmp_path):
    """Some records were made by earlier states of the code: the present one must agree with them.

    One run of each form (m <= N and m > N) and method a category, on the images in
    $ADLIB_MVTEC_AD; the weights come from $ADLIB_RESNET18 or from where ``Backbone`` finds them.
    """
    experiment = open_experiment(
        "mvtec_ad", category, root=os.environ["ADLIB_MVTEC_AD"],
        weights=os.environ.get("ADLIB_RESNET18"), cache=False,
    )  # fmt: skip
    made_from = [r["identity"] for r in map(records.read, FILES)]
    images, weights = experiment.category.fingerprint, experiment.backbone.origin.sha256
    if not any(
        i["dataset"]["fingerprint"] == images
        and (i["backbone"] or {}).get("weights_sha256") == weights
        for i in made_from
    ):
        pytest.skip("other image or weight files than those of the records")
    for method, values in (
        ("padim", {"dim": 100}),
        ("padim", {"reduction": "gaussian", "dim": 100, "seed": 3}),
        ("padim", {"reduction": "none"}),
        ("patchcore", {"fraction": 0.01}),
        ("patchcore", {"fraction": 0.01, "embedding": "official", "seed": 1}),
        ("one_nn", {"image_level": 3}),
        ("thumbnail", {}),
    ):
        again = experiment.run(method, values, results=tmp_path)
        committed = RESULTS / again.path.relative_to(tmp_path)
        before = records.read(committed)
        assert again.record["drawn"] == before["drawn"]
        assert again.record["metrics"] == pytest.approx(before["metrics"], abs=1e-6)
        for defect, scores in before["scores"].items():
            assert again.record["scores"][defect] == pytest.approx(scores, rel=1e-4)
