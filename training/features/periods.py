"""Periods of demand as whole numbers: weeks, days, hours or months from an anchor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from training.contracts.errors import InputError, Problem

Ints = npt.NDArray[np.int64]
Unit = Literal["hour", "day", "week", "month", "quarter", "year"]
HOUR_US = 3_600_000_000
FIXED_US = {"hour": HOUR_US, "day": 24 * HOUR_US, "week": 168 * HOUR_US}
MONTHS = {"month": 1, "quarter": 3, "year": 12}
SEASON = {"hour": 24, "day": 7, "week": 52, "month": 12, "quarter": 4, "year": 1}
MIXED_SHARE = 0.05
"""Of the steps between rows that may be no whole number of periods before the frequencies count as mixed."""
FARTHEST_ZONE_US, QUARTER_HOUR_US = 14 * HOUR_US, HOUR_US // 4
FIRST_EASTERN_US, LAST_EASTERN_US = HOUR_US, 11 * HOUR_US
"""Before UTC's midnight comes that of zones without summer time; noon and a quarter to twelve are nobody's."""
LEAST_STEPS = 8
"""Between rows, before their length is held to be meant."""


@dataclass(frozen=True)
class Frequency:
    """What a period is. A timestamp belongs to the period that it lies in.

    `anchor_us` is where a period starts; of months and longer ones how far from UTC's at the earliest, as in a shop's
    own time zone, and `later_us` by how much later in winter time.
    """

    unit: Unit
    anchor_us: int = 0
    later_us: int = 0

    @property
    def season(self) -> int:
        """Periods after which demand repeats itself."""
        return SEASON[self.unit]

    @property
    def period_days(self) -> float:
        """How long a period is, of months and longer ones on average."""
        return FIXED_US[self.unit] / FIXED_US["day"] if self.unit in FIXED_US else MONTHS[self.unit] * 365.25 / 12

    def period(self, timestamps_us: Ints) -> Ints:
        """The period of each timestamp."""
        if self.unit in FIXED_US:
            # An hour early is summer time's doing, not another period.
            early_us = HOUR_US if self.unit != "hour" else 0
            return (np.asarray(timestamps_us, np.int64) - self.anchor_us + early_us) // FIXED_US[self.unit]
        # Where summer time was not seen it may still come.
        early_us = HOUR_US if self.anchor_us and not self.later_us else 0
        return _month(np.asarray(timestamps_us, np.int64) - self.anchor_us + early_us) // MONTHS[self.unit]

    def timestamp_us(self, periods: Ints) -> Ints:
        """Where each period starts."""
        periods = np.asarray(periods, np.int64)
        if self.unit in FIXED_US:
            return periods * FIXED_US[self.unit] + self.anchor_us
        return _month_start_us(periods * MONTHS[self.unit]) + self.anchor_us + self.later_us

    def moment(self, period: int) -> datetime:
        return datetime.fromtimestamp(int(self.timestamp_us(np.array([period]))[0]) / 1e6, UTC)


def frequency_of(timestamps_us: Ints, series: Ints) -> Frequency:
    """The frequency of rows sorted by series and time; raises InputError where frequencies are mixed.

    The commonest step between neighbours of a series decides; gaps are whole multiples of it. A step of several units,
    as a fortnight, is refused: a forecast of each single unit would be too high.
    """
    steps_us = np.diff(timestamps_us)[np.diff(series) == 0]
    steps_us = steps_us[steps_us > 0]
    if not len(steps_us):
        return Frequency("week", int(timestamps_us[0]) if len(timestamps_us) else 0)
    values, counts = np.unique(steps_us, return_counts=True)
    unit = _unit(int(values[counts.argmax()]))
    anchored = (int(timestamps_us[0]) % FIXED_US[unit], 0) if unit in FIXED_US else _month_starts(timestamps_us)
    frequency = Frequency(unit, *anchored)
    if unit in FIXED_US:
        _refuse_mixed(steps_us, FIXED_US[unit], unit)
    elif float(np.mean(steps_us < (FIXED_US["day"] * 27 * MONTHS[unit]))) > MIXED_SHARE:
        raise _mixed(unit, int(steps_us.min()))
    _refuse_multiples(np.diff(frequency.period(timestamps_us))[np.diff(series) == 0], unit)
    return frequency


def _month(timestamps_us: Ints) -> Ints:
    return timestamps_us.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)


def _month_start_us(months: Ints) -> Ints:
    return months.astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)


def _month_starts(timestamps_us: Ints) -> tuple[int, int]:
    """How far from UTC's months those of the rows start at the earliest, and how much later in winter time.

    Both 0 where the rows are not the midnights of one time zone: two offsets an hour apart are, and a single one where
    that hour is a midnight somewhere and not more likely the evening of a month's last day.
    """
    months = _month(timestamps_us)
    after_us, before_us = timestamps_us - _month_start_us(months), _month_start_us(months + 1) - timestamps_us
    offsets, counts = np.unique(np.where(after_us <= before_us, after_us, -before_us), return_counts=True)
    usual = np.sort(offsets[np.argsort(-counts, kind="stable")[:2]])
    share = counts[np.isin(offsets, usual)].sum() / counts.sum()
    if share < 1 - MIXED_SHARE or np.abs(usual).max() > FARTHEST_ZONE_US or (usual % QUARTER_HOUR_US).any():
        return 0, 0
    if len(usual) == 2:
        return (int(usual[0]), HOUR_US) if usual[1] - usual[0] == HOUR_US else (0, 0)
    (offset_us,) = usual.tolist()
    is_midnight = offset_us > 0 or -LAST_EASTERN_US <= offset_us <= -FIRST_EASTERN_US
    return (offset_us if is_midnight else 0), 0


def _unit(step_us: int) -> Unit:
    days = step_us / FIXED_US["day"]
    if days < 0.9:
        return "hour"
    if days < 6:
        return "day"
    if days < 27:
        return "week"
    return "month" if days < 80 else "quarter" if days < 300 else "year"


def _refuse_mixed(steps_us: Ints, period_us: int, unit: Unit) -> None:
    broken = steps_us % period_us != 0
    # A clock that moves by an hour for summer time is no other frequency.
    broken &= np.minimum(steps_us % period_us, period_us - steps_us % period_us) > (HOUR_US if unit != "hour" else 0)
    if float(broken.mean()) > MIXED_SHARE:
        raise _mixed(unit, int(steps_us[broken][0]))


def _refuse_multiples(steps: Ints, unit: Unit) -> None:
    """Where nearly all of many steps are multiples of the commonest one, and that is no single unit."""
    if len(steps) < LEAST_STEPS:
        return
    values, counts = np.unique(steps, return_counts=True)
    usual = int(values[counts.argmax()])
    if usual > 1 and float(np.mean(steps % usual != 0)) <= MIXED_SHARE:
        raise InputError(
            Problem(table="sales", column="timestamp", problem="not a frequency that can be forecast",
                    found=f"a row every {usual} {unit}s", allowed=f"a row every {', '.join(SEASON)}")
        )  # fmt: skip


def _mixed(unit: Unit, step_us: int) -> InputError:
    return InputError(
        Problem(table="sales", column="timestamp", problem="mixed frequencies", found=f"{step_us / HOUR_US:g} hours "
                f"between two rows of a series among steps of a {unit}", allowed="one frequency for all series")
    )  # fmt: skip
