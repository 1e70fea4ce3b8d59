"""Refuses a bundle that was made for another shop than the one it is asked about."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from cluster.home import Home
from training.bundles.fit import refuse_other_columns
from training.bundles.manifest import Manifest
from training.bundles.store import MANIFEST, BundleStore
from training.contracts.shop import Shop

RECOMMENDER = "recommender"


def refuse_misfit(home: Home, folder: Path, shop: Shop) -> None:
    """Raise InputError with the difference where the bundle's columns or items are not the shop's.

    A bundle made on top of a recommender fits where that one does.
    """
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    refuse_other_columns(manifest, shop)
    if manifest.job != RECOMMENDER:
        if RECOMMENDER not in manifest.upstream:
            return
        folder = BundleStore(home.bundles).fetch(manifest.shop_id, RECOMMENDER, manifest.upstream[RECOMMENDER])
    from training.models.bundle_fit import refuse_other_items

    items = {str(row["item_id"]): row for row in shop.table("items").to_pylist(maps_as_pydicts="lossy")}
    named = pa.chunked_array([piece["item_id"] for piece in shop.batches("events", ["item_id"])], pa.string())
    known = items.keys() | set(named.unique().drop_null().to_pylist())
    refuse_other_items(folder, item_ids=known, item=items.get)


def refuse_misfit_to_state(home: Home, folder: Path, shop_id: str) -> None:
    """The same beside the live catalogue of a shop that was served from this home; one that never was fits all."""
    from deployments.state.open import open_store
    from training.models.bundle_fit import refuse_other_items

    if shop_id not in home.state_shop_ids():
        return
    store = open_store(home.state_url(shop_id), shop_id)
    try:
        entries, seq = [], 0
        while page := store.catalogue_since(seq, limit=5_000):
            entries += page
            seq = page[-1].seq
    finally:
        store.close()
    items = {entry.item_id: entry.item for entry in entries if entry.item is not None}
    refuse_other_items(folder, item_ids=items.keys(), item=items.get)
