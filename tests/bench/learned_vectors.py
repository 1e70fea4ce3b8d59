"""Item and user vectors as a recommender learns them, and more that lie alike."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.contracts.progress import NoProgress
from training.contracts.shop import Shop
from training.datasets.registry import dataset
from training.indexes.native import faiss
from training.jobs.job import LocalReport
from training.jobs.recommender import RecommenderConfig, RecommenderData, judge_of, load, transformer_training
from training.models.recommender import Recommender
from training.models.retriever import Retriever, VectorRetriever

Floats = npt.NDArray[np.float32]
CHUNK = 100_000
MOST_USERS = 20_000


@dataclass(frozen=True)
class Learned:
    """The vectors of one recommender; says of itself where they come from."""

    source: str
    items_ID: Floats
    users_UD: Floats

    def __str__(self) -> str:
        items, dim = self.items_ID.shape
        return f"{items} item and {len(self.users_UD)} user vectors of {dim} dimensions, {self.source}"


def learned(data: Path, bundle: Path | None, *, epochs: int) -> Learned:
    """Of `bundle`, a recommender of the shop or folder `data`; without one, of a transformer trained on it."""
    with tempfile.TemporaryDirectory() as scratch:
        config = RecommenderConfig(epochs=epochs)
        found = load(_shop(data, Path(scratch) / "shop"), config)
        if bundle is None:
            retriever, source = _trained(config, found, Path(scratch)), f"trained for {epochs} epochs on {data.name}"
        else:
            retriever, source = _bundled(bundle, found), f"bundle {bundle.name} on {data.name}"
        if not isinstance(retriever, VectorRetriever):
            raise ValueError(f"{bundle} holds {retriever and retriever.kind}, which has no vectors")
        users_UD, _ = retriever.users(list(found.split.test.inputs)[:MOST_USERS])
        return Learned(source, retriever.item_vectors_ID, users_UD)


def _shop(data: Path, scratch: Path) -> Shop:
    if (data / "shop.yaml").is_file():
        return Shop(data)
    dataset("amazon-sequences").read(data, scratch)
    return Shop(scratch)


def _trained(config: RecommenderConfig, data: RecommenderData, scratch: Path) -> Retriever | None:
    training = transformer_training(config, data, NoProgress())
    return training.run(judge_of(config, data), LocalReport(scratch / "checkpoints"), NoProgress())


def _bundled(folder: Path, data: RecommenderData) -> Retriever:
    recommender = Recommender.load(folder)
    if list(recommender.vocabulary.ids) != list(data.vocabulary.ids):
        raise ValueError(f"{folder} was trained on another shop than {data.shop.path}")
    return recommender.retriever


class Mixture:
    """Gaussians around centres: how item or user vectors lie, as they were learned on a shop."""

    def __init__(self, centres_CD: Floats, shares_C: npt.NDArray[np.float64], within_DD: Floats) -> None:
        self.centres_CD, self.shares_C = centres_CD, shares_C
        self.root_DD = np.linalg.cholesky(within_DD + 1e-9 * np.eye(len(within_DD))).astype(np.float32)

    @classmethod
    def fitted(cls, vectors_ND: Floats, centres: int) -> Mixture:
        """k-means centres and their shares, one covariance within them."""
        clusters = faiss.Kmeans(vectors_ND.shape[1], centres, niter=20, seed=1, min_points_per_centroid=1)
        clusters.train(np.ascontiguousarray(vectors_ND, np.float32))
        _, nearest_N1 = clusters.index.search(vectors_ND, 1)
        within_ND = vectors_ND - clusters.centroids[nearest_N1[:, 0]]
        return cls(
            clusters.centroids, np.bincount(nearest_N1[:, 0], minlength=centres) / len(vectors_ND), np.cov(within_ND.T)
        )

    def draw(self, count: int, seed: int) -> Floats:
        """[count, D], made a chunk at a time: nothing of their size is held twice."""
        rng = np.random.default_rng(seed)
        drawn_ND = np.empty((count, len(self.root_DD)), np.float32)
        for start in range(0, count, CHUNK):
            part_ND = drawn_ND[start : start + CHUNK]
            noise_ND = rng.standard_normal(part_ND.shape, dtype=np.float32) @ self.root_DD.T
            part_ND[:] = self.centres_CD[rng.choice(len(self.shares_C), len(part_ND), p=self.shares_C)] + noise_ND
        return drawn_ND
