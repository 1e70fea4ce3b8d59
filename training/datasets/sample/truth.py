"""The hidden truth beside the tables, in truth/: for tests and judges only, no table and no model reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.contracts.atomic import write_json
from training.datasets.sample import columns
from training.datasets.sample.catalogue import Catalogue, image_paths
from training.datasets.sample.choice import ChoiceModel, Coefficients, State
from training.datasets.sample.demand import PIECE_ITEMS, RELATION, Demand
from training.datasets.sample.events import Log
from training.datasets.sample.looks import ItemLook, Photos
from training.datasets.sample.sessions import Views
from training.datasets.sample.shoppers import MAX_SESSIONS, Shoppers
from training.datasets.sample.spec import EVENT_WEEKS
from training.datasets.sample.taxonomy import LEAVES, NEEDS, SCENARIOS, STYLE_NAMES

MODEL = "truth/model.json"
ITEMS = "truth/items.parquet"
USERS = "truth/users.parquet"
SCENARIO_INTERVALS = "truth/scenarios.parquet"
SESSIONS = "truth/sessions.parquet"
VIEWS = "truth/views.parquet"
DEMAND = "truth/demand.parquet"
LOOKS = "truth/looks.parquet"
PHOTOS = "truth/photos.parquet"
NEED_NAMES = tuple(need.name for need in NEEDS)
SCENARIO_NAMES = tuple(scenario.name for scenario in SCENARIOS)
LEAF_NAMES = tuple(leaf.name for leaf in LEAVES)


def write_model(folder: Path, model: ChoiceModel) -> None:
    """Everything about the choice that is not in a table of its own."""
    document = {
        "coefficients": model.coefficients.as_dict(),
        "relation": RELATION,
        "leaves": LEAF_NAMES,
        "styles": STYLE_NAMES,
        "needs": NEED_NAMES,
        "journeys": model.journey_NLL.tolist(),
        "season": model.season_WL.tolist(),
        "attention": model.coefficients.attention_K.tolist(),
    }
    write_json(folder / MODEL, document)


def items_table(catalogue: Catalogue) -> pa.Table:
    """Latent item factors; columns are Catalogue's fields."""
    factors = {"item_id": columns.ids("i", np.arange(len(catalogue)))}
    for field in fields(Catalogue):
        values = getattr(catalogue, field.name)
        factors[field.name] = vectors(values) if values.ndim == 2 else pa.array(values)
    return pa.table(factors)


def vectors(values_RD: np.ndarray) -> pa.Array:
    """A fixed-size list column from the rows of a matrix."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values_RD.ravel()), values_RD.shape[1])


def users_table(shoppers: Shoppers) -> pa.Table:
    return pa.table(
        {
            "user_id": columns.ids("u", shoppers.number_B),
            "price_sensitivity": shoppers.price_sensitivity_B,
            "taste": vectors(shoppers.taste_BD),
            "styles": vectors(shoppers.styles_BS),
            "everyday_needs": vectors(shoppers.everyday_BN),
        }
    )


def scenarios_table(shoppers: Shoppers) -> pa.Table:
    """The phases of life: who, what, from when to when."""
    row, column = np.nonzero(shoppers.scenario_BC >= 0)
    return pa.table(
        {
            "user_id": columns.ids("u", shoppers.number_B[row]),
            "scenario": columns.words(SCENARIO_NAMES, shoppers.scenario_BC[row, column]),
            "start": columns.times(shoppers.scenario_start_BC[row, column]),
            "end": columns.times(shoppers.scenario_end_BC[row, column]),
        }
    )


def sessions_table(shoppers: Shoppers, views: Views) -> pa.Table:
    """What each session was about."""
    first = np.flatnonzero(views.step_V == 0)
    number = shoppers.number_B[views.shopper_V[first]]
    return pa.table(
        {
            "session_id": columns.ids("s", number * MAX_SESSIONS + views.session_V[first], 8),
            "user_id": columns.ids("u", number),
            "need": columns.words(NEED_NAMES, views.need_V[first]),
            "scenario": columns.words(SCENARIO_NAMES, views.scenario_V[first]),
            "style": columns.words(STYLE_NAMES, views.style_V[first]),
        }
    )


def views_table(log: Log, first_event: int, views: Views) -> pa.Table:
    """The hidden state just before each view, keyed by the view's event."""
    row = log.of_type("view")
    view = log.view_E[row]
    due = views.due_V[view]
    return pa.table(
        {
            "event_id": columns.ids("e", first_event + row, 9),
            "user_id": columns.ids("u", log.user_E[row]),
            "need": views.need_V[view].astype(np.int16),
            "leaf": views.leaf_V[view].astype(np.int16),
            "style": views.style_V[view].astype(np.int16),
            "week": views.week_V[view].astype(np.int16),
            "due": due.astype(np.int32),
            "recent": vectors(views.recent_VR[view].astype(np.int32)),
            "item": views.item_V[view].astype(np.int32),
        }
    )


def demand_pieces(demand: Demand, panel_NW: np.ndarray) -> Iterator[pa.Table]:
    """Hidden demand of every item and week, and how the sold units came about."""
    weeks = len(demand.calendar.iso_week_T)
    panel_NT = np.zeros_like(demand.sold_NT)
    panel_NT[:, demand.calendar.event_weeks] = panel_NW
    for start in range(0, len(panel_NT), PIECE_ITEMS):
        rows = slice(start, start + PIECE_ITEMS)
        count = len(panel_NT[rows])
        yield pa.table(
            {
                "item_id": columns.ids("i", np.repeat(np.arange(start, start + count), weeks)),
                "timestamp": columns.times(np.tile(demand.calendar.start_us_T, count)),
                "wanted": demand.wanted_NT[rows].ravel(),
                "population_units": demand.sold_NT[rows].ravel(),
                "panel_units": panel_NT[rows].ravel(),
                "stock": demand.stock_NT[rows].ravel(),
                "discount": demand.discount_NT[rows].ravel(),
            }
        )


def looks_table(looks: list[ItemLook]) -> pa.Table:
    return pa.table(
        {
            "item_id": columns.ids("i", np.arange(len(looks))),
            "look": pa.array([json.dumps(asdict(look)) for look in looks], pa.string()),
        }
    )


def photos_table(photos: Photos) -> pa.Table:
    return pa.table(
        {
            "item_id": columns.ids("i", photos.item_P),
            "path": image_paths(photos.item_P, photos.view_P),
            "view_seed": photos.seed_P,
        }
    )


def read_model(folder: Path) -> ChoiceModel:
    """The choice model as the shop was made with it."""
    document = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    table = pq.read_table(folder / ITEMS)
    catalogue = Catalogue(**{field.name: matrix(table, field.name) for field in fields(Catalogue)})
    discount = pq.read_table(folder / DEMAND, columns=["discount"])["discount"].to_numpy()
    weeks_NT = discount.reshape(len(catalogue), -1)
    past = weeks_NT.shape[1] - (len(document["season"]) - EVENT_WEEKS)
    return ChoiceModel(
        catalogue,
        weeks_NT[:, past - EVENT_WEEKS :],
        np.array(document["journeys"]),
        np.array(document["season"]),
        Coefficients(**document["coefficients"]),
    )


def matrix(table: pa.Table, name: str) -> np.ndarray:
    """A column as an array, a fixed-size list column as a matrix."""
    column = table[name].combine_chunks()
    if pa.types.is_fixed_size_list(column.type):
        return np.asarray(column.flatten()).reshape(len(column), -1)
    return np.asarray(column)


def states(views: pa.Table, users: pa.Table) -> State:
    """The hidden states of `views` (rows of truth/views), their people looked up in truth/users."""
    person = pa.compute.index_in(views["user_id"].combine_chunks(), users["user_id"].combine_chunks())
    rows = users.take(person)
    number = {name: matrix(views, name).astype(int) for name in ("need", "leaf", "style", "week", "due", "recent")}
    return State(
        need_B=number["need"],
        leaf_B=number["leaf"],
        style_B=number["style"],
        week_B=number["week"],
        due_B=number["due"],
        recent_BR=number["recent"],
        price_sensitivity_B=matrix(rows, "price_sensitivity"),
        taste_BD=matrix(rows, "taste"),
        styles_BS=matrix(rows, "styles"),
    )
