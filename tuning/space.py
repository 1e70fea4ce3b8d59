"""A search space against the config of the job it is for: checked at the door, and put into the job's words."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from training.contracts.errors import InputError, Problem, nearest, shorten
from training.contracts.validation import problems_of
from training.jobs.registry import JOBS
from tuning.config import Dimension, StudyConfig

Place = tuple[str | int, ...]
"""Where in a study's document: ("space", "transformer.dim", "low")."""

OF_THE_STUDY = {"seed": "seed", "epochs": "max_epochs"}
"""Settings of a job that a study has words of its own for."""


def check(study: StudyConfig, *, file: str) -> None:
    """Raises InputError with every finding."""
    problems = [replace(problem, file=file) for _, problem in findings(study)]
    if problems:
        raise InputError(problems)


def findings(study: StudyConfig) -> Iterator[tuple[Place, Problem]]:
    """What of a study does not fit its job, and where it stands."""
    if study.job not in JOBS:
        problem = Problem(problem="no such job", found=study.job, allowed=", ".join(JOBS))
        yield _at(("job",), replace(problem, nearest=nearest(study.job, JOBS)))
        return
    model = JOBS[study.job].config
    wrong_base = _base_problems(study, model)
    yield from wrong_base
    for name, dimension in study.space.items():
        yield from _dimension_problems(name, dimension, model, {} if wrong_base else study.base)


def fields(model: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """Every setting of a config by its dotted name, those of nested configs too."""
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        inner = next((part for part in _parts(field.annotation) if _is_model(part)), None)
        found |= {f"{prefix}{name}": field} if inner is None else fields(inner, f"{prefix}{name}.")
    return found


def is_integer(model: type[BaseModel], name: str) -> bool:
    """Whether the setting takes whole numbers only."""
    kinds = set(_parts(fields(model)[name].annotation))
    return int in kinds and float not in kinds


def assigned(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the dotted `values` put in; `base` stays as it is."""
    document = {name: dict(value) if isinstance(value, Mapping) else value for name, value in base.items()}
    for name, value in values.items():
        first, _, rest = name.partition(".")
        document[first] = assigned(document.get(first) or {}, {rest: value}) if rest else value
    return document


def value_at(config: BaseModel, name: str) -> Any:
    """What a config says of the dotted `name`."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _base_problems(study: StudyConfig, model: type[BaseModel]) -> list[tuple[Place, Problem]]:
    try:
        model.model_validate(study.base)
    except ValidationError as error:
        problems = problems_of(error, model, file="")
        places = [("base", *finding["loc"]) for finding in error.errors()]
        return [_at(place, problem) for place, problem in zip(places, problems, strict=True)]
    return []


def _dimension_problems(
    name: str, dimension: Dimension, model: type[BaseModel], base: Mapping[str, Any]
) -> Iterator[tuple[Place, Problem]]:
    known, place = fields(model), ("space", name)
    if name in OF_THE_STUDY:
        allowed = f"{OF_THE_STUDY[name]}: of the study"
        yield _at(place, Problem(problem="is not varied by a study", found=name, allowed=allowed))
    elif name not in known:
        allowed = ", ".join(sorted(known.keys() - OF_THE_STUDY.keys()))
        problem = Problem(problem="unknown field", found=name, allowed=allowed, nearest=nearest(name, known))
        yield _at(place, problem)
    elif dimension.choices is None and not _is_number(known[name]):
        yield _at(place, Problem(problem="takes no number", found="low, high", allowed="choices"))
    else:
        yield from _end_problems(name, dimension, model, base)


def _end_problems(
    name: str, dimension: Dimension, model: type[BaseModel], base: Mapping[str, Any]
) -> Iterator[tuple[Place, Problem]]:
    """Values of the dimension that the job's field refuses."""
    place = ("space", name)
    if dimension.choices is None and is_integer(model, name) and isinstance(dimension.step, float):
        problem = Problem(problem="the field takes whole numbers only", found=str(dimension.step))
        yield _at((*place, "step"), problem)
    for end, value in dimension.ends().items():
        refused = _refusal(model, assigned(base, {name: value}), tuple(name.split(".")))
        if refused is not None:
            yield _at((*place, *end.split(".")), Problem(problem=refused, found=shorten(repr(value))))


def _refusal(model: type[BaseModel], document: dict[str, Any], path: Place) -> str | None:
    """Why the field at `path` does not take its value; None where it does."""
    try:
        model.model_validate(document)
    except ValidationError as error:
        return next((finding["msg"] for finding in error.errors() if finding["loc"][: len(path)] == path), None)
    return None


def _at(place: Place, problem: Problem) -> tuple[Place, Problem]:
    return place, replace(problem, file=None, field=".".join(map(str, place)))


def _is_number(field: FieldInfo) -> bool:
    return bool({int, float} & set(_parts(field.annotation)))


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _parts(annotation: Any) -> Iterator[Any]:
    """An annotation and all it is made of."""
    yield annotation
    for part in typing.get_args(annotation):
        yield from _parts(part)
