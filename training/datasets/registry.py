"""The public data sets that can be imported: one file and one line each."""

from __future__ import annotations

from training.contracts.errors import InputError, Problem, nearest
from training.datasets import (
    amazon_sequences,
    complete_journey,
    dominicks_oj,
    long_table,
    movielens_1m,
    walmart_weekly,
)
from training.datasets.adapter import DatasetAdapter

DATASETS: dict[str, DatasetAdapter] = {
    adapter.name: adapter
    for adapter in (
        amazon_sequences.ADAPTER,
        movielens_1m.ADAPTER,
        complete_journey.ADAPTER,
        walmart_weekly.ADAPTER,
        dominicks_oj.ADAPTER,
        long_table.ADAPTER,
    )
}


def dataset(name: str) -> DatasetAdapter:
    """The adapter of that name; raises InputError with the nearest one."""
    if name not in DATASETS:
        raise InputError(
            Problem(field="NAME", problem="unknown data set", found=name, allowed=", ".join(DATASETS),
                    nearest=nearest(name, DATASETS))
        )  # fmt: skip
    return DATASETS[name]
