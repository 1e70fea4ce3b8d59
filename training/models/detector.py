"""The detector of a bundle: from a photo to the articles in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from training.features.images import Picture
from training.metrics import Floats
from training.models.backbone import BackboneConfig, build_backbone
from training.models.detection import Detection, distinct, voted
from training.models.detector_network import DetectorNetwork
from training.models.embedding_network import pixels_of
from training.models.precision import fast_dtype
from training.models.squares import squared

WEIGHTS_FILE = "detector.safetensors"
LARGEST_OVERLAP = 0.5
CANDIDATES = 300
TOGETHER = 16
"""Photos in one pass: more only take more memory."""


class Detector:
    """A network with the side of the squares that it sees and the names of its labels."""

    def __init__(
        self, network: DetectorNetwork, *, side: int, labels: Sequence[str], channels: int, backbone: BackboneConfig
    ) -> None:
        self.network, self.side, self.labels = network.to(memory_format=torch.channels_last), side, list(labels)
        self.channels, self.backbone = channels, backbone

    def detect(self, pictures: Sequence[Picture], most: int) -> list[list[Detection]]:
        """Of each picture at most `most` articles, best first; whatever else is asked beside it."""
        found: list[list[Detection]] = []
        for first in range(0, len(pictures), TOGETHER):
            some = pictures[first : first + TOGETHER]
            found += [
                self._articles(picture, scores_A, boxes_A4, labels_AL, most)
                for picture, scores_A, boxes_A4, labels_AL in zip(some, *self._seen(some), strict=True)
            ]
        return found

    @torch.inference_mode()
    def _seen(self, pictures: Sequence[Picture]) -> tuple[Floats, Floats, Floats]:
        """scores_BA, boxes_BA4 and labels_BAL of all cells."""
        device, dtype = self.network.reach.device, fast_dtype(self.network.reach.device)
        x_BCHW = pixels_of(np.stack([squared(picture, self.side) for picture in pictures])).to(device)
        self.network.eval()
        with torch.autocast(device.type, dtype, enabled=dtype == torch.bfloat16):
            scores_BA, boxes_BA4, labels_BAL = self.network(x_BCHW)
        return scores_BA.cpu().numpy(), boxes_BA4.cpu().numpy(), labels_BAL.cpu().numpy()

    def _articles(
        self, picture: Picture, scores_A: Floats, boxes_A4: Floats, labels_AL: Floats, most: int
    ) -> list[Detection]:
        boxes_A4 = within_picture(boxes_A4, picture.shape[0], picture.shape[1], self.side)
        best_C = np.argsort(-scores_A, kind="stable")[:CANDIDATES]
        boxes_C4 = boxes_A4[best_C]
        shares_C: Floats = (1 / (1 + np.exp(-scores_A[best_C]))).astype(np.float32)
        kept_K = distinct(boxes_C4, shares_C, most=most, overlap=LARGEST_OVERLAP)
        boxes_K4, shares_K = voted(boxes_C4, shares_C, kept_K), shares_C[kept_K]
        codes_K = labels_AL[best_C[kept_K]].argmax(axis=1)
        names = [self.labels[code] if self.labels else None for code in codes_K]
        return [
            Detection(box=(x0, y0, x1, y1), label=name or None, score=score)
            for (x0, y0, x1, y1), name, score in zip(boxes_K4.tolist(), names, shares_K.tolist(), strict=True)
            if x0 < x1 and y0 < y1
        ]

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the weights into `folder`; returns what `load` must be told besides."""
        save_file({name: tensor.contiguous() for name, tensor in self.network.state_dict().items()},
                  folder / WEIGHTS_FILE)  # fmt: skip
        return {
            "side": self.side, "labels": self.labels, "channels": self.channels,
            "backbone": self.backbone.model_dump(mode="json"),
        }  # fmt: skip

    @classmethod
    def load(cls, folder: Path, described: dict[str, Any]) -> Self:
        backbone, side = BackboneConfig.model_validate(described["backbone"]), described["side"]
        labels, channels = described["labels"], described["channels"]
        network = DetectorNetwork(build_backbone(backbone, side), channels, len(labels))
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
        return cls(network, side=side, labels=labels, channels=channels, backbone=backbone)


def within_picture(boxes_A4: Floats, height: int, width: int, side: int) -> Floats:
    """From shares of the square around a picture to shares of the picture, cut off at its edge."""
    low_2, inner_2 = margins(height, width, side)
    low_4, inner_4 = np.tile(low_2, 2), np.tile(inner_2, 2)
    return np.clip((boxes_A4 * side - low_4) / inner_4, 0.0, 1.0).astype(np.float32)


def around_picture(boxes_N4: Floats, height: int, width: int, side: int) -> Floats:
    """The other way round."""
    low_2, inner_2 = margins(height, width, side)
    return ((boxes_N4 * np.tile(inner_2, 2) + np.tile(low_2, 2)) / side).astype(np.float32)


def margins(height: int, width: int, side: int) -> tuple[Floats, Floats]:
    """Left and upper margin, and width and height, of a picture within its square, as `squared` puts it."""
    scale = side / max(height, width)
    inner = [max(1, round(width * scale)), max(1, round(height * scale))]
    return np.array([(side - length) // 2 for length in inner], np.float32), np.array(inner, np.float32)
