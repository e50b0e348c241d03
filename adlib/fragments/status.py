"""What ran, when, how long, with which versions; what did not run, and the command that would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from adlib.claims import Evidence, Result
from adlib.claims.commands import commands
from adlib.evaluate import METHODS
from adlib.fragments.markdown import block, cell, code, escape, table
from adlib.records import Record

SOFTWARE = {
    "adlib": "adlib",
    "commit": "Commit",
    "python": "Python",
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "processor": "Processor",
    "device": "Device",
    "system": "System",
}


def status(
    made: Sequence[Record],
    evidence: Evidence,
    judged: Sequence[Result],
    papers: Mapping[str, str] | None = None,
) -> str:
    """Return the tables of runs and of software, then what was not run; `papers` names papers."""
    rows = pd.DataFrame([_row(record) for record in made])
    missing = not_run(evidence, judged, papers or {})
    if rows.empty:
        return f"No record yet.\n\n{missing}"
    days = _span(rows["date"])
    total = _duration(rows["seconds"].sum())
    start = (
        f"{len(rows)} records, made {days}; {total} of computing in all. "
        "Time is that of fitting, scoring and measuring, with the network only where its features "
        "were not cached, and training of networks only where they were not kept."
    )
    parts = [start, _runs(rows), _weights(rows), _software(rows), missing]
    return "\n\n".join(parts)


def not_run(evidence: Evidence, judged: Sequence[Result], papers: Mapping[str, str]) -> str:
    """Return the printed cells that no record answers, and commands for all that is missing."""
    cells = _open_cells(evidence)
    wanted = [text for place in cells for text in place.commands]
    wanted += [text for result in judged for text in result.outcome.commands]
    if not wanted:
        return "Nothing that the printed tables or the ledger ask for is missing."
    rows = [
        [
            cell(f"{papers.get(place.paper, place.paper)}, {', '.join(place.where)}"),
            escape(place.backbone or "–"),
            code(place.run),
            f"{len(place.missing)} of {place.number}",
            _few(place.missing, place.number),
        ]
        for place in cells
    ]
    header = ["Printed in", "Network", "Run", "Not run", "Categories"]
    parts = [table(header, rows, numbers=[3])] if rows else []
    return "\n\n".join(
        [
            "Not run, for want of the images, of the network's weights or of time, or not yet:",
            *parts,
            "`DIR` holds the categories of the data set; records that exist are skipped.",
            block("\n".join(dict.fromkeys(wanted))),
        ]
    )


class Place(NamedTuple):
    """A run that printed cells ask for, on a network, and the categories that lack it."""

    paper: str
    where: list[str]
    backbone: str
    run: str
    missing: list[str]
    number: int
    commands: tuple[str, ...]


def _open_cells(evidence: Evidence) -> list[Place]:
    rows = evidence.printed
    known = rows["run"].str.split().str[0].isin(list(METHODS))
    rows = rows[(rows["source"] == "paper") & known]
    found = []
    keys = ["paper", "dataset", "backbone", "run"]
    for (paper, dataset, backbone, run), cells in rows.groupby(keys, sort=False):
        here = evidence.on(dataset)
        done = set(here.select(run, backbone).get("category", ()))
        wanted = [name for printed in cells["category"] for name in here.whole(printed)]
        missing = [name for name in dict.fromkeys(wanted) if name not in done]
        if missing:
            where = list(dict.fromkeys(cells["where"]))
            needed = commands([run], dataset, backbone)
            found.append(Place(paper, where, backbone, run, missing, len(set(wanted)), needed))
    return found


def _row(record: Record) -> dict[str, object]:
    identity, environment = record["identity"], record["environment"]
    commit = (environment.get("commit") or "none")[:10]
    changed = " with changes" if environment.get("changed") else ""
    backbone = identity["backbone"] or {}
    return (
        {
            "dataset": identity["dataset"]["name"],
            "category": identity["dataset"]["category"],
            "backbone": backbone.get("name") or "–",
            "precision": backbone.get("precision") or "–",
            "weights": backbone.get("weights") or "–",
            "sha256": (backbone.get("weights_sha256") or "–")[:12],
            "method": identity["method"],
            "seed": identity["parameters"].get("seed"),
            "seconds": sum(value or 0 for value in record["seconds"].values()),
            "date": environment.get("date") or "–",
        }
        | {name: environment.get(name, "–") for name in SOFTWARE}
        | {"commit": commit + changed}
    )


def _runs(rows: pd.DataFrame) -> str:
    keys = ["dataset", "category", "backbone", "method"]
    lines = []
    for place, group in rows.groupby(keys, sort=True):
        seeds = group["seed"].dropna().nunique()
        time = _duration(group["seconds"].sum())
        lines.append([*map(escape, place), len(group), seeds, time, _span(group["date"])])
    header = ["Data set", "Category", "Network", "Method", "Records", "Seeds", "Time", "Made"]
    return table(header, lines, numbers=[4, 5, 6])


def _weights(rows: pd.DataFrame) -> str:
    keys = ["backbone", "precision", "weights", "sha256"]
    lines = [[*map(escape, place), len(group)] for place, group in rows.groupby(keys)]
    return table(["Network", "Precision", "Weights", "sha256", "Records"], lines, numbers=[4])


def _software(rows: pd.DataFrame) -> str:
    lines = [
        [*map(escape, place), len(group)]
        for place, group in rows.astype({name: str for name in SOFTWARE}).groupby(list(SOFTWARE))
    ]
    return table([*SOFTWARE.values(), "Records"], lines, numbers=[len(SOFTWARE)])


def _span(dates: pd.Series) -> str:
    first, last = dates.min(), dates.max()
    return str(first) if first == last else f"{first} to {last}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _few(names: list[str], number: int) -> str:
    return "all" if len(names) == number else escape(", ".join(names))
