"""An average of the weights over the last steps, which is judged and served in their place.

Source: Polyak and Juditsky, SIAM J. Control Optim. 1992; exponential, as in Tarvainen and Valpola, NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

WARM_UP_STEPS = 10


class WeightAverage:
    """Follows the parameters of a module; with a `decay` of 0 the module stays what it is."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        followed = dict(module.named_parameters()) if decay else {}
        self.weights = {name: weight.detach().clone() for name, weight in followed.items()}
        self._live = [weight.detach() for weight in followed.values()]

    def update(self) -> None:
        """To be called after every step; early on it forgets faster, so that nothing of the start remains."""
        self.steps += 1
        kept = min(self.decay, (1 + self.steps) / (WARM_UP_STEPS + self.steps))
        for average, live in zip(self.weights.values(), self._live, strict=True):
            average.lerp_(live, 1 - kept)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within the block the module has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def restore(self, weights: dict[str, Tensor], steps: int) -> None:
        for name, weight in self.weights.items():
            weight.copy_(weights[name])
        self.steps = steps

    def _swap(self) -> None:
        for average, live in zip(self.weights.values(), self._live, strict=True):
            held = live.clone()
            live.copy_(average)
            average.copy_(held)
