"""Target attention (Zhou et al. 2018): recent items pooled for each candidate by what the two have in common."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.features.ranking_state import VOCABULARIES
from training.features.short_term import RECENT_ITEMS

SINGLE = len(VOCABULARIES) - 1
"""Codes before the traits, which share one table and are summed."""
MATCHES = SINGLE + 2
WIDTHS = {"item": 16, "leaf": 8, "root": 4, "brand": 8, "trait": 8}
HEADS = 2
"""Weighted means of the recent items that the attention takes."""


class Batch(NamedTuple):
    """N candidates of L requests: features_NF, codes_NK, request_N; recent_LRF, recent_LRK, context_LU."""

    features_NF: Tensor
    codes_NK: Tensor
    request_N: Tensor
    recent_LRF: Tensor
    recent_LRK: Tensor
    context_LU: Tensor


class TargetAttention(nn.Module):
    """Recent items pooled for each candidate by what the two have in common and by what was done with them.

    The weights read matches and the facts of the touch alone: embeddings know the training slates by heart, and
    weights made from them learn those slates once more.
    """

    def __init__(self, width: int, recent: int, hidden: int, *, uniform: bool = False) -> None:
        super().__init__()
        self.uniform = uniform
        self.width = width
        self.touch = nn.Linear(recent, hidden)
        self.match = nn.Linear(MATCHES, hidden, bias=False)
        self.place = nn.Parameter(torch.zeros(RECENT_ITEMS, hidden))
        self.weight = nn.Linear(hidden, HEADS)
        self.outputs = HEADS * (2 * width + recent) + (HEADS + 1) * hidden

    def forward(self, item_ND: Tensor, recent_LRX: Tensor, present_LR1: Tensor, batch: Batch) -> Tensor:
        """Items by each head, their products with the candidate, and pairs by each head and the plain mean.

        [N, outputs]; zeros where nothing is recent.
        """
        request_N = batch.request_N
        recent_NRX, present_NR1 = recent_LRX[request_N], present_LR1[request_N]
        touch_LRA = self.touch(recent_LRX[..., self.width :]) + self.place
        pairs_NRA = functional.silu(touch_LRA[request_N] + self.match(_matches(batch, item_ND, recent_NRX)))
        weighed_NRH = self.weight(pairs_NRA)
        logits_NRH = (0.0 * weighed_NRH if self.uniform else weighed_NRH).masked_fill(present_NR1 == 0, -1e4)
        heads_NHR = (torch.softmax(logits_NRH, 1) * present_NR1).transpose(1, 2)
        mean_N1R = (present_NR1 / present_NR1.sum(1, keepdim=True).clamp(min=1)).transpose(1, 2)
        items_NHX = heads_NHR @ recent_NRX
        products_NHD = items_NHX[..., : self.width] * item_ND[:, None]
        pooled = items_NHX, products_NHD, torch.cat([heads_NHR, mean_N1R], 1) @ pairs_NRA
        return torch.cat([part.flatten(1) for part in pooled], 1)


def _matches(batch: Batch, item_ND: Tensor, recent_NRX: Tensor) -> Tensor:
    """What a candidate shares with a recent item: itself, leaf, root, brand, traits, and people."""
    codes_NK, recent_NRK = batch.codes_NK, batch.recent_LRK[batch.request_N]
    single_NRK = (codes_NK[:, None, :SINGLE] == recent_NRK[..., :SINGLE]) & (codes_NK > 0)[:, None, :SINGLE]
    traits_NR1 = _trait_cosines(codes_NK[:, SINGLE:], recent_NRK[..., SINGLE:])[..., None]
    people = WIDTHS["item"]
    alike_NR1 = recent_NRX[..., :people] @ item_ND[:, :people, None]
    return torch.cat([single_NRK, traits_NR1, alike_NR1], -1)


def _trait_cosines(traits_NT: Tensor, traits_NRT: Tensor) -> Tensor:
    same_NRTT = (traits_NT[:, None, :, None] == traits_NRT[:, :, None, :]) & (traits_NT > 0)[:, None, :, None]
    counts_NR = (traits_NT > 0).sum(-1)[:, None] * (traits_NRT > 0).sum(-1)
    return same_NRTT.sum((-1, -2)) / counts_NR.clamp(min=1).sqrt()
