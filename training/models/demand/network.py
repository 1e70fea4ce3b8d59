"""The hybrid network of demand: an LSTM over the past, transformer attention from the periods ahead, quantiles out.

After the temporal fusion transformer (Lim et al. 2021), cut down to what a processor trains in a minute.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
MEDIAN = LEVELS.index(0.5)
LEAST_ENCODER = 4


class NetworkConfig(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(default=48, ge=8, le=512)
    heads: int = Field(default=4, ge=1)
    embedding: int = Field(default=8, ge=1, description="of each static name")
    dropout: float = Field(default=0.1, ge=0, lt=1)
    unknown: float = Field(default=0.05, ge=0, lt=1, description="names hidden in training, so that new ones are met")
    encoder: int = Field(default=52, ge=LEAST_ENCODER, description="periods of history that are read")


class HybridNetwork(nn.Module):
    """past_BTE, ahead_BHF, names_BC (0 = unknown) -> quantiles_BHQ, rising."""

    def __init__(self, past: int, ahead: int, names: tuple[int, ...], config: NetworkConfig) -> None:
        super().__init__()
        self.config, hidden = config, config.hidden
        self.embeddings = nn.ModuleList(nn.Embedding(size + 1, config.embedding) for size in names)
        static = config.embedding * len(names)
        self.read_past = nn.Linear(past + static, hidden)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.read_ahead = nn.Sequential(nn.Linear(ahead + static, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.attention = nn.MultiheadAttention(hidden, config.heads, dropout=config.dropout, batch_first=True)
        self.among_steps = nn.MultiheadAttention(hidden, config.heads, dropout=config.dropout, batch_first=True)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(3))
        self.mix = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Dropout(config.dropout),
                                 nn.Linear(2 * hidden, hidden))  # fmt: skip
        self.out = nn.Linear(hidden, len(LEVELS))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, past_BTE: Tensor, ahead_BHF: Tensor, names_BC: Tensor) -> Tensor:
        static_BS = self._static(names_BC, past_BTE)
        memory_BTD, _ = self.lstm(self.read_past(_beside(past_BTE, static_BS)))
        state_BHD = self.read_ahead(_beside(ahead_BHF, static_BS)) + memory_BTD[:, -1:]
        seen_BHD, _ = self.attention(self.norms[0](state_BHD), memory_BTD, memory_BTD, need_weights=False)
        state_BHD = state_BHD + seen_BHD
        normed_BHD = self.norms[1](state_BHD)
        told_BHD, _ = self.among_steps(normed_BHD, normed_BHD, normed_BHD, need_weights=False)
        state_BHD = state_BHD + told_BHD
        state_BHD = state_BHD + self.mix(self.norms[2](state_BHD))
        said_BHQ = self.out(state_BHD)
        middle = said_BHQ[..., MEDIAN : MEDIAN + 1]
        above = middle + nn.functional.softplus(said_BHQ[..., MEDIAN + 1 :]).cumsum(-1)
        below = middle - nn.functional.softplus(said_BHQ[..., :MEDIAN]).flip(-1).cumsum(-1).flip(-1)
        return torch.cat([below, middle, above], dim=-1)

    def _static(self, names_BC: Tensor, past_BTE: Tensor) -> Tensor:
        if not len(self.embeddings):
            return past_BTE.new_zeros(len(past_BTE), 0)
        if self.training and self.config.unknown:
            names_BC = names_BC * (torch.rand(names_BC.shape, device=names_BC.device) >= self.config.unknown)
        return torch.cat([table(names_BC[:, place]) for place, table in enumerate(self.embeddings)], dim=-1)


def _beside(values_BTF: Tensor, static_BS: Tensor) -> Tensor:
    return torch.cat([values_BTF, static_BS[:, None].expand(-1, values_BTF.shape[1], -1)], dim=-1)


def quantile_loss(said_BHQ: Tensor, target_BH: Tensor, weight_BH: Tensor) -> Tensor:
    """Weighted mean pinball loss; where the weight is 0 nothing was observed."""
    error_BHQ = target_BH[..., None] - said_BHQ
    level_Q = said_BHQ.new_tensor(LEVELS)
    loss_BH = torch.maximum(level_Q * error_BHQ, (level_Q - 1) * error_BHQ).mean(-1)
    return (loss_BH * weight_BH).sum() / weight_BH.sum().clamp_min(1e-9)
