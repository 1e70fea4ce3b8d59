"""What values mean: times the shop can have seen, amounts that make sense, names from closed lists, known items."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.checks.columns import true_rows
from training.contracts.checks.findings import Findings, Severity
from training.contracts.tables import CUSTOM_EVENT_PREFIX, EVENT_TYPES, PLACEMENT_KINDS, TIMESTAMP

DAY_US = 86_400_000_000
# What is planned may lie in the future.
KNOWN_AHEAD = ("placements",)

# Why an amount below zero is wrong, or what it is taken for.
NOT_NEGATIVE: dict[tuple[str, str], tuple[str, Severity]] = {
    ("items", "price"): ("negative price", "error"),
    ("items", "cost"): ("negative cost", "error"),
    ("items", "stock"): ("negative stock, read as none", "warning"),
    ("events", "quantity"): ("negative quantity, read as a return", "warning"),
    ("events", "dwell_s"): ("negative duration", "error"),
    ("events", "position"): ("negative position", "error"),
    ("sales", "demand"): ("negative demand, read as returns", "warning"),
    ("sales", "price"): ("negative price", "error"),
    ("inventory", "on_hand"): ("negative stock, read as none", "warning"),
    ("inventory", "lead_time_days"): ("negative duration", "error"),
}


def check_times(
    table: str, batch: dict[str, pa.Array], first_row: int, reference: datetime | None, findings: Findings
) -> None:
    """Times before 1970 or more than a day after the shop's reference date; rows known ahead may lie in the future."""
    for name, column in batch.items():
        if column.type != TIMESTAMP:
            continue
        early = true_rows(pc.less(column, _time(0)))
        _report(findings, table, name, "time before 1970", early, column, first_row, allowed="1970 or later")
        if reference is None or table in KNOWN_AHEAD:
            continue
        late = pc.greater(column, _time(int(reference.timestamp() * 1_000_000) + DAY_US))
        if table == "sales" and "demand" in batch:
            late = pc.and_(late, batch["demand"].is_valid())
        allowed = f"up to a day after {reference.isoformat()}, the reference_date in shop.yaml"
        _report(
            findings, table, name, "time after the shop's reference date", true_rows(late), column, first_row,
            allowed=allowed,
        )  # fmt: skip


def check_amounts(table: str, batch: dict[str, pa.Array], first_row: int, findings: Findings) -> None:
    """Amounts below zero."""
    for name, column in batch.items():
        if (table, name) in NOT_NEGATIVE:
            problem, severity = NOT_NEGATIVE[table, name]
            rows = true_rows(pc.less(column, 0))
            _report(findings, table, name, problem, rows, column, first_row, allowed="0 or more", severity=severity)


def check_names(table: str, batch: dict[str, pa.Array], first_row: int, findings: Findings) -> None:
    """Event types and placement kinds that are not of the closed list."""
    if table == "events" and "type" in batch:
        names: Sequence[str] = EVENT_TYPES
        column, name, what = batch["type"], "type", "event type"
        custom = pc.match_substring_regex(column, f"^{CUSTOM_EVENT_PREFIX}(?s:.)")
        listed = ", ".join((*EVENT_TYPES, f"{CUSTOM_EVENT_PREFIX}NAME"))
    elif table == "placements" and "kind" in batch:
        column, name, names, what = batch["kind"], "kind", PLACEMENT_KINDS, "kind"
        custom, listed = pa.scalar(False), ", ".join(PLACEMENT_KINDS)
    else:
        return
    known = pc.or_(pc.is_in(column, value_set=pa.array(names, pa.string())), custom)
    rows = true_rows(pc.and_(pc.invert(known), column.is_valid()))
    _report(findings, table, name, f"unknown {what}", rows, column, first_row, allowed=listed, names=names)


def check_boxes(table: str, batch: dict[str, pa.Array], first_row: int, findings: Findings) -> None:
    """Boxes of photos that are no part of their photo, such as corners in pixels."""
    if table != "images" or "boxes" not in batch:
        return
    rows = pc.list_parent_indices(batch["boxes"]).to_numpy(zero_copy_only=False)
    boxes = batch["boxes"].flatten()
    x0, y0, x1, y1 = (pc.struct_field(boxes, name) for name in ("x0", "y0", "x1", "y1"))
    inside = [pc.greater_equal(low, 0) for low in (x0, y0)] + [pc.less_equal(high, 1) for high in (x1, y1)]
    right = reduce(pc.and_, (*inside, pc.less(x0, x1), pc.less(y0, y1)))
    wrong = true_rows(pc.invert(pc.fill_null(right, False)))
    findings.rows(
        table, "boxes", "not a box of the photo", rows[wrong] + first_row, found=boxes.take(pa.array(wrong)),
        allowed="shares of the photo, 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1",
    )  # fmt: skip


def _report(
    findings: Findings, table: str, name: str, problem: str, rows: np.ndarray, column: pa.Array, first_row: int,
    *, allowed: str, names: Sequence[str] = (), severity: Severity = "error",
) -> None:  # fmt: skip
    """`rows` of a batch that begins at `first_row`, with the values found there."""
    found = column.take(pa.array(rows))
    findings.rows(table, name, problem, rows + first_row, found=found, allowed=allowed, names=names, severity=severity)


def _time(us: int) -> pa.Scalar:
    return pa.scalar(us, pa.int64()).cast(TIMESTAMP)
