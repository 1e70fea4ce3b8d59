"""One ranker network in training: its losses, its steps, and the average of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from training.contracts.errors import InputError, Problem, ShopkeeperError
from training.contracts.progress import Progress
from training.jobs.choice_loss import choice_loss
from training.jobs.divergence import LossWatch
from training.jobs.ranker_data import RankerData
from training.jobs.ranker_examples import ExampleTensors, batches_of
from training.jobs.slates import NO_POSITION
from training.jobs.weight_average import WeightAverage
from training.jobs.workers import Workers
from training.models.ranker_network import OUTPUTS, NetworkConfig, RankerNetwork


class RankerTrainingConfig(BaseModel):
    """How the networks are trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    network: NetworkConfig = NetworkConfig()
    epochs: int = Field(default=16, ge=1, description="at most, of each network")
    patience: int = Field(default=4, ge=1, description="epochs without a better validation AUC before it stops")
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    slates_per_step: int = Field(default=64, ge=1)
    choices_per_step: int = Field(default=128, ge=1, description="beside the slates; a quarter where those are choices")
    choice_weight: float = Field(default=0.3, ge=0, description="of the loss of choices beside that of impressions")
    average: float = Field(default=0.98, ge=0, lt=1, description="share of the averaged weights that a step keeps")
    largest_loss: float = Field(default=3.0, gt=1, description="times a guess's loss; a lasting larger one stops")
    threads: int = Field(default=1, ge=1)


class Fitting:
    """A network with what it is fitted on; only the weights that require gradients are moved.

    Without a served log the slates are the choices themselves: more of them beside would be learnt by heart.
    """

    def __init__(self, network: RankerNetwork, config: RankerTrainingConfig, data: RankerData, seed: int) -> None:
        self.network, self.config, self.seed, self.workers = network, config, seed, Workers()
        self.average = WeightAverage(network, config.average)
        self.slates, self.choices = ExampleTensors(data.slates["train"]), ExampleTensors(data.choices["train"])
        shown = bool((self.slates.positions_N != NO_POSITION).any())
        self.choices_per_step = config.choices_per_step if shown else -(-config.choices_per_step // 4)
        self.heads = [OUTPUTS.index(head) for head in data.heads]
        self.moved = [weight for weight in network.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.moved, lr=config.learning_rate, weight_decay=config.weight_decay)
        self.watch = LossWatch(2, config.largest_loss)
        if len(self.slates) < self.workers.size:
            raise InputError(
                Problem(field="workers", problem="more workers than slates to learn from",
                        found=f"{self.workers.size} workers, {len(self.slates)} slates",
                        allowed=f"at most {len(self.slates)} workers")
            )  # fmt: skip

    def epoch(self, epoch: int, progress: Progress) -> float:
        """The mean loss of one pass over the slates; raises ShopkeeperError when it diverges."""
        losses = []
        torch.manual_seed(1_000_000 * self.workers.rank + 1_000 * self.seed + epoch)
        self.network.train()
        for step, (slates_B, choices_B) in enumerate(self._batches(epoch)):
            loss = self._impression_loss(slates_B)
            if self.config.choice_weight:
                loss = loss + self.config.choice_weight * choice_loss(self.network, self.choices, choices_B)
            loss_1 = loss.detach().reshape(1).clone()
            fault = self._step(loss, loss_1)
            if fault is not None:
                raise ShopkeeperError(
                    f"training the ranker stopped in epoch {epoch + 1}, step {step + 1}: {fault}; the checkpoint of "
                    "the last good epoch is kept. Try a lower learning_rate"
                )
            losses.append(float(loss_1))
            progress.advance(len(slates_B) * self.workers.size)
        return float(np.mean(losses))

    def moments(self) -> dict[str, Tensor]:
        """The optimizer's state, by weight and name."""
        state = self.optimizer.state_dict()["state"]
        return {f"{weight}.{name}": value for weight, of_one in state.items() for name, value in of_one.items()}

    def restore_moments(self, moments: Mapping[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in moments.items():
            weight, name = key.split(".")
            state.setdefault(int(weight), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})

    def _batches(self, epoch: int) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Slates and choices of each step: workers share one order of the slates, and each draws its own choices."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.slates))
        rng = np.random.default_rng((self.seed, epoch, 1 + self.workers.rank))
        for slates_B in batches_of(order, self.config.slates_per_step, self.workers.rank, self.workers.size):
            yield slates_B, np.unique(rng.integers(len(self.choices), size=self.choices_per_step))

    def _impression_loss(self, slates_B: npt.NDArray[np.int64]) -> Tensor:
        batch, rows_N = self.slates.batch(slates_B)
        logits_NH = self.network(batch, self.slates.positions_N[rows_N])
        losses_NH = functional.binary_cross_entropy_with_logits(
            logits_NH[:, self.heads], self.slates.labels_NH[rows_N][:, self.heads], reduction="none"
        )
        return losses_NH.mean(0).sum()

    def _step(self, loss: Tensor, loss_1: Tensor) -> str | None:
        """One step down the mean loss of all workers, which `loss_1` becomes; or what is wrong with it, and no step."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        gradients = [weight.grad for weight in self.moved if weight.grad is not None]
        self.workers.average_in_place([*gradients, loss_1])
        fault = self.watch.fault(float(loss_1), float(torch.nn.utils.get_total_norm(gradients)))
        if fault is None:
            self.optimizer.step()
            self.average.update()
        return fault
