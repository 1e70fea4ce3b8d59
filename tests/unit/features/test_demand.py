"""Panel, window, missing values and periods of demand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tests.demand_shop import AHEAD, SCHEMA, WEEKS, sales_rows, small_panel, write_shop
from training.contracts.covariates import Covariate, MissingCovariate
from training.contracts.errors import InputError
from training.features.calendar import calendar_features, references
from training.features.demand import fill
from training.features.periods import Frequency, Unit, frequency_of
from training.features.sales_panel import read_panel
from training.features.stockouts import recovered

WEEK_US = 7 * 86_400_000_000


def moments_us(*moments: datetime) -> np.ndarray:
    return np.array([int(moment.timestamp() * 1e6) for moment in moments])


def test_panel_has_a_row_a_series_and_ends_with_the_last_demand(tmp_path: Path) -> None:
    panel = small_panel(tmp_path)
    assert panel.demand_SP.shape == (18, WEEKS + AHEAD)
    assert panel.end - panel.first == WEEKS
    assert panel.series.static["family"][:3] == ("even", "even", "even")
    assert set(panel.covariates) == {"price", "promotion", "weather"}


def test_gaps_stay_unknown(tmp_path: Path) -> None:
    columns = sales_rows()
    kept = [row for row in range(len(columns["demand"])) if row != 5]
    panel = read_panel(write_shop(tmp_path, {name: [values[row] for row in kept] for name, values in columns.items()}))
    assert np.isnan(panel.demand_SP[0, 5])
    assert np.isfinite(panel.demand_SP[0, [4, 6]]).all()


def test_two_rows_of_a_period_are_refused_by_name(tmp_path: Path) -> None:
    columns = sales_rows()
    columns["timestamp"][1] = columns["timestamp"][0] + timedelta(hours=3)
    with pytest.raises(InputError, match=r"two rows of a series in one week.*i0@p0, 2023-01-02T03:00"):
        read_panel(write_shop(tmp_path, columns))


def test_mixed_frequencies_are_refused() -> None:
    weekly = moments_us(*(datetime(2024, 1, 1, tzinfo=UTC) + timedelta(weeks=step) for step in range(20)))
    daily = moments_us(*(datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=step) for step in range(12)))
    with pytest.raises(InputError, match="mixed frequencies"):
        frequency_of(np.concatenate([weekly, daily]), np.repeat([0, 1], [20, 12]))


@pytest.mark.parametrize(
    ("unit", "step"), [("hour", timedelta(hours=1)), ("day", timedelta(days=1)), ("week", timedelta(weeks=1))]
)
def test_frequency_and_back(unit: str, step: timedelta) -> None:
    times = moments_us(*(datetime(2024, 3, 7, 5, tzinfo=UTC) + place * step for place in range(9)))
    frequency = frequency_of(times, np.zeros(9, np.int64))
    assert frequency.unit == unit
    assert np.array_equal(frequency.timestamp_us(frequency.period(times)), times)


@pytest.mark.parametrize(("unit", "days"), [("hour", 1 / 24), ("week", 7.0), ("month", 30.4375), ("year", 365.25)])
def test_periods_have_a_length(unit: Unit, days: float) -> None:
    assert Frequency(unit).period_days == pytest.approx(days)


@pytest.mark.parametrize(
    ("step", "found"),
    [(timedelta(weeks=2), "2 weeks"), (timedelta(hours=4), "4 hours"), (timedelta(days=3), "3 days"),
     (timedelta(days=61), "2 months")],
)  # fmt: skip
def test_steps_of_several_units_are_refused(step: timedelta, found: str) -> None:
    times = moments_us(*(datetime(2024, 1, 3, tzinfo=UTC) + place * step for place in range(13)))
    with pytest.raises(InputError, match=rf"found a row every {found}; allowed a row every hour, day, week, month"):
        frequency_of(times, np.zeros(13, np.int64))


def test_weeks_without_rows_are_no_other_frequency() -> None:
    weeks = np.cumsum([2, 2, 2, 1, 2, 4, 2, 1, 2, 2, 3])
    times = moments_us(*(datetime(2024, 1, 1, tzinfo=UTC) + timedelta(weeks=int(week)) for week in weeks))
    assert frequency_of(times, np.zeros(len(times), np.int64)).unit == "week"


def test_months_start_with_months() -> None:
    times = moments_us(*(datetime(2023 + month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in range(20)))
    frequency = frequency_of(times, np.zeros(20, np.int64))
    assert frequency.unit == "month"
    assert np.array_equal(np.diff(frequency.period(times)), np.ones(19))
    assert np.array_equal(frequency.timestamp_us(frequency.period(times)), times)


@pytest.mark.parametrize("months", [17, 24, 29])
@pytest.mark.parametrize("first", [1, 10, 11])
@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "Europe/London", "Europe/Lisbon", "Europe/Dublin", "America/Los_Angeles", "Asia/Tokyo",
             "Asia/Kathmandu", "Pacific/Auckland", "Pacific/Honolulu"],
)  # fmt: skip
def test_months_may_start_at_another_zones_midnight(zone: str, first: int, months: int) -> None:
    places = range(first - 1, first - 1 + months)
    own = [datetime(2022 + place // 12, place % 12 + 1, 1, tzinfo=ZoneInfo(zone)) for place in places]
    times = moments_us(*own)
    frequency = frequency_of(times, np.zeros(months, np.int64))
    periods = frequency.period(times)
    assert np.array_equal(np.diff(periods), np.ones(months - 1))
    starts = [frequency.moment(int(period)).astimezone(ZoneInfo(zone)) for period in periods]
    assert [(start.year, start.month, start.day) for start in starts] == [(one.year, one.month, one.day) for one in own]
    assert all(timedelta(0) <= start - wanted <= timedelta(hours=1) for start, wanted in zip(starts, own, strict=True))
    january = next(number for number, one in enumerate(own) if one.month == 1)
    assert calendar_features(periods, frequency, "DE")["place_in_year"][january] == 0


@pytest.mark.parametrize("hours", [0.0, 12.0, 23.75, 23.98])
def test_the_evening_of_a_months_last_day_is_still_its_own(hours: float) -> None:
    last = [datetime(2024, month + 1, 1, tzinfo=UTC) - timedelta(days=1) for month in range(1, 12)]
    ends = moments_us(*(day + timedelta(hours=hours) for day in last))
    frequency = frequency_of(ends, np.zeros(11, np.int64))
    assert frequency.moment(int(frequency.period(ends)[1])) == datetime(2024, 2, 1, tzinfo=UTC)


def test_summer_time_is_no_other_period() -> None:
    zone = ZoneInfo("Europe/Berlin")
    days = moments_us(*(datetime(2024, 3, 25, tzinfo=zone) + timedelta(days=step) for step in range(14)))
    periods = frequency_of(days, np.zeros(14, np.int64)).period(days)
    assert np.array_equal(np.diff(periods), np.ones(13))


def test_missing_values_follow_their_policy(tmp_path: Path) -> None:
    panel = small_panel(tmp_path)
    panel.covariates["price"][0, -3:] = np.nan
    panel.covariates["promotion"][0, -3:] = np.nan
    window = fill(panel.window(panel.end - 1, length=20, horizon=AHEAD), panel.schema)
    assert (window.future["price"][0, -3:] == window.future["price"][0, -4]).all()
    assert (window.future["promotion"][0, -3:] == 0).all()
    assert "weather" not in window.future


def test_a_required_covariate_is_asked_for_by_series_column_and_week(tmp_path: Path) -> None:
    required = Covariate(kind="known_future", missing="required")
    schema = SCHEMA.model_copy(update={"covariates": {**SCHEMA.covariates, "price": required}})
    panel = read_panel(write_shop(tmp_path, sales_rows(), schema))
    panel.covariates["price"][4, WEEKS + 2] = np.nan
    with pytest.raises(MissingCovariate) as raised:
        fill(panel.window(panel.end - 1, length=20, horizon=AHEAD), panel.schema)
    assert raised.value.series_id == panel.series.series_id[4]
    assert raised.value.column == "price"
    assert raised.value.timestamp == datetime(2023, 1, 2, tzinfo=UTC) + timedelta(weeks=WEEKS + 2)


def test_easter_is_compared_with_easter() -> None:
    monday = Frequency("week", int(datetime(2020, 1, 6, tzinfo=UTC).timestamp() * 1e6))
    easter = {year: int(monday.period(moments_us(moment))[0]) for year, moment in (
        (2011, datetime(2011, 4, 24, 12, tzinfo=UTC)), (2012, datetime(2012, 4, 8, 12, tzinfo=UTC)),
    )}  # fmt: skip
    first_RH, second_RH = references(easter[2012] - 3, 20, monday)
    place = 2
    assert first_RH[0, place] == second_RH[0, place] == easter[2011]
    moved = int(easter[2011] + 52 - (easter[2012] - 3) - 1)
    assert (first_RH[0, moved], second_RH[0, moved]) == (easter[2011] - 2, easter[2011] + 1)


def test_holidays_fall_into_their_weeks() -> None:
    monday = Frequency("week", int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1e6))
    week = monday.period(moments_us(datetime(2024, 7, 1, tzinfo=UTC), datetime(2024, 7, 8, tzinfo=UTC)))
    assert calendar_features(week, monday, "US")["holidays"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Los_Angeles", "Asia/Tokyo", "UTC"])
def test_days_have_the_date_of_the_shops_own_midnight(zone: str) -> None:
    start = datetime(2025, 12, 23, tzinfo=ZoneInfo(zone))
    days = moments_us(*(start + timedelta(days=day) for day in range(6)))
    frequency = frequency_of(days, np.zeros(6, np.int64))
    facts = calendar_features(frequency.period(days), frequency, "DE")
    assert facts["holidays"].tolist() == [0, 0, 1, 1, 0, 0]
    assert facts["weekday"].tolist() == [1, 2, 3, 4, 5, 6]


def test_sold_out_weeks_are_raised_to_those_before_and_still_judged_as_sold(tmp_path: Path) -> None:
    panel = small_panel(tmp_path)
    censored_SP = np.zeros(panel.demand_SP.shape, np.bool_)
    censored_SP[2, 40] = True
    panel.demand_SP[2, 40] = 1.0
    whole = recovered(panel, censored_SP)
    assert whole.demand_SP[2, 40] == pytest.approx(np.median(np.delete(panel.demand_SP[2, 36:45], 4)), rel=0.5)
    assert whole.actual(whole.first + 39, 1)[2, 0] == 1.0
    assert whole.wanted(whole.first + 39, 1)[2, 0] > 20


def test_what_sells_later_does_not_change_what_was_wanted_before(tmp_path: Path) -> None:
    panel = small_panel(tmp_path)
    censored_SP = np.zeros(panel.demand_SP.shape, np.bool_)
    censored_SP[2, 40] = True
    panel.demand_SP[2, 40] = 1.0
    before = recovered(panel, censored_SP).demand_SP[2, :41].copy()
    panel.demand_SP[2, 41:] *= 100
    np.testing.assert_array_equal(recovered(panel, censored_SP).demand_SP[2, :41], before)
