"""The item tower of a bundle without its ids: the vector of an item that nobody has met."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.contracts.atomic import write_json
from training.metrics import Bools, Floats
from training.models.item_content import ItemContent
from training.models.item_reader import ItemReader
from training.models.whitening import Whitening

WEIGHTS_FILE = "content_tower.safetensors"
SETTINGS_FILE = "content_tower.json"
READER, IMAGE = "reader.", "image_"


class ContentTower:
    """Trained weights of an ItemContent, and how items are read for it; one caller at a time.

    A loaded one has no pictures: the items of tomorrow are read by their fields.
    """

    def __init__(self, reader: ItemReader, weights: Mapping[str, Tensor], dim: int) -> None:
        self.reader, self.weights, self.dim = reader, dict(weights), dim

    @classmethod
    def of(cls, content: ItemContent, reader: ItemReader) -> Self:
        return cls(
            reader, {name: weight.detach().cpu() for name, weight in content.state_dict().items()}, content.dim
        )  # fmt: skip

    def vectors(self, items: Sequence[Mapping[str, Any]]) -> tuple[Floats, Bools]:
        """vectors_QD, and of which items there was anything to read."""
        content = ItemContent(
            self.dim, features_IF=self.reader.features(items), text_IT=self.reader.texts(items),
            image_IV=self.reader.images(items), id_dropout=0.0,
        )  # fmt: skip
        content.load_state_dict(self.weights, assign=True)
        with torch.inference_mode():
            vectors_QD: Floats = content.eval().alone(torch.arange(len(items))).numpy()
        return vectors_QD, self.reader.says(items)

    def save(self, folder: Path) -> None:
        reader, arrays = self.reader, dict[str, Tensor]()
        if reader.buckets_F is not None:
            arrays["buckets"] = torch.from_numpy(reader.buckets_F)
        for prefix, whitening in (("", reader.whitening), (IMAGE, reader.image_whitening)):
            if whitening is not None:
                arrays[f"{prefix}mean"] = torch.from_numpy(whitening.mean_E)
                arrays[f"{prefix}directions"] = torch.from_numpy(np.ascontiguousarray(whitening.directions_ET))
        read = {f"{READER}{name}": array for name, array in arrays.items()}
        save_file(
            {**{name: weight.contiguous() for name, weight in self.weights.items()}, **read}, folder / WEIGHTS_FILE
        )
        write_json(folder / SETTINGS_FILE, {"dim": self.dim, "encoder": reader.encoder})

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """None where the bundle has none."""
        if not (folder / SETTINGS_FILE).is_file():
            return None
        settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        arrays = load_file(folder / WEIGHTS_FILE)
        read = {name.removeprefix(READER): arrays.pop(name).numpy() for name in list(arrays) if name.startswith(READER)}
        reader = ItemReader(
            read.get("buckets"), encoder=settings["encoder"],
            whitening=_whitening(read, ""), image_whitening=_whitening(read, IMAGE),
        )  # fmt: skip
        return cls(reader, arrays, settings["dim"])


def _whitening(read: Mapping[str, npt.NDArray[np.float64]], prefix: str) -> Whitening | None:
    if f"{prefix}mean" not in read:
        return None
    return Whitening(read[f"{prefix}mean"], read[f"{prefix}directions"])
