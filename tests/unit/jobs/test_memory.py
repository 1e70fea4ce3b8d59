"""Out of memory is said before it happens, with the table that is too large and what to set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.gloo_workers import split
from training.contracts.errors import InputError
from training.jobs.memory import available_bytes, memory_named, refuse_too_large
from training.jobs.training_config import TrainingConfig
from training.jobs.training_memory import training_needs
from training.jobs.transformer_training import TransformerTraining
from training.jobs.workers import Workers
from training.models.sequence_transformer import TransformerConfig

WIDE = TransformerConfig(dim=1024)
GIB = 2.0**30


def needed(table: str, *, items: int = 10_000_000, workers: int = 1, **settings: object) -> float:
    config = TrainingConfig.model_validate(settings)
    needs = training_needs(items, 0, WIDE, config, workers=workers, repeats=False)
    return next(need.bytes for need in needs if need.table == table)


def test_a_table_that_does_not_fit_is_named_before_training() -> None:
    with pytest.raises(InputError) as refused:
        TransformerTraining(
            WIDE, TrainingConfig(full_softmax_items=10**12, sharded_items=None), split(), 2_000_000_000,
            seed=0, workers=Workers(), repeats=False, content=None,
        )  # fmt: skip
    (problem,) = refused.value.problems
    assert problem.table == "item embeddings"
    assert "38,147.0 GiB (2,000,000,000 rows x 20,480 bytes" in problem.problem
    assert "are free" in str(problem.found)
    assert "transformer.dim" in str(problem.allowed)
    assert "full_softmax_items" in str(problem.allowed)


def test_what_the_refusal_proposes_helps() -> None:
    whole = needed("item embeddings", item_optimizer="adamw")
    assert needed("item embeddings") < 0.4 * whole
    assert needed("item embeddings", workers=4) == pytest.approx(needed("item embeddings") / 4, rel=1e-6)
    assert needed("item embeddings", workers=4, sharded_items=None) == needed("item embeddings")
    assert needed("item rows of a step", tokens_per_step=100) < 0.4 * needed("item rows of a step")


def test_the_same_tables_fit_a_larger_machine() -> None:
    needs = training_needs(1_000_000, 5_000, WIDE, TrainingConfig(), workers=1, repeats=True)
    refuse_too_large(needs, 1024 * GIB)
    with pytest.raises(InputError, match=r"item .*: out of memory"):
        refuse_too_large(needs, GIB)


@pytest.mark.parametrize("asked", [lambda: np.zeros(2**60, np.uint8), lambda: torch.zeros(2**58, dtype=torch.uint8)])
def test_what_an_allocator_says_is_translated(asked: Callable[[], object]) -> None:
    needs = training_needs(1_000, 0, WIDE, TrainingConfig(), workers=1, repeats=False)
    with pytest.raises(InputError, match="smaller"), memory_named(needs):
        asked()
    with pytest.raises(RuntimeError, match="another"), memory_named(needs):
        raise RuntimeError("another fault")


def test_workers_of_one_machine_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = available_bytes(torch.device("cpu"))
    assert alone > 0
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert available_bytes(torch.device("cpu")) < 0.5 * alone
