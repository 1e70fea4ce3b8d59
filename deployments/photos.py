"""Photos decoded away from the event loop, a bounded number at once and large ones one by one."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from training.features.images import ImageFault, Picture, open_picture, picture_pixels

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

    def read_all(self, files: Sequence[bytes]) -> list[Picture | ImageFault]:
        """In the order of the files; blocking."""
        return list(self._threads.map(self._read, files))

    def read(self, data: bytes) -> Picture | ImageFault:
        """One file; blocking."""
        return self._threads.submit(self._read, data).result()

    def _read(self, data: bytes) -> Picture | ImageFault:
        try:
            if picture_pixels(data) <= LARGE_PIXELS:
                return open_picture(data)
            with _ONE_LARGE:
                return open_picture(data)
        except ImageFault as fault:
            return fault


def pixels_only(picture_HW3: Picture) -> bytes:
    """The picture as a file that holds nothing else; a small one without loss."""
    image, buffer = Image.fromarray(picture_HW3), io.BytesIO()
    if image.width * image.height <= LOSSLESS_PIXELS:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()
