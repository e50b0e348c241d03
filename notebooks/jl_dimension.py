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
# # Fig. 3: how many dimensions, and is a projection better than a selection?
#
# The report's Fig. 3 shows the pixel AUROC rising quickly from 50 to 200 dimensions and flat after that, and says
# that 150 projected dimensions do what PaDiM does with 550. It shows one curve, without seeds and without the other reductions.
# Here coordinates, Gaussian and Haar projections run at every dimension with several draws, and the question that decides the chapter is asked at
# equal dimension, paired over seeds and categories: is a Gaussian projection better than a choice of coordinates,
# and how much of any gain is only that Eq. 6 scales the features up and so makes the fixed regulariser $\epsilon$ smaller?

# %% tags=["parameters"]
dataset: str = "embedded"  # data set of the live run {embedded, mvtec_ad}
root: str | None = None  # folder with one folder a category; none: the embedded data
categories: list[str] = ["brick", "gear"]  # categories of the live run
backbone: str = "efficientnet_lite0"  # network {resnet18, wide_resnet50_2, efficientnet_lite0}
weights: str | None = None  # file with the backbone's weights; none: package, cache, download
dims: list[int] = [10, 25, 50, 100]  # reduced dimensions m of the live run [1..4096]
n_seeds: int = 3  # random draws per setting of the live run [2..100]
metric: str = "pixel_auroc"  # what is compared {pixel_auroc, aupro, image_auroc}
results: str = "results"  # folder of records

# %% [markdown]
# ## Recorded on MVTec AD, ResNet-18

# %% tags=["remove-input"]
import numpy as np
import pandas as pd
from IPython.display import Markdown

from adlib import evaluate, records, report
from adlib.study import ablation, figures, pictures

curve = report.dimension_curve("resnet18", metric, results)
recorded = sorted(curve["category"].unique())
name = metric.replace("_", " ").replace("auroc", "AUROC").replace("aupro", "AUPRO")
Markdown(f"{len(curve)} recorded runs on {', '.join(recorded) or 'no category yet'}.")

# %% mystnb={"image": {"alt": "Four panels, one a category: detection quality against the number of dimensions for coordinates, Gaussian and Haar, with the unreduced value as a dashed line.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-dimension", "caption": "The dimension ablation on MVTec AD with ResNet-18, eps as printed: mean over seeds (line), range (band) and every seed (dots). Dashed: all 448 channels, no reduction."}} tags=["remove-input"]
fig = pictures.dimension_panels(curve, name)
figures.svg(
    fig, "Dimension ablation", "Detection quality against reduced dimension, one panel a category."
)

# %% [markdown]
# ## The paired question
#
# For each dimension and seed, the difference from the coordinate selection of the same dimension, averaged over the
# categories. The interval is over seeds: it speaks about other random draws on these categories, not about other
# categories. *matched* multiplies $\epsilon$ by the variance of a projected coordinate over that of a raw one, so that it
# weighs the same as before the projection; Haar's orthonormal rows keep the variance and need no such correction.

# %% mystnb={"image": {"alt": "Gain over the coordinate selection in percentage points against the number of dimensions, with intervals, for Gaussian and Haar with printed and with matched eps.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-gain", "caption": "Gain over PaDiM's coordinate selection at equal dimension, in percentage points: mean over categories and seeds, 95 % interval over seeds. Open markers: eps matched to the scale of the projection."}} tags=["remove-input"]
gains = ablation.gains(curve)
fig = pictures.gain(gains, name)
figures.svg(
    fig, "Gain over coordinates", "Paired gain over the coordinate selection against dimension."
)

# %% tags=["remove-input"]
Markdown(
    ablation.gain_table(gains).to_markdown(index=False, disable_numparse=True)
    if len(gains)
    else "No paired records yet."
)

# %% [markdown]
# ## How much of the gain is the regulariser?
#
# Eq. 6 gives a projected coordinate D/m times the variance of a raw one, so the same $\epsilon$ counts D/m times less.
# Three controls take that apart at m = 100: the Gaussian with $\epsilon$ matched, Haar (same span in distribution, no scaling), and
# coordinates with $\epsilon$ divided by D/m.

# %% tags=["remove-input"]
Markdown(ablation.decomposition(records.table(results), "resnet18"))

# %% [markdown]
# ## Does it carry over to a second network?

# %% tags=["remove-input"]
Markdown(ablation.second_network(results, "efficientnet_lite0"))

# %% [markdown]
# ## Cost
#
# The report: 150 dimensions instead of 550 save about 10x memory and run 3x faster. The covariances of a position have
# $m^2$ entries, so $(550/150)^2 = 13.4$; the features, and the network that computes them, shrink less or not at all.
# Measured here with ResNet-18 (one core; fit and score without the backbone, which costs the same for every m):

# %% tags=["remove-input"]
Markdown(ablation.cost_table(records.table(results), "resnet18").to_markdown(disable_numparse=True))

# %% [markdown]
# ## The same, live

# %% mystnb={"image": {"alt": "Detection quality against the number of dimensions on the live data, for coordinates, Gaussian and Haar.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-dimension-live", "caption": "The same ablation, run while this page was built, on the data named by the parameters: mean over categories, range over seeds."}} tags=["remove-input"]
live = []
for category in categories:
    experiment = evaluate.open_experiment(
        dataset, category, root=root, backbone=backbone, weights=weights
    )
    for values in evaluate.grid(
        {"reduction": list(pictures.COLORS), "dim": dims, "seed": list(range(n_seeds))}
    ):
        measured = experiment.run("padim", values).record["metrics"]
        live.append(values | {"category": category, "value": measured.get(metric, np.nan)})
live = pd.DataFrame(live)
fig, ax = figures.figure(6, 3.6)
for reduction, color in pictures.COLORS.items():
    cells = ablation.by_dimension(live[live["reduction"] == reduction]) * 100
    figures.line_with_spread(ax, cells.index, cells.to_numpy(), reduction, color)
ax.set(xlabel="dimensions m", ylabel=f"{name} [%]", title=f"{dataset}: {', '.join(categories)}")
ax.legend()
figures.svg(fig, "Live ablation", "The ablation on the live data.")

# %% [markdown]
# ## Summary

# %% tags=["remove-input"]
Markdown(ablation.summary(curve, gains, records.table(results), name))
