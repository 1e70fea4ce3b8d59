"""A small visual search over pictures of the brands shop, published like a trained one."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from tests.hostile_images import encoded, photo
from tests.serving_shop import BRANDS, ITEMS_EACH, SHOP_ID, Home
from training.bundles.manifest import Manifest, describe_files
from training.bundles.store import new_version
from training.features.images import Picture, open_picture
from training.models.backbone import BackboneConfig, build_backbone
from training.models.embedding_network import EmbeddingNetwork, NetworkEmbedder
from training.models.gallery import Shown
from training.models.graph_reranking import RerankConfig
from training.models.item_texts import ItemTexts
from training.models.visual_search import VisualSearch

SIDE = 32


def item_picture(number: int) -> bytes:
    """The photo of item number `number`, as a file."""
    return encoded(photo(96, seed=number), "PNG")


def pictures() -> dict[str, Picture]:
    """One picture of every item by image id: p00 of i00."""
    return {f"p{number:02d}": open_picture(item_picture(number)) for number in range(BRANDS * ITEMS_EACH)}


def take_pictures(model: VisualSearch) -> None:
    """Put `pictures` into its index."""
    shown = {image_id: Shown(image_id.replace("p", "i")) for image_id in pictures()}
    model.upsert(shown, model.embed(list(pictures().values())))


def untrained(*, side: int = SIDE) -> VisualSearch:
    """Random weights, the same every time, and nothing in its index."""
    torch.manual_seed(0)
    backbone = BackboneConfig(width=8)
    network = EmbeddingNetwork(build_backbone(backbone, side), 64)
    embedder = NetworkEmbedder(network, 64)
    off = RerankConfig(enabled=False)
    return VisualSearch(embedder, side=side, labels=[], backbone=backbone, reranking=off)


def publish_vision(home: Home, *, texts: ItemTexts | None = None, **changes: object) -> Manifest:
    """One more visual search over the shop's pictures, as champion."""
    model, folder = untrained(), home.root / f"vision-{new_version()}"
    take_pictures(model)
    model.texts = texts
    model.save(folder)
    like = home.bundles.manifest(SHOP_ID, "recommender", home.bundles.versions(SHOP_ID, "recommender")[-1])
    manifest = like.model_copy(
        update={
            "job": "vision", "version": new_version(), "model": "residual_net", "upstream": {},
            "files": describe_files(folder), "metrics": {"recall@1": 0.5}, **changes,
        }
    )  # fmt: skip
    home.bundles.publish(folder, manifest)
    home.registry.promote("vision", manifest.version)
    return manifest


def noise(side: int, seed: int = 0) -> bytes:
    """A photo that no format makes small."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()
