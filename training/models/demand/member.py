"""What every way to forecast demand keeps: one interface, a folder of numbers, rows that stand alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from training.features.demand import Floats, Ints, Panel, Window


class Member(Protocol):
    """A fitted member; a series' forecast depends on its own row of the window alone."""

    @property
    def name(self) -> str: ...

    @property
    def uses(self) -> frozenset[str]:
        """The known-future covariates that change its forecasts."""

    def forecast(self, window: Window) -> Floats:
        """mean_SH, finite, of a window whose covariates are filled."""

    def save(self, folder: Path) -> None:
        """Numbers and names only: nothing that loading could run."""

    @classmethod
    def load(cls, folder: Path) -> Self: ...


FitBlock = Callable[[Sequence[Floats], int], list[Any]]
Blocks = Callable[[FitBlock, Sequence[Floats], int], list[Any]]
"""Fits many histories with one season, in order, wherever there is room: here, or as a Ray task a block."""


def blocks_here(fit_block: FitBlock, histories: Sequence[Floats], season: int) -> list[Any]:
    """All in this process."""
    return fit_block(histories, season)


class Partners(Protocol):
    """The processes that fit a member together, where it is `together`: each sees a part of the examples."""

    rank: int
    size: int
    device: Any
    """Where tensors are computed on."""

    def average_in_place(self, tensors: Sequence[Any]) -> None:
        """Each tensor becomes its mean over all processes."""


class Alone:
    """One process, on the CPU."""

    rank, size, device = 0, 1, "cpu"

    def average_in_place(self, tensors: Sequence[Any]) -> None:
        """Its own mean."""


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """All that a member is fitted on: a panel that ends at cut_S, and the task."""

    panel: Panel
    cut_S: Ints
    horizon: int
    memory: int
    """Periods of history that a window shows."""
    country: str | None = None
    """Whose holidays count."""
    seed: int = 0
    threads: int = 1
    covariates: bool = True
    """Whether known-future covariates may be used."""
    blocks: Blocks = blocks_here
    partners: Partners = field(default_factory=Alone)
    rounds: int = 150
    """Of gradient boosting."""
    epochs: int = 4
    """Of the network."""

    def window(self, back: int = 0, rows: Ints | None = None, horizon: int | None = None) -> Window:
        """The window `back` periods before the cut."""
        cut_S = self.cut_S if rows is None else self.cut_S[rows]
        return self.panel.window(cut_S - back, length=self.memory, horizon=horizon or self.horizon, rows=rows)
