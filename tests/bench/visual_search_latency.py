"""POST /v1/visual-search against what it cannot do without, decoding + the model's passes + the search, bare in this
process in the same run; and with 32 clients batched against one photo at a time.

python tests/bench/visual_search_latency.py [--bundle FOLDER] [--photos FOLDER] [--seconds 60] [--record]
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
os.environ["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] = "deployments.middleware.proxy:middlewares"

import numpy as np
import torch
from http_load import load
from PIL import Image
from record import Recording
from running_shop import free_port
from vision_shop import publish_shop, serving_config, untrained

from deployments.config import DeploymentConfig, DeploymentsConfig, ServingConfig
from deployments.visual_search import views_of
from training.features.images import open_picture
from training.models.visual_search import VisualSearch

CLIENTS, ROUNDS, PHOTOS = 32, 3, 24
ITEMS, ARTICLES = 10, 5
BAR_LATENCY, BAR_BATCHING = 1.5, 2.0
READY_WITHIN_S, PATIENT_MS = 120.0, 30_000


def drawn_photos(count: int) -> list[bytes]:
    """Scenes of a telephone's size in a chat, about 60 kB."""
    rng, files = np.random.default_rng(0), []
    for _ in range(count):
        small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        small.resize((960, 720), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
        files.append(buffer.getvalue())
    return files


def bare(model: VisualSearch, photos: Sequence[bytes]) -> dict[str, float]:
    """Milliseconds of each part, the median photo, of what serving looks at; what they come to is `sum_ms`."""
    parts: dict[str, list[float]] = {"decode_ms": [], "forward_ms": [], "search_ms": []}
    for data in photos:
        marks = [time.perf_counter()]
        picture = open_picture(data)
        marks.append(time.perf_counter())
        views = views_of(picture, model.detect([picture], ARTICLES)[0])
        vectors = model.embed([view.picture for view in views])
        marks.append(time.perf_counter())
        model.search(vectors, ITEMS)
        marks.append(time.perf_counter())
        for part, begun_s, ended_s in zip(parts.values(), marks, marks[1:], strict=False):
            part.append((ended_s - begun_s) * 1000)
    medians = {name: round(statistics.median(values), 3) for name, values in parts.items()}
    return {**medians, "sum_ms": round(sum(medians.values()), 3)}


def bodies(photos: Sequence[bytes]) -> list[dict[str, Any]]:
    fields = {"limit": ITEMS, "max_detections": ARTICLES}
    return [{"image_base64": base64.b64encode(data).decode(), **fields} for data in photos]


def latency(url: str, model: VisualSearch, photos: Sequence[bytes], seconds: float) -> dict[str, Any]:
    """One client and the bare parts by turns, so that both see the same machine; the median round of each."""
    rounds = [(load(url, 1, seconds / ROUNDS, bodies(photos)), bare(model, photos)) for _ in range(ROUNDS)]
    served = sorted((mine for mine, _ in rounds), key=lambda said: said["p50_ms"])[ROUNDS // 2]
    alone = sorted((other for _, other in rounds), key=lambda said: said["sum_ms"])[ROUNDS // 2]
    return {"served": served, "bare": alone, "p50_ratio": round(served["p50_ms"] / alone["sum_ms"], 2)}


@contextmanager
def serving(config: ServingConfig) -> Any:
    """The application on a Ray of its own; its visual search route."""
    import ray
    from ray import serve

    from deployments.app import build_app

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    serve.start(http_options={"host": config.host, "port": config.port})
    serve.run(build_app(config), name="shopkeeper", route_prefix="/")
    yield f"http://127.0.0.1:{config.port}/v1/visual-search"
    serve.shutdown()
    ray.shutdown()


def wait_for(url: str, body: dict[str, Any]) -> None:
    import httpx

    deadline_s = time.monotonic() + READY_WITHIN_S
    while (answer := httpx.post(url, json=body, timeout=60, headers={"X-Timeout-Ms": "30000"})).status_code != 200:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"no answer within {READY_WITHIN_S:.0f} s: {answer.status_code} {answer.text[:200]}")
        time.sleep(0.2)


def compare(
    config_of: Callable[[int], ServingConfig], model: VisualSearch, photos: Sequence[bytes], seconds: float
) -> dict[str, Any]:
    """Latency against the bare parts, then throughput with batches of 16 and of 1, of clients that wait; and what is
    answered in time of more than can be."""
    figures: dict[str, Any] = {}
    for name, batch in (("batched", 16), ("unbatched", 1)):
        with serving(config_of(batch)) as url:
            wait_for(url, bodies(photos)[0])
            load(url, 4, 3, bodies(photos))
            if batch > 1:
                figures["one client"] = latency(url, model, photos, seconds)
            figures[name] = load(url, CLIENTS, seconds, bodies(photos), timeout_ms=PATIENT_MS)
            if batch > 1:
                figures["overload"] = load(url, CLIENTS, seconds, bodies(photos))
    ratio = figures["batched"]["answered_per_s"] / figures["unbatched"]["answered_per_s"]
    return {**figures, "throughput_ratio": round(ratio, 2), "bars": {"p50": BAR_LATENCY, "throughput": BAR_BATCHING}}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, help="a trained one; by default one of the default config")
    parser.add_argument("--photos", type=Path, help="a folder of .jpg files; by default drawn ones")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    photos = [file.read_bytes() for file in sorted(asked.photos.rglob("*.jpg"))[:PHOTOS]] if asked.photos else []
    photos = photos or drawn_photos(PHOTOS)
    recording = Recording("visual_search_latency", seeds=[0])
    with tempfile.TemporaryDirectory() as folder:
        root, port = Path(folder), free_port()
        model = VisualSearch.load(asked.bundle) if asked.bundle else untrained()
        publish_shop(model, root)

        def config_of(batch: int) -> ServingConfig:
            own = DeploymentConfig(num_cpus=0.2, max_batch_size=batch)
            return serving_config(root, port=port, deployments=DeploymentsConfig(visual_search=own))

        figures = compare(config_of, model, photos, asked.seconds)
    for name, said in figures.items():
        print(name, said)
    if asked.record:
        recording.write(figures)


if __name__ == "__main__":
    main()
