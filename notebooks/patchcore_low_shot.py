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
# # Fig. 6: how few normal images suffice?
#
# The paper fits PatchCore, PaDiM and SPADE on 1 to 50 normal images and finds PatchCore ahead
# everywhere: with 50 images, a fifth of what there is, it matches what others reach with all,
# and with 5 images for segmentation and 1 for detection it matches SPADE. Which images are drawn
# matters most when there are few of them, so here every number is drawn five times; a seed draws
# the same images for all methods, which makes their differences paired.

# %% tags=["parameters"]
dataset: str = "embedded"  # data set of the live run {embedded, mvtec_ad}
root: str | None = None  # folder with one folder a category; none: the embedded data
categories: list[str] = ["brick", "gear"]  # categories of the live run
backbone: str = "efficientnet_lite0"  # network {resnet18, wide_resnet50_2, efficientnet_lite0}
weights: str | None = None  # file with the backbone's weights; none: package, cache, download
shots: list[int] = [1, 2, 5, 10]  # numbers of normal images of the live run [1..1000]
n_seeds: int = 2  # draws of the live run [1..100]
pixel_stride: int = 2  # SPADE's pixels in the live run: every s-th row and column [1..8]
recorded: str = "resnet18"  # network whose records are shown {resnet18, efficientnet_lite0}
results: str = "results"  # folder of records

# %% [markdown]
# ## Recorded on MVTec AD
#
# PatchCore keeps 10 % of its patches, PaDiM 100 channels, SPADE compares with the 50 nearest
# images or all there are, by level 3 of the network (its own choice, level 4, is not among the
# weights at hand) and on every second row and column, which is sixteen times cheaper. PaDiM's
# covariances need two images: with one it is not defined, and its line starts at two.

# %% tags=["remove-input"]
import pandas as pd
from IPython.display import Markdown

from adlib import evaluate, records
from adlib.study import figures, low_shot, patchcore_figures, patchcore_pages

runs = records.table(results)
curves = {metric: low_shot.curve(runs, recorded, metric) for metric in low_shot.METRICS}
levels = {metric: low_shot.ceiling(runs, recorded, metric) for metric in low_shot.METRICS}
listed = {
    method: f"{len(of)} runs on {', '.join(sorted(set(of['category'])))}"
    for method, of in curves["image_auroc"].groupby("method", sort=False)
}
shared = low_shot.common(curves["image_auroc"])
Markdown(
    f"Recorded with {recorded} and few images: "
    + ("; ".join(f"{name}: {text}" for name, text in listed.items()) or "nothing yet")
    + f". Means are over what all of these have: {', '.join(shared) or 'nothing yet'}."
)

# %% mystnb={"image": {"alt": "Three panels: image AUROC, pixel AUROC and AUPRO against the number of normal images, for PatchCore, PaDiM and SPADE, with the level of all images as dashed lines.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-low-shot", "caption": "Detection with few normal images, mean over the recorded categories: mean over draws (line), range (band), every draw (dots). Dashed: the same method with all training images."}} tags=["remove-input"]
fig = patchcore_figures.shot_panels(curves, levels)
figures.svg(fig, "Few images", "Detection quality against the number of normal images.")

# %% tags=["remove-input"]
Markdown(
    "Percent, mean over categories ± standard deviation over draws (draws):\n\n"
    + "\n\n".join(
        low_shot.value_table(runs, recorded, metric).to_markdown(index=False, disable_numparse=True)
        for metric in low_shot.METRICS
    )
)

# %% [markdown]
# ## Category by category

# %% mystnb={"image": {"alt": "A row of three panels a category: image AUROC, pixel AUROC and AUPRO against the number of normal images for three methods, with the level of all images as dashed lines.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-low-shot-categories", "caption": "The same, a row a category. Scales differ from panel to panel."}} tags=["remove-input"]
fig = patchcore_figures.shot_panels(curves, levels, by_category=True)
figures.svg(fig, "Few images, by category", "Detection quality by number of images and category.")

# %% [markdown]
# ## The same images: differences in pairs
#
# PatchCore minus its rival, percentage points, with a 95 % interval over draws of the images.

# %% tags=["remove-input"]
tables = {rival: low_shot.gains(runs, recorded, rival) for rival in ("PaDiM", "SPADE")}
Markdown(
    "\n\n".join(
        table.to_markdown(index=False, disable_numparse=True)
        if len(table)
        else f"Against {rival}: not run yet."
        for rival, table in tables.items()
    )
)

# %% [markdown]
# ## How many images PatchCore needs to do what the others do with all
#
# The smallest number from which on the mean over draws stays at or above the other method's
# level with all training images (209 to 320 in these categories), and both numbers in percent.
# *all*: only with all images too; *never*: not even then.

# %% tags=["remove-input"]
gaps = patchcore_pages.not_run(
    low_shot.missing_commands(runs, recorded, ["bottle", "capsule", "screw", "transistor"])
)
table = low_shot.reach_table(runs, recorded)
Markdown(
    (table.to_markdown(index=False, disable_numparse=True) if len(table) else "Not run yet.")
    + f"\n\n{gaps}"
)

# %% [markdown]
# ## The same, live
#
# The three methods on the data named by the parameters, with the same code that made the
# records. The embedded categories are small and easy: what is seen here is that the page runs,
# not what the paper claims.

# %% mystnb={"image": {"alt": "Three panels: image AUROC, pixel AUROC and AUPRO against the number of normal images on the live data, for PatchCore, PaDiM and SPADE.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-low-shot-live", "caption": "The same study, run while this page was built: mean over categories and draws, range over draws."}} tags=["remove-input"]
settings = {
    "PatchCore": ("patchcore", {"fraction": 0.1}),
    "PaDiM": ("padim", {"dim": 50}),
    "SPADE": ("spade", {"image_level": 3, "pixel_stride": pixel_stride}),
}
live = []
for category in categories:
    experiment = evaluate.open_experiment(
        dataset, category, root=root, backbone=backbone, weights=weights
    )
    for name, (method, values) in settings.items():
        for few in (n for n in shots if n >= low_shot.FEWEST.get(name, 1)):
            for seed in range(n_seeds):
                drawn = evaluate.Shots(few, seed)
                own = values if method == "spade" else values | {"seed": seed}
                metrics = experiment.run(method, own, shots=drawn).record["metrics"]
                place = {"method": name, "shots": few, "category": category, "seed": seed}
                live.append(place | metrics)
live = pd.DataFrame(live)
measured = {m: live.assign(value=live[m]) for m in low_shot.METRICS if m in live}
nothing = pd.DataFrame(columns=["method", "category", "value"])
fig = patchcore_figures.shot_panels(measured, dict.fromkeys(measured, nothing))
figures.svg(fig, "Few images, live", "Detection by number of normal images on the live data.")

# %% [markdown]
# ## Summary

# %% tags=["remove-input"]
Markdown(low_shot.summary(runs, recorded))
