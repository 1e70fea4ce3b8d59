"""How far one stage of a vision training is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class VisionCourse:
    """The epochs of one stage so far; `curve` has a line for each."""

    stage: str
    epoch: int = 0
    best: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    examples: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    resumed_after: list[int] = field(default_factory=list)

    def said(self) -> list[str]:
        """Speed, and where the training was interrupted, for the notes of a result."""
        return [
            f"{self.stage}: {self.epoch} epochs, best {self.best_epoch}; {self.seconds:.0f} s, {self.cpu_seconds:.0f} "
            f"CPU-seconds, {1e3 * self.cpu_seconds / max(self.examples, 1):.2f} CPU-ms a picture",
            *(f"{self.stage} was interrupted and went on after epoch {epoch}" for epoch in self.resumed_after),
        ]
