"""The training loop: against a plain one, stopped at every moment, and with bad input."""

from __future__ import annotations

import copy
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adlib import model_file
from adlib.diffusion import training
from adlib.diffusion.training import Batches, Plan, generator, train
from adlib.errors import InputError

PLAN = Plan(steps=23, batch=8, lr=0.05)
DATA = torch.randn((37, 6), generator=torch.Generator().manual_seed(0))


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    """Tell whether two networks agree in every bit, buffers included."""
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class StoppedError(Exception):
    """What a test raises in the middle of a training."""


class Small(nn.Module):
    """A layer, and a buffer that follows the data."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layer, self.norm = nn.Linear(6, 6), nn.BatchNorm1d(6)

    def loss(self, batch: Tensor, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        noise = torch.randn(batch.shape, generator=rng)
        error = (self.layer(self.norm(batch + noise)) - batch).square().mean()
        return {"loss": error + 0.001 * step, "error": error}


class Judge(nn.Module):
    """An opponent that joins after some steps."""

    def __init__(self, start: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.layer = nn.Linear(6, 1)
        self.start = start

    def loss(self, batch: Tensor, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        if step < self.start:
            return {}
        noise = torch.randn(batch.shape, generator=rng)
        return {"loss": self.layer(batch - noise).square().mean()}


@pytest.fixture
def eager(monkeypatch):
    """Write a checkpoint at each look at the loss, which do not all give a point of the curve."""
    monkeypatch.setattr(training, "CHECK_EVERY", 2)
    monkeypatch.setattr(training, "CURVE_POINTS", 3)
    monkeypatch.setattr(training, "SAVE_SECONDS", -1.0)


LOOKS = [0, 2, 4, 6, 7, 9, 11, 13, 14, 16, 18, 20, 21, 23]  # of 23 steps, where `eager`


def run(network: nn.Module, plan: Plan = PLAN, **options) -> training.Trained:
    return train("toy", network, network.loss, DATA, plan, **{"seed": 5, **options})


# --- what it computes -------------------------------------------------------------------


def plain(plan: Plan, data: Tensor = DATA, seed: int = 5) -> tuple[Small, nn.Module]:
    """The same updates by the textbook: last weights, and their average."""
    network = Small()
    optimizer = torch.optim.Adam(network.parameters(), plan.lr, betas=(0.9, 0.99), fused=False)
    average = {name: p.detach().double() for name, p in network.named_parameters()}
    warm = max(1, round(0.05 * plan.steps))
    batches = Batches(len(data), plan.batch, seed, "toy")
    for step in range(plan.steps):
        rate = (step + 1) / warm
        if step >= warm:
            rate = 0.5 + 0.5 * math.cos(math.pi * (step - warm) / (plan.steps - warm))
        optimizer.param_groups[0]["lr"] = plan.lr * rate
        optimizer.zero_grad()
        rng = generator(seed, "toy", step)
        network.loss(data[batches.rows(step)], rng, step)["loss"].backward()
        norm = sum(float(p.grad.square().sum()) for p in network.parameters()) ** 0.5
        for p in network.parameters():
            p.grad *= min(1.0, 1.0 / norm)
        optimizer.step()
        if plan.ema is not None:
            share = min(plan.ema, (2 + step) / (11 + step))
            for name, p in network.named_parameters():
                average[name] = share * average[name] + (1 - share) * p.detach().double()
    averaged = copy.deepcopy(network)
    averaged.load_state_dict({k: v.float() for k, v in average.items()}, strict=False)
    return network, averaged


@pytest.mark.parametrize("ema", [None, 0.0, 0.6, 0.999])
def test_the_weights_are_those_of_a_plain_loop(ema):
    plan = Plan(PLAN.steps, PLAN.batch, PLAN.lr, ema)
    network = Small()
    run(network, plan)
    last, averaged = plain(plan)
    wanted = (last if ema is None else averaged).state_dict()
    for name, found in network.state_dict().items():
        torch.testing.assert_close(found, wanted[name], atol=2e-5, rtol=1e-4, msg=name)
    assert not network.training


def test_the_average_is_used_not_the_last_weights():
    averaged, last = Small(), Small()
    run(averaged, Plan(PLAN.steps, PLAN.batch, PLAN.lr, 0.9))
    run(last)
    assert not torch.allclose(averaged.layer.weight, last.layer.weight, atol=1e-3)
    torch.testing.assert_close(averaged.norm.running_mean, last.norm.running_mean)


def test_large_gradients_are_clipped():
    """Adam does not see the scale of a gradient, but its history: one huge step must not stay."""
    seen = []

    class Probe(Small):
        def loss(self, batch, rng, step):
            seen.append([p.grad for p in self.parameters()])
            return {"loss": 1e4 * super().loss(batch, rng, step)["loss"]}

    run(Probe(), Plan(3, 8, 1e-3))
    for gradients in seen[1:]:
        norm = sum(float(g.square().sum()) for g in gradients) ** 0.5
        assert norm == pytest.approx(1, rel=1e-4)


def test_the_seed_decides_everything_and_the_global_generator_nothing():
    networks = []
    for seed in (5, 5, 6):
        network = Small()
        state = torch.get_rng_state()
        run(network, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        torch.rand(3)
        networks.append(network)
    assert same_weights(networks[0], networks[1])
    assert not same_weights(networks[0], networks[2])


def test_the_learning_rate_rises_then_falls():
    plan = Plan(steps=1000, batch=1, lr=0.4)
    rates = [plan.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.4 / 50)
    np.testing.assert_allclose(rates[:50], 0.4 * np.arange(1, 51) / 50)
    phase = np.arange(950) / 950
    np.testing.assert_allclose(rates[50:], 0.4 * np.cos(np.pi * phase / 2) ** 2, atol=1e-9)
    assert 0 < rates[-1] < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_short_trainings_have_a_rate_too(steps):
    rates = [Plan(steps, 1, 0.1).rate(step) for step in range(steps)]
    assert rates[0] == pytest.approx(0.1)
    assert all(0 < rate <= 0.1 for rate in rates)


def test_every_image_is_seen_once_an_epoch():
    batches = Batches(40, 8, seed=0, name="toy")
    orders = []
    for epoch in range(3):
        rows = [batches.rows(5 * epoch + place) for place in range(5)]
        assert all(len(part) == 8 for part in rows)
        orders.append(torch.cat(rows).tolist())
        assert sorted(orders[-1]) == list(range(40))
    assert orders[0] != orders[1] != orders[2]


def test_what_does_not_fill_a_batch_is_left_out_of_that_epoch_only():
    batches = Batches(37, 8, seed=0, name="toy")
    seen = Counter()
    for epoch in range(40):
        rows = torch.cat([batches.rows(4 * epoch + place) for place in range(4)]).tolist()
        assert len(set(rows)) == 32
        seen.update(rows)
    assert len(seen) == 37


def test_batches_do_not_depend_on_what_was_asked_before():
    forward, backward = (Batches(40, 8, 3, "toy") for _ in range(2))
    wanted = {step: forward.rows(step).tolist() for step in range(12)}
    assert {step: backward.rows(step).tolist() for step in reversed(range(12))} == wanted
    assert Batches(40, 8, 4, "toy").rows(0).tolist() != wanted[0]
    assert Batches(40, 8, 3, "other").rows(0).tolist() != wanted[0]


def test_a_generator_belongs_to_its_words():
    def draw(*words) -> tuple:
        return tuple(torch.rand(4, generator=generator(*words)).tolist())

    first = draw(0, "toy", 3)
    torch.rand(7)
    draw(1, "other")
    assert draw(0, "toy", 3) == first
    others = [draw(1, "toy", 3), draw(0, "toy", 4), draw(0, "toz", 3), draw(0, 3, "toy"),
              draw(0, "toy")]  # fmt: skip
    assert len({first, *others}) == 6
    assert generator(0, 4_294_967_295).device.type == "cpu"


def test_the_curve_averages_the_parts_of_the_loss():
    losses = []

    class Told(Small):
        def loss(self, batch, rng, step):
            parts = super().loss(batch, rng, step)
            losses.append(float(parts["error"].detach()))
            return parts

    done = run(Told(), Plan(steps=120, batch=8, lr=1e-3))
    assert done.curve["step"] == list(range(2, 121, 2))
    wanted = np.reshape(losses, (-1, 2)).mean(axis=1)
    np.testing.assert_allclose(done.curve["error"], wanted, rtol=1e-4)
    assert done.curve.keys() == {"step", "loss", "error"}
    assert done.seconds >= 0


def test_progress_is_told_after_every_step():
    told = []
    run(Small(), progress=lambda *step: told.append(step))
    assert told == [("toy", step, 23) for step in range(1, 24)]


def test_bfloat16_learns_the_same_within_its_precision():
    losses = {}
    for precision in ("float32", "bfloat16"):
        plan = Plan(120, 8, 0.02, precision=precision)
        network = Small()
        losses[precision] = run(network, plan).curve["error"]
        assert network.layer.weight.dtype == torch.float32
    assert losses["bfloat16"] != losses["float32"]
    assert np.mean(losses["bfloat16"][-10:]) == pytest.approx(
        np.mean(losses["float32"][-10:]), rel=0.03
    )


# --- stopped and gone on ----------------------------------------------------------------


def stop_at(step: int, error: type[BaseException]):
    def progress(name: str, done: int, total: int) -> None:
        if done == step:
            raise error

    return progress


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("stops", [(1,), (2,), (7,), (22,), (23,), (5, 6, 12, 21)])
def test_a_training_that_was_stopped_ends_the_same(stops, ema, tmp_path):
    plan = Plan(PLAN.steps, PLAN.batch, PLAN.lr, ema)
    whole = Small()
    wanted = run(whole, plan)
    file = tmp_path / "toy.safetensors"
    for number, step in enumerate(stops):
        error = KeyboardInterrupt if number % 2 else StoppedError
        with pytest.raises(error):
            run(Small(seed=number), plan, checkpoint=file, progress=stop_at(step, error))
            # other weights each time: those of the checkpoint count
            pytest.fail("not stopped")
        if not file.is_file():
            assert step == 1  # before the first look at the loss
    told = []
    network = Small(seed=99) if file.is_file() else Small()
    found = run(network, plan, checkpoint=file, progress=lambda *s: told.append(s[1]))
    assert same_weights(network, whole)
    assert found.curve == wanted.curve
    last = max(step for step in LOOKS if step <= max(stops))
    assert told == list(range(last + 1, 24))  # nothing is done twice that a checkpoint holds


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("step", [4, 9, 12, 17])
def test_an_opponent_goes_on_as_well(step, tmp_path):
    def both(seed: int, **options) -> tuple[Small, Judge]:
        network, judge = Small(seed), Judge(start=10)
        if seed:
            judge.layer.weight.data.zero_()
        run(network, opponent=(judge, judge.loss), **options)
        return network, judge

    whole = both(0)
    assert not same_weights(whole[1], Judge(10))
    file = tmp_path / "toy.safetensors"
    with pytest.raises(StoppedError):
        both(0, checkpoint=file, progress=stop_at(step, StoppedError))
    found = both(1, checkpoint=file)
    assert all(same_weights(*pair) for pair in zip(found, whole, strict=True))


def test_an_opponent_learns_after_the_network_in_each_step():
    network, judge, calls = Small(), Judge(start=3), []

    def own(batch, rng, step):
        calls.append(("network", step))
        return network.loss(batch, rng, step)

    def others(batch, rng, step):
        calls.append(("judge", step))
        return judge.loss(batch, rng, step)

    before = judge.layer.weight.clone()
    done = train("toy", network, own, DATA, Plan(4, 8, 0.01), seed=5, opponent=(judge, others))
    assert calls == [(who, step) for step in range(4) for who in ("network", "judge")]
    assert "opponent_loss" in done.curve
    assert not torch.equal(judge.layer.weight, before)
    alone = Small()
    run(alone, Plan(4, 8, 0.01))
    assert torch.equal(alone.layer.weight, network.layer.weight)


def test_a_finished_training_is_not_repeated(tmp_path):
    file = tmp_path / "toy.safetensors"
    network = Small()
    done = run(network, Plan(PLAN.steps, PLAN.batch, PLAN.lr, 0.9), checkpoint=file)
    before = file.read_bytes()
    again = Small(seed=3)
    found = train("toy", again, lambda *args: pytest.fail("trained"), DATA,
                  Plan(PLAN.steps, PLAN.batch, PLAN.lr, 0.9), seed=5, checkpoint=file)  # fmt: skip
    assert same_weights(network, again) and not again.training
    assert found.curve == done.curve
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["toy.safetensors"]


def test_checkpoints_are_written_now_and_then(tmp_path, monkeypatch):
    clock, written = [0.0], []
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])
    write = model_file.write

    def told(path, tensors, description):
        written.append(description["step"])
        write(path, tensors, description)

    monkeypatch.setattr(model_file, "write", told)

    def tick(name: str, done: int, total: int) -> None:
        clock[0] += 1

    run(Small(), Plan(100, 8, 0.01), checkpoint=tmp_path / "toy.safetensors", progress=tick)
    assert written[-1] == 100
    assert all(31 <= b - a <= 51 for a, b in zip([0, *written], written[:-1], strict=False))
    assert len(written) in (3, 4)


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_training as t
t.training.CHECK_EVERY, t.training.SAVE_SECONDS = 2, -1.0
def slowly(name, done, total):
    print(done, flush=True)
    time.sleep(0.02)
t.run(t.Small(), t.Plan(60, 8, 0.05, 0.9), checkpoint=Path({file!r}), progress=slowly)
"""


def test_a_kill_in_the_middle_of_a_training(tmp_path):
    """SIGKILL at a moment of its own choosing: while a file is written, for example."""
    file = tmp_path / "toy.safetensors"
    text = CHILD.format(tests=str(Path(__file__).parent), file=str(file))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, env=environment
    ) as child:
        for _ in range(8):
            assert child.stdout.readline()
        time.sleep(0.031)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    plan = Plan(60, 8, 0.05, 0.9)
    step = model_file.read(file)[1]["step"]
    assert 7 <= step < 60
    network, whole = Small(seed=9), Small()
    told = []
    found = run(network, plan, checkpoint=file, progress=lambda *s: told.append(s[1]))
    assert told[0] == step + 1
    assert found.curve == run(whole, plan).curve
    assert same_weights(network, whole)


# --- bad input --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 7])
def test_fewer_images_than_a_batch(n):
    network = Small()
    with pytest.raises(InputError, match=f"at least one batch of 8 images, found {n};"):
        train("toy", network, network.loss, DATA[:n], PLAN, seed=0)


@pytest.mark.parametrize(
    ("plan", "config", "said"),
    [
        (Plan(24, 8, 0.05), {"widths": 3}, "steps is 23 there and 24 here"),
        (Plan(23, 9, 0.05), {"widths": 3}, "batch is 8 there and 9 here"),
        (Plan(23, 8, 0.04), {"widths": 3}, "lr is 0.05 there and 0.04 here"),
        (Plan(23, 8, 0.05, 0.9), {"widths": 3}, "ema is None there and 0.9 here"),
        (Plan(23, 8, 0.05, None, "bfloat16"), {"widths": 3}, "precision is float32 there"),
        (PLAN, {"widths": 4}, "widths is 3 there and 4 here"),
        (PLAN, {}, "widths is 3 there and None here"),
        (PLAN, {"widths": 3, "codes": 9}, "codes is None there and 9 here"),
    ],
)
def test_a_checkpoint_of_another_configuration(plan, config, said, tmp_path):
    file = tmp_path / "toy.safetensors"
    run(Small(), checkpoint=file, config={"widths": 3})
    before = file.read_bytes()
    with pytest.raises(InputError, match="another configuration: " + said):
        run(Small(), plan, checkpoint=file, config=config)
    assert file.read_bytes() == before


def test_foreign_and_damaged_checkpoints(tmp_path):
    file = tmp_path / "toy.safetensors"
    run(Small(), checkpoint=file)
    with pytest.raises(InputError, match="is no checkpoint of the other"):
        train("other", Small(), Small().loss, DATA, PLAN, seed=5, checkpoint=file)
    content = file.read_bytes()
    for bad in (content[:-9], b"", b"garbage", content[:-1] + bytes([content[-1] ^ 1])):
        file.write_bytes(bad)
        with pytest.raises(InputError, match="toy.safetensors.*delete it, and the training starts"):
            run(Small(), checkpoint=file)
        assert file.read_bytes() == bad
    model_file.write(file, {}, {"method": "padim"})
    with pytest.raises(InputError, match="is no checkpoint of the toy"):
        run(Small(), checkpoint=file)


def test_a_checkpoint_in_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="could not be written"):
        run(Small(), checkpoint=tmp_path / "none" / "toy.safetensors")


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("at", "value"), [(0, "nan"), (9, "nan"), (10, "inf"), (22, "-inf")])
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(at, value, tmp_path):
    class Breaking(Small):
        def loss(self, batch, rng, step):
            parts = super().loss(batch, rng, step)
            return {"loss": parts["loss"] + float(value)} if step == at else parts

    file = tmp_path / "toy.safetensors"
    kept = "no checkpoint had been written yet" if at < 2 else "checkpoint is toy.safetensors"
    said = rf"loss of the toy is no longer a number at step {at + 1} of 23; .*{kept}; .*\(0.05\)"
    with pytest.raises(InputError, match=said):
        run(Breaking(), checkpoint=file)
    if at < 2:
        assert not file.exists()
        return
    tensors, description = model_file.read(file)
    assert description["step"] == max(step for step in LOOKS if step <= at)
    assert all(torch.isfinite(value).all() for value in tensors.values())
    network, whole = Small(seed=7), Small()
    run(network, checkpoint=file)  # with a loss that is repaired it goes on
    run(whole)
    assert same_weights(network, whole)


def test_the_step_is_named_although_losses_are_looked_at_now_and_then():
    class Breaking(Small):
        def loss(self, batch, rng, step):
            parts = super().loss(batch, rng, step)
            return {**parts, "extra": torch.tensor(math.nan if step == 26 else 0.0)}

    with pytest.raises(InputError, match="at step 27 of 400; lower its learning rate"):
        run(Breaking(), Plan(400, 8, 0.01))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("at", [8, 22])
def test_a_gradient_that_is_no_number_is_noticed_too(at, tmp_path):
    class Breaking(Small):
        def loss(self, batch, rng, step):
            parts = super().loss(batch, rng, step)
            if step == at:  # a finite value whose gradient is not
                parts["loss"] = parts["loss"] + (0 * self.layer.weight).sum().abs().sqrt()
            return parts

    file = tmp_path / "toy.safetensors"
    with pytest.raises(InputError, match="no longer a number"):
        run(Breaking(), checkpoint=file)
    tensors, _ = model_file.read(file)
    assert all(torch.isfinite(value).all() for value in tensors.values())


def test_a_checkpoint_holds_plain_numbers_and_no_code(tmp_path):
    file = tmp_path / "toy.safetensors"
    run(Small(), Plan(23, 8, 0.05, 0.9), checkpoint=file, config={"widths": 3})
    tensors, description = model_file.read(file)
    assert {name.partition(".")[0] for name in tensors} == {"network", "average", "adam0"}
    assert json.loads(json.dumps(description)) == description
    assert description["config"] == {
        "steps": 23, "batch": 8, "lr": 0.05, "ema": 0.9, "precision": "float32", "widths": 3,
    }  # fmt: skip
