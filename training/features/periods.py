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
LEAST_STEPS = 8
"""Between rows, before their length is held to be meant."""


@dataclass(frozen=True)
class Frequency:
    """What a period is. A timestamp belongs to the period that it lies in.

    `anchor_us` is where a period starts; of months and longer ones how far from UTC's, as in a shop's own time zone.
    """

    unit: Unit
    anchor_us: int = 0

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
        early_us = HOUR_US if self.anchor_us else 0
        return _month(np.asarray(timestamps_us, np.int64) - self.anchor_us + early_us) // MONTHS[self.unit]

    def timestamp_us(self, periods: Ints) -> Ints:
        """Where each period starts."""
        periods = np.asarray(periods, np.int64)
        if self.unit in FIXED_US:
            return periods * FIXED_US[self.unit] + self.anchor_us
        return _month_start_us(periods * MONTHS[self.unit]) + self.anchor_us

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
    anchor_us = int(timestamps_us[0]) % FIXED_US[unit] if unit in FIXED_US else _from_month_start_us(timestamps_us)
    frequency = Frequency(unit, anchor_us)
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


def _from_month_start_us(timestamps_us: Ints) -> int:
    """Usual distance from the nearest start of a month in UTC, where a time zone's midnight explains it; else 0."""
    months = _month(timestamps_us)
    after_us, before_us = timestamps_us - _month_start_us(months), _month_start_us(months + 1) - timestamps_us
    usual_us = int(np.median(np.where(after_us <= before_us, after_us, -before_us)))
    return usual_us if abs(usual_us) <= FARTHEST_ZONE_US and usual_us % QUARTER_HOUR_US == 0 else 0


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
