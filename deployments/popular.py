"""What the gateway keeps of a bundle: popular items, for when retrieval is out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deployments.ranking import STATE_FILE
from training.bundles.manifest import Manifest
from training.features.ranking import RankingState

TOP = 0.9


class Popular:
    """Items by popularity, best first, ties by item_id; `top_tenth` is the log popularity that a tenth reach."""

    def __init__(self, popularity: dict[str, float]) -> None:
        self.popularity = popularity
        self.order = sorted(popularity, key=lambda item_id: (-popularity[item_id], item_id))
        self.top_tenth = float(np.quantile(list(popularity.values()), TOP)) if popularity else 0.0

    @classmethod
    def load(cls, folder: Path, manifest: Manifest) -> Popular:
        del manifest
        return cls(RankingState.load(folder / STATE_FILE).popularity)
