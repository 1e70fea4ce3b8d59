"""What the ranker was served is what training computes from the exported state, to the bit."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.config import BreakerConfig, RequestConfig
from tests.parity import assert_examples_as_served, assert_served_as_trained
from tests.serving_shop import BRANDS, ITEMS_EACH, Home, Serving, client_of, serve_in_process, wait_until
from training.contracts.shop import Shop
from training.features.ranking import RankingState, RequestFacts

STREAMS = 30
PATIENCE_S = 30.0
"""A busy machine must not cost an answer a stage."""
KINDS = ("view", "add_to_cart", "purchase", "remove_from_cart", "impression", "wishlist", "custom:pin")
item_ids = st.integers(0, BRANDS * ITEMS_EACH).map(lambda number: f"i{number:02d}")
events = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS), "item_id": item_ids},
    optional={"dwell_s": st.floats(0, 1e5), "ago_s": st.integers(-60, 90_000), "value": st.floats(-10, 10)},
)
streams = st.lists(st.lists(events, min_size=1, max_size=15), max_size=3)
requests = st.fixed_dictionaries(
    {"exploration": st.sampled_from([0, 0.5]), "limit": st.integers(1, 60)},
    optional={
        "scenario": st.sampled_from(["home", "product", "cart", "category"]),
        "context": st.dictionaries(st.sampled_from(["device", "page"]), st.sampled_from(["mobile", "fridge", ""])),
        "item_ids": st.lists(item_ids, max_size=3),
    },
)


@pytest.mark.parametrize("trained_ranker", [True, False])
def test_every_input_is_equal_to_the_bit(home: Home, tmp_path: Path, *, trained_ranker: bool) -> None:
    (recommender,) = home.bundles.versions(home.registry.shop_id, "recommender")
    job, version = "recommender", recommender
    if trained_ranker:
        job, version = "ranker", home.publish_ranker(recommender).version
    patient = RequestConfig(breaker=BreakerConfig(patience_floor_s=PATIENCE_S))
    serving = serve_in_process(home.config(watch_period_s=0.02, request=patient))
    serving.load_champion()
    asked: dict[str, RequestFacts] = {}
    with client_of(serving) as http:
        http.headers["X-Timeout-Ms"] = str(int(1000 * PATIENCE_S))

        @settings(max_examples=STREAMS, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
        @given(parts=streams, request=requests)
        def serve(parts: list[list[dict[str, Any]]], request: dict[str, Any]) -> None:
            user_id = f"u{len(asked):03d}"
            for part in parts:
                sent = [_timed(serving, event, user_id) for event in part]
                assert http.post("/v1/events", json={"events": sent}).json()["rejected"] == []
            document = http.post("/v1/recommendations", json={"user_id": user_id, **request}).json()
            assert {model["version"] for model in document["models"]} == {recommender, version}
            device = request.get("context", {}).get("device", "")
            asked[document["recommendation_id"]] = RequestFacts(request.get("scenario", "home"), device)

        serve()
        store = serving.live.store
        wait_until(lambda: all(store.recommendation(name) is not None for name in asked))
    folder = home.bundles.fetch(home.registry.shop_id, job, version)
    state = RankingState.load(folder / "ranking_state.json")
    assert len(asked) >= STREAMS
    assert_served_as_trained(store, tmp_path / "export", state, asked)
    upstream = home.bundles.fetch(home.registry.shop_id, "recommender", recommender)
    assert assert_examples_as_served(Shop(tmp_path / "export"), upstream, state) >= STREAMS // 3
    serving.live.close()


def _timed(serving: Serving, event: dict[str, Any], user_id: str) -> dict[str, Any]:
    """With the moment that lies `ago_s` before the shop's now, or none."""
    said = {name: value for name, value in event.items() if name != "ago_s"} | {"user_id": user_id}
    if "ago_s" in event:
        said["timestamp"] = (serving.gateway.clock.now() - timedelta(seconds=event["ago_s"])).isoformat()
    return said
