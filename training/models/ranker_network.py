"""Deep interest network (Zhou et al. 2018): target attention, wide and deep parts, position bias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from training.features.ranking import CONTEXT_NAMES, FEATURE_NAMES, RECENT_NAMES
from training.features.ranking_state import VOCABULARIES

SINGLE = len(VOCABULARIES) - 1
"""Codes before the traits, which share one table and are summed."""
POSITIONS = 32
WIDTHS = {"item": 8, "leaf": 8, "root": 4, "brand": 8, "trait": 8}
OUTPUTS = ("click", "cart", "purchase", "choice")
"""The last one says which of retrieval's candidates is next; it has no position."""


class NetworkConfig(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attention: int = Field(default=32, ge=1, description="hidden units of the attention over recent items")
    hidden: tuple[int, int] = Field(default=(64, 32), description="units of the deep part's two layers")
    dropout: float = Field(default=0.2, ge=0, lt=1)
    item_dropout: float = Field(default=0.2, ge=0, lt=1, description="share of item ids hidden, so that new ones score")


class Batch(NamedTuple):
    """N candidates: features_NF, codes_NK, their requests' recent_NRF, recent_NRK and context_NU."""

    features_NF: Tensor
    codes_NK: Tensor
    recent_NRF: Tensor
    recent_NRK: Tensor
    context_NU: Tensor


class RankerNetwork(nn.Module):
    """Logits [N, len(OUTPUTS)]; `pooling` is target attention (`din`) or the plain mean (`wide_and_deep`)."""

    def __init__(
        self, sizes: Mapping[str, int], config: NetworkConfig, pooling: Literal["din", "wide_and_deep"]
    ) -> None:
        super().__init__()
        self.config, self.pooling = config, pooling
        self.tables = nn.ModuleList(nn.Embedding(sizes[name], WIDTHS[name]) for name in VOCABULARIES)
        for table in self.tables:
            nn.init.normal_(table.get_parameter("weight"), std=0.05)
        self.width = sum(WIDTHS.values())
        shared, recent = len(FEATURE_NAMES) + len(CONTEXT_NAMES), len(RECENT_NAMES)
        for name, size in (("features", len(FEATURE_NAMES)), ("recent", recent), ("context", len(CONTEXT_NAMES))):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.zeros(size))
        first, second = config.hidden
        if pooling == "din":
            self.attention = nn.Sequential(
                nn.Linear(3 * self.width + recent + 1, config.attention), nn.SiLU(), nn.Linear(config.attention, 1)
            )
            nn.init.zeros_(self.attention[-1].weight)
            nn.init.zeros_(self.attention[-1].bias)
        self.dropout = nn.Dropout(config.dropout)
        self.deep = nn.Sequential(
            nn.Linear(3 * self.width + shared + recent, first), nn.SiLU(), nn.Dropout(config.dropout),
            nn.Linear(first, second), nn.SiLU(), nn.Dropout(config.dropout), nn.Linear(second, len(OUTPUTS)),
        )  # fmt: skip
        self.wide = nn.Linear(shared, len(OUTPUTS))
        self.position = nn.Embedding(POSITIONS, len(OUTPUTS) - 1)
        nn.init.zeros_(self.wide.weight)
        nn.init.zeros_(self.position.weight)

    def standardise(self, name: str, values_NX: np.ndarray) -> None:
        """Fit the mean and scale of an input; what never differs, or is retrieval's score, is not read at all."""
        deviation_X = values_NX.std(axis=0, dtype=np.float64)
        scale_X = np.where(deviation_X > 1e-6, 1.0 / np.maximum(deviation_X, 1e-6), 0.0)
        if name == "features":
            scale_X[0] = 0.0
        self.get_buffer(f"{name}_mean").copy_(torch.from_numpy(values_NX.mean(axis=0, dtype=np.float64)))
        self.get_buffer(f"{name}_scale").copy_(torch.from_numpy(scale_X))

    def forward(self, batch: Batch, positions_N: Tensor | None = None) -> Tensor:
        """`positions_N` (-1: none) adds the bias of the place where an impression stood; serving leaves it out."""
        features_NF = self._standard("features", batch.features_NF)
        context_NU = self._standard("context", batch.context_NU)
        present_NR = batch.recent_NRF[..., 0] > 0
        recent_NRF = self._standard("recent", batch.recent_NRF) * present_NR[..., None]
        item_ND = self.dropout(self._vectors(batch.codes_NK))
        recent_NRD = self.dropout(self._vectors(batch.recent_NRK))
        weights_NR = self._weights(batch, item_ND, recent_NRD, recent_NRF, present_NR)
        pooled_NX = (weights_NR[..., None] * torch.cat([recent_NRD, recent_NRF], -1)).sum(1)
        interest_ND = pooled_NX[:, : self.width]
        wide_NX = torch.cat([features_NF, context_NU], -1)
        deep_NX = torch.cat([item_ND, pooled_NX, item_ND * interest_ND, wide_NX], -1)
        logits_NH: Tensor = self.deep(deep_NX) + self.wide(wide_NX)
        return logits_NH if positions_N is None else logits_NH + self._position_bias(positions_N)

    def _standard(self, name: str, values: Tensor) -> Tensor:
        return (values - self.get_buffer(f"{name}_mean")) * self.get_buffer(f"{name}_scale")

    def _vectors(self, codes_XK: Tensor) -> Tensor:
        """Embeddings side by side; unknown traits add nothing."""
        items_X = codes_XK[..., 0]
        if self.training and self.config.item_dropout:
            items_X = items_X * (torch.rand(items_X.shape, device=items_X.device) >= self.config.item_dropout)
        parts = [self.tables[0](items_X), *(self.tables[place](codes_XK[..., place]) for place in range(1, SINGLE))]
        traits_XT = codes_XK[..., SINGLE:]
        parts.append((self.tables[SINGLE](traits_XT) * (traits_XT > 0)[..., None]).sum(-2))
        return torch.cat(parts, -1)

    def _weights(
        self, batch: Batch, item_ND: Tensor, recent_NRD: Tensor, recent_NRF: Tensor, present_NR: Tensor
    ) -> Tensor:
        """How much each recent item counts for this candidate, [N, R]; untrained attention is the plain mean."""
        mean_NR = present_NR / present_NR.sum(1, keepdim=True).clamp(min=1)
        if self.pooling != "din":
            return mean_NR
        item_NRD = item_ND[:, None].expand_as(recent_NRD)
        alike_NR1 = _trait_cosines(batch.codes_NK[:, SINGLE:], batch.recent_NRK[..., SINGLE:])[..., None]
        unit_NRX = torch.cat([item_NRD, recent_NRD, item_NRD * recent_NRD, recent_NRF, alike_NR1], -1)
        return 2 * torch.sigmoid(self.attention(unit_NRX)[..., 0]) * mean_NR

    def _position_bias(self, positions_N: Tensor) -> Tensor:
        shown_N1 = (positions_N >= 0)[:, None]
        bias_NH = self.position(positions_N.clamp(0, POSITIONS - 1)) * shown_N1
        return torch.cat([bias_NH, torch.zeros_like(bias_NH[:, :1])], 1)


def _trait_cosines(traits_NT: Tensor, traits_NRT: Tensor) -> Tensor:
    same_NRTT = (traits_NT[:, None, :, None] == traits_NRT[:, :, None, :]) & (traits_NT > 0)[:, None, :, None]
    counts_NR = (traits_NT > 0).sum(-1)[:, None] * (traits_NRT > 0).sum(-1)
    return same_NRTT.sum((-1, -2)) / counts_NR.clamp(min=1).sqrt()
