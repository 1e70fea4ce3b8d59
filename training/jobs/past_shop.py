"""A shop with its recommender at any moment of its past: what could be chosen then, and what was known of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.contracts.errors import InputError, Problem
from training.contracts.progress import Progress
from training.contracts.shop import Shop
from training.features.item_facts import items_of
from training.features.popularity import PopularityHistory
from training.features.profile import EVENT_COLUMNS, EventHistory, Profile
from training.features.ranking import RankingInputs, RankingState, RequestFacts, fit_price_edges, ranking_inputs
from training.features.ranking_state import fit_vocabularies
from training.features.sequences import Cases, Histories, Split, interest_histories, leave_one_out
from training.features.vocabulary import UNKNOWN
from training.jobs.item_vectors import vectors_before
from training.jobs.placements import Placements
from training.jobs.ranker_examples import Examples
from training.jobs.slates import HEADS, NO_POSITION, Slate
from training.models.popularity import training_counts
from training.models.recommender import Recommender
from training.models.target_attention import WIDTHS

CANDIDATES = 100
BLOCK = 256
LEAST_EVENTS = 3
HISTORY_COLUMNS = ("user_id", "type", "item_id", "timestamp", "split")

Moment = tuple[str, int]
"""A user and a time: what one choice is known by."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One held-out or past choice: what was taken at a moment, by row of the histories' users."""

    user: int
    moment_us: int
    codes: tuple[int, ...]


class PastShop:
    """A shop with its recommender, ready to be asked for ranking inputs at any moment of its past."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self.shop, self.recommender = shop, Recommender.load(folder)
        vocabulary = self.recommender.vocabulary
        self.histories: Histories = interest_histories(
            shop.table("events", HISTORY_COLUMNS), vocabulary, shop.info.positive_types
        )
        if not len(self.histories.codes_N):
            raise InputError(Problem(table="events", problem="no event on a known item: nothing to rank by"))
        self.split: Split = leave_one_out(self.histories)
        self.events = EventHistory(shop.table("events", EVENT_COLUMNS))
        self.items = items_of(shop)
        self.zone = shop.info.time_zone
        self.placed = Placements(shop)
        self.state = self.state_of_training()

    def state_of_training(self) -> RankingState:
        """What the features learn from all but each user's last two positives."""
        return self._state(training_counts(self.split.train, len(self.recommender.vocabulary)))

    def state_until(self, moment_us: int) -> RankingState:
        """What they learn from before a moment, so that later items are unknown as they will be."""
        codes_N = self.histories.codes_N[self.histories.timestamps_us_N < moment_us]
        return self._state(np.bincount(codes_N, minlength=len(self.recommender.vocabulary)))

    def item_vectors(self, until_us: int) -> npt.NDArray[np.float64]:
        """Of the items of the state's vocabulary, from events before a moment and before each user's last two."""
        until_us_U = np.full(len(self.histories), until_us)
        held_out = self.split.validation
        until_us_U[held_out.users_U] = np.minimum(until_us, held_out.times_us_U)
        codes_I = self.recommender.vocabulary.encode(self.state.vocabularies["item"])
        return vectors_before(self.histories, until_us_U, codes_I, width=WIDTHS["item"])

    def examples(self, slates: Sequence[Slate], progress: Progress) -> Examples:
        """The slates with their inputs, in order of time."""
        popularity = PopularityHistory(self.histories, self.recommender.vocabulary)
        inputs: list[RankingInputs] = []
        ordered = sorted(slates, key=lambda slate: slate.as_of_us)
        for slate in ordered:
            inputs.append(
                ranking_inputs(
                    profile=self.events.profile(slate.user_id, as_of_us=slate.as_of_us, strictly_before=True),
                    item_ids=slate.item_ids,
                    retrieval_scores_C=np.nan_to_num(slate.scores_C, nan=0.0),
                    items=self.items,
                    state=self.state,
                    as_of_us=slate.as_of_us,
                    request=slate.request._replace(zone=self.zone),
                    popularity={} if self.shop.info.ordinal_time else popularity.at(slate.as_of_us),
                )
            )
            progress.advance()
        return Examples(slates=ordered, inputs=inputs)

    def choices(
        self, asked: Sequence[Asked], head: int, *, negatives: int | None, rng: np.random.Generator, progress: Progress
    ) -> list[Slate]:
        """What was taken among what retrieval finds and what was placed; those that neither has are left out."""
        found: list[Slate] = []
        for first in range(0, len(asked), BLOCK):
            block = asked[first : first + BLOCK]
            users = [self.histories.user_ids[one.user] for one in block]
            pasts = [
                self.events.profile(user, as_of_us=one.moment_us, strictly_before=True)
                for user, one in zip(users, block, strict=True)
            ]
            masks = None if self.shop.info.repeats else [self._unseen(past.item_ids) for past in pasts]
            slots, scores = self.recommender.retrieve(
                [past.item_ids for past in pasts], CANDIDATES, masks, [past.timestamps_us for past in pasts]
            )
            for user, one, past, slots_C, scores_C in zip(users, block, pasts, slots, scores, strict=True):
                known = dict(zip(slots_C.tolist(), scores_C.tolist(), strict=True))
                known |= self._placed_scores(user, one, past, known)
                slate = self._choice(user, one, known, head, negatives, rng)
                if slate is not None:
                    found.append(slate)
            progress.advance(len(block))
        return found

    def taken(self) -> list[Asked]:
        """Every choice of the shop's past; positives of one moment are one choice."""
        histories = self.histories
        users_N = np.repeat(np.arange(len(histories)), np.diff(histories.offsets_U))
        taken: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row in np.flatnonzero(histories.positive_N):
            taken[(int(users_N[row]), int(histories.timestamps_us_N[row]))].append(int(histories.codes_N[row]))
        return [
            Asked(user=user, moment_us=moment_us, codes=tuple(dict.fromkeys(codes)))
            for (user, moment_us), codes in taken.items()
        ]

    def moment(self, one: Asked) -> Moment:
        return self.histories.user_ids[one.user], one.moment_us

    def moments(self, cases: Cases) -> set[Moment]:
        return {self.moment(one) for one in self.asked(cases)}

    def asked(self, cases: Cases) -> list[Asked]:
        """The choices that the cases of the recommender's own split are of, with all that was taken at that moment."""
        wanted = set(zip(cases.users_U.tolist(), cases.times_us_U.tolist(), strict=True))
        return [one for one in self.taken() if (one.user, one.moment_us) in wanted]

    def _choice(
        self, user: str, one: Asked, known: dict[int, float], head: int, negatives: int | None,
        rng: np.random.Generator,
    ) -> Slate | None:  # fmt: skip
        positives = [code for code in one.codes if code in known]
        others = [slot for slot in known if slot not in positives]
        if not positives or not others:
            return None
        if negatives is not None and len(others) > negatives:
            others = [others[place] for place in np.sort(rng.permutation(len(others))[:negatives])]
        slots = [*positives, *others]
        labels_CH = np.zeros((len(slots), len(HEADS)), np.bool_)
        labels_CH[: len(positives), : head + 1] = True
        return Slate(
            user_id=user,
            as_of_us=one.moment_us,
            item_ids=tuple(self.recommender.item_ids[slot] for slot in slots),
            labels_CH=labels_CH,
            positions_C=np.full(len(slots), NO_POSITION, np.int64),
            scores_C=np.asarray([known[slot] for slot in slots], np.float32),
            request=RequestFacts(),
            outcomes_us=(one.moment_us,),
        )

    def _placed_scores(self, user: str, one: Asked, past: Profile, known: dict[int, float]) -> dict[int, float]:
        slots = [self.recommender.slot(item_id) for item_id in self.placed.at(user, one.moment_us)]
        fresh = [slot for slot in slots if slot is not None and slot not in known][:CANDIDATES]
        if not fresh:
            return {}
        scores_S = self.recommender.score(*self.recommender.tokens([past.item_ids], [past.timestamps_us]))[0]
        return {slot: float(scores_S[slot]) for slot in fresh}

    def _unseen(self, past: Sequence[str]) -> npt.NDArray[np.bool_]:
        mask_S = np.ones(len(self.recommender), np.bool_)
        codes = self.recommender.vocabulary.encode(list(past))
        mask_S[codes[codes != UNKNOWN]] = False
        return mask_S

    def _state(self, counts_I: npt.NDArray[np.int64]) -> RankingState:
        vocabulary, ordinal = self.recommender.vocabulary, self.shop.info.ordinal_time
        trained = [vocabulary.ids[code] for code in np.flatnonzero(counts_I >= LEAST_EVENTS)]
        return RankingState(
            price_edges=fit_price_edges(self.items),
            popularity={} if ordinal else dict(PopularityHistory(self.histories, vocabulary).latest()),
            ordinal_time=ordinal,
            vocabularies=fit_vocabularies(self.items, trained),
        )
