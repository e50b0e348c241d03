"""The answer, the tables and the settings of the latent-diffusion chapter."""

from __future__ import annotations

import pandas as pd
import pytest
from test_claims_latent_diffusion import (
    DIGITS,
    METHOD,
    class_studies,
    flat,
    pair_studies,
    rows_of,
)

from adlib import parameters
from adlib.claims import Evidence
from adlib.evaluate import METHODS
from adlib.fragments.latent_diffusion import latent_diffusion_answer, latent_diffusion_glance
from adlib.fragments.latent_diffusion_settings import latent_diffusion_settings

STARTS = (100, 200, 300, 400, 500)
PRINTED = pd.DataFrame(
    [
        {"paper": "ldm", "dataset": "mnist", "method": "ddpm", "category": "0", "value": 65.0},
        {"paper": "ldm", "dataset": "mnist", "method": "ldm", "category": "0", "value": None},
        {"paper": "ldm", "dataset": "cifar10", "method": "ldm", "category": "67890", "value": 57.4},
    ]
)


def made(names=("0", "1", "2")):
    """Records of the method: the classifier is best at 400, the ratio falls with diffusion."""
    levels = {t: 0.5 + 0.01 * (4 - abs(t - 400) // 100) for t in STARTS}
    columns = {f"auroc_classifier_t{t}": flat(v, names) for t, v in levels.items()}
    columns |= {f"auroc_pixel_t{t}": flat(0.6 + t / 1e4, names) for t in STARTS}
    columns |= {f"ratio_pixel_t{t}": flat(1.1, names) for t in STARTS}
    return rows_of(
        METHOD, image_auroc={n: 0.52 + 0.01 * i for i, n in enumerate(names)},
        ratio_vq=flat(1.2, names), auroc_vq=flat(0.6, names), auroc_ink=flat(0.77, names),
        auroc_classifier_itself=flat(0.4, names), auroc_classifier_vq=flat(0.45, names),
        pair_auroc=flat(1.0, names), parameters_millions=flat(2.0, names), **columns,
    )  # fmt: skip


def evidence(*rows, studies=None) -> Evidence:
    frame = pd.DataFrame([row for some in rows for row in some])
    return Evidence(frame, PRINTED, studies=studies or {})


def test_nothing_is_said_where_nothing_is_recorded():
    assert latent_diffusion_answer(evidence()) == (
        "Nothing is recorded on MNIST yet: "
        "`adlib evaluate latent_diffusion --dataset mnist --root DIR --seed 0`."
    )
    assert latent_diffusion_glance(evidence()) == ""


def test_the_answer_says_what_the_records_say():
    rivals = rows_of("autoencoder", image_auroc={"0": 0.9, "1": 0.4})
    text = latent_diffusion_answer(evidence(made(), rivals, studies=pair_studies(later=0.7)))
    assert "digits?** Open. In 2 of 10 at least one rival was run, in 0 all three" in text
    assert "avoided?** No. Anomalies" in text and "right?** No. The mean" in text
    assert "One seed a category was run." in text
    assert "ahead of all that were run in 1 (1 with 53.0)" in text
    assert "1.20 times the error" in text and "1.10 times after" in text
    assert "−0.10 [−0.10, −0.10], and more in 0 of 3" in text
    assert "largest at t = 400 (54.0 %), +2.00 [+2.00, +2.00] points ahead of 200 (52.0 %)" in text
    assert "AUROC of 100.0 % (classes alone allow 94.4 %), test images with 53.0 %, +3.00 [" in text
    assert "the same image from t = 600 +20.20 [+20.20, +20.20] points to 70.2 % (3 c" in text
    assert "2.0 million weights" in text
    (line,) = [one for one in text.splitlines() if one.startswith("| error ratio of the pixel")]
    assert line.split("|")[2:4] == [" 1.20 ", " 1.10 "]


def test_the_answer_says_what_a_judge_of_classes_would_find():
    kept = {0: 0.97, 100: 0.97, 200: 0.96, 300: 0.9, 400: 0.8, 500: 0.5}
    studies = class_studies(kept)
    for study in studies["classes"]:
        study["kept"] = {t: of | {"anomalous": of["normal"] / 2} for t, of in study["kept"].items()}
    text = latent_diffusion_answer(evidence(made(), studies=studies))
    assert "has an AUROC of 74.0 % at t = 200" in text
    assert "of 74.2 % at t = 100, the best of 100, 200" in text
    other = latent_diffusion_answer(evidence(made()))
    assert "find?** Not run: `python -m adlib.study.ldm_classes" in other


def test_the_answer_says_what_the_comparison_adds():
    studies = pair_studies()["pairs"]
    for study in studies:
        study["variants"]["noise"]["auroc"]["400"] = 0.65
    studies += [studies[0] | {"category": name} for name in "78"]
    text = latent_diffusion_answer(evidence(made(), studies={"pairs": studies}))
    (line,) = [one for one in text.splitlines() if "comparison alone" in one]
    assert "AUROC of 70.0 % at t = 400, +20.00 [" in line and "over 3 categories" in line  # 4, 7, 8
    assert "and +5.00 [" in line
    assert "digits 0 and 1, which are left out" in text


def test_the_answer_says_how_far_seeds_move_the_score():
    seeds = rows_of(METHOD, seeds=(1, 2), image_auroc={"0": (0.60, 0.45)})
    text = latent_diffusion_answer(evidence(made(), seeds))
    assert "By up to 15.0 points, with the same data and settings: 0: 52.0, 60.0, 45.0." in text


def test_two_lost_digits_are_one_too_many():
    rivals = rows_of("autoencoder", image_auroc={"0": 0.9, "1": 0.9})
    assert "digits?** Not in 9. In 2 of 10" in latent_diffusion_answer(evidence(made(), rivals))


def test_the_answer_names_what_is_missing():
    text = latent_diffusion_answer(evidence(made()))
    assert "Not run: `adlib evaluate autoencoder --dataset mnist" in text
    assert "`python -m adlib.study.ldm_pairs" in text and "nan" not in text


def test_tables_show_both_readings_and_leave_damaged_rows_out():
    cifar = rows_of(METHOD, "cifar10", image_auroc={"06789": 0.5, "12345": 0.6})
    text = latent_diffusion_glance(evidence(made(), cifar))
    rows = [line for line in text.splitlines() if line.startswith("| 0 |")]
    assert rows == ["| 0 | 52.0 (1) | – | – | – | 77.0 (1) | – | 65.0 |"]
    for name, value in (("06789", "50.0"), ("12345", "60.0")):
        (line,) = [one for one in text.splitlines() if one.startswith(f"| {name} |")]
        assert f"| {value} (1) |" in line and "57.4" in line  # one printed cell, read both ways
    assert text.count("5,000 of 25,000 normal training images") == 2
    assert text.count("| 9 |") == 1 and len(DIGITS) == 10


@pytest.mark.parametrize("method", ["latent_diffusion", "autoencoder", "anoddpm", "ddpm"])
def test_settings_are_those_of_the_code(method):
    text = latent_diffusion_settings()
    assert "`seed`" not in text
    paper = METHODS[method].PRESETS["paper"]
    for name, parameter in parameters.of(METHODS[method]).items():
        value = parameters.write_scalar(paper.get(name, parameter.default))
        if name != "seed":
            rows = [r for r in text.splitlines() if r.startswith(f"| `{name}`")]
            assert any(r.endswith(f"| `{value}` |") for r in rows), name
