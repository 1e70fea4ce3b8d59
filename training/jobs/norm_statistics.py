"""Batch statistics measured anew: those gathered while training belong to other weights than the averaged ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def settled(module: nn.Module) -> Iterator[None]:
    """Whatever runs through the module within the block counts alike; what came before counts where nothing ran."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    earlier = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    module.train()
    try:
        yield
    finally:
        for norm, momentum, buffers in zip(norms, momenta, earlier, strict=True):
            norm.momentum = momentum
            if not norm.num_batches_tracked:
                norm.load_state_dict(buffers, strict=False)
