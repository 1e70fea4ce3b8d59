"""Bundles that are damaged, or were made for another shop, are refused by every command that would use them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deployments.state.open import open_store
from tests.serving_shop import REFERENCE, SHOP_ID, Home, make_shop, train
from training.bundles.manifest import Manifest
from training.contracts.shop import Shop, ShopInfo, new_shop

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, Any]:
    root = tmp_path_factory.mktemp("fitted")
    shop = make_shop(root / "shop")
    return shop, train(shop, root)


@pytest.fixture
def home(fitted: tuple[Shop, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SHOPKEEPER_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home", *fitted)


@pytest.fixture
def manifest(home: Home) -> Manifest:
    return home.publish()


@pytest.fixture
def other_shop(tmp_path: Path) -> Path:
    """Another shop's items and events."""
    info = ShopInfo(shop_id="other", reference_date=REFERENCE, positive_types=("view",))
    with new_shop(tmp_path / "other", info) as writer:
        writer.write("items", pa.table({"item_id": ["x1", "x2"], "title": ["A", "B"]}))
        writer.write(
            "events",
            pa.table({
                "event_id": ["a", "b"], "user_id": ["u", "u"], "type": ["view", "view"], "item_id": ["x1", "x2"],
                "timestamp": [REFERENCE, REFERENCE],
            }),
        )  # fmt: skip
    return tmp_path / "other"


def problem_of(result: Any) -> dict[str, Any]:
    assert result.code == 2, result.stderr
    (problem,) = result.json()["problems"]
    return dict(problem)


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-1] + b"!"])
@pytest.mark.parametrize("command", ["evaluate", "predict", "promote"])
def test_a_damaged_file_is_refused_by_its_checksum(
    shopkeeper: Run, home: Home, manifest: Manifest, tmp_path: Path, command: str, damage: Callable[[bytes], bytes]
) -> None:
    file = home.root / "bundles" / SHOP_ID / "recommender" / manifest.version / "slots.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    arguments = {
        "evaluate": ("evaluate", "recommender", "--data", home.shop.path),
        "predict": ("predict", "recommender", "--data", home.shop.path, "--out", tmp_path / "out.parquet"),
        "promote": ("models", "promote", "recommender", manifest.version),
    }[command]
    problem = problem_of(shopkeeper(*arguments, "--json"))
    assert problem["file"].endswith("slots.safetensors")
    assert "does not match the checksum" in problem["problem"]
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_bundle_of_other_items_is_refused_with_the_difference(
    shopkeeper: Run, manifest: Manifest, other_shop: Path, tmp_path: Path, command: str
) -> None:
    out = ("--out", tmp_path / "out.parquet") if command == "predict" else ()
    result = shopkeeper(
        command, "recommender", "--data", other_shop, *out, "--version", manifest.version, "--json"
    )  # fmt: skip
    assert "learnt from category, brand, price, attributes" in problem_of(result)["problem"]
    assert not (tmp_path / "out.parquet").exists()


def test_it_evaluates_on_another_shop_of_the_same_items(
    shopkeeper: Run, manifest: Manifest, fitted: tuple[Shop, Any], tmp_path: Path
) -> None:
    shop, _ = fitted
    info = shop.info.model_copy(update={"shop_id": "twin"})
    with new_shop(tmp_path / "twin", info) as writer:
        for table in ("items", "events"):
            writer.write(table, shop.table(table))
    result = shopkeeper("evaluate", "recommender", "--data", tmp_path / "twin", "--version", manifest.version, "--json")
    assert result.code == 0, result.stderr
    assert result.json()["metrics"]["ndcg@10"] > 0


def test_promotion_is_refused_where_the_shop_that_is_served_has_other_items(
    shopkeeper: Run, home: Home, manifest: Manifest
) -> None:
    (home.root / "state").mkdir()
    store = open_store(f"sqlite:///{home.root}/state/{SHOP_ID}.sqlite", SHOP_ID)
    store.upsert_items([{"item_id": f"x{n}"} for n in range(60)])
    store.close()
    before = home.registry.get("champion")
    problem = problem_of(shopkeeper("models", "promote", "recommender", manifest.version, "--json"))
    assert problem["found"].startswith(
        "0 items in common; 48 only in the bundle (i00, i01, i02, …), 60 only in the shop"
    )
    assert home.registry.get("champion") == before
