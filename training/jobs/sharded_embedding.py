"""An embedding table of which a step reads and changes a few rows, dealt over the workers or whole on each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.jobs.row_optimizers import RowOptimizer
from training.jobs.workers import Workers

ROWS_PER_FILE = 1 << 20
ROWS_PER_DRAW = 1 << 16
INITIAL_STD = 0.02
WEIGHT = "weight"


@dataclass(frozen=True, kw_only=True)
class _Route:
    """Which of the K rows asked for lie where.

    `order_K` sorts them by owner, `to_owners` says how many each rank has, and `places_N` are the local rows that the
    ranks ask of this one, `of_ranks` of each.
    """

    order_K: Tensor
    to_owners: list[int]
    places_N: Tensor
    of_ranks: list[int]


class ShardedEmbedding(nn.Module):
    """`codes_K -> rows_KD`, and after the backward pass `step` changes these rows by an optimiser of its own.

    Where `dealt`, row i lives on rank i mod W and the workers exchange rows and their gradients; else each worker has
    all rows and they exchange gradients alone. Both are collectives: every worker calls them equally often, with codes
    of its own, each once. What a row begins with depends on `seed` and i, not on the number of workers.
    """

    weight_RD: Tensor

    def __init__(
        self,
        rows: int,
        dim: int,
        *,
        workers: Workers,
        dealt: bool,
        seed: int,
        optimizer: Callable[[int], RowOptimizer],
    ) -> None:
        super().__init__()
        self.rows, self.dim, self.workers = rows, dim, workers
        self.shards, self.shard = (workers.size, workers.rank) if dealt else (1, 0)
        own = local_rows(rows, self.shards, self.shard)
        # Not in the state dict: checkpoints hold each worker's rows in files of their own.
        self.register_buffer("weight_RD", torch.empty(own, dim, device=workers.device), persistent=False)
        for codes, drawn in _initial(rows, dim, seed):
            self._own(codes, drawn, self.weight_RD)
        self.optimizer = optimizer(own)
        self._read: list[tuple[_Route, Tensor]] = []

    def forward(self, codes_K: Tensor) -> Tensor:
        """rows_KD, a leaf of the graph where gradients are recorded."""
        route = self._route(codes_K)
        rows_ND = self.weight_RD[route.places_N]
        if self.shards == 1:
            rows_KD = rows_ND
        else:
            rows_KD = torch.empty(len(codes_K), self.dim, device=rows_ND.device)
            rows_KD[route.order_K] = self.workers.exchange(rows_ND, route.of_ranks, route.to_owners)
        if torch.is_grad_enabled():
            self._read.append((route, rows_KD.requires_grad_()))
        return rows_KD

    @torch.no_grad()
    def squared_gradient(self) -> Tensor:
        """Of the rows that this worker read, the sum of the squares of their gradients."""
        return sum((_gradient(rows_KD).square().sum() for _, rows_KD in self._read), torch.zeros(()))

    @torch.no_grad()
    def step(self) -> None:
        """Update the rows that the workers read, once each, since the last call."""
        ((route, rows_KD),) = self._read
        self._read = []
        places_U, gradient_UD = self._collected(route, _gradient(rows_KD))
        self.optimizer.update(self.weight_RD, places_U, gradient_UD)

    def _collected(self, route: _Route, gradient_KD: Tensor) -> tuple[Tensor, Tensor]:
        """This worker's rows that any worker read, each once, and the mean over the workers of their gradients."""
        if self.workers.size == 1:
            return route.places_N, gradient_KD
        if self.shards == 1:
            places_N, gradient_ND = self.workers.gathered(route.places_N), self.workers.gathered(gradient_KD)
        else:
            places_N = route.places_N
            gradient_ND = self.workers.exchange(gradient_KD[route.order_K], route.to_owners, route.of_ranks)
        places_U, inverse_N = torch.unique(places_N, return_inverse=True)
        summed_UD = gradient_ND.new_zeros(len(places_U), self.dim).index_add_(0, inverse_N, gradient_ND)
        return places_U, summed_UD / self.workers.size

    def _route(self, codes_K: Tensor) -> _Route:
        if self.shards == 1:
            return _Route(order_K=codes_K, to_owners=[], places_N=codes_K, of_ranks=[])
        owners_K = codes_K % self.shards
        order_K = torch.argsort(owners_K, stable=True)
        to_owners = torch.bincount(owners_K, minlength=self.shards).tolist()
        of_ranks = self.workers.exchange_counts(to_owners)
        places_N = self.workers.exchange((codes_K // self.shards)[order_K], to_owners, of_ranks)
        return _Route(order_K=order_K, to_owners=to_owners, places_N=places_N, of_ranks=of_ranks)

    @property
    def holds_files(self) -> bool:
        """Whether `save` writes anything here: of tables that all workers hold, the first one's is kept."""
        return self.shards > 1 or self.workers.rank == 0

    def save(self, folder: Path, name: str, *, moments: bool) -> None:
        """Write this worker's rows, and the optimiser's where `moments`, into files named by shard."""
        kept = {WEIGHT: self.weight_RD, **(self.optimizer.state if moments else {})}
        for number, first in enumerate(range(0, max(len(self.weight_RD), 1), ROWS_PER_FILE)):
            rows = {key: tensor[first : first + ROWS_PER_FILE].clone() for key, tensor in kept.items()}
            save_file(rows, folder / f"{name}-{self.shard}-of-{self.shards}-{number}.safetensors")

    @torch.no_grad()
    def load(self, folder: Path, name: str, *, moments: bool) -> None:
        """Read what any number of workers saved, a file at a time, and keep this worker's rows."""
        kept = {WEIGHT: self.weight_RD, **(self.optimizer.state if moments else {})}
        for path in sorted(folder.glob(f"{name}-*-of-*-*.safetensors")):
            shard, _, shards, number = path.stem.removeprefix(f"{name}-").split("-")
            saved = load_file(path)
            places = torch.arange(len(saved[WEIGHT])) + int(number) * ROWS_PER_FILE
            for key, tensor in kept.items():
                self._own(int(shard) + int(shards) * places, saved[key], tensor)

    def _own(self, codes_N: Tensor, rows_ND: Tensor, tensor: Tensor) -> None:
        """Put those of the rows that live here into `tensor`."""
        mine = codes_N % self.shards == self.shard
        tensor[(codes_N[mine] // self.shards).to(tensor.device)] = rows_ND[mine].to(tensor.device)


def _gradient(rows_KD: Tensor) -> Tensor:
    return torch.zeros_like(rows_KD) if rows_KD.grad is None else rows_KD.grad


def local_rows(rows: int, shards: int, shard: int) -> int:
    """How many of `rows` live on `shard`."""
    return len(range(shard, rows, shards))


def _initial(rows: int, dim: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Codes and first values of all rows, in pieces that are the same whoever draws them."""
    for piece, first in enumerate(range(0, rows, ROWS_PER_DRAW)):
        generator = torch.Generator().manual_seed((seed << 32) + piece)
        drawn = torch.empty(min(ROWS_PER_DRAW, rows - first), dim).normal_(std=INITIAL_STD, generator=generator)
        yield torch.arange(first, first + len(drawn)), drawn
