"""Tables 1 and 2 of the latent-diffusion paper: printed rows, ours, folding, the control."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_runs import row, table
from sklearn.metrics import roc_auc_score

from adlib import parameters, report
from adlib.datasets import cifar10
from adlib.study import ldm_summary
from adlib.study import ldm_tables as tables
from adlib.study.ldm_tables import CIFAR10, MNIST, SCORES, Score
from adlib.study.tables import NOT_RUN, NOTHING

ROOT = Path(__file__).parent.parent
DIGITS = "0123456789"


@pytest.fixture(scope="module")
def printed() -> pd.DataFrame:
    return report.reported(ROOT / "results")


def digit_row(method: str, category: str, seed: int = 0, **changes) -> dict:
    """Return a row with made-up but distinct AUROCs: the error follows the ink."""
    ink = (int(category, 16) + 1) / 12
    metrics = {"auroc_ink": ink, "n_train": 54000 + int(category), "n_test": 10000}
    if method.startswith("latent_diffusion"):
        metrics |= {"auroc_vq": ink + 0.01, "ratio_vq": 0.5 + ink, "ink_vq": 0.5}
        for t in (100, 200, 300, 400, 500):
            metrics |= {
                f"auroc_pixel_t{t}": ink + t / 1e4 + seed / 100,
                f"ratio_pixel_t{t}": 0.5 + ink - t / 1e4,
                f"ink_pixel_t{t}": 0.4,
                f"auroc_latent_t{t}": ink - t / 1e4,
                f"auroc_classifier_t{t}": 0.5 + t / 1e4,
            }
        metrics |= {"auroc_classifier_vq": 0.45, "codes_used": 0.9, "perplexity": 300.0}
        metrics |= {"codes_restarted": 2, "pair_accuracy": 1.0, "pair_auroc": 1.0}
        metrics |= {f"seconds_{n}": 60.0 for n in ("compression_model", "diffusion", "classifier")}
        curve = {"step": [1, 2], "loss": [1.0, 0.5]}
        metrics |= {f"curve_{n}": curve for n in ("compression_model", "diffusion", "classifier")}
    elif method == "ddpm":
        metrics |= {"auroc_zscore_pixel": ink / 2, "ink_zscore_pixel": 0.3}
    else:
        metrics |= {"auroc_pixel": ink / 2, "ink_pixel": 0.3}
    fixed = {"dataset": "mnist", "backbone": None, "weights": None, "seed": seed}
    return row(f"{method} resize=null crop=null", category, metrics, **(fixed | changes))


def made(methods=("latent_diffusion", "autoencoder"), digits=DIGITS, seeds=1) -> pd.DataFrame:
    return table(
        [digit_row(m, digit, seed) for m in methods for digit in digits for seed in range(seeds)]
    )


def cifar(categories) -> pd.DataFrame:
    return made(digits="0").assign(dataset="cifar10").pipe(
        lambda one: pd.concat([one.assign(category=name) for name in categories])
    )  # fmt: skip


def test_the_columns_are_those_of_the_paper(printed):
    for layout, method in ((MNIST, "autoencoder"), (CIFAR10, "ldm")):
        found = tables.printed_row(printed, layout, method)
        assert list(found.index) == list(layout.columns) and found.notna().all()
    assert CIFAR10.categories == [n for names in cifar10.READINGS.values() for n in names]
    assert tables.printed_row(printed, MNIST, "autoencoder")["1"] == 60.2
    assert tables.printed_row(printed, CIFAR10, "ldm")["45678"] == 54.0


def test_damaged_rows_are_lists_and_never_assigned(printed):
    lost = tables.unassigned(printed, MNIST)
    assert {name: len(values) for name, values in lost.items()} == {"anoddpm": 11, "ldm": 9}
    assert lost["ldm"][0] == 64.9 and lost["ldm"][-1] == 56.3
    found = tables.main_table(made(), printed, MNIST)
    for name in ("AnoDDPM, paper", "Our Method, paper"):
        assert (found.loc[name, list(DIGITS)] == tables.UNASSIGNED).all()
        assert found.loc[name, "mean"] == NOTHING
    text = ldm_summary.unassigned(printed, MNIST)
    assert "56.3 (9 numbers for 10 columns)" in text and "damaged" in text
    assert tables.unassigned(printed, CIFAR10) == {} and not ldm_summary.unassigned(
        printed, CIFAR10
    )


def test_table_1_holds_ours_below_the_papers(printed):
    found = tables.main_table(made(), printed, MNIST)
    assert found.loc["Autoencoder, paper", "1"] == "60.2"
    assert found.loc["Autoencoder, paper", "mean"] == f"{np.mean([53.1, 60.2, 62.2, 57.8, 55.2, 56.9, 56.3, 50.3, 63.1, 51.2]):.1f}"  # noqa: E501 # fmt: skip
    assert found.loc["Autoencoder, ours", "0"] == f"{100 / 24:.1f}"  # far below 50, as it is
    assert found.loc["Latent diffusion classifier, ours", "0"] == "52.0"
    assert found.loc["Latent diffusion classifier, ours", "mean"] == "52.0"
    assert (found.loc["DDPM, ours", list(DIGITS)] == NOT_RUN).all()
    assert found.loc["DDPM, ours", "mean"] == NOTHING
    assert found.loc["Control: mean ink", "9"] == f"{1000 / 12:.1f}"


def test_a_mean_over_fewer_digits_is_none(printed):
    found = tables.main_table(made(digits=DIGITS[:9]), printed, MNIST)
    ours = found.loc["Autoencoder, ours"]
    assert ours["9"] == NOT_RUN and ours["mean"] == NOTHING and ours["8"] != NOT_RUN


def test_seeds_are_counted_where_there_are_several():
    assert tables.over_seeds(pd.Series([50.0])) == "50.0"
    assert tables.over_seeds(pd.Series([50.0, 52.0])) == "51.0 ± 1.4 (2)"
    assert tables.over_seeds(pd.Series(dtype=float)) == NOT_RUN
    runs = made(seeds=3)
    values = tables.auroc(runs, "mnist", "4", Score("latent_diffusion", "pixel_t200"))
    assert values.index.tolist() == [0, 1, 2]
    assert values.tolist() == pytest.approx([500 / 12 + 2 + s for s in range(3)])


def test_only_the_presets_own_settings_count(printed):
    runs = made(("latent_diffusion",), "0")
    for name, value in (("negatives", "other"), ("start", 400), ("printed", True), ("seen", True)):
        other = pd.concat([runs.assign(**{name: value}, auroc_classifier_t200=0.99), runs])
        found = tables.auroc(other, "mnist", "0", tables.own("latent_diffusion"))
        assert found.tolist() == pytest.approx([52.0]), name
    assert tables.auroc(runs, "digits", "0", tables.own("latent_diffusion")).empty
    assert tables.chosen(pd.DataFrame(), "mnist", "ddpm").empty


def test_the_papers_sizes_have_rows_of_their_own_once_they_were_run(printed):
    names = tables.main_table(made(digits="0"), printed, MNIST).index
    assert not any("preset" in name for name in names)
    sizes = tables.DETECTORS["latent_diffusion"].PRESETS["paper"]
    words = [f"{name}={parameters.write_scalar(value)}" for name, value in sizes.items()]
    large = table([digit_row(" ".join(["latent_diffusion", *words]), "0")])
    large["auroc_classifier_t200"] = 0.77
    both = pd.concat([made(digits="0"), large], ignore_index=True)
    found = tables.main_table(both, printed, MNIST)
    assert found.loc["Latent diffusion classifier, ours", "0"] == "52.0"
    assert found.loc["Latent diffusion classifier, ours, preset paper", "0"] == "77.0"
    assert "Autoencoder, ours, preset paper" not in found.index


def test_the_better_plain_error_is_named(printed):
    runs = made()
    assert tables.plain(runs, MNIST) == Score("latent_diffusion", "pixel_t200")
    assert "Latent diffusion pixel error, ours" in tables.main_table(runs, printed, MNIST).index
    better = runs.assign(auroc_latent_t200=0.99)
    assert tables.plain(better, MNIST) == Score("latent_diffusion", "latent_t200")
    assert "Latent diffusion latent error, ours" in tables.main_table(better, printed, MNIST).index


def test_table_2_has_a_row_for_each_reading(printed):
    found = tables.main_table(cifar(["01234", "56789"]), printed, CIFAR10)
    assert list(found.columns) == ["{01234}", "{23456}", "{45678}", "{67890}", "mean"]
    title = "Latent diffusion classifier, ours, listed"
    assert found.loc[f"{title} anomalous", "{01234}"] == "52.0"
    assert found.loc[f"{title} normal", "{01234}"] == "52.0"  # category 56789
    assert found.loc[f"{title} normal", "{23456}"] == NOT_RUN
    assert found.loc["Control: mean brightness, listed normal", "{67890}"] == NOTHING
    assert found.loc["Our Method, paper", "{45678}"] == "54.0"


def test_the_papers_own_third_column_contradicts_its_text(printed):
    text = ldm_summary.claim(printed, CIFAR10)
    assert "in 3 of 4 columns" in text and "in {45678} its 54.0 lies below" in text
    assert all(name in text for name in ("Autoencoder 60.8", "AnoDDPM 54.7", "DDPM 54.6"))
    assert "cannot be checked" in ldm_summary.claim(printed, MNIST)
    # where the method is first everywhere, no column is named
    first = printed.copy()
    first.loc[first["method"].eq("ldm") & first["paper"].eq("ldm"), "value"] = 99.0
    assert "in 4 of 4 columns." in ldm_summary.claim(first, CIFAR10)


def test_folding_is_what_turning_the_score_round_gives():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 200), rng.random(200)
    value = 100 * roc_auc_score(labels, scores)
    turned = 100 * roc_auc_score(labels, -scores)
    found = tables.fold(pd.Series([value, turned, 50.0]))
    assert found.tolist() == pytest.approx([max(value, turned)] * 2 + [50.0])


def test_the_folding_table_compares_over_the_same_digits(printed):
    found = tables.folding_table(made(digits="01"), printed)
    auto = found.loc["Autoencoder"]
    assert auto["1, paper"] == "60.2" and auto["1, ours"] == f"{200 / 24:.1f}"
    assert auto["1, folded"] == f"{100 - 200 / 24:.1f}"
    assert auto["digits"] == "2" and auto["below 50"] == "2"
    assert auto["mean, paper"] == f"{(53.1 + 60.2) / 2:.1f}"
    assert auto["mean, folded"] == f"{100 - 150 / 24:.1f}"
    assert found.loc["Latent diffusion", "mean, paper"] == NOTHING  # cannot be assigned
    assert found.loc["DDPM", "1, ours"] == NOT_RUN and found.loc["DDPM", "1, paper"] == "61.4"
    assert found.loc["Control: mean ink", "1, ours"] == f"{200 / 12:.1f}"


def test_what_follows_the_ink_has_correlation_one(printed):
    found = tables.follow_table(tables.scores(made(), MNIST))
    assert found.loc["autoencoder", "AUROC with control"] == "+1.00"
    assert found.loc["autoencoder", "score with brightness"] == "+0.30"
    assert found.loc["classifier, t = 200", "AUROC with control"] == NOTHING  # it never varies
    assert found.loc["pixel error, t = 200", "categories"] == "10"
    assert "DDPM, z-scores" not in found.index
    few = tables.follow_table(tables.scores(made(digits="01"), MNIST))
    assert (few["AUROC with control"] == NOTHING).all()
    assert tables.scores(pd.DataFrame(), MNIST).empty


def test_t_0_is_the_vq_model_alone(printed):
    found = tables.by_start(made(digits="5"), MNIST).set_index(["kind", "t"])
    assert list(found.loc["pixel"].index) == [0, 100, 200, 300, 400, 500]
    assert list(found.loc["latent"].index) == [100, 200, 300, 400, 500]
    assert found.loc[("pixel", 0), "auroc"] == pytest.approx(51.0)
    assert found.loc[("classifier", 0), "auroc"] == pytest.approx(45.0)
    assert found.loc[("pixel", 0), "ratio"] == pytest.approx(1.0)
    assert found.loc[("pixel", 500), "ratio"] == pytest.approx(0.95)
    assert np.isnan(found.loc[("latent", 200), "ratio"])
    assert tables.by_start(pd.DataFrame(), MNIST).empty


def test_trainings_by_category():
    found = tables.training_table(made(("latent_diffusion",), "03", seeds=2), MNIST)
    assert list(found.index) == ["0", "3"]
    assert found.loc["3"].tolist() == ["90", "300", "2", "100.0", "100.0", "3"]
    assert tables.training_table(pd.DataFrame(), MNIST).empty


def test_commands_name_what_is_lacking():
    found = tables.missing_commands(made(digits="012345678"), MNIST)
    head = "adlib evaluate {} --dataset mnist --root DIR"
    assert found == [
        head.format("autoencoder") + " --category 9",
        head.format("anoddpm"),  # all ten, which is what it runs unasked
        head.format("ddpm"),
        head.format("latent_diffusion") + " --category 9",
    ]
    full = made(tuple(tables.METHODS.values()))
    assert tables.missing_commands(full, MNIST) == []
    assert ldm_summary.missing(full, MNIST) == "Every cell was run."
    assert "--category 9\n" in ldm_summary.missing(made(digits="012345678"), MNIST)


def test_unasked_the_readers_run_the_categories_of_the_tables():
    from adlib.datasets import classes

    assert set(classes.one_each()) == set(MNIST.categories)
    assert len(set(CIFAR10.categories)) == 8


def test_the_summary_counts_what_the_classifier_wins():
    runs = made(tuple(tables.METHODS.values()))
    text = ldm_summary.summary(runs, MNIST)
    ink = [100 * (d + 1) / 12 for d in range(10)]
    assert "AUROC **52.0** in the mean over 10 categories, from 52.0 to 52.0" in text
    assert f"mean ink, without any model in {sum(each < 52 for each in ink)} of 10" in text
    assert "Autoencoder in 10 of 10" in text
    assert "(10 categories) it is the highest in 10." in text
    assert "pixel 50.8 at t = 500; latent 44.8 at t = 100; classifier 55.0 at t = 500" in text
    assert "is 0.96 after the VQ model alone; after diffusion: t = 200 0.94, t = 500 0.91" in text
    assert "autoencoder +1.00" in text and "classifier, t" not in text.split("Correlation")[1]


def test_the_summary_of_less_says_less():
    one = ldm_summary.summary(made(("latent_diffusion",), "0"), MNIST)
    assert "over 1 category," in one and "Autoencoder" not in one and "Correlation" not in one
    assert ldm_summary.summary(pd.DataFrame(), MNIST) == "Nothing to sum up is recorded yet."
    assert ldm_summary.relation(pd.DataFrame(), MNIST) == "Nothing is recorded on mnist yet."
    text = ldm_summary.relation(made(digits="01"), MNIST)
    assert "Autoencoder 2, AnoDDPM 0" in text and "54,000 to 54,001" in text
    assert ldm_summary.partial(pd.DataFrame(), CIFAR10) == ""


def test_without_any_record_every_table_stands(printed):
    nothing = pd.DataFrame()
    for layout in (MNIST, CIFAR10):
        found = tables.main_table(nothing, printed, layout)
        assert (found.loc[[n for n in found.index if "ours" in n], "mean"] == NOTHING).all()
        assert len(tables.missing_commands(nothing, layout)) == 4
    assert (tables.folding_table(nothing, printed)["1, ours"] == NOT_RUN).all()


def test_metrics_of_a_live_run():
    found = tables.live({"image_auroc": 0.5, "auroc_ink": 0.25, "auroc_vq": 0.75, "ratio_vq": 2,
                         "ink_vq": -0.5})  # fmt: skip
    assert found.loc["vq"].tolist() == ["the error without diffusion", "75.0", "2.00", "-0.50"]
    assert found.loc["ink"].tolist() == ["the brightness", "25.0", NOTHING, NOTHING]


def test_every_score_of_a_figure_is_one_that_the_methods_record():
    names = {(score.method, score.name) for score in SCORES.values()}
    assert {tables.own(method) for method in tables.METHODS.values()} <= names


def test_readings_apart_are_the_table_in_parts():
    parts = CIFAR10.apart()
    assert [one.categories for one in parts.values()] == [
        list(names) for names in CIFAR10.readings.values()
    ]
    assert sum((one.categories for one in parts.values()), []) == CIFAR10.categories
    assert {one.columns for one in parts.values()} == {CIFAR10.columns}
