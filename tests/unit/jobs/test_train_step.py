"""The code path of a GPU, on a CPU: activations in bfloat16; compiled where the config says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.gloo_workers import HISTORIES, training
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
