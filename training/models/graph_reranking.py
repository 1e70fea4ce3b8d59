"""Re-ranking by messages over the graph of nearest neighbours among the candidates.

Source: Zhang et al., Understanding Image Retrieval Re-Ranking: A Graph Neural Network Perspective, 2020.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from training.metrics import Floats
from training.models.image_baselines import unit


class RerankConfig(BaseModel):
    """How far the candidates' neighbours count."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    candidates: int = Field(default=100, ge=2, le=1000, description="best images that are put into a new order")
    neighbours: int = Field(default=12, ge=1, description="of each image, from which it gets messages")
    rounds: int = Field(default=2, ge=1, le=10)
    sharpness: float = Field(default=3.0, gt=0, description="power of the similarity that weighs a message")
    own: float = Field(default=0.2, gt=0, le=1, description="share of the score that looks at query and image alone")


def reranked_scores(query_D: Floats, candidates_CD: Floats, config: RerankConfig) -> Floats:
    """New scores_C: mostly the cosine between query and candidate after each has taken in its neighbours.

    The query's very own image stays first: it has the best cosine before and after.
    """
    plain_C = candidates_CD @ query_D
    nodes_ND = np.concatenate([query_D[None], candidates_CD])
    weights_NN = _messages(nodes_ND @ nodes_ND.T, config)
    for _ in range(config.rounds):
        nodes_ND = unit(weights_NN @ nodes_ND)
    scores_C: Floats = config.own * plain_C + (1 - config.own) * (nodes_ND[1:] @ nodes_ND[0])
    return scores_C.astype(np.float32)


def _messages(similarities_NN: Floats, config: RerankConfig) -> Floats:
    """The weight of each node's message to each other: none beyond the nearest `neighbours`, one for itself."""
    kept = min(config.neighbours + 1, len(similarities_NN))
    threshold_N1 = np.partition(similarities_NN, -kept, axis=1)[:, -kept][:, None]
    near_NN = np.where(similarities_NN >= threshold_N1, similarities_NN, 0.0)
    weights_NN = (np.maximum(near_NN, 0.0) ** config.sharpness).astype(np.float32)
    np.fill_diagonal(weights_NN, 1.0)
    return weights_NN
