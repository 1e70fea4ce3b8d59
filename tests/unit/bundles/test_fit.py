"""The columns that a bundle learnt from must be in the shop it is asked about."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from training.bundles.fit import filled_columns, refuse_other_columns
from training.bundles.manifest import DataWindow, Manifest
from training.contracts.errors import InputError
from training.contracts.shop import Shop, ShopInfo, new_shop

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def shop_of(folder: Path, **columns: list[object]) -> Shop:
    with new_shop(folder, ShopInfo(shop_id="shop", reference_date=NOW)) as writer:
        writer.write("items", pa.table({"item_id": ["a", "b", "c", "d"], **columns}))
    return Shop(folder)


def manifest_of(shop: Shop) -> Manifest:
    return Manifest(
        job="recommender", version="v", model="m", shop_id="shop", created_at=NOW,
        data=DataWindow(fingerprint="", reference_date=NOW, columns=filled_columns(shop)),
        catalogue_seq=0, code_revision="", config={}, metrics={}, validation={}, baselines={},
        train_seconds=0, cpu_seconds=0, files={}, libraries={},
    )  # fmt: skip


def test_a_column_that_is_gone_is_named_with_what_there_is(tmp_path: Path) -> None:
    trained = shop_of(
        tmp_path / "trained", title=["x"] * 4, brand=["b", "b", None, None], price=[1.0, None, None, None]
    )
    assert filled_columns(trained) == {"title": 1.0, "brand": 0.5, "price": 0.25}
    manifest = manifest_of(trained)
    refuse_other_columns(manifest, trained)
    other = shop_of(tmp_path / "other", title=["y"] * 4, brand=pa.nulls(4, pa.string()))
    with pytest.raises(InputError, match="learnt from brand, which no item has here") as caught:
        refuse_other_columns(manifest, other)
    (problem,) = caught.value.problems
    assert (problem.table, problem.column, problem.found) == ("items", "brand", "title (100% of items)")


def test_what_few_items_had_may_be_gone(tmp_path: Path) -> None:
    manifest = manifest_of(shop_of(tmp_path / "trained", title=["x"] * 4, price=[1.0, None, None, None]))
    refuse_other_columns(manifest, shop_of(tmp_path / "other", title=["y"] * 4))


def test_bundles_from_before_columns_were_noted_pass(tmp_path: Path) -> None:
    manifest = manifest_of(shop_of(tmp_path / "trained", title=["x"] * 4))
    old = manifest.model_copy(update={"data": DataWindow(fingerprint="", reference_date=NOW)})
    refuse_other_columns(old, shop_of(tmp_path / "other"))
