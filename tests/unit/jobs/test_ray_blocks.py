"""Blocks of series as tasks: all fitted, in order, few at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from training.jobs import ray_train

Answer = list[Any]


class TwoProcessors:
    """What `blocks` asks of Ray; a task runs until somebody waits for it."""

    def __init__(self) -> None:
        self.running: list[Answer] = []
        self.most = 0

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def remote(self, *, num_cpus: float) -> Any:
        assert num_cpus == 0
        return lambda fit_block: SimpleNamespace(remote=lambda *asked: self._begun(fit_block(*asked)))

    def _begun(self, answer: Answer) -> Answer:
        self.running.append(answer)
        self.most = max(self.most, len(self.running))
        return answer

    def wait(self, running: list[Answer], *, num_returns: int) -> tuple[list[Answer], list[Answer]]:
        assert num_returns == 1
        done = self.running.pop()
        return [done], [one for one in running if one is not done]

    def get(self, answer: Answer) -> Answer:
        return answer


def test_many_blocks_are_fitted_in_order_and_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = TwoProcessors()
    monkeypatch.setattr(ray_train, "ray", cluster)
    monkeypatch.setattr(ray_train, "BLOCK_SERIES", 3)
    found = ray_train.RayReport.blocks(lambda histories, season: [one * season for one in histories], range(50), 2)
    assert found == [2 * one for one in range(50)]
    assert cluster.most == 4
