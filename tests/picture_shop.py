"""Tiny shops of pictures: coloured shapes, whose colour is their label, on backgrounds of any colour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from training.contracts.shop import Shop, ShopInfo, new_shop
from training.contracts.tables import TABLES

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "yellow": (230, 220, 30)}
INFO = ShopInfo(shop_id="pictures", reference_date=datetime(2026, 1, 1, tzinfo=UTC))


def picture(label: str, rng: np.random.Generator, side: int = 20) -> tuple[Image.Image, tuple[float, ...]]:
    """A disc of the label's colour somewhere on grey, and its box from 0 to 1."""
    image = Image.new("RGB", (side, side), tuple([int(rng.integers(60, 200))] * 3))
    size = int(rng.integers(side // 3, side // 2))
    left, top = (int(rng.integers(0, side - size)) for _ in range(2))
    ImageDraw.Draw(image).ellipse((left, top, left + size, top + size), fill=COLOURS[label])
    return image, (left / side, top / side, (left + size + 1) / side, (top + size + 1) / side)


def make_picture_shop(
    path: Path, *, each: int = 12, tests: int = 4, side: int = 20, boxes: bool = False, items: bool = False
) -> Shop:
    """`each` pictures of every colour in train and `tests` in test; with `boxes` these say where, else labels what."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    with new_shop(path, INFO) as shop:
        (shop.folder / "pictures").mkdir()
        for split, count in (("train", each), ("test", tests)):
            for label in COLOURS:
                for number in range(count):
                    name = f"{split}-{label}-{number}"
                    image, corners = picture(label, rng, side)
                    image.save(shop.folder / "pictures" / f"{name}.png")
                    box = dict(zip(("x0", "y0", "x1", "y1"), corners, strict=True), label=label)
                    rows.append({
                        "image_id": name, "path": f"pictures/{name}.png", "split": split,
                        "label": None if boxes else label, "item_id": label if items else None,
                        "boxes": [box] if boxes else None,
                    })  # fmt: skip
        shop.write("images", images_table(rows))
    return Shop(path)


def images_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    schema = TABLES["images"].schema
    return pa.table({name: pa.array([row[name] for row in rows], schema.field(name).type) for name in schema.names})
