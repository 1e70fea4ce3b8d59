"""The history behind a forecaster: of one series as arrays, of all as a Parquet file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.contracts.covariates import CovariateSchema
from training.features.demand import Floats, Ints, Panel, SeriesTable
from training.features.periods import Frequency

SERIES_KEY, FIRST_KEY = b"series", b"first"


@dataclass(frozen=True, kw_only=True)
class SeriesHistory:
    """timestamps_us_T strictly rising period starts; demand_T and covariates by name, nan where unknown."""

    timestamps_us_T: Ints
    demand_T: Floats
    covariates: Mapping[str, Floats] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> SeriesHistory:
        return cls(timestamps_us_T=np.zeros(0, np.int64), demand_T=np.zeros(0))

    @classmethod
    def of_panel(cls, panel: Panel, row: int, start: int, stop: int) -> SeriesHistory:
        """Columns start..stop of a panel's row, from the first one that is known."""
        known = np.isfinite(panel.demand_SP[row, start:stop])
        begin = start + (int(known.argmax()) if known.any() else stop - start)
        periods = panel.first + np.arange(begin, stop)
        return cls(
            timestamps_us_T=panel.frequency.timestamp_us(periods),
            demand_T=panel.demand_SP[row, begin:stop].copy(),
            covariates={name: values[row, begin:stop].copy() for name, values in panel.covariates.items()},
        )

    def last_period(self, frequency: Frequency) -> int | None:
        """The last period with a row, None for an empty history."""
        return int(frequency.period(self.timestamps_us_T).max()) if len(self.timestamps_us_T) else None

    def continued(self, since: SeriesHistory, frequency: Frequency) -> SeriesHistory:
        """One row a period of both, in order; where both know something of a period, `since` says it."""
        periods_N = frequency.period(np.concatenate([self.timestamps_us_T, since.timestamps_us_T]))
        periods_T, place_N = np.unique(periods_N, return_inverse=True)
        names = dict.fromkeys((*self.covariates, *since.covariates))
        return SeriesHistory(
            timestamps_us_T=frequency.timestamp_us(periods_T),
            demand_T=_newest_known(np.concatenate([self.demand_T, since.demand_T]), place_N, len(periods_T)),
            covariates={
                name: _newest_known(np.concatenate([self._covariate(name), since._covariate(name)]), place_N,
                                    len(periods_T))
                for name in names
            },
        )  # fmt: skip

    def reaching(self, period: int, frequency: Frequency) -> SeriesHistory:
        """With `period` as its last, unknown where it ended before."""
        if self.last_period(frequency) == period:
            return self
        unknown = SeriesHistory(timestamps_us_T=frequency.timestamp_us(np.array([period])), demand_T=np.full(1, np.nan))
        return self.continued(unknown, frequency)

    def _covariate(self, name: str) -> Floats:
        return self.covariates.get(name, np.full(len(self.demand_T), np.nan))

    def place(self, frequency: Frequency, last: int, demand_T: Floats, covariates: Mapping[str, Floats]) -> None:
        """Write into arrays that end with period `last`; of two rows of a period the later one counts."""
        column_T = len(demand_T) - 1 - (last - frequency.period(self.timestamps_us_T))
        inside = (column_T >= 0) & (column_T < len(demand_T))
        demand_T[column_T[inside]] = self.demand_T[inside]
        for name, values in self.covariates.items():
            if name in covariates:
                covariates[name][column_T[inside]] = values[inside]


def together(histories: Sequence[SeriesHistory], frequency: Frequency) -> Floats:
    """demand_T of several series up to the newest period of any; nan where none of them is known."""
    rows = [frequency.period(one.timestamps_us_T) for one in histories if len(one.timestamps_us_T)]
    if not rows:
        return np.zeros(0)
    first, last = min(int(row.min()) for row in rows), max(int(row.max()) for row in rows)
    demand_PT = np.full((len(histories), last - first + 1), np.nan)
    for one, demand_T in zip(histories, demand_PT, strict=True):
        one.place(frequency, last, demand_T, {})
    return np.where(np.isfinite(demand_PT).any(axis=0), np.nan_to_num(demand_PT).sum(axis=0), np.nan)


def _newest_known(values_N: Floats, place_N: Ints, count: int) -> Floats:
    """values_T by place, of several at one the last that is known."""
    out_T, known_N = np.full(count, np.nan), np.isfinite(values_N)
    out_T[place_N[known_N]] = values_N[known_N]
    return out_T


def save_panel(panel: Panel, path: Path) -> None:
    """A row a series: what it is, its demand and covariates as lists."""
    table = panel.series
    columns: dict[str, pa.Array] = {"demand": _lists(panel.demand_SP)}
    columns |= {f"covariate:{name}": _lists(values) for name, values in panel.covariates.items()}
    described = {
        "series_id": table.series_id, "item_id": table.item_id, "location": table.location,
        "static": {name: list(values) for name, values in table.static.items()}, "logged": sorted(panel.logged),
    }  # fmt: skip
    written = pa.table(columns).replace_schema_metadata(
        {SERIES_KEY: json.dumps(described).encode(), FIRST_KEY: str(panel.first).encode()}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(written, path, compression="zstd")


def load_panel(path: Path, frequency: Frequency, schema: CovariateSchema) -> Panel:
    table = pq.read_table(path)
    described = json.loads(table.schema.metadata[SERIES_KEY])
    series = SeriesTable(
        series_id=tuple(described["series_id"]), item_id=tuple(described["item_id"]),
        location=tuple(described["location"]),
        static={name: tuple(values) for name, values in described["static"].items()},
    )  # fmt: skip
    return Panel(
        series=series,
        frequency=frequency,
        first=int(table.schema.metadata[FIRST_KEY]),
        demand_SP=_matrix(table["demand"]),
        covariates={
            name.removeprefix("covariate:"): _matrix(table[name])
            for name in table.column_names
            if name.startswith("covariate:")
        },
        schema=schema,
        logged=frozenset(described["logged"]),
    )


def _lists(values_SP: Floats) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values_SP).ravel(), from_pandas=True)
    return pa.FixedSizeListArray.from_arrays(flat, values_SP.shape[1])


def _matrix(column: pa.ChunkedArray) -> Floats:
    whole = column.combine_chunks()
    return whole.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(whole), -1)
