"""The forecast of an item over all of its locations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.models.forecaster import ENSEMBLE, SeriesForecast
from training.models.replenishment import CORRELATION


def summed(series_id: str, parts: Sequence[SeriesForecast]) -> SeriesForecast:
    """Means added up; distances of quantiles from them as if errors went together as CORRELATION says.

    All parts are of the same periods.
    """
    if len(parts) == 1:
        return parts[0]
    mean_PH = np.stack([part.mean_H for part in parts])
    away_PQH = np.stack([part.quantiles_QH - part.mean_H for part in parts])
    variance_QH = (1 - CORRELATION) * (away_PQH**2).sum(0) + CORRELATION * away_PQH.sum(0) ** 2
    signs_QH = np.sign(away_PQH.sum(0))
    names = {part.model for part in parts}
    return SeriesForecast(
        series_id=series_id, model=names.pop() if len(names) == 1 else ENSEMBLE,
        timestamps_us_H=parts[0].timestamps_us_H, mean_H=mean_PH.sum(0),
        quantiles_QH=np.maximum(mean_PH.sum(0) + signs_QH * np.sqrt(variance_QH), min(0.0, float(mean_PH.min()))),
    )  # fmt: skip
