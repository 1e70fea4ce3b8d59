"""Bad input is named, never a stack trace: every row of the contract's HTTP section."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from deployments.middleware.auth import parse_keys, refuse_open_host, refuse_open_proxy
from tests.serving_shop import Home, Serving, client_of, serve_in_process
from training.contracts.errors import InputError

JSON = {"content-type": "application/json"}
PROBLEM = "application/problem+json"


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert {"type", "title", "detail"} <= document.keys()
    return document


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"user_id": "u", "limit": 0}, "limit"),
        ({"user_id": "u", "limit": 201}, "limit"),
        ({"user_id": "u", "limit": "5"}, "limit"),
        ({"user_id": "u", "limit": True}, "limit"),
        ({"user_id": "u", "scenario": "checkout"}, "scenario"),
        ({"user_id": "u", "limt": 3}, "limt"),
        ({"user_id": "u", "exclude": {"sen": True}}, "exclude.sen"),
        ({"user_id": "u", "exclude": {"purchased_days": -1}}, "exclude.purchased_days"),
        ({"user_id": "u", "diversity": 1.1}, "diversity"),
        ({"user_id": "u", "exploration": -0.1}, "exploration"),
        ({"user_id": "u", "cursor": "nonsense"}, "cursor"),
        ({"user_id": "u", "context": {str(n): "x" for n in range(51)}}, "context"),
        ({"user_id": "x" * 257}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({}, "user_id"),
        ([], "body"),
        ({"user_id": "u", "filter": "colour = 'red'"}, "filter"),
        ({"user_id": "u", "filter": "price <= "}, "filter"),
    ],
)
def test_wrong_field_is_named(http: TestClient, body: Any, field: str) -> None:
    document = problem(http.post("/v1/recommendations", json=body), 422)
    assert document["errors"][0]["field"] == field
    assert field in document["detail"]


def test_unknown_field_names_the_nearest(http: TestClient) -> None:
    document = problem(http.post("/v1/recommendations", json={"user_id": "u", "limt": 3}), 422)
    assert document["errors"][0]["nearest"] == "limit"


def test_wrong_filter_names_its_field_and_offset(http: TestClient) -> None:
    answer = http.post("/v1/recommendations", json={"user_id": "u", "filter": "price < 3 and colr = 'x'"})
    error = problem(answer, 422)["errors"][0]
    assert (error["item_field"], error["offset"]) == ("colr", 14)


@pytest.mark.parametrize("route", ["/v1/recommendations", "/v1/events", "/v1/rankings", "/v1/similar-items"])
@pytest.mark.parametrize(
    "body", [b"{", b"", b"\xff\xfe", b'{"user_id": "\\ud800"}', b"[" * 100_000, b'{"user_id": NaN}', b"1" * 5000]
)
def test_wrong_json(http: TestClient, route: str, body: bytes) -> None:
    problem(http.post(route, content=body, headers=JSON), 422)


@pytest.mark.parametrize("count", [0, 1001])
def test_too_few_or_many_events(http: TestClient, count: int) -> None:
    events = [{"type": "view", "user_id": "u", "item_id": "i01"}] * count
    document = problem(http.post("/v1/events", json={"events": events}), 422)
    assert document["errors"][0]["field"] == "events"


@pytest.mark.parametrize("body", [{"evnts": []}, {"events": {}}, {"events": [], "more": 1}, 3, {}])
def test_wrong_envelope(http: TestClient, body: Any) -> None:
    problem(http.post("/v1/events", json=body), 422)


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ({"type": "viewed"}, "type"),
        ({"type": "custom:"}, "type"),
        ({"user_id": "x" * 257}, "user_id"),
        ({"item": "i01"}, "item: unknown field"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": 1760000000}, "timestamp"),
        ({"timestamp": "1969-12-31T23:59:59Z"}, "timestamp"),
        ({"timestamp": "2200-01-01T00:00:00Z"}, "timestamp"),
        ({"quantity": "2"}, "quantity"),
        ({"position": -1}, "position"),
        ({"context": {str(n): "x" for n in range(51)}}, "context"),
        ({"context": {"a": 1}}, "context"),
    ],
)
def test_bad_event_is_rejected_and_good_ones_kept(http: TestClient, event: dict[str, Any], named: str) -> None:
    good = {"type": "view", "user_id": "u", "item_id": "i01"}
    answer = http.post("/v1/events", json={"events": [good, {**good, **event}, good]})
    assert answer.status_code == 202
    document = answer.json()
    assert document["accepted"] == 2
    assert [row["index"] for row in document["rejected"]] == [1]
    assert named in document["rejected"][0]["problem"]


def test_repeated_event_counts_once(http: TestClient) -> None:
    event = {"event_id": "e1", "type": "view", "user_id": "u", "item_id": "i01", "timestamp": "2026-01-30T10:00:00"}
    assert http.post("/v1/events", json={"events": [event, event]}).json() == {
        "accepted": 1, "duplicates": 1, "rejected": [],
    }  # fmt: skip
    same_moment = {**event, "timestamp": "2026-01-30T11:00:00+01:00"}
    assert http.post("/v1/events", json={"events": [same_moment]}).json()["duplicates"] == 1
    other = http.post("/v1/events", json={"events": [{**event, "type": "like"}]}).json()
    assert (other["accepted"], other["rejected"][0]["index"]) == (0, 0)
    assert "event_id" in other["rejected"][0]["problem"]


def test_ndjson_rejects_a_broken_line_by_itself(http: TestClient) -> None:
    good = json.dumps({"type": "view", "user_id": "u", "item_id": "i01"})
    body = f"{good}\n{{broken\n\n{good}\n"
    answer = http.post("/v1/events", content=body, headers={"content-type": "application/x-ndjson"})
    assert answer.status_code == 202
    document = answer.json()
    assert (document["accepted"], document["rejected"][0]["index"]) == (2, 1)


def test_unknown_item_is_accepted_and_counted(http: TestClient, serving: Serving) -> None:
    assert (
        http.post("/v1/events", json={"events": [{"type": "view", "user_id": "u", "item_id": "?"}]}).status_code == 202
    )
    assert serving.live.store.counters()["unknown_items"] == 1
    assert 'unknown_items_total{route="/v1/events"} 1.0' in http.get("/metrics").text


def test_unknown_items_elsewhere(http: TestClient) -> None:
    problem(http.post("/v1/similar-items", json={"item_id": "?"}), 404)
    problem(http.get("/v1/items/nope"), 404)
    problem(http.delete("/v1/items/nope"), 404)
    document = problem(http.post("/v1/rankings", json={"user_id": "u", "item_ids": ["i01", "nope"]}), 422)
    assert document["errors"][0]["field"] == "item_ids.1"
    assert "nope" in document["detail"]


@pytest.mark.parametrize("item_ids", [[], [f"i{n}" for n in range(501)]])
def test_rankings_take_1_to_500(http: TestClient, item_ids: list[str]) -> None:
    problem(http.post("/v1/rankings", json={"user_id": "u", "item_ids": item_ids}), 422)


@pytest.mark.parametrize(
    "item",
    [
        {"price": float("nan")},
        {"price": -1},
        {"stock": 1.5},
        {"image": "x.png"},
        {"category": "flat"},
        {"attributes": []},
    ],
)
def test_bad_item_is_rejected(http: TestClient, item: dict[str, Any]) -> None:
    body = json.dumps({"items": [{"item_id": "i01", **item}, {"item_id": "i02", "price": 3}]}).replace("NaN", "1e999")
    answer = http.put("/v1/items", content=body, headers=JSON)
    if answer.status_code == 422:
        return
    assert answer.json()["upserted"] == 1
    assert next(iter(item)) in answer.json()["rejected"][0]["problem"]


def test_items_merge_and_stale_updates_are_ignored(http: TestClient) -> None:
    def put(**item: Any) -> dict[str, Any]:
        document: dict[str, Any] = http.put("/v1/items", json={"items": [{"item_id": "i01", **item}]}).json()
        return document

    put(attributes={"size": "L"}, price=None, updated_at="2026-02-02T00:00:00Z")
    item = http.get("/v1/items/i01").json()
    assert item["attributes"] == {"colour": "red", "size": "L"}
    assert "price" not in item
    assert item["title"] == "Thing 1"
    assert put(title="old", updated_at="2026-02-01T00:00:00Z") == {"upserted": 0, "stale": 1, "rejected": []}
    assert http.get("/v1/items/i01").json()["title"] == "Thing 1"


def test_users_and_sales(http: TestClient, serving: Serving) -> None:
    users = {"users": [{"user_id": "u1", "attributes": {"a": "b"}}, {"user": "x"}]}
    assert http.put("/v1/users", json=users).json()["upserted"] == 1
    assert serving.live.store.user("u1") == {"user_id": "u1", "attributes": {"a": "b"}}
    sale = {"series_id": "s", "timestamp": "2026-01-05", "demand": 3, "temperature": 20.5}
    answer = http.post("/v1/sales", json={"sales": [sale, {**sale, "temperature": [1]}, {"series_id": "s"}]}).json()
    assert (answer["upserted"], [row["index"] for row in answer["rejected"]]) == (1, [1, 2])
    problem(http.post("/v1/users/u1/merge", json={"anonymous_id": "u1"}), 422)
    problem(http.post("/v1/users/u1/merge", json={}), 422)


def test_unknown_routes_and_methods(http: TestClient) -> None:
    problem(http.get("/v1/nothing"), 404)
    answer = http.get("/v1/recommendations")
    problem(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_wrong_kind(http: TestClient) -> None:
    body = b'{"user_id": "u"}'
    problem(http.post("/v1/recommendations", content=body, headers={"content-type": "text/plain"}), 415)
    assert http.post(
        "/v1/recommendations", content=body, headers={"content-type": "application/json; charset=utf-8"}
    ).is_success
    assert http.post("/v1/recommendations", content=body).is_success
    problem(http.post("/v1/recommendations", content=body, headers={"content-type": "application/x-ndjson"}), 415)


def test_too_large_declared_or_not(http: TestClient) -> None:
    large = b" " * 5_000_001
    problem(http.post("/v1/recommendations", content=large, headers=JSON), 413)
    problem(http.post("/v1/recommendations", content=(large[:1_000_000] for _ in range(6)), headers=JSON), 413)
    fits = b'{"user_id": "u"}'.ljust(5_000_000)
    assert http.post("/v1/recommendations", content=fits, headers=JSON).is_success


@pytest.mark.parametrize("value", ["9", "30001", "abc", "-1", "1.5", ""])
def test_bad_timeout(http: TestClient, value: str) -> None:
    answer = http.post("/v1/recommendations", json={"user_id": "u"}, headers={"X-Timeout-Ms": value})
    assert problem(answer, 422)["errors"][0]["field"] == "X-Timeout-Ms"


@pytest.mark.parametrize("given", ["abc", "A-1_z.9", "x" * 64])
def test_request_id_is_the_callers(http: TestClient, given: str) -> None:
    for path in ("/healthz", "/nothing"):
        assert http.get(path, headers={"X-Request-ID": given}).headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "ü"])
def test_malformed_request_id_is_replaced(http: TestClient, given: str) -> None:
    said = http.get("/healthz", headers={"X-Request-ID": given.encode()}).headers["x-request-id"]
    assert said != given
    assert 1 <= len(said) <= 64


def test_keys_and_scopes(home: Home) -> None:
    keys = parse_keys("web:public:0123456789abcdef, back:server:fedcba9876543210")
    serving = serve_in_process(home.config(), keys=keys)
    serving.load_champion()
    public = {"authorization": "Bearer 0123456789abcdef"}
    server = {"authorization": "Bearer fedcba9876543210"}
    with client_of(serving) as http:
        assert "www-authenticate" in http.get("/v1/models").headers
        problem(http.get("/v1/models"), 401)
        problem(http.get("/v1/models", headers={"authorization": "Bearer wrong"}), 401)
        problem(http.get("/v1/models", headers={"authorization": "Basic 0123456789abcdef"}), 401)
        problem(http.get("/v1/models", headers=public), 403)
        assert http.get("/v1/models", headers=server).is_success
        assert http.post("/v1/recommendations", json={"user_id": "u"}, headers=public).is_success
        problem(http.delete("/v1/items/i01", headers=public), 403)
        assert http.get("/healthz").is_success
    serving.live.close()


def test_without_keys_only_this_machine_may_connect() -> None:
    refuse_open_host("127.0.0.1", ())
    refuse_open_host("0.0.0.0", parse_keys("a:server:0123456789abcdef"))
    with pytest.raises(InputError, match="SHOPKEEPER_API_KEYS"):
        refuse_open_host("0.0.0.0", ())
    with pytest.raises(InputError) as error:
        parse_keys("a:admin:0123456789abcdef")
    assert "0123456789abcdef" not in str(error.value)


def test_before_there_is_a_bundle(home: Home) -> None:
    for file in (home.root / "releases").rglob("champion.json"):
        file.unlink()
    serving = serve_in_process(home.config())
    with client_of(serving, ready=False) as http:
        answer = http.post("/v1/recommendations", json={"user_id": "u"})
        assert "shopkeeper train recommender" in problem(answer, 503)["detail"]
        assert int(answer.headers["retry-after"]) > 0
        assert problem(http.get("/readyz"), 503)["missing"] == ["recommender", "ranker", "vision", "forecaster"]
        assert http.get("/v1/models").json() == {"release": None, "models": []}
        assert http.get("/healthz").is_success
    serving.live.close()


def test_pages(http: TestClient) -> None:
    document = http.get("/v1/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            assert route["summary"], path
            body = route.get("requestBody", {}).get("content", {}).get("application/json")
            assert body is None or "example" in body or body["schema"].get("examples") or _referred(document, body)
            assert method in ("get", "put", "post", "delete")
    page = http.get("/v1/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text


def _referred(document: dict[str, Any], body: dict[str, Any]) -> bool:
    name = body["schema"]["$ref"].rsplit("/", 1)[1]
    return bool(document["components"]["schemas"][name].get("examples"))


def test_control_characters_in_ids(http: TestClient) -> None:
    error = problem(http.post("/v1/recommendations", json={"user_id": "a\0b"}), 422)["errors"][0]
    assert (error["field"], error["problem"]) == ("user_id", "has a control character")
    problem(http.get("/v1/items/a%00b"), 422)
    document = http.put("/v1/items", json={"items": [{"item_id": "i01\0"}, {"item_id": "i01", "stock": 4}]}).json()
    assert (document["upserted"], document["rejected"][0]["index"]) == (1, 0)
    assert http.get("/v1/items/i01").json()["title"] == "Thing 1"


def test_haproxy_without_keys_is_refused() -> None:
    keys = parse_keys("shop:server:0123456789abcdef")
    refuse_open_proxy({}, ())
    refuse_open_proxy({"RAY_SERVE_ENABLE_HA_PROXY": "1"}, keys)
    with pytest.raises(InputError, match="RAY_SERVE_ENABLE_HA_PROXY"):
        refuse_open_proxy({"RAY_SERVE_ENABLE_HA_PROXY": "1"}, ())
