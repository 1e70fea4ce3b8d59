"""One training run of a home: its folder, its resumption, its bundle, its report."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from cluster.file_lock import hold
from cluster.home import Home
from training.bundles.manifest import Manifest
from training.bundles.registry import Registry
from training.bundles.store import BundleStore
from training.contracts.progress import Progress
from training.contracts.shop import Shop
from training.jobs.job import FitResult, Job, LocalReport
from training.jobs.publish import publish
from training.report import write_report

BESIDE_SERVING_CPUS = 0.5
"""What a worker asks of a cluster that serves, so that both fit two cores even when serving has scaled up."""


@dataclass(frozen=True)
class TrainingRun:
    """A job, a shop and a config; the same three find the same folder and go on from its last checkpoint."""

    home: Home
    job: Job
    shop: Shop
    config: BaseModel
    notes: tuple[str, ...] = ()
    """Put to what the fit itself notes in the bundle."""
    may_lead: bool = True
    """Whether the shop's first bundle of the job becomes its champion."""

    @property
    def folder(self) -> Path:
        described = json.dumps([self.config.model_dump(mode="json"), self.shop.fingerprint()], sort_keys=True)
        return (
            self.home.runs(self.shop.info.shop_id, self.job.name) / hashlib.sha256(described.encode()).hexdigest()[:12]
        )

    def execute(self, *, workers: int, gpu: bool, fresh: bool, progress: Progress) -> tuple[FitResult, Manifest, Path]:
        """Train, publish, report; the checkpoints go when the bundle is there.

        Raises ShopkeeperError where another process trains the same.
        """
        self.job.check(self.config)
        folder = self.folder
        with hold(
            folder.with_suffix(".lock"), taken=f"{self.job.name} is already being trained like this on this shop"
        ):
            if fresh:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            result = (
                self._fit_here(folder, progress) if workers == 0 else self._fit_on_ray(folder, workers, gpu, progress)
            )
            result = result.model_copy(update={"notes": (*result.notes, *self.notes)})
            report = write_report(result, folder / "bundle" / "report.html", job=self.job.name, config=self.config)
            manifest = self._publish(result)
            kept = folder.with_name(f"{manifest.version}.html")
            report.replace(kept)
            shutil.rmtree(folder)
        return result, manifest, kept

    def _fit_here(self, folder: Path, progress: Progress) -> FitResult:
        progress.stage(f"reading {self.shop.path}")
        data = self.job.load(self.shop, self.config)
        return self.job.fit(
            self.config, data, LocalReport(folder / "checkpoints"), folder / "bundle", progress=progress
        )

    def _fit_on_ray(self, folder: Path, workers: int, gpu: bool, progress: Progress) -> FitResult:
        from cluster.local.ray_session import check_gpus, joined_ray

        progress.stage("starting Ray Train")
        with joined_ray(self.home) as serving:
            if gpu and not serving:
                check_gpus(workers)
            from training.jobs.ray_train import fit_on_ray

            return fit_on_ray(
                self.job.name, self.config, self.shop,
                run_folder=folder, workers=workers, cpus_per_worker=BESIDE_SERVING_CPUS if serving else 1, gpu=gpu,
                progress=progress,
            )  # fmt: skip

    def _publish(self, result: FitResult) -> Manifest:
        store = BundleStore(self.home.bundles)
        registry = Registry(self.home.releases, self.shop.info.shop_id)
        return publish(
            result, job=self.job.name, shop=self.shop, config=self.config, store=store, registry=registry,
            may_lead=self.may_lead,
        )  # fmt: skip
