"""What every way to forecast demand keeps: one interface, a folder of numbers, rows that do not depend on each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

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
    settings: dict[str, float] = field(default_factory=dict)

    def window(self, back: int = 0, rows: Ints | None = None, horizon: int | None = None) -> Window:
        """The window `back` periods before the cut."""
        cut_S = self.cut_S if rows is None else self.cut_S[rows]
        return self.panel.window(cut_S - back, length=self.memory, horizon=horizon or self.horizon, rows=rows)
