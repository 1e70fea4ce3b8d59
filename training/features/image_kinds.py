"""What a file is by its first bytes, and whether it is something else besides; its name is not asked."""

from __future__ import annotations

import io
import re
import zipfile

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
_END_OF_IMAGE, _START_OF_SCAN, _BARE_MARKERS = 0xD9, 0xDA, (0x01, 0xD8)
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
    lowered = data.lower()
    return next((name for mark, name in _FOREIGN if mark in lowered), None)


def jpeg_scans(data: bytes, most: int) -> int | None:
    """Scans of the first image of a JPEG file, at most `most` + 1 counted; None where its end is missing.

    What follows the image (phones put a short film there) is not looked at.
    """
    place, scans = 2, 0
    while scans <= most and (marker := _MARKER.search(data, place)) is not None:
        code, place = data[marker.start() + 1], marker.end()
        if code == _END_OF_IMAGE:
            return scans
        if code not in _BARE_MARKERS:
            scans += code == _START_OF_SCAN
            place += max(2, int.from_bytes(data[place : place + 2], "big"))
    return scans if scans > most else None


def is_cut_off(data: bytes, kind: str) -> bool:
    """Whether the file of a kind other than JPEG lacks its end."""
    if kind == "PNG":
        return b"IEND" not in data
    return len(data) < 8 + int.from_bytes(data[4:8], "little")
