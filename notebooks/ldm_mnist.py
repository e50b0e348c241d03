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
# # Table 1: one digit of MNIST held out
#
# Nine digits are normal, the tenth is anomalous; no label is used in training. The method compresses an image,
# brings noise onto its latent up to t = 200, takes the noise away again with a network that knows normal digits
# only, and lets a classifier say whether image and result show different things. The paper prints the AUROC of ten
# such runs, with three other methods (Table 1), and pictures of reconstructions (Fig. 3). First come the recorded
# runs on MNIST, then the same code live on the data named by the parameters.
#
# An AUROC below 50 % is shown as it is: a score that calls anomalies *more normal* than normal images has failed,
# and who knows that it must be turned round has looked at the labels.

# %% tags=["parameters"]
dataset: str = "digits"  # data set of the live run {digits, mnist, cifar10}
root: str | None = None  # folder of mnist or cifar10; none: the embedded digits
category: str = "0"  # anomalous classes of the live run, ascending
preset: str = "tiny"  # sizes of the live run {tiny, small, paper}
seed: int = 0  # of everything random in the live run [0..]
results: str = "results"  # folder of records

# %% tags=["remove-input"]
from pathlib import Path

from IPython.display import Markdown

from adlib import records, report
from adlib.study import figures, ldm_figures, ldm_pictures, ldm_summary, ldm_tables
from adlib.study.ldm_tables import FURTHER, MNIST, SCORES

runs, printed = records.table(results), report.reported(results)
file = Path(results, "pictures/ldm_mnist_0.npz")
recorded = ldm_pictures.read(file)
starts = ldm_tables.by_start(runs, MNIST)
Markdown(ldm_summary.relation(runs, MNIST))

# %% [markdown]
# ## Table 1, recorded on MNIST
#
# AUROC in percent over the official test images. Ours is the mean over seeds, with ± standard deviation and the
# number of seeds where there are several. *Our Method* is the paper's name for its own. Beside our score classifier
# stands the plain error of the very same reconstruction (of pixels or of latents, whichever is better in the mean),
# and below all the control: how bright an image is, the amount of ink, without any model.

# %% tags=["remove-input"]
table = ldm_tables.main_table(runs, printed, MNIST)
Markdown(
    "\n\n".join(
        (
            table.to_markdown(disable_numparse=True),
            ldm_summary.unassigned(printed, MNIST),
            ldm_summary.missing(runs, MNIST),
        )
    )
)

# %% [markdown]
# ### What folding would do
#
# The paper prints no AUROC below 50, not even where a digit has so little ink that every error is small. Some codes
# report max(a, 100 - a). This table shows what that would do to ours. *digits* is how many were run, and means are
# over just these, the paper's too.

# %% tags=["remove-input"]
Markdown(ldm_tables.folding_table(runs, printed, MNIST).to_markdown(disable_numparse=True))

# %% [markdown]
# ## What the scores measure
#
# Each row is a held-out digit; rows are ordered by the control, the line through them. A score that only follows the amount
# of ink lies along it, whatever the shapes. *VQ* is the compression model with its codebook (vector quantisation):
# image in, image out, no diffusion; its start is t = 0 below. *z-scores*: errors after several starts t, each less its
# mean and divided by its standard deviation on held-out normal images, averaged.

# %% mystnb={"image": {"alt": "A row a held-out digit, ordered by the AUROC of the mean ink, which is a line. Markers show the AUROC of each score.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-ink", "caption": "AUROC of seven scores by held-out digit. Line: the mean ink of an image, no model at all. Grey: chance."}} tags=["remove-input"]
figures.svg(
    ldm_figures.strip(ldm_tables.scores(runs, MNIST), "held-out digit", "mean ink"),
    "Scores and ink",
    "A row a digit, ordered by the AUROC of the mean ink; markers for every score.",
)

# %% [markdown]
# In numbers: *AUROC with control* is the correlation over digits between the AUROC of a score and that of the ink;
# *score with brightness* the rank correlation of the score with the ink among normal test images, in the mean over
# digits. The last six rows are further scores of the same models.

# %% tags=["remove-input"]
follows = ldm_tables.follow_table(ldm_tables.scores(runs, MNIST, SCORES | FURTHER))
Markdown(follows.to_markdown(disable_numparse=True))

# %% [markdown]
# ## Where the reverse chain begins
#
# The paper chooses t = 200 by looking at pictures.

# %% mystnb={"image": {"alt": "Three panels, AUROC against the start t: pixel error, latent error and pair classifier. Thin lines are digits, the thick line is their mean; t = 200 is marked.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-start", "caption": "AUROC against the start t, a thin line a held-out digit, thick their mean. t = 0: the VQ model alone, without diffusion. Dashed: the paper's t = 200."}} tags=["remove-input"]
figures.svg(
    ldm_figures.against_start(starts),
    "AUROC against t",
    "Three panels: pixel error, latent error, classifier; digits thin, mean thick.",
)

# %% [markdown]
# ### Does noise break the identity shortcut?
#
# If diffusion kept anomalies from being copied, their error would rise against that of normal images, compared with
# the VQ model alone.

# %% mystnb={"image": {"alt": "A row a held-out digit: the ratio of the mean pixel error of anomalous to normal images, after the VQ model alone and after diffusion from two starts.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-ratio", "caption": "Mean pixel error of anomalous over that of normal test images, by held-out digit. Right of a diamond: diffusion raised the error of anomalies against that of normal images. Thin bar: the range over all starts. Grey line: equal errors."}} tags=["remove-input"]
figures.svg(
    ldm_figures.ratios(starts, "held-out digit"),
    "Error ratios",
    "A row a digit; the error ratio with and without diffusion.",
)

# %% [markdown]
# ## Reconstructions, as in Fig. 3
#
# Read it downwards: a held-out digit that is still itself below t = 200 has not been found out. The samples at the
# bottom are the kind of picture that the classifier learns to call different; look whether they are digits at all.

# %% mystnb={"image": {"alt": "Grid of small pictures: five normal digits, three held-out zeros and three pictures of other data in columns; the inputs and their reconstructions from t = 0 to 500 in rows; below, sixteen samples.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-reconstructions", "caption": "Reconstructions from t = 0 (the VQ model alone) to 500 with digit 0 held out, and samples from noise. Chosen by rule: the first test image of each of the first five normal digits, the first three zeros, and grey thumbnails of the embedded data. Digits: MNIST (Y. LeCun, C. Cortes, C. J. C. Burges), CC BY-SA 3.0; the reconstructions are derived from them and under the same licence."}} tags=["remove-input"]
figures.svg(
    ldm_figures.reconstructions(recorded),
    "Reconstructions on MNIST",
    "Inputs and their reconstructions over t, for normal digits, zeros and other data.",
)

# %% [markdown]
# ## What was trained
#
# Losses of the recorded runs, a line a digit: the compression model, the diffusion of its latents, and the pair
# classifier.

# %% mystnb={"image": {"alt": "Loss against updates for compression model, diffusion and classifier, a thin line a recorded run.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-losses", "caption": "Losses of the recorded runs, a line a digit and seed. Each panel has its own scale."}} tags=["remove-input"]
figures.svg(
    ldm_figures.curves(ldm_figures.trained(runs, MNIST)),
    "Losses",
    "Three panels with falling lines, one a network.",
)

# %% tags=["remove-input"]
trained = ldm_tables.training_table(runs, MNIST)
Markdown(
    (
        "Codes in use on held-out normal images, the classifier on held-out pairs, and minutes of training of all "
        "three networks, by held-out digit:\n\n"
        + trained.to_markdown(disable_numparse=True)
        + "\n\n"
        if len(trained)
        else ""
    )
    + f"The pictures of reconstructions above: {ldm_summary.recorded(recorded, str(file))}"
)

# %% [markdown]
# ## The same, live
#
# Scores by their names in a record.

# %% tags=["remove-input"]
live = ldm_pictures.live(dataset, category, root, preset, seed)
Markdown(
    f"{ldm_summary.live(live)}\n\n{ldm_tables.live(live.metrics).to_markdown(disable_numparse=True)}"
)

# %% mystnb={"image": {"alt": "Grid of small pictures: normal images, held-out images and other data in columns; inputs and reconstructions in rows; below, sixteen samples.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-live", "caption": "Reconstructions and samples of the live run, chosen by the same rule."}} tags=["remove-input"]
shown = ldm_pictures.pictures(live.detector, live.category, live.about)
figures.svg(
    ldm_figures.reconstructions(shown),
    "Live reconstructions",
    "Inputs and their reconstructions over t, and samples.",
)

# %% mystnb={"image": {"alt": "Loss against updates for compression model, diffusion and classifier in the live run.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-live-losses", "caption": "Losses of the live run."}} tags=["remove-input"]
figures.svg(
    ldm_figures.curves([live.detector.drawn()]),
    "Losses of the live run",
    "Three panels with one line each.",
)

# %% [markdown]
# ## Summary

# %% tags=["remove-input"]
Markdown(ldm_summary.summary(runs, MNIST))
