"""POST /v1/visual-search and pictures of items, through the HTTP application."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from deployments.messages import PhotoQuery, Refused, Seen
from deployments.middleware.auth import parse_keys
from tests.hostile_images import encoded, photo
from tests.serving_shop import Home, Serving, client_of, serve_in_process, wait_until
from tests.unit.deployments.test_api_input import problem
from tests.vision_bundle import item_picture, publish_vision
from training.features.images import Picture
from training.models.detection import Detection

PATH = "/v1/visual-search"
WHOLE = {"x0": 0.0, "y0": 0.0, "x1": 1.0, "y1": 1.0}


@pytest.fixture
def seeing(home: Home) -> Iterator[Serving]:
    """A shop that is served, visual search included."""
    publish_vision(home)
    serving = serve_in_process(home.config(watch_period_s=0.02))
    serving.load_champion()
    yield serving
    serving.live.close()


@pytest.fixture
def http(seeing: Serving) -> Iterator[TestClient]:
    with client_of(seeing) as client:
        client.headers["X-Timeout-Ms"] = "30000"
        wait_until(lambda: "vision" not in client.get("/readyz").json()["missing"])
        yield client


def look(http: TestClient, data: bytes, **fields: Any) -> dict[str, Any]:
    """The answer to a photo sent as a form."""
    answer = http.post(PATH, files={"image": ("photo.jpg", data)}, data=fields)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def whole(http: TestClient, data: bytes, **fields: Any) -> list[str]:
    """Items like the whole photo."""
    return [item["item_id"] for item in look(http, data, **fields)["detections"][-1]["items"]]


def test_every_picture_finds_its_own_item(http: TestClient) -> None:
    for number in (0, 7, 47):
        document = look(http, item_picture(number), limit=3)
        (found,) = document["detections"]
        assert (found["box"], found["score"]) == (WHOLE, 1.0)
        assert found["items"][0]["item_id"] == f"i{number:02d}"
        assert found["items"][0]["score"] == pytest.approx(1.0, abs=1e-4)
        scores = [item["score"] for item in found["items"]]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
        assert document["took_ms"] > 0
        assert document["models"][0]["role"] == "visual_search"


def test_photos_of_one_batch_are_answered_as_if_alone(seeing: Serving) -> None:
    host = seeing.hosts["visual_search"]
    (loaded,) = host.held()
    asked = [
        PhotoQuery(
            loaded.version, b"broken" if number == 4 else item_picture(number), 3, number % 3,
            "price >= 10" if number % 2 else None, "", 0.0,
        )
        for number in range(7)
    ]  # fmt: skip
    together = host.answer(asked)
    for query, answer in zip(asked, together, strict=True):
        (alone,) = host.answer([query])
        assert type(answer) is type(alone)
        if isinstance(answer, Seen):
            assert [item for item, _ in answer.articles[-1].items] == [item for item, _ in alone.articles[-1].items]
    assert isinstance(together[4], Refused)
    assert len({answer.articles[-1].items[0][0] for answer in together if isinstance(answer, Seen)}) > 3


def test_form_and_json_say_the_same(http: TestClient) -> None:
    body = {"image_base64": base64.b64encode(item_picture(3)).decode(), "limit": 4, "filter": "price >= 10"}
    answer = http.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["detections"] == look(http, item_picture(3), limit=4, filter="price >= 10")["detections"]


def test_filter_stock_and_deletion_are_hard(http: TestClient) -> None:
    assert whole(http, item_picture(5), limit=1) == ["i05"]
    others = whole(http, item_picture(5), limit=200, filter="brand = 'b2'")
    assert sorted(others) == [f"i{number:02d}" for number in range(48) if number % 8 == 2]
    http.put("/v1/items", json={"items": [{"item_id": "i05", "stock": 0}]})
    assert "i05" not in whole(http, item_picture(5), limit=200)
    assert http.delete("/v1/items/i06").status_code == 204
    assert "i06" not in whole(http, item_picture(6), limit=200)


def test_articles_come_before_the_whole(http: TestClient, seeing: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    (loaded,) = seeing.hosts["visual_search"].held()

    def halves(photos: list[Picture], most: int) -> list[list[Detection]]:
        found = [
            Detection(box=(0.5, 0.0, 1.0, 1.0), label="shoe", score=0.9),
            Detection(box=(0.0, 0.0, 0.5, 1.0), label="hat", score=0.4),
        ]
        return [found[:most] for _ in photos]

    monkeypatch.setattr(loaded.model.model, "detect", halves)  # type: ignore[attr-defined]
    canvas = Image.new("RGB", (192, 96))
    canvas.paste(photo(96, seed=11), (0, 0))
    canvas.paste(photo(96, seed=12), (96, 0))
    both = encoded(canvas, "PNG")
    found = look(http, both, limit=1)["detections"]
    assert [(one["label"], one["items"][0]["item_id"]) for one in found[:2]] == [("shoe", "i12"), ("hat", "i11")]
    assert found[0]["box"] == {"x0": 0.5, "y0": 0.0, "x1": 1.0, "y1": 1.0}
    assert found[-1]["box"] == WHOLE
    assert len(look(http, both, max_detections=1)["detections"]) == 2
    assert len(look(http, both, max_detections=0)["detections"]) == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"max_detections": "21"}, "max_detections"),
        ({"filter": "colour = 'red'"}, "filter"),
        ({"limt": "3"}, "limt"),
        ({"query": "red"}, "query"),
    ],
)
def test_wrong_field_is_named_in_both_forms(http: TestClient, fields: dict[str, str], field: str) -> None:
    data = item_picture(1)
    form = http.post(PATH, files={"image": ("photo.png", data)}, data=fields)
    assert problem(form, 422)["errors"][0]["field"] == field
    numbers = {name: int(value) if value.isdigit() else value for name, value in fields.items()}
    text = http.post(PATH, json={"image_base64": base64.b64encode(data).decode(), **numbers})
    assert problem(text, 422)["errors"][0]["field"] == field


def test_what_is_no_photo_at_all_is_named(http: TestClient) -> None:
    cases = [
        ({"json": {}}, "image_base64"),
        ({"json": []}, "body"),
        ({"json": {"image_base64": 3}}, "image_base64"),
        ({"json": {"image_base64": "***"}}, "image_base64"),
        ({"json": {"image_url": "http://127.0.0.1/photo.jpg"}}, "image_base64"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, "body"),
        ({"files": {"picture": ("a.png", item_picture(1))}}, "picture"),
        ({"files": {"other": ("", b"")}, "data": {"image": "http://127.0.0.1/photo.jpg"}}, "image"),
        ({"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, "body"),
    ]
    for request, field in cases:
        document = problem(http.post(PATH, **request), 422)  # type: ignore[arg-type]
        assert document["errors"][0]["field"] == field
    problem(http.post(PATH, content=item_picture(1), headers={"content-type": "image/png"}), 415)


def test_pictures_are_found_once_they_are_put(http: TestClient, seeing: Serving) -> None:
    new = encoded(photo(96, seed=900))
    assert whole(http, new, limit=1) != ["i20"]
    files = [("images", ("a.jpg", new)), ("images", ("b.txt", b"not a picture")), ("images", ("c.jpg", new))]
    answer = http.put("/v1/items/i20/images", files=files)
    assert answer.status_code == 200, answer.text
    first, second, third = answer.json()["images"]
    assert (first["status"], second["status"], third["status"]) == ("stored", "rejected", "stored")
    assert first["image_id"] == third["image_id"]
    assert "JPEG, PNG or WEBP" in second["problem"]
    again = http.put("/v1/items/i20/images", files=files[:1]).json()["images"]
    assert again == [{"index": 0, "status": "unchanged", "image_id": first["image_id"]}]
    seeing.hosts["visual_search"].follow_catalogue()
    assert whole(http, new, limit=1) == ["i20"]
    assert http.delete("/v1/items/i20").status_code == 204
    http.put("/v1/items", json={"items": [{"item_id": "i20", "stock": 1}]})
    seeing.hosts["visual_search"].follow_catalogue()
    assert whole(http, new, limit=1) != ["i20"]


def test_an_id_that_comes_again_is_not_found_by_the_old_articles_picture(http: TestClient, seeing: Serving) -> None:
    assert whole(http, item_picture(22), limit=1) == ["i22"]
    assert http.delete("/v1/items/i22").status_code == 204
    http.put("/v1/items", json={"items": [{"item_id": "i22", "stock": 1}]})
    seeing.hosts["visual_search"].follow_catalogue()
    assert "i22" not in whole(http, item_picture(22), limit=200)


def test_pictures_outlive_a_restart(home: Home) -> None:
    publish_vision(home)
    new = encoded(photo(96, seed=901))
    for number in range(2):
        serving = serve_in_process(home.config(watch_period_s=0.02))
        serving.load_champion()
        with client_of(serving) as http:
            wait_until(lambda: "vision" not in http.get("/readyz").json()["missing"])
            if number == 0:
                http.put("/v1/items/i21/images", files=[("images", ("a.jpg", new))])
            else:
                assert whole(http, new, limit=1) == ["i21"]
        serving.live.close()


def test_wrong_pictures_of_items(http: TestClient) -> None:
    good = ("images", ("a.png", item_picture(1)))
    problem(http.put("/v1/items/nobody/images", files=[good]), 404)
    assert problem(http.put("/v1/items/i01/images", files=[("image", ("a.png", b""))]), 422)["errors"]
    problem(http.put("/v1/items/i01/images", files=[good] * 11), 422)
    problem(http.put("/v1/items/i01/images", json={}), 415)


def test_before_there_is_a_bundle(serving: Serving) -> None:
    with client_of(serving) as http:
        answer = http.post(PATH, files={"image": ("a.png", item_picture(1))})
        assert "shopkeeper train vision" in problem(answer, 503)["detail"]
        assert int(answer.headers["retry-after"]) > 0
        assert "vision" in http.get("/readyz").json()["missing"]


def test_visual_search_needs_no_recommender(home: Home) -> None:
    for file in (home.root / "releases").rglob("champion.json"):
        file.unlink()
    publish_vision(home)
    serving = serve_in_process(home.config(watch_period_s=0.02))
    serving.load_champion()
    with client_of(serving, ready=False) as http:
        wait_until(lambda: http.post(PATH, files={"image": ("a.png", item_picture(9))}).status_code == 200)
        assert whole(http, item_picture(9), limit=1) == ["i09"]
        problem(http.post("/v1/recommendations", json={"user_id": "u"}), 503)
        models, readiness = http.get("/v1/models").json(), http.get("/readyz").json()
        assert [model["role"] for model in models["models"]] == ["visual_search"]
        assert (readiness["ready"], "vision" in readiness["missing"]) == (False, False)
        assert readiness["release"] == look(http, item_picture(9))["release"]
    serving.live.close()


def test_a_new_bundle_takes_over(http: TestClient, seeing: Serving, home: Home) -> None:
    first = look(http, item_picture(1))["models"][0]["version"]
    second = publish_vision(home).version
    assert look(http, item_picture(1))["models"][0]["version"] == first
    seeing.load_champion()
    wait_until(lambda: look(http, item_picture(1))["models"][0]["version"] == second)


def test_scope(home: Home) -> None:
    publish_vision(home)
    serving = serve_in_process(home.config(watch_period_s=0.02), keys=parse_keys("app:public:0123456789abcdef"))
    serving.load_champion()
    public = {"authorization": "Bearer 0123456789abcdef"}
    with client_of(serving) as http:
        files = {"image": ("a.png", item_picture(1))}
        wait_until(lambda: http.post(PATH, files=files, headers=public).status_code == 200)
        problem(http.post(PATH, files=files), 401)
        images = [("images", ("a.png", item_picture(1)))]
        problem(http.put("/v1/items/i01/images", files=images, headers=public), 403)
    serving.live.close()
