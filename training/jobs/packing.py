"""Training batches of about equally many tokens: sequences of like length together, hardly any padding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from training.features.sequences import Int64s, Pairs, Sequences
from training.models.sequence_transformer import right_padded


@dataclass(frozen=True, kw_only=True)
class Batch:
    """tokens_BL right padded, lengths_B, and of its P pairs the places in the flattened tokens and the targets.

    `times_us_BL` are when the tokens happened, where that is known.
    """

    tokens_BL: Tensor
    lengths_B: Tensor
    places_P: Tensor
    targets_P: Tensor
    times_us_BL: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items() if tensor is not None})


@dataclass(frozen=True, kw_only=True)
class Compact:
    """A batch over the K items that it touches alone: its tokens, targets and negatives are places in `codes_K`."""

    codes_K: Tensor
    batch: Batch
    negatives_S: Tensor

    @classmethod
    def of(cls, batch: Batch, negatives_S: Tensor) -> Compact:
        """Tokens of padding stand for any item: nothing is learnt from them."""
        real_BL = torch.arange(batch.tokens_BL.shape[1]) < batch.lengths_B[:, None]
        touched = torch.cat([batch.tokens_BL[real_BL], batch.targets_P, negatives_S])
        codes_K, places = torch.unique(touched, return_inverse=True)
        tokens, targets_P, negatives_S = places.split([int(real_BL.sum()), len(batch.targets_P), len(negatives_S)])
        tokens_BL = torch.zeros_like(batch.tokens_BL)
        tokens_BL[real_BL] = tokens
        compact = replace(batch, tokens_BL=tokens_BL, targets_P=targets_P)
        return cls(codes_K=codes_K, batch=compact, negatives_S=negatives_S)


class Packing:
    """The trainable histories of a split in windows of `max_len` tokens, and the pairs that each of them brings."""

    def __init__(self, train: Sequences, pairs: Pairs, *, max_len: int, tokens_per_step: int) -> None:
        windows = train.windows(max_len)
        first_U, last_U = (np.searchsorted(pairs.positions_P, ends) for ends in (windows.starts_U, windows.ends_U))
        users = np.flatnonzero(last_U > first_U)
        self.sequences = windows.take(users)
        self.pairs = pairs
        self.first_pair_U, self.last_pair_U = first_U[users], last_U[users]
        self.tokens_per_step = tokens_per_step

    @property
    def pairs_per_epoch(self) -> int:
        return int((self.last_pair_U - self.first_pair_U).sum())

    def plan(self, rng: np.random.Generator) -> list[Int64s]:
        """The users of each step of one epoch, in the order of the steps."""
        lengths_U = self.sequences.lengths_U
        order = rng.permutation(len(lengths_U))
        order = order[np.argsort(-lengths_U[order], kind="stable")]
        steps, start = [], 0
        while start < len(order):
            rows = max(1, self.tokens_per_step // int(lengths_U[order[start]]))
            steps.append(order[start : start + rows])
            start += rows
        return [steps[step] for step in rng.permutation(len(steps))]

    def batch(self, users: Int64s) -> Batch:
        sequences = self.sequences.take(users)
        tokens_BL, times_us = right_padded(list(sequences)), sequences.times_us
        counts_B = self.last_pair_U[users] - self.first_pair_U[users]
        rows_P = np.repeat(np.arange(len(users)), counts_B)
        nth_P = np.arange(len(rows_P)) - np.repeat(np.cumsum(counts_B) - counts_B, counts_B)
        pairs_P = self.first_pair_U[users][rows_P] + nth_P
        places_P = rows_P * tokens_BL.shape[1] + self.pairs.positions_P[pairs_P] - sequences.starts_U[rows_P]
        return Batch(
            tokens_BL=tokens_BL,
            lengths_B=torch.from_numpy(sequences.lengths_U),
            times_us_BL=None if times_us is None else right_padded(times_us),
            places_P=torch.from_numpy(places_P),
            targets_P=torch.from_numpy(self.pairs.targets_P[pairs_P].astype(np.int64)),
        )
