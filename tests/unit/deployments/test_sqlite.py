"""The state file: whose it is, which schema it has, what is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from deployments.state.events import EventRow
from deployments.state.importing import import_shop
from deployments.state.open import open_store, refuse_shared_file
from deployments.state.sqlite import SqliteStore
from deployments.state.sqlite_schema import MIGRATIONS, migrate
from deployments.state.store import StoreUnavailable
from training.contracts.errors import InputError
from training.contracts.shop import Shop, ShopInfo, new_shop
from training.features.profile import Profile


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)) as connection:
        yield connection


def test_a_file_goes_through_the_steps_it_lacks(database: sqlite3.Connection) -> None:
    first, second = ("CREATE TABLE a (x)",), ("ALTER TABLE a ADD COLUMN y", "CREATE TABLE b (x)")
    migrate(database, place="here", migrations=(first,))
    database.execute("INSERT INTO a VALUES (1)")
    for _ in range(2):
        migrate(database, place="here", migrations=(first, second))
    assert database.execute("SELECT x, y FROM a").fetchall() == [(1, None)]
    assert database.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_step_that_fails_leaves_the_file_as_it_was(database: sqlite3.Connection) -> None:
    broken = ("CREATE TABLE a (x)", "CREATE TABLE a (x)")
    with pytest.raises(sqlite3.OperationalError):
        migrate(database, place="here", migrations=(broken,))
    assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    assert database.execute("PRAGMA user_version").fetchone() == (0,)


def test_a_file_of_the_first_schema_goes_on(tmp_path: Path, database: sqlite3.Connection) -> None:
    migrate(database, place="here", migrations=MIGRATIONS[:1])
    database.execute(
        "INSERT INTO events (user_id, type, item_id, timestamp_us, event_id, dwell_s, interest, fingerprint)"
        " VALUES ('ann', 'view', 'tea', 1, 'e', 2.5, 1, 0)"
    )
    with closing(SqliteStore(tmp_path / "state.sqlite", "shop")) as store:
        store.append_events([EventRow("ann", "view", "milk", received_at_us=2)])
        assert store.profile("ann") == Profile("ann", ("tea", "milk"), ("view", "view"), (1, 2), (2.5, 0.0))


def test_a_newer_schema_is_refused(tmp_path: Path, database: sqlite3.Connection) -> None:
    database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(
        InputError, match=f"newer version.*found {len(MIGRATIONS) + 1}; allowed up to {len(MIGRATIONS)}"
    ):
        SqliteStore(tmp_path / "state.sqlite", "shop")


def test_the_state_of_another_shop_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "state.sqlite", "ours").close()
    with pytest.raises(InputError, match="another shop; found ours; allowed theirs"):
        SqliteStore(tmp_path / "state.sqlite", "theirs")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(InputError, match="not a state file"):
        SqliteStore(tmp_path / "state.sqlite", "shop")


def test_commits_are_synced_to_disk(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "state.sqlite", "shop")) as store, store._transaction() as database:
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_failed_batch_leaves_nothing(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "state.sqlite", "shop")) as store:
        good = EventRow("ann", "view", "tea", received_at_us=1)
        with pytest.raises(sqlite3.IntegrityError):
            store.append_events([good, good._replace(value="no number")])  # type: ignore[arg-type]
        assert store.stats()["events"] == len(store.profile("ann")) == 0


def test_a_writer_that_holds_the_file_too_long_makes_it_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.state.sqlite.BUSY_TIMEOUT_S", 0.01)
    with closing(SqliteStore(tmp_path / "state.sqlite", "shop")) as store:
        with closing(sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                store.append_events([EventRow("ann", "view", "tea", received_at_us=1)])
            assert store.profile("ann").item_ids == ()
        assert store.append_events([EventRow("ann", "view", "tea", received_at_us=1)])


@pytest.mark.parametrize("url", ["", "state.sqlite", "sqlite://state", "sqlite:///", "mysql://x", "redis://"])
def test_urls_of_no_store_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="not a state URL"):
        open_store(url, "shop")


def test_sqlite_urls_are_relative_or_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:///deep/one.sqlite", f"sqlite:///{tmp_path}/deep/two.sqlite"):
        open_store(url, "shop").close()
    assert sorted(file.name for file in (tmp_path / "deep").iterdir()) == ["one.sqlite", "two.sqlite"]


def test_several_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    def open_new(number: int) -> int:
        with closing(SqliteStore(tmp_path / str(number // 4) / "state.sqlite", "shop")) as store:
            return store.catalogue_seq()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(open_new, range(80))) == {0}


def test_an_id_with_nul_is_not_imported(tmp_path: Path) -> None:
    info = ShopInfo(shop_id="shop", reference_date=datetime(2025, 7, 1, tzinfo=UTC))
    with new_shop(tmp_path / "shop", info) as writer:
        writer.write("items", pa.table({"item_id": ["a", "b\0"]}))
    store = SqliteStore(tmp_path / "state.sqlite", "shop")
    with pytest.raises(InputError) as caught:
        import_shop(store, Shop(tmp_path / "shop"))
    (problem,) = caught.value.problems
    assert (problem.table, problem.column, problem.row) == ("items", "item_id", 1)
    store.close()


@pytest.mark.parametrize(
    "url", ["redsi://user:hunter2@host/0", "redis:user:hunter2@host", "hunter2@host", "x://h/0?password=hunter2&a=b"]
)
def test_a_mistyped_url_is_named_without_its_password(url: str) -> None:
    with pytest.raises(InputError, match="not a state URL") as caught:
        open_store(url, "shop")
    assert "hunter2" not in str(caught.value)


def test_a_file_is_refused_on_several_machines() -> None:
    refuse_shared_file("sqlite:///x", nodes=1)
    refuse_shared_file("redis://x", nodes=3)
    with pytest.raises(InputError) as caught:
        refuse_shared_file("sqlite:///x", nodes=2)
    (problem,) = caught.value.problems
    assert (problem.field, problem.found) == ("state", "sqlite:///x")
    assert "redis://" in str(problem.allowed)
