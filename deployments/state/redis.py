"""State in Redis: several nodes share it; durable because the server is checked for it at the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import redis

from deployments.state.clock import DAY_US, to_us
from deployments.state.events import (
    DEDUPLICATION_WINDOW_US,
    EventRow,
    Outcome,
    StampedEvent,
    decode_event,
    decode_interest,
    encode_event,
    encode_interest,
    stamp,
)
from deployments.state.images import MAX_TOTAL_BYTES, ImageEntry, Kept
from deployments.state.records import (
    CatalogueEntry,
    Row,
    ServedRow,
    Upserted,
    decode_row,
    decode_served,
    encode_row,
    encode_served,
    merge,
    merge_items,
)
from deployments.state.redis_images import count_images, drop_images, images_since, read_dropped, write_images
from deployments.state.redis_schema import migrate
from deployments.state.redis_scripts import (
    APPEND_EVENTS,
    ARRIVAL_DIGITS,
    CATALOGUE_SINCE,
    LOG_RECOMMENDATIONS,
    PROFILE,
    PURCHASED,
    RAISE_CATALOGUE_SEQ,
    SEEN,
)
from deployments.state.redis_server import check_server, place_of
from deployments.state.store import MAX_RECOMMENDATIONS, StoreUnavailable, merged_alias
from training.features.profile import PROFILE_EVENTS, Profile, make_profile

TIMEOUT_S = 10.0
PIECE_ROWS = 1_000
_OUTCOMES = {"a": Outcome.ACCEPTED, "d": Outcome.DUPLICATE, "c": Outcome.CONFLICT}
_FORGET_S = (DEDUPLICATION_WINDOW_US + DAY_US) // 1_000_000

P = ParamSpec("P")
R = TypeVar("R")


def _available(method: Callable[P, R]) -> Callable[P, R]:
    """Redis's own failures become StoreUnavailable."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except redis.RedisError as error:
            raise StoreUnavailable(f"redis: {error}") from error

    return call


class RedisStore:
    """A Store over the keys `shopkeeper:{shop_id}:*` of one Redis server."""

    single_node = False

    @_available
    def __init__(
        self,
        url: str,
        shop_id: str,
        *,
        max_recommendations: int = MAX_RECOMMENDATIONS,
        max_image_bytes: int = MAX_TOTAL_BYTES,
    ) -> None:
        self._prefix = f"shopkeeper:{{{shop_id}}}:"
        self._max_recommendations, self._max_image_bytes = max_recommendations, max_image_bytes
        self._redis: Any = redis.Redis.from_url(
            url, decode_responses=True, protocol=2, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
        check_server(self._redis, place=place_of(url))
        migrate(self._redis, self._prefix, place=place_of(url))
        scripts = (APPEND_EVENTS, PROFILE, PURCHASED, SEEN, CATALOGUE_SINCE, RAISE_CATALOGUE_SEQ, LOG_RECOMMENDATIONS)
        self._scripts = {script: self._redis.register_script(script) for script in scripts}

    @_available
    def append_events(
        self, rows: Sequence[EventRow], *, counts: Mapping[str, int] | None = None, shift_us: int = 0
    ) -> list[Outcome]:
        events = [stamp(row, shift_us=shift_us) for row in rows]
        settings = [DEDUPLICATION_WINDOW_US, PROFILE_EVENTS, _FORGET_S]
        with self._redis.pipeline(transaction=True) as pipe:
            for name, number in (counts or {}).items():
                pipe.hincrby(self._key("counters"), name, number)
            for start in range(0, len(events), PIECE_ROWS):
                piece = [value for event in events[start : start + PIECE_ROWS] for value in _event_values(event)]
                self._script(APPEND_EVENTS, *settings, *piece, client=pipe)
            letters = "".join(answer for answer in pipe.execute() if isinstance(answer, str))
        return [_OUTCOMES[letter] for letter in letters]

    @_available
    def profile(self, user_id: str) -> Profile:
        found = self._script(PROFILE, user_id)
        pairs = zip(found[::2], found[1::2], strict=True)
        return make_profile(user_id, [_interest(body, int(score)) for body, score in pairs])

    @_available
    def purchased(self, user_id: str, *, since_us: int) -> frozenset[str]:
        return frozenset(self._script(PURCHASED, user_id, since_us))

    @_available
    def seen(self, user_id: str) -> frozenset[str]:
        return frozenset(self._script(SEEN, user_id))

    @_available
    def upsert_items(self, items: Sequence[Mapping[str, Any]]) -> list[Upserted]:
        outcomes: list[Upserted] = []

        def write(pipe: Any) -> None:
            seq = int(pipe.get(self._key("catalogue_seq")) or 0)
            ids = list(dict.fromkeys(patch["item_id"] for patch in items))
            bodies = zip(ids, pipe.hmget(self._key("items"), ids) if ids else (), strict=True)
            held = {item_id: decode_row(body) for item_id, body in bodies if body is not None}
            answered, changed = merge_items(held, items)
            outcomes[:] = answered
            pipe.multi()
            self._write_items(pipe, {item_id: encode_row(item) for item_id, item in changed.items()}, seq)

        self._redis.transaction(write, self._key("catalogue_seq"))
        return outcomes

    @_available
    def item(self, item_id: str) -> Row | None:
        body = self._redis.hget(self._key("items"), item_id)
        return None if body is None else decode_row(body)

    @_available
    def delete_item(self, item_id: str) -> bool:
        def write(pipe: Any) -> bool:
            seq = int(pipe.get(self._key("catalogue_seq")) or 0)
            known = bool(pipe.hexists(self._key("items"), item_id))
            dropped = read_dropped(pipe, self._prefix, item_id)
            pipe.multi()
            if known:
                seq = drop_images(pipe, self._prefix, item_id, dropped, seq)
                self._write_items(pipe, {item_id: None}, seq)
            return known

        return bool(self._redis.transaction(write, self._key("catalogue_seq"), value_from_callable=True))

    @_available
    def put_images(self, item_id: str, images: Mapping[str, bytes]) -> list[Kept] | None:
        def write(pipe: Any) -> list[Kept] | None:
            seq = int(pipe.get(self._key("catalogue_seq")) or 0)
            if not pipe.hexists(self._key("items"), item_id):
                pipe.multi()
                return None
            outcomes, last = write_images(pipe, self._prefix, item_id, images, seq, self._max_image_bytes)
            pipe.set(self._key("catalogue_seq"), last)
            return outcomes

        found: list[Kept] | None = self._redis.transaction(
            write, self._key("catalogue_seq"), self._key("items"), value_from_callable=True
        )
        return found

    @_available
    def images_since(self, seq: int, *, limit: int = 16) -> list[ImageEntry]:
        return images_since(self._redis, self._prefix, seq, limit)

    @_available
    def catalogue_seq(self) -> int:
        return int(self._redis.get(self._key("catalogue_seq")) or 0)

    @_available
    def catalogue_since(self, seq: int, *, limit: int = 1_000) -> list[CatalogueEntry]:
        found = self._script(CATALOGUE_SINCE, seq, limit)
        return [
            CatalogueEntry(int(at), item_id, None if body is None else decode_row(body)) for at, item_id, body in found
        ]

    @_available
    def raise_catalogue_seq(self, seq: int) -> None:
        self._script(RAISE_CATALOGUE_SEQ, seq)

    @_available
    def upsert_users(self, users: Sequence[Mapping[str, Any]]) -> None:
        def write(pipe: Any) -> None:
            ids = [patch["user_id"] for patch in users]
            targets = [
                alias or user_id for user_id, alias in zip(ids, pipe.hmget(self._key("aliases"), ids), strict=True)
            ]
            bodies = pipe.hmget(self._key("users"), targets)
            held = {user_id: decode_row(body) for user_id, body in zip(targets, bodies, strict=True) if body}
            for user_id, patch in zip(targets, users, strict=True):
                held[user_id] = merge(held.get(user_id, {}), {**patch, "user_id": user_id})
            pipe.multi()
            pipe.hset(self._key("users"), mapping={user_id: encode_row(user) for user_id, user in held.items()})

        if users:
            self._redis.transaction(write, self._key("users"), self._key("aliases"))

    @_available
    def user(self, user_id: str) -> Row | None:
        target = self._redis.hget(self._key("aliases"), user_id) or user_id
        body = self._redis.hget(self._key("users"), target)
        return None if body is None else decode_row(body)

    @_available
    def merge_users(self, user_id: str, anonymous_id: str, *, now_us: int) -> None:
        def write(pipe: Any) -> None:
            names = (user_id, anonymous_id)
            aliases = {
                name: held for name, held in zip(names, pipe.hmget(self._key("aliases"), names), strict=True) if held
            }
            target = merged_alias(aliases, user_id, anonymous_id)
            if target is None:
                pipe.multi()
                return
            users = pipe.hmget(self._key("users"), [anonymous_id, target])
            events = pipe.zrange(self._key("events", anonymous_id), 0, -1, withscores=True)
            ids = pipe.hgetall(self._key("ids", anonymous_id))
            followers = pipe.smembers(self._key("aliases_of", anonymous_id))
            pipe.multi()
            for follower in (anonymous_id, *followers):
                pipe.hset(self._key("aliases"), follower, target)
                pipe.sadd(self._key("aliases_of", target), follower)
            self._move_history(pipe, anonymous_id, target, events, ids, now_us)
            if users[0]:
                known = {**(decode_row(users[1]) if users[1] else {}), "user_id": target}
                pipe.hset(self._key("users"), target, encode_row(merge(decode_row(users[0]), known)))
                pipe.hdel(self._key("users"), anonymous_id)

        watched = (self._key("aliases"), self._key("users"), self._key("events", anonymous_id))
        self._redis.transaction(write, *watched)

    @_available
    def append_sales(self, rows: Sequence[Mapping[str, Any]]) -> None:
        series: dict[str, dict[str, str]] = {}
        for row in rows:
            series.setdefault(row["series_id"], {})[str(to_us(row["timestamp"]))] = encode_row(row)
        with self._redis.pipeline(transaction=True) as pipe:
            for series_id, periods in series.items():
                pipe.sadd(self._key("sales_series"), series_id)
                pipe.hset(self._key("sales", series_id), mapping=periods)
            pipe.execute()

    @_available
    def log_recommendations(self, rows: Sequence[ServedRow]) -> None:
        for start in range(0, len(rows), PIECE_ROWS):
            piece = rows[start : start + PIECE_ROWS]
            pairs = [part for row in piece for part in (row.recommendation_id, encode_served(row))]
            self._script(LOG_RECOMMENDATIONS, self._max_recommendations, *pairs)

    @_available
    def recommendation(self, recommendation_id: str) -> ServedRow | None:
        body = self._redis.hget(self._key("recommendations"), recommendation_id)
        return None if body is None else decode_served(body)

    @_available
    def counters(self) -> dict[str, int]:
        return {name: int(number) for name, number in self._redis.hgetall(self._key("counters")).items()}

    @_available
    def meta(self, name: str) -> str | None:
        found = self._redis.hget(self._key("meta"), name)
        return None if found is None else str(found)

    @_available
    def set_meta(self, notes: Mapping[str, str]) -> None:
        self._redis.hset(self._key("meta"), mapping=dict(notes))

    def events(self) -> Iterator[list[EventRow]]:
        for user_ids in _pages(self._members("event_users")):
            histories = self._each("zrange", [self._key("events", user_id) for user_id in user_ids], 0, -1)
            pairs = zip(user_ids, histories, strict=True)
            arrived = sorted((body, user_id) for user_id, history in pairs for body in history)
            yield [decode_event(body[ARRIVAL_DIGITS:])._replace(user_id=user_id) for body, user_id in arrived]

    def users(self) -> Iterator[list[Row]]:
        for user_ids in _pages(sorted(self._call("hkeys", self._key("users")))):
            bodies = self._call("hmget", self._key("users"), user_ids)
            yield [decode_row(body) for body in bodies if body is not None]

    def sales(self) -> Iterator[list[Row]]:
        for series_ids in _pages(self._members("sales_series")):
            tables = self._each("hgetall", [self._key("sales", series_id) for series_id in series_ids])
            yield [
                decode_row(body) for table in tables for _, body in sorted(table.items(), key=lambda row: int(row[0]))
            ]

    @_available
    def sales_of(self, series_ids: Sequence[str], *, since_us: int) -> dict[str, list[Row]]:
        tables = self._each("hgetall", [self._key("sales", series_id) for series_id in series_ids])
        found = {}
        for series_id, table in zip(series_ids, tables, strict=True):
            later = sorted(
                (int(timestamp_us), body) for timestamp_us, body in table.items() if int(timestamp_us) >= since_us
            )
            if later:
                found[series_id] = [decode_row(body) for _, body in later]
        return found

    def recommendations(self) -> Iterator[list[ServedRow]]:
        for ids in _pages(self._call("zrange", self._key("recommendation_order"), 0, -1)):
            bodies = self._call("hmget", self._key("recommendations"), ids)
            yield [decode_served(body) for body in bodies if body is not None]

    @_available
    def stats(self) -> dict[str, int]:
        series = [self._key("sales", series_id) for series_id in self._members("sales_series")]
        return {
            "items": self._redis.hlen(self._key("items")),
            "events": self.counters().get("events", 0),
            "users": self._redis.hlen(self._key("users")),
            "sales": sum(self._each("hlen", series)),
            "recommendations": self._redis.hlen(self._key("recommendations")),
            "images": count_images(self._redis, self._prefix),
            "catalogue_seq": self.catalogue_seq(),
            "bytes": int(self._redis.info("memory")["used_memory"]),
        }

    def close(self) -> None:
        self._redis.close()

    def _key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)

    def _script(self, script: str, *args: Any, client: Any = None) -> Any:
        return self._scripts[script](keys=[self._prefix], args=args, client=client)

    @_available
    def _call(self, command: str, *args: Any) -> Any:
        return getattr(self._redis, command)(*args)

    def _members(self, name: str) -> list[str]:
        return sorted(self._call("smembers", self._key(name)))

    @_available
    def _each(self, command: str, keys: Sequence[str], *args: Any) -> list[Any]:
        """The same command on many keys in one round trip."""
        with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                getattr(pipe, command)(key, *args)
            return list(pipe.execute())

    def _write_items(self, pipe: Any, bodies: Mapping[str, str | None], seq: int) -> None:
        """Log a new state of each item after `seq`, a body of None deletes."""
        live = {item_id: body for item_id, body in bodies.items() if body is not None}
        if bodies:
            pipe.zadd(self._key("catalogue"), {item_id: seq + step for step, item_id in enumerate(bodies, start=1)})
            pipe.set(self._key("catalogue_seq"), seq + len(bodies))
        if live:
            pipe.hset(self._key("items"), mapping=live)
        if len(live) < len(bodies):
            pipe.hdel(self._key("items"), *(bodies.keys() - live.keys()))

    def _move_history(
        self,
        pipe: Any,
        source: str,
        target: str,
        events: Sequence[tuple[str, float]],
        ids: Mapping[str, str],
        now_us: int,
    ) -> None:
        if events:
            moved = {_moved(body, target, now_us): score for body, score in events}
            pipe.sadd(self._key("event_users"), target)
            pipe.zadd(self._key("events", target), moved)
        for event_id, said in ids.items():
            pipe.hsetnx(self._key("ids", target), event_id, said)
        pipe.expire(self._key("ids", target), _FORGET_S)
        for name in ("profile", "bought"):
            pipe.zunionstore(
                self._key(name, target), [self._key(name, target), self._key(name, source)], aggregate="MAX"
            )
        pipe.zremrangebyrank(self._key("profile", target), 0, -PROFILE_EVENTS - 1)
        pipe.sunionstore(self._key("seen", target), self._key("seen", target), self._key("seen", source))
        pipe.srem(self._key("event_users"), source)
        pipe.delete(*(self._key(name, source) for name in ("events", "ids", "profile", "bought", "seen", "aliases_of")))


def _event_values(event: StampedEvent) -> tuple[Any, ...]:
    row = event.row
    interest = encode_interest(row) if row.interest else ""
    who = (row.user_id, event.event_id, event.fingerprint, row.known_us, event.timestamp_us)
    return (*who, row.item_id or "", row.type, interest, encode_event(row))


def _interest(member: str, timestamp_us: int) -> tuple[str, str, int, float]:
    """A member of a profile's sorted set, as make_profile takes it."""
    item_id, kind, dwell_s = decode_interest(member[ARRIVAL_DIGITS:])
    return item_id, kind, timestamp_us, dwell_s


def _moved(body: str, user_id: str, now_us: int) -> str:
    """An event's member of its sorted set, as it stands once it belongs to `user_id`."""
    event = decode_event(body[ARRIVAL_DIGITS:])
    known_us = max(event.known_us, now_us)
    return body[:ARRIVAL_DIGITS] + encode_event(event._replace(user_id=user_id, received_at_us=known_us))


def _pages(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), PIECE_ROWS):
        yield ids[start : start + PIECE_ROWS]
