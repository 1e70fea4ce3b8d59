"""The stage that learns the embedding: views of pictures against the proxies of their labels and each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Generator, Tensor, nn

from training.jobs.augmentation import Augmentation
from training.jobs.compositions import chosen, composed
from training.jobs.cutouts import Opacities
from training.jobs.metric_heads import MetricHead, view_contrast
from training.jobs.norm_statistics import settled
from training.jobs.pictures import Pictures
from training.jobs.retrieval_metrics import retrieval_metrics
from training.jobs.seen_again import SeenAgain
from training.jobs.vision_config import VisionConfig
from training.jobs.workers import Workers
from training.metrics import Floats, Ints
from training.models.backbone import build_backbone
from training.models.embedding_network import EmbeddingNetwork, Pixels, pixels_of
from training.models.label_proxies import LabelProxies
from training.models.precision import in_float32

SETTLING_STEPS = 24
PROXY_HURRY = 4.0
"""Proxies of labels with few pictures learn so much faster: each is met but a few times an epoch. Movshovitz-Attias et
al., ICCV 2017."""
SEEN_AGAIN_ALIKE = 0.01
"""Nearly all of what was learnt from is found again, and which epoch misses one picture more says nothing."""
FEWEST_STEPS = 25
"""Of an epoch, which goes over a small shop's pictures several times."""


class EmbeddingStage:
    """Trains on `train`; judged by recall@1 of `validation` looked up among part of `train`.

    Of many pictures with one view the last epochs see them as they are looked up later: more of the gallery's then lie
    with their label.
    """

    name = "embedding"

    def __init__(
        self,
        config: VisionConfig,
        train: Pictures,
        validation: Pictures,
        labels: Sequence[str],
        *,
        views: int,
        workers: Workers,
    ) -> None:
        self.config, self.train, self.validation, self.workers = config, train, validation, workers
        code = {label: number for number, label in enumerate(labels)}
        self.codes_N = np.array([code[shot.label] for shot in train.shots], np.int64)
        self.validation_codes_V = np.array([code.get(shot.label, -1) for shot in validation.shots], np.int64)
        self.labels, self.guess, self.views = list(labels), len(labels), views
        self.network = EmbeddingNetwork(build_backbone(config.backbone, train.side), config.dim)
        self.head = MetricHead(len(labels), config)
        self.module = nn.ModuleDict({"network": self.network, "head": self.head})
        self.indifference = SEEN_AGAIN_ALIKE if isinstance(validation, SeenAgain) else 0.0
        self.hurried: Sequence[nn.Parameter] = [self.head.proxies_LD] if views > 1 else []
        self.hurry = PROXY_HURRY
        self.epochs, self.descent = config.epochs_for(len(train)), config.descent(len(train), views)
        varied = config.augmentation.within(self.epochs, views, len(train))
        self.varied_epochs = self.epochs - round((varied.plain_finish or 0) * self.epochs)
        self.varied, self.plain = Augmentation(varied), Augmentation(varied.plain)
        self.augmentation = self.varied
        self.opacities = Opacities(train.side, most_bytes=config.cache_mb * 1_000_000 // 3)
        self.pictures_per_step = min(self.descent.pictures_per_step, max(2, len(train) // workers.size))
        self.guess_besides = config.contrast * math.log(views * self.pictures_per_step) if views > 1 else 0.0
        self.steps_per_epoch = max(FEWEST_STEPS, len(train) // (self.pictures_per_step * workers.size))

    def losses(self, epoch: int, chance: Generator, rng: np.random.Generator) -> Iterator[Tensor]:
        self.augmentation = self.varied if epoch <= self.varied_epochs else self.plain
        for places_B in self._own_steps(epoch):
            squares, kept_B = self.train.readable(places_B)
            targets_B = torch.from_numpy(self.codes_N[kept_B]).to(self.workers.device)
            yield self._loss(squares, kept_B, targets_B, chance, rng)

    def _own_steps(self, epoch: int) -> Iterator[Ints]:
        """The same order on every worker, of which each takes its part."""
        order_N = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.train))
        size, each = self.workers.size, self.pictures_per_step
        for step in range(self.steps_per_epoch):
            first = (step * size + self.workers.rank) * each
            yield order_N[np.arange(first, first + each) % len(order_N)]

    def _loss(
        self, squares: Pixels, places_B: Ints, targets_B: Tensor, chance: Generator, rng: np.random.Generator
    ) -> Tensor:
        if self.views > 1:
            targets_N = targets_B.repeat(self.views)
            e_ND = self.network(torch.cat(self._seen(squares, places_B, self.views, chance))).float()
            with in_float32(e_ND.device):
                return self.head(e_ND, targets_N) + self.config.contrast * view_contrast(e_ND, targets_N)
        share = float(rng.beta(self.augmentation.config.mixup, self.augmentation.config.mixup)) if self._mixes else 1.0
        (seen_BCHW,) = self._seen(squares, places_B, 1, chance)
        partner_B = torch.randperm(len(targets_B), generator=chance).to(targets_B.device)
        mixed_BCHW = seen_BCHW if share == 1.0 else seen_BCHW.lerp(seen_BCHW[partner_B], 1 - share)
        e_BD = self.network(mixed_BCHW).float()
        with in_float32(e_BD.device):
            loss: Tensor = share * self.head(e_BD, targets_B)
            return loss if share == 1.0 else loss + (1 - share) * self.head(e_BD, targets_B[partner_B])

    def _seen(self, squares: Pixels, places_B: Ints, views: int, chance: Generator) -> list[Tensor]:
        """Views of each picture; a share of those of articles that can be cut out are composed."""
        x_BCHW, share = pixels_of(squares).to(self.workers.device), self.augmentation.config.composed
        if not share:
            return [self.augmentation(x_BCHW, chance) for _ in range(views)]
        opacity_B1HW = torch.from_numpy(self.opacities.of(squares, places_B))[:, None].to(x_BCHW)
        cut_B = opacity_B1HW.amax(dim=(1, 2, 3)).cpu() > 0
        return [
            self._composed(x_BCHW, opacity_B1HW, cut_B & chosen(len(cut_B), share, chance), chance)
            for _ in range(views)
        ]

    def _composed(self, x_BCHW: Tensor, opacity_B1HW: Tensor, chosen_B: Tensor, chance: Generator) -> Tensor:
        """Views as usual, but composed ones where chosen."""
        seen_BCHW = torch.empty_like(x_BCHW)
        if chosen_B.any():
            scenes_PCHW = composed(x_BCHW[chosen_B], opacity_B1HW[chosen_B], chance)
            seen_BCHW[chosen_B] = self.augmentation.lit(scenes_PCHW, chance)
        if not chosen_B.all():
            seen_BCHW[~chosen_B] = self.augmentation(x_BCHW[~chosen_B], chance)
        return seen_BCHW

    @property
    def _mixes(self) -> bool:
        return self.augmentation.config.mixup > 0

    def settle(self) -> None:
        chance = Generator().manual_seed(0)
        with settled(self.module), torch.no_grad():
            for places_B in self._settling_steps():
                squares, kept_B = self.train.batch(places_B)
                if len(kept_B) > 1:
                    self.network(self._seen(squares, kept_B, 1, chance)[0])

    def _settling_steps(self) -> list[Ints]:
        order_N = np.random.default_rng(0).permutation(len(self.train))
        steps = min(SETTLING_STEPS, math.ceil(len(self.train) / self.pictures_per_step))
        found = [order_N[step * self.pictures_per_step :][: self.pictures_per_step] for step in range(steps)]
        whole = [places_B for places_B in found if len(places_B) == self.pictures_per_step]
        return whole or [places_B for places_B in found if len(places_B) > 1]

    def judge(self) -> float:
        chosen_V = _some(len(self.validation), self.config.selection_pictures)
        if not len(chosen_V):
            return float(0)
        chosen_N = self._selection_gallery(self.validation_codes_V[chosen_V])
        queries, asked_V = self.embedded(self.validation, chosen_V)
        gallery, found_N = self.embedded(self.train, chosen_N)
        metrics = retrieval_metrics(queries, self.validation_codes_V[asked_V], gallery, self.codes_N[found_N])
        return metrics["recall@1"]

    def _selection_gallery(self, asked_V: Ints) -> Ints:
        """Places of the pictures of these labels, where there is room for them all, and of some others."""
        most = self.config.selection_gallery
        own_N = np.flatnonzero(np.isin(self.codes_N, asked_V))
        if len(own_N) > most:
            return _some(len(self.train), most)
        return np.union1d(own_N, _some(len(self.train), most - len(own_N)))

    @torch.inference_mode()
    def proxies(self, dim: int) -> LabelProxies:
        """Of the labels, in the order that they were given in, for embeddings of `dim` dimensions."""
        proxies_LD = nn.functional.normalize(self.head.proxies_LD.float().cpu()[:, :dim], dim=1)
        return LabelProxies(self.labels, proxies_LD.numpy())

    @torch.inference_mode()
    def predicted(self, vectors_ND: Floats) -> Ints:
        """The label that the proxies give to each embedding."""
        found: Ints = self.head.cpu().predicted(torch.from_numpy(vectors_ND)).numpy()
        return found

    def embedded(self, pictures: Pictures, places_N: Ints) -> tuple[Floats, Ints]:
        """Unit vectors_ND and the places that they are of."""
        vectors, kept = [np.zeros((0, self.config.dim), np.float32)], [np.zeros(0, np.int64)]
        for squares, places_B in pictures.batches(places_N):
            e_BD = self.network(pixels_of(squares).to(self.workers.device)).float()
            vectors.append(nn.functional.normalize(e_BD, dim=1).cpu().numpy())
            kept.append(places_B)
        return np.concatenate(vectors), np.concatenate(kept)


def _some(total: int, most: int) -> Ints:
    """At most `most` of `total` places, always the same ones."""
    return np.sort(np.random.default_rng(0).permutation(total)[:most])
