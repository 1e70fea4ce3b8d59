"""Sessions: the steps of a block of people through the choice model, and what they then do with what they saw."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from training.datasets.sample.choice import RECENT, Choice, ChoiceModel, State, draw_rows
from training.datasets.sample.shoppers import MAX_SESSIONS, WINDOW_START_US, Shoppers, draw_needs
from training.datasets.sample.spec import EVENT_WEEKS, WEEK_US

MAX_STEPS = 9
STEP_S = 45.0


@dataclass(frozen=True, kw_only=True)
class Views:
    """V views in order of user and time, with the hidden state before each; `shopper_V` is a row of the block."""

    shopper_V: np.ndarray
    session_V: np.ndarray
    step_V: np.ndarray
    time_V: np.ndarray
    item_V: np.ndarray
    need_V: np.ndarray
    scenario_V: np.ndarray
    leaf_V: np.ndarray
    style_V: np.ndarray
    week_V: np.ndarray
    due_V: np.ndarray
    recent_VR: np.ndarray
    slate_VK: np.ndarray
    shown_V: np.ndarray
    clicked_V: np.ndarray
    refill_V: np.ndarray
    carted_V: np.ndarray
    removed_V: np.ndarray
    bought_V: np.ndarray

    def __len__(self) -> int:
        return len(self.item_V)


@dataclass
class _Memory:
    """What B people carry from session to session."""

    recent_BR: np.ndarray
    refill_item_B: np.ndarray
    refill_time_B: np.ndarray

    @classmethod
    def blank(cls, count: int) -> _Memory:
        return cls(np.full((count, RECENT), -1), np.full(count, -1), np.zeros(count, np.int64))


def simulate(
    shoppers: Shoppers, model: ChoiceModel, entry_NL: np.ndarray, stocked_NW: np.ndarray, rng: np.random.Generator
) -> Views:
    """All sessions of the block; nobody buys an item in a week `stocked_NW` says it is out."""
    memory = _Memory.blank(len(shoppers))
    parts = []
    for session in range(MAX_SESSIONS):
        rows = np.flatnonzero(shoppers.sessions_B > session)
        if len(rows):
            parts.extend(_session(session, rows, shoppers, memory, model, entry_NL, stocked_NW, rng))
    joined = {field.name: np.concatenate([part[field.name] for part in parts]) for field in fields(Views)}
    order = np.lexsort((joined["time_V"], joined["shopper_V"]))
    return Views(**{name: column[order] for name, column in joined.items()})


def _session(
    session: int,
    rows: np.ndarray,
    shoppers: Shoppers,
    memory: _Memory,
    model: ChoiceModel,
    entry_NL: np.ndarray,
    stocked_NW: np.ndarray,
    rng: np.random.Generator,
) -> list[dict[str, np.ndarray]]:
    """One session of each of the people `rows`, as columns per step."""
    time_B = shoppers.session_time_BK[rows, session]
    need_B, scenario_B = draw_needs(shoppers, rows, time_B, rng)
    leaf_B = draw_rows(entry_NL[need_B], rng)
    style_B = draw_rows(shoppers.styles_BS[rows], rng)
    due_B = np.where(memory.refill_time_B[rows] <= time_B, memory.refill_item_B[rows], -1)
    steps_B = np.minimum(2 + rng.poisson(2.6, len(rows)), MAX_STEPS)
    parts = []
    for step in range(MAX_STEPS):
        going = np.flatnonzero(steps_B > step)
        if not len(going):
            break
        people = rows[going]
        state = _state(
            shoppers, memory, people, time_B[going],
            need_B=need_B[going], leaf_B=leaf_B[going], style_B=style_B[going], due_B=due_B[going],
        )  # fmt: skip
        choice = model.draw(state, rng)
        parts.append(_step(session, step, people, time_B[going], scenario_B[going], state, choice, rng))
        parts[-1] |= _actions(model, state, choice.item_B, parts[-1]["refill_V"], stocked_NW, rng)
        leaf_B[going] = np.where(parts[-1]["refill_V"], leaf_B[going], model.catalogue.leaf_N[choice.item_B])
        due_B[going] = np.where(choice.item_B == due_B[going], -1, due_B[going])
        memory.recent_BR[people] = np.column_stack([choice.item_B, state.recent_BR[:, :-1]])
        _wind_clocks(memory, people, parts[-1], model.catalogue.refill_weeks_N, rng)
    return parts


def _state(
    shoppers: Shoppers,
    memory: _Memory,
    people: np.ndarray,
    time_B: np.ndarray,
    *,
    need_B: np.ndarray,
    leaf_B: np.ndarray,
    style_B: np.ndarray,
    due_B: np.ndarray,
) -> State:
    """What moves `people` as they choose."""
    return State(
        need_B=need_B,
        leaf_B=leaf_B,
        style_B=style_B,
        week_B=np.clip((time_B - WINDOW_START_US) // WEEK_US, 0, EVENT_WEEKS - 1),
        due_B=due_B,
        recent_BR=memory.recent_BR[people],
        price_sensitivity_B=shoppers.price_sensitivity_B[people],
        taste_BD=shoppers.taste_BD[people],
        styles_BS=shoppers.styles_BS[people],
    )


def _step(
    session: int,
    step: int,
    people: np.ndarray,
    start_B: np.ndarray,
    scenario_B: np.ndarray,
    state: State,
    choice: Choice,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    count = len(people)
    seconds = step * STEP_S + rng.uniform(0, 0.4 * STEP_S, count)
    return {
        "shopper_V": people,
        "session_V": np.full(count, session),
        "step_V": np.full(count, step),
        "time_V": start_B + (seconds * 1000).astype(np.int64) * 1000,
        "item_V": choice.item_B,
        "need_V": state.need_B,
        "scenario_V": scenario_B,
        "leaf_V": state.leaf_B,
        "style_V": state.style_B,
        "week_V": state.week_B,
        "due_V": state.due_B,
        "recent_VR": state.recent_BR,
        "slate_VK": choice.slate_BK,
        "shown_V": choice.shown_B,
        "clicked_V": choice.clicked_B,
        "refill_V": (choice.item_B == state.due_B) & (choice.clicked_B < 0),
    }


def _actions(
    model: ChoiceModel,
    state: State,
    item_B: np.ndarray,
    refill_B: np.ndarray,
    stocked_NW: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Cart, second thoughts, purchase: dearer than usual is bought less, quality and promotion more."""
    items = model.catalogue
    discount = model.discount_NW[item_B, state.week_B]
    log_price = model.log_price_N[item_B] + np.log1p(-discount)
    logits = -1.9 + 0.5 * items.quality_N[item_B] - 0.8 * state.price_sensitivity_B * log_price
    logits += 0.6 * (discount > 0) + 3.0 * refill_B + 0.7 * ~np.isnan(items.refill_weeks_N[item_B])
    carted = rng.random(len(item_B)) < 1 / (1 + np.exp(-logits))
    removed = carted & (rng.random(len(item_B)) < 0.12)
    wanted = carted & ~removed & (rng.random(len(item_B)) < np.where(refill_B, 0.9, 0.5))
    return {"carted_V": carted, "removed_V": removed, "bought_V": wanted & stocked_NW[item_B, state.week_B]}


def _wind_clocks(
    memory: _Memory,
    people: np.ndarray,
    part: dict[str, np.ndarray],
    refill_weeks_N: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Whoever buys a consumable will need it again: the latest one is on the clock."""
    weeks = refill_weeks_N[part["item_V"]] * np.exp(rng.normal(0, 0.15, len(people)))
    bought = part["bought_V"] & ~np.isnan(weeks)
    winders = people[bought]
    memory.refill_item_B[winders] = part["item_V"][bought]
    memory.refill_time_B[winders] = part["time_V"][bought] + (weeks[bought] * WEEK_US).astype(np.int64)
