"""A shop whose people click their own brand, with a served log or without, and a ranker trained on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from training.bundles.registry import Registry
from training.bundles.store import BundleStore
from training.contracts.shop import Shop, ShopInfo, new_shop
from training.features.sequences import interest_histories, leave_one_out
from training.features.short_term import REQUEST_NAMES, RequestFacts
from training.features.vocabulary import Vocabulary
from training.jobs.job import FitResult, LocalReport
from training.jobs.publish import publish
from training.jobs.ranker import JOB, RankerConfig
from training.jobs.ranker_data import RankerData
from training.models.popularity import Popularity, training_counts
from training.models.recommender import Recommender

BRANDS, ITEMS_EACH, USERS, EVENTS = 6, 5, 120, 8
START = datetime(2026, 1, 1, tzinfo=UTC)
SMALL = {"epochs": 3, "negatives": 8, "choices": 400, "learning_rate": 0.01}


def write_shop(
    path: Path,
    *,
    log: bool,
    ordinal: bool = False,
    more: int = 0,
    baskets: bool = False,
    asked: RequestFacts | None = None,
) -> Shop:
    """Users view their brand; of each slate they click what is of it, and buy half of that.

    `more` items of a new brand are viewed by nobody. Events name their device; the log says of each request what it
    `asked`, where that is given. With `baskets` every other view takes a second item at the same moment.
    """
    rng = np.random.default_rng(0)
    items = [
        {"item_id": f"i{n:02d}", "brand": f"b{n % BRANDS}", "category": ["all"]} for n in range(BRANDS * ITEMS_EACH)
    ]
    items += [{"item_id": f"a{n:02d}", "brand": "a new one", "category": ["more"]} for n in range(more)]
    events, answers = [], []
    for user in range(USERS):
        for step in range(EVENTS):
            when = START + timedelta(hours=0 if ordinal else int(rng.integers(20)), days=step)
            common = {"user_id": f"u{user:03d}", "timestamp": when, "context": [("device", "mobile")]}
            slate = rng.permutation(BRANDS * ITEMS_EACH)[:6].tolist()
            own = [item for item in slate if item % BRANDS == user % BRANDS]
            name = f"r{user}-{step}"
            if log:
                entries = [
                    {"item_id": f"i{item:02d}", "position": place, "score": 0.0, "propensity": 1.0}
                    for place, item in enumerate(slate)
                ]
                answers.append({
                    "recommendation_id": name, "user_id": common["user_id"], "as_of": when - timedelta(seconds=9),
                    "slate": entries, **_logged(asked),
                })  # fmt: skip
            kinds = ["view", "purchase"] if rng.random() < 0.5 else ["view"]
            item = own[0] if own and log else int(rng.integers(ITEMS_EACH)) * BRANDS + user % BRANDS
            if baskets and (user + step) % 2:
                beside = (item + BRANDS) % (BRANDS * ITEMS_EACH)
                events.append({
                    **common, "event_id": f"{name}beside", "type": "view", "item_id": f"i{beside:02d}",
                    "recommendation_id": None,
                })  # fmt: skip
            for kind in kinds:
                events.append({
                    **common, "event_id": f"{name}{kind}", "type": kind, "item_id": f"i{item:02d}",
                    "recommendation_id": name if own and log else None,
                })  # fmt: skip
    info = ShopInfo(
        shop_id="brands", reference_date=START + timedelta(days=30), positive_types=("view",), ordinal_time=ordinal,
        repeats=baskets,
    )  # fmt: skip
    with new_shop(path, info) as writer:
        writer.write("items", pa.Table.from_pylist(items))
        contexts = pa.array([event.pop("context") for event in events], pa.map_(pa.string(), pa.string()))
        writer.write("events", pa.Table.from_pylist(events).append_column("context", contexts))
        if answers:
            writer.write("recommendations", pa.Table.from_pylist(answers))
    return Shop(path)


def _logged(asked: RequestFacts | None) -> dict[str, object]:
    """The request's part of a row of the served log."""
    if asked is None:
        return {}
    said = {f"scenario_{asked.scenario}", f"device_{asked.device}"}
    return {"context_names": list(REQUEST_NAMES), "context": [float(name in said) for name in REQUEST_NAMES]}


def write_recommender(shop: Shop, home: Path) -> Path:
    items = shop.table("items").to_pylist()
    vocabulary = Vocabulary([item["item_id"] for item in items])
    histories = interest_histories(shop.table("events"), vocabulary, shop.info.positive_types)
    counts_I = training_counts(leave_one_out(histories).train, len(vocabulary))
    Recommender.build(vocabulary, Popularity(counts_I), counts_I, items).save(home / "files")
    result = FitResult(
        folder=home / "files", model="popularity", metrics={}, validation={}, baselines={}, train_seconds=0.0,
        cpu_seconds=0.0, examples_per_second=0.0,
    )  # fmt: skip
    return published(result, "recommender", shop, RankerConfig(), home)


def published(result: FitResult, job: str, shop: Shop, config: RankerConfig, home: Path) -> Path:
    store, registry = BundleStore(home / "bundles"), Registry(home / "releases", shop.info.shop_id)
    manifest = publish(result, job=job, shop=shop, config=config, store=store, registry=registry)
    return store.fetch(shop.info.shop_id, job, manifest.version)


Fitted = tuple[RankerConfig, RankerData, FitResult]


def fitted(folder: Path, *, log: bool, ordinal: bool = False, **changes: object) -> Fitted:
    shop = write_shop(folder / "shop", log=log, ordinal=ordinal)
    upstream = {"recommender": str(write_recommender(shop, folder / "home"))}
    config = RankerConfig.model_validate({**SMALL, **changes, "upstream": upstream})
    data = JOB.load(shop, config)
    return config, data, JOB.fit(config, data, LocalReport(folder / "checkpoints"), folder / "bundle")
