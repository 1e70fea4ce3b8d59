"""`data check`: everything that is wrong with a shop folder, by table, row and column.

Rows count from 0 over all files of a table in reading order. Tables are streamed; 8 bytes per row stay in
memory for the keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.contracts.checks.columns import check_schema, check_values, read_column
from training.contracts.checks.findings import EXAMPLES, Findings
from training.contracts.checks.images import ImagePaths
from training.contracts.checks.keys import Hashes, hashes
from training.contracts.checks.rules import check_amounts, check_boxes, check_names, check_times
from training.contracts.errors import InputError, Problem, nearest
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import SHOP_FILE, read_shop_info
from training.contracts.tables import TABLES, TableSpec

BATCH_ROWS = 262_144
TRUTH_FOLDER = "truth"
# Tables whose item_id is expected among the items.
REFERRING = ("events", "placements", "inventory", "images", "reviews", "sales")


@dataclass(frozen=True)
class CheckReport:
    """Rows per table, and what is wrong."""

    tables: dict[str, int]
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether no problem is an error."""
        return all(problem.severity != "error" for problem in self.problems)


def check_shop(path: Path | str, *, progress: Progress = NoProgress()) -> CheckReport:
    """Check every table of the shop at `path`; raises InputError where there is no such folder."""
    shop = Path(path)
    if not shop.is_dir():
        raise InputError(Problem(problem="no such shop folder", file=str(shop)))
    return _ShopCheck(shop, progress).run()


class _ShopCheck:
    """One pass over one shop."""

    def __init__(self, shop: Path, progress: Progress) -> None:
        self._shop = shop
        self._progress = progress
        self._findings = Findings()
        self._images = ImagePaths(shop)
        self._items: np.ndarray | None = None
        self._reference: datetime | None = None
        self._tables: dict[str, int] = {}

    def run(self) -> CheckReport:
        try:
            self._reference = read_shop_info(self._shop / SHOP_FILE).reference_date
        except InputError as error:
            for problem in error.problems:
                self._findings.add(problem)
        self._check_entries()
        for spec in TABLES.values():
            files = table_files(self._shop, spec.name)
            if files:
                self._tables[spec.name] = self._check_table(spec, files)
        if not sum(self._tables.values()):
            self._findings.add(
                Problem(file=str(self._shop), problem="the shop is empty: there is nothing to learn from",
                        allowed=f"at least one of {', '.join(TABLES)} with rows")
            )  # fmt: skip
        return CheckReport(tables=self._tables, problems=self._findings.problems())

    def _check_entries(self) -> None:
        """Parquet files, and folders of them, that are no table or a table's second copy."""
        for entry in filter(_holds_table, sorted(self._shop.iterdir())):
            name = entry.stem if entry.is_file() else entry.name
            if name not in TABLES:
                self._findings.add(
                    Problem(table=name, file=str(entry), problem="unknown table", allowed=", ".join(TABLES),
                            nearest=nearest(name, TABLES))
                )  # fmt: skip
            elif entry.is_dir() and (self._shop / f"{name}.parquet").is_file():
                self._findings.add(Problem(table=name, problem="both a file and a folder", allowed="one of them"))

    def _check_table(self, spec: TableSpec, files: list[Path]) -> int:
        """Every batch of a table, then its keys; returns its rows."""
        self._progress.stage(f"checking {spec.name}", _row_total(files))
        keys, users, unknown_items, row = Hashes(), Hashes(), 0, 0
        for batch in self._batches(spec, files):
            columns = self._check_batch(spec, batch, row)
            if spec.key and all(name in columns for name in spec.key if name in spec.required):
                absent = pa.nulls(batch.num_rows, pa.string())
                keys.add([columns.get(name, absent) for name in spec.key])
            if spec.name == "events" and "user_id" in columns:
                users.add([columns["user_id"]])
            unknown_items += self._count_unknown_items(spec, columns)
            row += batch.num_rows
            self._progress.advance(batch.num_rows)
        if spec.name == "items":
            self._items = np.unique(keys.all())
        self._report_repeats(spec, keys, row)
        self._report_lonely_users(users)
        self._warn(spec.name, "item_id", unknown_items, "rows of items that the items table lacks")
        return row

    def _batches(self, spec: TableSpec, files: list[Path]) -> Iterator[pa.RecordBatch]:
        """The readable canonical and covariate columns of all files; unreadable files are reported and left."""
        for file in files:
            try:
                with pq.ParquetFile(file) as parquet:
                    schema = parquet.schema_arrow
                    known = check_schema(spec, schema, str(file), self._findings)
                    extra = {name for name in schema.names if spec.open_columns and name not in spec.schema.names}
                    wanted = [name for name in schema.names if name in known | extra]
                    yield from parquet.iter_batches(batch_size=BATCH_ROWS, columns=wanted)
            except (pa.ArrowException, OSError) as error:
                cause = " ".join(str(error).split())
                self._findings.add(Problem(table=spec.name, file=str(file), problem=f"cannot be read: {cause}"))

    def _check_batch(self, spec: TableSpec, batch: pa.RecordBatch, first_row: int) -> dict[str, pa.Array]:
        """All checks of values; returns the columns that could be read as their type."""
        columns: dict[str, pa.Array] = {}
        for name in batch.schema.names:
            field = spec.schema.field(name) if name in spec.schema.names else batch.schema.field(name)
            column = read_column(spec, batch.column(name), field, first_row, self._findings)
            if column is not None:
                check_values(spec, name, column, first_row, self._findings)
                columns[name] = column
        check_times(spec.name, columns, first_row, self._reference, self._findings)
        check_amounts(spec.name, columns, first_row, self._findings)
        check_names(spec.name, columns, first_row, self._findings)
        check_boxes(spec.name, columns, first_row, self._findings)
        image = {"items": "image", "images": "path"}.get(spec.name, "")
        if image in columns:
            self._images.check(spec.name, image, columns[image], first_row, self._findings)
        return columns

    def _count_unknown_items(self, spec: TableSpec, columns: dict[str, pa.Array]) -> int:
        if spec.name not in REFERRING or self._items is None or "item_id" not in columns:
            return 0
        ids = columns["item_id"].drop_null()
        return int((~np.isin(hashes([ids]), self._items)).sum()) if len(ids) else 0

    def _report_repeats(self, spec: TableSpec, keys: Hashes, rows: int) -> None:
        if len(keys.all()) == rows:
            repeated, firsts = keys.repeats()
            found = pa.array([f"the key of row {first}" for first in firsts[:EXAMPLES]])
            column = ", ".join(spec.key)
            self._findings.rows(spec.name, column, "duplicate key", repeated, found=found, allowed="each key once")

    def _report_lonely_users(self, users: Hashes) -> None:
        _, counts = np.unique(users.all(), return_counts=True)
        self._warn("events", "user_id", int((counts == 1).sum()), "users with a single event: they are never evaluated")

    def _warn(self, table: str, column: str, count: int, what: str) -> None:
        if count:
            self._findings.add(Problem(table=table, column=column, problem=f"{count:,} {what}", severity="warning"))


def _row_total(files: list[Path]) -> int | None:
    """Rows by the files' own account; None where one is damaged."""
    try:
        return sum(pq.read_metadata(file).num_rows for file in files)
    except (pa.ArrowException, OSError):
        return None


def table_files(shop: Path, table: str) -> list[Path]:
    """The Parquet files of a table, as the shop reads them."""
    single = shop / f"{table}.parquet"
    return [single] if single.is_file() else sorted((shop / table).glob("*.parquet"))


def _holds_table(entry: Path) -> bool:
    if entry.is_dir():
        return entry.name != TRUTH_FOLDER and any(entry.glob("*.parquet"))
    return entry.suffix == ".parquet"
