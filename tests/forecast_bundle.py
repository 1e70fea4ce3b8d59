"""A forecaster of the brands shop's sales, trained for real with its quick members, and published as champion."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.serving_shop import REFERENCE, SHOP_ID, Home
from training.bundles.manifest import Manifest
from training.contracts.covariates import Covariate, CovariateSchema
from training.contracts.shop import COVARIATES_FILE, Shop, ShopInfo, new_shop
from training.jobs.forecaster import JOB
from training.jobs.forecaster_config import ForecasterConfig
from training.jobs.job import LocalReport
from training.jobs.publish import publish

WEEKS, AHEAD, SERIES, HORIZON = 60, 4, 30, 4
FIRST = REFERENCE - timedelta(weeks=WEEKS)
MEMBERS = ("last_value", "seasonal_naive", "median_26", "price_regression")
USUAL_PRICE, ELASTICITY = 10.0, -2.0


def sales_rows() -> list[dict[str, Any]]:
    """Item n sells about 20 + n a week in vienna; cheap weeks sell by an elasticity of -2. Prices are known ahead."""
    rng, rows = np.random.default_rng(0), []
    for number in range(SERIES):
        for week in range(WEEKS + AHEAD):
            price = USUAL_PRICE * (0.7 if rng.random() < 0.2 else 1.0)
            mean = (20 + number) * (price / USUAL_PRICE) ** ELASTICITY
            rows.append({
                "series_id": f"i{number:02d}@vienna", "item_id": f"i{number:02d}", "location": "vienna",
                "timestamp": FIRST + timedelta(weeks=week), "price": price,
                "demand": float(rng.poisson(mean)) if week < WEEKS else None,
            })  # fmt: skip
    return rows


def write_sales(path: Path, rows: list[dict[str, Any]], *, missing: str = "last") -> Shop:
    info = ShopInfo(shop_id=SHOP_ID, reference_date=REFERENCE, positive_types=("view",))
    schema = CovariateSchema(covariates={"price": Covariate(kind="known_future", missing=missing)})
    with new_shop(path, info) as writer:
        writer.write("sales", pa.Table.from_pylist(rows))
        (writer.folder / COVARIATES_FILE).write_text(schema.to_yaml(), encoding="utf-8")
    return Shop(path)


def publish_forecaster(home: Home, *, missing: str = "last", rows: list[dict[str, Any]] | None = None) -> Manifest:
    place = home.root / f"forecaster-{missing}"
    shop = write_sales(place / "shop", rows or sales_rows(), missing=missing)
    config = ForecasterConfig(horizon=HORIZON, members=MEMBERS, covariate_control=False)
    result = JOB.fit(config, JOB.load(shop, config), LocalReport(place / "checkpoints"), place / "bundle")
    manifest = publish(
        result, job="forecaster", shop=shop, config=config, store=home.bundles, registry=home.registry
    )  # fmt: skip
    home.registry.promote("forecaster", manifest.version)
    return manifest
