"""The benchmarks at tiny size, their ratios, and the tables made from what they write."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from adlib import bench
from adlib.errors import InputError
from adlib.study import bench_report

RUNS = {
    "slow": [{"s": 4.0, "kind": "a"}, {"s": 9.0, "kind": "a"}, {"s": 5.0, "kind": "a"}],
    "fast": [{"s": 2.0, "kind": "b"}, {"s": 3.0, "kind": "b"}, {"s": 1.0, "kind": "b"}],
    "absent": [],
}


def toy(root: Path, drawn: int = 40) -> Path:
    """Write a category of 4 + 4 pictures in MVTec AD's layout: enlarged noise."""
    rng = np.random.default_rng(0)
    names = [f"train/good/{i}" for i in range(4)] + ["test/good/0", "test/good/1"]
    names += ["test/cut/0", "test/cut/1"]
    for name in names:
        path = root / "toy" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = Image.fromarray(rng.integers(0, 256, (drawn, drawn, 3), dtype=np.uint8))
        noise.resize((40, 40)).save(path)
    mask = np.zeros((40, 40), np.uint8)
    mask[12:20, 12:28] = 255
    for i in range(2):
        path = root / "toy" / "ground_truth" / "cut" / f"{i}_mask.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    return root


def script_of(root: Path, name: str) -> Path:
    return root / "benchmarks" / f"{name}.py"


def start(root: Path, name: str, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(script_of(root, name)), "--repeats", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def load(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a script as a module."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", script_of(root, name))
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def report_inside(root: Path, name: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """Run a benchmark with its workers in this process: a new one spends seconds on imports."""
    module = load(root, name, monkeypatch)

    def measure(command: list[str]) -> dict:
        monkeypatch.setattr(sys, "argv", command[1:])
        args = module.options()
        return json.loads(json.dumps(module.work(args.worker, args)))

    monkeypatch.setattr(bench, "_measure", measure)
    monkeypatch.setattr(sys, "argv", [str(script_of(root, name)), "--repeats", "1", *options])
    module.report(module.options())


def written(root: Path, folder: Path, name: str) -> dict:
    """Check what every measurement has, and return it."""
    target = folder / "bench" / f"{name}.json"
    text = target.read_text()
    assert list(target.parent.iterdir()) == [target]
    for path in (root, folder, Path.home(), Path(sys.executable).parent):
        assert str(path) not in text, "a measurement holds no path"
    content = json.loads(text)
    assert content["benchmark"] == name
    assert content["environment"]["threads"] == 1
    assert {"torch", "processor", "python", "memory_gb"} <= content["environment"].keys()
    assert bench_report.bench_tables(folder)
    return content


def json_of(folder: Path, name: str) -> tuple[str, str]:
    return "--json", str(folder / "bench" / f"{name}.json")


# --- the scripts --------------------------------------------------------------------------


@pytest.mark.slow
def test_metrics(root, tmp_path):
    """The whole of it, in processes of their own."""
    options = ("--count", "4", "--sizes", "64", *json_of(tmp_path, "metrics"))
    done = start(root, "metrics", *options)
    assert done.returncode == 0, done.stderr
    content = written(root, tmp_path, "metrics")
    assert [row["size"] for row in content["results"]] == [64]
    for row in content["results"]:
        assert row["largest_difference"] < 1e-12
        one, other = (row["runs"][side][0]["seconds"] for side in ("baseline", "adlib"))
        assert row["time_ratio"]["median"] == pytest.approx(one / other, rel=1e-4)
    assert [aim["met"] for aim in content["aims"]] == [None, None], "only 1024 x 1024 counts"
    assert "4 of 64 x 64" in done.stdout


def test_padim_without_anomalib(root, tmp_path, monkeypatch, capsys):
    """A Python without anomalib: one sentence, and the other sides are measured."""
    options = ("--root", str(toy(tmp_path)), "--category", "toy", "--dim", "5")
    options += (*json_of(tmp_path, "padim"), "--peer-python", "/nowhere")
    report_inside(root, "padim", monkeypatch, *options)
    content = written(root, tmp_path, "padim")
    assert capsys.readouterr().out.startswith(
        "anomalib is not installed in that Python (--peer-python)"
    )
    assert set(content["skipped"]) == {"anomalib_model", "anomalib_engine"}
    assert set(content["medians"]) == {"backbone", "adlib"}
    assert content["settings"] | {"images": [4, 4], "weights": "random"} == content["settings"]
    (ours,), (alone,) = content["runs"]["adlib"], content["runs"]["backbone"]
    assert ours["seconds"] == pytest.approx(ours["fit"] + ours["score"], rel=1e-3)
    assert ours["seconds_with_metrics"] > ours["seconds"]
    ratio = content["ratios"]["adlib_over_backbone"]["median"]
    assert ratio == pytest.approx(ours["seconds"] / alone["seconds"], rel=1e-3)
    assert content["ratios"]["anomalib_engine_over_adlib"] is None
    assert content["aims"][1]["met"] is None


@pytest.mark.slow
@pytest.mark.skipif(find_spec("anomalib") is None, reason="anomalib is not installed")
def test_padim_beside_anomalib(root, tmp_path):
    options = ("--root", str(toy(tmp_path)), "--category", "toy", "--dim", "5")
    done = start(root, "padim", *options, *json_of(tmp_path, "padim"))
    assert done.returncode == 0, done.stderr
    content = written(root, tmp_path, "padim")
    assert len(content["medians"]) == 4
    assert content["maps"]["same_eps_without_border"] < 1e-3


def test_padim_size(root, tmp_path, monkeypatch):
    options = ("--backbone", "resnet18", "--images", "6", "--test", "2", "--size", "32")
    options += ("--dims", "12", "4", *json_of(tmp_path, "padim_size"))
    report_inside(root, "padim_size", monkeypatch, *options)
    content = written(root, tmp_path, "padim_size")
    sides = content["medians"]
    assert set(sides) == {"coordinate-12", "covariances-12", "gaussian-4", "none"}
    positions, n = 8 * 8, 6
    floats = {"coordinate-12": (n + 1) * 12, "covariances-12": 13 * 12, "gaussian-4": 5 * 4}
    for side, count in floats.items():
        drawn = 4 * 448 * 4 if side == "gaussian-4" else 8 * 12
        assert sides[side]["model_mb"] * 1e6 == 4 * positions * count + drawn
    assert content["memory_ratio_covariances"] == pytest.approx(13 * 12 / (5 * 4))
    keys = ("memory_ratio_model", "speed_ratio_without_backbone", "speed_ratio_with_backbone")
    assert all(content[key] > 0 for key in keys)
    for name in ("coordinate-12", "gaussian-4", "none"):
        assert sides[name]["difference"] < 1e-4, "distances equal a plain float64 computation"
    assert {run["form"] for run in content["runs"]["none"]} == {"dual"}


def test_patchcore(root, tmp_path, monkeypatch, capsys):
    """Stages add up, the notebook's rows are there, and two sides of a ratio are of one turn."""
    options = ("--root", str(toy(tmp_path, drawn=4)), "--category", "toy")
    options += (*json_of(tmp_path, "patchcore"), "--peer-python", "/nowhere")
    report_inside(root, "patchcore", monkeypatch, *options)
    content = written(root, tmp_path, "patchcore")
    out = capsys.readouterr().out
    assert out.startswith("anomalib is not installed in that Python (--peer-python)")
    assert set(content["skipped"]) >= {"anomalib-0.01", "anomalib-0.1"}
    rows = {row["setting"]: row for row in content["rows"]}
    assert {"patchcore fraction=0.01", "patchcore subsampler=none", "padim dim=100"} <= set(rows)
    assert {row["method"] for row in rows.values()} == {"patchcore", "padim", "spade", "one_nn"}
    for setting, row in rows.items():
        (run,) = content["runs"][setting]
        spent = row["milliseconds_per_image"]
        assert list(spent) == ["backbone", "embed", "search", "map", "total"]
        assert all(spent[name] > 0 for name in spent), setting
        assert sum(spent.values()) == pytest.approx(2 * spent["total"], rel=1e-4)
        over = row["total_over_backbone"]["median"]
        assert over == pytest.approx(run["total"] / run["backbone"], rel=1e-4)
        assert setting in out
    assert rows["patchcore fraction=0.01"]["members"] == 31, "1 % of 4 x 784"
    assert content["matrix_mb"] == pytest.approx(4e-6 * 784 * 4 * 784, rel=1e-4)
    assert set(content["medians"]) == {"backbone", "adlib-0.01", "adlib-0.1", "memory"}
    assert content["medians"]["memory"]["patches_mb"] == pytest.approx(12.845, rel=1e-4)
    (ours,), (alone,) = content["runs"]["adlib-0.1"], content["runs"]["backbone"]
    assert ours["seconds"] == pytest.approx(ours["fit"] + ours["score"], rel=1e-3)
    assert 0 < ours["select"] < ours["fit"]
    ratio = content["ratios"]["adlib_over_backbone-0.1"]["median"]
    assert ratio == pytest.approx(ours["seconds"] / alone["seconds"], rel=1e-3)
    assert content["ratios"]["anomalib_over_adlib-0.1"] is None
    assert set(content["quality"]) == {"adlib-0.01", "adlib-0.1"}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("anomalib") is None, reason="anomalib is not installed")
def test_patchcore_beside_anomalib(root, tmp_path):
    """The same bank gives the same image scores; a selection that takes long is extrapolated."""
    options = ("--root", str(toy(tmp_path)), "--category", "toy", "--limit", "0")
    done = start(root, "patchcore", *options, *json_of(tmp_path, "patchcore"))
    assert done.returncode == 0, done.stderr
    content = written(root, tmp_path, "patchcore")
    assert content["extrapolated"] == ["anomalib-0.01", "anomalib-0.1"]
    assert content["quality"]["anomalib_same_bank-0.01"]["image_scores_apart"] < 1e-3


def test_stages_of_a_clock(root, monkeypatch):
    """A stage within another counts for itself, but not within a closed one."""
    module = load(root, "patchcore", monkeypatch)
    now = 0.0

    def work(seconds: float, *inner) -> None:
        nonlocal now
        now += seconds
        for function, *arguments in inner:
            function(*arguments)

    monkeypatch.setattr(module.time, "process_time", lambda: now)
    clock = module.Clock()
    embed, search = clock.of("embed", work), clock.of("search", work)
    closed = clock.of("search", work, closed=True)
    search(1.0, (embed, 2.0), (closed, 4.0, (embed, 8.0)), (embed, 16.0))
    closed(32.0)
    embed(64.0)
    assert clock.seconds == {"backbone": 0.0, "embed": 2.0 + 16.0 + 64.0, "search": 45.0}


@pytest.mark.slow
def test_diffusion(root, tmp_path, monkeypatch, capsys):
    """Every side is there, a ratio is of one turn, and operations are those of the networks."""
    options = ("--quick", "--presets", "tiny", *json_of(tmp_path, "diffusion"))
    report_inside(root, "diffusion", monkeypatch, *options)
    content = written(root, tmp_path, "diffusion")
    found = content["presets"]["tiny"]
    assert found["batch"]["diffusion"] == 4 and found["preset_batch"]["diffusion"] == 16
    for name in ("train", "compression", "ddim", "ddpm"):
        (ours,), (plain,) = found["runs"][name], found["runs"][f"{name} plain"]
        expected = plain["seconds"] / ours["seconds"]
        assert found["ratios"][name]["median"] == pytest.approx(expected, rel=1e-4)
    (step,), (encoding,) = found["runs"]["train"], found["runs"]["train encoding"]
    expected = encoding["seconds"] / step["seconds"]
    assert found["ratios"]["encoding"]["median"] == pytest.approx(expected, rel=1e-4)
    best = min(found["runs"][side][0]["seconds"] for side in ("product", "product numpy"))
    row = next(r for r in found["share"] if r["pass"] == "both" and r["batch"] == 4)
    spent = found["runs"]["both 4"][0]["seconds"]
    assert row["share"] == pytest.approx(found["flops"]["both"] * best / spent, rel=1e-3)
    assert len(content["aims"]) == 4
    assert [row["setting"] for row in content["score"]][-1].startswith("DDPM-201")
    latent, same, *_ = content["spaces"]
    assert 12 < same["flops"] / latent["flops"] <= 16, "16 times as many places"
    assert len(content["losses"]) == 6, "three networks in two precisions"
    out = capsys.readouterr().out
    assert "smaller than the preset's for tiny: 4 instead of 16" in out
    assert "| reconstruction, DDIM, 5 steps" in out


def test_steps_are_timed_between_reports(root, monkeypatch):
    """What comes before the clock starts does not count; then one step costs what its loss does."""
    module = load(root, "diffusion", monkeypatch)
    now, asked = 0.0, 0
    monkeypatch.setattr(module.time, "process_time", lambda: now)
    network = torch.nn.Linear(1, 1)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        nonlocal now, asked
        asked += 1
        now += 100.0 if asked <= 2 else 1.0
        return network(batch).square().mean()

    size = module.QUICK._replace(warm=2, steps=3)
    plan = module.training.Plan(steps=50, batch=2, lr=1e-3, ema=0.9)
    data = torch.ones(6, 1)
    for side in (
        module.our_steps(network, lambda *parts: {"loss": loss(parts[0])}, data, plan, size),
        module.plain_steps(network, loss, data, plan, size),
    ):
        asked = 0
        assert side() == 1.0
        assert asked == 5, "the loop stops after the steps that are wanted"


def test_sides_turn_round(root, monkeypatch):
    """The first of a turn is the last of the next: none always runs after the same one."""
    module = load(root, "diffusion", monkeypatch)
    called = []
    sides = {name: lambda name=name: called.append(name) or len(called) for name in "abc"}
    runs = module.in_turn(sides, 2)
    assert called == list("abccba")
    assert runs["a"] == [{"seconds": 1}, {"seconds": 6}]


def test_operations_are_counted(root, monkeypatch):
    """Two for a multiplication and an addition; fused attention, which has two products, too."""
    module = load(root, "diffusion", monkeypatch)
    convolution = torch.nn.Conv2d(3, 5, 3, padding=1)
    image = torch.zeros(2, 3, 8, 8)
    assert module.flops(lambda: convolution(image)) == 2 * 2 * 64 * 9 * 3 * 5
    q = torch.zeros(2, 4, 16, 8)
    attention = torch.nn.functional.scaled_dot_product_attention
    assert module.flops(lambda: attention(q, q, q)) == 2 * 2 * (2 * 4 * 16 * 16 * 8)


def test_the_plain_chain_is_the_same_chain(root, monkeypatch):
    """With the same noise, diffusers' own loop and ours give the same reconstruction."""
    module = load(root, "diffusion", monkeypatch)
    torch.manual_seed(0)
    diffusion = module.Diffusion(3, 8, (8, 8, 8)).eval()
    clean = torch.randn(3, 3, 8, 8)
    chain = module.Chain("ddim", module.STRIDE)
    ours = diffusion.reconstruct(clean, 200, seeds=range(3), chain=chain)
    rngs = [module.training.generator(0, 0, 200, i) for i in range(3)]
    noise = torch.cat([torch.randn(1, 3, 8, 8, generator=rng) for rng in rngs])
    theirs = module.plain_chain(diffusion.network, clean, noise, 200, "ddim")
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    # the last index of Eq. 9 draws nothing, so a chain of one step is the same for DDPM
    ours = diffusion.reconstruct(clean, 0, seeds=range(3), chain=module.Chain("ddpm"))
    rngs = [module.training.generator(0, 0, 0, i) for i in range(3)]
    noise = torch.cat([torch.randn(1, 3, 8, 8, generator=rng) for rng in rngs])
    theirs = module.plain_chain(diffusion.network, clean, noise, 0, "ddpm")
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name, options, sentence",
    [
        ("padim", ("--root", "/nowhere"), "needs the folder that holds its categories"),
        ("patchcore", ("--root", "/nowhere"), "needs the folder that holds its categories"),
        ("padim_size", ("--images", "1"), "at least 2 training images"),
        ("metrics", ("--repeats", "0"), "--repeats must be at least 1, found 0"),
    ],
)
def test_bad_input_is_one_sentence(root, name, options, sentence):
    done = start(root, name, *options)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert sentence in done.stderr


def test_a_side_that_does_not_fit_is_left_out(root, monkeypatch):
    module = load(root, "padim_size", monkeypatch)
    free = type("Memory", (), {"available": 8e9})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(sys, "argv", ["padim_size.py"])
    stored = {"train": 209, "shapes": [[56, 56, 256], [28, 28, 512], [14, 14, 1024]]}
    skipped = module.short_of_memory(module.options(), stored)
    assert list(skipped) == ["none"], "4.7 GB of reduced features and as much of factors"
    assert skipped["none"].endswith("11.4 GB of free memory, found 8.0 GB")


# --- what they share ----------------------------------------------------------------------


def test_ratio_is_taken_within_turns():
    """Median of (2, 3, 5), not the ratio of the medians 5 and 2."""
    found = bench.ratio(RUNS, "slow", "fast", "s")
    assert found == {"median": 3.0, "lowest": 2.0, "highest": 5.0}
    assert bench.ratio(RUNS, "slow", "fast", lambda run: run["s"] ** 2)["highest"] == 25.0
    assert bench.ratio(RUNS, "slow", "absent", "s") is None
    assert bench.ratio(RUNS, "slow", "unknown", "s") is None


def test_medians_of_numbers_only():
    runs = {"slow": [run | {"flag": True} for run in RUNS["slow"]]}
    assert bench.medians(runs) == {"slow": {"s": 5.0}}


@pytest.mark.parametrize(
    "value, sense, met",
    [
        (1.3, "at most", True),
        (1.31, "at most", False),
        (1.3, "at least", True),
        (None, "at most", None),
    ],
)
def test_aim(value, sense, met):
    assert bench.Aim("x", value, sense, 1.3).met is met


WORKER = """
import json, os, sys
side = sys.argv[-1]
if side == "refused":
    print("script.py: the rule was broken", file=sys.stderr); sys.exit(2)
if side == "broken":
    raise ZeroDivisionError
print("chatter")
print(json.dumps({"side": side, "pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}))
"""


def test_sides_alternate_in_processes_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    script = tmp_path / "script.py"
    script.write_text(WORKER)
    started = []
    measure = bench._measure
    monkeypatch.setattr(bench, "_measure", lambda c: started.append(c[-1]) or measure(c))
    runs = bench.alternate(script, dict.fromkeys("ab", sys.executable), [], 2)
    assert started == ["a", "b", "a", "b"]
    every = [run for side in runs.values() for run in side]
    assert len({run["pid"] for run in every}) == 4
    assert {run["threads"] for run in every} == {"1"}
    with pytest.raises(InputError, match="^the rule was broken$"):
        bench.alternate(script, {"refused": sys.executable}, [], 1)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        bench.alternate(script, {"broken": sys.executable}, [], 1)


def test_results_are_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new" / "x.json"
    bench.write(target, "x", [bench.Aim("a", 2.0, "at most", 1.0)], {"value": [1 / 3, {"n": 2}]})
    content = json.loads(target.read_text())
    assert content["value"] == [0.333333, {"n": 2}]
    assert content["aims"][0]["met"] is False
    before = target.read_bytes()
    with pytest.raises(TypeError):
        bench.write(target, "x", [], {"value": object()})
    assert target.read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="must go to a file that can be written"):
        bench.write(tmp_path / "file" / "x.json", "x", [], {})


# --- tables -------------------------------------------------------------------------------


def test_no_measurement_is_a_sentence(tmp_path):
    assert bench_report.bench_tables(tmp_path) == "Nothing is recorded yet; `make bench` measures."


@pytest.mark.parametrize("text", ["{", "[]", '{"benchmark": "padim"}'])
def test_a_file_that_is_no_measurement(tmp_path, text):
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "padim.json").write_text(text)
    with pytest.raises(InputError, match=r"padim\.json .*run `make bench` again"):
        bench_report.bench_tables(tmp_path)


def test_tables_of_the_committed_measurements(root):
    """Every committed file is shown, its aims first, and each table row is complete."""
    text = bench_report.bench_tables(root / "results")
    files = sorted((root / "results" / "bench").glob("*.json"))
    for path in files:
        content = json.loads(path.read_text())
        assert path.stem == content["benchmark"]
        assert f"**{bench_report.SECTIONS[path.stem][0]}**" in text
        assert all(aim["what"] in text for aim in content["aims"])
        assert "/" not in content["environment"]["processor"]
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 1
    assert not any(line.startswith("#") for line in text.splitlines()), "a fragment has no heading"


def test_a_table_is_aligned_markdown():
    text = bench.table([["side", "s"], ["a", "10.0"], ["long one", "–"]])
    assert text.splitlines() == [
        "| side     |    s |",
        "| -------- | ---: |",
        "| a        | 10.0 |",
        "| long one |    – |",
    ]
