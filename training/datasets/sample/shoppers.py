"""The people: hidden tastes, phases of life that open needs, and when they come to the shop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from training.datasets.sample import columns
from training.datasets.sample.catalogue import TASTE_DIMS
from training.datasets.sample.spec import DAY_US, EVENT_WEEKS, HISTORY_END_US, HOUR_US, WEEK_US, SizeSpec
from training.datasets.sample.taxonomy import EVERYDAY_NEEDS, NEED_INDEX, NEEDS, SCENARIOS, STYLE_NAMES

MAX_SESSIONS = 14
MAX_SCENARIOS = 2
IN_SCENARIO = 0.8
WINDOW_US = EVENT_WEEKS * WEEK_US
WINDOW_START_US = HISTORY_END_US - WINDOW_US
COUNTRIES = ("DE", "FR", "NL", "IT", "ES", "AT")
AGE_BANDS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
DEVICES = ("mobile", "desktop", "tablet")


@dataclass(frozen=True, kw_only=True)
class Shoppers:
    """B people; a scenario of -1 does not happen, a session beyond `sessions_B` neither. Times in microseconds."""

    number_B: np.ndarray
    styles_BS: np.ndarray
    taste_BD: np.ndarray
    price_sensitivity_B: np.ndarray
    everyday_BN: np.ndarray
    scenario_BC: np.ndarray
    scenario_start_BC: np.ndarray
    scenario_end_BC: np.ndarray
    sessions_B: np.ndarray
    session_time_BK: np.ndarray
    device_B: np.ndarray
    country_B: np.ndarray
    age_B: np.ndarray

    def __len__(self) -> int:
        return len(self.number_B)


def draw_shoppers(block: range, spec: SizeSpec, rng: np.random.Generator) -> Shoppers:
    count = len(block)
    sessions_B = np.minimum(1 + rng.poisson(rng.gamma(2.0, (spec.sessions_mean - 1) / 2, count)), MAX_SESSIONS)
    scenario_BC, start_BC, end_BC = _scenarios(count, rng)
    return Shoppers(
        number_B=np.arange(block.start, block.stop),
        styles_BS=rng.dirichlet(np.full(len(STYLE_NAMES), 0.4), count),
        taste_BD=rng.normal(size=(count, TASTE_DIMS)),
        price_sensitivity_B=np.exp(rng.normal(0.0, 0.35, count)),
        everyday_BN=_everyday(count, rng),
        scenario_BC=scenario_BC,
        scenario_start_BC=start_BC,
        scenario_end_BC=end_BC,
        sessions_B=sessions_B,
        session_time_BK=_session_times(count, rng),
        device_B=rng.choice(len(DEVICES), count, p=(0.6, 0.33, 0.07)),
        country_B=rng.choice(len(COUNTRIES), count, p=(0.45, 0.2, 0.12, 0.1, 0.08, 0.05)),
        age_B=rng.choice(len(AGE_BANDS), count, p=(0.13, 0.27, 0.24, 0.17, 0.12, 0.07)),
    )


def _scenarios(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which phases of life each person goes through in the year, and from when to when."""
    shape = (count, MAX_SCENARIOS)
    first = rng.integers(len(SCENARIOS), size=count)
    other = (first + rng.integers(1, len(SCENARIOS), size=count)) % len(SCENARIOS)
    happens = rng.random(shape) < np.array([0.85, 0.35])
    kind_BC = np.where(happens, np.stack([first, other], 1), -1)
    weeks = np.array([scenario.weeks for scenario in SCENARIOS])[kind_BC]
    start = WINDOW_START_US + (rng.uniform(-0.15, 0.8, shape) * WINDOW_US).astype(np.int64)
    length = (weeks * np.exp(rng.normal(0, 0.3, shape)) * WEEK_US).astype(np.int64)
    return kind_BC, start, start + length


def _everyday(count: int, rng: np.random.Generator) -> np.ndarray:
    """P(need) of a day without a scenario, [B, needs]."""
    weights = np.zeros((count, len(NEEDS)))
    weights[:, list(EVERYDAY_NEEDS)] = rng.dirichlet(np.full(len(EVERYDAY_NEEDS), 0.35), count)
    return weights


def _session_times(count: int, rng: np.random.Generator) -> np.ndarray:
    """Increasing session starts [B, MAX_SESSIONS], half an hour apart at least, more of them in the evening."""
    spread = np.sort(rng.random((count, MAX_SESSIONS)) ** 0.7, axis=1)
    gap_us = 2 * HOUR_US
    offset = (spread * (WINDOW_US - (MAX_SESSIONS + 1) * gap_us)).astype(np.int64) + np.arange(MAX_SESSIONS) * gap_us
    day, part = np.divmod(offset, DAY_US)
    return WINDOW_START_US + day * DAY_US + (_evening(part / DAY_US) * DAY_US).astype(np.int64)


def _evening(part: np.ndarray) -> np.ndarray:
    """A monotone map of [0, 1) onto itself that makes 20:00 the busiest hour and 08:00 the quietest."""
    turn = 2 * np.pi
    return part - 0.5 * (np.sin(turn * (part - 20 / 24)) + np.sin(turn * 20 / 24)) / turn


def draw_needs(
    shoppers: Shoppers, rows: np.ndarray, time_B: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The need of a session of people `rows` at `time_B`, and the scenario it came from (-1: everyday)."""
    kind_BC = shoppers.scenario_BC[rows]
    active = (kind_BC >= 0) & (shoppers.scenario_start_BC[rows] <= time_B[:, None])
    active &= time_B[:, None] < shoppers.scenario_end_BC[rows]
    pick = np.argmax(active * rng.random(active.shape), axis=1)
    drawn = active.any(1) & (rng.random(len(rows)) < IN_SCENARIO)
    scenario_B = np.where(drawn, kind_BC[np.arange(len(rows)), pick], -1)
    table = needs_of_scenario()
    probability = np.where(drawn[:, None], table[scenario_B], shoppers.everyday_BN[rows])
    edges = np.cumsum(probability, axis=1)
    need_B = (rng.random((len(rows), 1)) * edges[:, -1:] >= edges).sum(1)
    return np.minimum(need_B, len(NEEDS) - 1), scenario_B


def needs_of_scenario() -> np.ndarray:
    """P(need | scenario), [scenarios, needs]: the first need weighs most."""
    table = np.zeros((len(SCENARIOS), len(NEEDS)))
    for row, scenario in enumerate(SCENARIOS):
        for place, name in enumerate(scenario.needs):
            table[row, NEED_INDEX[name]] = 0.6**place
    return table / table.sum(1, keepdims=True)


def users_table(shoppers: Shoppers) -> pa.Table:
    first_us = shoppers.session_time_BK[:, 0] - DAY_US
    return pa.table(
        {
            "user_id": columns.ids("u", shoppers.number_B),
            "attributes": columns.string_map(
                {
                    "country": columns.words(COUNTRIES, shoppers.country_B),
                    "age_band": columns.words(AGE_BANDS, shoppers.age_B),
                    "device": columns.words(DEVICES, shoppers.device_B),
                }
            ),
            "created_at": columns.times(first_us),
        }
    )
