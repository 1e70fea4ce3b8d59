"""The loss of past choices: what was taken against all else that could have been."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from training.jobs.ranker_examples import ExampleTensors
from training.models.ranker_network import OUTPUTS, RankerNetwork

CHOICE = OUTPUTS.index("choice")


def choice_loss(network: RankerNetwork, choices: ExampleTensors, slates_B: npt.NDArray[np.int64]) -> Tensor:
    """-log P(what was taken | its slate), mean over the choices."""
    batch, rows_N = choices.batch(slates_B)
    logits_N, taken_N, slate_N = network(batch)[:, CHOICE], choices.labels_NH[rows_N].amax(1), batch.request_N
    counts_B = torch.bincount(slate_N)
    column_N = torch.arange(len(rows_N)) - (counts_B.cumsum(0) - counts_B)[slate_N]
    padded_BC = torch.full((len(counts_B), int(counts_B.max())), -torch.inf)
    padded_BC = padded_BC.index_put((slate_N, column_N), logits_N)
    chance_N = functional.log_softmax(padded_BC, dim=1)[slate_N, column_N]
    return -(chance_N * taken_N).sum() / taken_N.sum()
