"""POST /v1/recommendations: what must hold of every answer."""

from __future__ import annotations

import math
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.serving_shop import BRANDS, ITEMS_EACH, Serving, wait_until

ITEMS = BRANDS * ITEMS_EACH


def recommend(http: TestClient, **body: Any) -> dict[str, Any]:
    answer = http.post("/v1/recommendations", json={"user_id": "u001", **body})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def ids(document: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in document["items"]]


def send(http: TestClient, *events: dict[str, Any]) -> None:
    answer = http.post("/v1/events", json={"events": list(events)})
    assert (answer.status_code, answer.json()["accepted"]) == (202, len(events)), answer.text


def test_answer_has_everything_the_contract_names(http: TestClient) -> None:
    document = recommend(http, limit=5)
    assert len(document["items"]) == 5
    assert [item["rank"] for item in document["items"]] == [1, 2, 3, 4, 5]
    assert all(item["propensity"] == 1.0 and item["reasons"] == [] for item in document["items"])
    scores = [item["score"] for item in document["items"]]
    assert scores == sorted(scores, reverse=True)
    assert [model["role"] for model in document["models"]] == ["retriever", "ranker"]
    assert document["degraded"] == []
    assert document["release"].startswith("r")
    assert document["freshness_ms"] >= 0
    assert document["took_ms"] > 0


def test_users_get_what_is_theirs(http: TestClient) -> None:
    """Every user of this shop stays with one brand."""
    for user in range(8):
        brands = [int(item_id[1:]) % BRANDS for item_id in ids(recommend(http, user_id=f"u{user:03d}", limit=3))]
        assert brands == [user % BRANDS] * 3


def test_unknown_user_is_a_cold_start(http: TestClient) -> None:
    document = recommend(http, user_id="nobody 🛒")
    assert len(document["items"]) == 10
    assert document["degraded"] == []


def test_next_answer_reflects_the_events(http: TestClient) -> None:
    purchased = ids(recommend(http))[0]
    send(http, {"type": "purchase", "user_id": "u001", "item_id": purchased})
    assert purchased not in ids(recommend(http, limit=200))
    assert purchased in ids(recommend(http, limit=200, exclude={"purchased_days": 0}))


def test_new_taste_shows(http: TestClient) -> None:
    send(http, *({"type": "view", "user_id": "late", "item_id": f"i{8 * step + 5:02d}"} for step in range(4)))
    brands = [int(item_id[1:]) % BRANDS for item_id in ids(recommend(http, user_id="late", limit=4))]
    assert brands.count(5) >= 3


def test_merged_history_counts_at_once(http: TestClient) -> None:
    send(http, {"type": "purchase", "user_id": "device", "item_id": "i03"})
    assert "i03" in ids(recommend(http, limit=200))
    assert http.post("/v1/users/u001/merge", json={"anonymous_id": "device"}).status_code == 200
    assert "i03" not in ids(recommend(http, limit=200))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("price <= 10", lambda n: n + 1 <= 10),
        ("brand in ('b1','b2') and not category = 'c1'", lambda n: n % 8 in (1, 2) and n % 4 != 1),
        ("attributes.colour = 'red'", lambda n: n % 2 == 1),
        ("price > 1000", lambda n: False),  # noqa: ARG005
    ],
)
def test_filter_is_hard(http: TestClient, text: str, holds: Any) -> None:
    found = ids(recommend(http, limit=200, filter=text))
    assert sorted(found) == [f"i{n:02d}" for n in range(ITEMS) if holds(n)]


def test_sold_out_never_leaves(http: TestClient) -> None:
    first = ids(recommend(http))[0]
    assert http.put("/v1/items", json={"items": [{"item_id": first, "stock": 0}]}).status_code == 200
    assert first not in ids(recommend(http, limit=200))
    http.put("/v1/items", json={"items": [{"item_id": first, "stock": 1}]})
    assert first in ids(recommend(http, limit=200))


def test_deleted_item_never_leaves(http: TestClient) -> None:
    first = ids(recommend(http))[0]
    assert http.delete(f"/v1/items/{first}").status_code == 204
    assert first not in ids(recommend(http, limit=200))


def test_new_item_is_found(http: TestClient, serving: Serving) -> None:
    new = {"item_id": "brand new", "title": "Thing", "brand": "b1", "category": ["all", "c1"], "price": 3.0}
    assert http.put("/v1/items", json={"items": [new]}).json() == {"upserted": 1, "stale": 0, "rejected": []}
    serving.load_champion()
    assert "brand new" in ids(recommend(http, limit=200))
    assert ids(recommend(http, filter="price = 3.0 and brand = 'b1'")) == ["brand new"]
    similar = http.post("/v1/similar-items", json={"item_id": "brand new", "limit": 3}).json()
    assert len(similar["items"]) == 3


def test_exclusions(http: TestClient) -> None:
    everything = ids(recommend(http, limit=200))
    history = {item for item in everything if int(item[1:]) % BRANDS == 1}
    left = ids(recommend(http, limit=200, exclude={"item_ids": everything[:4], "seen": True}))
    assert not set(left) & set(everything[:4])
    assert len(set(left) & history) < len(history)


def test_context_is_used_and_left_out(http: TestClient) -> None:
    document = recommend(http, user_id="stranger", scenario="product", item_ids=["i06", "gone", "i06"], limit=10)
    assert document["unknown_items"] == 1
    assert "i06" not in ids(document)
    assert ids(document) != ids(recommend(http, user_id="stranger", limit=10))
    assert ids(recommend(http, scenario="home", item_ids=["i06"])) == ids(recommend(http))


def test_pages_hold_everything_once(http: TestClient) -> None:
    found: list[str] = []
    body: dict[str, Any] = {"limit": 7, "exploration": 0.3, "seed": 5}
    while True:
        page = recommend(http, **body)
        assert [item["rank"] for item in page["items"]] == list(
            range(len(found) + 1, len(found) + 1 + len(page["items"]))
        )
        found += ids(page)
        if "cursor" not in page:
            break
        body["cursor"] = page["cursor"]
    assert sorted(found) == [f"i{n:02d}" for n in range(ITEMS)]


def test_cursor_of_another_user_is_refused(http: TestClient) -> None:
    cursor = recommend(http)["cursor"]
    answer = http.post("/v1/recommendations", json={"user_id": "u002", "cursor": cursor})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")


def test_exploration_is_reproducible_and_honest(http: TestClient) -> None:
    first, again = (recommend(http, exploration=0.5, seed=3, limit=8) for _ in range(2))
    assert ids(first) == ids(again)
    best = ids(recommend(http, limit=1))[0]
    shown = [recommend(http, exploration=0.5, limit=1)["items"][0] for _ in range(60)]
    for item in shown:
        expected = 0.5 + 0.5 / ITEMS if item["item_id"] == best else 0.5 / ITEMS
        assert math.isclose(item["propensity"], expected)
    assert 12 <= sum(item["item_id"] == best for item in shown) <= 48


def test_diversity_spreads_brands(http: TestClient) -> None:
    def brands(**body: Any) -> int:
        return len({int(item_id[1:]) % BRANDS for item_id in ids(recommend(http, limit=6, **body))})

    assert brands(diversity=0.9) > brands(diversity=0)


def test_reasons_come_from_the_features(http: TestClient) -> None:
    first = recommend(http, explain=True, limit=1)["items"][0]
    texts = {reason["code"]: reason["text"] for reason in first["reasons"]}
    assert "b1" in texts["brand"]
    stranger = recommend(http, user_id="stranger", explain=True, limit=1)["items"][0]
    assert {reason["code"] for reason in stranger["reasons"]} <= {"popular", "taste"}


def test_rankings_return_every_given_item(http: TestClient) -> None:
    http.put("/v1/items", json={"items": [{"item_id": "i02", "stock": 0}]})
    answer = http.post("/v1/rankings", json={"user_id": "u001", "item_ids": ["i02", "i17", "i03", "i17"]})
    assert sorted(ids(answer.json())) == ["i02", "i03", "i17"]
    assert ids(answer.json())[0] == "i17"


def test_similar_items(http: TestClient) -> None:
    answer = http.post("/v1/similar-items", json={"item_id": "i09", "limit": 4, "filter": "price < 100"}).json()
    assert len(answer["items"]) == 4
    assert "i09" not in ids(answer)


def test_served_answers_are_logged_as_served(http: TestClient, serving: Serving) -> None:
    document = recommend(http, limit=3, exploration=0.2, seed=1)
    store = serving.live.store
    wait_until(lambda: store.recommendation(document["recommendation_id"]) is not None)
    row = store.recommendation(document["recommendation_id"])
    assert row is not None
    assert [entry.item_id for entry in row.slate] == ids(document)
    assert [entry.propensity for entry in row.slate] == [item["propensity"] for item in document["items"]]
    assert row.release == document["release"]
    assert row.features is not None
    assert row.features.dtype.str == "<f4"
    assert row.features.shape == (3, len(row.feature_names))


def test_scores_do_not_depend_on_the_other_candidates(http: TestClient) -> None:
    everything = {item["item_id"]: item["score"] for item in recommend(http, limit=200)["items"]}
    for item in recommend(http, limit=200, filter="price <= 20")["items"]:
        assert math.isclose(item["score"], everything[item["item_id"]], abs_tol=1e-5)


def test_unknown_context_items_are_counted_at_home_too(http: TestClient) -> None:
    document = http.post("/v1/recommendations", json={"user_id": "u", "item_ids": ["nope"]}).json()
    assert document["unknown_items"] == 1
    plain = http.post("/v1/recommendations", json={"user_id": "u001"}).json()
    given = http.post("/v1/recommendations", json={"user_id": "u001", "item_ids": ["i01"]}).json()
    assert given["unknown_items"] == 0
    assert given["items"] == plain["items"]
