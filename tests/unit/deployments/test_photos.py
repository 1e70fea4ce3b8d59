"""Large photos are decoded one at a time in a process, whichever reader is asked."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from deployments import photos
from deployments.photos import PhotoReader
from training.features.images import Picture


@pytest.mark.parametrize(("pixels", "at_once"), [(photos.LARGE_PIXELS, 2), (photos.LARGE_PIXELS + 1, 1)])
def test_readers_share_the_place_for_a_large_photo(monkeypatch: pytest.MonkeyPatch, pixels: int, at_once: int) -> None:
    decoding, most, counting = 0, 0, threading.Lock()

    def decode(data: bytes) -> Picture:
        nonlocal decoding, most
        with counting:
            decoding += 1
            most = max(most, decoding)
        time.sleep(0.2)
        with counting:
            decoding -= 1
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr(photos, "picture_pixels", lambda _: pixels)
    monkeypatch.setattr(photos, "open_picture", decode)
    with ThreadPoolExecutor(2) as askers:
        list(askers.map(lambda reader: reader.read(b""), [PhotoReader(threads=1), PhotoReader(threads=1)]))
    assert most == at_once
