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
# # Table 6: magnetic tiles and mSTC
#
# The paper tests PatchCore on two more data sets: surface defects of magnetic tiles (image AUROC) and a thinned-out
# set of surveillance videos, mSTC (pixel AUROC). First come the recorded runs on the magnetic tiles, and a control that
# uses no network at all; then pictures of segmentations, live on the data named by the parameters.
#
# The magnetic tiles may be used for research and not be passed on, so this book shows numbers of them and no pictures.
# With `root` set to the folder of the tiles, `dataset` to `magnetic_tile` and `categories` to splits, the second part
# shows the tiles; as the book is built it shows the embedded data instead.

# %% tags=["parameters"]
dataset: str = "embedded"  # data set of the live run {embedded, magnetic_tile}
root: str | None = None  # folder with MT_Free and its kin; none: the embedded data
categories: list[str] = ["grass", "gravel"]  # of the live run; of the tiles: split0, split1, ...
backbone: str = "efficientnet_lite0"  # network {resnet18, wide_resnet50_2, efficientnet_lite0}
weights: str | None = None  # file with the backbone's weights; none: package, cache, download
fraction: float = 0.1  # share of the patches that PatchCore keeps [0..1]
results: str = "results"  # folder of records

# %% tags=["remove-input"]
from IPython.display import Markdown

from adlib import evaluate, records, report
from adlib.study import (
    figures,
    localisation,
    localisation_figures,
    magnetic_tile_leak,
    magnetic_tile_tables,
    patchcore_tables,
)

runs, printed = records.table(results), report.reported(results)
table = magnetic_tile_tables.table6(runs, printed)
Markdown(magnetic_tile_tables.protocol(runs, results))

# %% [markdown]
# ## Magnetic tiles, recorded
#
# Percent, ResNet-18, squashed images; ours as mean ± standard deviation over splits (number of splits). The paper
# prints image AUROC only; there are masks, so the pixel metrics are ours to add. GANomaly, 1-NN and DifferNet are
# quoted by the paper; PatchCore's own number is of WideResNet-50. *misclassified*: images on the wrong side of the
# threshold with the best F1. *Thumbnails* are a control, explained below, without which the image AUROC of this split
# should not be read.

# %% tags=["remove-input"]
Markdown(table.to_markdown(disable_numparse=True))

# %% [markdown]
# ### Does the split give the answer away?
#
# The files are named like `exp1_num_824.jpg`. No number after `num` comes twice, but in their order the number after
# `exp` counts from 1 to 6 again and again: the names suggest that most images are one of six photographs of the same
# tile under different light. A split that draws images one by one puts some photographs of a normal tile into the
# training set and others into the test. Then a method need not see a defect. It is enough to recognise tiles: the
# normal ones it has met, the anomalous ones it has not.
#
# The control is a method without a network, *thumbnails*: the picture is shrunk to 32 x 32 grey pixels, and the score is
# one minus its highest correlation with a training image. The last column draws whole tiles for the test instead of
# images, told apart by the order of the file names, so that all photographs of a tile lie on one side. Image AUROC,
# percent; the summary says what follows.

# %% tags=["remove-input"]
Markdown(magnetic_tile_leak.table(runs, printed).to_markdown(disable_numparse=True))

# %% [markdown]
# ### What a crop would cost
#
# A square crop from an elongated tile leaves parts out. Squashing keeps whole images, out of proportion. Percent; below
# by kind of defect, image AUROC against the good images.

# %% tags=["remove-input"]
Markdown(
    magnetic_tile_tables.crop_table(runs).to_markdown(disable_numparse=True)
    + "\n\n"
    + magnetic_tile_tables.crop_kinds(runs, results).to_markdown(disable_numparse=True)
)

# %% [markdown]
# ### By kind of defect
#
# Image AUROC of each kind's images against the good ones, from the scores in the records of squashed images. The good
# images are those of the split that draws images one by one.

# %% mystnb={"image": {"alt": "Image AUROC by kind of defect, a marker a method with its range over splits; a dashed line marks the paper's PatchCore-10 percent in the row of all kinds.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-tiles-kinds", "caption": "Image AUROC by kind of defect: mean over splits and their range. Dashed: the paper's PatchCore-10 % over all kinds, with another network."}} tags=["remove-input"]
made = {
    patchcore_tables.NAMES[method]: magnetic_tile_tables.read(chosen, results)
    for method, run in magnetic_tile_tables.ROWS.items()
    if len(chosen := magnetic_tile_tables.splits(runs, run))
}
kinds = {title: magnetic_tile_tables.by_kind(each) for title, each in made.items()}
figures.svg(
    magnetic_tile_tables.kind_figure(kinds, magnetic_tile_tables.paper(printed)),
    "Image AUROC by kind of defect",
    "A marker a method for each kind of defect, with the range over splits.",
)

# %% tags=["remove-input"]
images = magnetic_tile_tables.counts(next(iter(made.values()))[0]) if made else None
by_kind = magnetic_tile_tables.kind_table(kinds, images)
missing = magnetic_tile_tables.missing_commands(runs)
Markdown(
    by_kind.to_markdown(disable_numparse=True)
    + (
        "\n\n**What was not run, and the commands that fill it**:\n\n```sh\n"
        + "\n".join(missing)
        + "\n```"
        if missing
        else ""
    )
)

# %% [markdown]
# ## mSTC
#
# Every fifth frame of the ShanghaiTech Campus videos, squashed to 256 x 256, features of levels 3 and 4. The data are
# obtained from their authors, and level 4 needs the whole network's weights; the reader and this path are tested on a
# small clip in the same layout. The command fills the row.

# %% tags=["remove-input"]
Markdown(
    magnetic_tile_tables.mstc_table(runs, printed).to_markdown(disable_numparse=True)
    + f"\n\n```sh\n{magnetic_tile_tables.MSTC_COMMAND}\n```"
)

# %% [markdown]
# ## Segmentations, live

# %% tags=["remove-input"]
Markdown(
    "On the embedded data. These are **not magnetic tiles**: they are small generated textures with generated defects. "
    "Numbers and pictures say that the path from images to segmentations works, not how good it is on tiles."
    if dataset == "embedded"
    else f"On the magnetic tiles: {', '.join(categories)}."
)

# %% tags=["remove-input"]
settings = {
    f"PatchCore-{fraction * 100:g} %": ("patchcore", {"fraction": fraction}),
    "PaDiM": ("padim", {"dim": 100}),
}
experiments = {
    name: evaluate.open_experiment(dataset, name, root=root, backbone=backbone, weights=weights)
    for name in categories
}
live = {
    (name, title, 0): experiment.run(method, values)
    for name, experiment in experiments.items()
    for title, (method, values) in settings.items()
}
Markdown(patchcore_tables.live(live).to_markdown(disable_numparse=True))

# %% [markdown]
# White is the outline of the ground truth, orange the contour of PatchCore's map at the threshold with the best F1 over
# all pixels. Rules choose the pictures: a typical case, the image of whose defect the least lies inside the contour,
# and the normal image of which the contour encloses most.

# %% mystnb={"image": {"alt": "Rows of test images. Typical case: image with the outline of its defect, anomaly map, image with the orange contour. Then the defect that is missed most, and the normal image with the largest false alarm.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-tiles-segmentations", "caption": "PatchCore's segmentations on the data of the live run. White: ground truth; orange: segmentation. Last two columns: the worst cases."}} tags=["remove-input"]
found = {
    name: {
        title: localisation.localise(experiment, live[name, title, 0].scores) for title in settings
    }
    for name, experiment in experiments.items()
}
first = next(iter(settings))
figures.svg(
    localisation_figures.segmentations({name: found[name][first] for name in categories}),
    "Segmentations",
    "Images, defects, anomaly maps and contours, with the worst cases.",
)

# %% tags=["remove-input"]
Markdown(localisation.tally_table(found).to_markdown(disable_numparse=True))

# %% [markdown]
# ### What else a score may see
#
# The same two questions, asked of the live data, which are cropped like everything but the tiles above. Does a method
# also find images whose defect was cut off? And how far do thumbnails get?

# %% tags=["remove-input"]
controls = {
    (name, "Thumbnails", 0): experiment.run("thumbnail") for name, experiment in experiments.items()
}
image_scores = {
    (name, title): run.scores.image for (name, title, _), run in (live | controls).items()
}
visible = magnetic_tile_tables.visible_table(found, image_scores)
Markdown(
    visible.to_markdown(disable_numparse=True)
    + "\n\n"
    + patchcore_tables.live(controls).to_markdown(disable_numparse=True)
)

# %% [markdown]
# ## Summary

# %% tags=["remove-input"]
Markdown(
    magnetic_tile_tables.summary(runs, printed, kinds)
    + "\n"
    + magnetic_tile_leak.finding(runs, printed)
)
