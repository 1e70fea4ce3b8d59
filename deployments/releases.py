"""Follows the champion: loads the next bundle beside the current one, keeps both, swaps a reference."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from deployments.companions import Alone, Companions, FindCompanions
from training.bundles.manifest import Manifest
from training.bundles.registry import Registry, Release
from training.bundles.store import BundleStore
from training.contracts.errors import shorten

M = TypeVar("M")
RETRY_S = 5.0


@dataclass(frozen=True)
class Loaded(Generic[M]):
    """One bundle in memory, the release that named it, and the bundles of other jobs that go with it."""

    release: str
    version: str
    manifest: Manifest
    model: M
    jobs: Mapping[str, str] = field(default_factory=dict)
    companions: Companions = field(default_factory=Companions)

    @property
    def versions(self) -> dict[str, str]:
        """By job, what answers of this release are made with."""
        return {self.manifest.job: self.version, **{job: one.version for job, one in self.companions.used.items()}}


class BundleWatcher(Generic[M]):
    """The current and the previous bundle of one job of one shop.

    A release with a bundle that is missing, corrupt or does not fit leaves the one before serving and is said in
    `problem`; where none was served yet, the newest earlier release that can be loaded is.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        bundles: BundleStore,
        job: str,
        load: Callable[[Path, Manifest], M],
        companions: FindCompanions = Alone(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry, self.bundles, self.job, self.load, self.clock = registry, bundles, job, load, clock
        self.companions = companions
        self.current: Loaded[M] | None = None
        self.previous: Loaded[M] | None = None
        self.pending: Loaded[M] | None = None
        self.problem: str | None = None
        self._failed: tuple[str, float] | None = None

    def poll(self) -> None:
        """Load what the champion names and swap to it at once; blocking, for a thread."""
        self.prepare()
        self.swap()

    def prepare(self) -> None:
        """Load what the champion names, if that is news, as `pending`."""
        champion: Release | None = None
        try:
            champion = self.registry.get("champion")
            version = champion.jobs.get(self.job) if champion else None
            if champion is not None and version is not None and self._is_news(champion, version):
                self.pending = self._load(champion, version)
                self._note(champion, self.pending.companions.broken)
        except Exception as error:
            # Whatever is wrong with a bundle, the one before it keeps serving.
            self._note(champion, str(error))
            if champion is not None and self.current is None and self.pending is None:
                self._go_back(champion)

    def swap(self) -> None:
        """Make `pending` current; the current one becomes previous, unless both are made of the same bundles."""
        if self.pending is None:
            return
        if self.current is not None and self.current.versions != self.pending.versions:
            self.previous = self.current
        self.current, self.pending = self.pending, None

    def held(self) -> list[Loaded[M]]:
        """Every bundle in memory."""
        return [loaded for loaded in (self.current, self.previous, self.pending) if loaded is not None]

    def get(self, version: str) -> M | None:
        """The model of `version`, None where it is not held."""
        return next((loaded.model for loaded in self.held() if loaded.version == version), None)

    def _note(self, champion: Release | None, problem: str | None) -> None:
        name = champion.release if champion else "champion"
        self.problem = None if problem is None else f"{name}: {shorten(problem, 600)}"
        self._failed = None if problem is None else (name, self.clock())

    def _is_news(self, champion: Release, version: str) -> bool:
        if self._failed is not None and self._failed[0] == champion.release:
            return self.clock() - self._failed[1] >= RETRY_S
        known = self.pending or self.current
        return known is None or (known.release, known.version) != (champion.release, version)

    def _load(self, release: Release, version: str) -> Loaded[M]:
        companions = self.companions(release, strict=bool(self.current or self.pending))
        held = next((loaded for loaded in self.held() if loaded.version == version), None)
        if held is not None:
            return Loaded(release.release, version, held.manifest, held.model, release.jobs, companions)
        shop_id = self.registry.shop_id
        folder = self.bundles.fetch(shop_id, self.job, version)
        manifest = self.bundles.manifest(shop_id, self.job, version)
        return Loaded(release.release, version, manifest, self.load(folder, manifest), release.jobs, companions)

    def _go_back(self, champion: Release) -> None:
        """Nothing is served yet and the champion cannot be: the newest release before it whose bundle can."""
        for release in self.registry.history()[1:]:
            version = release.jobs.get(self.job)
            if version in (None, champion.jobs.get(self.job)):
                continue
            try:
                self.pending = self._load(release, str(version))
                return
            except Exception as error:
                self.problem = f"{self.problem}; {release.release}: {shorten(str(error), 200)}"
