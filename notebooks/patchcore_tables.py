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
# # Tables 1, 2, 3 and 5: how well and how fast
#
# PatchCore keeps a share of all normal patches and scores a test patch by its distance to the nearest of them. The
# paper prints what that achieves on MVTec AD with 25, 10 and 1 % of the patches, against other methods (Tables 1-3),
# and how long an image takes (Table 5). First come the recorded runs on MVTec AD, then the same code live on the data
# named by the parameters.

# %% tags=["parameters"]
dataset: str = "embedded"  # data set of the live run {embedded, mvtec_ad}
root: str | None = None  # folder with one folder a category; none: the embedded data
categories: list[str] = ["brick", "gear"]  # categories of the live run
backbone: str = "efficientnet_lite0"  # network {resnet18, wide_resnet50_2, efficientnet_lite0}
weights: str | None = None  # file with the backbone's weights; none: package, cache, download
n_seeds: int = 2  # random draws of each method [1..100]
results: str = "results"  # folder of records

# %% tags=["remove-input"]
from IPython.display import Markdown

from adlib import evaluate, records, report
from adlib.study import (
    figures,
    localisation,
    localisation_figures,
    patchcore_speed,
    patchcore_tables,
)

runs, printed = records.table(results), report.reported(results)
means = {m: patchcore_tables.means_table(runs, printed, m) for m in patchcore_tables.METRICS}
Markdown(patchcore_tables.relation(runs, printed))

# %% [markdown]
# ## Tables 1-3, recorded on MVTec AD
#
# Percent; a row a method, where the paper has a column. *15 categories* is the printed mean (PatchCore: WideResNet-50;
# the others as their own papers report them). Ours is the mean over our categories, as mean ± standard deviation over
# seeds (number of seeds); SPADE and 1-NN draw nothing. On ResNet-18 their image part uses level 3 of the network
# instead of level 4. A dash: not defined, or quoted only.
#
# **Table 1, image AUROC**

# %% tags=["remove-input"]
Markdown(means["image_auroc"].to_markdown(disable_numparse=True))

# %% [markdown]
# **Table 1, misclassifications**: test images on the wrong side of the threshold with the best F1 of their category,
# summed over categories, with their share of all test images.

# %% tags=["remove-input"]
wrong = patchcore_tables.misclassified_table(runs, printed)
Markdown(wrong.to_markdown(disable_numparse=True))

# %% [markdown]
# **Table 2, pixel AUROC**, and **Table 3, AUPRO** (the paper's *PRO*; up to a false positive rate of 0.3):

# %% tags=["remove-input"]
Markdown("\n\n".join(means[m].to_markdown(disable_numparse=True) for m in ("pixel_auroc", "aupro")))

# %% [markdown]
# ### By category
#
# The same runs with ResNet-18, a row a category.

# %% tags=["remove-input"]
Markdown(
    "\n\n".join(
        f"**{title}** [%]\n\n"
        + patchcore_tables.category_table(runs, printed, "resnet18", metric).to_markdown(
            disable_numparse=True
        )
        for metric, title in patchcore_tables.METRICS.items()
    )
)

# %% tags=["remove-input"]
missing = patchcore_tables.missing_commands(runs)
Markdown(
    "**The commands that fill what was not run** (they need the images and the weights; every category in the folder "
    "is run, what is recorded is read):\n\n```sh\n" + "\n".join(missing) + "\n```"
    if missing
    else "Every row was run."
)

# %% [markdown]
# ## Table 5: time an image
#
# Processor milliseconds an image on one thread, split into the backbone, making patch features, looking them up, and
# turning distances into a map and a score. The paper's seconds are of WideResNet-50 on a GPU: they can be compared
# with one another, not with ours. Scores are image AUROC / pixel AUROC / AUPRO, ours with ResNet-18, mean over our
# categories. SPADE is timed on every position; its scores are of every second row and column.

# %% mystnb={"image": {"alt": "Horizontal bars, a row a method. Left: our time an image in milliseconds, stacked from backbone, patch features, search and map. Right: the paper's seconds an image.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-patchcore-time", "caption": "Time an image. Left: ours, by stage. Right: as printed in Table 5, another network on another machine; the two scales differ."}} tags=["remove-input"]
measured = patchcore_speed.times(results, "resnet18")
figures.svg(
    patchcore_speed.bars(measured, printed),
    "Time an image",
    "Stacked bars of our time an image by stage, beside the paper's seconds.",
)

# %% tags=["remove-input"]
of_scores = patchcore_tables.categories(runs)
speed = patchcore_speed.table5(measured, runs, printed, of_scores)
timed = ", ".join(sorted({c for found in measured["categories"] for c in found}))
Markdown(
    speed.to_markdown(disable_numparse=True)
    + (
        f"\n\nMeasured on: {timed}."
        if len(measured)
        else f"\n\nNo time was measured yet; `{patchcore_speed.COMMAND}` measures."
    )
)

# %% [markdown]
# ## The same, live
#
# PatchCore with 10 and with 1 % of the patches, and PaDiM, on the data of the parameters above, with the same code
# that made the records. On the embedded data, which are small and made for this purpose, the numbers say that the
# code works, not how good a method is.

# %% tags=["remove-input"]
settings = {
    "PatchCore-10 %": ("patchcore", {"fraction": 0.1}),
    "PatchCore-1 %": ("patchcore", {"fraction": 0.01}),
    "PaDiM": ("padim", {"dim": 100}),
}
experiments = {
    name: evaluate.open_experiment(dataset, name, root=root, backbone=backbone, weights=weights)
    for name in categories
}
live = {
    (name, title, seed): experiment.run(method, values | {"seed": seed})
    for name, experiment in experiments.items()
    for title, (method, values) in settings.items()
    for seed in range(n_seeds)
}
Markdown(patchcore_tables.live(live).to_markdown(disable_numparse=True))

# %% [markdown]
# ### Segmentations, as in Fig. 1
#
# White is the outline of the ground truth, orange the contour of the anomaly map at the threshold with the best F1
# over all pixels of the category (PatchCore-10 %, seed 0). That threshold is chosen with the ground truth: it shows
# what a map could do at best. The paper shows pictures that it chose. Here rules choose: the image whose map ranks
# its defect's pixels in the middle of all images; the image of whose defect the least lies inside the contour; and
# the normal image of which the contour encloses most.

# %% mystnb={"image": {"alt": "Rows of test images. Typical case: image with the outline of its defect, anomaly map, image with the orange contour. Then the defect that is missed most, and the normal image with the largest false alarm.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-patchcore-segmentations", "caption": "PatchCore-10 %. White: ground truth; orange: segmentation. Last two columns: the worst cases of each category, with the share of the defect that is found, and the share of the normal picture that is marked."}} tags=["remove-input"]
found = {
    name: {
        title: localisation.localise(experiment, live[name, title, 0].scores) for title in settings
    }
    for name, experiment in experiments.items()
}
figures.svg(
    localisation_figures.segmentations({c: found[c]["PatchCore-10 %"] for c in categories}),
    "Segmentations",
    "Images, defects, anomaly maps and contours, with the worst cases.",
)

# %% mystnb={"image": {"alt": "The typical image of each category beside the anomaly maps of PatchCore with 10 and 1 percent and of PaDiM, each with its orange contour.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-patchcore-methods", "caption": "The same images under three methods, each with the contour at its own threshold; below, its F1 over the pixels of the category. Colours run from the lowest to the highest score of a method on a category."}} tags=["remove-input"]
figures.svg(
    localisation_figures.maps(found),
    "Maps of three methods",
    "The typical image of each category under three methods.",
)

# %% [markdown]
# Counted over all images: how often the segmentation misses a defect whole, and how often it marks a normal image.

# %% tags=["remove-input"]
Markdown(localisation.tally_table(found).to_markdown(disable_numparse=True))

# %% [markdown]
# ## Summary

# %% tags=["remove-input"]
Markdown(patchcore_tables.summary(runs, printed))
