"""Going back: what a history's own items gain as the next one, by how long ago they were seen and by who asks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

AGES = 32
"""Tokens back; everything older counts as the oldest."""


@dataclass(frozen=True, kw_only=True)
class Gains:
    """For each token q of a sequence, what its items up to q gain as q's successor.

    `gain_BQL` is an item's whole gain, given at its newest occurrence before or at q, which `newest_BQL` marks.
    """

    gain_BQL: Tensor
    newest_BQL: Tensor


class Repetition(nn.Module):
    """logits(item) += the sum over its occurrences of a linear function of the user's vector, one for each age."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.by_age = nn.Linear(dim, AGES)
        nn.init.zeros_(self.by_age.weight)
        nn.init.zeros_(self.by_age.bias)

    def forward(self, x_BLD: Tensor, tokens_BL: Tensor) -> Gains:
        """Gains of every token of right padded sequences; those at padding are meaningless."""
        batch, length = tokens_BL.shape
        place_L = torch.arange(length, device=tokens_BL.device)
        age_QL = place_L[:, None] - place_L
        before_QL = age_QL >= 0
        ages_BQL = age_QL.clamp(0, AGES - 1).expand(batch, length, length)
        gain_BQL = self.by_age(x_BLD).gather(2, ages_BQL) * before_QL
        same_BLL = tokens_BL[:, :, None] == tokens_BL[:, None, :]
        later_LL = place_L[:, None] < place_L
        again_BL = torch.where(same_BLL & later_LL, place_L, length).amin(dim=2)
        newest_BQL = before_QL & (again_BL[:, None, :] > place_L[:, None])
        return Gains(gain_BQL=gain_BQL @ same_BLL.to(gain_BQL.dtype), newest_BQL=newest_BQL)

    def at_end(self, x_BD: Tensor, tokens_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """gain_BL of each occurrence for what follows the last token; 0 at padding."""
        age_BL = lengths_B[:, None] - 1 - torch.arange(tokens_BL.shape[1], device=tokens_BL.device)
        return self.by_age(x_BD).gather(1, age_BL.clamp(0, AGES - 1)) * (age_BL >= 0)
