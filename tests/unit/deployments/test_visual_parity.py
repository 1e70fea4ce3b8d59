"""The same photo gives the same vector in training, where the catalogue is embedded, and when it is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.hostile_images import encoded, photo
from tests.serving_shop import Home, client_of, serve_in_process, wait_until
from tests.vision_bundle import noise, publish_vision
from training.features.images import open_picture
from training.jobs.pictures import Pictures, Shot, SquareCache
from training.jobs.vision_judging import embedded
from training.models.visual_search import VisualSearch


def photos() -> dict[str, bytes]:
    """Of every kind that is decoded differently."""
    turned = Image.Exif()
    turned[0x0112] = 8
    tall, wide = photo(700).crop((0, 0, 200, 700)), photo(3_000, seed=1).crop((0, 0, 3_000, 2_000))
    clear = photo(120, seed=2).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    return {
        "tall.jpg": encoded(tall), "turned.jpg": encoded(tall, exif=turned), "large.jpg": encoded(wide),
        "large.webp": encoded(wide, "WEBP"), "clear.png": encoded(clear, "PNG"),
        "print.jpg": encoded(photo(900, seed=3).convert("CMYK")), "grey.png": encoded(photo().convert("L"), "PNG"),
        "noise.jpg": noise(200),
    }  # fmt: skip


def test_training_and_serving_give_the_same_vectors(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = photos()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    publish_vision(home)
    serving = serve_in_process(home.config(watch_period_s=0.02))
    serving.load_champion()
    (loaded,) = serving.hosts["visual_search"].held()
    model: VisualSearch = loaded.model.model  # type: ignore[attr-defined]
    shots = [Shot(image_id=name, path=name, label="", item_id="", row=0) for name in files]
    trained = embedded(model.embedder, Pictures(SquareCache(tmp_path, model.side, most_bytes=0), shots))
    assert [shot.image_id for shot in trained.shots] == list(files)
    served = _served(model, monkeypatch)
    with client_of(serving) as http:
        wait_until(lambda: "vision" not in http.get("/readyz").json()["missing"])
        for data in files.values():
            _look(http, data)
    np.testing.assert_allclose(np.concatenate(served), trained.vectors_ND, atol=1e-5)
    serving.live.close()


def _served(model: VisualSearch, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Fills with the vectors that are searched for."""
    vectors: list[Any] = []
    search = model.search

    def noting(vectors_ND: Any, *arguments: Any) -> Any:
        vectors.append(vectors_ND)
        return search(vectors_ND, *arguments)

    monkeypatch.setattr(model, "search", noting)
    return vectors


def _look(http: TestClient, data: bytes) -> None:
    answer = http.post("/v1/visual-search", files={"image": ("photo", data)}, headers={"X-Timeout-Ms": "30000"})
    assert answer.status_code == 200, answer.text


def test_vectors_do_not_depend_on_the_batch(home: Home) -> None:
    publish_vision(home)
    model = VisualSearch.load(home.bundles.fetch("brands", "vision", home.bundles.versions("brands", "vision")[-1]))
    pictures = [open_picture(data) for data in photos().values()]
    alone = np.concatenate([model.embed([picture]) for picture in pictures])
    np.testing.assert_allclose(model.embed(pictures), alone, atol=1e-5)
