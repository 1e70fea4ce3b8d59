"""The choice between the embedding and its baselines, and the visual search that is made of the better one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from training.contracts.progress import Progress
from training.jobs.embedding_stage import EmbeddingStage
from training.jobs.gallery_embedding import Mapped, embedded_by
from training.jobs.item_texts import text_vectors
from training.jobs.job import Exhibit
from training.jobs.pictures import Pictures, SquareCache
from training.jobs.seen_again import SeenAgain
from training.jobs.vision_config import VisionConfig
from training.jobs.vision_data import VisionData
from training.jobs.vision_exhibits import neighbours_shown
from training.jobs.vision_judging import (
    Embedded,
    as_indexed,
    embedded,
    finding_themselves,
    judged,
    judged_on_test,
    reranked,
    served_items,
)
from training.models.backbone import BackboneConfig
from training.models.detector import Detector
from training.models.embedders import Embedder
from training.models.embedding_network import NetworkEmbedder
from training.models.gallery import Shown
from training.models.image_baselines import ColourHistogram, RawPixels
from training.models.item_texts import ItemTexts
from training.models.label_proxies import LabelProxies
from training.models.visual_search import VisualSearch

Metrics = dict[str, float]
TEXT_COLUMNS = ("item_id", "title", "description", "category", "brand", "tags")
"""What `training.features.content.item_text` reads of an item."""


def shop_pictures(data: VisionData, *, cache_bytes: int) -> dict[str, Pictures]:
    """The pictures of each part and of the gallery, which share what they keep decoded."""
    parts = {**data.shots, "gallery": data.gallery}
    cache = SquareCache(data.shop.path, data.side, most_bytes=cache_bytes)
    pictures = {part: Pictures(cache, shots) for part, shots in parts.items()}
    return {**pictures, "validation": SeenAgain(cache, data.shots["validation"])} if data.seen_again else pictures


class Candidates:
    """Embedding and baselines, each with its vectors of the gallery and what it finds with them."""

    def __init__(
        self,
        config: VisionConfig,
        data: VisionData,
        pictures: Mapping[str, Pictures],
        network: NetworkEmbedder,
        progress: Progress,
        mapped: Mapped | None = None,
        *,
        proxies: LabelProxies | None = None,
    ) -> None:
        """`mapped` embeds the catalogue elsewhere; None: here. With `proxies` pictures are found by these too."""
        self.config, self.data, self.pictures, self.mapped = config, data, pictures, mapped
        self.proxies = proxies
        contenders: tuple[Embedder, ...] = (network, RawPixels(data.side), ColourHistogram())
        self.embedders = {embedder.kind: embedder for embedder in contenders}
        self.vectors: dict[str, dict[str, Embedded]] = {}
        self.validation: dict[str, Metrics] = {}
        self.test: dict[str, Metrics] = {}
        for kind in self.embedders:
            self._judge(kind, progress)
        self.kind = max(self.embedders, key=lambda kind: self.validation[kind]["recall@1"])
        scores = ", ".join(f"{kind} {metrics['recall@1']:.4f}" for kind, metrics in self.validation.items())
        self.choice = f"{self.kind} chosen by recall@1 on validation ({scores})"

    def _judge(self, kind: str, progress: Progress) -> None:
        """Only the network's vectors are kept: a baseline's are longer, and are made again where it serves."""
        found = self._indexed(kind, progress)
        own = set() if self.data.seen_again else {shot.image_id for shot in self.data.shots["validation"]}
        indexed = found["indexed"]
        rest = [place for place, shot in enumerate(indexed.shots) if shot.image_id not in own]
        learnt = Embedded(vectors_ND=indexed.vectors_ND[rest], shots=[indexed.shots[place] for place in rest])
        self.validation[kind] = judged(found["validation"], learnt, self.data.labels)
        self.test[kind] = judged_on_test(found["test"], indexed, self.data.labels)
        if kind == NetworkEmbedder.kind:
            self.vectors[kind] = found

    def _indexed(self, kind: str, progress: Progress) -> dict[str, Embedded]:
        """Every part embedded, and the gallery as it is looked up in; proxies are fitted to the network's."""
        found = self._embedded(kind, progress)
        if self.proxies is None or kind != NetworkEmbedder.kind:
            return {**found, "indexed": found["gallery"]}
        gallery = found["gallery"]
        self.proxies = self.proxies.fitted(gallery.vectors_ND, [shot.label for shot in gallery.shots])
        return {**found, "indexed": as_indexed(gallery, self.proxies)}

    def _embedded(self, kind: str, progress: Progress) -> dict[str, Embedded]:
        parts = ("gallery", "validation", "test")
        progress.stage(f"embedding by {kind}", sum(len(self.pictures[part]) for part in parts))
        found = {part: embedded(self.embedders[kind], self.pictures[part], progress) for part in parts[1:]}
        if self.mapped is None or kind != NetworkEmbedder.kind:
            return {parts[0]: embedded(self.embedders[kind], self.pictures[parts[0]], progress), **found}
        return {parts[0]: embedded_by(self.mapped, self.embedders[kind], self.pictures[parts[0]], progress), **found}

    def bundled(self, backbone: BackboneConfig, detector: Detector | None, progress: Progress) -> VisualSearch:
        """The search of the chosen one, its index filled with the gallery."""
        search = VisualSearch(
            self.embedders[self.kind], side=self.data.side, labels=self.data.labels, backbone=backbone,
            reranking=self.config.reranking, index=self.config.index, detector=detector, texts=self._texts(progress),
            proxies=self.proxies if self.kind == NetworkEmbedder.kind else None,
        )  # fmt: skip
        if self.kind not in self.vectors:
            self.vectors[self.kind] = self._indexed(self.kind, progress)
        gallery = self.vectors[self.kind]["gallery"]
        search.fill({shot.image_id: Shown(shot.item_id, shot.label) for shot in gallery.shots}, gallery.vectors_ND)
        return search

    def _texts(self, progress: Progress) -> ItemTexts | None:
        """Of the shop's items, where the config names an encoder and the shop has an items table."""
        encoder, shop = self.config.text_encoder, self.data.shop
        if encoder is None or not shop.has("items"):
            return None
        items = shop.table("items", TEXT_COLUMNS).to_pylist()
        vectors_IE = text_vectors(items, encoder, progress=progress)
        return ItemTexts.of(encoder, [item["item_id"] for item in items], vectors_IE, self.config.index)

    def measured(self, search: VisualSearch, progress: Progress) -> tuple[Metrics, list[str]]:
        """The chosen one's test metrics, those of the re-ranked order and of answers by item, and notes."""
        found, labels = self.vectors[self.kind], self.data.labels
        if not len(found["test"].shots):
            return {}, ["no test image: nothing is measured on test", finding_themselves(search, found["gallery"])]
        more, said = reranked(found["test"], search, found["gallery"], labels, progress)
        by_item, of_which = served_items(found["test"], search, progress)
        shorter = self._prefixes() if self.kind == NetworkEmbedder.kind else []
        themselves = finding_themselves(search, found["gallery"])
        return {**self.test[self.kind], **more, **by_item}, [said, *of_which, themselves, *shorter]

    def _prefixes(self) -> list[str]:
        found, said = self.vectors[NetworkEmbedder.kind], []
        for length in self.config.prefixes:
            if length >= self.embedders[NetworkEmbedder.kind].dim:
                continue
            queries, gallery = (_shortened(found[part], length) for part in ("test", "indexed"))
            metrics = judged(queries, gallery, self.data.labels)
            said.append(f"the first {length} dimensions: recall@1 {metrics['recall@1']:.4f}")
        return said

    def classified(self, stage: EmbeddingStage) -> list[str]:
        """How often the proxy nearest to a test picture is that of its label."""
        found = self.vectors[NetworkEmbedder.kind]["test"]
        if not len(found.shots):
            return []
        predicted_N = stage.predicted(found.vectors_ND)
        share = float((predicted_N == found.codes(self.data.labels)).mean())
        return [f"accuracy of the labels' proxies as a classifier, on test: {share:.4f}"]

    def baselines(self) -> dict[str, Metrics]:
        """On test; the network among them where it was not chosen."""
        return {kind: metrics for kind, metrics in self.test.items() if not kind == self.kind == NetworkEmbedder.kind}

    def surpassed(self) -> list[str]:
        """What finds more on test than the chosen one, which was not asked before the choice."""
        own = self.test[self.kind].get("recall@1", 0.0)
        return [
            f"on test {kind} finds more (recall@1 {metrics['recall@1']:.4f} against {own:.4f}): the choice was made on "
            f"{len(self.pictures['validation']):,} validation pictures"
            for kind, metrics in self.test.items()
            if metrics.get("recall@1", 0.0) > own
        ]

    def exhibits(self) -> list[Exhibit]:
        found = self.vectors[self.kind]
        return neighbours_shown(found["test"], found["indexed"], self.pictures["test"])


def _shortened(found: Embedded, length: int) -> Embedded:
    vectors_ND = torch.nn.functional.normalize(torch.from_numpy(found.vectors_ND[:, :length]), dim=1).numpy()
    return replace(found, vectors_ND=vectors_ND)
