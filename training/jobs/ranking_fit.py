"""The ranker of a recommender bundle: fitted on held-out choices, as the user's shop looked when they were made.

Examples come from the served log (the slate in which the user's validation event was chosen) and from replay (the
validation event among retrieval's candidates). Retrieval never trained on either. The variant that orders the choices
of held-out users best is kept, if it clearly beats retrieval's own order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.features.item_facts import items_of
from training.features.popularity import PopularityHistory, popularity_of
from training.features.profile import EVENT_COLUMNS, EventHistory
from training.features.ranking import BASE_FEATURES, RankingState, fit_price_edges, ranking_features
from training.features.sequences import Cases, Histories, Split
from training.features.vocabulary import UNKNOWN
from training.models.logistic_ranker import LogisticRanker, fit_logistic_ranker
from training.models.recommender import Recommender

Floats = npt.NDArray[np.float32]

CANDIDATES = 100
MAX_USERS = 5_000
BLOCK_USERS = 256
HOLDOUT = 0.5
MARGIN_ERRORS = 2.0
SCORE_ONLY = "retrieval score alone"
TOP = 10
UNFITTED = "retrieval's order, for want of held-out choices"


@dataclass(frozen=True)
class Choice:
    """One moment of choice: what could be chosen, its features [C, F], and what was."""

    features_CF: Floats
    chosen_C: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RankingFit:
    """The chosen ranker, the state of its features, and NDCG@10 of two stages and of retrieval alone on test."""

    ranker: LogisticRanker
    state: RankingState
    metrics: dict[str, float]
    notes: list[str]


class Replay:
    """The features of candidates as they were at a past moment of one shop."""

    def __init__(self, shop: Shop, recommender: Recommender, histories: Histories, split: Split) -> None:
        self.recommender, self.histories, self.repeats = recommender, histories, shop.info.repeats
        self.events = EventHistory(shop.table("events", EVENT_COLUMNS))
        self.items = items_of(shop)
        self.ordinal = shop.info.ordinal_time
        self.popularity = PopularityHistory(histories, recommender.vocabulary)
        trained = [split.train[user] for user in range(len(split.train))]
        self.trained_popularity = popularity_of(
            np.concatenate([*trained, np.zeros(0, np.int32)]), recommender.vocabulary
        )
        self.state = RankingState(
            price_edges=fit_price_edges(self.items),
            popularity=dict(self.trained_popularity if self.ordinal else self.popularity.latest()),
            ordinal_time=self.ordinal,
        )

    def choices(self, cases: Cases, progress: Progress = NoProgress()) -> list[Choice | None]:
        """Each case's target among retrieval's candidates; None where retrieval does not find it."""
        in_time = np.argsort(cases.times_us_U, kind="stable")
        found: list[Choice | None] = [None] * len(cases)
        for first in range(0, len(cases), BLOCK_USERS):
            rows = in_time[first : first + BLOCK_USERS]
            for row, choice in zip(rows, self._block(cases.take(rows)), strict=True):
                found[row] = choice
            progress.advance(len(rows))
        return found

    def features(self, user: str, as_of_us: int, item_ids: Sequence[str], scores_C: Floats) -> Floats:
        """features_CF of `item_ids` for the user just before `as_of_us`."""
        features_CF = ranking_features(
            profile=self.events.profile(user, as_of_us=as_of_us, strictly_before=True),
            item_ids=item_ids,
            retrieval_scores_C=scores_C,
            items=self.items,
            state=self.state,
            as_of_us=as_of_us,
            popularity=self.trained_popularity if self.ordinal else self.popularity.at(as_of_us),
        )
        return features_CF[:, : len(BASE_FEATURES)]

    def scores(self, user: str, as_of_us: int, item_ids: Sequence[str]) -> Floats:
        """Retrieval's scores of given items, which must be in the vocabulary."""
        profile = self.events.profile(user, as_of_us=as_of_us, strictly_before=True)
        scores_S = self.recommender.score(*self.recommender.tokens([profile.item_ids], [profile.timestamps_us]))[0]
        return scores_S[self.recommender.vocabulary.encode(list(item_ids))]

    def _block(self, block: Cases) -> Iterator[Choice | None]:
        users = [self.histories.user_ids[user] for user in block.users_U]
        pasts = [
            self.events.profile(user, as_of_us=int(moment), strictly_before=True)
            for user, moment in zip(users, block.times_us_U, strict=True)
        ]
        masks = None if self.repeats else [self._unseen(past.item_ids) for past in pasts]
        found, scores = self.recommender.retrieve(
            [past.item_ids for past in pasts], CANDIDATES, masks, [past.timestamps_us for past in pasts]
        )
        for user, moment, target, slots_C, scores_C in zip(
            users, block.times_us_U, block.targets_U, found, scores, strict=True
        ):
            chosen_C = slots_C == target
            if not chosen_C.any():
                yield None
                continue
            item_ids = [self.recommender.item_ids[slot] for slot in slots_C]
            yield Choice(self.features(user, int(moment), item_ids, scores_C), chosen_C)

    def _unseen(self, past: Sequence[str]) -> npt.NDArray[np.bool_]:
        mask_S = np.ones(len(self.recommender), np.bool_)
        codes = self.recommender.vocabulary.encode(list(past))
        mask_S[codes[codes != UNKNOWN]] = False
        return mask_S


def fit_ranking(
    shop: Shop,
    recommender: Recommender,
    histories: Histories,
    split: Split,
    *,
    seed: int,
    progress: Progress = NoProgress(),
) -> RankingFit:
    """Fit every variant on half of the validation users, keep the best on the others, measure it on test."""
    rng = np.random.default_rng(seed)
    replay = Replay(shop, recommender, histories, split)
    users = np.sort(rng.permutation(len(split.validation))[:MAX_USERS])
    progress.stage("ranker", len(users) + min(len(split.test), MAX_USERS))
    held_out_U = rng.random(len(users)) < HOLDOUT
    replayed = replay.choices(split.validation.take(users), progress)
    fitting = [choice for choice, held in zip(replayed, held_out_U, strict=True) if choice is not None and not held]
    judging = [choice for choice, held in zip(replayed, held_out_U, strict=True) if held]
    logged = list(_logged_choices(shop, replay, histories, split, users[~held_out_U]))
    variants = _variants(fitting, logged) or {UNFITTED: retrieval_order()}
    best, said = _choose(variants, judging)
    test = replay.choices(split.test.take(np.sort(rng.permutation(len(split.test))[:MAX_USERS])), progress)
    metrics = {
        "two_stage_ndcg@10": float(_gains(test, variants[best].predict).mean()) if test else 0.0,
        "one_stage_ndcg@10": float(_gains(test, _retrieval).mean()) if test else 0.0,
    }
    return RankingFit(variants[best], replay.state, metrics, [said])


def _choose(variants: Mapping[str, LogisticRanker], judging: Sequence[Choice | None]) -> tuple[str, str]:
    """The variant with the best NDCG@10 on `judging`, if it beats retrieval's order by MARGIN_ERRORS standard errors
    of the paired difference; else the one that keeps that order."""
    gains = {name: _gains(judging, ranker.predict) for name, ranker in variants.items()}
    told = ", ".join(f"{name} {gain_J.mean():.4f}" for name, gain_J in gains.items() if len(gain_J))
    best = max(gains, key=lambda name: gains[name].sum())
    if SCORE_ONLY in gains and len(judging) > 1:
        margin_J = gains[best] - gains[SCORE_ONLY]
        error = float(margin_J.std(ddof=1)) / len(judging) ** 0.5
        best = best if float(margin_J.mean()) > MARGIN_ERRORS * error else SCORE_ONLY
    return best, f"ranker: {best}, by NDCG@10 of held-out users ({told})"


def retrieval_order() -> LogisticRanker:
    """Keeps the order of retrieval; for a shop without a single held-out choice among its candidates."""
    score_only = tuple(float(name == "retrieval_score") for name in BASE_FEATURES)
    zeros, ones = (0.0,) * len(BASE_FEATURES), (1.0,) * len(BASE_FEATURES)
    return LogisticRanker(
        feature_names=BASE_FEATURES, mean=zeros, scale=ones, weights=score_only, bias=0.0, trained_on=UNFITTED
    )


def _variants(replayed: Sequence[Choice], logged: Sequence[Choice]) -> dict[str, LogisticRanker]:
    score_only = np.asarray([name == "retrieval_score" for name in BASE_FEATURES])
    everything = np.ones(len(BASE_FEATURES), np.bool_)
    wanted = {
        "served log": (logged, everything),
        "replayed events": (replayed, everything),
        SCORE_ONLY: (replayed, score_only),
    }
    return {name: _fit(choices, used_F, name) for name, (choices, used_F) in wanted.items() if choices}


def _fit(choices: Sequence[Choice], used_F: npt.NDArray[np.bool_], name: str) -> LogisticRanker:
    features_NF = np.concatenate([choice.features_CF for choice in choices])
    features_NF = np.where(used_F, features_NF, np.float32(0))
    chosen_N = np.concatenate([choice.chosen_C for choice in choices])
    choice_N = np.repeat(np.arange(len(choices)), [len(choice.chosen_C) for choice in choices])
    return fit_logistic_ranker(features_NF, chosen_N, choice_N, feature_names=BASE_FEATURES, trained_on=name)


def _logged_choices(
    shop: Shop, replay: Replay, histories: Histories, split: Split, rows: npt.NDArray[np.int64]
) -> Iterator[Choice]:
    """The slates in which the validation events of `rows` were chosen, as the served log keeps them."""
    if not shop.has("recommendations"):
        return
    cases = split.validation.take(rows)
    wanted = {
        (histories.user_ids[user], int(moment)) for user, moment in zip(cases.users_U, cases.times_us_U, strict=True)
    }
    tested = {
        (histories.user_ids[user], int(moment))
        for user, moment in zip(split.test.users_U, split.test.times_us_U, strict=True)
    }
    chosen, validated, spoiled = _clicks(shop, wanted, tested)
    slates = shop.table("recommendations", ["recommendation_id", "user_id", "as_of", "slate"])
    slates = slates.filter(
        pc.is_in(slates["recommendation_id"], value_set=pa.array(sorted(validated - spoiled), pa.string()))
    )
    known = set(replay.recommender.vocabulary.ids)
    for row in slates.sort_by("as_of").to_pylist():
        item_ids = [entry["item_id"] for entry in row["slate"] if entry["item_id"] in known]
        chosen_C = np.asarray([item_id in chosen[row["recommendation_id"]] for item_id in item_ids], np.bool_)
        if 0 < chosen_C.sum() < len(item_ids):
            as_of_us = int(row["as_of"].timestamp() * 1_000_000)
            scores_C = replay.scores(row["user_id"], as_of_us, item_ids)
            yield Choice(replay.features(row["user_id"], as_of_us, item_ids, scores_C), chosen_C)


def _clicks(
    shop: Shop, wanted: set[tuple[str, int]], tested: set[tuple[str, int]]
) -> tuple[dict[str, set[str]], set[str], set[str]]:
    """Items chosen per slate, the slates of validation events, and those that hold a test event."""
    chosen: dict[str, set[str]] = {}
    validated: set[str] = set()
    spoiled: set[str] = set()
    positive = pa.array(shop.info.positive_types)
    for piece in shop.batches("events", ["user_id", "item_id", "type", "timestamp", "recommendation_id"]):
        rows = piece.filter(
            pc.and_(pc.is_valid(piece["recommendation_id"]), pc.is_in(piece["type"], value_set=positive))
        )
        moments_us = rows["timestamp"].cast(pa.int64()).to_pylist()
        for slate, user, item, moment_us in zip(
            rows["recommendation_id"].to_pylist(), rows["user_id"].to_pylist(), rows["item_id"].to_pylist(), moments_us,
            strict=True,
        ):  # fmt: skip
            chosen.setdefault(slate, set()).add(item)
            if (user, moment_us) in wanted:
                validated.add(slate)
            if (user, moment_us) in tested:
                spoiled.add(slate)
    return chosen, validated, spoiled


def _retrieval(features_CF: Floats) -> npt.NDArray[np.float64]:
    return features_CF[:, BASE_FEATURES.index("retrieval_score")].astype(np.float64)


def _gains(
    choices: Sequence[Choice | None], score: Callable[[Floats], npt.NDArray[np.float64]]
) -> npt.NDArray[np.float64]:
    """NDCG@10 of each choice, one item relevant; a choice that retrieval missed counts 0."""
    return np.asarray([0.0 if choice is None else _gain(choice, score) for choice in choices])


def _gain(choice: Choice, score: Callable[[Floats], npt.NDArray[np.float64]]) -> float:
    """Ties count against what was chosen: an order that tells nothing apart gains nothing."""
    scores_C = score(choice.features_CF)
    rank = int((scores_C >= scores_C[choice.chosen_C].max())[~choice.chosen_C].sum())
    return 1.0 / float(np.log2(rank + 2)) if rank < TOP else 0.0
