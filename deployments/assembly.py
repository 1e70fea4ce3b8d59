"""Puts the plain pieces together for one process; the same for Serve, for tests and for a process without Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple, TypeVar

from deployments.companions import FORECASTER, RANKER, RECOMMENDER, VISION, Downstream
from deployments.config import BreakerConfig, DeploymentConfig, ServingConfig
from deployments.gateway import Gateway
from deployments.live import LiveShop
from deployments.middleware.limits import MAX_TIMEOUT_MS
from deployments.photo_counter import VISUAL_SEARCH
from deployments.planner import FORECASTING
from deployments.popular import Popular
from deployments.releases import BundleWatcher
from deployments.stage_host import StageHost
from deployments.stages import Port, StageClient
from deployments.state.importing import shop_clock, shop_info
from deployments.state.open import open_store
from deployments.telemetry import Telemetry
from training.bundles.manifest import Manifest
from training.bundles.registry import Registry
from training.bundles.store import BundleStore
from training.models.bundle_fit import refuse_other_items

M = TypeVar("M")
FAIR_WAIT_S = 5.0
"""A stage that looks at large photos has had a fair time after this."""


class StageKind(NamedTuple):
    """A plain class with `load(folder, manifest, live)`, `answer`, `follow`, and the jobs whose bundles it opens.

    `model` names the class, so that each process imports only what it serves from: torch takes 2 s and 200 MB.
    `varied`: one query may rightly take a hundred times as long as another. `prepares`: it is a `PreparingModel`.
    """

    model: str
    jobs: tuple[str, ...]
    varied: bool = False
    prepares: bool = False


STAGES = {
    "retrieval": StageKind("deployments.retrieval:Retrieval", (RECOMMENDER,)),
    "ranking": StageKind("deployments.ranking:Ranking", (RECOMMENDER, RANKER)),
    VISUAL_SEARCH: StageKind("deployments.visual_search:PhotoSearch", (VISION,), varied=True, prepares=True),
    FORECASTING: StageKind("deployments.forecasting:Forecasting", (FORECASTER,), varied=True),
}
"""The closed registry of stages."""


def open_live(config: ServingConfig) -> LiveShop:
    """The shop's store, and its catalogue read to the end; raises StoreUnavailable or InputError."""
    live = LiveShop(open_store(config.state, config.shop_id))
    live.start()
    return live


def open_stage(name: str, config: ServingConfig, live: LiveShop | None = None) -> StageHost:
    """The stage `name`, still empty: `follow` loads its bundle."""
    live = live or open_live(config)
    kind = STAGES[name]
    model = resolve_name(kind.model)
    loads = {job: _fitting(partial(model.load, live=live), live) for job in kind.jobs}
    return StageHost([_watcher(config, job, load) for job, load in loads.items()], live)


def open_gateway(
    config: ServingConfig, *, ports: Mapping[str, Port], telemetry: Telemetry, live: LiveShop | None = None
) -> Gateway:
    """The gateway, still empty, before the stages behind `ports`."""
    live = live or open_live(config)
    info = shop_info(live.store)
    stages = {
        name: StageClient(
            name, ports[name], config=_breaker(config, kind), telemetry=telemetry, jobs=kind.jobs,
            most_waiting=_most_waiting(config, name) if kind.varied else None,
        )
        for name, kind in STAGES.items()
    }  # fmt: skip
    watcher = _watcher(config, RECOMMENDER, _fitting(Popular.load, live))
    watcher.companions = Downstream(watcher.bundles, config.shop_id)
    return Gateway(
        config=config,
        live=live,
        clock=shop_clock(live.store),
        repeats=info.repeats if info else True,
        zone=info.time_zone if info else "UTC",
        watcher=watcher,
        vision=_watcher(config, VISION, _nothing),
        forecaster=_watcher(config, FORECASTER, _nothing),
        stages=stages,
        telemetry=telemetry,
    )


def _most_waiting(config: ServingConfig, name: str) -> int:
    own: DeploymentConfig = getattr(config.deployments, name)
    return own.max_ongoing_requests * own.max_replicas


def _breaker(config: ServingConfig, kind: StageKind) -> BreakerConfig:
    """A stage whose queries vary is not given up because of slow ones."""
    own = config.request.breaker
    patient = {"patience_floor_s": MAX_TIMEOUT_MS / 1000, "fair_wait_s": FAIR_WAIT_S}
    return own.model_copy(update=patient) if kind.varied else own


def _nothing(folder: Path, manifest: Manifest) -> None:
    """The gateway only stamps requests with the version."""


def _fitting(load: Callable[[Path, Manifest], M], live: LiveShop) -> Callable[[Path, Manifest], M]:
    """`load` for bundles whose items are the live catalogue's; raises InputError with the difference."""

    def checked(folder: Path, manifest: Manifest) -> M:
        if manifest.job == RECOMMENDER:
            refuse_other_items(folder, item_ids=live.view.row_of.keys(), item=live.view.item)
        return load(folder, manifest)

    return checked


def _watcher(config: ServingConfig, job: str, load: Callable[[Path, Manifest], M]) -> BundleWatcher[M]:
    return BundleWatcher(
        registry=Registry(config.releases, config.shop_id),
        bundles=BundleStore(config.bundles, cache=Path(config.cache)),
        job=job,
        load=load,
    )
