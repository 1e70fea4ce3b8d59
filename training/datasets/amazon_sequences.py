"""Amazon review sequences as S3-Rec (CIKM 2020) prepared them, with attributes and key phrases where there are any."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from training.contracts.errors import InputError, Problem, shorten
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import new_shop
from training.datasets.adapter import DatasetAdapter, only_file, shop_id_of
from training.datasets.sequence_file import looks_like_sequences, read_sequences, sequences_info
from training.datasets.text_files import read_separated, read_text, refuse_repeats

# The crawl ends in July 2014; only the order of events is known.
REFERENCE_DATE = datetime(2014, 7, 23, tzinfo=UTC)
WORD_SEPARATOR = " | "
UNKNOWN_WORDS = {"", "?", "Unknown"}
NOT_SEQUENCES = re.compile(r"(source|readme|licen[cs]e|notice|copying|changelog)\b.*", re.IGNORECASE)


def read(folder: Path, out: Path, *, force: bool = False, progress: Progress = NoProgress()) -> dict[str, int]:
    """Import a folder of the format into a new shop at `out`; returns rows per table."""
    file = find_sequences(folder)
    name = file.name.split(".txt")[0]
    progress.stage(f"reading {file.name}")
    sequences = read_sequences(file)
    items = _items(sequences.item_ids().to_pylist(), folder, name)
    info = sequences_info(shop_id_of(name) or "amazon", name=name.replace("_", " "), reference_date=REFERENCE_DATE)
    with new_shop(out, info, force=force) as shop:
        progress.stage("writing the tables")
        shop.write("items", items)
        shop.write("users", pa.table({"user_id": sequences.users}))
        shop.write("events", sequences.events(type="rating", last=REFERENCE_DATE - timedelta(minutes=1)))
        return shop.counts


def find_sequences(folder: Path) -> Path:
    """The one `<Name>.txt` that holds sequences."""
    texts = [
        file
        for file in folder.iterdir()
        if file.name.endswith((".txt", ".txt.gz")) and not NOT_SEQUENCES.match(file.name)
    ]
    described = [file for file in texts if _companions(folder, file.name.split(".txt")[0])]
    candidates = described if len(described) == 1 else [file for file in texts if looks_like_sequences(file)]
    return only_file(folder, candidates, wanted="<Name>.txt of lines 'user item item ...'")


def _companions(folder: Path, name: str) -> bool:
    return any((folder / f"{name}{ending}").is_file() for ending in ("_item2attributes.json", "_items.tsv"))


def _items(ids: list[str], folder: Path, name: str) -> pa.Table:
    """The items that occur in the sequences, described as far as the folder does."""
    words, titles, asins = _described(folder / f"{name}_items.tsv")
    codes = _attribute_codes(folder / f"{name}_item2attributes.json")
    inner = Counter(word for path in words.values() for word in path[1:])
    brands: list[str | None] = []
    categories: list[list[str] | None] = []
    for item in ids:
        brand, category = _brand_and_category(words.get(item, []), inner)
        brands.append(brand)
        categories.append(category or None)
    return pa.table({
        "item_id": pa.array(ids, pa.string()),
        "title": pa.array([titles.get(item) for item in ids], pa.string()),
        "category": pa.array(categories, pa.list_(pa.string())),
        "brand": pa.array(brands, pa.string()),
        "attributes": pa.array(
            [[("asin", asins[item])] if asins.get(item) else None for item in ids], pa.map_(pa.string(), pa.string())
        ),
        "tags": pa.array([None if words.get(item) else codes.get(item) for item in ids], pa.list_(pa.string())),
    })  # fmt: skip


def _brand_and_category(words: list[str], inner: Counter[str]) -> tuple[str | None, list[str]]:
    """The brand comes first where there is one; a first word found deeper in other items' paths is a category."""
    if not words:
        return None, []
    brand = None if words[0] in UNKNOWN_WORDS or inner[words[0]] else words[0]
    path = words if inner[words[0]] else words[1:]
    return brand, [word for word in path if word not in UNKNOWN_WORDS]


def _described(file: Path) -> tuple[dict[str, list[str]], dict[str, str | None], dict[str, str]]:
    """By item: attribute words, key phrase and ASIN; empty where the file or a column of it is absent."""
    if not file.is_file():
        return {}, {}, {}
    columns = read_separated(file, separator="\t", required=("item_id",))
    ids = columns["item_id"]
    refuse_repeats(file, "item_id", ids, first_line=2)
    attributes, phrases, asins = (columns.get(name, [""] * len(ids)) for name in ("attributes", "keyphrase", "asin"))
    words = {
        item: [html.unescape(word).strip() for word in text.split(WORD_SEPARATOR)]
        for item, text in zip(ids, attributes, strict=True)
        if text.strip()
    }
    titles = {item: html.unescape(phrase).strip() or None for item, phrase in zip(ids, phrases, strict=True)}
    return words, titles, dict(zip(ids, asins, strict=True))


def _attribute_codes(file: Path) -> dict[str, list[str]]:
    """By item: its attribute ids as tags (`a17`); empty where the file is absent."""
    if not file.is_file():
        return {}
    try:
        document: Any = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise InputError(Problem(file=str(file), line=error.lineno, problem=f"not JSON: {error.msg}")) from error
    allowed = "{item: [attribute id, ...]}"
    if not isinstance(document, dict):
        raise InputError(Problem(file=str(file), problem="wrong shape", found=shorten(document), allowed=allowed))
    for item, codes in document.items():
        if not isinstance(codes, list) or not all(isinstance(code, (int, str)) for code in codes):
            raise InputError(
                Problem(file=str(file), field=item, problem="wrong shape", found=shorten(codes), allowed=allowed)
            )
    return {item: [f"a{code}" for code in codes] for item, codes in document.items()}


ADAPTER = DatasetAdapter(
    name="amazon-sequences",
    description="Review sequences of an Amazon department (Beauty, Sports and Outdoors ...); order only.",
    reads="one <Name>.txt of lines 'user item item ...', oldest first; <Name>_item2attributes.json and <Name>_items.tsv"
    " where there are any (the key phrase becomes the title)",
    origin="Amazon reviews 2014, 5-core (McAuley et al., SIGIR 2015), as prepared for S3-Rec (Zhou et al., CIKM 2020)",
    licence="research use; cite the papers",
    reader=read,
)
