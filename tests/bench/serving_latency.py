"""POST /v1/recommendations against a bare echo of the same shape in the same run: an ingress that awaits two
deployments one after the other, both behind Serve's default proxy.

python tests/bench/serving_latency.py [--shop FOLDER] [--seconds 60] [--record]
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
os.environ["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] = "deployments.middleware.proxy:middlewares"

import httpx
import pyarrow.compute as pc
import ray
from fastapi import FastAPI, Request, Response
from http_load import load
from ray import serve
from ray.serve.handle import DeploymentHandle
from record import Recording

from deployments.app import build_app
from deployments.config import ServingConfig
from deployments.state.importing import import_shop
from deployments.state.open import open_store
from training.bundles.registry import Registry
from training.bundles.store import BundleStore
from training.contracts.shop import Shop
from training.jobs.job import LocalReport
from training.jobs.publish import publish
from training.jobs.recommender import RecommenderConfig, fit
from training.jobs.recommender import load as load_data

PORT = 8199
CLIENTS = (1, 8, 32)
USERS = 500
ROUNDS = 3


class EchoStage:
    """Answers what it is asked."""

    async def answer(self, query: Any) -> Any:
        return query


class EchoGateway:
    """Awaits two stages, then answers bytes as long as a recommendation."""

    def __init__(self, first: DeploymentHandle, second: DeploymentHandle) -> None:
        self.first, self.second = first, second

    def __serve_build_asgi_app__(self) -> FastAPI:
        api = FastAPI()

        @api.post("/")
        async def echo(request: Request) -> Response:
            query = (await request.json())["payload"]
            query = await self.first.answer.remote(query)
            query = await self.second.answer.remote(query)
            return Response(query, media_type="application/json")

        return api


def echo_app() -> serve.Application:
    """Three deployments as large as ours."""
    settings: Any = {"max_ongoing_requests": 512, "logging_config": {"enable_access_log": False}}
    stages = [
        serve.deployment(EchoStage, name=name, ray_actor_options={"num_cpus": 0.1}, **settings).bind()
        for name in ("first", "second")
    ]
    gateway = serve.ingress()(EchoGateway)
    return serve.deployment(gateway, name="echo", ray_actor_options={"num_cpus": 0.1}, **settings).bind(*stages)


def prepare(shop: Shop, root: Path) -> ServingConfig:
    """The shop in state, and a champion of one epoch."""
    config = ServingConfig(
        shop_id=shop.info.shop_id, port=PORT, bundles=str(root / "bundles"), releases=str(root / "releases"),
        cache=str(root / "cache"), state=f"sqlite:///{root}/state.sqlite",
    )  # fmt: skip
    store = open_store(config.state, config.shop_id)
    import_shop(store, shop)
    store.close()
    training = RecommenderConfig(epochs=1)
    fitted = fit(training, load_data(shop, training), LocalReport(root / "checkpoints"), root / "bundle")
    registry = Registry(config.releases, config.shop_id)
    publish(fitted, job="recommender", shop=shop, config=training, store=BundleStore(config.bundles), registry=registry)
    return config


def start(config: ServingConfig, *, echo: bool = True) -> None:
    """The applications on one proxy, ready."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    serve.start(http_options={"host": config.host, "port": config.port})
    serve.run(build_app(config), name="shopkeeper", route_prefix="/")
    if echo:
        serve.run(echo_app(), name="echo", route_prefix="/echo")
    while httpx.get(f"http://127.0.0.1:{PORT}/readyz").status_code != 200:
        time.sleep(0.2)


def users_of(shop: Shop) -> list[str]:
    """Users with a history."""
    users: list[str] = pc.unique(shop.table("events", ["user_id"])["user_id"]).to_pylist()[:USERS]
    return users


def compare(shop: Shop, seconds: float) -> dict[str, Any]:
    """Both by turns, so that both see the same machine; the median round of each."""
    ours = [{"user_id": user, "limit": 10} for user in users_of(shop)]
    url = f"http://127.0.0.1:{PORT}"
    sample = httpx.post(f"{url}/v1/recommendations", json=ours[0]).text
    echo = [{"payload": sample}]
    load(f"{url}/v1/recommendations", 8, 3, ours)
    figures: dict[str, Any] = {}
    for clients in CLIENTS:
        rounds = [
            (
                load(f"{url}/v1/recommendations", clients, seconds / ROUNDS, ours),
                load(f"{url}/echo/", clients, seconds / ROUNDS, echo),
            )
            for _ in range(ROUNDS)
        ]
        mine, bare = (sorted(side, key=lambda said: said["p50_ms"])[ROUNDS // 2] for side in zip(*rounds, strict=True))
        figures[f"{clients} clients"] = {
            "recommendations": mine, "echo": bare, "p50_ratio": round(mine["p50_ms"] / bare["p50_ms"], 2),
            "errors": sum(
                count for said, _ in rounds for status, count in said["statuses"].items() if status != "200"
            ),
            "degraded": sum(said["degraded"] for said, _ in rounds),
        }  # fmt: skip
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shop", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    recording = Recording("serving_latency", seeds=[0])
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(asked.shop or sample_shop(Path(folder) / "shop"))
        config = prepare(shop, Path(folder))
        start(config)
        figures = compare(shop, asked.seconds)
        serve.shutdown()
        ray.shutdown()
    for name, said in figures.items():
        print(name, said)
    if asked.record:
        recording.write(figures)


def sample_shop(path: Path) -> Path:
    from training.datasets.sample import generate

    generate(path, size="small", seed=0, images=False)
    return path


if __name__ == "__main__":
    main()
