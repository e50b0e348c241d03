"""The plan of the workflow, on a tiny stand-in for the project.

The stand-in holds the real workflow between two empty notebooks and commands that only write their
output.  Snakemake plans inside this process: starting it takes seconds, a plan hundredths of one.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ("one", "two")
COMMANDS = {
    "adlib": """#!/bin/sh
case $1 in
  run) echo '{}' > "$6" ;;
  report) mkdir -p "$3" && touch "$3/table.md" ;;
esac
""",
    "jupyter-book": """#!/bin/sh
mkdir -p _build/html && touch _build/html/index.html
""",
}


def plan_in(folder: Path, *arguments: str) -> tuple[int, str]:
    """Return the status and the output of a dry run of Snakemake in a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are Snakemake's own
        from snakemake.cli import main

        text = io.StringIO()
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stdout(text),
            contextlib.redirect_stderr(text),
            pytest.raises(SystemExit) as ended,
        ):
            main(["--cores", "2", "--dry-run", "--nolock", *arguments])
    return ended.value.code or 0, text.getvalue()


def jobs(text: str) -> list[str]:
    """Return the messages of the planned jobs."""
    return sorted(re.findall(r"^Job \d+: (.*)", text, re.M))


class Project:
    """A copy of the workflow around two empty notebooks."""

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def create(cls, folder: Path) -> Project:
        project = cls(folder)
        shutil.copytree(ROOT / "workflow", folder / "workflow")
        for name in NOTEBOOKS:
            project.write(f"notebooks/{name}.ipynb", "{}")
            project.write(f"params/quick/{name}.yaml", "seed: 1\n")
        for name in ("_config.yml", "constraints.txt", "book/_toc.yml", "book/claims.yaml"):
            project.write(name, "")
        project.write("book/index.md", "")
        project.write("adlib/method.py", "")
        project.write("adlib/record.schema.json", "{}")
        project.write("benchmarks/speed.py", "")
        project.write("results/mvtec_ad/bottle/padim/a-1.json", "{}")
        project.write("results/mvtec_ad/bottle/padim/b-2.json", "{}")
        project.write("results/reported.csv", "method,value\n")
        project.sweep([])
        return project

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def sweep(self, entries: list[dict]) -> None:
        self.write("params/records.yaml", yaml.safe_dump(entries, sort_keys=False))

    def plan(self, *arguments: str) -> list[str]:
        status, text = plan_in(self.folder, *arguments)
        assert status == 0, text
        return jobs(text)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run the workflow itself, not a plan of it."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def use_stand_ins(self) -> None:
        """Put commands that only write their output before the real ones."""
        for name, text in COMMANDS.items():
            self.write(f"commands/{name}", text)
            (self.folder / "commands" / name).chmod(0o755)
        self.write("workflow/scripts/check_book.py", "")
        snakefile = self.folder / "workflow/Snakefile"
        text = snakefile.read_text(encoding="utf-8")
        assert text.count("export PATH=") == 1
        text = text.replace("export PATH=", f"export PATH='{self.folder / 'commands'}':")
        snakefile.write_text(text, encoding="utf-8")


SITE = "build and check the book"
TABLES = "write the tables that come from records"
RECORDS = "list the records"
PAGES = [SITE, TABLES, "run one", "run two"]
ALL = sorted([RECORDS, *PAGES])


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a project whose book was built by a real run of the workflow."""
    built = Project.create(tmp_path_factory.mktemp("built") / "project")
    built.use_stand_ins()
    assert built.plan("book") == ALL
    status, text = built.run("book")
    assert status == 0, text
    assert built.plan("book") == []
    return built


@pytest.fixture
def copy(built, tmp_path):
    return Project(Path(shutil.copytree(built.folder, tmp_path / "project")))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("params/quick/one.yaml", ["run one", SITE]),
        ("notebooks/two.ipynb", ["run two", SITE]),
        ("book/index.md", [SITE]),
        ("book/claims.yaml", [TABLES, SITE]),
        ("adlib/method.py", PAGES),
        ("results/mvtec_ad/bottle/padim/a-1.json", ALL),
        ("results/mvtec_ad/bottle/padim/new-3.json", ALL),
        ("results/reported.csv", ALL),
    ],
)
def test_a_change_repeats_what_depends_on_it(copy, name, expected):
    copy.write(name, "seed: 2\n")
    assert copy.plan("book") == sorted(expected)


def test_a_record_that_is_gone_repeats_what_read_it(copy):
    (copy.folder / "results/mvtec_ad/bottle/padim/b-2.json").unlink()
    assert copy.plan("book") == ALL


def test_a_fresh_clone_plans_nothing_on_real_data(project):
    project.sweep([ENTRY])
    assert project.plan("book") == ALL


def test_the_book_of_the_study_runs_every_notebook():
    status, text = plan_in(ROOT, "--forceall", "book")
    assert status == 0, text
    planned = {job.removeprefix("run ") for job in jobs(text) if job.startswith("run ")}
    assert planned == {path.stem for path in (ROOT / "notebooks").glob("*.py")}


ENTRY = {
    "method": "padim",
    "dataset": "mvtec_ad",
    "category": ["bottle", "screw"],
    "backbone": ["resnet18", "efficientnet_lite0"],
    "seed": "0-4",
    "set": {"reduction": ["coordinate", "gaussian"], "dim": 100, "eps_scale": "nominal"},
}


def test_a_sweep_is_one_command_for_each_category_and_backbone(project, tmp_path):
    project.sweep([ENTRY])
    project.write("weights/resnet18-x.safetensors", "")
    settings = ["--config", f"root={tmp_path}", f"weights={project.folder}/weights", "device=cpu"]
    status, text = plan_in(project.folder, "records", *settings)
    assert status == 0, text
    commands = sorted(" ".join(c.split()) for c in re.findall(r"adlib evaluate.*", text))
    assert len(commands) == 4
    weights = f"--weights '{project.folder}/weights/resnet18-x.safetensors' "
    common = "--set reduction=coordinate,gaussian --set dim=100 --set eps_scale=nominal --seed 0-4"
    for command, (category, backbone) in zip(
        commands,
        [(c, b) for c in ("bottle", "screw") for b in ("efficientnet_lite0", "resnet18")],
        strict=True,
    ):
        assert command == (
            f"adlib evaluate padim --dataset mvtec_ad --root '{tmp_path}' --category {category} "
            f"--backbone {backbone} {weights if backbone == 'resnet18' else ''}"
            f"--device cpu {common}"
        )


def test_a_sweep_that_was_cut_short_goes_on(project, tmp_path):
    project.sweep([{**ENTRY, "backbone": "resnet18"}])
    settings = ["records", "--config", f"root={tmp_path}"]
    before = project.plan(*settings)
    assert len(before) == 2
    job = before[0].removeprefix("evaluate ")
    project.write(f"build/records/{job}.done", "")
    assert project.plan(*settings) == before[1:]


def test_slurm_gets_the_same_plan(project, tmp_path):
    project.sweep([ENTRY])
    profile = ["--workflow-profile", "workflow/profiles/slurm"]
    settings = ["records", *profile, "--config", f"root={tmp_path}"]
    status, text = plan_in(project.folder, *settings)
    assert status == 0, text
    assert len([job for job in jobs(text) if job.startswith("evaluate")]) == 4
    assert len(project.plan("book", *profile)) == len(ALL)


@pytest.mark.parametrize(
    ("entries", "settings", "message"),
    [
        ([ENTRY], [], "make records ROOT=FOLDER"),
        ([{**ENTRY, "dims": 5}], ["root=x"], "entry 1 has the fields"),
        ([{k: v for k, v in ENTRY.items() if k != "seed"}], ["root=x"], "it needs"),
        ([ENTRY], ["root=x", "weights=two"], "several files for resnet18: resnet18-a, resnet18-b"),
    ],
)
def test_a_sweep_that_cannot_run_says_why(project, entries, settings, message):
    project.sweep(entries)
    for name in ("a", "b"):
        project.write(f"two/resnet18-{name}", "")
    settings = ["--config", *settings] if settings else []
    status, text = plan_in(project.folder, "records", *settings)
    assert status != 0
    assert message in text


def test_the_sweep_of_the_study_is_well_formed(tmp_path):
    status, text = plan_in(ROOT, "--forceall", "records", "--config", f"root={tmp_path}")
    assert status == 0, text


def test_every_benchmark_is_planned(project):
    project.write("benchmarks/memory.py", "")
    assert project.plan("bench") == ["measure memory", "measure speed"]


def test_a_notebook_that_fails_stops_the_book(project):
    cells = [
        nbformat.v4.new_code_cell("seed: int = 1  # seed", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("raise RuntimeError('it broke')"),
    ]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    node = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    for number, cell in enumerate(node.cells):
        cell["id"] = str(number)
    project.write("notebooks/one.ipynb", json.dumps(node))
    status, text = project.run("book/executed/one.ipynb")
    assert status != 0
    assert "it broke" in text
    assert not (project.folder / "book/executed/one.ipynb").exists()
