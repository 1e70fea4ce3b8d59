"""Photos decoded away from the event loop, a bounded number at once and large ones one by one."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from PIL import Image

from training.features.images import ImageFault, Picture, open_picture

DECODERS = 2
LARGE_PIXELS = 8_000_000
"""Photos beyond this are decoded one at a time: the largest takes 620 MB."""
_ONE_LARGE = threading.Lock()
"""Of the process, whichever reader or bundle decodes."""
LOSSLESS_PIXELS = 65_536
JPEG_QUALITY = 95


class PhotoReader:
    """Threads of its own; what cannot be read is an ImageFault in its place."""

    def __init__(self, *, threads: int = DECODERS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="photos")
        self._room = threading.Semaphore(threads)

    def read_all(self, files: Sequence[bytes]) -> list[Picture | ImageFault]:
        """In the order of the files; blocking."""
        return list(self._threads.map(self.read, files))

    def read(self, data: bytes) -> Picture | ImageFault:
        """One file, in the caller's thread; blocking until fewer are decoded than there are threads."""
        with self._room:
            try:
                return open_picture(data, turn=self._turn)
            except ImageFault as fault:
                return fault

    @contextmanager
    def _turn(self, pixels: int) -> Iterator[None]:
        """A large photo waits for others without the room that small ones need meanwhile."""
        if pixels <= LARGE_PIXELS:
            yield
            return
        self._room.release()
        with _ONE_LARGE:
            self._room.acquire()
            yield


def pixels_only(picture_HW3: Picture) -> bytes:
    """The picture as a file that holds nothing else; a small one without loss."""
    image, buffer = Image.fromarray(picture_HW3), io.BytesIO()
    if image.width * image.height <= LOSSLESS_PIXELS:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()
