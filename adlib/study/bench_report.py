"""Measurements of ``benchmarks/`` as Markdown: what a script prints and the page on speed shows.

Committed measurements lie in ``results/bench/*.json``, one file a script; ``make bench`` writes its
own to ``build/bench/``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from adlib.bench import span, table
from adlib.errors import InputError
from adlib.study.coreset_demo import cost_table

Content = Mapping[str, Any]
PADIM_SIDES = {
    "backbone": "backbone alone",
    "adlib": "adlib",
    "anomalib_model": "anomalib, its model driven by hand",
    "anomalib_engine": "anomalib, its engine",
}
PADIM_RATIOS = {
    "adlib_over_backbone": "adlib over the backbone alone",
    "adlib_with_metrics_over_backbone": "adlib with metrics over the backbone alone",
    "anomalib_model_over_adlib": "anomalib's model over adlib, neither with metrics",
    "anomalib_engine_over_adlib": "anomalib's engine over adlib, both with metrics",
}
SIZE_RATIOS = {
    "speed_without_backbone": "score, stored features",
    "speed_with_backbone": "score, with the backbone",
    "speed_covariances_without_backbone": "score, stored features, m x m matrices for the larger m",
    "speed_covariances_with_backbone": "score, with the backbone, m x m matrices for the larger m",
    "fit": "fit",
    "model": "fitted model",
    "peak_memory": "peak memory of the process",
}

PATCHCORE_RATIOS = {
    "adlib_over_backbone": "adlib over the backbone alone",
    "anomalib_over_adlib": "anomalib over adlib",
    "anomalib_over_adlib_score": "anomalib over adlib, score only",
}

DIFFUSION_LOOPS = {
    "train": "U-net, training step",
    "compression": "compression model, training step",
    "ddim": "reconstruction, DDIM",
    "ddpm": "reconstruction, DDPM",
}
DIFFUSION_NETWORKS = {
    "compression": "compression model",
    "diffusion": "U-net",
    "classifier": "classifier",
}
DIFFUSION_HALF = {
    "train bfloat16": "U-net",
    "compression bfloat16": "compression model",
    "classifier bfloat16": "classifier",
}


def bench_tables(results: Path | str = "results") -> str:
    """Return all committed measurements as Markdown without headings.

    Parameters
    ----------
    results : Path
        Folder that holds ``bench/*.json``.

    Returns
    -------
    str
        The aims with what was measured, the machine, and a part for each benchmark; a sentence
        where nothing was measured.

    Raises
    ------
    InputError
        A file is not a measurement.
    """
    measured = list(measurements(results).values())
    if not measured:
        return "Nothing is recorded yet; `make bench` measures."
    parts = [aims([aim for content in measured for aim in content["aims"]])]
    parts += [_machine(content["environment"]) for content in measured[:1]]
    for content in measured:
        title, section = SECTIONS.get(content["benchmark"], (content["benchmark"], None))
        environment = content["environment"]
        parts.append(f"**{title}** ({environment['date']}, commit {_commit(environment)}).")
        if section is not None:
            parts.append(section(content))
    return "\n\n".join(parts)


def aims(wanted: list[Content]) -> str:
    """Return the aims beside what was measured."""
    state = {True: "yes", False: "**no**", None: "not measured"}
    rows = [["Aim", "Wanted", "Measured", "Met"]]
    for aim in wanted:
        value = "–" if aim["value"] is None else f"{aim['value']:.3g}"
        rows.append([aim["what"], f"{aim['sense']} {aim['limit']:g}", value, state[aim["met"]]])
    return table(rows, left=(0, 3))


def padim(content: Content) -> str:
    """Return times, ratios and the agreement of maps of ``benchmarks/padim.py``."""
    settings = content["settings"]
    train, test = settings["images"]
    rows = [["Side", "fit s", "score s", "both s", "with metrics s", "peak GB"]]
    for side, values in content["medians"].items():
        names = ("fit", "score", "seconds", "seconds_with_metrics")
        cells = [_number(values.get(name)) for name in names]
        rows.append([PADIM_SIDES[side], *cells, _number(values["peak_mb"] / 1000)])
    parts = [
        f"{settings['backbone']} with weights {settings['weights']}, m = {settings['dim']}, "
        f"{settings['dataset']} {settings['category']} ({train} training and {test} test images); "
        f"medians of {settings['repeats']} runs.",
        table(rows),
        _ratios(content["ratios"], PADIM_RATIOS),
        *_left_out(content),
    ]
    if settings["peer"]:
        versions = ", ".join(f"{name} {version}" for name, version in settings["peer"].items())
        parts.append(f"Compared with {versions}. Its engine fits, validates and tests.")
    if content["maps"]:
        parts.append(_maps(content["maps"]))
    return "\n\n".join(parts)


def padim_size(content: Content) -> str:
    """Return sizes, times and ratios of ``benchmarks/padim_size.py``."""
    settings, sides = content["settings"], content["medians"]
    heads = ["m", "model GB", "peak GB", "fit s", "score ms/image", "with backbone ms/image"]
    rows = [["Side", *heads, "against float64"]]
    for side, values in sides.items():
        cells = [
            f"{values['dimensions']:.0f}",
            _number(values["model_mb"] / 1000),
            _number(values["peak_mb"] / 1000),
            _number(values.get("fit_seconds"), 1),
            _number(values["score_ms_per_image"], 1),
            _number(values["score_ms_per_image_with_backbone"], 0),
            f"{values['difference']:.0e}" if "difference" in values else "–",
        ]
        rows.append([side, *cells])
    alone = content["backbone"]["backbone_ms_per_image"]
    parts = [
        f"{settings['backbone']} with weights {settings['weights']}, N = {settings['train']} "
        f"images of {settings['size']} pixels ({settings['images']}), eps {settings['eps']:.3g}; "
        f"medians of {settings['repeats']} runs, all channels once. "
        f"The backbone takes {alone:.0f} ms an image.",
        table(rows),
        *_left_out(content),
        _ratios(content["ratios"], SIZE_RATIOS),
        "The arithmetic of means and covariances, m + m² numbers a position, gives "
        f"{content['memory_ratio_covariances']:.1f}.",
    ]
    return "\n\n".join(parts)


def patchcore(content: Content) -> str:
    """Return times by stage, fit and score, memory and agreement of ``benchmarks/patchcore.py``."""
    settings = content["settings"]
    train, test = settings["images"]
    parts = [
        f"{settings['backbone']} with weights {settings['weights']}, {settings['dataset']} "
        f"{settings['category']} ({train} training and {test} test images); medians of "
        f"{settings['repeats']} runs in processor time of one thread. The clock on the wall showed "
        f"at most {content['wall_over_processor']:.2f} times as much.",
        "Milliseconds an image, images decoded before; *map* holds all that is in no other column:",
        patchcore_stages(content["rows"]),
        "Fit and score, from files on; the same images and weights, Eq. 7 with b = "
        f"{settings['b']}:",
        _patchcore_sides(content),
        *_left_out(content),
        _ratios(content["ratios"], {name: _at_fraction(name) for name in content["ratios"]}),
        *_patchcore_peer(content),
        _patchcore_memory(content),
    ]
    return "\n\n".join(parts)


def patchcore_stages(rows: list[Content]) -> str:
    """Return milliseconds an image by stage, one row a setting (PatchCore, Table 5)."""
    names = ("backbone", "embed", "search", "map", "total")
    heads = ["backbone", "patches", "search", "map", "total", "total over backbone", "model GB"]
    lines = [["Setting", *heads]]
    for row in rows:
        spent = [_number(row["milliseconds_per_image"][name], 1) for name in names]
        over = span(row["total_over_backbone"])
        lines.append([row["setting"], *spent, over, f"{row['model_mb'] / 1000:.2g}"])
    return table(lines)


def _patchcore_sides(content: Content) -> str:
    heads = ["fit s", "of it selection s", "score s", "both s", "peak GB"]
    rows = [["Side", *heads, "image AUROC", "pixel AUROC"]]
    for side, values in content["medians"].items():
        if "seconds" not in values:
            continue
        spent = [_number(values.get(name), 1) for name in ("fit", "select", "score", "seconds")]
        if side in content["extrapolated"]:
            spent = [spent[0] + "*", spent[1] + "*", spent[2], spent[3] + "*"]
        found = content["quality"].get(side, {})
        auroc = [_number(found.get(name), 4) for name in ("image_auroc", "pixel_auroc")]
        name = side.replace("-", ", fraction ") if "-" in side else "backbone alone"
        rows.append([name, *spent, _number(values["peak_mb"] / 1000), *auroc])
    return table(rows)


def _patchcore_peer(content: Content) -> list[str]:
    settings = content["settings"]
    if not settings["peer"]:
        return []
    versions = ", ".join(f"{name} {version}" for name, version in settings["peer"].items())
    sentences = [f"Compared with {versions}, its model driven by hand."]
    if content["extrapolated"]:
        sentences.append(
            "\\* extrapolated from a part of the selection, as all of it would take more than "
            f"{settings['limit']:.0f} s; scored with our bank."
        )
    for found in content["quality"].values():
        if "image_scores_apart" in found:
            sentences.append(
                "With one and the same bank the image scores of both differ by at most "
                f"{found['image_scores_apart']:.0e} of their value; its maps are upsampled to the "
                f"nearest instead of bilinearly (pixel AUROC {found['pixel_auroc']:.5f})."
            )
    return [" ".join(sentences)]


def _patchcore_memory(content: Content) -> str:
    fit = content["medians"]["memory"]
    whole = max(content["rows"], key=lambda row: row["members"] or 0)
    peak, above, patches = (fit[name] / 1000 for name in ("peak_mb", "above_mb", "patches_mb"))
    matrix = content["matrix_mb"] / 1000
    return (
        f"Memory: fit with 1024 numbers a patch (the released code's embedding) peaks at "
        f"{peak:.2f} GB, {above:.2f} GB above the library and the backbone; the patches themselves "
        f"are {patches:.2f} GB. Scoring with all {whole['members']} patches takes at most "
        f"{whole['score_above_mb'] / 1000:.2f} GB above the loaded model; the distances of one "
        f"image would be {matrix:.2f} GB, those of a batch of 16 {16 * matrix:.1f} GB."
    )


def _at_fraction(name: str) -> str:
    what, _, fraction = name.partition("-")
    return f"{PATCHCORE_RATIOS[what]}, fraction {fraction}"


def metrics(content: Content) -> str:
    """Return times and memory of ``benchmarks/metrics.py``."""
    heads = ["adlib s", "other s", "other over adlib", "adlib GB", "other GB", "difference"]
    rows = [["Maps", *heads]]
    for row in content["results"]:
        seconds, memory = row["seconds"], row["gigabytes_above"]
        rows.append(
            [
                f"{row['count']} of {row['size']} x {row['size']}",
                _number(seconds["adlib"]),
                _number(seconds["baseline"]),
                span(row["time_ratio"], 1),
                _number(memory["adlib"]),
                _number(memory["baseline"]),
                f"{row['largest_difference']:.0e}",
            ]
        )
    note = "Pixel AUROC and AUPRO. The other side is scikit-learn's AUROC and a global-sort PRO in "
    return f"{table(rows)}\n\n{note}numpy. Seconds are medians; GB is the peak above the inputs."


def coreset(content: Content) -> str:
    """Return the time of the coreset beside other ways to compute it."""
    found = cost_table(content["results"]).to_markdown(index=False, disable_numparse=True)
    return (
        "The selection alone, on the same points from the same start; ratios of processor time. "
        "*One product*: a float32 matrix product of all points with as many centres. Plain greedy "
        f"and anomalib were timed for a part of their steps, which all cost the same.\n\n{found}"
    )


def diffusion(content: Content) -> str:
    """Return loops, rates, precision and costs of ``benchmarks/diffusion.py``."""
    settings, presets = content["settings"], content["presets"]
    reduced = [
        f"{name}: {found['batch']['diffusion']} instead of {found['preset_batch']['diffusion']}"
        for name, found in presets.items()
        if found["batch"]["diffusion"] != found["preset_batch"]["diffusion"]
    ]
    smaller = f" Batches are smaller than the preset's for {', '.join(reduced)}." if reduced else ""
    return "\n\n".join(
        [
            "The sides of a table share a process and take turns within it. *Plain* is the same "
            f"network in the loop of the examples of diffusers {settings['diffusers']}: its "
            "schedulers, `EMAModel`, the codebook of its `VQModel`, and Adam as PyTorch runs it by "
            "default. Processor time of one thread; the clock on the wall showed up to "
            f"{content['wall_over_processor']:.1f} times as much, so differences of a few percent "
            f"mean little.{smaller}",
            _diffusion_loops(presets),
            "Share of the rate of one large matrix product (in float32 the faster of torch's and "
            "numpy's) that the U-net reaches, in the same turn and precision. Small batches wait "
            "for Python; above 100 % the library of the convolutions is faster than the product.",
            _diffusion_rates(presets),
            "Images a second of `LatentDiffusionDetector.score`, preset small, every score of the "
            "record included:",
            _diffusion_scores(content["score"]),
            _diffusion_encoding(presets),
            "Cost of one denoising step an image (Section 3.2 of the paper, claim i), and of what "
            "latent space needs once beside it; operations and time in units of its own step:",
            _diffusion_spaces(content["spaces"]),
            "bfloat16 autocast: seconds of a training step in float32 over bfloat16, and the loss "
            "of the networks of the preset tiny on digits, mean of the last quarter of the steps, "
            "both from the same weights, batches and noise:",
            _diffusion_precision(presets),
            _diffusion_losses(content["losses"]),
        ]
    )


def _diffusion_loops(presets: Content) -> str:
    rows = [["Loop", "preset", "batch", "adlib", "plain", "plain over adlib"]]
    for key, what in DIFFUSION_LOOPS.items():
        for name, found in presets.items():
            spent = found["medians"]
            ours, plain = spent[key], spent[f"{key} plain"]
            if key in found["indices"]:
                label = f"{what}, {found['indices'][key]} steps"
                batch = found["images"][key]
                cells = [f"{_three(1 / ours)} images/s", f"{_three(1 / plain)} images/s"]
            else:
                label, network = what, {"train": "diffusion"}.get(key, key)
                batch = found["batch"][network]
                cells = [f"{_three(1000 * ours)} ms", f"{_three(1000 * plain)} ms"]
            rows.append([label, name, str(batch), *cells, span(found["ratios"][key])])
    return table(rows, left=(0, 1))


def _diffusion_rates(presets: Content) -> str:
    heads = ["M parameters", "GFLOP an image", "forward", "with gradient", "bfloat16"]
    rows = [["Preset", "batch", *heads]]
    for name, found in presets.items():
        for batch in dict.fromkeys(row["batch"] for row in found["share"]):
            cells = [
                f"{row['share']:.1%} ({_three(row['gflops_a_second'])} GFLOP/s)"
                for row in found["share"]
                if row["batch"] == batch
            ]
            size = f"{found['parameters_millions']:.3g}", f"{found['flops']['forward'] / 1e9:.3g}"
            rows.append([name, str(batch), *size, *cells])
    return table(rows)


def _diffusion_scores(scored: list[Content]) -> str:
    rows = [["Reverse chain", "images at once", "images/s"]]
    for row in scored:
        rows.append([row["setting"], str(row["images"]), _three(row["images_a_second"])])
    return table(rows)


def _diffusion_encoding(presets: Content) -> str:
    each = []
    for name, found in presets.items():
        ratio = span(found["ratios"]["encoding"])
        once = 1000 * found["medians"]["encode"]
        seen = found["preset_steps"]["diffusion"] * found["preset_batch"]["diffusion"]
        each.append(
            f"{name} {ratio} (encoding takes {once:.2g} ms an image; the training of the preset "
            f"sees {seen} images)"
        )
    return (
        "Encode once: a step of the U-net that encodes its batch, over one with latents at hand: "
        f"{'; '.join(each)}."
    )


def _diffusion_spaces(spaces: list[Content]) -> str:
    heads = ["channels", "images at once", "MFLOP", "ms", "operations", "time"]
    rows = [["Preset", "step in", *heads]]
    for row in spaces:
        rows.append(
            [
                row["preset"],
                row["space"],
                row["widths"],
                str(row["images"]),
                _three(row["flops"] / 1e6),
                _three(1000 * row["seconds"]),
                _number(row["flops_ratio"], 1),
                span(row["time_ratio"], 1),
            ]
        )
    return table(rows, left=(0, 1, 2))


def _diffusion_precision(presets: Content) -> str:
    rows = [["float32 over bfloat16", *presets]]
    for key, what in DIFFUSION_HALF.items():
        rows.append([what, *(span(found["ratios"][key]) for found in presets.values())])
    return table(rows)


def _diffusion_losses(losses: list[Content]) -> str:
    heads = ["steps", "seeds", "float32", "bfloat16", "difference", "between seeds"]
    rows = [["Loss of the", *heads]]
    for network, what in DIFFUSION_NETWORKS.items():
        own = [row for row in losses if row["network"] == network]
        full, half = (
            [row["loss"] for row in own if row["precision"] == precision]
            for precision in ("float32", "bfloat16")
        )
        apart = [b / a - 1 for a, b in zip(full, half, strict=True)]
        rows.append(
            [
                what,
                str(own[0]["steps"]),
                str(len(full)),
                f"{mean(full):.4g}",
                f"{mean(half):.4g}",
                f"{min(apart):+.1%} to {max(apart):+.1%}",
                f"{(max(full) - min(full)) / mean(full):.1%}",
            ]
        )
    return table(rows)


SECTIONS = {
    "coreset": ("Coreset", coreset),
    "diffusion": ("Latent diffusion", diffusion),
    "metrics": ("Metrics", metrics),
    "padim": ("PaDiM end to end", padim),
    "padim_size": ("Size of the model", padim_size),
    "patchcore": ("PatchCore, time per image and end to end", patchcore),
}


def measurements(results: Path | str = "results") -> dict[str, Content]:
    """Read the committed measurements, by the name of their script."""
    return {path.stem: _read(path) for path in sorted(Path(results, "bench").glob("*.json"))}


def _read(path: Path) -> Content:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path} is not a measurement ({error}); run `make bench` again"
        ) from error
    missing = {"benchmark", "environment", "aims"} - set(content)
    if missing:
        raise InputError(f"{path} lacks {', '.join(sorted(missing))}; run `make bench` again")
    return content


def _machine(environment: Content) -> str:
    return (
        f"{environment['processor']}, {environment['memory_gb']:.0f} GB, {environment['system']}, "
        f"Python {environment['python']}, torch {environment['torch']}, "
        f"numpy {environment['numpy']}; every run in a process of its own with one thread, "
        "the sides in turn."
    )


def _commit(environment: Content) -> str:
    commit = (environment["commit"] or "unknown")[:9]
    return f"{commit} with changes" if environment["changed"] else commit


def _ratios(found: Content, names: Mapping[str, str]) -> str:
    rows = [["Ratio", "median [lowest, highest]"]]
    return table(rows + [[names[name], span(value)] for name, value in found.items()])


def _left_out(content: Content) -> list[str]:
    """Return the reasons, each once; sides that share a reason share its sentence."""
    return [
        f"{reason[0].upper()}{reason[1:]}." for reason in dict.fromkeys(content["skipped"].values())
    ]


def _maps(found: Content) -> str:
    return (
        "With the same channels, the anomaly maps differ by at most "
        f"{found['whole_map']:.1e} of their value; by {found['without_border']:.1e} away from the "
        "border, which the two mirror differently; and there by "
        f"{found['same_eps_without_border']:.1e} if ours gets anomalib's second regulariser. "
        f"Pixel AUROC: adlib {found['pixel_auroc_adlib']:.5f}, "
        f"anomalib {found['pixel_auroc_anomalib']:.5f}."
    )


def _three(value: float) -> str:
    """Write three digits, and all that come before the point."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
