"""What holds a stage's bundles: each query goes to the one it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from deployments.live import LiveShop
from deployments.messages import Missing
from deployments.releases import BundleWatcher
from deployments.stages import StageStatus


class StageModel(Protocol):
    """One bundle of a stage in memory; a plain class."""

    def answer(self, queries: Sequence[Any]) -> list[Any]:
        """One answer per query, each independent of the others; blocking."""

    def follow(self) -> None:
        """Take in what changed in the live catalogue; blocking."""


class StageHost:
    """The current and the previous bundle of one stage."""

    def __init__(self, watcher: BundleWatcher[StageModel], live: LiveShop) -> None:
        self.watcher, self.live = watcher, live

    def follow(self) -> None:
        """Take up the champion, and the catalogue's changes in every bundle held."""
        self.watcher.poll()
        for loaded in self.watcher.held():
            loaded.model.follow()

    def answer(self, queries: Sequence[Any]) -> list[Any]:
        """In the order of the queries; `Missing` for one that asks for a bundle not held."""
        answers: list[Any] = [None] * len(queries)
        for version in dict.fromkeys(query.version for query in queries):
            places = [place for place, query in enumerate(queries) if query.version == version]
            model = self.watcher.get(version)
            found = [Missing(version)] * len(places) if model is None else model.answer([queries[n] for n in places])
            for place, answer in zip(places, found, strict=True):
                answers[place] = answer
        return answers

    def status(self) -> StageStatus:
        versions = tuple(loaded.version for loaded in self.watcher.held())
        return StageStatus(versions, self.watcher.problem or self.live.problem(), up=True)
