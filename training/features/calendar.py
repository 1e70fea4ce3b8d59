"""The calendar of periods: place in the year, holidays, and which period of an earlier season a period is like."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache

import holidays
import numpy as np
from dateutil.easter import easter

from training.features.demand import Floats, Ints
from training.features.periods import FIXED_US, MONTHS, Frequency

DAY_US = FIXED_US["day"]
EASTER_WEEKS = (-1, 0)
"""Weeks around Easter Sunday's whose demand moves with it."""
FAR_WEEKS = 5
COUNTRIES = {"USD": "US", "GBP": "GB", "EUR": "DE", "CNY": "CN", "JPY": "JP", "CHF": "CH", "CAD": "CA", "AUD": "AU"}
"""Whose holidays a shop's currency stands for, where the config names no country."""
SEASONS_BACK = {"week": 2, "month": 3, "quarter": 3, "day": 4, "hour": 7, "year": 1}


def country_of(currency: str, named: str | None) -> str | None:
    """The country whose holidays count: `named`, else the currency's; None where neither is known."""
    code = named or COUNTRIES.get(currency)
    return code if code in holidays.list_supported_countries() else None


def calendar_features(periods_N: Ints, frequency: Frequency, country: str | None) -> dict[str, Floats]:
    """By name, [N]: place in the year (0-1), weeks from Easter and from Christmas, holidays within, weekday."""
    unique, inverse = np.unique(periods_N, return_inverse=True)
    table = _calendar(unique, frequency, country)
    return {name: values[inverse.reshape(np.shape(periods_N))] for name, values in table.items()}


def _calendar(periods_U: Ints, frequency: Frequency, country: str | None) -> dict[str, Floats]:
    start_D = _first_day(periods_U, frequency)
    stop_D = np.maximum(_first_day(periods_U + 1, frequency), start_D + 1)
    days = start_D.astype("datetime64[D]")
    year_start = days.astype("datetime64[Y]").astype("datetime64[D]")
    years = days.astype("datetime64[Y]").astype(int) + 1970
    christmas_D = np.array([(date(int(year), 12, 25) - date(1970, 1, 1)).days for year in years])
    features = {
        "place_in_year": (days - year_start).astype(float) / 365.25,
        "from_easter": np.clip((start_D - easter_days(years)) / 7.0, -FAR_WEEKS, FAR_WEEKS),
        "from_christmas": np.clip((start_D - christmas_D) / 7.0, -FAR_WEEKS, FAR_WEEKS),
        "holidays": _holidays_between(start_D, stop_D, country),
    }
    if frequency.unit in ("day", "hour"):
        features["weekday"] = ((start_D + 3) % 7).astype(float)
    if frequency.unit == "hour":
        features["hour"] = (frequency.timestamp_us(periods_U) // FIXED_US["hour"] % 24).astype(float)
    return features


def _first_day(periods_U: Ints, frequency: Frequency) -> Ints:
    """The date that each period begins with; a midnight of any time zone, in UTC, is nearest to its own date's."""
    if frequency.unit in MONTHS:
        return (frequency.timestamp_us(periods_U) - frequency.anchor_us) // DAY_US
    nearest_us = 0 if frequency.unit == "hour" else DAY_US // 2
    return (frequency.timestamp_us(periods_U) + nearest_us) // DAY_US


def easter_days(years: Ints) -> Ints:
    """Days from 1970 to Easter Sunday of each year."""
    of = {int(year): (easter(int(year)) - date(1970, 1, 1)).days for year in np.unique(years)}
    return np.array([of[int(year)] for year in np.ravel(years)]).reshape(np.shape(years))


def _holidays_between(start_D: Ints, stop_D: Ints, country: str | None) -> Floats:
    if country is None or not len(start_D):
        return np.zeros(len(start_D))
    first, last = (datetime.fromtimestamp(int(day) * 86_400, UTC).year for day in (start_D.min(), stop_D.max()))
    days = _holiday_days(country, first, last)
    return (np.searchsorted(days, stop_D) - np.searchsorted(days, start_D)).astype(float)


@lru_cache(maxsize=16)
def _holiday_days(country: str, first_year: int, last_year: int) -> Ints:
    found = holidays.country_holidays(country, years=range(first_year, last_year + 1))
    return np.array(sorted((day - date(1970, 1, 1)).days for day in found), np.int64)


def references(origin: int, horizon: int, frequency: Frequency) -> tuple[Ints, Ints]:
    """Which earlier periods those after `origin` are like, nearest season first: two alternatives, [seasons, H] each.

    The alternatives differ where a week was a moving holiday's in the earlier year and is not now: both of its
    neighbours then stand for it; their mean is meant.
    """
    season = frequency.season
    target_H = origin + np.arange(1, horizon + 1)
    nearest_H = season * -(-np.arange(1, horizon + 1) // season)
    back_RH = nearest_H[None, :] + season * np.arange(SEASONS_BACK[frequency.unit])[:, None]
    reference_RH = target_H[None, :] - back_RH
    if frequency.unit != "week":
        return reference_RH, reference_RH
    return _moved(np.broadcast_to(target_H, reference_RH.shape), reference_RH, frequency)


def _moved(target_RH: Ints, reference_RH: Ints, frequency: Frequency) -> tuple[Ints, Ints]:
    """References with Easter where Easter is."""
    now, own_easter = _from_easter(target_RH, frequency)
    then, other_easter = _from_easter(reference_RH, frequency)
    del own_easter
    low, high = EASTER_WEEKS
    is_now, was_then = (now >= low) & (now <= high), (then >= low) & (then <= high)
    first, second = reference_RH.copy(), reference_RH.copy()
    first[is_now] = second[is_now] = (other_easter + now)[is_now]
    only_then = was_then & ~is_now
    first[only_then], second[only_then] = (other_easter + low - 1)[only_then], (other_easter + high + 1)[only_then]
    return first, second


def _from_easter(periods_RH: Ints, frequency: Frequency) -> tuple[Ints, Ints]:
    """Periods from the one that holds the year's Easter Sunday, and that one."""
    start_us = frequency.timestamp_us(periods_RH)
    years = (start_us // DAY_US).astype("datetime64[D]").astype("datetime64[Y]").astype(int) + 1970
    easter_RH = frequency.period(easter_days(years) * DAY_US + DAY_US // 2)
    return periods_RH - easter_RH, easter_RH
