"""The bundles that a job stands on: the shop's champions; those it cannot do without are trained first."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from cluster.home import Home
from cluster.jobs import find_job, resolve_bundle
from cluster.training_run import TrainingRun
from training.bundles.registry import Registry
from training.contracts.progress import Progress
from training.contracts.shop import Shop
from training.jobs.job import Job


def with_upstream(
    home: Home, job: Job, shop: Shop, config: BaseModel, *, workers: int, gpu: bool, progress: Progress
) -> BaseModel:
    """`config` with the folder of each bundle that the job needs or takes and it does not name."""
    if not job.needs and not job.takes:
        return config
    upstream: dict[str, Any] = dict(getattr(config, "upstream", {}))
    for needed in (*job.needs, *job.takes):
        if needed not in upstream:
            champion = Registry(home.releases, shop.info.shop_id).get("champion")
            if champion is None or needed not in champion.jobs:
                if needed in job.takes:
                    continue
                progress.stage(f"no {needed} of this shop yet: it is trained first")
                first = find_job(needed)
                run = TrainingRun(home, first, shop, first.config())
                run.execute(workers=workers, gpu=gpu, fresh=False, progress=progress)
            upstream[needed] = str(resolve_bundle(home, shop.info.shop_id, needed, None).folder)
    return config.model_copy(update={"upstream": upstream})
