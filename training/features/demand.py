"""Demand as training and serving see it: a panel of series by period, and the window that an origin leaves visible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from training.contracts.covariates import CovariateSchema, Missing, MissingCovariate
from training.features.periods import Frequency

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Static = str | float | None


@dataclass(frozen=True, kw_only=True)
class SeriesTable:
    """Who the series of a panel are; `static` by column."""

    series_id: tuple[str, ...]
    item_id: tuple[str | None, ...]
    location: tuple[str | None, ...]
    static: Mapping[str, tuple[Static, ...]]

    def __len__(self) -> int:
        return len(self.series_id)

    def take(self, rows: Sequence[int] | Ints) -> SeriesTable:
        def chosen(values: tuple[Static, ...]) -> tuple[Static, ...]:
            return tuple(values[int(row)] for row in rows)

        return SeriesTable(
            series_id=tuple(self.series_id[int(row)] for row in rows),
            item_id=tuple(self.item_id[int(row)] for row in rows),
            location=tuple(self.location[int(row)] for row in rows),
            static={name: chosen(values) for name, values in self.static.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Window:
    """What is visible at each series' own origin: history that ends there, and what is known of the periods after.

    demand_ST and past_CST[name] end with period origin_S; nan = unknown. future_CSH[name]: known-future covariates.
    """

    series: SeriesTable
    frequency: Frequency
    origin_S: Ints
    demand_ST: Floats
    past: Mapping[str, Floats]
    future: Mapping[str, Floats]
    horizon: int
    logged: frozenset[str] = frozenset()
    """Covariates that are read as logarithms, as in training."""

    def __len__(self) -> int:
        return len(self.series)

    @property
    def periods_SH(self) -> Ints:
        """The periods that are to be forecast."""
        return self.origin_S[:, None] + np.arange(1, self.horizon + 1)

    def take(self, rows: Sequence[int] | Ints) -> Window:
        rows = np.asarray(rows, np.int64)
        return replace(
            self,
            series=self.series.take(rows),
            origin_S=self.origin_S[rows],
            demand_ST=self.demand_ST[rows],
            past={name: values[rows] for name, values in self.past.items()},
            future={name: values[rows] for name, values in self.future.items()},
        )

    def last(self, periods: int) -> Window:
        """With at most the last `periods` of history, and exactly those: an earlier start is unknown."""
        return replace(
            self,
            demand_ST=_ending(self.demand_ST, periods),
            past={name: _ending(values, periods) for name, values in self.past.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Panel:
    """All series on one axis of periods first..first+P-1; nan = no such row. `test_SP`: the split's held-out rows."""

    series: SeriesTable
    frequency: Frequency
    first: int
    demand_SP: Floats
    covariates: Mapping[str, Floats]
    schema: CovariateSchema
    logged: frozenset[str] = frozenset()
    """Covariates all of whose values are above 0: they are read as logarithms."""
    test_SP: Bools | None = None
    censored_SP: Bools | None = None
    """Where stock ran out, so that demand_SP holds what is taken to have been wanted and sold_SP what was sold."""
    sold_SP: Floats | None = None

    def __len__(self) -> int:
        return len(self.series)

    @property
    def end(self) -> int:
        """The period after the last observed demand of any series."""
        observed = np.flatnonzero(np.isfinite(self.demand_SP).any(axis=0))
        return self.first + (int(observed[-1]) + 1 if len(observed) else 0)

    def take(self, rows: Sequence[int] | Ints) -> Panel:
        rows = np.asarray(rows, np.int64)
        return replace(
            self,
            series=self.series.take(rows),
            demand_SP=self.demand_SP[rows],
            covariates={name: values[rows] for name, values in self.covariates.items()},
            test_SP=None if self.test_SP is None else self.test_SP[rows],
            censored_SP=None if self.censored_SP is None else self.censored_SP[rows],
            sold_SP=None if self.sold_SP is None else self.sold_SP[rows],
        )

    def as_sold(self) -> Panel:
        """With what was sold as its demand: what baselines and scales are counted by."""
        return self if self.sold_SP is None else replace(self, demand_SP=self.sold_SP, sold_SP=None, censored_SP=None)

    def until(self, cut_S: Ints | int) -> Panel:
        """What is known at the end of period cut_S of each series: later demand and past-only covariates are gone."""
        cut_S = np.broadcast_to(np.asarray(cut_S, np.int64), (len(self),))
        later_SP = (self.first + np.arange(self.demand_SP.shape[1]))[None, :] > cut_S[:, None]
        hidden = set(self.schema.named("past_only"))
        return replace(
            self,
            demand_SP=np.where(later_SP, np.nan, self.demand_SP),
            sold_SP=None if self.sold_SP is None else np.where(later_SP, np.nan, self.sold_SP),
            covariates={
                name: np.where(later_SP, np.nan, values) if name in hidden else values
                for name, values in self.covariates.items()
            },
        )

    def window(self, origin_S: Ints | int, *, length: int, horizon: int, rows: Ints | None = None) -> Window:
        """The window of each series (of `rows`) at its origin; nothing after the origin gets into it but what is known.

        Past-only covariates have no future part, whatever the table holds.
        """
        panel = self if rows is None else self.take(rows)
        origin_S = np.broadcast_to(np.asarray(origin_S, np.int64), (len(panel),))
        back = origin_S[:, None] - panel.first + np.arange(-length + 1, 1)
        ahead = origin_S[:, None] - panel.first + np.arange(1, horizon + 1)
        known = panel.schema.named("known_future")
        return Window(
            series=panel.series,
            frequency=panel.frequency,
            origin_S=origin_S,
            demand_ST=_gather(panel.demand_SP, back),
            past={name: _gather(values, back) for name, values in panel.covariates.items()},
            future={name: _gather(panel.covariates[name], ahead) for name in known},
            horizon=horizon,
            logged=panel.logged,
        )

    def actual(self, origin_S: Ints | int, horizon: int) -> Floats:
        """sold_SH of the periods after the origin: what forecasts are judged by."""
        return self._ahead(self.demand_SP if self.sold_SP is None else self.sold_SP, origin_S, horizon)

    def wanted(self, origin_S: Ints | int, horizon: int) -> Floats:
        """demand_SH of the periods after the origin: what models learn to say."""
        return self._ahead(self.demand_SP, origin_S, horizon)

    def _ahead(self, values_SP: Floats, origin_S: Ints | int, horizon: int) -> Floats:
        origin_S = np.broadcast_to(np.asarray(origin_S, np.int64), (len(self),))
        return _gather(values_SP, origin_S[:, None] - self.first + np.arange(1, horizon + 1))


def fill(window: Window, schema: CovariateSchema) -> Window:
    """The window with every covariate's missing-value policy applied; raises MissingCovariate for a required one."""
    past, future = {}, {}
    for name, covariate in schema.covariates.items():
        if covariate.kind == "static" or name not in window.past:
            continue
        ahead_SH = window.future.get(name)
        joined = window.past[name] if ahead_SH is None else np.hstack([window.past[name], ahead_SH])
        if covariate.missing == "required" and ahead_SH is not None:
            _require(window, name, ahead_SH)
        filled = _filled(joined, covariate.missing)
        past[name] = filled[:, : window.demand_ST.shape[1]]
        if ahead_SH is not None:
            future[name] = filled[:, window.demand_ST.shape[1] :]
    return replace(window, past=past, future=future)


def require_static(series: SeriesTable, schema: CovariateSchema) -> None:
    """Raise MissingCovariate where a required static covariate has no value."""
    for name, covariate in schema.covariates.items():
        if covariate.kind == "static" and covariate.missing == "required":
            values = series.static.get(name, (None,) * len(series))
            for series_id, value in zip(series.series_id, values, strict=True):
                if value is None or value != value:
                    raise MissingCovariate(series_id, name, None)


def forward_filled(values_ST: Floats) -> Floats:
    """Each unknown value as the last known one before it; unknown where there was none."""
    known = np.isfinite(values_ST)
    place = np.where(known, np.arange(values_ST.shape[1])[None, :], -1)
    place = np.maximum.accumulate(place, axis=1) if place.shape[1] else place
    rows = np.arange(len(values_ST))[:, None]
    return np.where(place >= 0, values_ST[rows, np.maximum(place, 0)], np.nan) if place.shape[1] else values_ST


def gap_filled(demand_ST: Floats) -> Floats:
    """Gaps between known periods closed by the last known value; what lies before the first known one stays unknown."""
    return forward_filled(demand_ST)


def _require(window: Window, name: str, values_SH: Floats) -> None:
    row, step = np.nonzero(~np.isfinite(values_SH))
    if len(row):
        period = int(window.periods_SH[row[0], step[0]])
        raise MissingCovariate(window.series.series_id[int(row[0])], name, window.frequency.moment(period))


def _filled(values_ST: Floats, policy: Missing) -> Floats:
    if policy == "zero":
        return np.where(np.isfinite(values_ST), values_ST, 0.0)
    if policy == "mean":
        known = np.isfinite(values_ST)
        mean_S = np.where(known, values_ST, 0.0).sum(1) / np.maximum(known.sum(1), 1)
        return np.where(known, values_ST, np.where(known.any(1), mean_S, np.nan)[:, None])
    return values_ST if policy == "none" else forward_filled(values_ST)


def _gather(values_SP: Floats, places_SK: Ints) -> Floats:
    """values_SP at the given columns, nan outside."""
    if not values_SP.shape[1]:
        return np.full(places_SK.shape, np.nan)
    inside = (places_SK >= 0) & (places_SK < values_SP.shape[1])
    rows = np.arange(len(values_SP))[:, None]
    return np.where(inside, values_SP[rows, np.clip(places_SK, 0, values_SP.shape[1] - 1)], np.nan)


def _ending(values_ST: Floats, periods: int) -> Floats:
    missing = periods - values_ST.shape[1]
    if missing <= 0:
        return values_ST[:, -periods:]
    return np.hstack([np.full((len(values_ST), missing), np.nan), values_ST])
