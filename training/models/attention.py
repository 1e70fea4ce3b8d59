"""Causal self-attention that knows how far apart two tokens are: in places, and in time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """x_BLD -> x_BLD; each head learns a bias for `distances` places apart, and for `spans` of elapsed time.

    Source of the biases: Raffel et al., T5, JMLR 2020; in recommendation Zhai et al., HSTU, ICML 2024.
    """

    def __init__(self, dim: int, heads: int, *, distances: int, spans: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.by_distance = nn.Parameter(torch.zeros(heads, distances)) if distances else None
        self.by_span = nn.Parameter(torch.zeros(heads, spans)) if spans else None

    def forward(self, x_BLD: Tensor, spans_BLL: Tensor | None = None) -> Tensor:
        batch, length, dim = x_BLD.shape
        qkv_3BHLd = self.qkv(x_BLD).view(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        q_BHLd, k_BHLd, v_BHLd = qkv_3BHLd.unbind()
        bias_BHLL = self._bias(batch, length, spans_BLL)
        mixed_BHLd = functional.scaled_dot_product_attention(
            q_BHLd, k_BHLd, v_BHLd, attn_mask=bias_BHLL, is_causal=bias_BHLL is None
        )
        return self.out(mixed_BHLd.transpose(1, 2).reshape(batch, length, dim))

    def _bias(self, batch: int, length: int, spans_BLL: Tensor | None) -> Tensor | None:
        """None where nothing was learnt: plain causal attention takes a faster path."""
        place_L = torch.arange(length, device=self.out.weight.device)
        back_LL = place_L[:, None] - place_L
        parts = []
        if self.by_distance is not None:
            by_place_HLL = self.by_distance[:, back_LL.clamp(0, self.by_distance.shape[1] - 1)]
            parts.append(by_place_HLL.expand(batch, -1, -1, -1))
        if self.by_span is not None and spans_BLL is not None:
            parts.append(self.by_span[:, spans_BLL.clamp(max=self.by_span.shape[1] - 1)].transpose(0, 1))
        return sum(parts[1:], start=parts[0]).masked_fill(back_LL < 0, float("-inf")) if parts else None


def spans_of(times_us_BL: Tensor) -> Tensor:
    """spans_BLL: the power of two of the seconds by which one token came after another; 0 where it did not."""
    apart_s_BLL = (times_us_BL[:, :, None] - times_us_BL[:, None, :]).clamp_(min=0).float() / 1e6
    return torch.log2(1 + apart_s_BLL).long()
