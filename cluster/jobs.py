"""The jobs of this version and their bundles, found by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cluster.home import Home
from training.bundles.registry import Registry
from training.bundles.store import BundleStore
from training.contracts.errors import InputError, Problem, nearest
from training.jobs.job import Job
from training.jobs.registry import JOBS


@dataclass(frozen=True)
class FoundBundle:
    """A published bundle, verified, as a local folder."""

    version: str
    folder: Path


def find_job(name: str) -> Job:
    """Raises InputError with the nearest name where there is no such job."""
    if name not in JOBS:
        raise InputError(
            Problem(
                field="JOB", problem="no such job", found=name, allowed=", ".join(JOBS), nearest=nearest(name, JOBS)
            )
        )
    return JOBS[name]


def resolve_bundle(home: Home, shop_id: str, job: str, version: str | None) -> FoundBundle:
    """The version asked for, whichever shop it was trained on, else the champion of `shop_id`.

    Raises InputError naming what there is, or how to get one.
    """
    store = BundleStore(home.bundles)
    if version is None:
        champion = Registry(home.releases, shop_id).get("champion")
        version = champion.jobs.get(job) if champion else None
        if version is None:
            allowed = f"shopkeeper train {job} --data SHOP"
            raise InputError(
                Problem(field="--version", problem=f"shop {shop_id} has no champion {job}", allowed=allowed)
            )
    owners = [owner for owner in shop_ids(home) if version in store.versions(owner, job)]
    owner = shop_id if shop_id in owners or not owners else owners[0]
    return FoundBundle(version, store.fetch(owner, job, version))


def shop_ids(home: Home) -> list[str]:
    """The shops that have bundles in this home."""
    return sorted(folder.name for folder in home.bundles.glob("*") if folder.is_dir())
