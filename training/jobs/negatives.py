"""Negatives drawn like the training interactions: an item as often as it occurs, and once more."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.features.sequences import Sequences
from training.metrics import Ints


class NegativeSampler:
    """Laplace's one keeps the rate of a never seen item above zero.

    A draw is a token of the training sequences or, with the weight of I of them, any item: no table of rates is kept.
    """

    def __init__(self, train: Sequences, counts_I: Ints, negatives: int) -> None:
        self.tokens_N = np.concatenate([*train, np.zeros(0, np.int32)])
        self.counts_I, self.negatives = counts_I, negatives

    def draw(self, rng: np.random.Generator) -> Tensor:
        """Codes of the S negatives of one step."""
        tokens, items = len(self.tokens_N), len(self.counts_I)
        drawn_S = rng.integers(tokens + items, size=self.negatives)
        seen_S = drawn_S < tokens
        drawn_S[seen_S] = self.tokens_N[drawn_S[seen_S]]
        drawn_S[~seen_S] -= tokens
        return torch.from_numpy(drawn_S)

    def log_q(self, codes_K: Tensor) -> Tensor:
        """log_q_K: the log of how often each item is among the S negatives on average."""
        share_K = (self.counts_I[codes_K.numpy()] + 1.0) / (len(self.tokens_N) + len(self.counts_I))
        return torch.from_numpy(np.log(share_K * self.negatives).astype(np.float32))
