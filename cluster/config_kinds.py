"""Every kind of configuration file: how it is told from the others, and the model that checks it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from training.contracts.errors import Problem, nearest, shorten
from training.contracts.validation import problems_of


@dataclass(frozen=True)
class ConfigKind:
    """Files called like `pattern` are checked by `model`, which is imported only then.

    `findings` says what of a document that the model takes is wrong all the same, and at which keys.
    """

    pattern: str
    model: str
    findings: str | None = None

    def load(self) -> type[BaseModel]:
        found: type[BaseModel] = _imported(self.model)
        return found


def _imported(name: str) -> Any:
    module, attribute = name.split(":")
    return getattr(import_module(module), attribute)


KINDS = {
    "shop": ConfigKind("shop.yaml", "training.contracts.shop:ShopInfo"),
    "recommender": ConfigKind("training/recommender*.yaml", "training.jobs.recommender:RecommenderConfig"),
    "study": ConfigKind("tuning/*.yaml", "tuning.config:StudyConfig", "tuning.space:findings"),
    "ranker": ConfigKind("training/ranker*.yaml", "training.jobs.ranker:RankerConfig"),
    "vision": ConfigKind("training/vision*.yaml", "training.jobs.vision_config:VisionConfig"),
    "forecaster": ConfigKind("training/forecaster*.yaml", "training.jobs.forecaster_config:ForecasterConfig"),
    "covariates": ConfigKind("covariates.yaml", "training.contracts.covariates:CovariateSchema"),
    "serving": ConfigKind("deployments/*.yaml", "deployments.config:ServingConfig"),
}


def check_config(path: Path) -> list[Problem]:
    """What is wrong with a configuration file; empty when nothing is."""
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        return [Problem(file=file, problem=f"cannot be read: {error}")]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        cause = getattr(error, "problem", None) or str(error)
        return [Problem(file=file, line=mark.line + 1 if mark else None, problem=f"not YAML: {cause}")]
    except ValueError as error:
        return [Problem(file=file, problem=f"not YAML: {error}", allowed="dates that exist, like 2026-06-30")]
    if root is not None and not isinstance(root, yaml.MappingNode):
        return [Problem(file=file, line=1, problem="must be a mapping of fields", found=shorten(document))]
    kind = _kind_of(path, document or {})
    return [*_repeated_keys(root, file), *_wrong_fields(kind, document or {}, root, file)]


def _kind_of(path: Path, document: dict[str, Any]) -> ConfigKind:
    """The kind the file's name tells, else the kind whose fields the file's are most like."""
    named = [kind for kind in KINDS.values() if path.match(kind.pattern)]

    def likeness(kind: ConfigKind) -> int:
        fields = kind.load().model_fields
        return sum(2 if key in fields else bool(nearest(str(key), fields)) for key in document)

    return max(named or KINDS.values(), key=likeness)


def _wrong_fields(kind: ConfigKind, document: Any, root: yaml.Node | None, file: str) -> Iterator[Problem]:
    model = kind.load()
    try:
        checked = model.model_validate(document)
        for place, problem in _imported(kind.findings)(checked) if kind.findings else ():
            yield replace(problem, file=file, line=_line_of(root, place))
    except ValidationError as error:
        for finding, problem in zip(error.errors(), problems_of(error, model, file=file), strict=True):
            yield replace(problem, line=_line_of(root, finding["loc"]))


def _line_of(node: yaml.Node | None, path: Sequence[int | str]) -> int | None:
    """The line (from 1) of the key at `path`, or of the deepest part of it that is there."""
    if node is None:
        return None
    line = node.start_mark.line + 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _repeated_keys(root: yaml.Node | None, file: str) -> Iterator[Problem]:
    """Keys given twice: YAML would silently keep the last."""
    waiting, visited = [("", root)], set()
    while waiting:
        prefix, node = waiting.pop()
        if id(node) in visited:  # an alias
            continue
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(prefix, child) for child in node.value]
        if isinstance(node, yaml.MappingNode):
            names = [f"{prefix}{key.value}" for key, _ in node.value]
            waiting += [(f"{name}.", value) for name, (_, value) in zip(names, node.value, strict=True)]
            for index, (key, _) in enumerate(node.value):
                if names[index] in names[:index]:
                    yield Problem(file=file, line=key.start_mark.line + 1, field=names[index], problem="given twice")
