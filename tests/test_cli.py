"""The command line in its own process image: what it prints, writes and returns."""

from __future__ import annotations

import json
import sys

import pytest
import tiny

from adlib import __version__, cli, records


@pytest.fixture
def adlib(monkeypatch, capfd, tmp_path):
    """Run a command in a folder of its own; gives (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("warnings.formatwarning", None)  # main sets it; put back afterwards

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["adlib", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capfd.readouterr()
        return end.value.code or 0, out, err

    return call


@pytest.fixture
def root(tmp_path):
    tiny.category(tmp_path / "data", "nut")
    return tmp_path / "data"


def test_version_and_help(adlib):
    assert adlib("--version") == (0, f"adlib {__version__}\n", "")
    status, out, _ = adlib("--help")
    assert status == 0 and all(name in out for name in ("evaluate", "run", "params", "report"))
    status, out, _ = adlib("evaluate", "--help")
    assert status == 0
    for option in ("--dataset", "--root", "--category", "--backbone", "--weights", "--device",
                   "--seed", "--set", "--json", "--results", "--force", "--precision"):  # fmt: skip
        assert option in out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["evaluate"],
        ["evaluat", "padim"],
        ["evaluate", "padim", "--sed", "3"],
        ["evaluate", "padim", "--resize", "large"],
        ["evaluate", "padim", "--seed"],
        ["evaluate", "padim", "extra"],
    ],
)
def test_misuse_is_explained_with_status_2_and_no_traceback(words, adlib):
    status, out, err = adlib(*words)
    assert status == 2
    assert "Traceback" not in err and ("Usage" in out + err or "Error" in err)


def test_evaluate_prints_a_table_and_writes_records(adlib, root, tmp_path):
    words = ["evaluate", "padim", "--root", root, *tiny.SMALL, "--set", "dim=5,9", "--seed", "0-1"]
    status, out, err = adlib(*words)
    assert (status, err) == (0, "4 records written to results\n")
    found = records.read_all(tmp_path / "results")
    assert len(found) == 4
    header, *rows = [line.split() for line in out.splitlines()]
    assert header == [
        "category", "dim", "seed", "image_auroc", "pixel_auroc", "aupro", "f1_misclassified",
    ]  # fmt: skip
    assert len(rows) == 4
    by_place = {
        (r["identity"]["parameters"]["dim"], r["identity"]["parameters"]["seed"]): r for r in found
    }
    for category, dim, seed, *values in rows:
        metrics = by_place[int(dim), int(seed)]["metrics"]
        assert category == "nut"
        assert values == [
            *(f"{metrics[name]:.4f}" for name in ("image_auroc", "pixel_auroc", "aupro")),
            str(metrics["f1_misclassified"]),
        ]
    assert adlib(*words)[:2] == (0, out)  # read, not run: the same numbers


def test_the_table_does_not_depend_on_the_width_of_a_pipe_and_small_values_stay(adlib, root):
    words = ["evaluate", "padim", "--root", root, *tiny.SMALL]
    settings = ["dim=5", "reduction=coordinate,gaussian", "eps=0.01,1e-6", "sigma=4,2",
                "image_score=smoothed,raw", "eps_scale=nominal,matched"]  # fmt: skip
    for setting in settings:
        words += ["--set", setting]
    status, out, _ = adlib(*words)
    lines = out.splitlines()
    assert status == 0 and len(lines) == 33
    assert "pixel_auroc" in lines[0] and "1e-06" in out and "…" not in out


def test_json_writes_the_one_record(adlib, root, tmp_path):
    words = ["evaluate", "padim", "--dataset", "mvtec_ad", "--root", root, "--category", "nut"]
    words += [*tiny.SMALL, "--set", "dim=5", "--seed", "3", "--device", "cpu", "--no-cache"]
    status, out, _ = adlib(*words, "--json", "out/one.json")
    record = json.loads((tmp_path / "out" / "one.json").read_text())
    assert status == 0 and record["identity"]["parameters"]["seed"] == 3
    assert not (tmp_path / "results").exists() and not (tmp_path / "cache" / "features").exists()
    assert f"{record['metrics']['pixel_auroc']:.4f}" in out
    first = record["metrics"]
    assert adlib(*words, "--json", "out/one.json")[0] == 0
    assert json.loads((tmp_path / "out" / "one.json").read_text())["metrics"] == first


def test_force_runs_again(adlib, root, tmp_path):
    words = ["evaluate", "padim", "--root", root, *tiny.SMALL, "--set", "dim=5"]
    adlib(*words)
    (path,) = (tmp_path / "results").glob("*/*/*/*.json")
    path.write_text("{")
    status, _, err = adlib(*words)
    assert status == 2 and path.name in err and "delete it" in err
    assert adlib(*words, "--force")[0] == 0
    assert records.read(path)


def test_warnings_are_one_line(adlib, root):
    (root / "nut" / "ground_truth" / "spot" / "001_mask.png").unlink()
    with pytest.warns(UserWarning, match="have no mask"):
        status, out, _ = adlib("evaluate", "padim", "--root", root, *tiny.SMALL, "--set", "dim=5")
    assert status == 0 and out.split()[-3:-1] == ["-", "-"]
    assert cli._warning("no mask", UserWarning, "file.py", 3) == "adlib: warning: no mask\n"


def test_ctrl_c_says_what_remains(adlib, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("adlib.sweep.run", interrupt)
    status, _, err = adlib("evaluate", "padim")
    assert status == 130
    assert (
        err
        == "adlib: interrupted; everything already recorded is complete, the same command goes on\n"
    )


def test_importing_the_command_line_does_not_import_torch():
    import subprocess

    code = "import sys, adlib.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
