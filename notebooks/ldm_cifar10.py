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
# # Table 2: five classes of CIFAR-10 against five
#
# Half of the ten classes are normal, the other half anomalous; no label is used in training. The paper prints four
# such splits (Table 2) as sets of five digits, 0 to 9 being airplane, automobile, bird, cat, deer, dog, frog, horse,
# ship and truck. The head of its table calls the sets *anomaly classes*; its text speaks of five normal and five
# anomalous classes and does not say which are printed. Both readings are run. First come the recorded runs on CIFAR-10, then the same code live on the data
# named by the parameters.
#
# An AUROC below 50 % is shown as it is.

# %% tags=["parameters"]
dataset: str = "digits"  # data set of the live run {digits, mnist, cifar10}
root: str | None = None  # folder of mnist or cifar10; none: the embedded digits
category: str = "01234"  # anomalous classes of the live run, ascending
preset: str = "tiny"  # sizes of the live run {tiny, small, paper}
seed: int = 0  # of everything random in the live run [0..]
results: str = "results"  # folder of records

# %% tags=["remove-input"]
from IPython.display import Markdown

from adlib import records, report
from adlib.study import figures, ldm_figures, ldm_pictures, ldm_summary, ldm_tables
from adlib.study.ldm_tables import CIFAR10, FURTHER, SCORES

runs, printed = records.table(results), report.reported(results)
starts = ldm_tables.by_start(runs, CIFAR10)
Markdown(ldm_summary.relation(runs, CIFAR10))

# %% [markdown]
# ## Table 2, recorded on CIFAR-10
#
# AUROC in percent over the official test images, a row of ours for each reading of the printed sets: *listed
# anomalous* follows the head of the table, *listed normal* is the other reading. Ours is the mean over seeds, with ± standard
# deviation and the number of seeds where there are several. Beside our score classifier stands the plain error of
# the very same reconstruction (of pixels or of latents, whichever is better in the mean), and below all the control:
# the mean brightness of an image, without any model. In one reading it is 100 minus what it is in the other.

# %% tags=["remove-input"]
table = ldm_tables.main_table(runs, printed, CIFAR10)
Markdown(
    "\n\n".join(
        (
            table.to_markdown(disable_numparse=True),
            ldm_summary.claim(printed, CIFAR10),
            ldm_summary.partial(runs, CIFAR10, results),
            ldm_summary.missing(runs, CIFAR10),
        )
    )
)

# %% [markdown]
# ## What the scores measure
#
# Each row is a split, named by its anomalous classes; rows are ordered by the control, the line through them.

# %% mystnb={"image": {"alt": "A row a set of anomalous classes, ordered by the AUROC of the mean brightness, which is a line. Markers show the AUROC of each score.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-brightness", "caption": "AUROC of seven scores by set of anomalous classes. Line: the mean brightness of an image, no model at all. Grey: chance."}} tags=["remove-input"]
figures.svg(
    ldm_figures.strip(ldm_tables.scores(runs, CIFAR10), "anomalous classes", "mean brightness"),
    "Scores and brightness",
    "A row a split, ordered by the AUROC of the mean brightness; markers for every score.",
)

# %% [markdown]
# *AUROC with control* is the correlation over splits between the AUROC of a score and that of the brightness; *score
# with brightness* the rank correlation of the score with the brightness among normal test images. The readings stand
# apart: together, each set and its complement would cancel.

# %% tags=["remove-input"]
follows = {
    title: ldm_tables.follow_table(ldm_tables.scores(runs, one, SCORES | FURTHER))
    for title, one in CIFAR10.apart().items()
}
Markdown(
    "\n\n".join(
        f"{t}:\n\n{table.to_markdown(disable_numparse=True)}" for t, table in follows.items()
    )
)

# %% [markdown]
# ## Where the reverse chain begins

# %% mystnb={"image": {"alt": "Three panels, AUROC against the start t: pixel error, latent error and pair classifier. Thin lines are splits, the thick line is their mean over both readings; t = 200 is marked.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-cifar-start", "caption": "AUROC against the start t, a thin line a split, thick their mean. t = 0: the VQ model alone, without diffusion. Dashed: the paper's t = 200."}} tags=["remove-input"]
figures.svg(
    ldm_figures.against_start(starts),
    "AUROC against t",
    "Three panels: pixel error, latent error, classifier; splits thin, mean thick.",
)

# %% mystnb={"image": {"alt": "A row a set of anomalous classes: the ratio of the mean pixel error of anomalous to normal images, after the VQ model alone and after diffusion from two starts.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-cifar-ratio", "caption": "Mean pixel error of anomalous over that of normal test images, by set of anomalous classes. Right of a diamond: diffusion raised the error of anomalies against that of normal images. Thin bar: the range over all starts. Grey line: equal errors."}} tags=["remove-input"]
figures.svg(
    ldm_figures.ratios(starts, "anomalous classes"),
    "Error ratios",
    "A row a split; the error ratio with and without diffusion.",
)

# %% [markdown]
# ## What was trained

# %% mystnb={"image": {"alt": "Loss against updates for compression model, diffusion and classifier, a thin line a recorded run.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-cifar-losses", "caption": "Losses of the recorded runs, a line a split. Each panel has its own scale."}} tags=["remove-input"]
figures.svg(
    ldm_figures.curves(ldm_figures.trained(runs, CIFAR10)),
    "Losses",
    "Three panels with falling lines, one a network.",
)

# %% tags=["remove-input"]
trained = ldm_tables.training_table(runs, CIFAR10)
Markdown(
    "Codes in use on held-out normal images, the classifier on held-out pairs, and minutes of training of all three "
    "networks, by set of anomalous classes:\n\n" + trained.to_markdown(disable_numparse=True)
    if len(trained)
    else "Nothing was trained yet."
)

# %% [markdown]
# ## The same, live
#
# The pictures of CIFAR-10 may not be passed on here, so the book shows the embedded digits instead; with `dataset`
# set to `cifar10` and `root` to its folder, this part shows CIFAR-10. Scores
# by their names in a record.

# %% tags=["remove-input"]
live = ldm_pictures.live(dataset, category, root, preset, seed)
Markdown(
    f"{ldm_summary.live(live)}\n\n{ldm_tables.live(live.metrics).to_markdown(disable_numparse=True)}"
)

# %% mystnb={"image": {"alt": "Grid of small pictures: normal images, held-out images and other data in columns; inputs and reconstructions in rows; below, sixteen samples.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-cifar-live", "caption": "Reconstructions over the start t and samples of the live run. Chosen by rule: the first test image of each normal class, the first three anomalous ones, and grey thumbnails of the embedded data."}} tags=["remove-input"]
shown = ldm_pictures.pictures(live.detector, live.category, live.about)
figures.svg(
    ldm_figures.reconstructions(shown),
    "Live reconstructions",
    "Inputs and their reconstructions over t, and samples.",
)

# %% [markdown]
# ## Summary

# %% tags=["remove-input"]
Markdown(
    "\n\n".join(
        f"{title}:\n\n{ldm_summary.summary(runs, one)}" for title, one in CIFAR10.apart().items()
    )
)
