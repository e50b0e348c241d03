"""The ablation of latent diffusion: tables and sentences from studies and records made by hand."""

from __future__ import annotations

import json

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from made_runs import row, table
from scipy import stats
from tiny_diffusion import QUICK

from adlib import metrics
from adlib.diffusion.detector import LatentDiffusionDetector
from adlib.errors import InputError
from adlib.parameters import check, read_assignments
from adlib.study import ldm_ablation as ablation
from adlib.study import ldm_ablation_choices as choices
from adlib.study import ldm_ablation_figures as drawn
from adlib.study import ldm_ablation_live as live
from adlib.study import ldm_ablation_pages as pages
from adlib.study import ldm_classes, ldm_pairs, ldm_tables
from adlib.study.tables import NOTHING

STARTS = (*map(str, ldm_pairs.STARTS), "itself")
LEVELS = {"0": 0.4, "1": 0.7}  # of the classifier in the records
INK = {"0": 0.8, "1": 0.1}
NAMES = (
    *("classifier_t200", "pixel_t200", "latent_t200", "vq", "zscore_pixel", "pixel_per_ink"),
    "zscore_latent",
)


@pytest.fixture(autouse=True)
def _settings():
    """Give every test matplotlib's settings as they were."""
    with mpl.rc_context():
        yield


def run(category, settings="", gain=0.0, seed=0, dataset="mnist", level=None):
    """Return a row of ``records.table()``: every score lies `gain` above its level."""
    level = LEVELS[category] if level is None else level
    metrics = {f"auroc_{name}": level + gain + 0.01 * i for i, name in enumerate(NAMES)}
    metrics |= {f"ink_{name}": 0.1 * i for i, name in enumerate(NAMES)}
    metrics |= {"auroc_ink": INK.get(category, 0.5), "n_test": 100}
    changes = {"dataset": dataset, "seed": seed, "backbone": None}
    return row(f"latent_diffusion {settings}".strip(), category, metrics, **changes)


@pytest.fixture
def runs():
    return table(
        [
            run("0"),
            run("0", seed=1, gain=0.1),
            run("1"),
            run("0", "grid=200 stride=20", gain=0.03),
            run("0", "grid=200 sampler=ddpm printed=true", gain=-0.05),
            run("0", "grid=200 sampler=ddpm printed=true", gain=0.15, seed=1),
            # what must not count: another choice on top, other data, another preset
            run("0", "schedule=scaled_linear stride=20", gain=0.3),
            run("0", "schedule=scaled_linear", dataset="digits", gain=0.3),
            run("0", "preset=tiny edges=true", gain=0.3),
            run("01234", dataset="cifar10", level=0.5),
        ]
    )


def pair_study(category, seed=0, preset="small", names=tuple(ldm_pairs.VARIANTS), gain=0.0):
    """The variant at place i has 0.5 + i / 100 at t = 200, a tenth more at t = 400."""
    variants = {}
    for name in names:
        level = 0.5 + list(ldm_pairs.VARIANTS).index(name) / 100 + gain
        auroc = dict.fromkeys(STARTS, level) | {"400": level + 0.1, "itself": 0.95}
        less = {"200": level + 0.2, "400": level + 0.3}
        variants[name] = {"changes": {}, "pair_auroc": 0.9, "auroc": auroc, "less_itself": less}
    return {"schema": 1, "dataset": "mnist", "category": category, "preset": preset,
            "seed": seed, "variants": variants}  # fmt: skip


def class_study(category, seed=0):
    kept = {"normal": 0.9, "anomalous": 0.6}
    return {
        "schema": 1, "dataset": "mnist", "category": category, "preset": "small", "seed": seed,
        "labeller_accuracy": 0.97, "same_class": 0.105, "expected_same_class": 0.111,
        "kept": {str(t): dict(kept) for t in (0, *ldm_classes.STARTS)} | {"500": {
            "normal": 0.6, "anomalous": 0.2}},
        "auroc": {
            name: {str(t): 0.4 + 0.1 * i + t / 10000 for t in ldm_classes.COMPARED}
            for i, name in enumerate(ldm_classes.VARIANTS)
        },
    }  # fmt: skip


def keep(folder, kind, study):
    (folder / "studies").mkdir(exist_ok=True)
    name = (
        f"ldm_{kind}-{study['dataset']}-{study['category']}-{study['preset']}-seed{study['seed']}"
    )
    (folder / "studies" / f"{name}.json").write_text(json.dumps(study))


@pytest.fixture
def results(tmp_path):
    keep(tmp_path, "pairs", pair_study("0"))
    keep(
        tmp_path, "pairs", pair_study("1", names=("noise", "other", "noise, seen images"), gain=0.2)
    )
    keep(tmp_path, "pairs", pair_study("4", preset="tiny"))
    keep(tmp_path, "classes", class_study("0"))
    return tmp_path


# -- reading


def test_studies_are_read_by_data_set_and_preset(results):
    found = ablation.pair_runs(results)
    assert set(found["category"]) == {"0", "1"}
    assert len(found) == len(STARTS) * (len(ldm_pairs.VARIANTS) + 3)
    assert ablation.at(found, "other").to_dict() == pytest.approx({"0": 51, "1": 71})
    assert ablation.at(found, "other", 400).to_dict() == pytest.approx({"0": 61, "1": 81})
    assert set(ablation.pair_runs(results, preset="tiny")["category"]) == {"4"}
    assert ablation.pair_runs(results, dataset="digits").empty
    assert set(ablation.class_runs(results)) == {"0"}


def test_what_comparing_adds(results):
    found = ablation.less_table(ablation.pair_runs(results), ("0", "1"))
    assert set(found.columns) == {
        f"t = {t}, {what}" for t in (200, 400) for what in ("digit 0", "digit 1", "mean")
    }
    row = found.loc[ablation.TITLES["other"]]  # 0.51 and 0.71, and what the study added
    assert [float(row[f"t = 200, {what}"]) for what in ("digit 0", "digit 1", "mean")] == [
        71,
        91,
        81,
    ]
    assert float(row["t = 400, digit 0"]) == 81
    assert found.loc[ablation.TITLES["later"], "t = 200, mean"] == NOTHING  # digit 1 was not run
    old = ablation.pair_runs(results).assign(less=np.nan)
    assert ablation.less_table(old, ("0", "1")).empty


def test_the_difference_is_tested_on_digits_it_was_not_thought_of(results):
    assert pages.less_summary(ablation.pair_runs(results)) == ""  # digits 0 and 1 only
    for digit, gain in (("7", 0.1), ("8", -0.3)):
        keep(results, "pairs", pair_study(digit, names=("noise",), gain=gain))
    text = pages.less_summary(ablation.pair_runs(results))
    interval = stats.ttest_1samp([80, 40], 0).confidence_interval()
    assert "on digits 7 and 8, which" in text
    assert f"at t = 200 60.0 [{interval.low:.1f}, {interval.high:.1f}], above 50 on 1 of 2" in text
    assert "(the classifier's own score: 40.0)" in text and "at t = 400 70.0" in text


def test_several_seeds_are_averaged_and_labels_take_the_first(results):
    keep(results, "pairs", pair_study("0", seed=1, gain=0.1))
    assert ablation.at(ablation.pair_runs(results), "noise")["0"] == pytest.approx(55)
    keep(results, "classes", class_study("0", seed=3))
    assert ablation.class_runs(results)["0"]["seed"] == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2, "dataset": "mnist"}', "{"])
def test_a_damaged_study_is_named(tmp_path, text):
    (tmp_path / "studies").mkdir()
    file = tmp_path / "studies" / "ldm_pairs-mnist-0-small-seed0.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"ldm_pairs-mnist-0.*run the study again"):
        ablation.pair_runs(tmp_path)


def test_every_variant_has_a_title():
    assert set(ablation.TITLES) == set(drawn.SHORT) == set(ldm_pairs.VARIANTS)
    assert set(ablation.LABELLED) == set(ldm_classes.VARIANTS)
    assert len(set(ablation.LABELLED.values())) == len(ldm_classes.VARIANTS)


# -- pairs


def test_the_table_of_pairs_shows_digits_controls_and_the_best_start(results, runs):
    found = ablation.pair_table(ablation.pair_runs(results), runs, ("0", "1"))
    other = found.loc[ablation.TITLES["other"]]
    assert other.to_dict() == {
        "pairs, digit 0": "90.0", "pairs, digit 1": "90.0",
        "images, digit 0": "51.0", "images, digit 1": "71.0", "images, mean": "61.0",
        "best t": "400", "mean there": "71.0",
    }  # fmt: skip
    later = found.loc[ablation.TITLES["later"]]
    assert later["images, digit 1"] == "not run" and later["images, mean"] == "–"
    assert later["best t"] == "–"
    ink = found.loc["mean ink, no model"]
    assert (ink["images, digit 0"], ink["images, digit 1"]) == ("80.0", "10.0")
    assert ink["images, mean"] == "45.0" and ink["pairs, digit 0"] == "–"
    # mean over two seeds of the record
    assert found.loc["pixel error, t = 200", "images, digit 0"] == "46.0"


def test_what_pairs_say_is_computed(results, runs):
    text = pages.pair_summary(ablation.pair_runs(results), runs, ("0", "1"))
    assert "with 50.0 (digit 0) and 70.0 (digit 1), mean 60.0, where 50 is chance" in text
    # only what was run on every digit counts: the seventh variant, 50 + 6
    assert "Of 3 kinds of pairs the highest mean at t = 200 has *noise; images seen" in text
    assert "56.0 (digit 0) and 76.0 (digit 1)" in text
    chance = next(line for line in text.splitlines() if "chance by more than 2 points" in line)
    assert chance.endswith("every digit: *noise; images seen in training*.")
    ink = next(line for line in text.splitlines() if "mean ink" in line)
    assert ink.endswith("none.")
    assert "*noise; images seen in training* at t = 400: 66.0 (digit 0)" in text
    assert "digit 0 40.0, 50.0 with these pairs" in text


def test_nothing_run_says_so_and_names_the_commands(tmp_path):
    pairs, runs = ablation.pair_runs(tmp_path), pd.DataFrame()
    assert "No kind of pairs" in pages.pair_summary(pairs, runs)
    assert "No examination" in pages.class_summary({})
    assert "No run" in pages.plain_summary(runs) and "No digit" in pages.ink_summary(runs)
    assert len(ablation.missing_pairs(pairs)) == len(ablation.missing_classes({})) == 3
    shown = ablation.pair_table(pairs, runs)
    assert set(shown.filter(like="images, digit").to_numpy().ravel()) == {"not run"}
    assert set(ablation.class_table({}).to_numpy().ravel()) == {"not run"}
    left = choices.choice_table(runs, pairs).drop(columns=["what differs", "digit"])
    assert set(left.to_numpy().ravel()) == {"not run"} and len(left) == 2  # the defaults
    for fig in every_figure(pairs, runs, {}):
        texts = [text.get_text() for ax in fig.axes for text in ax.texts]
        assert "not run" in texts


def test_only_what_is_missing_is_asked_for(results):
    found = ablation.pair_runs(results)
    ask = "python -m adlib.study.ldm_pairs --root DIR --category"
    assert ablation.missing_pairs(found) == [f"{ask} 1", f"{ask} 4"]
    assert ablation.missing_classes(ablation.class_runs(results), ("0", "1")) == [
        "python -m adlib.study.ldm_classes --root DIR --category 1"
    ]


# -- labels


def test_the_table_with_labels_has_a_column_a_digit(results):
    found = ablation.class_table(ablation.class_runs(results), ("0", "1"))
    assert found.loc[ablation.LABELLED["other"], "digit 0"] == "62.0 / 64.0 / 65.0"
    assert set(found["digit 1"]) == {"not run"}


def test_what_labels_say_is_computed(results):
    text = pages.class_summary(ablation.class_runs(results))
    for part in ("right on 97.0%", "in 90.0% of the cases", "in 60.0%;", "60.0% and 20.0%",
                 "noise 10.5%", "chance: 11.1%"):  # fmt: skip
        assert part in text
    assert "mean over digit 0: *another class; same: any image of the class (labels)* 85.0" in text


def test_a_judge_of_classes_has_the_auroc_of_his_two_answers(results):
    study = ablation.class_runs(results)["0"]
    lost = np.r_[np.arange(50) < 20, np.arange(100) < 10]  # 60 % and 90 % keep their class
    expected = metrics.auroc(np.repeat([1, 0], [50, 100]), lost.astype(np.float32))
    assert ablation.judge(study, 200) == pytest.approx(100 * expected) == pytest.approx(65)
    found = ablation.class_table(ablation.class_runs(results), ("0", "1"))
    assert found.loc[ablation.JUDGE].tolist()[:2] == ["65.0 / 65.0 / 70.0", "not run"]


def test_means_are_over_all_digits_that_were_studied(results):
    other = class_study("7")
    other["kept"]["200"] = {"normal": 0.9, "anomalous": 0.4}
    other["auroc"]["other"]["400"] = 0.84
    keep(results, "classes", other)
    found = ablation.class_table(ablation.class_runs(results), ("0",))
    assert list(found) == ["digit 0", "mean of 2 digits"]
    assert found.loc[ablation.JUDGE, "mean of 2 digits"] == "70.0 / 65.0 / 70.0"
    assert found.loc[ablation.LABELLED["other"], "mean of 2 digits"] == "62.0 / 74.0 / 65.0"


def test_differences_from_the_papers_pairs_have_an_interval(results):
    keep(results, "pairs", pair_study("7", names=("noise", "other"), gain=0.1))
    study = pair_study("8", names=("noise", "other"))
    study["variants"]["other"]["auroc"]["200"] = 0.45
    keep(results, "pairs", study)
    found = ablation.difference_table(ablation.pair_runs(results))
    other = found.loc[ablation.TITLES["other"]]
    interval = stats.ttest_1samp([1, 1, 1, -5], 0).confidence_interval()
    assert other.tolist() == ["4", f"-0.5 [{interval.low:+.1f}, {interval.high:+.1f}]", "3"]
    assert found.loc[ablation.TITLES["later"]].tolist() == ["1", "+2.0", "1"]
    assert ablation.TITLES["noise"] not in found.index


def test_in_short_is_computed(results, runs):
    levels = {"noise": (40, 45, 50), "other": (60, 65, 70), "later": (51, 60, 60)}
    found = pd.DataFrame(
        [
            (digit, 0, name, "200", level, np.nan, 99.0 if name == "noise" else 90.0)
            for name, of in levels.items()
            for digit, level in zip(ablation.ASKED, of, strict=True)
        ],
        columns=["category", "seed", "variant", "start", "auroc", "less", "pairs"],
    )
    other = class_study("1")
    other["kept"]["200"] = {"normal": 0.9, "anomalous": 0.4}
    keep(results, "classes", other)
    steps = [run("1", "grid=200 stride=20", gain=-0.08), run("1", "edges=true", gain=0.02)]
    runs = pd.concat([runs, table([*steps, run("0", "edges=true", gain=0.02)])])
    text = pages.in_short(found, ablation.class_runs(results), runs)
    assert "held-out pairs apart (99.0)" in text
    assert "with 45.0, mean over digits 0, 1 and 4" in text
    assert "best of 2 other kinds, *another image, reconstructed*, has 65.0" in text
    assert "more than 2 points on every digit: 1 of 3." in text  # 51 is not
    assert "moves a digit by up to 10.0 points" in text  # 40 and 50
    assert "its class in 50.0% of the reconstructions, normal digits in 90.0%" in text
    assert "has an AUROC of 70.0, and 70.0 at t = 200" in text  # 65 and 75; 70 and 70 at 500
    assert "best have 85.0 (*another class; same: any image of the class (labels)*" in text
    assert "2 MNIST digits: classifier, t = 200 57.5" in text
    assert "1 sets of CIFAR-10, listed anomalous: classifier, t = 200 50.0" in text
    assert "Of 2 that were run on digits 0 and 1" in text
    assert "*DDIM, 20 indices a step instead of 50* changes" in text
    assert "+3.0 (digit 0), -8.0 (digit 1)" in text
    nothing = pages.in_short(found.iloc[:0], {}, pd.DataFrame())
    assert nothing == "No ablation is recorded yet."


def test_clipping_is_what_moves_a_classifier_without_diffusion(results, runs):
    found = ablation.pair_runs(results)
    recorded = runs.assign(auroc_classifier_vq=0.47)
    assert ablation.clipping_moves(found, recorded) == pytest.approx(23)  # 50 and 70
    assert "by up to 23.0 points" in pages.clipping(found, recorded)
    assert pages.clipping(found, runs) == ""


# -- records


def test_the_classifier_is_counted_against_plain_errors(runs):
    text = pages.plain_summary(runs)
    assert "MNIST digits, 2 recorded: classifier 57.5 in the mean, from 45.0 to 70.0" in text
    assert "pixel error, t = 200 in 0 (mean 58.5)" in text
    assert "sets of CIFAR-10, listed anomalous, 1 recorded: classifier 50.0" in text


def test_ink_is_counted(runs):
    text = pages.ink_summary(runs)
    assert "rank correlation of +0.10 with the ink (the classifier +0.00)" in text
    assert "beats it on 1 of 2 digits" in text
    assert "AUROC of 62.5 in the mean, from 50.0 to 75.0, before 58.5" in text


def test_choices_are_compared_with_the_default_of_the_same_digit_and_seed(results, runs):
    found = choices.choice_table(runs, ablation.pair_runs(results))
    cells = found.set_index(["what differs", "digit"])
    first = "classifier, t = 200"
    assert cells.loc[("the default: level", "0"), first] == "45.0"
    stride, ddpm, printed, scaled, edges, later, stem, seen = (
        choice.name for choice in choices.CHOICES
    )
    assert cells.loc[(stride, "0")].tolist() == ["+3.0"] * 4  # one seed in common
    assert cells.loc[(printed, "0"), first] == "+0.0"  # -5 and +5
    for name in (ddpm, scaled, edges, later):
        assert (name, "0") not in cells.index, name
    assert (stride, "1") not in cells.index
    assert cells.loc[(seen, "0")].tolist() == ["+6.0", "–", "–", "–"]
    assert cells.loc[(seen, "1"), first] == "+6.0"
    assert (stem, "1") not in cells.index


def test_commands_of_choices_can_be_run(results, runs):
    commands = choices.missing_choices(runs, ablation.pair_runs(results))
    where = "adlib evaluate latent_diffusion --dataset mnist --root DIR"
    assert commands[0] == f"{where} --category 1 --set grid=200 --set stride=20"
    assert f"{where} --category 0 --category 1 --set edges=true" in commands
    assert commands[-1] == "python -m adlib.study.ldm_pairs --root DIR --category 1"
    for choice in choices.CHOICES:
        values = read_assignments(choice.settings.split())
        check(LatentDiffusionDetector, {name: one[0] for name, one in values.items()})
        assert bool(choice.settings) != bool(choice.variant)
        assert choice.variant in ("", *ldm_pairs.VARIANTS)


# -- figures


def every_figure(pairs, runs, labelled):
    starts = ldm_tables.by_start(runs, ldm_tables.MNIST)
    return [
        drawn.pairs_against_images(pairs, ablation.controls(runs, ablation.ASKED)),
        drawn.over_starts(pairs, starts),
        drawn.kept_classes(labelled),
        drawn.by_category(runs),
        drawn.against_ink(runs),
    ]


def test_figures_show_what_the_tables_hold(results, runs):
    labelled = ablation.class_runs(results)
    pairs, starts, kept, plain, ink = every_figure(ablation.pair_runs(results), runs, labelled)
    told, images = pairs.axes[0].lines[2:4]  # of digit 0, after two straight lines
    assert told.get_xdata() == pytest.approx([90.0] * 8)
    assert images.get_xdata()[:8] == pytest.approx(range(50, 58))
    assert images.get_xdata()[8:] == pytest.approx([46, 48, 80])  # the records, two seeds
    panel = starts.axes[1]
    (line,) = (x for x in panel.lines if len(x.get_xdata()) == 6 and x.get_label() == "digit 1")
    assert line.get_xdata().tolist() == list(ldm_pairs.STARTS)
    assert line.get_ydata() == pytest.approx([71, 71, 71, 71, 81, 71])
    ceiling, normal, held = kept.axes[0].lines
    assert ceiling.get_ydata() == pytest.approx([97, 97])
    assert normal.get_ydata() == pytest.approx([90] * 5 + [60])
    assert held.get_ydata() == pytest.approx([60] * 5 + [20])
    labels = [label.get_text() for label in plain.axes[0].get_yticklabels()]
    assert labels == ["MNIST 0", "MNIST 1", "CIFAR-10 01234"]
    assert [text.get_text() for text in ink.axes[0].texts] == ["0", "1"]
    assert [text.get_position()[0] for text in ink.axes[0].texts] == pytest.approx([80, 10])


# -- live


def test_live_pairs_are_those_the_classifier_is_asked_about(monkeypatch):
    monkeypatch.setitem(LatentDiffusionDetector.PRESETS, "tiny", QUICK["latent_diffusion"])
    shown = live.live("digits", "01", preset="tiny", n_images=3)
    assert list(shown.different) == list(shown.table.index) == ["noise", "other"]
    for made in (shown.same, *shown.different.values()):
        assert made.shape == shown.images.shape == (3, 32, 32, 1)
    # other: a reconstruction of another image, each once; noise: none of them
    own = {image.tobytes() for image in shown.same}
    assert {image.tobytes() for image in shown.different["other"]} == own
    assert not own & {image.tobytes() for image in shown.different["noise"]}
    assert all(a.tobytes() != b.tobytes() for a, b in
               zip(shown.same, shown.different["other"], strict=True))  # fmt: skip
    for said in shown.said.values():
        assert said.shape == (3,) and ((said >= 0) & (said <= 1)).all()
    fig = drawn.live_pairs(shown)
    assert len(fig.axes) == 5 * 3
    below = [ax.get_xlabel() for ax in fig.axes[3:6]]
    assert below == [f"{100 * p:.0f}" for p in shown.said["noise", "same"]]


def test_live_shows_the_first_image_of_each_normal_class():
    opened = live.datasets.load("digits", "0")
    images = live._first_of_classes(opened, 2)
    classes = np.array(opened.test.defects)
    for image, name in zip(images, "12", strict=True):
        assert (image == opened.test.pixels[classes == name][0]).all()


def test_an_unknown_preset_is_named():
    with pytest.raises(InputError, match="no preset 'huge'"):
        live.live("digits", "0", preset="huge")
