"""A circuit breaker: a stage that is down costs nothing after the first calls."""

from __future__ import annotations

from typing import Literal

State = Literal["closed", "open"]


class Breaker:
    """Opens at once when the stage is gone, or after some failures in a row; closed again by a probe that succeeds.

    No request of a client is ever used as a probe: while open, callers go without the stage.
    """

    def __init__(self, *, failures_to_open: int) -> None:
        self.failures_to_open = failures_to_open
        self.failures = 0
        self.state: State = "closed"

    @property
    def is_open(self) -> bool:
        return self.state == "open"

    def succeeded(self) -> None:
        self.failures = 0
        self.state = "closed"

    def failed(self) -> None:
        """It did not answer in time, or with an error."""
        self.failures += 1
        if self.failures >= self.failures_to_open:
            self.state = "open"

    def gone(self) -> None:
        """The stage's process died or cannot be reached."""
        self.state = "open"
