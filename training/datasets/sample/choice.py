"""The true choice model: how a person with a hidden state picks the next item to look at.

At each step of a session a person looks for a consumable that is due, or goes back to compare with the item before
the last, or clicks what a slate shows unless tired of it, or goes for what the need of the day suggests: leaf by the
need's journey and the season, style by mood and taste, item by price, promotion, taste for its brand and popularity.
`distribution` is what `draw` samples from, exactly.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from training.datasets.sample.catalogue import Catalogue
from training.datasets.sample.spec import SLATE_SIZE
from training.datasets.sample.taxonomy import STYLE_NAMES

RECENT = 3
NEVER = -60.0


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """Effects in logits unless said otherwise."""

    popularity: float = 1.1
    taste: float = 0.15
    promotion: float = 0.8
    fatigue: float = 1.5
    own_style: float = 0.95
    due: float = 0.35
    compare: float = 0.2
    slate: float = 0.1
    click: float = 2.2
    click_fit: float = 0.6
    position_decay: float = 0.9
    logging_power: float = 0.5
    logging_uniform: float = 0.2

    def as_dict(self) -> dict[str, float]:
        return asdict(self)

    @property
    def attention_K(self) -> np.ndarray:
        """P(the person looks at position k of a slate)."""
        weights = (1.0 + np.arange(SLATE_SIZE)) ** -self.position_decay
        return weights / weights.sum()


@dataclass(frozen=True, kw_only=True)
class State:
    """What is hidden in B people just before they look at something; -1 means none."""

    need_B: np.ndarray
    leaf_B: np.ndarray
    style_B: np.ndarray
    week_B: np.ndarray
    due_B: np.ndarray
    recent_BR: np.ndarray
    price_sensitivity_B: np.ndarray
    taste_BD: np.ndarray
    styles_BS: np.ndarray

    def take(self, rows: np.ndarray | slice) -> State:
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def __len__(self) -> int:
        return len(self.need_B)


@dataclass(frozen=True)
class Choice:
    """The next item of B people, and where a slate was shown: its items and the position clicked (-1: none)."""

    item_B: np.ndarray
    shown_B: np.ndarray
    slate_BK: np.ndarray
    clicked_B: np.ndarray


class ChoiceModel:
    """The catalogue, the promotions of each week and the journeys of each need, ready to be asked."""

    def __init__(
        self,
        catalogue: Catalogue,
        discount_NW: np.ndarray,
        journey_NLL: np.ndarray,
        season_WL: np.ndarray,
        coefficients: Coefficients,
    ) -> None:
        self.catalogue, self.discount_NW, self.coefficients = catalogue, discount_NW, coefficients
        self.journey_NLL, self.season_WL = journey_NLL, season_WL
        self.shelf_N = catalogue.shelf_N
        self.log_price_N = catalogue.log_price_rank_N
        self.base_N = np.where(catalogue.new_N, NEVER, coefficients.popularity * catalogue.log_popularity_N)
        self.members_GS = _members(self.shelf_N, self.shelf_count)
        self.logging_LN = _logging_policy(catalogue, coefficients)
        steps = np.arange(len(self.logging_LN))[:, None]
        self._logging_edges = (np.cumsum(self.logging_LN, 1) / self.logging_LN.sum(1, keepdims=True) + steps).ravel()

    @property
    def shelf_count(self) -> int:
        return self.journey_NLL.shape[1] * len(STYLE_NAMES)

    def appeal(self, state: State, items: np.ndarray) -> np.ndarray:
        """Utility of `items` [B, S] (-1: no item) within their shelf, logits [B, S]."""
        weights = self.coefficients
        discount = self.discount_NW[items, state.week_B[:, None]]
        log_price = self.log_price_N[items] + np.log1p(-discount)
        utility = self.base_N[items] - state.price_sensitivity_B[:, None] * log_price
        utility += weights.promotion * (discount > 0)
        taste = np.einsum("bsd,bd->bs", self.catalogue.taste_ND[items], state.taste_BD)
        utility += weights.taste * taste
        gone = (items == state.recent_BR[:, :1]) | (items < 0)
        return np.where(gone, NEVER, utility)

    def leaves(self, state: State) -> np.ndarray:
        """P(leaf of the next item), [B, L]."""
        weights_BL = self.journey_NLL[state.need_B, state.leaf_B] * self.season_WL[state.week_B]
        return weights_BL / weights_BL.sum(1, keepdims=True)

    def styles(self, state: State) -> np.ndarray:
        """P(style of the next item), [B, S]: the mood of the session, else the person's own mix."""
        own = self.coefficients.own_style
        probability_BS = (1 - own) * state.styles_BS
        probability_BS[np.arange(len(state)), state.style_B] += own
        return probability_BS

    def click(self, state: State, items: np.ndarray) -> np.ndarray:
        """P(click | the person looks at the item), for items [B, S]: tired of what was just seen."""
        weights = self.coefficients
        leaf_BL, style_BS = self.leaves(state), self.styles(state)
        rows = np.arange(len(state))[:, None]
        fit = leaf_BL[rows, self.catalogue.leaf_N[items]] * style_BS[rows, self.catalogue.style_N[items]]
        logits = weights.click + weights.click_fit * np.log(fit + 1e-4) + self.appeal(state, items)
        for age in range(1, RECENT):
            logits -= weights.fatigue * (items == state.recent_BR[:, age : age + 1])
        return 1 / (1 + np.exp(-logits))

    def draw(self, state: State, rng: np.random.Generator) -> Choice:
        """One step for each of B people."""
        count, weights = len(state), self.coefficients
        item_B = self._draw_organic(state, rng)
        shown_B = rng.random(count) < weights.slate
        slate_BK = self._draw_slates(state.leaf_B, rng)
        seen_B = rng.choice(SLATE_SIZE, size=count, p=weights.attention_K)
        looked_B = slate_BK[np.arange(count), seen_B]
        clicks_B = shown_B & (rng.random(count) < self.click(state, looked_B[:, None])[:, 0])
        item_B = np.where(clicks_B, looked_B, item_B)
        for again_B, probability in self._returns(state):
            returns_B = (again_B >= 0) & (rng.random(count) < probability)
            item_B = np.where(returns_B, again_B, item_B)
            shown_B, clicks_B = shown_B & ~returns_B, clicks_B & ~returns_B
        return Choice(item_B=item_B, shown_B=shown_B, slate_BK=slate_BK, clicked_B=np.where(clicks_B, seen_B, -1))

    def distribution(self, state: State) -> np.ndarray:
        """P(next item), [B, N], over the whole catalogue."""
        weights, count = self.coefficients, len(self.catalogue)
        items = np.broadcast_to(np.arange(count), (len(state), count))
        organic_BN = self._organic(state, items)
        clicked_BN = self.logging_LN[state.leaf_B] * self.click(state, items)
        slate_BN = clicked_BN + (1 - clicked_BN.sum(1, keepdims=True)) * organic_BN
        mixed_BN = (1 - weights.slate) * organic_BN + weights.slate * slate_BN
        for again_B, probability in self._returns(state):
            rows = np.flatnonzero(again_B >= 0)
            mixed_BN[rows] *= 1 - probability
            mixed_BN[rows, again_B[rows]] += probability
        return mixed_BN

    def _returns(self, state: State) -> list[tuple[np.ndarray, float]]:
        """Items that may be looked at again (-1: none) and with what probability, the last rule deciding."""
        last_B = state.recent_BR[:, 0]
        candidates = ((state.recent_BR[:, 1], self.coefficients.compare), (state.due_B, self.coefficients.due))
        return [(np.where(again_B == last_B, -1, again_B), probability) for again_B, probability in candidates]

    def _organic(self, state: State, items: np.ndarray) -> np.ndarray:
        """P(next item) of a person who sees no slate, [B, N]."""
        strength_BN = np.exp(self.appeal(state, items))
        order = np.argsort(self.shelf_N, kind="stable")
        starts = np.searchsorted(self.shelf_N[order], np.arange(self.shelf_count))
        total_BG = np.add.reduceat(strength_BN[:, order], starts, axis=1)
        shelf_BG = (self.leaves(state)[:, :, None] * self.styles(state)[:, None, :]).reshape(len(state), -1)
        return strength_BN * (shelf_BG / total_BG)[:, self.shelf_N]

    def _draw_organic(self, state: State, rng: np.random.Generator) -> np.ndarray:
        leaf_B = draw_rows(self.leaves(state), rng)
        style_B = draw_rows(self.styles(state), rng)
        candidates_BS = self.members_GS[leaf_B * len(STYLE_NAMES) + style_B]
        noise_BS = rng.gumbel(size=candidates_BS.shape)
        best_B = np.argmax(self.appeal(state, candidates_BS) + noise_BS, axis=1)
        return candidates_BS[np.arange(len(state)), best_B]

    def _draw_slates(self, leaf_B: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Systematic samples of the logging policy in random order: each position shows item i with P = propensity."""
        points_BK = (rng.random((len(leaf_B), 1)) + np.arange(SLATE_SIZE)) / SLATE_SIZE
        flat = np.searchsorted(self._logging_edges, (points_BK + leaf_B[:, None]).ravel(), side="right")
        items = np.minimum(flat, (np.repeat(leaf_B, SLATE_SIZE) + 1) * len(self.catalogue) - 1) % len(self.catalogue)
        return rng.permuted(items.reshape(points_BK.shape), axis=1)


def draw_rows(probability_BM: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One column index per row, drawn by the row's probabilities."""
    edges = np.cumsum(probability_BM, axis=1)
    points = rng.random((len(edges), 1)) * edges[:, -1:]
    return np.minimum((points >= edges).sum(1), edges.shape[1] - 1)


def _members(shelf_N: np.ndarray, shelves: int) -> np.ndarray:
    """Item numbers of each shelf, padded with -1."""
    order = np.argsort(shelf_N, kind="stable")
    sizes = np.bincount(shelf_N, minlength=shelves)
    members = np.full((shelves, sizes.max()), -1)
    members[
        np.repeat(np.arange(shelves), sizes), np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    ] = order
    return members


def _logging_policy(catalogue: Catalogue, weights: Coefficients) -> np.ndarray:
    """P(item at any one position | leaf being looked at), [L, N]: its popular items, and a uniform part to explore."""
    on_sale_N = ~catalogue.new_N
    popular_N = np.exp(weights.logging_power * catalogue.log_popularity_N) * on_sale_N
    leaves = catalogue.leaf_N.max() + 1
    policy_LN = np.where(catalogue.leaf_N == np.arange(leaves)[:, None], popular_N, 0.0)
    limit = 0.95 / SLATE_SIZE
    for _ in range(20):
        policy_LN = np.minimum(policy_LN / policy_LN.sum(1, keepdims=True), limit)
    policy_LN /= policy_LN.sum(1, keepdims=True)
    uniform_N = on_sale_N / on_sale_N.sum()
    return (1 - weights.logging_uniform) * policy_LN + weights.logging_uniform * uniform_N
