"""The closed registry of jobs; a job's module, and torch with it, is imported when it is first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

from training.jobs.job import Job

MODULES = {
    "recommender": "training.jobs.recommender",
    "ranker": "training.jobs.ranker",
    "forecaster": "training.jobs.forecaster",
    "vision": "training.jobs.vision",
}


TABLES = {"recommender": "events", "ranker": "events", "vision": "images", "forecaster": "sales"}
"""By job the table that it cannot do without."""


class _Jobs(Mapping[str, Job]):
    def __getitem__(self, name: str) -> Job:
        job: Job = importlib.import_module(MODULES[name]).JOB
        return job

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)

    def __contains__(self, name: object) -> bool:
        return name in MODULES


JOBS: Mapping[str, Job] = _Jobs()
