"""Stages of life, and the decisions that follow."""

from __future__ import annotations

import numpy as np
import pytest

from training.models.assortment import Outlook, selection, stage_of
from training.models.replenishment import Demand


@pytest.mark.parametrize(
    ("demand", "stage"),
    [
        ([], "new"), ([np.nan] * 30, "new"), ([np.nan] * 20 + [5.0] * 10, "new"), ([4.0] * 13 + [6.0] * 13, "growing"),
        ([5.0] * 40, "mature"), ([9.0] * 13 + [4.0] * 13, "declining"), ([9.0] * 13 + [0.0] * 13, "ended"),
    ],
)  # fmt: skip
def test_stage(demand: list[float], stage: str) -> None:
    assert stage_of(np.array(demand)) == stage


def outlook(name: str, demand: list[float], mean: float, margin: float | None = 2.0) -> Outlook:
    return Outlook(
        item_id=name, demand_T=np.array(demand), expected=Demand(mean, mean / 4), unit_margin=margin, in_stock=True
    )


def test_decisions_and_their_order() -> None:
    found = selection([
        outlook("steady", [5.0] * 40, 60), outlook("fading", [9.0] * 13 + [2.0] * 13, 5),
        outlook("loss", [5.0] * 40, 50, -1.0), outlook("fresh", [5.0] * 5, 80), outlook("small", [1.0] * 40, 10),
    ])  # fmt: skip
    assert [one.item_id for one in found] == ["fresh", "steady", "small", "fading", "loss"]
    assert {one.item_id: one.decision for one in found} == {
        "fresh": "list", "steady": "keep", "small": "keep", "fading": "phase_out", "loss": "phase_out",
    }  # fmt: skip
    steady = found[1]
    assert steady.units[1] < steady.units[0] < steady.units[2]
    assert steady.margin == pytest.approx(tuple(2 * units for units in steady.units))
    assert {code for code, _ in found[-1].reasons} == {"stage_mature", "no_margin"}


def test_without_costs_units_decide() -> None:
    found = selection([outlook("a", [5.0] * 40, 5, None), outlook("b", [5.0] * 40, 9, None)])
    assert [(one.item_id, one.margin) for one in found] == [("b", None), ("a", None)]
    assert selection([]) == []
