"""Pictures that are put to items, made fit to keep away from the event loop and from what shoppers wait for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from deployments.middleware.limits import TIMEOUT_HEADER, Deadline
from deployments.middleware.problems import HttpProblem
from deployments.photos import PhotoReader, pixels_only
from training.features.images import ImageFault

MOST_WAITING = 16


class PictureIntake:
    """One request at a time in a thread of its own; at most MOST_WAITING wait, and nobody who has gone is served."""

    def __init__(self, reader: PhotoReader) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._reader, self._inside = reader, 0

    async def pixels(self, files: Sequence[bytes], deadline: Deadline) -> list[bytes | ImageFault | None]:
        """What is kept of each: a picture and nothing else that its file held; None where no time was left for it.

        Raises HttpProblem 429 where too many wait, 503 where there was time for none.
        """
        if self._inside > MOST_WAITING:
            raise HttpProblem(HTTPStatus.TOO_MANY_REQUESTS, "too many pictures of items wait to be looked at already")
        left, found = deque(files), list[bytes | ImageFault]()
        looking = asyncio.get_running_loop().run_in_executor(self._thread, self._look, left, found, deadline)
        self._inside += 1
        try:
            await asyncio.wait([looking], timeout=deadline.left_s)
        finally:
            self._inside -= 1
            left.clear()
        if looking.done():
            looking.result()
        in_time = list(found)
        if not in_time:
            late = f"there was no time to look at a picture; allow more by {TIMEOUT_HEADER}"
            raise HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, late)
        return [*in_time, *[None] * (len(files) - len(in_time))]

    def _look(self, left: deque[bytes], found: list[bytes | ImageFault], deadline: Deadline) -> None:
        """At one after the other of those that are left, which whoever stops waiting takes away."""
        while deadline.left_s > 0:
            try:
                picture = self._reader.read(left.popleft())
            except IndexError:
                return
            found.append(picture if isinstance(picture, ImageFault) else pixels_only(picture))
