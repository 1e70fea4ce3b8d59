"""How a slate comes about: user, candidates, ranking, policies, the authoritative checks, the answer and its log."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from deployments.best_sellers import BestSellers
from deployments.companions import LOGISTIC, RANKER
from deployments.config import RequestConfig
from deployments.messages import Candidates, Missing, Mode, Ranked, RankingQuery, RetrievalQuery
from deployments.middleware.limits import MAX_TIMEOUT_MS, Deadline
from deployments.middleware.problems import field_problem
from deployments.policies.cursor import MAX_ITEMS, Cursor, decode_cursor, encode_cursor, item_hash
from deployments.policies.reasons import named, reasons
from deployments.policies.slate import Array, Pick, best_first, diversify, explore
from deployments.popular import Popular
from deployments.releases import Loaded
from deployments.selection import Selection
from deployments.stages import StageClient, StageStatus, answered
from deployments.state.clock import DAY_US
from deployments.state.records import ServedRow, SlateEntry
from training.contracts.errors import shorten
from training.features.profile import Profile
from training.features.ranking import NO_FACTS, RequestFacts
from training.features.ranking_log import CANDIDATE_LOG_NAMES, CONTEXT_LOG_NAMES, candidate_log, context_log

if TYPE_CHECKING:
    from deployments.api.recommendations import RankingsIn, RecommendationsIn, SimilarIn
    from deployments.gateway import Gateway

DEVICE = "device"
"""What a request's context calls the device."""
CONTEXT_WEIGHT = 0.5
"""How much of a score hangs on the likeness to the context, where there is one."""
ANYONE = "anonymous"
"""The user of an answer that was asked for without one, in the served log."""


@dataclass
class Known:
    """What the store says of the user, read once per request."""

    profile: Profile
    purchased: Collection[str] = ()
    seen: Collection[str] = ()


@dataclass
class Need:
    """What one answer needs, whichever route asked."""

    user_id: str
    mode: Mode
    selection: Selection
    deadline: Deadline
    count: int
    purchased_days: int = 0
    leave_out_seen: bool = False
    context: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    request: RequestFacts = field(default_factory=RequestFacts)
    cursor: Cursor = field(default_factory=lambda: Cursor(()))
    ranked: bool = True
    known: Known = field(default_factory=lambda: Known(Profile("")))
    as_of_us: int = 0
    degraded: list[str] = field(default_factory=list)


@dataclass
class Scored:
    """Candidates with their final scores [C], from one release."""

    release: Loaded[Popular]
    candidates: Candidates
    scores_C: Array
    ranked: Ranked | None
    retrieved: bool


@dataclass(frozen=True)
class StorePort:
    """Reads of the store, asked for like a stage."""

    gateway: Gateway

    async def answer(self, query: Callable[[], Known]) -> Known:
        return await self.gateway.in_store(query)

    async def status(self) -> StageStatus:
        await self.gateway.in_store(self.gateway.store.catalogue_seq)
        return StageStatus(up=True)


class SlateMaker:
    """Turns requests into answers, with whatever stages are up."""

    def __init__(self, gateway: Gateway, *, config: RequestConfig, stages: dict[str, StageClient]) -> None:
        self.gateway, self.config = gateway, config
        # A store that hangs is given up like a stage, and one that is slow is waited for to the end of its share.
        patient = config.breaker.model_copy(update={"patience_floor_s": MAX_TIMEOUT_MS / 1000})
        self.profiles = StageClient("profile", StorePort(gateway), config=patient, telemetry=gateway.telemetry)
        self.retrieval, self.ranking = stages["retrieval"], stages["ranking"]
        self.live = gateway.live
        self.best_sellers = BestSellers()
        self.facts = gateway.live.facts

    async def recommend(self, ask: RecommendationsIn, deadline: Deadline) -> dict[str, Any]:
        """The answer of POST /v1/recommendations."""
        started_s = time.perf_counter()
        self.gateway.serving()
        cursor = _cursor(ask.cursor, ask.user_id)
        context, unknown = self._context(ask.item_ids)
        if ask.scenario == "home":
            context = ()
        need = Need(
            user_id=ask.user_id,
            mode="history",
            selection=await self.gateway.select(ask.filter),
            deadline=deadline,
            count=max(self.config.candidates, 2 * ask.limit),
            purchased_days=ask.exclude.purchased_days,
            leave_out_seen=not self.gateway.repeats if ask.exclude.seen is None else ask.exclude.seen,
            context=context,
            request=self._request(ask.context, ask.scenario),
            cursor=cursor,
        )
        need.selection.exclude([*ask.exclude.item_ids, *context])
        need.selection.hashes = frozenset(cursor.shown)
        scored = await self._scored(need)
        order = self._allowed(scored, need)
        if ask.diversity:
            facts = [self.facts.get(item_id, NO_FACTS) for item_id in scored.candidates.item_ids]
            order = diversify(order, scored.scores_C, facts, weight=ask.diversity, count=ask.limit)
        picks = explore(order, rate=ask.exploration, count=ask.limit, seed=ask.seed)
        answer = self._answer(need, scored, picks, started_s, explain=ask.explain)
        if ask.item_ids:
            answer["unknown_items"] = unknown
        if len(order) > len(picks) and cursor.offset + len(picks) < MAX_ITEMS:
            shown = (item_hash(scored.candidates.item_ids[pick.candidate]) for pick in picks)
            answer["cursor"] = encode_cursor([*cursor.shown, *shown], user_id=ask.user_id)
        return answer

    async def similar(self, ask: SimilarIn, deadline: Deadline) -> dict[str, Any]:
        """The answer of POST /v1/similar-items; 404 for an item the catalogue lacks."""
        started_s = time.perf_counter()
        self.gateway.serving()
        self.gateway.require_item(ask.item_id)
        need = Need(
            user_id=ask.user_id or ANYONE,
            mode="similar",
            selection=await self.gateway.select(ask.filter),
            deadline=deadline,
            count=ask.limit + 20,
            context=(ask.item_id,),
            ranked=False,
        )
        need.selection.exclude([ask.item_id])
        scored = await self._scored(need)
        picks = [Pick(index, 1.0) for index in self._allowed(scored, need)[: ask.limit]]
        return self._answer(need, scored, picks, started_s)

    async def rank(self, ask: RankingsIn, deadline: Deadline) -> dict[str, Any]:
        """The answer of POST /v1/rankings: all given items, whatever their stock; 422 for one the catalogue lacks."""
        started_s = time.perf_counter()
        self.gateway.serving()
        for place, item_id in enumerate(ask.item_ids):
            if item_id not in self.live.view:
                raise field_problem(f"item_ids.{place}", f"no such item: {shorten(item_id)}", found=item_id)
        given = tuple(dict.fromkeys(ask.item_ids))
        need = Need(
            user_id=ask.user_id,
            mode="given",
            selection=await self.gateway.select(None),
            deadline=deadline,
            count=len(given),
            given=given,
            request=self._request(ask.context),
        )
        scored = await self._scored(need)
        picks = [Pick(index, 1.0) for index in self._allowed(scored, need)]
        return self._answer(need, scored, picks, started_s)

    def _request(self, context: Mapping[str, str] | None, scenario: str = "") -> RequestFacts:
        return RequestFacts(scenario, (context or {}).get(DEVICE, ""), self.gateway.zone)

    def _context(self, item_ids: Iterable[str]) -> tuple[tuple[str, ...], int]:
        """The context items that the catalogue has, and how many it has not."""
        asked = list(dict.fromkeys(item_ids))
        known = tuple(item_id for item_id in asked if item_id in self.live.view)
        unknown = len(asked) - len(known)
        if unknown:
            self.gateway.telemetry.count("unknown_items", unknown, route="/v1/recommendations")
        return known, unknown

    async def _scored(self, need: Need) -> Scored:
        """Candidates and scores of one release: the current one, or the previous where a replica lacks the current."""
        await self._learn(need)
        for release, ranker in self._attempts():
            need.degraded = [name for name in need.degraded if name == "profile"]
            candidates = await self._candidates(release, need)
            if isinstance(candidates, Missing):
                continue
            if candidates is None:
                return await self._popular(release, need)
            ranked = await self._ranked(ranker, candidates, need)
            if not isinstance(ranked, Missing):
                return Scored(release, candidates, _scores(candidates, ranked), ranked, retrieved=True)
        return await self._popular(self.gateway.serving(), need)

    def _attempts(self) -> Iterator[tuple[Loaded[Popular], str]]:
        """Releases with the version of the ranker to ask for: theirs, and as the last way out the recommender's own."""
        releases = self.gateway.releases()
        yield from ((release, release.versions.get(RANKER, release.version)) for release in releases)
        yield from ((release, release.version) for release in releases if RANKER in release.versions)

    async def _learn(self, need: Need) -> None:
        """Profile, purchases and seen items in one visit to the store; without them the answer is impersonal."""
        gateway = self.gateway
        since_us = gateway.clock.now_us() - need.purchased_days * DAY_US

        def read() -> Known:
            store = gateway.store
            return Known(
                store.profile(need.user_id),
                store.purchased(need.user_id, since_us=since_us) if need.purchased_days else (),
                store.seen(need.user_id) if need.leave_out_seen else (),
            )

        timeout_s = need.deadline.share_s(self.config.stages.profile_share)
        known: Known | None = await self.profiles.ask(read, timeout_s=timeout_s)
        need.known = known or Known(Profile(need.user_id))
        if known is None:
            need.degraded.append("profile")
        need.as_of_us = max(gateway.clock.now_us(), need.known.profile.newest_us or 0)
        need.selection.exclude(need.known.purchased)
        need.selection.exclude(need.known.seen)

    async def _candidates(self, release: Loaded[Popular], need: Need) -> Candidates | Missing | None:
        query = RetrievalQuery(
            version=release.version,
            mode=need.mode,
            history=need.known.profile.item_ids,
            history_us=need.known.profile.timestamps_us,
            context=need.context,
            given=need.given,
            excluded=tuple(need.selection.excluded),
            excluded_hashes=need.selection.hashes,
            filter=need.selection.filter.text if need.selection.filter else None,
            most=need.count,
            as_of_us=need.as_of_us,
        )
        timeout_s = need.deadline.share_s(self.config.stages.retrieval_share)
        found: Candidates | Missing | None = await self.retrieval.ask(query, timeout_s=timeout_s)
        return found

    async def _ranked(self, version: str, candidates: Candidates, need: Need) -> Ranked | Missing | None:
        if not need.ranked or not candidates.item_ids:
            return None
        query = RankingQuery(
            version, need.known.profile, candidates.item_ids, candidates.scores_C, need.as_of_us, need.request
        )
        timeout_s = need.deadline.share_s(self.config.stages.ranking_share)
        ranked: Ranked | Missing | None = await self.ranking.ask(query, timeout_s=timeout_s)
        if not answered(ranked) and ranked is None:
            need.degraded.append("ranking")
        return ranked

    async def _popular(self, release: Loaded[Popular], need: Need) -> Scored:
        """Retrieval is out: what sells best of what may be shown, then the rest of the catalogue."""
        need.degraded.append("retrieval")
        popularity = release.model.popularity
        if need.mode == "given":
            item_ids = sorted(need.given, key=lambda item_id: (-popularity.get(item_id, 0.0), item_id))
        else:
            item_ids = await asyncio.to_thread(self.best_sellers.allowed, release.model, need.selection, need.count)
        scores_C = np.array([popularity.get(item_id, 0.0) for item_id in item_ids], np.float32)
        candidates = Candidates(release.version, item_ids, scores_C)
        return Scored(release, candidates, scores_C.astype(np.float64), None, retrieved=False)

    def _allowed(self, scored: Scored, need: Need) -> list[int]:
        """The last word, by this process's own catalogue: in stock, within the filter, not excluded; best first."""
        item_ids = scored.candidates.item_ids
        order = best_first(scored.scores_C, scored.candidates.scores_C.tolist(), item_ids)
        if need.mode == "given":
            return order
        allowed = need.selection.allowed(item_ids)
        return [index for index in order if allowed[index]]

    def _answer(
        self, need: Need, scored: Scored, picks: Sequence[Pick], started_s: float, *, explain: bool = False
    ) -> dict[str, Any]:
        recommendation_id = uuid.uuid4().hex
        self._log(recommendation_id, need, scored, picks)
        for name in need.degraded:
            self.gateway.telemetry.count("degraded", stage=name)
        return {
            "recommendation_id": recommendation_id,
            "items": [
                {
                    "item_id": scored.candidates.item_ids[pick.candidate],
                    "rank": need.cursor.offset + place,
                    "score": float(scored.scores_C[pick.candidate]),
                    "probabilities": _probabilities(scored, pick.candidate),
                    "reasons": self._reasons(scored, pick.candidate) if explain else [],
                    "propensity": pick.propensity,
                }
                for place, pick in enumerate(picks, 1)
            ],
            "models": _models(scored),
            "release": scored.release.release,
            "degraded": need.degraded,
            "freshness_ms": round(self._freshness_ms(scored), 1),
            "took_ms": round((time.perf_counter() - started_s) * 1000, 2),
        }

    def _freshness_ms(self, scored: Scored) -> float:
        ages_ms = [self.live.age_ms(), scored.candidates.view_age_ms]
        return max([*ages_ms, scored.ranked.view_age_ms] if scored.ranked else ages_ms)

    def _reasons(self, scored: Scored, index: int) -> list[dict[str, str]]:
        item_id = scored.candidates.item_ids[index]
        affinity_C = scored.candidates.affinity_C
        return reasons(
            named(scored.ranked.inputs.features_CF[index].tolist() if scored.ranked else None),
            self.facts.get(item_id, NO_FACTS),
            popular_at=scored.release.model.top_tenth,
            affinity=None if affinity_C is None else float(affinity_C[index]),
        )

    def _log(self, recommendation_id: str, need: Need, scored: Scored, picks: Sequence[Pick]) -> None:
        ids, indices = scored.candidates.item_ids, [pick.candidate for pick in picks]
        inputs = scored.ranked.inputs if scored.ranked else None
        self.gateway.log.put(
            ServedRow(
                recommendation_id=recommendation_id,
                user_id=need.user_id,
                as_of_us=need.as_of_us,
                slate=tuple(
                    SlateEntry(ids[pick.candidate], position, float(scored.scores_C[pick.candidate]), pick.propensity)
                    for position, pick in enumerate(picks, need.cursor.offset)
                ),
                features=candidate_log(inputs, indices) if inputs else None,
                feature_names=CANDIDATE_LOG_NAMES if inputs else (),
                release=scored.release.release,
                context=context_log(inputs) if inputs else None,
                context_names=CONTEXT_LOG_NAMES if inputs else (),
            )
        )


def _scores(candidates: Candidates, ranked: Ranked | None) -> Array:
    """The ranker's, or the retrieval score where nothing was ranked, weighed by likeness to the context."""
    if ranked is None:
        return candidates.scores_C.astype(np.float64)
    if candidates.affinity_C is None:
        return ranked.scores_C
    return ranked.scores_C * (1 - CONTEXT_WEIGHT + CONTEXT_WEIGHT * candidates.affinity_C)


def _probabilities(scored: Scored, index: int) -> dict[str, float]:
    """P(action) by the heads of a trained ranker."""
    ranked = scored.ranked
    return dict(zip(ranked.heads, ranked.probabilities_CH[index].tolist(), strict=True)) if ranked else {}


def _models(scored: Scored) -> list[dict[str, str]]:
    """What made the answer."""
    release, models = scored.release, []
    if scored.retrieved:
        models.append({"role": "retriever", "name": release.manifest.model, "version": release.version})
    if scored.ranked:
        version = scored.ranked.version
        name = LOGISTIC if version == release.version else release.companions.used[RANKER].model
        models.append({"role": "ranker", "name": name, "version": version})
    return models


def _cursor(text: str | None, user_id: str) -> Cursor:
    if text is None:
        return Cursor(())
    try:
        return decode_cursor(text, user_id=user_id)
    except ValueError as error:
        raise field_problem("cursor", str(error), found=text) from None
