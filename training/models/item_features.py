"""What an item's features add to its vector: a sparse matrix times a table of feature embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional


class _SparseProduct(torch.autograd.Function):
    """scipy's CSR product, which takes a third of the time of torch's on a CPU."""

    @staticmethod
    def forward(ctx: Any, table_FD: Tensor, matrix_IF: sparse.csr_matrix, matrix_FI: sparse.csr_matrix) -> Tensor:
        ctx.matrix_FI = matrix_FI
        return torch.from_numpy(matrix_IF @ table_FD.detach().numpy())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return torch.from_numpy(ctx.matrix_FI @ grads[0].contiguous().numpy()), None, None


class ItemFeatures(nn.Module):
    """features_IF (CSR) -> what each item gains, [I, D] or [K, D] of some; 0 before training."""

    def __init__(self, features_IF: sparse.csr_matrix, dim: int) -> None:
        super().__init__()
        self.features_IF = features_IF.astype(np.float32)
        self.features_FI = self.features_IF.T.tocsr()
        self.table = nn.Parameter(torch.zeros(features_IF.shape[1], dim))

    def forward(self, codes_K: Tensor | None = None) -> Tensor:
        """What the items of these codes gain, or all."""
        if codes_K is None:
            features, transposed = self.features_IF, self.features_FI
        else:
            features = self.features_IF[codes_K.cpu().numpy()]
            transposed = features.T
        if self.table.device.type == "cpu":
            product: Tensor = _SparseProduct.apply(self.table, features, transposed)
            return product
        indices, offsets, weights = (
            torch.from_numpy(array).to(self.table.device)
            for array in (features.indices.astype(np.int64), features.indptr.astype(np.int64), features.data)
        )
        return functional.embedding_bag(
            indices, self.table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
        )
