"""A job's configuration: typed defaults, then a YAML file, then `--set a.b=c`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from training.contracts.errors import InputError, Problem, nearest, shorten
from training.contracts.validation import problems_of

Config = TypeVar("Config", bound=BaseModel)


def load_config(model: type[Config], *, file: Path | None, settings: Sequence[str], seed: int | None) -> Config:
    """Raises InputError naming file or setting, field, what was found and the nearest valid name."""
    document = _read(file) if file is not None else {}
    for setting in settings:
        _assign(document, setting, model)
    if seed is not None:
        document["seed"] = seed
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InputError(problems_of(error, model, file=str(file) if file is not None else "--set")) from error


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise InputError(Problem(file=str(file), problem="no such file"))
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(Problem(file=str(file), problem=f"not YAML: {shorten(str(error), 200)}")) from error
    if not isinstance(document, dict):
        raise InputError(Problem(file=str(file), problem="must be a mapping of fields", found=shorten(document)))
    return document


def _assign(document: dict[str, Any], setting: str, model: type[BaseModel]) -> None:
    """Put `a.b=c` into the document; the value is read as YAML."""
    path, equals, text = setting.partition("=")
    if not equals or not path:
        raise InputError(Problem(field="--set", problem="must be name=value", found=setting, allowed="epochs=5"))
    *parents, last = path.strip().split(".")
    if (parents or [last])[0] not in model.model_fields:
        raise InputError(
            Problem(
                field=f"--set {path}", problem="unknown field", found=path,
                allowed=", ".join(model.model_fields), nearest=nearest(path, model.model_fields),
            )
        )  # fmt: skip
    for parent in parents:
        document = document.setdefault(parent, {})
    if not isinstance(document, dict):
        raise InputError(
            Problem(field=f"--set {path}", problem="its parent is a value, not a group of settings", found=path)
        )
    document[last] = _value(setting, text)


def _value(setting: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(Problem(field=f"--set {setting}", problem="the value is not YAML", found=text)) from error
