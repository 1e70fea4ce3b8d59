"""Arrays and settings of a member on disk: safetensors and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

ARRAYS_FILE, SETTINGS_FILE = "weights.safetensors", "settings.json"


def write_member(folder: Path, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, folder / ARRAYS_FILE)
    (folder / SETTINGS_FILE).write_text(json.dumps(dict(settings)), encoding="utf-8")


def read_member(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    return load_file(folder / ARRAYS_FILE), json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
