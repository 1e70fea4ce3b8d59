"""A shop that has nothing but items with pictures, and a visual search of the default config's cost over them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deployments.config import ServingConfig
from deployments.state.open import open_store
from training.bundles.manifest import DataWindow, Manifest, code_revision, describe_files, library_versions
from training.bundles.registry import Registry
from training.bundles.store import BundleStore, new_version
from training.jobs.vision_config import VisionConfig
from training.models.backbone import build_backbone
from training.models.detector import Detector
from training.models.detector_network import DetectorNetwork
from training.models.embedding_network import EmbeddingNetwork, NetworkEmbedder
from training.models.gallery import Shown
from training.models.visual_search import VisualSearch

SHOP_ID, SIDE, IMAGES = "pictures", 96, 2_000


def untrained(images: int = IMAGES) -> VisualSearch:
    """Weights do not change what a pass costs; the index holds random vectors of as many items.

    Its detector is sure of all that it finds, so that as many articles are looked at as may be asked for.
    """
    torch.manual_seed(0)
    config = VisionConfig()
    embedder = NetworkEmbedder(EmbeddingNetwork(build_backbone(config.backbone, SIDE), config.dim), config.dim)
    detector = Detector(
        DetectorNetwork(build_backbone(config.backbone, config.detector.side), config.detector.channels, 0),
        side=config.detector.side, labels=[], channels=config.detector.channels, backbone=config.backbone,
    )  # fmt: skip
    torch.nn.init.zeros_(detector.network.score.bias)
    model = VisualSearch(
        embedder, side=SIDE, labels=[], backbone=config.backbone, reranking=config.reranking, detector=detector
    )
    vectors_ND = np.random.default_rng(0).normal(size=(images, config.dim)).astype(np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    model.fill({f"p{number}": Shown(f"i{number}") for number in range(images)}, vectors_ND)
    return model


def serving_config(root: Path, **changes: Any) -> ServingConfig:
    return ServingConfig(
        shop_id=SHOP_ID, bundles=str(root / "bundles"), releases=str(root / "releases"), cache=str(root / "cache"),
        state=f"sqlite:///{root}/state.sqlite", **changes,
    )  # fmt: skip


def publish_shop(model: VisualSearch, root: Path) -> None:
    """The model as champion, and its items in the catalogue."""
    config = serving_config(root)
    model.save(root / "bundle")
    now = datetime.now(UTC)
    manifest = Manifest(
        job="vision", version=new_version(), model="untrained", shop_id=SHOP_ID, created_at=now,
        data=DataWindow(fingerprint="none", reference_date=now), catalogue_seq=0, code_revision=code_revision(),
        config={}, metrics={}, validation={}, baselines={}, train_seconds=0, cpu_seconds=0,
        files=describe_files(root / "bundle"), libraries=library_versions(),
    )  # fmt: skip
    BundleStore(config.bundles).publish(root / "bundle", manifest)
    Registry(config.releases, SHOP_ID).promote("vision", manifest.version)
    store = open_store(config.state, SHOP_ID)
    store.upsert_items([{"item_id": item_id, "stock": 1} for item_id in sorted(model.gallery.items())])
    store.close()
