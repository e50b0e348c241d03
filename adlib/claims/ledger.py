"""Read the ledger, judge every claim."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from adlib.claims import (
    across,
    amounts,
    attribution,
    cells,
    choices,
    consistency,
    curves,
    derived,
    diffusion_theory,
    gains,
    latent_diffusion,
    measured,
    patchcore,
    printed,
    studies,
    times,
    values,
)
from adlib.claims.evidence import Evidence
from adlib.claims.verdict import Outcome
from adlib.errors import InputError

AnyRule = Annotated[
    gains.Gain
    | gains.Equal
    | choices.Keeps
    | choices.BestOf
    | choices.Dominates
    | choices.Somewhere
    | attribution.Attribution
    | curves.Reaches
    | curves.Plateau
    | cells.Cells
    | cells.SingleRun
    | amounts.Above
    | amounts.Bound
    | amounts.Cheaper
    | values.TableValues
    | values.Solved
    | amounts.NotAtHand
    | measured.Speedup
    | measured.ModelSize
    | times.Faster
    | printed.TableOrder
    | printed.TableMean
    | consistency.ErrorReduction
    | consistency.ErrorRows
    | consistency.Lead
    | derived.StageWidths
    | derived.Theory
    | patchcore.PatchCoreTheory
    | patchcore.ImageCounts
    | across.Across
    | across.Near
    | across.BestColumn
    | across.Harder
    | latent_diffusion.Wins
    | latent_diffusion.Alignments
    | latent_diffusion.TableBest
    | latent_diffusion.ClassCeiling
    | studies.PairStudy
    | studies.ClassStudy
    | diffusion_theory.DiffusionTheory,
    Field(discriminator="rule"),
]
Words = Annotated[str, Field(min_length=3)]


class Claim(BaseModel):
    """One statement of a paper.

    Attributes
    ----------
    id : str
    paper : str
        A key of the ledger's ``papers``.
    where : str
        Section, table, equation or figure.
    claim : str
        The statement in our words.
    confirm : str
        What would confirm it.
    page : str
        The page of the book that argues it, as in ``book/_toc.yml``.
    test : Rule
        The rule and its arguments.
    tolerance : float
        In the unit of the rule (its docstring says what for).
    why : str
        Why that tolerance.
    extension : bool
        The paper does not say this in these words: we carry its statement further.
    telling : bool
        Shown among the few in README.md.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    paper: str
    where: Words
    claim: Words
    confirm: Words
    page: Annotated[str, Field(pattern=r"^[A-Za-z0-9_/-]+$")]
    test: AnyRule
    tolerance: Annotated[float, Field(ge=0)]
    why: Words
    extension: bool = False
    telling: bool = False


class Ledger(BaseModel):
    """All claims, and what the papers are called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    papers: dict[str, Words]
    claims: Annotated[list[Claim], Field(min_length=1)]

    @model_validator(mode="after")
    def _names(self) -> Ledger:
        twice = [name for name, count in Counter(c.id for c in self.claims).items() if count > 1]
        if twice:
            raise ValueError(f"each claim must have its own id, found twice: {', '.join(twice)}")
        unknown = sorted({c.paper for c in self.claims} - set(self.papers))
        if unknown:
            raise ValueError(f"papers must name each paper, not there: {', '.join(unknown)}")
        return self


class Result(NamedTuple):
    """A claim and what was found."""

    claim: Claim
    outcome: Outcome


def read(path: Path | str = "book/claims.yaml") -> Ledger:
    """Read and validate the ledger.

    Raises
    ------
    InputError
        No such file, no YAML, or a row that breaks the rules above; names the row and the field.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the ledger of claims must be at {path}, which cannot be read; run this in the folder "
            "of the project or name the file"
        ) from error
    except yaml.YAMLError as error:
        place = " ".join(str(error).split())
        raise InputError(f"{path} must be YAML, found: {place}; correct it") from error
    try:
        return Ledger.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {_first_fault(error, content)}; correct the ledger") from None


def judge(ledger: Ledger, evidence: Evidence) -> list[Result]:
    """Judge every claim of the ledger, in its order."""
    return [
        Result(claim, claim.test.judge(evidence.on(claim.test.dataset), claim.tolerance))
        for claim in ledger.claims
    ]


def _first_fault(error: ValidationError, content: object) -> str:
    fault = error.errors(include_url=False)[0]
    place = list(fault["loc"])
    name = "the ledger"
    if place[:1] == ["claims"] and len(place) > 1:
        row = content["claims"][place[1]]
        name = f"claim {row.get('id', place[1] + 1) if isinstance(row, dict) else place[1] + 1}"
        place = place[2:]
    field = ".".join(map(str, place))
    message = fault["msg"].removeprefix("Value error, ")
    return f"{name}{': ' + field if field else ''}: {message}"
