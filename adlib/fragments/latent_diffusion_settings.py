"""The settings of the latent-diffusion chapter's networks, from the code that trains them."""

from __future__ import annotations

from adlib import parameters
from adlib.evaluate import METHODS
from adlib.fragments.markdown import cell, code, table

STATED = {  # what the paper says itself
    ("latent_diffusion", "widths"),
    ("latent_diffusion", "unet_widths"),
    ("latent_diffusion", "start"),
    ("latent_diffusion", "negatives"),
    ("latent_diffusion", "classifier_widths"),
}
TITLES = {
    "latent_diffusion": "the method",
    "autoencoder": "autoencoder",
    "anoddpm": "AnoDDPM",
    "ddpm": "DDPM",
}


def latent_diffusion_settings() -> str:
    """Return a table a method: parameter, what it is, its value in the presets small and paper."""
    return "\n\n".join(_settings(method, title) for method, title in TITLES.items())


def _settings(method: str, title: str) -> str:
    known = parameters.of(METHODS[method])
    paper = METHODS[method].PRESETS["paper"]
    rows = [
        [
            code(name) + ("\u00a0*" if (method, name) in STATED else ""),
            cell(parameter.help),
            code(parameters.write_scalar(parameter.default)),
            code(parameters.write_scalar(paper.get(name, parameter.default))),
        ]
        for name, parameter in known.items()
        if name != "seed"
    ]
    header = [f"{title[0].upper()}{title[1:]}", "what it is", "`small`", "`paper`"]
    return table(header, rows)
