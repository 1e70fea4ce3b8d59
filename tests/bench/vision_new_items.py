"""Visual search where a tenth of the items came after the training: their pictures are put while it serves.

python tests/bench/vision_new_items.py --sample 2

Beside it the same with the new pictures where they are, as if nothing stood for the proxies that their items lack.
"""

from __future__ import annotations

import argparse
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from record import Recording
from running_shop import run

from training.datasets.sample import generate
from training.jobs.pictures import read_picture
from training.models.gallery import Shown
from training.models.visual_search import VisualSearch

EACH = 10
BATCH = 256
Row = Mapping[str, Any]


def is_new(item_id: str) -> bool:
    return zlib.crc32(item_id.encode()) % EACH == 0


def without_new_items(shop: Path) -> list[Row]:
    """All pictures of the shop, which is left with those of the items that are there already."""
    (file,) = shop.glob("images*.parquet")
    images = pq.read_table(file)
    kept = pa.array([not is_new(item_id) for item_id in images["item_id"].to_pylist()])
    pq.write_table(images.filter(kept), file)
    rows: list[Row] = images.filter(pc.is_valid(images["item_id"])).to_pylist()
    return rows


def vectors(search: VisualSearch, shop: Path, rows: Sequence[Row]) -> np.ndarray:
    blocks = [rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]
    return np.concatenate([search.embed([read_picture(shop / row["path"]) for row in block]) for block in blocks])


def first_items(search: VisualSearch, vectors_ND: np.ndarray) -> list[str]:
    return [found[0][0] for found in search.search(vectors_ND, 1)]


def measured(search: VisualSearch, shop: Path, rows: Sequence[Row]) -> dict[str, float]:
    """How often the first answer is the photo's item, before and after the new items' pictures are put."""
    photos = [row for row in rows if row["split"] == "test"]
    asked_ND, of_new = vectors(search, shop, photos), np.array([is_new(row["item_id"]) for row in photos])
    wanted = np.array([row["item_id"] for row in photos])
    alone = np.array(first_items(search, asked_ND[~of_new])) == wanted[~of_new]
    put = [row for row in rows if row["split"] == "train" and is_new(row["item_id"])]
    put_ND = vectors(search, shop, put)
    search.upsert({row["image_id"]: Shown(row["item_id"]) for row in put}, put_ND)
    found = np.array(first_items(search, asked_ND))
    themselves = np.array(first_items(search, put_ND)) == np.array([row["item_id"] for row in put])
    return {
        "trained_alone": float(alone.mean()),
        "trained": float((found == wanted)[~of_new].mean()),
        "trained_answered_by_new": float(np.array([is_new(item_id) for item_id in found[~of_new]]).mean()),
        "new": float((found == wanted)[of_new].mean()),
        "new_finding_themselves": float(themselves.mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=2, metavar="SEED")
    parser.add_argument("--set", action="append", default=[], help="a setting of the training")
    options = parser.parse_args()
    recording = Recording("vision_new_items", seeds=[options.sample])
    with tempfile.TemporaryDirectory() as folder:
        home, shop = Path(folder) / "home", Path(folder) / "shop"
        generate(shop, size="small", seed=options.sample)
        rows = without_new_items(shop)
        settings = [word for one in options.set for word in ("--set", one)]
        trained = run(home, "train", "vision", "--data", str(shop), "--workers", "0", *settings)
        (model,) = home.glob("bundles/*/vision/*/model.json")
        plain = VisualSearch.load(model.parent)
        if plain.proxies is not None:
            plain.proxies.expected_DD = None
        recording.write({
            "trained": {name: trained[name] for name in ("metrics", "cpu_seconds", "notes")},
            "as_served": measured(VisualSearch.load(model.parent), shop, rows),
            "new_pictures_undrawn": measured(plain, shop, rows),
        })  # fmt: skip


if __name__ == "__main__":
    main()
