"""How far a training is, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.jobs.training_config import TrainingConfig


@dataclass
class Course:
    """The epochs so far; `curve` has a line for each."""

    epoch: int = 0
    best: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    examples: int = 0
    tokens: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    resumed_after: list[int] = field(default_factory=list)

    def finished(self, config: TrainingConfig) -> bool:
        late = self.seconds >= config.max_train_s
        return late or self.epoch >= config.epochs or self.epoch - self.best_epoch >= config.patience

    @property
    def examples_per_second(self) -> float:
        return self.examples / max(self.seconds, 1e-9)

    def said(self) -> list[str]:
        """Speed, and where the training was interrupted, for the notes of a result."""
        return [
            f"transformer: {self.epoch} epochs, best {self.best_epoch}; "
            f"{self.cpu_seconds / max(self.epoch, 1):.2f} CPU-seconds an epoch, "
            f"{self.tokens / max(self.cpu_seconds, 1e-9):,.0f} tokens per CPU-second",
            *self._split(),
            *(f"the training was interrupted and went on after epoch {epoch}" for epoch in self.resumed_after),
        ]

    def _split(self) -> list[str]:
        """A worker's mean step, where there are several workers."""
        parts = {
            part: sum(line[f"{part}_ms_per_step"] for line in self.curve) / max(len(self.curve), 1)
            for part in ("compute", "transfer", "waiting")
        }
        sent_kb = sum(line["sent_kb_per_step"] for line in self.curve) / max(len(self.curve), 1)
        if not sent_kb:
            return []
        said = ", ".join(f"{part} {milliseconds:.1f} ms" for part, milliseconds in parts.items())
        return [f"a worker's step: {said}; {sent_kb:,.0f} kB sent"]
