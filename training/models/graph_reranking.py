"""Re-ranking by messages over the graph of the candidates: to neighbours, and among those of one label.

Source: Zhang et al., Understanding Image Retrieval Re-Ranking: A Graph Neural Network Perspective, 2020; the labels of
the catalogue's own images make edges too.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from training.metrics import Floats, Ints

SAME = 1 - 1e-4
"""Cosine from which a candidate is the query's very own picture."""


class RerankConfig(BaseModel):
    """How far the candidates count for each other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    candidates: int = Field(default=100, ge=2, le=1000, description="best images that are put into a new order")
    neighbours: int = Field(default=5, ge=1, description="of each image, which get its messages")
    rounds: int = Field(default=2, ge=0, le=10)
    passed_on: float = Field(default=0.5, ge=0, lt=1, description="share of a message that a round passes on")
    sharpness: float = Field(default=40.0, gt=0, description="how fast a message fades with the cosine")
    speakers: int = Field(default=3, ge=1, description="images of a label that count: many pictures are no merit")
    own: float = Field(default=0.2, gt=0, le=1, description="share of the score that looks at query and image alone")


def reranked_scores(query_D: Floats, candidates_CD: Floats, labels_C: Ints, config: RerankConfig) -> Floats:
    """New scores_C from 0 to 1 and a little below: the cosine, and the share of all messages that its label gets.

    The query calls each candidate the louder the more alike they are; neighbours pass a part on; candidates of one
    label (labels_C, -1 for none) share what the `speakers` among them that hear most do. The query's very own image
    gets all there is, and stays first.
    """
    plain_C = candidates_CD @ query_D
    called_C = np.exp(config.sharpness * (plain_C - plain_C.max()))
    edges_CC = _neighbours(candidates_CD, config)
    heard_C = called_C
    for _ in range(config.rounds):
        heard_C = called_C + config.passed_on * (edges_CC @ heard_C)
    alone = labels_C < 0
    groups_C = np.where(alone, labels_C.max(initial=-1) + 1 + np.cumsum(alone), labels_C)
    speaking_C = np.where(_rank_in_group(groups_C, heard_C) < config.speakers, heard_C, 0.0)
    support_C = np.bincount(groups_C, speaking_C)[groups_C] / speaking_C.sum()
    support_C = np.where(plain_C >= SAME, 1.0, support_C)
    return np.asarray(config.own * plain_C + (1 - config.own) * support_C, np.float32)


def _rank_in_group(groups_C: Ints, heard_C: Floats) -> Ints:
    """How many of a candidate's label hear more than it does."""
    order_C = np.lexsort((-heard_C, groups_C))
    sorted_C = groups_C[order_C]
    first_C = np.searchsorted(sorted_C, sorted_C)
    rank_C = np.empty(len(groups_C), np.int64)
    rank_C[order_C] = np.arange(len(groups_C)) - first_C
    return rank_C


def _neighbours(candidates_CD: Floats, config: RerankConfig) -> Floats:
    """edges_CC: how well a candidate hears each of its nearest neighbours, at most 1 in sum."""
    cosines_CC = candidates_CD @ candidates_CD.T
    np.fill_diagonal(cosines_CC, -np.inf)
    kept = min(config.neighbours, len(cosines_CC) - 1)
    threshold_C1 = np.partition(cosines_CC, -kept, axis=1)[:, -kept][:, None]
    weights_CC = np.where(cosines_CC >= threshold_C1, np.exp(config.sharpness * (cosines_CC - 1)), 0.0)
    return np.asarray(weights_CC / kept, np.float32)
