"""How many may be at a stage at once: as many as it answers within the time that the next one has.

Without it a stage that is asked for more than it can do does all of it too late, and so for nobody. Who comes behind
n - 1 others waits n times what one takes (Little, Operations Research 1961); that is learnt from the answers.
"""

from __future__ import annotations

FIRST, LEAST = 8, 2
"""Let in before anything is learnt, and whatever was."""
USED_SHARE = 0.7
"""Of the time that one has: the wait is only about what was expected."""
LEARNING = 1 / 8


class Room:
    """Counts who is inside; whoever was let in leaves once."""

    def __init__(self, *, most: int) -> None:
        self.most, self.inside = most, 0
        self.each_s: float | None = None

    def enter(self, timeout_s: float) -> bool:
        """False where the answer could only be too late."""
        if self.inside >= self._bound(timeout_s):
            return False
        self.inside += 1
        return True

    def leave(self, *, behind: int, took_s: float, answered: bool) -> None:
        """`behind`: how many were inside when this one had entered, itself too."""
        self.inside -= 1
        each_s = took_s / behind
        if self.each_s is None:
            self.each_s = each_s if answered else None
        elif answered or each_s > self.each_s:
            self.each_s += LEARNING * (each_s - self.each_s)

    def _bound(self, timeout_s: float) -> int:
        if self.each_s is None:
            return min(FIRST, self.most)
        in_time = USED_SHARE * timeout_s / max(self.each_s, 1e-6)
        return min(self.most, max(LEAST, int(in_time)))
