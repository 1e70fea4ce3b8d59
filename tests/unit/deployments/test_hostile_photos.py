"""Forty hostile files at the door: each refused with its reason, memory bounded, a good photo answered afterwards."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from starlette.testclient import TestClient

from deployments.config import RequestConfig
from deployments.middleware.bodies import MAX_IMAGES_BODY_BYTES, MAX_PHOTO_BODY_BYTES, ByteBudget
from deployments.photo_counter import STATUS_OF
from tests.hostile_images import hostile_files
from tests.serving_shop import Home, Serving, client_of, serve_in_process, wait_until
from tests.unit.deployments.test_api_input import problem
from tests.vision_bundle import item_picture, noise, publish_vision

PATH = "/v1/visual-search"
PATIENT = {"X-Timeout-Ms": "30000"}
HOSTILE = hostile_files()
MEMORY_BOUND_MB = 700
"""Of this process, gateway and stage together, over what it took before."""


@pytest.fixture(scope="module")
def seeing(trained_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    home = trained_home.copied(tmp_path_factory.mktemp("photos") / "home")
    publish_vision(home)
    serving = serve_in_process(home.config(watch_period_s=0.02))
    serving.load_champion()
    yield serving
    serving.live.close()


@pytest.fixture(scope="module")
def http(seeing: Serving) -> Iterator[TestClient]:
    with client_of(seeing) as client:
        wait_until(lambda: "vision" not in client.get("/readyz").json()["missing"])
        yield client


@pytest.fixture(scope="module")
def peak(http: TestClient) -> Iterator[PeakMemory]:
    with PeakMemory() as watching:
        yield watching


class PeakMemory:
    """The most that this process held resident since the block began, in MB over what it held then."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.before = self.peak = self.process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def grown_mb(self) -> float:
        return (self.peak - self.before) / 2**20

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            self.peak = max(self.peak, self.process.memory_info().rss)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_and_the_next_photo_answered(http: TestClient, peak: PeakMemory, name: str) -> None:
    data, kind = HOSTILE[name]
    document = problem(http.post(PATH, files={"image": (name, data)}, headers=PATIENT), STATUS_OF[kind])
    assert document["errors"][0]["field"] == "image"
    assert len(document["errors"][0]["problem"]) > 10
    body = {"image_base64": base64.b64encode(data).decode()}
    if len(data) < 9_000_000:
        assert problem(http.post(PATH, json=body, headers=PATIENT), STATUS_OF[kind])["detail"] == document["detail"]
    good = http.post(PATH, files={"image": (name, item_picture(1))}, headers=PATIENT)
    assert good.json()["detections"][-1]["items"][0]["item_id"] == "i01"
    assert peak.grown_mb < MEMORY_BOUND_MB


def test_no_hostile_file_becomes_a_picture_of_an_item(http: TestClient, seeing: Serving) -> None:
    small = [("images", (name, data)) for name, (data, _) in HOSTILE.items() if len(data) < 2_000_000]
    for start in range(0, len(small), 10):
        answer = http.put("/v1/items/i01/images", files=small[start : start + 10], headers=PATIENT)
        assert {image["status"] for image in answer.json()["images"]} == {"rejected"}
    assert seeing.live.store.images_since(0) == []


def test_a_body_that_is_too_large_is_not_read(http: TestClient) -> None:
    """Neither where its length is said, nor where it comes in pieces."""
    sent = 0

    def pieces(size_bytes: int) -> Iterator[bytes]:
        nonlocal sent
        for _ in range(size_bytes // 1_000_000 + 20):
            sent += 1_000_000
            yield bytes(1_000_000)

    kind = {"content-type": "multipart/form-data; boundary=x"}
    for method, path, most in (
        ("POST", PATH, MAX_PHOTO_BODY_BYTES), ("PUT", "/v1/items/i01/images", MAX_IMAGES_BODY_BYTES),
    ):  # fmt: skip
        declared = {**kind, "content-length": str(most + 1)}
        problem(http.request(method, path, content=b"--x", headers=declared), 413)
        problem(http.request(method, path, content=pieces(most), headers=kind), 413)
    json = {"content-type": "application/json"}
    problem(http.post("/v1/recommendations", content=bytes(5_000_001), headers=json), 413)


def test_photos_in_memory_are_bounded_and_given_back(home: Home) -> None:
    """Beyond the budget 429, for photos only; after the answer there is room again."""
    publish_vision(home)
    serving = serve_in_process(home.config(watch_period_s=0.02, request=RequestConfig(photos_mb=1)))
    serving.load_champion()
    large, small = noise(1600), item_picture(1)
    assert len(large) > 1_000_000 > 10 * len(small)
    with client_of(serving) as http:
        wait_until(lambda: "vision" not in http.get("/readyz").json()["missing"])
        for _ in range(5):
            answer = http.post(PATH, files={"image": ("a.jpg", large)}, headers=PATIENT)
            assert problem(answer, 429)["detail"]
            assert int(answer.headers["retry-after"]) > 0
        for _ in range(1_000_000 // len(small) + 1):
            assert http.post(PATH, files={"image": ("a.jpg", small)}, headers=PATIENT).status_code == 200
        rows: dict[str, Any] = {"items": [{"item_id": "i01", "description": "x" * 90_000}] * 12}
        assert http.put("/v1/items", json=rows).status_code == 200
    serving.live.close()


def test_budget_gives_back_what_was_taken() -> None:
    budget = ByteBudget(10)
    budget.take(10)
    budget.give_back(10)
    budget.take(10)
    assert budget.held_bytes == 10
