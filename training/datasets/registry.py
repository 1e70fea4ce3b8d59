"""The public data sets that can be imported: one file and one line each."""

from __future__ import annotations

from training.contracts.errors import InputError, Problem, nearest
from training.datasets import (
    amazon_sequences,
    boxes,
    complete_journey,
    dominicks_oj,
    fashion_mnist,
    image_folders,
    long_table,
    movielens_1m,
    walmart_weekly,
)
from training.datasets.adapter import DatasetAdapter

DATASETS: dict[str, DatasetAdapter] = {
    module.ADAPTER.name: module.ADAPTER
    for module in (
        amazon_sequences, movielens_1m, complete_journey, fashion_mnist, image_folders, boxes, walmart_weekly,
        dominicks_oj, long_table,
    )
}  # fmt: skip


def dataset(name: str) -> DatasetAdapter:
    """The adapter of that name; raises InputError with the nearest one."""
    if name not in DATASETS:
        raise InputError(
            Problem(field="NAME", problem="unknown data set", found=name, allowed=", ".join(DATASETS),
                    nearest=nearest(name, DATASETS))
        )  # fmt: skip
    return DATASETS[name]
