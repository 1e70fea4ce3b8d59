"""From a file's bytes to the picture that training, indexing and serving share; hostile files are refused undecoded."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from training.contracts.errors import ShopkeeperError
from training.features.image_kinds import (
    FORMATS,
    JpegParts,
    foreign_content,
    is_cut_off,
    jpeg_parts,
    kind_of,
    png_parts,
    webp_size,
)

MAX_IMAGE_BYTES = 10_000_000
MAX_SIDE = 10_000
MAX_PIXELS = 40_000_000
MAX_FRAMES = 1_000
MOST_OF_JPEG = JpegParts(segments=300, scans=100, stray=100_000)
"""Profiles take up to 255 segments, a progressive picture ten scans; thousands keep a decoder busy for minutes."""
MAX_CHUNKS, MAX_NOTES = 20_000, 300
"""Of a PNG: all chunks, and those that hold no pixels."""
WORKING_SIDE = 640
"""Pictures are worked on with the longer side at least this: enough for crops, and 40 megapixels become 5 MB."""
STRIP_PIXELS = 1_000_000
WHITE = (255, 255, 255)
_TURN = Image.Transpose
UPRIGHT: dict[Any, Image.Transpose] = {
    2: _TURN.FLIP_LEFT_RIGHT, 3: _TURN.ROTATE_180, 4: _TURN.FLIP_TOP_BOTTOM, 5: _TURN.TRANSPOSE, 6: _TURN.ROTATE_270,
    7: _TURN.TRANSVERSE, 8: _TURN.ROTATE_90,
}  # fmt: skip
"""By EXIF's orientation; Pillow's own way writes the other tags anew too, and fails on those of a wrong kind."""

BROKEN_EXIF = (SyntaxError, ValueError, struct.error)
"""What Pillow raises where EXIF is no TIFF, or is cut off; its pixels have been read by then."""

Picture = npt.NDArray[np.uint8]
"""RGB, uint8 [H, W, 3]."""
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1, each from 0 to 1."""
Turn = Callable[[int], AbstractContextManager[object]]
"""Given the pixels of what is to be decoded, waits until it may be."""
FaultKind = Literal["too_large", "not_an_image", "unreadable"]


class ImageFault(ShopkeeperError):
    """Why a file is no picture that we take."""

    def __init__(self, kind: FaultKind, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind, self.reason = kind, reason

    def __str__(self) -> str:
        return self.reason


def check_kind(data: bytes) -> None:
    """Raise ImageFault for what size and first bytes rule out; cheap enough for an event loop."""
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageFault("too_large", f"{len(data):,} bytes; at most {MAX_IMAGE_BYTES:,}")
    if not data:
        raise ImageFault("not_an_image", "the file is empty")
    kind = kind_of(data)
    if kind not in FORMATS:
        raise ImageFault("not_an_image", f"{_is(kind)}; send JPEG, PNG or WEBP")


def open_picture(data: bytes, *, least_side: int | None = WORKING_SIDE, turn: Turn = nullcontext) -> Picture:
    """The first frame, upright, in RGB on white; raises ImageFault, before anything is decoded where the file says so.

    It is shrunk by a whole factor while its longer side stays at least `least_side` (None: as it is). Pictures opened
    with another `least_side` give other vectors. It is decoded within `turn` of its pixels by the header.
    """
    check_kind(data)
    _check_container(data)
    with _opened(data, turn) as image:
        rgb = _decoded(image, least_side)
        upright = _upright(image)
        return np.array(rgb if upright is None else rgb.transpose(upright))


def _upright(image: Image.Image) -> Image.Transpose | None:
    """How a decoded picture is turned; not at all where its EXIF is broken, which says nothing of its pixels."""
    try:
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    except BROKEN_EXIF:
        return None


def crop(picture_HW3: Picture, box: Box) -> Picture:
    """What the box holds, at least one pixel; uint8 [h, w, 3]."""
    height, width = picture_HW3.shape[:2]
    left, right = _span(box[0], box[2], width)
    top, bottom = _span(box[1], box[3], height)
    return picture_HW3[top:bottom, left:right]


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    first = min(max(int(np.floor(low * length)), 0), length - 1)
    return first, min(max(int(np.ceil(high * length)), first + 1), length)


@contextmanager
def _opened(data: bytes, turn: Turn) -> Iterator[Image.Image]:
    """The image within the caps, not decoded yet; whatever goes wrong before it is closed becomes an ImageFault.

    Its turn comes before it takes memory: WEBP takes it all when it is opened, others when they are decoded.
    """
    try:
        with ExitStack() as waiting:
            if webp := kind_of(data) == "WEBP":
                width, height = webp_size(data)
                waiting.enter_context(turn(width * height))
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_header(image)
                if not webp:
                    waiting.enter_context(turn(image.width * image.height))
                yield image
    except ImageFault:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageFault("too_large", f"more than {MAX_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise ImageFault("unreadable", "cannot be decoded: its header is broken") from None
    except Exception as error:
        # Decoders fail in many ways on broken data; whichever it was, the file cannot be read.
        raise ImageFault("unreadable", f"cannot be decoded: {error}") from error


def _is(kind: str | None) -> str:
    return "not a kind of file that is known here" if kind is None else f"this is {kind}"


def _check_container(data: bytes) -> None:
    kind = str(kind_of(data))
    if foreign := foreign_content(data):
        raise ImageFault("not_an_image", f"this {kind} is also {foreign}; send the picture alone")
    if kind == "JPEG":
        _check_jpeg(data)
    elif is_cut_off(data, kind):
        raise _cut_off(kind)
    elif kind == "PNG":
        _check_png(data)
    elif kind == "WEBP":
        _check_size(*webp_size(data))


def _check_jpeg(data: bytes) -> None:
    parts, ended = jpeg_parts(data, MOST_OF_JPEG)
    if parts.exceeds(MOST_OF_JPEG):
        allowed = ", ".join(f"{most:,} {name}" for name, most in MOST_OF_JPEG._asdict().items())
        raise ImageFault("too_large", f"a JPEG of too many parts; at most {allowed} bytes before the first scan")
    if not ended:
        raise _cut_off("JPEG")


def _check_png(data: bytes) -> None:
    parts = png_parts(data, MAX_CHUNKS)
    if parts.chunks > MAX_CHUNKS:
        raise ImageFault("too_large", f"a PNG of more than {MAX_CHUNKS:,} chunks")
    if parts.notes > MAX_NOTES:
        raise ImageFault("too_large", f"a PNG of {parts.notes:,} chunks without pixels; at most {MAX_NOTES}")


def _cut_off(kind: str) -> ImageFault:
    return ImageFault("unreadable", f"this {kind} is damaged or cut off: its end is missing")


def _check_header(image: Image.Image) -> None:
    _check_size(*image.size)
    if (frames := getattr(image, "n_frames", 1)) > MAX_FRAMES:
        raise ImageFault("too_large", f"{frames:,} frames; at most {MAX_FRAMES:,}")


def _check_size(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise ImageFault("too_large", f"{width:,} x {height:,} pixels; at most {MAX_SIDE:,} a side")
    if width * height > MAX_PIXELS:
        raise ImageFault("too_large", f"{width:,} x {height:,} pixels; at most {MAX_PIXELS:,} together")


def _decoded(image: Image.Image, least_side: int | None) -> Image.Image:
    """In RGB, shrunk strip by strip, so that the whole picture is in memory only once and as its file has it."""
    if least_side is not None and (factor := max(image.size) // least_side) > 1:
        image.draft(None, (max(1, image.width // factor), max(1, image.height // factor)))
    image.load()
    factor = 1 if least_side is None else max(1, max(image.size) // least_side)
    width, height = image.size
    rows = factor * max(1, STRIP_PIXELS // (width * factor))
    if rows >= height:
        return _shrunk(_on_white(image), factor)
    rgb = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        rgb.paste(_shrunk(_on_white(strip), factor), (0, top // factor))
    return rgb


def _shrunk(image: Image.Image, factor: int) -> Image.Image:
    return image if factor == 1 else image.reduce(factor)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    layered = image.convert("RGBA")
    flat = Image.new("RGB", image.size, WHITE)
    flat.paste(layered, mask=layered.getchannel("A"))
    return flat
