"""The workers of one fit: torch.distributed where it is initialised, else the one process that there is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """Where the seconds of some steps went, on average over the workers, and the bytes that each of them sent."""

    compute_s: float
    transfer_s: float
    waiting_s: float
    sent_bytes: float

    @property
    def wall_s(self) -> float:
        return self.compute_s + self.transfer_s + self.waiting_s

    def by_step(self, steps: int) -> dict[str, float]:
        """Milliseconds and kilobytes of one of `steps` steps."""
        seconds = {"compute": self.compute_s, "transfer": self.transfer_s, "waiting": self.waiting_s}
        return {
            **{f"{part}_ms_per_step": 1e3 * part_s / steps for part, part_s in seconds.items()},
            "sent_kb_per_step": self.sent_bytes / 1e3 / steps,
        }


class Workers:
    """Rank, size and the few collectives that a fit needs; without a process group each is the identity."""

    def __init__(self) -> None:
        self.grouped = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if self.grouped else 0
        self.size = distributed.get_world_size() if self.grouped else 1
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._collectives_s: list[float] = []
        self._sent_bytes = 0

    def average_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor becomes its mean over all ranks; one all-reduce, the same bits on every rank."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with self._timed(flat):
            distributed.all_reduce(flat)
        flat /= self.size
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def from_first(self, values: list[float]) -> list[float]:
        """Rank 0's values, on every rank."""
        if self.size == 1:
            return values
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, src=0)
        return shared.tolist()

    def take_from_first(self, tensor: Tensor) -> None:
        """`tensor` becomes rank 0's, to the bit: libraries of linear algebra differ between machines."""
        if self.size > 1:
            distributed.broadcast(tensor, src=0)

    def sum(self, values: list[float]) -> list[float]:
        """Element by element over all ranks."""
        return self._reduced(values, distributed.ReduceOp.SUM)

    def least(self, values: list[float]) -> list[float]:
        """Element by element, the least of all ranks."""
        return self._reduced(values, distributed.ReduceOp.MIN)

    def exchange(self, sent_N: Tensor, sent: list[int], received: list[int]) -> Tensor:
        """Rows to and from every rank, in the order of the ranks: `sent[r]` of them to r, `received[r]` from it."""
        arrived = sent_N.new_empty((sum(received), *sent_N.shape[1:]))
        with self._timed(sent_N):
            distributed.all_to_all_single(arrived, sent_N.contiguous(), received, sent)
        return arrived

    def exchange_counts(self, sent: list[int]) -> list[int]:
        """How many rows each rank has for this one, told how many this one has for each."""
        ones = [1] * self.size
        return self.exchange(torch.tensor(sent, device=self.device), ones, ones).tolist()

    def gathered(self, rows_N: Tensor) -> Tensor:
        """The rows of all ranks, of each any number, in the order of the ranks."""
        if self.size == 1:
            return rows_N
        counts = self.exchange_counts([len(rows_N)] * self.size)
        padded = rows_N.new_zeros((max(counts), *rows_N.shape[1:]))
        padded[: len(rows_N)] = rows_N
        parts = [torch.empty_like(padded) for _ in counts]
        with self._timed(padded):
            distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def times(self, wall_s: float) -> StepTimes:
        """Of `wall_s` since the last call: compute, transfer and waiting.

        The worker that came last to a collective waited for nobody, so its time there is the transfer and what another
        took longer is waiting: no clock is compared with another machine's.
        """
        own_C = torch.tensor(self._collectives_s, dtype=torch.float64, device=self.device)
        all_WC = self.gathered(own_C[None])
        walls_s, sent_bytes = self.sum([wall_s, float(self._sent_bytes)])
        self._collectives_s, self._sent_bytes = [], 0
        transfer_s = float(all_WC.amin(dim=0).sum())
        inside_s = float(all_WC.sum()) / self.size
        return StepTimes(
            compute_s=walls_s / self.size - inside_s,
            transfer_s=transfer_s,
            waiting_s=inside_s - transfer_s,
            sent_bytes=sent_bytes / self.size,
        )

    def _reduced(self, values: list[float], operation: distributed.ReduceOp) -> list[float]:
        if self.size == 1:
            return values
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(shared, op=operation)
        return shared.tolist()

    @contextmanager
    def _timed(self, sent: Tensor) -> Iterator[None]:
        """Counts a collective's seconds and the bytes handed to it."""
        self._synchronize()
        begun_s = time.monotonic()
        yield
        self._synchronize()
        self._collectives_s.append(time.monotonic() - begun_s)
        self._sent_bytes += sent.numel() * sent.element_size()

    def _synchronize(self) -> None:
        """A GPU's collectives return before they are done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
