"""From a finished fit to a published bundle: the manifest, the store, the candidate and the first champion."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow.compute as pc
from pydantic import BaseModel

from training.bundles.fit import filled_columns
from training.bundles.manifest import DataWindow, Manifest, code_revision, describe_files, library_versions
from training.bundles.registry import Registry
from training.bundles.store import BundleStore, new_version
from training.contracts.shop import Shop
from training.jobs.job import FitResult
from training.jobs.tracking import track


def publish(
    result: FitResult,
    *,
    job: str,
    shop: Shop,
    config: BaseModel,
    store: BundleStore,
    registry: Registry,
    may_lead: bool = True,
) -> Manifest:
    """Publish as candidate; champion too where the shop has none for this job and it `may_lead`."""
    manifest = Manifest(
        job=job,
        version=new_version(),
        model=result.model,
        shop_id=shop.info.shop_id,
        created_at=datetime.now(UTC),
        data=data_window(shop),
        catalogue_seq=shop.info.catalogue_seq,
        upstream=result.upstream,
        code_revision=code_revision(),
        config=config.model_dump(mode="json"),
        metrics=result.metrics,
        validation=result.validation,
        baselines=result.baselines,
        notes=list(result.notes),
        train_seconds=result.train_seconds,
        cpu_seconds=result.cpu_seconds,
        files=describe_files(result.folder),
        libraries=library_versions(),
    )
    store.publish(result.folder, manifest)
    registry.propose(job, manifest.version)
    champion = registry.get("champion")
    if may_lead and (champion is None or job not in champion.jobs):
        registry.promote(job, manifest.version, reason=f"first {job} of this shop")
    track(manifest)
    return manifest


def data_window(shop: Shop) -> DataWindow:
    """What a bundle says of the data behind it."""
    spans = [pc.min_max(piece["timestamp"]) for piece in shop.batches("events", ["timestamp"])]
    return DataWindow(
        fingerprint=shop.fingerprint(),
        reference_date=shop.info.reference_date,
        first_event=min((span["min"].as_py() for span in spans), default=None),
        last_event=max((span["max"].as_py() for span in spans), default=None),
        rows={table: shop.rows(table) for table in shop.tables()},
        columns=filled_columns(shop),
    )
