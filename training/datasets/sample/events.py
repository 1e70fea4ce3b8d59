"""The event log of a block of people, and the log of the slates they were shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from training.contracts.tables import EVENT_TYPES, SLATE
from training.datasets.sample import columns
from training.datasets.sample.choice import ChoiceModel
from training.datasets.sample.sessions import Views
from training.datasets.sample.shoppers import DEVICES, MAX_SESSIONS, WINDOW_START_US, Shoppers
from training.datasets.sample.spec import DAY_US, HISTORY_END_US, SLATE_SIZE, WEEK_US
from training.datasets.sample.taxonomy import LEAVES, NEEDS, STYLE_NAMES, STYLES

RELEASE = "logging-policy"
SECOND_US = 1_000_000
SEARCH_FIRST, SEARCH_LATER = 0.35, 0.05


@dataclass(frozen=True, kw_only=True)
class Log:
    """E events of a block, sorted by user and time; -1 and NaN mean null. `query_E` indexes `queries()`."""

    user_E: np.ndarray
    session_E: np.ndarray
    type_E: np.ndarray
    item_E: np.ndarray
    time_E: np.ndarray
    value_E: np.ndarray
    quantity_E: np.ndarray
    dwell_E: np.ndarray
    query_E: np.ndarray
    slate_E: np.ndarray
    position_E: np.ndarray
    device_E: np.ndarray
    view_E: np.ndarray

    def __len__(self) -> int:
        return len(self.user_E)

    def of_type(self, name: str) -> np.ndarray:
        """Row numbers of the events of a type."""
        return np.flatnonzero(self.type_E == EVENT_TYPES.index(name))


def event_log(shoppers: Shoppers, views: Views, model: ChoiceModel, first_slate: int, rng: np.random.Generator) -> Log:
    """Everything that people did around their views; slates are numbered from `first_slate`."""
    slate_V = np.where(views.shown_V, first_slate + np.cumsum(views.shown_V) - 1, -1)
    clicked_V = np.where(views.clicked_V >= 0, slate_V, -1)
    price_V = paid_price(model, views.item_V, views.week_V)
    parts = [_searches(views, rng), _impressions(views, slate_V)]
    parts += _looks(views, clicked_V, price_V, rng)
    parts += _purchases(views, clicked_V, price_V, model, rng)
    return _sorted_log(shoppers, views, parts)


def paid_price(model: ChoiceModel, item_V: np.ndarray, week_V: np.ndarray) -> np.ndarray:
    """The item's price in that week, promotions taken off."""
    return np.round(model.catalogue.price_N[item_V] * (1 - model.discount_NW[item_V, week_V]), 2)


def _rows(kind: str, view: np.ndarray, time: np.ndarray, **more: np.ndarray) -> dict[str, np.ndarray]:
    return {"type": np.full(len(view), EVENT_TYPES.index(kind)), "view": view, "time": time, **more}


def _searches(views: Views, rng: np.random.Generator) -> dict[str, np.ndarray]:
    chance = np.where(views.step_V == 0, SEARCH_FIRST, SEARCH_LATER)
    view = np.flatnonzero((rng.random(len(views)) < chance) & ~views.shown_V & ~views.refill_V)
    words = rng.integers(3, size=len(view))
    by_need = rng.random(len(view)) < 0.5
    leaf = views.leaf_V[view] * len(STYLE_NAMES) + views.style_V[view]
    query = np.where(by_need, views.need_V[view] * 3 + words, 3 * len(NEEDS) + leaf * 3 + words)
    return _rows("search", view, views.time_V[view] - 4 * SECOND_US, query=query, item=np.full(len(view), -1))


def queries() -> tuple[str, ...]:
    """What people type: three wordings of each need, then of each leaf and style."""
    of_need = [word for need in NEEDS for word in need.words]
    of_shelf = [f"{adjective} {leaf.noun}" for leaf in LEAVES for style in STYLE_NAMES for adjective in STYLES[style]]
    return tuple(of_need + of_shelf)


def _impressions(views: Views, slate_V: np.ndarray) -> dict[str, np.ndarray]:
    shown = np.flatnonzero(views.shown_V)
    view = np.repeat(shown, SLATE_SIZE)
    return _rows(
        "impression",
        view,
        views.time_V[view] - 3 * SECOND_US,
        item=views.slate_VK[shown].ravel(),
        slate=slate_V[view],
        position=np.tile(np.arange(SLATE_SIZE), len(shown)),
    )


def _looks(
    views: Views, clicked_V: np.ndarray, price_V: np.ndarray, rng: np.random.Generator
) -> list[dict[str, np.ndarray]]:
    """Views and what follows each at once: wishlist, like, dislike, cart and second thoughts."""
    every = np.arange(len(views))
    chance = rng.random((4, len(views)))
    dwell = np.round(np.exp(rng.normal(2.2 + 0.6 * views.carted_V, 0.6)), 1)
    view = _rows("view", every, views.time_V, dwell=np.minimum(dwell, 600), slate=clicked_V, position=views.clicked_V)
    followers = (
        ("wishlist", chance[0] < np.where(views.carted_V, 0.02, 0.05), 8),
        ("like", chance[1] < 0.03, 9),
        ("dislike", chance[2] < 0.012, 10),
        ("add_to_cart", views.carted_V, 12),
        ("remove_from_cart", views.removed_V, 20),
    )
    parts = [view]
    for kind, happens, seconds in followers:
        row = np.flatnonzero(happens)
        part = _rows(kind, row, views.time_V[row] + seconds * SECOND_US, slate=clicked_V[row])
        if kind.endswith("cart"):
            part |= {"value": price_V[row], "quantity": np.ones(len(row))}
        parts.append(part)
    return parts


def _purchases(
    views: Views, clicked_V: np.ndarray, price_V: np.ndarray, model: ChoiceModel, rng: np.random.Generator
) -> list[dict[str, np.ndarray]]:
    """Checkout a minute after the session's last view, and days later a rating of some of it."""
    session_V = views.shopper_V * MAX_SESSIONS + views.session_V
    ends = np.flatnonzero(np.append(session_V[1:] != session_V[:-1], True))
    end_V = ends[np.searchsorted(ends, np.arange(len(views)))]
    row = np.flatnonzero(views.bought_V & ~_bought_before(views, session_V))
    time = views.time_V[end_V[row]] + 60 * SECOND_US
    # Stock and prices are of the session's week: a checkout past Sunday midnight does not happen.
    same_week = (time - WINDOW_START_US) // WEEK_US == views.week_V[row]
    row, time = row[same_week], time[same_week]
    units = 1.0 + rng.poisson(0.15, len(row))
    bought = _rows("purchase", row, time, value=price_V[row], quantity=units, slate=clicked_V[row])
    rated = rng.random(len(row)) < 0.45
    later = time + (rng.uniform(4, 21, len(row)) * DAY_US).astype(np.int64) // 1000 * 1000
    rated &= later < HISTORY_END_US
    quality = model.catalogue.quality_N[views.item_V[row]]
    stars = np.clip(np.round(3.7 + 0.9 * quality + rng.normal(0, 0.8, len(row))), 1, 5)
    rating = _rows("rating", row[rated], later[rated], value=stars[rated], session=np.full(int(rated.sum()), -1))
    return [bought, rating]


def _bought_before(views: Views, session_V: np.ndarray) -> np.ndarray:
    """Whether the same item was already bought in the session: one line of an order is enough."""
    bought = np.flatnonzero(views.bought_V)
    _, first = np.unique(np.column_stack([session_V[bought], views.item_V[bought]]), axis=0, return_index=True)
    again = np.ones(len(views), bool)
    again[bought[first]] = False
    return again


def _sorted_log(shoppers: Shoppers, views: Views, parts: list[dict[str, np.ndarray]]) -> Log:
    view = np.concatenate([part["view"] for part in parts])

    def column(name: str, default: float) -> np.ndarray:
        return np.concatenate([part.get(name, np.full(len(part["view"]), default)) for part in parts])

    shopper = views.shopper_V[view]
    session = shoppers.number_B[shopper] * MAX_SESSIONS + views.session_V[view]
    session = np.where(column("session", 0) < 0, -1, session)
    item = np.concatenate([part.get("item", views.item_V[part["view"]]) for part in parts])
    time, kind = column("time", 0).astype(np.int64), column("type", 0)
    order = np.lexsort((view, kind, time, shopper))
    return Log(
        user_E=shoppers.number_B[shopper][order],
        session_E=session[order],
        type_E=kind[order].astype(int),
        item_E=item[order],
        time_E=time[order],
        value_E=column("value", np.nan)[order],
        quantity_E=column("quantity", np.nan)[order],
        dwell_E=column("dwell", np.nan)[order],
        query_E=column("query", -1)[order].astype(int),
        slate_E=column("slate", -1)[order].astype(int),
        position_E=column("position", -1)[order].astype(int),
        device_E=shoppers.device_B[shopper][order],
        view_E=view[order],
    )


def events_table(log: Log, first_event: int) -> pa.Table:
    """The events table; ids count from `first_event`."""
    return pa.table(
        {
            "event_id": columns.ids("e", first_event + np.arange(len(log)), 9),
            "user_id": columns.ids("u", log.user_E),
            "session_id": columns.ids_or_null("s", log.session_E, 8),
            "type": columns.words(EVENT_TYPES, log.type_E),
            "item_id": columns.ids_or_null("i", log.item_E),
            "timestamp": columns.times(log.time_E),
            "value": columns.floats(log.value_E),
            "quantity": columns.floats(log.quantity_E),
            "dwell_s": columns.floats(log.dwell_E),
            "query": columns.words(queries(), log.query_E),
            "recommendation_id": columns.ids_or_null("r", log.slate_E, 8),
            "position": pa.array(log.position_E, pa.int32(), mask=log.position_E < 0),
            "context": columns.string_map({"device": columns.words(DEVICES, log.device_E)}),
        }
    )


def recommendations_table(shoppers: Shoppers, views: Views, model: ChoiceModel, first_slate: int) -> pa.Table:
    """The slates as served by the logging policy, with the chance each item had of standing there."""
    shown = np.flatnonzero(views.shown_V)
    slate_SK, leaf_S = views.slate_VK[shown], views.leaf_V[shown]
    propensity_SK = model.logging_LN[leaf_S[:, None], slate_SK]
    entries = pa.StructArray.from_arrays(
        [
            columns.ids("i", slate_SK.ravel()),
            pa.array(np.tile(np.arange(SLATE_SIZE), len(shown)), pa.int32()),
            pa.array(np.log(propensity_SK.ravel())),
            pa.array(propensity_SK.ravel()),
        ],
        fields=list(SLATE.value_type),
    )
    return pa.table(
        {
            "recommendation_id": columns.ids("r", first_slate + np.arange(len(shown)), 8),
            "user_id": columns.ids("u", shoppers.number_B[views.shopper_V[shown]]),
            "as_of": columns.times(views.time_V[shown] - 3 * SECOND_US),
            "slate": columns.lists(np.arange(len(shown) + 1) * SLATE_SIZE, entries),
            "release": columns.words((RELEASE,), np.zeros(len(shown), int)),
            "experiment": columns.string_map({"category": columns.words(tuple(leaf.name for leaf in LEAVES), leaf_S)}),
        }
    )
