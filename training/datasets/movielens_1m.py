"""MovieLens-1M as sequences: who rated which films in which order, with titles, genres, people and posters."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import ShopWriter, new_shop
from training.contracts.tables import STRING_MAP
from training.datasets.adapter import DatasetAdapter, only_file, shop_id_of
from training.datasets.image_archive import extract_images
from training.datasets.sequence_file import Sequences, read_sequences, sequences_info
from training.datasets.text_files import read_separated, refuse_repeats

# The last rating is of February 2003; only the order of events is known.
REFERENCE_DATE = datetime(2003, 3, 1, tzinfo=UTC)
POSTERS = "posters"
NO_GENRE = "(no genres listed)"
_YEAR = re.compile(r"\((\d{4})\)\s*$")
_PERSON = ("user_id", "gender", "age", "occupation", "zip")


def read(folder: Path, out: Path, *, force: bool = False, progress: Progress = NoProgress()) -> dict[str, int]:
    """Import a folder of the format into a new shop at `out`; returns rows per table.

    `sequences_NAME.txt` becomes shop `movielens-1m-NAME`: other sequences are another shop.
    """
    found = [file for file in folder.glob("sequences_*") if file.name.endswith((".txt", ".txt.gz"))]
    file = only_file(folder, found, wanted="sequences_*.txt or sequences_*.txt.gz")
    progress.stage(f"reading {file.name}")
    sequences = read_sequences(file)
    part = file.name.split(".txt")[0].removeprefix("sequences_")
    info = sequences_info(
        shop_id_of("movielens-1m", part), name=f"MovieLens 1M ({part})", reference_date=REFERENCE_DATE
    )
    with new_shop(out, info, force=force) as shop:
        ids = sequences.item_ids().to_pylist()
        posters = _write_posters(folder, shop, ids, progress)
        progress.stage("writing the tables")
        shop.write("items", _items(ids, folder / "items.tsv", posters))
        shop.write("users", _users(sequences, folder / "users.dat"))
        shop.write("events", sequences.events(type="rating", last=REFERENCE_DATE - timedelta(minutes=1)))
        return shop.counts


def _write_posters(folder: Path, shop: ShopWriter, ids: list[str], progress: Progress) -> dict[str, str]:
    """Unpack the posters of the items and write the images table; returns path in the shop by item."""
    archives = list(folder.glob("posters_*.zip"))
    if not archives:
        return {}
    archive = only_file(folder, archives, wanted="posters_*.zip")
    names = extract_images(archive, shop.folder / POSTERS, set(ids), progress)
    paths = {item: f"{POSTERS}/{names[item]}" for item in ids if item in names}
    if paths:
        images = {"image_id": list(paths), "item_id": list(paths), "path": list(paths.values())}
        shop.write("images", pa.table(images))
    return paths


def _items(ids: list[str], file: Path, posters: dict[str, str]) -> pa.Table:
    """The films that occur in the sequences; the first genre is the category, all of them are tags."""
    titles: dict[str, str] = {}
    genres: dict[str, list[str]] = {}
    if file.is_file():
        columns = read_separated(file, separator="\t", required=("movie_id", "title", "genres"))
        refuse_repeats(file, "movie_id", columns["movie_id"], first_line=2)
        titles = dict(zip(columns["movie_id"], columns["title"], strict=True))
        for item, text in zip(columns["movie_id"], columns["genres"], strict=True):
            genres[item] = [genre for genre in text.split("|") if genre and genre != NO_GENRE]
    years = {item: match.group(1) for item, title in titles.items() if (match := _YEAR.search(title))}
    strings = pa.list_(pa.string())
    return pa.table({
        "item_id": pa.array(ids, pa.string()),
        "title": pa.array([titles.get(item) or None for item in ids], pa.string()),
        "category": pa.array([genres.get(item, [])[:1] or None for item in ids], strings),
        "tags": pa.array([genres.get(item) or None for item in ids], strings),
        "attributes": pa.array([[("year", years[item])] if item in years else None for item in ids], STRING_MAP),
        "image": pa.array([posters.get(item) for item in ids], pa.string()),
    })  # fmt: skip


def _users(sequences: Sequences, file: Path) -> pa.Table:
    """The people of the sequences with gender, age group, occupation code and zip code as the file codes them."""
    if not file.is_file():
        return pa.table({"user_id": sequences.users})
    columns = read_separated(file, separator="::", columns=_PERSON, encoding="latin-1")
    refuse_repeats(file, "user_id", columns["user_id"], first_line=1)
    rows = zip(*(columns[name] for name in _PERSON), strict=True)
    people = {user: list(zip(_PERSON[1:], values, strict=True)) for user, *values in rows}
    attributes = [people.get(user) for user in sequences.users.to_pylist()]
    return pa.table({"user_id": sequences.users, "attributes": pa.array(attributes, STRING_MAP)})


ADAPTER = DatasetAdapter(
    name="movielens-1m",
    description="A million film ratings by 6,040 people, order only, with titles, genres and posters.",
    reads="one sequences_*.txt or sequences_*.txt.gz of lines 'user item item ...', oldest first; items.tsv, users.dat"
    " and posters_*.zip where there are any",
    origin="GroupLens MovieLens-1M (Harper and Konstan, TiiS 2015); posters from antonsteenvoorden/ml1m-images",
    licence="GroupLens: research use, no redistribution without permission; posters: research use only",
    reader=read,
)
