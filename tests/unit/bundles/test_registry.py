"""Releases name one version per job; promoting or rolling back changes that job only."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from training.bundles.registry import Registry
from training.contracts.errors import InputError, ShopkeeperError


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "releases", "shop")


def champion_jobs(registry: Registry) -> dict[str, str]:
    champion = registry.get("champion")
    assert champion is not None
    return champion.jobs


def test_a_new_shop_has_no_release(registry: Registry) -> None:
    assert registry.get("champion") is None
    assert registry.history() == []


def test_a_candidate_is_the_champion_with_one_job_changed(registry: Registry) -> None:
    registry.promote("recommender", "v1")
    registry.promote("forecaster", "f1")
    candidate = registry.propose("recommender", "v2")
    assert candidate.jobs == {"recommender": "v2", "forecaster": "f1"}
    assert champion_jobs(registry) == {"recommender": "v1", "forecaster": "f1"}


def test_rollback_changes_one_job_and_keeps_the_others(registry: Registry) -> None:
    registry.promote("recommender", "v1")
    registry.promote("recommender", "v2")
    registry.promote("forecaster", "f1")
    registry.rollback("recommender")
    assert champion_jobs(registry) == {"recommender": "v1", "forecaster": "f1"}
    registry.rollback("recommender")
    assert champion_jobs(registry)["recommender"] == "v2"


def test_previous_is_the_champion_before(registry: Registry) -> None:
    first = registry.promote("recommender", "v1")
    registry.promote("recommender", "v2")
    previous = registry.get("previous")
    assert previous is not None
    assert previous.release == first.release


def test_nothing_to_roll_back_to(registry: Registry) -> None:
    registry.promote("recommender", "v1")
    with pytest.raises(ShopkeeperError, match="no earlier champion of recommender"):
        registry.rollback("recommender")


def test_shops_never_mix(registry: Registry, tmp_path: Path) -> None:
    registry.promote("recommender", "v1")
    assert Registry(tmp_path / "releases", "other").get("champion") is None


def test_concurrent_promotions_lose_none(tmp_path: Path) -> None:
    def promote(job: int) -> None:
        Registry(tmp_path / "releases", "shop").promote(f"job{job}", "v1")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(promote, range(16)))
    assert len(champion_jobs(Registry(tmp_path / "releases", "shop"))) == 16


@pytest.mark.parametrize(("field", "value"), [("jobs", {"recommender": "../../etc"}), ("release", "../other")])
def test_a_release_cannot_name_another_folder(registry: Registry, field: str, value: object) -> None:
    release = registry.promote("recommender", "v1")
    for path in Path(registry.base).rglob("*.json"):
        document = release.model_dump(mode="json")
        path.write_text(json.dumps({**document, field: value}))
    with pytest.raises(InputError, match=field):
        registry.get("champion")
