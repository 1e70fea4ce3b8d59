"""The sample shop: every table, its covariates, its hidden truth and its pictures, from one seed."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import COVARIATES_FILE, ShopInfo, ShopWriter, new_shop
from training.contracts.tables import TABLES, conform
from training.datasets.sample import articles, catalogue, demand, events, looks, reviews, service, truth
from training.datasets.sample.choice import ChoiceModel, Coefficients
from training.datasets.sample.images import draw_images
from training.datasets.sample.orders import orders_table
from training.datasets.sample.sessions import simulate
from training.datasets.sample.shoppers import WINDOW_START_US, draw_shoppers, users_table
from training.datasets.sample.spec import REFERENCE, SIZES, WEEK_US, SizeSpec, shop_id, stream
from training.datasets.sample.taxonomy import entries, journeys, season


def generate(
    out: Path,
    *,
    size: Literal["small", "medium"] | SizeSpec = "small",
    seed: int = 0,
    images: bool = True,
    force: bool = False,
    progress: Progress = NoProgress(),
) -> dict[str, int]:
    """Make the sample shop at `out`, whole or not at all; rows per table.

    Without `images` the images table is there and `draw_images(out)` draws the pictures later.
    Raises InputError where `out` is occupied and `force` is false.
    """
    spec = SIZES[size] if isinstance(size, str) else size
    info = ShopInfo(
        shop_id=shop_id(spec, seed),
        name=f"Sample shop ({spec.name}, seed {seed})",
        reference_date=REFERENCE,
        positive_types=("view",),
    )
    with new_shop(out, info, force=force) as writer:
        (writer.folder / "truth").mkdir()
        world = draw_world(spec, seed)
        panel_NW = _write_people(writer, world, spec, seed, progress)
        _write_goods(writer, world, panel_NW, spec, seed)
        _write_service(writer, spec, seed)
        if images:
            draw_images(writer.folder, progress=progress)
    return {table: writer.counts[table] for table in TABLES if table in writer.counts}


@dataclass(frozen=True)
class World:
    """What people meet: the items, what everybody wants of them, and how a choice is made."""

    items: catalogue.Catalogue
    demand: demand.Demand
    model: ChoiceModel


def draw_world(spec: SizeSpec, seed: int) -> World:
    items = catalogue.draw_catalogue(spec, seed)
    calendar = demand.draw_calendar(spec, seed)
    wanted = demand.draw_demand(items, calendar, seed)
    first = calendar.event_weeks.start
    model = ChoiceModel(
        items, wanted.discount_NT[:, first:], journeys(), season(calendar.iso_week_T[first:]), Coefficients()
    )
    return World(items, wanted, model)


def _write_people(writer: ShopWriter, world: World, spec: SizeSpec, seed: int, progress: Progress) -> np.ndarray:
    """Everything that comes of people, block by block; the units they bought per item and week."""
    stocked_NW, entry_NL = world.demand.stocked_NW, entries()
    panel_NW = np.zeros(stocked_NW.shape, np.int32)
    first_event = first_slate = 0
    progress.stage("simulating shoppers", spec.users)
    with Streams(writer) as tables:
        for number, block in enumerate(spec.blocks()):
            rng = stream(seed, 100, number)
            shoppers = draw_shoppers(block, spec, rng)
            views = simulate(shoppers, world.model, entry_NL, stocked_NW, rng)
            log = events.event_log(shoppers, views, world.model, first_slate, rng)
            tables.write("users", users_table(shoppers))
            tables.write("events", events.events_table(log, first_event))
            tables.write("recommendations", events.recommendations_table(shoppers, views, world.model, first_slate))
            tables.write("orders", orders_table(log, rng))
            tables.write("reviews", reviews.reviews_table(log, first_event, world.items, rng))
            tables.write(truth.USERS, truth.users_table(shoppers))
            tables.write(truth.SCENARIO_INTERVALS, truth.scenarios_table(shoppers))
            tables.write(truth.SESSIONS, truth.sessions_table(shoppers, views))
            tables.write(truth.VIEWS, truth.views_table(log, first_event, views))
            panel_NW += _units(log, len(world.items))
            first_event, first_slate = first_event + len(log), first_slate + int(views.shown_V.sum())
            progress.advance(len(block))
    return panel_NW


def _units(log: events.Log, items: int) -> np.ndarray:
    row = log.of_type("purchase")
    week = (log.time_E[row] - WINDOW_START_US) // WEEK_US
    return demand.panel_units(log.item_E[row], week, log.quantity_E[row], items)


def _write_goods(writer: ShopWriter, world: World, panel_NW: np.ndarray, spec: SizeSpec, seed: int) -> None:
    """Items, what sold, what was promoted and stocked, and how things look."""
    stock_N = demand.on_hand(world.demand, panel_NW)[:, -1]
    writer.write("items", catalogue.items_table(world.items, stock_N, spec.pictured_items, seed))
    writer.write("sales", demand.sales_pieces(world.items, world.demand, panel_NW))
    writer.write("inventory", demand.inventory_pieces(world.items, world.demand, panel_NW))
    writer.write("placements", demand.placement_pieces(world.demand))
    covariates = yaml.safe_dump(demand.COVARIATES, sort_keys=False)
    (writer.folder / COVARIATES_FILE).write_text(covariates, encoding="utf-8")
    photos = looks.draw_photos(spec, seed)
    writer.write("images", looks.images_table(photos))
    with Streams(writer) as tables:
        for piece in truth.demand_pieces(world.demand, panel_NW):
            tables.write(truth.DEMAND, piece)
        tables.write(truth.ITEMS, truth.items_table(world.items))
        tables.write(truth.LOOKS, truth.looks_table(looks.draw_looks(world.items, seed)))
        tables.write(truth.PHOTOS, truth.photos_table(photos))
    truth.write_model(writer.folder, world.model)


def _write_service(writer: ShopWriter, spec: SizeSpec, seed: int) -> None:
    writer.write("utterances", service.utterances_table(spec, seed))
    writer.write("dialogues", service.dialogues_table(spec, seed))
    writer.write("articles", articles.articles_table())


class Streams:
    """Several Parquet files that grow piece by piece: a shop's tables by name, truth's by path."""

    def __init__(self, writer: ShopWriter) -> None:
        self.writer, self.files, self.stack = writer, dict[str, pq.ParquetWriter](), ExitStack()

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def write(self, name: str, piece: pa.Table) -> None:
        """Append `piece`, in the table's own schema where `name` is a table of the shop."""
        if name in TABLES:
            piece = conform(piece, TABLES[name])
            self.writer.counts[name] = self.writer.counts.get(name, 0) + piece.num_rows
        if name not in self.files:
            path = self.writer.folder / (f"{name}.parquet" if name in TABLES else name)
            self.files[name] = self.stack.enter_context(pq.ParquetWriter(path, piece.schema, compression="zstd"))
        self.files[name].write_table(piece)
