"""What the gateway serves of one job: a bundle goes in front once every stage that answers from it holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Generic, TypeVar

from deployments.middleware.problems import HttpProblem
from deployments.releases import BundleWatcher, Loaded
from deployments.stages import StageClient, StageStatus

M = TypeVar("M")
PATIENCE_S = 10.0
"""How long the first release waits for every stage to hold it before it is served with what is there."""


class Front(Generic[M]):
    """The current and the previous bundle of one job; `what` is what clients call it."""

    def __init__(self, watcher: BundleWatcher[M], stages: Sequence[StageClient], *, what: str) -> None:
        self.watcher, self.stages, self.what = watcher, tuple(stages), what
        self._waiting_since_s: float | None = None

    @property
    def waits(self) -> bool:
        """Whether a bundle is loaded that is not served yet."""
        return self.watcher.pending is not None

    def take_up(self, statuses: Mapping[str, StageStatus], now_s: float) -> bool:
        """Whether the pending bundle was put in front."""
        pending = self.watcher.pending
        if pending is None:
            self._waiting_since_s = None
            return False
        self._waiting_since_s = self._waiting_since_s or now_s
        first = self.watcher.current is None and now_s - self._waiting_since_s > PATIENCE_S
        ready = first or all(_holds(stage, statuses[stage.name], pending) for stage in self.stages)
        if ready:
            self.watcher.swap()
        return ready

    def serving(self) -> Loaded[M]:
        """What answers are made from now; raises 503 with the command that would train it."""
        if self.watcher.current is None:
            raise HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, self.not_ready(), retry_after_s=5)
        return self.watcher.current

    def releases(self) -> list[Loaded[M]]:
        """The current one, and the one before for replicas that have not caught up."""
        return [loaded for loaded in (self.watcher.current, self.watcher.previous) if loaded is not None]

    def versions(self) -> dict[str, str]:
        """By job, what is in front."""
        return self.watcher.current.versions if self.watcher.current else {}

    def not_ready(self) -> str:
        watcher = self.watcher
        if watcher.problem:
            return f"the {self.what} cannot be loaded: {watcher.problem}"
        if watcher.pending is not None:
            return f"the {self.what} is being loaded"
        shop_id = watcher.registry.shop_id
        return f"shop {shop_id} has no {self.what} yet: shopkeeper train {watcher.job} --data SHOP"


def _holds(stage: StageClient, status: StageStatus, bundle: Loaded[M]) -> bool:
    """Whether the stage has every bundle that it needs for the release."""
    needed = {version for job, version in bundle.versions.items() if job in stage.jobs}
    return needed <= set(status.versions)
