"""Dropout whose masks a CPU draws cheaply."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class Dropout(nn.Module):
    """Dropout with masks drawn as bytes by numpy, which on a CPU costs a tenth of torch's own.

    The rate is rounded to 1/256. `rng` is set by whoever trains; the seed of it alone decides the masks.
    """

    rng: np.random.Generator

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dropped_of_256 = round(rate * 256)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.dropped_of_256 == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.dropped_of_256 / 256)
        bytes_ = torch.frombuffer(bytearray(self.rng.bytes(x.numel())), dtype=torch.uint8).view(x.shape)
        kept = (bytes_ >= self.dropped_of_256).to(x.dtype).mul_(256 / (256 - self.dropped_of_256))
        return x * kept


class RowDropout(Dropout):
    """Drops whole rows and leaves the others as they are: what stays must do without them."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.dropped_of_256 == 0:
            return x
        if x.device.type == "cpu":
            drawn_K = torch.frombuffer(bytearray(self.rng.bytes(len(x))), dtype=torch.uint8)
        else:
            drawn_K = torch.randint(256, (len(x),), device=x.device)
        return x * (drawn_K >= self.dropped_of_256).to(x.dtype)[:, None]
