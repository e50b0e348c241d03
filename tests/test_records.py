"""Records: complete or absent, valid or refused."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adlib import records
from adlib.errors import InputError


def record(**changes) -> dict:
    """A valid record; `changes` by dotted path, with __ for dots."""
    made = {
        "schema": 1,
        "key": "",
        "identity": {
            "protocol": 1,
            "method": "padim",
            "parameters": {"reduction": "none", "dim": None, "eps": 0.01, "seed": None},
            "dataset": {"name": "mvtec_ad", "category": "bottle", "fingerprint": "f" * 64},
            "backbone": {
                "name": "resnet18",
                "levels": ["layer1"],
                "precision": "float32",
                "weights": "IMAGENET1K_V1",
                "weights_sha256": "a" * 64,
            },
            "transform": {"resize": 256, "crop": 224},
        },
        "counts": {"train": 9, "test": 4, "anomalous": 2, "masks": 2, "masks_empty": 0},
        "drawn": {"channels": 64},
        "metrics": {"image_auroc": 1.0, "image_f1": 1.0, "f1_misclassified": 0, "aupro": 0.9},
        "scores": {"good": [1.5, 2.5], "spot": [3.25, 1e-7]},
        "seconds": {"features": None, "fit": 0.1},
        "peak_memory_mb": 100.5,
        "environment": {"date": "2026-01-01"},
        "deviations": ["a text that ends with ["],
        "command": "adlib evaluate padim",
    }
    for place, value in changes.items():
        *parents, last = place.split("__")
        target = made
        for parent in parents:
            target = target[parent]
        target[last] = value
    made["key"] = changes.get("key", records.key(made["identity"]))
    return made


def test_what_is_written_is_read(tmp_path):
    target = records.path(tmp_path, record()["identity"], "some-label")
    records.write(record(), target)
    assert records.read(target) == record()
    assert records.read_all(tmp_path) == [record()]
    folder = tmp_path / "mvtec_ad" / "bottle" / "padim"
    assert target == folder / f"some-label-{record()['key']}.json"
    assert [p.name for p in folder.iterdir()] == [target.name]
    text = target.read_text(encoding="utf-8")
    assert text.endswith("}\n") and '  "good": [1.5, 2.5],\n' in text


def test_the_key_is_the_hash_of_the_identity_whatever_its_order():
    identity = record()["identity"]
    backwards = dict(reversed(identity.items()))
    assert records.key(identity) == records.key(backwards)
    assert len(records.key(identity)) == 16
    assert records.key(identity) != records.key(record(identity__method="other")["identity"])
    # written out, since a change of the text that is hashed orphans every record
    text = r'{"a":[null,0.01,"\u00e9"],"b":1}'
    expected = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert records.key({"b": 1, "a": [None, 0.01, "é"]}) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(string.printable, max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab]", max_size=3), inner),
    max_leaves=12,
)  # fmt: skip


@given(json_values)
def test_putting_lists_on_one_line_changes_no_value(value):
    text = records._compact_lists(json.dumps(value, indent=1))
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"schema": 2}, "schema"),
        ({"key": "xyz"}, "key"),
        ({"metrics__image_auroc": 1.01}, "metrics.image_auroc"),
        ({"metrics__image_auroc": "0.9"}, "metrics.image_auroc"),
        ({"metrics__f1_misclassified": 1.5}, "metrics.f1_misclassified"),
        ({"metrics": {"image_auroc": 1.0}}, "metrics"),
        ({"counts__train": 0}, "counts.train"),
        ({"scores__good": 3.0}, "scores.good"),
        ({"identity__dataset__fingerprint": "0"}, "identity.dataset.fingerprint"),
        ({"identity__backbone__precision": "float16"}, "identity.backbone"),
        ({"identity__transform": {"resize": 256}}, "identity.transform"),
        ({"seconds__fit": -1}, "seconds.fit"),
        ({"surplus": 1}, "the record"),
    ],
)
def test_records_that_break_the_schema_are_neither_written_nor_read(change, place, tmp_path):
    target = tmp_path / "d" / "c" / "m" / "x.json"
    with pytest.raises(InputError, match=rf"x\.json is not a valid record: {place}"):
        records.write(record(**change), target)
    assert not target.exists()
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(record(**change)))
    with pytest.raises(InputError, match=place):
        records.read_all(tmp_path)


def test_an_edited_identity_is_noticed(tmp_path):
    edited = record()
    edited["identity"]["parameters"]["eps"] = 0.02
    (tmp_path / "x.json").write_text(json.dumps(edited))
    with pytest.raises(InputError, match="edited by hand"):
        records.read(tmp_path / "x.json")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", '{"a": NaN}', "[" * 100_000, '{"schema": 1}'],
    ids=["empty", "cut", "list", "null", "number", "nan", "deep", "partial"],
)
def test_files_that_hold_no_record_are_refused_in_one_short_sentence(text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError) as error:
        records.read(tmp_path / "x.json")
    assert "x.json" in str(error.value) and len(str(error.value)) < 500


def test_a_nan_in_a_metric_is_refused(tmp_path):
    text = json.dumps(record()).replace('"image_auroc": 1.0', '"image_auroc": NaN')
    assert "NaN" in text
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match="NaN is not a number"):
        records.read(tmp_path / "x.json")


def test_binary_and_missing_files_are_refused(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    for name in ("x.json", "missing.json"):
        with pytest.raises(InputError, match="must be a JSON file"):
            records.read(tmp_path / name)


def test_an_error_message_does_not_quote_the_whole_record(tmp_path):
    huge = record(scores={"good": [0.5] * 10_000})
    (tmp_path / "x.json").write_text(json.dumps([huge]))
    with pytest.raises(InputError) as error:
        records.read(tmp_path / "x.json")
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("step", ["mkstemp", "fsync", "replace", "chmod"])
@pytest.mark.parametrize("number", [28, 30, 13])
def test_a_write_that_fails_leaves_the_old_record(step, number, tmp_path, monkeypatch):
    target = tmp_path / "x.json"
    records.write(record(), target)

    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    module = "tempfile" if step == "mkstemp" else "os"
    monkeypatch.setattr(f"adlib.atomic.{module}.{step}", fail)
    with pytest.raises(InputError) as error:
        records.write(record(peak_memory_mb=1.0), target)
    assert os.strerror(number) in str(error.value) and "--results" in str(error.value)
    monkeypatch.undo()
    assert records.read(target) == record()
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_an_interruption_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("adlib.atomic.os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        records.write(record(), tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(InputError, match="could not be written"):
        records.write(record(), tmp_path / "results" / "d" / "x.json")


def test_unfinished_files_and_other_files_are_not_read(tmp_path):
    folder = tmp_path / "d" / "c" / "m"
    folder.mkdir(parents=True)
    (folder / ".part-abc.json").write_text("{")
    (folder / "note.txt").write_text("{")
    (tmp_path / "reported.csv").write_text("a,b")
    assert records.read_all(tmp_path) == []


def test_no_folder_has_no_records(tmp_path):
    assert records.read_all(tmp_path / "missing") == []
    assert records.table(tmp_path / "missing").empty


def test_table_has_a_row_a_run(tmp_path):
    other = copy.deepcopy(record())
    other["identity"]["parameters"] |= {"reduction": "haar", "dim": 5, "seed": 3}
    other["key"] = records.key(other["identity"])
    for made in (record(), other):
        records.write(made, records.path(tmp_path, made["identity"], "x"))
    table = records.table(tmp_path).set_index("reduction")
    assert table.loc["haar", ["category", "backbone", "seed", "dim"]].tolist() == [
        "bottle", "resnet18", 3, 5,
    ]  # fmt: skip
    assert table.loc["none", ["aupro", "n_train", "resize", "seconds_fit"]].tolist() == [
        0.9, 9, 256, 0.1,
    ]  # fmt: skip
    assert table["seed"].isna().sum() == 1


def test_environment_names_versions_and_no_machine(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    found = records.environment("cpu")
    assert found["threads"] == 3
    assert {"torch", "numpy", "python", "commit", "date"} <= found.keys()
    text = json.dumps(found)
    assert str(Path.home()) not in text and os.uname().nodename not in text.split()
    for unset in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", unset)
        assert records.environment("cpu")["threads"] == os.cpu_count()


def test_the_commit_of_a_foreign_repository_is_not_taken_for_ours(root, tmp_path):
    # a package installed into an environment inside somebody else's repository
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    real = tmp_path / "copy" / "adlib"
    real.mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "records.py"):
        (real / name).write_bytes((root / "adlib" / name).read_bytes())
    code = (
        "import sys; sys.path.insert(0, 'copy'); from adlib import records; print(records._code())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "{'commit': None, 'changed': []}"


def test_peak_memory_is_plausible():
    assert 20 < records.peak_memory_mb() < 1e6
