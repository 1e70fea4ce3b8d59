"""Optimisers of a table of which a step touches a few rows: the others, and their state, stay as they are."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

EPSILON = 1e-8
BETAS = (0.9, 0.999)


class RowOptimizer(Protocol):
    """`state` is kept with the rows; its tensors are as long as the table."""

    state: dict[str, Tensor]

    def update(self, weight_RD: Tensor, places_K: Tensor, gradient_KD: Tensor) -> None:
        """One step on the rows at `places_K`, each there once."""


class RowwiseAdagrad:
    """Adagrad with one sum of squares a row: 4 bytes of state beside its D weights.

    Source: Duchi, Hazan and Singer, JMLR 2011; a sum for each row as in FBGEMM's table-batched embeddings.
    """

    def __init__(self, rows: int, *, learning_rate: float, device: torch.device) -> None:
        self.learning_rate = learning_rate
        self.state = {"squares": torch.zeros(rows, device=device)}

    def update(self, weight_RD: Tensor, places_K: Tensor, gradient_KD: Tensor) -> None:
        squares_K = self.state["squares"][places_K] + gradient_KD.square().mean(dim=1)
        self.state["squares"][places_K] = squares_K
        steps_K = -self.learning_rate / (squares_K.sqrt() + EPSILON)
        weight_RD.index_add_(0, places_K, gradient_KD * steps_K[:, None])


class LazyAdamW:
    """AdamW on the touched rows alone, each with its own count of steps: 8 D + 4 bytes of state a row.

    Source: Loshchilov and Hutter, ICLR 2019.
    """

    def __init__(self, rows: int, dim: int, *, learning_rate: float, weight_decay: float, device: torch.device) -> None:
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        shapes = {"steps": (rows,), "mean": (rows, dim), "square": (rows, dim)}
        self.state = {name: torch.zeros(shape, device=device) for name, shape in shapes.items()}

    def update(self, weight_RD: Tensor, places_K: Tensor, gradient_KD: Tensor) -> None:
        steps_K = self.state["steps"][places_K] + 1
        mean_KD = torch.lerp(gradient_KD, self.state["mean"][places_K], BETAS[0])
        square_KD = torch.lerp(gradient_KD.square(), self.state["square"][places_K], BETAS[1])
        for name, rows in (("steps", steps_K), ("mean", mean_KD), ("square", square_KD)):
            self.state[name][places_K] = rows
        mean_KD = mean_KD / (1 - BETAS[0] ** steps_K)[:, None]
        square_KD = square_KD / (1 - BETAS[1] ** steps_K)[:, None]
        rows_KD = weight_RD[places_K] * (1 - self.learning_rate * self.weight_decay)
        weight_RD[places_K] = rows_KD - self.learning_rate * mean_KD / (square_KD.sqrt() + EPSILON)
