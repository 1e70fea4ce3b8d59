"""One study of a home: its folder, its resumption, its best trial trained whole and published."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from cluster.file_lock import hold
from cluster.home import Home
from cluster.jobs import resolve_bundle
from cluster.study_progress import shown
from cluster.training_run import TrainingRun
from training.bundles.manifest import Manifest
from training.bundles.registry import Registry
from training.bundles.store import BundleStore
from training.contracts.atomic import write_bytes, write_json
from training.contracts.errors import ShopkeeperError
from training.contracts.progress import Progress
from training.contracts.shop import Shop
from training.jobs.job import Job
from tuning.config import StudyConfig
from tuning.importance import importances
from tuning.report import write_report
from tuning.results import RAY_FOLDER, TRIALS_FILE, Outcomes, TrialOutcome, best_of, load, problems
from tuning.space import assigned
from tuning.trial import LOW_PRIORITY, final_document, trial_config

UPSTREAM = "upstream"
"""The field of a job's config that names the bundles it is trained on top of."""
ANSWER_FILE, BEST_FILE, REPORT_FILE = "answer.json", "best.yaml", "report.html"


def on_champions(study: StudyConfig, job: Job, home: Home, shop_id: str) -> StudyConfig:
    """The study on top of the shop's champions of the jobs that `job` needs, where its base names no others.

    Raises InputError, saying how to get one, where there is none.
    """
    named = study.base.get(UPSTREAM, {})
    missing = [need for need in job.needs if need not in named]
    folders = {f"{UPSTREAM}.{need}": str(resolve_bundle(home, shop_id, need, None).folder) for need in missing}
    return study.model_copy(update={"base": assigned(study.base, folders)})


@dataclass(frozen=True)
class TuningRun:
    """A job, a shop and a study's config; the same three find the same folder and go on from its trials."""

    home: Home
    job: Job
    shop: Shop
    study: StudyConfig

    @property
    def folder(self) -> Path:
        settings = self.study.model_dump(mode="json", exclude={"parallel"})
        described = json.dumps([settings, self.shop.fingerprint()], sort_keys=True)
        return self.home.studies(self.shop.info.shop_id, self.job.name) / (
            f"{self.job.name}-{hashlib.sha256(described.encode()).hexdigest()[:12]}"
        )

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def metric(self) -> str:
        return self.study.metric or self.job.selection_metric

    def execute(self, *, fresh: bool, progress: Progress) -> dict[str, Any]:
        """Run or resume the study, train its best trial whole, publish that as candidate; returns what is told of it.

        A study that came to its end before is told again. Raises ShopkeeperError where no trial has a score, or where
        another process runs the same study.
        """
        self.job.check(trial_config(self.study, self.job.config, {}))
        with hold(self.folder.with_suffix(".lock"), taken=f"the study {self.name} is already under way"):
            if fresh:
                shutil.rmtree(self.folder, ignore_errors=True)
            told = self._told_before()
            if told is None:
                outcomes = self._outcomes(progress)
                told = self._publish(self._best(outcomes), outcomes, progress)
            return told

    def trials_over(self) -> int:
        """How many trials a resumed study would not have to run again."""
        return sum(outcome.over for outcome in load(self.folder / TRIALS_FILE))

    def _told_before(self) -> dict[str, Any] | None:
        """What was told when the study came to its end, its bundle the candidate once more."""
        if not (self.folder / ANSWER_FILE).is_file():
            return None
        told: dict[str, Any] = json.loads((self.folder / ANSWER_FILE).read_text(encoding="utf-8"))
        version = told["best"]["version"]
        if version not in BundleStore(self.home.bundles).versions(self.shop.info.shop_id, self.job.name):
            return None
        Registry(self.home.releases, self.shop.info.shop_id).propose(self.job.name, version)
        return told

    def _outcomes(self, progress: Progress) -> Outcomes:
        """What the trials came to; they run, or go on, where they are not all over."""
        trials_file, ray_folder = self.folder / TRIALS_FILE, self.folder / RAY_FOLDER
        if not trials_file.is_file() or ray_folder.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._run_on_ray(trials_file, progress)
            shutil.rmtree(ray_folder)
        return load(trials_file)

    def _run_on_ray(self, trials_file: Path, progress: Progress) -> None:
        from cluster.local.ray_session import joined_ray

        progress.stage("starting Ray Tune")
        with joined_ray(self.home) as serving:
            from tuning.study import run_study

            with shown(trials_file, self.study, self.metric, progress):
                run_study(self.study, metric=self.metric, shop=self.shop, folder=self.folder, beside_serving=serving)

    def _best(self, outcomes: Outcomes) -> TrialOutcome:
        best = best_of(outcomes, self.study.mode)
        if best is None:
            causes = "; ".join(f"{count} x {problem}" for problem, count in problems(outcomes).items())
            raise ShopkeeperError(f"no trial of {self.name} has a score: {causes or 'the time was over before'}")
        return best

    def _publish(self, best: TrialOutcome, outcomes: Outcomes, progress: Progress) -> dict[str, Any]:
        config = self.job.config.model_validate(final_document(self.study, best.values))
        best_text = self._write_best(config)
        os.setpriority(os.PRIO_PROCESS, 0, LOW_PRIORITY)
        note = f"found by the study {self.name}: the best of {len(outcomes)} trials, trial {best.trial}"
        run = TrainingRun(self.home, self.job, self.shop, config, notes=(note,), may_lead=False)
        _, manifest, trained = run.execute(workers=0, gpu=False, fresh=False, progress=progress)
        told = self._told(best, outcomes, config, manifest)
        write_report(
            self.folder / REPORT_FILE,
            title=f"{self.name} on {self.shop.info.shop_id}",
            study=self.study,
            metric=self.metric,
            outcomes=outcomes,
            best_config=best_text,
            importances=importances(self.study, self.job.config, outcomes),
            published={"published as": f"candidate {manifest.version}", "its report": trained.name, **manifest.metrics},
        )
        write_json(self.folder / ANSWER_FILE, told)
        return told

    def _write_best(self, config: BaseModel) -> str:
        """The config that `train` takes; its first line is the command."""
        command = f"# shopkeeper train {self.job.name} --data SHOP --config {self.folder / BEST_FILE}\n"
        text = command + yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        write_bytes(self.folder / BEST_FILE, text.encode())
        return text

    def _told(self, best: TrialOutcome, outcomes: Outcomes, config: BaseModel, manifest: Manifest) -> dict[str, Any]:
        return {
            "study": self.name,
            "metric": self.metric,
            "best": {
                "trial": best.trial, "score": best.score, "version": manifest.version, "values": best.values,
                "config": config.model_dump(mode="json"), "metrics": manifest.metrics,
                "validation": manifest.validation, "baselines": manifest.baselines,
            },
            "trials": [outcome.model_dump(mode="json") for outcome in outcomes],
            "problems": problems(outcomes),
            "config_file": str(self.folder / BEST_FILE),
            "report": str(self.folder / REPORT_FILE),
        }  # fmt: skip
