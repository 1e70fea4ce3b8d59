"""Ray Data without its own remarks: progress is told by the command that asked."""

from __future__ import annotations

import logging

import ray.data


def quiet_ray_data() -> None:
    """In this process, errors aside."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
