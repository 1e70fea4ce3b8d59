"""What a file is by its first bytes, and whether it is something else besides; its name is not asked."""

from __future__ import annotations

import io
import re
import zipfile
from typing import NamedTuple

FORMATS = ("JPEG", "PNG", "WEBP")
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x8aMNG", "MNG"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "PSD"),
    (b"<", "text (SVG, HTML or XML)"),
)
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
_BARE_MARKERS = frozenset((0x01, 0xC8, 0xD8, *range(0xF0, 0xFE)))
"""Markers that Pillow reads on right behind, whatever length follows them."""
_PNG_PICTURE = (b"IDAT", b"fdAT", b"fcTL")
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"hevc": "HEIC", b"avif": "AVIF", b"avis": "AVIF"}
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "HTML"),
    (b"<html>", "HTML"),
    (b"<html ", "HTML"),
    (b"<script", "a script"),
    (b"<?php", "PHP"),
    (b"%pdf-1.", "PDF"),
    (b"rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
)
_JPEG_END, _PNG_END = b"\xff\xd9", b"IEND\xaeB`\x82"
_APPENDED: tuple[tuple[bytes, str], ...] = (
    (_JPEG_END + b"\x89PNG\r\n\x1a\n", "PNG"), (_JPEG_END + b"GIF8", "GIF"), (_PNG_END + b"\xff\xd8\xff", "JPEG"),
    (_PNG_END + b"\x89PNG\r\n\x1a\n", "PNG"), (_PNG_END + b"GIF8", "GIF"),
)  # fmt: skip
"""Where a picture ends and one of another kind begins; what phones append to a JPEG are films and further JPEGs."""


def kind_of(data: bytes) -> str | None:
    """The name of the kind whose signature the data begins with; None where it has none that is known."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "a video or HEIC")
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    for signature, name in _STARTS:
        if (start if signature == b"<" else data).startswith(signature):
            return name
    return None


def foreign_content(data: bytes) -> str | None:
    """What else a picture's file can be read as: an archive, a page, a script; None for a picture alone."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        return "a ZIP archive"
    if second := next((name for mark, name in _APPENDED if mark in data), None):
        return f"{second} behind its end"
    lowered = data.lower()
    return next((name for mark, name in _FOREIGN if mark in lowered), None)


class JpegParts(NamedTuple):
    """Of the first image of a JPEG file; `stray` bytes stand before its first scan and in no segment."""

    segments: int = 0
    scans: int = 0
    stray: int = 0

    def exceeds(self, most: JpegParts) -> bool:
        return any(found > allowed for found, allowed in zip(self, most, strict=True))


def jpeg_parts(data: bytes, most: JpegParts) -> tuple[JpegParts, bool]:
    """Counted until one exceeds `most`, and whether the image ends.

    What follows the image (phones put a short film there) is not looked at; restart markers are part of a scan.
    """
    place, parts = 2, JpegParts()
    while not parts.exceeds(most) and (marker := _MARKER.search(data, place)) is not None:
        code, stray = data[marker.start() + 1], 0 if parts.scans else marker.start() - place
        place = marker.end()
        if code == _END_OF_IMAGE:
            return parts, parts.scans > 0
        if code not in _BARE_MARKERS:
            place += max(2, int.from_bytes(data[place : place + 2], "big"))
        scan = code == _START_OF_SCAN
        parts = JpegParts(parts.segments + (not scan), parts.scans + scan, parts.stray + stray)
    return parts, False


class PngParts(NamedTuple):
    """Chunks of a PNG file, and those among them that hold no pixels."""

    chunks: int
    notes: int


def png_parts(data: bytes, most_chunks: int) -> PngParts:
    """Up to its end, at most `most_chunks` + 1 counted."""
    place, chunks, notes = 8, 0, 0
    while chunks <= most_chunks and (kind := data[place + 4 : place + 8]) not in (b"", b"IEND"):
        chunks, notes = chunks + 1, notes + (kind not in _PNG_PICTURE)
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return PngParts(chunks, notes)


def is_cut_off(data: bytes, kind: str) -> bool:
    """Whether the file of a kind other than JPEG lacks its end."""
    if kind == "PNG":
        return b"IEND" not in data
    return len(data) < 8 + int.from_bytes(data[4:8], "little")


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by the header, in any of its three forms; (1, 1) where it has none of them."""
    form, head = data[12:16], data[20:30]
    if len(head) == 10 and form == b"VP8X":
        return 1 + _little(head[4:7]), 1 + _little(head[7:10])
    if len(head) == 10 and form == b"VP8L":
        sides = _little(head[1:5])
        return 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    if len(head) == 10 and form == b"VP8 ":
        return _little(head[6:8]) & 0x3FFF, _little(head[8:10]) & 0x3FFF
    return 1, 1


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
