"""What the adapters of picture sets share: the shop of an images table, and pictures copied into it."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from training.contracts.checks.columns import MAX_ID_CHARACTERS
from training.contracts.shop import ShopInfo, ShopWriter
from training.contracts.tables import TABLES
from training.datasets.adapter import shop_id_of

PICTURES = "pictures"
REFERENCE_DATE = datetime(2020, 1, 1, tzinfo=UTC)


def picture_info(*names: str, fallback: str) -> ShopInfo:
    """A shop without events; its reference date says nothing."""
    shop_id = shop_id_of(*names) or fallback
    return ShopInfo(shop_id=shop_id, name=" ".join(names), reference_date=REFERENCE_DATE)


def write_images(shop: ShopWriter, rows: Sequence[Mapping[str, Any]]) -> None:
    spec = TABLES["images"]
    columns = {
        name: pa.array([row.get(name) for row in rows], spec.schema.field(name).type) for name in spec.schema.names
    }
    shop.write("images", pa.table(columns))


def id_problem(image_id: str) -> str | None:
    """Why `data check` would refuse the id, or None."""
    if len(image_id) > MAX_ID_CHARACTERS:
        return f"an image id of {len(image_id)} characters; at most {MAX_ID_CHARACTERS}"
    return "control character in an image id" if any(unicodedata.category(one) == "Cc" for one in image_id) else None


def copy_picture(source: Path, shop: ShopWriter, inner: str) -> str:
    """Copy a picture to `pictures/INNER` of the shop; returns its path there."""
    target = shop.folder / PICTURES / inner
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return f"{PICTURES}/{inner}"
