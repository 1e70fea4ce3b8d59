"""Pictures of items wait for each other, never shoppers for them."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

import pytest

from deployments.middleware.limits import Deadline
from deployments.middleware.problems import HttpProblem
from deployments.photos import PhotoReader
from deployments.picture_intake import MOST_WAITING, PictureIntake
from tests.hostile_images import encoded, photo
from training.features.images import ImageFault, Picture

WITHIN_S = 10.0
FILE = encoded(photo(16))


def ample() -> Deadline:
    return Deadline.after(WITHIN_S)


@dataclass(frozen=True)
class Files(Deadline):
    """Ends once so many files were looked at."""

    reader: HeldReader
    most: int

    @property
    def left_s(self) -> float:
        return float(self.reader.looked_at < self.most)


class HeldReader(PhotoReader):
    """Reads a file only once it is let go."""

    def __init__(self, let_go: int = 0) -> None:
        super().__init__(threads=1)
        self.looked_at = 0
        self.begun, self.let_go = threading.Semaphore(0), threading.Semaphore(let_go)

    def read(self, data: bytes) -> Picture | ImageFault:
        self.looked_at += 1
        self.begun.release()
        assert self.let_go.acquire(timeout=WITHIN_S)
        return super().read(data)

    async def is_at_work(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=WITHIN_S)


def test_what_there_is_no_time_for_is_left_out() -> None:
    reader = HeldReader(let_go=2)
    found = asyncio.run(PictureIntake(reader).pixels([FILE, b"", FILE, FILE], Files(0.0, reader, most=2)))
    assert [type(one) for one in found] == [bytes, ImageFault, type(None), type(None)]


def test_what_was_looked_at_in_time_does_not_wait_for_what_was_not() -> None:
    """The second file is never read to its end."""
    reader = HeldReader(let_go=1)
    found = asyncio.run(PictureIntake(reader).pixels([FILE, FILE, FILE], Deadline.after(1.0)))
    assert [type(one) for one in found] == [bytes, type(None), type(None)]
    assert reader.looked_at == 2
    reader.let_go.release(2)


def test_who_had_no_time_at_all_is_told_so() -> None:
    with pytest.raises(HttpProblem, match="X-Timeout-Ms") as refused:
        asyncio.run(PictureIntake(HeldReader()).pixels([FILE], Deadline(0.0)))
    assert refused.value.status == 503


def test_no_more_than_some_wait() -> None:
    async def crowd() -> None:
        reader = HeldReader(let_go=MOST_WAITING + 1)
        intake = PictureIntake(reader)
        let_in = [asyncio.create_task(intake.pixels([FILE], ample())) for _ in range(MOST_WAITING + 1)]
        await asyncio.sleep(0)
        with pytest.raises(HttpProblem, match="too many") as refused:
            await intake.pixels([FILE], ample())
        assert refused.value.status == 429
        assert all(isinstance(found[0], bytes) for found in await asyncio.gather(*let_in))
        reader.let_go.release()
        assert await intake.pixels([b""], ample())

    asyncio.run(crowd())


def test_nothing_more_is_looked_at_for_who_has_gone() -> None:
    async def gone() -> None:
        reader = HeldReader()
        intake = PictureIntake(reader)
        asking = asyncio.create_task(intake.pixels([FILE] * 5, ample()))
        await reader.is_at_work()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        reader.let_go.release(2)
        assert await intake.pixels([b""], ample())
        assert reader.looked_at == 2

    asyncio.run(gone())
