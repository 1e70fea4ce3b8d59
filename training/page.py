"""The pieces of a self-contained HTML page: one style, figures as embedded SVG, no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from training.contracts.atomic import write_bytes

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .8rem;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child{text-align:left}tr.own{font-weight:600;background:#f3f7ff}img{max-width:100%}
pre{background:#f6f6f6;padding:1rem;overflow:auto}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}
tr.own{background:#1b2740}pre{background:#222}th,td{border-color:#444}}
"""


def write_page(path: Path, title: str, parts: Iterable[str]) -> Path:
    """Write the page; it needs no other file."""
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{STYLE}</style>"
    write_bytes(path, (head + "\n".join(parts) + "</html>\n").encode())
    return path


def image(alt: str, picture: bytes) -> str:
    """An SVG picture within the page."""
    return f'<img alt="{escape(alt)}" src="data:image/svg+xml;base64,{base64.b64encode(picture).decode()}">'


def draw(panels: int) -> tuple[Any, Any]:
    """A figure that no screen is needed for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(1, panels, place + 1) for place in range(panels)]


def svg(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
