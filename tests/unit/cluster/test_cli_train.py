"""`shopkeeper train` refuses what it cannot use before anything is started."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from training.contracts.shop import ShopInfo, new_shop

Run = Callable[..., Any]
INFO = ShopInfo(shop_id="tiny", reference_date=datetime(2026, 1, 2, tzinfo=UTC))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOPKEEPER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make_shop(path: Path, events: list[dict[str, Any]]) -> Path:
    with new_shop(path, INFO) as writer:
        writer.write("events", pa.Table.from_pylist(events))
    return path


def event(name: str, **fields: Any) -> dict[str, Any]:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return {"event_id": name, "user_id": "u", "type": "purchase", "item_id": "i", "timestamp": when, **fields}


def test_an_unknown_job_names_the_nearest(shopkeeper: Run, tmp_path: Path, home: Path) -> None:
    result = shopkeeper("train", "recomender", "--data", tmp_path, "--json")
    assert result.code == 2
    assert result.json()["problems"][0]["nearest"] == "recommender"
    assert not home.exists()


def test_a_shop_with_errors_is_refused_with_all_of_them(shopkeeper: Run, tmp_path: Path, home: Path) -> None:
    shop = make_shop(tmp_path / "shop", [event("a"), event("a"), event("b", type="glance")])
    result = shopkeeper("train", "recommender", "--data", shop, "--json")
    assert result.code == 2
    assert {problem["column"] for problem in result.json()["problems"]} == {"event_id", "type"}
    assert not home.exists()


@pytest.mark.parametrize("setting", ["epoch=3", "epochs=many", "transformer.blok=2"])
def test_a_wrong_setting_is_refused(shopkeeper: Run, tmp_path: Path, setting: str) -> None:
    shop = make_shop(tmp_path / "shop", [event("a")])
    result = shopkeeper("train", "recommender", "--data", shop, "--set", setting, "--json")
    assert result.code == 2
    assert setting.partition("=")[0].partition(".")[0] in result.json()["problems"][0]["field"]


def test_without_a_champion_evaluate_says_how_to_get_one(shopkeeper: Run, tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", [event("a")])
    result = shopkeeper("evaluate", "recommender", "--data", shop, "--json")
    assert result.code == 2
    assert "shopkeeper train recommender" in result.json()["problems"][0]["allowed"]


def test_a_home_without_bundles_says_so(shopkeeper: Run) -> None:
    assert shopkeeper("models", "list", "--json").json() == {"models": []}
    result = shopkeeper("models", "rollback", "recommender", "--json")
    assert result.code == 2
    assert result.json()["problems"][0]["problem"] == "no bundles yet"


def test_a_shop_of_one_event_trains_popularity(shopkeeper: Run, tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", [event("a")])
    result = shopkeeper("train", "recommender", "--data", shop, "--workers", 0, "--json")
    assert result.code == 0, result.stderr
    document = result.json()
    assert any("fewer than 3 positive events" in note for note in document["notes"])
    assert Path(document["report"]).is_file()
    listed = shopkeeper("models", "list", "--json").json()["models"]
    assert [(row["version"], row["aliases"]) for row in listed] == [(document["version"], ["champion", "candidate"])]
    assert shopkeeper("models", "rollback", "recommender", "--json").code == 1
    again = shopkeeper("train", "recommender", "--data", shop, "--workers", 0, "--json").json()
    promoted = shopkeeper("models", "promote", "recommender", again["version"], "--json")
    assert promoted.json()["jobs"] == {"recommender": again["version"]}
    compared = shopkeeper("models", "compare", document["version"], again["version"], "--json").json()
    assert compared["same_data"]
    back = shopkeeper("models", "rollback", "recommender", "--json")
    assert back.json()["jobs"] == {"recommender": document["version"]}
