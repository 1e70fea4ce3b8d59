"""Other views of pictures that are known: what stands for new photos in a shop that has one picture of each article."""

from __future__ import annotations

from torch import Generator

from training.jobs.augmentation import Augmentation
from training.jobs.pictures import Pictures
from training.jobs.vision_config import AugmentationConfig
from training.metrics import Ints
from training.models.embedding_network import Pixels, bytes_of, pixels_of

VIEWS = AugmentationConfig(flip=False, mixup=0.0)


class SeenAgain(Pictures):
    """Each shot in one other view, the same one whenever the same batch is asked for."""

    def batch(self, places_N: Ints) -> tuple[Pixels, Ints]:
        squares, kept_N = super().batch(places_N)
        if not len(kept_N):
            return squares, kept_N
        chance = Generator().manual_seed(int(kept_N[0]))
        return bytes_of(Augmentation(VIEWS)(pixels_of(squares), chance)), kept_N
