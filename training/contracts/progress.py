"""Progress as a null object: code reports always, and whoever runs it decides whether anyone looks."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of work done; shows rate and time left where a person watches."""

    def stage(self, label: str, total: int | None = None) -> None:
        """Begin a stage of `total` units (None: unknown)."""

    def advance(self, units: int = 1) -> None:
        """`units` more of the current stage are done."""


class NoProgress:
    """Nobody watches."""

    def stage(self, label: str, total: int | None = None) -> None:
        pass

    def advance(self, units: int = 1) -> None:
        pass
