"""A shop as the ranker sees it: slates and choices with their inputs as of their moments, split by time.

The retriever has seen all but each user's last two positives, so its scores on slates tell the outcome (on the sample
.69 AUC where an unseen one has .64): the network never reads them, and they enter the order by held-out choices only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.errors import InputError, Problem
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.features.item_facts import items_of
from training.features.popularity import PopularityHistory
from training.features.profile import EVENT_COLUMNS, EventHistory
from training.features.ranking import RankingInputs, RankingState, RequestFacts, fit_price_edges, ranking_inputs
from training.features.ranking_state import fit_vocabularies
from training.features.sequences import Cases, Histories, Split, interest_histories, leave_one_out
from training.features.vocabulary import UNKNOWN
from training.jobs.ranker_examples import Examples
from training.jobs.slates import HEADS, NO_POSITION, PURCHASE, Slate, served_slates
from training.models.recommender import Recommender

CANDIDATES = 100
BLOCK = 256
LEAST_EVENTS = 3
WEEK_US = 7 * 86_400_000_000
HISTORY_COLUMNS = ("user_id", "type", "item_id", "timestamp", "split")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One held-out or past choice: what was taken at a moment, by row of the histories' users."""

    user: int
    moment_us: int
    codes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class RankerData:
    """Slates (impressions, or choices where the shop has no served log) by time, and choices.

    `test_choices` are the users' last positives whose item retrieval found, `test_asked` counts them all.
    """

    shop: Shop
    state: RankingState
    slates: dict[str, Examples]
    choices: dict[str, Examples]
    test_choices: Examples
    test_asked: int
    heads: tuple[str, ...]
    notes: tuple[str, ...]


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
        self.placed = _Placements(shop)
        self.state = self._state(2**62)

    def learn_until(self, moment_us: int) -> None:
        """Vocabularies of what had history before a moment, so that later items are unknown as they will be."""
        self.state = self._state(moment_us)

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
                self.events.profile(user, as_of_us=one.moment_us, strictly_before=True).item_ids
                for user, one in zip(users, block, strict=True)
            ]
            masks = None if self.shop.info.repeats else [self._unseen(past) for past in pasts]
            slots, scores = self.recommender.retrieve(pasts, CANDIDATES, masks)
            for user, one, past, slots_C, scores_C in zip(users, block, pasts, slots, scores, strict=True):
                known = dict(zip(slots_C.tolist(), scores_C.tolist(), strict=True))
                known |= self._placed_scores(user, one, past, known)
                slate = self._choice(user, one, known, head, negatives, rng)
                if slate is not None:
                    found.append(slate)
            progress.advance(len(block))
        return found

    def past_choices(self, until_us: int) -> list[Asked]:
        """Positives that the retriever was trained on, before a moment; those of one moment are one choice."""
        histories = self.histories
        users_N = np.repeat(np.arange(len(histories)), np.diff(histories.offsets_U))
        held_out = {
            (int(user), int(moment_us))
            for cases in (self.split.validation, self.split.test)
            for user, moment_us in zip(cases.users_U, cases.times_us_U, strict=True)
        }
        taken: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row in np.flatnonzero(histories.positive_N & (histories.timestamps_us_N < until_us)):
            taken[(int(users_N[row]), int(histories.timestamps_us_N[row]))].append(int(histories.codes_N[row]))
        return [
            Asked(user=user, moment_us=moment_us, codes=tuple(dict.fromkeys(codes)))
            for (user, moment_us), codes in taken.items()
            if (user, moment_us) not in held_out
        ]

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

    def _placed_scores(self, user: str, one: Asked, past: Sequence[str], known: dict[int, float]) -> dict[int, float]:
        slots = [self.recommender.slot(item_id) for item_id in self.placed.at(user, one.moment_us)]
        fresh = [slot for slot in slots if slot is not None and slot not in known][:CANDIDATES]
        if not fresh:
            return {}
        scores_S = self.recommender.score([self.recommender.codes(past)])[0]
        return {slot: float(scores_S[slot]) for slot in fresh}

    def _unseen(self, past: Sequence[str]) -> npt.NDArray[np.bool_]:
        mask_S = np.ones(len(self.recommender), np.bool_)
        codes = self.recommender.vocabulary.encode(list(past))
        mask_S[codes[codes != UNKNOWN]] = False
        return mask_S

    def _state(self, until_us: int) -> RankingState:
        vocabulary, histories = self.recommender.vocabulary, self.histories
        counts_I = np.bincount(histories.codes_N[histories.timestamps_us_N < until_us], minlength=len(vocabulary))
        trained = [vocabulary.ids[code] for code in np.flatnonzero(counts_I >= LEAST_EVENTS)]
        ordinal = self.shop.info.ordinal_time
        popularity = {} if ordinal else dict(PopularityHistory(histories, vocabulary).latest())
        return RankingState(
            price_edges=fit_price_edges(self.items),
            popularity=popularity,
            ordinal_time=ordinal,
            vocabularies=fit_vocabularies(self.items, trained),
        )


class _Placements:
    """Items displayed, mailed or bannered by place and week, and where each user's events took place."""

    def __init__(self, shop: Shop) -> None:
        self._items: dict[tuple[str, int], list[str]] = defaultdict(list)
        self._places: dict[tuple[str, int], str] = {}
        if not shop.has("placements") or shop.has("recommendations"):
            return
        table = shop.table("placements", ["item_id", "location", "timestamp", "kind"])
        table = table.filter(pc.and_(pc.is_valid(table["location"]), pc.not_equal(table["kind"], "coupon")))
        starts_us = table["timestamp"].cast(pa.int64()).to_pylist()
        self._shift_us = starts_us[0] % WEEK_US if starts_us else 0
        for item_id, place, start_us in zip(
            table["item_id"].to_pylist(), table["location"].to_pylist(), starts_us, strict=True
        ):
            self._items[(place, self._week(start_us))].append(item_id)
        places = {place for place, _ in self._items}
        for piece in shop.batches("events", ["user_id", "timestamp", "context"]):
            moments_us = piece["timestamp"].cast(pa.int64()).to_pylist()
            for user, moment_us, context in zip(
                piece["user_id"].to_pylist(), moments_us, piece["context"].to_pylist(), strict=True
            ):
                here = next((value for _, value in context or () if value in places), None)
                if here is not None:
                    self._places[(user, moment_us)] = here

    def at(self, user: str, moment_us: int) -> list[str]:
        """What was placed where the user's event of that moment took place."""
        place = self._places.get((user, moment_us))
        return self._items.get((place, self._week(moment_us)), []) if place is not None else []

    def _week(self, moment_us: int) -> int:
        return (moment_us - self._shift_us) // WEEK_US


def load_ranker_data(
    shop: Shop, folder: Path, *, newest: int, choices: int, negatives: int, validation_share: float,
    test_share: float, seed: int, progress: Progress = NoProgress(),
) -> RankerData:  # fmt: skip
    """Raises InputError for a shop that has neither a served log with outcomes nor positives to replay."""
    rng = np.random.default_rng(seed)
    past, slates = PastShop(shop, folder), served_slates(shop, newest=newest)
    logged = any(slate.labels_CH.any() for slate in slates)
    head = 0 if logged else PURCHASE if shop.info.positive_types == ("purchase",) else 0
    held_out = _sampled([*_asked(past.split.validation), *_asked(past.split.test)], choices, rng)
    moments_us = [slate.as_of_us for slate in slates] if logged else [one.moment_us for one in held_out]
    if not moments_us:
        raise InputError(
            Problem(table="events", problem="no served log with outcomes and no user with 3 positive events",
                    allowed="a shop with recommendations and events that name them, or with more history")
        )  # fmt: skip
    first_us, second_us = (
        int(moment) for moment in np.quantile(moments_us, [1 - validation_share - test_share, 1 - test_share])
    )
    past.learn_until(first_us)
    trained = _sampled(past.past_choices(first_us), choices, rng)
    tested = _sampled(_asked(past.split.test), choices, rng)
    progress.stage("what was chosen among retrieval's candidates", len(trained) + len(held_out) + len(tested))
    past_slates = past.choices(trained, head, negatives=negatives, rng=rng, progress=progress)
    held_slates = past.choices(held_out, head, negatives=None, rng=rng, progress=progress)
    test_slates = past.choices(tested, head, negatives=None, rng=rng, progress=progress)
    spoiled = {(past.histories.user_ids[one.user], one.moment_us) for one in _asked(past.split.test)}
    slates = [
        slate
        for slate in slates
        if slate.as_of_us >= second_us
        or not any((slate.user_id, moment_us) in spoiled for moment_us in slate.outcomes_us)
    ]
    progress.stage("ranking features", len(slates) + len(past_slates) + len(held_slates) + len(test_slates))
    shown = past.examples(slates if logged else [*past_slates, *held_slates], progress)
    chosen = past.examples(past_slates, progress)
    held = past.examples(held_slates, progress)
    by_time = dict(zip(("train", "validation", "test"), _spans(first_us, second_us), strict=True))
    data = RankerData(
        shop=shop,
        state=past.state,
        slates={name: _between(shown, span) for name, span in by_time.items()},
        choices={"train": chosen, "validation": _unspoiled(held, spoiled)},
        test_choices=past.examples(test_slates, progress),
        test_asked=len(tested),
        heads=(),
        notes=_notes(logged, slates, past_slates, len(trained), held_slates, len(held_out)),
    )
    return _with_heads(data)


def _with_heads(data: RankerData) -> RankerData:
    """Heads have positives to learn from, to calibrate on and to be judged by; what has none is said."""
    parts = [examples for examples in data.slates.values() if len(examples)]
    if len(parts) < len(data.slates) or not len(data.choices["train"]) or not len(data.choices["validation"]):
        raise InputError(
            Problem(table="events", problem="too few outcomes to learn a ranking, choose it and judge it",
                    allowed="some hundred slates or choices, spread over time")
        )  # fmt: skip
    present_H = np.all([examples.labels_NH.any(axis=0) for examples in parts], axis=0)
    heads = tuple(head for head, present in zip(HEADS, present_H, strict=True) if present)
    # Choices alone know one kind of outcome: the head of what was taken.
    if all((examples.labels_NH[:, 0] == examples.labels_NH[:, -1]).all() for examples in parts):
        heads = heads[-1:]
    absent = [head for head in HEADS if head not in heads]
    notes = (*data.notes, *([f"no head for {' and '.join(absent)}: no outcomes of their own"] if absent else []))
    return RankerData(**{**data.__dict__, "heads": heads, "notes": notes})


def _asked(cases: Cases) -> list[Asked]:
    return [
        Asked(user=int(user), moment_us=int(moment_us), codes=(int(target),))
        for user, moment_us, target in zip(cases.users_U, cases.times_us_U, cases.targets_U, strict=True)
    ]


def _sampled(asked: Sequence[Asked], most: int, rng: np.random.Generator) -> list[Asked]:
    kept = np.sort(rng.permutation(len(asked))[:most])
    return sorted((asked[place] for place in kept), key=lambda one: one.moment_us)


def _spans(first_us: int, second_us: int) -> Iterator[tuple[int, int]]:
    yield from ((0, first_us), (first_us, second_us), (second_us, 2**62))


def _between(examples: Examples, span: tuple[int, int]) -> Examples:
    return examples.take([span[0] <= slate.as_of_us < span[1] for slate in examples.slates])


def _unspoiled(held: Examples, tested: Collection[tuple[str, int]]) -> Examples:
    """The held-out choices that are no test; neither the retriever nor a network was trained on one of them."""
    return held.take([(slate.user_id, slate.as_of_us) not in tested for slate in held.slates])


def _notes(
    logged: bool, slates: Sequence[Slate], past: Sequence[Slate], asked: int, held: Sequence[Slate], held_asked: int
) -> tuple[str, ...]:
    found = f"retrieval or a placement had {len(past)} of {asked} past and {len(held)} of {held_asked} held-out choices"
    if logged:
        return (
            f"{len(slates)} slates of the served log; {found}",
            "retrieval's score is read by the order alone: the retriever has seen what was clicked in these slates",
        )
    return (
        "no served log: negatives are the products placed in that store and week and retrieval's top 100; " + found,
        "what neither retrieval nor a placement had could not have been shown and is left out",
    )
