"""Pictures that are put to items, made fit to keep away from the event loop and from what shoppers wait for."""

from __future__ import annotations

import asyncio
import threading
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
        gone, loop = threading.Event(), asyncio.get_running_loop()
        self._inside += 1
        try:
            found = await loop.run_in_executor(self._thread, self._looked_at, files, deadline, gone)
        finally:
            self._inside -= 1
            gone.set()
        if not found:
            late = f"there was no time to look at a picture; allow more by {TIMEOUT_HEADER}"
            raise HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, late)
        return [*found, *[None] * (len(files) - len(found))]

    def _looked_at(
        self, files: Sequence[bytes], deadline: Deadline, gone: threading.Event
    ) -> list[bytes | ImageFault | None]:
        """Of as many of the first files as there is time for; the deadline's grace is left for what follows."""
        found: list[bytes | ImageFault | None] = []
        for data in files:
            if gone.is_set() or deadline.left_s <= 0:
                break
            picture = self._reader.read(data)
            found.append(picture if isinstance(picture, ImageFault) else pixels_only(picture))
        return found
