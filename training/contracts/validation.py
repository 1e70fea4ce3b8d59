"""What pydantic finds wrong with a document, as Problems a person can mend."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from training.contracts.errors import Problem, nearest, shorten


def problems_of(error: ValidationError, model: type[BaseModel], *, file: str) -> list[Problem]:
    """pydantic's findings, with the allowed names and the nearest one for a field that does not exist."""
    return [_problem(finding, model, file) for finding in error.errors()]


def _problem(finding: Any, model: type[BaseModel], file: str) -> Problem:
    path = finding["loc"]
    unknown = finding["type"] == "extra_forbidden"
    fields = fields_at(model, path[:-1])
    return Problem(
        file=file,
        field=".".join(str(part) for part in path) or None,
        problem="unknown field" if unknown else finding["msg"],
        found=None if finding["type"] == "missing" else shorten(finding["input"]),
        allowed=", ".join(fields) if unknown else None,
        nearest=nearest(str(path[-1]), fields) if unknown else None,
    )


def fields_at(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The fields of the model nested at `path`, through lists and mappings too; empty where no model is."""
    in_mapping = False
    for part in path:
        field = None if in_mapping else model.model_fields.get(str(part))
        annotations = [] if field is None else list(_parts(field.annotation))
        found = [inner for inner in annotations if _is_model(inner)]
        if not found and not in_mapping and not isinstance(part, int):
            return []
        model = found[0] if found else model
        in_mapping = any(typing.get_origin(inner) is dict for inner in annotations)
    return list(model.model_fields)


def _parts(annotation: Any) -> Iterator[Any]:
    """An annotation and all it is made of: `list[A] | None` gives itself, list[A], A, NoneType."""
    yield annotation
    for part in typing.get_args(annotation):
        yield from _parts(part)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
