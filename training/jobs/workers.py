"""The workers of one fit: torch.distributed where it is initialised, else the one process that there is."""

from __future__ import annotations

import torch
from torch import distributed, nn


class Workers:
    """Rank, size and the few collectives that a fit needs; without a process group each is the identity."""

    def __init__(self) -> None:
        self.grouped = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if self.grouped else 0
        self.size = distributed.get_world_size() if self.grouped else 1
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def average_gradients(self, module: nn.Module) -> None:
        """One all-reduce over all gradients."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def from_first(self, values: list[float]) -> list[float]:
        """Rank 0's values, on every rank."""
        if self.size == 1:
            return values
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, src=0)
        return shared.tolist()

    def sum(self, values: list[float]) -> list[float]:
        """Element by element over all ranks."""
        if self.size == 1:
            return values
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(summed)
        return summed.tolist()
