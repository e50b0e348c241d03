"""What the scripts of ``benchmarks/`` share: alternating runs in fresh processes, ratios, files.

A script lists its sides. `alternate` starts itself again for one measurement of one side, in turn,
each time in a new process with one thread, so that no side profits from what another left behind
and a slow spell of the machine hits all of them. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from adlib.errors import InputError

Runs = dict[str, list[dict[str, Any]]]
ROOT = Path(__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
KEPT = {"at most": operator.le, "at least": operator.ge}


class Aim(NamedTuple):
    """What a measurement is held against; it is reported, never asserted.

    Attributes
    ----------
    what : str
        In words, with the unit.
    value : float or None
        As measured; None where it could not be.
    sense : {'at most', 'at least'}
    limit : float
    """

    what: str
    value: float | None
    sense: str
    limit: float

    @property
    def met(self) -> bool | None:
        """Whether the value keeps the limit; None where there is no value."""
        return None if self.value is None else KEPT[self.sense](self.value, self.limit)


def parser(doc: str) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark; `doc` is the script's docstring."""
    options = argparse.ArgumentParser(description=doc.splitlines()[0])
    options.add_argument("--repeats", type=int, default=3, help="alternating runs of each side")
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    options.add_argument("--worker", metavar="SIDE", help=argparse.SUPPRESS)
    return options


def main(
    arguments: argparse.Namespace, work: Callable[[str], dict], report: Callable[[], None]
) -> None:
    """Run one measurement if this is a worker, else the whole; bad input ends with status 2."""
    try:
        if arguments.repeats < 1:
            raise InputError(f"--repeats must be at least 1, found {arguments.repeats}")
        if arguments.worker:
            print(json.dumps(work(arguments.worker)))
        else:
            report()
    except InputError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)


def alternate(
    script: Path | str,
    pythons: Mapping[str, str],
    arguments: Sequence[str],
    repeats: int,
) -> Runs:
    """Measure every side in turn, `repeats` times, each run in a fresh process with one thread.

    Parameters
    ----------
    script : Path
        Called as ``python SCRIPT *arguments --worker SIDE``; its last line of output is one JSON
        object.
    pythons : mapping of str to str
        Side -> interpreter that runs it, in the order of the turns.
    arguments : sequence of str
    repeats : int

    Returns
    -------
    dict of str to list of dict
        Side -> what its runs returned.

    Raises
    ------
    InputError
        A worker refused its input.
    RuntimeError
        A worker failed; with the end of its error output.
    """
    runs: Runs = {side: [] for side in pythons}
    for turn in range(repeats):
        for side, python in pythons.items():
            if sys.stderr.isatty():
                print(f"  {turn + 1}/{repeats} {side}", file=sys.stderr)
            runs[side].append(_measure([python, str(script), *arguments, "--worker", side]))
    return runs


def _measure(command: list[str]) -> dict[str, Any]:
    environment = os.environ | dict.fromkeys(THREADS, "1") | {"HF_HUB_OFFLINE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 2 and done.stderr.strip():
        raise InputError(done.stderr.strip().splitlines()[-1].partition(": ")[2])
    if done.returncode:
        raise RuntimeError(
            f"{command[-1]} ended with status {done.returncode}:\n{done.stderr[-3000:]}"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def peak_mb() -> float:
    """Largest resident size of this process so far, in units of 10^6 bytes."""
    import resource

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def medians(runs: Runs) -> dict[str, dict[str, float]]:
    """Return the median of every number that the runs of a side report."""
    return {
        side: {
            name: median(run[name] for run in several)
            for name, value in several[0].items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        for side, several in runs.items()
    }


def ratio(
    runs: Runs, over: str, under: str, value: Callable[[dict], float] | str
) -> dict[str, float] | None:
    """Compare two sides turn by turn: median, lowest and highest of over / under.

    Parameters
    ----------
    runs : dict
        What `alternate` returned.
    over, under : str
        Sides; None is returned where one of them was not run.
    value : str or callable
        Name of a number of a run, or a function of a run.
    """
    if not runs.get(over) or not runs.get(under):
        return None
    number = value if callable(value) else lambda run: run[value]
    ratios = [number(a) / number(b) for a, b in zip(runs[over], runs[under], strict=True)]
    return {"median": median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def span(found: Mapping[str, float] | None, digits: int = 2) -> str:
    """Write a ratio as ``1.25 [1.20, 1.31]``; a dash where there is none."""
    if found is None:
        return "–"
    middle, low, high = (f"{found[name]:.{digits}f}" for name in ("median", "lowest", "highest"))
    return f"{middle} [{low}, {high}]"


def table(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Return rows, the first of which is the header, as a Markdown table that reads well as text.

    Parameters
    ----------
    rows : sequence of sequences of str
    left : sequence of int
        Columns to align to the left; the others go to the right.
    """
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        [
            cell.ljust(n) if i in left else cell.rjust(n)
            for i, (cell, n) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    rule = ["-" * n if i in left else "-" * (n - 1) + ":" for i, n in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def described(aims: Sequence[Aim]) -> list[dict[str, Any]]:
    """Return aims as plain objects, as a file holds them."""
    return [aim._asdict() | {"met": aim.met} for aim in aims]


def machine() -> dict[str, Any]:
    """Return facts of the machine and the software, without names or paths."""
    import psutil

    from adlib import records

    memory = round(psutil.virtual_memory().total / 1e9, 1)
    return records.environment("cpu") | {"threads": 1, "memory_gb": memory}


def write(target: Path, benchmark: str, aims: Sequence[Aim], content: Mapping[str, Any]) -> None:
    """Write the results of a benchmark in one step, numbers to six digits.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    whole = {
        "benchmark": benchmark,
        "environment": machine(),
        "aims": described(aims),
    } | dict(content)
    unfinished = target.with_name(target.name + ".unfinished")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(_rounded(whole), indent=1) + "\n", encoding="utf-8")
        unfinished.replace(target)
    except OSError as error:
        raise InputError(
            f"results must go to a file that can be written, {target} cannot ({error.strerror})"
        ) from error


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
