"""A fit's folder as a published bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import BaseModel

from training.bundles.registry import Registry
from training.bundles.store import BundleStore
from training.contracts.shop import Shop
from training.jobs.job import FitResult
from training.jobs.publish import publish


def with_manifest(result: FitResult, shop: Shop, config: BaseModel, folder: Path) -> Path:
    """Publish a copy into a store below `folder`; returns the bundle."""
    copied = result.model_copy(update={"folder": shutil.copytree(result.folder, folder / "fitted")})
    store = BundleStore(folder / "bundles")
    registry = Registry(folder / "releases", shop.info.shop_id)
    manifest = publish(copied, job="forecaster", shop=shop, config=config, store=store, registry=registry)
    return store.fetch(shop.info.shop_id, "forecaster", manifest.version)
