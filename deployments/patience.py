"""How long to wait for a stage: a few times what it usually takes, as TCP does for a packet (RFC 6298)."""

from __future__ import annotations

LEARNED_AFTER = 20


class Patience:
    """Learns from the answers; a stage that dies is then given up long before the request's deadline."""

    def __init__(self, *, floor_s: float) -> None:
        self.floor_s = floor_s
        self.answers = 0
        self.usual_s = 0.0
        self.spread_s = 0.0

    def answered(self, took_s: float) -> None:
        if self.answers == 0:
            self.usual_s, self.spread_s = took_s, took_s / 2
        self.answers += 1
        self.spread_s += (abs(took_s - self.usual_s) - self.spread_s) / 4
        self.usual_s += (took_s - self.usual_s) / 8

    def timed_out(self) -> None:
        """Wait longer next time: the stage may be alive and slow."""
        self.spread_s *= 2

    def wait_s(self, at_most_s: float) -> float:
        """Before it is known what is usual, all the time there is."""
        if self.answers < LEARNED_AFTER:
            return at_most_s
        return min(at_most_s, max(self.floor_s, 2 * self.usual_s + 6 * self.spread_s))
