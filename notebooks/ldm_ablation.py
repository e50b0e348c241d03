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
# # Which pairs train a classifier that helps
#
# The method looks at an image twice. A network that has only ever seen normal images is given the image under noise
# and takes the noise away again; the more noise (the larger the *start* t, of 1000), the freer it is to make
# something else of it. Then a classifier is shown both, the image and this *reconstruction*, and says whether they
# are different things. A normal image should come back as itself; an anomalous one should come back as something
# normal, and be found out.
#
# But the classifier has to learn "same" and "different" without ever seeing an anomaly. The paper's answer: an image
# and its own reconstruction are the same, an image and a picture made from pure noise are different. This page asks
# whether that teaches the right thing, whether other pairs do, and what the other choices of the method change.
#
# All AUROCs are in percent: how often an anomalous image gets a higher score than a normal one. 50 is a coin; below
# 50 the score has it the wrong way round, and it is left there.

# %% tags=["parameters"]
dataset: str = "digits"  # data set of the live run {digits, mnist, cifar10}
root: str | None = None  # folder of mnist or cifar10; none: the embedded digits
category: str = "0"  # anomalous classes of the live run, ascending
preset: str = "tiny"  # sizes of the live run {tiny, small, paper}
seed: int = 0  # of everything random in the live run [0..]
results: str = "results"  # folder of records and studies

# %% [markdown]
# ## In short

# %% tags=["remove-input"]
import warnings

from IPython.display import Markdown

from adlib import records
from adlib.study import (
    figures,
    ldm_ablation,
    ldm_ablation_choices,
    ldm_ablation_live,
    ldm_ablation_pages,
    ldm_tables,
)
from adlib.study import ldm_ablation_figures as drawn
from adlib.study.patchcore_pages import not_run

warnings.filterwarnings("ignore", message="IProgress not found")  # pages show no progress bars
runs = records.table(results)
pairs, labelled = ldm_ablation.pair_runs(results), ldm_ablation.class_runs(results)
Markdown(ldm_ablation_pages.in_short(pairs, labelled, runs))

# %% [markdown]
# ## Which pairs help?
#
# Same compression model, same diffusion, same reconstructions of the same test images: only the pairs that the
# classifier learns from differ. MNIST with one digit held out, preset *small*. A pair is "the same" if it is an image
# and its own reconstruction from t = 200 (*same: every t*: from t = 100 to 500 in turn). The second half of a
# "different" pair is what the row says. All classifiers have seed 0; what stands beside them from records is the mean
# over the recorded seeds. *VQ* is the compression model: image in, image out, without diffusion.

# %% tags=["remove-input"]
Markdown(
    "\n\n".join(
        (
            ldm_ablation_pages.pair_summary(pairs, runs),
            ldm_ablation_pages.clipping(pairs, runs),
            not_run(ldm_ablation.missing_pairs(pairs)),
        )
    )
)

# %% mystnb={"image": {"alt": "A row a kind of pairs. Open markers: AUROC of telling held-out pairs apart. Filled markers: AUROC of telling the held-out digit from normal digits at t = 200. Colours are digits 0, 1 and 4; chance is dashed; rows of plain scores below.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-pairs", "caption": "How well the classifier does what it was taught (open: pairs of normal images that it has not seen) and what that is worth (filled: the held-out digit among normal test images, t = 200). Below the line: scores without any classifier, from the records of the same digits (means over their seeds)."}} tags=["remove-input"]
figures.svg(
    drawn.pairs_against_images(pairs, ldm_ablation.controls(runs, ldm_ablation.ASKED)),
    "Pairs told apart, and images",
    "A row a kind of pairs; open markers for pairs, filled ones for test images, a colour a digit.",
)

# %% [markdown]
# A classifier may have learnt something that shows at another start. At *x* it compares an image with itself: a score
# that needs no model of normal images at all. Start 0 is the compression model alone, without noise.

# %% mystnb={"image": {"alt": "Eight panels, one a kind of pairs: AUROC of the classifier against the start t for digits 0, 1 and 4, with the pixel error of the same reconstructions dotted and chance dashed.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-pairs-start", "caption": "AUROC of the classifier against the start t, a panel a kind of pairs. Dotted: plain pixel error after the same diffusion (mean over the recorded seeds). Open marker at x: the score of an image compared with itself. Dashed: chance; vertical line: the paper's t = 200."}} tags=["remove-input"]
figures.svg(
    drawn.over_starts(pairs, ldm_tables.by_start(runs, ldm_tables.MNIST)),
    "AUROC against t by kind of pairs",
    "Eight panels with a line a digit, and the plain pixel error dotted.",
)

# %% tags=["remove-input"]
table = ldm_ablation.pair_table(pairs, runs)
differences = ldm_ablation.difference_table(pairs)
Markdown(
    "The numbers. *best t* is the start with the highest mean over the digits; it was found on the test images, so "
    f"it is more than one could hope for.\n\n{table.to_markdown(disable_numparse=True)}\n\n"
    + (
        "Against the paper's pairs, on every digit that was studied: mean difference in points of AUROC at t = 200 with "
        f"its 95 % interval over digits.\n\n{differences.to_markdown(disable_numparse=True)}"
        if len(differences)
        else ""
    )
)

# %% [markdown]
# ### Less what it says of the image alone
#
# A classifier that mostly looks at the image gives its verdict before it has seen the reconstruction. What the
# comparison itself adds is the difference of two of its answers: the logit of image and reconstruction, less that of
# the image with itself. It needs no label and no further training. It was thought of after a look at digits 0 and 1,
# so only the other digits test it; each has one seed.

# %% tags=["remove-input"]
less = ldm_ablation.less_table(pairs)
Markdown(
    f"{ldm_ablation_pages.less_summary(pairs)}\n\nAUROC of the difference:\n\n"
    f"{less.to_markdown(disable_numparse=True)}"
    if len(less)
    else "No kind of pairs is recorded yet."
)

# %% [markdown]
# ## What labels would add
#
# The method never sees a label. From outside one may look: a support vector machine that was taught all ten classes
# says what a reconstruction shows. If the idea works, normal digits keep their class and the held-out digit loses it.
# It also says how often a "different" picture made from noise shows the same digit by chance, and the classifier is
# taught again with pairs whose second half was drawn from other classes, or with pairs made by labels. One half of the
# test images teaches the labeller and makes these pairs, the other half is scored; the pairs are more than above, so
# the first row of the table differs from the one above. The last row needs no classifier: it is the AUROC of the
# labeller, who knows the class of the image and says only whether the reconstruction still shows it. The labeller errs
# at times, on a held-out 0 or 1 less than on other digits, and one who says how sure he is could have more: the row
# tells how much there is for a comparison of classes to find, and is no bound.

# %% mystnb={"image": {"alt": "A panel a held-out digit: share of reconstructions that show the class of their image, against the start t, for normal digits and for the held-out digit; the labeller's accuracy on the images themselves is dashed.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-kept", "caption": "How often a reconstruction shows the class of its image, by a labeller from outside. Start 0: the compression model alone. Dashed: how often the labeller is right on the images themselves, all ten digits together; 0 and 1 are easy ones, so their lines may begin above it. The wider the gap between the lines, the more a judge of classes could find."}} tags=["remove-input"]
figures.svg(
    drawn.kept_classes(labelled),
    "Classes kept",
    "A panel a digit; lines for normal digits and for the held-out digit against t.",
)

# %% tags=["remove-input"]
Markdown(
    "\n\n".join(
        (
            ldm_ablation_pages.class_summary(labelled),
            "AUROC at t = 200 / 400 / 500, by what the classifier learns to call different:",
            ldm_ablation.class_table(labelled).to_markdown(disable_numparse=True),
            not_run(ldm_ablation.missing_classes(labelled)),
        )
    )
)

# %% [markdown]
# ## Classifier or plain error?
#
# The simplest judge of a reconstruction is its distance from the image. Below, classifier (the paper's pairs) and
# distances come from the very same runs, on every category that was recorded. *z-scores over t*: the error at each t,
# less its mean and divided by its standard deviation on held-out normal images, averaged over all t.

# %% mystnb={"image": {"alt": "A row a category of MNIST and CIFAR-10: AUROC of the classifier as a star, of pixel error, latent error and their z-scores as other markers; chance is dashed.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-plain", "caption": "AUROC of the classifier (star) and of plain errors of the same reconstructions. Dashed: chance. A CIFAR-10 set is named by its anomalous classes."}} tags=["remove-input"]
figures.svg(
    drawn.by_category(runs),
    "Classifier and plain errors",
    "A row a category; a marker a score.",
)

# %% [markdown]
# ## How much is ink?
#
# A digit with much ink has more to reconstruct and so a larger error, whatever its shape. The amount of ink alone,
# without any model, is the control: on the diagonal a score says what the ink says.

# %% mystnb={"image": {"alt": "Panels, one a score: its AUROC against the AUROC of the mean ink, a digit a point, with the diagonal and chance drawn.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-ablation-ink", "caption": "AUROC of each score against that of the mean ink; each point is the held-out digit it names, grey squares are sets of CIFAR-10 (brightness for ink). Diagonal: the score says what the ink says."}} tags=["remove-input"]
figures.svg(
    drawn.against_ink(runs),
    "Scores against ink",
    "Panels with a point a digit, the diagonal and chance.",
)

# %% tags=["remove-input"]
ink = ldm_tables.follow_table(ldm_tables.scores(runs, ldm_tables.MNIST, ldm_ablation.INKED))
Markdown(
    f"{ldm_ablation_pages.plain_summary(runs)}\n\n{ldm_ablation_pages.ink_summary(runs)}\n\n"
    "*AUROC with control*: correlation over digits with the AUROC of the ink. *score with brightness*: rank "
    f"correlation with the ink among normal images.\n\n{ink.to_markdown(disable_numparse=True)}"
)

# %% [markdown]
# ## What a choice changes
#
# Difference from the default on the same digit and seed, in points of AUROC. The default goes down from t = 200 by
# DDIM in steps of 50; DDPM takes every step. The paper's Eq. 9 adds $\beta_t z$ where its own Eq. 6 asks for
# $\sqrt{\beta_t} z$, so as printed too little noise is put back. With edges as target the decoder never shows the image
# itself, and errors are errors of edges. *Images seen in training* are pairs made from images that compression model and diffusion were
# trained on. A dash: the choice touches the classifier only.

# %% tags=["remove-input"]
table = ldm_ablation_choices.choice_table(runs, pairs)
gaps = ldm_ablation_choices.missing_choices(runs, pairs)
Markdown(f"{table.to_markdown(index=False, disable_numparse=True)}\n\n{not_run(gaps)}")

# %% [markdown]
# ## Live: what the classifier is asked
#
# Two kinds of pairs on the data named by the parameters. Below each pair stands what the classifier taught by its kind
# says: P(different), in percent. With the preset *tiny* networks learn for a few seconds: blurred shapes, and numbers
# that prove the machinery and nothing else.

# %% mystnb={"image": {"alt": "Rows of small pictures: images, their own reconstructions called the same, samples from noise and reconstructions of other images called different, with a number below each.", "classes": "dark-light", "width": "100%"}, "figure": {"name": "fig-ldm-live-pairs", "caption": "What the classifier is asked, made while this page was built: each image of the first row with each picture below it. Numbers: P(different) in percent. 'noise' and 'other' name what the classifier was taught to call different: a sample from noise, or the reconstruction of another image. 'same' is the image's own reconstruction from t = 200."}} tags=["remove-input"]
live = ldm_ablation_live.live(dataset, category, root, preset, seed)
figures.svg(
    drawn.live_pairs(live),
    "Pairs of the live run",
    "Rows of pictures: image, same, different, for two kinds of pairs.",
)

# %% tags=["remove-input"]
Markdown(f"AUROC of the live run:\n\n{live.table.to_markdown(disable_numparse=True)}")
