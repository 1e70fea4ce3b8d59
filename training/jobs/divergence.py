"""When a training has gone wrong: a loss that is no number, or that is far above a guess's."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

WINDOW_STEPS = 16
AT_ONCE = 100.0


class LossWatch:
    """Looks at every step's loss and gradient norm.

    A guess's loss is that of the first step, before anything was learnt, or log(items) where this is more. Exploded is
    a loss of more than AT_ONCE guesses, or a median over the last WINDOW_STEPS steps of more than `largest` of them:
    one hard batch is none.
    """

    def __init__(self, items: int, largest: float, *, besides: float = 0.0) -> None:
        """`besides`: what a guess's loss has on top of log(items)."""
        self.guess, self.largest = math.log(max(items, 2)) + besides, largest
        self._recent: deque[float] = deque(maxlen=WINDOW_STEPS)

    def fault(self, loss: float, gradient_norm: float) -> str | None:
        """What is wrong with a step, before it changes any weight."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(gradient_norm):
            return f"the gradient's norm is {gradient_norm}"
        if not self._recent:
            self.guess = max(self.guess, loss)
        self._recent.append(loss)
        if loss > AT_ONCE * self.guess:
            return self._exploded(loss)
        return self.lasting_fault() if len(self._recent) == WINDOW_STEPS else None

    def lasting_fault(self) -> str | None:
        """What is wrong with the last steps together: an epoch that ends so is not kept."""
        recent = median(self._recent)
        return self._exploded(recent) if recent > self.largest * self.guess else None

    def _exploded(self, loss: float) -> str:
        return f"the loss exploded to {loss:.4g}, a guess has {self.guess:.4g}"
