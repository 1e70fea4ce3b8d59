"""What a forecaster bundle holds and serves: the members that a backtest chose, and the history behind them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training.contracts.covariates import CovariateSchema
from training.contracts.errors import InputError, Problem
from training.features.demand import Floats, Ints, Panel, SeriesTable, Static, Window, fill
from training.features.periods import Frequency
from training.models.demand.cold_start import ColdStart
from training.models.demand.groups import NEW, Grouping
from training.models.demand.history import SeriesHistory, load_panel, save_panel
from training.models.demand.intervals import Intervals, error_scale
from training.models.demand.member import Member
from training.models.demand.registry import load_member

FORECASTER_FILE, HISTORY_FILE, MEMBERS_FOLDER = "forecaster.json", "history.parquet", "members"
ENSEMBLE, COLD_START = "ensemble", "cold_start"
Weights = Mapping[str, float]
"""Member -> its share of the forecast."""


@dataclass(frozen=True, kw_only=True)
class SeriesQuery:
    """One series to forecast. `future` holds covariates of the next periods after the history, nan where unknown.

    `given`: covariates that the caller gave himself; a member that uses them answers. `first_period`, for a series
    without history, is where the forecast starts; by default it is where the training data ended.
    """

    series_id: str
    history: SeriesHistory
    item_id: str | None = None
    location: str | None = None
    static: Mapping[str, Static] = field(default_factory=dict)
    future: Mapping[str, Floats] = field(default_factory=dict)
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class SeriesForecast:
    """timestamps_us_H are period starts; quantiles_QH in the order of the levels asked for."""

    series_id: str
    model: str
    timestamps_us_H: Ints
    mean_H: Floats
    quantiles_QH: Floats


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who answers: by group of series, the members' weights; `informed`: the same among members that use covariates."""

    chosen: Mapping[str, Weights]
    informed: Mapping[str, Weights]

    def weights(self, group: str, *, informed: bool) -> Weights:
        table = self.informed if informed and self.informed else self.chosen
        return table.get(group) or table["all"]


@dataclass(kw_only=True)
class Forecaster:
    """Forecasts any series from its history: those of training, and ones that it has never met."""

    horizon: int
    memory: int
    frequency: Frequency
    covariates: CovariateSchema
    quantiles: tuple[float, ...]
    members: Mapping[str, Member]
    plan: Plan
    grouping: Grouping
    intervals: Intervals
    panel: Panel
    cold_start: ColdStart = field(default_factory=lambda: ColdStart(-np.inf, {}))
    backtest: Mapping[str, float] = field(default_factory=dict)
    non_negative: bool = True

    def __post_init__(self) -> None:
        table = self.panel.series
        self._row = {series_id: row for row, series_id in enumerate(table.series_id)}
        self._series = {
            series_id: (table.item_id[row], table.location[row],
                        {name: values[row] for name, values in table.static.items()})
            for series_id, row in self._row.items()
        }  # fmt: skip
        self._of_item: dict[tuple[str | None, str | None], list[str]] = defaultdict(list)
        for series_id, (item_id, location, _) in self._series.items():
            for place in dict.fromkeys((location, None)):
                self._of_item[item_id, place].append(series_id)

    @property
    def series(self) -> Mapping[str, tuple[str | None, str | None, Mapping[str, Static]]]:
        """series_id -> item_id, location, static covariates of what it was trained on."""
        return self._series

    def series_of(self, item_id: str, location: str | None = None) -> tuple[str, ...]:
        """The series of an item: at a location, or at all of them."""
        return tuple(self._of_item.get((item_id, location), ()))

    @property
    def end(self) -> int:
        """The period after the last one of the training data."""
        return self.panel.end

    def history(self, series_id: str) -> SeriesHistory | None:
        """What the bundle keeps of a series, the known-ahead rows left out."""
        row = self._row.get(series_id)
        if row is None:
            return None
        kept = self.end - self.panel.first
        return SeriesHistory.of_panel(self.panel, row, 0, kept)

    def future(self, series_id: str, after: int, horizon: int) -> Mapping[str, Floats]:
        """Known-future covariates that the training shop already had for the periods after `after`; nan elsewhere."""
        row = self._row.get(series_id)
        names = self.covariates.named("known_future")
        if row is None:
            return {name: np.full(horizon, np.nan) for name in names}
        window = self.panel.window(after, length=1, horizon=horizon, rows=np.array([row]))
        return {name: window.future[name][0] for name in names if name in window.future}

    def query(self, series_id: str, given: Mapping[str, Floats] | None = None) -> SeriesQuery:
        """The question about a series as the bundle knows it; `given` covariates replace the known ones."""
        history = self.history(series_id)
        if history is None:
            raise InputError(Problem(field="series_id", problem="unknown series", found=series_id))
        item_id, location, static = self.series[series_id]
        last = history.last_period(self.frequency)
        ahead = dict(self.future(series_id, self.end - 1 if last is None else last, self.horizon))
        return SeriesQuery(
            series_id=series_id, history=history, item_id=item_id, location=location, static=static,
            future={**ahead, **(given or {})}, given=frozenset(given or ()),
        )  # fmt: skip

    def forecast(
        self, queries: Sequence[SeriesQuery], horizon: int, quantiles: Sequence[float] = ()
    ) -> list[SeriesForecast]:
        """All in one pass; an answer does not depend on who else is asked for.

        Raises InputError for a horizon beyond the trained one, MissingCovariate for a required one without value.
        """
        if not 1 <= horizon <= self.horizon:
            raise InputError(
                Problem(field="horizon", problem="beyond the trained horizon", found=str(horizon),
                        allowed=f"1 to {self.horizon}")
            )  # fmt: skip
        if not queries:
            return []
        window = self.window(queries, horizon)
        informed = [bool(query.given & self.usable) for query in queries]
        means_SH, names = self.means(window, informed)
        levels = tuple(sorted(quantiles or self.quantiles))
        values_SQH = self.quantiles_of(window, means_SH, levels)
        order = [levels.index(level) for level in (quantiles or self.quantiles)]
        starts_SH = self.frequency.timestamp_us(window.periods_SH)
        return [
            SeriesForecast(
                series_id=query.series_id, model=names[row], timestamps_us_H=starts_SH[row],
                mean_H=means_SH[row], quantiles_QH=values_SQH[row][order],
            )
            for row, query in enumerate(queries)
        ]  # fmt: skip

    @property
    def usable(self) -> frozenset[str]:
        """Covariates that some member's forecasts depend on."""
        return frozenset().union(*(member.uses for member in self.members.values()))

    def window(self, queries: Sequence[SeriesQuery], horizon: int) -> Window:
        """The queries as one window, covariates filled by their policies."""
        length, names = self.memory, [name for name, of in self.covariates.covariates.items() if of.kind != "static"]
        demand_ST = np.full((len(queries), length), np.nan)
        past = {name: np.full((len(queries), length), np.nan) for name in names}
        future = {name: np.full((len(queries), horizon), np.nan) for name in self.covariates.named("known_future")}
        origin_S = np.full(len(queries), self.end - 1)
        for row, query in enumerate(queries):
            last = query.history.last_period(self.frequency)
            if last is not None:
                origin_S[row] = last
                query.history.place(self.frequency, last, demand_ST[row], {name: past[name][row] for name in names})
            for name, values_H in query.future.items():
                if name in future:
                    count = min(len(values_H), horizon)
                    future[name][row, :count] = values_H[:count]
        static = {name: tuple(query.static.get(name) for query in queries) for name in self.covariates.named("static")}
        table = SeriesTable(
            series_id=tuple(query.series_id for query in queries), item_id=tuple(query.item_id for query in queries),
            location=tuple(query.location for query in queries), static=static,
        )  # fmt: skip
        window = Window(
            series=table, frequency=self.frequency, origin_S=origin_S, demand_ST=demand_ST, past=past, future=future,
            horizon=horizon, logged=self.panel.logged,
        )  # fmt: skip
        return fill(window, self.covariates)

    def means(self, window: Window, informed: Sequence[bool]) -> tuple[Floats, list[str]]:
        """mean_SH and the member's name of each series: by its group, and among informed members where asked."""
        groups = self.grouping.of(window)
        plans = [self.plan.weights(group, informed=asked) for group, asked in zip(groups, informed, strict=True)]
        named = [ENSEMBLE if len(weights) > 1 else next(iter(weights)) for weights in plans]
        mean_SH = np.zeros((len(window), window.horizon))
        for name, member in self.members.items():
            share_S = np.array([weights.get(name, 0.0) for weights in plans])
            rows = np.flatnonzero(share_S)
            if len(rows):
                mean_SH[rows] += share_S[rows, None] * member.forecast(window.take(rows))
        new = [row for row, group in enumerate(groups) if group == NEW]
        if new:
            mean_SH[new] = self.cold_start.forecast(window.series.take(new), window.horizon)
            named = [COLD_START if group == NEW else name for group, name in zip(groups, named, strict=True)]
        return (np.maximum(mean_SH, 0.0) if self.non_negative else mean_SH), named

    def quantiles_of(self, window: Window, mean_SH: Floats, levels: Sequence[float]) -> Floats:
        """values_SQH at rising `levels`."""
        groups = self.grouping.of(window)
        values_SQH = self.intervals.quantiles(mean_SH, error_scale(window, mean_SH), groups, levels)
        return np.maximum(values_SQH, 0.0) if self.non_negative else values_SQH

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_panel(self.panel, folder / HISTORY_FILE)
        for name, member in self.members.items():
            member.save(folder / MEMBERS_FOLDER / name)
        (folder / FORECASTER_FILE).write_text(json.dumps(self._document(), indent=1), encoding="utf-8")

    def _document(self) -> dict[str, Any]:
        return {
            "horizon": self.horizon,
            "memory": self.memory,
            "frequency": asdict(self.frequency),
            "covariates": self.covariates.model_dump(mode="json"),
            "quantiles": self.quantiles,
            "members": list(self.members),
            "chosen": self.plan.chosen,
            "informed": self.plan.informed,
            "lag": self.grouping.lag,
            "intervals": {name: table.tolist() for name, table in self.intervals.scores.items()},
            "cold_start": {"usual": self.cold_start.usual, "effects": self.cold_start.effects},
            "backtest": dict(self.backtest),
            "non_negative": self.non_negative,
        }

    @classmethod
    def load(cls, folder: Path) -> Forecaster:
        document = json.loads((folder / FORECASTER_FILE).read_text(encoding="utf-8"))
        frequency, schema = (
            Frequency(**document["frequency"]),
            CovariateSchema.model_validate(document["covariates"]),
        )
        horizon = int(document["horizon"])
        scores = {name: np.array(table) for name, table in document["intervals"].items()}
        return cls(
            horizon=horizon,
            memory=int(document["memory"]),
            frequency=frequency,
            covariates=schema,
            quantiles=tuple(document["quantiles"]),
            members={name: load_member(name, folder / MEMBERS_FOLDER / name) for name in document["members"]},
            plan=Plan(chosen=document["chosen"], informed=document["informed"]),
            grouping=Grouping(int(document["lag"])),
            intervals=Intervals(horizon, scores),
            panel=load_panel(folder / HISTORY_FILE, frequency, schema),
            cold_start=ColdStart(**document["cold_start"]),
            backtest=document["backtest"],
            non_negative=bool(document["non_negative"]),
        )
