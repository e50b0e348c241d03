# Records from real images: one job per (entry, category, backbone) of params/records.yaml.
# A job is one `adlib evaluate`, which extracts the features once for all its settings and seeds and
# skips every record that exists; a killed sweep continues where it stopped.

import hashlib
import json
import re
from itertools import product

import yaml
from snakemake.exceptions import WorkflowError

SWEEP = Path("params/records.yaml")
FIELDS = {"method", "dataset", "category", "seed"}
# other options of `adlib evaluate` that an entry may give
EXTRAS = {"backbone", "resize", "crop", "precision", "preset", "shots", "masks", "squash"}


# what `make records` calls the folder of each data set
ROOTS = {
    "mvtec_ad": "root",
    "magnetic_tile": "tiles",
    "mstc": "mstc",
    "mnist": "mnist",
    "cifar10": "cifar10",
}
# methods that train networks of their own take none
NO_BACKBONE = "none"


def listed(value):
    return value if isinstance(value, list) else [value]


def as_text(value):
    """As the command line reads it: null, true and false as YAML writes them."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def sweep_jobs(path):
    """Job name -> (method, dataset, category, backbone, options of `adlib evaluate`)."""
    jobs = {}
    entries = (yaml.safe_load(path.read_text(encoding="utf-8")) or []) if path.exists() else []
    for number, entry in enumerate(entries, start=1):
        if set(entry) - {"set"} - EXTRAS != FIELDS:
            raise WorkflowError(
                f"{path}: entry {number} has the fields {', '.join(sorted(entry))}; it needs "
                f"{', '.join(sorted(FIELDS))} and may have set, {', '.join(sorted(EXTRAS))}"
            )
        values = {k: ",".join(map(as_text, listed(v))) for k, v in entry.get("set", {}).items()}
        options = [f"--set {name}={value}" for name, value in values.items()]
        extras = {
            k: entry[k]
            for k in sorted(EXTRAS & set(entry) - {"backbone"})
            if entry[k] is not False
        }
        # a flag has no value
        options += [f"--{k}" if v is True else f"--{k} {v}" for k, v in extras.items()]
        options = " ".join([*options, f"--seed {entry['seed']}"])
        named = {"backbone": NO_BACKBONE} | entry
        names = (listed(named[name]) for name in ("method", "category", "backbone"))
        for method, category, backbone in product(*names):
            job = (method, entry["dataset"], category, backbone, options)
            digest = hashlib.sha256(json.dumps(job).encode()).hexdigest()[:8]
            jobs[f"{'-'.join(job[:4])}-{digest}"] = job
    return jobs


JOBS = sweep_jobs(SWEEP)


def data_root(wildcards):
    return config[ROOTS[JOBS[wildcards.job][1]]]


def wanted(wildcards):
    """The jobs whose data were given."""
    found = [name for name, job in JOBS.items() if config.get(ROOTS[job[1]])]
    if not found:
        raise WorkflowError(
            "records need the folder of the images: make records ROOT=FOLDER for MVTec AD, or "
            "TILES=, MSTC=, MNIST= or CIFAR10=FOLDER"
        )
    return expand("build/records/{job}.done", job=found)


def weights_option(wildcards):
    """`--weights FILE` for the file of that backbone in WEIGHTS, a file or a folder."""
    backbone = JOBS[wildcards.job][3]
    given = config.get("weights")
    if not given or backbone == NO_BACKBONE:
        return ""
    if "+" in backbone:  # an ensemble finds its members' files itself
        return f"--weights '{given}'"
    found = [Path(given)]
    if Path(given).is_dir():
        found = sorted(p for p in Path(given).iterdir() if p.name.startswith(backbone))
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise WorkflowError(f"WEIGHTS={given} holds several files for {backbone}: {names}; keep one")
    return f"--weights '{found[0]}'" if found else ""


def backbone_option(wildcards):
    backbone = JOBS[wildcards.job][3]
    return "" if backbone == NO_BACKBONE else f"--backbone {backbone}"


rule records:
    input:
        wanted,


rule evaluate:
    message:
        "evaluate {wildcards.job}"
    output:
        touch("build/records/{job}.done"),
    params:
        method=lambda w: JOBS[w.job][0],
        dataset=lambda w: JOBS[w.job][1],
        category=lambda w: JOBS[w.job][2],
        backbone=backbone_option,
        options=lambda w: JOBS[w.job][4],
        root=data_root,
        weights=weights_option,
        device=lambda w: f"--device {config['device']}" if config.get("device") else "",
    wildcard_constraints:
        job="|".join(map(re.escape, JOBS)) or "none",
    threads: 1
    resources:
        mem_mb=8000,
        runtime=240,
    shell:
        "adlib evaluate {params.method} --dataset {params.dataset} --root '{params.root}' "
        "--category {params.category} {params.backbone} {params.weights} "
        "{params.device} {params.options}"
