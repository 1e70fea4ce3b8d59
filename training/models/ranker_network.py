"""The ranker's network: wide and deep parts, position bias, and target attention on top (Zhou et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from training.features.ranking import CONTEXT_NAMES, FEATURE_NAMES, RECENT_NAMES
from training.features.ranking_state import VOCABULARIES
from training.features.short_term import REQUEST_NAMES
from training.models.target_attention import SINGLE, WIDTHS, Batch, TargetAttention

NAMES = {"features": FEATURE_NAMES, "recent": RECENT_NAMES, "context": CONTEXT_NAMES}
UNREAD: dict[str, tuple[str, ...]] = {"features": ("retrieval_score",), "context": ("history",), "recent": ()}
"""Retrieval's score tells how slates ended that the retriever has seen. Histories grow with the age of the shop, and
what their length meant in training is wrong later: where it is read, probabilities fall from week to week."""
POSITIONS = 32
OUTPUTS = ("click", "cart", "purchase", "choice")
"""The last one says which of retrieval's candidates is next; it has no position, and reads nothing of the request:
past choices, which it is trained on, were answers to none."""


Kind = Literal["din", "mean_pooling", "wide_and_deep"]


class NetworkConfig(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attention: int = Field(default=32, ge=1, description="hidden units of the attention over recent items")
    hidden: tuple[int, int] = Field(default=(64, 32), description="units of the deep part's two layers")
    dropout: float = Field(default=0.2, ge=0, lt=1)
    item_dropout: float = Field(default=0.2, ge=0, lt=1, description="share of item ids hidden, so that new ones score")


class RankerNetwork(nn.Module):
    """Logits [N, len(OUTPUTS)]; `wide_and_deep` reads the mean of the recent items, `din` target attention besides.

    `mean_pooling` is `din` whose weights are all alike. Untrained attention adds nothing: both begin as the network
    without it.
    """

    def __init__(self, sizes: Mapping[str, int], config: NetworkConfig, pooling: Kind) -> None:
        super().__init__()
        self.config, self.pooling, self.sizes = config, pooling, dict(sizes)
        self.tables = nn.ModuleList(nn.Embedding(sizes[name], WIDTHS[name]) for name in VOCABULARIES)
        for table in self.tables:
            nn.init.normal_(table.get_parameter("weight"), std=0.05)
        self.width = sum(WIDTHS.values())
        shared, recent = len(FEATURE_NAMES) + len(CONTEXT_NAMES), len(RECENT_NAMES)
        for name, names in NAMES.items():
            self.register_buffer(f"{name}_mean", torch.zeros(len(names)))
            self.register_buffer(f"{name}_scale", torch.zeros(len(names)))
        kept = [float(name not in REQUEST_NAMES) for name in (*FEATURE_NAMES, *CONTEXT_NAMES)]
        self.register_buffer("blind", torch.tensor(kept), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        first, second = config.hidden
        self.first = nn.Linear(3 * self.width + recent + shared, first)
        self.rest = nn.Sequential(
            nn.SiLU(), nn.Dropout(config.dropout), nn.Linear(first, second), nn.SiLU(), nn.Dropout(config.dropout),
        )  # fmt: skip
        self.last = nn.Linear(second, len(OUTPUTS))
        if pooling != "wide_and_deep":
            self.attention = TargetAttention(self.width, recent, config.attention, uniform=pooling == "mean_pooling")
            self.attended = nn.Linear(self.attention.outputs, first, bias=False)
            nn.init.zeros_(self.attended.weight)
        self.wide = nn.Linear(shared, len(OUTPUTS))
        self.position = nn.Embedding(POSITIONS, len(OUTPUTS) - 1)
        nn.init.zeros_(self.wide.weight)
        nn.init.zeros_(self.position.weight)

    def standardise(self, name: str, values_NX: np.ndarray) -> None:
        """Fit the mean and scale of an input; what never differs, or is UNREAD, is not read at all."""
        deviation_X = values_NX.std(axis=0, dtype=np.float64)
        scale_X = np.where(deviation_X > 1e-6, 1.0 / np.maximum(deviation_X, 1e-6), 0.0)
        scale_X[[NAMES[name].index(unread) for unread in UNREAD[name]]] = 0.0
        self.get_buffer(f"{name}_mean").copy_(torch.from_numpy(values_NX.mean(axis=0, dtype=np.float64)))
        self.get_buffer(f"{name}_scale").copy_(torch.from_numpy(scale_X))

    def start_items(self, vectors_IW: np.ndarray) -> None:
        """Set the item embeddings to vectors of the items of the vocabulary; the unknown item's to zeros."""
        table = self.tables[0].get_parameter("weight")
        with torch.no_grad():
            table[0] = 0.0
            table[1:] = torch.from_numpy(vectors_IW)

    def adopt(self, weights: Mapping[str, Tensor]) -> None:
        """Take a network's weights, those without attention, for good: what it lacks alone is trained from then on."""
        self.load_state_dict(weights, strict=False)
        for name, weight in self.named_parameters():
            weight.requires_grad_(name not in weights)

    def attend_from(self, pooled: Mapping[str, Tensor]) -> None:
        """Begin as a network of this shape that weighs all recent items alike."""
        self.load_state_dict(pooled)
        for weight in self.attention.weight.parameters():
            nn.init.zeros_(weight)

    def forward(self, batch: Batch, positions_N: Tensor | None = None) -> Tensor:
        """`positions_N` (-1: none) adds the bias of the place where an impression stood; serving leaves it out."""
        actions_NH, blind_NH = (self.last(self.rest(deep)) + self.wide(wide) for deep, wide in self._layers(batch))
        logits_NH = torch.cat([actions_NH[:, :-1], blind_NH[:, -1:]], 1)
        return logits_NH if positions_N is None else logits_NH + self._position_bias(positions_N)

    def hidden(self, batch: Batch) -> Tensor:
        """What the choice output is made of, [N, units of the last hidden layer]."""
        _, (deep_NX, _) = self._layers(batch)
        hidden_NX: Tensor = self.rest(deep_NX)
        return hidden_NX

    def replace_choice(self, share: float, weights_X: np.ndarray, bias: float) -> None:
        """The choice output becomes a share of itself and a line through the last hidden layer."""
        choice = OUTPUTS.index("choice")
        with torch.no_grad():
            for layer in (self.last, self.wide):
                layer.weight[choice] *= share
                layer.bias[choice] *= share
            self.last.weight[choice] += torch.from_numpy(weights_X)
            self.last.bias[choice] += bias

    def _layers(self, batch: Batch) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The first hidden layer and what the wide part reads; then both without anything of the request."""
        present_LR1 = (batch.recent_LRF[..., :1] > 0).float()
        item_ND, recent_LRX = self.dropout(self._vectors(batch.codes_NK)), self._recent(batch, present_LR1)
        mean_LX = (recent_LRX * present_LR1).sum(1) / present_LR1.sum(1).clamp(min=1)
        mean_NX = mean_LX[batch.request_N]
        context_NU = self._standard("context", batch.context_LU)[batch.request_N]
        wide_NX = torch.cat([self._standard("features", batch.features_NF), context_NU], -1)
        hidden_NX = self.first(torch.cat([item_ND, mean_NX, item_ND * mean_NX[:, : self.width], wide_NX], -1))
        if self.pooling != "wide_and_deep":
            attended_NX = self.attention(item_ND, recent_LRX, present_LR1, batch)
            hidden_NX = hidden_NX + self.attended(self.dropout(attended_NX))
        blind_NX = wide_NX * self.get_buffer("blind")
        known_NX = functional.linear(wide_NX - blind_NX, self.first.weight[:, -wide_NX.shape[1] :])
        return (hidden_NX, wide_NX), (hidden_NX - known_NX, blind_NX)

    def _recent(self, batch: Batch, present_LR1: Tensor) -> Tensor:
        """Embeddings of the recent items, then all else that is known of them."""
        known_LRF = self._standard("recent", batch.recent_LRF) * present_LR1
        return torch.cat([self.dropout(self._vectors(batch.recent_LRK)), known_LRF], -1)

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

    def _position_bias(self, positions_N: Tensor) -> Tensor:
        shown_N1 = (positions_N >= 0)[:, None]
        bias_NH = self.position(positions_N.clamp(0, POSITIONS - 1)) * shown_N1
        return torch.cat([bias_NH, torch.zeros_like(bias_NH[:, :1])], 1)
