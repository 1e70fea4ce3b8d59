"""What changes while serving, behind one interface: SQLite on one node, Redis on several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from deployments.state.events import EventRow, Outcome
from deployments.state.images import ImageEntry, Kept
from deployments.state.records import CatalogueEntry, Row, ServedRow, Upserted
from training.contracts.errors import InputError, Problem, ShopkeeperError
from training.features.profile import Profile

MAX_RECOMMENDATIONS = 500_000
"""Served answers kept by default; the oldest go first."""


class StoreUnavailable(ShopkeeperError):
    """The store did not do what was asked; nothing of it was acknowledged."""


class Store(Protocol):
    """State of one shop. Synchronous and safe to share between threads; what a writing call returns from is durable.

    Every method raises StoreUnavailable when the database cannot be reached or is full. A user id that was merged
    into another one stands for that other user everywhere.
    """

    single_node: bool
    """Whether only processes of one machine can share this store."""

    def append_events(
        self, rows: Sequence[EventRow], *, counts: Mapping[str, int] | None = None, shift_us: int = 0
    ) -> list[Outcome]:
        """One outcome per row; `counts` is added to the counters in the same commit.

        A time later than the reception of its event is moved by `shift_us`.
        """

    def profile(self, user_id: str) -> Profile:
        """The user's newest PROFILE_EVENTS interest events, by time, then arrival."""

    def purchased(self, user_id: str, *, since_us: int) -> frozenset[str]:
        """Items the user purchased at `since_us` or later."""

    def seen(self, user_id: str) -> frozenset[str]:
        """Every item of any event of the user."""

    def upsert_items(self, items: Sequence[Mapping[str, Any]]) -> list[Upserted]:
        """Merge partial rows of the items table; an `updated_at` older than the one held is STALE and ignored."""

    def item(self, item_id: str) -> Row | None:
        """The row without its null columns; None for an unknown or deleted item."""

    def delete_item(self, item_id: str) -> bool:
        """Whether there was such an item; the pictures that came for it go with it."""

    def put_images(self, item_id: str, images: Mapping[str, bytes]) -> list[Kept] | None:
        """One outcome per picture by image id; None for an unknown item, and nothing is kept."""

    def images_since(self, seq: int, *, limit: int = 16) -> list[ImageEntry]:
        """Pictures in the catalogue's log after `seq`, oldest first; they take their numbers from the same sequence."""

    def catalogue_seq(self) -> int:
        """The sequence number of the newest change to the catalogue."""

    def catalogue_since(self, seq: int, *, limit: int = 1_000) -> list[CatalogueEntry]:
        """Changes after `seq`, oldest first. Of several changes to an item only the newest is listed."""

    def raise_catalogue_seq(self, seq: int) -> None:
        """Number further changes above `seq`: another catalogue log was cut there."""

    def upsert_users(self, users: Sequence[Mapping[str, Any]]) -> None:
        """Merge partial rows of the users table."""

    def user(self, user_id: str) -> Row | None:
        """The row without its null columns."""

    def merge_users(self, user_id: str, anonymous_id: str, *, now_us: int) -> None:
        """Join the history of `anonymous_id`, past and future, to `user_id`; doing it again changes nothing.

        The events moved count as received at `now_us`: before, nobody knew whose they were.
        """

    def append_sales(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of the sales table by series_id and timestamp (datetime); the last one written wins."""

    def log_recommendations(self, rows: Sequence[ServedRow]) -> None:
        """Keep served answers, all in one commit."""

    def recommendation(self, recommendation_id: str) -> ServedRow | None:
        """A served answer, while it is among the newest ones kept."""

    def counters(self) -> dict[str, int]:
        """What append_events counted, by name."""

    def meta(self, name: str) -> str | None:
        """A note about the shop: its shop.yaml, import and clock."""

    def set_meta(self, notes: Mapping[str, str]) -> None:
        """Write notes, all or none."""

    def events(self) -> Iterator[list[EventRow]]:
        """The event log in pieces; each user's events in order of arrival."""

    def users(self) -> Iterator[list[Row]]:
        """The users table in pieces."""

    def sales(self) -> Iterator[list[Row]]:
        """The sales table in pieces."""

    def sales_of(self, series_ids: Sequence[str], *, since_us: int) -> dict[str, list[Row]]:
        """By series, its rows of the sales table from that moment on, oldest first; series without any are left out."""

    def recommendations(self) -> Iterator[list[ServedRow]]:
        """The served log in pieces, oldest first."""

    def stats(self) -> dict[str, int]:
        """Rows by table, `catalogue_seq`, and `bytes` on disk or in Redis's memory."""

    def close(self) -> None:
        """Release every connection."""


def refuse_newer_schema(*, found: int, known: int, place: str) -> None:
    """Raise InputError where the state was written by a later version of this program."""
    if found > known:
        raise InputError(
            Problem(
                problem="the state was written by a newer version of shopkeeper: upgrade, or use another home",
                file=place,
                field="schema version",
                found=str(found),
                allowed=f"up to {known}",
            )
        )


def refuse_other_shop(*, found: str, wanted: str, place: str) -> None:
    """Raise InputError where the state belongs to another shop."""
    if found != wanted:
        raise InputError(
            Problem(problem="holds the state of another shop", file=place, field="shop_id", found=found, allowed=wanted)
        )


def merged_alias(aliases: Mapping[str, str], user_id: str, anonymous_id: str) -> str | None:
    """The user that `anonymous_id` shall stand for; None where it is that user already.

    Raises InputError where both ids are the same.
    """
    if user_id == anonymous_id:
        raise InputError(Problem(problem="a user cannot be merged with itself", field="anonymous_id", found=user_id))
    target = aliases.get(user_id, user_id)
    return None if anonymous_id == target or aliases.get(anonymous_id) == target else target
