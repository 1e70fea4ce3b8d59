"""Weekly demand of everybody: season, weather, price, promotions, stock that runs out; and the tables that show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from training.contracts.tables import PLACEMENT_KINDS
from training.datasets.sample import columns
from training.datasets.sample.catalogue import Catalogue
from training.datasets.sample.spec import (
    EVENT_WEEKS,
    FUTURE_WEEKS,
    HISTORY_END_US,
    WEEK_US,
    SizeSpec,
    stream,
)
from training.datasets.sample.taxonomy import LEAVES, season

LOCATION = "warehouse"
PIECE_ITEMS = 2_000
HOLIDAY_WEEKS = (14, 47, 48, 49, 50, 51)
PROMOTION_LIFT = 0.35
HOLIDAY_LIFT = 0.25
LEAD_WEEKS = 2
COVER_WEEKS = 4
DISCOUNTS = (0.1, 0.2, 0.3)

# An observed row of `sales` is what the shop sold to everybody: the panel whose events are in `events`, and the rest.
RELATION = "sales.demand = panel_units (purchase events of the week) + population_units (everybody else)"


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Weeks from the oldest sales week to the last known-ahead one; row `past` is the first future week."""

    iso_week_T: np.ndarray
    temperature_T: np.ndarray
    holiday_T: np.ndarray
    past: int

    @property
    def start_us_T(self) -> np.ndarray:
        return HISTORY_END_US + (np.arange(len(self.iso_week_T)) - self.past) * WEEK_US

    @property
    def event_weeks(self) -> slice:
        """The weeks in which there are events."""
        return slice(self.past - EVENT_WEEKS, self.past)


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Per item and calendar week: discount, units people wanted, units sold without the panel, stock at week start."""

    calendar: Calendar
    discount_NT: np.ndarray
    wanted_NT: np.ndarray
    sold_NT: np.ndarray
    stock_NT: np.ndarray

    @property
    def stocked_NW(self) -> np.ndarray:
        """Whether an item can be bought in each event week: some is left after everybody else's purchases."""
        left = (self.stock_NT - self.sold_NT)[:, self.calendar.event_weeks]
        return left > 0


def draw_calendar(spec: SizeSpec, seed: int) -> Calendar:
    rng = stream(seed, 3)
    weeks = spec.sales_weeks + FUTURE_WEEKS
    starts = HISTORY_END_US + (np.arange(weeks) - spec.sales_weeks) * WEEK_US
    days = starts.astype("datetime64[us]").astype("datetime64[D]")
    iso_week = ((days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(int) // 7) + 1
    temperature = 10 - 9 * np.cos(2 * np.pi * (iso_week - 3) / 52) + rng.normal(0, 2.5, weeks)
    holiday = np.isin(iso_week, HOLIDAY_WEEKS).astype(float)
    return Calendar(iso_week_T=iso_week, temperature_T=temperature, holiday_T=holiday, past=spec.sales_weeks)


def draw_demand(catalogue: Catalogue, calendar: Calendar, seed: int) -> Demand:
    rng = stream(seed, 4)
    discount_NT = _promotions(catalogue, len(calendar.iso_week_T), rng)
    mean_NT = expected_demand(catalogue, calendar, discount_NT)
    wanted_NT = rng.poisson(mean_NT * rng.gamma(12, 1 / 12, mean_NT.shape)).astype(np.int32)
    wanted_NT[catalogue.new_N, : calendar.past] = 0
    sold_NT, stock_NT = _warehouse(wanted_NT, mean_NT, rng)
    return Demand(calendar=calendar, discount_NT=discount_NT, wanted_NT=wanted_NT, sold_NT=sold_NT, stock_NT=stock_NT)


def expected_demand(catalogue: Catalogue, calendar: Calendar, discount_NT: np.ndarray) -> np.ndarray:
    """Mean units a week of everybody but the panel, float64 [N, T]."""
    warm_N = np.array([leaf.warm_effect for leaf in LEAVES])[catalogue.leaf_N]
    base_N = 6.0 * np.exp(0.8 * catalogue.log_popularity_N - 0.4 * catalogue.log_price_rank_N)
    log_mean_NT = np.log(base_N)[:, None] + np.log(season(calendar.iso_week_T))[:, catalogue.leaf_N].T
    log_mean_NT += catalogue.elasticity_N[:, None] * np.log1p(-discount_NT) + PROMOTION_LIFT * (discount_NT > 0)
    log_mean_NT += warm_N[:, None] * (calendar.temperature_T - 10) / 8 + HOLIDAY_LIFT * calendar.holiday_T
    return np.exp(log_mean_NT)


def _promotions(catalogue: Catalogue, weeks: int, rng: np.random.Generator) -> np.ndarray:
    """Campaigns of a leaf for two weeks, in which a quarter of its items are cheaper; known ahead."""
    campaign_LP = rng.random((len(LEAVES), (weeks + 1) // 2)) < 0.15
    running_LT = np.repeat(campaign_LP, 2, axis=1)[:, :weeks]
    phase_NT = np.repeat(rng.random((len(catalogue), (weeks + 1) // 2)), 2, axis=1)[:, :weeks]
    depth_NT = np.array(DISCOUNTS)[np.minimum(phase_NT * 12, 2).astype(int)]
    return np.where(running_LT[catalogue.leaf_N] & (phase_NT < 0.25), depth_NT, 0.0)


def _warehouse(wanted_NT: np.ndarray, mean_NT: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Order up to a few weeks of mean demand, delivered late at times: units sold and stock at each week's start."""
    target_N = np.ceil(mean_NT.mean(1) * (LEAD_WEEKS + COVER_WEEKS)).astype(np.int32) + 2
    stock_N, sold_NT, stock_NT = target_N.copy(), np.zeros_like(wanted_NT), np.zeros_like(wanted_NT)
    arriving_NT = np.zeros((len(wanted_NT), wanted_NT.shape[1] + 3 * LEAD_WEEKS), np.int32)
    rows = np.arange(len(stock_N))
    for week in range(wanted_NT.shape[1]):
        stock_N = stock_N + arriving_NT[:, week]
        stock_NT[:, week] = stock_N
        sold_NT[:, week] = np.minimum(wanted_NT[:, week], stock_N)
        stock_N = stock_N - sold_NT[:, week]
        on_order_N = arriving_NT[:, week + 1 :].sum(1)
        order_N = np.where(stock_N + on_order_N < 0.7 * target_N, target_N - stock_N - on_order_N, 0)
        late_N = np.where(rng.random(len(rows)) < 0.12, LEAD_WEEKS, 0)
        arriving_NT[rows, week + LEAD_WEEKS + late_N] += order_N
    return sold_NT, stock_NT


def panel_units(item_P: np.ndarray, week_P: np.ndarray, units_P: np.ndarray, items: int) -> np.ndarray:
    """Units the panel bought per item and event week, int32 [N, W]."""
    flat = np.bincount(item_P * EVENT_WEEKS + week_P, weights=units_P, minlength=items * EVENT_WEEKS)
    return flat.astype(np.int32).reshape(items, EVENT_WEEKS)


def sales_pieces(catalogue: Catalogue, demand: Demand, panel_NW: np.ndarray) -> Iterator[pa.Table]:
    """The sales table, some items at a time; an item that has just arrived has future rows only."""
    for start in range(0, len(catalogue), PIECE_ITEMS):
        rows = np.arange(start, min(start + PIECE_ITEMS, len(catalogue)))
        yield _sales(catalogue, demand, panel_NW, rows)


def _sales(catalogue: Catalogue, demand: Demand, panel_NW: np.ndarray, rows: np.ndarray) -> pa.Table:
    calendar = demand.calendar
    weeks = len(calendar.iso_week_T)
    units_RT = demand.sold_NT[rows].astype(float)
    units_RT[:, calendar.event_weeks] += panel_NW[rows]
    units_RT[:, calendar.past :] = np.nan
    kept = (~catalogue.new_N[rows])[:, None] | (np.arange(weeks) >= calendar.past)
    item_R, week_R = np.nonzero(kept)
    item_R = rows[item_R]
    future = week_R >= calendar.past
    discount = demand.discount_NT[item_R, week_R]
    leaves = tuple(leaf.name for leaf in LEAVES)
    return pa.table(
        {
            "series_id": pa.compute.binary_join_element_wise(columns.ids("i", item_R), LOCATION, "@"),
            "item_id": columns.ids("i", item_R),
            "location": columns.words((LOCATION,), np.zeros(len(item_R), int)),
            "timestamp": columns.times(calendar.start_us_T[week_R]),
            "demand": columns.floats(units_RT[kept]),
            "price": np.round(catalogue.price_N[item_R] * (1 - discount), 2),
            "promotion": discount,
            "split": pa.nulls(len(item_R), pa.string()),
            "category": columns.words(leaves, catalogue.leaf_N[item_R]),
            "holiday": calendar.holiday_T[week_R],
            "temperature_c": columns.floats(np.where(future, np.nan, np.round(calendar.temperature_T, 1)[week_R])),
        }
    )


COVARIATES: dict[str, dict[str, dict[str, str]]] = {
    "covariates": {
        "category": {"kind": "static", "missing": "required"},
        "price": {"kind": "known_future", "missing": "last"},
        "promotion": {"kind": "known_future", "missing": "zero"},
        "holiday": {"kind": "known_future", "missing": "zero"},
        "temperature_c": {"kind": "past_only", "missing": "last"},
    }
}


def inventory_pieces(catalogue: Catalogue, demand: Demand, panel_NW: np.ndarray) -> Iterator[pa.Table]:
    """Stock at the start of each event week and at the end of the history: it holds what the week then sold."""
    on_hand_NW = on_hand(demand, panel_NW)
    starts = demand.calendar.start_us_T[demand.calendar.past - EVENT_WEEKS : demand.calendar.past + 1]
    for first in range(0, len(catalogue), PIECE_ITEMS):
        rows = np.arange(first, min(first + PIECE_ITEMS, len(catalogue)))
        item_R = np.repeat(rows, len(starts))
        yield pa.table(
            {
                "item_id": columns.ids("i", item_R),
                "location": columns.words((LOCATION,), np.zeros(len(item_R), int)),
                "timestamp": columns.times(np.tile(starts, len(rows))),
                "on_hand": on_hand_NW[rows].astype(float).ravel(),
                "lead_time_days": np.full(len(item_R), 7.0 * LEAD_WEEKS),
            }
        )


def on_hand(demand: Demand, panel_NW: np.ndarray) -> np.ndarray:
    """Stock at the start of each event week, and of the first future one, int [N, W + 1]."""
    past = demand.calendar.past
    stock = demand.stock_NT[:, past - EVENT_WEEKS : past + 1].copy()
    stock[:, :-1] += panel_NW
    return stock


def placement_pieces(demand: Demand) -> Iterator[pa.Table]:
    """What promoted items were put where in each week, future weeks included."""
    item_P, week_P = np.nonzero(demand.discount_NT)
    depth = np.searchsorted(DISCOUNTS, demand.discount_NT[item_P, week_P] - 1e-9)
    kinds = np.array([PLACEMENT_KINDS.index(kind) for kind in ("coupon", "display", "banner")])
    details = tuple(f"{round(100 * discount)}% off" for discount in DISCOUNTS)
    for start in range(0, len(item_P), 100_000):
        part = slice(start, start + 100_000)
        count = len(item_P[part])
        yield pa.table(
            {
                "item_id": columns.ids("i", item_P[part]),
                "location": columns.words(("web",), np.zeros(count, int)),
                "timestamp": columns.times(demand.calendar.start_us_T[week_P[part]]),
                "kind": columns.words(PLACEMENT_KINDS, kinds[depth[part]]),
                "detail": columns.words(details, depth[part]),
            }
        )
