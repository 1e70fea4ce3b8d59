"""How a vision network goes down its loss: the optimiser, its rate and decay, and how much it sees in a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

OptimiserKind = Literal["sgd", "adamw"]
MOMENTUM = 0.9


@dataclass(frozen=True, kw_only=True)
class Descent:
    """SGD with Nesterov's momentum finds flatter minima of few pictures; AdamW bears any loss."""

    kind: OptimiserKind
    learning_rate: float
    weight_decay: float
    pictures_per_step: int
    """On each worker."""
    views: int = 1

    @property
    def step_rate(self) -> float:
        """A step that sees each picture in several views goes so much further."""
        return self.views * self.learning_rate

    def optimizer(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """Over groups of weights that name their own decay."""
        if self.kind == "sgd":
            return torch.optim.SGD(groups, lr=self.step_rate, momentum=MOMENTUM, nesterov=True, fused=True)
        return torch.optim.AdamW(groups, lr=self.step_rate, fused=True)
