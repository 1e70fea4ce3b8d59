"""Puts the plain pieces together for one process; the same for Serve, for tests and for a process without Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from deployments.config import ServingConfig
from deployments.gateway import JOB, Gateway
from deployments.live import LiveShop
from deployments.popular import Popular
from deployments.ranking import Ranking
from deployments.releases import BundleWatcher
from deployments.retrieval import Retrieval
from deployments.stage_host import StageHost
from deployments.stages import Port, StageClient
from deployments.state.importing import shop_clock, shop_info
from deployments.state.open import open_store
from deployments.telemetry import Telemetry
from training.bundles.manifest import Manifest
from training.bundles.registry import Registry
from training.bundles.store import BundleStore

M = TypeVar("M")
STAGES: dict[str, Any] = {"retrieval": Retrieval, "ranking": Ranking}
"""The closed registry of stages: a plain class with `load(folder, manifest, live)`, `answer`, `follow`."""


def open_live(config: ServingConfig) -> LiveShop:
    """The shop's store, and its catalogue read to the end; raises StoreUnavailable or InputError."""
    live = LiveShop(open_store(config.state, config.shop_id))
    live.start()
    return live


def open_stage(name: str, config: ServingConfig, live: LiveShop | None = None) -> StageHost:
    """The stage `name`, still empty: `follow` loads its bundle."""
    live = live or open_live(config)
    return StageHost(_watcher(config, partial(STAGES[name].load, live=live)), live)


def open_gateway(
    config: ServingConfig, *, ports: Mapping[str, Port], telemetry: Telemetry, live: LiveShop | None = None
) -> Gateway:
    """The gateway, still empty, before the stages behind `ports`."""
    live = live or open_live(config)
    info = shop_info(live.store)
    stages = {
        name: StageClient(name, ports[name], config=config.request.breaker, telemetry=telemetry) for name in STAGES
    }
    return Gateway(
        config=config,
        live=live,
        clock=shop_clock(live.store),
        repeats=info.repeats if info else True,
        watcher=_watcher(config, Popular.load),
        stages=stages,
        telemetry=telemetry,
    )


def _watcher(config: ServingConfig, load: Callable[[Path, Manifest], M]) -> BundleWatcher[M]:
    return BundleWatcher(
        registry=Registry(config.releases, config.shop_id),
        bundles=BundleStore(config.bundles, cache=Path(config.cache)),
        job=JOB,
        load=load,
    )
