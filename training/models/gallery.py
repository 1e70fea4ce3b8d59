"""Which item and label each image of an index is of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = ("image_id", "item_id", "label")


class Shown(NamedTuple):
    """What an image shows; without a label of its own it has another one's, see `Gallery.label_of`."""

    item_id: str
    label: str | None = None


class Gallery:
    """Slots are those of the index beside it: one for each image id in the order in which they came, for good.

    `slot_items` goes on growing, and also says of whom the deleted ones were.
    """

    def __init__(self) -> None:
        self.slot_items: list[str] = []
        self._slot_labels: list[str] = []
        self._slot: dict[str, int] = {}
        self._images: dict[str, dict[str, None]] = {}

    def __contains__(self, image_id: str) -> bool:
        slot = self._slot.get(image_id)
        return slot is not None and image_id in self._images.get(self.slot_items[slot], ())

    def __len__(self) -> int:
        return sum(map(len, self._images.values()))

    def items(self) -> list[str]:
        """Those that have an image."""
        return list(self._images)

    def put(self, images: Mapping[str, Shown]) -> None:
        """By image id; one that is here already keeps its slot."""
        for image_id, shown in images.items():
            label = self.label_of(shown)
            own = self._images.setdefault(shown.item_id, {})
            if image_id not in self._slot:
                self._slot[image_id] = len(self.slot_items)
                self.slot_items.append(shown.item_id)
                self._slot_labels.append(label)
            else:
                self._slot_labels[self._slot[image_id]] = label
            own[image_id] = None

    def label_of(self, shown: Shown) -> str:
        """Its own, that of the item's other images, or the item."""
        own = self._images.get(shown.item_id)
        return shown.label or (self._slot_labels[self._slot[next(iter(own))]] if own else shown.item_id)

    def forget(self, item_id: str) -> list[str]:
        """The images that the item had."""
        return list(self._images.pop(item_id, {}))

    def slots_of(self, item_id: str) -> list[int]:
        """Of the item's images."""
        return [self._slot[image_id] for image_id in self._images.get(item_id, ())]

    def labels_at(self, slots: Iterable[int]) -> list[str]:
        return [self._slot_labels[slot] for slot in slots]

    def save(self, path: Path) -> None:
        rows = [
            (image_id, item_id, self._slot_labels[self._slot[image_id]])
            for item_id, images in self._images.items()
            for image_id in images
        ]
        columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(COLUMNS))]
        pq.write_table(pa.table(dict(zip(COLUMNS, columns, strict=True))), path)

    @classmethod
    def load(cls, path: Path, image_ids: Sequence[str]) -> Self:
        """`image_ids` of the index, in the order of its slots; those that the file does not name are deleted."""
        columns = pq.read_table(path).to_pydict()
        rows = zip(columns["image_id"], map(Shown, columns["item_id"], columns["label"]), strict=True)
        shown, gallery = dict(rows), cls()
        gallery.put({image_id: shown.get(image_id, Shown("")) for image_id in image_ids})
        gallery.forget("")
        return gallery
