"""A causal transformer over item tokens whose item embeddings are also its output weights.

Source: Kang and McAuley, SASRec, ICDM 2018; full softmax after Klenitskiy and Vasilev, RecSys 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from training.features.sequences import Int64s, Moments
from training.features.vocabulary import Codes
from training.metrics import Floats
from training.models.attention import Attention, spans_of
from training.models.content_tower import ContentTower
from training.models.dropout import Dropout, RowDropout
from training.models.item_content import HEADS as ITEM_HEADS
from training.models.item_content import ItemContent
from training.models.repetition import Repetition
from training.models.retriever import NO_GAIN, Gain, VectorRetriever, gain_by_item

TOKENS_PER_FORWARD = 8192
STD = 0.02
"""Of embeddings before training."""
START_STD = 0.02
"""Of item embeddings that begin from what is known of the items."""


class TransformerConfig(BaseModel):
    """Sizes of the transformer."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dim: int = Field(default=64, ge=4, le=1024, description="width D of item and user vectors")
    blocks: int = Field(default=2, ge=1, le=16)
    heads: int = Field(default=2, ge=1, le=16)
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)
    token_dropout: float = Field(
        default=0.15, ge=0.0, lt=1.0, description="tokens of a history whose item is hidden in a step of training"
    )
    max_len: int = Field(default=200, ge=1, le=2048, description="newest tokens of a history that are read")
    block: Literal["plain", "gated"] = Field(default="plain", description="gated: each part enters through a gate")
    widening: int = Field(default=1, ge=1, le=8, description="width of the feed-forward part over D")
    relative: int = Field(
        default=32, ge=0, le=2048, description="distances in tokens with an attention bias of their own"
    )
    elapsed: int = Field(
        default=32, ge=0, le=64,
        description="elapsed times with an attention bias of their own, each twice as long as the one before, from a "
        "second on; where the shop's times are more than an order",
    )  # fmt: skip

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of heads {self.heads}")
        if self.dim % ITEM_HEADS:
            raise ValueError(f"dim {self.dim} is odd: an item's content is fused by {ITEM_HEADS} heads")
        return self


def attention_of(config: TransformerConfig) -> Attention:
    return Attention(config.dim, config.heads, distances=config.relative, spans=config.elapsed)


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each added whole."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm, self.forward_norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.attention, hidden = attention_of(config), config.dim * config.widening
        self.up, self.down = nn.Linear(config.dim, hidden), nn.Linear(hidden, config.dim)
        self.dropout = Dropout(config.dropout)

    def forward(self, x_BLD: Tensor, spans_BLL: Tensor | None) -> Tensor:
        x_BLD = x_BLD + self.dropout(self.attention(self.attention_norm(x_BLD), spans_BLL))
        hidden_BLH = self.dropout(functional.gelu(self.up(self.forward_norm(x_BLD))))
        return x_BLD + self.dropout(self.down(hidden_BLH))


class GatedBlock(nn.Module):
    """Pre-norm attention and SwiGLU, each added through a gate that reads what it is added to.

    Source: Borisyuk et al., LiGR, 2025; Shazeer, GLU variants, 2020.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim, hidden = config.dim, config.dim * config.widening
        self.attention_norm, self.forward_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention_gate, self.forward_gate = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.attention = attention_of(config)
        self.up, self.swish, self.down = nn.Linear(dim, hidden), nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.dropout = Dropout(config.dropout)

    def forward(self, x_BLD: Tensor, spans_BLL: Tensor | None) -> Tensor:
        attended_BLD = self.dropout(self.attention(self.attention_norm(x_BLD), spans_BLL))
        x_BLD = x_BLD + torch.sigmoid(self.attention_gate(x_BLD)) * attended_BLD
        normed_BLD = self.forward_norm(x_BLD)
        hidden_BLH = self.dropout(functional.silu(self.swish(normed_BLD)) * self.up(normed_BLD))
        return x_BLD + torch.sigmoid(self.forward_gate(x_BLD)) * self.dropout(self.down(hidden_BLH))


BLOCKS: dict[str, type[nn.Module]] = {"plain": Block, "gated": GatedBlock}


class Tower(nn.Module):
    """tokens_BL, right padded, with `lengths_B` -> x_BLD; what stands after a sequence's end is meaningless.

    `times_us_BL` are when the tokens happened, where that is known.

    `content` is what items are besides their ids; `repeats` lets the items of a history gain or lose as the next one;
    `item` (codes_K -> rows_KD) stands for the table of ids, which may be dealt over workers.
    """

    def __init__(
        self,
        items: int,
        config: TransformerConfig,
        *,
        repeats: bool = False,
        content: ItemContent | None = None,
        item: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.item = nn.Embedding(items, config.dim) if item is None else item
        self.content = content
        self.repetition = Repetition(config.dim) if repeats else None
        self.place = nn.Embedding(config.max_len, config.dim)
        # Without it the small vectors of the items drown in what the blocks add.
        self.input_norm: nn.Module = nn.LayerNorm(config.dim)
        self.blocks = nn.ModuleList(BLOCKS[config.block](config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.dim)
        self.token_dropout, self.dropout = RowDropout(config.token_dropout), Dropout(config.dropout)
        for embedding in (self.place, *([self.item] if item is None else [])):
            nn.init.normal_(embedding.weight, std=STD)

    def item_vectors(self, codes_K: Tensor | None = None) -> Tensor:
        """items_ID, what tokens are read as and scores are made with; of these items only, [K, D], where given."""
        return self.with_content(self.own_vectors(codes_K), codes_K)

    def own_vectors(self, codes_K: Tensor | None = None) -> Tensor:
        """What the ids alone stand for; of a dealt table to be asked once a step."""
        return self.item.weight if codes_K is None else self.item(codes_K)

    def start_from(self, vectors_ID: Tensor) -> None:
        """Let the item table begin at vectors of mean square 1 instead of at random."""
        assert isinstance(self.item, nn.Embedding)
        with torch.no_grad():
            self.item.weight.add_(vectors_ID.to(self.item.weight), alpha=START_STD)

    def with_content(self, own_KD: Tensor, codes_K: Tensor | None = None) -> Tensor:
        return own_KD if self.content is None else self.content(own_KD, codes_K)

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, items_ID: Tensor, times_us_BL: Tensor | None = None
    ) -> Tensor:
        # Places count from the newest token, so that "just now" is one place at any length.
        places_BL = (lengths_B[:, None] - 1 - torch.arange(tokens_BL.shape[1], device=tokens_BL.device)).clamp_(min=0)
        read_BLD = self.token_dropout(functional.embedding(tokens_BL, items_ID).flatten(0, 1)).view(
            *tokens_BL.shape, -1
        )
        x_BLD = self.dropout(self.input_norm(read_BLD + self.place(places_BL)))
        spans_BLL = spans_of(times_us_BL) if times_us_BL is not None and self.config.elapsed else None
        for block in self.blocks:
            x_BLD = block(x_BLD, spans_BLL)
        return self.norm(x_BLD)


ABSENT_BEFORE = {"relative": 0, "elapsed": 0, "token_dropout": 0.0}
"""Settings that bundles from before they were there do without."""


class SequenceTransformer(VectorRetriever):
    """A trained tower that serves, with its item vectors where they are known already."""

    kind = "sequence_transformer"

    def __init__(self, tower: Tower, items_ID: Tensor | None = None) -> None:
        self.tower = tower.eval()
        self._items_ID = tower.item_vectors().detach() if items_ID is None else items_ID
        self._item_vectors_ID = self._items_ID.cpu().numpy()

    @property
    def item_vectors_ID(self) -> Floats:
        return self._item_vectors_ID

    def content_tower(self) -> ContentTower | None:
        """None in a loaded one: a bundle keeps it beside the retriever."""
        content = self.tower.content
        return None if content is None or content.reader is None else ContentTower.of(content, content.reader)

    def users(self, histories: Sequence[Codes], times_us: Moments = None) -> tuple[Floats, list[Gain]]:
        vectors_BD = np.zeros((len(histories), self.tower.config.dim), np.float32)
        gains = [NO_GAIN] * len(histories)
        recent = [history[-self.tower.config.max_len :] for history in histories]
        recent_us = None if times_us is None else [of_one[-self.tower.config.max_len :] for of_one in times_us]
        order = sorted((row for row, history in enumerate(recent) if len(history)), key=lambda row: len(recent[row]))
        while order:
            rows_per_forward = max(1, TOKENS_PER_FORWARD // len(recent[order[-1]]))
            rows, order = order[-rows_per_forward:], order[:-rows_per_forward]
            moments = None if recent_us is None else [recent_us[row] for row in rows]
            vectors_BD[rows], found = self._forward([recent[row] for row in rows], moments)
            for row, gain in zip(rows, found, strict=True):
                gains[row] = gain
        return vectors_BD, gains

    def _forward(self, histories: list[Codes], times_us: Moments) -> tuple[Floats, list[Gain]]:
        device = self._items_ID.device
        lengths_B = lengths_of(histories).to(device)
        tokens_BL = right_padded(histories).to(device)
        times_us_BL = None if times_us is None else right_padded(times_us).to(device)
        with torch.inference_mode():
            x_BLD = self.tower(tokens_BL, lengths_B, self._items_ID, times_us_BL)
            x_BD = x_BLD[torch.arange(len(histories)), lengths_B - 1]
            if self.tower.repetition is None:
                return x_BD.cpu().numpy(), [NO_GAIN] * len(histories)
            gain_BL = self.tower.repetition.at_end(x_BD, tokens_BL, lengths_B).cpu().numpy()
        return x_BD.cpu().numpy(), [gain_by_item(*pair) for pair in zip(histories, gain_BL, strict=True)]

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """The item vectors are kept as they came out: a bundle needs nothing of the items' content."""
        kept = {name: value for name, value in self.tower.state_dict().items() if not name.startswith("content.")}
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in kept.items()}
        settings = {"items": self.items, "repeats": self.tower.repetition is not None}
        return {**arrays, "item.weight": self.item_vectors_ID}, {**settings, **self.tower.config.model_dump()}

    @classmethod
    def from_state(cls, arrays: dict[str, npt.NDArray[Any]], settings: dict[str, Any]) -> Self:
        sizes = {**ABSENT_BEFORE, **settings}
        items, repeats = sizes.pop("items"), sizes.pop("repeats")
        tower = Tower(items, TransformerConfig(**sizes), repeats=repeats)
        if "input_norm.weight" not in arrays:  # a bundle from before there was one
            tower.input_norm = nn.Identity()
        tower.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        return cls(tower)


def lengths_of(rows: Sequence[npt.NDArray[Any]]) -> Tensor:
    return torch.tensor([len(row) for row in rows])


def right_padded(rows: Sequence[Codes] | Sequence[Int64s]) -> Tensor:
    """[B, L] of tokens or times; padding is 0."""
    lengths_B = np.array([len(row) for row in rows], np.int64)
    padded_BL = np.zeros((len(lengths_B), int(lengths_B.max())), np.int64)
    padded_BL[np.arange(padded_BL.shape[1]) < lengths_B[:, None]] = np.concatenate(list(rows))
    return torch.from_numpy(padded_BL)
