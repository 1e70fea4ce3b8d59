"""Who is let in to a stage whose work is heavy, and when: the one whose time ends first, and nobody who comes too late.

Without it a stage that is asked for more than it can do does all of it too late, and so for nobody. Who comes behind
n - 1 others waits n times what one takes (Little, Operations Research 1961), which is learnt from the answers. Earliest
deadline first: Liu and Layland, JACM 1973.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from itertools import count

FIRST, LEAST = 8, 2
"""Inside before anything is learnt, and whatever was."""
AT_ONCE_S = 0.3
"""As much work as is done in this time is inside at once: enough for batches, and little that nobody can overtake."""
USED_SHARE = 0.7
"""Of the time that one has: the wait is only about what was expected."""
LEARNING, LARGEST_STEP = 1 / 8, 4.0
"""How fast what one takes is learnt, and how many times the present mean an answer counts at most."""


class Room:
    """Counts who is inside and orders who waits; whoever was let in leaves once. For one event loop."""

    def __init__(self, *, most: int) -> None:
        """`most` inside and waiting together."""
        self.most, self.inside = most, 0
        self.each_s: float | None = None
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._arrivals = count()

    async def enter(self, timeout_s: float) -> bool:
        """Waits for a place; False, mostly at once, where the answer could only be too late."""
        if self.inside < self.at_once and not self.waiting:
            self.inside += 1
            return True
        loop = asyncio.get_running_loop()
        due_s = loop.time() + timeout_s
        if self.inside + self.waiting >= self.most or not self._is_in_time(due_s, timeout_s):
            return False
        turn: asyncio.Future[None] = loop.create_future()
        heappush(self._waiting, (due_s, next(self._arrivals), turn))
        try:
            async with asyncio.timeout_at(due_s):
                await turn
        except (TimeoutError, asyncio.CancelledError) as ended:
            if turn.done() and not turn.cancelled():
                self._leave()
            if isinstance(ended, TimeoutError):
                return False
            raise
        return True

    def leave(self, *, behind: int, took_s: float, answered: bool) -> None:
        """`behind`: how many were inside when this one had entered, itself too."""
        self._learn(took_s / behind, answered)
        self._leave()

    @property
    def at_once(self) -> int:
        """How many may be inside."""
        room = FIRST if self.each_s is None else max(LEAST, int(AT_ONCE_S / max(self.each_s, 1e-6)))
        return min(self.most, room)

    @property
    def waiting(self) -> int:
        return sum(not turn.done() for _, _, turn in self._waiting)

    def _is_in_time(self, due_s: float, timeout_s: float) -> bool:
        if self.each_s is None:
            return False
        ahead = sum(other_s <= due_s and not turn.done() for other_s, _, turn in self._waiting)
        return (self.inside + ahead + 1) * self.each_s <= USED_SHARE * timeout_s

    def _learn(self, each_s: float, answered: bool) -> None:
        """Who gave up has only waited at least so long."""
        if self.each_s is None:
            self.each_s = each_s if answered else None
        elif answered or each_s > self.each_s:
            self.each_s += LEARNING * (min(each_s, LARGEST_STEP * self.each_s) - self.each_s)

    def _leave(self) -> None:
        self.inside -= 1
        while self._waiting and self.inside < self.at_once:
            _, _, turn = heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                self.inside += 1
