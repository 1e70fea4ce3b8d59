"""Which items to list, keep and phase out: where each stands in its life, and what it is expected to earn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.models.replenishment import Demand, Floats

Stage = Literal["new", "growing", "mature", "declining", "ended"]
Decision = Literal["list", "keep", "phase_out"]
NEW_PERIODS, COMPARED_PERIODS = 13, 13
GROWING, DECLINING = 1.25, 0.75
LOW_SHARE = 0.25
INTERVAL = (0.1, 0.9)


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What is known of an item: demand_T so far (nan: unknown), demand expected, and what a unit earns if known."""

    item_id: str
    demand_T: Floats
    expected: Demand
    unit_margin: float | None
    in_stock: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One row of the selection list; `units` and `margin` are mean, low and high."""

    item_id: str
    decision: Decision
    stage: Stage
    units: tuple[float, float, float]
    margin: tuple[float, float, float] | None
    reasons: tuple[tuple[str, str], ...]


def stage_of(demand_T: Floats) -> Stage:
    """By the last COMPARED_PERIODS against those before them."""
    known_T = np.isfinite(demand_T)
    if not known_T.any():
        return "new"
    lived_T = np.nan_to_num(demand_T[int(known_T.argmax()) :])
    recent, before = lived_T[-COMPARED_PERIODS:].mean(), lived_T[-2 * COMPARED_PERIODS : -COMPARED_PERIODS]
    if len(lived_T) <= NEW_PERIODS:
        return "new"
    if recent <= 0:
        return "ended"
    change = recent / max(float(before.mean()), 1e-9)
    return "growing" if change >= GROWING else "declining" if change <= DECLINING else "mature"


def selection(outlooks: Sequence[Outlook]) -> list[Verdict]:
    """Best first by expected margin (units where no margin is known), ties by item id."""
    worths = np.array([_worth(outlook) for outlook in outlooks])
    low = float(np.quantile(worths, LOW_SHARE)) if len(worths) else 0.0
    middle = float(np.median(worths)) if len(worths) else 0.0
    verdicts = [_verdict(outlook, worth, low, middle) for outlook, worth in zip(outlooks, worths.tolist(), strict=True)]
    order = sorted(range(len(verdicts)), key=lambda place: (-worths[place], verdicts[place].item_id))
    return [verdicts[place] for place in order]


def _worth(outlook: Outlook) -> float:
    return outlook.expected.mean * (1.0 if outlook.unit_margin is None else outlook.unit_margin)


def _verdict(outlook: Outlook, worth: float, low: float, middle: float) -> Verdict:
    stage = stage_of(outlook.demand_T)
    low_units, high_units = (outlook.expected.quantile(level) for level in INTERVAL)
    units = (outlook.expected.mean, low_units, high_units)
    margin = None
    if outlook.unit_margin is not None:
        earned = sorted(unit * outlook.unit_margin for unit in (low_units, high_units))
        margin = (outlook.expected.mean * outlook.unit_margin, earned[0], earned[1])
    decision, reasons = _decided(outlook, stage, worth, low, middle)
    return Verdict(
        item_id=outlook.item_id, decision=decision, stage=stage, units=units, margin=margin, reasons=tuple(reasons)
    )


def _decided(
    outlook: Outlook, stage: Stage, worth: float, low: float, middle: float
) -> tuple[Decision, list[tuple[str, str]]]:
    reasons = [(f"stage_{stage}", _SAID[stage])]
    earns = "margin" if outlook.unit_margin is not None else "units"
    if outlook.unit_margin is not None and outlook.unit_margin <= 0:
        return "phase_out", [*reasons, ("no_margin", "its price does not cover its cost")]
    if stage == "ended" or (stage == "declining" and worth <= low):
        return "phase_out", [*reasons, ("low_expectation", f"expected {earns} in the lowest quarter of those compared")]
    if stage == "new" and worth >= middle:
        return "list", [*reasons, ("above_median", f"expected {earns} above the median of those compared")]
    if worth >= middle:
        reasons.append(("above_median", f"expected {earns} above the median of those compared"))
    if not outlook.in_stock:
        reasons.append(("out_of_stock", "not in stock: its demand cannot be met now"))
    return "keep", reasons


_SAID: dict[Stage, str] = {
    "new": f"sold for at most {NEW_PERIODS} periods",
    "growing": f"the last {COMPARED_PERIODS} periods sold at least {GROWING:g} times those before",
    "mature": f"the last {COMPARED_PERIODS} periods sold about as much as those before",
    "declining": f"the last {COMPARED_PERIODS} periods sold at most {DECLINING:g} times those before",
    "ended": f"nothing sold in the last {COMPARED_PERIODS} periods",
}
