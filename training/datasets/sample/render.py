"""Draws an item's look in any pose, light, background and clutter."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

from training.datasets.sample.looks import ItemLook
from training.datasets.sample.silhouettes import OUTLINES, Point

CANVAS_PX = 128


def render(item: ItemLook, view_seed: int, size_px: int = 96) -> Image.Image:
    """An RGB picture of the item; seed 0 is the shop's own view: frontal, on white, nothing else in it."""
    article = _article(item)
    if view_seed == 0:
        scene = Image.new("RGB", (CANVAS_PX, CANVAS_PX), (255, 255, 255))
        scene.paste(article, (0, 0), article)
        return scene.resize((size_px, size_px), Image.Resampling.BILINEAR)
    rng = np.random.default_rng(np.random.SeedSequence(item.mark_seed, spawn_key=(view_seed,)))
    scene = _background(rng)
    _clutter(scene, rng, count=int(rng.integers(2, 6)))
    posed = _pose(article, rng)
    shift = rng.integers(-16, 17, 2)
    scene.paste(posed, (int(shift[0]), int(shift[1])), posed)
    if rng.random() < 0.3:
        _clutter(scene, rng, count=1)
    return _light(scene.resize((size_px, size_px), Image.Resampling.BILINEAR), rng)


def _article(item: ItemLook) -> Image.Image:
    """The item alone, RGBA, as its look alone decides."""
    rng = np.random.default_rng(item.mark_seed)
    mask = Image.new("L", (CANVAS_PX, CANVAS_PX))
    pen = ImageDraw.Draw(mask)
    stretch = rng.uniform(0.78, 1.0, 2)
    for outline in OUTLINES[item.shape]:
        corners = (np.array(outline) - 0.5) * stretch + 0.5 + rng.uniform(-0.035, 0.035, (len(outline), 2))
        pen.polygon(_pixels(corners), fill=255)
    fabric = Image.new("RGB", (CANVAS_PX, CANVAS_PX), item.base)
    PAINTERS[item.pattern](ImageDraw.Draw(fabric), rng, item.second)
    _marks(ImageDraw.Draw(fabric), rng, item.accent)
    edge = ImageChops.subtract(mask, mask.filter(ImageFilter.MinFilter(3)))
    fabric.paste(tuple(part // 3 for part in item.base), mask=edge)
    fabric.putalpha(mask)
    return fabric


def _pixels(points: np.ndarray) -> list[Point]:
    return [(float(x), float(y)) for x, y in np.asarray(points) * CANVAS_PX]


def _stripes(pen: ImageDraw.ImageDraw, rng: np.random.Generator, colour: tuple[int, ...]) -> None:
    angle, period, width = rng.uniform(0, math.pi), rng.uniform(14, 34), int(rng.integers(3, 9))
    along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    for step in np.arange(-CANVAS_PX, CANVAS_PX, period):
        middle = np.array([CANVAS_PX / 2, CANVAS_PX / 2]) + step * across
        ends = np.concatenate([middle - CANVAS_PX * along, middle + CANVAS_PX * along])
        pen.line([float(value) for value in ends], fill=colour, width=width)


def _dots(pen: ImageDraw.ImageDraw, rng: np.random.Generator, colour: tuple[int, ...]) -> None:
    period, radius, shear = rng.uniform(18, 36), rng.uniform(3, 8), rng.uniform(0, 1)
    for row, y in enumerate(np.arange(0, CANVAS_PX, period)):
        for x in np.arange(-period, CANVAS_PX + period, period):
            left = x + (row * shear % 1) * period
            pen.ellipse((left - radius, y - radius, left + radius, y + radius), fill=colour)


def _checks(pen: ImageDraw.ImageDraw, rng: np.random.Generator, colour: tuple[int, ...]) -> None:
    wide, high = rng.uniform(14, 32, 2)
    for row, y in enumerate(np.arange(0, CANVAS_PX, high)):
        for x in np.arange((row % 2) * wide, CANVAS_PX, 2 * wide):
            pen.rectangle((x, y, x + wide, y + high), fill=colour)


def _waves(pen: ImageDraw.ImageDraw, rng: np.random.Generator, colour: tuple[int, ...]) -> None:
    period, height, length, width = (
        rng.uniform(18, 34),
        rng.uniform(4, 12),
        rng.uniform(20, 60),
        int(rng.integers(3, 7)),
    )
    xs = np.arange(0, CANVAS_PX + 5, 5)
    for y in np.arange(0, CANVAS_PX + period, period):
        ys = y + height * np.sin(2 * np.pi * xs / length)
        pen.line([(float(a), float(b)) for a, b in zip(xs, ys, strict=True)], fill=colour, width=width)


def _triangles(pen: ImageDraw.ImageDraw, rng: np.random.Generator, colour: tuple[int, ...]) -> None:
    period, size = rng.uniform(22, 40), rng.uniform(8, 18)
    turn = rng.uniform(0, 2 * math.pi)
    corners = np.array([(math.cos(turn + a), math.sin(turn + a)) for a in (0, 2.1, 4.2)]) * size
    for y in np.arange(0, CANVAS_PX, period):
        for x in np.arange(0, CANVAS_PX, period):
            pen.polygon([(float(x + a), float(y + b)) for a, b in corners], fill=colour)


def _blocks(pen: ImageDraw.ImageDraw, rng: np.random.Generator, colour: tuple[int, ...]) -> None:
    for x, y, wide, high in rng.uniform((0, 0, 20, 16), (96, 104, 72, 56), (3, 4)):
        pen.rectangle((x, y, x + wide, y + high), fill=colour)


PAINTERS: dict[str, Callable[[ImageDraw.ImageDraw, np.random.Generator, tuple[int, ...]], None]] = {
    "stripes": _stripes, "dots": _dots, "checks": _checks, "waves": _waves, "triangles": _triangles, "blocks": _blocks,
}  # fmt: skip


def _marks(pen: ImageDraw.ImageDraw, rng: np.random.Generator, colour: tuple[int, ...]) -> None:
    """A few accents where only this item has them."""
    for kind, x, y, size in rng.uniform((0, 0.25, 0.2, 8), (3, 0.75, 0.85, 24), (3, 4)):
        left, top = x * CANVAS_PX - size / 2, y * CANVAS_PX - size / 2
        box = (left, top, left + size, top + size)
        if kind < 1:
            pen.ellipse(box, fill=colour)
        elif kind < 2:
            pen.rectangle(box, fill=colour)
        else:
            pen.regular_polygon((left + size / 2, top + size / 2, size * 0.7), 5, fill=colour)


def _background(rng: np.random.Generator) -> Image.Image:
    """A wall and a floor, or a soft gradient."""
    first, second = rng.integers(60, 246, (2, 3))
    if rng.random() < 0.5:
        scene = Image.new("RGB", (CANVAS_PX, CANVAS_PX), tuple(int(part) for part in first))
        floor = int(rng.integers(70, 112))
        ImageDraw.Draw(scene).rectangle((0, floor, CANVAS_PX, CANVAS_PX), fill=tuple(int(part) for part in second))
        return scene
    ramp = np.linspace(0, 1, CANVAS_PX)[:, None, None]
    column = (first * (1 - ramp) + second * ramp).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(column, (CANVAS_PX, CANVAS_PX, 3))))


def _clutter(scene: Image.Image, rng: np.random.Generator, *, count: int) -> None:
    """Things that are not the item, mostly near the rim."""
    pen = ImageDraw.Draw(scene)
    for _ in range(count):
        turn, size = rng.uniform(0, 2 * math.pi), rng.uniform(10, 34)
        x, y = CANVAS_PX / 2 * (1 + 0.9 * math.cos(turn)), CANVAS_PX / 2 * (1 + 0.9 * math.sin(turn))
        colour = tuple(int(part) for part in rng.integers(20, 236, 3))
        draw = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        draw((x - size, y - size, x + size, y + size), fill=colour)


def _pose(article: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Turned, further away, slightly seen from the side."""
    angle, scale, shear = math.radians(rng.uniform(-30, 30)), rng.uniform(0.68, 1.0), rng.uniform(-0.18, 0.18)
    cos, sin, middle = math.cos(angle) / scale, math.sin(angle) / scale, CANVAS_PX / 2
    a, b, d, e = cos, sin + shear * cos, -sin, cos - shear * sin
    offset = (middle - a * middle - b * middle, middle - d * middle - e * middle)
    return article.transform(
        article.size, Image.Transform.AFFINE, (a, b, offset[0], d, e, offset[1]), Image.Resampling.BILINEAR
    )


def _light(scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Brightness, contrast, a warm or cold cast, and at times a shaky hand."""
    scene = ImageEnhance.Brightness(scene).enhance(float(rng.uniform(0.65, 1.25)))
    scene = ImageEnhance.Contrast(scene).enhance(float(rng.uniform(0.8, 1.2)))
    warmth = float(rng.uniform(0.88, 1.12))
    red, green, blue = scene.split()
    scene = Image.merge("RGB", (red.point(lambda v: v * warmth), green, blue.point(lambda v: v / warmth)))
    return scene.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.0)))) if rng.random() < 0.4 else scene
