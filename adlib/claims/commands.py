"""The command that would make a run: what an answer gives where records are missing."""

from __future__ import annotations

from adlib import report

# the recorded ones; of other methods "0-2", and "0-4" with few images
SEEDS = {"padim": "0-9", "latent_diffusion": "0", "autoencoder": "0", "anoddpm": "0", "ddpm": "0"}


def commands(
    runs: list[str], dataset: str, backbone: str, categories: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return the commands that make runs; runs that differ in one value share a command."""
    groups: list[tuple[str, dict[str, list[str]]]] = []
    for run in runs:
        method, *settings = run.split()
        values = {name: [value] for name, _, value in (s.partition("=") for s in settings)}
        for other, shared in groups:
            apart = [name for name in values if shared.get(name) != values[name]]
            whole = [name for name in shared if len(shared[name]) > 1]
            if (method, values.keys(), len(apart)) == (other, shared.keys(), 1) and (
                whole in ([], apart) and apart != ["preset"]
            ):
                shared[apart[0]] += values[apart[0]]
                break
        else:
            groups.append((method, values))
    merged = [
        " ".join([method, *(f"{name}={','.join(texts)}" for name, texts in values.items())])
        for method, values in groups
    ]
    return tuple(command(run, dataset, backbone, categories) for run in merged)


def command(run: str, dataset: str, backbone: str, categories: tuple[str, ...] = ()) -> str:
    """Return the command that makes the runs of a text, of all categories unless some are named."""
    from adlib.evaluate import reads_images  # late: it imports torch

    method, *settings = run.split()
    parts = ["adlib evaluate", method, f"--dataset {dataset} --root DIR"]
    parts += [f"--category {name}" for name in categories]
    parts += [] if reads_images(method) else [f"--backbone {backbone}"]
    parts += map(_option, settings)
    few = "0-4" if any(setting.startswith("shots=") for setting in settings) else "0-2"
    return " ".join([*parts, f"--seed {SEEDS.get(method, few)}"])


def _option(setting: str) -> str:
    """Write ``name=value`` as the command line takes it: what is done to the data by its name."""
    name, _, value = setting.partition("=")
    if name == "preset":
        return f"--preset {value}"
    if name not in report.PROTOCOL:
        return f"--set {setting}"
    if name == "squash":
        return "--squash"
    return f"--{name} {0 if value == 'null' else value}"
