"""Short-term interest: the items a user touched last, and counters over the last half hour."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from training.features.item_facts import NO_FACTS, ItemFacts
from training.features.profile import Profile
from training.features.ranking_state import CODE_NAMES, RankingState

RECENT_ITEMS = 20
SESSION_US = 30 * 60 * 1_000_000
DAY_US = 86_400_000_000
SCENARIOS = ("home", "product", "cart", "category")
DEVICES = ("mobile", "desktop", "tablet")
OTHER_DEVICE = "other"
RECENT_NAMES = (
    "present", "price_band", "price_known", "dwell", "age", "freshness", "in_session",
    "views", "carts", "purchases", "others",
)  # fmt: skip
CONTEXT_NAMES = (
    "views_30m", "carts_30m", "purchases_30m", "items_30m", "leaves_30m", "dwell_30m",
    "history", "idle", "price_band", "price_known", "hour_sin", "hour_cos", "weekday_sin", "weekday_cos", "weekend",
    *(f"scenario_{name}" for name in SCENARIOS),
    *(f"device_{name}" for name in DEVICES), f"device_{OTHER_DEVICE}",
)  # fmt: skip
REQUEST_NAMES = CONTEXT_NAMES[-len(SCENARIOS) - len(DEVICES) - 1 :]
"""What only the request itself tells."""
KINDS = {"view": 0, "add_to_cart": 1, "purchase": 2}
OTHER_KINDS = 3

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]


class RequestFacts(NamedTuple):
    """What a request says besides its user: where it is shown, on what, and the shop's time zone."""

    scenario: str = ""
    device: str = ""
    zone: str = "UTC"


def request_of_log(names: Sequence[str], values: Sequence[float]) -> RequestFacts:
    """The facts that a row of the served log was computed with; none where it logged no context."""
    said = {name for name, value in zip(names, values, strict=True) if value}
    scenario = next((name for name in SCENARIOS if f"scenario_{name}" in said), "")
    device = next((name for name in (*DEVICES, OTHER_DEVICE) if f"device_{name}" in said), "")
    return RequestFacts(scenario=scenario, device=device)


class Touch(NamedTuple):
    """All that a user did with one item of late: when last, how long, and how often of each of KINDS."""

    item_id: str
    facts: ItemFacts
    newest_us: int
    dwell_s: float
    counts: tuple[int, int, int, int]


def recent_touches(profile: Profile, items: Mapping[str, ItemFacts]) -> list[Touch]:
    """The RECENT_ITEMS items touched last, newest last; several events on one item are one touch."""
    seen: dict[str, tuple[int, list[float], list[int]]] = {}
    events = zip(profile.item_ids, profile.kinds, profile.timestamps_us, profile.dwells_s, strict=True)
    for item_id, kind, moment_us, dwell_s in reversed(list(events)):
        if item_id not in seen:
            if len(seen) == RECENT_ITEMS:
                break
            seen[item_id] = (moment_us, [0.0], [0, 0, 0, 0])
        _, dwell, counts = seen[item_id]
        dwell[0] += dwell_s
        counts[KINDS.get(kind, OTHER_KINDS)] += 1
    touches = [
        Touch(item_id, items.get(item_id, NO_FACTS), moment_us, dwell[0], (counts[0], counts[1], counts[2], counts[3]))
        for item_id, (moment_us, dwell, counts) in seen.items()
    ]
    return touches[::-1]


def recent_arrays(touches: Sequence[Touch], state: RankingState, as_of_us: int) -> tuple[Floats, Codes]:
    """recent_RF of RECENT_NAMES and recent_RK of CODE_NAMES, newest last, zeros in front."""
    recent_RF = np.zeros((RECENT_ITEMS, len(RECENT_NAMES)), np.float32)
    recent_RK = np.zeros((RECENT_ITEMS, len(CODE_NAMES)), np.int32)
    if touches:
        recent_RF[-len(touches) :] = [_touch_row(touch, state, as_of_us) for touch in touches]
        recent_RK[-len(touches) :] = [state.codes(touch.item_id, touch.facts) for touch in touches]
    return recent_RF, recent_RK


def session_touches(touches: Sequence[Touch], state: RankingState, as_of_us: int) -> list[Touch]:
    """Those of the last half hour; none where time is only an order."""
    return [] if state.ordinal_time else [touch for touch in touches if as_of_us - touch.newest_us <= SESSION_US]


def context_row(
    profile: Profile,
    touches: Sequence[Touch],
    items: Mapping[str, ItemFacts],
    state: RankingState,
    as_of_us: int,
    request: RequestFacts,
) -> Floats:
    """context_U of CONTEXT_NAMES, the same for every candidate of the request."""
    bands = [band for band in (state.band(touch.facts) for touch in touches) if band is not None]
    idle_us = as_of_us - profile.newest_us if profile.newest_us is not None else 0
    values = (
        *_session_counters(profile, items, state, as_of_us),
        math.log1p(len(profile)),
        0.0 if state.ordinal_time else math.log1p(max(idle_us, 0) / 1e6),
        sum(bands) / len(bands) if bands else 0.5,
        float(bool(bands)),
        *(_clock(as_of_us, request.zone) if not state.ordinal_time else (0.0,) * 5),
        *(float(request.scenario == name) for name in SCENARIOS),
        *(float(request.device == name) for name in DEVICES),
        float(bool(request.device) and request.device not in DEVICES),
    )
    return np.asarray(values, np.float32)


def _touch_row(touch: Touch, state: RankingState, as_of_us: int) -> tuple[float, ...]:
    band, age_us = state.band(touch.facts), max(as_of_us - touch.newest_us, 0)
    timed = not state.ordinal_time
    return (
        1.0,
        0.5 if band is None else band,
        float(band is not None),
        math.log1p(max(touch.dwell_s, 0.0)),
        math.log1p(age_us / 1e6) if timed else 0.0,
        1.0 / (1.0 + age_us / DAY_US) if timed else 1.0,
        float(timed and age_us <= SESSION_US),
        *map(math.log1p, touch.counts),
    )


def _session_counters(
    profile: Profile, items: Mapping[str, ItemFacts], state: RankingState, as_of_us: int
) -> tuple[float, ...]:
    """log(1 + n) of views, carts, purchases, items, leaves and dwell seconds of the last half hour."""
    counts, dwell_s, seen = [0, 0, 0, 0], 0.0, set()
    if not state.ordinal_time:
        for place in range(len(profile) - 1, -1, -1):
            if as_of_us - profile.timestamps_us[place] > SESSION_US:
                break
            counts[KINDS.get(profile.kinds[place], OTHER_KINDS)] += 1
            dwell_s += max(profile.dwells_s[place], 0.0)
            seen.add(profile.item_ids[place])
    leaves = {items.get(item_id, NO_FACTS).leaf for item_id in seen}
    return tuple(math.log1p(value) for value in (*counts[:3], len(seen), len(leaves), dwell_s))


def _clock(as_of_us: int, zone: str) -> tuple[float, ...]:
    """Hour and weekday of the shop as points on a circle, and whether it is the weekend."""
    local = datetime.fromtimestamp(as_of_us / 1e6, _zone(zone))
    hour = 2 * math.pi * (local.hour + local.minute / 60) / 24
    weekday = 2 * math.pi * local.weekday() / 7
    return math.sin(hour), math.cos(hour), math.sin(weekday), math.cos(weekday), float(local.weekday() >= 5)


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
