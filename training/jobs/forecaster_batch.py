"""Batch forecasts of a whole shop, a row a series and period."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.shop import Shop
from training.contracts.tables import TIMESTAMP
from training.jobs.forecaster_panel import bundled_config, demand_panel
from training.models.demand.history import SeriesHistory
from training.models.forecaster import Forecaster, SeriesQuery

BLOCK_SERIES = 1_024
FORECASTS = pa.schema([
    ("series_id", pa.string()), ("item_id", pa.string()), ("location", pa.string()), ("timestamp", TIMESTAMP),
    ("step", pa.int32()), ("model", pa.string()), ("mean", pa.float64()), ("q10", pa.float64()),
    ("q50", pa.float64()), ("q90", pa.float64()),
])  # fmt: skip
LEVELS = (0.1, 0.5, 0.9)


def series_of_shop(shop: Shop) -> Iterator[pa.Table]:
    """Blocks of series_id."""
    ids = sorted(pc.unique(shop.table("sales", ["series_id"])["series_id"]).to_pylist())
    for first in range(0, len(ids), BLOCK_SERIES):
        yield pa.table({"series_id": pa.array(ids[first : first + BLOCK_SERIES], pa.string())})


class ForecastBatch:
    """The forecaster's horizon for each series of a batch, from the shop's own history; one actor loads both once."""

    def __init__(self, folder: str, _limit: int, shop: str) -> None:
        self.forecaster = Forecaster.load(Path(folder))
        self.panel = demand_panel(Shop(shop), bundled_config(Path(folder)), self.forecaster.frequency)
        self.row = {series_id: row for row, series_id in enumerate(self.panel.series.series_id)}

    def __call__(self, batch: pa.Table) -> pa.Table:
        queries = [self._query(series_id) for series_id in batch["series_id"].to_pylist()]
        forecasts = self.forecaster.forecast(queries, self.forecaster.horizon, LEVELS)
        columns: dict[str, list[Any]] = {name: [] for name in FORECASTS.names}
        for query, said in zip(queries, forecasts, strict=True):
            steps = len(said.mean_H)
            columns["series_id"] += [said.series_id] * steps
            columns["item_id"] += [query.item_id] * steps
            columns["location"] += [query.location] * steps
            columns["timestamp"] += said.timestamps_us_H.tolist()
            columns["step"] += range(1, steps + 1)
            columns["model"] += [said.model] * steps
            columns["mean"] += said.mean_H.tolist()
            for name, values_H in zip(("q10", "q50", "q90"), said.quantiles_QH, strict=True):
                columns[name] += values_H.tolist()
        return pa.table(columns, schema=FORECASTS)

    def _query(self, series_id: str) -> SeriesQuery:
        panel, row = self.panel, self.row[series_id]
        window = panel.window(panel.end - 1, length=1, horizon=self.forecaster.horizon, rows=np.array([row]))
        history = SeriesHistory.of_panel(panel, row, 0, panel.end - panel.first)
        return SeriesQuery(
            series_id=series_id, history=history, item_id=panel.series.item_id[row],
            location=panel.series.location[row],
            static={name: values[row] for name, values in panel.series.static.items()},
            future={name: values[0] for name, values in window.future.items()},
        )  # fmt: skip
