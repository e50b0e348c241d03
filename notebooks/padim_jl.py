# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,mystnb,-all
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Table 1 and Fig. 4: PaDiM against its projection
#
# The report replaces PaDiM's random choice of channels by a Johnson-Lindenstrauss projection and prints the
# pixel AUROC of both, per category and for two backbones (its Table 1), and some anomaly maps (its Fig. 4).
# First come the recorded runs on MVTec AD, then the same code live on the data named by the parameters.

# %% tags=["parameters"]
dataset: str = "embedded"  # data set of the live run {embedded, mvtec_ad}
root: str | None = None  # folder with one folder a category; none: the embedded data
categories: list[str] = ["brick", "gear"]  # categories of the live run
backbone: str = "efficientnet_lite0"  # network {resnet18, wide_resnet50_2, efficientnet_lite0}
weights: str | None = None  # file with the backbone's weights; none: package, cache, download
dim: int = 100  # reduced dimensions m [1..4096]
n_seeds: int = 3  # random draws per reduction [1..100]
eps_scale: str = "nominal"  # eps as printed or matched {nominal, matched}
results: str = "results"  # folder of records

# %% tags=["remove-input"]
from IPython.display import Markdown

from adlib import evaluate, report
from adlib.study import cases, figures, tables

# %% [markdown]
# ## Table 1, recorded on MVTec AD
#
# Pixel AUROC in percent; ours as mean ± standard deviation over seeds (number of seeds). *difference* is ours minus
# the printed number, with the tolerance it is held against in brackets: two standard deviations of what seeds and
# other implementations differ by; a difference outside it says so. The report does not say which dimension its ResNet-18 columns use; 100 is PaDiM's own, and 550 exceeds
# the 448 channels there are. *other implementations* are two widely used ports of PaDiM (xiahaifeng1995 / anomalib).
#
# **ResNet-18**

# %% tags=["remove-input"]
table_r18 = tables.jl_table1(results, "resnet18")
beside = [name for name in tables.BESIDE if name in table_r18]
Markdown(table_r18.drop(columns=beside).to_markdown(disable_numparse=True))

# %% [markdown]
# Beside them: other implementations of PaDiM, the orthonormal projection, and no reduction at all.

# %% tags=["remove-input"]
Markdown(table_r18[beside].to_markdown(disable_numparse=True))

# %% [markdown]
# **WideResNet-50-2** with 550 dimensions:

# %% tags=["remove-input"]
table_wrn = tables.jl_table1(results, "wide_resnet50_2")
Markdown(table_wrn.to_markdown(disable_numparse=True))

# %% tags=["remove-input"]
missing = [
    *tables.missing_commands(table_r18, "resnet18", 100),
    *tables.missing_commands(table_wrn, "wide_resnet50_2", 550),
]
Markdown(
    "**What was not run, and the commands that fill it** (they need the images and the weights; the page then shows "
    "the new rows):\n\n" + "\n".join(f"```sh\n{command}\n```" for command in missing)
    if missing
    else "Every row was run."
)

# %% [markdown]
# ## The same, live
#
# Both methods on the data of the parameters above, with the same code that made the records.

# %% tags=["remove-input"]
experiments = {
    category: evaluate.open_experiment(
        dataset, category, root=root, backbone=backbone, weights=weights
    )
    for category in categories
}
reductions = ("coordinate", "gaussian", "haar", "none")
settings = [
    {"reduction": r, "dim": dim, "eps_scale": eps_scale, "seed": seed}
    for r in reductions
    for seed in range(n_seeds if r != "none" else 1)
]
runs = {
    (category, s["reduction"], s["seed"]): experiment.run("padim", s)
    for category, experiment in experiments.items()
    for s in settings
}
Markdown(tables.live(runs).to_markdown(disable_numparse=True))

# %% [markdown]
# ## Fig. 4: anomaly maps
#
# The report shows maps that it chose. Here the rule chooses: of all images with a defect, those where PaDiM's map
# ranks the defect's pixels best, in the middle, and worst (pixel AUROC within the image, seed 0), beside the map of the
# Gaussian projection and of Haar's.

# %% mystnb={"image": {"alt": "Rows of test images with the outline of the defect, each beside the anomaly maps of PaDiM, of the Gaussian and of the Haar projection; best, typical and worst case of every category.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-padim-maps", "caption": "Best, typical and worst case of each category by PaDiM's own map. First column: the image and the outline of its defect. Colours run from the lowest to the highest score of a column."}} tags=["remove-input"]
rows, labels = [], []
shown = {"PaDiM": "coordinate", "Gaussian": "gaussian", "Haar": "haar"}
for category, experiment in experiments.items():
    maps = {name: runs[category, reduction, 0].scores.map for name, reduction in shown.items()}
    for case, (index, auroc) in cases.pick(experiment.masks, maps["PaDiM"]).items():
        test = experiment.category.test
        rows.append(
            (
                test[index],
                experiment.masks[index],
                {name: each[index] for name, each in maps.items()},
            )
        )
        labels.append(f"{category}, {test.defects[index]}\n{case} ({auroc:.3f})")
figures.svg(
    figures.gallery(rows, labels=labels, width=7),
    "Anomaly maps",
    "Images, defects and three anomaly maps each.",
)

# %% [markdown]
# ## Summary

# %% tags=["remove-input"]
curve = report.dimension_curve("resnet18", "pixel_auroc", results)
at = curve[(curve["dim"] == 100) & (curve["eps_scale"] == "nominal")]
test = report.paired(at[at["reduction"] == "gaussian"], at[at["reduction"] == "coordinate"])
run_here = [name for name, row in table_r18.iterrows() if tables.NOT_RUN not in row.to_numpy()]
Markdown(
    "No paired records yet."
    if test is None
    else f"- Recorded with ResNet-18: {', '.join(run_here)}. At m = 100 the Gaussian projection is ahead of the coordinates by "
    f"**{test.mean * 100:+.2f}** points of pixel AUROC (95 % interval {test.low * 100:+.2f} to {test.high * 100:+.2f}; "
    f"{test.n_seeds} seeds, {test.n_categories} categories).\n"
    "- Why, and how much of it is the regulariser, is the question of the next page."
)
