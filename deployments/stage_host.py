"""What holds a stage's bundles: each query goes to the one it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, cast

from deployments.live import LiveShop
from deployments.messages import Missing
from deployments.releases import BundleWatcher, Loaded
from deployments.stages import StageStatus


class StageModel(Protocol):
    """One bundle of a stage in memory; a plain class."""

    def answer(self, queries: Sequence[Any]) -> list[Any]:
        """One answer per query, each independent of the others; blocking."""

    def follow(self) -> None:
        """Take in what changed in the live catalogue; blocking."""


class PreparingModel(StageModel, Protocol):
    """One whose queries are made ready each by itself, before their batch comes together."""

    def prepared(self, query: Any) -> Any:
        """The query after that; blocking."""


class StageHost:
    """The current and the previous bundle of each job that one stage serves."""

    def __init__(self, watchers: Sequence[BundleWatcher[StageModel]], live: LiveShop) -> None:
        self.watchers, self.live = tuple(watchers), live

    def follow(self) -> None:
        """Take up the champion, and the catalogue's changes in every bundle held."""
        self.follow_champion()
        self.follow_catalogue()

    def follow_champion(self) -> None:
        """May take as long as a bundle takes to load."""
        for watcher in self.watchers:
            watcher.poll()

    def follow_catalogue(self) -> None:
        for loaded in self.held():
            loaded.model.follow()

    def held(self) -> Iterator[Loaded[StageModel]]:
        for watcher in self.watchers:
            yield from watcher.held()

    def prepared(self, query: Any) -> Any:
        """The query as its model wants it in a batch; only where the stage `prepares`. Blocking."""
        model = self._model(query.version)
        return query if model is None else cast(PreparingModel, model).prepared(query)

    def answer(self, queries: Sequence[Any]) -> list[Any]:
        """In the order of the queries; `Missing` for one that asks for a bundle not held."""
        answers: list[Any] = [None] * len(queries)
        for version in dict.fromkeys(query.version for query in queries):
            places = [place for place, query in enumerate(queries) if query.version == version]
            model = self._model(version)
            found = [Missing(version)] * len(places) if model is None else model.answer([queries[n] for n in places])
            for place, answer in zip(places, found, strict=True):
                answers[place] = answer
        return answers

    def status(self) -> StageStatus:
        problems = [*(watcher.problem for watcher in self.watchers), self.live.problem()]
        said = "; ".join(problem for problem in problems if problem)
        return StageStatus(tuple(loaded.version for loaded in self.held()), said or None, up=True)

    def _model(self, version: str) -> StageModel | None:
        return next((loaded.model for loaded in self.held() if loaded.version == version), None)
