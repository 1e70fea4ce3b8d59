"""covariates.yaml: what is known of each column of the sales table, and what stands for it where it is missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.contracts.errors import InputError, Problem, nearest, shorten
from training.contracts.shop import COVARIATES_FILE
from training.contracts.validation import problems_of

Kind = Literal["static", "known_future", "past_only"]
Missing = Literal["required", "last", "zero", "mean", "none"]
NOT_COVARIATES = ("series_id", "item_id", "location", "timestamp", "demand", "split")


class Covariate(BaseModel):
    """One column of the sales table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = Field(description="static: one value a series; known_future: known ahead; past_only: known so far")
    missing: Missing = Field(
        default="none",
        description="required: an error; last: the last known value; zero; mean: of the series; none: stays unknown",
    )


class CovariateSchema(BaseModel):
    """By column of the sales table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    covariates: dict[str, Covariate] = {}

    def named(self, kind: Kind) -> tuple[str, ...]:
        return tuple(name for name, covariate in self.covariates.items() if covariate.kind == kind)

    def without_required(self) -> CovariateSchema:
        """The same with every `required` read as `last`: a past that lacks a value is no reason to stop."""
        eased = {
            name: of.model_copy(update={"missing": "last"}) if of.missing == "required" else of
            for name, of in self.covariates.items()
        }
        return CovariateSchema(covariates=eased)

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class MissingCovariate(InputError):
    """A covariate whose policy is `required` has no value where one is needed."""

    def __init__(self, series_id: str, column: str, timestamp: datetime | None) -> None:
        self.series_id, self.column, self.timestamp = series_id, column, timestamp
        moment = timestamp.isoformat() if timestamp else "every period"
        super().__init__(
            Problem(table="sales", column=column, problem="a required covariate is missing",
                    found=f"series {series_id}, {moment}", allowed="a number, or another `missing` in covariates.yaml")
        )  # fmt: skip


DEFAULTS = {
    "price": Covariate(kind="known_future", missing="last"),
    "promotion": Covariate(kind="known_future", missing="zero"),
}
"""Where a shop has no covariates.yaml; any other column is past_only."""


def read_covariates(folder: Path, columns: Sequence[str]) -> CovariateSchema:
    """Of a sales table with these further columns; raises InputError naming file, field, found and allowed."""
    file = folder / COVARIATES_FILE
    if not file.is_file():
        others = {name: Covariate(kind="past_only", missing="last") for name in columns}
        return CovariateSchema(covariates={**others, **{key: DEFAULTS[key] for key in DEFAULTS if key in columns}})
    schema = _parse(file)
    for name in schema.covariates:
        if name not in columns:
            raise InputError(
                Problem(file=str(file), field=f"covariates.{name}", problem="no such column of sales", found=name,
                        allowed=", ".join(columns) or "none", nearest=nearest(name, columns))
            )  # fmt: skip
    return schema


def _parse(file: Path) -> CovariateSchema:
    try:
        document: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(Problem(file=str(file), problem=f"not YAML: {shorten(str(error), 200)}")) from error
    if not isinstance(document, dict):
        raise InputError(Problem(file=str(file), problem="must be a mapping of fields", found=shorten(document)))
    try:
        return CovariateSchema.model_validate(document)
    except ValidationError as error:
        raise InputError(problems_of(error, CovariateSchema, file=str(file))) from error
