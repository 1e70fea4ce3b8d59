"""Pictures that came while serving, as files and rows of an exported shop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from deployments.state.images import ImageEntry
from deployments.state.store import Store
from training.contracts.shop import Shop, ShopWriter
from training.contracts.tables import TABLES
from training.features.image_kinds import kind_of

FOLDER = "item_images"
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg"}


def export_images(store: Store, writer: ShopWriter, *, known_seq: int) -> None:
    """Bring the images that the folder carries up to date: with the store's, without those of deleted items.

    What the catalogue's log says up to `known_seq`, the imported shop knew. Nothing changes where nothing happened.
    """
    held, gone = dict[str, tuple[str, str]](), set[str]()
    for entry in _log(store):
        if entry.data is not None:
            held[entry.image_id] = (entry.item_id, _written(entry.image_id, entry.data, writer.folder))
        elif entry.seq > known_seq:
            gone.add(entry.item_id)
    carried = Shop(writer.folder)
    before = carried.table("images")
    kept = _others(before, held, gone)
    if not held and len(kept) == len(before):
        return
    after = pa.concat_tables([kept, _rows(held)], promote_options="permissive")
    for file in (*carried.files("images"), *_unused(before, after, carried)):
        # Not written over: it may be a link to the imported shop's own file.
        file.unlink(missing_ok=True)
    writer.write("images", after)


def _log(store: Store) -> Iterator[ImageEntry]:
    seq = 0
    while entries := store.images_since(seq):
        yield from entries
        seq = entries[-1].seq


def _written(image_id: str, data: bytes, folder: Path) -> str:
    """The picture's path in the folder, where it is now."""
    path = f"{FOLDER}/{image_id}{SUFFIXES[str(kind_of(data))]}"
    (folder / path).parent.mkdir(exist_ok=True)
    if not (folder / path).exists():
        (folder / path).write_bytes(data)
    return path


def _others(images: pa.Table, held: Mapping[str, object], gone: Iterable[str]) -> pa.Table:
    """Rows of the imported shop, but those of deleted items, and those that an earlier export wrote of `held`."""
    known = pc.is_in(images.column("image_id"), value_set=pa.array(held, pa.string()))
    deleted = pc.is_in(images.column("item_id"), value_set=pa.array(gone, pa.string()))
    return images.filter(pc.invert(pc.or_(known, deleted)))


def _unused(before: pa.Table, after: pa.Table, shop: Shop) -> Iterator[Path]:
    """Files inside the shop that no row of images or items names any more."""
    named = {*after.column("path").to_pylist(), *shop.table("items", ["image"]).column("image").to_pylist()}
    inside = shop.path.resolve()
    for path in set(before.column("path").to_pylist()) - named:
        if (inside / path).resolve().is_relative_to(inside):
            yield inside / path


def _rows(held: dict[str, tuple[str, str]]) -> pa.Table:
    rows = [{"image_id": image_id, "item_id": item_id, "path": path} for image_id, (item_id, path) in held.items()]
    fields = [TABLES["images"].schema.field(name) for name in ("image_id", "item_id", "path")]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))
