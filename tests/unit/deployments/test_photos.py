"""Large photos are decoded one at a time in a process, whichever reader is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from deployments import photos
from deployments.photos import PhotoReader
from training.features.images import Picture, Turn

PICTURE = np.zeros((1, 1, 3), np.uint8)
PATIENCE_S = 30


class Place:
    """A lock that tells when somebody has to wait for it."""

    def __init__(self) -> None:
        self._lock, self.awaited = threading.Lock(), threading.Event()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.awaited.set()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def read_by_two(monkeypatch: pytest.MonkeyPatch, pixels: int, decode: Callable[[], None]) -> list[object]:
    """What two readers answer that are asked for a photo of so many pixels at once."""

    def opened(_: bytes, *, turn: Turn) -> Picture:
        with turn(pixels):
            decode()
        return PICTURE

    monkeypatch.setattr(photos, "open_picture", opened)
    with ThreadPoolExecutor(2) as askers:
        return list(askers.map(lambda reader: reader.read(b""), [PhotoReader(threads=1), PhotoReader(threads=1)]))


def test_small_photos_are_decoded_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    both_inside = threading.Barrier(2, timeout=PATIENCE_S)
    answers = read_by_two(monkeypatch, photos.LARGE_PIXELS, lambda: both_inside.wait() and None)
    assert [answer is PICTURE for answer in answers] == [True, True]


def test_readers_share_the_place_for_a_large_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that decodes goes on only once the other waits at the place."""
    place, inside, was_alone = Place(), threading.Semaphore(1), list[bool]()

    def decode() -> None:
        was_alone.append(inside.acquire(blocking=False))
        assert place.awaited.wait(PATIENCE_S)
        inside.release()

    monkeypatch.setattr(photos, "_ONE_LARGE", place)
    answers = read_by_two(monkeypatch, photos.LARGE_PIXELS + 1, decode)
    assert [answer is PICTURE for answer in answers] == [True, True]
    assert was_alone == [True, True]


def test_a_small_photo_passes_large_ones_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three large ones come to two threads; the first ends only once the small one was read."""
    small_was_read, large_begun = threading.Event(), threading.Event()

    def opened(data: bytes, *, turn: Turn) -> Picture:
        with turn(photos.LARGE_PIXELS + 1 if data else 1):
            if data:
                large_begun.set()
                assert small_was_read.wait(PATIENCE_S)
        return PICTURE

    monkeypatch.setattr(photos, "open_picture", opened)
    reader = PhotoReader(threads=2)
    with ThreadPoolExecutor(4) as askers:
        large = [askers.submit(reader.read, b"large") for _ in range(3)]
        assert large_begun.wait(PATIENCE_S)
        assert askers.submit(reader.read, b"").result(PATIENCE_S) is PICTURE
        small_was_read.set()
        assert all(asked.result(PATIENCE_S) is PICTURE for asked in large)
    assert reader.read(b"") is PICTURE
