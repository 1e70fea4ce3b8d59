"""The Serve application of one shop, started in this process's Ray cluster."""

from __future__ import annotations

import logging
from pathlib import Path

from cluster.home import Home
from training.contracts.errors import InputError, Problem, nearest
from training.contracts.progress import Progress
from training.contracts.shop import Shop

APPLICATION = "shopkeeper"
PROFILES = Path(__file__).parents[2] / "configs" / "deployments"


def profile_file(name: str) -> Path:
    """The serving config shipped as `configs/deployments/NAME.yaml`; raises InputError naming the nearest."""
    names = sorted(file.stem for file in PROFILES.glob("*.yaml"))
    if name not in names:
        raise InputError(
            Problem(
                field="--profile", problem="no such profile", found=name, allowed=", ".join(names),
                nearest=nearest(name, names),
            )
        )  # fmt: skip
    return PROFILES / f"{name}.yaml"


def run_application(home: Home, shop: Shop, profile: str, *, host: str, port: int, progress: Progress) -> None:
    """Import the shop into state (once), then serve it; deployments answer as soon as they have a bundle."""
    from ray import serve

    from deployments.app import build_app
    from deployments.config import load_serving_config
    from deployments.state.importing import import_shop
    from deployments.state.open import open_store

    shop_id = shop.info.shop_id
    config = load_serving_config(
        profile_file(profile),
        shop_id=shop_id,
        bundles=str(home.bundles),
        releases=str(home.releases),
        state=home.state_url(shop_id),
        cache=str(home.root / "cache"),
        host=host,
        port=port,
    )
    store = open_store(config.state, shop_id)
    try:
        import_shop(store, shop, progress=progress)
    finally:
        store.close()
        progress.stage("")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(http_options={"host": host, "port": port})
    serve.run(build_app(config), name=APPLICATION, route_prefix="/")
