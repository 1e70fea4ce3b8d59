"""The stage that learns the detector, on a copy of the embedding's backbone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Generator, Tensor, nn

from training.contracts.errors import InputError, Problem
from training.jobs.augmentation import SceneAugmentation
from training.jobs.detection_judging import scene_detections, scored
from training.jobs.detector_loss import Cells, Truth, detector_loss
from training.jobs.norm_statistics import settled
from training.jobs.scenes import Example, Scenes
from training.jobs.vision_config import VisionConfig
from training.jobs.vision_data import VisionData
from training.jobs.workers import Workers
from training.models.backbone import Backbone, BackboneConfig, build_backbone
from training.models.detector import Detector
from training.models.detector_network import DetectorNetwork, cells_of
from training.models.embedding_network import pixels_of

SETTLING_STEPS = 24
MOST_DRAWS = 10
"""Of one step, until something drawn can be read."""


class DetectorStage:
    """Judged by the mean of recall_iou50 and ap50 on the validation scenes."""

    name = "detector"
    guess, guess_besides = 20, 0.0
    indifference = 0.0
    hurried: Sequence[nn.Parameter] = ()
    hurry = 1.0

    def __init__(
        self, config: VisionConfig, data: VisionData, backbone: Backbone, described: BackboneConfig, workers: Workers
    ) -> None:
        self.config, self.data, self.described, self.workers = config, data, described, workers
        self.settings = config.detector
        self.labels = tuple(sorted({label for scene in data.scenes["train"] for label in scene.labels}))
        own = backbone_like(backbone, described, self.settings.side)
        self.module = DetectorNetwork(own, self.settings.channels, len(self.labels))
        self.scenes = Scenes(
            data.shop.path, data.scenes["train"], data.shots["train"], self.settings.side,
            most_bytes=config.cache_mb << 20,
        )  # fmt: skip
        self.epochs = min(self.settings.epochs, config.epochs or self.settings.epochs)
        self.descent = self.settings.descent
        self.pictures_per_step = self.descent.pictures_per_step
        self.steps_per_epoch = max(1, len(data.scenes["train"]) // (self.pictures_per_step * workers.size))
        self.augmentation = SceneAugmentation(config.augmentation.within(self.epochs))
        centres_A2, sizes_A = cells_of(self.settings.side, own.strides)
        self.cells = Cells(centres_A2=centres_A2.to(workers.device), sizes_A=sizes_A.to(workers.device))

    def losses(self, epoch: int, chance: Generator, rng: np.random.Generator) -> Iterator[Tensor]:
        order_N = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.scenes.scenes))
        each, size = self.pictures_per_step, self.workers.size
        for step in range(self.steps_per_epoch):
            first = (step * size + self.workers.rank) * each
            examples = self._readable(order_N[np.arange(first, first + each) % len(order_N)].tolist(), rng)
            x_BCHW, truths = self._augmented(examples, chance)
            yield detector_loss(self.module(x_BCHW), truths, self.cells)

    def _readable(self, places: Sequence[int], rng: np.random.Generator) -> list[Example]:
        """Examples of the places, or of others where none can be read; raises InputError where hardly any can."""
        for _ in range(MOST_DRAWS):
            if examples := self._examples(places, rng):
                return examples
            places = rng.integers(len(self.scenes.scenes), size=len(places)).tolist()
        raise InputError(
            Problem(table="images", column="boxes", problem="hardly any photo with boxes can be read",
                    found=", ".join(self.scenes.scenes[place].path for place in places[:3]),
                    allowed="photos that are there and can be decoded")
        )  # fmt: skip

    def _examples(self, places: Sequence[int], rng: np.random.Generator) -> list[Example]:
        """Of each place its photo, or in its stead a composed scene."""
        drawn = [
            self.scenes.composed(rng) if rng.random() < self.settings.composed else self.scenes.photo(place)
            for place in places
        ]
        return [example for example in drawn if example is not None]

    def _augmented(self, examples: Sequence[Example], chance: Generator) -> tuple[Tensor, list[Truth]]:
        x_BCHW = pixels_of(np.stack([example.square for example in examples]))
        boxes = [torch.from_numpy(example.boxes_N4) for example in examples]
        x_BCHW, moved, kept = self.augmentation.with_boxes(x_BCHW, boxes, chance)
        device, code = self.workers.device, {label: number for number, label in enumerate(self.labels)}
        truths = []
        for example, boxes_N4, kept_N in zip(examples, moved, kept, strict=True):
            codes_N = torch.tensor([code.get(label, -1) for label in example.labels], dtype=torch.long)
            truths.append(Truth(boxes_G4=boxes_N4[kept_N].to(device), labels_G=codes_N[kept_N].to(device)))
        return x_BCHW.to(device), truths

    def settle(self) -> None:
        chance, rng = Generator().manual_seed(0), np.random.default_rng(0)
        order = rng.permutation(len(self.scenes.scenes)).tolist()
        with settled(self.module), torch.no_grad():
            for first in range(0, min(len(order), SETTLING_STEPS * self.pictures_per_step), self.pictures_per_step):
                examples = self._examples(order[first : first + self.pictures_per_step], rng)
                if examples:
                    self.module(self._augmented(examples, chance)[0])

    def judge(self) -> float:
        scenes = self.data.scenes["validation"]
        metrics = scored(scenes, scene_detections(self.detector(), self.data.shop, scenes))
        return (metrics["recall_iou50"] + metrics["ap50"]) / 2 if metrics else 0.0

    def detector(self) -> Detector:
        return Detector(
            self.module, side=self.settings.side, labels=self.labels, channels=self.settings.channels,
            backbone=self.described,
        )  # fmt: skip


def backbone_like(trained: Backbone, described: BackboneConfig, side: int) -> Backbone:
    """A backbone for squares of `side` that begins with the trained weights, as far as both are built alike."""
    own = build_backbone(described, side)
    weights = own.state_dict()
    alike = {name: tensor for name, tensor in trained.state_dict().items()
             if name in weights and tensor.shape == weights[name].shape}  # fmt: skip
    own.load_state_dict({**weights, **alike})
    return own
