"""Records: one JSON file a run, which says what was run, on what, and what came out.

``results/<dataset>/<category>/<method>/<readable>-<key>.json``. The key is a hash of everything
that decides the numbers, so a record that exists need not be made again. A record is written beside
its place and renamed: it is complete or absent. Aggregates are never stored.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd

from adlib import __version__
from adlib.atomic import replacement
from adlib.datasets import cifar10, magnetic_tile, mnist, mvtec_ad
from adlib.errors import InputError

SCHEMA = 1
# Raise when a change of methods, metrics, defaults or data reading moves numbers: every record must
# then be made again (CONTRIBUTING.md, "Two classes of change").
PROTOCOL = 1
Record = dict[str, Any]


def key(identity: dict[str, Any]) -> str:
    """Return the key of a run: the first 16 hexadecimal digits of the hash of its identity."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def path(results: Path, identity: dict[str, Any], label: str) -> Path:
    """Return where the record of a run belongs; `label` is the readable part of its name."""
    dataset = identity["dataset"]
    folder = results / dataset["name"] / dataset["category"] / identity["method"]
    return folder / f"{label}-{key(identity)}.json"


def write(record: Record, target: Path) -> None:
    """Validate a record and write it in one step: after a crash it is complete or absent.

    Raises
    ------
    InputError
        The folder cannot be written to, or the disk is full.
    """
    validate(record, target)
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacement(target) as part:
            part.write_text(_compact_lists(text), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"the record could not be written to {target.parent} ({error.strerror or error}); free "
            "some space or choose another folder with --results; all records written before are "
            "complete"
        ) from error


def read(source: Path) -> Record:
    """Read and validate one record.

    Raises
    ------
    InputError
        The file is not JSON, breaks the schema, or its key is not the hash of its identity.
    """
    try:
        record = json.loads(source.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"a record must be a JSON file, {source} is not ({error}); delete it and run again"
        ) from error
    validate(record, source)
    return record


def read_all(results: Path | str = "results") -> list[Record]:
    """Read every record below a folder, in the order of their paths; none without a folder."""
    return [read(source) for source in _sources(Path(results))]


def validate(record: Record, source: Path) -> None:
    """Check a record against ``adlib/record.schema.json`` and its key against its identity.

    Raises
    ------
    InputError
        Naming the file, the place in it, and the rule.
    """
    error = jsonschema.exceptions.best_match(_validator().iter_errors(record))
    if error is not None:
        place = ".".join(str(part) for part in error.absolute_path) or "the record"
        rule = textwrap.shorten(error.message, 200)
        raise InputError(
            f"{source} is not a valid record: {place}: {rule}; delete it and run again"
        )
    if record["key"] != key(record["identity"]):
        raise InputError(
            f"{source} was edited by hand: its key {record['key']} is not the hash of its "
            "identity; delete it and run again"
        )


def table(results: Path | str = "results") -> pd.DataFrame:
    """Return all records as one flat table, a row a run.

    Returns
    -------
    DataFrame
        Columns: ``method``, ``dataset``, ``category``, ``backbone``, ``precision``, ``weights``,
        every parameter and every metric by name, ``n_train``, ``n_test``, ``official`` (False:
        images of one's own in a known layout), ``shots`` (training images drawn, None: all),
        ``resize``, ``crop``, ``squash``, ``masks``, ``channels`` (D),
        ``seconds_*``, ``peak_memory_mb``, ``date``, ``key``. Empty where there are no records.
    """
    return pd.DataFrame([_row(record) for record in read_all(results)])


def environment(device: str) -> dict[str, Any]:
    """Describe the machine and the software of a run, without names or paths of the machine."""
    packages = ("torch", "torchvision", "numpy", "scipy", "pillow")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "adlib": __version__,
        **_code(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "device": device,
        "threads": _threads(),
    } | {name: importlib.metadata.version(name) for name in packages}


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, in units of 10^6 bytes."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e6
    scale = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def _official(record: Record) -> bool:
    """Whether the images are the data set's own: a set of one's own may carry the same names."""
    dataset, counts = record["identity"]["dataset"], record["counts"]
    if dataset["name"] == magnetic_tile.NAME and dataset["category"].startswith("grouped"):
        # the test holds whole tiles, so its size differs by a few
        return counts["train"] + counts["test"] == sum(magnetic_tile.OFFICIAL_COUNTS)
    if dataset["name"] in (mnist.NAME, cifar10.NAME):
        # of a part of the training images the record itself tells, as a deviation
        return counts["test"] == mnist.OFFICIAL[1] == cifar10.OFFICIAL[1]
    published = {
        mvtec_ad.NAME: mvtec_ad.OFFICIAL_COUNTS.get(dataset["category"]),
        magnetic_tile.NAME: magnetic_tile.OFFICIAL_COUNTS,
    }
    if dataset["name"] not in published:
        return True
    train, test = published[dataset["name"]] or (None, None)
    whole = counts["train"] == train or "shots" in record["identity"]
    return whole and counts["test"] == test


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


def _row(record: Record) -> dict[str, Any]:
    identity, drawn = record["identity"], record["drawn"]
    backbone = identity["backbone"] or {}
    return (
        {
            "method": identity["method"],
            "dataset": identity["dataset"]["name"],
            "category": identity["dataset"]["category"],
            "backbone": backbone.get("name"),
            "precision": backbone.get("precision"),
            "weights": backbone.get("weights"),
            "resize": identity["transform"]["resize"],
            "crop": identity["transform"]["crop"],
            "squash": identity["transform"].get("squash", False),
            "masks": identity["transform"].get("masks", "nearest"),
            "shots": identity.get("shots", {}).get("images"),
            "n_train": record["counts"]["train"],
            "n_test": record["counts"]["test"],
            "official": _official(record),
        }
        | _with_seed(identity)
        | drawn
        | record["metrics"]
        | {f"seconds_{stage}": value for stage, value in record["seconds"].items()}
        | {
            "peak_memory_mb": record["peak_memory_mb"],
            "date": record["environment"].get("date"),
            "torch": record["environment"].get("torch"),
            "device": record["environment"].get("device"),
            "key": record["key"],
        }
    )


def _with_seed(identity: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters; a run that drew nothing but its training images has their seed."""
    parameters = identity["parameters"]
    if "shots" in identity and parameters.get("seed") is None:
        return parameters | {"seed": identity["shots"]["seed"]}
    return parameters


def _sources(results: Path) -> Iterator[Path]:
    return iter(sorted(p for p in results.glob("*/*/*/*.json") if not p.name.startswith(".")))


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(files("adlib").joinpath("record.schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def _compact_lists(text: str) -> str:
    """Put every list of plain values on one line: a record stays short and its diff readable."""
    lines: list[str] = []
    depth = 0
    for line in text.splitlines():
        stripped = line.strip()
        if depth:
            lines[-1] += stripped + (" " if stripped.endswith(",") and stripped != "]," else "")
        else:
            lines.append(line)
        depth += stripped.endswith("[") - stripped.startswith("]")
    return "\n".join(lines) + "\n"


@functools.cache
def _code() -> dict[str, Any]:
    """Return commit and uncommitted changes of the code that runs, as they are at the first call.

    Later calls answer the same: the code of this process was loaded by then.
    """
    if not _git("ls-files", "adlib/records.py"):  # installed, perhaps inside another repository
        return {"commit": None, "changed": []}
    status = _git("status", "--porcelain", "--", "adlib") or ""
    return {"commit": _git("rev-parse", "HEAD"), "changed": status.split()[1::2]}


def _threads() -> int:
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else os.cpu_count() or 1


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).resolve().parent.parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
