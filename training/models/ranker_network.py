"""Deep interest network (Zhou et al. 2018): target attention, wide and deep parts, position bias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from training.features.ranking import CONTEXT_NAMES, FEATURE_NAMES, RECENT_NAMES
from training.features.ranking_state import VOCABULARIES
from training.features.short_term import RECENT_ITEMS

SINGLE = len(VOCABULARIES) - 1
MATCHES = SINGLE + 2
"""Codes before the traits, which share one table and are summed."""
POSITIONS = 32
WIDTHS = {"item": 16, "leaf": 8, "root": 4, "brand": 8, "trait": 8}
HEADS = 2
"""Weighted means of the recent items that the attention takes."""
OUTPUTS = ("click", "cart", "purchase", "choice")
"""The last one says which of retrieval's candidates is next; it has no position."""


Kind = Literal["din", "wide_and_deep"]


class NetworkConfig(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attention: int = Field(default=32, ge=1, description="hidden units of the attention over recent items")
    hidden: tuple[int, int] = Field(default=(64, 32), description="units of the deep part's two layers")
    dropout: float = Field(default=0.2, ge=0, lt=1)
    item_dropout: float = Field(default=0.2, ge=0, lt=1, description="share of item ids hidden, so that new ones score")


class Batch(NamedTuple):
    """N candidates of L requests: features_NF, codes_NK, request_N; recent_LRF, recent_LRK, context_LU."""

    features_NF: Tensor
    codes_NK: Tensor
    request_N: Tensor
    recent_LRF: Tensor
    recent_LRK: Tensor
    context_LU: Tensor


class RankerNetwork(nn.Module):
    """Logits [N, len(OUTPUTS)]; `wide_and_deep` reads the mean of the recent items, `din` target attention besides.

    Untrained attention adds nothing: `din` begins as the network without it.
    """

    def __init__(self, sizes: Mapping[str, int], config: NetworkConfig, pooling: Kind) -> None:
        super().__init__()
        self.config, self.pooling, self.sizes = config, pooling, dict(sizes)
        self.tables = nn.ModuleList(nn.Embedding(sizes[name], WIDTHS[name]) for name in VOCABULARIES)
        for table in self.tables:
            nn.init.normal_(table.get_parameter("weight"), std=0.05)
        self.width = sum(WIDTHS.values())
        shared, recent = len(FEATURE_NAMES) + len(CONTEXT_NAMES), len(RECENT_NAMES)
        for name, size in (("features", len(FEATURE_NAMES)), ("recent", recent), ("context", len(CONTEXT_NAMES))):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.zeros(size))
        self.dropout = nn.Dropout(config.dropout)
        first, second = config.hidden
        self.first = nn.Linear(3 * self.width + recent + shared, first)
        self.rest = nn.Sequential(
            nn.SiLU(), nn.Dropout(config.dropout), nn.Linear(first, second), nn.SiLU(), nn.Dropout(config.dropout),
        )  # fmt: skip
        self.last = nn.Linear(second, len(OUTPUTS))
        if pooling == "din":
            self.attention = TargetAttention(self.width, recent, config.attention)
            self.attended = nn.Linear(self.attention.outputs, first, bias=False)
            nn.init.zeros_(self.attended.weight)
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

    def forward(self, batch: Batch, positions_N: Tensor | None = None) -> Tensor:
        """`positions_N` (-1: none) adds the bias of the place where an impression stood; serving leaves it out."""
        hidden_NX, wide_NX = self._hidden(batch)
        logits_NH: Tensor = self.last(hidden_NX) + self.wide(wide_NX)
        return logits_NH if positions_N is None else logits_NH + self._position_bias(positions_N)

    def hidden(self, batch: Batch) -> Tensor:
        """What the outputs are made of, [N, units of the last hidden layer]."""
        return self._hidden(batch)[0]

    def replace_choice(self, share: float, weights_X: np.ndarray, bias: float) -> None:
        """The choice output becomes a share of itself and a line through the last hidden layer."""
        choice = OUTPUTS.index("choice")
        with torch.no_grad():
            for layer in (self.last, self.wide):
                layer.weight[choice] *= share
                layer.bias[choice] *= share
            self.last.weight[choice] += torch.from_numpy(weights_X)
            self.last.bias[choice] += bias

    def _hidden(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The last hidden layer, and what the wide part reads."""
        present_LR1 = (batch.recent_LRF[..., :1] > 0).float()
        item_ND, recent_LRX = self.dropout(self._vectors(batch.codes_NK)), self._recent(batch, present_LR1)
        mean_LX = (recent_LRX * present_LR1).sum(1) / present_LR1.sum(1).clamp(min=1)
        mean_NX = mean_LX[batch.request_N]
        context_NU = self._standard("context", batch.context_LU)[batch.request_N]
        wide_NX = torch.cat([self._standard("features", batch.features_NF), context_NU], -1)
        hidden_NX = self.first(torch.cat([item_ND, mean_NX, item_ND * mean_NX[:, : self.width], wide_NX], -1))
        if self.pooling == "din":
            attended_NX = self.attention(item_ND, recent_LRX, present_LR1, batch)
            hidden_NX = hidden_NX + self.attended(self.dropout(attended_NX))
        return self.rest(hidden_NX), wide_NX

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


class TargetAttention(nn.Module):
    """Recent items pooled for each candidate by what the two have in common and by what was done with them.

    The weights read matches and the facts of the touch alone: embeddings know the training slates by heart, and
    weights made from them learn those slates once more.
    """

    def __init__(self, width: int, recent: int, hidden: int) -> None:
        super().__init__()
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
        logits_NRH = self.weight(pairs_NRA).masked_fill(present_NR1 == 0, -1e4)
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
