"""Follows the champion: loads the next bundle beside the current one, keeps both, swaps a reference."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from training.bundles.manifest import Manifest
from training.bundles.registry import Registry, Release
from training.bundles.store import BundleStore
from training.contracts.errors import shorten

M = TypeVar("M")
RETRY_S = 5.0


@dataclass(frozen=True)
class Loaded(Generic[M]):
    """One bundle in memory and the release that named it."""

    release: str
    version: str
    manifest: Manifest
    model: M


class BundleWatcher(Generic[M]):
    """The current and the previous bundle of one job of one shop.

    A bundle that is missing or corrupt leaves the one before serving and is said in `problem`.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        bundles: BundleStore,
        job: str,
        load: Callable[[Path, Manifest], M],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry, self.bundles, self.job, self.load, self.clock = registry, bundles, job, load, clock
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
                self.problem, self._failed = None, None
        except Exception as error:
            # Whatever is wrong with a bundle, the one before it keeps serving.
            name = champion.release if champion else "champion"
            self.problem = f"{name}: {shorten(str(error), 400)}"
            self._failed = (name, self.clock())

    def swap(self) -> None:
        """Make `pending` current; the current one becomes previous, unless both are the same bundle."""
        if self.pending is None:
            return
        if self.current is not None and self.current.version != self.pending.version:
            self.previous = self.current
        self.current, self.pending = self.pending, None

    def held(self) -> list[Loaded[M]]:
        """Every bundle in memory."""
        return [loaded for loaded in (self.current, self.previous, self.pending) if loaded is not None]

    def get(self, version: str) -> M | None:
        """The model of `version`, None where it is not held."""
        return next((loaded.model for loaded in self.held() if loaded.version == version), None)

    def _is_news(self, champion: Release, version: str) -> bool:
        known = self.pending or self.current
        if known is not None and (known.release, known.version) == (champion.release, version):
            return False
        return self._failed is None or self._failed[0] != champion.release or self.clock() - self._failed[1] >= RETRY_S

    def _load(self, champion: Release, version: str) -> Loaded[M]:
        held = next((loaded for loaded in self.held() if loaded.version == version), None)
        if held is not None:
            return Loaded(champion.release, version, held.manifest, held.model)
        shop_id = self.registry.shop_id
        folder = self.bundles.fetch(shop_id, self.job, version)
        manifest = self.bundles.manifest(shop_id, self.job, version)
        return Loaded(champion.release, version, manifest, self.load(folder, manifest))
