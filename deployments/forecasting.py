"""Forecasting: the next periods of series, from the bundle's history and every sale since; what is worth selling."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from deployments.live import LiveShop
from deployments.messages import (
    AskedSeries,
    AssortmentQuery,
    ForecastQuery,
    Forecasts,
    GivenCovariates,
    SelectionList,
    Unforecastable,
)
from deployments.policies.filters import Filter, compile_filter
from deployments.state.clock import to_us
from deployments.state.records import Row
from deployments.summed_series import summed
from training.bundles.manifest import Manifest
from training.contracts.covariates import MissingCovariate
from training.contracts.errors import InputError
from training.features.demand import Floats
from training.models.assortment import INTERVAL, Outlook, selection
from training.models.demand.history import SeriesHistory, together
from training.models.forecaster import Forecaster, SeriesForecast, SeriesQuery
from training.models.replenishment import Demand, deviations_of, total

FIXED = ("series_id", "item_id", "location", "timestamp", "demand", "split")
Fault = dict[str, str | None]
Answer = Forecasts | SelectionList | Unforecastable
MOST_ASSORTED = 5_000
CORRECTED_PERIODS = 8
"""Before the end of the training data, in which later sales rows still count."""


class Forecasting:
    """One bundle's forecaster; histories go on with what POST /v1/sales has brought since."""

    def __init__(self, forecaster: Forecaster, live: LiveShop) -> None:
        self.forecaster, self.live = forecaster, live
        bounds = np.array([forecaster.end - CORRECTED_PERIODS, forecaster.end + forecaster.memory])
        self._since_us, self._until_us = (int(moment) for moment in forecaster.frequency.timestamp_us(bounds))
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, live: LiveShop) -> Forecasting:
        """The bundle's forecaster, warmed up."""
        forecasting = cls(Forecaster.load(folder), live)
        first = next(iter(forecasting.forecaster.series), None)
        if first is not None:
            forecasting.answer([ForecastQuery(manifest.version, (AskedSeries(first),))])
        return forecasting

    def follow(self) -> None:
        """Nothing is kept: sales are read when they are asked about."""

    def answer(self, queries: Sequence[ForecastQuery | AssortmentQuery]) -> list[Answer]:
        return [self._one(query) for query in queries]

    def _one(self, query: ForecastQuery | AssortmentQuery) -> Answer:
        age_ms = self.live.age_ms()
        try:
            with self._lock:
                if isinstance(query, AssortmentQuery):
                    return self._selection_list(query, age_ms)
                return self._forecasts(query, age_ms)
        except MissingCovariate as missing:
            when = missing.timestamp.isoformat() if missing.timestamp else None
            said = f"{missing.column} is required: series {missing.series_id} has none for {when or 'any period'}"
            named = {"series_id": missing.series_id, "column": missing.column, "timestamp": when}
            return Unforecastable(query.version, [{"field": "covariates", "problem": said, **named}], age_ms)
        except InputError as error:
            problems: list[Fault] = [{"field": one.field or "series", "problem": str(one)} for one in error.problems]
            return Unforecastable(query.version, problems, age_ms)

    def _forecasts(self, query: ForecastQuery, age_ms: float) -> Answer:
        forecaster = self.forecaster
        parts = [self._parts(asked) for asked in query.series]
        ids = list(dict.fromkeys(series_id for part in parts for series_id in part))
        live, given = self._live(ids), _by_series(query.covariates)
        wrong = self._wrong_covariates(query.covariates, set(ids))
        for place, (asked, part) in enumerate(zip(query.series, parts, strict=True)):
            if not any(series_id in forecaster.series or live.get(series_id) for series_id in part):
                wrong.append({"field": f"series.{place}", "problem": f"unknown series: {_name(asked)}"})
        if wrong:
            return Unforecastable(query.version, wrong, age_ms)
        origins = [self._origin(part, live) for part in parts]
        keys = list(dict.fromkeys((one, last) for part, last in zip(parts, origins, strict=True) for one in part))
        queries = [self._query(one, last, live.get(one, []), given.get(one, [])) for one, last in keys]
        levels = query.quantiles or forecaster.quantiles
        found = dict(zip(keys, forecaster.forecast(queries, query.horizon or forecaster.horizon, levels), strict=True))
        series = [
            summed(asked.item_id or part[0], [found[one, last] for one in part])
            for asked, part, last in zip(query.series, parts, origins, strict=True)
        ]
        period_days = forecaster.frequency.period_days
        return Forecasts(query.version, series, tuple(levels), dict(forecaster.backtest), period_days, age_ms)

    def _parts(self, asked: AskedSeries) -> tuple[str, ...]:
        """The series asked about: one, or those of an item at all its locations."""
        if asked.series_id is not None:
            return (asked.series_id,)
        return self.forecaster.series_of(asked.item_id or "", asked.location)

    def _live(self, series_ids: Sequence[str]) -> dict[str, list[Row]]:
        """Rows of the sales table around and after the end of the training data; none from a far future."""
        found = self.live.store.sales_of(series_ids, since_us=self._since_us)
        return {
            series_id: [row for row in rows if to_us(row["timestamp"]) < self._until_us]
            for series_id, rows in found.items()
        }

    def _origin(self, series_ids: Sequence[str], live: Mapping[str, Sequence[Row]]) -> int:
        """The newest period that is known of any of these series, from which all of them are forecast."""
        sold = [row for one in series_ids for row in live.get(one, []) if row.get("demand") is not None]
        periods = self.forecaster.frequency.period(np.array([to_us(row["timestamp"]) for row in sold], np.int64))
        return int(periods.max(initial=self.forecaster.end - 1))

    def _wrong_covariates(self, given: Sequence[GivenCovariates], ids: set[str]) -> list[Fault]:
        """What is given for series that are not asked about, or under names that are not known ahead."""
        known = self.forecaster.covariates.named("known_future")
        wrong: list[Fault] = []
        for place, one in enumerate(given):
            if one.series_id not in ids:
                wrong.append({"field": f"covariates.{place}.series_id", "problem": f"not asked about: {one.series_id}"})
            wrong += [
                {"field": f"covariates.{place}.{name}",
                 "problem": f"no covariate that is known ahead; allowed {', '.join(known) or 'none'}"}
                for name in one.values if name not in known
            ]  # fmt: skip
        return wrong

    def _query(self, series_id: str, last: int, rows: Sequence[Row], given: Sequence[GivenCovariates]) -> SeriesQuery:
        """What the bundle knows, what was sold until `last`, what is known ahead, and what the caller says of that."""
        forecaster = self.forecaster
        known = forecaster.series.get(series_id)
        history = _continued(forecaster.history(series_id) or SeriesHistory.empty(), rows, forecaster)
        history = history.reaching(last, forecaster.frequency)
        future = {
            name: values_H.copy() for name, values_H in forecaster.future(series_id, last, forecaster.horizon).items()
        }
        for row in rows:
            _put(future, forecaster, last, to_us(row["timestamp"]), row)
        for one in given:
            _put(future, forecaster, last, one.timestamp_us, one.values)
        item_id, location, static = known or (
            _word(rows, "item_id"), _word(rows, "location"),
            {name: _last(rows, name) for name in forecaster.covariates.named("static")},
        )  # fmt: skip
        return SeriesQuery(
            series_id=series_id, history=history, item_id=item_id, location=location, static=static, future=future,
            given=frozenset(name for one in given for name in one.values),
        )  # fmt: skip

    def _selection_list(self, query: AssortmentQuery, age_ms: float) -> Answer:
        """Of the catalogue's items of a category that have a series."""
        view = self.live.view
        mask = view.alive if query.category is None else view.alive & view.row_mask(_in_category(query.category))
        items = [item_id for item_id, row in view.row_of.items() if mask[row]]
        series = {item: self.forecaster.series_of(item, query.location) for item in sorted(items)}
        listed = {item: parts for item, parts in series.items() if parts}
        ids = [series_id for parts in listed.values() for series_id in parts][:MOST_ASSORTED]
        live = self._live(ids)
        lasts = {one: last for parts in listed.values() for last in [self._origin(parts, live)] for one in parts}
        queries = {one: self._query(one, lasts[one], live.get(one, []), []) for one in ids}
        answers = self.forecaster.forecast(list(queries.values()), self.forecaster.horizon, INTERVAL)
        found = dict(zip(ids, answers, strict=True))
        outlooks = [
            self._outlook(item, [queries[one].history for one in parts], summed(item, [found[one] for one in parts]))
            for item, parts in listed.items()
            if all(one in found for one in parts)
        ]
        verdicts = selection(outlooks)[: query.limit]
        return SelectionList(query.version, verdicts, self.forecaster.horizon, dict(self.forecaster.backtest), age_ms)

    def _outlook(self, item_id: str, histories: Sequence[SeriesHistory], forecast: SeriesForecast) -> Outlook:
        row = self.live.view.item(item_id) or {}
        price, cost, stock = row.get("price"), row.get("cost"), row.get("stock")
        deviations_H = deviations_of(*forecast.quantiles_QH)
        periods = [Demand(float(mean), float(by)) for mean, by in zip(forecast.mean_H, deviations_H, strict=True)]
        return Outlook(
            item_id=item_id, demand_T=together(histories, self.forecaster.frequency), expected=total(periods),
            unit_margin=price - cost if price is not None and cost is not None else None,
            in_stock=stock is None or stock > 0,
        )  # fmt: skip


def _in_category(category: str) -> Filter:
    quoted = category.replace("'", "''")
    return compile_filter(f"category = '{quoted}'")


def _by_series(given: Sequence[GivenCovariates]) -> dict[str, list[GivenCovariates]]:
    found: dict[str, list[GivenCovariates]] = defaultdict(list)
    for one in given:
        found[one.series_id].append(one)
    return found


def _continued(history: SeriesHistory, rows: Sequence[Row], forecaster: Forecaster) -> SeriesHistory:
    """The history and the observed periods of these rows, which know better."""
    observed = [row for row in rows if row.get("demand") is not None]
    if not observed:
        return history
    names = [name for name, of in forecaster.covariates.covariates.items() if of.kind != "static"]
    since = SeriesHistory(
        timestamps_us_T=np.array([to_us(row["timestamp"]) for row in observed], np.int64),
        demand_T=np.array([float(row["demand"]) for row in observed]),
        covariates={name: np.array(_column(observed, name)) for name in names},
    )
    return history.continued(since, forecaster.frequency)


def _put(
    future: dict[str, Floats], forecaster: Forecaster, last: int, timestamp_us: int, values: Mapping[str, object]
) -> None:
    """Write what a row says of a period after `last`."""
    step = int(forecaster.frequency.period(np.array([timestamp_us]))[0]) - last - 1
    for name, values_H in future.items():
        if 0 <= step < len(values_H) and values.get(name) is not None:
            values_H[step] = _number(values[name])


def _column(rows: Sequence[Row], name: str) -> list[float]:
    return [_number(row.get(name)) for row in rows]


def _number(value: object) -> float:
    return float(value) if isinstance(value, bool | int | float) else float("nan")


def _last(rows: Sequence[Row], name: str) -> str | float | None:
    """The newest known value of a column."""
    return next((row[name] for row in reversed(rows) if row.get(name) is not None), None)


def _word(rows: Sequence[Row], name: str) -> str | None:
    value = _last(rows, name)
    return None if value is None else str(value)


def _name(asked: AskedSeries) -> str:
    return asked.series_id or " at ".join(part for part in (asked.item_id, asked.location) if part)
