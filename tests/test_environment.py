"""One list of packages, one list of versions, and every other place says the same."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import adlib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CORE = [
    "jupyterlab",
    "jupyter-book",
    "papermill",
    "torch",
    "torchvision",
    "numpy",
    "matplotlib",
    "seaborn",
    "pandas",
    "scikit-learn",
]


def names(lines: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): r for r in found}


def test_every_pin_is_one_public_version():
    for name, pin in pins().items():
        (specifier,) = pin.specifier
        assert specifier.operator == "==", name
        # a local version such as 2.13.0+cpu is on no public index
        assert "+" not in specifier.version, name


def test_every_direct_dependency_is_pinned_within_its_bounds():
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *extras["dev"], *extras["slurm"]]
    for requirement in map(Requirement, lines):
        pin = pins().get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} has no line in constraints.txt"
        (specifier,) = pin.specifier
        assert requirement.specifier.contains(specifier.version), f"{requirement} against {pin}"


def test_environment_yml_says_what_pyproject_says():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    listed = names([line for line in pip if not line.startswith("-")])
    assert listed == names(CORE)
    assert listed <= names(PROJECT["dependencies"])
    assert "-c constraints.txt" in pip
    assert "-e .[dev,slurm]" in pip
    (python,) = (e for e in environment["dependencies"] if str(e).startswith("python="))
    version = python.partition("=")[2]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(f"{version}.0")


def test_every_import_is_declared():
    """What the package, the notebooks and the tests import is a declared dependency."""
    extras = PROJECT["optional-dependencies"]
    optional = names(extras["dev"]) | names(extras["bench"]) | names(extras["slurm"])
    declared = names(PROJECT["dependencies"])
    lazy = names(extras["ann"])  # imported when asked for, with a sentence where it is missing
    owners = packages_distributions()
    folders = ("adlib", "benchmarks", "tests")
    ours = {"adlib", *(path.stem for folder in folders for path in (ROOT / folder).rglob("*.py"))}
    for folder, allowed in {
        "adlib": declared | lazy,
        "notebooks": declared,
        "book/_ext": declared,
        "benchmarks": declared | optional,
        "tests": declared | optional,
        "workflow": declared,
    }.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            for module in imported(path) - sys.stdlib_module_names - ours:
                distributions = {canonicalize_name(d) for d in owners.get(module, [module])}
                assert distributions & allowed, f"{path.relative_to(ROOT)} imports {module}"


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def test_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert PROJECT["version"] == adlib.__version__ == citation["version"]
    assert PROJECT["license"] == citation["license"] == "Apache-2.0"


def test_import_is_light():
    """`adlib --help` must not wait for torch."""
    code = "import adlib, sys; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--no-print-directory", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_help_lists_every_command():
    text = (ROOT / "Makefile").read_text("utf-8")
    commands = re.search(r"^\.PHONY: (.*)", text, re.M).group(1).split()
    shown = re.findall(r"^make (\w+)", make().stdout, re.M)
    assert shown == commands


def test_ci_runs_the_tests_without_an_index_of_its_own():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert "make test TORCH_INDEX=" in script.read_text("utf-8")


@pytest.mark.parametrize("index", ["", "https://example.org/whl"])
def test_only_torch_comes_from_the_extra_index(index):
    plan = make("-n", "-W", "constraints.txt", "setup", f"TORCH_INDEX={index}").stdout
    plan = plan.replace("\\\n", " ")
    asked = [line for line in plan.splitlines() if "--extra-index-url" in line]
    assert len(asked) == bool(index)
    assert all(line.endswith("-c constraints.txt torch torchvision") for line in asked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "make records needs the folder"),
        (("ROOT=/nonexistent",), "/nonexistent is not a folder"),
        (("ROOT=.", "TILES=/none"), "/none is not a folder"),
        (("ROOT=.", "WEIGHTS=/nonexistent"), "WEIGHTS=/nonexistent is not there"),
    ],
)
def test_make_records_says_what_is_missing(arguments, message):
    done = make("-o", ".venv/.ready", "records", *arguments)
    assert done.returncode == 2
    assert message in done.stdout
