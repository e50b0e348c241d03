"""Generated parts of the book's pages and of README.md: Markdown made from records and the ledger.

================================  ================================================================
file                              content
================================  ================================================================
``verdicts.md``                   every claim with its verdict, effect and page
``evidence-<paper>.md``           the same at length, for the chapter of that paper
``answer.md``                     the paired contrasts that decide the JL chapter
``glance.md``                     results at a glance: by category, and each method beside rivals
``status.md``                     what ran, when, how long, with which versions; what did not
``counts.md``                     images and masks of each recorded category
``padim_effects.md``              what departures from PaDiM as run here change
``patchcore_answer.md``           the paired contrasts that decide the PatchCore chapter
``latent_diffusion_answer.md``    the records on the claims of the latent-diffusion chapter
``latent_diffusion_settings.md``  parameters of its methods in two presets
``patchcore_effects.md``          what the released code does differently, and what that changes
``bench.md``                      time and memory beside other implementations
================================  ================================================================

A page includes one with MyST's ``include`` directive. None has a heading, so each fits anywhere;
the same records give the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from adlib import claims, records, report
from adlib.atomic import replacement
from adlib.claims import Evidence
from adlib.errors import InputError
from adlib.fragments.latent_diffusion import latent_diffusion_answer, latent_diffusion_glance
from adlib.fragments.latent_diffusion_settings import latent_diffusion_settings
from adlib.fragments.markdown import DO_NOT_EDIT
from adlib.fragments.overview import patchcore_glance, readme
from adlib.fragments.patchcore import patchcore_answer
from adlib.fragments.recorded import answer, counts, glance
from adlib.fragments.status import status
from adlib.fragments.verdicts import detailed, summary, verdicts
from adlib.study import ablation, figures, pictures
from adlib.study.bench_report import bench_tables
from adlib.study.variants import padim_effects, patchcore_effects

__all__ = [
    "BEGIN",
    "END",
    "answer",
    "counts",
    "detailed",
    "glance",
    "readme_block",
    "replace_block",
    "readme_picture",
    "status",
    "summary",
    "verdicts",
    "write_all",
    "write_readme",
]

BEGIN = "<!-- generated: results at a glance -->"
END = "<!-- end -->"
LEDGER = Path("book/claims.yaml")
PICTURE = Path("book/_static/gain.svg")
GLANCES = (glance, patchcore_glance, latent_diffusion_glance)


def write_all(results: Path, out: Path, ledger: Path = LEDGER) -> list[Path]:
    """Write every fragment; each is complete or as it was.

    Parameters
    ----------
    results : Path
        Folder of records and of ``reported.csv``.
    out : Path
        Folder for the fragments; made if need be.
    ledger : Path
        The ledger of claims.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        The ledger, a record or the printed numbers cannot be read, or `out` not be written to.
    """
    book = claims.read(ledger)
    evidence = Evidence.read(results)
    judged = claims.judge(book, evidence)
    made = records.read_all(results)
    texts = {
        "verdicts": verdicts(book, judged),
        "answer": answer(evidence),
        "glance": "\n\n".join(filter(None, [show(evidence) for show in GLANCES])),
        "status": status(made, evidence, judged, book.papers),
        "counts": counts(made),
        "padim_effects": padim_effects(records.table(results)),
        "patchcore_answer": patchcore_answer(evidence),
        "patchcore_effects": patchcore_effects(records.table(results)),
        "latent_diffusion_answer": latent_diffusion_answer(evidence),
        "latent_diffusion_settings": latent_diffusion_settings(),
        "bench": bench_tables(results),
    }
    for paper in dict.fromkeys(result.claim.paper for result in judged):
        texts[f"evidence-{paper}"] = detailed([r for r in judged if r.claim.paper == paper])
    return [
        _write(Path(out) / f"{name}.md", f"{DO_NOT_EDIT}\n\n{text}\n")
        for name, text in texts.items()
    ]


def readme_block(results: Path, ledger: Path = LEDGER) -> str:
    """Return what stands between ``BEGIN`` and ``END`` in README.md, without the two."""
    book = claims.read(ledger)
    evidence = Evidence.read(results)
    return readme(book, claims.judge(book, evidence), evidence)


def replace_block(text: str, block: str) -> str:
    """Return a text with its generated block replaced.

    Raises
    ------
    InputError
        The text does not hold each marker once, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise InputError(
            f"the generated block must stand between one line {BEGIN} and one line {END}, "
            "found them missing or repeated; restore the two lines"
        )
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"


def write_readme(results: Path, readme: Path, ledger: Path = LEDGER) -> Path:
    """Bring the generated block of a README and its picture up to date."""
    try:
        text = readme.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{readme} cannot be read ({error.strerror}); name a README") from error
    _write(readme.parent / PICTURE, readme_picture(results))
    new = replace_block(text, readme_block(results, ledger))
    return readme if new == text else _write(readme, new)


def readme_picture(results: Path) -> str:
    """Draw the picture of README.md, an SVG: what a projection gains, against the dimension."""
    gains = ablation.gains(report.dimension_curve(results=results))
    drawn = figures.svg(
        pictures.gain(gains, "pixel AUROC"),
        "Gain of a random projection over a random choice of channels",
        "Paired difference in pixel AUROC against the dimension, with intervals over seeds.",
    )
    return drawn.data


def _write(target: Path, text: str) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacement(target) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{target} could not be written ({error.strerror or error}); free space or choose "
            "another folder with --out"
        ) from error
    return target
