"""Slates and choices as arrays: what a ranker is trained on and judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.features.ranking import RankingInputs
from training.jobs.slates import Slate
from training.models.target_attention import Batch

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """L slates with the inputs of each; N candidates in all."""

    slates: Sequence[Slate]
    inputs: Sequence[RankingInputs]

    def __len__(self) -> int:
        return len(self.slates)

    @property
    def labels_NH(self) -> Bools:
        return np.concatenate([slate.labels_CH for slate in self.slates])

    @property
    def slate_N(self) -> Ints:
        """The place of each candidate's slate."""
        return np.repeat(np.arange(len(self)), [len(slate.item_ids) for slate in self.slates])

    @property
    def users_N(self) -> Ints:
        """A number for each candidate's user."""
        _, users_L = np.unique([slate.user_id for slate in self.slates], return_inverse=True)
        return users_L[self.slate_N]

    def take(self, kept: Sequence[bool] | Bools) -> Examples:
        chosen = np.flatnonzero(np.asarray(kept, np.bool_)).tolist()
        return Examples(slates=[self.slates[n] for n in chosen], inputs=[self.inputs[n] for n in chosen])


class ExampleTensors:
    """Examples as tensors, candidates of a slate one after the other."""

    def __init__(self, examples: Examples) -> None:
        inputs = examples.inputs
        self.features_NF = torch.from_numpy(np.concatenate([one.features_CF for one in inputs]))
        self.codes_NK = torch.from_numpy(np.concatenate([one.codes_CK for one in inputs])).long()
        self.recent_LRF = torch.from_numpy(np.stack([one.recent_RF for one in inputs]))
        self.recent_LRK = torch.from_numpy(np.stack([one.recent_RK for one in inputs])).long()
        self.context_LU = torch.from_numpy(np.stack([one.context_U for one in inputs]))
        self.labels_NH = torch.from_numpy(examples.labels_NH).float()
        self.positions_N = torch.from_numpy(np.concatenate([slate.positions_C for slate in examples.slates]))
        self.starts_L1 = np.r_[0, np.cumsum([len(slate.item_ids) for slate in examples.slates])]

    def __len__(self) -> int:
        return len(self.recent_LRF)

    def batch(self, slates_B: Ints) -> tuple[Batch, Tensor]:
        """The inputs of these slates, and which rows their candidates are."""
        chosen, rows_N = torch.from_numpy(slates_B), self.rows(slates_B)
        counts = torch.from_numpy(np.diff(self.starts_L1)[slates_B])
        batch = Batch(
            features_NF=self.features_NF[rows_N],
            codes_NK=self.codes_NK[rows_N],
            request_N=torch.repeat_interleave(torch.arange(len(slates_B)), counts),
            recent_LRF=self.recent_LRF[chosen],
            recent_LRK=self.recent_LRK[chosen],
            context_LU=self.context_LU[chosen],
        )
        return batch, rows_N

    def rows(self, slates: Ints) -> Tensor:
        """The candidates of these slates."""
        spans = [np.arange(self.starts_L1[slate], self.starts_L1[slate + 1]) for slate in slates]
        return torch.from_numpy(np.concatenate(spans))


def batches_of(slates: Ints, size: int, rank: int, workers: int) -> Iterator[Ints]:
    """Batches of `size` slates for one of several workers; every worker gets as many."""
    own = slates[rank : len(slates) - len(slates) % workers : workers] if workers > 1 else slates
    for first in range(0, len(own), size):
        yield own[first : first + size]
