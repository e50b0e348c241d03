"""A grid of runs over categories, parameters and seeds: what one ``adlib evaluate`` does."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from adlib import datasets, parameters, records
from adlib.backbones import Backbone
from adlib.ensemble import Ensemble, open_backbone
from adlib.errors import InputError
from adlib.evaluate import METHODS, Experiment, Run, Shots, grid, reads_images

SHOWN = ("image_auroc", "pixel_auroc", "aupro", "f1_misclassified")
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Plan:
    """What to run: categories x settings x seeds.

    Attributes
    ----------
    method, dataset, backbone, weights, device, precision, resize, crop
        As for ``evaluate.open_experiment``; backbone None: by the data set.
    categories : list of str
        Empty: all of the data set.
    seeds : list of int
    preset : str or None
        A key of the method's ``PRESETS``; `settings` win over it.
    settings : list of str
        ``name=value`` texts, several values separated by commas.
    squash, masks
        As for ``datasets.Transform``.
    shots : list of int
        Numbers of training images to fit on, drawn with each seed; empty: all images.
    """

    method: str
    dataset: str = "embedded"
    root: Path | None = None
    categories: Sequence[str] = ()
    backbone: str | None = None
    weights: str | None = None
    device: str = "auto"
    precision: str = "float32"
    seeds: Sequence[int] = (0,)
    settings: Sequence[str] = field(default_factory=list)
    resize: int = 256
    crop: int | None = 224
    squash: bool = False
    masks: str = "nearest"
    preset: str | None = None
    shots: Sequence[int] = ()
    cache: bool = True

    def backbone_name(self) -> str:
        """Return the backbone: what was asked for, else one whose weights are at hand."""
        return self.backbone or ("efficientnet_lite0" if self.dataset == "embedded" else "resnet18")

    def open_backbone(self, depth: int) -> Backbone | Ensemble:
        """Open the network, or the networks of an ensemble, with the levels 1 to `depth`."""
        return open_backbone(
            self.backbone_name(),
            depth,
            weights=self.weights,
            device=self.device,
            precision=self.precision,
        )

    def combinations(self) -> list[dict[str, Any]]:
        """Return the parameters of every run of one category, each checked; duplicates once.

        Raises
        ------
        InputError
            Unknown method or parameter, or a value of the wrong type or range.
        """
        if self.method not in METHODS:
            raise InputError(parameters.unknown("method", self.method, METHODS))
        method = METHODS[self.method]
        values = parameters.read_assignments(self.settings)
        if self.preset is not None:
            fixed = parameters.preset(method, self.preset, {})
            values = {name: [value] for name, value in fixed.items()} | values
        if "seed" in values:
            raise InputError("seeds are given by --seed, found --set seed=...; write --seed 0-4")
        if "seed" in parameters.of(method):
            values["seed"] = list(self.seeds)
        checked = [parameters.check(method, combination) for combination in grid(values)]
        unique: dict[str, dict[str, Any]] = {}
        for combination in checked:
            unique.setdefault(repr(method.effective(combination)), combination)
        return list(unique.values())

    def runs(self) -> list[tuple[dict[str, Any], Shots | None]]:
        """Return parameters and training subset of every run of one category, duplicates once.

        Raises
        ------
        InputError
            As for `combinations`.
        """
        if not self.shots:
            return [(values, None) for values in self.combinations()]
        found: list[tuple[dict[str, Any], Shots | None]] = []
        for images in dict.fromkeys(self.shots):
            for seed in dict.fromkeys(self.seeds):
                one = replace(self, seeds=[seed], shots=())
                found += [(values, Shots(images, seed)) for values in one.combinations()]
        return found


def run(
    plan: Plan,
    *,
    results: Path = Path("results"),
    json_file: Path | None = None,
    force: bool = False,
    console: Console | None = None,
) -> list[dict[str, Any]]:
    """Run a plan; existing records are read, not made again.

    Returns
    -------
    list of dict
        A row a run: category, the parameters that vary, the metrics.

    Raises
    ------
    InputError
        Anything wrong with names, values, data or the results folder.
    """
    runs = plan.runs()
    names = list(dict.fromkeys(plan.categories)) or datasets.categories(plan.dataset, plan.root)
    writable(results if json_file is None else json_file.parent)
    if json_file is not None:
        _check_one(json_file, len(runs) * len(names))
    transform = datasets.Transform(plan.resize, plan.crop, plan.squash, plan.masks)
    # all of them before the first hour of work: a wrong name fails at once
    categories = [datasets.load(plan.dataset, name, plan.root, transform) for name in names]
    method = METHODS[plan.method]
    # a network is opened as deep as a run needs it, so that the record of a run does not depend on
    # what else the plan holds
    depths = sorted({max(3, method.depth(values)) for values, _ in runs})
    backbones = {
        depth: None if reads_images(plan.method) else plan.open_backbone(depth) for depth in depths
    }
    first = runs[0][0]
    varying = [name for name in first if len({repr(values[name]) for values, _ in runs}) > 1]
    fresh = 0
    rows: list[dict[str, Any]] = []
    with _progress(console) as progress:
        task = progress.add_task(plan.method, total=len(categories) * len(runs))
        bars = _Bars(progress)
        for category in categories:
            experiments = {
                depth: Experiment(
                    category,
                    backbone,
                    cache=plan.cache,
                    selection=bars.selection,
                    training=bars,
                    device=plan.device,
                )
                for depth, backbone in backbones.items()
            }
            for values, shots in runs:
                shown = [f"{n}={values[n]}" for n in varying]
                shown += [] if shots is None else [f"shots={shots.images}"]
                progress.update(task, description=" ".join([category.name, *shown]))
                done = experiments[max(3, method.depth(values))].run(
                    plan.method,
                    values,
                    shots=shots,
                    results=None if json_file else results,
                    force=force,
                )
                if json_file is not None:
                    records.write(done.record, json_file)
                rows.append(_row(category.name, varying, done))
                fresh += done.fresh
                progress.advance(task)
    if console is not None:
        where = json_file or results
        made = f"{fresh} record{'' if fresh == 1 else 's'} written to {where}"
        read = f", {len(rows) - fresh} were there already" if len(rows) > fresh else ""
        console.print(made + read, markup=False, highlight=False)
    return rows


def read_counts(text: str) -> list[int]:
    """Read numbers of images as the command line gives them: ``5`` or ``1,5,10``.

    Raises
    ------
    InputError
        The text is neither.
    """
    counts = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if min(counts) < 1:
        raise InputError(f"--shots takes whole numbers >= 1, as 5 or 1,5,10, found {text!r}")
    return counts


def read_seeds(text: str) -> list[int]:
    """Read seeds as the command line gives them: ``3``, ``0,3,7``, ``0-9`` or a mixture.

    Raises
    ------
    InputError
        The text is none of these.
    """
    rule = "--seed takes whole numbers >= 0, as 3, 0,3,7 or 0-9"
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?", part)
        if not found:
            raise InputError(f"{rule}, found {text!r}; correct it")
        first, last = int(found[1]), int(found[2] or found[1])
        if not first <= last < first + MOST_SEEDS:
            raise InputError(
                f"{rule}, a range rises and holds at most {MOST_SEEDS}, found {part!r}; correct it"
            )
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


def writable(folder: Path, option: str = "--results") -> None:
    """Make a folder and see that it can be written to, before hours of work depend on it.

    Raises
    ------
    InputError
        It cannot be made or written to.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"the results folder must be writable, {folder} is not ({error.strerror}); "
            f"choose another with {option}"
        ) from error


def _check_one(json_file: Path, runs: int) -> None:
    if runs != 1:
        raise InputError(
            f"--json takes the record of one run, this is {runs}; "
            "name one --category and one value each, or leave --json out"
        )
    if json_file.is_dir():
        raise InputError(f"--json names a file, {json_file} is a folder; add a file name")


class _Bars:
    """Further bars for long work inside a run: told (name, done, total), they come and go."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=total)
        self.progress.update(self.tasks[name], completed=done)
        if done >= total:
            self.progress.remove_task(self.tasks.pop(name))

    def selection(self, done: int, total: int) -> None:
        """Show how the selection of a coreset advances."""
        self("coreset", done, total)


def _row(category: str, varying: list[str], done: Run) -> dict[str, Any]:
    effective = done.record["identity"]["parameters"]
    few = done.record["identity"].get("shots")
    shown = {name: done.record["metrics"].get(name) for name in SHOWN}
    drawn = {} if few is None else {"shots": few["images"], "seed": few["seed"]}
    return {"category": category} | {name: effective[name] for name in varying} | drawn | shown


def _progress(console: Console | None) -> Progress:
    console = console or Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
