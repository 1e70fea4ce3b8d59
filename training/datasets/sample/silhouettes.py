"""Silhouettes of the sample shop's goods, as the corners of polygons in a unit square."""

from __future__ import annotations

import math

Point = tuple[float, float]
Outline = tuple[Point, ...]


def _box(left: float, top: float, right: float, bottom: float) -> Outline:
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _circle(corners: int = 18) -> Outline:
    turns = [2 * math.pi * corner / corners for corner in range(corners)]
    return tuple((0.5 + 0.44 * math.cos(turn), 0.5 + 0.44 * math.sin(turn)) for turn in turns)


OUTLINES: dict[str, tuple[Outline, ...]] = {
    "chair": (
        _box(0.3, 0.05, 0.7, 0.5),
        _box(0.2, 0.5, 0.8, 0.66),
        _box(0.45, 0.64, 0.55, 0.9),
        ((0.25, 0.88), (0.75, 0.88), (0.8, 0.96), (0.2, 0.96)),
    ),
    "table": (_box(0.04, 0.35, 0.96, 0.55), _box(0.1, 0.54, 0.2, 0.85), _box(0.8, 0.54, 0.9, 0.85)),
    "lamp": (
        ((0.32, 0.08), (0.68, 0.08), (0.85, 0.5), (0.15, 0.5)),
        _box(0.45, 0.48, 0.55, 0.87),
        ((0.3, 0.85), (0.7, 0.85), (0.75, 0.95), (0.25, 0.95)),
    ),
    "box": (_box(0.12, 0.2, 0.88, 0.85),),
    "garment": (
        (
            (0.35, 0.08), (0.65, 0.08), (0.95, 0.3), (0.84, 0.45), (0.72, 0.36), (0.75, 0.95), (0.25, 0.95),
            (0.28, 0.36), (0.16, 0.45), (0.05, 0.3),
        ),
    ),
    "bottle": (
        (
            (0.42, 0.04), (0.58, 0.04), (0.58, 0.22), (0.7, 0.34), (0.7, 0.96), (0.3, 0.96), (0.3, 0.34), (0.42, 0.22),
        ),
    ),
    "pan": (
        ((0.05, 0.42), (0.62, 0.42), (0.58, 0.82), (0.1, 0.82)),
        ((0.6, 0.44), (0.97, 0.38), (0.97, 0.48), (0.6, 0.55)),
    ),
    "bag": (((0.25, 0.12), (0.75, 0.12), (0.82, 0.3), (0.85, 0.95), (0.15, 0.95), (0.18, 0.3)),),
    "round": (_circle(),),
    "shoe": (
        ((0.05, 0.35), (0.32, 0.3), (0.5, 0.5), (0.88, 0.6), (0.96, 0.78), (0.05, 0.78)),
        _box(0.04, 0.76, 0.97, 0.86),
    ),
    "tool": (_box(0.43, 0.3, 0.57, 0.97), ((0.25, 0.04), (0.75, 0.04), (0.7, 0.32), (0.3, 0.32))),
}  # fmt: skip
