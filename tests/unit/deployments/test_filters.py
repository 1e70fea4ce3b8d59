"""The filter language against a second, naive reading of it, and against whoever writes nonsense."""

from __future__ import annotations

import operator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deployments.policies.filters import MAX_LENGTH, FilterError, compile_filter
from training.contracts.errors import InputError
from training.contracts.tables import TABLES

SCHEMA = pa.schema([field.with_nullable(True) for field in TABLES["items"].schema])
EARLY = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = ["A", "B", "b c", "it's", "", "ü\U0001f642", "Z\x00"]
ORDERED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
EQUAL = {"=": operator.eq, "!=": operator.ne}

words = st.sampled_from(WORDS)
numbers = st.sampled_from([-1.5, -0.0, 0.0, 0.1, 3.0, 1e300])
moments = st.integers(0, 3).map(lambda days: EARLY + timedelta(days=days))
items = st.fixed_dictionaries({
    "item_id": words, "brand": st.none() | words, "price": st.none() | numbers, "stock": st.none() | st.integers(-2, 3),
    "category": st.none() | st.lists(words, max_size=3), "created_at": st.none() | moments,
    "attributes": st.none() | st.dictionaries(st.sampled_from(["hue", "Skin type"]), words),
})  # fmt: skip


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@st.composite
def comparisons(draw: st.DrawFn) -> tuple[str, Any]:
    """A comparison as text, and the function of an item that it means."""
    name, values, show = draw(st.sampled_from([
        ("brand", words, _quoted), ("price", numbers, repr), ("stock", numbers, repr), ("category", words, _quoted),
        ("created_at", moments, lambda moment: _quoted(moment.isoformat())), ("attributes.hue", words, _quoted),
        ("attributes.'Skin type'", words, _quoted),
    ]))  # fmt: skip
    is_list = name == "category"

    def held(item: dict[str, Any]) -> Any:
        if name.startswith("attributes"):
            return (item["attributes"] or {}).get(name.split(".")[1].strip("'"))
        return item[name]

    if draw(st.booleans()):
        wanted = draw(st.lists(values, min_size=1, max_size=3))
        text = f"{name} in ({', '.join(show(value) for value in wanted)})"

        def member(item: dict[str, Any]) -> bool:
            found = held(item)
            return found is not None and (any(v in wanted for v in found) if is_list else found in wanted)

        return text, member
    symbol = draw(st.sampled_from(sorted(EQUAL if is_list else EQUAL | ORDERED)))
    value = draw(values)

    def compare(item: dict[str, Any]) -> bool:
        found = held(item)
        if found is None:
            return False
        return (value in found) == (symbol == "=") if is_list else (EQUAL | ORDERED)[symbol](found, value)

    return f"{name} {symbol} {show(value)}", compare


def _joined(parts: list[tuple[str, Any]], word: str, every: Any) -> tuple[str, Any]:
    texts, meanings = zip(*parts, strict=True)
    return f" {word} ".join(f"({text})" for text in texts), lambda item: every(mean(item) for mean in meanings)


def _compound(inner: st.SearchStrategy[tuple[str, Any]]) -> st.SearchStrategy[tuple[str, Any]]:
    several = st.lists(inner, min_size=2, max_size=3)
    return (
        inner.map(lambda part: (f"not ({part[0]})", lambda item: not part[1](item)))
        | several.map(lambda parts: _joined(parts, "and", all))
        | several.map(lambda parts: _joined(parts, "OR", any))
    )


@settings(max_examples=80, deadline=None)
@given(st.recursive(comparisons(), _compound, max_leaves=6), st.lists(items, max_size=6), st.integers(1, 3))
def test_a_filter_means_what_it_says(filter_: tuple[str, Any], rows: list[dict[str, Any]], pieces: int) -> None:
    text, meaning = filter_
    compiled = compile_filter(text)
    expected = [meaning(row) for row in rows]
    whole = pa.Table.from_pylist(rows, schema=SCHEMA)
    table = pa.concat_tables([whole.slice(at, pieces) for at in range(0, len(rows), pieces)] or [whole])
    assert compiled.mask(table).tolist() == expected
    assert [compiled.matches(row) for row in rows] == expected


@pytest.mark.parametrize(("text", "matching"), [
    ("brand = 'A'", ["a"]),
    ("brand != 'A'", ["b"]),
    ("not brand = 'A'", ["b", "none"]),
    ("brand = null or brand != null", []),
    ("category = 'Wine'", ["a"]),
    ("category != 'Wine'", ["b"]),
    ("price <= 50 and brand in ('A','B') and not category = 'Wine'", ["b"]),
    ("price <= 50 or brand = 'B' and price > 100", ["a", "b"]),
    ("NOT(price<=10)AND brand IN('A')", ["a"]),
    ("created_at >= '2026-01-02'", ["b"]),
    ("created_at = '2026-01-01T01:00:00+01:00'", ["a"]),
    ("title = 'O''Neill'", ["a"]),
    ("attributes.hue = 'red'", ["a"]),
    ("attributes.'Skin type' in ('dry')", ["b"]),
])  # fmt: skip
def test_the_language_by_example(text: str, matching: list[str]) -> None:
    rows = [
        {"item_id": "a", "brand": "A", "price": 20.0, "category": ["Food", "Wine"], "created_at": EARLY,
         "attributes": {"hue": "red"}, "title": "O'Neill"},
        {"item_id": "b", "brand": "B", "price": 50.0, "category": [], "created_at": EARLY + timedelta(days=1),
         "attributes": {"Skin type": "dry"}},
        {"item_id": "none"},
    ]  # fmt: skip
    mask = compile_filter(text).mask(pa.Table.from_pylist(rows, schema=SCHEMA))
    assert [row["item_id"] for row, kept in zip(rows, mask, strict=True) if kept] == matching
    assert [row["item_id"] for row in rows if compile_filter(text).matches(row)] == matching


@pytest.mark.parametrize(("text", "field", "offset", "said"), [
    ("prise < 3", "prise", 0, "did you mean price"),
    ("price < 3 and bran = 'A'", "bran", 14, "did you mean brand"),
    ("price = 'abc'", "price", 8, "allowed a number"),
    ("brand in ('A', 3)", "brand", 15, "allowed a string in single quotes"),
    ("attributes.size > 3", "attributes.size", 18, "allowed a string in single quotes"),
    ("attributes = 'x'", "attributes", 0, "allowed attributes.NAME"),
    ("category < 'A'", "category", 0, "a list has no order"),
    ("created_at > 'yesterday'", "created_at", 13, "ISO 8601"),
    ("created_at > 2026", "created_at", 13, "ISO 8601"),
    ("updated_at = '0001-01-01T00:00:00+14:00'", "updated_at", 13, "ISO 8601"),
    ("price < ", None, 8, "found the end"),
    ("price < 3 brand = 'A'", None, 10, "allowed and, or, the end"),
    ("brand='a' orprice=3", None, 10, "does not parse at offset 10"),
    ("brand = \"A\"", None, 8, "does not parse at offset 8"),
    ("brand = 'A", None, 8, "does not parse at offset 8"),
    ("brand in ()", None, 10, "does not parse at offset 10"),
    ("(price = 1", None, 10, "allowed )"),
    ("", None, 0, "does not parse at offset 0"),
    ("price = 1 \ud800", None, 10, "not Unicode"),
    ("not " * 200 + "price = 1", None, 544, "nested too deeply"),
    ("price = 1 or " * 400 + "price = 1", None, MAX_LENGTH, "too long"),
])  # fmt: skip
def test_what_is_wrong_is_named(text: str, field: str | None, offset: int, said: str) -> None:
    with pytest.raises(FilterError) as wrong:
        compile_filter(text)
    assert (wrong.value.field, wrong.value.offset) == (field, offset)
    assert said in str(wrong.value)
    assert isinstance(wrong.value, InputError)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="()'=<>! ,.1aenotrdipcbg\\\n\x00é\ud800", max_size=60) | st.text(max_size=60))
@example("(" * 2_000 + "price=1" + ")" * 2_000)
@example("not(" * 1_000 + "price=1")
@example("(price=1 or " * 300 + "price=1" + ")" * 300)
@example("price=" + "9" * 4_000)
@example("price=1e999")
def test_any_text_compiles_or_is_refused(text: str) -> None:
    try:
        mask = compile_filter(text).mask(SCHEMA.empty_table())
    except FilterError as error:
        offset = error.offset
    else:
        offset = mask.size
    assert 0 <= offset <= max(len(text), MAX_LENGTH)


def test_equal_texts_share_a_filter() -> None:
    assert compile_filter("price < 3") is compile_filter("price < 3")
