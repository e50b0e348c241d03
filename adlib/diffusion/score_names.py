"""What the scores of the latent-diffusion chapter are called in a sentence."""

from __future__ import annotations

_SCORES = {
    "pixel": "the pixel error",
    "latent": "the latent error",
    "classifier": "the classifier",
    "vq": "the error without diffusion",
    "ink": "the brightness",
    "classifier_itself": "the classifier on an image and itself",
    "classifier_vq": "the classifier without diffusion",
    "zscore_pixel": "the mean z-score of pixel errors",
    "zscore_latent": "the mean z-score of latent errors",
    "pixel_per_ink": "the pixel error over brightness",
}


def score_name(score: str) -> str:
    """Write the name of a score in words: ``pixel_t200`` is an error after noise up to t = 200."""
    name, _, start = score.rpartition("_t")
    if name and start.isdecimal():
        return f"{_SCORES.get(name, name)} at t = {start}"
    return _SCORES.get(score, score.replace("_", " "))
