"""`shopkeeper train` refuses what it cannot use before anything is started."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cluster.local.ray_session import check_gpus
from tests.picture_shop import make_picture_shop
from training.contracts.errors import InputError
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


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"backbone": {"kind": "efficientnet", "weights": "/nowhere/at/all"}}, "backbone.weights"),
     ({"text_encoder": "./nowhere"}, "text_encoder"), ({"backbone": {"weights": "/nowhere"}}, "backbone")],
)  # fmt: skip
@pytest.mark.parametrize("command", ["train", "tune"])
def test_weights_that_are_not_there_are_refused(
    shopkeeper: Run, tmp_path: Path, command: str, settings: dict[str, Any], field: str
) -> None:
    """Before Ray is started."""
    shop = make_picture_shop(tmp_path / "shop", each=1, tests=0)
    study = {"job": "vision", "metric": "validation", "space": {"dim": {"choices": [16, 32]}}, "base": settings}
    (tmp_path / "config.yaml").write_text(json.dumps(settings if command == "train" else study))
    arguments = ["--config", str(tmp_path / "config.yaml")]
    result = shopkeeper(command, "vision", "--data", shop.path, *arguments, "--json")
    assert result.code == 2
    assert field in result.json()["problems"][0]["field"]


@pytest.mark.parametrize(("found", "enough"), [(0, False), (1, False), (2, True)])
def test_gpus_that_are_not_there_are_not_waited_for(found: int, enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0, **({"GPU": float(found)} if found else {})})
    with nullcontext() if enough else pytest.raises(InputError, match="--gpu: not enough GPUs in this machine"):
        check_gpus(2)


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
