"""Bundles of other jobs that serve together with a release's recommender: used only where they were made for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from training.bundles.manifest import Manifest
from training.bundles.registry import Release
from training.bundles.store import BundleStore
from training.contracts.errors import InputError, ShopkeeperError

RECOMMENDER, RANKER, VISION, FORECASTER = "recommender", "ranker", "vision", "forecaster"
JOBS = (RECOMMENDER, RANKER, VISION, FORECASTER)
"""The jobs that this version serves."""
LOGISTIC = "logistic_regression"
"""The name of the ranker that every recommender bundle holds."""


@dataclass(frozen=True)
class Companions:
    """By job: the manifests of bundles to use, and why a bundle of the release is not used.

    `broken` is what is wrong with one that should be used.
    """

    used: Mapping[str, Manifest] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)
    broken: str | None = None


class FindCompanions(Protocol):
    """Of a release; `strict` raises where one is missing or corrupt, else it is left out and `broken`."""

    def __call__(self, release: Release, *, strict: bool) -> Companions: ...


class Alone:
    """A bundle that needs no other."""

    def __call__(self, release: Release, *, strict: bool) -> Companions:
        del release, strict
        return Companions()


@dataclass(frozen=True)
class Downstream:
    """Those of `jobs` whose bundle in the release was trained on the release's own bundle of `upstream`."""

    bundles: BundleStore
    shop_id: str
    upstream: str = RECOMMENDER
    jobs: Sequence[str] = (RANKER,)

    def __call__(self, release: Release, *, strict: bool) -> Companions:
        used: dict[str, Manifest] = {}
        unused: dict[str, str] = {}
        broken = []
        for job in (job for job in self.jobs if job in release.jobs):
            try:
                found = self._find(release, job)
            except (InputError, ShopkeeperError, OSError) as error:
                if strict:
                    raise
                found = str(error)
                broken.append(found)
            if isinstance(found, Manifest):
                used[job] = found
            else:
                unused[job] = found
        return Companions(used, unused, "; ".join(broken) or None)

    def _find(self, release: Release, job: str) -> Manifest | str:
        """The manifest of a verified bundle, or why the release does without; raises where it is corrupt or gone."""
        version, served = release.jobs[job], release.jobs.get(self.upstream)
        manifest = self.bundles.manifest(self.shop_id, job, version)
        made_for = manifest.upstream.get(self.upstream)
        if made_for != served:
            return (
                f"{job} {version} was trained on {self.upstream} {made_for or 'unknown'}, {served} is served: "
                f"shopkeeper train {job} --data SHOP, then models promote {job}"
            )
        self.bundles.fetch(self.shop_id, job, version)
        return manifest
