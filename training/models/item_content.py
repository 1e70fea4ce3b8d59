"""The item tower: an item's id, features, text and pictures, fused by cross-attention; each of them may be absent."""

from __future__ import annotations

import math

import torch
from scipy import sparse
from torch import Tensor, nn

from training.metrics import Floats
from training.models.dropout import RowDropout
from training.models.item_features import ItemFeatures
from training.models.item_reader import ItemReader

HEADS = 2


class ItemVectors(nn.Module):
    """vectors_IV, fixed vectors of what the items look or read like -> what each item gains, [K, D]; 0 before training.

    Without a `bias` a row of zeros gains nothing.
    """

    vectors_IV: Tensor

    def __init__(self, vectors_IV: Floats, dim: int, *, bias: bool) -> None:
        super().__init__()
        self.register_buffer("vectors_IV", torch.from_numpy(vectors_IV), persistent=False)
        self.project = nn.Linear(vectors_IV.shape[1], dim, bias=bias)
        nn.init.zeros_(self.project.weight)
        if bias:
            nn.init.zeros_(self.project.bias)

    def forward(self, codes_K: Tensor | None = None) -> Tensor:
        return self.project(self.vectors_IV if codes_K is None else self.vectors_IV[codes_K])


class CrossAttention(nn.Module):
    """own_KD asks its M modalities, parts_KMD, how much of each it takes; before training as much of all."""

    def __init__(self, modalities: int, dim: int) -> None:
        super().__init__()
        self.own_norm, self.part_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.modality_MD = nn.Parameter(torch.zeros(modalities, dim))
        nn.init.zeros_(self.key.weight)
        nn.init.zeros_(self.key.bias)

    def forward(self, own_KD: Tensor, parts_KMD: Tensor) -> Tensor:
        count, modalities, dim = parts_KMD.shape
        heads = (HEADS, dim // HEADS)
        query_K1Hd = self.query(self.own_norm(own_KD)).view(count, 1, *heads)
        key_KMHd = self.key(self.part_norm(parts_KMD) + self.modality_MD).view(count, modalities, *heads)
        weights_KMH = torch.softmax((query_K1Hd * key_KMHd).sum(-1) / math.sqrt(heads[1]), dim=1) * modalities
        return (weights_KMH[..., None] * parts_KMD.view(count, modalities, *heads)).sum(1).view(count, dim)


class ItemContent(nn.Module):
    """own_KD, what an item is by its id -> items_KD, what it is altogether.

    Rows of image_IV are 0 for items without a picture. `reader` is how any other item would be read. `id_dropout` of
    the items are read without their id in each step of training, so that content alone makes a vector, and as many
    without their pictures, which come late to some.
    """

    def __init__(
        self,
        dim: int,
        *,
        features_IF: sparse.csr_matrix | None,
        text_IT: Floats | None,
        image_IV: Floats | None = None,
        id_dropout: float,
        reader: ItemReader | None = None,
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        if features_IF is not None:
            parts.append(ItemFeatures(features_IF, dim))
        if text_IT is not None:
            parts.append(ItemVectors(text_IT, dim, bias=True))
        if image_IV is not None:
            parts.append(ItemVectors(image_IV, dim, bias=False))
        if not parts:
            raise ValueError("an item's content needs features, text or pictures")
        self.dim, self.reader, self.parts, self.pictured = dim, reader, nn.ModuleList(parts), image_IV is not None
        self.fusion = CrossAttention(len(parts), dim) if len(parts) > 1 else None
        self.id_dropout, self.image_dropout = RowDropout(id_dropout), RowDropout(id_dropout)

    @property
    def feature_rows(self) -> int:
        """Rows of the table of feature embeddings."""
        return sum(len(part.table) for part in self.parts if isinstance(part, ItemFeatures))

    def forward(self, own_KD: Tensor, codes_K: Tensor | None = None) -> Tensor:
        return self._fused(self.id_dropout(own_KD), codes_K)

    def alone(self, codes_K: Tensor) -> Tensor:
        """What these items are without their ids, [K, D]: the vector of one that nobody has met."""
        place = next(self.parameters())
        return self._fused(torch.zeros(len(codes_K), self.dim, device=place.device, dtype=place.dtype), codes_K)

    def _fused(self, own_KD: Tensor, codes_K: Tensor | None) -> Tensor:
        parts = [part(codes_K) for part in self.parts]
        if self.pictured:
            parts[-1] = self.image_dropout(parts[-1])
        return own_KD + (parts[0] if self.fusion is None else self.fusion(own_KD, torch.stack(parts, dim=1)))
