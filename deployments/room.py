"""How many may be at a stage at once: more while answers come well in time, fewer once they are late.

Without it a stage that is asked for more than it can do does all of it too late, and so for nobody. Source: Chiu and
Jain, Computer Networks and ISDN Systems 1989 (additive increase, multiplicative decrease), as in TCP.
"""

from __future__ import annotations

LEAST, FIRST = 2.0, 8.0
SHRINKING = 0.7


class Room:
    """Counts who is inside; whoever was let in leaves once. Times are of one clock that only goes forward."""

    def __init__(self, *, most: int) -> None:
        self.most = float(most)
        self.size, self.inside = min(FIRST, self.most), 0
        self._shrunk_at_s = float("-inf")

    @property
    def is_full(self) -> bool:
        return self.inside >= int(self.size)

    def enter(self) -> bool:
        """False where there is no room."""
        if self.is_full:
            return False
        self.inside += 1
        return True

    def leave(self, *, entered_s: float, now_s: float, late: bool | None) -> None:
        """`late`: whether the answer was, None where there was none to learn from."""
        was_used = self.inside >= self.size / 2
        self.inside -= 1
        if late and entered_s >= self._shrunk_at_s:
            # Once for all who were inside together.
            self.size, self._shrunk_at_s = max(min(LEAST, self.most), SHRINKING * self.size), now_s
        elif late is False and was_used:
            self.size = min(self.most, self.size + 1 / self.size)
