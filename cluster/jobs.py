"""The jobs of this version, found by name."""

from __future__ import annotations

from training.contracts.errors import InputError, Problem, nearest
from training.jobs.job import Job
from training.jobs.registry import JOBS


def find_job(name: str) -> Job:
    """Raises InputError with the nearest name where there is no such job."""
    if name not in JOBS:
        raise InputError(
            Problem(
                field="JOB", problem="no such job", found=name, allowed=", ".join(JOBS), nearest=nearest(name, JOBS)
            )
        )
    return JOBS[name]
