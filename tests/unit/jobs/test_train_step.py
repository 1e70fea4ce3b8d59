"""What takes part in a step: the code path of a GPU, on a CPU; the loss between an item's id and its content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.gloo_workers import HISTORIES, ITEMS, training
from training.contracts.progress import NoProgress
from training.jobs.job import LocalReport
from training.jobs.workers import Workers


def trained(folder: Path, **settings: Any) -> tuple[list[float], Any]:
    """The losses of three epochs and the scores of a few histories."""
    found = training(Workers(), epochs=3, **settings)
    model = found.run(lambda _: float(found.course.epoch), LocalReport(folder), NoProgress())
    assert model is not None
    return [line["loss"] for line in found.course.curve], model.score(HISTORIES)


@pytest.mark.parametrize("full_softmax_items", [0, 1000])
def test_mixed_precision_learns_the_same_in_float32_weights(full_softmax_items: int, tmp_path: Path) -> None:
    settings = {"full_softmax_items": full_softmax_items}
    losses, scores = trained(tmp_path / "float", **settings, precision="float32")
    mixed_losses, mixed_scores = trained(tmp_path / "mixed", **settings, precision="bfloat16")
    assert mixed_losses != losses
    assert mixed_losses == pytest.approx(losses, rel=0.02)
    assert mixed_scores.dtype == scores.dtype
    assert abs(mixed_scores - scores).mean() < 0.1 * abs(scores).mean()


def test_by_default_a_cpu_computes_in_float32_and_compiles_nothing() -> None:
    step = training(Workers()).step
    assert step.mixed == torch.cuda.is_available()
    assert (step._forward is step.tower) == (not torch.cuda.is_available())


RARE_ITEMS = np.arange(ITEMS) % 3 == 0


def nearness_I(folder: Path, **settings: Any) -> Any:
    """Cosine of each item's id vector and its content's vector after three epochs."""
    found = training(Workers(), epochs=3, **settings)
    found.step.counts_I = np.where(RARE_ITEMS, 1, 10_000)
    found.run(lambda _: float(found.course.epoch), LocalReport(folder), NoProgress())
    tower, codes_I = found.step.tower, torch.arange(ITEMS)
    with torch.no_grad():
        own_ID, content_ID = tower.own_vectors(codes_I), tower.content.alone(codes_I)
    return functional.cosine_similarity(own_ID, content_ID, dim=1).numpy()


@pytest.mark.parametrize("full_softmax_items", [0, 1000])
def test_contrast_draws_the_ids_of_rare_items_to_their_content(full_softmax_items: int, tmp_path: Path) -> None:
    settings = {"full_softmax_items": full_softmax_items}
    without_I = nearness_I(tmp_path / "without", **settings)
    drawn_I = nearness_I(tmp_path / "with", **settings, contrast=0.5) - without_I
    assert drawn_I[RARE_ITEMS].mean() > 0.4
    assert drawn_I[~RARE_ITEMS].mean() < 0.2
