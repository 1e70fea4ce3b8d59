"""A generated shop whose truth is known: `generate`, `draw_images`, `render`, `oracle_metrics`."""

from training.datasets.sample.generate import generate
from training.datasets.sample.images import draw_images
from training.datasets.sample.looks import ItemLook
from training.datasets.sample.oracle import oracle_metrics
from training.datasets.sample.render import render

__all__ = ["ItemLook", "draw_images", "generate", "oracle_metrics", "render"]
