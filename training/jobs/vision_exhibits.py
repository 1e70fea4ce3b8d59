"""Pictures for the report: queries beside their neighbours, hits apart from misses, and detections drawn."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from training.features.images import Picture
from training.jobs.job import Exhibit
from training.jobs.pictures import Pictures
from training.jobs.vision_judging import Embedded
from training.metrics import Ints, top_k
from training.models.detection import Detection

SHOWN, NEIGHBOURS, TILE, FRAME = 8, 6, 96, 4
RIGHT, WRONG, ASKED = (40, 160, 70), (200, 40, 40), (90, 90, 90)
CONFIDENT = 0.2


def neighbours_shown(queries: Embedded, gallery: Embedded, pictures: Pictures) -> list[Exhibit]:
    """The first hits and the first misses, each query with its nearest pictures; green: the same label."""
    some = np.random.default_rng(0).permutation(len(queries.shots))[:500]
    if not len(some) or not len(gallery.shots):
        return []
    near_QK = top_k(queries.vectors_ND[some] @ gallery.vectors_ND.T, NEIGHBOURS)
    hit_Q = np.array([gallery.shots[near].label == queries.shots[row].label
                      for row, near in zip(some.tolist(), near_QK[:, 0].tolist(), strict=True)])  # fmt: skip
    exhibits = []
    for title, rows in (("Hits", np.flatnonzero(hit_Q)), ("Misses", np.flatnonzero(~hit_Q))):
        lines = [_line(queries, gallery, pictures, int(some[row]), near_QK[row]) for row in rows[:SHOWN]]
        if lines:
            exhibits.append(exhibit(f"{title}: query (left) and its nearest pictures", _stacked(lines)))
    return exhibits


def detections_shown(photos: Sequence[tuple[Picture, Sequence[Detection]]]) -> list[Exhibit]:
    """Photos with the boxes that were found in them."""
    drawn = [_drawn(picture, found) for picture, found in photos]
    return [exhibit("Detections", _beside(drawn))] if drawn else []


def exhibit(title: str, image: Image.Image) -> Exhibit:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return Exhibit(title=title, jpeg_base64=base64.b64encode(buffer.getvalue()).decode())


def _line(queries: Embedded, gallery: Embedded, pictures: Pictures, row: int, near_K: Ints) -> Image.Image:
    asked = queries.shots[row]
    tiles = [_framed(pictures.cache.square(asked), ASKED)]
    for near in near_K.tolist():
        shot = gallery.shots[near]
        tiles.append(_framed(pictures.cache.square(shot), RIGHT if shot.label == asked.label else WRONG))
    return _beside(tiles)


def _framed(square: Picture | None, colour: tuple[int, int, int]) -> Image.Image:
    assert square is not None, "it was read before"
    framed = Image.new("RGB", (TILE + 2 * FRAME, TILE + 2 * FRAME), colour)
    framed.paste(Image.fromarray(square).resize((TILE, TILE)), (FRAME, FRAME))
    return framed


def _drawn(picture: Picture, found: Sequence[Detection]) -> Image.Image:
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for one in found:
        if one.score >= CONFIDENT:
            x0, y0, x1, y1 = one.box
            corners = (x0 * image.width, y0 * image.height, x1 * image.width - 1, y1 * image.height - 1)
            pen.rectangle(corners, outline=RIGHT, width=2)
            pen.text((corners[0] + 3, corners[1] + 2), f"{one.label or ''} {one.score:.2f}", fill=WRONG)
    image.thumbnail((3 * TILE, 4 * TILE))
    return image


def _beside(images: Sequence[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (sum(image.width for image in images), max(image.height for image in images)), "white")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width
    return whole


def _stacked(images: Sequence[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (max(image.width for image in images), sum(image.height for image in images)), "white")
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    return whole
