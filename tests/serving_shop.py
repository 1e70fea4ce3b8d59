"""A small shop, a real bundle of it, and its API without Ray; shared by the tests of serving."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from fastapi import FastAPI
from starlette.testclient import TestClient

from deployments.api.application import create_api
from deployments.assembly import STAGES, open_gateway, open_live, open_stage
from deployments.config import ServingConfig
from deployments.gateway import Gateway
from deployments.live import LiveShop
from deployments.stage_host import StageHost
from deployments.stages import InProcess
from deployments.state.importing import import_shop
from deployments.state.open import open_store
from deployments.telemetry import LocalTelemetry
from training.bundles.manifest import Manifest, describe_files
from training.bundles.registry import Registry
from training.bundles.store import BundleStore, new_version
from training.contracts.shop import Shop, ShopInfo, new_shop
from training.features.ranking import FEATURE_NAMES, RankingState, item_facts
from training.features.ranking_state import fit_vocabularies
from training.jobs.job import LocalReport
from training.jobs.publish import publish
from training.jobs.recommender import RecommenderConfig, fit, load
from training.models.feature_ranker import FeatureRanker
from training.models.logistic_ranker import LogisticRanker

BRANDS, ITEMS_EACH, USERS, EVENTS = 8, 6, 80, 6
SHOP_ID = "brands"
REFERENCE = datetime(2026, 1, 31, tzinfo=UTC)
CONFIG = RecommenderConfig(epochs=1)


def make_shop(path: Path, *, repeats: bool = True) -> Shop:
    """Users stay with one brand; item n has brand n % BRANDS, price n + 1 and one of four categories."""
    rng = np.random.default_rng(0)
    items = [
        {
            "item_id": f"i{n:02d}", "title": f"Thing {n}", "brand": f"b{n % BRANDS}", "stock": 5,
            "category": ["all", f"c{n % 4}"], "price": float(n + 1), "created_at": REFERENCE - timedelta(days=n + 1),
            "attributes": [("colour", "red" if n % 2 else "blue")],
        }
        for n in range(BRANDS * ITEMS_EACH)
    ]  # fmt: skip
    events = [
        {
            "event_id": f"{user}-{step}", "user_id": f"u{user:03d}", "type": "view",
            "item_id": f"i{int(rng.integers(ITEMS_EACH)) * BRANDS + user % BRANDS:02d}",
            "timestamp": REFERENCE - timedelta(days=EVENTS - step, hours=int(rng.integers(20)), minutes=user),
        }
        for user in range(USERS)
        for step in range(EVENTS)
    ]  # fmt: skip
    info = ShopInfo(
        shop_id=SHOP_ID, reference_date=REFERENCE, positive_types=("view",), repeats=repeats, time_zone="Asia/Kolkata"
    )
    with new_shop(path, info) as writer:
        writer.write("items", pa.Table.from_pylist(items, schema=_items_schema()))
        writer.write("events", pa.Table.from_pylist(events))
    return Shop(path)


def train(shop: Shop, folder: Path) -> Any:
    """A real fit, one epoch."""
    return fit(CONFIG, load(shop, CONFIG), LocalReport(folder / "checkpoints"), folder / "bundle")


@dataclass
class Home:
    """Where one test's bundles, releases and state lie."""

    root: Path
    shop: Shop
    fitted: Any

    def config(self, **changes: Any) -> ServingConfig:
        return ServingConfig(
            shop_id=SHOP_ID,
            bundles=str(self.root / "bundles"),
            releases=str(self.root / "releases"),
            state=f"sqlite:///{self.root}/state.sqlite",
            cache=str(self.root / "cache"),
            **changes,
        )

    @property
    def registry(self) -> Registry:
        return Registry(self.root / "releases", SHOP_ID)

    @property
    def bundles(self) -> BundleStore:
        return BundleStore(self.root / "bundles")

    def copied(self, root: Path) -> Home:
        """Another home with what this one has published and stored."""
        root.mkdir()
        for name in ("bundles", "releases"):
            shutil.copytree(self.root / name, root / name)
        for file in self.root.glob("state.sqlite*"):
            shutil.copy(file, root / file.name)
        return Home(root, self.shop, self.fitted)

    def publish(self) -> Manifest:
        """One more version of the same fit, as champion."""
        manifest = publish(
            self.fitted, job="recommender", shop=self.shop, config=CONFIG, store=self.bundles, registry=self.registry
        )
        self.registry.promote("recommender", manifest.version)
        return manifest

    def publish_ranker(
        self, recommender: str, *, first_weight: float = 1.0, damaged: str | None = None, **changes: Any
    ) -> Manifest:
        """A ranker trained on top of that recommender, as champion; it orders, and foretells clicks, by one score.

        `damaged`: a file of it that is not what was published, from before anybody is told of it.
        """
        names = FEATURE_NAMES[:1]
        logistic = LogisticRanker(
            feature_names=names, mean=(0.0,), scale=(1.0,), weights=(first_weight,), bias=0.0, trained_on="nothing"
        )
        folder = self.root / f"ranker-{new_version()}"
        FeatureRanker(logistic.model_copy(update=changes), {"click": logistic}).save(folder)
        below = self.bundles.fetch(SHOP_ID, "recommender", recommender)
        state = RankingState.load(below / "ranking_state.json")
        items = {row["item_id"]: item_facts(row) for row in self.shop.table("items").to_pylist()}
        vocabularies = fit_vocabularies(items, items)
        state.model_copy(update={"vocabularies": vocabularies}).save(folder / "ranking_state.json")
        manifest = self.bundles.manifest(SHOP_ID, "recommender", recommender).model_copy(
            update={
                "job": "ranker", "version": new_version(), "model": "logistic_regression",
                "upstream": {"recommender": recommender}, "files": describe_files(folder),
                "metrics": {"auc": 0.5},
            }
        )  # fmt: skip
        self.bundles.publish(folder, manifest)
        if damaged is not None:
            self._damage(manifest, damaged)
        self.registry.promote("ranker", manifest.version)
        return manifest

    def _damage(self, manifest: Manifest, file: str) -> None:
        """One byte more in a published file."""
        path = self.root / "bundles" / manifest.shop_id / manifest.job / manifest.version / file
        path.write_bytes(path.read_bytes() + b" ")

    def import_shop(self) -> None:
        store = open_store(self.config().state, SHOP_ID)
        import_shop(store, self.shop)
        store.close()


@dataclass
class Serving:
    """A gateway and its stages in this process."""

    live: LiveShop
    hosts: dict[str, StageHost]
    gateway: Gateway
    api: FastAPI

    def load_champion(self) -> None:
        """What the stages' own threads would do."""
        for host in self.hosts.values():
            host.follow()


@contextmanager
def client_of(serving: Serving, *, ready: bool = True) -> Iterator[TestClient]:
    """A client of the running API, once it is ready."""
    with TestClient(serving.api, raise_server_exceptions=False) as client:
        if ready:
            wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


def wait_until(true: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    """Raises TimeoutError where the condition does not come true."""
    deadline_s = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline_s:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.01)


def serve_in_process(config: ServingConfig, **api_settings: Any) -> Serving:
    """All of serving but Ray."""
    live = open_live(config)
    hosts = {name: open_stage(name, config, live) for name in STAGES}
    ports = {name: InProcess(host) for name, host in hosts.items()}
    gateway = open_gateway(config, ports=ports, telemetry=LocalTelemetry(), live=live)
    return Serving(live, hosts, gateway, create_api(gateway, **api_settings))


def _items_schema() -> pa.Schema:
    return pa.schema([
        ("item_id", pa.string()), ("title", pa.string()), ("brand", pa.string()), ("stock", pa.int64()),
        ("category", pa.list_(pa.string())), ("price", pa.float64()), ("created_at", pa.timestamp("us", tz="UTC")),
        ("attributes", pa.map_(pa.string(), pa.string())),
    ])  # fmt: skip
