"""The `filter` of a request, from text to a mask over the catalogue; the language is in filters.lark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken

from deployments.policies.filter_nodes import All, Comparison, Either, Field, Membership, Never, Node, Not, Value
from training.contracts.errors import InputError, Problem, nearest, shorten
from training.contracts.tables import TABLES

MAX_LENGTH = 4_096
MAX_DEPTH = 64
CACHED_FILTERS = 1_024
_LITERALS = {"STRING": "text", "NUMBER": "number"}
_WANTED = {"number": "a number", "text": "a string in single quotes", "texts": "a string in single quotes"}
_DATES = "an ISO 8601 date in single quotes, such as '2026-06-30'"
_TERMINALS = {
    "STRING": "'text'", "NUMBER": "a number", "NULL": "null", "NAME": "a field", "ATTRIBUTE": "attributes.NAME",
    "COMPARISON": "= != < <= > >=", "_IN": "in", "_AND": "and", "_OR": "or", "NOT": "not", "LPAR": "(", "RPAR": ")",
    "COMMA": ",", "$END": "the end",
}  # fmt: skip


class FilterError(InputError):
    """A wrong filter: `field` is the item field at fault, `offset` (characters from 0) where it stands."""

    def __init__(self, problem: Problem, *, offset: int, field: str | None = None) -> None:
        super().__init__(problem)
        self.field = field
        self.offset = offset


class Filter:
    """A compiled filter; equal texts share one."""

    def __init__(self, text: str, root: Node) -> None:
        self.text = text
        self._root = root

    def mask(self, table: pa.Table) -> np.ndarray:
        """Which rows of an items table match; bool [rows]."""
        return self._root.mask(table)

    def matches(self, item: Mapping[str, Any]) -> bool:
        """Whether one row of the items table matches."""
        return self._root.matches(item)


@lru_cache(maxsize=CACHED_FILTERS)
def compile_filter(text: str) -> Filter:
    """Raises FilterError naming the field or the offset of what is wrong."""
    if len(text) > MAX_LENGTH:
        problem = Problem(
            field="filter", problem="too long", found=f"{len(text)} characters", allowed=f"up to {MAX_LENGTH}"
        )
        raise FilterError(problem, offset=MAX_LENGTH)
    _refuse_lone_surrogates(text)
    try:
        return Filter(text, _parser().parse(text))
    except UnexpectedInput as error:
        raise _syntax_error(text, error) from None


@cache
def _parser() -> Any:
    return Lark.open("filters.lark", rel_to=__file__, parser="lalr", transformer=_Compiler(), maybe_placeholders=False)


class _Compiler(Transformer[Token, Node]):
    """Builds nodes while the text is parsed, from the leaves up, so that hostile nesting never recurses."""

    def field(self, parts: Sequence[Token]) -> tuple[Field, int]:
        (token,) = parts
        offset = token.start_pos or 0
        if token.type == "ATTRIBUTE":
            name = token[len("attributes.") :]
            return Field("attributes", "text", _unquoted(name) if name.startswith("'") else name), offset
        return _field(str(token), offset), offset

    def literal(self, parts: Sequence[Token]) -> Token:
        return parts[0]

    def comparison(self, parts: Sequence[Any]) -> Node:
        (field, offset), operator, literal = parts
        value = _value(field, literal)
        if field.kind == "texts" and operator not in ("=", "!="):
            problem = Problem(
                field=field.label, problem="a list has no order", found=str(operator), allowed="= (contains), != or in"
            )
            raise FilterError(problem, field=field.label, offset=offset)
        return Never() if value is None else Comparison(field, str(operator), value)

    def membership(self, parts: Sequence[Any]) -> Node:
        (field, _), *literals = parts
        values = tuple(value for literal in literals if (value := _value(field, literal)) is not None)
        return Membership(field, values) if values else Never()

    def negation(self, parts: Sequence[Any]) -> Node:
        token, part = parts
        return _bounded(Not(part), token.start_pos)

    def group(self, parts: Sequence[Node]) -> Node:
        return parts[0]

    def conjunction(self, parts: Sequence[Node]) -> Node:
        return _bounded(All(tuple(parts), 1 + max(part.depth for part in parts)), 0)

    def disjunction(self, parts: Sequence[Node]) -> Node:
        return _bounded(Either(tuple(parts), 1 + max(part.depth for part in parts)), 0)


def _bounded(node: Node, offset: int) -> Node:
    if node.depth > MAX_DEPTH:
        problem = Problem(
            field="filter", problem=f"nested too deeply at offset {offset}", allowed=f"up to {MAX_DEPTH} levels"
        )
        raise FilterError(problem, offset=offset)
    return node


@cache
def _kinds() -> dict[str, str]:
    """The kind of every field of an item that a filter can name."""
    kinds = {}
    for column in TABLES["items"].schema:
        if pa.types.is_list(column.type):
            kinds[column.name] = "texts"
        elif pa.types.is_timestamp(column.type):
            kinds[column.name] = "time"
        elif not pa.types.is_map(column.type):
            kinds[column.name] = "text" if pa.types.is_string(column.type) else "number"
    return kinds


def _field(name: str, offset: int) -> Field:
    kinds = _kinds()
    if name in kinds:
        return Field(name, kinds[name])
    if name == "attributes":
        problem = Problem(field=name, problem="which attribute?", found=name, allowed="attributes.NAME")
    else:
        names = [*kinds, "attributes"]
        allowed = ", ".join([*kinds, "attributes.NAME"])
        problem = Problem(
            field=name, problem="unknown field", found=name, allowed=allowed, nearest=nearest(name, names)
        )
    raise FilterError(problem, field=name, offset=offset)


def _value(field: Field, literal: Token) -> Value | None:
    """The literal as a value of the field's kind; None for null."""
    if literal.type == "NULL":
        return None
    if (_LITERALS[literal.type] == "number") != (field.kind == "number"):
        raise _mismatch(field, literal, _DATES if field.kind == "time" else _WANTED[field.kind])
    if field.kind == "number":
        return float(literal)
    text = _unquoted(literal)
    if field.kind != "time":
        return text
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _mismatch(field, literal, _DATES) from None


def _mismatch(field: Field, literal: Token, allowed: str) -> FilterError:
    problem = Problem(
        field=field.label, problem="cannot be compared with this", found=shorten(literal), allowed=allowed
    )
    return FilterError(problem, field=field.label, offset=literal.start_pos or 0)


def _unquoted(token: str) -> str:
    return token[1:-1].replace("''", "'")


def _refuse_lone_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        problem = Problem(field="filter", problem=f"not Unicode text at offset {error.start}")
        raise FilterError(problem, offset=error.start) from None


def _syntax_error(text: str, error: UnexpectedInput) -> FilterError:
    offset = len(text) if error.pos_in_stream is None or error.pos_in_stream < 0 else error.pos_in_stream
    at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    offset = len(text) if at_end else offset
    expected = sorted(_TERMINALS.get(name, name) for name in getattr(error, "accepts", None) or _expected(error))
    problem = Problem(
        field="filter",
        problem=f"does not parse at offset {offset}",
        found="the end" if at_end else shorten(text[offset:], 20),
        allowed=", ".join(expected) or None,
    )
    return FilterError(problem, offset=offset)


def _expected(error: UnexpectedInput) -> set[str]:
    return set(getattr(error, "expected", None) or getattr(error, "allowed", None) or ())
