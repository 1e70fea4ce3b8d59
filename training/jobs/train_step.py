"""One step of the sequence transformer: forward, loss, backward, exchange between the workers, update."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.contracts.errors import ShopkeeperError
from training.features.sequences import Sequences
from training.jobs.divergence import LossWatch
from training.jobs.negatives import NegativeSampler
from training.jobs.packing import Batch, Compact
from training.jobs.row_optimizers import LazyAdamW, RowOptimizer, RowwiseAdagrad
from training.jobs.sharded_embedding import ShardedEmbedding
from training.jobs.training_config import TrainingConfig
from training.jobs.weight_average import WeightAverage
from training.jobs.workers import Workers
from training.losses import Bonus, contrastive_loss, full_softmax_loss, sampled_softmax_loss
from training.metrics import Ints
from training.models.precision import fast_dtype
from training.models.sequence_transformer import Tower

BETAS = (0.9, 0.98)
"""An item is met once in some hundred steps: a longer memory of its gradients' squares is mostly of zeros."""

RARE = 10.0
"""Training interactions at which an item's part in the contrastive loss is halved."""
CONTRAST_TEMPERATURE = 0.2


class Diverged(ShopkeeperError):
    """The loss or the gradient of a step; no weight was changed by it."""


class TrainStep:
    """Trains a tower whose item table is a parameter (full softmax), or a ShardedEmbedding (sampled softmax)."""

    def __init__(
        self, tower: Tower, config: TrainingConfig, train: Sequences, counts_I: Ints, *, workers: Workers
    ) -> None:
        self.tower, self.config, self.counts_I, self.workers = tower, config, counts_I, workers
        self.table = tower.item if isinstance(tower.item, ShardedEmbedding) else None
        self.optimizer = torch.optim.AdamW(
            tower.parameters(), lr=config.learning_rate, betas=BETAS, weight_decay=config.weight_decay, fused=True
        )
        # Item rows that few steps touch have no average to follow.
        self.average = WeightAverage(tower, config.average_decay if self.table is None else 0.0)
        self.sampler = NegativeSampler(train, counts_I, config.negatives)
        self.watch = LossWatch(len(counts_I), config.largest_loss)
        on_gpu = workers.device.type == "cuda"
        self.mixed = on_gpu if config.precision == "auto" else config.precision == "bfloat16"
        self.product_dtype = fast_dtype(workers.device)
        compiled = on_gpu if config.compile is None else config.compile
        self._forward: nn.Module = torch.compile(tower, dynamic=True) if compiled else tower

    def __call__(self, batch: Batch, rng: np.random.Generator) -> float:
        """This worker's loss before the update; raises Diverged, on every worker at the same step."""
        loss = self.loss(batch, rng)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        fault = self.watch.fault(*self._exchanged(loss.detach()))
        if fault is not None:
            raise Diverged(fault)
        self.optimizer.step()
        self.average.update()
        if self.table is not None:
            self.table.step()
        return float(loss.detach())

    def learn_at(self, share: float) -> None:
        """From now on at this share of the learning rate; a table of item rows keeps its own."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * share

    def loss(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        return self._full(batch) if self.table is None else self._sampled(batch, rng)

    def _full(self, batch: Batch) -> Tensor:
        batch, own_ID = batch.to(self.workers.device), self.tower.own_vectors()
        items_ID = self.tower.with_content(own_ID)
        x_PD, bonus = self._read(batch, items_ID)
        loss = full_softmax_loss(x_PD, items_ID, batch.targets_P, bonus=bonus, dtype=self.product_dtype)
        return loss + self._contrast(own_ID, batch.targets_P, None)

    def _sampled(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        compact, device = Compact.of(batch, self.sampler.draw(rng)), self.workers.device
        batch, codes_K = compact.batch.to(device), compact.codes_K.to(device)
        own_KD = self.tower.own_vectors(codes_K)
        items_KD = self.tower.with_content(own_KD, codes_K)
        x_PD, bonus = self._read(batch, items_KD)
        loss = sampled_softmax_loss(
            x_PD, items_KD, batch.targets_P, compact.negatives_S.to(device),
            self.sampler.log_q(compact.codes_K).to(device),
            bonus=bonus, dtype=torch.bfloat16 if self.mixed else torch.float32,
        )  # fmt: skip
        return loss + self._contrast(own_KD, batch.targets_P, codes_K)

    def _contrast(self, own_KD: Tensor, targets_P: Tensor, codes_K: Tensor | None) -> Tensor:
        """Of the items to be foretold in this step, each once; `codes_K` says what the rows are where not all."""
        content = self.tower.content
        if not self.config.contrast or content is None:
            return own_KD.new_zeros(())
        places_T = targets_P.unique()
        own_TD, codes_T = own_KD[places_T], places_T if codes_K is None else codes_K[places_T]
        counts_T = torch.from_numpy(self.counts_I[codes_T.cpu().numpy()]).to(own_TD)
        loss = contrastive_loss(
            own_TD, content.alone(codes_T), RARE / (RARE + counts_T), temperature=CONTRAST_TEMPERATURE
        )
        return self.config.contrast * loss

    def _read(self, batch: Batch, items_ID: Tensor) -> tuple[Tensor, Bonus | None]:
        """x_PD of the batch's pairs, and what the items of each history gain, where they may come again."""
        with torch.autocast(self.workers.device.type, torch.bfloat16, enabled=self.mixed):
            x_BLD = self._forward(batch.tokens_BL, batch.lengths_B, items_ID, batch.times_us_BL)
        x_BLD = x_BLD.to(items_ID.dtype)
        return x_BLD.flatten(0, 1)[batch.places_P], self._bonus(x_BLD, batch, items_ID)

    def _bonus(self, x_BLD: Tensor, batch: Batch, items_ID: Tensor) -> Bonus | None:
        if self.tower.repetition is None:
            return None
        tokens_BL, places_P = batch.tokens_BL, batch.places_P
        gains = self.tower.repetition(x_BLD, tokens_BL)
        plain_BQL = x_BLD @ functional.embedding(tokens_BL, items_ID).transpose(1, 2)
        return Bonus(
            codes_NH=tokens_BL[places_P // tokens_BL.shape[1]],
            plain_NH=plain_BQL.flatten(0, 1)[places_P],
            gain_NH=gains.gain_BQL.flatten(0, 1)[places_P],
            counts_NH=gains.newest_BQL.flatten(0, 1)[places_P],
        )

    @torch.no_grad()
    def _exchanged(self, loss: Tensor) -> tuple[float, float]:
        """Averages the gradients over the workers; returns their mean loss and the norm of the gradient."""
        gradients = [parameter.grad for parameter in self.tower.parameters() if parameter.grad is not None]
        rows = loss.new_zeros(()) if self.table is None else self.table.squared_gradient()
        shared = torch.stack([loss, rows])
        self.workers.average_in_place([*gradients, shared])
        mean_loss, squares = shared.tolist()
        return mean_loss, math.sqrt(float(nn.utils.get_total_norm(gradients)) ** 2 + squares)


def is_dealt(items: int, config: TrainingConfig) -> bool:
    """Whether the rows of the item table are dealt over the workers."""
    return config.sharded_items is not None and items > config.sharded_items


def is_sampled(items: int, config: TrainingConfig) -> bool:
    """Whether a step reads and changes the items it touches alone."""
    return items > config.full_softmax_items or is_dealt(items, config)


def item_table(items: int, dim: int, config: TrainingConfig, *, workers: Workers, seed: int) -> ShardedEmbedding | None:
    """The item table of a sampled softmax; the full one has a parameter of the tower."""
    if not is_sampled(items, config):
        return None
    learning_rate, device = config.item_learning_rate, workers.device

    def optimizer(rows: int) -> RowOptimizer:
        if config.item_optimizer == "rowwise_adagrad":
            return RowwiseAdagrad(rows, learning_rate=learning_rate, device=device)
        return LazyAdamW(rows, dim, learning_rate=learning_rate, weight_decay=config.weight_decay, device=device)

    return ShardedEmbedding(
        items, dim, workers=workers, dealt=is_dealt(items, config), seed=seed, optimizer=optimizer
    )  # fmt: skip
