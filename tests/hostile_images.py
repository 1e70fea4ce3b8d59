"""Forty files and more that are no pictures we take: bombs, torsos, masquerades. Each with the kind of its refusal."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
from PIL import Image

from training.features.images import FaultKind

PNG_START = b"\x89PNG\r\n\x1a\n"
Corpus = dict[str, tuple[bytes, FaultKind]]


def photo(side: int = 64, *, seed: int = 0) -> Image.Image:
    """Smooth colours, so that no format makes them very large."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BILINEAR)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def segment(marker: int, body: bytes = b"") -> bytes:
    """One segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def png(width: int, height: int, *extra: bytes, pixels: bytes | None = None) -> bytes:
    """A grey PNG of that size; without `pixels` its data are zeros, many to a byte."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    data = zlib.compress(bytes((width + 1) * min(height, 4000))) if pixels is None else pixels
    return PNG_START + header + b"".join(extra) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def hostile_files() -> Corpus:
    """By name."""
    return {**_not_images(), **_too_large(), **_too_many_parts(), **_broken(), **_polyglots()}


def _not_images() -> Corpus:
    gif, bmp, tiff = (encoded(photo(), kind) for kind in ("GIF", "BMP", "TIFF"))
    svg = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    files = {
        "zero-bytes.jpg": b"",
        "nothing-but-zeros.png": bytes(10_000),
        "text-named-photo.jpg": b"this is not a photo",
        "page.jpg": b"<html><body>hello</body></html>",
        "script.png": b"#!/bin/sh\nrm -rf /\n",
        "animation.gif": gif,
        "bitmap.bmp": bmp,
        "scan.tiff": tiff,
        "drawing.svg": svg,
        "paper.pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj",
        "phone.heic": struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic",
        "phone.avif": struct.pack(">I", 24) + b"ftypavif" + bytes(4) + b"mif1avif",
        "film.mp4": struct.pack(">I", 24) + b"ftypisom" + bytes(4) + b"isomavc1",
        "archive.jpg": _archive(),
        "program.png": b"\x7fELF" + bytes(200),
        "sound.webp": b"RIFF" + struct.pack("<I", 100) + b"WAVE" + bytes(100),
    }
    return {name: (data, "not_an_image") for name, data in files.items()}


def _too_large() -> Corpus:
    jpeg = encoded(photo())
    frames = chunk(b"acTL", struct.pack(">II", 10_000, 0))
    wide = jpeg.find(b"\xff\xc0") + 5
    hundred = jpeg[:wide] + struct.pack(">HH", 9_999, 9_999) + jpeg[wide + 4 :]
    sixty_thousand = jpeg[:wide] + struct.pack(">HH", 65_000, 65_000) + jpeg[wide + 4 :]
    scans = encoded(photo(), progressive=True)
    files = {
        "eleven-megabytes.jpg": jpeg + bytes(11_000_000),
        "hundred-megapixels.jpg": hundred,
        "four-gigapixels.jpg": sixty_thousand,
        "hundred-megapixels.png": png(10_000, 10_000),
        "two-gigapixels-a-side.png": png(2**31 - 1, 2**31 - 1, pixels=b""),
        "long-strip.png": png(10_001, 1),
        "fifty-megapixels.webp": _webp_canvas(9_000, 6_000),
        "sixteen-million-a-side.webp": _webp_canvas(2**24, 2**24),
        "ten-thousand-frames.png": png(8, 8, frames),
        "thousands-of-scans.jpg": scans[:-2] + scans[scans.rfind(b"\xff\xda") : -2] * 5_000 + scans[-2:],
    }
    return {name: (data, "too_large") for name, data in files.items()}


def _too_many_parts() -> Corpus:
    """Small parts by the hundred thousand, which decoders walk one by one or join again and again."""
    start, rest = (jpeg := encoded(photo()))[:2], jpeg[2:]
    exif = segment(0xE1, b"Exif\0\0x")
    profile = chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(1_000_000)))
    files = {
        "exif-by-the-piece.jpg": start + exif * 400_000 + rest,
        "exif-in-a-reserved-segment.jpg": start + segment(0xF0, exif * 5_900) * 60 + rest,
        "comments.jpg": start + segment(0xFE) * 1_000_000 + rest,
        "starts.jpg": start * 2_000_000 + rest,
        "restarts-before-the-scan.jpg": start + b"\xff\xd0" * 2_000_000 + rest,
        "padding.jpg": start + b"\xff" * 4_000_000 + rest,
        "comments-between-scans.jpg": jpeg[:-2] + segment(0xFE) * 1_000_000 + jpeg[-2:],
        "profiles.png": png(8, 8, profile * 1_000),
        "notes.png": png(8, 8, chunk(b"tEXt", b"a\0b") * 15_000),
        "empty-chunks.png": png(8, 8)[:-12] + chunk(b"IDAT", b"") * 300_000 + png(8, 8)[-12:],
    }
    return {name: (data, "too_large") for name, data in files.items()}


def _broken() -> Corpus:
    jpeg, whole, webp = encoded(photo(256)), encoded(photo(256), "PNG"), encoded(photo(256), "WEBP")
    bomb = zlib.compress(bytes(100_000_000))
    middle = whole.find(b"IDAT") + 30
    files = {
        "only-the-first-bytes.jpg": jpeg[:3],
        "half.jpg": jpeg[: len(jpeg) // 2],
        "without-its-end.jpg": jpeg[:-2],
        "end-before-the-picture.jpg": jpeg[:2] + jpeg[-2:] + segment(0xE1, b"Exif\0\0x") * 400_000 + jpeg[2:],
        "only-the-signature.png": whole[:8],
        "half.png": whole[: len(whole) // 2],
        "without-its-end.png": whole[:-12],
        "half.webp": webp[: len(webp) // 2],
        "only-the-signature.webp": webp[:12],
        "flipped-bytes.png": whole[:middle] + b"\xff" * 20 + whole[middle + 20 :],
        "noise.webp": webp[:30] + np.random.default_rng(1).bytes(len(webp) - 30),
        "huge-text.png": png(8, 8, chunk(b"zTXt", b"note\x00\x00" + bomb)),
        "huge-profile.png": png(8, 8, chunk(b"iCCP", b"icc\x00\x00" + bomb)),
        "no-pixels.png": png(64, 64, pixels=b""),
        "no-width.png": png(0, 64),
    }
    return {name: (data, "unreadable") for name, data in files.items()}


def _polyglots() -> Corpus:
    files = {
        "photo-and-archive.jpg": encoded(photo()) + _archive(),
        "photo-and-page.png": encoded(photo(), "PNG") + b"<!DOCTYPE html><html><script>alert(1)</script></html>",
        "page-in-a-comment.jpg": encoded(photo(), comment=b"<script>alert(1)</script>"),
        "photo-and-paper.webp": encoded(photo(), "WEBP") + b"%PDF-1.7\n",
    }
    return {name: (data, "not_an_image") for name, data in files.items()}


def _archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("payload.js", "alert(1)")
    return buffer.getvalue()


def _webp_canvas(width: int, height: int) -> bytes:
    """The header of an extended WEBP with a small picture in it."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sides + encoded(photo(), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body
