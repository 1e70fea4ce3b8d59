"""POST /v1/visual-search against what it cannot do without, decoding + the model's passes + the search, bare in this
process by turns with it; and with 32 clients batched against one photo at a time. Behind Serve's own proxy, and behind
HAProxy (RAY_SERVE_ENABLE_HA_PROXY=1).

python tests/bench/visual_search_latency.py [--bundle FOLDER] [--photos FOLDER] [--seconds 60] [--record]
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import torch
from http_load import load, parts
from PIL import Image
from record import Recording
from running_shop import free_port
from vision_shop import publish_shop, serving_config, untrained

from deployments.app import REPLICA_ENVIRONMENT
from deployments.config import SERVE_ENVIRONMENT, DeploymentConfig, DeploymentsConfig, ServingConfig
from deployments.middleware.auth import KEYS_VARIABLE
from deployments.visual_search import views_of
from training.features.images import Picture, open_picture
from training.models.visual_search import VisualSearch

CLIENTS, PHOTOS, BATCH = 32, 24, 16
ITEMS, ARTICLES = 10, 5
BAR_LATENCY, BAR_BATCHING = 1.5, 2.0
READY_WITHIN_S, ANSWERED_WITHIN_S, PATIENT = 120.0, 30.0, {"x-timeout-ms": "30000"}
FRONTS = {
    "serve's proxy": {"RAY_SERVE_ENABLE_HA_PROXY": "0"}, "haproxy": {"RAY_SERVE_ENABLE_HA_PROXY": "1"},
}  # fmt: skip
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", **SERVE_ENVIRONMENT, **REPLICA_ENVIRONMENT,
}  # fmt: skip
"""Of all that is measured: the bare parts keep their memory as the replicas do."""


def drawn_photos(count: int) -> list[bytes]:
    """Scenes of a telephone's size in a chat, about 60 kB."""
    rng, files = np.random.default_rng(0), []
    for _ in range(count):
        small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        small.resize((960, 720), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
        files.append(buffer.getvalue())
    return files


def bare(model: VisualSearch, data: bytes) -> dict[str, float]:
    """Milliseconds of each part of what serving does with one photo."""
    marks = [time.perf_counter()]
    picture = open_picture(data)
    marks.append(time.perf_counter())
    views = views_of(picture, model.detect([picture], ARTICLES)[0])
    vectors = model.embed([view.picture for view in views])
    marks.append(time.perf_counter())
    model.search(vectors, ITEMS)
    marks.append(time.perf_counter())
    names = ("decode_ms", "forward_ms", "search_ms")
    return {name: (ended_s - begun_s) * 1000 for name, begun_s, ended_s in zip(names, marks, marks[1:], strict=False)}


def bodies(photos: Sequence[bytes]) -> list[dict[str, Any]]:
    fields = {"limit": ITEMS, "max_detections": ARTICLES}
    return [{"image_base64": base64.b64encode(data).decode(), **fields} for data in photos]


def latency(
    url: str, model: VisualSearch, photos: Sequence[bytes], seconds: float, headers: dict[str, str]
) -> dict[str, Any]:
    """One client, after each answer the same photo bare: both see the same machine, and a cache that others used.

    `bare_in_a_row` is the same without serving in between, where the cache is warm.
    """
    place, sent = urlsplit(url), [json.dumps(body).encode() for body in bodies(photos)]
    connection = HTTPConnection(str(place.hostname), place.port, timeout=ANSWERED_WITHIN_S)
    headers = {"content-type": "application/json", **headers}
    served_ms, alone, turn, until_s = list[float](), list[dict[str, float]](), 0, time.monotonic() + seconds
    while time.monotonic() < until_s:
        begun_s = time.perf_counter()
        connection.request("POST", place.path, sent[turn % len(sent)], headers)
        answer = connection.getresponse()
        said = answer.read()
        served_ms.append((time.perf_counter() - begun_s) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {said[:200]!r}")
        alone.append(bare(model, photos[turn % len(photos)]))
        turn += 1
    connection.close()
    served, by_turns = {"requests": len(served_ms), **parts(served_ms)}, medians(alone)
    in_a_row = medians([bare(model, photo) for photo in photos])
    return {
        "served": served, "bare": by_turns, "bare_in_a_row": in_a_row,
        "p50_ratio": round(served["p50_ms"] / by_turns["sum_ms"], 2),
        "p50_ratio_in_a_row": round(served["p50_ms"] / in_a_row["sum_ms"], 2),
    }  # fmt: skip


def medians(photos: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each part, and of the parts together."""
    found = {part: statistics.median(photo[part] for photo in photos) for part in photos[0]}
    found["sum_ms"] = statistics.median(sum(photo.values()) for photo in photos)
    return {part: round(value, 3) for part, value in found.items()}


def passes(model: VisualSearch, photos: Sequence[bytes]) -> dict[str, float]:
    """What a batch saves on one thread: milliseconds a photo of the model's passes, alone and BATCH together."""
    pictures = [open_picture(data) for data in photos[:BATCH]]

    def pass_ms(some: Sequence[Picture]) -> float:
        begun_s = time.perf_counter()
        found = model.detect(some, ARTICLES)
        views = [view for picture, articles in zip(some, found, strict=True) for view in views_of(picture, articles)]
        model.embed([view.picture for view in views])
        return (time.perf_counter() - begun_s) * 1000 / len(some)

    alone_ms = statistics.median(pass_ms([picture]) for picture in pictures)
    together_ms = statistics.median(pass_ms(pictures) for _ in range(5))
    return {
        "alone_ms": round(alone_ms, 2), "together_ms": round(together_ms, 2), "ratio": round(alone_ms / together_ms, 2),
    }  # fmt: skip


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


def wait_for(url: str, body: dict[str, Any], headers: dict[str, str]) -> None:
    """Until a photo is answered; raises TimeoutError."""
    deadline_s, said = time.monotonic() + READY_WITHIN_S, "no answer"
    while time.monotonic() < deadline_s:
        try:
            answer = httpx.post(url, json=body, timeout=60, headers={**headers, **PATIENT})
        except httpx.TransportError as error:
            said = repr(error)
        else:
            if answer.status_code == 200:
                return
            said = f"{answer.status_code} {answer.text[:200]}"
        time.sleep(0.2)
    raise TimeoutError(f"no answer within {READY_WITHIN_S:.0f} s: {said}")


def compare(
    config_of: Callable[[int], ServingConfig],
    model: VisualSearch,
    photos: Sequence[bytes],
    seconds: float,
    headers: dict[str, str],
) -> dict[str, Any]:
    """Latency against the bare parts, then throughput with batches of BATCH (two threads share one) and of 1, of
    clients that wait; and what is answered in time of more than can be."""
    figures, patient = dict[str, Any](), {**headers, **PATIENT}
    for name, batch in (("batched", BATCH), ("unbatched", 1)):
        with serving(config_of(batch)) as url:
            wait_for(url, bodies(photos)[0], headers)
            load(url, 4, 3, bodies(photos), headers=headers)
            if batch > 1:
                figures["one client"] = latency(url, model, photos, seconds, headers)
                figures["model alone"] = passes(model, photos)
            figures[name] = load(url, CLIENTS, seconds, bodies(photos), headers=patient)
            if batch > 1:
                figures["overload"] = load(url, CLIENTS, seconds, bodies(photos), headers=headers)
    ratio = figures["batched"]["answered_per_s"] / figures["unbatched"]["answered_per_s"]
    return {**figures, "throughput_ratio": round(ratio, 2)}


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """In this process, whose environment says which front it is."""
    torch.set_num_threads(1)
    photos = [file.read_bytes() for file in sorted(asked.photos.rglob("*.jpg"))[:PHOTOS]] if asked.photos else []
    photos = photos or drawn_photos(PHOTOS)
    secret = os.environ[KEYS_VARIABLE].rpartition(":")[2]
    with tempfile.TemporaryDirectory() as folder:
        root, port = Path(folder), free_port()
        model = VisualSearch.load(asked.bundle) if asked.bundle else untrained()
        publish_shop(model, root)

        def config_of(batch: int) -> ServingConfig:
            own = DeploymentConfig(num_cpus=0.2, max_batch_size=batch)
            return serving_config(root, port=port, deployments=DeploymentsConfig(visual_search=own))

        return compare(config_of, model, photos, asked.seconds, {"authorization": f"Bearer {secret}"})


def measured_apart(front: str) -> dict[str, Any]:
    """In a process of its own: Serve and the allocator read the environment once."""
    keys = f"bench:server:{secrets.token_hex(16)}"
    with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
        command = [sys.executable, __file__, *sys.argv[1:], "--figures", file.name]
        environment = {**os.environ, **ENVIRONMENT, **FRONTS[front], KEYS_VARIABLE: keys}
        subprocess.run(command, env=environment, check=True)
        figures: dict[str, Any] = json.load(file)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, help="a trained one; by default one of the default config")
    parser.add_argument("--photos", type=Path, help="a folder of .jpg files; by default drawn ones")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--figures", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.figures:
        asked.figures.write_text(json.dumps(measure(asked)))
        return
    recording = Recording("visual_search_latency", seeds=[0])
    figures: dict[str, Any] = {front: measured_apart(front) for front in FRONTS}
    figures["bars"] = {"p50": BAR_LATENCY, "throughput": BAR_BATCHING}
    for front, said in figures.items():
        print(front, json.dumps(said))
    if asked.record:
        recording.write(figures)


if __name__ == "__main__":
    main()
