"""POST /v1/visual-search with words beside the photo."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from deployments.messages import PhotoQuery
from tests.serving_shop import BRANDS, ITEMS_EACH, Home, Serving, client_of, serve_in_process, wait_until
from tests.unit.deployments.test_api_input import problem
from tests.unit.deployments.test_visual_search import PATH, look, whole
from tests.vision_bundle import item_picture, pictures, publish_vision, take_pictures, untrained
from training.indexes.config import IndexConfig
from training.models.item_texts import ItemTexts, News
from training.models.mixed_search import MixedSearch
from training.models.text_encoder import MINILM

WITHIN_S = 10.0
SAYS = {3: "garden hose", 9: "winter coat", 11: "espresso machine"}


def items() -> list[dict[str, str]]:
    return [{"item_id": f"i{number:02d}", "title": title} for number, title in SAYS.items()]


def texts() -> ItemTexts:
    made = ItemTexts.of(MINILM, [], np.zeros((0, 384), np.float32), IndexConfig())
    made.take(made.read(items()))
    return made


@pytest.fixture
def reading(home: Home) -> Iterator[Serving]:
    """A shop that is served, with what its items say."""
    publish_vision(home, texts=texts())
    serving = serve_in_process(home.config(watch_period_s=0.02))
    serving.load_champion()
    yield serving
    serving.live.close()


@pytest.fixture
def http(reading: Serving) -> Iterator[TestClient]:
    with client_of(reading) as client:
        client.headers["X-Timeout-Ms"] = "30000"
        wait_until(lambda: "vision" not in client.get("/readyz").json()["missing"])
        say(client, reading, items())
        yield client


def say(http: TestClient, serving: Serving, news: list[dict[str, str]]) -> None:
    """What the stage's own thread would do once the catalogue has them."""
    http.put("/v1/items", json={"items": news}).raise_for_status()
    serving.hosts["visual_search"].follow_catalogue()


def test_words_outweigh_the_photo_by_their_weight(http: TestClient) -> None:
    photo, coffee = item_picture(20), "a machine that makes coffee"
    assert whole(http, photo, text=coffee, text_weight=1, limit=1) == ["i11"]
    assert whole(http, photo, text=coffee, text_weight=0, limit=1) == ["i20"]
    assert whole(http, photo, text="something warm to wear", text_weight=1, limit=1, filter="brand = 'b1'") == ["i09"]


def test_what_an_item_says_from_now_on_is_found(http: TestClient, reading: Serving) -> None:
    asked = {"text": "musical instrument", "text_weight": 1, "limit": 1}
    assert whole(http, item_picture(20), **asked) != ["i30"]
    say(http, reading, [{"item_id": "i30", "title": "violin for beginners"}])
    assert whole(http, item_picture(20), **asked) == ["i30"]


def test_words_are_weighed_alike_whoever_else_asks(reading: Serving, http: TestClient) -> None:
    host = reading.hosts["visual_search"]
    (loaded,) = host.held()
    short, long = (
        PhotoQuery(loaded.version, item_picture(20), 5, 0, None, text, 1.0) for text in ("coat", "a warm coat " * 30)
    )
    (alone,), (together, *_) = host.answer([short]), host.answer([short, long, long])
    assert together.articles[0].items == alone.articles[0].items


def test_photos_are_searched_without_words_where_the_encoder_is_gone(home: Home) -> None:
    there = texts()
    there.encoder = str(home.root / "gone")
    publish_vision(home, texts=there)
    serving = serve_in_process(home.config(watch_period_s=0.02))
    serving.load_champion()
    with client_of(serving) as client:
        wait_until(lambda: "vision" not in client.get("/readyz").json()["missing"])
        assert whole(client, item_picture(20), limit=1) == ["i20"]
        answer = client.post(PATH, files={"image": ("photo.jpg", item_picture(1))}, data={"text": "coat"})
        assert "encoder is not on the machine" in problem(answer, 422)["detail"]
    serving.live.close()


def test_photos_do_not_wait_for_texts_that_are_read(
    http: TestClient, reading: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts are read only once a photo was answered."""
    begun, answered, read = threading.Event(), threading.Event(), ItemTexts.read

    def held(own: ItemTexts, items: Sequence[Mapping[str, Any]]) -> News:
        begun.set()
        assert answered.wait(WITHIN_S)
        return read(own, items)

    monkeypatch.setattr(ItemTexts, "read", held)
    http.put("/v1/items", json={"items": [{"item_id": "i30", "title": "violin"}]}).raise_for_status()
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(reading.hosts["visual_search"].follow_catalogue)
        assert begun.wait(WITHIN_S)
        assert whole(http, item_picture(20), text="winter coat", text_weight=1, limit=1) == ["i09"]
        answered.set()
        following.result(WITHIN_S)


def test_scores_are_the_weighted_mean_of_both_likenesses() -> None:
    search = untrained()
    take_pictures(search)
    search.texts = texts()
    vectors_VD = search.embed([pictures()["p09"]])
    vector_E = search.texts.encode(["winter coat"])[0]
    every = BRANDS * ITEMS_EACH
    looks = dict(search.search(vectors_VD, every)[0])
    for weight in (0.0, 0.3, 1.0):
        (found,) = MixedSearch(search, vector_E, weight)(vectors_VD, every)
        for item_id, score in found:
            says = float(search.texts.likeness(vector_E, [item_id])[0])
            assert score == pytest.approx((1 - weight) * looks[item_id] + weight * says, abs=1e-5)
        assert found[0][0] == "i09"
        assert len(found) == every


@pytest.mark.parametrize("field", [{"text": "x" * 501}, {"text": " "}, {"text": "coat", "text_weight": 1.5}])
def test_wrong_words_are_refused(http: TestClient, field: dict[str, str]) -> None:
    found = problem(http.post(PATH, files={"image": ("photo.jpg", item_picture(1))}, data=field), 422)
    assert found["errors"][0]["field"].split(".")[-1] in field


def test_words_without_texts_of_items_are_refused_with_the_command(home: Home) -> None:
    publish_vision(home)
    serving = serve_in_process(home.config(watch_period_s=0.02))
    serving.load_champion()
    with client_of(serving) as client:
        wait_until(lambda: "vision" not in client.get("/readyz").json()["missing"])
        answer = client.post(PATH, files={"image": ("photo.jpg", item_picture(1))}, data={"text": "coat"})
        found = problem(answer, 422)
        assert found["errors"][0]["field"] == "text"
        assert "--set text_encoder=" in found["errors"][0]["problem"]
        assert look(client, item_picture(1))["detections"]
    serving.live.close()
