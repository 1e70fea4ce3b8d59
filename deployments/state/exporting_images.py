"""Pictures that came while serving, as files and rows of an exported shop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from deployments.state.store import Store
from training.contracts.shop import Shop, ShopWriter
from training.contracts.tables import TABLES
from training.features.image_kinds import kind_of

FOLDER = "item_images"
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg"}


def export_images(store: Store, writer: ShopWriter) -> None:
    """Add the store's pictures to the images that the folder carries; without any, it is left as it is."""
    held = dict(_written(store, writer.folder))
    if not held:
        return
    carried = Shop(writer.folder)
    table = pa.concat_tables([_others(carried.table("images"), held), _rows(held)], promote_options="permissive")
    for file in carried.files("images"):
        # Not written over: it may be a link to the imported shop's own file.
        file.unlink()
    writer.write("images", table)


def _written(store: Store, folder: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Image id, item id and path of each picture, its file written."""
    seq = 0
    while entries := store.images_since(seq):
        seq = entries[-1].seq
        for entry in entries:
            if entry.data is not None:
                path = f"{FOLDER}/{entry.image_id}{SUFFIXES[str(kind_of(entry.data))]}"
                _write(folder / path, entry.data)
                yield entry.image_id, (entry.item_id, path)


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(exist_ok=True)
    if not file.exists():
        file.write_bytes(data)


def _others(images: pa.Table, held: dict[str, tuple[str, str]]) -> pa.Table:
    """Rows of the imported shop, but those that an earlier export wrote of the same pictures."""
    known = pc.is_in(images.column("image_id"), value_set=pa.array(held, pa.string()))
    return images.filter(pc.invert(known))


def _rows(held: dict[str, tuple[str, str]]) -> pa.Table:
    rows = [{"image_id": image_id, "item_id": item_id, "path": path} for image_id, (item_id, path) in held.items()]
    return pa.Table.from_pylist(rows, schema=pa.schema([TABLES["images"].schema.field(name) for name in rows[0]]))
