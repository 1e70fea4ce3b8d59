"""A shop on disk: shop.yaml and Parquet tables, read through the canonical schemas."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from training.contracts.atomic import new_folder
from training.contracts.errors import InputError, Problem, shorten
from training.contracts.tables import TABLES, conform, valid_event_type
from training.contracts.validation import problems_of

SHOP_FILE = "shop.yaml"
COVARIATES_FILE = "covariates.yaml"


class ShopInfo(BaseModel):
    """shop.yaml: who the shop is and how its tables are to be read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shop_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    name: str = ""
    currency: str = "EUR"
    time_zone: str = "UTC"
    reference_date: datetime
    positive_types: tuple[str, ...] = ("purchase",)
    repeats: bool = True
    ordinal_time: bool = False
    catalogue_seq: int = Field(default=0, ge=0)

    @field_validator("reference_date")
    @classmethod
    def _in_utc(cls, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("no such time zone; write it as in Europe/Berlin") from error
        return value

    @field_validator("positive_types")
    @classmethod
    def _known_types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if not valid_event_type(name)]
        if unknown or not value:
            raise ValueError(f"positive_types: unknown event type {unknown}" if unknown else "positive_types is empty")
        return value

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class Shop:
    """A shop folder opened for reading.

    Raises InputError where the folder, its shop.yaml or a table cannot be read as DESIGN's tables.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise InputError(Problem(problem="no such shop folder", file=str(self.path)))
        self.info = read_shop_info(self.path / SHOP_FILE)

    def files(self, table: str) -> list[Path]:
        """The Parquet files of `table`, in reading order; empty when the shop has none."""
        single = self.path / f"{table}.parquet"
        return [single] if single.is_file() else sorted((self.path / table).glob("*.parquet"))

    def has(self, table: str) -> bool:
        return bool(self.files(table))

    def tables(self) -> list[str]:
        """The names of the canonical tables that are there."""
        return [name for name in TABLES if self.has(name)]

    def rows(self, table: str) -> int:
        return sum(pq.read_metadata(file).num_rows for file in self.files(table))

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of a table (an empty one where the shop lacks it), conforming to its schema."""
        batches = list(self.batches(name, columns))
        if batches:
            return pa.concat_tables(batches, promote_options="permissive")
        empty = conform(TABLES[name].schema.empty_table(), TABLES[name])
        return empty.select(list(columns)) if columns is not None else empty

    def batches(self, name: str, columns: Sequence[str] | None = None, rows: int = 262_144) -> Iterator[pa.Table]:
        """The table in pieces of at most `rows` rows, for tables larger than memory."""
        for file in self.files(name):
            try:
                with pq.ParquetFile(file) as parquet:
                    present = parquet.schema_arrow.names
                    wanted = None if columns is None else [column for column in columns if column in present]
                    for batch in parquet.iter_batches(batch_size=rows, columns=wanted):
                        yield self._conform(name, pa.Table.from_batches([batch]), columns, file)
            except (pa.ArrowException, OSError) as error:
                raise InputError(Problem(table=name, file=str(file), problem=f"cannot be read: {error}")) from error

    def _conform(self, name: str, piece: pa.Table, columns: Sequence[str] | None, file: Path) -> pa.Table:
        spec = TABLES[name]
        if columns is not None:
            wanted = pa.schema([field for field in spec.schema if field.name in columns])
            spec = type(spec)(name=spec.name, schema=wanted, key=(), open_columns=spec.open_columns)
        try:
            conforming = conform(piece, spec)
        except KeyError as error:
            column = str(error.args[0])
            raise InputError(
                Problem(
                    table=name, column=column, problem="required column is absent", found=", ".join(piece.column_names)
                )
            ) from error
        except pa.ArrowException as error:
            raise InputError(
                Problem(table=name, file=str(file), problem=f"wrong type: {shorten(str(error))}")
            ) from error
        return conforming.select(list(columns)) if columns is not None else conforming

    def fingerprint(self) -> str:
        """sha256 over its YAML files and every table: the same shop, the same fingerprint, wherever it lies."""
        digest = hashlib.sha256((self.path / SHOP_FILE).read_bytes())
        if (covariates := self.path / COVARIATES_FILE).is_file():
            digest.update(f"\0{COVARIATES_FILE}\0".encode() + covariates.read_bytes())
        for table in self.tables():
            for file in self.files(table):
                digest.update(f"\0{file.relative_to(self.path)}\0".encode())
                with open(file, "rb") as handle:
                    digest.update(hashlib.file_digest(handle, "sha256").digest())
        return digest.hexdigest()


def read_shop_info(path: Path) -> ShopInfo:
    """shop.yaml, checked; raises InputError naming the field."""
    if not path.is_file():
        raise InputError(Problem(file=str(path), problem="no shop.yaml: this is not a shop folder"))
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that does not exist
        raise InputError(Problem(file=str(path), problem=f"not YAML: {shorten(str(error), 200)}")) from error
    if not isinstance(document, dict):
        raise InputError(Problem(file=str(path), problem="must be a mapping of fields", found=shorten(document)))
    try:
        return ShopInfo.model_validate(document)
    except ValidationError as error:
        raise InputError(problems_of(error, ShopInfo, file=str(path))) from error


class ShopWriter:
    """Writes a shop's tables into a folder that nobody sees until all of them are there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: dict[str, int] = {}

    def write_info(self, info: ShopInfo) -> None:
        (self.folder / SHOP_FILE).write_text(info.to_yaml(), encoding="utf-8")

    def write(self, name: str, rows: pa.Table | Iterable[pa.Table]) -> None:
        """One table, whole or as a stream of pieces."""
        spec = TABLES[name]
        writer: pq.ParquetWriter | None = None
        count = 0
        try:
            for piece in [rows] if isinstance(rows, pa.Table) else rows:
                conforming = conform(piece, spec)
                if writer is None:
                    writer = pq.ParquetWriter(self.folder / f"{name}.parquet", conforming.schema, compression="zstd")
                writer.write_table(conforming)
                count += conforming.num_rows
        finally:
            if writer is not None:
                writer.close()
        if writer is not None:
            self.counts[name] = count


@contextmanager
def new_shop(path: Path, info: ShopInfo, *, force: bool = False) -> Iterator[ShopWriter]:
    """A shop folder under construction; it appears at `path` whole, or not at all."""
    with new_folder(path, force=force) as folder:
        writer = ShopWriter(folder)
        writer.write_info(info)
        yield writer
