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
# # Fig. 3: the coreset, how it is selected and what it costs
#
# A memory bank is thinned out so that no patch is left far from what is kept. The greedy rule for that is one
# sentence: *again and again, keep the point that is farthest from all that are kept.* This page shows what the rule
# does, how it is followed to the letter while most distances are never looked at, and what that costs.

# %% tags=["parameters"]
n_points: int = 2000  # points in the plane [256..100000]
kept: int = 60  # points that a subset in the plane keeps [2..256]
n_seeds: int = 5  # random draws and random first points [2..100]
dataset: str = "embedded"  # data set of the live run {embedded, mvtec_ad}
root: str | None = None  # folder with one folder a category; none: the embedded data
category: str = "gear"  # category of the live run
backbone: str = "efficientnet_lite0"  # network {resnet18, wide_resnet50_2, efficientnet_lite0}
weights: str | None = None  # file with the backbone's weights; none: package, cache, download
n_images: int = 8  # training images of the live run [1..]
fraction: float = 0.05  # share of the patches that the live run keeps (0..1]
dim: int = 128  # dimensions after the projection that the selection sees [1..]
n_centres: int = 64  # centres in the picture of the selection [2..784]
results: str = "results"  # folder of records

# %% tags=["remove-input"]
import numpy as np
import torch
from IPython.display import Markdown

from adlib import coreset, coreset_kernel, evaluate, features, patchcore, subsampling
from adlib.study import bench_report, coreset_demo, coreset_figures, coreset_trace, figures

clusters, cluster = coreset_demo.multimodal(n_points, seed=0)
data = {"multimodal": clusters, "uniform": coreset_demo.uniform(n_points, seed=0)}
starts = [int(np.random.default_rng(seed).integers(n_points)) for seed in range(n_seeds)]
chosen = {
    "coreset": {
        name: [coreset_demo.plain_greedy(points, kept, start) for start in starts]
        for name, points in data.items()
    },
    "random": {
        name: [
            np.random.default_rng(seed).choice(n_points, kept, replace=False)
            for seed in range(n_seeds)
        ]
        for name in data
    },
}

# %% [markdown]
# ## Fig. 3: coreset and random subset
#
# The paper's picture, on points of our own: eight clusters of which each has half as many points as the one before,
# and points spread evenly. The circle marks the largest gap: its centre is the point that is farthest from everything
# kept, its radius is the *covering radius*, which Eq. 5 asks to make small.

# %% mystnb={"image": {"alt": "Four scatter plots. Top: the greedy coreset of clustered and of evenly spread points reaches every cluster and is spaced evenly. Bottom: random subsets crowd in the large clusters, and a large empty circle shows what they miss.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-coreset-plane", "caption": "Kept points (orange) among all (blue), seed 0. Circle: the largest gap; its radius is the covering radius."}} tags=["remove-input"]
first = {way: {name: sets[0] for name, sets in of.items()} for way, of in chosen.items()}
figures.svg(
    coreset_figures.subsets(data, first),
    "Coreset and random subset",
    "Greedy and random subsets of clustered and of evenly spread points with their largest gaps.",
)

# %% tags=["remove-input"]
curves = {
    name: {
        way: np.array([coreset_demo.radii(points, order) for order in of[name]])
        for way, of in chosen.items()
    }
    for name, points in data.items()
}
ends = {name: {way: values[:, -1] for way, values in ways.items()} for name, ways in curves.items()}
missed = [
    coreset_demo.CLUSTERS - np.mean([len(np.unique(cluster[s])) for s in of["multimodal"]])
    for of in chosen.values()
]
Markdown(
    f"Covering radius with {kept} of {n_points} points, mean over {n_seeds} seeds [range]: "
    + "; ".join(
        f"{name}: "
        + ", ".join(f"{w} {v.mean():.2f} [{v.min():.2f}, {v.max():.2f}]" for w, v in of.items())
        for name, of in ends.items()
    )
    + f". Clusters without a kept point, of {coreset_demo.CLUSTERS}: coreset {missed[0]:.1f}, "
    f"random {missed[1]:.1f}."
)

# %% [markdown]
# The best subset is out of reach: finding it is NP-hard. But greedy is never more than twice as bad (Gonzalez 1985,
# [doi:10.1016/0304-3975(85)90224-5](https://doi.org/10.1016/0304-3975(85)90224-5)). If $l$ points are kept with radius
# $r$, then these and the farthest point are $l+1$ points at mutual distances of at least $r$; whatever $l$ points one
# keeps instead, two of the $l+1$ share their nearest one, and one of these two is at least $r/2$ away from it.

# %% mystnb={"image": {"alt": "Two panels, covering radius against the number of points kept on logarithmic scales: the coreset falls steadily, random subsets stay above it with a wide band; the region below half the coreset's radius is grey.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-coreset-radius", "caption": "Covering radius against the number kept: mean over seeds (line) and range (band); the seed draws the first point of the coreset. Grey: below half the coreset's radius, where no subset can be."}} tags=["remove-input"]
figures.svg(
    coreset_figures.radius_panels(curves),
    "Covering radius",
    "The covering radius falls with the number kept, faster for the coreset than at random.",
)

# %% [markdown]
# ## The rule, exactly
#
# *Exact* means here: the list of indices that comes out if all squared distances of the features as they are stored
# (float32) are summed in float64 from the first coordinate to the last, ties go to the lowest index, and a chosen point
# is not chosen again. One definition for every machine, every number of threads and every shortcut. It does not fall
# out of usual code by itself: distances as $|x|^2+|c|^2-2\,x\cdot c$ in float32 lose digits, and where two points are
# nearly equally far, they take the other one. This is the rule, and all that the fast selection has to reproduce:

# %% tags=["remove-input"]
Markdown(coreset_demo.code(coreset_demo.plain_greedy, coreset_demo.squared_distances))

# %% [markdown]
# ## Most pairs are never looked at
#
# Followed as written, $N$ points and $l$ centres cost $N\cdot l$ distances. But the rule only asks for the *largest*
# distance, so a point that is surely close need not be measured.
#
# 1. **Bounds instead of distances.** Each point carries an upper bound $u$: its distance to the nearest of those centres
#    that it was compared with. Centres that it has not met can only bring it closer, so $u$ may be stale but never too
#    small.
# 2. **Phases.** Choose a threshold $\theta$ that about a sixteenth of the bounds reach. Only these points are made
#    up to date. Those that still reach $\theta$ are the *candidates*, with true distances; everybody else is below
#    $\theta$ for certain. Greedy among the candidates is greedy among all, as long as the farthest of them
#    stays at $\theta$ or above. Then comes the next phase with a lower $\theta$.
# 3. **Hints.** To get below $\theta$, one near centre is enough. Neighbours in the image look alike, so a patch first asks
#    the patches beside it for their centres, and walks from centre to centre along links that earlier visits left.
#    A bad hint costs time, never the result.
# 4. **Sketches.** A comparison begins with a few numbers: the leading principal coordinates, and the length of the rest.
#    Their distance is at most the true one; if it already reaches $u$, the centre is ruled out without being
#    measured. Every such bound has a margin for rounding, on the safe side.
#
# The picture shows all pairs of a selection from the patches of one image of the live run below, made by a slow version of
# the same steps that keeps books. Each column is a centre; it concerns the few patches around it and is nothing to
# the others.

# %% mystnb={"image": {"alt": "Left: a matrix of patches by centres, nearly empty but for the first column; a few pairs are measured, some ruled out by a bound. Right: upper bounds sorted from large to small with a threshold; of the points above it most fall below after a hint, a few remain as candidates.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-coreset-lazy", "caption": "Left: every pair of a patch and a centre, and what became of it. Right: one phase. Of the bounds (grey) only those above the threshold are made up to date; vertical lines lead to what became of them. Those that remain above are the candidates for the next centres."}} tags=["remove-input"]
experiment = evaluate.open_experiment(
    dataset, category, root=root, backbone=backbone, weights=weights
)
images = experiment.category.train[:n_images]
embed = patchcore.PatchCore().embed
batches = features.ImageFeatures(experiment.backbone, images).batches()
patches = torch.cat([embed(levels) for levels in batches])
grid = tuple(patches.shape[1:3])
points = subsampling.project(patches.flatten(0, 2), dim, seed=0)
one_image = points[: grid[0] * grid[1]]
trace = coreset_trace.lazy_greedy(one_image, min(n_centres, len(one_image)))
figures.svg(
    coreset_figures.selection(
        trace, max(trace.phases[1:] or trace.phases, key=lambda p: (p.after >= p.theta).sum())
    ),
    "The lazy selection",
    "Which pairs of patches and centres were looked at, and one phase of the selection.",
)

# %% tags=["remove-input"]
equal = np.array_equal(trace.chosen, coreset_demo.plain_greedy(one_image, len(trace.chosen)))
Markdown(
    f"{len(one_image)} patches and {len(trace.chosen)} centres, {len(trace.phases)} phases: "
    f"{trace.share(coreset_trace.MEASURED):.1%} of the pairs were measured (the first centre, which "
    f"everybody has to meet, is {1 / len(trace.chosen):.1%}), "
    f"{trace.share(coreset_trace.BOUNDED):.1%} ruled out by a bound, "
    f"{trace.share(coreset_trace.NEVER):.1%} never looked at. The list of indices is "
    f"{'the same as' if equal else '**not** that'} of the rule above.\n\n"
    + coreset_demo.code(coreset.k_center_greedy)
    + "\n\n"
    + coreset_demo.code(
        coreset_kernel.refresh, coreset_kernel.hint, coreset_kernel.walk, coreset_kernel.select
    )
)

# %% [markdown]
# ## What it costs, recorded
#
# Processor time of one thread on the same points from the same start. The yardstick is *one matrix product* of all
# points with all centres in float32: what computing every distance would take at the very least. Plain greedy needs
# the same arithmetic one centre at a time, with all points read from memory each time.

# %% mystnb={"image": {"alt": "Bars of processor seconds on a logarithmic scale for the exact selection, one matrix product, plain greedy and anomalib; or a note that nothing was measured.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-coreset-cost", "caption": "Time of the selection beside one matrix product, plain float32 greedy and anomalib's sampler, points x centres. A star: extrapolated from a part of the steps, each of which costs the same."}} tags=["remove-input"]
measured = bench_report.measurements(results).get("coreset", {})
NOT_RUN = "Not run yet; `python benchmarks/coreset.py --root DIR --weights FILE --growth 1000000` measures."
figures.svg(
    coreset_figures.cost_bars(measured["results"]),
    "Time of the selection",
    "Bars of seconds a case for ours, one matrix product, plain greedy and anomalib.",
) if measured.get("results") else Markdown(NOT_RUN)

# %% tags=["remove-input"]
compiled = measured.get("compilation", {})
Markdown(
    coreset_demo.cost_table(measured["results"]).to_markdown(index=False, disable_numparse=True)
    + "\n\nRatios: median [lowest, highest] over runs in turn. *Memory added*: beside the points."
    + (
        f" The very first call also compiles, {compiled['first_process_seconds']:.0f} s, which the "
        "disk remembers: the first call of a later process takes "
        f"{compiled['second_process_seconds']:.1f} s."
        if compiled
        else ""
    )
) if measured.get("results") else None

# %% [markdown]
# How the time grows, on generated points: every phase passes over all points, so it is linear in their number; a new
# centre concerns fewer and fewer of them, so it is less than linear in the number of centres. At a fixed share kept
# both numbers grow, and plain greedy, as the product, with the square. Points that are *isotropic*, random in each of
# many dimensions, are the bad case: all are nearly equally far from each other, so nothing is near and no bound rules
# anything out.

# %% mystnb={"image": {"alt": "Two panels of processor seconds on logarithmic scales: against the number of points, up to a million, and against the number of centres, each beside one matrix product.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-coreset-growth", "caption": "Time against the number of points at a fixed share kept, and against the number of centres at a fixed number of points (solid); one matrix product of the same size (dashed)."}} tags=["remove-input"]
figures.svg(
    coreset_figures.growth_panels(measured["growth"]),
    "Growth of the time",
    "Seconds against points and against centres, beside one matrix product.",
) if measured.get("growth") else Markdown(NOT_RUN)

# %% [markdown]
# ## Live: where the coreset looks
#
# The package's selection on the data of the parameters, held against the rule above, and the kept patches drawn where
# they come from. A patch is kept because it is unlike all that are kept already: what repeats needs few patches,
# however large it is in the image.

# %% mystnb={"image": {"alt": "Two rows of the same training images with small squares on kept patches. Top, coreset: squares gather on edges and details. Bottom, random: squares are spread evenly.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-coreset-kept", "caption": "Kept patches on the first training images: by the coreset and at random. A square is a patch's own place; its features also see the surroundings."}} tags=["remove-input"]
n = subsampling.size(len(points), fraction)
selected = coreset.k_center_greedy(points, n)
at_random = subsampling.random(len(points), n, seed=0)
sets = {"coreset": selected, "random": at_random}
figures.svg(
    coreset_figures.kept_patches(
        images[:4], {way: coreset_demo.places(of, grid) for way, of in sets.items()}, grid
    ),
    "Kept patches",
    "Training images with the patches that the coreset and a random subset keep.",
)

# %% [markdown]
# ## Summary

# %% tags=["remove-input"]
slow = coreset_demo.plain_greedy(points, n)
rounded = coreset_demo.float32_greedy(points, n)
spread = {way: coreset_demo.covering_radius(points, of) for way, of in sets.items()}
ratio = {name: of["random"].mean() / of["coreset"].mean() for name, of in ends.items()}
busy = coreset_demo.contrast(images, grid)
drawn = [subsampling.random(len(points), n, seed) for seed in range(n_seeds)]
busier = [busy[of].mean() / busy.mean() for of in (selected, np.concatenate(drawn))]
Markdown(
    "- In the plane a random subset leaves gaps "
    + " and ".join(f"{value:.1f} times as wide ({name})" for name, value in ratio.items())
    + f" as the coreset's, and misses {missed[1]:.1f} of {coreset_demo.CLUSTERS} clusters.\n"
    f"- On {len(points)} patches of {category} with {n} kept the covering radius is "
    f"{spread['coreset']:.3g}, at random {spread['random']:.3g}.\n"
    f"- The squares of the kept patches have {busier[0]:.2f} times the contrast of all "
    f"squares (standard deviation of the grey values), at random {busier[1]:.2f} times.\n"
    f"- Positions of the list that differ from the exact rule: {(selected != slow).sum()} of {n} "
    f"in the package's selection, {(rounded != slow).sum()} of {n} in a plain float32 one.\n"
    f"- {trace.share(coreset_trace.NEVER):.0%} of the pairs in the picture were never looked at.\n"
    + ("\n" + bench_report.aims(measured["aims"]) if measured.get("aims") else "")
)
