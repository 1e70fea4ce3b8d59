"""The number format that a machine multiplies fastest without harm."""

from __future__ import annotations

import torch


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the machine multiplies it natively, else float32."""
    if device.type == "cpu":
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    return torch.bfloat16


def in_float32(device: torch.device) -> torch.autocast:
    """A block that multiplies in float32, inside of one that does not."""
    return torch.autocast(device.type, enabled=False)
